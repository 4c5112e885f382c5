//! The story: a customer leaves. For 90 days its administrators may still export, or change their minds; a second before
//! the time is up everything is still there, and after the next sweep nothing is, the certificate says so, and it stops
//! saying so when a single character of it is changed.

use super::{advance, blobs, state, tenant};
use geoseal_support::server::{BUCKET, Launch, Server};
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire};

const BLOB_BYTES: usize = 1 << 20;

fn call(server: &Server, who: &Credentials, request: Request) -> Response {
    let mut wire = Wire::to(server);
    let host = wire.host().to_owned();
    wire.exchange(&request.signed(who, &host, Body::Hashed)).expect("the server answers")
}

fn put(server: &Server, who: &Credentials, name: &str, body: Vec<u8>) -> u16 {
    call(server, who, Request::new("PUT", &object_path("letters", name)).body(body)).status
}

fn sweep(server: &Server) -> serde_json::Value {
    server.geoseal(&["sweep", "run", "--json"]).json()
}

#[test]
fn r30_p16_ninety_days_after_termination_and_not_before() {
    let server = Launch::default().flag("--simulated-clock").start();
    let stays = server.credentials();
    let kept = Request::new("PUT", &object_path(BUCKET, "kept.json")).body("another tenant's");
    assert_eq!(call(&server, &stays, kept).status, 200);

    let leaves = tenant(&server, "contoso");
    assert_eq!(call(&server, &leaves, Request::new("PUT", "/letters")).status, 200);
    for i in 0..50 {
        assert_eq!(put(&server, &leaves, &format!("dt=2026-11-20/{i}.json"), format!("letter {i}").into_bytes()), 200);
    }
    assert_eq!(put(&server, &leaves, "attachment.bin", vec![7; BLOB_BYTES]), 200);
    assert_eq!(blobs(&server), 1);

    // A wrong confirmation terminates nobody; a dry run changes nothing.
    let wrong = server.geoseal(&["tenant", "terminate", "contoso", "--reason", "r", "--confirm", "fabrikam"]);
    assert_eq!(wrong.code(), Some(2), "{}", wrong.stderr());
    server.geoseal(&["tenant", "terminate", "contoso", "--reason", "r", "--confirm", "contoso", "--dry-run"]).ok();
    assert_eq!(state(&server, "contoso"), "ACTIVE");

    // Terminated, taken back, terminated again: a full 90 days each time (P16).
    terminate(&server);
    assert_eq!(put(&server, &leaves, "late.json", b"too late".to_vec()), 403);
    advance(&server, "80d");
    let consent = server.home().join("consent.txt");
    server.geoseal(&["tenant", "reinstate", "contoso", "--consent", consent.to_str().expect("UTF-8")]).ok();
    assert_eq!(state(&server, "contoso"), "DISABLED");
    terminate(&server);
    let due = due(&server);

    // Told twice, it is terminated once: neither T nor the end moves.
    advance(&server, "30d");
    terminate(&server);
    assert_eq!(self::due(&server), due, "a second termination changes nothing");
    let terminated = super::audit(&server).iter().filter(|entry| entry["event"] == "tenant-terminated").count();
    assert_eq!(terminated, 2, "one entry each for the two that were");

    // The clock flows while we look, so "a second before" is some minutes before.
    advance(&server, "59d23h50m");
    sweep(&server);
    assert_eq!(state(&server, "contoso"), "TERMINATED");
    assert_eq!(blobs(&server), 1, "an early sweep must not touch anything");
    let (out, key) = (server.home().join("out"), server.home().join("out.key"));
    let [out, key] = [&out, &key].map(|path| path.to_str().expect("UTF-8"));
    let export = ["export", "--tenant", "contoso", "--out", out, "--key-file", key, "--confirm", "contoso", "--json"];
    assert_eq!(server.geoseal(&export).json()["objects"], 51, "all of it is still there, and can be taken along");
    let id = server.geoseal(&["tenant", "show", "contoso", "--json"]).json()["id"].as_str().expect("an id").to_owned();
    server.geoseal(&["certificate", "get", &id]).refused();

    advance(&server, "10m");
    // The schedule may have been faster than this sweep; either way one sweep after the time it is over.
    sweep(&server);
    assert_eq!(state(&server, &id), "PURGED");
    assert_eq!(blobs(&server), 0);
    let shown = server.geoseal(&["tenant", "show", "contoso"]);
    assert!(shown.code() == Some(4) && shown.stderr().contains("TenantPurged"), "{}", shown.stderr());
    let keys = server.geoseal(&["key", "status", "--tenant", &id, "--json"]).json();
    let versions = keys["geos"][0]["tenants"][0]["versions"].as_array().expect("its versions").clone();
    assert!(!versions.is_empty() && versions.iter().all(|version| version["state"] == "destroyed"), "{keys}");

    certificate_holds_until_it_is_edited(&server, &id);
    server.geoseal(&["audit", "verify"]).ok();
    let got = call(&server, &stays, Request::new("GET", &object_path(BUCKET, "kept.json")));
    assert_eq!((got.status, got.body.as_slice()), (200, b"another tenant's".as_slice()), "the other tenant is intact");
}

/// D7: of a purged tenant every call says so, by its name as well, which nothing but the key service can tell from another.
#[test]
fn d7_a_purged_tenant_is_found_by_its_name_until_another_takes_it() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let gone = |server: &Server, arguments: &[&str]| {
        let said = server.geoseal(&[arguments, &["--json"]].concat());
        let problem: serde_json::Value = serde_json::from_str(&said.stdout()).unwrap_or_default();
        assert_eq!((said.code(), &problem["status"]), (Some(4), &410.into()), "{arguments:?}: {problem}");
        assert_eq!(problem["code"], "TenantPurged", "{arguments:?}");
    };
    let purge = |server: &Server| {
        let who = tenant(server, "contoso");
        let id =
            server.geoseal(&["tenant", "show", "contoso", "--json"]).json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(call(server, &who, Request::new("PUT", "/letters")).status, 200);
        assert_eq!(put(server, &who, "one", b"a letter".to_vec()), 200);
        let ended = server
            .geoseal(&["tenant", "terminate", "contoso", "--reason", "contract-end", "--confirm", "contoso"])
            .ok();
        assert!(
            ended.trim_end().ends_with("; export: geoseal export --tenant contoso --out DIR --key-file FILE"),
            "{ended}"
        );
        assert_eq!(put(server, &who, "late", b"too late".to_vec()), 403);
        advance(server, "90d1h");
        sweep(server);
        assert_eq!(state(server, &id), "PURGED");
        id
    };
    let certified = |server: &Server| {
        let certificate = server.geoseal(&["certificate", "get", "contoso"]).json();
        certificate["certificate"]["tenant"].as_str().expect("whose").to_owned()
    };
    let first = purge(&server);
    let all: [&[&str]; 8] = [
        &["tenant", "show", "contoso"],
        &["tenant", "enable", "contoso"],
        &["tenant", "terminate", "contoso", "--reason", "r", "--confirm", "contoso"],
        &["credential", "list", "--tenant", "contoso"],
        &["credential", "create", "--tenant", "contoso"],
        &["feature", "show", "email-engagement", "--tenant", "contoso"],
        &["hold", "list", "--tenant", "contoso"],
        &["export", "--tenant", "contoso", "--out", "x", "--key-file", "y", "--dry-run"],
    ];
    for call in all {
        gone(&server, call);
    }
    gone(&server, &["credential", "list", "--tenant", &first]);
    assert_eq!(certified(&server), first);
    assert_eq!(server.geoseal(&["certificate", "get", "contos"]).code(), Some(3), "another name is nobody's");

    // Every key that a name is found by is replaced, and the server dies: the tombstone is found as before.
    server.geoseal(&["key", "rotate", "directory", "--geo", "europe"]).ok();
    server.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    server.kill();
    server.restart();
    gone(&server, &["tenant", "show", "contoso"]);
    assert_eq!(certified(&server), first);

    // The name may be taken again, the id never: whoever lives has it, and then whoever had it last.
    let second = purge(&server);
    assert_ne!(first, second);
    gone(&server, &["tenant", "show", "contoso"]);
    assert_eq!(certified(&server), second);
    let old = server.geoseal(&["certificate", "get", &first]).json();
    assert_eq!(old["certificate"]["tenant"], first.as_str());
}

fn terminate(server: &Server) {
    server.geoseal(&["tenant", "terminate", "contoso", "--reason", "contract-end", "--confirm", "contoso"]).ok();
    assert_eq!(state(server, "contoso"), "TERMINATED");
}

/// When it was terminated, and until when it is kept.
fn due(server: &Server) -> [String; 2] {
    let shown = server.geoseal(&["tenant", "show", "contoso", "--json"]).json();
    ["terminated_at", "purge_due_at"].map(|field| shown[field].as_str().expect("a time").to_owned())
}

fn certificate_holds_until_it_is_edited(server: &Server, id: &str) {
    let text = server.geoseal(&["certificate", "get", id]).ok();
    let file = server.home().join("cert.json");
    let path = file.to_str().expect("UTF-8");
    let key = server.geoseal(&["audit", "log-key", "--geo", "europe", "--json"]).json();
    let key = key["public"].as_str().expect("a key").to_owned();
    let verify = |text: &str| {
        std::fs::write(&file, text).expect("the scratch directory is writable");
        server.geoseal(&["certificate", "verify", path, "--log-key", &key])
    };
    verify(&text).ok();
    assert!(text.contains(id) && !text.contains("contoso") && !text.contains("letters"), "ids, no names");
    // Every digit of the document in turn, a few hundred of them: each edit is noticed.
    let digits: Vec<_> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
    for at in digits.iter().step_by(1 + digits.len() / 40) {
        let mut edited = text.clone().into_bytes();
        edited[*at] = if edited[*at] == b'9' { b'0' } else { edited[*at] + 1 };
        let edited = String::from_utf8(edited).expect("digits");
        assert_eq!(verify(&edited).code(), Some(1), "an edit at {at} was not noticed");
    }
    verify(&text).ok();
    // Without a key it asks the server, and says so.
    server.geoseal(&["certificate", "verify", path]).ok();
}
