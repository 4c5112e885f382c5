//! How often the master keys' keeper is asked: a few times for each tenant and lease, and for a request not at all.

use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::wire::Wire;

use super::pair::{connect_to, metric};

const REQUESTS: u64 = 1000;

/// As its metric says, which the key service counts wherever it runs.
fn calls(server: &Server) -> u64 {
    let bearer = format!("Bearer {}", server.admin_token());
    let host = server.admin().to_string();
    let request = Request::new("GET", "/metrics").header("host", &host).header("authorization", &bearer);
    let answer = connect_to(server.admin(), &server.authority()).exchange(&request).expect("it answers");
    let text = answer.text();
    assert!(text.contains("geoseal_master_key_calls_total{"), "{text}");
    metric(&text, "geoseal_master_key_calls_total{", &[])
}

#[test]
fn a_thousand_requests_cost_the_provider_next_to_nothing() {
    let server = Server::start();
    let mut wire = Wire::to(&server);
    let body = bytes(4, 2000);
    let path = |number: u64| object_path(BUCKET, &format!("{number}"));
    assert_eq!(wire.call(&server, Request::new("PUT", &path(0)).body(body.clone())).status, 200);
    let mut told = Vec::new();
    for method in ["PUT", "GET"] {
        let before = calls(&server);
        assert!(before > 0, "the tenant's roots were made and opened");
        for number in 0..REQUESTS {
            let request = Request::new(method, &path(number));
            let request = if method == "PUT" { request.body(body.clone()) } else { request };
            assert_eq!(wire.call(&server, request).status, 200);
        }
        told.push((method, calls(&server) - before));
    }
    eprintln!("calls of the provider for {REQUESTS} requests of each kind: {told:?}");
    // A lease may come to be renewed meanwhile: two roots.
    assert!(told.iter().all(|(_, calls)| *calls <= 8), "{told:?}");
}
