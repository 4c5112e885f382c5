//! The key service: creation, leases, rotation, destruction, and what it must refuse.

use super::world::{TENANT, World, await_end, master, object, trk};
use super::{fill, geo};
use crate::{
    EARLY_SECONDS, Head, KeyError, KeyKind, KeyName, KeyProbe, KeyState, KeystoreError, LocalKeyring, MasterKeys,
    MasterState, MasterVersion, ObjectContext, OpenClass, ProviderError, ProviderKind, RETENTION_SECONDS, Refusal,
    RootFields, RootSecret, TenantState, Witness,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_tenant_survives_a_restart_and_its_handles_agree() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    assert_eq!(service.create_tenant(TENANT).unwrap_err(), KeyError::Exists);
    let keys = service.tenant(TENANT).unwrap();
    let (dek, dek_record) = keys.new_dek(&object(TENANT, 1)).unwrap();
    let (bucket, bucket_record) = keys.new_bucket_key(fill(0x30)).unwrap();
    let row = bucket.row_key().seal(b'o', b"place", b"row", b"tail");
    let secret = crate::CredentialSecret::random();
    let credential = keys.wrap_credential(&secret, fill(9)).unwrap();
    let before = (bucket.token(b"n"), keys.bucket_token(b"n"), keys.subject_token(b"n"), keys.log_pseudonym(b"n"));
    let geo_token = service.geo_keys().name_token(b"contoso");
    let public = service.log_signer().public_key();
    drop((service, keys));

    let service = world.open().unwrap();
    let keys = service.tenant(TENANT).unwrap();
    assert_eq!(keys.open_dek(&dek_record, &object(TENANT, 1)).unwrap().id(), dek.id());
    let bucket = keys.open_bucket_key(&bucket_record, fill(0x30)).unwrap();
    let opened = bucket.row_key().open(b'o', b"place", &row).unwrap();
    assert_eq!((opened.plain.as_slice(), opened.trailing), (b"row".as_slice(), b"tail".as_slice()));
    assert!(keys.open_credential(&credential, fill(9)).unwrap() == secret);
    assert_eq!(secret.reveal().len(), 43);
    assert_eq!(
        before,
        (bucket.token(b"n"), keys.bucket_token(b"n"), keys.subject_token(b"n"), keys.log_pseudonym(b"n"))
    );
    assert_eq!(geo_token, service.geo_keys().name_token(b"contoso"));
    assert_eq!(public, service.log_signer().public_key());
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
    key.verify(b"entry", &service.log_signer().sign(b"entry")).unwrap();
}

#[test]
fn four_tokens_of_one_name_are_four_different_tokens() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let keys = service.tenant(TENANT).unwrap();
    let (bucket, _) = keys.new_bucket_key(fill(1)).unwrap();
    let tokens = [
        bucket.token(b"n"),
        keys.bucket_token(b"n"),
        keys.subject_token(b"n"),
        keys.log_pseudonym(b"n"),
        service.geo_keys().name_token(b"n"),
    ];
    for (i, one) in tokens.iter().enumerate() {
        assert!(!tokens[..i].contains(one));
    }
}

#[test]
fn suspension_bites_handles_already_given_out() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let keys = service.tenant(TENANT).unwrap();
    let context = object(TENANT, 1);
    let (dek, record) = keys.new_dek(&context).unwrap();
    let (bucket, _) = keys.new_bucket_key(context.bucket).unwrap();
    let row = bucket.row_key().seal(b'o', b"k", b"row", b"");
    service.suspend(TENANT).unwrap();
    let revoked = |error: KeyError| matches!(error, KeyError::Open(e) if e.class() == OpenClass::Revoked);
    assert!(revoked(keys.new_dek(&context).err().unwrap()));
    assert!(revoked(keys.open_dek(&record, &context).err().unwrap()));
    assert_eq!(bucket.row_key().open(b'o', b"k", &row).err().unwrap().class(), OpenClass::Revoked);
    let info =
        crate::SegmentInfo { kind: crate::SegmentKind::Whole, part: 0, context, segment_id: fill(7), dek_id: dek.id() };
    let mut chunk = vec![1];
    assert_eq!(dek.sealer(&info).seal_chunk(&mut chunk, crate::Last::Yes), Err(crate::SealError::Revoked));
    assert_eq!(service.tenant(TENANT).err(), Some(KeyError::Suspended));
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.tenant(TENANT).err(), Some(KeyError::Suspended), "also after a restart");
    service.resume(TENANT).unwrap();
    assert!(service.tenant(TENANT).unwrap().open_dek(&record, &context).is_ok());
}

#[test]
fn master_rotation_resumes_anywhere_and_ends_in_a_scan_of_zero() {
    let world = World::new();
    let service = world.open().unwrap();
    let tenants: Vec<_> = (1..=5).map(|n| fill(n * 16)).collect();
    let mut records = Vec::new();
    for tenant in &tenants {
        service.create_tenant(*tenant).unwrap();
        records.push(service.tenant(*tenant).unwrap().new_dek(&object(*tenant, 1)).unwrap().1);
    }
    let job = service.rotate_master().unwrap();
    assert_eq!((job.from, job.to, job.total), (1, 2, 17), "15 tenant roots, the directory key, the file key");
    let mut service = service;
    let evidence = loop {
        // Every step in a new process.
        drop(service);
        service = world.open().unwrap();
        assert_eq!(service.rotation().unwrap().map(|job| job.to), Some(2));
        let again = service.rotate_master().unwrap();
        assert_eq!(again.to, 2, "starting again is the same job");
        assert_eq!(service.rotate_master_step(again.token - 1, 4).unwrap_err(), Refusal::Superseded.into(), "K-10");
        for (tenant, record) in tenants.iter().zip(&records) {
            assert!(service.tenant(*tenant).unwrap().open_dek(record, &object(*tenant, 1)).is_ok());
        }
        let refused = service.schedule_end(master(1), 0, 0).unwrap_err();
        assert!(matches!(refused, KeyError::Refused(Refusal::Active | Refusal::InUse)), "{refused:?}");
        if let Some(evidence) = service.rotate_master_step(again.token, 4).unwrap().finished {
            break evidence;
        }
    };
    assert_eq!((evidence.records, &evidence.per_version), (17, &BTreeMap::from([(2, 17)])));
    assert_eq!(service.rotation().unwrap(), None);
    assert_eq!(service.schedule_end(master(2), 0, 0).unwrap_err(), Refusal::Active.into());
    assert_eq!(service.destroy_master_version(1).unwrap_err(), Refusal::NoDue.into(), "its day was not set");
    await_end(&world.clock, &service, master(1));
    service.destroy_master_version(1).unwrap();
    drop(service);
    let service = world.open().unwrap();
    let status = service.status().unwrap();
    assert_eq!(
        status.masters.iter().map(|(m, n)| (m.state, *n)).collect::<Vec<_>>(),
        [(MasterState::Destroyed, 0), (MasterState::Active, 17)]
    );
    for (tenant, record) in tenants.iter().zip(&records) {
        assert!(service.tenant(*tenant).unwrap().open_dek(record, &object(*tenant, 1)).is_ok());
    }
}

#[test]
fn tenant_rotation_keeps_the_old_version_for_reading_until_it_is_retired() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let context = object(TENANT, 1);
    let old_keys = service.tenant(TENANT).unwrap();
    let (dek, old) = old_keys.new_dek(&context).unwrap();
    assert_eq!(service.rotate_tenant(TENANT).unwrap().version, 2);
    let keys = service.tenant(TENANT).unwrap();
    assert_eq!(keys.active_trk().version, 2);
    let new = keys.rewrap_dek(&old, &context).unwrap().expect("it was under version 1");
    assert_eq!(keys.rewrap_dek(&new, &context).unwrap(), None);
    assert_eq!(keys.open_dek(&new, &context).unwrap().id(), dek.id());
    assert_eq!(service.schedule_end(trk(TENANT, 2), 0, 0).unwrap_err(), Refusal::Active.into());
    assert_eq!(service.schedule_end(trk(TENANT, 1), 0, 3).unwrap_err(), Refusal::InUse.into(), "records left");
    assert_eq!(service.schedule_end(trk(TENANT, 1), 0, 0).unwrap_err(), Refusal::InUse.into(), "a request holds it");
    drop(old_keys);
    assert_eq!(service.retire_tenant_version(TENANT, 1, 0).unwrap_err(), Refusal::NoDue.into(), "its day was not set");
    await_end(&world.clock, &service, trk(TENANT, 1));
    assert_eq!(service.retire_tenant_version(TENANT, 1, 3).unwrap_err(), Refusal::InUse.into(), "records by now");
    drop(keys);
    let evidence = service.retire_tenant_version(TENANT, 1, 0).unwrap();
    assert_eq!((evidence.destroyed[0].0, evidence.destroyed[0].1.version, evidence.salts_found), (KeyKind::Trk, 1, 0));
    let keys = service.tenant(TENANT).unwrap();
    assert!(keys.open_dek(&new, &context).is_ok());
    let error = keys.open_dek(&old, &context).err().unwrap();
    assert!(matches!(error, KeyError::Open(e) if e.class() == OpenClass::Parent));
}

/// P1: without an instruction, and 72 hours by this service's own clock, no due time is shorter than 90 days.
#[test]
fn p1_an_early_destruction_needs_the_settings_an_instruction_and_72_hours() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let now = 1_800_000_000;
    service.set_due(TENANT, 0).unwrap();
    assert_eq!(service.instruct_early(TENANT, [1; 32]).unwrap_err(), Refusal::EarlyNotAllowed.into());
    service.allow_early(true);
    service.clear_due(TENANT).unwrap();
    assert_eq!(service.instruct_early(TENANT, [1; 32]).unwrap_err(), Refusal::NoDue.into(), "not terminated");
    service.set_due(TENANT, 0).unwrap();
    assert_eq!(service.instruct_early(TENANT, [1; 32]).unwrap(), now + EARLY_SECONDS);
    world.advance(EARLY_SECONDS - 1);
    assert_eq!(service.instruct_early(TENANT, [1; 32]).unwrap(), now + EARLY_SECONDS, "asked again");
    assert_eq!(service.destroy_tenant(TENANT).unwrap_err(), Refusal::NotDue.into());
    service.cancel_early(TENANT).unwrap();
    world.advance(1);
    assert!(!service.is_due(TENANT).unwrap(), "taken back");
    assert_eq!(service.instruct_early(TENANT, [2; 32]).unwrap(), now + 2 * EARLY_SECONDS, "72 hours anew");
    world.advance(EARLY_SECONDS - 1);
    assert_eq!(
        service.instruct_early(TENANT, [3; 32]).unwrap(),
        now + 3 * EARLY_SECONDS - 1,
        "another one begins anew"
    );
    drop(service);
    let service = world.open().unwrap();
    let early = service.tenant_status(TENANT).unwrap().unwrap().early.unwrap();
    assert_eq!((early.instruction, early.due - early.at), ([3; 32], EARLY_SECONDS));
    service.clear_due(TENANT).unwrap();
    assert_eq!(service.tenant_status(TENANT).unwrap().unwrap().early, None, "reinstated");
    service.set_due(TENANT, 0).unwrap();
    world.advance(EARLY_SECONDS);
    assert_eq!(service.destroy_tenant(TENANT).unwrap_err(), Refusal::NotDue.into());
    service.allow_early(true);
    service.instruct_early(TENANT, [4; 32]).unwrap();
    world.advance(EARLY_SECONDS);
    assert!(service.is_due(TENANT).unwrap());
    assert_eq!(service.destroy_tenant(TENANT).unwrap().destroyed.len(), 3);
    assert_eq!(service.instruct_early(TENANT, [5; 32]).unwrap_err(), KeyError::Destroyed);
}

#[test]
fn destruction_waits_for_the_due_time_by_its_own_clock() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    service.create_subject(TENANT, fill(5)).unwrap();
    let keys = service.tenant(TENANT).unwrap();
    assert_eq!(service.destroy_tenant(TENANT).unwrap_err(), Refusal::NoDue.into());
    let now = 1_800_000_000;
    assert_eq!(service.set_due(TENANT, 5).unwrap(), now + RETENTION_SECONDS, "a lying caller does not shorten it");
    world.advance(RETENTION_SECONDS - 1);
    assert_eq!(service.set_due(TENANT, 0).unwrap(), now + RETENTION_SECONDS, "asking again changes nothing");
    assert_eq!(service.destroy_tenant(TENANT).unwrap_err(), Refusal::NotDue.into());
    service.clear_due(TENANT).unwrap();
    world.advance(1);
    assert_eq!(service.destroy_tenant(TENANT).unwrap_err(), Refusal::NoDue.into(), "reinstated");
    let due = service.set_due(TENANT, 0).unwrap();
    assert_eq!(due, now + 2 * RETENTION_SECONDS, "a full 90 days anew");
    world.advance(RETENTION_SECONDS);
    assert_eq!(service.key_probe(TENANT).unwrap(), KeyProbe::Unwraps);
    let evidence = service.destroy_tenant(TENANT).unwrap();
    assert_eq!((evidence.destroyed.len(), evidence.salts_found), (3, 0));
    assert!(evidence.files_scanned >= 2);
    assert_eq!(service.key_probe(TENANT).unwrap(), KeyProbe::Gone);
    assert_eq!(service.tenant(TENANT).err(), Some(KeyError::Destroyed));
    assert!(keys.new_dek(&object(TENANT, 1)).is_err());
    assert_eq!(service.create_tenant(TENANT).unwrap_err(), KeyError::Destroyed, "an id is never used again");
    assert_eq!(service.destroy_tenant(TENANT).unwrap().salts_found, 0, "repeatable");
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.tenant_status(TENANT).unwrap().unwrap().state, TenantState::Destroyed);
    assert!(
        service
            .tenant_status(TENANT)
            .unwrap()
            .unwrap()
            .roots
            .iter()
            .all(|root| { root.state == KeyState::Destroyed && root.master.is_none() })
    );
}

#[test]
fn a_new_tenant_can_be_taken_back_until_a_sweep_has_had_its_chance() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    service.discard_tenant(TENANT).unwrap();
    assert!(service.tenant_status(TENANT).unwrap().is_none());
    service.create_tenant(TENANT).unwrap();
    // A quarter of an hour to make it, and a day between two sweeps.
    world.advance(900 + 86_400);
    service.discard_tenant(TENANT).unwrap();
    service.create_tenant(TENANT).unwrap();
    world.advance(900 + 86_401);
    assert_eq!(service.discard_tenant(TENANT).unwrap_err(), Refusal::State.into());
}

#[test]
fn a_destroyed_subject_stays_destroyed_and_others_are_untouched() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let context = object(TENANT, 1);
    let (_, record) = service.create_subject(TENANT, fill(5)).unwrap().new_dek(&context).unwrap();
    let (_, other) = service.create_subject(TENANT, fill(6)).unwrap().new_dek(&context).unwrap();
    assert!(service.subject(TENANT, fill(5)).unwrap().open_dek(&record, &context).is_ok());
    let evidence = service.destroy_subject(TENANT, fill(5)).unwrap();
    assert_eq!((evidence.destroyed.len(), evidence.salts_found), (1, 0));
    assert_eq!(service.subject(TENANT, fill(5)).err(), Some(KeyError::Destroyed));
    assert_eq!(service.create_subject(TENANT, fill(5)).err(), Some(KeyError::Destroyed));
    assert!(service.subject(TENANT, fill(6)).unwrap().open_dek(&other, &context).is_ok());
    assert!(service.subject(TENANT, fill(6)).unwrap().open_dek(&record, &context).is_err());
}

#[test]
fn heads_are_kept_never_go_back_and_are_missed_when_gone() {
    let world = World::new();
    let service = world.open().unwrap();
    assert_eq!(service.anchor("westeurope").unwrap(), None);
    for counter in 1..=9 {
        service.save_anchor("westeurope", counter, [counter as u8; 32]).unwrap();
    }
    service.save_audit_head(3, [3; 32]).unwrap();
    assert_eq!(service.save_anchor("westeurope", 8, [0; 32]).unwrap_err(), Refusal::Backwards.into());
    assert!(service.save_anchor("../keyring", 8, [0; 32]).is_err());
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.anchor("westeurope").unwrap(), Some(Head { counter: 9, digest: [9; 32] }));
    assert_eq!(service.audit_head().unwrap(), Some(Head { counter: 3, digest: [3; 32] }));
    service.danger_reset_anchor("westeurope", 2, [2; 32]).unwrap();
    assert_eq!(service.anchor("westeurope").unwrap().unwrap().counter, 2);
    drop(service);
    std::fs::remove_file(world.keystore().join("heads/anchor-westeurope")).unwrap();
    assert_eq!(world.open().unwrap().anchor("westeurope").unwrap_err(), KeystoreError::RolledBack.into());
}

#[test]
fn two_processes_never_share_a_key_store() {
    let world = World::new();
    let _service = world.open().unwrap();
    let second = world.open_with(Box::new(world.keyring().unwrap()));
    assert_eq!(second.err(), Some(KeystoreError::Locked.into()));
}

/// A provider that can be told to lie (K-07) or to be gone (K-04).
struct Faulty {
    inner: LocalKeyring,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    wrong_key: AtomicBool,
    loses_key: AtomicBool,
    unreachable: AtomicBool,
    disabled: AtomicBool,
}

impl MasterKeys for Faulty {
    fn kind(&self) -> ProviderKind {
        self.inner.kind()
    }
    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        self.inner.versions()
    }
    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        if self.faults.loses_key.load(Ordering::SeqCst) && fields.kind != KeyKind::File {
            return Ok(vec![0; 152]);
        }
        self.inner.wrap(fields, root, context)
    }
    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        if self.faults.unreachable.load(Ordering::SeqCst) {
            return Err(ProviderError::Unreachable);
        }
        if self.faults.disabled.load(Ordering::SeqCst) {
            return Err(ProviderError::Refused);
        }
        if self.faults.wrong_key.load(Ordering::SeqCst) && fields.kind == KeyKind::Srk {
            return Ok(RootSecret(super::secret(0x77)));
        }
        self.inner.unwrap(fields, blob, context)
    }
    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        self.inner.rotate_to(version)
    }
    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        self.inner.set_enabled(version, enabled)
    }
    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        self.inner.destroy(version)
    }
    fn state_mac(&self) -> crate::StateMac {
        self.inner.state_mac()
    }
    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        self.inner.witness()
    }
    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        self.inner.advance(witness)
    }
}

#[test]
fn k07_a_provider_that_lies_or_loses_a_key_is_caught_before_anything_depends_on_it() {
    let world = World::new();
    let faults = Arc::new(Faults::default());
    let provider = Faulty { inner: world.keyring().unwrap(), faults: Arc::clone(&faults) };
    let service = world.open_with(Box::new(provider)).unwrap();
    for fault in [&faults.wrong_key, &faults.loses_key] {
        fault.store(true, Ordering::SeqCst);
        assert_eq!(service.create_tenant(TENANT).unwrap_err(), ProviderError::Wrong.into());
        assert!(service.tenant_status(TENANT).unwrap().is_none(), "nothing left behind");
        fault.store(false, Ordering::SeqCst);
    }
    service.create_tenant(TENANT).unwrap();
    assert!(service.tenant(TENANT).is_ok());
}

#[test]
fn k04_k05_an_outage_is_ridden_out_and_a_refusal_ends_leases_at_once() {
    let world = World::new();
    let faults = Arc::new(Faults::default());
    let provider = Faulty { inner: world.keyring().unwrap(), faults: Arc::clone(&faults) };
    let service = world.open_with(Box::new(provider)).unwrap();
    service.create_tenant(TENANT).unwrap();
    let keys = service.tenant(TENANT).unwrap();
    faults.unreachable.store(true, Ordering::SeqCst);
    world.advance(crate::LEASE_SECONDS - 1);
    assert!(service.tenant(TENANT).is_ok(), "the lease runs on");
    world.advance(1);
    assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Unreachable.into()));
    assert!(keys.check().is_ok(), "a request under way may finish");
    faults.unreachable.store(false, Ordering::SeqCst);
    assert!(service.tenant(TENANT).is_ok(), "recovers alone");
    faults.disabled.store(true, Ordering::SeqCst);
    world.advance(crate::LEASE_SECONDS);
    assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Refused.into()));
    assert!(keys.check().is_err(), "purged at once");
}

#[test]
fn a_record_of_one_tenant_is_not_accepted_for_another() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    service.create_tenant(fill(2)).unwrap();
    let (_, record) = service.tenant(TENANT).unwrap().new_dek(&object(TENANT, 1)).unwrap();
    let other = service.tenant(fill(2)).unwrap();
    for context in [object(TENANT, 1), object(fill(2), 1), ObjectContext { geo: fill(1), ..object(fill(2), 1) }] {
        assert!(other.open_dek(&record, &context).is_err());
    }
    assert_ne!(geo(), fill(1));
}
