//! FX-17: every (key, nonce) pair that anything here ever seals with, looked at from inside the sealing calls. A pair
//! used twice would give both plaintexts away, and the key of every tag.

use super::world::{TENANT, World, object};
use super::*;
use crate::record::{self, KeyKind, Parent};
use crate::{BucketContext, Last, RowKey};
use ring::digest;
use std::cell::RefCell;
use std::collections::HashSet;

type Pairs = HashSet<([u8; 16], [u8; 12])>;

thread_local! {
    /// Pairs sealed with by this thread, while somebody looks.
    static PAIRS: RefCell<Option<Pairs>> = const { RefCell::new(None) };
}

/// What stands for a key among the pairs.
pub(crate) fn print_of(key: &[u8; 32]) -> [u8; 16] {
    digest::digest(&digest::SHA256, key).as_ref()[..16].try_into().unwrap()
}

/// Called by whatever is about to seal.
pub(crate) fn note(key: [u8; 16], nonce: [u8; 12]) {
    PAIRS.with_borrow_mut(|pairs| {
        if let Some(pairs) = pairs {
            assert!(pairs.insert((key, nonce)), "a key and a nonce were used twice");
        }
    });
}

fn seen() -> usize {
    PAIRS.with_borrow(|pairs| pairs.as_ref().map_or(0, HashSet::len))
}

#[test]
#[should_panic = "used twice"]
fn fx17_the_instrument_sees_a_pair_used_twice() {
    PAIRS.set(Some(HashSet::new()));
    let info = info(SegmentKind::Whole, 0);
    let once = || dek().sealer_with_salt(&info, [7; 32]).seal_chunk(&mut vec![1, 2, 3], Last::Yes).unwrap();
    once();
    once();
}

/// A million seals: attempts to seal one segment again and again under one data key, as retries do; rows of one place
/// under one index key; records of one key under one parent; and a key store that crashes and starts anew, over and over,
/// with a frame sealed for the very place of one that was lost.
#[test]
fn fx17_a_million_seals_share_no_key_and_nonce() {
    PAIRS.set(Some(HashSet::with_capacity(1_100_000)));
    let (info, dek) = (info(SegmentKind::Part, 3), dek());
    let place = BucketContext { tenant: fill(0x10), geo: geo(), bucket: fill(0x30) };
    let rows = RowKey::new(secret(0x31), 1, place, Lease::permanent());
    let (parent, wrapped) = (secret(1), secret(9));
    let parent = Parent { name: KeyName { id: fill(0x20), version: 7 }, secret: &parent };
    let name = KeyName { id: fill(1), version: 1 };
    let long = plain(65_537);
    for attempt in 0..1_000_000_u32 {
        match attempt % 8 {
            0..4 => {
                dek.sealer(&info).seal_chunk(&mut b"the same body".to_vec(), Last::Yes).unwrap();
            }
            4..6 => drop(rows.seal(b'o', b"the same place", b"the same row", &[])),
            _ => drop(record::wrap(&parent, KeyKind::Dek, name, &wrapped, &context())),
        }
        if attempt % 1000 == 0 {
            // An attempt that is given up half-way, and the one that follows it.
            dek.sealer(&info).seal_chunk(&mut long[..65_536].to_vec(), Last::No).unwrap();
            drop(dek.seal_whole(&info, &long));
        }
    }
    let world = World::new();
    world.open().unwrap().create_tenant(TENANT).unwrap();
    for round in 0..200_u32 {
        let service = world.open().unwrap();
        let keys = service.tenant(TENANT).unwrap();
        let mut subject = [0x7e; 16];
        subject[..4].copy_from_slice(&round.to_be_bytes());
        service.create_subject(TENANT, subject).unwrap();
        for n in 0..10 {
            drop(keys.new_dek(&object(TENANT, n)).unwrap());
        }
        drop((keys, service));
        // The power fails while a frame is written: it was sealed, and half of it is on disk.
        let journal = std::fs::read_dir(world.keystore()).unwrap().map(|file| file.unwrap().path());
        let journal = journal.filter(|path| path.to_str().unwrap().contains("journal.")).max().unwrap();
        let mut bytes = std::fs::read(&journal).unwrap();
        bytes.extend_from_slice(&[0, 0, 1, 0, b'S', b'R', b'O', b'W']);
        std::fs::write(&journal, bytes).unwrap();
    }
    assert!(seen() > 1_000_000 + 200 * 12, "{} pairs", seen());
    PAIRS.set(None);
}
