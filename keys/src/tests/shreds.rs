//! The shred log: what was destroyed stays destroyed when an older key store is put back, and the log itself cannot be
//! put back. K-14, K-15 (the part of it that needs no epoch), K-21 for keys.

use super::fill;
use super::world::{TENANT, World, await_end, master, object, trk};
use crate::shred_log::path_beside;
use crate::{
    DekRecord, GeoKeyService, Head, KeyError, KeyKind, KeyProbe, KeystoreError, RETENTION_SECONDS, Shred, Shredded,
    TenantState,
};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const OTHER: crate::Id = *b"tenant-1-tenant-";

/// `cp -r`, in place of what is there.
pub(super) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).unwrap();
        }
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Places in all files below `dir` where `needle` stands.
pub(super) fn places(dir: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    files(dir, &mut all);
    all.retain(|path| fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle));
    all
}

pub(super) fn restored(world: &World) -> Result<GeoKeyService, KeyError> {
    let keyring = Box::new(world.keyring()?);
    let clock = std::sync::Arc::clone(&world.clock) as std::sync::Arc<dyn crate::Clock>;
    GeoKeyService::danger_open_restored(&world.keystore(), super::geo(), keyring, clock)
}

fn backup(world: &World) -> PathBuf {
    let to = world.dir.path().join("backup");
    copy(&world.keystore(), &to);
    to
}

/// Two tenants with a data key each, and two subjects of the second.
pub(super) fn furnished(world: &World) -> (GeoKeyService, DekRecord, DekRecord) {
    let service = world.open().unwrap();
    for tenant in [TENANT, OTHER] {
        service.create_tenant(tenant).unwrap();
    }
    service.create_subject(OTHER, fill(5)).unwrap();
    service.create_subject(OTHER, fill(6)).unwrap();
    let dek = |tenant| service.tenant(tenant).unwrap().new_dek(&object(tenant, 1)).unwrap().1;
    let (one, two) = (dek(TENANT), dek(OTHER));
    (service, one, two)
}

pub(super) fn destroy(world: &World, service: &GeoKeyService, tenant: crate::Id) {
    service.set_due(tenant, 0).unwrap();
    world.advance(RETENTION_SECONDS);
    assert_eq!(service.destroy_tenant(tenant).unwrap().salts_found, 0);
}

#[test]
fn k14_no_file_of_the_node_holds_a_destroyed_subject_key() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    let record = service.subject_record(OTHER, fill(5)).unwrap();
    let (salt, sealed) = (&record[48..72], &record[72..]);
    // It is sealed on disk, so not even the living record stands there in clear: open the key store and write the
    // record where a careless implementation would leave it, to see that the scan would find it.
    let planted = world.keystore().join("planted");
    fs::write(&planted, record).unwrap();
    assert_eq!(places(world.dir.path(), salt), std::slice::from_ref(&planted));
    fs::remove_file(planted).unwrap();
    service.store.lock().compact(&*service.provider).unwrap();
    let holds_it = fs::read(world.keystore().join("shard-0001.seal")).unwrap();
    let sealed_with_it = &holds_it[holds_it.len() - 64..];
    assert_eq!(places(world.dir.path(), sealed_with_it).len(), 1);
    let evidence = service.destroy_subject(OTHER, fill(5)).unwrap();
    assert_eq!((evidence.salts_found, evidence.destroyed[0].0), (0, KeyKind::Sk));
    for needle in [salt, sealed, &record[16..32]] {
        assert_eq!(places(world.dir.path(), needle), Vec::<PathBuf>::new());
    }
    assert_eq!(places(world.dir.path(), sealed_with_it), Vec::<PathBuf>::new(), "nor the generation that held it");
    assert_eq!(service.subject(OTHER, fill(5)).err(), Some(KeyError::Destroyed));
    assert!(service.subject(OTHER, fill(6)).is_ok(), "K-21: its neighbour is intact");
}

#[test]
fn an_older_key_store_that_is_put_back_loses_again_what_was_destroyed_since() {
    let world = World::new();
    let (service, one, two) = furnished(&world);
    drop(service);
    let kept = backup(&world);
    let service = world.open().unwrap();
    service.destroy_subject(OTHER, fill(5)).unwrap();
    destroy(&world, &service, TENANT);
    let head = service.shred_head();
    assert_eq!(head.counter, 2);
    let generation = service.status().unwrap().generation;
    drop(service);
    copy(&kept, &world.keystore());
    assert_eq!(world.open().err(), Some(KeystoreError::RolledBack.into()), "not without an operator's word");

    let service = restored(&world).unwrap();
    let replayed = service.replayed();
    assert_eq!((&replayed.tenants[..], replayed.subjects.len(), replayed.roots), (&[TENANT][..], 1, 0));
    assert_eq!(service.tenant(TENANT).err(), Some(KeyError::Destroyed));
    assert_eq!(service.key_probe(TENANT).unwrap(), KeyProbe::Gone);
    assert_eq!(service.tenant_status(TENANT).unwrap().unwrap().state, TenantState::Destroyed);
    assert_eq!(service.subject(OTHER, fill(5)).err(), Some(KeyError::Destroyed));
    assert!(service.subject(OTHER, fill(6)).is_ok());
    assert!(service.tenant(OTHER).unwrap().open_dek(&two, &object(OTHER, 1)).is_ok());
    assert!(service.tenant(OTHER).unwrap().open_dek(&one, &object(TENANT, 1)).is_err());
    assert!(service.status().unwrap().generation > generation, "newer than all that were seen before");
    assert_eq!(service.shred_head(), head);
    drop(service);
    let service = world.open().unwrap();
    assert!(service.replayed().is_empty(), "once is enough");
    assert_eq!(service.create_tenant(TENANT), Err(KeyError::Destroyed));
}

#[test]
fn a_tenant_that_the_restored_store_never_knew_stays_destroyed() {
    let world = World::new();
    drop(furnished(&world).0);
    let kept = backup(&world);
    let service = world.open().unwrap();
    service.create_tenant(fill(0x70)).unwrap();
    destroy(&world, &service, fill(0x70));
    drop(service);
    copy(&kept, &world.keystore());
    let service = restored(&world).unwrap();
    assert_eq!(service.create_tenant(fill(0x70)), Err(KeyError::Destroyed));
    assert!(service.replayed().tenants.is_empty(), "it held nothing of it");
}

#[test]
fn a_log_that_is_older_than_its_anchor_stops_the_start() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    let log = path_beside(&world.keystore());
    assert!(!log.exists(), "made with its first entry");
    service.destroy_subject(OTHER, fill(5)).unwrap();
    let older = fs::read(&log).unwrap();
    drop(service);
    let kept = backup(&world);
    let service = world.open().unwrap();
    destroy(&world, &service, TENANT);
    drop(service);
    let newer = fs::read(&log).unwrap();
    copy(&kept, &world.keystore());
    let behind = Some(KeyError::from(KeystoreError::ShredLogBehind));
    let damaged = Some(KeyError::from(KeystoreError::ShredLogDamaged));
    let refused = |bytes: Option<&[u8]>| {
        match bytes {
            Some(bytes) => fs::write(&log, bytes).unwrap(),
            None => fs::remove_file(&log).unwrap(),
        }
        restored(&world).err()
    };
    assert_eq!(refused(Some(&older)), behind);
    assert!(behind.as_ref().unwrap().to_string().contains("put the newest copy of the .shreds file"));
    assert_eq!(refused(None), behind);
    for at in [200, newer.len() - 1] {
        let mut altered = newer.clone();
        altered[at] ^= 1;
        assert!([&damaged, &behind].contains(&&refused(Some(&altered))), "byte {at}");
    }
    let mut altered = newer.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert_eq!(refused(Some(&altered)), damaged);
    fs::write(&log, &newer).unwrap();
    assert_eq!(restored(&world).unwrap().tenant(TENANT).err(), Some(KeyError::Destroyed));
}

#[test]
fn a_torn_entry_that_nobody_was_told_of_is_cut_off() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    service.destroy_subject(OTHER, fill(5)).unwrap();
    drop(service);
    let log = path_beside(&world.keystore());
    let whole = fs::read(&log).unwrap();
    fs::write(&log, [&whole[..], &[0, 0, 0, 99, 1, 2, 3]].concat()).unwrap();
    let service = world.open().unwrap();
    assert_eq!(fs::read(&log).unwrap(), whole);
    service.destroy_subject(OTHER, fill(6)).unwrap();
    drop(service);
    assert_eq!(world.open().unwrap().shred_head().counter, 2);
}

#[test]
fn a_destruction_cut_off_behind_its_entry_is_carried_out_at_the_next_start() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    let shred = Shred { at: 1, what: Shredded::Subject { tenant: OTHER, subject: fill(5) } };
    service.store.lock().log_shreds(&[shred], &*service.provider).unwrap();
    assert!(service.subject(OTHER, fill(5)).is_ok());
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.replayed().subjects, [(OTHER, fill(5))]);
    assert_eq!(service.subject(OTHER, fill(5)).err(), Some(KeyError::Destroyed));
}

#[test]
fn a_retired_version_that_a_restored_store_still_lives_by_stays_and_is_reported() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    drop(service);
    let before = backup(&world);
    let service = world.open().unwrap();
    service.rotate_tenant(OTHER).unwrap();
    drop(service);
    let between = world.dir.path().join("between");
    copy(&world.keystore(), &between);
    let service = world.open().unwrap();
    await_end(&world.clock, &service, trk(OTHER, 1));
    service.retire_tenant_version(OTHER, 1, 0).unwrap();
    drop(service);

    copy(&between, &world.keystore());
    let service = restored(&world).unwrap();
    assert_eq!(service.replayed().roots, 1, "a newer version is active: the retired one goes again");
    drop(service);
    copy(&before, &world.keystore());
    let service = restored(&world).unwrap();
    assert_eq!(service.replayed().to_rotate, [(OTHER, KeyKind::Trk, 1)]);
    assert!(service.tenant(OTHER).is_ok(), "its data live by it");
}

#[test]
fn without_a_witness_the_tombstones_of_the_store_make_the_log_anew() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    service.destroy_subject(OTHER, fill(5)).unwrap();
    destroy(&world, &service, TENANT);
    drop(service);
    // All is lost but the keyring and a backup.
    fs::remove_file(world.dir.path().join("keyring.witness")).unwrap();
    fs::remove_file(path_beside(&world.keystore())).unwrap();
    assert_eq!(world.open().err(), Some(KeystoreError::NoWitness.into()));
    let service = restored(&world).unwrap();
    assert_eq!(service.shred_head().counter, 2);
    assert_ne!(service.shred_head(), Head::START);
    drop(service);
    assert!(world.open().is_ok());
}

#[test]
fn the_log_goes_with_the_master_key() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    service.destroy_subject(OTHER, fill(5)).unwrap();
    let head = service.shred_head();
    assert_eq!(service.scan_masters().unwrap().per_version[&1], 9, "6 roots, the directory key, the file key, the log");
    let token = service.rotate_master().unwrap().token;
    while service.rotate_master_step(token, 100).unwrap().finished.is_none() {}
    assert_eq!(service.scan_masters().unwrap().per_version.len(), 1);
    await_end(&world.clock, &service, master(1));
    service.destroy_master_version(1).unwrap();
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.shred_head().counter, head.counter + 1, "the master key is in it");
}
