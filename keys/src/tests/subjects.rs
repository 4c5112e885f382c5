//! The keys of data subjects: at hand and void, in shards and out of them. Case names are those of SECURITY.md.

use super::world::{TENANT, World, await_end, master, object};
use super::{fill, geo};
use crate::keystore::{Change, Keystore};
use crate::shards::Limits;
use crate::{GeoKeyService, Id, KeyError, KeystoreError, Last, OpenClass, SegmentInfo, SegmentKind};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const SMALL: Limits = Limits { shard_entries_max: 4, pending_max: 3 };

fn subject(n: u32) -> Id {
    let mut id = [0x5a; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    id
}

fn shards(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(world.keystore()).unwrap().map(|file| file.unwrap().path());
    let shards = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("subjects-"));
    shards.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn erased(error: &KeyError) -> bool {
    matches!(error, KeyError::Open(e) if e.class() == OpenClass::Erased)
}

/// A tenant with `subjects` subjects, in shards of at most four.
fn with_shards(world: &World, subjects: u32) -> GeoKeyService {
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    service.store.lock().limits = SMALL;
    for n in 0..subjects {
        service.create_subject(TENANT, subject(n << 24)).unwrap();
        service.store.lock().compact(&*service.provider).unwrap();
    }
    service
}

#[test]
fn k13_an_erased_subjects_handles_refuse_at_once_and_no_other_does() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let (one, other) =
        (service.create_subject(TENANT, fill(1)).unwrap(), service.create_subject(TENANT, fill(2)).unwrap());
    let context = object(TENANT, 1);
    let (dek, record) = one.new_dek(&context).unwrap();
    let (_, kept) = other.new_dek(&context).unwrap();
    let info = SegmentInfo { kind: SegmentKind::Whole, part: 0, context, segment_id: fill(9), dek_id: dek.id() };
    let sealed = dek.seal_whole(&info, &[7; 200_000]);
    let opener = dek.opener(&info, &sealed[..192], 200_000, sealed.len() as u64).unwrap();
    let mut sealer = dek.sealer(&info);
    opener.open_chunk(0, &mut sealed[192..192 + 65_552].to_vec()).unwrap();
    let evidence = service.destroy_subject(TENANT, fill(1)).unwrap();
    assert_eq!((evidence.destroyed.len(), evidence.salts_found), (1, 0));
    assert!(erased(&one.check().unwrap_err()) && erased(&one.new_dek(&context).err().unwrap()));
    assert!(erased(&one.open_dek(&record, &context).err().unwrap()));
    let mut chunk = sealed[192 + 65_552..192 + 2 * 65_552].to_vec();
    assert_eq!(opener.open_chunk(1, &mut chunk).unwrap_err().class(), OpenClass::Erased, "a stream under way ends");
    assert!(sealer.seal_chunk(&mut vec![0; 10], Last::Yes).is_err(), "a write under way ends");
    for again in [service.subject(TENANT, fill(1)).err(), service.create_subject(TENANT, fill(1)).err()] {
        assert_eq!(again.unwrap(), KeyError::Destroyed, "a destroyed id is never used again");
    }
    assert!(service.subject_at_hand(TENANT, fill(1)).unwrap().is_none());
    assert!(other.open_dek(&kept, &context).is_ok());
    assert!(service.tenant(TENANT).unwrap().new_dek(&context).is_ok());
    drop((service, one, other));
    let service = world.open().unwrap();
    assert_eq!(service.subject(TENANT, fill(1)).err().unwrap(), KeyError::Destroyed);
    assert!(service.subject(TENANT, fill(2)).unwrap().open_dek(&kept, &context).is_ok());
}

#[test]
fn a_key_is_at_hand_no_longer_than_the_lease_and_memory_is_bounded() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let first = service.create_subject(TENANT, fill(1)).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &service.subject(TENANT, fill(1)).unwrap()));
    world.advance(crate::LEASE_SECONDS);
    assert!(service.subject_at_hand(TENANT, fill(1)).unwrap().is_none(), "a new lease opens it anew");
    let second = service.subject(TENANT, fill(1)).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first, &second));
    service.suspend(TENANT).unwrap();
    assert!(second.check().is_err());
    assert_eq!(service.subject(TENANT, fill(1)).err().unwrap(), KeyError::Suspended);
    service.resume(TENANT).unwrap();
    let lease = service.tenant(TENANT).unwrap();
    let keys: Vec<_> = (0..20_000).map(|n| (subject(n), service.subject(TENANT, fill(1)).unwrap())).collect();
    for (id, key) in &keys {
        service.subjects.keep((TENANT, *id), key, &lease);
    }
    assert!(service.subjects.len() <= 2 * 8192);
    assert!(service.subject(TENANT, fill(1)).is_ok());
}

/// An erasure rewrites the shard that has the record, and no other.
#[test]
fn k13_one_erasure_rewrites_one_shard() {
    let world = World::new();
    let service = with_shards(&world, 40);
    let before = shards(&world);
    assert!(before.len() > 5, "{}", before.len());
    let evidence = service.destroy_subject(TENANT, subject(17 << 24)).unwrap();
    let after = shards(&world);
    let same = before.iter().filter(|(path, bytes)| after.get(*path) == Some(bytes)).count();
    assert_eq!((after.len(), same), (before.len(), before.len() - 1));
    assert_eq!(evidence.salts_found, 0);
    assert!(evidence.files_scanned as usize > after.len());
    drop(service);
    let service = world.open().unwrap();
    for n in 0..40 {
        let found = service.subject(TENANT, subject(n << 24));
        if n == 17 {
            assert_eq!(found.err().unwrap(), KeyError::Destroyed);
        } else {
            found.unwrap();
        }
    }
    assert_eq!(service.tenant_status(TENANT).unwrap().unwrap().subjects, 39);
}

#[test]
fn a_master_rotation_and_a_destroyed_tenant_reach_the_shards() {
    let world = World::new();
    let service = with_shards(&world, 20);
    service.create_tenant(fill(7)).unwrap();
    service.create_subject(fill(7), fill(8)).unwrap();
    let files = 1 + shards(&world).len() as u64;
    let token = service.rotate_master().unwrap().token;
    let evidence = loop {
        if let Some(evidence) = service.rotate_master_step(token, 64).unwrap().finished {
            break evidence;
        }
    };
    // Three roots of each tenant, the geo's, and the file keys.
    assert_eq!((evidence.records, evidence.per_version), (7 + files, BTreeMap::from([(2, 7 + files)])));
    await_end(&world.clock, &service, master(1));
    service.destroy_master_version(1).unwrap();
    service.set_due(TENANT, 0).unwrap();
    world.advance(crate::RETENTION_SECONDS);
    assert_eq!(service.destroy_tenant(TENANT).unwrap().salts_found, 0);
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.tenant_status(TENANT).unwrap().unwrap().subjects, 0);
    service.subject(fill(7), fill(8)).unwrap();
}

/// K-17 for shards: each is bound to the main file, so an older one, another one or none is refused.
#[test]
fn k17_an_older_or_altered_shard_is_refused() {
    let world = World::new();
    let service = with_shards(&world, 12);
    let old = shards(&world);
    service.destroy_subject(TENANT, subject(5 << 24)).unwrap();
    drop(service);
    let new = shards(&world);
    let (erased_in, _) = new.iter().find(|(path, _)| !old.contains_key(*path)).unwrap();
    let (had_it, record) = old.iter().find(|(path, _)| !new.contains_key(*path)).unwrap();
    let refused = |what| {
        let error = world.open().err().unwrap_or_else(|| panic!("{what} was accepted"));
        assert_eq!(error, KeystoreError::Damaged.into(), "{what}");
    };
    let live = fs::read(erased_in).unwrap();
    fs::write(erased_in, record).unwrap();
    refused("the shard before the erasure, under its name");
    let mut flipped = live.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(erased_in, flipped).unwrap();
    refused("a flipped bit");
    fs::remove_file(erased_in).unwrap();
    refused("no shard");
    fs::write(erased_in, live).unwrap();
    fs::write(had_it, record).unwrap();
    let service = world.open().unwrap();
    assert_eq!(shards(&world), new, "a shard that nothing names is cleared");
    assert_eq!(service.subject(TENANT, subject(5 << 24)).err().unwrap(), KeyError::Destroyed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The key store with shards, after any history of commits, compactions and restarts, holds what a map would, in
    /// memory and on disk, and no shard has more than it may.
    #[test]
    fn shards_are_a_map(acts in vec((0..10u8, 0..24u8, vec(any::<u8>(), 0..8)), 1..60)) {
        let world = World::new();
        let provider = world.keyring().unwrap();
        let open = || {
            let mut store = Keystore::open(&world.keystore(), geo(), &provider).unwrap();
            store.limits = SMALL;
            store
        };
        let mut store = open();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (act, key, value) in acts {
            let key = vec![if key % 5 == 0 { b'r' } else { b's' }, key];
            match act {
                0 | 1 => { store.compact(&provider).unwrap(); }
                2 => {
                    drop(store);
                    store = open();
                }
                3 | 4 => {
                    model.remove(&key);
                    store.commit(vec![Change::Remove(key)], &provider).unwrap();
                }
                _ => {
                    model.insert(key.clone(), value.clone());
                    store.commit(vec![Change::Put(key, value)], &provider).unwrap();
                }
            }
            let held: BTreeMap<_, _> = store.entries(b"").map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(&held, &model);
            let back: BTreeMap<_, _> =
                store.read_back(b"", &provider).unwrap().entries.into_iter().map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(&back, &model);
        }
    }
}
