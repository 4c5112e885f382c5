//! FX-16, FX-20: independent implementations agree on every byte, and a ciphertext made for two keys opens under one.
//!
//! What ring sealed is opened by aes-gcm and by aead-stream, and the other way round, from nothing but the written
//! format: the schedule here is spelled out again with `hkdf`, not taken from `derive`.

use super::*;
use crate::record::{self, KeyKind, Parent};
use crate::segment::seal_all;
use crate::{BucketContext, HEADER_BYTES, OpenClass, RowKey};
use aead_stream::{NewStream, StreamBE32, StreamPrimitive};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use std::io::Write;

fn expand<const N: usize>(key: &[u8; 32], info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    Hkdf::<Sha256>::from_prk(key).unwrap().expand(info, &mut out).unwrap();
    out
}

/// A small seeded generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> usize {
        (self.next() % n) as usize
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }

    fn id(&mut self) -> Id {
        self.bytes()
    }
}

/// The body of a segment by aes-gcm, chunk by chunk.
fn body_by_aes_gcm(dek: &[u8; 32], header: &[u8], plain: &[u8]) -> Vec<u8> {
    let okm: [u8; 71] = expand(dek, &[b"sealed-segment-v1\0", &header[..160]].concat());
    assert_eq!(okm[32..64], header[160..]);
    let cipher = Aes256Gcm::new_from_slice(&okm[..32]).unwrap();
    let aad = Sha256::digest(header);
    let n = plain.len().div_ceil(65536).max(1);
    let mut body = Vec::new();
    for i in 0..n {
        let chunk = &plain[i * 65536..((i + 1) * 65536).min(plain.len())];
        let nonce = [&okm[64..], &(i as u32).to_be_bytes(), &[u8::from(i + 1 == n)]].concat();
        let nonce: [u8; 12] = nonce.try_into().unwrap();
        body.extend(cipher.encrypt(&nonce.into(), Payload { msg: chunk, aad: &aad }).unwrap());
    }
    body
}

/// The plaintext of a body by aead-stream, which knows nothing of us.
fn plain_by_aead_stream(dek: &[u8; 32], header: &[u8], body: &[u8]) -> Vec<u8> {
    let okm: [u8; 71] = expand(dek, &[b"sealed-segment-v1\0", &header[..160]].concat());
    let cipher = Aes256Gcm::new_from_slice(&okm[..32]).unwrap();
    let prefix: [u8; 7] = okm[64..].try_into().unwrap();
    let stream = StreamBE32::<Aes256Gcm>::from_aead(cipher, &prefix.into());
    let aad = Sha256::digest(header);
    let chunks: Vec<&[u8]> = body.chunks(65552).collect();
    let mut plain = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        let payload = Payload { msg: chunk, aad: &aad };
        plain.extend(stream.decrypt(i as u32, i + 1 == chunks.len(), payload).unwrap());
    }
    plain
}

#[test]
fn fx16_ten_thousand_segments() {
    let mut random = Random(0x5EED_0001);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cases");
    let mut for_python = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for case in 0..10_000 {
        // Mostly small, as objects are; now and then around the borders of chunks.
        let len = match case % 100 {
            0 => random.below(4 * 65536),
            1 => 65535 + random.below(3),
            2 => 131_071 + random.below(3),
            _ => random.below(2000),
        };
        let part = random.below(10_001) as u16;
        let kind = if part == 0 { SegmentKind::Whole } else { SegmentKind::Part };
        let context = ObjectContext {
            tenant: random.id(),
            geo: random.id(),
            bucket: random.id(),
            object: random.id(),
            version: random.id(),
        };
        let info = SegmentInfo { kind, part, context, segment_id: random.id(), dek_id: random.id() };
        let key: [u8; 32] = random.bytes();
        let dek =
            Dek::new(KeyName { id: info.dek_id, version: 1 }, Secret::filled(|out| *out = key), Lease::permanent());
        let plain: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        let ours = seal_all(dek.sealer(&info), &plain);
        let (header, body) = ours.split_at(HEADER_BYTES);
        assert!(body == body_by_aes_gcm(&key, header, &plain), "case {case}: {len} bytes, part {part}");
        assert!(plain == plain_by_aead_stream(&key, header, body), "case {case}");
        // What aes-gcm sealed, ring opens.
        let theirs = [header, &body_by_aes_gcm(&key, header, &plain)].concat();
        assert!(dek.open_whole(&info, &theirs, len as u64).unwrap() == plain, "case {case}");
        for bytes in [
            &key[..],
            &[kind as u8],
            &part.to_be_bytes(),
            &context.to_bytes(),
            &info.segment_id,
            &info.dek_id,
            &(len as u32).to_be_bytes(),
            &plain,
            &ours,
        ] {
            for_python.write_all(bytes).unwrap();
        }
    }
    for_python.into_inner().unwrap().sync_all().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agree.py");
    let ran = std::process::Command::new("python3").arg(script).arg(&path).output().expect("python3 is installed");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(said.trim(), "10000", "Python: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn fx16_ten_thousand_records_and_rows() {
    let mut random = Random(0x5EED_0002);
    for case in 0..10_000 {
        let context = ObjectContext { tenant: random.id(), bucket: random.id(), ..context() };
        let parent_key: [u8; 32] = random.bytes();
        let parent_secret = Secret::filled(|out| *out = parent_key);
        let parent = Parent { name: KeyName { id: random.id(), version: case }, secret: &parent_secret };
        let wrapped = random.bytes::<32>();
        let secret = Secret::filled(|out| *out = wrapped);
        let name = KeyName { id: random.id(), version: 1 };
        // Wrapped by aes-gcm in `record`; unwrapped here by ring.
        let record = record::wrap(&parent, KeyKind::Dek, name, &secret, &context);
        let okm: [u8; 76] = expand(&parent_key, &[b"key-record-v1\0", &record[..72], &context.to_bytes()].concat());
        assert_eq!(okm[32..64], record[72..104]);
        let aad = [&record[..104], &context.to_bytes()].concat();
        let key: [u8; 32] = okm[..32].try_into().unwrap();
        let nonce: [u8; 12] = okm[64..].try_into().unwrap();
        let mut sealed = record[104..].to_vec();
        let opened = crate::material::BulkKey::new(&key);
        assert_eq!(opened.open(nonce, &aad, &mut sealed).unwrap(), wrapped);

        // Sealed by ring in `row`; opened here by aes-gcm.
        let owner = context.bucket_context();
        let rows = RowKey::new(Secret::filled(|out| *out = parent_key), case, owner, Lease::permanent());
        let place: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
        let plain: Vec<u8> = (0..random.below(900)).map(|_| random.next() as u8).collect();
        let row = rows.seal(b'o', &place, &plain, b"trailing");
        let bound = [&owner.to_bytes()[..], &(place.len() as u16).to_be_bytes(), &place].concat();
        let okm: [u8; 76] = expand(&parent_key, &[b"sealed-row-v1\0", &row[..40], &bound].concat());
        assert_eq!(okm[32..64], row[40..72]);
        let cipher = Aes256Gcm::new_from_slice(&okm[..32]).unwrap();
        let nonce: [u8; 12] = okm[64..].try_into().unwrap();
        let aad = [&row[..72], &bound].concat();
        let payload = Payload { msg: &row[72..row.len() - 8], aad: &aad };
        assert!(cipher.decrypt(&nonce.into(), payload).unwrap() == plain, "case {case}");
    }
}

#[test]
fn a_row_is_laid_out_as_the_page_says() {
    let owner = BucketContext { tenant: fill(1), geo: geo(), bucket: fill(2) };
    let row = RowKey::new(secret(5), 0x0102_0304, owner, Lease::permanent()).seal_with_salt(
        b'o',
        b"place",
        b"row",
        b"tail",
        run(0xa0),
    );
    assert_eq!(row[..16], *b"SROW\x01\x01o\0\x01\x02\x03\x04\0\0\0\x04");
    assert_eq!(row[16..40], run::<24>(0xa0));
    assert_eq!(row.len(), 72 + 3 + 16 + 4);
}

/// Multiplication in GCM's field: the first bit of the block is the lowest power.
fn multiply(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0, y);
    for i in 0..128 {
        if x >> (127 - i) & 1 == 1 {
            z ^= v;
        }
        v = if v & 1 == 1 { v >> 1 ^ 0xe1 << 120 } else { v >> 1 };
    }
    z
}

/// `x^(2^128 - 2)`.
fn invert(x: u128) -> u128 {
    let (mut power, mut out) = (x, 1 << 127);
    for _ in 1..128 {
        power = multiply(power, power);
        out = multiply(out, power);
    }
    out
}

/// What GCM computes for one key: the hash key, and the block that masks the tag.
fn gcm_parts(key: &[u8], nonce: &[u8]) -> (u128, u128) {
    let cipher = Aes256::new_from_slice(key).unwrap();
    let block = |bytes: [u8; 16]| {
        let mut block = bytes.into();
        cipher.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    };
    let counter: [u8; 16] = [nonce, &1u32.to_be_bytes()].concat().try_into().unwrap();
    (block([0; 16]), block(counter))
}

/// The tag of two ciphertext blocks under 32 bytes of AAD, from first principles.
fn tag_of((h, mask): (u128, u128), aad: &[u8; 32], blocks: [u128; 2]) -> u128 {
    let word = |at: usize| u128::from_be_bytes(aad[at..at + 16].try_into().unwrap());
    let lengths = 256u128 << 64 | 256;
    let sum = [word(0), word(16), blocks[0], blocks[1], lengths].into_iter().fold(0, |sum, x| multiply(sum ^ x, h));
    sum ^ mask
}

/// FX-20: one ciphertext and tag that are valid under two keys. AES-GCM alone accepts both; the commitment does not.
#[test]
fn fx20_a_ciphertext_valid_under_two_keys_opens_under_the_committed_one_only() {
    let info = info(SegmentKind::Whole, 0);
    let keys: [[u8; 32]; 2] = [run(0x80), run(0x11)];
    let deks = keys.map(|key| {
        Dek::new(KeyName { id: info.dek_id, version: 1 }, Secret::filled(|out| *out = key), Lease::permanent())
    });
    let header = *deks[0].sealer(&info).header();
    let aad: [u8; 32] = Sha256::digest(header).into();
    let okms = keys.map(|key| expand::<71>(&key, &[b"sealed-segment-v1\0", &header[..160]].concat()));
    let nonces = okms.map(|okm| <[u8; 12]>::try_from([&okm[64..], &[0, 0, 0, 0, 1]].concat()).unwrap());
    let parts = [0, 1].map(|i| gcm_parts(&okms[i][..32], &nonces[i]));

    // The second block stands at H^2, so the two tags are equal for exactly one value of it.
    let free = 0x1234_5678u128;
    let difference = tag_of(parts[0], &aad, [free, 0]) ^ tag_of(parts[1], &aad, [free, 0]);
    let squares = multiply(parts[0].0, parts[0].0) ^ multiply(parts[1].0, parts[1].0);
    let blocks = [free, multiply(difference, invert(squares))];
    let tag = tag_of(parts[0], &aad, blocks);
    assert_eq!(tag, tag_of(parts[1], &aad, blocks));
    let body = [blocks[0].to_be_bytes(), blocks[1].to_be_bytes(), tag.to_be_bytes()].concat();

    for i in [0, 1] {
        let cipher = Aes256Gcm::new_from_slice(&okms[i][..32]).unwrap();
        let opened = cipher.decrypt(&nonces[i].into(), Payload { msg: &body, aad: &aad });
        assert!(opened.is_ok(), "plain AES-GCM is content with key {i}");
    }
    let sealed = [&header[..], &body].concat();
    assert!(deks[0].open_whole(&info, &sealed, 32).is_ok());
    assert_eq!(deks[1].open_whole(&info, &sealed, 32).unwrap_err().class(), OpenClass::Commitment);
}
