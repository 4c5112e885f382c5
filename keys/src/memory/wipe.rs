//! Overwriting what another crate leaves behind.
//!
//! ring keeps an AES key schedule inline (544 bytes) and does not clear it on drop; its maintainers declined to
//! (ring issue 15). So it lives in a box of ours that overwrites all of its bytes when it goes.

use std::mem::{ManuallyDrop, size_of};
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};

/// A boxed `T` whose bytes are overwritten with zeros when it is dropped. `T::drop` runs first.
pub(crate) struct Wiped<T>(Box<ManuallyDrop<T>>);

impl<T> Wiped<T> {
    /// Boxes what `make` returns, then clears the stack that `make` used.
    pub(crate) fn new(make: impl FnOnce() -> T) -> Self {
        let wiped = Self::boxed(make);
        scrub_stack::<2048>();
        wiped
    }

    #[inline(never)]
    fn boxed(make: impl FnOnce() -> T) -> Self {
        Self(Box::new(ManuallyDrop::new(make())))
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        let place: *mut ManuallyDrop<T> = &raw mut *self.0;
        // SAFETY: the value is dropped exactly once, here, and never used again: `Box<ManuallyDrop<T>>` drops no `T`.
        unsafe { ManuallyDrop::drop(&mut *place) };
        let bytes = place.cast::<u8>();
        for offset in 0..size_of::<T>() {
            // SAFETY: `offset` is inside the live allocation of `size_of::<T>()` bytes, which only this box owns.
            unsafe { ptr::write_volatile(bytes.add(offset), 0) };
        }
        compiler_fence(Ordering::SeqCst);
    }
}

/// Does `work`, which handles key bytes, then overwrites the stack that it and all it called have used. What it returns
/// must hold keys by a pointer only.
pub(crate) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    let done = apart(work);
    scrub_stack::<DEEP>();
    done
}

/// How deep wrapping a key, or deriving a segment's, goes. Read off the stacks of a running process from outside; builds
/// that are not optimised go deeper.
const DEEP: usize = if cfg!(debug_assertions) { 32 * 1024 } else { 8 * 1024 };

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Overwrites `BYTES` of the stack below the caller, where a callee's copies of a key schedule were.
#[inline(never)]
fn scrub_stack<const BYTES: usize>() {
    let mut below = [0u8; BYTES];
    std::hint::black_box(&mut below);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_value_is_dropped_once_and_its_bytes_are_cleared() {
        struct Counted<'a>(&'a Cell<u32>, [u8; 64]);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let drops = Cell::new(0);
        let wiped = Wiped::new(|| Counted(&drops, [0xAB; 64]));
        assert_eq!(wiped.1, [0xAB; 64]);
        drop(wiped);
        assert_eq!(drops.get(), 1);
    }
}
