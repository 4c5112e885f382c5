//! The story: somebody who can write to the whole data directory puts it back to an older copy, key store, keyring and all,
//! and goes on from there. The witness on other media, and an auditor's kept checkpoint, do not go back with it.

use super::text;
use geoseal_support::daemon::Daemon;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(copied.success());
}

#[test]
fn d12_p11_an_older_or_forked_log_is_refused_by_its_witness_and_by_a_kept_checkpoint() {
    let mut daemon = Daemon::start();
    let (data, older) = (daemon.dir().join("data"), daemon.home().join("older"));
    let (media, kept, log) = (daemon.home().join("media"), daemon.home().join("kept"), daemon.home().join("log"));
    fs::create_dir(&media).unwrap();
    daemon.terminate();
    let settings = fs::read_to_string(daemon.config()).unwrap();
    let inside = format!("{settings}\n[audit]\nwitness_file = \"{}\"\n", text(&data.join("witness")));
    fs::write(daemon.config(), inside).unwrap();
    assert!(daemon.refused(&[]).stderr().contains("other media"));
    let outside = format!("{settings}\n[audit]\nwitness_file = \"{}\"\n", text(&media.join("log")));
    fs::write(daemon.config(), outside).unwrap();
    daemon.serve();
    let consent = daemon.secret("consent.txt", "We agree.\n");
    let acts = |daemon: &Daemon, times: usize| {
        for _ in 0..times {
            daemon.geoseal(&["tenant", "disable", "contoso", "--reason", "r"]).ok();
            daemon.geoseal(&["tenant", "enable", "contoso", "--consent", text(&consent)]).ok();
        }
    };
    daemon.tenant("contoso");
    daemon.terminate();
    copy(&data, &older);
    daemon.serve();
    acts(&daemon, 3);
    daemon.geoseal(&["audit", "checkpoint", "--geo", "europe", "--out", text(&kept)]).ok();
    daemon.geoseal(&["audit", "export", "--geo", "europe", "--out", text(&log)]).ok();
    acts(&daemon, 1);
    let since = ["audit", "verify", "--since-checkpoint", text(&kept)];
    let said = daemon.geoseal(&since).ok();
    assert!(said.starts_with("consistent ") && said.trim_end().ends_with("; signatures ok; witness ok"), "{said}");
    daemon.terminate();

    // Put back: everything that lies in the data directory fits together, and is old.
    copy(&older, &data);
    let refused = daemon.refused(&[]);
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr());
    assert!(refused.stderr().contains("it is an older copy"), "{}", refused.stderr());
    // Its witness put out of the way, it goes on as if nothing had been. The log says that a witness began anew.
    fs::rename(media.join("log.europe"), media.join("aside")).unwrap();
    daemon.serve();
    let short = daemon.geoseal(&[&since[..], &["--json"]].concat());
    let verdict: Value = serde_json::from_str(&short.stdout()).unwrap();
    assert!(short.code() == Some(1) && verdict["reason"].as_str().unwrap().starts_with("gap"), "{verdict}");
    assert_eq!(verdict["first_bad"], verdict["to"]);
    acts(&daemon, 6);
    let forked = daemon.geoseal(&since);
    assert!(forked.code() == Some(1) && forked.stdout().contains("NOT CONSISTENT: fork"), "{}", forked.stdout());
    let exact = daemon.geoseal(&["audit", "verify", "--since-checkpoint", text(&log), "--json"]);
    let verdict: Value = serde_json::from_str(&exact.stdout()).unwrap();
    let first_bad = verdict["first_bad"].as_u64().expect("an export tells which entry");
    let tail = daemon.geoseal(&["audit", "tail", "--geo", "europe", "-n", "1000", "--json"]).json();
    let entries = tail["entries"].as_array().unwrap();
    let started: Vec<_> = entries.iter().filter(|entry| entry["event"] == "server-started").collect();
    let begun = entries.iter().filter(|entry| entry["event"] == "witness-begun").count();
    assert_eq!(begun, 2, "the log shows that its witness began anew");
    assert!(first_bad <= started[started.len() - 1]["index"].as_u64().unwrap(), "{verdict}");
    daemon.terminate();
    // The first log's witness does not take the fork either, although that is longer now.
    fs::rename(media.join("aside"), media.join("log.europe")).unwrap();
    let refused = daemon.refused(&[]);
    assert!(refused.code() == Some(1) && refused.stderr().contains("fork"), "{}", refused.stderr());
}
