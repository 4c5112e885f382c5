//! A zip archive as it is made: every file stored as it is, its length and CRC behind it, so that nothing has to be whole
//! in memory. Always ZIP64. Source: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.

use crc_fast::{CrcAlgorithm, Digest};

/// Version needed: 4.5, ZIP64.
const NEEDED: u16 = 45;
/// Sizes behind the data; names are UTF-8.
const FLAGS: u16 = 0x0808;
/// The first of January 1980, the oldest date there is: nothing here depends on when.
const DATE: u16 = 0x21;
/// Elsewhere: in the ZIP64 field.
const ELSEWHERE: u32 = u32::MAX;

/// What is in the archive so far.
#[derive(Default)]
pub(super) struct Zip {
    files: Vec<Listed>,
    /// Bytes given out.
    at: u64,
}

struct Listed {
    name: String,
    at: u64,
    len: u64,
    crc: u32,
}

/// A file that is being added.
pub(super) struct Adding {
    name: String,
    at: u64,
    len: u64,
    crc: Digest,
}

impl Adding {
    /// Counts bytes that are given out behind the file's head.
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.crc.update(bytes);
    }
}

impl Zip {
    /// Begins a file; its bytes have to follow.
    pub(super) fn begin(&mut self, name: &str) -> (Vec<u8>, Adding) {
        let mut head = Vec::with_capacity(64);
        put32(&mut head, 0x0403_4b50);
        [NEEDED, FLAGS, 0, 0, DATE].iter().for_each(|field| put16(&mut head, *field));
        [0, ELSEWHERE, ELSEWHERE].iter().for_each(|field| put32(&mut head, *field));
        put16(&mut head, name_len(name));
        put16(&mut head, 20);
        head.extend_from_slice(name.as_bytes());
        put16(&mut head, 1);
        put16(&mut head, 16);
        head.extend_from_slice(&[0; 16]);
        let adding =
            Adding { name: name.to_owned(), at: self.at, len: 0, crc: Digest::new(CrcAlgorithm::Crc32IsoHdlc) };
        self.at += head.len() as u64;
        (head, adding)
    }

    /// What follows the bytes of a file.
    pub(super) fn end(&mut self, file: Adding) -> Vec<u8> {
        let crc = u32::try_from(file.crc.finalize()).expect("a CRC-32 has 32 bits");
        let mut tail = Vec::with_capacity(24);
        put32(&mut tail, 0x0807_4b50);
        put32(&mut tail, crc);
        put64(&mut tail, file.len);
        put64(&mut tail, file.len);
        self.at += file.len + tail.len() as u64;
        self.files.push(Listed { name: file.name, at: file.at, len: file.len, crc });
        tail
    }

    /// What the archive ends with.
    pub(super) fn close(self) -> Vec<u8> {
        let mut out = Vec::new();
        for file in &self.files {
            put32(&mut out, 0x0201_4b50);
            // Made on Unix, so that the mode below means something.
            [3 << 8 | NEEDED, NEEDED, FLAGS, 0, 0, DATE].iter().for_each(|field| put16(&mut out, *field));
            [file.crc, ELSEWHERE, ELSEWHERE].iter().for_each(|field| put32(&mut out, *field));
            [name_len(&file.name), 28, 0, 0, 0].iter().for_each(|field| put16(&mut out, *field));
            put32(&mut out, 0o100_600 << 16);
            put32(&mut out, ELSEWHERE);
            out.extend_from_slice(file.name.as_bytes());
            put16(&mut out, 1);
            put16(&mut out, 24);
            [file.len, file.len, file.at].iter().for_each(|field| put64(&mut out, *field));
        }
        let (len, count, end) = (out.len() as u64, self.files.len() as u64, self.at + out.len() as u64);
        put32(&mut out, 0x0606_4b50);
        put64(&mut out, 44);
        [NEEDED, NEEDED].iter().for_each(|field| put16(&mut out, *field));
        [0, 0].iter().for_each(|field| put32(&mut out, *field));
        [count, count, len, self.at].iter().for_each(|field| put64(&mut out, *field));
        put32(&mut out, 0x0706_4b50);
        put32(&mut out, 0);
        put64(&mut out, end);
        put32(&mut out, 1);
        put32(&mut out, 0x0605_4b50);
        [0, 0, u16::MAX, u16::MAX].iter().for_each(|field| put16(&mut out, *field));
        [ELSEWHERE, ELSEWHERE].iter().for_each(|field| put32(&mut out, *field));
        put16(&mut out, 0);
        out
    }
}

fn name_len(name: &str) -> u16 {
    u16::try_from(name.len()).expect("names of files in an archive are ours, and short")
}

fn put16(out: &mut Vec<u8>, field: u16) {
    out.extend_from_slice(&field.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, field: u32) {
    out.extend_from_slice(&field.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, field: u64) {
    out.extend_from_slice(&field.to_le_bytes());
}
