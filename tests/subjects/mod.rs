//! The story: somebody asks to be forgotten. From one moment to the next nothing of them can be read, listed or copied by
//! anybody, their key is gone from the disk, and nobody else notices anything.

mod batches;
mod contacts;
mod export;
mod forms;
mod link;
mod rectify;
mod requests;
mod versions;

use geoseal_support::clients::{Ran, python, python_command};
use geoseal_support::server::Server;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const SCRIPT: &str =
    concat!(include_str!("../api/common.py"), "\n", include_str!("subjects.py"), "\nglobals()[sys.argv[1]]()");
const ONE: &str = "contact:4711";
const PATIENCE: Duration = Duration::from_secs(120);

fn case(server: &Server, name: &str) -> String {
    python(server, SCRIPT, &[name]).ok()
}

fn subject_file(server: &Server, name: &str) -> PathBuf {
    let file = server.home().join("subject");
    fs::write(&file, name).expect("a scratch file can be written");
    file
}

fn erase(server: &Server, name: &str, flags: &[&str]) -> Ran {
    let file = subject_file(server, name);
    let file = file.to_str().expect("a temporary directory's name is UTF-8");
    // Who is named again is somebody new: these stories write for the same name once more.
    let asked = ["--basis", "art17", "--block-reingest", "false", "--json"];
    server.geoseal(&[&["dsr", "erase", "--tenant", "demo", "--subject-file", file], &asked[..], flags].concat())
}

/// Every file below a directory.
fn files(below: &Path) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![below.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a data directory can be read") {
            let path = entry.expect("a data directory can be read").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn k13_an_erased_subject_is_not_there_in_any_way() {
    let mut server = Server::start();
    case(&server, "names");
    case(&server, "store");
    let versions = case(&server, "versions");

    let planned = erase(&server, ONE, &["--dry-run"]).json();
    assert_eq!((planned["counts"]["objects"].as_u64(), planned["counts"]["uploads"].as_u64()), (Some(5), Some(1)));
    case(&server, "reads");
    assert_eq!(erase(&server, ONE, &["--confirm", "other"]).code(), Some(2), "another tenant's name confirms nothing");
    assert_eq!(erase(&server, ONE, &[]).code(), Some(2), "nor does nothing");

    let erased = erase(&server, ONE, &["--confirm", "demo"]).json();
    let result = &erased["result"]["subject_erasure"];
    assert_eq!((result["objects"].as_u64(), result["uploads"].as_u64()), (Some(5), Some(1)), "{erased}");
    assert_eq!(result["salts_found"], 0);
    assert!(result["files_scanned"].as_u64() >= Some(2), "{erased}");
    assert!(["S1", "S2"].contains(&result["level"].as_str().expect("a level")));
    let after = |server: &Server| {
        let mut run = python_command(server, SCRIPT, &["erased"]);
        Ran::of(run.env("VERSIONS", &versions)).ok();
    };
    after(&server);

    // What a client deleted or replaced before left nothing either: of the subject's blobs none is on the disk.
    let blobs = |server: &Server| {
        files(&server.data().join("data/region"))
            .into_iter()
            .filter(|f| f.components().any(|c| c.as_os_str() == "blobs"))
            .count()
    };
    // s/none/large, s/two/large, s/two/parts and two copies.
    assert_eq!(blobs(&server), 5);

    // The log knows ids, and the chain holds.
    let id = result["subject"].as_str().expect("the subject's id");
    let log = server.geoseal(&["audit", "tail", "-n", "50", "--json"]).ok();
    for event in ["subject-erasure-begun", "subject-key-destroyed", "subject-erased"] {
        assert!(log.contains(event), "{event}");
    }
    // `dev` prints a hint that names an example; what is logged is JSON.
    let logged = server.log().lines().any(|line| line.starts_with('{') && line.contains(ONE));
    assert!(log.contains(id) && !log.contains(ONE) && !logged);
    server.geoseal(&["audit", "verify"]).ok();

    // Nothing to erase, and nothing of it remembered: the same again does nothing.
    let again = erase(&server, ONE, &["--confirm", "demo"]).json();
    assert!(again["result"]["subject_erasure"].get("subject").is_none(), "{again}");
    case(&server, "again");
    server.geoseal(&["key", "rotate", "tenant", "demo"]).ok();
    server.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    server.kill();
    server.restart();
    let anew = erase(&server, ONE, &["--confirm", "demo"]).json();
    let anew = &anew["result"]["subject_erasure"];
    assert_eq!(anew["objects"], 1);
    assert_ne!(anew["subject"], result["subject"], "a destroyed id is never used again");
    after(&server);
}

/// The loss this guards against: the tenant's index root is replaced, the power goes in the middle, and a subject is two
/// from then on: who asks to be forgotten is forgotten by half.
#[test]
fn k09_a_subject_is_the_same_one_under_another_index_root() {
    let mut server = Server::start();
    case(&server, "store");
    case(&server, "many_others");
    let rotate = ["key", "rotate", "index-root", "--tenant", "demo", "--json"];
    for round in 0..3 {
        server.geoseal(&[&rotate[..], &["--no-wait", "--records-per-second", "60"]].concat()).ok();
        case(&server, "more");
        if round < 2 {
            server.kill();
            server.restart();
        }
    }
    // The one that was cut off may still be at work; then this one is told so.
    let begun = Instant::now();
    let done = loop {
        let ran = server.geoseal(&rotate);
        if ran.code() == Some(0) {
            break ran.json();
        }
        assert!(begun.elapsed() < PATIENCE, "{}", ran.refused());
        thread::sleep(Duration::from_millis(100));
    };
    let result = done["result"].as_object().and_then(|result| result.values().next()).expect("a result");
    assert_eq!(result["remaining"], 0, "{done}");
    assert!(result["scanned"].as_u64() > Some(100), "{done}");
    // What the other names lead to stays; of this one everything goes, whenever it was written.
    let erased = erase(&server, ONE, &["--confirm", "demo"]).json();
    let result = &erased["result"]["subject_erasure"];
    assert_eq!((result["objects"].as_u64(), result["uploads"].as_u64()), (Some(8), Some(1)), "{erased}");
    case(&server, "erased_under_another_root");
    server.geoseal(&["audit", "verify"]).ok();
}

#[test]
fn k13_a_download_under_way_breaks_off() {
    let server = Server::start();
    let mut script = python_command(&server, SCRIPT, &["stream"]);
    let mut reading =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("python runs");
    let mut said = BufReader::new(reading.stdout.take().expect("piped")).lines();
    assert_eq!(said.next().expect("a line").expect("UTF-8"), "reading");
    erase(&server, ONE, &["--confirm", "demo"]).ok();
    reading.stdin.take().expect("piped").write_all(b"\n").expect("the script reads");
    let last = said.next().expect("a line").expect("UTF-8");
    assert!(last.starts_with("broke off after"), "{last}");
    assert!(reading.wait().expect("it ends").success());
}

/// The loss this guards against: the power fails in the middle of an erasure, the operator believes it done, and half of
/// the names are listed for ever.
#[test]
fn an_erasure_that_is_cut_off_is_taken_up_at_the_next_start() {
    let mut server = Server::start();
    case(&server, "many");
    erase(&server, ONE, &["--confirm", "demo", "--no-wait"]).ok();
    server.kill();
    server.restart();
    case(&server, "gone");
    server.geoseal(&["audit", "verify"]).ok();
}
