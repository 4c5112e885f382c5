//! K-16 on a real file system that keeps old blocks: overwriting a file there overwrites nothing, and no certificate may say
//! otherwise. What a certificate claims where is tested without any mount in `src/sweep/closing.rs`; this needs root and a
//! kernel that mounts btrfs or an overlay, and says so where it cannot.

use super::{advance, close, destroy, destroyable, files, tenant, text, verify};
use geoseal_support::clients::Ran;
use geoseal_support::server::Launch;
use geoseal_support::tools::{scratch, tools};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The smallest btrfs there is has 109 MiB; the file is a hole.
const IMAGE_BYTES: u64 = 512 << 20;

/// A mounted file system of the test's own.
struct Volume {
    kind: &'static str,
    at: PathBuf,
    _dir: tempfile::TempDir,
}

impl Volume {
    fn btrfs() -> Result<Self, String> {
        let mkfs = tools().mkfs_btrfs().ok_or("no mkfs.btrfs, or not root, or a kernel without btrfs")?.to_owned();
        let dir = scratch();
        let (image, at) = (dir.path().join("image"), dir.path().join("at"));
        fs::File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).expect("our own file");
        fs::create_dir(&at).expect("our own directory");
        run(Command::new(&mkfs).arg("-q").arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        Ok(Self { kind: "btrfs", at, _dir: dir })
    }

    fn overlay() -> Result<Self, String> {
        let dir = scratch();
        let [lower, upper, work, at] = ["lower", "upper", "work", "at"].map(|name| dir.path().join(name));
        for folder in [&lower, &upper, &work, &at] {
            fs::create_dir(folder).expect("our own directory");
        }
        let layers = format!("lowerdir={},upperdir={},workdir={}", text(&lower), text(&upper), text(&work));
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&at))?;
        Ok(Self { kind: "overlayfs", at, _dir: dir })
    }

    /// What lies there now, kept as somebody with a snapshot has it; none where the file system has no snapshots.
    fn snapshot(&self) -> Option<PathBuf> {
        if self.kind != "btrfs" {
            return None;
        }
        let kept = self.at.join("kept");
        let made = run(Command::new("btrfs").args(["subvolume", "snapshot", "-r"]).arg(&self.at).arg(&kept));
        made.expect("a btrfs makes snapshots");
        Some(kept)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let ran = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    if ran.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said.trim())) }
}

/// The files with wrapped keys below a data directory.
fn key_store(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = files(&data.join("data/geo/europe/keystore")).into_iter();
    let sealed = all.filter(|file| file.extension().is_some_and(|extension| extension == "seal"));
    let mut read: Vec<_> =
        sealed.map(|file| (file.file_name().expect("a name").into(), fs::read(file).expect("our own file"))).collect();
    read.sort();
    read
}

#[test]
fn k16_where_overwriting_means_nothing_no_certificate_says_that_anything_is_absent() {
    let volume = match Volume::btrfs()
        .or_else(|btrfs| Volume::overlay().map_err(|overlay| format!("btrfs: {btrfs}; overlay: {overlay}")))
    {
        Ok(volume) => volume,
        Err(why) => {
            // Past the test runner, which keeps what a test prints to itself when nothing failed.
            let note = format!("SKIPPED, NOT SHOWN HERE: K-16 on a file system that keeps old blocks: {why}\n");
            std::io::stderr().write_all(note.as_bytes()).expect("stderr is open");
            return;
        }
    };
    let mut server = Launch::default().flag("--simulated-clock").start_in(&volume.at);
    server.terminate();
    destroyable(&server);
    server.restart();
    let mut leaves = tenant(&server, "contoso");
    let mut stays = tenant(&server, "fabrikam");
    (0..4).for_each(|n| leaves.put(&format!("letter/{n}")));
    stays.put("letter");
    let before = key_store(server.data());
    let kept = volume.snapshot();

    let id = destroy(&server, "contoso");
    let said = verify(&server, &server.geoseal(&["certificate", "get", &id]).json());
    let destruction = &said["destruction"];
    assert_eq!((&destruction["level"], &destruction["file_system"]), (&"S1".into(), &volume.kind.into()), "{said}");
    let why = destruction["not_higher_because"].as_str().expect("text");
    assert!(why.contains("does not overwrite in place") && said["reached"]["s2"].is_null(), "{said}");
    // And rightly: whoever has a snapshot has the records, and today's keyring opens them.
    if let Some(kept) = &kept {
        let data = kept.join(server.data().strip_prefix(&volume.at).expect("it lies there"));
        assert!(!before.is_empty() && key_store(&data) == before, "the snapshot has the key store of before");
        assert!(key_store(server.data()) != before);
    }

    let closed = close(&server);
    assert_eq!(closed["result"]["epoch"]["state"], "closed", "{closed}");
    let said = verify(&server, &server.geoseal(&["certificate", "get", &id]).json());
    let of_epoch = server.geoseal(&["key", "epoch", "certificate", "--geo", "europe", "1"]).json();
    let of_epoch = verify(&server, &of_epoch);
    for (level, why) in [
        (&said["destruction"]["level"], &said["destruction"]["not_higher_because"]),
        (&of_epoch["level"], &of_epoch["not_higher_because"]),
    ] {
        assert_eq!(level, "S2", "{said} {of_epoch}");
        assert!(why.as_str().expect("text").contains("keeps old blocks"), "{why}");
    }
    assert!(said["reached"]["s3"].is_null(), "{said}");
    advance(&server, "1d");
    assert_eq!(stays.get("letter").status, 200);
    let note =
        format!("k16 ran on {}: {}\n", volume.kind, if kept.is_some() { "with a snapshot" } else { "no snapshot" });
    std::io::stderr().write_all(note.as_bytes()).expect("stderr is open");
    Ran::of(Command::new("sync").arg("-f").arg(&volume.at)).ok();
}
