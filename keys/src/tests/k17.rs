//! K-17: a wrong secret, or files that were cut, altered or put back from an older copy, stop the start, each with an
//! error that says what to do.

use super::world::{TENANT, World, object};
use super::{fill, geo};
use crate::{KeyError, KeyringError, KeystoreError, LocalKeyring, ProviderError, Unlock};
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(Zeroizing::new(text.to_owned()))
}

fn keyring_error(result: Result<LocalKeyring, ProviderError>) -> KeyringError {
    match result.err() {
        Some(ProviderError::Keyring(error)) => error,
        _ => panic!("the keyring had to refuse"),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

fn shard(world: &World) -> PathBuf {
    world.keystore().join("shard-0001.seal")
}

fn journal(world: &World) -> PathBuf {
    let is_journal = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("journal.");
    files(&world.keystore()).into_iter().find(is_journal).expect("there is a journal")
}

#[test]
fn a_passphrase_opens_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keyring");
    LocalKeyring::create(&path, geo(), &passphrase("correct horse battery")).unwrap();
    assert!(LocalKeyring::open(&path, geo(), &passphrase("correct horse battery")).is_ok());
    let open = |geo, unlock: &Unlock| keyring_error(LocalKeyring::open(&path, geo, unlock));
    assert_eq!(open(geo(), &passphrase("correct horse batterY")), KeyringError::WrongSecret);
    assert_eq!(open(geo(), &passphrase("short")), KeyringError::WeakSecret);
    assert_eq!(open(fill(1), &passphrase("correct horse battery")), KeyringError::OtherGeo);
    assert_eq!(open(geo(), &Unlock::KeyFile(path.clone())), KeyringError::OtherMethod);
    assert_eq!(
        keyring_error(LocalKeyring::create(&path, geo(), &passphrase("correct horse battery"))),
        KeyringError::Exists
    );
    assert_eq!(
        keyring_error(LocalKeyring::open(&dir.path().join("none"), geo(), &passphrase("correct horse battery"))),
        KeyringError::Missing
    );
}

#[test]
fn a_changed_secret_replaces_the_old_one() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    drop(service);
    let other = world.dir.path().join("other-key");
    LocalKeyring::create_key_file(&other).unwrap();
    assert!(LocalKeyring::create_key_file(&other).is_err(), "a key file is never overwritten");
    world.keyring().unwrap().change_secret(&Unlock::KeyFile(other.clone())).unwrap();
    assert_eq!(
        keyring_error(LocalKeyring::open(&world.keyring_file(), geo(), &world.unlock())),
        KeyringError::WrongSecret
    );
    let keyring = LocalKeyring::open(&world.keyring_file(), geo(), &Unlock::KeyFile(other)).unwrap();
    assert!(world.open_with(Box::new(keyring)).unwrap().tenant(TENANT).is_ok());
}

#[test]
fn every_flipped_byte_and_every_cut_of_the_keyring_is_refused() {
    let world = World::new();
    let good = fs::read(world.keyring_file()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(world.keyring_file(), &bad).unwrap();
        assert!(world.keyring().is_err(), "byte {at} flipped");
        fs::write(world.keyring_file(), &good[..at]).unwrap();
        assert!(world.keyring().is_err(), "cut at {at}");
    }
    fs::write(world.keyring_file(), &good).unwrap();
    assert!(world.keyring().is_ok());
}

#[test]
fn a_key_file_of_the_wrong_length_is_refused() {
    let world = World::new();
    for len in [0, 31, 33, 4096] {
        fs::write(world.key_file(), vec![7; len]).unwrap();
        assert_eq!(world.keyring().err(), Some(ProviderError::Keyring(KeyringError::WeakSecret).into()));
    }
}

#[test]
fn flips_in_the_key_store_are_refused() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    drop(service);
    for path in [shard(&world), journal(&world)] {
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(3) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            let error = world.open().err();
            let named = matches!(
                error,
                Some(KeyError::Store(KeystoreError::Damaged | KeystoreError::RolledBack | KeystoreError::OtherMaster))
            );
            assert!(named, "byte {at} of {path:?}: {error:?}");
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(world.open().unwrap().tenant(TENANT).is_ok());
}

#[test]
fn cuts_of_the_key_store_are_refused() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    drop(service);
    for path in [shard(&world), journal(&world)] {
        let good = fs::read(&path).unwrap();
        for len in (0..good.len()).step_by(5) {
            fs::write(&path, &good[..len]).unwrap();
            assert!(matches!(world.open().err(), Some(KeyError::Store(_))), "{path:?} cut at {len}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(world.open().err(), Some(KeystoreError::RolledBack.into()), "{path:?} removed");
        fs::write(&path, &good).unwrap();
    }
    assert!(world.open().unwrap().tenant(TENANT).is_ok());
}

#[test]
fn an_older_copy_is_refused_whichever_files_came_back() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    drop(service);
    let old: Vec<_> = files(&world.keystore()).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let service = world.open().unwrap();
    service.create_tenant(fill(3)).unwrap();
    drop(service);
    restore(&old);
    assert_eq!(world.open().err(), Some(KeystoreError::RolledBack.into()), "same generation, shorter journal");

    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    drop(service);
    let old: Vec<_> = files(&world.keystore()).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let service = world.open().unwrap();
    service.create_subject(TENANT, fill(4)).unwrap();
    service.destroy_subject(TENANT, fill(4)).unwrap();
    drop(service);
    restore(&old);
    assert_eq!(world.open().err(), Some(KeystoreError::RolledBack.into()), "older generation");
}

fn restore(old: &[(Vec<u8>, PathBuf)]) {
    for (bytes, path) in old {
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_missing_witness_is_refused() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    drop(service);
    fs::remove_file(world.dir.path().join("keyring.witness")).unwrap();
    assert_eq!(world.open().err(), Some(KeystoreError::NoWitness.into()));
}

#[test]
fn another_keyring_is_named_as_such() {
    let world = World::new();
    drop(world.open().unwrap());
    let witness = fs::read(world.dir.path().join("keyring.witness")).unwrap();
    fs::remove_file(world.keyring_file()).unwrap();
    fs::remove_file(world.dir.path().join("keyring.witness")).unwrap();
    drop(LocalKeyring::create(&world.keyring_file(), geo(), &world.unlock()).unwrap());
    assert_eq!(world.open().err(), Some(KeystoreError::OtherMaster.into()));
    fs::write(world.dir.path().join("keyring.witness"), witness).unwrap();
    assert!(matches!(world.open().err(), Some(KeyError::Provider(_))), "a witness of another keyring");
}

#[test]
fn an_older_keyring_after_a_rotation_is_refused() {
    let world = World::new();
    let old = fs::read(world.keyring_file()).unwrap();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let token = service.rotate_master().unwrap().token;
    while service.rotate_master_step(token, 100).unwrap().finished.is_none() {}
    drop(service);
    fs::write(world.keyring_file(), old).unwrap();
    assert_eq!(world.open().err(), Some(KeystoreError::OtherMaster.into()));
}

/// A frame that was being written when the power went was never acknowledged: it is dropped, and nothing else is.
#[test]
fn a_torn_frame_beyond_the_witness_is_dropped() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let (_, record) = service.tenant(TENANT).unwrap().new_dek(&object(TENANT, 1)).unwrap();
    drop(service);
    let journal = journal(&world);
    let good = fs::read(&journal).unwrap();
    for tail in [&[0; 3][..], &[0; 400], &[0, 0, 0, 9, 1, 2, 3], &good[..good.len() / 2]] {
        fs::write(&journal, [&good[..], tail].concat()).unwrap();
        let service = world.open().unwrap();
        assert!(service.tenant(TENANT).unwrap().open_dek(&record, &object(TENANT, 1)).is_ok());
        drop(service);
        assert_eq!(fs::read(&journal).unwrap(), good);
    }
}

#[test]
fn no_key_id_and_no_record_stands_in_clear_in_the_key_store() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    drop(service);
    for path in files(&world.keystore()) {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(16).any(|window| window == TENANT), "{path:?}");
    }
}
