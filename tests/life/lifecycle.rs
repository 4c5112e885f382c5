//! The story: a team tells its bucket to forget. What was there before the rule goes, and what came after it; what was
//! replaced, tagged otherwise or is of another size stays; and it happens at the sweep after the time, not some day.

use super::advance;
use geoseal_support::clients::{aws, python};
use geoseal_support::server::{Launch, Server};
use std::path::Path;
use std::time::{Duration, Instant};

const SCRIPT: &str = include_str!("lifecycle.py");
const VERSIONS: &str = include_str!("versions.py");
const BUCKET: &str = "forgetful";
const PATIENCE: Duration = Duration::from_secs(120);

fn boto3(server: &Server, what: &str) -> String {
    python(server, SCRIPT, &[what, BUCKET]).ok()
}

fn sweep(server: &Server) -> serde_json::Value {
    server.geoseal(&["sweep", "run", "--json"]).json()
}

/// Whether any file below holds the text.
fn holds(path: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).any(|path| {
        let found = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if path.is_dir() { holds(&path, text) } else { std::fs::read(&path).is_ok_and(found) }
    })
}

#[test]
fn r51_lifecycle_rules_act_at_the_sweep_after_their_time() {
    let server = Launch::default().flag("--simulated-clock").start();
    boto3(&server, "begin");
    let shown = aws(&server, &["s3api", "get-bucket-lifecycle-configuration", "--bucket", BUCKET]).json();
    assert_eq!(shown["Rules"][0]["Filter"]["Prefix"], "jane.doe.4711/");

    // Two days on nothing is due, and an upload that a rule gives four days is not aborted after one.
    advance(&server, "2d");
    sweep(&server);
    boto3(&server, "replace");

    // Four days on, the three days that end at midnight are over. What was there before the rules is dated in the
    // background, so this polls; each sweep is the schedule's or ours.
    advance(&server, "2d");
    let begun = Instant::now();
    while boto3(&server, "left").trim() != "6" {
        assert!(begun.elapsed() < PATIENCE, "{}", sweep(&server));
        sweep(&server);
    }
    boto3(&server, "end");
    let status = server.geoseal(&["sweep", "status", "--json"]).json();
    assert_eq!((status["late_s"].as_u64(), status["due"].as_u64()), (Some(0), Some(0)), "{status}");

    // Rules that are gone act no more; the uploads were aborted by theirs, or now are by the day that all others have.
    advance(&server, "9d");
    sweep(&server);
    boto3(&server, "ended");
    let entries = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).json();
    let entries = entries["entries"].as_array().cloned().expect("entries");
    let of = |event: &str, field: &str| -> Vec<u64> {
        let those = entries.iter().filter(|entry| entry["event"] == event);
        those.map(|entry| entry["detail"][field].as_str().and_then(|n| n.parse().ok()).expect("a count")).collect()
    };
    assert_eq!(of("objects-expiring", "objects").iter().sum::<u64>(), 605, "each is in the ledger once: {entries:?}");
    assert_eq!(of("lifecycle-set", "rules"), [5, 0]);

    for personal in ["jane.doe.4711", "richard.roe.0815"] {
        assert!(!holds(&server.data().join("data"), personal), "a rule's prefix or tag lies open on disk");
    }
}

/// What the second story asks its script for, until it says so.
fn until(server: &Server, what: &str) {
    let begun = Instant::now();
    loop {
        let said = python(server, VERSIONS, &[what]).ok();
        if said.trim() == "so" {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {said}");
        sweep(server);
    }
}

/// A bucket keeps versions, and its rules say for how long: an object whose time is over is hidden, superseded versions
/// go but for the newest, a marker goes when nothing is left below it, and a legal hold wins over all of it.
#[test]
fn r51_rules_about_versions_act_at_the_sweep_after_their_time() {
    let server = Launch::default().flag("--simulated-clock").start();
    let run = |what: &str| python(&server, VERSIONS, &[what]).ok();
    run("begin");
    server
        .geoseal(&["hold", "place", "M-1", "--tenant", "demo", "--scope", "prefix:kept/held/", "--matter", "v."])
        .ok();
    until(&server, "at_once");

    // Two days end at the midnight after them.
    advance(&server, "1d");
    sweep(&server);
    run("nothing_yet");
    advance(&server, "2d");
    until(&server, "after_their_days");
    let said = server.geoseal(&["sweep", "run"]).ok();
    assert!(said.contains("a hold keeps them"), "{said}");

    // One more version is one too many: an older one goes at the next sweep, without waiting a day for it.
    run("one_more");
    until(&server, "counted_again");
    server.geoseal(&["hold", "release", "M-1"]).ok();
    until(&server, "released");
    let status = server.geoseal(&["sweep", "status", "--json"]).json();
    assert_eq!(status["late_s"].as_u64(), Some(0), "{status}");
    assert!(!holds(&server.data().join("data"), "jane.doe.4711"), "a name lies open on disk");
}
