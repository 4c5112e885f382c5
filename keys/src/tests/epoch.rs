//! Closing an epoch: K-15, K-21, M-10 for the keys, and every way in which it must wait or can be taken back.

use super::shreds::{OTHER, copy, destroy, furnished, places, restored};
use super::world::{TENANT, World, object};
use super::{fill, geo};
use crate::entries::{RootEntry, place};
use crate::record::ProviderRecord;
use crate::{
    EpochClosed, EpochPhase, GeoKeyService, KeyError, KeyKind, KeystoreError, MasterKeys, MasterState, ObjectContext,
    ProviderError, Refusal, RootFields, SOAK_SECONDS_MAX, Shredded,
};
use std::fs;

fn wrapped(service: &GeoKeyService) -> (RootFields, Vec<u8>, ObjectContext) {
    let store = service.store.lock();
    let (key, value) = store.entries(place::ROOTS).next().unwrap();
    let root = RootEntry::parse(key, value).unwrap();
    let ProviderRecord { fields, blob, .. } = root.record.unwrap();
    (fields, blob, ObjectContext::of_root(root.tenant, geo()))
}

fn soaking(service: &GeoKeyService, soak_s: i64) {
    service.epoch_begin(soak_s).unwrap();
    while service.epoch_step(3).unwrap().0.phase == EpochPhase::Wrapping {}
}

fn close(service: &GeoKeyService) -> EpochClosed {
    soaking(service, 0);
    service.epoch_finish().unwrap().expect("no soak was asked for")
}

#[test]
fn k15_yesterdays_key_store_and_every_live_key_open_nothing_of_what_was_destroyed() {
    let world = World::new();
    let (service, one, two) = furnished(&world);
    let subject_record = service.subject_record(OTHER, fill(5)).unwrap();
    let roots: Vec<ProviderRecord> = {
        let store = service.store.lock();
        let all = store.entries(place::ROOTS).map(|(key, value)| RootEntry::parse(key, value).unwrap());
        all.filter_map(|root| root.record).collect()
    };
    let kept = world.dir.path().join("yesterday");
    service.backup_heads(&kept.with_extension("heads")).unwrap();
    service.backup_keystore(&kept, "11").unwrap();
    assert!(service.backup_keystore(&kept, "12").is_err(), "a backup overwrites nothing");
    assert_eq!(service.backups().unwrap().len(), 1);
    service.destroy_subject(OTHER, fill(5)).unwrap();
    destroy(&world, &service, TENANT);
    let closed = close(&service);
    assert_eq!((closed.number, closed.masters.len(), closed.masters[0].version), (1, 1, 1));
    assert!(closed.masters[0].receipt.starts_with("local:"));
    assert_eq!(closed.backups, ["11"], "its key store is noise now");
    assert!(service.backups().unwrap().is_empty());
    let shreds = service.shreds(closed.shreds_from, closed.shreds_to).unwrap();
    let what: Vec<_> = shreds.iter().map(|shred| shred.what).collect();
    assert_eq!(what, [Shredded::Subject { tenant: OTHER, subject: fill(5) }, Shredded::Tenant(TENANT)]);

    // K-21: what lives, lives.
    let keys = service.tenant(OTHER).unwrap();
    assert!(keys.open_dek(&two, &object(OTHER, 1)).is_ok());
    assert!(service.subject(OTHER, fill(6)).is_ok());
    // Every live key against every old record.
    assert!(keys.open_dek(&one, &object(TENANT, 1)).is_err());
    assert!(service.subject(OTHER, fill(5)).is_err());
    let keyring = world.keyring();
    assert_eq!(keyring.err(), None, "yesterday's backup and today's keyring, in one thief's hands");
    drop(service);
    let keyring = world.keyring().unwrap();
    for record in &roots {
        let context = ObjectContext::of_root(TENANT, geo());
        let other = ObjectContext::of_root(OTHER, geo());
        for context in [context, other, ObjectContext::of_root(crate::NO_ID, geo())] {
            assert_eq!(keyring.unwrap(&record.fields, &record.blob, &context).err(), Some(ProviderError::Refused));
        }
    }
    copy(&kept, &world.keystore());
    assert_eq!(
        restored(&world).err(),
        Some(KeystoreError::MasterDestroyed(1).into()),
        "not even to an operator who insists"
    );
    for file in ["keyring.witness", "keystore.shreds"] {
        fs::remove_file(world.dir.path().join(file)).unwrap();
    }
    assert_eq!(restored(&world).err(), Some(KeystoreError::MasterDestroyed(1).into()), "nor without witness and log");
    drop(keyring);
    assert_eq!(places(world.dir.path(), &subject_record[48..72]), Vec::<std::path::PathBuf>::new());
}

#[test]
fn it_goes_on_in_any_process_and_waits_for_its_soak() {
    let world = World::new();
    let (mut service, _, two) = furnished(&world);
    destroy(&world, &service, TENANT);
    assert_eq!(service.epoch_finish().unwrap(), None, "nothing is under way");
    assert_eq!(service.epoch_step(1).err(), Some(Refusal::State.into()));
    let job = service.epoch_begin(172_800).unwrap();
    assert_eq!((job.to, job.shreds_from, job.shreds_to), (2, 0, 1));
    // What is destroyed from here on belongs to the next epoch.
    service.destroy_subject(OTHER, fill(5)).unwrap();
    loop {
        drop(service);
        service = world.open().unwrap();
        assert_eq!(service.epoch_begin(5).unwrap().soak_s, 172_800, "beginning again is the same job");
        assert_eq!(service.epoch_finish().unwrap(), None);
        if service.epoch_step(1).unwrap().0.phase == EpochPhase::Soaking {
            break;
        }
    }
    let states = |service: &GeoKeyService| -> Vec<MasterState> {
        service.status().unwrap().masters.iter().map(|(master, _)| master.state).collect()
    };
    assert_eq!(states(&service), [MasterState::Disabled, MasterState::Active]);
    world.advance(172_799);
    assert_eq!(service.epoch_finish().unwrap(), None, "a second is missing");
    world.advance(1);
    drop(service);
    let service = world.open().unwrap();
    let closed = service.epoch_finish().unwrap().expect("the soak is over");
    assert_eq!(closed.closed - closed.disabled, 172_800);
    assert_eq!(states(&service), [MasterState::Destroyed, MasterState::Active]);
    assert!(service.tenant(OTHER).unwrap().open_dek(&two, &object(OTHER, 1)).is_ok());
    let next = close(&service);
    assert_eq!((next.number, next.shreds_from, next.masters[0].version), (2, closed.shreds_to, 2));
    assert_eq!(next.masters.len(), 1, "version 1 has its receipt in the first");
    assert_eq!(service.epochs().unwrap(), [closed, next]);
    assert_eq!(service.epoch_begin(i64::MAX).unwrap().soak_s, SOAK_SECONDS_MAX);
}

#[test]
fn a_version_that_is_missed_in_its_soak_raises_an_alarm_and_stays() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    let (fields, blob, context) = wrapped(&service);
    assert!(service.provider.unwrap(&fields, &blob, &context).is_ok());
    soaking(&service, 100);
    assert_eq!(service.provider.unwrap(&fields, &blob, &context).err(), Some(ProviderError::Refused));
    world.advance(100);
    assert_eq!(service.epoch_finish().err(), Some(Refusal::InUse.into()));
    assert_eq!(service.epoch_job().unwrap().unwrap().alarms, 1);
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.epoch_finish().err(), Some(Refusal::InUse.into()), "a restart does not silence it");
    service.epoch_abort().unwrap();
    assert!(service.provider.unwrap(&fields, &blob, &context).is_ok(), "taken back");
    assert_eq!(service.epoch_job().unwrap(), None);
    assert_eq!(close(&service).masters.iter().map(|m| m.version).collect::<Vec<_>>(), [1, 2], "the next takes both");
}

#[test]
fn it_does_not_begin_while_a_rotation_runs_and_cannot_be_taken_back_once_it_destroys() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    let token = service.rotate_master().unwrap().token;
    assert_eq!(service.epoch_begin(0).err(), Some(Refusal::Rotating.into()));
    while service.rotate_master_step(token, 100).unwrap().finished.is_none() {}
    assert_eq!(service.epoch_abort().err(), Some(Refusal::State.into()));
    let closed = close(&service);
    assert_eq!(closed.masters.len(), 2);
    assert_eq!(service.epoch_abort().err(), Some(Refusal::State.into()));
}

#[test]
fn m10_with_the_key_store_wiped_the_keyring_opens_nothing_of_an_image_of_the_disks() {
    let world = World::new();
    let (service, one, two) = furnished(&world);
    let keys = service.tenant(OTHER).unwrap();
    let (bucket, bucket_record) = keys.new_bucket_key(fill(0x30)).unwrap();
    let row = bucket.row_key().seal(b'o', b"place", b"a letter's name", b"");
    let named = service.geo_keys().directory().seal(b'm', b"place", b"contoso", &[]);
    service.destroy_subject(OTHER, fill(5)).unwrap();
    drop((service, keys, bucket));
    fs::remove_dir_all(world.keystore()).unwrap();
    assert_eq!(world.open().err(), Some(KeystoreError::RolledBack.into()), "the witness misses it");
    // The thief has the keyring and its secret, and makes it forget the key store.
    fs::remove_file(world.dir.path().join("keyring.witness")).unwrap();
    let keyring = world.keyring().unwrap();
    let mut opened = Vec::new();
    for file in fs::read_dir(world.dir.path()).unwrap().map(|file| file.unwrap().path()) {
        let Ok(bytes) = fs::read(&file) else { continue };
        for at in 0..bytes.len() {
            let Ok((record, _)) = ProviderRecord::parse(&bytes[at..]) else { continue };
            let context = ObjectContext::of_root(crate::NO_ID, geo());
            if keyring.unwrap(&record.fields, &record.blob, &context).is_ok() {
                opened.push((file.file_name().unwrap().to_owned(), record.fields.kind));
            }
        }
    }
    assert_eq!(opened, [("keystore.shreds".into(), KeyKind::File)], "ids of what is destroyed, nothing else");
    drop(keyring);
    let service = world.open().unwrap();
    assert_eq!(service.tenant(TENANT).err(), Some(KeyError::Unknown));
    service.create_tenant(OTHER).unwrap();
    let keys = service.tenant(OTHER).unwrap();
    for record in [&one, &two] {
        assert!(keys.open_dek(record, &object(OTHER, 1)).is_err());
    }
    assert!(keys.open_bucket_key(&bucket_record, fill(0x30)).is_err());
    assert!(keys.new_bucket_key(fill(0x30)).unwrap().0.row_key().open(b'o', b"place", &row).is_err());
    assert!(service.geo_keys().open(b'm', b"place", &named).is_err());
}
