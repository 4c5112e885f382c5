//! The story: people write to the company whose mail they got. One wants to know, one has a wrong entry, one wants to be let
//! alone, one wants to be forgotten while a court wants the opposite. Every request is on record from its first day.

use super::{files, subject_file};
use geoseal_support::clients::{Ran, python};
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::tools::tools;
use geoseal_support::wire::{Response, Wire};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const ADA: &str = "contact:ada-9f3k";
const BOB: &str = "contact:bob-7t2m";
const PATIENCE: Duration = Duration::from_secs(120);

/// Opens a bundle as anybody would, and checks it by what it says of itself.
pub(super) const OPEN_BUNDLE: &str = r#"
import hashlib, json, sys, zipfile
bundle = zipfile.ZipFile(sys.argv[1])
assert bundle.testzip() is None
sums = dict(reversed(line.split("  ")) for line in bundle.read("SHA256SUMS").decode().splitlines())
assert set(sums) == set(bundle.namelist()) - {"SHA256SUMS"}, sums
for name, digest in sums.items():
    assert hashlib.sha256(bundle.read(name)).hexdigest() == digest, name
index = [json.loads(line) for line in bundle.read("index.ndjson").decode().splitlines()]
manifest = json.loads(bundle.read("manifest.json"))
assert manifest["objects"] == len(index) and sum(p["objects"] for p in manifest["places"]) == len(index), manifest
for entry in index:
    assert len(bundle.read(entry["file"])) == entry["size"], entry
    assert entry["metadata"]["geoseal-subject"] == manifest["subject"], entry
bodies = {entry["name"]: bundle.read(entry["file"])[:20].decode() for entry in index}
print(json.dumps({"bodies": bodies, "manifest": manifest}))
"#;

pub(super) fn dsr(server: &Server, arguments: &[&str]) -> Ran {
    server.geoseal(&[&["dsr"], arguments, &["--tenant", "demo", "--json"]].concat())
}

/// Enters a request and gives its id.
pub(super) fn open(server: &Server, who: &str, kind: &str, more: &[&str]) -> String {
    let file = subject_file(server, who);
    let file = file.to_str().expect("a temporary directory's name is UTF-8");
    let asked = ["open", "--subject-file", file, "--kind", kind, "--basis", "art15-21"];
    dsr(server, &[&asked, more].concat()).json()["id"].as_str().expect("an id").to_owned()
}

fn state(server: &Server, id: &str) -> String {
    dsr(server, &["show", id]).json()["state"].as_str().expect("a state").to_owned()
}

pub(super) fn ask(server: &Server, request: Request) -> Response {
    Wire::to(server).call(server, request)
}

pub(super) fn put(server: &Server, name: &str, who: &str, body: &[u8]) -> Response {
    let put = Request::new("PUT", &object_path(BUCKET, name)).body(body);
    ask(server, put.header("x-amz-meta-geoseal-subject", who))
}

pub(super) fn get(server: &Server, name: &str) -> Response {
    ask(server, Request::new("GET", &object_path(BUCKET, name)))
}

/// A body that begins with what it is of.
pub(super) fn body(what: &str, len: usize) -> Vec<u8> {
    format!("{what}|").bytes().chain(b"0123456789".iter().copied().cycle()).take(len).collect()
}

fn told(server: &Server, event: &str) -> usize {
    let log = server.geoseal(&["audit", "tail", "-n", "500", "--json"]).json();
    log["entries"].as_array().expect("entries").iter().filter(|entry| entry["event"] == event).count()
}

/// The sealed bytes on the disk, by the name of their file.
pub(super) fn blobs(server: &Server) -> BTreeSet<String> {
    let below = files(&server.data().join("data/region"));
    let stored = below.iter().filter(|file| file.components().any(|part| part.as_os_str() == "blobs"));
    stored.map(|file| file.display().to_string()).collect()
}

pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn bundle(server: &Server, id: &str) -> Value {
    let out = server.home().join(format!("{id}.zip"));
    let out = out.to_str().expect("UTF-8");
    dsr(server, &["export", id, "--out", out]).ok();
    python(server, OPEN_BUNDLE, &[out]).json()
}

#[test]
fn r42_r43_r45_what_somebody_asks_for_is_on_record_and_answered() {
    let mut server = Server::start();
    for (name, len) in [("ada/small", 200), ("ada/middle", 20_000), ("ada/large", 700_000)] {
        assert_eq!(put(&server, name, ADA, &body(name, len)).status, 200);
        let of_bob = name.replace("ada", "bob");
        assert_eq!(put(&server, &of_bob, BOB, &body(&of_bob, len)).status, 200);
    }
    // R45: nobody's data is touched without a ground.
    let file = subject_file(&server, ADA);
    let file = file.to_str().expect("UTF-8");
    for refused in [
        dsr(&server, &["open", "--subject-file", file, "--kind", "access"]),
        dsr(&server, &["erase", "--subject-file", file, "--confirm", "demo"]),
    ] {
        assert!(refused.code() == Some(2) && refused.stdout().contains("\"status\": 422"), "{}", refused.stdout());
    }
    assert_eq!(told(&server, "dsr-opened"), 0);

    // R42: everything of the one who asks, nothing of anybody else, for machines.
    let access = open(&server, ADA, "access", &[]);
    assert_eq!(access, "DSR-1");
    let shown = dsr(&server, &["show", &access]).json();
    assert_eq!((&shown["state"], &shown["basis"]), (&"open".into(), &"art15-21".into()), "{shown}");
    assert!(dsr(&server, &["export", &access, "--out", "x", "--dry-run"]).json()["counts"]["objects"] == 3);
    assert_eq!(state(&server, &access), "previewed");
    let told_of = bundle(&server, &access);
    let bodies = told_of["bodies"].as_object().expect("bodies");
    assert_eq!(bodies.len(), 3, "{told_of}");
    for (name, begins) in bodies {
        assert!(name.starts_with("ada/") && begins.as_str().is_some_and(|b| b.starts_with(name.as_str())), "{told_of}");
    }
    assert_eq!(told_of["manifest"]["places"][0]["region"], "westeurope");
    assert_eq!(state(&server, &access), "done");
    // Of somebody nobody knows there is nothing, and that is on record, too.
    let nobody = open(&server, "contact:nobody-0a0a", "access", &[]);
    assert_eq!(bundle(&server, &nobody)["manifest"]["objects"], 0);
    assert_eq!(told(&server, "dsr-bundle"), 2);

    // R43: a wrong entry is put right; what it was is gone, and not only hidden.
    let version = |response: &Response| response.header("x-amz-version-id").unwrap_or_default().to_owned();
    let old = version(&get(&server, "ada/large"));
    let before = blobs(&server);
    let right = server.home().join("right");
    fs::write(&right, "put right").expect("a scratch file");
    let named = server.home().join("named");
    let rectify = open(&server, ADA, "rectify", &[]);
    let correct = |object: &str| {
        fs::write(&named, object).expect("a scratch file");
        let (named, right) = (named.to_str().expect("UTF-8"), right.to_str().expect("UTF-8"));
        dsr(&server, &["rectify", &rectify, "--bucket", BUCKET, "--object-file", named, "--content", right])
    };
    assert_eq!(correct("bob/large").code(), Some(3), "an object that is not of who asks");
    let done = correct("ada/large").json();
    assert_ne!(done["from"], done["to"], "{done}");
    let now = get(&server, "ada/large");
    assert_eq!((now.status, &now.body[..]), (200, &b"put right"[..]));
    assert_eq!(now.header("x-amz-meta-geoseal-subject"), Some(ADA), "it still names them");
    if !old.is_empty() {
        let gone = ask(&server, Request::new("GET", &object_path(BUCKET, "ada/large")).query("versionId", &old));
        assert_eq!(gone.status, 404);
    }
    wait_until("the old bytes go", || before.difference(&blobs(&server)).count() == 1);
    assert_eq!(state(&server, &rectify), "done");

    // Restricted: stored, and in nobody's hands; by a recorded act it ends.
    let restrict = open(&server, ADA, "restrict", &[]);
    dsr(&server, &["restrict", &restrict]).ok();
    let refused = get(&server, "ada/small");
    assert_eq!((refused.status, refused.code()), (403, "SubjectRestricted".into()));
    assert_eq!(ask(&server, Request::new("HEAD", &object_path(BUCKET, "ada/small"))).status, 403);
    let copy =
        Request::new("PUT", &object_path(BUCKET, "copy")).header("x-amz-copy-source", &format!("/{BUCKET}/ada/small"));
    assert_eq!(ask(&server, copy).status, 403);
    assert_eq!((get(&server, "bob/small").status, put(&server, "ada/new", ADA, b"new").status), (200, 200));
    server.kill();
    server.restart();
    assert_eq!(get(&server, "ada/new").status, 403);
    assert_eq!(bundle(&server, &open(&server, ADA, "access", &[]))["manifest"]["objects"], 4, "the subject's own copy");
    let lifted = dsr(&server, &["lift", &restrict, "--reason", "settled"]).json();
    assert_eq!(lifted["in_force"], false, "{lifted}");
    assert_eq!(get(&server, "ada/small").status, 200);
    assert_eq!(dsr(&server, &["lift", &restrict, "--reason", "again"]).code(), Some(4));

    // What somebody decided not to do stays undone.
    let refused = open(&server, BOB, "erase", &[]);
    dsr(&server, &["refuse", &refused, "--reason", "not him"]).ok();
    for (event, why) in [("subject-standing", "settled"), ("dsr-moved", "not him")] {
        let tail = server.geoseal(&["audit", "tail", "--json"]).json();
        let entries = tail["entries"].as_array().expect("a list").iter().rev();
        let mut of_event = entries.filter(|entry| entry["event"] == event && entry["detail"]["reason"].is_string());
        let index = of_event.next().unwrap_or_else(|| panic!("a reason with {event}"))["index"].to_string();
        let shown = server.geoseal(&["audit", "show", &index, "--geo", "europe", "--json"]).json();
        assert_eq!(shown["reason"], why, "{shown}");
    }
    assert_eq!(dsr(&server, &["erase", &refused, "--confirm", "demo"]).code(), Some(4));
    assert_eq!(get(&server, "bob/large").status, 200);
    let all = dsr(&server, &["list"]).json();
    assert_eq!(all["requests"].as_array().map(Vec::len), Some(6), "{all}");
    assert!(!server.log().contains("ada-9f3k") && !all.to_string().contains("ada-9f3k"), "nobody is named");
    assert!(!server.geoseal(&["audit", "tail", "-n", "500"]).ok().contains("ada-9f3k"));
    server.geoseal(&["audit", "verify"]).ok();
}

/// P3 and P7 for one person: a hold keeps what it covers and nothing more, and its release lets the rest go on.
#[test]
fn r44_an_erasure_takes_what_no_hold_keeps_and_the_rest_when_it_is_released() {
    let mut server = Server::start();
    for (name, len) in [("ada/small", 200), ("ada/kept", 50_000), ("ada/large", 700_000)] {
        assert_eq!(put(&server, name, ADA, &body(name, len)).status, 200);
    }
    assert_eq!(put(&server, "bob/small", BOB, &body("bob", 300)).status, 200);
    let scope = format!("object:{BUCKET}/ada/kept");
    let placed = server.geoseal(&["hold", "place", "M-9", "--tenant", "demo", "--scope", &scope, "--matter", "A v. B"]);
    assert!(placed.ok().contains("in_force"), "one administrator is enough here");

    let id = open(&server, ADA, "erase", &[]);
    let plan = dsr(&server, &["erase", &id, "--dry-run"]).json();
    assert_eq!((&plan["counts"]["objects"], &plan["counts"]["deferred"]), (&2.into(), &1.into()), "{plan}");
    assert_eq!(get(&server, "ada/small").status, 200, "a rehearsal takes nothing");
    assert_eq!(dsr(&server, &["erase", &id, "--confirm", "other"]).code(), Some(2));
    let done = dsr(&server, &["erase", &id, "--confirm", "demo"]).json();
    let part = &done["result"]["request"];
    assert_eq!(
        (&part["state"], &part["objects"], &part["deferred"]),
        (&"deferred".into(), &2.into(), &1.into()),
        "{done}"
    );
    assert_eq!((get(&server, "ada/small").status, get(&server, "ada/large").status), (404, 404));
    assert_eq!(get(&server, "ada/kept").status, 200);
    let again = put(&server, "ada/again", ADA, b"again");
    assert_eq!((again.status, again.code()), (409, "SubjectErased".into()), "nothing comes in meanwhile");
    assert!(server.geoseal(&["hold", "show", "M-9"]).ok().contains(&id), "the hold says what waits for it");
    let listed = server.geoseal(&["hold", "list", "--tenant", "demo"]).ok();
    assert!(listed.contains(&format!("{id} (1 object)")), "{listed}");
    let listed = server.geoseal(&["hold", "list", "--tenant", "demo", "--json"]).json();
    assert_eq!(
        (&listed["holds"][0]["covered_objects"], &listed["holds"][0]["deferred"][0]["label"]),
        (&1.into(), &id.as_str().into()),
        "{listed}"
    );
    server.kill();
    server.restart();
    assert_eq!(get(&server, "ada/kept").status, 200);

    let released = server.geoseal(&["hold", "release", "M-9"]).ok();
    assert_eq!(released.trim(), format!("M-9 released; 1 deferred act resumes: {id} (1 object)"));
    server.geoseal(&["sweep", "run"]).ok();
    wait_until("the rest goes", || state(&server, &id) == "done");
    assert_eq!(get(&server, "ada/kept").status, 404);
    assert_eq!((blobs(&server).len(), get(&server, "bob/small").status), (0, 200));
    let again = put(&server, "ada/again", ADA, b"again");
    assert_eq!((again.status, again.code()), (409, "SubjectErased".into()));

    // The certificate needs nobody of ours: it carries what shows that the log has it.
    let shown = dsr(&server, &["show", &id]).json();
    let certificate = &shown["certificate"];
    let said = &certificate["certificate"];
    assert_eq!(
        (&said["dsr"], &said["blocked"], &shown["objects"]),
        (&id.as_str().into(), &true.into(), &3.into()),
        "{shown}"
    );
    let file = server.home().join("certificate.json");
    let fetched = server.geoseal(&["dsr", "certificate", &id, "--tenant", "demo"]).ok();
    fs::write(&file, &fetched).expect("a scratch file");
    let key = server.geoseal(&["audit", "log-key", "--geo", "europe"]).ok();
    let file_name = file.to_str().expect("UTF-8");
    let verify = ["certificate", "verify", file_name, "--log-key", key.trim(), "--json"];
    let verified = server.geoseal(&verify).json();
    assert!(verified["valid"] == true && verified["in_log"]["index"].is_u64(), "{verified}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/auditor/verify_certificate.py");
    let by_others = || {
        let mut run = Command::new(tools().python());
        Ran::of(run.arg(&script).args([file_name, key.trim()]))
    };
    assert!(by_others().ok().starts_with("valid; erasure; tenant "), "{}", by_others().stdout());
    let other = |from: &str, to: &str| fetched.replacen(from, to, 1);
    let document: Value = serde_json::from_str(&fetched).expect("JSON");
    let bare = serde_json::json!({ "certificate": document["certificate"], "signature": document["signature"] });
    let swapped = document["log"]["issued"].as_str().expect("a proof");
    let mut forged = document.clone();
    forged["log"]["ended"] = swapped.into();
    for edited in [
        other("\"objects\": ", "\"objects\": 1"),
        other("\"blocked\": true", "\"blocked\": false"),
        serde_json::to_string_pretty(&bare).expect("JSON"),
        serde_json::to_string_pretty(&forged).expect("JSON"),
    ] {
        assert_ne!(edited, fetched);
        fs::write(&file, &edited).expect("a scratch file");
        assert_eq!((server.geoseal(&verify).code(), by_others().code()), (Some(1), Some(1)), "an edited one is none");
    }
    assert_eq!(&document["certificate"], said);
    // Whoever comes back says so, and is somebody new.
    dsr(&server, &["lift", &id, "--reason", "asked to come back"]).ok();
    assert_eq!(put(&server, "ada/again", ADA, b"again").status, 200);
    for file in files(&server.data().join("data")) {
        let bytes = fs::read(&file).expect("our own file");
        assert!(!bytes.windows(8).any(|window| window == b"ada-9f3k"), "{} names them", file.display());
    }
    server.geoseal(&["audit", "verify"]).ok();
}
