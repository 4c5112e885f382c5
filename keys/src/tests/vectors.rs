//! The frozen vectors of docs/object-format.md, byte for byte. If one of these fails, the format changed.

use super::*;
use crate::derive::{self, Purpose};
use crate::record::{KeyKind, Parent, wrap_with_salt};
use crate::segment::seal_all;
use crate::{BucketContext, KeyError, RowKey};

fn file(name: &str) -> String {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path} is part of the tree"))
}

/// The hexadecimal digits of a vector file; lines that start with `#` say what it is.
fn hex_file(name: &str) -> Vec<u8> {
    let digits: String = file(name).lines().filter(|line| !line.starts_with('#')).collect();
    hex::decode(digits.replace(char::is_whitespace, "")).expect("hexadecimal")
}

#[test]
fn purpose_key() {
    let key = derive::purpose(&secret(0x01), Purpose::WrapDek, &fill(0x10), &geo());
    assert_eq!(key.bytes(), hex_file("wrap-dek.hex").as_slice());
}

#[test]
fn record_of_a_data_key() {
    let parent = derive::purpose(&secret(0x01), Purpose::WrapDek, &fill(0x10), &geo());
    let parent = Parent { name: KeyName { id: fill(0x20), version: 7 }, secret: &parent };
    let name = KeyName { id: fill(0x70), version: 1 };
    let record = wrap_with_salt(&parent, KeyKind::Dek, name, &secret(0x80), &context(), run(0xa0));
    assert_eq!(record.as_slice(), hex_file("record-dek.hex"));
    let opened = tenant_keys().open_dek(&record, &context()).unwrap();
    assert_eq!((opened.id(), opened.secret().bytes()), (fill(0x70), &run(0x80)));
}

#[test]
fn empty_object() {
    let sealed = seal_all(dek().sealer_with_salt(&info(SegmentKind::Whole, 0), run(0xc0)), b"");
    assert_eq!(sealed, hex_file("segment-empty.hex"));
    assert_eq!(dek().open_whole(&info(SegmentKind::Whole, 0), &sealed, 0).unwrap(), b"");
}

#[test]
fn segments_by_length() {
    let mut seen = 0;
    for line in file("segments.tsv").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |i: usize| fields[i].parse::<usize>().unwrap();
        let (len, part) = (number(0), u16::try_from(number(2)).unwrap());
        let info = info(if number(1) == 1 { SegmentKind::Whole } else { SegmentKind::Part }, part);
        let sealed = seal_all(dek().sealer_with_salt(&info, run(0xc0)), &plain(len));
        assert_eq!(sealed.len(), number(3), "length of {line}");
        let digest = ring::digest::digest(&ring::digest::SHA256, &sealed);
        assert_eq!(hex::encode(digest), fields[4], "digest of {line}");
        assert!(dek().open_whole(&info, &sealed, len as u64).unwrap() == plain(len));
        seen += 1;
    }
    assert_eq!(seen, 7);
}

fn row_key() -> RowKey {
    let owner = BucketContext { tenant: fill(0x10), geo: geo(), bucket: fill(0x30) };
    RowKey::new(secret(0x11), 3, owner, Lease::permanent())
}

fn row_place() -> Vec<u8> {
    [b"o".as_slice(), &fill(0x30), &fill(0x44), &[0xff; 8]].concat()
}

/// Made by the Python code, not by ours.
#[test]
fn row_and_token() {
    let row = hex_file("row-object.hex");
    assert_eq!(row_key().seal_with_salt(b'o', &row_place(), b"a row", b"tail", run(0xa0)), row);
    let opened = row_key().open(b'o', &row_place(), &row).unwrap();
    assert_eq!((opened.plain.as_slice(), opened.trailing), (b"a row".as_slice(), b"tail".as_slice()));
    assert_eq!(row_key().token(b"inbox/1").as_slice(), hex_file("token.hex"));
}

/// Every file of `bad/` is refused, and for the reason it was made for. They too were made by the Python code; most are
/// sealed correctly but for the one thing their name says.
#[test]
fn bad_vectors() {
    let mut counts = std::collections::BTreeMap::new();
    let dir = format!("{}/tests/vectors/bad", env!("CARGO_MANIFEST_DIR"));
    for path in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let (_, digits) = text.split_once("\n\n").unwrap();
        let bytes = hex::decode(digits.replace('\n', "")).unwrap();
        let what = field("what: ").unwrap();
        let refused = match what.as_str() {
            "segment" => {
                let len = field("length: ").unwrap().parse().unwrap();
                dek().open_whole(&info(SegmentKind::Whole, 0), &bytes, len).err()
            }
            "record" => match tenant_keys().open_dek(&bytes, &context()).err() {
                Some(KeyError::Open(error)) => Some(error),
                _ => None,
            },
            "row" => row_key().open(b'o', &row_place(), &bytes).err(),
            other => panic!("{path:?}: what is a {other}?"),
        };
        assert_eq!(refused.map(|error| error.class().as_str()), field("expect: ").as_deref(), "{path:?}");
        *counts.entry(what).or_insert(0) += 1;
    }
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [("record".to_owned(), 23), ("row".to_owned(), 25), ("segment".to_owned(), 46)]
    );
}
