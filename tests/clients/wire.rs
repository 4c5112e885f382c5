//! Our own bare client, which other tests use to send what no SDK would: first that it is right when it behaves.

use geoseal_support::{
    server::{BUCKET, Server},
    signer::{Body, Request, object_path},
    wire::Wire,
};
use jiff::Timestamp;

#[test]
fn signed_presigned_and_spoilt_requests_on_one_connection() {
    let server = Server::start();
    let mut wire = Wire::to(&server);
    let path = object_path(BUCKET, "wire/über all?");

    let put = wire.call(&server, Request::new("PUT", &path).header("x-amz-meta-colour", "green").body("hello"));
    assert_eq!((put.status, put.header("etag")), (200, Some("\"5d41402abc4b2a76b9719d911017c592\"")));
    let got = wire.call(&server, Request::new("GET", &path));
    assert_eq!((got.status, got.text().as_str(), got.header("x-amz-meta-colour")), (200, "hello", Some("green")));
    let head = wire.call(&server, Request::new("HEAD", &path));
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("5"), 0));
    let listed = wire.call(&server, Request::new("GET", &format!("/{BUCKET}")).query("list-type", "2"));
    assert_eq!(listed.status, 200);
    assert!(listed.text().contains("<Key>wire/über all?</Key>"), "{}", listed.text());

    let presigned =
        Request::new("GET", &path).presigned_at(&server.credentials(), &server.s3().to_string(), 60, Timestamp::now());
    assert_eq!(wire.exchange(&presigned).unwrap().text(), "hello");

    let spoilt = Request::new("GET", &path).signed(&server.credentials(), &server.s3().to_string(), Body::Hashed);
    let spoilt = spoilt.replace("x-amz-content-sha256", &"0".repeat(64));
    assert_eq!(wire.exchange(&spoilt).unwrap().code(), "SignatureDoesNotMatch");
}
