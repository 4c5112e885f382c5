//! The story: long work on keys is cut off by a power failure and nobody remembers that it ran; and one administrator
//! alone cannot destroy a key.

use super::{admin, audit, operation, state};
use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET, Launch, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::Wire;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);
const OBJECTS: usize = 120;

fn fill(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let mut wire = Wire::to(server);
    let mut stored = BTreeMap::new();
    for i in 0..OBJECTS {
        let (name, body) = (format!("kept/{i}"), bytes(i as u64, if i % 20 == 0 { 100_000 } else { 500 }));
        let put = Request::new("PUT", &object_path(BUCKET, &name)).body(body.clone());
        let put = if i % 3 == 0 { put.header("x-amz-meta-geoseal-subject", &format!("person-{i}")) } else { put };
        let answer = wire.call(server, put);
        assert_eq!(answer.status, 200, "{}", answer.text());
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

/// Waits for a new entry of this kind, and hands it back.
fn entry(server: &Server, event: &str, seen: usize) -> Value {
    let begun = Instant::now();
    loop {
        let all: Vec<_> = audit(server).into_iter().filter(|entry| entry["event"] == event).collect();
        if let Some(new) = all.get(seen) {
            return new.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "no {event} came");
        thread::sleep(Duration::from_millis(200));
    }
}

/// K-08, K-09, K-12: each kind of job is cut off in its middle by `kill -9`. The next start goes on with it by itself, and
/// it ends with zero records under what was old.
#[test]
fn k09_jobs_that_were_cut_off_go_on_by_themselves() {
    let mut server = Server::start();
    let stored = fill(&server);
    let slow = ["--records-per-second", "20", "--no-wait", "--json"];
    let kinds: [(&[&str], &str); 5] = [
        (&["key", "rotate", "tenant", "demo"], "tenant-rotation-ended"),
        (&["key", "rotate", "index-key", "--tenant", "demo", "--bucket", BUCKET], "index-key-rotation-ended"),
        (&["key", "rotate", "subject-root", "--tenant", "demo"], "root-rotation-ended"),
        (&["key", "reencrypt", "--tenant", "demo"], "reencryption-ended"),
        (&["key", "rotate", "master", "--geo", "europe"], "master-rotation-ended"),
    ];
    for (command, ended) in kinds {
        let begun = server.geoseal(&[command, &slow[..]].concat()).json();
        let id = begun["id"].as_str().unwrap_or_else(|| panic!("{command:?}: {begun}")).to_owned();
        in_its_middle(&server, &id, &command.join(" "));
        assert!(audit(&server).iter().all(|entry| entry["event"] != ended), "{command:?} ended too soon");
        server.kill();
        server.restart();
        let last = entry(&server, ended, 0);
        assert_eq!(last["actor"], "server", "{last}");
        assert_eq!(last["detail"]["remaining"], "0", "{last}");
    }
    read_back(&server, &stored);
    let dry = server.geoseal(&["key", "destroy", "tdk/demo/1", "--dry-run", "--json"]).json();
    assert_eq!(dry["counts"]["in_use"], 0, "{dry}");
    server.geoseal(&["audit", "verify"]).ok();
}

/// K-09: the geo's directory key, which every login is found by, is cut off half-way. Whoever had a login has it still,
/// before the next start ends the rotation and after it.
#[test]
fn k09_a_directory_key_rotation_that_was_cut_off_locks_nobody_out() {
    let mut server = Server::start();
    let logins: Vec<_> =
        (0..6).map(|n| (format!("tenant-{n}"), super::tenant(&server, &format!("tenant-{n}")))).collect();
    let everybody = |server: &Server| {
        let mut wire = Wire::to(server);
        let host = wire.host().to_owned();
        for (name, who) in &logins {
            let list = Request::new("GET", "/").signed(who, &host, Body::Hashed);
            let answer = wire.exchange(&list).expect("no connection drops");
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            assert_eq!(state(server, name), "ACTIVE");
        }
    };
    let rotate = ["key", "rotate", "directory", "--geo", "europe"];
    let begun = server.geoseal(&[&rotate[..], &["--records-per-second", "4", "--no-wait", "--json"]].concat()).json();
    in_its_middle(&server, begun["id"].as_str().expect("an operation"), "rotate directory");
    everybody(&server);
    let consent = server.home().join("consent.txt");
    let again = ["tenant", "create", "tenant-0", "--geo", "europe", "--home", "westeurope", "--consent"];
    let again = server.geoseal(&[&again[..], &[consent.to_str().expect("UTF-8")]].concat());
    assert_eq!(again.code(), Some(4), "a name leads to one tenant: {}", again.stderr());
    server.kill();
    server.restart();
    everybody(&server);
    let last = entry(&server, "directory-key-rotation-ended", 0);
    assert_eq!((&last["detail"]["remaining"], &last["detail"]["retired"]), (&"0".into(), &"1".into()), "{last}");
    everybody(&server);
    let again = server.geoseal(&[&rotate[..], &["--json"]].concat()).json();
    assert_eq!(again["result"]["rotation"]["from"], "gdk/europe/2", "{again}");
    server.kill();
    server.restart();
    everybody(&server);
    server.geoseal(&["audit", "verify"]).ok();
}

/// Waits until some of a job is done.
fn in_its_middle(server: &Server, id: &str, what: &str) {
    let mut wire = admin(server);
    let begun = Instant::now();
    loop {
        let now = operation(server, &mut wire, id);
        assert_eq!(now["state"], "running", "{what}: {now}");
        if now["done"].as_u64() > Some(0) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} does not begin: {now}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A second administrator of a server.
struct Deputy {
    token: PathBuf,
}

impl Deputy {
    fn run(&self, server: &Server, arguments: &[&str]) -> geoseal_support::clients::Ran {
        let mut command = Command::new(geoseal_support::server::binary());
        command.args(arguments).envs(server.env()).env("GEOSEAL_ADMIN_TOKEN_FILE", &self.token).stdin(Stdio::null());
        geoseal_support::clients::Ran::of(&mut command)
    }
}

/// Makes a server demand two persons, and names the second.
fn demand_two(server: &mut Server) -> Deputy {
    server.terminate();
    let token = server.home().join("deputy.token");
    fs::write(&token, "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789abcdef").expect("our own directory");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("our own file");
    edit(&server.data().join("geoseal.toml"), |text| {
        let more = format!("two_person = true\nmore_token_files = {{ deputy = {:?} }}", token);
        assert!(text.contains("two_person = false"), "{text}");
        text.replace("two_person = false", &more)
    });
    server.restart();
    Deputy { token }
}

fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).expect("dev wrote it");
    fs::write(file, change(text)).expect("our own file");
}

fn waiting(server: &Server) -> usize {
    let status = server.geoseal(&["key", "status", "--json"]).json();
    status["geos"][0]["proposals"].as_array().map_or(0, Vec::len)
}

/// K-11 with two persons: one proposes, another approves; neither alone is enough, a restart in between changes nothing, a
/// proposal can be taken back and runs out, and what the approval allows is scanned anew.
#[test]
fn k11_two_administrators_have_to_agree_before_a_key_is_destroyed() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let stored = fill(&server);
    let deputy = demand_two(&mut server);
    server.geoseal(&["key", "rotate", "tenant", "demo"]).ok();
    let destroy = ["key", "destroy", "tdk/demo/1", "--yes", "--json"];

    let proposed = server.geoseal(&destroy).json();
    assert_eq!(proposed["proposed"]["key"], "tdk/demo/1", "{proposed}");
    // The same once more is not another person, and a restart does not make him one.
    assert!(server.geoseal(&destroy).refused().contains("another administrator"), "the same twice");
    server.kill();
    server.restart();
    assert_eq!(waiting(&server), 1, "a proposal outlives a restart");
    assert!(server.geoseal(&destroy).refused().contains("another administrator"), "the same after a restart");
    assert!(deputy.run(&server, &["key", "destroy", "tdk/demo/2", "--yes"]).refused().contains("use"), "another key");

    // Taken back: the deputy's word is then a proposal, not an approval.
    assert!(server.geoseal(&["key", "cancel-destroy", "tdk/demo/1"]).ok().contains("no longer proposed"));
    assert_eq!(waiting(&server), 0);
    assert_eq!(deputy.run(&server, &destroy).json()["proposed"]["key"], "tdk/demo/1");
    // A day later it has run out.
    server.geoseal(&["dev", "clock", "advance", "25h"]).ok();
    assert_eq!(waiting(&server), 0, "it ran out");
    assert_eq!(server.geoseal(&destroy).json()["proposed"]["key"], "tdk/demo/1", "a proposal once more");

    // Two agree on the wait, too: another one is a proposal of its own.
    let sooner = [&destroy[..], &["--after", "2d"]].concat();
    assert_eq!(deputy.run(&server, &sooner).json()["proposed"]["key"], "tdk/demo/1");

    // What was true when it was proposed is looked at again when it is approved.
    let dry = deputy.run(&server, &["key", "destroy", "tdk/demo/1", "--dry-run", "--json"]).json();
    assert_eq!(dry["counts"]["in_use"], 0, "{dry}");
    let done = deputy.run(&server, &destroy).json();
    assert_eq!(done["result"]["destruction"]["remaining"], 0, "{done}");
    assert_eq!(done["result"]["destruction"]["after_s"], 30 * 86_400, "{done}");
    assert_eq!(waiting(&server), 1, "it is used up, the other stands");
    read_back(&server, &stored);

    // One that is in use: both agree, and the scan at the approval refuses all the same.
    server.geoseal(&["key", "report-compromise", "tdk/demo/2", "--yes"]).ok();
    let in_use = ["key", "destroy", "tdk/demo/2", "--yes"];
    server.geoseal(&in_use).ok();
    assert!(deputy.run(&server, &in_use).refused().contains("in use"), "K-11");
    server.geoseal(&["key", "reencrypt", "--tenant", "demo"]).ok();
    read_back(&server, &stored);
    assert_eq!(state(&server, "demo"), "ACTIVE");

    server.geoseal(&["dev", "clock", "advance", "30d1m"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(entry(&server, "root-retired", 0)["detail"]["version"], "1");

    let events: Vec<_> =
        audit(&server).iter().map(|entry| entry["event"].as_str().unwrap_or_default().to_owned()).collect();
    let told = ["proposed", "withdrawn", "approved", "scheduled", "due"].map(|act| format!("destruction-{act}"));
    for event in told.iter().map(String::as_str).chain(["root-retired"]) {
        assert!(events.iter().any(|seen| seen == event), "{event} is not in the log: {events:?}");
    }
    server.geoseal(&["audit", "verify"]).ok();
}
