//! The story: somebody opens an e-mail and does not want that to be known any more. They opt out, and from the next event
//! on nothing of them is stored, whichever way it comes in; what is stored already stays until somebody asks for its erasure.

use super::files;
use geoseal_support::clients::Ran;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::{Response, Wire};
use serde_json::Value;
use std::fs;

/// Known to nobody else: what the disk is searched for.
const SHY: &str = "shy-4711-Q7hW";

fn contact(server: &Server, verb: &str, id: &str, flags: &[&str]) -> Ran {
    let file = server.home().join("contact");
    fs::write(&file, id).expect("a scratch file can be written");
    let file = file.to_str().expect("a temporary directory's name is UTF-8");
    server.geoseal(&[&["contact", verb, "--tenant", "demo", "--contact-file", file, "--json"], flags].concat())
}

fn event(name: &str, subject: &str) -> Request {
    let put = Request::new("PUT", &object_path(BUCKET, name)).body("{\"type\":\"email.interaction.opened\"}");
    put.header("x-amz-meta-geoseal-subject", subject)
}

fn ask(server: &Server, request: Request) -> Response {
    Wire::to(server).call(server, request)
}

/// The status, and the code of an error.
fn said(response: &Response) -> (u16, String) {
    (response.status, if response.status < 300 { String::new() } else { response.code() })
}

fn refused(server: &Server, request: Request) {
    assert_eq!(said(&ask(server, request)), (409, "OptedOut".to_owned()));
}

fn listed(server: &Server) -> usize {
    let page = ask(server, Request::new("GET", &format!("/{BUCKET}")).query("list-type", "2"));
    page.text().matches("<Key>").count()
}

fn told(server: &Server, event: &str) -> usize {
    let log = server.geoseal(&["audit", "tail", "-n", "500", "--json"]).json();
    log["entries"].as_array().expect("entries").iter().filter(|entry| entry["event"] == event).count()
}

fn upload_of(response: &Response) -> String {
    let text = response.text();
    let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split("</UploadId>").next());
    id.expect("an upload's id").to_owned()
}

#[test]
fn r31_nothing_is_collected_of_a_contact_who_opted_out() {
    let mut server = Server::start();
    let (who, lead) = (format!("contact:{SHY}"), format!("lead:{SHY}"));
    assert_eq!(ask(&server, event("one", &who)).status, 200);
    let begun = ask(
        &server,
        Request::new("POST", &object_path(BUCKET, "parts"))
            .query("uploads", "")
            .header("x-amz-meta-geoseal-subject", &who),
    );
    let upload = upload_of(&begun);
    let part = |number: &str| {
        let put = Request::new("PUT", &object_path(BUCKET, "parts")).query("partNumber", number);
        put.query("uploadId", &upload).body("a part")
    };
    let stored = ask(&server, part("1"));
    let etag = stored.header("etag").expect("an ETag").to_owned();
    // An event that is half-way in when they opt out.
    let mut late = Wire::to(&server);
    let (host, body) = (late.host().to_owned(), vec![b'x'; 300_000]);
    let put = Request::new("PUT", &object_path(BUCKET, "late")).header("x-amz-meta-geoseal-subject", &who).body(body);
    let bytes = put.signed(&server.credentials(), &host, Body::Hashed).bytes();
    late.send(&bytes[..150_000]).expect("the server reads");

    let planned = contact(&server, "opt-out", SHY, &["--dry-run"]).json();
    assert!(planned["plan_id"].is_string(), "{planned}");
    assert_eq!(contact(&server, "show", SHY, &[]).json()["follow"], true);
    let done = contact(&server, "opt-out", SHY, &[]).json();
    assert_eq!((&done["follow"], &done["changed"]), (&Value::Bool(false), &Value::Bool(true)), "{done}");
    assert_eq!(done["scope"][0], "westeurope", "{done}");

    let before = listed(&server);
    late.send(&bytes[150_000..]).expect("the server reads on");
    assert_eq!(said(&late.answer("PUT").expect("an answer")), (409, "OptedOut".to_owned()), "it was received after");
    refused(&server, event("two", &who));
    refused(&server, event("one", &who));
    let source = format!("/{BUCKET}/one");
    refused(&server, Request::new("PUT", &object_path(BUCKET, "copy")).header("x-amz-copy-source", &source));
    refused(&server, part("2"));
    let whole = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let complete = Request::new("POST", &object_path(BUCKET, "parts")).query("uploadId", &upload).body(whole);
    refused(&server, complete.clone());
    let create = Request::new("POST", &object_path(BUCKET, "parts")).query("uploads", "");
    refused(&server, create.header("x-amz-meta-geoseal-subject", &who));
    // X6: what was collected before stays; a lead of the same number is somebody else; so is whoever is named nowhere.
    assert_eq!(ask(&server, Request::new("GET", &object_path(BUCKET, "one"))).status, 200);
    assert_eq!(listed(&server), before);
    assert_eq!(ask(&server, event("of-a-lead", &lead)).status, 200);
    assert_eq!(ask(&server, Request::new("PUT", &object_path(BUCKET, "of-nobody")).body("x")).status, 200);

    // Told twice it is one act; of a contact that nobody knows yet it holds before the first event.
    assert_eq!(contact(&server, "opt-out", SHY, &[]).json()["changed"], false);
    assert_eq!(contact(&server, "opt-out", "never-seen-R2d2", &["--kind", "lead"]).json()["changed"], true);
    refused(&server, event("of-a-stranger", "lead:never-seen-R2d2"));
    assert_eq!(told(&server, "contact-opted-out"), 2);
    assert_eq!(contact(&server, "opt-out", SHY, &["--kind", "person"]).code(), Some(2));
    assert_eq!(contact(&server, "opt-out", "", &[]).code(), Some(2));

    // New keys of every kind, and the power goes.
    for key in [
        &["index-root", "--tenant", "demo"][..],
        &["subject-root", "--tenant", "demo"],
        &["tenant", "demo"],
        &["master", "--geo", "europe"],
        &["directory", "--geo", "europe"],
    ] {
        server.geoseal(&[&["key", "rotate"], key].concat()).ok();
    }
    refused(&server, event("two", &who));
    server.kill();
    server.restart();
    refused(&server, event("two", &who));
    refused(&server, event("of-a-stranger", "lead:never-seen-R2d2"));
    refused(&server, complete);

    // To come back is an act of its own, on record like the other.
    let back = contact(&server, "opt-in", SHY, &[]).json();
    assert_eq!((&back["follow"], &back["changed"]), (&Value::Bool(true), &Value::Bool(true)), "{back}");
    assert_eq!(ask(&server, event("two", &who)).status, 200);
    assert_eq!(told(&server, "contact-opted-in"), 1);

    // D4: to have the past forgotten as well is an erasure, with a ground and the tenant's name; of that one and nobody else.
    let forget =
        |flags: &[&str]| contact(&server, "opt-out", SHY, &[&["--kind", "lead", "--erase-history"], flags].concat());
    assert_eq!((forget(&[]).code(), forget(&["--basis", "art17"]).code()), (Some(2), Some(2)));
    let planned = forget(&["--basis", "art17", "--dry-run"]).json();
    assert_eq!(planned["counts"]["objects"], 1, "{planned}");
    assert_eq!(contact(&server, "show", SHY, &["--kind", "lead"]).json()["follow"], true, "a rehearsal");
    let forgotten = forget(&["--basis", "art17", "--confirm", "demo"]).json();
    assert_eq!(forgotten["result"]["subject_erasure"]["objects"], 1, "{forgotten}");
    let standing = contact(&server, "show", SHY, &["--kind", "lead"]).json();
    assert!(standing["follow"] == false && standing["erased_at"].is_string(), "{standing}");
    assert_eq!(ask(&server, Request::new("GET", &object_path(BUCKET, "of-a-lead"))).status, 404);
    assert_eq!(ask(&server, Request::new("GET", &object_path(BUCKET, "one"))).status, 200);
    assert_eq!(said(&ask(&server, event("of-a-lead", &lead))), (409, "SubjectErased".to_owned()));
    let requests = server.geoseal(&["dsr", "list", "--tenant", "demo", "--json"]).json();
    let entered = &requests["requests"][0];
    assert_eq!(
        (&entered["kind"], &entered["basis"], &entered["state"]),
        (&"erase".into(), &"art17".into(), &"done".into())
    );
    server.geoseal(&["audit", "verify"]).ok();

    // Who it is stands nowhere: not on the disk, not in the log, not in the audit log.
    for id in [SHY, "never-seen-R2d2"] {
        for file in files(&server.data().join("data")) {
            let bytes = fs::read(&file).expect("our own file");
            assert!(!bytes.windows(id.len()).any(|window| window == id.as_bytes()), "{} names them", file.display());
        }
        assert!(!server.log().contains(id), "the log names them");
        assert!(!server.geoseal(&["audit", "tail", "-n", "500"]).ok().contains(id));
    }
}
