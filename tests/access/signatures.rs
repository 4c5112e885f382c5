//! signatures in headers.

use super::{Caller, element, refusal};
use geoseal_support::daemon::Daemon;
use geoseal_support::server::Server;
use geoseal_support::signer::{Body, Credentials, Request};
use geoseal_support::wire::{Response, Wire, client_config};
use jiff::Timestamp;
use std::time::{Duration, Instant};

fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The requests of the AWS Signature Version 4 test suite, as far as S3 can get them: signed by the reference in
/// `geoseal-support`, sent as they are spelt there. A wrong canonical form would be 403.
/// Source: AWS "Signature Version 4 test suite", names kept.
#[test]
fn a_01_the_shapes_of_the_aws_test_suite_are_taken() {
    let mut caller = Caller::new("a-01-suite");
    let bucket = format!("/{}", caller.bucket);
    let list = |query: &[(&str, &str)]| {
        query.iter().fold(Request::new("GET", &bucket), |request, (name, value)| request.query(name, value))
    };
    let cases = [
        ("get-vanilla", Request::new("GET", "/")),
        ("get-vanilla-query-order-key-case", list(&[("prefix", "b"), ("list-type", "2")])),
        ("get-vanilla-query-order-value", list(&[("list-type", "2"), ("prefix", "value1")])),
        ("get-vanilla-query-unreserved", list(&[("prefix", "-._~0123456789ABCXYZabcxyz")])),
        ("get-vanilla-utf8-query", list(&[("prefix", "\u{1234}"), ("delimiter", "/")])),
        ("get-vanilla-empty-query-key", list(&[("list-type", "2"), ("prefix", "")])),
        ("get-space-normalized", list(&[("prefix", "a b+c*d")])),
        ("get-header-value-order", Request::new("GET", "/").header("my-header2", "b").header("my-header1", "a")),
        ("get-header-key-case", Request::new("GET", "/").header("my-header1", "value4")),
        (
            "get-header-value-trim",
            Request::new("GET", "/").header("my-header1", "  value1  ").header("my-header2", " x"),
        ),
        ("get-header-inner-space", Request::new("GET", "/").header("my-header1", "a   b   c")),
    ];
    for (name, request) in cases {
        let trimmed = name.contains("trim") || name.contains("inner");
        let mut signed = request.clone().signed(&caller.who, &caller.host(), Body::Hashed);
        if trimmed {
            // Signed over the canonical value, as the suite says: trimmed, and runs of spaces made one.
            let mut plain = request;
            for (_, value) in &mut plain.headers {
                *value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            let canonical = plain.clone().signed(&caller.who, &caller.host(), Body::Hashed);
            for (place, (_, value)) in canonical.headers.into_iter().enumerate().skip(plain.headers.len()) {
                signed.headers[place].1 = value;
            }
        }
        let answer = caller.send(&signed);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
    for (name, object) in [
        ("get-unreserved", "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
        ("get-utf8", "\u{1234}"),
        ("get-space", "example space/"),
        ("get-slash-dot-slash", "./"),
        ("get-slashes", "/example//"),
        ("get-relative-relative", "example1/example2/../.."),
        ("post-x-www-form-urlencoded", "a+b=c&d"),
        ("s3-reserved", "!$&'()*+,;=:@[]{}|^`\"<>#%?\\"),
    ] {
        caller.put(object, name.as_bytes());
        assert_eq!(caller.get(object).body, name.as_bytes(), "{name}: S3 takes paths as they are");
    }
}

#[test]
fn a_02_a_signed_header_cannot_be_dropped_doubled_changed_or_folded() {
    let mut caller = Caller::new("a-02");
    caller.put("k", b"0123456789");
    let (who, host) = (caller.who.clone(), caller.host());
    let signed = || caller.of("GET", "k").header("range", "bytes=0-0").signed(&who, &host, Body::Hashed);
    let (good, path) = (signed(), caller.path("k"));
    assert_eq!(caller.send(&good).body, b"0");
    let dropped = |name: &str| {
        let mut request = good.clone();
        request.headers.retain(|(n, _)| n != name);
        request
    };
    for name in ["range", "x-amz-date", "x-amz-content-sha256"] {
        let answer = caller.send(&dropped(name));
        assert!(matches!(refusal(&answer).0, 400 | 403), "{name}");
    }
    for (name, value) in [("range", "bytes=0-1"), ("host", "other:9000"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]
    {
        assert_eq!(refusal(&caller.send(&good.clone().replace(name, value))).0, 403, "{name}");
    }
    for name in ["range", "x-amz-date", "authorization", "x-amz-content-sha256"] {
        let value = good.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert_eq!(refusal(&caller.send(&good.clone().header(name, &value))).0, 400, "{name} twice");
    }
    // Names are case-insensitive on the wire, and canonical in the signature.
    let mut shouted = good.clone();
    shouted.headers.iter_mut().for_each(|(name, _)| *name = name.to_ascii_uppercase());
    assert_eq!(caller.send(&shouted).body, b"0");
    // A folded header is one that two parsers read differently: the edge ends it.
    let mut folded = good.clone();
    folded.headers.iter_mut().filter(|(n, _)| n == "range").for_each(|(_, v)| *v = "bytes=\r\n 0-0".into());
    assert_eq!(caller.send(&folded).status, 400);
    // Signed names in another case or order, twice, or of headers that are not there.
    let authorization = good.headers.iter().find(|(n, _)| n == "authorization").unwrap().1.clone();
    for (from, to) in [
        ("host;range", "Host;range"),
        ("host;range", "range;host"),
        ("host;range", "host;host;range"),
        ("host;range", "host;range;x-not-there"),
        ("host;range", "range"),
        ("host;range", "host"),
        ("host;range", "host;;range"),
    ] {
        let changed = authorization.replace(from, to);
        assert_ne!(changed, authorization);
        let answer = caller.send(&good.clone().replace("authorization", &changed));
        assert!(matches!(refusal(&answer).0, 400 | 403), "{to}");
    }
    for (method, other) in [("HEAD", path.as_str()), ("DELETE", &path), ("GET", &format!("{path}2"))] {
        let mut request = good.clone();
        (request.method, request.path) = (method.to_owned(), other.to_owned());
        let answer = caller.send(&request);
        assert_eq!(answer.status, 403, "{method} {other}");
    }
    assert!(caller.has("k"));
}

#[test]
fn a_03_unsigned_amz_header_is_refused() {
    let mut caller = Caller::new("a-03");
    caller.put("from", b"x");
    let source = format!("{}/from", caller.bucket);
    let put = caller.of("PUT", "to").body("y");
    let signed = put.clone().signed(&caller.who, &caller.host(), Body::Hashed);
    let url = put.presigned_at(&caller.who, &caller.host(), 60, Timestamp::now());
    for (name, value) in [
        ("x-amz-copy-source", source.as_str()),
        ("X-Amz-Copy-Source", &source),
        ("x-amz-acl", "private"),
        ("x-amz-tagging", "a=1"),
        ("x-amz-meta-owner", "somebody"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-expected-bucket-owner", "1"),
        ("x-amz-decoded-content-length", "1"),
        ("x-amz-made-up", "1"),
    ] {
        for request in [&signed, &url] {
            assert_eq!(
                refusal(&caller.send(&request.clone().header(name, value))),
                told(403, "AccessDenied"),
                "{name}"
            );
        }
        assert!(!caller.has("to"), "{name}");
    }
    assert_eq!(caller.send(&url).status, 200);
    assert_eq!(caller.get("to").body, b"y");
}

/// Everything of an answer that a caller could tell two cases apart by, except what differs between any two answers.
fn visible(answer: &Response) -> (u16, Vec<String>, String) {
    let id = answer.header("x-amz-request-id").expect("every answer has one").to_owned();
    let names = answer.headers.iter().map(|(name, _)| name.clone()).collect();
    (answer.status, names, answer.text().replace(&id, ""))
}

#[test]
fn a_10_unknown_login_and_wrong_secret_look_alike() {
    let mut caller = Caller::new("a-10");
    let real = caller.who.clone();
    let wrong = Credentials { secret: "A".repeat(real.secret.len()), ..real.clone() };
    let unknown = Credentials { access_id: format!("GS{}", "A".repeat(real.access_id.len() - 2)), ..wrong.clone() };
    let strange = Credentials { access_id: "AKIAIOSFODNN7EXAMPLE".to_owned(), ..wrong.clone() };
    let mut answers = vec![];
    for who in [&wrong, &unknown, &strange] {
        for path in [caller.path("k"), "/no-such-bucket-anywhere/k".to_owned(), "/".to_owned()] {
            answers.push(visible(&caller.call_as(who, Request::new("GET", &path))));
        }
    }
    assert_eq!(answers[0].0, 403);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");

    // Time: the medians of many interleaved calls lie together. Generous, because the machine is shared; a look-up on
    // disk or a hash that only one of them pays would still show.
    let (mut of_wrong, mut of_unknown) = (vec![], vec![]);
    for round in 0..400 {
        let (who, times) = if round % 2 == 0 { (&wrong, &mut of_wrong) } else { (&unknown, &mut of_unknown) };
        let signed = caller.of("GET", "k").signed(who, &caller.host(), Body::Hashed);
        let begun = Instant::now();
        assert_eq!(caller.send(&signed).status, 403);
        times.push(begun.elapsed());
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    };
    let (wrong, unknown) = (median(&mut of_wrong), median(&mut of_unknown));
    let noise = 0.5 * wrong.max(unknown) + 0.000_5;
    assert!((wrong - unknown).abs() < noise, "wrong secret {wrong:.6} s, unknown login {unknown:.6} s");
}

#[test]
fn a_11_other_regions_services_and_servers_are_refused() {
    let mut caller = Caller::new("a-11");
    caller.put("k", b"x");
    let real = caller.who.clone();
    for region in ["eastus", "us-east-1", "uksouth", "", "WESTEUROPE", "westeurope "] {
        let far = Credentials { region: region.to_owned(), ..real.clone() };
        let answer = caller.call_as(&far, caller.of("GET", "k"));
        assert_eq!(refusal(&answer), told(400, "AuthorizationHeaderMalformed"), "{region:?}");
    }
    // Another region of the geo than the bucket's: told which one is right.
    let north = Credentials { region: "northeurope".to_owned(), ..real };
    let answer = caller.call_as(&north, caller.of("GET", "k"));
    assert_eq!(refusal(&answer), told(400, "AuthorizationHeaderMalformed"));
    assert_eq!(
        (element(&answer, "Region").as_str(), answer.header("x-amz-bucket-region")),
        ("westeurope", Some("westeurope"))
    );
    let good = caller.of("GET", "k").signed(&caller.who, &caller.host(), Body::Hashed);
    let authorization = good.headers.iter().find(|(n, _)| n == "authorization").unwrap().1.clone();
    for (from, to) in [
        ("/s3/aws4_request", "/ec2/aws4_request"),
        ("/s3/aws4_request", "/s3/aws5_request"),
        ("/s3/aws4_request", "/S3/aws4_request"),
        ("/s3/aws4_request", "/s3express/aws4_request"),
        ("/s3/aws4_request", "/s3"),
    ] {
        let changed = good.clone().replace("authorization", &authorization.replace(from, to));
        assert!(matches!(refusal(&caller.send(&changed)).0, 400 | 403), "{to}");
    }
    // The login of another installation.
    let elsewhere = Server::start();
    let foreign = elsewhere.credentials();
    assert_eq!(refusal(&caller.call_as(&foreign, caller.of("GET", "k"))), told(403, "SignatureDoesNotMatch"));
}

/// One server that serves two geos: the border runs between logins all the same.
#[test]
fn a_11_a_login_stays_in_its_geo_on_a_server_of_two() {
    let mut daemon = Daemon::prepare_for(&["westeurope", "eastus"]);
    daemon.serve();
    let config = client_config(&daemon.authority(), &[&rustls::version::TLS13]);
    let call = |who: &Credentials, request: Request| {
        let mut wire = Wire::connect(daemon.s3(), config.clone()).expect("the server accepts TLS 1.3");
        let signed = request.signed(who, &daemon.s3().to_string(), Body::Hashed);
        wire.exchange(&signed).expect("the server answers")
    };
    let europe = daemon.tenant("eu");
    let states = daemon.tenant_in("unitedstates", "eastus", "us");
    assert_eq!((europe.region.as_str(), states.region.as_str()), ("westeurope", "eastus"));
    for (own, other) in [(&europe, "eastus"), (&states, "westeurope")] {
        assert_eq!(call(own, Request::new("PUT", "/records")).status, 200);
        assert_eq!(call(own, Request::new("PUT", "/records/k").body(own.region.as_str())).status, 200);
        let across = Credentials { region: other.to_owned(), ..own.clone() };
        for (method, path) in
            [("GET", "/"), ("PUT", "/more"), ("GET", "/records/k"), ("PUT", "/records/k"), ("DELETE", "/records/k")]
        {
            let answer = call(&across, Request::new(method, path));
            assert_eq!(refusal(&answer), told(400, "AuthorizationHeaderMalformed"), "{other}: {method} {path}");
            assert_eq!(element(&answer, "Region"), own.region);
        }
        let place = format!(
            "<CreateBucketConfiguration><LocationConstraint>{other}</LocationConstraint></CreateBucketConfiguration>"
        );
        let answer = call(own, Request::new("PUT", "/elsewhere").body(place));
        assert_eq!(refusal(&answer), told(403, "ResidencyViolation"), "served here, and still not theirs");
        assert_eq!(call(own, Request::new("GET", "/records/k")).text(), own.region);
    }
}

#[test]
fn a_12_nobody_comes_in_anonymously_by_sigv2_or_without_a_date() {
    let mut caller = Caller::new("a-12");
    caller.put("k", b"x");
    let host = caller.host();
    let bare = |method: &str, path: &str| Request::new(method, path).header("host", &host);
    for method in ["GET", "HEAD", "PUT", "DELETE", "POST"] {
        for path in [caller.path("k"), format!("/{}", caller.bucket), "/".to_owned()] {
            let answer = caller.send(&bare(method, &path));
            assert_eq!(answer.status, 403, "{method} {path}");
        }
    }
    let path = caller.path("k");
    let old = bare("GET", &path).header("date", "Sat, 21 Nov 2026 04:00:00 GMT");
    let old = old.header("authorization", &format!("AWS {}:frJIUN8DYpKDtOLCwo//yllqDzg=", caller.who.access_id));
    assert_eq!(refusal(&caller.send(&old)), told(403, "AccessDenied"));
    let query = bare("GET", &path).query("AWSAccessKeyId", &caller.who.access_id).query("Expires", "1900000000");
    assert_eq!(refusal(&caller.send(&query.query("Signature", "vjbyPxybdZaNmGa%2ByT272YEAiv4%3D"))).0, 403);
    for other in ["Bearer abc", "Basic dXNlcjpwYXNz", "AWS4-ECDSA-P256-SHA256 Credential=a", "", "AWS4-HMAC-SHA256"] {
        let answer = caller.send(&bare("GET", &path).header("authorization", other));
        assert!(matches!(refusal(&answer).0, 400 | 403), "{other}");
    }
    // A signature without a date could be replayed for ever.
    let mut undated = caller.of("GET", "k").signed(&caller.who, &host, Body::Hashed);
    undated.headers.retain(|(name, _)| name != "x-amz-date");
    assert_eq!(refusal(&caller.send(&undated)).0, 403);
    assert_eq!(refusal(&caller.send(&undated.header("date", "Sat, 21 Nov 2026 04:00:00 GMT"))).0, 403);
    // Two ways at once.
    let both = caller.of("GET", "k").presigned_at(&caller.who, &host, 60, Timestamp::now());
    let header = caller.of("GET", "k").signed(&caller.who, &host, Body::Hashed);
    let both = header.headers.iter().filter(|(n, _)| n != "host").fold(both, |all, (n, v)| all.header(n, v));
    assert_eq!(refusal(&caller.send(&both)).0, 400);
    assert!(caller.has("k"));
}
