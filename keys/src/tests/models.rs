//! Properties against plain models: ranges against slices, the key store against a map that never crashed.

use super::world::World;
use super::*;
use crate::keystore::{Change, Keystore};
use crate::{ChunkSpan, HEADER_BYTES, chunk_count, plain_len, sealed_len};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn lengths_are_inverse(plain in 0..=crate::SEGMENT_BYTES_MAX) {
        prop_assert_eq!(plain_len(sealed_len(plain)), Some(plain));
        prop_assert_eq!(sealed_len(plain), 192 + plain + 16 * chunk_count(plain));
    }

    #[test]
    fn a_length_that_no_segment_has_is_none(sealed in 0..10_000_000u64) {
        if let Some(plain) = plain_len(sealed) {
            prop_assert_eq!(sealed_len(plain), sealed);
        }
    }

    #[test]
    fn a_span_covers_its_range_and_not_a_chunk_more(
        plain in 1..=crate::SEGMENT_BYTES_MAX, a in any::<u64>(), b in any::<u64>(),
    ) {
        let (start, end) = (a % plain, b % plain + 1);
        let (start, end) = (start.min(end - 1), end);
        let span = ChunkSpan::of(start, end, plain).unwrap();
        let (first, last) = (u64::from(span.first), u64::from(span.last));
        prop_assert!(first * 65536 + span.skip as u64 == start && span.skip < 65536);
        prop_assert!(last * 65536 < end && end <= (last + 1) * 65536);
        prop_assert!(span.sealed_start == 192 + first * 65552 && span.sealed_end <= sealed_len(plain));
        prop_assert_eq!(span.sealed_end == sealed_len(plain), last + 1 == chunk_count(plain));
    }
}

/// Where sealed bytes may be said to lie: two of everything that a context names, and parts beside the whole.
fn place() -> impl Strategy<Value = [u8; 8]> {
    [0..2u8, 0..2, 0..2, 0..2, 0..2, 0..2, 0..2, 0..3]
}

fn at(place: [u8; 8]) -> SegmentInfo {
    let [geo, tenant, bucket, object, version, segment, dek, part] = place.map(|n| n + 1);
    let context = ObjectContext {
        geo: fill(geo),
        tenant: fill(0x10 * tenant),
        bucket: fill(0x20 * bucket),
        object: fill(0x30 * object),
        version: fill(0x40 * version),
    };
    let (kind, part) = if part == 1 { (SegmentKind::Whole, 0) } else { (SegmentKind::Part, u16::from(part)) };
    SegmentInfo { kind, part, context, segment_id: fill(segment), dek_id: fill(dek) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// P13, with the worst of all keys: the same data key everywhere, so that nothing but the place tells two segments apart.
    /// Moved as it is, with the new place's names in its header, or chunk by chunk under the new place's own header.
    #[test]
    fn p13_what_was_moved_never_opens(from in place(), to in place(), len in 0..3 * 65_536usize, chunk in any::<usize>()) {
        prop_assume!(from != to);
        let (there, here) = (at(from), at(to));
        let sealed = crate::segment::seal_all(dek().sealer(&there), &plain(len));
        prop_assert!(dek().open_whole(&there, &sealed, len as u64).is_ok(), "the control");
        prop_assert!(dek().open_whole(&here, &sealed, len as u64).is_err(), "as it is");
        let own = crate::segment::seal_all(dek().sealer(&here), &plain(len));
        let mut renamed = sealed.clone();
        renamed[..128].copy_from_slice(&own[..128]);
        prop_assert!(dek().open_whole(&here, &renamed, len as u64).is_err(), "under the names of where it is");
        let mut grafted = own.clone();
        let chunks = (len.div_ceil(65_536)).max(1);
        let start = HEADER_BYTES + (chunk % chunks) * 65_552;
        let end = (start + 65_552).min(own.len());
        grafted[start..end].copy_from_slice(&sealed[start..end]);
        prop_assert!(dek().open_whole(&here, &grafted, len as u64).is_err(), "a chunk of it");
        prop_assert!(dek().open_whole(&here, &own, len as u64).is_ok(), "the control");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// FX-18 for one segment: any range, opened from exactly the bytes that its span names.
    #[test]
    fn ranges_equal_slices(len in 1..300_000usize, ranges in vec((any::<usize>(), any::<usize>()), 1..20)) {
        let info = info(SegmentKind::Whole, 0);
        let (plain, dek) = (plain(len), dek());
        let sealed = dek.seal_whole(&info, &plain);
        let opener = dek.opener(&info, &sealed[..HEADER_BYTES], len as u64, sealed.len() as u64).unwrap();
        for (a, b) in ranges {
            let (start, end) = (a % len, a % len + 1 + b % (len - a % len));
            let span = ChunkSpan::of(start as u64, end as u64, len as u64).unwrap();
            let mut bytes = sealed[span.sealed_start as usize..span.sealed_end as usize].to_vec();
            let mut out = Vec::new();
            let mut rest = bytes.as_mut_slice();
            for index in span.first..=span.last {
                let (chunk, after) = rest.split_at_mut(opener.sealed_chunk_len(index).unwrap());
                out.extend_from_slice(opener.open_chunk(index, chunk).unwrap());
                rest = after;
            }
            prop_assert!(rest.is_empty());
            prop_assert!(out[span.skip..span.skip + (end - start)] == plain[start..end]);
        }
    }

    /// The key store after any history of commits, compactions and restarts holds what a map would.
    #[test]
    fn the_key_store_is_a_map(acts in vec((0..10u8, 0..6u8, vec(any::<u8>(), 0..40)), 1..30)) {
        let world = World::new();
        let provider = world.keyring().unwrap();
        let mut store = Keystore::open(&world.keystore(), geo(), &provider).unwrap();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (act, key, value) in acts {
            let key = vec![b'k', key];
            match act {
                0 => { store.compact(&provider).unwrap(); }
                1 => {
                    drop(store);
                    store = Keystore::open(&world.keystore(), geo(), &provider).unwrap();
                }
                2 | 3 => {
                    model.remove(&key);
                    store.commit(vec![Change::Remove(key)], &provider).unwrap();
                }
                _ => {
                    model.insert(key.clone(), value.clone());
                    store.commit(vec![Change::Put(key, value)], &provider).unwrap();
                }
            }
            let held: BTreeMap<_, _> = store.entries(b"").map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(&held, &model);
            let back: BTreeMap<_, _> =
                store.read_back(b"", &provider).unwrap().entries.into_iter().map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(&back, &model);
        }
    }
}

/// A re-root of very many subjects writes large frames, one after the other: the journal is folded before it grows beyond
/// what an opening would read.
#[test]
fn a_journal_of_large_frames_is_folded_before_nobody_can_read_it() {
    let world = World::new();
    let provider = world.keyring().unwrap();
    let mut store = Keystore::open(&world.keystore(), geo(), &provider).unwrap();
    let key = |n: u8| vec![b'k', n % 3];
    for n in 0..12u8 {
        store.commit(vec![Change::Put(key(n), vec![n; 8 << 20])], &provider).unwrap();
    }
    drop(store);
    let store = Keystore::open(&world.keystore(), geo(), &provider).unwrap();
    assert!((9..12u8).all(|n| store.entry(&key(n)).is_some_and(|value| *value == vec![n; 8 << 20])));
    assert!(store.read_back(b"", &provider).is_ok());
}
