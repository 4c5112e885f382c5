//! A SIGKILL while a large body comes in leaves sealed bytes that no row names: nobody sees them, and the name can be
//! used as if nothing had been.

use super::witness::{Address, inner};
use crate::format::blobs_of;
use geoseal_support::{
    records::bytes,
    server::{BUCKET, Server},
    signer::{Body, Request, object_path},
    wire::Wire,
};
use std::{
    thread,
    time::{Duration, Instant},
};

const LEN: usize = 64 << 20;

#[test]
fn a_body_that_was_cut_off_is_invisible() {
    let mut server = Server::start();
    let path = object_path(BUCKET, "cut/off");
    let address = Address::of(&server);
    let begun = address.connect().and_then(|mut c| c.ok(Request::new("POST", &path).query("uploads", "")));
    let upload = inner(&begun.expect("the server answers").text(), "UploadId").expect("an id").to_owned();

    let part = Request::new("PUT", &path).query("partNumber", "1").query("uploadId", &upload);
    for request in [Request::new("PUT", &path), part] {
        let before = blobs_of(&server).len();
        let mut wire = Wire::to(&server);
        let head = request.header("content-length", &LEN.to_string());
        let head = head.signed(&server.credentials(), &server.s3().to_string(), Body::Unsigned).head();
        wire.send(&head).expect("the server listens");
        wire.send(&bytes(1, LEN / 2)).expect("the server takes it");
        let waited = Instant::now();
        while blobs_of(&server).len() == before {
            assert!(waited.elapsed() < Duration::from_secs(30), "nothing was written");
            thread::sleep(Duration::from_millis(2));
        }
        server.kill();
        server.restart();
        let mut client = address.connect().expect("the server accepts");
        assert_eq!(client.call(Request::new("GET", &path)).expect("an answer").status, 404);
        let listed = client.ok(Request::new("GET", &format!("/{BUCKET}")).query("list-type", "2"));
        assert!(!listed.expect("an answer").text().contains("<Key>"), "it is listed");
        let parts = client.ok(Request::new("GET", &path).query("uploadId", &upload)).expect("the upload is still open");
        assert!(!parts.text().contains("<PartNumber>"), "a part is there that was never received: {}", parts.text());
    }

    let mut client = address.connect().expect("the server accepts");
    let body = bytes(2, 100_000);
    client.ok(Request::new("PUT", &path).body(body.clone())).expect("the name is free");
    assert!(client.ok(Request::new("GET", &path)).expect("it is there").body == body);
}
