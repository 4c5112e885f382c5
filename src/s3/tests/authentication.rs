//! docs/threat-cases.md, cases A: who may come in, and what nobody learns.

use super::world::{HOST, World, now, refused, split};
use crate::gate::Asleep;
use geoseal_support::signer::{Body, Credentials, Request};
use jiff::SignedDuration;

fn key() -> Request {
    split("GET", "/records/k")
}

#[tokio::test]
async fn a_10_unknown_login_and_wrong_secret_look_the_same() {
    let world = World::new().await;
    let wrong = Credentials { secret: "A".repeat(43), ..world.alice.clone() };
    let unknown = Credentials { access_id: "GSAAAAAAAAAAAAAAAAAA".to_owned(), ..wrong.clone() };
    let malformed = Credentials { access_id: "AKIAIOSFODNN7EXAMPLE".to_owned(), ..wrong.clone() };
    let mut seen = vec![];
    for who in [&wrong, &unknown, &malformed] {
        let answer = world.call_as(who, key()).await;
        let id = answer.header("x-amz-request-id").to_owned();
        assert_eq!(answer.code(), refused(403, "SignatureDoesNotMatch"));
        seen.push(answer.text().replace(&id, ""));
    }
    assert!(seen.iter().all(|body| *body == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn a_02_signed_headers_cannot_be_changed_dropped_or_doubled() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    let signed = || key().header("range", "bytes=0-0").signed(&world.alice, HOST, Body::Hashed);
    assert_eq!(world.send(signed()).await.status, 206);
    assert_eq!(world.send(signed().replace("range", "bytes=0-1")).await.status, 403);
    assert_eq!(world.send(signed().replace("host", "other:9000")).await.status, 403);
    let mut dropped = signed();
    dropped.headers.retain(|(name, _)| name != "range");
    assert_eq!(world.send(dropped).await.status, 403);
    assert_eq!(world.send(signed().header("range", "bytes=0-0")).await.status, 400);
}

#[tokio::test]
async fn a_03_an_unsigned_amz_header_is_refused() {
    let world = World::new().await;
    world.put("/records/from", b"x").await;
    let put = split("PUT", "/records/to").body(&b"y"[..]);
    let signed = put.clone().signed(&world.alice, HOST, Body::Hashed);
    let added = signed.header("x-amz-copy-source", "records/from");
    assert_eq!(world.send(added).await.code(), refused(403, "AccessDenied"));
    let url = put.presigned_at(&world.alice, HOST, 60, now());
    assert_eq!(world.send(url.clone().header("x-amz-copy-source", "records/from")).await.status, 403);
    assert_eq!(world.head("/records/to").await.status, 404);
    assert_eq!(world.send(url).await.status, 200);
}

#[tokio::test]
async fn a_04_no_part_of_a_presigned_url_can_be_changed_or_added() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    let url = key().query("response-content-type", "text/a").presigned_at(&world.alice, HOST, 60, now());
    let good = world.send(url.clone()).await;
    assert_eq!((good.status, good.header("content-type"), &good.body[..]), (200, "text/a", &b"x"[..]));
    for i in 0..url.query.len() {
        let mut changed = url.clone();
        changed.query[i].1.push('0');
        assert!(matches!(world.send(changed).await.status, 400 | 403), "{}", url.query[i].0);
        let mut dropped = url.clone();
        dropped.query.remove(i);
        assert!(matches!(world.send(dropped).await.status, 400 | 403), "{}", url.query[i].0);
    }
    for added in ["versionId", "uploadId", "response-content-disposition", "partNumber", "x-id"] {
        assert_eq!(world.send(url.clone().query(added, "null")).await.status, 403, "{added}");
    }
}

#[tokio::test]
async fn a_05_and_the_clock() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    let today = now();
    let minutes = |minutes: i64| today + SignedDuration::from_mins(minutes);
    for (at, status) in [(-14, 200), (14, 200), (-16, 403), (16, 403)] {
        let signed = key().signed_at(&world.alice, HOST, Body::Hashed, minutes(at));
        assert_eq!(world.send(signed).await.status, status, "header, {at} min");
    }
    for (at, life, status) in [(-1, 120, 200), (-2, 60, 403), (16, 60, 403), (0, 604_800, 200)] {
        let url = key().presigned_at(&world.alice, HOST, life, minutes(at));
        assert_eq!(world.send(url).await.status, status, "presigned, {at} min, {life} s");
    }
    for life in [0, 604_801] {
        assert_eq!(world.send(key().presigned_at(&world.alice, HOST, life, today)).await.status, 400);
    }
    let signed = key().signed(&world.alice, HOST, Body::Hashed);
    let header = signed.headers.iter().find(|(name, _)| name == "authorization").unwrap().1.clone();
    let day = header.split('/').nth(1).unwrap();
    assert_eq!(world.send(signed.clone().replace("authorization", &header.replace(day, "20200101"))).await.status, 403);
}

#[tokio::test]
async fn a_06_a_presigned_url_is_for_one_method_host_and_object() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    let url = key().presigned_at(&world.alice, HOST, 60, now());
    for method in ["HEAD", "PUT", "DELETE"] {
        assert_eq!(world.send(Request { method: method.into(), ..url.clone() }).await.status, 403, "{method}");
    }
    assert_eq!(world.send(Request { path: "/records/other".into(), ..url.clone() }).await.status, 403);
    assert_eq!(world.send(url.clone().replace("host", "evil.test")).await.status, 403);
    let hosted = Request { path: "/k".into(), ..url }.replace("host", "records.s3.test");
    assert_eq!(world.send(hosted).await.status, 403);
    assert_eq!(world.get("/records/k").await.body, b"x");
}

#[tokio::test]
async fn virtual_hosted_style_reaches_the_same_object() {
    let world = World::new().await;
    world.put("/records/a/b", b"x").await;
    let signed = split("GET", "/a/b").signed(&world.alice, "records.s3.test:9000", Body::Hashed);
    assert_eq!(world.send(signed).await.body, b"x");
    let elsewhere = split("GET", "/abc/b").signed(&world.alice, "records.other.test", Body::Hashed);
    assert_eq!(world.send(elsewhere).await.code(), refused(404, "NoSuchBucket"), "the path's bucket is `abc`");
}

#[tokio::test]
async fn a_09_a_body_that_is_not_the_signed_one() {
    let world = World::new().await;
    for size in [10, 200_000] {
        let mut put = split("PUT", "/records/k").body(vec![1; size]).signed(&world.alice, HOST, Body::Hashed);
        put.body[size - 1] ^= 1;
        assert_eq!(world.send(put).await.code(), refused(400, "XAmzContentSHA256Mismatch"));
        assert_eq!(world.head("/records/k").await.status, 404);
        let mut short = split("PUT", "/records/k").body(vec![1; size]).signed(&world.alice, HOST, Body::Unsigned);
        short = short.header("content-length", &(size + 1).to_string());
        assert_eq!(world.send(short).await.code(), refused(400, "IncompleteBody"));
        assert_eq!(world.head("/records/k").await.status, 404);
    }
}

#[tokio::test]
async fn a_11_a_region_outside_the_geo_is_refused() {
    let world = World::new().await;
    let far = Credentials { region: "eastus".to_owned(), ..world.alice.clone() };
    let answer = world.call_as(&far, key()).await;
    assert_eq!(answer.code(), refused(400, "AuthorizationHeaderMalformed"));
    assert_eq!(answer.element("Region"), "westeurope");
}

#[tokio::test]
async fn a_12_nobody_comes_in_without_sigv4() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    let plain = |method| split(method, "/records/k").header("host", HOST);
    for method in ["GET", "HEAD", "PUT", "DELETE", "POST"] {
        assert_eq!(world.send(plain(method)).await.status, 403, "{method}");
    }
    assert_eq!(world.send(split("GET", "/").header("host", HOST)).await.status, 403);
    let undated = key().signed(&world.alice, HOST, Body::Hashed);
    let mut undated = undated;
    undated.headers.retain(|(name, _)| name != "x-amz-date");
    assert_eq!(world.send(undated).await.status, 403);
}

#[tokio::test]
async fn roles_and_states_decide() {
    let world = World::new().await;
    world.put("/records/k", b"x").await;
    assert_eq!(world.call_as(&world.reader, key()).await.status, 200);
    for method in ["PUT", "DELETE"] {
        let refusal = world.call_as(&world.reader, split(method, "/records/k")).await;
        assert_eq!(refusal.code(), refused(403, "AccessDenied"), "{method}");
    }
    for (asleep, get, put) in [
        (Asleep::Provisioning, (503, "ServiceUnavailable"), (503, "ServiceUnavailable")),
        (Asleep::Disabled, (403, "TenantDisabled"), (409, "TenantDisabled")),
        (Asleep::Terminated, (403, "TenantTerminated"), (403, "TenantTerminated")),
        (Asleep::Purged, (410, "TenantPurged"), (410, "TenantPurged")),
    ] {
        world.set_asleep(Some(asleep));
        assert_eq!(world.get("/records/k").await.code(), refused(get.0, get.1));
        assert_eq!(world.put("/records/k", b"y").await.code(), refused(put.0, put.1));
    }
    world.set_asleep(None);
    assert_eq!(world.get("/records/k").await.body, b"x");
}
