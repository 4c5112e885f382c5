//! The end of a key version, from outside (D9): its day is set, can be taken back, outlives a kill, waits for the backups
//! that need it, and comes; and who restores one of those later is told why nothing opens.

use super::{advance, backup, body, restore, settings, tenant};
use geoseal_support::server::{Launch, Server};
use serde_json::Value;

fn version(server: &Server, key: &str) -> Value {
    let status = server.geoseal(&["key", "status", "--json"]).json();
    let all = status["geos"][0]["master"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|version| version["id"] == key).expect("it is listed")
}

fn state(server: &Server) -> String {
    version(server, "mk/europe/1")["state"].as_str().expect("a state").to_owned()
}

#[test]
fn d9_a_retired_master_key_waits_for_its_day_and_for_backups_and_can_be_taken_back() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let mut client = tenant(&server, "contoso");
    client.put("letter");
    let before = backup(&server, "before");
    server.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    assert_eq!(state(&server), "decrypt-only");

    let destroy = ["key", "destroy", "mk/europe/1", "--yes"];
    assert!(server.geoseal(&[&destroy[..], &["--after", "1h"]].concat()).refused().contains("from 1d"));
    let kept = server.geoseal(&[&destroy[..], &["--after", "5d"]].concat()).refused();
    assert!(kept.contains("KeptByBackup") && kept.contains("needs the key until"), "{kept}");
    assert!(
        server.geoseal(&["key", "destroy", "mk/europe/2", "--yes"]).refused().contains("in use"),
        "the current one"
    );
    assert_eq!(state(&server), "decrypt-only");

    let plan = server.geoseal(&[&destroy[..], &["--dry-run", "--json"]].concat()).json();
    assert_eq!(plan["counts"]["in_use"], 0, "{plan}");
    assert!(plan["steps"].to_string().contains("needs it until"), "{plan}");
    let said = server.geoseal(&destroy).ok();
    assert!(said.contains("after 30 d") && said.contains("geoseal key cancel-destroy mk/europe/1"), "{said}");
    assert_eq!(state(&server), "destroy-scheduled");
    let day = version(&server, "mk/europe/1")["destroy_at"].as_str().expect("a day").to_owned();
    assert!(said.contains(&day), "{said} {day}");
    let inventory = server.geoseal(&["key", "inventory"]).ok();
    assert!(inventory.contains(&format!("destroy-scheduled {day}")), "{inventory}");

    advance(&server, "3d");
    assert!(server.geoseal(&["key", "cancel-destroy", "mk/europe/1"]).ok().contains(&day));
    assert!(server.geoseal(&["key", "cancel-destroy", "mk/europe/1"]).ok().contains("neither"), "once is enough");
    assert_eq!(state(&server), "decrypt-only");
    advance(&server, "40d");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(state(&server), "decrypt-only", "it was taken back");

    // The day is set again; then the operator keeps backups for longer, and the server is killed.
    server.geoseal(&destroy).ok();
    server.kill();
    settings(&server, |toml| format!("backup_age_max_days = 90\n{toml}"));
    server.restart();
    assert_eq!(state(&server), "destroy-scheduled", "it outlives the process");
    advance(&server, "30d1m");
    let swept = server.geoseal(&["sweep", "run", "--json"]).json();
    let left = swept["result"]["sweep"]["skipped"].to_string();
    assert!(left.contains("mk/europe/1 stays: backup") && left.contains("needs it until"), "{swept}");
    assert_eq!(state(&server), "destroy-scheduled");
    advance(&server, "30d");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(state(&server), "destroyed", "no backup inside its age needs it any more");
    assert_eq!(server.geoseal(&destroy).code(), Some(4), "it is gone: {}", server.geoseal(&destroy).stderr());
    assert_eq!(server.geoseal(&["key", "cancel-destroy", "mk/europe/1"]).code(), Some(4));
    let mut client = super::Client::of(&server, client.who.clone());
    assert_eq!(client.get("letter").body, body("letter"));
    assert!(server.geoseal(&["backup", "list", "--json"]).json()["backups"].as_array().expect("a list").is_empty());
    let tail = server.geoseal(&["audit", "tail", "-n", "200", "--json"]).ok();
    for event in ["destruction-scheduled", "destruction-withdrawn", "destruction-due", "master-key-destroyed"] {
        assert!(tail.contains(event), "{event}: {tail}");
    }
    server.geoseal(&["audit", "verify"]).ok();

    server.terminate();
    restore(&server, &before);
    for flags in [&[][..], &["--accept-restore", "europe", "--reason", "a test"]] {
        let said = server.refuses_to_restart_with(flags);
        assert!(said.contains("version 1 of the master key, which is destroyed"), "{said}");
    }
}
