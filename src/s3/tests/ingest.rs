//! `POST /ingest/v1/events`: every event becomes what an upload of it would be, and what is wrong with the request leaves
//! nothing.

use super::world::{Answer, HOST, World, now, refused, split};
use crate::gate::Asleep;
use crate::model::limits::{INGEST_BYTES_MAX, INGEST_EVENTS_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use geoseal_support::signer::{Body, Credentials, Request};
use serde_json::{Value, json};

const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "urn:test", "type": "email.interaction.opened",
        "time": "2026-11-20T11:30:00Z", "subject": "ada@example.com",
        "data": { "message_id": "m-1", "contact_kind": "contact", "contact_id": "4711" }
    })
}

fn post(body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", "/ingest/v1/events").query("bucket", "records").header("content-type", BATCH).body(body)
}

fn said(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}: {}", answer.status, answer.text()))
}

/// Status and code of a problem, which has everything that RFC 9457 wants.
fn problem(answer: &Answer) -> (u16, String) {
    let problem = said(answer);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(
        (&problem["status"], &problem["request_id"]),
        (&json!(answer.status), &json!(answer.header("x-amz-request-id")))
    );
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    (answer.status, problem["code"].as_str().unwrap_or_default().to_owned())
}

async fn names(world: &World) -> Vec<String> {
    world.get("/records?list-type=2").await.elements("Key")
}

#[tokio::test]
async fn d2_an_event_of_a_batch_is_what_an_upload_of_it_would_be() {
    let world = World::new().await;
    let events = json!([event("a"), event("b"), event("a"), { "id": "c" }]);
    let answer = world.call(post(events.to_string())).await;
    assert_eq!((answer.status, answer.header("content-type")), (207, "application/json"));
    assert_eq!(answer.header("x-geoseal-region"), "westeurope");
    let told = said(&answer);
    assert_eq!((&told["accepted"], &told["duplicate"]), (&json!(2), &json!(1)), "{told}");
    let rejected = told["rejected"].as_array().expect("a list");
    assert_eq!((rejected.len(), &rejected[0]["i"], &rejected[0]["code"]), (1, &json!(3), &json!("MalformedEvent")));
    assert!(rejected[0]["message"].as_str().is_some_and(|message| message.starts_with("specversion")));

    let stored = names(&world).await;
    assert_eq!(stored.len(), 2);
    let path = |name: &str| format!("/records/{}", name.replace('=', "%3D"));
    for name in &stored {
        let got = world.get(&path(name)).await;
        assert_eq!((got.status, got.header("content-type")), (200, "application/cloudevents+json"));
        let id = said(&got)["id"].as_str().expect("an id").to_owned();
        assert_eq!(said(&got), event(&id), "as it came");
        for (name, value) in [
            ("class", "interaction"),
            ("subject", "contact:4711"),
            ("message", "m-1"),
            ("occurred", "2026-11-20T11:30:00Z"),
        ] {
            assert_eq!(got.header(&format!("x-amz-meta-geoseal-{name}")), value);
        }
    }
    // The same event in another batch, alone, or as an upload: it is there already.
    let again = said(&world.call(post(json!([event("b")]).to_string())).await);
    assert_eq!(again, json!({ "accepted": 0, "duplicate": 1, "rejected": [] }));
    let single = post(event("a").to_string()).replace("content-type", "application/cloudevents+json; charset=utf-8");
    assert_eq!(said(&world.call(single).await), json!({ "accepted": 0, "duplicate": 1, "rejected": [] }));
    let upload = split("PUT", &path(&stored[0])).header("if-none-match", "*").body("{}");
    assert_eq!(world.call(upload).await.code(), refused(412, "PreconditionFailed"));
    // What an upload stored is not stored again.
    let fresh = event("fresh");
    assert_eq!(said(&world.call(post(json!([fresh]).to_string())).await)["accepted"], json!(1));
    let name = names(&world).await.into_iter().find(|name| !stored.contains(name)).expect("one more");
    assert_eq!(world.delete(&path(&name)).await.status, 204);
    assert_eq!(world.put(&path(&name), b"the same event, uploaded").await.status, 200);
    assert_eq!(said(&world.call(post(json!([fresh]).to_string())).await)["duplicate"], json!(1));
    assert_eq!(world.get(&path(&name)).await.body, b"the same event, uploaded");
    assert_eq!(said(&world.call(post("[]")).await), json!({ "accepted": 0, "duplicate": 0, "rejected": [] }));
}

#[tokio::test]
async fn r47_what_is_wrong_with_the_request_leaves_nothing() {
    let world = World::new().await;
    let body = json!([event("a")]).to_string();
    let sum = |bytes: &[u8]| STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(bytes));
    let md5 = |bytes: &[u8]| STANDARD.encode(<md5::Md5 as md5::Digest>::digest(bytes));
    let plain = || Request::new("POST", "/ingest/v1/events").body(body.clone());
    let large = || vec![b' '; INGEST_BYTES_MAX + 1];
    let many = format!("[{}]", vec!["1"; INGEST_EVENTS_MAX + 1].join(","));
    for (request, status, code) in [
        (post(body.clone()).header("content-md5", &md5(b"other")), 400, "BadDigest"),
        (post(body.clone()).header("x-amz-checksum-sha256", &sum(b"other")), 400, "BadDigest"),
        (post(body.clone()).header("x-amz-checksum-sha256", "short"), 400, "InvalidRequest"),
        (post(body[..body.len() - 1].to_owned()), 400, "MalformedBatch"),
        (post("{}"), 400, "MalformedBatch"),
        (post(many), 400, "MalformedBatch"),
        (post(large()), 413, "EntityTooLarge"),
        (plain().query("bucket", "records"), 415, "UnsupportedMediaType"),
        (plain().query("bucket", "records").header("content-type", "application/json"), 415, "UnsupportedMediaType"),
        (post(body.clone()).header("content-encoding", "gzip"), 415, "UnsupportedMediaType"),
        (post(body.clone()).header("x-amz-meta-geoseal-class", "kpi"), 400, "InvalidRequest"),
        (post(body.clone()).header("x-amz-tagging", "a=b"), 400, "InvalidRequest"),
        (post(body.clone()).query("prefix", "x"), 400, "InvalidArgument"),
        (plain().header("content-type", BATCH), 400, "BucketRequired"),
        (plain().header("content-type", BATCH).query("bucket", "nowhere"), 404, "NoSuchBucket"),
        (plain().header("content-type", BATCH).query("bucket", "NO"), 400, "InvalidBucketName"),
    ] {
        let (query, answer) = (request.target(), world.call(request).await);
        assert_eq!(problem(&answer), refused(status, code), "{query}: {}", answer.text());
        assert!(answer.header("content-type") != "application/xml" && !answer.text().contains("ada@"), "{query}");
    }
    // Right digests are no obstacle.
    let fine = post(body.clone()).header("content-md5", &md5(body.as_bytes()));
    let fine = fine.header("x-amz-checksum-sha256", &sum(body.as_bytes()));
    assert_eq!(said(&world.call(fine).await)["accepted"], json!(1));
    let stored = names(&world).await;
    assert_eq!(stored.len(), 1, "and nothing of the others");

    let sign = |request: Request, who: &Credentials| request.signed(who, HOST, Body::Hashed);
    let other = || post(json!([event("b")]).to_string());
    // Cut off, altered, chunked, of no length, unsigned, signed by nobody, with another's name, for another region, too late.
    let short = sign(other(), &world.alice).header("content-length", "4000");
    let mut altered = sign(other(), &world.alice);
    altered.body = json!([event("x")]).to_string().into_bytes();
    let mut chunked = other().header("x-amz-trailer", "x-amz-checksum-crc32");
    chunked = sign(chunked, &world.alice);
    let unframed = sign(other(), &world.alice).header("transfer-encoding", "chunked");
    let stranger = Credentials { secret: "x".repeat(43), ..world.alice.clone() };
    let elsewhere = Credentials { region: "northeurope".into(), ..world.alice.clone() };
    let late = other().signed_at(&world.alice, HOST, Body::Hashed, now() - jiff::SignedDuration::from_hours(1));
    for (request, status, code) in [
        (short, 400, "IncompleteBody"),
        (altered, 400, "XAmzContentSHA256Mismatch"),
        (chunked, 400, "InvalidRequest"),
        (unframed, 411, "MissingContentLength"),
        (other().header("host", HOST), 403, "AccessDenied"),
        (sign(other(), &stranger), 403, "SignatureDoesNotMatch"),
        (sign(other(), &world.bob), 404, "NoSuchBucket"),
        (sign(other(), &world.reader), 403, "AccessDenied"),
        (sign(other(), &elsewhere), 400, "AuthorizationHeaderMalformed"),
        (late, 403, "RequestTimeTooSkewed"),
    ] {
        let answer = world.send(request).await;
        assert_eq!(problem(&answer), refused(status, code), "{}", answer.text());
    }
    for (asleep, status, code) in [
        (Asleep::Disabled, 409, "TenantDisabled"),
        (Asleep::Terminated, 403, "TenantTerminated"),
        (Asleep::Purging, 410, "TenantPurging"),
    ] {
        world.set_asleep(Some(asleep));
        assert_eq!(problem(&world.call(other()).await), refused(status, code));
    }
    world.set_asleep(None);
    assert_eq!(names(&world).await, stored);
}

/// To S3 the path is an object of the bucket `ingest`, and stays one for whatever S3 can do with it.
#[tokio::test]
async fn a_bucket_of_that_name_is_a_bucket() {
    let world = World::new().await;
    assert_eq!(world.put("/ingest", b"").await.status, 200);
    assert_eq!(world.put("/ingest/v1/events", b"an object").await.status, 200);
    assert_eq!(world.get("/ingest/v1/events").await.body, b"an object");
    let upload = world.post("/ingest/v1/events?uploads", b"").await;
    assert_eq!((upload.status, upload.element("Key")), (200, "v1/events".to_owned()));
    let virtual_host = Request::new("POST", "/ingest/v1/events").header("content-type", BATCH).body("[]");
    let answer = world.send(virtual_host.signed(&world.alice, "records.s3.test", Body::Hashed)).await;
    assert_eq!(answer.header("content-type"), "application/xml", "an object of the bucket that the host names");
    assert!(answer.status >= 400, "{}", answer.text());
}
