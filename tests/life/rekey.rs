//! The story: keys of every kind are replaced on a working day, some in a hurry because somebody may have seen them.
//! Clients notice nothing; whatever was cut off is taken up; and no key is destroyed while anything needs it.

use super::{admin, operation};
use crate::format::blobs_of;
use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET, Launch, Server};
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Wire, client_config};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const INTERRUPTIONS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// A client that puts, reads, overwrites and deletes, and takes no excuse.
struct Client {
    address: SocketAddr,
    authority: Vec<u8>,
    who: Credentials,
}

impl Client {
    fn of(server: &Server) -> Self {
        Self { address: server.s3(), authority: server.authority(), who: server.credentials() }
    }

    fn connect(&self) -> Wire {
        Wire::connect(self.address, client_config(&self.authority, rustls::ALL_VERSIONS)).expect("the server accepts")
    }

    /// Mixed work on names of its own until told to stop; gives what has to be there then.
    fn work(&self, id: usize, stop: &AtomicBool, served: &AtomicU64) -> BTreeMap<String, Vec<u8>> {
        let (mut wire, mut stored) = (self.connect(), BTreeMap::new());
        let host = wire.host().to_owned();
        for i in 0u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("work/{id}/{}", i % 97);
            let path = object_path(BUCKET, &name);
            let body = bytes(i, if i % 23 == 0 { 70_000 } else { 400 });
            let act =
                if i % 5 == 4 { Request::new("DELETE", &path) } else { Request::new("PUT", &path).body(body.clone()) };
            let answer = wire.exchange(&act.signed(&self.who, &host, Body::Hashed)).expect("no connection drops");
            assert!(matches!(answer.status, 200 | 204), "{}: {}", answer.status, answer.text());
            let expected = if i % 5 == 4 { 404 } else { 200 };
            if i % 5 == 4 {
                drop(stored.remove(&name))
            } else {
                drop(stored.insert(name, body))
            }
            let get = Request::new("GET", &path).signed(&self.who, &host, Body::Hashed);
            let answer = wire.exchange(&get).expect("no connection drops");
            assert_eq!(answer.status, expected, "{}", answer.text());
            if i % 50 == 0 {
                let list = Request::new("GET", &format!("/{BUCKET}")).query("list-type", "2").query("prefix", "still/");
                let answer = wire.exchange(&list.signed(&self.who, &host, Body::Hashed)).expect("no connection drops");
                assert_eq!(answer.text().matches("<Key>still/").count(), STILL, "{}", answer.status);
            }
            served.fetch_add(1, Ordering::Relaxed);
        }
        stored
    }
}

/// Objects that nobody changes.
const STILL: usize = 300;
/// Over which a rate is taken before each rotation.
const WINDOW: Duration = Duration::from_secs(2);
/// More objects for the rotations to work on, where their ratios are to mean something: 20000, in a release build.
const MORE: &str = "GEOSEAL_K09_OBJECTS";

fn still(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let mut wire = Wire::to(server);
    let mut stored = BTreeMap::new();
    for i in 0..STILL {
        let (name, body) = (format!("still/{i}"), bytes(i as u64, if i % 30 == 0 { 100_000 } else { 500 }));
        let put = Request::new("PUT", &object_path(BUCKET, &name)).body(body.clone());
        assert_eq!(wire.call(server, put).status, 200);
        stored.insert(name, body);
    }
    stored
}

fn read_back(server: &Server, stored: &BTreeMap<String, Vec<u8>>) {
    let mut wire = Wire::to(server);
    for (name, body) in stored {
        let got = wire.call(server, Request::new("GET", &object_path(BUCKET, name)));
        assert!(got.status == 200 && got.body == *body, "{name}: {}", got.status);
    }
}

/// Raises a flag when it goes.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts objects that are there only so that a rotation has something to do.
fn more(server: &Server, client: &Client) {
    let count: usize = std::env::var(MORE).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    thread::scope(|scope| {
        for lane in 0..4 {
            scope.spawn(move || {
                let (mut wire, host) = (client.connect(), server.s3().to_string());
                for i in (lane..count).step_by(4) {
                    let put = Request::new("PUT", &object_path(BUCKET, &format!("more/{i}"))).body(bytes(1, 300));
                    let answer = wire.exchange(&put.signed(&client.who, &host, Body::Hashed));
                    assert_eq!(answer.expect("no connection drops").status, 200);
                }
            });
        }
    });
}

/// Starts a piece of long work and stays with it to its end, looking often: the time that it takes is that of the work,
/// not of the command.
fn follow(server: &Server, wire: &mut Wire, command: &[&str]) -> Value {
    let begun = server.geoseal(&[command, &["--no-wait", "--json"]].concat()).json();
    let id = begun["id"].as_str().unwrap_or_else(|| panic!("{command:?}: {begun}"));
    let waited = Instant::now();
    loop {
        let now = operation(server, wire, id);
        if now["state"] != "running" {
            return now;
        }
        assert!(waited.elapsed() < PATIENCE * 10, "{command:?} does not end: {now}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Master, tenant, index key, subject root and a re-encryption in turn under mixed load, no client error, zero old
/// parents by scan. The ratio of what was served during each to what was served just before it is printed, not asserted.
#[test]
fn r50_p12_k09_every_rotation_under_mixed_load_without_one_client_error() {
    let server = Server::start();
    let mut stored = still(&server);
    let client = Client::of(&server);
    more(&server, &client);
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let rotations: [&[&str]; 7] = [
        &["key", "rotate", "master", "--geo", "europe"],
        &["key", "rotate", "directory", "--geo", "europe"],
        &["key", "rotate", "tenant", "demo"],
        &["key", "rotate", "index-key", "--tenant", "demo", "--bucket", BUCKET],
        &["key", "rotate", "subject-root", "--tenant", "demo"],
        &["key", "rotate", "index-root", "--tenant", "demo"],
        &["key", "reencrypt", "--tenant", "demo"],
    ];
    let mut wire = admin(&server);
    let written: Vec<BTreeMap<String, Vec<u8>>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|id| {
                let (client, stop, served) = (&client, &stop, &served);
                scope.spawn(move || client.work(id, stop, served))
            })
            .collect();
        // However this ends, the clients do: a scope waits for its threads.
        let _end = Raised(&stop);
        let rate = |from: u64, begun: Instant| {
            (served.load(Ordering::Relaxed) - from) as f64 / begun.elapsed().as_secs_f64().max(0.001)
        };
        thread::sleep(WINDOW);
        for rotation in rotations {
            let (from, begun) = (served.load(Ordering::Relaxed), Instant::now());
            thread::sleep(WINDOW);
            let before = rate(from, begun);
            let (from, begun) = (served.load(Ordering::Relaxed), Instant::now());
            let done = follow(&server, &mut wire, rotation);
            let (during, took) = (rate(from, begun), begun.elapsed().as_secs_f64());
            let result = done["result"].as_object().and_then(|result| result.values().next()).cloned();
            let result = result.unwrap_or_else(|| panic!("{rotation:?}: {done}"));
            assert_eq!(result["remaining"], 0, "{rotation:?}: {result}");
            let records = result["rewrapped"].as_f64().unwrap_or(0.0);
            eprintln!(
                "{}: {:.2} of before ({during:.0}/s of {before:.0}/s, over {took:.1} s); {records} records, {:.0}/s",
                rotation[1..3].join(" "),
                during / before,
                records / took,
            );
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no client saw an error")).collect()
    });
    written.into_iter().for_each(|written| stored.extend(written));
    read_back(&server, &stored);
    server.geoseal(&["audit", "verify"]).ok();
}

/// K-09, where it hurts most: every object that the re-encryption copies is replaced or deleted under it, again and again.
#[test]
fn k09_a_reencryption_of_objects_that_are_replaced_under_it() {
    const NAMES: u64 = 24;
    let server = Server::start();
    let client = Client::of(&server);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for id in 0..2 {
            let (client, stop) = (&client, &stop);
            scope.spawn(move || {
                let mut wire = client.connect();
                let host = wire.host().to_owned();
                for i in 0u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let path = object_path(BUCKET, &format!("hot/{id}/{}", i % NAMES));
                    let request = match i % 7 {
                        6 => Request::new("DELETE", &path),
                        // Too large for the index: blobs of their own.
                        _ => Request::new("PUT", &path).body(bytes(i, 300_000)),
                    };
                    let answer = wire.exchange(&request.signed(&client.who, &host, Body::Hashed)).expect("no drop");
                    assert!(matches!(answer.status, 200 | 204), "{}: {}", answer.status, answer.text());
                }
            });
        }
        let _end = Raised(&stop);
        for round in 0..10 {
            let done = server.geoseal(&["key", "reencrypt", "--tenant", "demo", "--json"]).json();
            assert_eq!(done["result"]["reencryption"]["remaining"], 0, "round {round}: {done}");
        }
    });
}

/// What a client may compare before and after.
fn face(server: &Server, wire: &mut Wire, name: &str) -> (Vec<Option<String>>, Vec<u8>) {
    let got = wire.call(server, Request::new("GET", &object_path(BUCKET, name)));
    assert_eq!(got.status, 200, "{name}: {}", got.text());
    let headers = ["etag", "last-modified", "x-amz-version-id", "x-amz-meta-kind", "content-type"];
    (headers.iter().map(|header| got.header(header).map(str::to_owned)).collect(), got.body)
}

/// K-12: the power goes fifty times in the middle of a re-encryption. In the end every object has its ETag, version, time
/// and metadata, and new sealed bytes; what was left half-way is gone once the collector has been.
#[test]
fn r50_p12_k12_a_reencryption_interrupted_fifty_times_changes_nothing_that_shows() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let mut wire = Wire::to(&server);
    let names: Vec<String> = (0..400).map(|i| format!("kept/{i}")).collect();
    for (i, name) in names.iter().enumerate() {
        let body = bytes(i as u64, [300, 20_000, 70_000, 200_000][i % 4]);
        let put = Request::new("PUT", &object_path(BUCKET, name)).header("x-amz-meta-kind", "kept").body(body);
        assert_eq!(wire.call(&server, put).status, 200);
    }
    let before: Vec<_> = names.iter().map(|name| face(&server, &mut wire, name)).collect();
    let blobs = blobs_of(&server);
    for round in 0..INTERRUPTIONS {
        let begun = server.geoseal(&[
            "key",
            "reencrypt",
            "--tenant",
            "demo",
            "--records-per-second",
            "150",
            "--no-wait",
            "--json",
        ]);
        let id = begun.json()["id"].as_str().map(str::to_owned);
        // Into the middle of it, a little further each time.
        thread::sleep(Duration::from_millis(20 + (round as u64 * 37) % 150));
        assert!(id.is_some(), "round {round}");
        server.kill();
        server.restart();
    }
    let done = server.geoseal(&["key", "reencrypt", "--tenant", "demo", "--json"]).json();
    assert_eq!(done["result"]["reencryption"]["remaining"], 0, "{done}");
    let mut wire = Wire::to(&server);
    let after: Vec<_> = names.iter().map(|name| face(&server, &mut wire, name)).collect();
    assert!(before == after, "what a client sees has changed");
    // Two days on, the collector takes what interrupted runs left: half-made copies, and the old sealed bytes of a row that
    // was replaced in the moment before the power went.
    server.geoseal(&["dev", "clock", "advance", "3d"]).ok();
    let waited = Instant::now();
    loop {
        server.geoseal(&["sweep", "run"]).ok();
        let left = blobs_of(&server).len();
        if left == blobs.len() {
            break;
        }
        assert!(waited.elapsed() < PATIENCE, "{left} blobs for {} objects in the cellar", blobs.len());
        thread::sleep(Duration::from_millis(200));
    }
    let fresh = blobs_of(&server);
    assert!(blobs.iter().all(|old| !fresh.contains(old)), "old sealed bytes are still there");
    assert!(names.iter().zip(&before).all(|(name, face_before)| face(&server, &mut wire, name) == *face_before));
}

/// Every kind of key is counted by version, and what a rotation moves is seen to move: the same records, none of them
/// under the version before.
#[test]
fn k09_status_counts_the_records_under_every_version_of_every_kind() {
    let server = Server::start();
    let mut wire = Wire::to(&server);
    for i in 0..40 {
        let put = Request::new("PUT", &object_path(BUCKET, &format!("counted/{i}"))).body(bytes(i, 300));
        let put = if i % 4 == 0 { put.header("x-amz-meta-geoseal-subject", &format!("person-{i}")) } else { put };
        assert_eq!(wire.call(&server, put).status, 200);
    }
    let counted = || -> BTreeMap<String, u64> {
        let status = server.geoseal(&["key", "status", "--geo", "europe", "--count", "--json"]).json();
        let geo = &status["geos"][0];
        let tenants = geo["tenants"].as_array().into_iter().flatten().map(|tenant| &tenant["versions"]);
        let all = tenants.chain([&geo["master"], &geo["directory"]]).filter_map(Value::as_array).flatten();
        let mut found = BTreeMap::new();
        for version in all.filter(|version| version["state"] != "destroyed") {
            assert!(version.get("more").is_none(), "so few are all counted: {version}");
            let id = version["id"].as_str().expect("an id").to_owned();
            // A bucket is named by its id: here there is one whose rows are counted.
            let kind = id.split('/').next().expect("a kind").to_owned();
            let number = version["version"].as_u64().expect("a number");
            *found.entry(format!("{kind}/{number}")).or_default() += version["records"].as_u64().expect("counted");
        }
        found
    };
    let before = counted();
    assert!(["mk/1", "gdk/1", "tdk/1", "srk/1", "tik/1", "ik/1"].iter().all(|key| before[*key] > 0), "{before:?}");
    assert!(before["srk/1"] >= 10 && before["tdk/1"] >= 30 && before["ik/1"] >= 40, "{before:?}");
    let rotations: [(&str, &[&str]); 5] = [
        ("tdk", &["tenant", "demo"]),
        ("srk", &["subject-root", "--tenant", "demo"]),
        ("tik", &["index-root", "--tenant", "demo"]),
        ("gdk", &["directory", "--geo", "europe"]),
        ("mk", &["master", "--geo", "europe"]),
    ];
    for (kind, what) in rotations {
        let before = counted()[&format!("{kind}/1")];
        server.geoseal(&[&["key", "rotate"], what].concat()).ok();
        let after = counted();
        assert_eq!(after.get(&format!("{kind}/1")).copied().unwrap_or(0), 0, "{kind}: {after:?}");
        // The job of the rotation is a row itself.
        let now = after[&format!("{kind}/2")];
        assert!(now >= before && now <= before + 2, "{kind}: {before} before, {after:?}");
    }
    let table = server.geoseal(&["key", "status", "--tenant", "demo", "--count"]).ok();
    assert!(["tdk/demo/2", "srk/demo/2", "tik/demo/2", "ik/demo/", "gdk/europe/2"].iter().all(|id| table.contains(id)));
    let uncounted = server.geoseal(&["key", "status", "--tenant", "demo", "--json"]).json();
    let versions = uncounted["geos"][0]["tenants"][0]["versions"].as_array().expect("versions");
    assert!(versions.iter().all(|version| version.get("records").is_none()), "{uncounted}");
}

/// K-11: a key is not destroyed while rows need it, whatever was counted before; and once they do not, it is.
#[test]
fn r50_k11_a_key_in_use_is_not_destroyed() {
    let server = Launch::default().flag("--simulated-clock").start();
    let advance = |by: &str| {
        server.geoseal(&["dev", "clock", "advance", by]).ok();
        server.geoseal(&["sweep", "run"]).ok();
    };
    let stored = still(&server);
    let versions = |of: &str| -> BTreeMap<String, String> {
        let status = server.geoseal(&["key", "status", "--json"]).json();
        let geo = &status["geos"][0];
        let tenants = geo["tenants"].as_array().into_iter().flatten();
        let all = tenants.flat_map(|tenant| tenant["versions"].as_array().cloned().unwrap_or_default());
        let all = all.chain(geo["master"].as_array().cloned().unwrap_or_default());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of_kind = all.filter(|version| text(&version["id"]).starts_with(of));
        of_kind.map(|version| (text(&version["id"]), text(&version["state"]))).collect()
    };
    // Active: refused. Reported as compromised: everything under it waits for the re-encryption, and is not readable.
    assert!(!server.geoseal(&["key", "destroy", "tdk/demo/1", "--yes"]).refused().is_empty());
    server.geoseal(&["key", "report-compromise", "tdk/demo/1", "--yes"]).ok();
    assert_eq!(versions("tdk/")["tdk/demo/1"], "compromised");
    assert_eq!(versions("tdk/")["tdk/demo/2"], "current");
    let mut wire = Wire::to(&server);
    let got = wire.call(&server, Request::new("GET", &object_path(BUCKET, "still/1")));
    assert_eq!(got.status, 403, "{}", got.text());
    let dry = server.geoseal(&["key", "destroy", "tdk/demo/1", "--dry-run", "--json"]).json();
    assert_eq!(dry["counts"]["in_use"], STILL, "{dry}");
    assert!(server.geoseal(&["key", "destroy", "tdk/demo/1", "--yes"]).refused().contains("use"), "K-11");
    assert_eq!(versions("tdk/")["tdk/demo/1"], "compromised");
    server.geoseal(&["key", "reencrypt", "--tenant", "demo"]).ok();
    read_back(&server, &stored);
    let dry = server.geoseal(&["key", "destroy", "tdk/demo/1", "--dry-run", "--json"]).json();
    assert_eq!(dry["counts"]["in_use"], 0, "{dry}");
    let done = server.geoseal(&["key", "destroy", "tdk/demo/1", "--yes", "--json"]).json();
    assert_eq!(done["result"]["destruction"]["remaining"], 0, "{done}");
    assert_eq!(versions("tdk/")["tdk/demo/1"], "destroy-scheduled");
    advance("24h1m");
    assert_eq!(versions("tdk/")["tdk/demo/1"], "destroyed");
    read_back(&server, &stored);
    // The master key likewise: refused while active, then rotated away from, then destroyed.
    assert!(!server.geoseal(&["key", "destroy", "mk/europe/1", "--yes"]).refused().is_empty());
    server.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    server.geoseal(&["key", "destroy", "mk/europe/1", "--yes"]).ok();
    advance("29d");
    assert_eq!(versions("mk/")["mk/europe/1"], "destroy-scheduled");
    advance("1d1m");
    assert_eq!(versions("mk/")["mk/europe/1"], "destroyed");
    read_back(&server, &stored);
    server.geoseal(&["audit", "verify"]).ok();
}
