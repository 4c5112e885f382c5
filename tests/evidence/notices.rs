//! The story: a tenant leaves, and whoever runs the server is told at once and four times more before the end, over TLS and
//! signed; the receiver is busy at the first attempt of each, the server restarts in between, and every notice arrives once.

use super::{file, settings, tenant, text};
use geoseal_support::keepers::secret;
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Body, Credentials, Request};
use geoseal_support::tools::tools;
use geoseal_support::wire::Wire;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

/// Killed with the test.
struct Receiver(Child);

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A receiver with the listener's own certificate; answers where it listens.
fn receiver(server: &Server) -> (Receiver, u16) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/evidence/notices.py");
    let tls = server.data().join("tls");
    let mut child = Command::new(tools().python())
        .args([script, text(&tls.join("server.pem")), text(&tls.join("server-key.pem"))])
        .args([file(server, "notices.secret"), file(server, "arrived")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it was piped")).read_line(&mut line).expect("it says its port");
    (Receiver(child), line.trim().parse().expect("a port"))
}

fn arrived(server: &Server) -> Vec<Value> {
    let text = fs::read_to_string(file(server, "arrived")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn wait(server: &Server, tenant: &str, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let of_tenant: Vec<_> = arrived(server).into_iter().filter(|n| n["body"]["data"]["tenant"] == tenant).collect();
        if of_tenant.len() >= count {
            return of_tenant;
        }
        assert!(begun.elapsed() < PATIENCE, "{count} notices, and {of_tenant:?} arrived\n{}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn d7_notices_arrive_signed_once_and_in_order_before_the_purge() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    secret(&file(&server, "notices.secret"), "whsec-2f1c5e7d9b8a46035d7e9f1c3b5a7d90");
    let (_receiver, port) = receiver(&server);
    let (secret_file, ca) = (file(&server, "notices.secret"), server.data().join("tls/ca.pem"));
    let table = format!(
        "\n[notices]\nurl = \"https://localhost:{port}/geoseal\"\nsecret_file = \"{}\"\nca_file = \"{}\"\n",
        text(&secret_file),
        text(&ca)
    );
    settings(&mut server, |toml| toml + &table);
    let id = tenant(&server, "contoso", Some("dpo@example.org"));
    let login =
        server.geoseal(&["credential", "create", "--tenant", "contoso", "--role", "read-only", "--json"]).json();
    let of = |field: &str| login[field].as_str().unwrap().to_owned();
    let reader = Credentials { access_id: of("access_id"), secret: of("secret"), region: of("region") };
    let due = |server: &Server| {
        let mut wire = Wire::to(server);
        let host = wire.host().to_owned();
        let answer = wire.exchange(&Request::new("GET", "/").signed(&reader, &host, Body::Hashed)).expect("it answers");
        (answer.status, answer.header("x-geoseal-purge-due").map(str::to_owned))
    };
    assert_eq!(due(&server), (200, None));
    server.geoseal(&["tenant", "terminate", "contoso", "--reason", "contract-end", "--confirm", "contoso"]).ok();
    let shown = server.geoseal(&["tenant", "show", "contoso", "--json"]).json();
    let (status, header) = due(&server);
    assert_eq!((status, header.as_deref()), (403, shown["purge_due_at"].as_str()), "every answer says when");
    let stages: Vec<_> = shown["notices"].as_array().unwrap().iter().map(|notice| notice["stage"].clone()).collect();
    assert_eq!(stages, ["T", "-30d", "-14d", "-7d", "-1d"]);
    let first = wait(&server, &id, 1);
    assert_eq!((&first[0]["body"]["data"]["stage"], &first[0]["body"]["data"]["days_left"]), (&"T".into(), &90.into()));

    // The first attempt of the next is refused; then the server goes, and comes back.
    server.geoseal(&["dev", "clock", "advance", "61d"]).ok();
    server.kill();
    server.restart();
    wait(&server, &id, 2);
    for by in ["16d", "7d", "5d23h"] {
        server.geoseal(&["dev", "clock", "advance", by]).ok();
    }
    let all = wait(&server, &id, 5);
    let said: Vec<_> = all.iter().map(|notice| notice["body"]["data"]["stage"].clone()).collect();
    assert_eq!(said, ["T", "-30d", "-14d", "-7d", "-1d"], "each once, in order");
    let ids: std::collections::BTreeSet<_> = all.iter().map(|notice| notice["id"].to_string()).collect();
    assert_eq!(ids.len(), 5);
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("contoso") && !text.contains("dpo@"), "opaque ids: {text}");
    let begun = Instant::now();
    while server.geoseal(&["tenant", "show", "contoso"]).ok().matches(" arrived ").count() < 5 {
        assert!(begun.elapsed() < PATIENCE, "what arrived is not shown");
    }
    let log = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).json();
    let sent = log["entries"].as_array().unwrap().iter().filter(|entry| entry["event"] == "notice-sent");
    assert_eq!(sent.filter(|entry| entry["tenant"] == id.as_str()).count(), 5, "and each is on record once");
}
