//! The story: an auditor kept a checkpoint. A tenant goes; its certificate shows that the log has it, in a log that goes on
//! from that checkpoint, and stops showing it when a byte of it is changed.

use super::{alone, file, log_key, purge, python, tenant, text};
use geoseal_support::server::{Launch, Server};
use serde_json::Value;
use std::fs;

/// Changes of the file with which nothing in it may pass any more.
fn edits(whole: &str) -> Vec<String> {
    let changed = |at: usize| {
        let mut bytes = whole.as_bytes().to_vec();
        bytes[at] ^= 1;
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let everywhere = (0..whole.len()).step_by(1 + whole.len() / 60).map(changed);
    let document: Value = serde_json::from_str(whole).expect("a certificate is JSON");
    let without = |member: &str| {
        let mut document = document.clone();
        document.as_object_mut().expect("of members").remove(member);
        serde_json::to_string_pretty(&document).expect("JSON")
    };
    let mut swapped = document.clone();
    swapped["log"]["issued"] = document["log"]["ended"].clone();
    let swapped = serde_json::to_string_pretty(&swapped).expect("JSON");
    everywhere.chain([without("log"), without("signature"), without("certificate"), swapped]).collect()
}

#[test]
fn d12_a_certificate_shows_that_the_log_has_it_until_a_byte_of_it_is_changed() {
    let server = Launch::default().flag("--simulated-clock").start();
    let (kept, cert) = (file(&server, "kept.checkpoint"), file(&server, "cert.json"));
    let id = tenant(&server, "contoso", None);
    server.geoseal(&["audit", "checkpoint", "--geo", "europe", "--out", text(&kept)]).ok();
    server.geoseal(&["backup", "create", "--out", text(&file(&server, "monday"))]).ok();
    purge(&server, "contoso");
    let known = server.geoseal(&["backup", "list", "--json"]).json();
    let key = log_key(&server);
    let whole = server.geoseal(&["certificate", "get", &id, "--since-checkpoint", text(&kept)]).ok();
    assert!(!whole.contains("contoso"), "ids, no names");
    // The age of the backup that may hold it is measured: it was made before the 91 days.
    let told: Value = serde_json::from_str(&whole).expect("JSON");
    let backups = &told["certificate"]["backups"];
    assert_eq!((&backups["known"], &backups["oldest"]), (&1.into(), &backups["newest"]), "{backups}");
    let newest = &backups["newest"];
    assert_eq!(
        (&newest["id"], &newest["made_at"]),
        (&known["backups"][0]["id"], &known["backups"][0]["at"]),
        "{known}"
    );
    assert!(newest["age_s"].as_i64().is_some_and(|age| age >= 91 * 86_400), "{backups}");
    fs::write(&cert, &whole).unwrap();
    let foreign = foreign_checkpoint(&server);

    // From here on by the file, the key and the kept checkpoint alone.
    let verify = ["certificate", "verify", text(&cert), "--log-key", &key, "--checkpoint", text(&kept)];
    let said = alone(&verify).ok();
    assert!(said.starts_with("valid; in the log as entry ") && said.contains("; consistent "), "{said}");
    let theirs = python(&[text(&cert), &key, text(&kept)]).ok();
    assert!(theirs.starts_with("valid; final; ") && theirs.contains(&id), "{theirs}");
    fs::write(&cert, serde_json::to_string(&serde_json::from_str::<Value>(&whole).unwrap()).unwrap()).unwrap();
    alone(&verify).ok();
    python(&[text(&cert), &key, text(&kept)]).ok();

    let edited = edits(whole.trim_end());
    for (at, edited) in edited.iter().enumerate() {
        fs::write(&cert, edited).unwrap();
        let said = alone(&verify);
        assert_eq!(said.code(), Some(1), "edit {at} was not noticed: {}", said.stdout());
        assert!(said.stdout().contains("NOT VALID: ") || said.stderr().contains("is not a certificate"), "{at}");
        if at % 9 == 0 || at + 4 >= edited.len() {
            assert_eq!(
                python(&[text(&cert), &key, text(&kept)]).code(),
                Some(1),
                "edit {at} passed the other verifier"
            );
        }
    }
    fs::write(&cert, &whole).unwrap();
    let other = alone(&["certificate", "verify", text(&cert), "--log-key", &"ab".repeat(32)]);
    assert!(other.code() == Some(1) && other.stdout().contains("another key"), "{}", other.stdout());
    let elsewhere = ["certificate", "verify", text(&cert), "--log-key", &key, "--checkpoint", &foreign];
    assert_eq!(alone(&elsewhere).code(), Some(1), "a checkpoint of another log");
    assert_eq!(python(&[text(&cert), &key, &foreign]).code(), Some(1));
    // Its signature alone is enough only for whoever says so.
    let mut bare: Value = serde_json::from_str(&whole).unwrap();
    bare.as_object_mut().unwrap().remove("log");
    fs::write(&cert, serde_json::to_string_pretty(&bare).unwrap()).unwrap();
    let said = alone(&["certificate", "verify", text(&cert), "--log-key", &key]);
    assert!(said.code() == Some(1) && said.stdout().contains("fetch it again"), "{}", said.stdout());
    let signature_only = ["certificate", "verify", text(&cert), "--log-key", &key, "--without-log"];
    assert!(alone(&signature_only).ok().contains("signature only"));
}

/// What somebody said is sealed beside the log, for administrators; when the tenant ends it is gone from every file, and the entry
/// that has its salted hash verifies as before.
#[test]
fn x10_what_was_said_of_a_tenant_ends_with_it_and_the_log_still_verifies() {
    let server = Launch::default().flag("--simulated-clock").start();
    let words = "unpaid-since-maerz-4711";
    tenant(&server, "contoso", None);
    server.geoseal(&["tenant", "disable", "contoso", "--reason", words]).ok();
    let entries = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).json();
    let all = entries["entries"].as_array().unwrap();
    let entry = all.iter().find(|entry| entry["event"] == "tenant-disabled").expect("it is on record");
    let (index, hash) = (entry["index"].to_string(), entry["detail"]["reason"].as_str().unwrap().to_owned());
    let show = ["audit", "show", &index, "--geo", "europe", "--json"];
    assert_eq!(server.geoseal(&show).json()["reason"], words);
    let plain = |wanted: &str| {
        let found = std::process::Command::new("grep").args(["-r", "-l", "-a", wanted]).arg(server.data()).output();
        String::from_utf8_lossy(&found.expect("grep starts").stdout).into_owned()
    };
    assert_eq!(plain(words), "", "not even while the tenant lives");
    purge(&server, "contoso");
    let shown = server.geoseal(&show).json();
    assert_eq!((&shown["reason"], &shown["reason_is_gone"]), (&Value::Null, &true.into()), "{shown}");
    assert_eq!((shown["entry"]["detail"]["reason"].as_str(), plain(words).as_str()), (Some(hash.as_str()), ""));
    server.geoseal(&["audit", "verify"]).ok();
    let (proof, key) = (file(&server, "said.proof"), log_key(&server));
    server.geoseal(&["audit", "prove", "--geo", "europe", "--entry", &index, "--out", text(&proof)]).ok();
    let said = alone(&["audit", "verify", "--proof", text(&proof), "--log-key", &key]).ok();
    assert!(said.contains(&hash), "{said}");
}

/// A checkpoint of another server's log.
fn foreign_checkpoint(server: &Server) -> String {
    let other = Server::shared();
    let path = text(&file(server, "foreign.checkpoint")).to_owned();
    other.geoseal(&["audit", "checkpoint", "--geo", "europe", "--out", &path]).ok();
    path
}
