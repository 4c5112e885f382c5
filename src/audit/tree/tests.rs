//! The tree against RFC 6962 read word for word; what was written into a directory against every change of it.

use super::*;
use crate::audit::{Act, Actor, Event, Head, entry};
use crate::model::clock::{Clock, SimulatedClock};
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};

const GEO: &str = "europe";

/// RFC 6962, section 2.1: the definition, as slow as it stands there.
fn mth(leaves: &[String]) -> [u8; 32] {
    match leaves {
        [] => Hash::of(&[]).0,
        [leaf] => Hash::of(&[&[0], leaf.as_bytes()]).0,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            Hash::of(&[&[1], &mth(&leaves[..k]), &mth(&leaves[k..])]).0
        }
    }
}

/// RFC 6962, section 2.1.1.
fn path(m: usize, leaves: &[String]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut way, other) =
        if m < k { (path(m, &leaves[..k]), &leaves[k..]) } else { (path(m - k, &leaves[k..]), &leaves[..k]) };
    way.push(Hash(mth(other)));
    way
}

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn public(key: &Ed25519KeyPair) -> [u8; 32] {
    key.public_key().as_ref().try_into().unwrap()
}

fn signed(key: &Ed25519KeyPair, geo: &str, lines: &[String]) -> String {
    let checkpoint = Checkpoint { geo: geo.into(), size: lines.len() as u64, root: Hash(mth(lines)) };
    let text = checkpoint.text(&public(key));
    assemble(&text, &public(key), key.sign(text.as_bytes()).as_ref().try_into().unwrap())
}

/// A log of so many entries; every `odd`th is another than in the log of another `odd`.
fn log(entries: u64, odd: u64) -> Vec<String> {
    let clock = SimulatedClock::frozen(Millis(1_800_000_000_000));
    let (mut at, mut lines) = (Head::first(GEO), Vec::new());
    for n in 0..entries {
        let event = Event::PurgeListed { tenant: TenantId([1; 16]), left: if n == odd { n + 1_000_000 } else { n } };
        let act = Act { actor: Actor::part("sweeper"), event };
        let (line, hash) = entry::line(n, at.hash, &act, &clock.now());
        at = Head { entries: n + 1, hash };
        lines.push(line);
    }
    lines
}

fn tree(lines: &[String]) -> Tree {
    let mut tree = Tree::default();
    lines.iter().for_each(|line| tree.push(line.as_bytes()));
    tree
}

#[test]
fn roots_and_proofs_of_every_size_are_those_of_the_rfc() {
    let lines = log(70, u64::MAX);
    let tree = tree(&lines);
    for size in 0..=lines.len() {
        assert_eq!(tree.root(size as u64).unwrap().0, mth(&lines[..size]), "{size}");
        for index in 0..size {
            assert_eq!(
                tree.prove(index as u64, size as u64).unwrap(),
                path(index, &lines[..size]),
                "{index} of {size}"
            );
        }
    }
    assert!(tree.root(71).is_none() && tree.prove(70, 70).is_none() && tree.prove(0, 71).is_none());
}

#[test]
fn a_proof_shows_its_entry_and_no_other() {
    let (lines, key) = (log(45, u64::MAX), key(1));
    let (tree, checkpoint) = (tree(&lines), signed(&key, GEO, &lines));
    for index in 0..45 {
        let hashes = tree.prove(index, 45).unwrap();
        let proof = EntryProof { index, line: lines[index as usize].clone(), hashes, checkpoint: checkpoint.clone() };
        let parsed = EntryProof::parse(&proof.to_text()).unwrap();
        assert_eq!(parsed, proof);
        let (entry, under) = parsed.verify(&public(&key)).unwrap();
        assert_eq!((entry.index, under.size), (index, 45));
        // Another entry, another place, fewer or more hashes, another key.
        let wrong = |change: &dyn Fn(&mut EntryProof)| {
            let mut proof = proof.clone();
            change(&mut proof);
            proof.verify(&public(&key)).unwrap_err()
        };
        assert_eq!(wrong(&|p| p.line = lines[(index as usize + 1) % 45].clone()), ProofError::NotInLog);
        assert_eq!(wrong(&|p| p.index = (index + 1) % 45), ProofError::NotInLog);
        assert_eq!(wrong(&|p| p.index = 45), ProofError::NotInLog);
        assert_eq!(wrong(&|p| p.hashes.truncate(p.hashes.len() - 1)), ProofError::NotInLog);
        assert_eq!(wrong(&|p| p.hashes.push(Hash([0; 32]))), ProofError::NotInLog);
        assert_eq!(wrong(&|p| p.hashes[0].0[7] ^= 1), ProofError::NotInLog);
        assert_eq!(wrong(&|p| p.checkpoint = signed(&key, GEO, &log(45, 3))), ProofError::NotInLog);
        assert!(matches!(proof.verify(&public(&self::key(2))), Err(ProofError::Checkpoint(NoteError::Unsigned))));
    }
}

#[test]
fn any_byte_of_a_checkpoint_or_proof_that_is_changed_is_noticed() {
    let (lines, key) = (log(9, u64::MAX), key(1));
    let checkpoint = signed(&key, GEO, &lines);
    let expected = Checkpoint::verified(&checkpoint, &public(&key)).unwrap();
    assert_eq!((expected.size, expected.root.0), (9, mth(&lines)));
    let hashes = tree(&lines).prove(4, 9).unwrap();
    let proof = EntryProof { index: 4, line: lines[4].clone(), hashes, checkpoint: checkpoint.clone() }.to_text();
    let flip = |text: &str, at: usize, bit: u8| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1 << bit;
        String::from_utf8(bytes).ok()
    };
    for (at, bit) in (0..checkpoint.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
        let Some(changed) = flip(&checkpoint, at, bit) else { continue };
        assert!(Checkpoint::verified(&changed, &public(&key)).is_err(), "{changed}");
    }
    for (at, bit) in (0..proof.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
        let Some(changed) = flip(&proof, at, bit) else { continue };
        assert!(EntryProof::parse(&changed).and_then(|proof| proof.verify(&public(&key))).is_err(), "{changed}");
    }
    // Cut anywhere.
    for at in 0..checkpoint.len() {
        assert!(checkpoint.get(..at).is_none_or(|cut| Checkpoint::verified(cut, &public(&key)).is_err()), "{at}");
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn a_directory_holds_up_until_anything_in_it_is_changed() {
    let (key, scratch) = (key(1), tempfile::tempdir().unwrap());
    for entries in [0, 1, 255, 256, 257, 700] {
        let (lines, dir) = (log(entries, u64::MAX), scratch.path().join(entries.to_string()));
        write_dir(&dir, &signed(&key, GEO, &lines), &lines).unwrap();
        let verdict = verify_dir(&dir, &public(&key), None).unwrap();
        assert_eq!((verdict.checkpoint.size, verdict.checkpoint.root.0), (entries, mth(&lines)));
        for file in files(&dir) {
            let whole = fs::read(&file).unwrap();
            for at in [0, whole.len() / 2, whole.len() - 1] {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                fs::write(&file, &changed).unwrap();
                assert!(verify_dir(&dir, &public(&key), None).is_err(), "{entries}: {} at {at}", file.display());
            }
            fs::remove_file(&file).unwrap();
            assert!(verify_dir(&dir, &public(&key), None).is_err(), "{entries}: without {}", file.display());
            fs::write(&file, &whole).unwrap();
        }
    }
    let dir = scratch.path().join("700");
    assert!(dir.join("tile/0/002.p/188").is_file() && dir.join("tile/1/000.p/2").is_file());
    assert!(dir.join("tile/entries/001").is_file());
    assert!(matches!(
        verify_dir(&dir, &public(&self::key(2)), None),
        Err(LogDirError::Checkpoint(NoteError::Unsigned))
    ));
}

#[test]
fn a_log_that_does_not_go_on_from_an_older_checkpoint_is_told() {
    let (key, scratch) = (key(1), tempfile::tempdir().unwrap());
    let (lines, dir) = (log(300, u64::MAX), scratch.path().join("log"));
    write_dir(&dir, &signed(&key, GEO, &lines), &lines).unwrap();
    for size in [0, 1, 7, 256, 300] {
        let older = signed(&key, GEO, &lines[..size]);
        assert_eq!(verify_dir(&dir, &public(&key), Some(&older)).unwrap().older, Some(size as u64));
    }
    // Somebody with the log key wrote history anew: whole by itself, and other than what was signed before.
    let forked = signed(&key, GEO, &log(100, 17));
    assert!(matches!(verify_dir(&dir, &public(&key), Some(&forked)), Err(LogDirError::Forked(100))));
    let longer = signed(&key, GEO, &log(301, u64::MAX));
    assert!(matches!(
        verify_dir(&dir, &public(&key), Some(&longer)),
        Err(LogDirError::Shorter { now: 300, then: 301 })
    ));
    let foreign = signed(&self::key(2), GEO, &lines);
    assert!(matches!(verify_dir(&dir, &public(&key), Some(&foreign)), Err(LogDirError::Older(NoteError::Unsigned))));
    let elsewhere = signed(&key, "brazil", &lines);
    assert!(matches!(verify_dir(&dir, &public(&key), Some(&elsewhere)), Err(LogDirError::Forked(300))));
}

/// Each tile has one path, and the log serves what an export of the same state has under it.
#[test]
fn d12_a_tile_has_one_path_and_is_the_one_of_the_export() {
    for path in ["0/000", "7/999", "0/x001/000", "0/x001/x234/067.p/255", "entries/000.p/1", "entries/x001/000"] {
        assert!(Tile::parse(path).is_some(), "{path}");
    }
    for path in [
        "",
        "0",
        "0/",
        "0/0",
        "0/00",
        "0/0000",
        "00/000",
        "8/000",
        "-1/000",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/x000/001",
        "0/001/000",
        "0/xx01/000",
        "0/+01",
        "0/000/",
        "0//000",
        "entries/0",
        "entries",
        "data/000",
        "0/x999/x999/x999/x999/x999/x999/x999/999",
        "0/../000",
        "0/000.p/",
        "0/000.p/5/5",
    ] {
        assert_eq!(Tile::parse(path), None, "{path}");
    }
    let lines: Vec<String> = (0..600).map(|n| format!("line {n}")).collect();
    let mut tree = Tree::default();
    lines.iter().for_each(|line| tree.push(line.as_bytes()));
    let mut seen = 0;
    for (path, bytes) in super::tiles::tiles(&tree) {
        let path = path.strip_prefix("tile").unwrap().to_str().unwrap().to_owned();
        assert_eq!(Tile::parse(&path).unwrap().hashes(&tree), Some(bytes), "{path}");
        seen += 1;
    }
    assert_eq!(seen, 4, "three of leaves, one above");
    // What was partial once stays there; what is not there yet is not.
    assert_eq!(Tile::parse("0/000.p/7").unwrap().hashes(&tree).map(|bytes| bytes.len()), Some(7 * 32));
    for beyond in ["0/002.p/89", "0/002", "0/003.p/1", "1/000.p/3", "2/000.p/1"] {
        assert_eq!(Tile::parse(beyond).unwrap().hashes(&tree), None, "{beyond}");
    }
}
