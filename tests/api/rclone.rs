//! rclone, which checks everything it copies.

use super::aws::{assert_same, noise};
use geoseal_support::clients::{rclone, shell};
use geoseal_support::server::Server;
use std::fs;

/// As README says: `dev.env` and nothing else.
#[test]
fn a_shell_that_sourced_the_file_needs_no_option() {
    let server = Server::shared();
    let file = server.home().join("by-hand.txt");
    fs::write(&file, noise(3000)).unwrap();
    let script = r#". "$1" && rclone copy "$2" :s3:interactions/by-hand && rclone check --download "$2" :s3:interactions/by-hand
        rclone lsf :s3:interactions/by-hand; rclone deletefile :s3:interactions/by-hand/by-hand.txt"#;
    let (env, file) = (server.dev_env(), file.to_str().unwrap().to_owned());
    assert_eq!(shell(server, script, &[env.to_str().unwrap(), &file]).ok().trim(), "by-hand.txt");
    // The certificate is what makes the difference: without it nothing is trusted.
    let script = r#". "$1" && unset RCLONE_CA_CERT && rclone --retries 1 --low-level-retries 1 lsf :s3:interactions"#;
    assert!(shell(server, script, &[env.to_str().unwrap()]).refused().contains("x509"));
}

#[test]
fn copy_check_multipart_sync_and_purge() {
    let server = Server::shared();
    let run = |arguments: &[&str]| rclone(server, arguments);
    let (files, back) = (server.home().join("rclone"), server.home().join("rclone.back"));
    for (file, size) in [("a b/ü.txt", 10), ("empty", 0), ("c/x", 70_000), ("c/parts", (17 << 20) + 3)] {
        fs::create_dir_all(files.join(file).parent().unwrap()).unwrap();
        fs::write(files.join(file), noise(size)).unwrap();
    }
    let (local, local_back) = (files.to_str().unwrap(), back.to_str().unwrap());
    // Small limits, so that the large file goes in four parts.
    let parts = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M"];
    run(&["mkdir", "geoseal:rclone"]).ok();
    run(&[&["copy", local, "geoseal:rclone/to"], &parts[..]].concat()).ok();
    run(&["check", local, "geoseal:rclone/to"]).ok();
    run(&["check", "--download", local, "geoseal:rclone/to"]).ok();
    run(&["copy", "geoseal:rclone/to", local_back]).ok();
    assert_same(&files, &back);
    assert_eq!(run(&["size", "--json", "geoseal:rclone"]).json()["count"], 4);

    // Copied inside the server, then made equal to a changed source.
    run(&["copy", "geoseal:rclone/to", "geoseal:rclone/copy"]).ok();
    run(&["check", "--download", "geoseal:rclone/to", "geoseal:rclone/copy"]).ok();
    fs::remove_file(files.join("empty")).unwrap();
    fs::write(files.join("a b/ü.txt"), b"other").unwrap();
    assert!(run(&["check", local, "geoseal:rclone/copy"]).code() != Some(0), "a check that sees nothing");
    run(&["sync", local, "geoseal:rclone/copy"]).ok();
    run(&["check", "--download", local, "geoseal:rclone/copy"]).ok();
    assert_eq!(run(&["cat", "geoseal:rclone/copy/a b/ü.txt"]).ok(), "other");
    run(&["moveto", "geoseal:rclone/copy/c/x", "geoseal:rclone/moved"]).ok();
    let left = run(&["lsf", "-R", "--files-only", "geoseal:rclone"]).ok();
    assert_eq!(left.lines().count(), 7, "{left}");
    run(&["purge", "geoseal:rclone"]).ok();
    assert!(!run(&["lsd", "geoseal:"]).ok().contains("rclone"));
}

/// rclone's own words for versions: `backend versioning`, `--s3-versions`, `backend cleanup-hidden`.
#[test]
fn versions_are_listed_read_and_cleaned_up() {
    let server = Server::shared();
    let run = |arguments: &[&str]| rclone(server, arguments);
    let file = server.home().join("rclone-versions.txt");
    let local = file.to_str().unwrap();
    let there = "geoseal:rclone-versions";
    run(&["mkdir", there]).ok();
    assert_eq!(run(&["backend", "versioning", there]).ok().trim(), "Unversioned");
    assert_eq!(run(&["backend", "versioning", there, "Enabled"]).ok().trim(), "Enabled");
    for body in ["one", "other"] {
        fs::write(&file, body).unwrap();
        run(&["copyto", "--ignore-times", local, &format!("{there}/in/a.txt")]).ok();
    }
    assert_eq!(run(&["cat", &format!("{there}/in/a.txt")]).ok(), "other");
    let versions = |expected: usize| {
        let listed = run(&["lsf", "-R", "--files-only", "--s3-versions", there]).ok();
        let names: Vec<_> = listed.lines().map(str::to_owned).collect();
        assert_eq!(names.len(), expected, "{listed}");
        names
    };
    let names = versions(2);
    let old = names.iter().find(|name| name.contains("-v2")).expect("an old version's name has its time");
    // Of a path that is an old version's, rclone 1.60 asks the server by that very name: it is found through its directory.
    assert_eq!(run(&["cat", "--s3-versions", "--include", old, there]).ok(), "one");

    // Deleted it is hidden, both versions are listed by their times, and a sync brings nothing back by itself.
    run(&["deletefile", &format!("{there}/in/a.txt")]).ok();
    assert_eq!(run(&["lsf", "-R", "--files-only", there]).ok(), "");
    assert!(versions(2).iter().all(|name| name.contains("-v2")));
    run(&["backend", "cleanup-hidden", there]).ok();
    assert_eq!(versions(0).len(), 0);
    run(&["purge", there]).ok();
}
