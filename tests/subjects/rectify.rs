//! R43. The story: an entry about somebody is wrong. It is put right, and what it was is gone and not only hidden; a court
//! that wants the wrong one kept delays that, and nothing else does: not a size, not a lost connection, not a lost process.

use super::requests::{ask, blobs, dsr, get, open, put, wait_until};
use super::{ONE, files};
use geoseal_support::clients::Ran;
use geoseal_support::records;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::Request;
use geoseal_support::wire::{Wire, client_config};
use serde_json::Value;
use std::fs;
use std::path::Path;

const CANARY: &[u8] = b"wrong-entry-Zq81";

fn correct(server: &Server, id: &str, object: &str, content: &[u8], flags: &[&str]) -> Ran {
    let (named, right) = (server.home().join("named"), server.home().join("right"));
    fs::write(&named, object).expect("a scratch file");
    fs::write(&right, content).expect("a scratch file");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (named, right) = (text(&named), text(&right));
    let asked = ["rectify", id, "--bucket", BUCKET, "--object-file", &named, "--content", &right];
    dsr(server, &[&asked, flags].concat())
}

fn state(server: &Server, id: &str) -> String {
    dsr(server, &["show", id]).json()["state"].as_str().expect("a state").to_owned()
}

fn uploads(server: &Server) -> usize {
    let page = ask(server, Request::new("GET", &format!("/{BUCKET}")).query("uploads", ""));
    assert_eq!(page.status, 200);
    page.text().matches("<UploadId>").count()
}

/// Whether any file below the data directory has these bytes in it.
fn on_disk(server: &Server, needle: &[u8]) -> bool {
    files(&server.data().join("data"))
        .iter()
        .filter_map(|file| fs::read(file).ok())
        .any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
}

/// Begins to send a correction to the admin listener, and stops in the middle of it.
fn half_sent(server: &Server, id: &str, object: &str) -> Wire {
    let config = client_config(&server.authority(), &[&rustls::version::TLS13]);
    let mut wire = Wire::connect(server.admin(), config).expect("the admin listener answers");
    let line = format!("{}\n", serde_json::json!({ "bucket": BUCKET, "object": object }));
    let head = format!(
        "POST /admin/v1/tenants/demo/dsrs/{id}/rectify HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n{line}",
        wire.host(),
        server.admin_token().trim(),
        line.len() + 4_000_000,
    );
    wire.send(head.as_bytes()).expect("the server reads");
    wire.send(&vec![b'x'; 2_000_000]).expect("the server reads");
    wire
}

#[test]
fn r43_what_an_object_was_is_gone_and_a_hold_only_delays_that() {
    let mut server = Server::start();
    let wrong = [CANARY, &records::bytes(7, 900_000)].concat();
    for name in ["large", "held"] {
        assert_eq!(put(&server, name, ONE, &wrong).status, 200);
    }
    assert_eq!(put(&server, "small", ONE, CANARY).status, 200);
    let sealed: Vec<_> = blobs(&server).iter().map(|blob| fs::read(blob).expect("our own file")).collect();
    let parts: Vec<_> = sealed.iter().map(|sealed| sealed[500_000..500_032].to_vec()).collect();
    assert!(parts.len() == 2 && parts.iter().all(|part| on_disk(&server, part)));

    // A body of any size: 9 MiB is more than one part of what the listener keeps in memory of any other request.
    let right = records::bytes(8, 9 << 20);
    let old = get(&server, "large").header("x-amz-version-id").unwrap_or_default().to_owned();
    let id = open(&server, ONE, "rectify", &[]);
    let plan = correct(&server, &id, "large", &right, &["--dry-run"]).json();
    assert_eq!((&plan["counts"]["objects"], &plan["counts"]["deferred"]), (&1.into(), &0.into()), "{plan}");
    let done = correct(&server, &id, "large", &right, &[]).json();
    assert_ne!(done["from"], done["to"], "{done}");
    assert!(get(&server, "large").body == right);
    assert_eq!(state(&server, &id), "done");
    assert_eq!(correct(&server, &id, "large", b"once more", &[]).code(), Some(4), "it is done");
    wait_until("the sealed bytes of before are gone", || {
        parts.iter().filter(|part| on_disk(&server, part)).count() == 1
    });
    let gone = ask(&server, Request::new("GET", &format!("/{BUCKET}/large")).query("versionId", &old));
    assert!(old.is_empty() || gone.status == 404, "{}", gone.status);
    // What is small lies in the index as it did, and is found by its subject.
    let id = open(&server, ONE, "rectify", &[]);
    let before = blobs(&server);
    correct(&server, &id, "small", b"right", &[]).ok();
    wait_until("it moves into its row", || blobs(&server) == before);
    assert_eq!(get(&server, "small").body, b"right");

    // A hold: 409, on record, and the object stays as it is.
    let hold =
        ["hold", "place", "M-9", "--tenant", "demo", "--scope", "object:interactions/held", "--matter", "A v. B"];
    server.geoseal(&hold).ok();
    let waits = open(&server, ONE, "rectify", &[]);
    let plan = correct(&server, &waits, "held", &right, &["--dry-run"]).json();
    assert_eq!((&plan["counts"]["objects"], &plan["counts"]["deferred"]), (&0.into(), &1.into()), "{plan}");
    let refused = correct(&server, &waits, "held", &[CANARY, &right].concat(), &[]);
    let said: Value = serde_json::from_str(&refused.stdout()).expect("a problem");
    assert_eq!((refused.code(), &said["status"], &said["code"]), (Some(7), &409.into(), &"LegalHold".into()), "{said}");
    assert_eq!(said["holds"][0], "M-9");
    assert_eq!(state(&server, &waits), "deferred");
    assert_eq!(correct(&server, &waits, "held", b"another", &[]).code(), Some(4), "one content waits");
    assert!(server.geoseal(&["hold", "show", "M-9"]).ok().contains(&waits), "the hold says what waits for it");
    assert_eq!(uploads(&server), 0, "what waits is no client's upload");
    server.kill();
    server.restart();
    server.geoseal(&["sweep", "run"]).ok();
    assert!(get(&server, "held").body == wrong && state(&server, &waits) == "deferred");
    assert!(!on_disk(&server, CANARY), "what waits is sealed");

    assert!(server.geoseal(&["hold", "release", "M-9"]).ok().contains(&waits), "its release says what goes on");
    server.geoseal(&["sweep", "run"]).ok();
    wait_until("it goes on", || state(&server, &waits) == "done");
    assert!(get(&server, "held").body == [CANARY, &right].concat());
    wait_until("and the old bytes go", || parts.iter().all(|part| !on_disk(&server, part)));
    let log = server.geoseal(&["audit", "tail", "-n", "200", "--json"]).ok();
    for event in ["act-deferred", "act-resumed", "object-rectified"] {
        assert!(log.contains(event), "{event}");
    }

    // Cut off in the middle: by whoever sends, and by the power. Nothing of it is left, and it can be asked again.
    let cut = open(&server, ONE, "rectify", &[]);
    let wire = half_sent(&server, &cut, "small");
    wait_until("it is running", || state(&server, &cut) == "running");
    drop(wire);
    wait_until("it is taken back", || state(&server, &cut) == "open");
    let _wire = half_sent(&server, &cut, "small");
    wait_until("it is running", || state(&server, &cut) == "running");
    server.kill();
    server.restart();
    wait_until("it is taken back", || state(&server, &cut) == "open");
    assert_eq!(get(&server, "small").body, b"right");
    correct(&server, &cut, "small", b"right at last", &[]).ok();
    assert_eq!((get(&server, "small").body, state(&server, &cut)), (b"right at last".to_vec(), "done".to_owned()));

    // What waits for a release goes with whoever is erased meanwhile.
    server.geoseal(&[
        "hold",
        "place",
        "M-10",
        "--tenant",
        "demo",
        "--scope",
        "object:interactions/held",
        "--matter",
        "B",
    ]);
    let waits = open(&server, ONE, "rectify", &[]);
    assert_eq!(correct(&server, &waits, "held", &right, &[]).code(), Some(7));
    let erase = open(&server, ONE, "erase", &[]);
    dsr(&server, &["erase", &erase, "--confirm", "demo"]).ok();
    server.geoseal(&["hold", "release", "M-10"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
    wait_until("the erasure goes on", || state(&server, &erase) == "done");
    wait_until("nothing waits any more", || state(&server, &waits) == "open");
    wait_until("no sealed byte is left", || blobs(&server).is_empty());
    server.geoseal(&["audit", "verify"]).ok();
}
