//! FX-01 to FX-14, FX-20, FX-21: what an attacker with the disk may do to segments, records and rows, and the exact
//! class of each refusal.

use super::*;
use crate::record::{self, KeyKind, Parent, Unverified};
use crate::segment::{Last, chunk_count, plain_len, seal_all, sealed_len};
use crate::{BucketContext, ChunkSpan, HEADER_BYTES, ObjectContext, OpenClass, RowKey, SEALED_CHUNK_BYTES, SealError};

fn whole() -> SegmentInfo {
    info(SegmentKind::Whole, 0)
}

/// A segment of three chunks, the last one short.
const THREE: usize = 2 * 65536 + 1000;

fn sealed(len: usize) -> Vec<u8> {
    dek().seal_whole(&whole(), &plain(len))
}

fn class(bytes: &[u8], len: usize) -> Option<OpenClass> {
    dek().open_whole(&whole(), bytes, len as u64).err().map(|error| error.class())
}

/// Opens one chunk of a segment as a range read does.
fn open_one(bytes: &[u8], len: usize, index: u32) -> Result<Vec<u8>, OpenClass> {
    let dek = dek();
    let opener = dek.opener(&whole(), &bytes[..HEADER_BYTES.min(bytes.len())], len as u64, bytes.len() as u64);
    let opener = opener.map_err(|error| error.class())?;
    let from = HEADER_BYTES + index as usize * SEALED_CHUNK_BYTES;
    let mut chunk = bytes[from..from + opener.sealed_chunk_len(index).unwrap()].to_vec();
    opener.open_chunk(index, &mut chunk).map(|plain| plain.to_vec()).map_err(|error| error.class())
}

#[test]
fn fx01_every_header_bit() {
    let good = sealed(100);
    for bit in 0..HEADER_BYTES * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 0x80 >> (bit % 8);
        let expected = match bit / 8 {
            0..8 => OpenClass::Magic,
            8 => OpenClass::Version,
            9 => OpenClass::Kind,
            10..12 => OpenClass::Suite,
            12 => OpenClass::ChunkSize,
            13 => OpenClass::Flags,
            32..48 => OpenClass::Geo,
            14..128 => OpenClass::Context,
            _ => OpenClass::Commitment,
        };
        assert_eq!(class(&bad, 100), Some(expected), "bit {bit}");
    }
    assert_eq!(class(&good, 100), None);
}

#[test]
fn fx02_a_flipped_body_bit_is_refused_where_it_is_and_only_there() {
    let good = sealed(THREE);
    let tag_of = |chunk: usize| (HEADER_BYTES + (chunk + 1) * SEALED_CHUNK_BYTES).min(good.len()) - 1;
    for chunk in 0..3 {
        let start = HEADER_BYTES + chunk * SEALED_CHUNK_BYTES;
        for at in [start, start + 500, tag_of(chunk) - 15, tag_of(chunk)] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(class(&bad, THREE), Some(OpenClass::Tag));
            for other in 0..3 {
                let opened = open_one(&bad, THREE, other as u32);
                let from = other * 65536;
                if other == chunk {
                    assert_eq!(opened, Err(OpenClass::Tag));
                } else {
                    assert!(opened.unwrap() == plain(THREE)[from..(from + 65536).min(THREE)]);
                }
            }
        }
    }
}

#[test]
fn fx03_truncation_is_refused_also_for_ranges_before_the_cut() {
    let good = sealed(THREE);
    let borders = [HEADER_BYTES, HEADER_BYTES + SEALED_CHUNK_BYTES, HEADER_BYTES + 2 * SEALED_CHUNK_BYTES];
    let cuts = borders.into_iter().chain([1, 15, 16, 17].map(|n| good.len() - n)).chain([0, 1, 191]);
    for cut in cuts {
        assert_eq!(class(&good[..cut], THREE), Some(OpenClass::Length), "cut at {cut}");
        if cut > borders[1] {
            assert_eq!(open_one(&good[..cut], THREE, 0), Err(OpenClass::Length));
        }
        // A reader without a row derives the length from the file; then the last mark gives it away.
        if let Some(len) = plain_len(cut as u64) {
            assert_eq!(class(&good[..cut], len as usize), Some(OpenClass::Tag), "cut at {cut}, no row");
        }
    }
}

#[test]
fn fx04_appended_bytes_are_refused() {
    let good = sealed(THREE);
    let first_chunk = good[HEADER_BYTES..HEADER_BYTES + SEALED_CHUNK_BYTES].to_vec();
    for tail in (1..=17).map(|n| vec![0; n]).chain([first_chunk]) {
        let bad = [good.clone(), tail].concat();
        assert_eq!(class(&bad, THREE), Some(OpenClass::Length));
        if let Some(len) = plain_len(bad.len() as u64) {
            assert_eq!(class(&bad, len as usize), Some(OpenClass::Tag));
        }
    }
}

#[test]
fn p13_fx05_fx07_chunks_swapped_doubled_dropped_or_from_another_segment_are_refused() {
    let len = 4 * 65536;
    let (good, other) = (sealed(len), sealed(len));
    let chunk = |bytes: &[u8], n: usize| {
        bytes[HEADER_BYTES + n * SEALED_CHUNK_BYTES..HEADER_BYTES + (n + 1) * SEALED_CHUNK_BYTES].to_vec()
    };
    let build = |chunks: [Vec<u8>; 4]| [good[..HEADER_BYTES].to_vec(), chunks.concat()].concat();
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| chunk(&good, n));
    let swapped = build([b.clone(), a.clone(), c.clone(), d.clone()]);
    let doubled = build([a.clone(), a.clone(), c.clone(), d.clone()]);
    let last_first = build([d.clone(), b.clone(), c.clone(), a.clone()]);
    let spliced = build([a.clone(), chunk(&other, 1), c.clone(), d.clone()]);
    for bad in [swapped, doubled, last_first, spliced] {
        assert_eq!(class(&bad, len), Some(OpenClass::Tag));
    }
    let dropped = [good[..HEADER_BYTES].to_vec(), a, c, d].concat();
    assert_eq!(class(&dropped, len), Some(OpenClass::Length));
    assert_eq!(class(&dropped, len - 65536), Some(OpenClass::Tag));
}

#[test]
fn fx06_a_last_mark_on_the_wrong_chunk_is_refused() {
    let sealer = dek().sealer(&whole());
    let full = plain(65536);
    let build = |marks: [Last; 2]| {
        let chunks = [0, 1].map(|n| sealer.seal_chunk_at(n as u32, marks[n], &full));
        [sealer.header().to_vec(), chunks.concat()].concat()
    };
    assert_eq!(class(&build([Last::No, Last::Yes]), 131072), None, "the honest one opens");
    for marks in [[Last::No, Last::No], [Last::Yes, Last::Yes], [Last::Yes, Last::No]] {
        assert_eq!(class(&build(marks), 131072), Some(OpenClass::Tag));
    }
}

#[test]
fn p13_fx08_a_segment_of_another_place_is_refused_also_when_its_header_is_patched() {
    let good = sealed(10);
    let moved = |change: fn(&mut SegmentInfo)| {
        let mut expected = whole();
        change(&mut expected);
        expected
    };
    let places = [
        moved(|i| i.context.tenant[3] ^= 1),
        moved(|i| i.context.geo[0] ^= 1),
        moved(|i| i.context.bucket[15] ^= 1),
        moved(|i| i.context.object[1] ^= 1),
        moved(|i| i.context.version[1] ^= 1),
        moved(|i| i.segment_id[1] ^= 1),
        moved(|i| i.dek_id[1] ^= 1),
        moved(|i| (i.kind, i.part) = (SegmentKind::Part, 1)),
    ];
    for expected in places {
        let refused = dek().open_whole(&expected, &good, 10).unwrap_err().class();
        assert!(matches!(refused, OpenClass::Geo | OpenClass::Context | OpenClass::Kind), "{refused:?}");
        let mut patched = good.clone();
        patched[..128].copy_from_slice(&dek().sealer(&expected).header()[..128]);
        assert_eq!(dek().open_whole(&expected, &patched, 10).unwrap_err().class(), OpenClass::Commitment);
    }
}

#[test]
fn fx11_an_empty_last_chunk_behind_a_full_one_is_refused() {
    let sealer = dek().sealer(&whole());
    let bad = [
        sealer.header().to_vec(),
        sealer.seal_chunk_at(0, Last::No, &plain(65536)),
        sealer.seal_chunk_at(1, Last::Yes, b""),
    ]
    .concat();
    assert_eq!(class(&bad, 65536), Some(OpenClass::Length));
    assert_eq!(plain_len(bad.len() as u64), None, "no length gives a reader without a row this file");
    let mut sealer = dek().sealer(&whole());
    let mut chunk = plain(65536);
    sealer.seal_chunk(&mut chunk, Last::No).unwrap();
    assert_eq!(sealer.seal_chunk(&mut Vec::new(), Last::Yes), Err(SealError::ChunkLength), "ours refuses to make one");
}

#[test]
fn fx12_unknown_numbers_are_refused_by_their_class() {
    let segment = sealed(1);
    let set = |at: usize, value: u8| {
        let mut bad = segment.clone();
        bad[at] = value;
        class(&bad, 1).unwrap()
    };
    assert_eq!(set(8, 2), OpenClass::Version);
    assert_eq!([3, 5, 7, 255].map(|kind| set(9, kind)), [OpenClass::Kind; 4]);
    assert_eq!([2, 3].map(|suite| set(11, suite)), [OpenClass::Suite; 2], "reserved suites are not spoken yet");
    assert_eq!([0, 12, 20, 63].map(|size| set(12, size)), [OpenClass::ChunkSize; 4]);
    assert_eq!([1, 128].map(|flags| set(13, flags)), [OpenClass::Flags; 2]);

    let (_, record) = tenant_keys().new_dek(&context()).unwrap();
    let set = |at: usize, value: u8| {
        let mut bad = record;
        bad[at] = value;
        Unverified::parse(&bad).unwrap_err().class()
    };
    assert_eq!(set(4, 2), OpenClass::Version);
    assert_eq!(set(5, 2), OpenClass::Suite);
    assert_eq!([0, 10, 255].map(|kind| set(6, kind)), [OpenClass::Kind; 3]);
    assert_eq!(set(7, 1), OpenClass::Flags);

    let row = row_key().seal(b'o', b"k", b"row", b"");
    let set = |at: usize, value: u8| {
        let mut bad = row.clone();
        bad[at] = value;
        row_key().open(b'o', b"k", &bad).err().unwrap().class()
    };
    assert_eq!(set(4, 2), OpenClass::Version);
    assert_eq!(set(5, 2), OpenClass::Suite);
    assert_eq!(set(6, b'd'), OpenClass::Kind);
    assert_eq!(set(7, 1), OpenClass::Flags);
    assert_eq!(set(8, 1), OpenClass::Parent);
    assert_eq!(set(12, 255), OpenClass::Length, "a trailing length is never believed beyond the row");
}

#[test]
fn fx12_garbage_never_panics_and_never_opens() {
    let (segment, row) = (sealed(300), row_key().seal(b'o', b"k", b"row", b"tail"));
    let (_, record) = tenant_keys().new_dek(&context()).unwrap();
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for _ in 0..20_000 {
        let mut mangle = |good: &[u8]| {
            let mut bad = good.to_vec();
            for _ in 0..=random(3) {
                match random(4) {
                    0 => bad.truncate(random(bad.len() + 1)),
                    1 => bad.extend(std::iter::repeat_n(random(256) as u8, random(40))),
                    _ if bad.is_empty() => {}
                    _ => {
                        let at = random(bad.len());
                        bad[at] = random(256) as u8;
                    }
                }
            }
            bad
        };
        let bad = mangle(&segment);
        assert!(bad == segment || dek().open_whole(&whole(), &bad, 300).is_err());
        let bad = mangle(&record);
        assert!(bad == record || tenant_keys().open_dek(&bad, &context()).is_err());
        let bad = mangle(&row);
        let tail_only = bad.len() == row.len() && bad[..row.len() - 4] == row[..row.len() - 4];
        assert!(tail_only || row_key().open(b'o', b"k", &bad).is_err(), "all but the trailing bytes is bound");
        let _ = crate::record::ProviderRecord::parse(&bad);
    }
}

#[test]
fn fx13_every_bit_of_a_record_and_every_byte_of_its_context() {
    let keys = tenant_keys();
    let (_, record) = keys.new_dek(&context()).unwrap();
    for bit in 0..record.len() * 8 {
        let mut bad = record;
        bad[bit / 8] ^= 0x80 >> (bit % 8);
        let KeyError::Open(error) = keys.open_dek(&bad, &context()).err().unwrap() else { panic!("bit {bit}") };
        let expected: &[OpenClass] = match bit / 8 {
            0..4 => &[OpenClass::Magic],
            4 => &[OpenClass::Version],
            5 => &[OpenClass::Suite],
            6 => &[OpenClass::Kind],
            7 => &[OpenClass::Flags],
            8..12 | 16..32 | 48..104 => &[OpenClass::Commitment],
            12..16 | 32..48 => &[OpenClass::Parent],
            _ => &[OpenClass::Tag],
        };
        assert!(expected.contains(&error.class()), "bit {bit}: {:?}", error.class());
    }
    for at in 0..80 {
        let mut bytes = context().to_bytes();
        bytes[at] ^= 1;
        let field = |n: usize| bytes[16 * n..16 * n + 16].try_into().unwrap();
        let other =
            ObjectContext { tenant: field(0), geo: field(1), bucket: field(2), object: field(3), version: field(4) };
        let KeyError::Open(error) = keys.open_dek(&record, &other).err().unwrap() else { panic!("byte {at}") };
        let expected = match at {
            0..16 => OpenClass::Context,
            16..32 => OpenClass::Geo,
            _ => OpenClass::Commitment,
        };
        assert_eq!(error.class(), expected, "byte {at}");
    }
}

#[test]
fn fx14_a_record_is_good_for_one_kind_one_parent_one_context() {
    let keys = tenant_keys();
    let (_, dek_record) = keys.new_dek(&context()).unwrap();
    let (_, sk_record) = keys.new_subject_key(fill(0x30), Default::default()).unwrap();
    let (_, ik_record) = keys.new_bucket_key(fill(0x30)).unwrap();
    let credential = keys.wrap_credential(&crate::CredentialSecret::random(), fill(0x30)).unwrap();
    let kinds = |record: &[u8]| {
        [
            keys.open_dek(record, &context()).is_ok(),
            keys.open_subject_key(record, fill(0x30), Default::default()).is_ok(),
            keys.open_bucket_key(record, fill(0x30)).is_ok(),
            keys.open_credential(record, fill(0x30)).is_ok(),
        ]
    };
    assert_eq!(kinds(&dek_record), [true, false, false, false]);
    assert_eq!(kinds(&sk_record), [false, true, false, false]);
    assert_eq!(kinds(&ik_record), [false, false, true, false]);
    assert_eq!(kinds(&credential), [false, false, false, true]);
    // With the kind patched to what is asked for, the commitment refuses.
    for (good, kind) in [(sk_record, KeyKind::Ik), (ik_record, KeyKind::Credential), (credential, KeyKind::Ik)] {
        let mut bad = good;
        bad[6] = kind as u8;
        assert!(!kinds(&bad).contains(&true));
    }
    let parent = |version| Parent { name: KeyName { id: fill(0x20), version }, secret: Box::leak(Box::new(secret(1))) };
    let name = KeyName { id: fill(1), version: 1 };
    let record = record::wrap(&parent(7), KeyKind::Dek, name, &secret(9), &context());
    let refused = |result: Result<_, crate::OpenError>| result.map(drop).unwrap_err().class();
    assert_eq!(refused(record::unwrap(&parent(8), KeyKind::Dek, &record, &context())), OpenClass::Parent);
    let mut patched = record;
    patched[12..16].copy_from_slice(&8u32.to_be_bytes());
    assert_eq!(refused(record::unwrap(&parent(8), KeyKind::Dek, &patched, &context())), OpenClass::Commitment);
}

#[test]
fn fx21_limits_are_refused_not_wrapped() {
    let mut sealer = dek().sealer(&whole());
    sealer.skip_to(crate::CHUNKS_MAX);
    let mut chunk = plain(65536);
    assert_eq!(sealer.seal_chunk(&mut chunk, Last::No), Err(SealError::TooLong));
    assert_eq!(sealer.seal_chunk(&mut chunk, Last::Yes), Err(SealError::TooLong));
    assert!(chunk == plain(65536), "a refused chunk is left as it was");
    sealer.skip_to(crate::CHUNKS_MAX - 1);
    sealer.seal_chunk(&mut chunk, Last::Yes).unwrap();
    assert_eq!(sealer.seal_chunk(&mut chunk, Last::Yes), Err(SealError::Complete));
    assert!(ChunkSpan::of(0, 1, crate::SEGMENT_BYTES_MAX + 1).is_none());
    assert_eq!(plain_len(u64::MAX), None);
    let header = dek().sealer(&whole()).header().to_owned();
    let too_long = dek().opener(&whole(), &header, u64::MAX, u64::MAX).err().unwrap();
    assert_eq!(too_long.class(), OpenClass::Length);
    assert_eq!(chunk_count(crate::SEGMENT_BYTES_MAX), u64::from(crate::CHUNKS_MAX));
    assert_eq!(sealed_len(crate::SEGMENT_BYTES_MAX), 192 + 81_920 * 65_552);
}

#[test]
fn a_sealer_refuses_lengths_that_v1_cannot_express() {
    let mut sealer = dek().sealer(&whole());
    for (len, last) in [(65535, Last::No), (65537, Last::No), (0, Last::No), (65537, Last::Yes)] {
        assert_eq!(sealer.seal_chunk(&mut plain(len), last), Err(SealError::ChunkLength));
    }
    sealer.seal_chunk(&mut Vec::new(), Last::Yes).unwrap();
    assert!(sealer.is_complete());
}

#[test]
fn p13_nx02_a_row_opens_at_its_own_place_only() {
    let key = row_key();
    let row = key.seal(b'o', b"place", b"row", b"tail");
    assert_eq!(key.open(b'o', b"place", &row).unwrap().plain, b"row");
    assert_eq!(key.open(b'o', b"place", &row).unwrap().trailing, b"tail");
    let class = |result: Result<crate::OpenedRow<'_>, crate::OpenError>| result.err().unwrap().class();
    assert_eq!(class(key.open(b'o', b"placf", &row)), OpenClass::Commitment);
    assert_eq!(class(key.open(b'o', b"", &row)), OpenClass::Commitment);
    assert_eq!(class(key.open(b'd', b"place", &row)), OpenClass::Kind);
    let other = BucketContext { bucket: fill(1), ..key.context() };
    let other = RowKey::new(secret(0x11), 3, other, Lease::permanent());
    assert_eq!(class(other.open(b'o', b"place", &row)), OpenClass::Commitment);
    for bit in 0..(row.len() - 4) * 8 {
        let mut bad = row.clone();
        bad[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(key.open(b'o', b"place", &bad).is_err(), "bit {bit}");
    }
    for len in 0..row.len() {
        assert!(key.open(b'o', b"place", &row[..len]).is_err(), "cut at {len}");
    }
    let long = vec![7; 500];
    assert_eq!(key.open(b'l', &long, &key.seal(b'l', &long, b"row", b"")).unwrap().plain, b"row");
}

#[test]
fn errors_say_one_word_outside() {
    let error = dek().open_whole(&whole(), b"short", 0).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), format!("{error:?}").as_str()),
        ("the sealed bytes did not open", "OpenError")
    );
    assert_eq!(format!("{:?}", KeyError::from(error)), "Open(OpenError)");
    assert_eq!(error.class().as_str(), "length");
}

#[test]
fn what_failed_to_open_leaves_no_plaintext() {
    let mut bad = sealed(THREE);
    let last = bad.len() - 1;
    bad[last] ^= 1;
    assert!(dek().open_whole_in_place(&whole(), &mut bad, THREE as u64).is_err());
    assert!(bad.is_empty());
}

fn row_key() -> RowKey {
    let context = BucketContext { tenant: fill(0x10), geo: geo(), bucket: fill(0x30) };
    RowKey::new(secret(0x11), 3, context, Lease::permanent())
}

use crate::KeyError;

#[test]
fn seal_all_and_the_streaming_sealer_agree() {
    for len in [0, 1, 65536, 65537, THREE] {
        let at_once = seal_all(dek().sealer_with_salt(&whole(), run(1)), &plain(len));
        let mut sealer = dek().sealer_with_salt(&whole(), run(1));
        let mut streamed = sealer.header().to_vec();
        let n = chunk_count(len as u64) as usize;
        for index in 0..n {
            let mut chunk = plain(len)[index * 65536..((index + 1) * 65536).min(len)].to_vec();
            sealer.seal_chunk(&mut chunk, if index + 1 == n { Last::Yes } else { Last::No }).unwrap();
            streamed.extend(chunk);
        }
        assert!(at_once == streamed && at_once.len() as u64 == sealed_len(len as u64));
    }
}
