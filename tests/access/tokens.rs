//! NX-06 and NX-07: continuation tokens and upload ids tell nothing and take no change.

use super::{Caller, element, elements, refusal};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Body, Request};
use geoseal_support::wire::Wire;

const NAMES: [&str; 4] = ["jane.doe@example.com/1", "jane.doe@example.com/2", "jane.doe@example.com/3", "other"];

fn list(bucket: &str, token: Option<&str>) -> Request {
    let request = Request::new("GET", &format!("/{bucket}")).query("list-type", "2").query("max-keys", "1");
    token.into_iter().fold(request, |request, token| request.query("continuation-token", token))
}

/// All that a reader could make of an opaque text by the usual means.
fn readings(text: &str) -> Vec<Vec<u8>> {
    let mut found = vec![text.as_bytes().to_vec()];
    for from in 0..4.min(text.len()) {
        for cut in 0..4 {
            let piece = &text[from..text.len().saturating_sub(cut).max(from)];
            found.extend(
                [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().filter_map(|e| e.decode(piece).ok()),
            );
            found.extend(hex::decode(piece));
        }
    }
    found.extend(percent_encoding::percent_decode_str(text).decode_utf8().ok().map(|t| t.as_bytes().to_vec()));
    let turned: Vec<Vec<u8>> = found.iter().map(|bytes| bytes.iter().rev().copied().collect()).collect();
    found.extend(turned);
    found
}

#[test]
fn nx_07_tokens_and_upload_ids_hold_no_name() {
    let mut caller = Caller::new("nx-07");
    for name in NAMES {
        caller.put(name, b"");
    }
    let token = element(&caller.call(list("nx-07", None)), "NextContinuationToken");
    let upload = element(&caller.call(caller.of("POST", "jane.doe@example.com/3").query("uploads", "")), "UploadId");
    let version = caller.get(NAMES[0]);
    assert!(!token.is_empty() && !upload.is_empty());
    let ids = [token, upload, version.header("x-amz-request-id").unwrap_or_default().to_owned()];
    for text in &ids {
        for reading in readings(text) {
            let letters: String = reading.iter().map(|b| char::from(*b).to_ascii_lowercase()).collect();
            for part in ["jane", "doe", "example", "nx-07"] {
                assert!(!letters.contains(part), "{part} is in {text}");
            }
        }
    }
    // The same place in the same list gives another token each time: nothing to compare by.
    let again = element(&caller.call(list("nx-07", None)), "NextContinuationToken");
    assert_ne!(again, ids[0]);
}

#[test]
fn nx_06_an_altered_token_is_400() {
    let mut caller = Caller::new("nx-06");
    for name in NAMES {
        caller.put(name, b"");
    }
    let token = element(&caller.call(list("nx-06", None)), "NextContinuationToken");
    assert_eq!(elements(&caller.call(list("nx-06", Some(&token))), "Key"), [NAMES[1]]);
    let told = (400, "InvalidArgument".to_owned());
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).expect("ASCII");
        let answer = caller.call(list("nx-06", Some(&altered)));
        // The last character of base64 may have bits that decode to nothing.
        let same = URL_SAFE_NO_PAD.decode(&altered).is_ok_and(|bytes| URL_SAFE_NO_PAD.decode(&token) == Ok(bytes));
        assert!(same || refusal(&answer) == told, "byte {at}: {}", answer.text());
    }
    for at in 0..token.len() {
        let shorter = format!("{}{}", &token[..at], &token[at + 1..]);
        let answer = caller.call(list("nx-06", Some(&shorter)));
        assert_eq!(refusal(&answer), told, "without byte {at}");
    }
    let doubled = format!("{token}{token}");
    for bad in ["x", "\0", "jane.doe@example.com/1", "00000000", &doubled, &token.to_lowercase(), &format!("{token}=")]
    {
        let answer = caller.call(list("nx-06", Some(bad)));
        assert_eq!(answer.status, 400, "{bad}");
    }
    // One of another bucket, and one of another tenant's bucket of the same name.
    let mut other = Caller::new("nx-06-other");
    for name in NAMES {
        other.put(name, b"");
    }
    assert_eq!(refusal(&other.call(list("nx-06-other", Some(&token)))), told);
    let mut bob = Caller::other_tenant("nx06-bob", "nx-06");
    bob.put("a", b"");
    assert_eq!(refusal(&bob.call(list("nx-06", Some(&token)))), told);
    assert_eq!(elements(&caller.call(list("nx-06", Some(&token))), "Key"), [NAMES[1]]);
}

/// On a server of its own, whose clock can be moved.
#[test]
fn nx_06_an_expired_token_is_400() {
    let server: Server = Launch::default().flag("--simulated-clock").start();
    let mut wire = Wire::to(&server);
    let mut call = |request: Request| {
        let signed = request.signed(&server.credentials(), &server.s3().to_string(), Body::Hashed);
        wire.exchange(&signed).expect("the server answers")
    };
    for name in ["a", "b", "c"] {
        assert_eq!(call(Request::new("PUT", &format!("/interactions/{name}"))).status, 200);
    }
    let token = element(&call(list("interactions", None)), "NextContinuationToken");
    let data = server.data().to_str().expect("UTF-8");
    server.geoseal(&["dev", "--dir", data, "clock", "advance", "23h"]).ok();
    assert_eq!(elements(&call(list("interactions", Some(&token))), "Key"), ["b"]);
    server.geoseal(&["dev", "--dir", data, "clock", "advance", "61m"]).ok();
    assert_eq!(refusal(&call(list("interactions", Some(&token)))), (400, "InvalidArgument".to_owned()));
}
