//! `geoseal dev`: the first thing that a newcomer sees, a clock that moves, and what the process asks of the kernel.

use super::call;
use geoseal_support::{
    server::{BUCKET, FIRST_UPLOAD, Launch, Server},
    signer::Request,
};
use std::{fs, os::unix::fs::MetadataExt};

#[test]
fn the_first_start_shows_an_upload_and_later_ones_do_not() {
    let mut server = Server::start();
    let told = server.log();
    for words in [
        "geoseal serves europe on https://127.0.0.1:",
        &format!("bytes to s3://{BUCKET}/{FIRST_UPLOAD}, sealed under tdk/"),
        "read back: identical",
        "On disk: no trace of its content, name or metadata in",
        "dev.env",
    ] {
        assert!(told.contains(words), "{words:?} is not in:\n{told}");
    }
    let requests = |operation: &str| server.log().matches(operation).count();
    assert_eq!((requests("\"PutObject\""), requests("\"GetObject\"")), (1, 1), "it was a request as any other");
    assert!(!told.contains(&server.credentials().secret) && !told.contains(&server.admin_token()));
    server.terminate();
    server.restart();
    assert_eq!(server.log().matches("First upload").count(), 1);
    assert!(!server.log().contains("FAILED"));
}

/// Certificates and signatures belong to the world outside, which did not move.
#[test]
fn a_simulated_clock_that_moved_on_changes_nothing_for_clients() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let who = server.credentials();
    let object = || Request::new("PUT", "/interactions/x").body("x");
    assert_eq!(call(&server, &who, object()).status, 200);
    // Past the ends of the server's certificate and of the authority's.
    for by in ["91d", "400d", "4000d"] {
        server.geoseal(&["dev", "clock", "advance", by]).ok();
        assert_eq!(call(&server, &who, object()).status, 200, "{by}");
    }
    server.signal(rustix::process::Signal::HUP);
    assert_eq!(call(&server, &who, Request::new("GET", "/interactions/x")).text(), "x");
    server.terminate();
    server.restart();
    assert_eq!(call(&server, &who, Request::new("GET", "/interactions/x")).text(), "x");
    let clock = server.geoseal(&["clock", "show", "--json"]).json();
    let year = |time: &str| clock[time].as_str().unwrap()[..4].parse::<u32>().unwrap();
    let now: u32 = jiff::Timestamp::now().to_string()[..4].parse().unwrap();
    assert!(year("proven") > now + 11, "the clock itself did move: {clock}");
}

#[test]
fn the_process_gives_up_what_it_does_not_need() {
    let server = Server::shared();
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", server.pid()));
    let limits = read("limits").unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    let files = limit("Max open files");
    assert_eq!(files[0], files[1], "soft and hard");
    assert!(read("status").unwrap().lines().any(|line| line.starts_with("NoNewPrivs:") && line.ends_with('1')));
    // Not dumpable: its memory, environment and files belong to root, whoever runs it.
    assert_eq!(fs::metadata(format!("/proc/{}/environ", server.pid())).unwrap().uid(), 0);
    let argv = read("cmdline").unwrap();
    assert!(!argv.contains(&server.credentials().secret) && !argv.contains(&server.admin_token()));
}
