//! The end of one version of a key: of the geo's master key, or of one of a tenant's roots. It is scheduled, waits, and
//! comes by this service's own clock, whatever a caller's says; what may be when is decided in `version_life`.
//!
//! Order of an end: its day is durable → on the day the shred log's entry → the destruction → that it ended, with the
//! receipt, which stays until whoever asked has written it down. A crash anywhere leaves an act that may be called again.

use crate::context::Id;
use crate::destroy::ShredEvidence;
use crate::entries::{KeyState, RootEntry, decode, encode, place};
use crate::epoch::{BackupNote, job, known_backups};
use crate::error::{KeyError, KeystoreError, Refusal};
use crate::keystore::{Change, Keystore};
use crate::provider::MasterState;
use crate::record::KeyKind;
use crate::reroot::subjects_under;
use crate::rotate::{all_roots, rotation};
use crate::service::GeoKeyService;
use crate::shred_log::{Shred, Shredded};
use crate::version_life::{DESTROY_COMPROMISED_AFTER_SECONDS, Life, Needs, Stage, Wait};
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// For how long a backup keeps the versions alive that it needs, if nothing else is set: 30 days.
pub const BACKUP_AGE_SECONDS: i64 = 2_592_000;

/// One version of one key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub enum VersionOf {
    /// Of the geo's master key.
    #[n(0)]
    Master {
        /// Which.
        #[n(0)]
        version: u32,
    },
    /// Of one of a tenant's roots.
    #[n(1)]
    Root {
        /// Whose.
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        /// Which root.
        #[n(1)]
        kind: KeyKind,
        /// Which version of it.
        #[n(2)]
        version: u32,
    },
}

/// The day on which a version is to be destroyed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Ending {
    /// Which version.
    #[n(0)]
    pub of: VersionOf,
    /// When the day was set, in compliance seconds. What was sealed later does not need the version.
    #[n(1)]
    pub at: i64,
    /// Not before this second.
    #[n(2)]
    pub due: i64,
    /// When it was destroyed.
    #[n(3)]
    pub ended: Option<i64>,
    /// The provider's receipt, of a master key that is destroyed.
    #[n(4)]
    pub receipt: Option<String>,
}

/// A version that was destroyed on its day.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Ended {
    /// What was scheduled, and the receipt.
    #[n(0)]
    pub ending: Ending,
    /// What this service saw of it on its disk; none of a master key.
    #[n(1)]
    pub shredded: Option<ShredEvidence>,
}

impl Ending {
    fn put(&self) -> Change {
        Change::Put(place::ending(&self.of), encode(self))
    }
}

impl GeoKeyService {
    /// For how long a backup keeps the versions alive that it needs. Default [`BACKUP_AGE_SECONDS`].
    pub fn cap_backup_age(&self, seconds: i64) {
        self.backup_age.store(seconds.max(0), Ordering::SeqCst);
    }

    /// Sets the day on which a version is destroyed: `after_s` from now by this service's own clock, a day at the least.
    /// `records_left` is what a scan found under a tenant's version; a master key's records are counted here. Refuses
    /// while it is active, or anything needs it, or a backup will still need it on that day.
    pub fn schedule_end(&self, of: VersionOf, after_s: i64, records_left: u64) -> Result<Ending, KeyError> {
        let mut store = self.store.lock();
        let now = self.clock.cc_lo();
        let (life, before) = self.life(&store, &of)?;
        if life.stage == Stage::Destroyed {
            return Err(KeyError::Destroyed);
        }
        let needs = self.needs(&store, &of, &life, records_left, now)?;
        let wait = life.schedule(now, after_s, &needs)?.wait.ok_or(Refusal::State)?;
        let ending = Ending { of, at: wait.at, due: wait.due, ended: None, receipt: None };
        if before.as_ref() != Some(&ending) {
            store.commit(vec![ending.put()], &*self.provider)?;
        }
        Ok(ending)
    }

    /// Takes a version's day back; what was set, if anything. Refuses once it is destroyed.
    pub fn cancel_end(&self, of: VersionOf) -> Result<Option<Ending>, KeyError> {
        let mut store = self.store.lock();
        let (life, ending) = self.life(&store, &of)?;
        life.cancel().map_err(|_| KeyError::Destroyed)?;
        if ending.is_some() {
            store.commit(vec![Change::Remove(place::ending(&of))], &*self.provider)?;
        }
        Ok(ending)
    }

    /// Whether [`GeoKeyService::end_version`] would destroy it now. Changes nothing.
    pub fn may_end(&self, of: VersionOf, records_left: u64) -> Result<(), KeyError> {
        let store = self.store.lock();
        let (life, ending) = self.life(&store, &of)?;
        let at = ending.ok_or(Refusal::NoDue)?.at;
        Ok(life.may_end(self.clock.cc_lo(), &self.needs(&store, &of, &life, records_left, at)?)?)
    }

    /// Destroys a version whose day has come. Refuses before it, and while anything needs the version, whatever was true
    /// when the day was set: then the day stands, and this is asked again. Calling again repeats it until
    /// [`GeoKeyService::forget_end`].
    pub fn end_version(&self, of: VersionOf, records_left: u64) -> Result<Ended, KeyError> {
        let mut store = self.store.lock();
        let now = self.clock.cc_lo();
        let (life, ending) = self.life(&store, &of)?;
        let mut ending = ending.ok_or(Refusal::NoDue)?;
        life.may_end(now, &self.needs(&store, &of, &life, records_left, ending.at)?)?;
        let shredded = match of {
            VersionOf::Master { version } => {
                if life.stage != Stage::Destroyed {
                    let what = Shredded::Master { version };
                    store.log_shreds(&[Shred { at: now, what }], &*self.provider)?;
                }
                ending.receipt = Some(self.provider.destroy(version)?);
                None
            }
            VersionOf::Root { .. } => {
                let root = root(&store, &of)?;
                Some(self.destroy_root(&mut store, root, now)?)
            }
        };
        ending.ended = ending.ended.or(Some(now));
        let mut changes = vec![ending.put()];
        if let VersionOf::Master { version } = of {
            let noise = known_backups(&store)?.into_iter().filter(|backup| backup.needs_master(version));
            changes.extend(noise.map(|backup| Change::Remove(place::backup(&backup.id))));
        }
        store.commit(changes, &*self.provider)?;
        Ok(Ended { ending, shredded })
    }

    /// Whoever asked for the end of a version has written down that it ended. Leaves alone one that did not.
    pub fn forget_end(&self, of: VersionOf) -> Result<(), KeyError> {
        let mut store = self.store.lock();
        match ending(&store, &of)? {
            Some(ending) if ending.ended.is_some() => {
                store.commit(vec![Change::Remove(place::ending(&of))], &*self.provider)
            }
            _ => Ok(()),
        }
    }

    /// The versions whose day is set, or came and was not written down yet.
    pub fn endings(&self) -> Result<Vec<Ending>, KeyError> {
        Ok(endings(&self.store.lock())?)
    }

    /// Records that a version of the geo's master key may be known to somebody, and, if `destroy`, sets its day: a day
    /// from now. Whoever calls rotates, if it is the active one. Calling again changes nothing.
    pub fn report_master_compromise(&self, version: u32, destroy: bool) -> Result<Option<Ending>, KeyError> {
        let mut store = self.store.lock();
        let of = VersionOf::Master { version };
        let (life, mut ending) = self.life(&store, &of)?;
        let reported = life.report().map_err(|_| KeyError::Destroyed)?;
        let now = self.clock.cc_lo();
        let mut changes = Vec::new();
        if reported != life {
            changes.push(Change::Put(place::known_master(version), now.to_be_bytes().to_vec()));
        }
        if destroy && ending.is_none() && !life.compromised {
            let due = now.saturating_add(DESTROY_COMPROMISED_AFTER_SECONDS);
            let day = Ending { of, at: now, due, ended: None, receipt: None };
            changes.push(day.put());
            ending = Some(day);
        }
        if !changes.is_empty() {
            store.commit(changes, &*self.provider)?;
        }
        Ok(ending)
    }

    /// What a version is now, and the day that was set for it.
    fn life(&self, store: &Keystore, of: &VersionOf) -> Result<(Life, Option<Ending>), KeyError> {
        let (stage, compromised) = match *of {
            VersionOf::Master { version } => {
                let versions = self.provider.versions()?;
                let found = versions.iter().find(|known| known.name.version == version).ok_or(KeyError::Unknown)?;
                let stage = match found.state {
                    MasterState::Active => Stage::Active,
                    MasterState::DecryptOnly | MasterState::Disabled => Stage::Older,
                    MasterState::Destroyed => Stage::Destroyed,
                };
                (stage, store.entry(&place::known_master(version)).is_some())
            }
            VersionOf::Root { .. } => match root(store, of)?.state {
                KeyState::PreActive | KeyState::Active => (Stage::Active, false),
                KeyState::DecryptOnly => (Stage::Older, false),
                KeyState::Compromised => (Stage::Older, true),
                KeyState::Destroyed => (Stage::Destroyed, false),
            },
        };
        let ending = ending(store, of)?;
        let wait = ending.as_ref().map(|ending| Wait { at: ending.at, due: ending.due });
        Ok((Life { stage, compromised, wait }, ending))
    }

    /// What stands against its end. `at`: when its day was set; a later backup has nothing under a tenant's version.
    fn needs(
        &self,
        store: &Keystore,
        of: &VersionOf,
        life: &Life,
        records_left: u64,
        at: i64,
    ) -> Result<Needs, KeyError> {
        if life.stage == Stage::Destroyed {
            return Ok(Needs::default());
        }
        let age = self.backup_age.load(Ordering::SeqCst);
        let until = |needs: &dyn Fn(&BackupNote) -> bool| -> Result<Option<i64>, KeyError> {
            let backups = known_backups(store)?.into_iter().filter(needs);
            Ok(backups.map(|backup| backup.at.saturating_add(age)).max())
        };
        match *of {
            VersionOf::Master { version } => Ok(Needs {
                records: self.scan(store)?.per_version.get(&version).copied().unwrap_or(0),
                busy: match (rotation(store)?, job(store)?) {
                    (Some(_), _) => Some(Refusal::Rotating),
                    (None, Some(_)) => Some(Refusal::State),
                    (None, None) => None,
                },
                backups_until: until(&|backup| backup.needs_master(version))?,
            }),
            VersionOf::Root { tenant, kind, version } => {
                let subjects = match kind {
                    KeyKind::Srk => subjects_under(store, &tenant)?.remove(&version).unwrap_or(0),
                    _ => 0,
                };
                let held = u64::from(self.has_superseded(&tenant));
                // What is under a version that may be known is known, in backups too: they do not keep it.
                let backups_until = if life.compromised { None } else { until(&|backup| backup.at < at)? };
                Ok(Needs {
                    records: records_left.saturating_add(subjects).saturating_add(held),
                    busy: None,
                    backups_until,
                })
            }
        }
    }
}

impl BackupNote {
    /// Whether its key store needs this version of the master key. One that did not record it may need every version that
    /// there was.
    pub fn needs_master(&self, version: u32) -> bool {
        self.masters.as_ref().map_or(version <= self.master, |masters| masters.contains(&version))
    }
}

/// The versions of the master key that the key store's records are under.
pub(crate) fn masters_needed(store: &Keystore) -> Result<Vec<u32>, KeystoreError> {
    let roots = all_roots(store)?.into_iter().filter_map(|root| root.record.map(|record| record.fields.master));
    let all = roots.chain(store.masters()).chain(store.shreds().master());
    Ok(all.map(|master| master.version).collect::<BTreeSet<_>>().into_iter().collect())
}

/// The versions of the master key that may be known to somebody.
pub(crate) fn known_masters(store: &Keystore) -> Vec<u32> {
    let entries = store.entries(place::KNOWN_MASTERS);
    entries.filter_map(|(key, _)| Some(u32::from_be_bytes(key[2..].try_into().ok()?))).collect()
}

pub(crate) fn endings(store: &Keystore) -> Result<Vec<Ending>, KeystoreError> {
    store.entries(place::ENDINGS).map(|(_, value)| decode(value)).collect()
}

fn ending(store: &Keystore, of: &VersionOf) -> Result<Option<Ending>, KeystoreError> {
    store.entry(&place::ending(of)).map(decode).transpose()
}

fn root(store: &Keystore, of: &VersionOf) -> Result<RootEntry, KeyError> {
    let VersionOf::Root { tenant, kind: kind @ (KeyKind::Trk | KeyKind::Srk | KeyKind::Tik), version } = *of else {
        return Err(Refusal::State.into());
    };
    let place = place::root(&tenant, kind, version);
    Ok(RootEntry::parse(&place, store.entry(&place).ok_or(KeyError::Unknown)?)?)
}
