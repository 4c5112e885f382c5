//! The story: the master key has to be replaced on a working day, on a machine that loses its power every half second.
//! Clients notice dropped connections and nothing else, the rotation ends, and nothing is left under an old version.

use super::tenant;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Wire, client_config};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const KILLS: usize = 12;
const BETWEEN_KILLS: Duration = Duration::from_millis(500);

/// One client that writes and reads back until told to stop. Dropped connections are its only excuse.
struct Client {
    address: SocketAddr,
    authority: Vec<u8>,
    who: Credentials,
}

impl Client {
    fn work(&self, id: usize, stop: &AtomicBool, served: &AtomicU64) -> BTreeMap<String, String> {
        let mut stored = BTreeMap::new();
        let mut wire: Option<Wire> = None;
        for i in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let Some(connected) = wire.as_mut() else {
                let config = client_config(&self.authority, rustls::ALL_VERSIONS);
                wire = Wire::connect(self.address, config).ok();
                continue;
            };
            let (name, body) = (format!("rotation/{id}/{i}"), format!("record {id} {i}"));
            let host = connected.host().to_owned();
            let path = object_path(BUCKET, &name);
            let put = Request::new("PUT", &path).body(body.clone()).signed(&self.who, &host, Body::Hashed);
            match connected.exchange(&put) {
                Ok(answer) => assert_eq!(answer.status, 200, "{}", answer.text()),
                Err(_) => {
                    wire = None;
                    continue;
                }
            }
            stored.insert(name, body.clone());
            let get = Request::new("GET", &path).signed(&self.who, &host, Body::Hashed);
            match connected.exchange(&get) {
                Ok(answer) => assert!(answer.status == 200 && answer.body == body.as_bytes(), "{}", answer.text()),
                Err(_) => wire = None,
            }
            served.fetch_add(1, Ordering::Relaxed);
        }
        stored
    }
}

#[test]
fn r50_d9_p12_a_master_rotation_under_load_and_kills_converges() {
    let mut server = Server::start();
    for i in 0..20 {
        tenant(&server, &format!("tenant-{i}"));
    }
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let client = Client { address: server.s3(), authority: server.authority(), who: server.credentials() };

    let stored: Vec<BTreeMap<String, String>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|id| {
                let (client, stop, served) = (&client, &stop, &served);
                scope.spawn(move || client.work(id, stop, served))
            })
            .collect();
        for _ in 0..KILLS {
            // Rotations of both kinds, begun one after the other until the power goes.
            let until = Instant::now() + BETWEEN_KILLS;
            while Instant::now() < until {
                server.geoseal(&["key", "rotate", "master", "--geo", "europe", "--no-wait"]);
                server.geoseal(&["key", "rotate", "tenant", "demo", "--no-wait"]);
            }
            server.kill();
            server.restart();
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no client saw an error")).collect()
    });
    assert!(served.load(Ordering::Relaxed) > KILLS as u64, "the load was no load");

    server.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    server.geoseal(&["key", "rotate", "tenant", "demo"]).ok();
    let status = server.geoseal(&["key", "status", "--json"]).json();
    let masters = status["geos"][0]["master"].as_array().expect("versions").clone();
    assert!(masters.len() > 2, "{status}");
    for master in &masters {
        let current = master["state"] == "current";
        assert_eq!(master["records"] != 0, current, "records under an old version: {status}");
    }
    let mut wire = Wire::to(&server);
    for (name, body) in stored.iter().flatten() {
        let got = wire.call(&server, Request::new("GET", &object_path(BUCKET, name)));
        assert!(got.status == 200 && got.body == body.as_bytes(), "{name}: {}", got.status);
    }
    server.geoseal(&["audit", "verify"]).ok();
}
