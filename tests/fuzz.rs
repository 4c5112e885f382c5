//! The fuzz targets on a stable toolchain: seeded mutations of a small corpus, a second or two each, the same on every
//! run. `cargo +nightly fuzz run TARGET` digs deeper with the very same checks.

#![allow(clippy::disallowed_methods, reason = "tries for so many seconds of the real clock")]

use std::{
    panic::catch_unwind,
    time::{Duration, Instant},
};

use fastrand::Rng;

#[allow(unreachable_pub, reason = "public for the fuzz targets, which are crates of their own")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use targets::{admin, ingest, precheck, record, row, segment};

/// How long each target is tried.
const PATIENCE: Duration = Duration::from_secs(2);

#[test]
fn admin_bodies() {
    mutate(admin::check, &[
        br#"{"name":"contoso","geo":"europe","home":"westeurope","consent":{"sha256":"00"},"replication":"single"}"#,
        br#"{"role":"read-only"}"#,
        br#"{"reason":"left","confirm":"contoso"}"#,
        br#"{"seconds":3600}"#,
        br#"{}"#,
    ]);
}

#[test]
fn batches_of_events() {
    const EVENT: &str = r#"{"specversion":"1.0","id":"e","source":"s","type":"email.interaction.sent",
        "time":"2026-11-20T01:30:00+02:00","geosealfollow":true,"data":{"message_id":"m","contact_kind":"lead","contact_id":"4711"}}"#;
    const BATCH: &str = r#"[{"data":{"contact_id":"a@b.ch","message_id":"<m\u00fc>","contact_kind":"contact","x":[1,{}]},"id":"e",
        "source":"urn:email-provider:ses","specversion":"1.0","type":"email.interaction.opened","time":"2026-11-20T01:30:00Z"},7]"#;
    mutate(ingest::check, &[EVENT.as_bytes(), BATCH.as_bytes(), b"[]"]);
}

#[test]
fn the_pre_check() {
    mutate(precheck::check, &[
        b"GET /interactions/a%20b?versionId=null\nhost: localhost:9000\nx-amz-date: 20261121T000000Z\n\
          x-amz-content-sha256: UNSIGNED-PAYLOAD\nauthorization: AWS4-HMAC-SHA256 \
          Credential=GSAAAAAAAAAAAAAAAAAA/20261121/westeurope/s3/aws4_request, \
          SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
          Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        b"PUT /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=GSAAAAAAAAAAAAAAAAAA%2F20261121%2Fwesteurope%2Fs3%2F\
          aws4_request&X-Amz-Date=20261121T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=\
          0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nhost: b.s3.test\ncontent-length: 3",
    ]);
}

#[test]
fn records() {
    mutate(record::check, &[&[0], &[1, 0, 8, 1], &[0; 152]]);
}

#[test]
fn rows() {
    mutate(row::check, &[&[0], &[255, 0, 40, 1], b"SROW\x01\x01o\0"]);
}

#[test]
fn segments() {
    mutate(segment::check, &[&[0], &[240, 0, 12, 3], b"\x89SEG\r\n\x1a\n\x01\0\x01"]);
}

#[test]
fn a_check_that_fails_is_noticed() {
    let failed = catch_unwind(|| mutate(|data| assert!(data.len() < 7), &[b"123456"]));
    assert!(failed.is_err());
}

/// Tries the corpus as it is, then mutations of it for a while. On a failure prints the input, for a vector file.
fn mutate(check: fn(&[u8]), corpus: &[&[u8]]) {
    let mut rng = Rng::with_seed(20_261_121);
    let begun = Instant::now();
    let mut inputs: Vec<Vec<u8>> = corpus.iter().map(|seed| seed.to_vec()).collect();
    while begun.elapsed() < PATIENCE {
        for input in &inputs {
            if let Err(why) = catch_unwind(|| check(input)) {
                let why = why.downcast_ref::<&str>().map(|w| w.to_string()).or(why.downcast_ref::<String>().cloned());
                panic!("this input fails: {}\n{}", input.escape_ascii(), why.unwrap_or_default());
            }
        }
        inputs = (0..64).map(|_| mutation(&mut rng, corpus)).collect();
    }
}

/// One of the corpus with some bytes flipped, cut out, doubled, replaced by interesting ones, or spliced with another.
fn mutation(rng: &mut Rng, corpus: &[&[u8]]) -> Vec<u8> {
    let mut bytes = corpus[rng.usize(..corpus.len())].to_vec();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..16)).min(bytes.len());
        match rng.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => {
                bytes[at] = *rng.choice(b"\0\n\r :;=&%?/\"{}[]\\\x7f\xff,-0aA").expect("not empty")
            }
            2 => drop(bytes.drain(at..end)),
            3 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
            4 => bytes.splice(at..end, (0..rng.usize(..8)).map(|_| rng.u8(..)).collect::<Vec<_>>()).for_each(drop),
            _ => {
                let other = corpus[rng.usize(..corpus.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[rng.usize(..=other.len())..]);
            }
        }
    }
    bytes
}
