//! Keys that are suspended, out of reach, slow or back again, from outside: in the server, and in a key service of its
//! own behind a Unix socket and behind mutual TLS. What an operator reads of it is in docs/operations.md, "What clients
//! see". Source: threats K-02 to K-06, T-05 and T-06.

mod calls;
mod outage;
mod pair;
mod provisioning;
mod socket;
mod tls;

use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::Wire;

#[test]
fn k02_suspended_keys_cut_a_download_and_refuse_the_next_until_they_are_resumed() {
    let server = Server::start();
    let path = object_path(BUCKET, "large");
    let body = bytes(2, 48 << 20);
    let mut wire = Wire::to(&server);
    assert_eq!(wire.call(&server, Request::new("PUT", &path).body(body.clone())).status, 200);

    let mut slow = Wire::to(&server);
    let get = Request::new("GET", &path).signed(&server.credentials(), &server.s3().to_string(), Body::Unsigned);
    slow.send(&get.bytes()).expect("the server listens");
    // Until the first bytes are here, the download has not begun; from then on it waits for this reader.
    let mut first = [0; 1];
    assert_eq!(slow.socket().peek(&mut first).expect("an answer"), 1);
    server.geoseal(&["key", "suspend", "tenant", "demo", "--reason", "a test"]).ok();
    let got = slow.rest();
    assert!(got.starts_with(b"HTTP/1.1 200 "), "it had begun");
    assert!(got.len() < body.len(), "{} bytes came although the keys were suspended", got.len());

    let answer = Wire::to(&server).call(&server, Request::new("GET", &path));
    assert_eq!((answer.status, answer.code().as_str()), (403, "KMS.DisabledException"));
    let answer = Wire::to(&server).call(&server, Request::new("PUT", &object_path(BUCKET, "new")).body(b"x".to_vec()));
    assert_eq!((answer.status, answer.code().as_str()), (403, "KMS.DisabledException"));

    server.geoseal(&["key", "resume", "tenant", "demo"]).ok();
    let answer = Wire::to(&server).call(&server, Request::new("GET", &path));
    assert!(answer.status == 200 && answer.body == body);
    let tail = server.geoseal(&["audit", "tail", "--json"]).ok();
    assert!(tail.contains("suspend") && tail.contains("resume"), "{tail}");
}
