//! An early end: a customer that left asks that everything of it goes before the 90 days are over. The settings must allow it,
//! two administrators agree, 72 hours pass in which it can be taken back, and a hold still wins.

use super::holds::Deputy;
use super::{advance, audit, state, tenant};
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::Wire;
use serde_json::Value;

fn sweep(server: &Server) {
    server.geoseal(&["sweep", "run", "--json"]).ok();
}

fn show(server: &Server, tenant: &str) -> Value {
    server.geoseal(&["tenant", "show", tenant, "--json"]).json()
}

/// Allows early ends, as an operator does: a line in the settings, and a restart.
fn allow(server: &mut Server) {
    server.terminate();
    let config = server.data().join("geoseal.toml");
    let text = std::fs::read_to_string(&config).expect("dev wrote it");
    std::fs::write(&config, format!("early_purge = true\n{text}")).expect("our own file");
    server.restart();
}

#[test]
fn p1_early_only_on_instruction_approved_by_two_after_72_hours_and_never_what_is_held() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let contoso = tenant(&server, "contoso");
    let deputy = Deputy::demanded_by(&mut server);
    let instruction = server.home().join("instruction.txt");
    std::fs::write(&instruction, "Please destroy all of it now. J. Doe, Contoso\n")
        .expect("the scratch directory is writable");
    let instruction = instruction.to_str().expect("UTF-8").to_owned();
    let id = show(&server, "contoso")["id"].as_str().expect("an id").to_owned();
    let mut wire = Wire::to(&server);
    let host = wire.host().to_owned();
    for path in ["/letters".to_owned(), object_path("letters", "kept/a.json"), object_path("letters", "b.json")] {
        let put = Request::new("PUT", &path).body(if path == "/letters" { "" } else { "a letter" });
        let put = wire.exchange(&put.signed(&contoso, &host, Body::Hashed)).expect("the server answers");
        assert_eq!(put.status, 200, "{}", put.text());
    }
    let early = ["tenant", "purge-early", "contoso", "--reason-file", &instruction, "--confirm", "contoso"];
    let terminate = ["tenant", "terminate", "contoso", "--reason", "contract-end", "--confirm", "contoso"];
    server.geoseal(&terminate).ok();

    // Off until somebody sets it, and then only for tenants that were terminated, by their names, by two.
    let off = server.geoseal(&early);
    assert_eq!(off.code(), Some(5), "{}", off.stderr());
    assert!(
        off.stderr().contains("EarlyPurgeDisabled") && off.stderr().contains("early_purge = true"),
        "{}",
        off.stderr()
    );
    allow(&mut server);
    let wrong = ["tenant", "purge-early", "contoso", "--reason-file", &instruction, "--confirm", "fabrikam"];
    assert_eq!(server.geoseal(&wrong).code(), Some(2));
    assert!(server.geoseal(&[&early[..], &["--dry-run"]].concat()).ok().contains("another administrator"));
    assert!(server.geoseal(&early).ok().contains("another administrator"));
    assert!(server.geoseal(&early).refused().contains("another administrator"), "the same twice");
    assert_eq!(show(&server, "contoso")["early_purge"], Value::Null, "one is not two");
    assert!(deputy.run(&server, &early).ok().contains("to be destroyed from"));
    let shown = show(&server, "contoso");
    assert_eq!(shown["purge_due_at"], shown["early_purge"]["due_at"]);
    assert_eq!(shown["days_left"], 3);
    let stages: Vec<_> = shown["notices"].as_array().into_iter().flatten().map(|notice| &notice["stage"]).collect();
    assert!(stages.contains(&&"early".into()) && stages.contains(&&"early-1d".into()), "{shown}");

    // Not a moment before, and taken back by one: then not at all.
    advance(&server, "71h50m");
    sweep(&server);
    assert_eq!(state(&server, "contoso"), "TERMINATED");
    server.geoseal(&["tenant", "cancel-early", "contoso"]).ok();
    advance(&server, "1d");
    sweep(&server);
    let shown = show(&server, "contoso");
    assert_eq!(
        (shown["state"].as_str(), &shown["early_purge"]),
        (Some("TERMINATED"), &Value::Null),
        "the 90 days hold"
    );
    assert!(shown["days_left"].as_u64().is_some_and(|days| days > 80), "{shown}");

    // Once more, with a hold: what it covers stays, until two have released it.
    deputy.run(&server, &early).ok();
    assert!(server.geoseal(&early).ok().contains("to be destroyed from"), "either may enter it");
    let place =
        ["hold", "place", "M-1", "--tenant", "contoso", "--scope", "prefix:letters/kept/", "--matter", "C. v. F."];
    server.geoseal(&place).ok();
    deputy.run(&server, &["hold", "approve", "M-1"]).ok();
    advance(&server, "73h");
    sweep(&server);
    assert_eq!(state(&server, &id), "PURGE_HELD");
    let partial: Value = serde_json::from_str(&server.geoseal(&["certificate", "get", &id]).ok()).expect("JSON");
    assert_eq!(
        (&partial["certificate"]["kind"], &partial["certificate"]["deleted"]["objects"]),
        (&"partial".into(), &1.into())
    );
    assert_eq!(server.geoseal(&["tenant", "cancel-early", &id]).code(), Some(4), "what is destroyed stays destroyed");
    server.geoseal(&["hold", "release", "M-1"]).ok();
    deputy.run(&server, &["hold", "release", "M-1"]).ok();
    sweep(&server);
    assert_eq!(state(&server, &id), "PURGED");

    // Everybody can see why it was early, and nobody who was meant or what was said.
    let text = server.geoseal(&["certificate", "get", &id]).ok();
    let certificate: Value = serde_json::from_str(&text).expect("JSON");
    let said = &certificate["certificate"]["early"];
    let by = |field: &str| said[field].as_str().expect("who").to_owned();
    assert!(by("entered_by").ends_with("-deputy") && !by("approved_by").ends_with("-deputy"), "{said}");
    assert_eq!(said["instruction"].as_str().map(str::len), Some(64), "{said}");
    assert!(!text.contains("Doe") && !text.contains("contoso"), "{text}");
    let file = server.home().join("cert.json");
    std::fs::write(&file, &text).expect("the scratch directory is writable");
    server.geoseal(&["certificate", "verify", file.to_str().expect("UTF-8")]).ok();
    let began = certificate["certificate"]["terminated_at"].as_str().expect("T");
    let population =
        server.geoseal(&["compliance", "population", "terminated", "--period", &began[..4], "--json"]).json();
    let all = population["terminated"].as_array().expect("a list");
    let row = all.iter().find(|row| row["tenant"] == id.as_str()).expect("it is in the population");
    assert_eq!((&row["outcome"], &row["exceptions"]), (&"purged".into(), &serde_json::json!([])), "{row}");
    let entry = row["early_by_instruction"]["approved_entry"].as_u64().expect("an entry of the log");
    let log = audit(&server);
    let entry = log.iter().find(|line| line["index"] == entry).expect("it is in the log");
    assert_eq!(entry["event"], "early-purge-instructed", "{entry}");
    assert_eq!(log.iter().filter(|line| line["event"] == "early-purge-cancelled").count(), 1);
    assert!(!server.log().contains("Doe"));
}
