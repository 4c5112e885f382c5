//! The story: what the server says of itself it also tries, once a day. Somebody flips a bit of a blob, and the next probe
//! finds it; he puts it right, and the one after that says so.

use super::{file, text};
use geoseal_support::server::{BUCKET, Launch, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::Wire;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn controls(server: &Server) -> Vec<Value> {
    let said = server.geoseal(&["compliance", "controls", "--json"]);
    let all: Value =
        serde_json::from_str(said.stdout().trim()).expect("the result is printed, also when something fails");
    all["controls"].as_array().expect("a list").clone()
}

fn control(server: &Server, id: &str) -> Value {
    controls(server).into_iter().find(|control| control["id"] == id).expect("it is listed")
}

/// The control once `fits`; probes come by themselves.
fn once(server: &Server, id: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let seen = control(server, id);
        if fits(&seen) {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{seen}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The name of the entry that a control points at.
fn event(server: &Server, control: &Value) -> String {
    let logged = server.geoseal(&["audit", "tail", "--geo", "europe", "-n", "1000", "--json"]).json();
    let entries = logged["entries"].as_array().expect("entries");
    let entry = entries.iter().find(|entry| entry["index"] == control["last_entry"]).expect("it is in the log");
    entry["event"].as_str().expect("an event has a name").to_owned()
}

fn largest_below(dir: &Path) -> PathBuf {
    let (mut dirs, mut files) = (vec![dir.to_owned()], vec![]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("the data directory can be read") {
            let entry = entry.expect("the data directory can be read");
            match entry.file_type().expect("it is there").is_dir() {
                true => dirs.push(entry.path()),
                false => files.push((entry.metadata().expect("it is there").len(), entry.path())),
            }
        }
    }
    files.into_iter().max().expect("there is a blob").1
}

#[test]
fn r23_what_can_be_tried_is_tried_daily_and_what_fails_is_flagged_until_it_is_right() {
    let server = Launch::default().flag("--simulated-clock").start();
    let mut wire = Wire::to(&server);
    let (who, host) = (server.credentials(), wire.host().to_owned());
    let put = Request::new("PUT", &object_path(BUCKET, "probed")).body(vec![7; 300_000]);
    assert_eq!(wire.exchange(&put.signed(&who, &host, Body::Hashed)).expect("an answer").status, 200);
    let fresh = |control: &Value| control["status"] == "fresh";
    for (id, name) in [("NET-1", "listeners-probed"), ("NET-2", "digests-probed"), ("ENC-1", "sealing-probed")] {
        let control = once(&server, id, fresh);
        assert_eq!(event(&server, &control), name, "{control}");
    }
    let listeners = control(&server, "NET-1")["finding"].clone();
    assert!(
        listeners.as_str().is_some_and(|found| found.starts_with("2 listeners, 0 not as they should")),
        "{listeners}"
    );
    for (id, status) in [("DSR-2", "fresh"), ("HLD-1", "on-occasion"), ("NOT-1", "on-occasion")] {
        assert_eq!(control(&server, id)["status"], status, "{id}");
    }
    server.geoseal(&["compliance", "controls"]).ok();

    // The next day there is something stored, and it is looked at as it lies.
    let later = |finding: &str| {
        let entry = control(&server, "ENC-1")["last_entry"].clone();
        server.geoseal(&["dev", "clock", "advance", "25h"]).ok();
        let control = once(&server, "ENC-1", |control| control["last_entry"] != entry);
        assert!(control["finding"].as_str().is_some_and(|found| found.ends_with(finding)), "{control}");
        control
    };
    let sealed = later("blobs of 1 tenants, 0 not as they should");
    assert!(sealed["finding"].as_str().is_some_and(|found| found.contains("1 rows and 1 blobs")), "{sealed}");
    let blob = largest_below(&server.data().join("data/region/westeurope/blobs"));
    let flip = || {
        let mut bytes = fs::read(&blob).expect("a blob can be read");
        bytes[1000] ^= 1;
        fs::write(&blob, bytes).expect("the data directory is ours");
    };
    flip();
    assert_eq!(later("1 not as they should")["status"], "failed");
    let said = server.geoseal(&["compliance", "controls"]);
    assert_eq!(said.code(), Some(1), "{}", said.stdout());
    assert!(
        said.stdout().lines().any(|line| line.starts_with("ENC-1") && line.contains("FAILED")),
        "{}",
        said.stdout()
    );
    assert!(said.stderr().contains("do not hold: ENC-1 in europe"), "{}", said.stderr());
    flip();
    assert_eq!(later("0 not as they should")["status"], "fresh");
    server.geoseal(&["compliance", "controls"]).ok();

    // A request that nobody answered in time.
    let subject = file(&server, "subject.txt");
    fs::write(&subject, "contact:4711\n").expect("the scratch directory is writable");
    let open = ["dsr", "open", "--tenant", "demo", "--subject-file", text(&subject), "--kind", "access"];
    server.geoseal(&[&open[..], &["--basis", "art15"]].concat()).ok();
    assert_eq!(control(&server, "DSR-2")["finding"], "1 open, 0 overdue");
    server.geoseal(&["dev", "clock", "advance", "32d"]).ok();
    let overdue = control(&server, "DSR-2");
    assert_eq!((&overdue["status"], &overdue["finding"]), (&"failed".into(), &"1 open, 1 overdue".into()));
}
