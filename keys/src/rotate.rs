//! Rotation: of the geo's master key over all its roots, and of one tenant's root.
//!
//! A master rotation is a job that stands in the key store: start it, then step it until it is finished, in any process
//! and after any crash. Every step is durable and may be repeated. It ends in a scan of the disk, not in a counter:
//! every root record is read back and unwrapped, and none may name an older master key.

use crate::context::{Id, NO_ID, ObjectContext};
use crate::entries::{RootEntry, RotationJob, place};
use crate::error::{KeyError, KeystoreError, Refusal};
use crate::keystore::{Change, Keystore, unwrap_root, wrap_root};
use crate::record::{KeyKind, KeyName};
use crate::service::GeoKeyService;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// What a scan of the key store's files found.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ScanEvidence {
    /// Wrapped roots read back from disk, the key store's own file key among them; each was unwrapped and was the right
    /// key.
    #[n(0)]
    pub records: u64,
    /// How many of them name which version of the master key.
    #[n(1)]
    pub per_version: BTreeMap<u32, u64>,
}

/// How far a master rotation is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RotationProgress {
    /// The job.
    #[n(0)]
    pub job: RotationJob,
    /// The scan that ended it; `None` while it runs.
    #[n(1)]
    pub finished: Option<ScanEvidence>,
}

/// What a master rotation would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RotationPlan {
    /// The version it leaves.
    #[n(0)]
    pub from: u32,
    /// The version it goes to.
    #[n(1)]
    pub to: u32,
    /// Keys that are wrapped again in all: what [`RotationJob::done`] says at its end.
    #[n(2)]
    pub total: u64,
    /// How many of them are tenants'.
    #[n(3)]
    pub of_tenants: u64,
    /// How many are wrapped again already, by a rotation that was cut off.
    #[n(4)]
    pub done: u64,
    /// How many were unwrapped, wrapped and unwrapped again for this answer, and not stored: what one takes can be timed.
    #[n(5)]
    pub tried: u64,
}

impl GeoKeyService {
    /// What [`GeoKeyService::rotate_master`] and its steps would do now. Changes nothing: `tries_max` roots are wrapped again
    /// under the version they are under, and forgotten.
    pub fn plan_rotation(&self, tries_max: usize) -> Result<RotationPlan, KeyError> {
        let store = self.store.lock();
        let roots = all_roots(&store)?;
        let living: Vec<_> = roots.iter().filter(|root| root.record.is_some()).collect();
        let (from, to, total, done) = match rotation(&store)? {
            Some(job) => (job.from, job.to, job.total, job.done),
            None => {
                let from = self.provider.active()?.version;
                let to = from.checked_add(1).ok_or(KeyError::Exhausted)?;
                (from, to, (living.len() + store.masters().count()) as u64, 0)
            }
        };
        let of_tenants = living.iter().filter(|root| root.tenant != NO_ID).count() as u64;
        let mut tried = 0;
        let active = self.provider.active()?;
        for root in living.into_iter().take(tries_max) {
            self.rewrapped(root, active)?;
            tried += 1;
        }
        Ok(RotationPlan { from, to, total, of_tenants, done, tried })
    }

    /// The master rotation under way, if any. One that a crash interrupted is here too: step it on.
    pub fn rotation(&self) -> Result<Option<RotationJob>, KeyError> {
        rotation(&self.store.lock())
    }

    /// Starts a master rotation to the next version, or takes up the one under way: the answer's token voids those that
    /// were given out before. The new version becomes active with the first step.
    pub fn rotate_master(&self) -> Result<RotationJob, KeyError> {
        let mut store = self.store.lock();
        if let Some(mut job) = rotation(&store)? {
            job.token += 1;
            store.commit(vec![job.put()], &*self.provider)?;
            return Ok(job);
        }
        let from = self.provider.active()?.version;
        let to = from.checked_add(1).ok_or(KeyError::Exhausted)?;
        let total = all_roots(&store)?.iter().filter(|root| root.record.is_some()).count() + store.masters().count();
        let (total, started) = (total as u64, self.clock.cc_lo());
        let job = RotationJob { from, to, done: 0, total, started, token: 1, cursor: Vec::new() };
        store.commit(vec![job.put()], &*self.provider)?;
        Ok(job)
    }

    /// Rewraps up to `records_max` roots under the new master key, in one commit. When none is left, writes a new
    /// generation of the key store (its own file key is a root too), scans the disk, and ends the job. A token that is
    /// not the newest is refused: another runner took the job over.
    pub fn rotate_master_step(&self, token: u64, records_max: usize) -> Result<RotationProgress, KeyError> {
        let mut store = self.store.lock();
        let mut job = rotation(&store)?.ok_or(Refusal::NotRotating)?;
        if job.token != token {
            return Err(Refusal::Superseded.into());
        }
        let master = self.provider.rotate_to(job.to)?;
        let pending: Vec<RootEntry> = all_roots(&store)?
            .into_iter()
            .filter(|root| root.record.as_ref().is_some_and(|record| record.fields.master != master))
            .take(records_max.max(1))
            .collect();
        if pending.is_empty() {
            return self.finish_rotation(&mut store, job, master);
        }
        let mut changes = Vec::with_capacity(pending.len() + 1);
        for root in &pending {
            changes.push(self.rewrapped(root, master)?.put());
        }
        job.done = (job.done + pending.len() as u64).min(job.total);
        job.cursor = pending.last().map(RootEntry::place).unwrap_or_default();
        changes.push(job.put());
        store.commit(changes, &*self.provider)?;
        Ok(RotationProgress { job, finished: None })
    }

    /// The same root under another master key, unwrapped again before it may replace the old record.
    fn rewrapped(&self, root: &RootEntry, master: KeyName) -> Result<RootEntry, KeyError> {
        let context = ObjectContext::of_root(root.tenant, self.geo);
        let old = root.record.as_ref().ok_or(KeystoreError::Damaged)?;
        let secret = unwrap_root(&*self.provider, old, &context)?;
        let new = wrap_root(&*self.provider, master, root.kind, root.name, &secret, &context)?;
        if !unwrap_root(&*self.provider, &new, &context)?.0.same(&secret.0) {
            return Err(crate::error::ProviderError::Wrong.into());
        }
        Ok(RootEntry { record: Some(new), ..root.clone() })
    }

    fn finish_rotation(
        &self,
        store: &mut Keystore,
        mut job: RotationJob,
        master: KeyName,
    ) -> Result<RotationProgress, KeyError> {
        if store.masters().any(|name| name != master) {
            store.compact(&*self.provider)?;
        }
        store.rewrap_shreds(&*self.provider)?;
        let evidence = self.scan(store)?;
        if evidence.per_version.keys().any(|version| *version != job.to) {
            return Err(KeystoreError::Damaged.into());
        }
        job.done = job.total;
        store.commit(vec![Change::Remove(place::ROTATION.to_vec())], &*self.provider)?;
        Ok(RotationProgress { job, finished: Some(evidence) })
    }

    /// Reads every wrapped root back from disk, unwraps it, and counts them by version of the master key.
    pub fn scan_masters(&self) -> Result<ScanEvidence, KeyError> {
        self.scan(&self.store.lock())
    }

    pub(crate) fn scan(&self, store: &Keystore) -> Result<ScanEvidence, KeyError> {
        let back = store.read_back(place::ROOTS, &*self.provider)?;
        let mut evidence = ScanEvidence { records: 0, per_version: BTreeMap::new() };
        for master in store.masters_on_disk(&*self.provider)?.into_iter().chain(store.shreds().master()) {
            evidence.records += 1;
            *evidence.per_version.entry(master.version).or_default() += 1;
        }
        for (key, value) in &back.entries {
            let root = RootEntry::parse(key, value)?;
            let Some(record) = &root.record else { continue };
            unwrap_root(&*self.provider, record, &ObjectContext::of_root(root.tenant, self.geo))?;
            evidence.records += 1;
            *evidence.per_version.entry(record.fields.master.version).or_default() += 1;
        }
        Ok(evidence)
    }

    /// Gives the tenant a new tenant root. New data keys use it at once; older versions only unwrap, until
    /// [`GeoKeyService::retire_tenant_version`]. Calling again makes another version.
    pub fn rotate_tenant(&self, tenant: Id) -> Result<KeyName, KeyError> {
        self.rotate_root(tenant, KeyKind::Trk)
    }
}

pub(crate) fn rotation(store: &Keystore) -> Result<Option<RotationJob>, KeyError> {
    Ok(store.entry(place::ROTATION).map(RotationJob::parse).transpose()?)
}

pub(crate) fn all_roots(store: &Keystore) -> Result<Vec<RootEntry>, KeystoreError> {
    store.entries(place::ROOTS).map(|(key, value)| RootEntry::parse(key, value)).collect()
}
