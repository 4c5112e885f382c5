//! K-22: whoever edits, removes, moves or forges a line of the audit log is found, by index; and a log that does not end
//! where the key service saw it end is not served.

use geoseal_support::clients::Ran;
use geoseal_support::daemon::Daemon;
use geoseal_support::tools::tools;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, path::PathBuf};

/// A daemon with a log of some length.
fn daemon() -> Daemon {
    let daemon = Daemon::start();
    daemon.tenant("contoso");
    let consent = agreed(&daemon);
    for _ in 0..3 {
        daemon.geoseal(&["tenant", "disable", "contoso", "--reason", "r"]).ok();
        daemon.geoseal(&["tenant", "enable", "contoso", "--consent", &consent]).ok();
    }
    daemon.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    // What the server finds of itself is in the log, too, and then nothing comes for a day that nobody asked for.
    let begun = Instant::now();
    for probe in ["listeners-probed", "digests-probed", "sealing-probed"] {
        while entries(&daemon, probe).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{probe}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    daemon
}

fn agreed(daemon: &Daemon) -> String {
    daemon.secret("consent.txt", "We agree.\n").to_str().expect("a plain path").to_owned()
}

fn log_file(daemon: &Daemon) -> PathBuf {
    let dir = daemon.dir().join("data/geo/europe/audit");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "a short log is one file");
    files.remove(0)
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The line with another actor and a hash that fits: what somebody who knows the format would write.
fn forged(line: &str) -> String {
    let text = line.replacen("\"actor\":\"", "\"actor\":\"x", 1);
    let (before, _) = text.rsplit_once(",\"hash\":").expect("every line ends in its hash");
    format!("{before},\"hash\":\"{}\"}}", hex::encode(Sha256::digest(before)))
}

#[test]
fn every_alteration_is_found_and_named() {
    let daemon = daemon();
    let file = log_file(&daemon);
    let intact = fs::read_to_string(&file).unwrap();
    let lines: Vec<String> = intact.lines().map(str::to_owned).collect();
    let last = lines.len() - 1;
    assert!(last > 10, "{intact}");
    let verify = |what: &str, content: &str, first_bad: Option<usize>| {
        fs::write(&file, content).unwrap();
        let (people, programs) =
            (daemon.geoseal(&["audit", "verify"]), daemon.geoseal(&["audit", "verify", "--geo", "europe", "--json"]));
        let verdict: Value = serde_json::from_str(&programs.stdout()).unwrap();
        let verdict = &verdict["logs"][0];
        match first_bad {
            None => {
                assert_eq!(
                    (people.code(), programs.code(), &verdict["intact"]),
                    (Some(0), Some(0), &true.into()),
                    "{what}"
                );
            }
            Some(index) => {
                assert_eq!((people.code(), programs.code()), (Some(1), Some(1)), "{what}: {}", people.stdout());
                assert_eq!(
                    (&verdict["intact"], &verdict["first_bad"]),
                    (&false.into(), &index.into()),
                    "{what}: {verdict}"
                );
                assert!(people.stdout().contains(&format!("BROKEN at entry {index}")), "{what}: {}", people.stdout());
            }
        }
    };
    verify("as it was written", &intact, None);
    for at in [0, 1, last / 2, last - 1, last] {
        let with = |change: &dyn Fn(&mut Vec<String>)| {
            let mut changed = lines.clone();
            change(&mut changed);
            joined(&changed)
        };
        verify("edited", &with(&|all| all[at] = all[at].replacen("\"actor\":\"", "\"actor\":\"x", 1)), Some(at));
        verify("another time", &with(&|all| all[at] = all[at].replacen("\"time\":\"2", "\"time\":\"1", 1)), Some(at));
        verify("removed", &with(&|all| drop(all.remove(at))), Some(at));
        verify("twice", &with(&|all| all.insert(at, all[at].clone())), Some(at + 1));
        verify("not JSON", &with(&|all| all[at] = "gone".into()), Some(at));
        verify("empty", &with(&|all| all[at].clear()), Some(at));
        verify("cut off here", &with(&|all| all.truncate(at)), Some(at));
        // A line whose own hash fits again is betrayed by the next one, and the last one by the head.
        verify("forged", &with(&|all| all[at] = forged(&all[at])), Some(at));
        if at < last {
            verify("swapped", &with(&|all| all.swap(at, at + 1)), Some(at));
        }
    }
    verify("as it was written", &intact, None);
    daemon.geoseal(&["tenant", "show", "contoso"]).ok();
}

/// The entries of that event, oldest first.
fn entries(daemon: &Daemon, event: &str) -> Vec<Value> {
    let page = daemon.geoseal(&["audit", "tail", "--json", "-n", "1000"]).json();
    let all = page["entries"].as_array().expect("a page has entries").clone();
    all.into_iter().filter(|entry| entry["event"] == event).collect()
}

#[test]
fn x10_the_log_keeps_a_salted_hash_of_a_reason_and_its_words_lie_sealed_beside_it() {
    let mut daemon = Daemon::start();
    daemon.tenant("contoso");
    let (first, last) = ("ticket 4711: unpaid since märz", "contract-end 8b1f0c");
    let act = |arguments: &[&str]| daemon.geoseal(arguments).ok();
    act(&["tenant", "disable", "contoso", "--reason", "only to see", "--dry-run"]);
    act(&["tenant", "disable", "contoso", "--reason", &format!("  {first} ")]);
    act(&["tenant", "disable", "contoso", "--reason", "nothing changes"]);
    act(&["tenant", "enable", "contoso", "--consent", &agreed(&daemon)]);
    act(&["tenant", "terminate", "contoso", "--confirm", "contoso", "--reason", last]);
    for (event, words) in [("tenant-disabled", first), ("tenant-terminated", last)] {
        let found = entries(&daemon, event);
        assert_eq!(found.len(), 1, "one entry for each act that changed something: {found:?}");
        let hash = found[0]["detail"]["reason"].as_str().expect("a hash").to_owned();
        assert!(hash.len() == 64 && hash != hex::encode(Sha256::digest(words)), "{event}: it is salted");
        let index = found[0]["index"].to_string();
        let shown = act(&["audit", "show", &index, "--geo", "europe", "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["reason"], words, "{event}");
    }
    assert!(entries(&daemon, "tenant-enabled")[0]["detail"].get("reason").is_none());
    assert_eq!(daemon.geoseal(&["audit", "verify"]).code(), Some(0));
    daemon.terminate();
    daemon.serve();
    assert_eq!(daemon.geoseal(&["audit", "verify"]).code(), Some(0), "and after a restart");
    let files = fs::read_dir(daemon.dir().join("data/geo/europe/audit")).unwrap();
    let kept: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for words in [first, last, "only to see", "nothing changes"] {
        assert!(!kept.contains(words) && !daemon.log().contains(words), "the words are kept nowhere");
    }
}

#[test]
fn a_log_behind_its_head_is_not_served() {
    let mut daemon = daemon();
    daemon.terminate();
    let file = log_file(&daemon);
    let intact = fs::read_to_string(&file).unwrap();
    let lines: Vec<String> = intact.lines().map(str::to_owned).collect();
    let last = lines.len() - 1;
    let mut rewritten = lines.clone();
    rewritten[last] = forged(&lines[last]);
    for (what, content) in [
        ("one entry less", joined(&lines[..last])),
        ("half of it", joined(&lines[..last / 2])),
        ("empty", String::new()),
        ("another last entry", joined(&rewritten)),
    ] {
        fs::write(&file, content).unwrap();
        let refused = daemon.refused(&[]);
        assert_eq!(refused.code(), Some(1), "{what}: {}", refused.stderr());
        assert!(refused.stderr().contains("audit log"), "{what}: {}", refused.stderr());
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(daemon.refused(&[]).code(), Some(1), "it is not begun anew");
    assert!(daemon.dir().join("data/geo/europe/audit").read_dir().unwrap().next().is_none());
    fs::write(&file, &intact).unwrap();
    daemon.serve();
    assert_eq!(daemon.geoseal(&["audit", "verify"]).code(), Some(0));
}

/// What an auditor takes away stands without us: the whole log, one entry of it, and an old checkpoint.
#[test]
fn an_exported_log_and_a_single_entry_are_verified_without_the_server() {
    let daemon = daemon();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().expect("a temporary directory's name is UTF-8").to_owned();
    let (old, log, proof) = (path("old"), path("log"), path("proof"));
    let said = daemon.geoseal(&["audit", "checkpoint", "--geo", "europe", "--out", &old]).ok();
    assert!(said.contains("entries, root"), "{said}");
    daemon.geoseal(&["tenant", "disable", "contoso", "--reason", "r"]).ok();
    let exported = daemon.geoseal(&["audit", "export", "--geo", "europe", "--out", &log, "--json"]).json();
    let size = exported["size"].as_u64().unwrap();
    let key = daemon.geoseal(&["audit", "log-key", "--geo", "europe"]).ok().trim().to_owned();
    assert!(
        daemon.geoseal(&["audit", "export", "--geo", "europe", "--out", &log]).refused().contains("is there already")
    );
    // The newest of its kind: the server enters what it finds of itself, too.
    let disabled = entries(&daemon, "tenant-disabled");
    let entry = disabled.iter().filter_map(|entry| entry["index"].as_u64()).max().expect("it is logged").to_string();
    daemon.geoseal(&["audit", "prove", "--geo", "europe", "--entry", &entry, "--out", &proof]).ok();
    let beyond = daemon.geoseal(&["audit", "prove", "--geo", "europe", "--entry", "99999"]);
    assert!(beyond.refused().contains("counts from 0"));

    // From here on the server is gone.
    drop(daemon);
    let alone = |arguments: &[&str]| Ran::of(Command::new(env!("CARGO_BIN_EXE_geoseal")).env_clear().args(arguments));
    let verify = ["audit", "verify", "--log", &log, "--log-key", &key, "--checkpoint", &old];
    assert_eq!(
        alone(&verify).ok().trim(),
        format!("valid: {size} entries, root {}", exported["root"].as_str().unwrap())
    );
    let shown = alone(&["audit", "verify", "--proof", &proof, "--log-key", &key]).ok();
    assert!(shown.contains("valid: in the log") && shown.contains("tenant-disabled"), "{shown}");
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader/audit_log.py");
    let python = |log: &str, older: &str| Ran::of(Command::new(tools().python()).args([reader, log, &key, older]));
    assert!(python(&log, &old).ok().contains(&format!("{size} entries")));

    // Another key, another log's checkpoint, one byte anywhere.
    assert!(alone(&["audit", "verify", "--log", &log, "--log-key", &"ab".repeat(32)]).refused().contains("not valid"));
    let other = Daemon::start();
    let foreign = path("foreign");
    other.geoseal(&["audit", "checkpoint", "--geo", "europe", "--out", &foreign]).ok();
    drop(other);
    assert_eq!(alone(&["audit", "verify", "--log", &log, "--log-key", &key, "--checkpoint", &foreign]).code(), Some(1));
    let bundle = format!("{log}/tile/entries/000.p/{size}");
    let whole = fs::read(&bundle).unwrap();
    for at in [1, 40, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&bundle, &changed).unwrap();
        let said = alone(&verify);
        assert!(said.code() == Some(1) && said.stdout().contains("NOT VALID"), "{at}: {}", said.stdout());
        assert!(python(&log, &old).code() != Some(0), "{at}");
    }
    let changed = fs::read_to_string(&proof).unwrap().replace("index ", "index 1");
    fs::write(&proof, changed).unwrap();
    assert_eq!(alone(&["audit", "verify", "--proof", &proof, "--log-key", &key]).code(), Some(1));
}
