//! The loss these guard against: the process dies, or the provider does, between two effects of one act, and the next
//! start finds a tenant whose root nobody can unwrap, a rotation that nobody finishes, or a key store that refuses.
//!
//! Every act here is cut at each call it makes to the provider in turn (before a wrap, before an unwrap, after a frame
//! is on disk but before the witness hears of it), then everything is opened anew and must go on.

use super::fill;
use super::world::{TENANT, World, await_end, master, object};
use crate::{
    GeoKeyService, KeyError, KeyName, KeyProbe, LocalKeyring, MasterKeys, MasterVersion, ObjectContext, ProviderError,
    ProviderKind, RETENTION_SECONDS, RootFields, RootSecret, TenantState, Witness, disk,
};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Dies at the call number `left`, and stays dead.
struct Dying {
    inner: LocalKeyring,
    left: Arc<AtomicI64>,
}

impl Dying {
    fn live(&self) -> Result<(), ProviderError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 { Ok(()) } else { Err(ProviderError::Unreachable) }
    }
}

impl MasterKeys for Dying {
    fn kind(&self) -> ProviderKind {
        self.inner.kind()
    }
    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        self.inner.versions()
    }
    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        self.live()?;
        self.inner.wrap(fields, root, context)
    }
    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        self.live()?;
        self.inner.unwrap(fields, blob, context)
    }
    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        self.live()?;
        self.inner.rotate_to(version)
    }
    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        self.inner.set_enabled(version, enabled)
    }
    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        self.live()?;
        self.inner.destroy(version)
    }
    fn state_mac(&self) -> crate::StateMac {
        self.inner.state_mac()
    }
    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        self.inner.witness()
    }
    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        self.live()?;
        self.inner.advance(witness)
    }
}

/// Runs `act` with a provider that dies ever later, until `act` gets through; after each death, `check` on a fresh
/// start. Returns how many places it died at.
pub(super) fn cut_everywhere(
    prepare: impl Fn(&World),
    act: impl Fn(&GeoKeyService) -> Result<(), KeyError>,
    check: impl Fn(&World, GeoKeyService),
) -> i64 {
    for calls in 0.. {
        let world = World::new();
        prepare(&world);
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let provider = Dying { inner: world.keyring().unwrap(), left: Arc::clone(&left) };
        let service = world.open_with(Box::new(provider)).unwrap();
        left.store(calls, Ordering::SeqCst);
        let done = act(&service).is_ok();
        drop(service);
        check(&world, world.open().unwrap_or_else(|error| panic!("cut at call {calls}: {error}")));
        if done {
            return calls;
        }
    }
    unreachable!("an act makes finitely many calls")
}

fn with_tenant(world: &World) {
    world.open().unwrap().create_tenant(TENANT).unwrap();
}

#[test]
fn the_first_start() {
    for calls in 0.. {
        let world = World::new();
        let left = Arc::new(AtomicI64::new(calls));
        let provider = Dying { inner: world.keyring().unwrap(), left };
        let done = world.open_with(Box::new(provider)).is_ok();
        let service = world.open().unwrap_or_else(|error| panic!("cut at call {calls}: {error}"));
        service.create_tenant(TENANT).unwrap();
        if done {
            assert!(calls > 8);
            return;
        }
    }
}

#[test]
fn creating_a_tenant() {
    let cuts = cut_everywhere(
        |_| (),
        |service| service.create_tenant(TENANT),
        |_, service| {
            match service.create_tenant(TENANT) {
                Ok(()) | Err(KeyError::Exists) => {}
                Err(error) => panic!("{error}"),
            }
            let keys = service.tenant(TENANT).unwrap();
            let (_, record) = keys.new_dek(&object(TENANT, 1)).unwrap();
            assert!(keys.open_dek(&record, &object(TENANT, 1)).is_ok());
        },
    );
    assert!(cuts > 10, "three wraps, verifying, two commits: {cuts}");
}

#[test]
fn rotating_the_master_key() {
    let cuts = cut_everywhere(
        with_tenant,
        |service| {
            let token = service.rotate_master()?.token;
            while service.rotate_master_step(token, 2)?.finished.is_none() {}
            Ok(())
        },
        |world, service| {
            service.tenant(TENANT).unwrap();
            let job = service.rotate_master().unwrap();
            let to = job.to;
            let evidence = loop {
                if let Some(evidence) = service.rotate_master_step(job.token, 1).unwrap().finished {
                    break evidence;
                }
            };
            assert_eq!((evidence.records, evidence.per_version.get(&to)), (5, Some(&5)));
            await_end(&world.clock, &service, master(to - 1));
            service.destroy_master_version(to - 1).unwrap();
            service.tenant(TENANT).unwrap();
        },
    );
    assert!(cuts > 15, "{cuts}");
}

#[test]
fn rotating_a_tenant() {
    let cuts = cut_everywhere(
        with_tenant,
        |service| service.rotate_tenant(TENANT).map(drop),
        |_, service| {
            let before = service.tenant(TENANT).unwrap().active_trk().version;
            assert!((1..=2).contains(&before));
            assert_eq!(service.rotate_tenant(TENANT).unwrap().version, before + 1);
            assert_eq!(service.tenant(TENANT).unwrap().active_trk().version, before + 1);
        },
    );
    assert_eq!(cuts, 5, "a wrap, a frame, reading back, unwrapping, a frame");
}

#[test]
fn destroying_a_tenant() {
    let cuts = cut_everywhere(
        |world| {
            with_tenant(world);
            let service = world.open().unwrap();
            service.create_tenant(fill(7)).unwrap();
            service.create_subject(TENANT, fill(5)).unwrap();
            service.set_due(TENANT, 0).unwrap();
            world.advance(RETENTION_SECONDS);
        },
        |service| service.destroy_tenant(TENANT).map(drop),
        |_, service| {
            let evidence = service.destroy_tenant(TENANT).unwrap();
            assert_eq!((evidence.destroyed.len(), evidence.salts_found), (3, 0));
            assert_eq!(service.key_probe(TENANT).unwrap(), KeyProbe::Gone);
            assert_eq!(service.tenant_status(TENANT).unwrap().unwrap().state, TenantState::Destroyed);
            assert!(service.tenant(fill(7)).is_ok(), "others are intact");
        },
    );
    assert!(cuts >= 4, "{cuts}");
}

#[test]
fn erasing_a_subject_out_of_a_shard() {
    let cuts = cut_everywhere(
        |world| {
            with_tenant(world);
            let service = world.open().unwrap();
            service.create_subject(TENANT, fill(5)).unwrap();
            service.create_subject(TENANT, fill(6)).unwrap();
            let mut store = service.store.lock();
            store.limits.pending_max = 0;
            store.compact(&*service.provider).unwrap();
        },
        |service| service.destroy_subject(TENANT, fill(5)).map(drop),
        |_, service| {
            match service.destroy_subject(TENANT, fill(5)) {
                Ok(evidence) => assert_eq!(evidence.salts_found, 0),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(service.subject(TENANT, fill(5)).err(), Some(KeyError::Destroyed));
            assert!(service.subject(TENANT, fill(6)).is_ok(), "others are intact");
        },
    );
    assert!(cuts >= 6, "a frame, two files wrapped and opened again, the witness: {cuts}");
}

/// After a write that failed the disk is not known, so nothing more may be written over it.
#[test]
fn a_failed_write_poisons_the_store_until_it_is_opened_anew() {
    let world = World::new();
    with_tenant(&world);
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let provider = Dying { inner: world.keyring().unwrap(), left: Arc::clone(&left) };
    let service = world.open_with(Box::new(provider)).unwrap();
    left.store(0, Ordering::SeqCst);
    assert_eq!(service.suspend(TENANT).unwrap_err(), ProviderError::Unreachable.into());
    left.store(i64::MAX, Ordering::SeqCst);
    assert_eq!(service.suspend(TENANT).unwrap_err(), crate::KeystoreError::Poisoned.into());
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.tenant_status(TENANT).unwrap().unwrap().state, TenantState::Suspended, "the frame was on disk");
}

/// What a crash inside a replacement leaves is cleared, and the live file is never the one that is overwritten.
#[test]
fn a_replacement_cut_short_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let beside = |extension| dir.path().join(format!("file.{extension}"));
    let files = || fs::read_dir(dir.path()).unwrap().count();
    disk::replace(&path, b"one").unwrap();
    // Died before the rename: the old name is still the live file.
    fs::hard_link(&path, beside("old")).unwrap();
    fs::write(beside("tmp"), b"half of two").unwrap();
    disk::finish_replace(&path).unwrap();
    assert_eq!((fs::read(&path).unwrap(), files()), (b"one".to_vec(), 1));
    // Died after the rename: the old name is the predecessor.
    fs::write(beside("old"), b"zero").unwrap();
    disk::replace(&path, b"two").unwrap();
    assert_eq!((fs::read(&path).unwrap(), files()), (b"two".to_vec(), 1));
}

#[test]
fn a_shredded_file_was_overwritten_before_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let (path, witness) = (dir.path().join("file"), dir.path().join("second-name"));
    fs::write(&path, vec![0xAB; 100_000]).unwrap();
    fs::hard_link(&path, &witness).unwrap();
    disk::replace(&path, b"new").unwrap();
    assert!(fs::read(&witness).unwrap() == vec![0; 100_000]);
    assert_eq!(fs::read(&path).unwrap(), b"new");
}
