//! That a key store was put back from a backup and accepted: remembered in it until whoever keeps the audit log and the
//! objects, perhaps another process, has heard of it and done its part.

use crate::context::Id;
use crate::entries::{decode, encode, place};
use crate::error::KeyError;
use crate::keystore::Change;
use crate::service::GeoKeyService;
use minicbor::{Decode, Encode};

/// What was accepted, and what the shred log made of it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RestoreNote {
    /// SHA-256 of the operator's reason.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub reason: [u8; 32],
    /// Tenants that were destroyed again.
    #[n(1)]
    pub tenants: u64,
    /// Data subjects that were destroyed again: tenant, subject.
    #[n(2)]
    pub subjects: Vec<(Id, Id)>,
    /// Versions of roots that were destroyed again.
    #[n(3)]
    pub roots: u64,
    /// Tenants that live by a version which was retired since, and are to be rotated.
    #[n(4)]
    pub to_rotate: Vec<Id>,
}

impl GeoKeyService {
    /// Remembers that this opening, by [`GeoKeyService::danger_open_restored`], was wanted, and why.
    pub fn note_restore(&self, reason: [u8; 32]) -> Result<(), KeyError> {
        let replayed = self.replayed();
        let mut to_rotate: Vec<Id> = replayed.to_rotate.iter().map(|(tenant, ..)| *tenant).collect();
        to_rotate.dedup();
        let note = RestoreNote {
            reason,
            tenants: replayed.tenants.len() as u64,
            subjects: replayed.subjects.clone(),
            roots: replayed.roots,
            to_rotate,
        };
        self.store.lock().commit(vec![Change::Put(place::RESTORED.to_vec(), encode(&note))], &*self.provider)
    }

    /// What [`GeoKeyService::note_restore`] remembered, until it is cleared.
    pub fn restore_note(&self) -> Result<Option<RestoreNote>, KeyError> {
        Ok(self.store.lock().entry(place::RESTORED).map(decode).transpose()?)
    }

    /// Whoever had to hear of it has.
    pub fn clear_restore_note(&self) -> Result<(), KeyError> {
        let mut store = self.store.lock();
        match store.entry(place::RESTORED) {
            Some(_) => store.commit(vec![Change::Remove(place::RESTORED.to_vec())], &*self.provider),
            None => Ok(()),
        }
    }
}
