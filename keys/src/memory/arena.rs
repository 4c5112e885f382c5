//! Where 32-byte keys live: slots in slabs of locked memory, apart from the heap.
//!
//! A slab is 64 KiB between two guard pages: locked, so that it is never swapped; left out of core files
//! (`MADV_DONTDUMP`); empty in a forked child (`MADV_WIPEONFORK`). A slot is cleared when it is given back. Slabs are made as
//! keys come, and are never unmapped, so a slot's address is good for as long as the process runs.
//!
//! What a kernel refuses (usually the lock, by `RLIMIT_MEMLOCK`) is counted and said by [`key_memory`], and the keys are kept
//! all the same: a server that does not start protects nobody.

use parking_lot::Mutex;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mlock, mmap_anonymous, mprotect};
use std::ptr::{self, NonNull};
use zeroize::Zeroize;

/// Bytes of keys in a slab.
const SLAB_BYTES: usize = 65_536;
/// Bytes of a guard on either side of a slab; a multiple of every page size in use.
const GUARD_BYTES: usize = 65_536;
/// Bytes of a slot.
const SLOT_BYTES: usize = 32;

static ARENA: Mutex<Arena> = Mutex::new(Arena { free: Vec::new(), made: KeyMemory { slabs: 0, unlocked: 0 } });

/// The memory that keys live in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyMemory {
    /// Slabs of 64 KiB, room for 2,048 keys each.
    pub slabs: u32,
    /// Those among them that the kernel refused to lock or to keep out of core files.
    pub unlocked: u32,
}

/// The memory that this process has for keys.
pub fn key_memory() -> KeyMemory {
    ARENA.lock().made
}

struct Arena {
    free: Vec<Place>,
    made: KeyMemory,
}

/// The address of a slot that nobody holds.
struct Place(NonNull<[u8; SLOT_BYTES]>);

// SAFETY: the memory belongs to the process, not to a thread, and a `Place` has one owner at a time.
unsafe impl Send for Place {}

/// 32 bytes that are its owner's alone, zero when handed out, cleared when dropped.
pub(crate) struct Slot(NonNull<[u8; SLOT_BYTES]>);

// SAFETY: as for `Place`; shared access is read only.
unsafe impl Send for Slot {}
// SAFETY: `bytes` gives shared references only, `bytes_mut` needs `&mut self`.
unsafe impl Sync for Slot {}

impl Slot {
    pub(crate) fn new() -> Self {
        let mut arena = ARENA.lock();
        if arena.free.is_empty() {
            arena.grow();
        }
        Self(arena.free.pop().expect("a fresh slab has slots").0)
    }

    pub(crate) fn bytes(&self) -> &[u8; SLOT_BYTES] {
        // SAFETY: the slot is mapped, readable, initialised (the kernel gives zeros) and owned by `self`.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; SLOT_BYTES] {
        // SAFETY: as in `bytes`, and `&mut self` makes it the only reference.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        ARENA.lock().free.push(Place(self.0));
    }
}

impl Arena {
    fn grow(&mut self) {
        let (start, guarded) = slab();
        self.made.slabs += 1;
        self.made.unlocked += u32::from(!guarded);
        // Never grows again while a slot is given back, so no `Place` is ever dropped for want of memory.
        self.free.reserve(self.made.slabs as usize * SLAB_BYTES / SLOT_BYTES);
        for at in (0..SLAB_BYTES).step_by(SLOT_BYTES).rev() {
            // SAFETY: `at` lies inside the slab that `slab` mapped.
            let place = unsafe { start.add(at) };
            self.free.push(Place(place.cast()));
        }
    }
}

/// Maps a slab; whether everything asked of the kernel for it was granted.
fn slab() -> (NonNull<u8>, bool) {
    let all = SLAB_BYTES + 2 * GUARD_BYTES;
    // SAFETY: a fresh anonymous mapping at an address that the kernel chooses touches nothing that exists.
    let mapped = unsafe { mmap_anonymous(ptr::null_mut(), all, ProtFlags::empty(), MapFlags::PRIVATE) };
    let mapped = mapped.expect("the kernel gives memory for keys");
    // SAFETY: inside the mapping just made.
    let start = unsafe { mapped.add(GUARD_BYTES) };
    // SAFETY: pages of the mapping just made, which nobody else knows.
    let opened = unsafe { mprotect(start, SLAB_BYTES, MprotectFlags::READ | MprotectFlags::WRITE) };
    opened.expect("the kernel opens memory it gave");
    // SAFETY: the same pages; a lock and advice change no content.
    let granted = unsafe {
        [
            mlock(start, SLAB_BYTES).is_ok(),
            madvise(start, SLAB_BYTES, Advice::LinuxDontDump).is_ok(),
            madvise(start, SLAB_BYTES, Advice::LinuxWipeOnFork).is_ok(),
        ]
    };
    (NonNull::new(start.cast()).expect("a mapping is not at zero"), granted == [true; 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_slot_is_zero_when_handed_out_and_cleared_when_given_back() {
        let mut slot = Slot::new();
        assert_eq!(slot.bytes(), &[0; 32]);
        slot.bytes_mut().copy_from_slice(&[0xAB; 32]);
        let place = slot.0;
        drop(slot);
        // SAFETY: slabs are never unmapped. Another thread may own the slot by now, but no test writes this pattern elsewhere.
        assert_ne!(unsafe { place.read_volatile() }, [0xAB; 32]);
    }

    #[test]
    fn slots_do_not_overlap_and_slabs_are_made_as_needed() {
        let slots: Vec<Slot> = (0..5000).map(|_| Slot::new()).collect();
        let places: HashSet<usize> = slots.iter().map(|slot| slot.0.as_ptr() as usize).collect();
        assert_eq!(places.len(), 5000);
        assert!(places.iter().all(|place| place % SLOT_BYTES == 0));
        assert!(key_memory().slabs >= 3);
    }

    #[test]
    fn the_kernel_holds_the_slabs_locked_and_out_of_core_files() {
        let slot = Slot::new();
        let at = slot.0.as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("our own memory map");
        let mut ours = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                ours = (from..to).contains(&at);
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| ours) {
                let flags: HashSet<&str> = flags.split_whitespace().collect();
                for flag in ["dd", "wf"] {
                    assert!(flags.contains(flag), "{flag} is missing: {flags:?}");
                }
                assert!(flags.contains("lo") || key_memory().unlocked > 0, "not locked, and not said: {flags:?}");
                return;
            }
        }
        panic!("the slab is not in the map");
    }
}
