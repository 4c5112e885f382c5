//! What was destroyed stays so: through the restore of a backup from before, and, once an epoch is closed, against
//! everybody who kept a copy and holds every key that lives.

mod backup;
mod close;

use geoseal_support::server::Server;
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire};
use std::fs;
use std::path::{Path, PathBuf};

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
