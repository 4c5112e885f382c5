//! The story: nobody has to remember. Closes begin when they are due by the compliance clock, soak, and end; a server that
//! dies in the middle of one takes it up; and where two persons have to agree, two persons have to agree.

use super::{Client, advance, settings, tenant, wait_for};
use geoseal_support::daemon::Daemon;
use geoseal_support::server::Launch;
use serde_json::Value;
use std::fs;

const STATUS: [&str; 6] = ["key", "epoch", "status", "--geo", "europe", "--json"];

fn state(status: &Value, number: usize) -> &str {
    status["epochs"][number - 1]["state"].as_str().unwrap_or("none")
}

#[test]
fn closes_begin_when_they_are_due_and_are_taken_up_after_a_crash() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    assert!(server.geoseal(&STATUS).json()["next_due_at"].is_null(), "nothing begins by itself unless it is told to");
    server.terminate();
    settings(&server, |toml| toml + "every_days = 27\n");
    let said = server.refuses_to_restart();
    assert!(said.contains("27 days, 2 of soak") && said.contains("more than 28"), "{said}");
    settings(&server, |toml| toml.replace("every_days = 27", "every_days = 7"));
    server.restart();
    let mut client = tenant(&server, "contoso");
    client.put("letter");
    let status = server.geoseal(&STATUS).json();
    assert!(status["every_days"] == 7 && status["next_due_at"].is_string() && state(&status, 1) == "none", "{status}");
    let first = status["next_due_at"].clone();
    assert!(server.geoseal(&STATUS[..5]).ok().contains("next close due"));

    advance(&server, "6d23h");
    server.terminate();
    server.restart();
    assert_eq!(server.geoseal(&STATUS).json()["next_due_at"], first, "a restart changes no date");
    advance(&server, "2h");
    wait_for(&server, &STATUS, |status| state(status, 1) == "soaking");
    let status = server.geoseal(&STATUS).json();
    assert_ne!(status["next_due_at"], first, "the next one counts from this one");
    advance(&server, "2d1h");
    wait_for(&server, &STATUS, |status| state(status, 1) == "closed");
    assert_eq!(Client::of(&server, client.who.clone()).get("letter").status, 200);

    // The power goes as soon as the next one has begun, wherever that is.
    advance(&server, "5d");
    wait_for(&server, &STATUS, |status| state(status, 2) != "none");
    server.kill();
    server.restart();
    wait_for(&server, &STATUS, |status| state(status, 2) == "soaking");
    advance(&server, "2d1h");
    wait_for(&server, &STATUS, |status| state(status, 2) == "closed");
    server.geoseal(&["audit", "verify"]).ok();
    let logged = server.geoseal(&["audit", "tail", "-n", "100", "--json"]).json();
    let begun = |entry: &&Value| entry["event"] == "epoch-begun" && entry["actor"].to_string().contains("schedule");
    assert_eq!(logged["entries"].as_array().expect("entries").iter().filter(begun).count(), 2, "{logged}");
}

#[test]
fn where_two_have_to_agree_one_proposes_a_close_and_another_approves_it() {
    let mut daemon = Daemon::prepare();
    daemon.secret("second-token", "2f9c4b7e1d8a6053f9c4b7e1d8a60532\n");
    let second = daemon.home().join("second-token");
    let line = format!("more_token_files = {{ second = {second:?} }}\ntoken_file");
    daemon.edit(|toml| toml.replacen("token_file", &line, 1));
    daemon.serve();
    let close = ["key", "epoch", "close", "--geo", "europe", "--json"];
    let refused = daemon.geoseal(&["key", "epoch", "close", "--geo", "europe", "--no-soak"]).refused();
    assert!(refused.contains("soak"), "{refused}");
    assert_eq!(daemon.geoseal(&close).json()["proposed"], "europe");
    // Twice by the same one is one person.
    daemon.geoseal(&close).refused();
    assert!(daemon.geoseal(&STATUS).json()["epochs"].as_array().expect("a list").is_empty());
    let plan = daemon.geoseal_as(&second, &["key", "epoch", "close", "--geo", "europe", "--dry-run", "--json"]).json();
    assert!(plan["steps"][0].as_str().expect("text").contains("propose"), "{plan}");
    let closed = daemon.geoseal_as(&second, &close).json();
    assert_eq!(closed["result"]["epoch"]["state"], "soaking", "{closed}");
    let logged = daemon.geoseal(&["audit", "tail", "-n", "20", "--json"]).json();
    let events: Vec<_> = logged["entries"].as_array().expect("entries").iter().map(|entry| &entry["event"]).collect();
    let at =
        |event: &str| events.iter().position(|found| *found == event).unwrap_or_else(|| panic!("{event}: {logged}"));
    assert!(at("epoch-proposed") < at("epoch-approved") && at("epoch-approved") < at("epoch-begun"), "{logged}");
    assert!(!fs::read_to_string(daemon.config()).expect("our own file").contains("two_person = false"));
}
