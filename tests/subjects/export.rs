//! FX-22: the tenant leaves and takes its data along. What it takes is sealed, opens with its keys and a hundred lines of
//! Python that share nothing with us, and does not open at all once anybody has touched it.

use super::{case, erase, files};
use geoseal_support::clients::Ran;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::tools::tools;
use geoseal_support::wire::Wire;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Exported {
    out: PathBuf,
    keys: PathBuf,
}

impl Exported {
    fn paths(server: &Server, name: &str) -> Self {
        Self { out: server.home().join(name), keys: server.home().join(format!("{name}.key")) }
    }

    fn run(&self, server: &Server, flags: &[&str]) -> Ran {
        let (out, keys) = (self.out.to_str().expect("UTF-8"), self.keys.to_str().expect("UTF-8"));
        let command = ["export", "--tenant", "demo", "--out", out, "--key-file", keys, "--json"];
        server.geoseal(&[&command[..], flags].concat())
    }

    /// Runs the independent reader into a fresh directory; how it ended, and the objects it wrote, by name.
    fn read(&self, keys: &Path) -> (Ran, BTreeMap<String, Vec<u8>>) {
        let (ran, versions) = self.read_versions(keys);
        let (count, read) = (versions.len(), versions.into_iter().collect::<BTreeMap<_, _>>());
        assert_eq!(read.len(), count, "one version of each");
        (ran, read)
    }

    /// The same, every version with its name.
    fn read_versions(&self, keys: &Path) -> (Ran, Vec<(String, Vec<u8>)>) {
        let into = tempfile::tempdir().expect("a temporary directory");
        let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/geoseal_reader.py");
        let ran = Ran::of(Command::new(tools().python()).arg(reader).args([&self.out, keys, into.path()]));
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a JSON line");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let said: BTreeMap<_, _> =
            ran.stdout().lines().map(line).map(|entry| (text(&entry["file"]), text(&entry["key"]))).collect();
        let mut read = Vec::new();
        for file in files(into.path()) {
            let name = file.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
            assert!(!name.ends_with(".part"), "a partial file was left");
            if let Some(key) = said.get(&name) {
                read.push((key.clone(), fs::read(&file).expect("it is there")));
            }
        }
        assert_eq!(read.len(), said.len());
        read.sort();
        (ran, read)
    }
}

/// Everything that the bucket lists, by S3.
fn stored(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let mut wire = Wire::to(server);
    let list = Request::new("GET", &format!("/{BUCKET}")).query("list-type", "2");
    let page = wire.call(server, list).text();
    let names = page.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().expect("closed").to_owned());
    names.map(|name| (name.clone(), wire.call(server, Request::new("GET", &object_path(BUCKET, &name))).body)).collect()
}

#[test]
fn fx22_an_export_opens_without_us_and_not_after_it_was_touched() {
    let server = Server::start();
    case(&server, "store");
    server.geoseal(&["key", "rotate", "tenant", "demo"]).ok();
    let export = Exported::paths(&server, "export");
    let planned = export.run(&server, &["--dry-run"]).json();
    let stored = stored(&server);
    assert_eq!(planned["counts"]["objects"].as_u64(), Some(stored.len() as u64));
    assert_eq!(export.run(&server, &["--confirm", "other"]).code(), Some(2));
    assert_eq!(export.run(&server, &["--confirm", "demo", "--bucket", "no-such-bucket"]).code(), Some(3));
    assert!(!export.out.exists() && !export.keys.exists(), "nothing is left of an export that was refused");
    let left: Vec<_> =
        fs::read_dir(server.home()).expect("it is there").map(|e| e.expect("an entry").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");

    let report = export.run(&server, &["--confirm", "demo", "--bucket", BUCKET]).json();
    assert_eq!((report["objects"].as_u64(), report["damaged"].as_u64()), (Some(stored.len() as u64), Some(0)));
    let mode = fs::metadata(&export.keys).expect("the key file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let (ran, read) = export.read(&export.keys);
    ran.ok();
    assert!(read == stored, "the reader read something else than S3 serves");
    // Segments of the cellar are copied, not sealed anew.
    let cellar = files(&server.data().join("data/region"));
    let large =
        files(&export.out.join("blobs")).into_iter().filter(|file| fs::metadata(file).expect("it").len() > 70_000);
    let copied = large.map(|file| fs::read(file).expect("a blob")).collect::<Vec<_>>();
    assert!(copied.len() > 4);
    let ours: Vec<_> = cellar
        .iter()
        .filter(|f| f.components().any(|c| c.as_os_str() == "blobs"))
        .map(|f| fs::read(f).expect("a blob"))
        .collect();
    assert!(copied.iter().all(|blob| ours.contains(blob)));

    // Nobody's name or content stands in it in clear, and the server kept no key.
    for file in files(&export.out) {
        let bytes = fs::read(&file).expect("a file");
        assert!(!bytes.windows(7).any(|window| window == b"contact" || window == b"s/one/s"), "{}", file.display());
    }
    let key = fs::read_to_string(&export.keys).expect("the key file");
    assert!(key.lines().all(|line| line.len() == 64 && !server.log().contains(line)) && key.lines().count() == 2);
    let log = server.geoseal(&["audit", "tail", "-n", "50", "--json"]).ok();
    assert!(["export-begun", "export-ended", "tenant-key-revealed"].iter().all(|event| log.contains(event)), "{log}");
    assert_eq!(export.run(&server, &["--confirm", "demo"]).code(), Some(2), "nothing is overwritten");

    // Touched: every file once, at its front, in its middle and at its end.
    for file in files(&export.out) {
        let whole = fs::read(&file).expect("a file");
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut touched = whole.clone();
            touched[at] ^= 1;
            fs::write(&file, touched).expect("it can be written");
            let (ran, read) = export.read(&export.keys);
            assert!(ran.refused().contains("FAIL"), "{} at {at}: {}", file.display(), ran.stderr());
            assert!(read.iter().all(|(name, body)| stored.get(name) == Some(body)), "what was read before is right");
        }
        fs::write(&file, &whole[..whole.len() - 1]).expect("it can be written");
        export.read(&export.keys).0.refused();
        fs::write(&file, whole).expect("it can be written");
    }
    let wrong = server.home().join("wrong.key");
    fs::write(&wrong, key.replace(['0', '1', '2'], "7")).expect("it can be written");
    export.read(&wrong).0.refused();
    assert!(export.read(&export.keys).1 == stored);
}

#[test]
fn fx22_what_was_erased_or_is_damaged_is_in_no_export() {
    let server = Server::start();
    case(&server, "store");
    erase(&server, "contact:4711", &["--confirm", "demo"]).ok();
    let whole = Exported::paths(&server, "whole");
    whole.run(&server, &["--confirm", "demo"]).ok();
    let (ran, read) = whole.read(&whole.keys);
    ran.ok();
    assert!(read == stored(&server) && !read.contains_key("s/one/large") && read.contains_key("s/copy/of-two"));

    let blobs = files(&server.data().join("data/region"));
    let blob = blobs.iter().find(|f| f.components().any(|c| c.as_os_str() == "blobs")).expect("a blob");
    let mut bytes = fs::read(blob).expect("a blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(blob, bytes).expect("it can be written");
    let damaged = Exported::paths(&server, "damaged");
    let ran = damaged.run(&server, &["--confirm", "demo"]);
    assert_eq!(ran.code(), Some(1), "{}", ran.stderr());
    assert!(ran.stdout().contains("\"damaged\": 1") || ran.stdout().contains("\"damaged\":1"), "{}", ran.stdout());
    let (ran, rest) = damaged.read(&damaged.keys);
    ran.ok();
    assert_eq!(rest.len(), read.len() - 1);
    assert!(rest.iter().all(|(name, body)| read.get(name) == Some(body)));
    assert!(server.geoseal(&["audit", "tail", "--json"]).ok().contains("integrity-failed"));
    server.geoseal(&["audit", "verify"]).ok();

    // Of a bucket that keeps versions, all of them, each in a file of its own; marks of deletion hold nothing.
    let mut wire = Wire::to(&server);
    let mut call = |request: Request| wire.call(&server, request).status;
    assert_eq!(call(Request::new("PUT", "/versioned")), 200);
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(call(Request::new("PUT", "/versioned").query("versioning", "").body(enabled)), 200);
    let bodies = [vec![b'1'; 100], vec![b'2'; 20_000], vec![b'3'; 100_000]];
    for body in &bodies {
        assert_eq!(call(Request::new("PUT", &object_path("versioned", "thrice")).body(body.clone())), 200);
    }
    assert_eq!(call(Request::new("DELETE", &object_path("versioned", "thrice"))), 204);
    assert_eq!(call(Request::new("GET", &object_path("versioned", "thrice"))), 404);
    let versions = Exported::paths(&server, "versions");
    let report = versions.run(&server, &["--confirm", "demo", "--bucket", "versioned"]).json();
    assert_eq!(report["objects"], 3, "{report}");
    let (ran, read) = versions.read_versions(&versions.keys);
    ran.ok();
    assert_eq!(read, bodies.map(|body| ("thrice".to_owned(), body)));
}
