//! Quotas: what a tenant may store in all, counted exactly whatever comes and goes, and in nobody's way but a writer's.

use super::{BUCKET, ask, call, denied, refused, said, text};
use crate::life::tenant;
use geoseal_support::server::Server;
use geoseal_support::signer::{Credentials, Request, object_path};
use serde_json::{Value, json};

fn put(server: &Server, who: &Credentials, name: &str, bytes: usize) -> (u16, String) {
    said(&call(server, who, Request::new("PUT", &object_path(BUCKET, name)).body(vec![b'x'; bytes])))
}

/// `geoseal tenant quota contoso FLAGS`
fn quota(server: &Server, flags: &[&str]) -> Value {
    server.geoseal(&[&["tenant", "quota", "contoso", "--json"], flags].concat()).json()
}

/// Bytes and objects, as `tenant show` has them.
fn used(server: &Server) -> (u64, u64) {
    let shown = server.geoseal(&["tenant", "show", "contoso", "--json"]).json();
    let used = |name: &str| shown["quota"][name].as_u64().unwrap_or_else(|| panic!("{name} in {shown}"));
    (used("used_bytes"), used("used_objects"))
}

#[test]
fn d2_a_quota_bounds_writes_to_the_byte_and_nothing_else() {
    let mut server = Server::start();
    let who = tenant(&server, "contoso");
    let over = || refused(507, "QuotaExceeded");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    for name in ["a", "b"] {
        assert_eq!(put(&server, &who, name, 1000).0, 200);
    }
    let of_one = Request::new("PUT", &object_path(BUCKET, "c")).header("x-amz-meta-geoseal-subject", "contact:9");
    assert_eq!(said(&call(&server, &who, of_one.body(vec![b'x'; 1000]))).0, 200);
    let upload = Request::new("POST", &object_path(BUCKET, "parts")).query("uploads", "");
    let upload = call(&server, &who, upload).text();
    let id =
        upload.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<')).expect("an upload").0.to_owned();
    let part = |server: &Server, number: &str, bytes: usize| {
        let put = Request::new("PUT", &object_path(BUCKET, "parts")).query("partNumber", number).query("uploadId", &id);
        call(server, &who, put.body(vec![b'y'; bytes]))
    };
    let first = part(&server, "1", 700);

    // None until it is set; a rehearsal sets none; what was there before is counted.
    let shown = server.geoseal(&["tenant", "show", "contoso", "--json"]).json();
    assert!(shown.get("quota").is_none(), "{shown}");
    quota(&server, &["--bytes", "5000", "--dry-run"]);
    assert!(server.geoseal(&["tenant", "show", "contoso", "--json"]).json().get("quota").is_none());
    let set = quota(&server, &["--bytes", "5000"]);
    assert_eq!(set, json!({ "bytes": 5000, "used_bytes": 3700, "used_objects": 3 }));
    assert!(server.geoseal(&["tenant", "show", "contoso"]).ok().contains("3700 of 5000 bytes, 3 objects"));
    assert_eq!(server.geoseal(&["tenant", "quota", "contoso", "--bytes", "many"]).code(), Some(2));
    let unknown = ["tenant", "quota", "nobody", "--bytes", "1"];
    assert_eq!(denied(&server, &unknown), (404, "NoSuchTenant".into()));

    // To the byte, in every way that bytes come in; nothing is stored of what is refused.
    assert_eq!(put(&server, &who, "d", 1301), over());
    assert_eq!(ask(&server, &who, "GET", "d").0, 404);
    assert_eq!(put(&server, &who, "d", 1300).0, 200);
    assert_eq!(used(&server), (5000, 4));
    assert_eq!(put(&server, &who, "e", 1), over());
    assert_eq!(put(&server, &who, "empty", 0).0, 200, "there is room for nothing");
    let copy = Request::new("PUT", &object_path(BUCKET, "copy")).header("x-amz-copy-source", &object_path(BUCKET, "a"));
    assert_eq!(said(&call(&server, &who, copy)), over());
    assert_eq!(said(&part(&server, "2", 1)), over());
    let consent = text(&server, "agreed.txt", "yes\n");
    super::feature(&server, "enable", &["--consent", &consent, "--follow-only", "false"]);
    let event = json!([{
        "specversion": "1.0", "id": "1", "source": "urn:crm", "type": "email.interaction.opened", "time": "2026-11-20T10:00:00Z",
        "data": { "message_id": "m", "contact_kind": "contact", "contact_id": "1" }
    }]);
    let post = Request::new("POST", "/ingest/v1/events").query("bucket", BUCKET);
    let post = post.header("content-type", "application/cloudevents-batch+json").body(event.to_string());
    let answer = call(&server, &who, post.clone());
    assert!(answer.status == 507 && answer.text().contains("QuotaExceeded"), "{}", answer.text());
    assert_eq!(used(&server), (5000, 5));

    // An upload that is completed is stored once; what is deleted makes room; so does the end of the power.
    let etag = first.header("etag").expect("an ETag");
    let whole = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let complete = Request::new("POST", &object_path(BUCKET, "parts")).query("uploadId", &id).body(whole);
    assert_eq!(said(&call(&server, &who, complete)).0, 200);
    assert_eq!(used(&server), (5000, 6));
    assert_eq!(ask(&server, &who, "DELETE", "a").0, 204);
    assert_eq!(put(&server, &who, "b", 400).0, 200, "what it replaces goes");
    assert_eq!(used(&server), (3400, 5));
    server.kill();
    server.restart();
    assert_eq!(used(&server), (3400, 5));

    // Many at a time do not take the last room twice.
    let taken = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (server, who) = (&server, &who);
                scope.spawn(move || {
                    let answers = (0..4).map(|i| put(server, who, &format!("many/{writer}/{i}"), 300));
                    answers
                        .inspect(|answer| assert!(answer.0 == 200 || *answer == refused(507, "QuotaExceeded")))
                        .filter(|answer| answer.0 == 200)
                        .count()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("a writer")).sum::<usize>() as u64
    });
    assert_eq!(used(&server), (3400 + 300 * taken, 5 + taken));
    assert!((1..=5).contains(&taken), "{taken} of 300 bytes fit into 1600");

    // Objects are bounded, too; superseded versions count. A bound below what is there takes nothing away.
    let objects = (5 + taken + 1).to_string();
    assert_eq!(quota(&server, &["--bytes", "1MiB", "--objects", &objects])["bytes"], json!(1 << 20));
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let versioning = Request::new("PUT", &format!("/{BUCKET}")).query("versioning", "").body(versioning);
    assert_eq!(said(&call(&server, &who, versioning)).0, 200);
    assert_eq!(put(&server, &who, "b", 400).0, 200);
    assert_eq!(put(&server, &who, "b", 400), over());
    quota(&server, &["--bytes", "1KiB", "--objects", "1"]);
    assert_eq!(put(&server, &who, "empty", 0), over());
    assert_eq!(ask(&server, &who, "GET", "b").0, 200);

    // Nobody else's business: rotations, sweeps, erasures.
    for key in [&["tenant", "contoso"][..], &["index-root", "--tenant", "contoso"]] {
        server.geoseal(&[&["key", "rotate"], key].concat()).ok();
    }
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(used(&server), (3800 + 300 * taken, 6 + taken), "it is counted as it was");
    let subject = text(&server, "one", "contact:9");
    let erase = ["dsr", "erase", "--tenant", "contoso", "--subject-file", &subject, "--basis", "art17"];
    server.geoseal(&[&erase[..], &["--confirm", "contoso"]].concat()).ok();
    assert_eq!(used(&server), (2800 + 300 * taken, 5 + taken), "who is erased makes room");

    // Lifted, and on record each time.
    assert!(server.geoseal(&["tenant", "quota", "contoso", "--bytes", "none"]).ok().contains("quota none"));
    assert_eq!(put(&server, &who, "much", 100_000).0, 200);
    let log = server.geoseal(&["audit", "tail", "-n", "200", "--json"]).json();
    let told = log["entries"].as_array().expect("entries").iter().filter(|entry| entry["event"] == "quota-set").count();
    assert_eq!(told, 4, "{log}");
    server.geoseal(&["audit", "verify"]).ok();

    // A batch that fills it is refused whole; what fitted is stored, and found when all of it is sent again.
    let there = quota(&server, &["--bytes", "1GiB"])["used_objects"].as_u64().expect("a count");
    quota(&server, &["--bytes", "1GiB", "--objects", &(there + 5).to_string()]);
    let events: Vec<_> = (0..10).map(|id| with_id(&event[0], &format!("batch-{id}"))).collect();
    let post = post.body(json!(events).to_string());
    let answer = call(&server, &who, post.clone());
    assert!(answer.status == 507 && answer.text().contains("QuotaExceeded"), "{}", answer.text());
    assert_eq!(used(&server).1, there + 5);
    quota(&server, &["--bytes", "none"]);
    let told: Value = serde_json::from_slice(&call(&server, &who, post).body).expect("JSON");
    assert_eq!(told, json!({ "accepted": 5, "duplicate": 5, "rejected": [] }));
}

fn with_id(event: &Value, id: &str) -> Value {
    let mut event = event.clone();
    event["id"] = json!(id);
    event
}
