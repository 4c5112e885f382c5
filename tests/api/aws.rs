//! The stock `aws` command: `s3api` and `s3`, with nothing but `dev.env`.

use geoseal_support::clients::{Ran, aws};
use geoseal_support::server::Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of this test's own, with a tree of files in it whose names and sizes are not all plain.
fn tree(server: &Server, name: &str) -> PathBuf {
    let root = server.home().join(name);
    for (file, size) in
        [("a.txt", 5), ("empty", 0), ("in/ü b+c.json", 3000), ("in/deep/er/x", 65_537), ("in/deep/big", 9 << 20)]
    {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("it has one")).expect("the scratch directory is writable");
        fs::write(path, noise(size)).expect("the scratch directory is writable");
    }
    root
}

/// Bytes that a wrong order, a gap or a repetition would change.
pub(super) fn noise(size: usize) -> Vec<u8> {
    let mut chance = fastrand::Rng::with_seed(size as u64);
    (0..size).map(|_| chance.u8(..)).collect()
}

/// Whether two trees hold the same files with the same bytes.
pub(super) fn assert_same(one: &Path, other: &Path) {
    Ran::of(Command::new("diff").arg("-r").args([one, other])).ok();
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary directory's name is UTF-8")
}

#[test]
fn s3api_puts_reads_lists_and_deletes() {
    let server = Server::shared();
    let run = |line: &str| aws(server, &line.split(' ').collect::<Vec<_>>());
    run("s3api create-bucket --bucket cli-api --create-bucket-configuration LocationConstraint=westeurope").ok();
    let files = tree(server, "cli-api");
    let (from, to) = (files.join("in/ü b+c.json"), server.home().join("cli-api.back"));
    let object = ["--bucket", "cli-api", "--key", "jane.doe@example.com/ü b+c.json"];
    let s3api = |verb: &str, more: &[&str]| aws(server, &[&["s3api", verb], &object[..], more].concat());
    let put = s3api("put-object", &["--body", text(&from), "--metadata", "a=1,b=2", "--checksum-algorithm", "SHA256"]);
    let put = put.json();
    let got = s3api("get-object", &["--checksum-mode", "ENABLED", text(&to)]).json();
    assert_eq!((&got["ETag"], &got["ChecksumSHA256"]), (&put["ETag"], &put["ChecksumSHA256"]));
    assert_eq!((got["Metadata"]["a"].as_str(), got["ContentLength"].as_u64()), (Some("1"), Some(3000)));
    assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
    let ranged = s3api("get-object", &["--range", "bytes=10-19", text(&to)]).json();
    assert_eq!(ranged["ContentRange"], "bytes 10-19/3000");
    assert_eq!(fs::read(&to).unwrap(), fs::read(&from).unwrap()[10..20]);
    let listed = run("s3api list-objects-v2 --bucket cli-api").json();
    assert_eq!(listed["Contents"][0]["Key"], object[3]);
    let refused = s3api("put-object", &["--body", text(&from), "--if-none-match", "*"]).refused();
    assert!(refused.contains("PreconditionFailed"), "{refused}");
    s3api("put-object-tagging", &["--tagging", "TagSet=[{Key=a,Value=1}]"]).ok();
    assert_eq!(s3api("get-object-tagging", &[]).json()["TagSet"][0]["Key"], "a");
    s3api("delete-object", &[]).ok();
    assert!(s3api("head-object", &[]).refused().contains("404"));
    run("s3api delete-bucket --bucket cli-api").ok();
}

#[test]
fn s3_copies_syncs_moves_presigns_and_removes() {
    let server = Server::shared();
    let s3 = |arguments: &[&str]| aws(server, &[&["s3"], arguments].concat());
    s3(&["mb", "s3://cli-s3"]).ok();
    assert!(s3(&["ls"]).ok().contains("cli-s3"));
    let files = tree(server, "cli-s3");
    let (back, again) = (server.home().join("cli-s3.back"), server.home().join("cli-s3.again"));

    // Above 8 MiB the command uploads in parts, and downloads in ranges.
    s3(&["sync", "--no-progress", text(&files), "s3://cli-s3/tree"]).ok();
    s3(&["sync", "--no-progress", "s3://cli-s3/tree", text(&back)]).ok();
    assert_same(&files, &back);
    assert_eq!(s3(&["sync", "--no-progress", text(&files), "s3://cli-s3/tree"]).ok(), "", "nothing is left to do");
    fs::write(files.join("a.txt"), b"changed").unwrap();
    fs::remove_file(files.join("empty")).unwrap();
    let said = s3(&["sync", "--no-progress", "--delete", text(&files), "s3://cli-s3/tree"]).ok();
    assert!(said.contains("a.txt") && said.contains("delete:") && said.lines().count() == 2, "{said}");

    // From bucket to bucket, one by one and all of them.
    s3(&["cp", "s3://cli-s3/tree/in/deep/big", "s3://cli-s3/big"]).ok();
    s3(&["cp", "--recursive", "s3://cli-s3/tree", "s3://cli-s3/copy"]).ok();
    s3(&["cp", "--recursive", "s3://cli-s3/copy", text(&again)]).ok();
    assert_same(&files, &again);
    s3(&["mv", "s3://cli-s3/big", "s3://cli-s3/moved"]).ok();
    assert!(s3(&["cp", "s3://cli-s3/big", "-"]).refused().contains("404"));
    s3(&["mv", "s3://cli-s3/moved", text(&server.home().join("cli-s3.moved"))]).ok();
    assert_eq!(fs::read(server.home().join("cli-s3.moved")).unwrap(), noise(9 << 20));
    assert_eq!(s3(&["cp", "s3://cli-s3/tree/a.txt", "-"]).ok(), "changed");

    // A presigned URL, fetched by a program that knows nothing of S3.
    let url = s3(&["presign", "s3://cli-s3/tree/in/ü b+c.json", "--expires-in", "60"]).ok();
    let fetch = "import os, sys, ssl, urllib.request as u\n\
                 trust = ssl.create_default_context(cafile=os.environ['AWS_CA_BUNDLE'])\n\
                 sys.stdout.write(str(len(u.urlopen(sys.argv[1], context=trust).read())))";
    assert_eq!(geoseal_support::clients::python(server, fetch, &[url.trim()]).ok(), "3000");

    assert!(s3(&["ls", "--recursive", "s3://cli-s3"]).ok().lines().count() == 8);
    s3(&["rm", "--recursive", "s3://cli-s3/copy"]).ok();
    assert_eq!(s3(&["ls", "--recursive", "s3://cli-s3"]).ok().lines().count(), 4);
    assert!(s3(&["rb", "s3://cli-s3"]).refused().contains("BucketNotEmpty"));
    s3(&["rb", "--force", "s3://cli-s3"]).ok();
    assert!(!s3(&["ls"]).ok().contains("cli-s3"));
}

#[test]
fn s3api_keeps_finds_and_brings_back_versions() {
    let server = Server::shared();
    let run = |line: &str| aws(server, &line.split(' ').collect::<Vec<_>>());
    run("s3api create-bucket --bucket cli-versions --create-bucket-configuration LocationConstraint=westeurope").ok();
    let at = "--bucket cli-versions";
    run(&format!("s3api put-bucket-versioning {at} --versioning-configuration Status=Enabled")).ok();
    assert_eq!(run(&format!("s3api get-bucket-versioning {at}")).json()["Status"], "Enabled");
    let (file, back) = (server.home().join("cli-version"), server.home().join("cli-version.back"));
    let mut ids = Vec::new();
    for body in ["one", "other"] {
        fs::write(&file, body).unwrap();
        let put = run(&format!("s3api put-object {at} --key k --body {}", text(&file))).json();
        ids.push(put["VersionId"].as_str().expect("a version's id").to_owned());
    }
    let get = |id: &str| {
        run(&format!("s3api get-object {at} --key k --version-id {id} {}", text(&back))).ok();
        fs::read_to_string(&back).unwrap()
    };
    assert_eq!((get(&ids[0]), get(&ids[1])), ("one".into(), "other".into()));

    // What `s3 rm` says is a delete hides; the listing has all of it, and the old version is copied back over the name.
    run("s3 rm s3://cli-versions/k").ok();
    assert_eq!(run("s3 ls s3://cli-versions").ok(), "");
    let all = run(&format!("s3api list-object-versions {at}")).json();
    let marker = all["DeleteMarkers"][0]["VersionId"].as_str().expect("a marker's id");
    assert_eq!(
        (all["Versions"].as_array().map(Vec::len), &all["DeleteMarkers"][0]["IsLatest"]),
        (Some(2), &true.into())
    );
    let paged = run(&format!("s3api list-object-versions {at} --page-size 1")).json();
    assert_eq!(paged["Versions"], all["Versions"], "pages of one");
    let copied =
        run(&format!("s3api copy-object {at} --key k --copy-source cli-versions/k?versionId={}", ids[0])).json();
    assert_eq!(copied["CopySourceVersionId"].as_str(), Some(ids[0].as_str()));
    run(&format!("s3 cp s3://cli-versions/k {}", text(&back))).ok();
    assert_eq!(fs::read_to_string(&back).unwrap(), "one");

    // A bucket with versions left is not removed, nor forced; they go by their ids.
    assert!(run("s3 rb --force s3://cli-versions").refused().contains("BucketNotEmpty"));
    let doomed = [&ids[0], &ids[1], marker, copied["VersionId"].as_str().expect("a version's id")];
    for id in doomed {
        run(&format!("s3api delete-object {at} --key k --version-id {id}")).ok();
    }
    let all = run(&format!("s3api list-object-versions {at}")).json();
    for marker in all["DeleteMarkers"].as_array().expect("what the forced removal left") {
        let id = marker["VersionId"].as_str().expect("a marker's id");
        run(&format!("s3api delete-object {at} --key k --version-id {id}")).ok();
    }
    run("s3 rb s3://cli-versions").ok();
}
