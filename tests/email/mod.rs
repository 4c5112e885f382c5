//! The worked example: events of four mail providers go in through the S3 face, figures come out of it.

use geoseal_support::clients::{Ran, example};
use geoseal_support::fixtures;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::wire::Wire;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Providers, their golden file, and what storing it for the first time says.
const GOLDEN: [(&str, &str, &str); 4] = [
    ("ses", "ses.ndjson", r#"{"duplicate": 1, "malformed": 3, "silent": 2, "stored": 10}"#),
    ("sendgrid", "sendgrid.json", r#"{"duplicate": 1, "malformed": 0, "silent": 1, "stored": 11}"#),
    ("mailgun", "mailgun.ndjson", r#"{"malformed": 0, "silent": 1, "stored": 7}"#),
    ("postmark", "postmark.ndjson", r#"{"malformed": 0, "silent": 0, "stored": 6}"#),
];
const FIGURES: [&str; 3] = ["message.ndjson", "recipient.ndjson", "template.ndjson"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/email-interactions/golden").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own path")
}

fn figures(server: &Server, until: &str, flags: &[&str]) -> Ran {
    let window =
        ["--bucket", BUCKET, "--from", "2026-11-03T00", "--until", until, "--now", "2026-11-21T00:00:00+00:00"];
    example(server, "kpi.py", &[&window[..], flags].concat())
}

fn stored(server: &Server, name: &str) -> Vec<u8> {
    let got = Wire::to(server).call(server, Request::new("GET", &object_path(BUCKET, name)));
    assert_eq!(got.status, 200, "{name}: {}", got.text());
    got.body
}

#[test]
fn r25_events_of_four_providers_and_the_figures_that_come_of_them() {
    let server = Server::start();
    for (provider, file, says) in GOLDEN {
        let file = golden(file);
        let quarantine = server.home().join(format!("{provider}.quarantine"));
        let arguments = ["--bucket", BUCKET, "--provider", provider, "--quarantine", text(&quarantine), text(&file)];
        assert_eq!(example(&server, "ingest.py", &arguments).ok().trim(), says, "{provider}");
        let quarantined = fs::read_to_string(&quarantine).expect("the quarantine").lines().count() as u64;
        let again = example(&server, "ingest.py", &arguments).json();
        assert_eq!(
            (&again["stored"], &again["malformed"]),
            (&Value::Null, &json!(quarantined)),
            "{provider}: duplicates"
        );
    }
    // What is no event stops nothing, and is told by name.
    let stray = "interactions/dt=2026-11-03/hr=11/stray.json";
    for body in ["{\"id\": 7", "{\"id\": \"i\", \"type\": \"something.else\"}"] {
        let name = format!("{stray}.{}", body.len());
        let put = Request::new("PUT", &object_path(BUCKET, &name)).body(body);
        assert_eq!(Wire::to(&server).call(&server, put).status, 200);
    }
    let exclude = golden("excluded.txt");
    let exclude = ["--exclude", text(&exclude)];
    let counts = figures(&server, "2026-11-04T00", &exclude).json();
    assert_eq!(counts, json!({"events": 34, "events_excluded": 3, "inputs": 34, "quarantined": 2}));
    let place = |file: &str| format!("kpi/v1/dt=2026-11-04/{file}");
    for file in FIGURES {
        let golden = fs::read(golden("kpi").join(file)).expect("a golden file");
        let found = stored(&server, &place(file));
        assert!(found == golden, "{file}:\n{}", String::from_utf8_lossy(&found));
        assert!(!String::from_utf8_lossy(&found).contains("optedout"), "{file}");
    }
    let manifest = stored(&server, &place("manifest.json"));
    let told: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(told["quarantined"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(stored(&server, "kpi/v1/watermark.json"), br#"{"through":"2026-11-04T00Z"}"#);
    // The same inputs, the same bytes.
    figures(&server, "2026-11-04T00", &exclude).ok();
    assert!(stored(&server, &place("manifest.json")) == manifest);
    // Providers deliver late: a window that may still grow is not counted.
    assert!(figures(&server, "2026-11-20T00", &exclude).refused().contains("still open"));

    // A contact who wants to be forgotten is in no figure from then on.
    let subject = server.home().join("subject");
    fs::write(&subject, "contact:ada@example.com").expect("the scratch directory is writable");
    server
        .geoseal(&[
            "dsr",
            "erase",
            "--tenant",
            "demo",
            "--subject-file",
            text(&subject),
            "--confirm",
            "demo",
            "--basis",
            "art17",
        ])
        .ok();
    assert_eq!(figures(&server, "2026-11-04T00", &exclude).json()["events"], 28);
    for file in FIGURES {
        assert!(!String::from_utf8_lossy(&stored(&server, &place(file))).contains("ada@"), "{file}");
    }
}

#[test]
fn r25_the_adapters_and_signatures_by_themselves() {
    let fixtures = fixtures::ses_directory();
    assert_eq!(example(Server::shared(), "test_adapters.py", &[text(&fixtures)]).ok().matches("ok ").count(), 6);
}
