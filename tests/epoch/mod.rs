//! What was destroyed stays so: through the restore of a backup from before, and, once an epoch is closed, against
//! everybody who kept a copy and holds every key that lives.

mod anchors;
mod backup;
mod close;
mod ending;
mod removed;
mod schedule;
mod snapshots;
mod subjects;

use geoseal_support::server::Server;
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The bucket of every tenant of these tests.
const LETTERS: &str = "letters";

/// One connection and one login.
struct Client {
    wire: Wire,
    host: String,
    who: Credentials,
}

impl Client {
    fn of(server: &Server, who: Credentials) -> Self {
        let wire = Wire::to(server);
        Self { host: wire.host().to_owned(), wire, who }
    }

    fn call(&mut self, request: Request) -> Response {
        self.wire.exchange(&request.signed(&self.who, &self.host, Body::Hashed)).expect("the server answers")
    }

    fn put(&mut self, name: &str) {
        let request = Request::new("PUT", &object_path(LETTERS, name)).body(body(name));
        let answer = self.call(request);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }

    fn get(&mut self, name: &str) -> Response {
        self.call(Request::new("GET", &object_path(LETTERS, name)))
    }
}

/// A tenant with a bucket.
fn tenant(server: &Server, name: &str) -> Client {
    let mut client = Client::of(server, crate::life::tenant(server, name));
    assert_eq!(client.call(Request::new("PUT", &format!("/{LETTERS}"))).status, 200);
    client
}

/// What an object of this name holds, however often it was written: most are small, some are blobs of their own.
fn body(name: &str) -> Vec<u8> {
    let mark = name.bytes().fold(17_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let len = match mark % 16 {
        0 => 200_000,
        1..=3 => 20_000,
        _ => 300 + mark as usize % 700,
    };
    name.bytes().cycle().take(len).collect()
}

/// Terminates a tenant, lets its 90 days pass and sweeps. Returns its id.
fn destroy(server: &Server, name: &str) -> String {
    let id = server.geoseal(&["tenant", "show", name, "--json"]).json()["id"].as_str().expect("an id").to_owned();
    server.geoseal(&["tenant", "terminate", name, "--reason", "left", "--confirm", name]).ok();
    advance(server, "90d1m");
    server.geoseal(&["sweep", "run"]).ok();
    let shown = server.geoseal(&["tenant", "show", &id, "--json"]).json();
    assert_eq!(shown["state"], "PURGED", "{shown}");
    id
}

fn advance(server: &Server, by: &str) {
    let dir = server.data().to_str().expect("UTF-8");
    server.geoseal(&["dev", "--dir", dir, "clock", "advance", by]).ok();
}

/// Closes the geo's epoch at once.
fn close(server: &Server) -> Value {
    server.geoseal(&["key", "epoch", "close", "--geo", "europe", "--no-soak", "--json"]).json()
}

/// Checks a certificate by the log's public key, and that an edited one does not pass. Returns what it says.
fn verify(server: &Server, certificate: &Value) -> Value {
    let key = server.geoseal(&["audit", "log-key", "--geo", "europe"]).ok().trim().to_owned();
    let file = server.home().join("certificate.json");
    fs::write(&file, serde_json::to_string(certificate).expect("JSON")).expect("our own file");
    let verdict = ["certificate", "verify", text(&file), "--log-key", &key, "--json"];
    assert_eq!(server.geoseal(&verdict).json()["valid"], true);
    let changed = fs::read_to_string(&file).expect("our own file").replacen("\"S", "\"T", 1);
    fs::write(&file, changed).expect("our own file");
    assert_eq!(server.geoseal(&verdict).code(), Some(1), "an edited one is not valid");
    certificate["certificate"].clone()
}

/// Changes the settings of a server that `dev` made, for its next start.
fn settings(server: &Server, change: impl FnOnce(String) -> String) {
    let config = server.data().join("geoseal.toml");
    let toml = fs::read_to_string(&config).expect("dev wrote it");
    assert!(toml.contains("[epoch]"), "{toml}");
    fs::write(&config, change(toml)).expect("our own file");
}

/// Says that the keyring's secret can be destroyed, for the next start.
fn destroyable(server: &Server) {
    settings(server, |toml| toml + "keyring_secret_destroyable = true\n");
}

/// Asks `geoseal` again and again until what it answers is as wanted.
fn wait_for(server: &Server, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let said = server.geoseal(arguments).json();
        if wanted(&said) {
            return said;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not come to that: {said}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn backup(server: &Server, name: &str) -> PathBuf {
    let out = server.home().join(name);
    server.geoseal(&["backup", "create", "--out", text(&out)]).ok();
    out
}

/// Puts a backup in place of the data of a server that does not run. What the backup does not hold (keyring, witness,
/// shred log) is brought from where it was, as an operator would.
fn restore(server: &Server, from: &Path) {
    let data = server.data().join("data");
    let aside = server.home().join("aside");
    let _ = fs::remove_dir_all(&aside);
    fs::rename(&data, &aside).expect("our own directory");
    server.geoseal(&["backup", "restore", "--from", text(from), "--to", text(&data)]).ok();
    for kept in ["keyring", "keyring.witness", "keystore.shreds"] {
        let old = aside.join("geo/europe").join(kept);
        if old.exists() {
            fs::copy(old, data.join("geo/europe").join(kept)).expect("our own file");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}
