//! The story: the settings give keys a cryptoperiod, and then nobody thinks of them again for a year.

use super::audit;
use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET, Launch, Server};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::wire::Wire;
use serde_json::Value;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

const POLICY: &str = "
[rotation]
master_days = 300
tenant_days = 100
tenant_records = 50
index_key_days = 200
";

/// What the schedule says of a key by the front of its id: its version and the rest.
fn scheduled(server: &Server, front: &str) -> Vec<Value> {
    let status = server.geoseal(&["key", "status", "--json"]).json();
    let all = status["geos"][0]["schedule"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|entry| entry["key"].as_str().is_some_and(|key| key.starts_with(front))).collect()
}

fn wait_for(server: &Server, key: &str) {
    let begun = Instant::now();
    while !scheduled(server, key)
        .iter()
        .any(|entry| entry["key"].as_str().is_some_and(|of| of.ends_with(key) || of.starts_with(key)))
    {
        assert!(begun.elapsed() < PATIENCE, "{key} did not come: {:?}", scheduled(server, ""));
        thread::sleep(Duration::from_millis(200));
    }
}

/// By whom and for which kind the rotations that ended were.
fn ended(server: &Server) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = audit(server).into_iter().filter(|entry| text(&entry["event"]).ends_with("rotation-ended"));
    all.map(|entry| (text(&entry["event"]), text(&entry["actor"]))).collect()
}

fn put(server: &Server, from: usize, to: usize) {
    let mut wire = Wire::to(server);
    for i in from..to {
        let request = Request::new("PUT", &object_path(BUCKET, &format!("record/{i}"))).body(bytes(i as u64, 300));
        assert_eq!(wire.call(server, request).status, 200);
    }
}

#[test]
fn keys_get_their_next_versions_by_age_and_by_records_without_being_asked() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    assert!(scheduled(&server, "").is_empty(), "nothing is rotated that the settings do not name");
    server.terminate();
    let config = server.data().join("geoseal.toml");
    let text = fs::read_to_string(&config).expect("dev wrote it");
    fs::write(&config, text + POLICY).expect("our own file");
    server.restart();
    put(&server, 0, 20);
    assert_eq!(scheduled(&server, "tdk/demo/1")[0]["days"], 100);
    assert_eq!(scheduled(&server, "mk/europe/1").len() + scheduled(&server, "ik/demo/").len(), 2);

    // By age: the tenant's key first, then the index key, then the master key; each once.
    server.geoseal(&["dev", "clock", "advance", "99d"]).ok();
    assert_eq!(scheduled(&server, "tdk/demo/1")[0]["is_due"], false);
    server.geoseal(&["dev", "clock", "advance", "25h"]).ok();
    wait_for(&server, "tdk/demo/2");
    server.geoseal(&["dev", "clock", "advance", "101d"]).ok();
    wait_for(&server, "tdk/demo/3");
    let index_key = |server: &Server| scheduled(server, "ik/demo/")[0]["key"].as_str().unwrap_or_default().to_owned();
    let begun = Instant::now();
    while !index_key(&server).ends_with("/2") {
        assert!(begun.elapsed() < PATIENCE, "{}", index_key(&server));
        thread::sleep(Duration::from_millis(200));
    }
    // What is due is due after a restart, too.
    server.kill();
    server.restart();
    // By records: 50 more objects than when the version was counted first. The next look is an hour later.
    server.geoseal(&["dev", "clock", "advance", "2h"]).ok();
    let counted = || scheduled(&server, "tdk/demo/3").first().map(|entry| entry["records"].clone());
    let begun = Instant::now();
    while counted() != Some(Value::from(0)) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", counted());
        thread::sleep(Duration::from_millis(200));
    }
    put(&server, 20, 75);
    server.geoseal(&["dev", "clock", "advance", "2h"]).ok();
    wait_for(&server, "tdk/demo/4");
    server.geoseal(&["dev", "clock", "advance", "99d"]).ok();
    wait_for(&server, "mk/europe/2");

    let ended = ended(&server);
    assert!(ended.iter().all(|(_, by)| by == "schedule" || by == "server"), "{ended:?}");
    for (event, count) in [("tenant-rotation-ended", 3), ("index-key-rotation-ended", 1), ("master-rotation-ended", 1)]
    {
        assert!(ended.iter().filter(|(kind, _)| kind == event).count() >= count, "{event}: {ended:?}");
    }
    let mut wire = Wire::to(&server);
    for i in 0..75 {
        let got = wire.call(&server, Request::new("GET", &object_path(BUCKET, &format!("record/{i}"))));
        assert!(got.status == 200 && got.body == bytes(i, 300), "record/{i}: {}", got.status);
    }
    server.geoseal(&["audit", "verify"]).ok();
}
