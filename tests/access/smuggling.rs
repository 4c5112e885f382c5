//! PX-06: requests that two parsers would cut in different places. 400 and the end, or just the end; whatever stood
//! behind the ambiguity is never taken for a request.

use super::Caller;
use geoseal_support::signer::{Body, Request};
use geoseal_support::wire::{Wire, client_config};
use std::time::Duration;

/// A signed PUT that must never happen: what an attacker would hide behind another request.
fn hidden(caller: &Caller) -> Vec<u8> {
    let put = caller.of("PUT", "smuggled").body("x").signed(&caller.who, &caller.host(), Body::Hashed);
    put.header("connection", "close").bytes()
}

/// What comes back until the server closes.
fn raw(caller: &Caller, bytes: &[u8]) -> String {
    let mut wire = Wire::to(caller.server);
    wire.socket().set_read_timeout(Some(Duration::from_secs(20))).expect("our own socket");
    let _ = wire.send(bytes);
    String::from_utf8_lossy(&wire.rest()).into_owned()
}

#[test]
fn px_06_nothing_is_smuggled_behind_an_ambiguous_request() {
    let mut caller = Caller::new("px-06");
    caller.put("k", b"x");
    let host = caller.host();
    // A good signed request, so that only the framing is wrong; headers go in before the empty line.
    let get = |extra: &str| {
        let head = caller.of("GET", "k").signed(&caller.who, &host, Body::Hashed).head();
        let head = String::from_utf8(head).expect("ASCII");
        format!("{}{extra}\r\n", head.strip_suffix("\r\n").expect("it ends in an empty line"))
    };
    let put = |extra: &str| {
        let put = caller.of("PUT", "k").header("transfer-encoding", "chunked");
        let head = put.signed(&caller.who, &host, Body::Unsigned).head();
        let head = String::from_utf8(head).expect("ASCII").replace("transfer-encoding: chunked\r\n", "");
        format!("{}{extra}\r\n", head.strip_suffix("\r\n").expect("it ends in an empty line"))
    };
    let cases: Vec<(&str, String)> = vec![
        ("CL and TE", put("content-length: 5\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n"),
        ("TE and CL", put("transfer-encoding: chunked\r\ncontent-length: 5\r\n") + "0\r\n\r\n"),
        ("two lengths", put("content-length: 0\r\ncontent-length: 5\r\n")),
        ("one length twice", put("content-length: 0\r\ncontent-length: 0\r\n")),
        ("a list of lengths", put("content-length: 0, 0\r\n")),
        ("a signed length", put("content-length: +0\r\n")),
        ("a negative length", put("content-length: -1\r\n")),
        ("a hexadecimal length", put("content-length: 0x0\r\n")),
        ("an endless length", put("content-length: 99999999999999999999999\r\n")),
        ("TE spelt otherwise", put("transfer-encoding: xchunked\r\n") + "0\r\n\r\n"),
        ("TE twice", put("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n"),
        ("TE with more", put("transfer-encoding: gzip, chunked\r\n") + "0\r\n\r\n"),
        ("TE identity", put("transfer-encoding: identity\r\n") + "0\r\n\r\n"),
        ("TE with a tab", put("transfer-encoding:\tchunked\r\ncontent-length: 0\r\n") + "0\r\n\r\n"),
        ("TE with a space before the colon", put("transfer-encoding : chunked\r\n") + "0\r\n\r\n"),
        ("TE folded", put("transfer-encoding:\r\n chunked\r\n") + "0\r\n\r\n"),
        ("TE behind a bare CR", put("x: a\rtransfer-encoding: chunked\r\n") + "0\r\n\r\n"),
        ("TE behind a bare LF", put("x: a\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n"),
        ("TE with a control character", put("\u{b}transfer-encoding: chunked\r\n") + "0\r\n\r\n"),
        ("a chunk extension", put("transfer-encoding: chunked\r\n") + "0;a=b\r\n\r\n"),
        ("a chunk size with a sign", put("transfer-encoding: chunked\r\n") + "+0\r\n\r\n"),
        ("a chunk size with a space", put("transfer-encoding: chunked\r\n") + "0 \r\n\r\n"),
        ("a chunk size with 0x", put("transfer-encoding: chunked\r\n") + "0x0\r\n\r\n"),
        ("a chunk size that overflows", put("transfer-encoding: chunked\r\n") + "10000000000000000\r\n\r\n"),
        ("a bare LF in a chunk", put("transfer-encoding: chunked\r\n") + "0\n\n"),
        ("no line end after a chunk", put("transfer-encoding: chunked\r\n") + "1\r\na0\r\n\r\n"),
        ("two hosts", get(&format!("host: {host}\r\n"))),
        ("a host in the address and another in the header", get("").replacen("GET /", "GET https://evil.example/", 1)),
        ("a user in the host", get("").replacen(&format!("host: {host}"), &format!("host: a@{host}"), 1)),
        ("no host", get("").replacen(&format!("host: {host}\r\n"), "", 1)),
        ("an empty line first", format!("\r\n{}", get(""))),
        ("bare LF", get("").replace("\r\n", "\n")),
        ("a space in the target", get("").replacen(" HTTP/1.1", " x HTTP/1.1", 1)),
        ("HTTP/0.9", "GET /px-06/k\r\n".to_owned()),
        ("HTTP/1.2", get("").replacen("HTTP/1.1", "HTTP/1.2", 1)),
        ("HTTP/2.0", get("").replacen("HTTP/1.1", "HTTP/2.0", 1)),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("CONNECT", format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        ("a header without a name", get(": x\r\n")),
        ("a header without a colon", get("x\r\n")),
        ("a NUL", get("x: a\0b\r\n")),
    ];
    for (what, bad) in cases {
        let answer = raw(&caller, &[bad.into_bytes(), hidden(&caller)].concat());
        // One answer at most, a refusal, and the end: never a second answer for what stood behind.
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{what}: {answer}");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            "{what}: {answer}"
        );
        assert!(!caller.has("smuggled"), "{what}: a second request was seen");
    }
    assert_eq!(caller.get("k").body, b"x");
    let shown = raw(&caller, &hidden(&caller));
    assert!(
        shown.starts_with("HTTP/1.1 200 ") && caller.has("smuggled"),
        "and by itself it would have worked: {shown}"
    );
}

/// A body that nobody reads is no request, whatever it looks like.
#[test]
fn px_06_a_refused_body_is_not_taken_for_a_request() {
    let mut caller = Caller::new("px-06-body");
    let body = hidden(&caller);
    for method in ["GET", "DELETE", "HEAD", "POST", "PUT", "OPTIONS", "PATCH"] {
        let request = Request::new(method, "/px-06-body/none").header("host", &caller.host()).body(body.repeat(3));
        let request = request.header("content-length", &(3 * body.len()).to_string());
        let answer = raw(&caller, &request.bytes());
        assert!(answer.matches("HTTP/1.1 ").count() <= 1 && !answer.contains(" 200 "), "{method}: {answer}");
        assert!(!caller.has("smuggled"), "{method}");
    }
}

/// HTTP/2 is not offered, so its own ways of smuggling are not there.
#[test]
fn px_06_http_2_is_not_negotiated() {
    let caller = Caller::new("px-06-h2");
    let config = client_config(&caller.server.authority(), &[&rustls::version::TLS13]);
    let mut config = std::sync::Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let Ok(mut wire) = Wire::connect(caller.server.s3(), config.into()) else { return };
    assert_ne!(wire.session().alpn_protocol(), Some(&b"h2"[..]));
    let _ = wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let answer = wire.rest();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
}
