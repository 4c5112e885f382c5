//! a presigned URL is good for exactly what was signed.

use super::{Caller, refusal};
use geoseal_support::signer::{Credentials, Request};
use jiff::Timestamp;

fn url(caller: &Caller, method: &str, name: &str) -> Request {
    caller.of(method, name).presigned_at(&caller.who, &caller.host(), 60, Timestamp::now())
}

#[test]
fn a_04_no_parameter_can_be_changed_dropped_doubled_or_added() {
    let mut caller = Caller::new("a-04");
    caller.put("k", b"x");
    let url = caller.of("GET", "k").query("response-content-type", "text/a");
    let url = url.presigned_at(&caller.who, &caller.host(), 60, Timestamp::now());
    let good = caller.send(&url);
    assert_eq!((good.status, good.header("content-type"), &good.body[..]), (200, Some("text/a"), &b"x"[..]));
    for i in 0..url.query.len() {
        let name = url.query[i].0.clone();
        let mut changes = vec![];
        let value = &url.query[i].1;
        for value in [format!("{value}0"), String::new(), value[..value.len() - 1].to_owned()] {
            let mut changed = url.clone();
            changed.query[i].1 = value;
            changes.push(changed);
        }
        let mut dropped = url.clone();
        dropped.query.remove(i);
        let mut renamed = url.clone();
        renamed.query[i].0 = name.to_lowercase();
        let mut doubled = url.clone();
        doubled.query.push(doubled.query[i].clone());
        changes.extend([dropped, doubled]);
        if name != name.to_lowercase() {
            changes.push(renamed);
        }
        for changed in changes {
            let answer = caller.send(&changed);
            assert!(matches!(refusal(&answer).0, 400 | 403), "{name}: {}", changed.target());
        }
    }
    for added in [
        "versionId",
        "uploadId",
        "partNumber",
        "response-content-disposition",
        "response-expires",
        "tagging",
        "acl",
        "x-id",
        "list-type",
        "a",
        "X-Amz-Security-Token",
        "x-amz-copy-source",
        "x-amz-acl",
        "x-amz-meta-a",
    ] {
        let answer = caller.send(&url.clone().query(added, "null"));
        assert!(matches!(answer.status, 400 | 403 | 501), "{added}: {}", answer.status);
        assert!(!answer.text().contains(">x<") && answer.body != b"x", "{added}");
    }
    // The order of the parameters is not part of their meaning.
    let mut turned = url.clone();
    turned.query.reverse();
    assert_eq!(caller.send(&turned).body, b"x");
}

#[test]
fn a_06_another_method_object_host_or_style_is_refused() {
    let mut caller = Caller::new("a-06");
    for name in ["k", "other"] {
        caller.put(name, b"x");
    }
    let get = url(&caller, "GET", "k");
    for method in ["HEAD", "PUT", "DELETE", "POST"] {
        assert_eq!(caller.send(&Request { method: method.into(), ..get.clone() }).status, 403, "{method}");
    }
    for (method, uses) in [("PUT", ["GET", "DELETE"]), ("DELETE", ["GET", "PUT"]), ("HEAD", ["GET", "DELETE"])] {
        for other in uses {
            let request = Request { method: other.into(), ..url(&caller, method, "k") };
            assert_eq!(caller.send(&request).status, 403, "{method} used as {other}");
        }
    }
    let bucket = caller.bucket.clone();
    for path in [
        caller.path("other"),
        caller.path("k/"),
        caller.path("K"),
        format!("/{bucket}"),
        format!("/{bucket}//k"),
        "/".into(),
    ] {
        assert_eq!(caller.send(&Request { path: path.clone(), ..get.clone() }).status, 403, "{path}");
    }
    let port = caller.server.s3().port();
    for host in [
        "evil.example".to_owned(),
        format!("localhost:{port}"),
        "127.0.0.1".into(),
        format!("{bucket}.localhost:{port}"),
    ] {
        let answer = caller.send(&get.clone().replace("host", &host));
        assert_eq!(answer.status, 403, "{host}");
    }
    let hosted = Request { path: "/k".into(), ..get.clone() }.replace("host", &format!("{bucket}.localhost:{port}"));
    assert_eq!(caller.send(&hosted).status, 403, "the same object in the other style");
    // Signed for that style, it is good.
    let host = format!("{bucket}.localhost:{port}");
    let hosted = Request::new("GET", "/k").presigned_at(&caller.who, &host, 60, Timestamp::now());
    assert_eq!(caller.send(&hosted).body, b"x");
    let wrong = Credentials { secret: "A".repeat(caller.who.secret.len()), ..caller.who.clone() };
    let forged = caller.of("GET", "k").presigned_at(&wrong, &caller.host(), 60, Timestamp::now());
    assert_eq!(refusal(&caller.send(&forged)), (403, "SignatureDoesNotMatch".to_owned()));
    assert!(caller.has("k") && caller.has("other"));
    assert_eq!(caller.send(&get).body, b"x");
}
