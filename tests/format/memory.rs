//! A body of any length passes in constant memory, in both directions, whoever is slow.

use super::attack::Caller;
use geoseal_support::{
    records::bytes,
    server::{BUCKET, Server},
    signer::{Body, Request, object_path},
    wire::Wire,
};
use sha2::{Digest, Sha256};
use std::fs;

const LEN: usize = 300 << 20;
const PIECE: usize = 1 << 20;
/// What the server may need above what it needed before, while 300 MiB pass.
const MEMORY_MAX: usize = 200 << 20;

#[test]
fn three_hundred_mebibytes_pass_in_constant_memory() {
    let server = Server::start();
    // Whatever a first request of each kind brings into memory to stay.
    Caller::demo(&server).store(&server, BUCKET, "first", 100_000);
    let idle = memory(&server, "VmRSS");

    let mut wire = Wire::to(&server);
    let (who, host, path) = (server.credentials(), server.s3().to_string(), object_path(BUCKET, "large"));
    let put = Request::new("PUT", &path).header("content-length", &LEN.to_string());
    wire.send(&put.signed(&who, &host, Body::Unsigned).head()).expect("the server listens");
    let mut sent = Sha256::new();
    for number in 0..LEN / PIECE {
        let piece = bytes(number as u64, PIECE);
        sent.update(&piece);
        wire.send(&piece).expect("the server takes it");
    }
    assert_eq!(wire.answer("PUT").expect("the server answers").status, 200);
    let up = memory(&server, "VmHWM");
    assert!(up < idle + MEMORY_MAX, "idle {idle}, while it came in {up}");

    let get = Request::new("GET", &path).signed(&who, &host, Body::Unsigned);
    let got = wire.exchange(&get).expect("the server answers");
    assert!(got.body.len() == LEN && Sha256::digest(&got.body) == sent.finalize(), "it came back different");
    let down = memory(&server, "VmHWM");
    assert!(down < idle + MEMORY_MAX, "idle {idle}, while it went out {down}");
}

/// A line of the process's status, in bytes.
fn memory(server: &Server, line: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("Linux tells");
    let value = status.lines().find_map(|l| l.strip_prefix(line)).expect("the line is there");
    let kib: usize = value.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse().expect("a number of KiB");
    kib << 10
}
