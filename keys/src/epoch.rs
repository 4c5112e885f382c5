//! Epoch close: the act that makes what was destroyed irrecoverable (level S3). All that still lives is wrapped under a
//! new version of the master key; every older version is disabled for a soak, then destroyed in the provider. After that
//! an older copy of the key store, wherever it lies, is noise.
//!
//! A job that stands in the key store: begin it, step it until it soaks, finish it when the soak is over; in any
//! process and after any crash. Every step may be repeated.
//!
//! 1. begin: the shred log's head is frozen; what comes later belongs to the next epoch
//! 2. step: a master rotation; a new generation of the key store; a scan that finds nothing under an older version;
//!    then the older versions are disabled, and the soak begins
//! 3. finish: the soak is over by this service's own clock, and nobody used a disabled version: scan again, enter the
//!    versions into the shred log, destroy them, keep the receipts
//!
//! Until step 3 [`GeoKeyService::epoch_abort`] takes everything back but the rotation.

use crate::context::ObjectContext;
use crate::disk;
use crate::ending::{VersionOf, endings};
use crate::entries::{decode, encode, place};
use crate::error::{KeyError, KeystoreError, ProviderError, Refusal};
use crate::keystore::{Change, Keystore};
use crate::provider::{MasterKeys, MasterState, MasterVersion, RootSecret, StateMac, Witness, Wrapped};
use crate::record::{KeyName, ProviderKind, RootFields};
use crate::rotate::rotation;
use crate::service::GeoKeyService;
use crate::shred_log::{Shred, Shredded};
use minicbor::{Decode, Encode};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest soak, in seconds: with the epoch itself and a provider's delay it has to stay within 28 days.
pub const SOAK_SECONDS_MAX: i64 = 14 * 86_400;

/// Where an epoch close is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum EpochPhase {
    /// What lives is being wrapped under the new version.
    #[n(0)]
    Wrapping,
    /// Older versions are disabled; nobody should miss them.
    #[n(1)]
    Soaking,
    /// They are being destroyed: from here on there is no way back.
    #[n(2)]
    Destroying,
}

/// An epoch close under way.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct EpochJob {
    /// Counts the geo's epochs, from 1.
    #[n(0)]
    pub number: u64,
    /// Every version of the master key below this one is to be destroyed.
    #[n(1)]
    pub to: u32,
    /// Where it is.
    #[n(2)]
    pub phase: EpochPhase,
    /// When it began, in compliance seconds.
    #[n(3)]
    pub opened: i64,
    /// How long older versions stay disabled before they are destroyed, in seconds.
    #[n(4)]
    pub soak_s: i64,
    /// When they were disabled.
    #[n(5)]
    pub disabled: Option<i64>,
    /// Entries of the shred log before the first one of this epoch.
    #[n(6)]
    pub shreds_from: u64,
    /// Entries of the shred log up to the last one of this epoch: the freeze list's end.
    #[n(7)]
    pub shreds_to: u64,
    /// Wrapped keys that the closing scan read back and opened.
    #[n(8)]
    pub records: u64,
    /// How often a disabled version was asked for during the soak. Above zero it does not finish.
    #[n(9)]
    pub alarms: u64,
}

impl EpochJob {
    /// When the older versions may be destroyed, in compliance seconds; `None` before the soak.
    pub fn soaked_at(&self) -> Option<i64> {
        self.disabled.map(|at| at.saturating_add(self.soak_s))
    }

    fn put(&self) -> Change {
        Change::Put(place::EPOCH.to_vec(), encode(self))
    }
}

/// A version of the master key that is gone.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct DestroyedMaster {
    /// Which.
    #[n(0)]
    pub version: u32,
    /// What the provider said of it.
    #[n(1)]
    pub receipt: String,
}

/// An epoch that is closed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct EpochClosed {
    /// Counts the geo's epochs, from 1.
    #[n(0)]
    pub number: u64,
    /// When the close began, in compliance seconds.
    #[n(1)]
    pub opened: i64,
    /// When older versions were disabled.
    #[n(2)]
    pub disabled: i64,
    /// When they were destroyed.
    #[n(3)]
    pub closed: i64,
    /// Entries of the shred log before its first one.
    #[n(4)]
    pub shreds_from: u64,
    /// Entries of the shred log up to its last one: what is irrecoverable since.
    #[n(5)]
    pub shreds_to: u64,
    /// Wrapped keys that the closing scan read back and opened, all under newer versions.
    #[n(6)]
    pub records: u64,
    /// The versions destroyed.
    #[n(7)]
    pub masters: Vec<DestroyedMaster>,
    /// Backups whose key store is noise since, by id.
    #[n(8)]
    pub backups: Vec<String>,
    /// Whether overwriting means anything on the key store's file system; unknown of epochs closed by earlier releases.
    #[n(9)]
    pub overwritten_in_place: Option<bool>,
    /// What file system that is.
    #[n(10)]
    pub file_system: Option<String>,
}

/// A backup that was made, as the key service remembers it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BackupNote {
    /// Its id, 32 hexadecimal digits.
    #[n(0)]
    pub id: String,
    /// When, in compliance seconds.
    #[n(1)]
    pub at: i64,
    /// The version of the master key that its key store needs at most.
    #[n(2)]
    pub master: u32,
    /// All that it needs; unknown of backups made by earlier releases.
    #[n(3)]
    pub masters: Option<Vec<u32>>,
}

impl GeoKeyService {
    /// Begins an epoch close, or returns the one under way. Refuses while a master rotation runs.
    pub fn epoch_begin(&self, soak_s: i64) -> Result<EpochJob, KeyError> {
        let mut store = self.store.lock();
        if let Some(job) = job(&store)? {
            return Ok(job);
        }
        if rotation(&store)?.is_some() {
            return Err(Refusal::Rotating.into());
        }
        let active = self.provider.active()?.version;
        let last = closed(&store)?.into_iter().last();
        let job = EpochJob {
            number: last.as_ref().map_or(0, |last| last.number) + 1,
            to: active.checked_add(1).ok_or(KeyError::Exhausted)?,
            phase: EpochPhase::Wrapping,
            opened: self.clock.cc_lo(),
            soak_s: soak_s.clamp(0, SOAK_SECONDS_MAX),
            disabled: None,
            shreds_from: last.map_or(0, |last| last.shreds_to),
            shreds_to: store.shreds().head().counter,
            records: 0,
            alarms: 0,
        };
        store.commit(vec![job.put()], &*self.provider)?;
        Ok(job)
    }

    /// Goes on wrapping, `records_max` roots at most; with the last of them disables the older versions and begins the
    /// soak. On a job that soaks or is further, changes nothing. Returns the job, and how many roots are wrapped of how
    /// many.
    pub fn epoch_step(&self, records_max: usize) -> Result<(EpochJob, u64, u64), KeyError> {
        let job = self.epoch_job()?.ok_or(Refusal::State)?;
        if job.phase != EpochPhase::Wrapping {
            return Ok((job, 0, 0));
        }
        if self.provider.active()?.version < job.to || self.rotation()?.is_some() {
            let token = self.rotate_master()?.token;
            let progress = self.rotate_master_step(token, records_max)?;
            if progress.finished.is_none() {
                return Ok((job, progress.job.done, progress.job.total));
            }
        }
        self.disable_older(job)
    }

    fn disable_older(&self, mut job: EpochJob) -> Result<(EpochJob, u64, u64), KeyError> {
        let mut store = self.store.lock();
        // No journal of an older version's time stays beside the new generation.
        store.compact(&*self.provider)?;
        job.records = self.scan_is_clear(&store, job.to)?;
        for version in self.older(job.to)? {
            if version.state != MasterState::Disabled {
                self.provider.set_enabled(version.name.version, false)?;
            }
            self.watch.quarantine(version.name.version);
        }
        (job.phase, job.disabled) = (EpochPhase::Soaking, Some(self.clock.cc_lo()));
        store.commit(vec![job.put()], &*self.provider)?;
        let records = job.records;
        Ok((job, records, records))
    }

    /// Destroys the older versions, when the soak is over by this service's own clock; `None` while there is no job, or
    /// it is not that far. Refuses when a disabled version was asked for meanwhile: see [`GeoKeyService::epoch_abort`].
    pub fn epoch_finish(&self) -> Result<Option<EpochClosed>, KeyError> {
        let mut store = self.store.lock();
        let Some(mut job) = job(&store)? else { return Ok(None) };
        let now = self.clock.cc_lo();
        let (Some(disabled), Some(soaked)) = (job.disabled, job.soaked_at()) else { return Ok(None) };
        if now < soaked {
            return Ok(None);
        }
        let alarms = self.watch.alarms();
        if job.phase == EpochPhase::Soaking && (alarms > 0 || job.alarms > 0) {
            if alarms > job.alarms {
                job.alarms = alarms;
                store.commit(vec![job.put()], &*self.provider)?;
            }
            return Err(Refusal::InUse.into());
        }
        if job.phase == EpochPhase::Soaking {
            job.phase = EpochPhase::Destroying;
            store.commit(vec![job.put()], &*self.provider)?;
        }
        job.records = self.scan_is_clear(&store, job.to)?;
        let masters = self.destroy_older(&mut store, job.to, now)?;
        let backups: Vec<_> = known_backups(&store)?.into_iter().filter(|backup| backup.master < job.to).collect();
        let (overwritten_in_place, file_system) = disk::overwrites_in_place(store.dir());
        let closed = EpochClosed {
            number: job.number,
            opened: job.opened,
            disabled,
            closed: now,
            shreds_from: job.shreds_from,
            shreds_to: job.shreds_to,
            records: job.records,
            masters,
            backups: backups.iter().map(|backup| backup.id.clone()).collect(),
            overwritten_in_place: Some(overwritten_in_place),
            file_system: Some(file_system.to_owned()),
        };
        let mut changes = vec![Change::Remove(place::EPOCH.to_vec())];
        changes.push(Change::Put(place::epoch_closed(closed.number), encode(&closed)));
        changes.extend(backups.iter().map(|backup| Change::Remove(place::backup(&backup.id))));
        let gone = |of: &VersionOf| matches!(of, VersionOf::Master { version } if *version < job.to);
        let days = endings(&store)?.into_iter().filter(|ending| gone(&ending.of));
        changes.extend(days.map(|ending| Change::Remove(place::ending(&ending.of))));
        store.commit(changes, &*self.provider)?;
        Ok(Some(closed))
    }

    fn destroy_older(&self, store: &mut Keystore, to: u32, now: i64) -> Result<Vec<DestroyedMaster>, KeyError> {
        let versions: Vec<u32> = self.older(to)?.iter().map(|version| version.name.version).collect();
        let shreds: Vec<_> =
            versions.iter().map(|version| Shred { at: now, what: Shredded::Master { version: *version } }).collect();
        if !shreds.is_empty() {
            store.log_shreds(&shreds, &*self.provider)?;
        }
        // Those that a run before a crash destroyed tell their receipt again; those of earlier epochs have one.
        let before: BTreeSet<u32> =
            closed(store)?.iter().flat_map(|epoch| epoch.masters.iter().map(|master| master.version)).collect();
        let mut masters = Vec::new();
        for version in self.provider.versions()?.iter().map(|version| version.name.version) {
            if version < to && !before.contains(&version) {
                masters.push(DestroyedMaster { version, receipt: self.provider.destroy(version)? });
            }
        }
        Ok(masters)
    }

    /// Takes an epoch close back that has destroyed nothing yet: older versions unwrap again. What was wrapped anew
    /// stays so.
    pub fn epoch_abort(&self) -> Result<EpochJob, KeyError> {
        let mut store = self.store.lock();
        let job = job(&store)?.ok_or(Refusal::State)?;
        if job.phase == EpochPhase::Destroying {
            return Err(Refusal::State.into());
        }
        for version in self.older(job.to)?.iter().filter(|version| version.state == MasterState::Disabled) {
            self.provider.set_enabled(version.name.version, true)?;
        }
        self.watch.release();
        store.commit(vec![Change::Remove(place::EPOCH.to_vec())], &*self.provider)?;
        Ok(job)
    }

    /// The epoch close under way, if any, with the alarms so far.
    pub fn epoch_job(&self) -> Result<Option<EpochJob>, KeyError> {
        let mut found = job(&self.store.lock())?;
        if let Some(job) = &mut found {
            job.alarms = job.alarms.max(self.watch.alarms());
        }
        Ok(found)
    }

    /// The epochs that were closed, oldest first.
    pub fn epochs(&self) -> Result<Vec<EpochClosed>, KeyError> {
        Ok(closed(&self.store.lock())?)
    }

    /// Entries of the shred log behind `from` up to `to`, read back from disk.
    pub fn shreds(&self, from: u64, to: u64) -> Result<Vec<Shred>, KeyError> {
        self.store.lock().shreds().read(from, to)
    }

    /// Backups whose key store a living version of the master key opens, oldest first.
    pub fn backups(&self) -> Result<Vec<BackupNote>, KeyError> {
        Ok(known_backups(&self.store.lock())?)
    }

    /// Versions below `to` that are not destroyed.
    fn older(&self, to: u32) -> Result<Vec<MasterVersion>, KeyError> {
        let mut versions = self.provider.versions()?;
        versions.retain(|version| version.name.version < to && version.state != MasterState::Destroyed);
        Ok(versions)
    }

    /// Reads every wrapped key back and opens it; none may need a version below `to`. Returns how many there are.
    fn scan_is_clear(&self, store: &Keystore, to: u32) -> Result<u64, KeyError> {
        let scan = self.scan(store)?;
        if scan.per_version.range(..to).next().is_some() { Err(Refusal::InUse.into()) } else { Ok(scan.records) }
    }
}

pub(crate) fn job(store: &Keystore) -> Result<Option<EpochJob>, KeystoreError> {
    store.entry(place::EPOCH).map(decode).transpose()
}

fn closed(store: &Keystore) -> Result<Vec<EpochClosed>, KeystoreError> {
    store.entries(place::EPOCHS_CLOSED).map(|(_, value)| decode(value)).collect()
}

pub(crate) fn known_backups(store: &Keystore) -> Result<Vec<BackupNote>, KeystoreError> {
    let mut all: Vec<BackupNote> =
        store.entries(place::BACKUPS).map(|(_, value)| decode(value)).collect::<Result<_, _>>()?;
    all.sort_by_key(|backup| backup.at);
    Ok(all)
}

/// Stands before the provider and notices who asks for a version in its soak.
pub(crate) struct Watched {
    inner: Box<dyn MasterKeys>,
    watch: Arc<Watch>,
}

/// The versions in their soak, and how often one was asked for.
#[derive(Default)]
pub(crate) struct Watch(Mutex<(BTreeSet<u32>, u64)>);

impl Watch {
    pub(crate) fn over(self: &Arc<Self>, inner: Box<dyn MasterKeys>) -> Box<dyn MasterKeys> {
        Box::new(Watched { inner, watch: Arc::clone(self) })
    }

    pub(crate) fn quarantine(&self, version: u32) {
        self.0.lock().0.insert(version);
    }

    fn release(&self) {
        *self.0.lock() = (BTreeSet::new(), 0);
    }

    fn alarms(&self) -> u64 {
        self.0.lock().1
    }

    fn note(&self, version: u32) {
        let mut watch = self.0.lock();
        watch.1 += u64::from(watch.0.contains(&version));
    }
}

impl MasterKeys for Watched {
    fn kind(&self) -> ProviderKind {
        self.inner.kind()
    }

    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        self.inner.versions()
    }

    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        self.watch.note(fields.master.version);
        self.inner.wrap(fields, root, context)
    }

    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        self.watch.note(fields.master.version);
        self.inner.unwrap(fields, blob, context)
    }

    fn unwrap_many(&self, wrapped: &[Wrapped<'_>]) -> Result<Vec<RootSecret>, ProviderError> {
        wrapped.iter().for_each(|(fields, ..)| self.watch.note(fields.master.version));
        self.inner.unwrap_many(wrapped)
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

    fn state_mac(&self) -> StateMac {
        self.inner.state_mac()
    }

    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        self.inner.witness()
    }

    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        self.inner.advance(witness)
    }

    fn active(&self) -> Result<KeyName, ProviderError> {
        self.inner.active()
    }
}

/// At opening: a soak goes on, and its versions are watched again.
pub(crate) fn resume(store: &Keystore, provider: &dyn MasterKeys, watch: &Watch) -> Result<(), KeyError> {
    if let Some(job) = job(store)?.filter(|job| job.phase == EpochPhase::Soaking) {
        provider.versions()?.iter().filter(|v| v.name.version < job.to).for_each(|v| watch.quarantine(v.name.version));
    }
    Ok(())
}
