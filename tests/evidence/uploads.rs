//! The story: a client begins an upload, sends two parts and never comes back. No listing of objects shows them; the
//! operator sees them all the same, per tenant and in all, and a rule of the bucket takes them away.

use super::{file, text};
use geoseal_support::server::{BUCKET, Launch, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::{Wire, client_config};
use rustls::ALL_VERSIONS;
use serde_json::{Value, json};
use std::fs;

fn metric(server: &Server, name: &str) -> String {
    let config = client_config(&server.authority(), ALL_VERSIONS);
    let mut wire = Wire::connect(server.admin(), config).expect("the admin listener answers");
    let token = server.admin_token();
    let head = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    wire.send(head.as_bytes()).expect("it takes a request");
    let text = wire.answer("GET").expect("it answers").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).to_owned()
}

#[test]
fn d7_parts_of_uploads_that_nobody_completed_are_counted_per_tenant_and_in_exports() {
    let server = Launch::default().flag("--simulated-clock").start();
    let mut wire = Wire::to(&server);
    let (who, host) = (server.credentials(), wire.host().to_owned());
    let mut call = |request: Request| wire.exchange(&request.signed(&who, &host, Body::Hashed)).expect("an answer");
    let path = object_path(BUCKET, "left/behind");
    let begun = call(Request::new("POST", &path).query("uploads", "")).text();
    let upload =
        begun.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once("</")).expect("an upload").0.to_owned();
    for number in ["1", "2"] {
        let part =
            Request::new("PUT", &path).query("partNumber", number).query("uploadId", &upload).body(vec![7; 70_000]);
        assert_eq!(call(part).status, 200);
    }
    let rule = "<LifecycleConfiguration><Rule><ID>day</ID><Status>Enabled</Status><Filter/>\
                <AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                </AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>";
    let put = Request::new("PUT", &format!("/{BUCKET}")).query("lifecycle", "").body(rule);
    assert_eq!(call(put).status, 200);

    let uploads = || server.geoseal(&["tenant", "show", "demo", "--json"]).json()["uploads"].clone();
    assert_eq!(uploads(), json!({ "uploads": 1, "parts": 2 }));
    let said = server.geoseal(&["tenant", "show", "demo"]).ok();
    assert!(said.contains("1 in progress, 2 parts"), "{said}");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(
        (metric(&server, "geoseal_uploads_in_progress"), metric(&server, "geoseal_upload_parts")),
        ("1".into(), "2".into())
    );
    let (out, key) = (file(&server, "export"), file(&server, "export.key"));
    let export = ["export", "--tenant", "demo", "--out", text(&out), "--key-file", text(&key), "--confirm", "demo"];
    let report = server.geoseal(&[&export[..], &["--json"]].concat()).json();
    assert_eq!(
        (&report["objects"], &report["uploads"], &report["parts"]),
        (&0.into(), &1.into(), &2.into()),
        "{report}"
    );
    assert!(fs::read_dir(&out).is_ok());

    server.geoseal(&["dev", "clock", "advance", "50h"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(uploads(), json!({ "uploads": 0, "parts": 0 }));
    assert_eq!(metric(&server, "geoseal_upload_parts"), "0");
    assert_ne!(uploads(), Value::Null);
}
