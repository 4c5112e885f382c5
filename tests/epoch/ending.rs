//! The end of a key version, from outside (D9, D10): its day is set, can be taken back, outlives a kill, waits for the backups
//! that need it, and comes; and who restores one of those later is told why nothing opens.

use super::{Client, LETTERS, advance, backup, body, restore, settings, tenant};
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Request, object_path};
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
    // P20: the rehearsal changes nothing and says what comes.
    let rotate = ["key", "rotate", "master", "--geo", "europe"];
    let plan = server.geoseal(&[&rotate[..], &["--dry-run", "--json"]].concat()).json();
    let (total, step) = (plan["counts"]["rewrapped"].as_u64().expect("a number"), plan["steps"][0].to_string());
    assert!(step.contains(&format!("{total} keys to rewrap (")) && step.contains("no data rewritten"), "{plan}");
    assert!(step.contains("est. ") && total > 3, "{plan}");
    assert_eq!(version(&server, "mk/europe/1")["state"], "current");
    let said = server.geoseal(&rotate).ok();
    let (counted, verified) = (format!("rewrapped {total}/{total}"), "verified by unwrap");
    for words in ["mk/europe/2 current", "1 decrypt-only", &counted, verified, "destroy mk/europe/1 after 30 d"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.contains("(cancel: geoseal key cancel-destroy mk/europe/1)"), "{said}");
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

/// Runs `geoseal` and says what it said, which has to have all these words in it.
fn says(server: &Server, arguments: &[&str], words: &[&str]) -> String {
    let said = server.geoseal(arguments).ok();
    words.iter().for_each(|word| assert!(said.contains(word), "{arguments:?}: {word:?} is not in {said}"));
    said
}

/// Begins an upload of what [`body`] says, whole in its first part: its id and the part's ETag.
fn begin(client: &mut Client, name: &str) -> (String, String) {
    let path = object_path(LETTERS, name);
    let begun = client.call(Request::new("POST", &path).query("uploads", "")).text();
    let upload = begun.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<')).expect("an upload").0;
    let part = Request::new("PUT", &path).query("partNumber", "1").query("uploadId", upload).body(body(name));
    let part = client.call(part);
    (upload.to_owned(), part.header("etag").expect("it was taken").to_owned())
}

fn complete(client: &mut Client, name: &str, (upload, etag): &(String, String)) {
    let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
    let parts = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
    let done = Request::new("POST", &object_path(LETTERS, name)).query("uploadId", upload).body(parts);
    assert_eq!(client.call(done).status, 200);
}

#[test]
fn d10_r50_a_key_that_may_be_known_is_counted_cured_and_destroyed_early() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let mut client = tenant(&server, "contoso");
    ["a", "b"].into_iter().for_each(|name| client.put(name));
    let (slow, abandoned) = (begin(&mut client, "slow"), begin(&mut client, "abandoned"));
    server.geoseal(&["key", "rotate", "tenant", "contoso"]).ok();
    // An upload's data key was under the first version, whenever it is completed.
    complete(&mut client, "slow", &slow);
    client.put("later");
    backup(&server, "yesterday");

    // A rotation wrapped again what was under the first version, and that is said; what came later is not exposed.
    let report = ["key", "report-compromise", "tdk/contoso/1", "--yes", "--reason", "seen in a dump"];
    let plan = server.geoseal(&[&report[..], &["--dry-run", "--json"]].concat()).json();
    let counts = &plan["counts"];
    assert_eq!((&counts["objects"], &counts["versions"], &counts["backups"]), (&3.into(), &3.into(), &1.into()));
    let exposed = "3 objects exposed, 3 versions (3 of them only rewrapped since), 1 uploads, 0 copies";
    let cure = "`key rotate` only wraps again and cures none of this; `key reencrypt` does";
    says(&server, &report, &["tdk/contoso/1 compromised", exposed, "1 backups still under it", cure]);
    says(&server, &["key", "exposure", "tdk/contoso/1"], &[exposed, "geoseal key reencrypt --tenant contoso --from 1"]);

    // What that version opened gets new data keys, what came later keeps its sealed bytes; an upload has to end.
    let reencrypt = |from: &'static str| ["key", "reencrypt", "--tenant", "contoso", "--from", from];
    assert_eq!(server.geoseal(&reencrypt("3")).code(), Some(3), "there is none");
    assert_eq!(server.geoseal(&reencrypt("0")).code(), Some(2));
    let plan = server.geoseal(&[&reencrypt("1")[..], &["--dry-run"]].concat()).ok();
    assert!(plan.contains("that version opens, or opened before a rotation"), "{plan}");
    let left = "3 re-encrypted; scan of 5: 1 with a data key that tdk/contoso/1 opens or opened";
    says(&server, &reencrypt("1"), &["tdk/contoso/2 current", left]);
    let upload = Request::new("DELETE", &object_path(LETTERS, "abandoned")).query("uploadId", &abandoned.0);
    assert_eq!(client.call(upload).status, 204);
    let none = "0 re-encrypted; scan of 4: 0 with a data key that tdk/contoso/1 opens or opened";
    says(&server, &reencrypt("1"), &[none]);
    says(&server, &["key", "exposure", "tdk/contoso/1"], &["0 objects exposed, 0 versions"]);
    let logged = server.geoseal(&["audit", "tail", "-n", "20", "--json"]).ok();
    assert!(logged.contains("\"exposed_by\": \"1\""), "{logged}");

    // The current one: replaced at once, and what is under it waits for the re-encryption.
    let known = server.geoseal(&["key", "report-compromise", "tdk/contoso/2", "--yes", "--json"]).json();
    let found = &known["result"]["exposure"];
    assert_eq!((&found["objects"], &found["versions"], &found["rewrapped"]), (&4.into(), &4.into(), &0.into()));
    assert!(found["first_used_at"].is_string() && found["last_used_at"].is_string(), "{found}");
    assert_eq!(client.get("a").status, 403);
    let destroy = ["key", "destroy", "tdk/contoso/2", "--yes"];
    assert!(server.geoseal(&destroy).refused().contains("in use"));
    says(&server, &reencrypt("2"), &["tdk/contoso/3 current", "4 re-encrypted; scan of 4: 0 with"]);
    for key in ["tdk/contoso/1", "tdk/contoso/2"] {
        says(&server, &["key", "exposure", key], &["0 objects exposed, 0 versions"]);
    }
    ["a", "b", "slow", "later"].into_iter().for_each(|name| assert_eq!(client.get(name).body, body(name)));

    // A day is enough, backups or no; and until then it can be taken back.
    says(&server, &destroy, &["tdk/contoso/2 is destroyed after 1 d", "geoseal key cancel-destroy tdk/contoso/2"]);
    says(&server, &["key", "cancel-destroy", "tdk/contoso/2"], &["no longer to be destroyed"]);
    server.geoseal(&destroy).ok();
    server.kill();
    server.restart();
    let data_key = |server: &Server, version: u64| {
        let status = server.geoseal(&["key", "status", "--tenant", "contoso", "--json"]).json();
        let all = status["geos"][0]["tenants"][0]["versions"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|v| v["id"] == format!("tdk/contoso/{version}")).expect("it is listed");
        found["state"].as_str().expect("a state").to_owned()
    };
    advance(&server, "23h");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!((data_key(&server, 2).as_str(), data_key(&server, 1).as_str()), ("destroy-scheduled", "compromised"));
    advance(&server, "1h1m");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!((data_key(&server, 2).as_str(), data_key(&server, 1).as_str()), ("destroyed", "compromised"));

    // The master key: replaced at once, whom to re-encrypt is named; it goes when the backup is too old.
    says(
        &server,
        &["key", "report-compromise", "mk/europe/1", "--yes"],
        &["mk/europe/1 destroy-scheduled", "tenants exposed", "contoso", "1 backups still under it", cure],
    );
    assert_eq!(version(&server, "mk/europe/2")["state"], "current");
    advance(&server, "2d");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(state(&server), "destroy-scheduled", "a backup needs it");
    advance(&server, "30d");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(state(&server), "destroyed");
    assert_eq!(server.geoseal(&["key", "report-compromise", "mk/europe/1", "--yes"]).code(), Some(4));
    let kind = server.geoseal(&["key", "report-compromise", "srk/contoso/1", "--yes"]).refused();
    assert!(kind.contains("NotImplemented"), "{kind}");
    let mut client = super::Client::of(&server, client.who.clone());
    ["a", "b", "slow", "later"].into_iter().for_each(|name| assert_eq!(client.get(name).body, body(name)));
    server.geoseal(&["audit", "verify"]).ok();
}
