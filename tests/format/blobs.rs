//! FX-01 to FX-05, FX-19: a blob is altered in every way that leaves it a file. Nothing that did not verify is served,
//! what is whole still is, and every fault is counted and in the audit log.

use super::attack::{CHUNK, Caller, HEADER, SEALED_CHUNK, Stored, get};
use geoseal_support::{
    server::{BUCKET, Server},
    signer::Request,
    wire::{Wire, client_config},
};
use std::{collections::BTreeSet, fs, path::Path};

/// Five chunks, the last one short.
const LEN: usize = 4 * CHUNK + 1_000;
const LAST: usize = 4;

fn five_chunks(server: &Server, caller: &mut Caller, name: &str) -> (Stored, Vec<u8>) {
    let stored = caller.store(server, BUCKET, name, LEN);
    let [file] = &stored.files[..] else { panic!("one blob") };
    let sealed = fs::read(file).expect("a blob can be read");
    assert_eq!(sealed.len(), HEADER + LEN + 16 * (LAST + 1));
    (stored, sealed)
}

/// What an attacker writes in place.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the data directory is ours");
}

fn flipped(sealed: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = sealed.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// The plaintext of a chunk, first and last byte.
fn span(chunk: usize) -> (usize, usize) {
    (chunk * CHUNK, ((chunk + 1) * CHUNK).min(LEN) - 1)
}

fn chunk_at(chunk: usize) -> usize {
    HEADER + chunk * SEALED_CHUNK
}

#[test]
fn r48_any_bit_of_the_header_matters() {
    let server = Server::start();
    let mut caller = Caller::demo(&server);
    let (stored, sealed) = five_chunks(&server, &mut caller, "header");
    for bit in 0..HEADER * 8 {
        overwrite(&stored.files[0], &flipped(&sealed, bit));
        // The last byte of the object: far from the header, and all the same.
        caller.assert_range_refused(&stored, (LEN - 1, LEN - 1), &format!("bit {bit}"));
    }
    overwrite(&stored.files[0], &sealed);
    caller.assert_served(&stored, "whole again");

    let classes: BTreeSet<String> = recorded(&server).into_iter().collect();
    let expected = ["chunk-size", "commitment", "context", "flags", "geo", "kind", "magic", "suite", "version"];
    assert_eq!(classes, expected.map(str::to_owned).into());
    assert!(counted(&server) >= HEADER as u64 * 8, "every refusal is counted");
    assert!(server.geoseal(&["audit", "verify"]).ok().contains("europe"));
}

#[test]
fn r48_a_flipped_bit_costs_its_chunk_and_no_other() {
    let mut server = Server::start();
    let mut caller = Caller::demo(&server);
    let mut damaged = vec![];
    for chunk in [0, 2, LAST] {
        let (from, to) = span(chunk);
        for (what, byte) in [
            ("its first byte", chunk_at(chunk)),
            ("its last byte", chunk_at(chunk) + to - from),
            ("its tag", chunk_at(chunk) + to - from + 1),
            ("the end of its tag", chunk_at(chunk) + to - from + 16),
        ] {
            let when = format!("chunk {chunk}, {what}");
            let (stored, sealed) = five_chunks(&server, &mut caller, &when);
            damaged.push((stored, flipped(&sealed, byte * 8 + 3), chunk, when));
        }
    }
    server.terminate();
    for (stored, sealed, ..) in &damaged {
        overwrite(&stored.files[0], sealed);
    }
    server.restart();
    let mut caller = Caller::demo(&server);
    for (stored, _, chunk, when) in &damaged {
        let (from, to) = span(*chunk);
        for touching in [(from, from), (to, to), (from, LEN - 1)] {
            caller.assert_range_refused(stored, touching, when);
        }
        for other in (0..=LAST).filter(|other| other != chunk) {
            caller.assert_range_served(stored, span(other), when);
        }
        if *chunk == 0 {
            caller.assert_refused(stored, when);
        } else {
            caller.assert_cut_off(stored, from, when);
        }
    }
    assert_eq!(recorded(&server), vec!["tag"; damaged.len()], "one entry for each version");
    assert!(server.geoseal(&["audit", "verify"]).ok().contains("europe"));
}

#[test]
fn a_blob_that_was_cut_or_grew_is_refused_also_where_it_is_whole() {
    let server = Server::start();
    let mut caller = Caller::demo(&server);
    let (stored, sealed) = five_chunks(&server, &mut caller, "length");
    let borders = (0..=LAST).map(chunk_at).chain([0, 1, HEADER - 1]);
    let ends = [1, 15, 16, 17].map(|less| sealed.len() - less);
    let cut = borders.chain(ends).map(|len| (format!("cut to {len}"), sealed[..len].to_vec()));
    let own_chunk = &sealed[chunk_at(1)..chunk_at(2)];
    let grown = (1..=17).map(|more| vec![0; more]).chain([own_chunk.to_vec(), sealed.clone()]);
    let grown = grown.map(|more| (format!("grown by {}", more.len()), [&sealed[..], &more].concat()));
    for (when, altered) in cut.chain(grown) {
        overwrite(&stored.files[0], &altered);
        for range in [(0, 0), span(0), span(LAST)] {
            caller.assert_range_refused(&stored, range, &when);
        }
        caller.assert_refused(&stored, &when);
    }
    fs::remove_file(&stored.files[0]).expect("the data directory is ours");
    caller.assert_refused(&stored, "taken away");
    overwrite(&stored.files[0], &sealed);
    caller.assert_served(&stored, "whole again");
}

#[test]
fn r48_p13_chunks_that_were_swapped_doubled_or_dropped_are_refused() {
    let server = Server::start();
    let mut caller = Caller::demo(&server);
    let (stored, sealed) = five_chunks(&server, &mut caller, "order");
    let (other, foreign) = five_chunks(&server, &mut caller, "another object");
    let pieces: Vec<&[u8]> = std::iter::once(&sealed[..HEADER]).chain(sealed[HEADER..].chunks(SEALED_CHUNK)).collect();
    let arranged = |order: &[usize]| order.iter().map(|piece| pieces[*piece]).collect::<Vec<_>>().concat();

    // Pieces 1 to 5 are the chunks 0 to 4.
    overwrite(&stored.files[0], &arranged(&[0, 2, 1, 3, 4, 5]));
    caller.assert_refused(&stored, "the first two swapped");
    caller.assert_range_served(&stored, span(2), "the first two swapped");
    overwrite(&stored.files[0], &arranged(&[0, 1, 2, 4, 3, 5]));
    caller.assert_cut_off(&stored, 2 * CHUNK, "two in the middle swapped");
    overwrite(&stored.files[0], &arranged(&[0, 1, 1, 3, 4, 5]));
    caller.assert_cut_off(&stored, CHUNK, "one doubled over another");
    overwrite(&stored.files[0], &arranged(&[0, 1, 2, 3, 3, 4, 5]));
    caller.assert_refused(&stored, "one doubled");
    overwrite(&stored.files[0], &arranged(&[0, 1, 2, 4, 5]));
    caller.assert_refused(&stored, "one dropped");

    // FX-07: the same place in another object of the same tenant, bucket and length.
    let mut spliced = sealed.clone();
    spliced[chunk_at(3)..chunk_at(4)].copy_from_slice(&foreign[chunk_at(3)..chunk_at(4)]);
    overwrite(&stored.files[0], &spliced);
    caller.assert_cut_off(&stored, 3 * CHUNK, "a foreign chunk");
    caller.assert_range_refused(&stored, span(3), "a foreign chunk");
    caller.assert_range_served(&stored, span(LAST), "a foreign chunk");
    caller.assert_served(&other, "whose chunk it is");
}

/// A HEAD opens no chunk, so it tells what the row says; a copy of damaged bytes makes nothing.
#[test]
fn a_damaged_object_is_not_copied() {
    let server = Server::start();
    let mut caller = Caller::demo(&server);
    let (stored, sealed) = five_chunks(&server, &mut caller, "source");
    for byte in [chunk_at(0), chunk_at(3)] {
        overwrite(&stored.files[0], &flipped(&sealed, byte * 8));
        let copy = Request::new("PUT", &format!("/{BUCKET}/copy"));
        let copied = caller.call(copy.header("x-amz-copy-source", &format!("/{BUCKET}/source")));
        assert!(!copied.text().contains("<ETag>"), "{} {}", copied.status, copied.text());
        assert_eq!(caller.call(Request::new("GET", &format!("/{BUCKET}/copy"))).status, 404);
        assert_eq!(caller.call(Request { method: "HEAD".into(), ..get(&stored) }).status, 200);
    }
}

/// The classes of all integrity failures in the audit log, oldest first.
pub(super) fn recorded(server: &Server) -> Vec<String> {
    let page = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).json();
    let entries = page["entries"].as_array().expect("a page has entries").iter();
    let failures = entries.filter(|e| ["integrity-failed", "row-damaged"].contains(&e["event"].as_str().unwrap_or("")));
    failures.map(|e| e["detail"]["class"].as_str().expect("a failure has a class").to_owned()).collect()
}

/// How many the metrics tell of.
fn counted(server: &Server) -> u64 {
    let config = client_config(&server.authority(), &[&rustls::version::TLS13]);
    let mut wire = Wire::connect(server.admin(), config).expect("the admin listener accepts");
    let bearer = format!("Bearer {}", server.admin_token());
    let host = server.admin().to_string();
    let request = Request::new("GET", "/metrics").header("host", &host).header("authorization", &bearer);
    let text = wire.exchange(&request).expect("metrics are served").text();
    let line = text.lines().find_map(|line| line.strip_prefix("geoseal_integrity_failures_total "));
    line.unwrap_or_else(|| panic!("no count in {text}")).parse().expect("a number")
}
