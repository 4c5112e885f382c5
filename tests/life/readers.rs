//! The story: somebody downloads a large object over a slow line, and meanwhile it is re-encrypted, overwritten, deleted.
//! What he gets is the object as it was when he asked, to its last byte; then the old sealed bytes are gone.

use crate::format::blobs_of;
use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET, Launch, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::Wire;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// More than a connection buffers on its way.
const LARGE: usize = 32 << 20;

/// A download that has begun and of which nothing is read yet.
fn begin(server: &Server, name: &str) -> Wire {
    let mut wire = Wire::to(server);
    let get = Request::new("GET", &object_path(BUCKET, name));
    let get = get.signed(&server.credentials(), &server.s3().to_string(), Body::Unsigned);
    wire.send(&get.bytes()).expect("the server listens");
    assert_eq!(wire.socket().peek(&mut [0; 1]).expect("an answer"), 1);
    wire
}

fn wait_for_blobs(server: &Server, count: usize, why: &str) {
    let begun = Instant::now();
    while blobs_of(server).len() != count {
        assert!(begun.elapsed() < PATIENCE, "{why}: {} blobs", blobs_of(server).len());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn k12_a_download_that_is_under_way_ends_whole_whatever_becomes_of_its_object() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let mut wire = Wire::to(&server);
    let names = ["reencrypted", "overwritten", "deleted"];
    let bodies: Vec<_> = (0..).zip(names).map(|(seed, name)| (name, bytes(seed, LARGE))).collect();
    for (name, body) in &bodies {
        let put = Request::new("PUT", &object_path(BUCKET, name)).body(body.clone());
        assert_eq!(wire.call(&server, put).status, 200);
    }
    let mut slow: Vec<_> = names.iter().map(|name| begin(&server, name)).collect();
    let done = server.geoseal(&["key", "reencrypt", "--tenant", "demo", "--json"]).json();
    assert_eq!(done["result"]["reencryption"]["rewrapped"], 3, "{done}");
    let put = Request::new("PUT", &object_path(BUCKET, "overwritten")).body(b"new".to_vec());
    assert_eq!(wire.call(&server, put).status, 200);
    assert_eq!(wire.call(&server, Request::new("DELETE", &object_path(BUCKET, "deleted"))).status, 204);
    // One is left under its row; three are kept for those who read them.
    wait_for_blobs(&server, 4, "kept for their readers");
    for (wire, (name, body)) in slow.iter_mut().zip(&bodies) {
        let got = wire.answer("GET").expect("the download ends well");
        assert!(got.status == 200 && got.body == *body, "{name}: {} of {} bytes", got.body.len(), body.len());
    }
    let got = wire.call(&server, Request::new("GET", &object_path(BUCKET, "reencrypted")));
    assert!(got.status == 200 && got.body == bodies[0].1, "the next one gets the new bytes");
    wait_for_blobs(&server, 1, "gone with their readers");

    // The power goes while somebody reads what is no longer named: the collector takes it.
    let _slow = begin(&server, "reencrypted");
    assert_eq!(wire.call(&server, Request::new("DELETE", &object_path(BUCKET, "reencrypted"))).status, 204);
    server.kill();
    assert_eq!(blobs_of(&server).len(), 1, "kept until the power went");
    server.restart();
    server.geoseal(&["dev", "clock", "advance", "3d"]).ok();
    let begun = Instant::now();
    while !blobs_of(&server).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the collector does not take it");
        server.geoseal(&["sweep", "run"]).ok();
        thread::sleep(Duration::from_millis(200));
    }
}

/// R40: who loses access in the middle of a download does not get the rest of it.
#[test]
fn r40_a_download_under_way_ends_when_its_tenant_is_disabled_or_its_login_revoked() {
    let server = Launch::default().flag("--simulated-clock").start();
    let contoso = super::tenant(&server, "contoso");
    let mut wire = Wire::to(&server);
    let host = wire.host().to_owned();
    let body = bytes(7, LARGE);
    for put in [Request::new("PUT", "/letters"), Request::new("PUT", &object_path("letters", "big")).body(body.clone())]
    {
        assert_eq!(wire.exchange(&put.signed(&contoso, &host, Body::Hashed)).expect("an answer").status, 200);
    }
    let login =
        server.geoseal(&["credential", "create", "--tenant", "contoso", "--role", "read-only", "--json"]).json();
    let text = |field: &str| login[field].as_str().expect("a login").to_owned();
    let reader = geoseal_support::signer::Credentials {
        access_id: text("access_id"),
        secret: text("secret"),
        region: "westeurope".into(),
    };
    let begin = |who| {
        let mut wire = Wire::to(&server);
        let get = Request::new("GET", &object_path("letters", "big")).signed(who, &host, Body::Unsigned);
        wire.send(&get.bytes()).expect("the server listens");
        assert_eq!(wire.socket().peek(&mut [0; 1]).expect("an answer"), 1);
        wire
    };
    // Whoever keeps his access has it to the last byte, however slowly he reads.
    let (mut revoked, mut kept) = (begin(&reader), begin(&contoso));
    server.geoseal(&["credential", "revoke", &reader.access_id, "--tenant", "contoso", "--yes"]).ok();
    // Nobody reads for longer than the server goes without asking.
    thread::sleep(Duration::from_millis(1500));
    assert!(revoked.answer("GET").is_err(), "what was not sent yet is not given");
    let got = kept.answer("GET").expect("the download ends well");
    assert!(got.status == 200 && got.body == body);
    let mut disabled = begin(&contoso);
    server.geoseal(&["tenant", "disable", "contoso", "--reason", "uninstalled"]).ok();
    thread::sleep(Duration::from_millis(1500));
    assert!(disabled.answer("GET").is_err(), "what was not sent yet is not given");
}
