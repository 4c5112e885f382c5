//! Destruction: of a tenant's keys when its time has come, of one retired version, of one data subject's key, of a
//! version of the master key. In this order, always: entry in the shred log, tombstone durable, leases void, a new generation of the key store
//! without the record, the old one overwritten, then a scan of the files for what must be gone.
//!
//! A crash anywhere leaves an act that may be called again: the tombstone decides, the rest is repeated.

use crate::context::Id;
use crate::disk;
use crate::ending::VersionOf;
use crate::entries::{Early, TenantEntry, TenantState, place};
use crate::error::{KeyError, KeystoreError, Refusal};
use crate::keystore::{Change, Keystore, salt_of};
use crate::record::{KeyKind, KeyName, Unverified};
use crate::service::{
    EARLY_SECONDS, GeoKeyService, RETENTION_SECONDS, put_revocation_seq, revocation_seq, root_entries, tenant_entry,
};
use crate::shred_log::{Shred, Shredded};
use minicbor::{Decode, Encode};
use std::collections::HashSet;
use std::fs;
use std::sync::atomic::Ordering;

/// Within this many seconds of its creation a tenant that never served may be taken back without a trace: a quarter of
/// an hour to make it, and the longest interval between two sweeps to notice that it was not made.
const DISCARD_SECONDS: i64 = 900 + 86_400;
/// Subject keys removed in one frame.
const SUBJECTS_STEP: usize = 16_384;

/// What a destruction left on this disk, as seen by reading it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ShredEvidence {
    /// The keys destroyed: kind, id and version, never a name.
    #[n(0)]
    pub destroyed: Vec<(KeyKind, KeyName)>,
    /// When, in compliance seconds.
    #[n(1)]
    pub at: i64,
    /// The generation of the key store that no longer has them.
    #[n(2)]
    pub generation: u64,
    /// Files of the key store that were read from end to end.
    #[n(3)]
    pub files_scanned: u64,
    /// Places where a salt of a destroyed record, or of the old generation's file key, still stands. Must be 0.
    #[n(4)]
    pub salts_found: u64,
    /// Whether overwriting reaches the old bytes on this file system. If not, claim no more than "inaccessible".
    #[n(5)]
    pub overwritten_in_place: bool,
    /// The file system.
    #[n(6)]
    pub file_system: String,
}

impl GeoKeyService {
    /// Sets the time before which a tenant's keys will not be destroyed, in compliance seconds, and returns the one that
    /// holds: never sooner than 90 days from now by this service's own clock, never sooner than one set before.
    pub fn set_due(&self, tenant: Id, due: i64) -> Result<i64, KeyError> {
        let mut store = self.store.lock();
        let entry = living(&store, &tenant)?;
        let floor = entry.due.unwrap_or_else(|| self.clock.cc_lo().saturating_add(RETENTION_SECONDS));
        let due = due.max(floor);
        if entry.due != Some(due) {
            store.commit(vec![TenantEntry { due: Some(due), ..entry }.put(&tenant)], &*self.provider)?;
        }
        Ok(due)
    }

    /// Takes the due time back: the tenant was reinstated. The next one is a full 90 days away again.
    pub fn clear_due(&self, tenant: Id) -> Result<(), KeyError> {
        let mut store = self.store.lock();
        let entry = living(&store, &tenant)?;
        if entry.due.is_none() && entry.early.is_none() {
            return Ok(());
        }
        store.commit(vec![TenantEntry { due: None, early: None, ..entry }.put(&tenant)], &*self.provider)
    }

    /// The tenant instructed to destroy its keys before the due time that is set. They may be destroyed 72 hours from now
    /// by this service's own clock; answers when. The same instruction again does not begin anew. Refuses unless its own
    /// settings allow it ([`GeoKeyService::allow_early`]) and a due time is set.
    pub fn instruct_early(&self, tenant: Id, instruction: [u8; 32]) -> Result<i64, KeyError> {
        if !self.early_allowed.load(Ordering::SeqCst) {
            return Err(Refusal::EarlyNotAllowed.into());
        }
        let mut store = self.store.lock();
        let entry = living(&store, &tenant)?;
        if entry.due.is_none() {
            return Err(Refusal::NoDue.into());
        }
        if let Some(early) = entry.early.filter(|early| early.instruction == instruction) {
            return Ok(early.due);
        }
        let at = self.clock.cc_lo();
        let early = Early { at, due: at.saturating_add(EARLY_SECONDS), instruction };
        store.commit(vec![TenantEntry { early: Some(early), ..entry }.put(&tenant)], &*self.provider)?;
        Ok(early.due)
    }

    /// Takes the instruction back: the due time that was set holds alone.
    pub fn cancel_early(&self, tenant: Id) -> Result<(), KeyError> {
        let mut store = self.store.lock();
        let entry = living(&store, &tenant)?;
        if entry.early.is_none() {
            return Ok(());
        }
        store.commit(vec![TenantEntry { early: None, ..entry }.put(&tenant)], &*self.provider)
    }

    /// Whether a tenant's keys may be destroyed by this service's own clock: its due time was set and has come, or
    /// an early one that it instructed; or they are destroyed already.
    pub fn is_due(&self, tenant: Id) -> Result<bool, KeyError> {
        let entry = tenant_entry(&self.store.lock(), &tenant)?.ok_or(KeyError::Unknown)?;
        Ok(entry.is_due(self.clock.cc_lo()) || entry.state == TenantState::Destroyed)
    }

    /// Destroys all keys of a tenant: its roots in every version, its subjects' keys. Refuses before the due time by
    /// this service's own clock, and without one. Calling again repeats the overwriting and the scan.
    pub fn destroy_tenant(&self, tenant: Id) -> Result<ShredEvidence, KeyError> {
        let mut store = self.store.lock();
        let entry = tenant_entry(&store, &tenant)?.ok_or(KeyError::Unknown)?;
        let now = self.clock.cc_lo();
        if entry.state != TenantState::Destroyed {
            match entry.due {
                None => return Err(Refusal::NoDue.into()),
                Some(_) if !entry.is_due(now) => return Err(Refusal::NotDue.into()),
                Some(_) => {}
            }
        }
        let roots = root_entries(&store, &tenant)?;
        let mut salts: Vec<[u8; 24]> = roots.iter().filter_map(|root| root.record.as_ref().and_then(salt_of)).collect();
        salts.extend(subject_salts(&store, &tenant));
        if entry.state != TenantState::Destroyed {
            store.log_shreds(&[Shred { at: now, what: Shredded::Tenant(tenant) }], &*self.provider)?;
            let seq = revocation_seq(&store) + 1;
            let gone = TenantEntry { state: TenantState::Destroyed, destroyed: Some(now), ..entry };
            let mut changes = vec![gone.put(&tenant), put_revocation_seq(seq)];
            changes.extend(roots.iter().map(|root| root.destroyed(now).put()));
            let days = place::endings_of(&tenant);
            changes.extend(store.entries(&days).map(|(key, _)| Change::Remove(key.to_vec())));
            store.commit(changes, &*self.provider)?;
            self.revoke(&tenant, seq);
        }
        self.remove_subjects(&mut store, &tenant)?;
        let destroyed = roots.iter().map(|root| (root.kind, root.name)).collect();
        self.shred(&mut store, destroyed, salts, entry.destroyed.unwrap_or(now))
    }

    /// Takes back a tenant whose creation did not complete elsewhere: within a day of it, and before any due time.
    /// Leaves no trace; nothing may have been sealed for it.
    pub fn discard_tenant(&self, tenant: Id) -> Result<(), KeyError> {
        let mut store = self.store.lock();
        let Some(entry) = tenant_entry(&store, &tenant)? else { return Ok(()) };
        let young = self.clock.cc_lo().saturating_sub(entry.created) <= DISCARD_SECONDS;
        if entry.state == TenantState::Destroyed || entry.due.is_some() || !young {
            return Err(Refusal::State.into());
        }
        let seq = revocation_seq(&store) + 1;
        let mut changes = vec![Change::Remove(place::tenant(&tenant)), put_revocation_seq(seq)];
        changes.extend(root_entries(&store, &tenant)?.iter().map(|root| Change::Remove(root.place())));
        self.remove_subjects(&mut store, &tenant)?;
        store.commit(changes, &*self.provider)?;
        self.revoke(&tenant, seq);
        store.compact(&*self.provider)?;
        Ok(())
    }

    /// Destroys one older version of a tenant's data key on its day; see [`GeoKeyService::end_version`].
    pub fn retire_tenant_version(
        &self,
        tenant: Id,
        version: u32,
        records_left: u64,
    ) -> Result<ShredEvidence, KeyError> {
        self.retire_root(tenant, KeyKind::Trk, version, records_left)
    }

    /// Destroys the key of one data subject: its objects can be opened no more, handles already given out refuse. A
    /// tombstone stays, so the id is never used again. Calling again repeats the overwriting and the scan.
    pub fn destroy_subject(&self, tenant: Id, subject: Id) -> Result<ShredEvidence, KeyError> {
        let mut store = self.store.lock();
        let place = place::subject(&tenant, &subject);
        let record = store.entry(&place).ok_or(KeyError::Unknown)?.to_vec();
        let now = self.clock.cc_lo();
        let mut destroyed = Vec::new();
        if !record.is_empty() {
            destroyed.push((KeyKind::Sk, Unverified::parse(&record).map_err(|_| KeystoreError::Damaged)?.key));
            store.log_shreds(&[Shred { at: now, what: Shredded::Subject { tenant, subject } }], &*self.provider)?;
            store.commit(vec![Change::Put(place, Vec::new())], &*self.provider)?;
        }
        self.subjects.erase(tenant, subject);
        self.feed.tell_erased(tenant, subject);
        self.shred(&mut store, destroyed, record_salt(&record).into_iter().collect(), now)
    }

    /// Destroys a version of the geo's master key in the provider on its day; see [`GeoKeyService::end_version`]. Returns
    /// the provider's receipt.
    pub fn destroy_master_version(&self, version: u32) -> Result<String, KeyError> {
        let ended = self.end_version(VersionOf::Master { version }, 0)?;
        Ok(ended.ending.receipt.unwrap_or_default())
    }

    /// Removes a tenant's subject keys, tombstones too, in frames of a bounded size.
    fn remove_subjects(&self, store: &mut Keystore, tenant: &Id) -> Result<(), KeyError> {
        let subjects = place::subjects_of(tenant);
        loop {
            let step = store.entries(&subjects).take(SUBJECTS_STEP);
            let changes: Vec<_> = step.map(|(key, _)| Change::Remove(key.to_vec())).collect();
            if changes.is_empty() {
                return Ok(());
            }
            store.commit(changes, &*self.provider)?;
        }
    }

    /// Writes a new generation, then reads every file of the key store for what must be gone.
    pub(crate) fn shred(
        &self,
        store: &mut Keystore,
        destroyed: Vec<(KeyKind, KeyName)>,
        mut salts: Vec<[u8; 24]>,
        at: i64,
    ) -> Result<ShredEvidence, KeyError> {
        let compaction = store.compact(&*self.provider)?;
        salts.extend(compaction.shredded_salts);
        let (files_scanned, salts_found) = scan_files(store, &salts)?;
        let (overwritten_in_place, file_system) = disk::overwrites_in_place(store.dir());
        let file_system = file_system.to_owned();
        let generation = compaction.generation;
        Ok(ShredEvidence { destroyed, at, generation, files_scanned, salts_found, overwritten_in_place, file_system })
    }
}

impl TenantEntry {
    /// Whether its keys may be destroyed: the due time that is set has come, or the early one that it instructed.
    fn is_due(&self, now: i64) -> bool {
        self.due.is_some_and(|due| now >= due || self.early.is_some_and(|early| now >= early.due))
    }
}

fn living(store: &Keystore, tenant: &Id) -> Result<TenantEntry, KeyError> {
    let entry = tenant_entry(store, tenant)?.ok_or(KeyError::Unknown)?;
    if entry.state == TenantState::Destroyed { Err(KeyError::Destroyed) } else { Ok(entry) }
}

fn subject_salts(store: &Keystore, tenant: &Id) -> Vec<[u8; 24]> {
    store.entries(&place::subjects_of(tenant)).filter_map(|(_, record)| record_salt(record)).collect()
}

fn record_salt(record: &[u8]) -> Option<[u8; 24]> {
    record.get(48..72).and_then(|salt| salt.try_into().ok())
}

/// Reads every file of the key store; counts files, and places where one of `salts` stands.
fn scan_files(store: &Keystore, salts: &[[u8; 24]]) -> Result<(u64, u64), KeystoreError> {
    let (mut files, mut found) = (0, 0);
    let salts: HashSet<&[u8]> = salts.iter().map(<[u8; 24]>::as_slice).collect();
    // Most places are ruled out by their first two bytes.
    let mut begins = vec![false; 1 << 16];
    salts.iter().for_each(|salt| begins[usize::from(u16::from_be_bytes([salt[0], salt[1]]))] = true);
    for file in fs::read_dir(store.dir())? {
        let file = file?;
        if !file.file_type()?.is_file() {
            continue;
        }
        let bytes = fs::read(file.path())?;
        files += 1;
        let begins = |window: &&[u8]| begins[usize::from(u16::from_be_bytes([window[0], window[1]]))];
        found += bytes.windows(24).filter(begins).filter(|window| salts.contains(window)).count() as u64;
    }
    Ok((files, found))
}
