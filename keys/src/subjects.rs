//! The keys of data subjects: made, opened, kept at hand under the tenant's lease, and void at once when one is erased.
//! Their destruction is in `destroy`.
//!
//! Promises:
//! - A key at hand is never older than the tenant's lease: with a new lease it is opened anew.
//! - When a subject's key was destroyed, every handle that was given out for it refuses, the data keys opened with it
//!   too: a stream under way ends within a chunk.
//! - Memory is bounded whatever the number of subjects.

use crate::context::Id;
use crate::entries::place;
use crate::error::{KeyError, KeystoreError};
use crate::keystore::Change;
use crate::record::Record;
use crate::service::GeoKeyService;
use crate::tenant_keys::{Erasure, SubjectKey, TenantKeys};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Keys at hand in each of two halves: when the younger half is full it becomes the older, and what was not asked for
/// since goes.
const HALF_MAX: usize = 8192;

type Whose = (Id, Id);

struct AtHand {
    key: Arc<SubjectKey>,
    /// The lease it was opened under.
    lease: Weak<TenantKeys>,
}

/// The opened keys of subjects.
#[derive(Default)]
pub(crate) struct SubjectCache(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    young: HashMap<Whose, AtHand>,
    old: HashMap<Whose, AtHand>,
    /// Of every key that somebody may still hold.
    erasures: HashMap<Whose, Weak<Erasure>>,
}

impl SubjectCache {
    pub(crate) fn find(&self, whose: Whose, lease: &Arc<TenantKeys>) -> Option<Arc<SubjectKey>> {
        let mut halves = self.0.lock();
        if let Some(found) = halves.young.get(&whose) {
            return found.under(lease);
        }
        let found = halves.old.remove(&whose)?;
        let key = found.under(lease)?;
        halves.keep(whose, found);
        Some(key)
    }

    /// The mark that all handles of one subject share.
    pub(crate) fn erasure(&self, whose: Whose) -> Arc<Erasure> {
        let mut halves = self.0.lock();
        if let Some(erasure) = halves.erasures.get(&whose).and_then(Weak::upgrade) {
            return erasure;
        }
        let erasure = Arc::new(Erasure::default());
        halves.erasures.insert(whose, Arc::downgrade(&erasure));
        erasure
    }

    pub(crate) fn keep(&self, whose: Whose, key: &Arc<SubjectKey>, lease: &Arc<TenantKeys>) {
        self.0.lock().keep(whose, AtHand { key: Arc::clone(key), lease: Arc::downgrade(lease) });
    }

    /// Voids every handle of a subject. The caller holds the key store, so none is being made.
    pub(crate) fn erase(&self, tenant: Id, subject: Id) {
        let mut halves = self.0.lock();
        let whose = (tenant, subject);
        halves.young.remove(&whose);
        halves.old.remove(&whose);
        if let Some(erasure) = halves.erasures.remove(&whose).and_then(|erasure| erasure.upgrade()) {
            erasure.mark();
        }
    }

    /// How many keys are at hand.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let halves = self.0.lock();
        halves.young.len() + halves.old.len()
    }
}

impl AtHand {
    fn under(&self, lease: &Arc<TenantKeys>) -> Option<Arc<SubjectKey>> {
        (self.lease.as_ptr() == Arc::as_ptr(lease)).then(|| Arc::clone(&self.key))
    }
}

impl Halves {
    fn keep(&mut self, whose: Whose, at_hand: AtHand) {
        if self.young.len() >= HALF_MAX {
            self.old = std::mem::take(&mut self.young);
            self.erasures.retain(|_, erasure| erasure.strong_count() > 0);
        }
        self.young.insert(whose, at_hand);
    }
}

impl GeoKeyService {
    /// Makes the key of a new data subject of the tenant. `subject` is random and was never used before.
    pub fn create_subject(&self, tenant: Id, subject: Id) -> Result<Arc<SubjectKey>, KeyError> {
        let keys = self.tenant(tenant)?;
        let mut store = self.store.lock();
        match store.entry(&place::subject(&tenant, &subject)) {
            None => {}
            Some([]) => return Err(KeyError::Destroyed),
            Some(_) => return Err(KeyError::Exists),
        }
        let (key, record) = keys.new_subject_key(subject, self.subjects.erasure((tenant, subject)))?;
        let change = Change::Put(place::subject(&tenant, &subject), record.to_vec());
        store.commit(vec![change], &*self.provider)?;
        let key = Arc::new(key);
        self.subjects.keep((tenant, subject), &key, &keys);
        Ok(key)
    }

    /// The key of a data subject, if it is at hand under the tenant's present lease: two looks into memory, unless the
    /// lease has to be renewed.
    pub fn subject_at_hand(&self, tenant: Id, subject: Id) -> Result<Option<Arc<SubjectKey>>, KeyError> {
        Ok(self.subjects.find((tenant, subject), &self.tenant(tenant)?))
    }

    /// The key of a data subject. Errors: `Destroyed` when it was erased, `Unknown` when there never was one. May wait
    /// for an act on the key store, so not for an async thread; [`GeoKeyService::subject_at_hand`] is.
    pub fn subject(&self, tenant: Id, subject: Id) -> Result<Arc<SubjectKey>, KeyError> {
        let keys = self.tenant(tenant)?;
        if let Some(key) = self.subjects.find((tenant, subject), &keys) {
            return Ok(key);
        }
        // Held until the key is at hand, so that an erasure finds it there.
        let store = self.store.lock();
        let record = record_in(store.entry(&place::subject(&tenant, &subject)))?;
        let key = keys.open_subject_key(&record, subject, self.subjects.erasure((tenant, subject)))?;
        let key = Arc::new(key);
        self.subjects.keep((tenant, subject), &key, &keys);
        Ok(key)
    }

    /// The wrapped key of a data subject, under the tenant's active subject root, as an export carries it.
    pub fn subject_record(&self, tenant: Id, subject: Id) -> Result<Record, KeyError> {
        let record = record_in(self.store.lock().entry(&place::subject(&tenant, &subject)))?;
        Ok(self.tenant(tenant)?.rewrap_subject_key(&record, subject)?.unwrap_or(record))
    }
}

/// An empty entry is the tombstone of a destroyed key.
fn record_in(entry: Option<&[u8]>) -> Result<Record, KeyError> {
    match entry {
        None => Err(KeyError::Unknown),
        Some([]) => Err(KeyError::Destroyed),
        Some(record) => Ok(record.try_into().map_err(|_| KeystoreError::Damaged)?),
    }
}
