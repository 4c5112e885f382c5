//! A region whose index was put back to an older state: not served, until an operator says for one start that it is so
//! on purpose, which the audit log remembers.

use geoseal_support::{
    daemon::{Daemon, REGION},
    signer::{Body, Credentials, Request},
    wire::{Response, Wire, client_config},
};
use sha2::{Digest, Sha256};
use std::{fs, path::Path, process::Command};

fn call(daemon: &Daemon, who: &Credentials, request: Request) -> Response {
    let config = client_config(&daemon.authority(), &[&rustls::version::TLS13]);
    let mut wire = Wire::connect(daemon.s3(), config).expect("the S3 listener accepts");
    wire.exchange(&request.signed(who, &daemon.s3().to_string(), Body::Hashed)).expect("an answer")
}

/// `cp -a`, in place of what is at `to`.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(copied.success());
}

#[test]
fn an_older_index_is_served_only_when_an_operator_says_why() {
    let mut daemon = Daemon::start();
    let login = daemon.tenant("contoso");
    assert_eq!(call(&daemon, &login, Request::new("PUT", "/letters")).status, 200);
    assert_eq!(call(&daemon, &login, Request::new("PUT", "/letters/old").body("old")).status, 200);
    daemon.terminate();
    let index = daemon.dir().join(format!("data/region/{REGION}/index"));
    let backup = daemon.home().join("backup");
    copy(&index, &backup);
    daemon.serve();
    assert_eq!(call(&daemon, &login, Request::new("PUT", "/letters/new").body("new")).status, 200);
    daemon.terminate();

    let why = "ticket 4711: disk lost, backup of 03:00";
    let accept = ["--accept-rollback", REGION, "--reason", why];
    let refused = |what: &str, daemon: &Daemon, flags: &[&str], code: i32, says: &str| {
        let ran = daemon.refused(flags);
        assert_eq!(ran.code(), Some(code), "{what}: {}", ran.stderr());
        assert!(ran.stderr().contains(says), "{what}: {}", ran.stderr());
    };
    refused("nothing was rolled back", &daemon, &accept, 1, "was not rolled back");
    copy(&backup, &index);
    refused("no flag", &daemon, &[], 1, "it was rolled back or lost its end");
    refused("no reason", &daemon, &accept[..2], 2, "--reason");
    refused("an empty reason", &daemon, &["--accept-rollback", REGION, "--reason", " "], 2, "says nothing");
    refused("no such region", &daemon, &["--accept-rollback", "us-east-1", "--reason", why], 2, "no such region");
    refused(
        "not served here",
        &daemon,
        &["--accept-rollback", "eastus", "--reason", why],
        1,
        "not one of the configured",
    );
    refused("still no flag", &daemon, &[], 1, "it was rolled back or lost its end");

    daemon.serve_with(&accept);
    assert_eq!(call(&daemon, &login, Request::new("GET", "/letters/old")).text(), "old");
    assert_eq!(call(&daemon, &login, Request::new("GET", "/letters/new")).status, 404);
    assert_eq!(call(&daemon, &login, Request::new("PUT", "/letters/newer").body("newer")).status, 200);
    let entries = daemon.geoseal(&["audit", "tail", "--json"]).json();
    let entries = entries["entries"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["event"] == "anchor-overridden").expect("it is in the log");
    assert_eq!((&entry["detail"]["region"], &entry["detail"]["behind"]), (&REGION.into(), &"1".into()), "{entry}");
    assert_eq!(entry["detail"]["reason"], hex::encode(Sha256::digest(why)));
    assert!(!daemon.log().contains("4711"), "the reason itself is nowhere");

    daemon.terminate();
    refused("a second time", &daemon, &accept, 1, "was not rolled back");
    daemon.serve();
    assert_eq!(call(&daemon, &login, Request::new("GET", "/letters/newer")).text(), "newer");
}
