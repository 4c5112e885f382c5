//! The frozen vectors of docs/object-format.md, byte for byte. If one of these fails, the format changed.

use super::*;
use crate::derive::{self, Purpose};
use crate::record::{KeyKind, Parent, wrap_with_salt};
use crate::segment::seal_all;

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
