//! A tenant whose keys are suspended, because they may be known to somebody: its life goes on, to its end. What needs its
//! keys says so; what does not is done; and it stands in nobody else's way.

use super::{advance, blobs, state, tenant};
use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET as DEMO, Launch};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::Wire;

const BUCKET: &str = "letters";

#[test]
fn r30_k02_suspended_keys_hold_up_neither_a_tenants_end_nor_the_server() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let who = tenant(&server, "contoso");
    let mut wire = Wire::to(&server);
    let host = wire.host().to_owned();
    let mut call = |request: Request| wire.exchange(&request.signed(&who, &host, Body::Hashed)).expect("an answer");
    assert_eq!(call(Request::new("PUT", &format!("/{BUCKET}"))).status, 200);
    for (name, size) in [("small", 300), ("large", 300_000)] {
        assert_eq!(call(Request::new("PUT", &object_path(BUCKET, name)).body(bytes(7, size))).status, 200);
    }
    let path = object_path(BUCKET, "slow");
    let begun = call(Request::new("POST", &path).query("uploads", "")).text();
    let upload = begun.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<')).expect("an upload").0;
    let part = Request::new("PUT", &path).query("partNumber", "1").query("uploadId", upload).body(bytes(8, 300_000));
    assert_eq!(call(part).status, 200);

    // Work on its keys that was cut off when they were suspended waits, too.
    server.geoseal(&["key", "reencrypt", "--tenant", "contoso", "--records-per-second", "1", "--no-wait"]).ok();
    server.geoseal(&["key", "suspend", "tenant", "contoso", "--reason", "seen in a dump"]).ok();
    // What needs the keys says what it lacks, and is no fault of the server's.
    let subject = server.data().join("subject.txt");
    std::fs::write(&subject, "contact:4711\n").expect("our own directory");
    let subject = subject.to_str().expect("UTF-8");
    let consent = server.data().join("consent.txt");
    std::fs::write(&consent, "We agree.\n").expect("our own directory");
    let consent = consent.to_str().expect("UTF-8");
    let out = server.data().join("out");
    let (out, key_file) = (out.to_str().expect("UTF-8").to_owned(), server.data().join("out.keys"));
    let key_file = key_file.to_str().expect("UTF-8");
    let lacking: &[&[&str]] = &[
        &["key", "rotate", "tenant", "contoso"],
        &["key", "reencrypt", "--tenant", "contoso"],
        &["key", "rotate", "index-key", "--tenant", "contoso", "--bucket", BUCKET],
        &["dsr", "open", "--tenant", "contoso", "--subject-file", subject, "--kind", "access", "--basis", "art15"],
        &["export", "--tenant", "contoso", "--out", &out, "--key-file", key_file, "--confirm", "contoso"],
        &["credential", "create", "--tenant", "contoso", "--role", "service"],
    ];
    for arguments in lacking {
        let ran = server.geoseal(arguments);
        assert!(ran.stderr().contains("KeysSuspended"), "{arguments:?}: {} {}", ran.stdout(), ran.stderr());
        assert_eq!(ran.code(), Some(4), "{arguments:?}");
    }

    // What does not is done, and confirmed by the name, which cannot be shown meanwhile.
    server.geoseal(&["tenant", "disable", "contoso", "--reason", "uninstalled"]).ok();
    assert_eq!(state(&server, "contoso"), "DISABLED");
    let enabled = server.geoseal(&["tenant", "enable", "contoso", "--consent", consent]);
    assert!(enabled.code() == Some(4) && enabled.stderr().contains("KeysSuspended"), "{}", enabled.stderr());
    let terminate =
        |confirm: &str| server.geoseal(&["tenant", "terminate", "contoso", "--reason", "left", "--confirm", confirm]);
    assert_eq!(terminate("fabrikam").code(), Some(2));
    terminate("contoso").ok();
    assert_eq!(state(&server, "contoso"), "TERMINATED");

    // The server starts as ever, after a crash and after an end in good order, and serves whoever else there is.
    server.kill();
    server.restart();
    server.terminate();
    server.restart();
    assert_eq!(state(&server, "contoso"), "TERMINATED");
    let mut wire = Wire::to(&server);
    assert_eq!(wire.call(&server, Request::new("PUT", &object_path(DEMO, "other")).body("x")).status, 200);

    // What was not aborted then waits for the keys, or for the end.
    let id = server.geoseal(&["tenant", "show", "contoso", "--json"]).json()["id"].as_str().expect("an id").to_owned();
    advance(&server, "2d");
    server.geoseal(&["sweep", "run"]).ok();
    advance(&server, "89d");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(state(&server, &id), "PURGED");
    let certificate = server.geoseal(&["certificate", "get", "contoso"]).json();
    assert_eq!(certificate["certificate"]["destruction"]["level"], "S2", "{certificate}");
    assert_eq!(blobs(&server), 0, "{certificate}");
    server.geoseal(&["audit", "verify"]).ok();
}
