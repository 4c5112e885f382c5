//! A tenant's roots one by one: a new version of any of the three, subject keys wrapped again under a new subject root, a
//! version reported as compromised, and what a re-encryption may still open. Rows in index engines are the caller's.

use crate::context::{Id, NO_ID};
use crate::destroy::ShredEvidence;
use crate::ending::VersionOf;
use crate::entries::{KeyState, RootEntry, TenantState, place};
use crate::error::{KeyError, KeystoreError, Refusal};
use crate::geo_keys::DirectoryKey;
use crate::keystore::{Change, Keystore, salt_of};
use crate::record::{KeyKind, KeyName, Unverified};
use crate::service::{
    GeoKeyService, NewRoot, directory_keys, put_revocation_seq, revocation_seq, root_entries, tenant_entry, verify,
};
use crate::shred_log::{Shred, Shredded};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// One step of wrapping subject keys again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SubjectsStep {
    /// Subject keys looked at.
    #[n(0)]
    pub seen: u64,
    /// How many of them were wrapped again.
    #[n(1)]
    pub rewrapped: u64,
    /// Pass it to go on; `None`: that was the end.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub next: Option<Id>,
}

impl GeoKeyService {
    /// Gives the tenant a new version of one of its three roots. What is wrapped from now on is under it at once; older
    /// versions only unwrap, until [`GeoKeyService::retire_root`]. Calling again makes another version.
    pub fn rotate_root(&self, tenant: Id, kind: KeyKind) -> Result<KeyName, KeyError> {
        let mut store = self.store.lock();
        self.make_root(&mut store, tenant, kind)
    }

    fn make_root(&self, store: &mut Keystore, tenant: Id, kind: KeyKind) -> Result<KeyName, KeyError> {
        awake(store, &tenant)?;
        if !matches!(kind, KeyKind::Trk | KeyKind::Srk | KeyKind::Tik) {
            return Err(Refusal::State.into());
        }
        let name = self.next_version(store, tenant, kind)?;
        self.supersede(&tenant);
        Ok(name)
    }

    fn next_version(&self, store: &mut Keystore, tenant: Id, kind: KeyKind) -> Result<KeyName, KeyError> {
        let now = self.clock.cc_lo();
        let roots = root_entries(store, &tenant)?;
        let versions = roots.iter().filter(|root| root.kind == kind);
        let newest = versions.clone().filter(|root| root.state != KeyState::PreActive).map(|root| root.name.version);
        let version = newest.max().ok_or(KeystoreError::Damaged)?.checked_add(1).ok_or(KeyError::Exhausted)?;
        let made = NewRoot::make(&*self.provider, tenant, self.geo, kind, version, now)?;
        store.commit(vec![made.entry.put()], &*self.provider)?;
        verify(store, std::slice::from_ref(&made), &*self.provider, self.geo)?;
        let active = versions.filter(|root| root.state == KeyState::Active);
        let older = |root: &RootEntry| {
            RootEntry { state: KeyState::DecryptOnly, since: now, replaced: Some(now), ..root.clone() }.put()
        };
        let mut changes: Vec<Change> = active.map(older).collect();
        changes.push(made.activated(now).put());
        store.commit(changes, &*self.provider)?;
        Ok(made.entry.name)
    }

    /// Gives the geo's directory key a new version. What is sealed from now on is under it at once, the heads that the
    /// service keeps are written anew; rows under older versions open until [`GeoKeyService::retire_root`] of tenant zero.
    pub fn rotate_directory_key(&self) -> Result<KeyName, KeyError> {
        let name = {
            let mut store = self.store.lock();
            let name = self.next_version(&mut store, NO_ID, KeyKind::Gdk)?;
            self.geo_keys().replace(directory_keys(&store, self.geo, &*self.provider)?);
            name
        };
        self.heads.renew()?;
        Ok(name)
    }

    /// The live versions of the geo's directory key, for its holders.
    pub(crate) fn directory_keys(&self) -> Vec<DirectoryKey> {
        self.geo_keys().copies()
    }

    /// Destroys one older version of a root. `records_left` is what a full scan, begun after the rotation, found under
    /// it; subject keys are counted here besides. Refuses unless nothing is left, the version is not the active one, and
    /// no request still holds keys from before the rotation. A version of the tenant's data key has to have its day:
    /// [`GeoKeyService::schedule_end`].
    pub fn retire_root(
        &self,
        tenant: Id,
        kind: KeyKind,
        version: u32,
        records_left: u64,
    ) -> Result<ShredEvidence, KeyError> {
        if kind == KeyKind::Trk {
            let ended = self.end_version(VersionOf::Root { tenant, kind, version }, records_left)?;
            return ended.shredded.ok_or(KeystoreError::Damaged.into());
        }
        if kind == KeyKind::Gdk {
            // A head that was written while the key changed may be under the version before.
            self.heads.renew()?;
        }
        let mut store = self.store.lock();
        let place = place::root(&tenant, kind, version);
        let root = RootEntry::parse(&place, store.entry(&place).ok_or(KeyError::Unknown)?)?;
        let left = records_left
            + if kind == KeyKind::Srk { subjects_under(&store, &tenant)?.remove(&version).unwrap_or(0) } else { 0 };
        match root.state {
            KeyState::Active | KeyState::PreActive => return Err(Refusal::Active.into()),
            KeyState::Destroyed => {}
            _ if left > 0 || self.has_superseded(&tenant) => return Err(Refusal::InUse.into()),
            KeyState::DecryptOnly | KeyState::Compromised => {}
        }
        let evidence = self.destroy_root(&mut store, root, self.clock.cc_lo())?;
        let day = place::ending(&VersionOf::Root { tenant, kind, version });
        if store.entry(&day).is_some() {
            store.commit(vec![Change::Remove(day)], &*self.provider)?;
        }
        Ok(evidence)
    }

    /// Entry in the shred log → tombstone → a new generation without it. Whether it may go was asked before.
    pub(crate) fn destroy_root(
        &self,
        store: &mut Keystore,
        root: RootEntry,
        now: i64,
    ) -> Result<ShredEvidence, KeyError> {
        let (tenant, kind, version) = (root.tenant, root.kind, root.name.version);
        if root.state != KeyState::Destroyed {
            let compromised = root.state == KeyState::Compromised;
            let what = Shredded::Root { tenant, kind, version, compromised };
            store.log_shreds(&[Shred { at: now, what }], &*self.provider)?;
            store.commit(vec![root.destroyed(now).put()], &*self.provider)?;
            if kind == KeyKind::Gdk {
                self.geo_keys().replace(directory_keys(store, self.geo, &*self.provider)?);
            }
            self.supersede(&tenant);
        }
        let salts = root.record.as_ref().and_then(salt_of).into_iter().collect();
        self.shred(store, vec![(kind, root.name)], salts, now)
    }

    /// Wraps up to `records_max` subject keys behind `after` again under the active subject root, in one commit.
    pub fn rewrap_subjects(&self, tenant: Id, after: Option<Id>, records_max: usize) -> Result<SubjectsStep, KeyError> {
        let keys = self.tenant(tenant)?;
        let mut store = self.store.lock();
        let subjects = place::subjects_of(&tenant);
        // The prefix itself is no entry's key.
        let behind = after.map_or_else(|| subjects.to_vec(), |subject| place::subject(&tenant, &subject).to_vec());
        let (mut step, mut changes) = (SubjectsStep { seen: 0, rewrapped: 0, next: None }, Vec::new());
        let left = store.entries_behind(&subjects, &behind);
        for (key, record) in left.take(records_max.max(1)) {
            let subject: Id = key[17..].try_into().map_err(|_| KeystoreError::Damaged)?;
            (step.seen, step.next) = (step.seen + 1, Some(subject));
            // An empty entry is the tombstone of an erased subject.
            if record.is_empty() {
                continue;
            }
            if let Some(again) = keys.rewrap_subject_key(record, subject)? {
                changes.push(Change::Put(key.to_vec(), again.to_vec()));
            }
        }
        step.rewrapped = changes.len() as u64;
        if !changes.is_empty() {
            store.commit(changes, &*self.provider)?;
        }
        Ok(step)
    }

    /// How many living subject keys of a tenant are wrapped under which version of its subject root.
    pub fn subjects_under(&self, tenant: Id) -> Result<BTreeMap<u32, u64>, KeyError> {
        subjects_under(&self.store.lock(), &tenant)
    }

    /// Records that a version of the tenant's data key may be known to somebody: from now on only a re-encryption may
    /// open what is under it, and leases that hold it are void. An active one is replaced first. Returns the active
    /// version.
    pub fn report_compromise(&self, tenant: Id, version: u32) -> Result<KeyName, KeyError> {
        let mut store = self.store.lock();
        let root = |store: &Keystore| -> Result<RootEntry, KeyError> {
            let place = place::root(&tenant, KeyKind::Trk, version);
            Ok(RootEntry::parse(&place, store.entry(&place).ok_or(KeyError::Unknown)?)?)
        };
        match root(&store)?.state {
            KeyState::Destroyed => return Err(KeyError::Destroyed),
            KeyState::PreActive => return Err(Refusal::State.into()),
            KeyState::Active => drop(self.make_root(&mut store, tenant, KeyKind::Trk)?),
            KeyState::DecryptOnly | KeyState::Compromised => {}
        }
        let found = root(&store)?;
        if found.state != KeyState::Compromised {
            let seq = revocation_seq(&store) + 1;
            let marked = RootEntry { state: KeyState::Compromised, since: self.clock.cc_lo(), ..found };
            store.commit(vec![marked.put(), put_revocation_seq(seq)], &*self.provider)?;
            self.revoke(&tenant, seq);
        }
        let roots = root_entries(&store, &tenant)?;
        let active = roots.iter().find(|root| root.kind == KeyKind::Trk && root.state == KeyState::Active);
        Ok(active.ok_or(KeystoreError::Damaged)?.name)
    }
}

fn awake(store: &Keystore, tenant: &Id) -> Result<(), KeyError> {
    match tenant_entry(store, tenant)?.ok_or(KeyError::Unknown)?.state {
        TenantState::Active => Ok(()),
        TenantState::Suspended => Err(KeyError::Suspended),
        TenantState::Destroyed => Err(KeyError::Destroyed),
        TenantState::Provisioning => Err(KeyError::Unknown),
    }
}

pub(crate) fn subjects_under(store: &Keystore, tenant: &Id) -> Result<BTreeMap<u32, u64>, KeyError> {
    let mut under = BTreeMap::new();
    for (_, record) in store.entries(&place::subjects_of(tenant)).filter(|(_, record)| !record.is_empty()) {
        let parent = Unverified::parse(record).map_err(|_| KeystoreError::Damaged)?.parent;
        *under.entry(parent.version).or_default() += 1;
    }
    Ok(under)
}
