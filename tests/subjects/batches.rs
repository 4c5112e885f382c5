//! The story: the provider's events of an hour come as one file, of many people. One of them asks to be forgotten; what the
//! others did stays, byte for byte.

use super::requests::{ask, dsr, get, open, put, wait_until};
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::wire::Response;

const ADA: &str = "contact:ada-4b8x";
const BOB: &str = "contact:bob-6c1z";

fn batch(server: &Server, name: &str, kind: &str, body: &str) -> Response {
    let put = Request::new("PUT", &object_path(BUCKET, name)).header("content-type", kind).body(body);
    ask(server, put.header("x-amz-meta-geoseal-subjects", "records"))
}

fn line(who: &str, what: &str) -> String {
    format!("{{\"subject\": \"{who}\",  \"what\":\"{what}\", \"n\":1.50}}\n")
}

#[test]
fn r44_d5_a_batch_is_written_anew_without_the_one_who_is_erased() {
    let mut server = Server::start();
    let (lines, array) = ("application/x-ndjson", "application/cloudevents-batch+json");
    let of_both: String = (0..3000).map(|n| line(if n % 3 == 0 { ADA } else { BOB }, &format!("event {n}"))).collect();
    let of_bob: String = (0..3000).filter(|n| n % 3 != 0).map(|n| line(BOB, &format!("event {n}"))).collect();
    assert_eq!(batch(&server, "hour", lines, &of_both).status, 200);
    let small = format!("[{},{}]", line(ADA, "a").trim(), line(BOB, "b").trim());
    assert_eq!(batch(&server, "small", array, &small).status, 200);
    assert_eq!(batch(&server, "hers", lines, &line(ADA, "alone")).status, 200);
    assert_eq!(put(&server, "whole", ADA, b"hers").status, 200);
    assert_eq!(get(&server, "hour").body, of_both.as_bytes());
    for (name, kind, body) in [
        ("bad-kind", "text/plain", "x"),
        ("bad-json", array, "[{"),
        ("bad-record", lines, "[1]\n"),
        ("bad-name", lines, "{\"subject\":\" x\"}\n"),
    ] {
        assert_eq!(batch(&server, name, kind, body).status, 400, "{name}");
    }

    // The copy of one has one's own records, and the others' are nobody else's business.
    let access = open(&server, BOB, "access", &[]);
    let out = server.home().join("bob.zip");
    dsr(&server, &["export", &access, "--out", out.to_str().expect("UTF-8")]).ok();
    let bundle = std::fs::read(&out).expect("the bundle");
    let holds = |needle: &str| bundle.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(holds("event 2999") && !holds("event 2997") && !holds(ADA), "stored as it is in the archive");

    // Dry run, then the erasure: predicted and done.
    let id = open(&server, ADA, "erase", &[]);
    let plan = dsr(&server, &["erase", &id, "--dry-run"]).json();
    assert_eq!((&plan["counts"]["objects"], &plan["counts"]["batches"]), (&1.into(), &3.into()), "{plan}");
    dsr(&server, &["erase", &id, "--confirm", "demo"]).ok();
    let now = get(&server, "hour");
    assert!(now.status == 200 && now.body == of_bob.as_bytes(), "what is left is what it was");
    assert_eq!(get(&server, "small").text(), format!("[{}]", line(BOB, "b").trim()));
    assert_eq!((get(&server, "hers").status, get(&server, "whole").status), (404, 404));
    let shown = dsr(&server, &["show", &id]).json();
    let rewritten = shown["certificate"]["certificate"]["rewritten"].as_array().expect("both versions of each").clone();
    assert_eq!(rewritten.len(), 3, "{shown}");
    assert_eq!(rewritten.iter().filter(|of| of["to"].is_string() && of["to"] != of["from"]).count(), 2, "{shown}");
    let again = batch(&server, "again", lines, &of_both);
    assert_eq!((again.status, again.code()), (409, "SubjectErased".into()), "nothing of a batch with them is stored");
    assert_eq!(batch(&server, "again", lines, &of_bob).status, 200);
    server.kill();
    server.restart();
    assert_eq!(get(&server, "hour").body, of_bob.as_bytes());

    // Who is left can restrict what is left, and be erased in turn.
    let restrict = open(&server, BOB, "restrict", &[]);
    dsr(&server, &["restrict", &restrict]).ok();
    assert_eq!(get(&server, "hour").code(), "SubjectRestricted");
    let id = open(&server, BOB, "erase", &[]);
    dsr(&server, &["erase", &id, "--confirm", "demo"]).ok();
    for name in ["hour", "small", "again"] {
        assert_eq!(get(&server, name).status, 404, "{name}: nothing is left of it");
    }
    wait_until("no sealed byte is left", || super::requests::blobs(&server).is_empty());
    server.geoseal(&["audit", "verify"]).ok();
}

/// The loss this guards against: the power fails while batches are written anew, and what a court wants kept goes with the
/// rest; or the certificate tells half of what was done.
#[test]
fn r44_p3_batches_are_taken_up_after_a_crash_and_wait_for_a_hold() {
    let mut server = Server::start();
    let lines = "application/x-ndjson";
    let of_both: String = (0..200).map(|n| line(if n % 2 == 0 { ADA } else { BOB }, &format!("event {n}"))).collect();
    let of_bob: String = (1..200).step_by(2).map(|n| line(BOB, &format!("event {n}"))).collect();
    let hours: Vec<_> = (0..24).map(|hour| format!("hour-{hour:02}")).collect();
    for name in hours.iter().map(String::as_str).chain(["kept"]) {
        assert_eq!(batch(&server, name, lines, &of_both).status, 200);
    }
    assert_eq!(put(&server, "alone", ADA, b"hers").status, 200);
    let upload = Request::new("POST", &object_path(BUCKET, "parts")).query("uploads", "").header("content-type", lines);
    let refused = ask(&server, upload.header("x-amz-meta-geoseal-subjects", "records"));
    assert_eq!((refused.status, refused.code()), (501, "NotImplemented".into()), "a batch comes in one piece");

    let scope = format!("object:{BUCKET}/kept");
    server.geoseal(&["hold", "place", "M-7", "--tenant", "demo", "--scope", &scope, "--matter", "A v. B"]).ok();
    let id = open(&server, ADA, "erase", &[]);
    dsr(&server, &["erase", &id, "--confirm", "demo", "--no-wait"]).ok();
    server.kill();
    server.restart();
    let state = |server: &Server| dsr(server, &["show", &id]).json()["state"].as_str().expect("a state").to_owned();
    wait_until("it goes on, as far as the hold lets it", || state(&server) == "deferred");
    for name in &hours {
        assert_eq!(get(&server, name).text(), of_bob, "{name}");
    }
    assert_eq!(get(&server, "kept").text(), of_both, "what a court wants kept is as it was");
    assert_eq!(get(&server, "alone").status, 404);
    let again = batch(&server, "again", lines, &of_both);
    assert_eq!((again.status, again.code()), (409, "SubjectErased".into()));

    server.geoseal(&["hold", "release", "M-7"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
    wait_until("the rest goes on", || state(&server) == "done");
    assert_eq!(get(&server, "kept").text(), of_bob);
    let certificate = server.geoseal(&["dsr", "certificate", &id, "--tenant", "demo"]).json();
    let rewritten = certificate["certificate"]["rewritten"].as_array().expect("both versions of each").clone();
    let froms: std::collections::BTreeSet<_> = rewritten.iter().map(|of| of["from"].to_string()).collect();
    assert_eq!((rewritten.len(), froms.len()), (25, 25), "each once, whenever it was: {certificate}");
    server.geoseal(&["audit", "verify"]).ok();
}
