//! What is said of data subjects' standing with a tenant, and must survive everything: it is entered into the shred log,
//! which is never part of a restore and whose length the witness remembers. What it means is its caller's business;
//! here it is a token, a number and a time.

use crate::context::Id;
use crate::entries::TenantState;
use crate::error::KeyError;
use crate::service::{GeoKeyService, tenant_entry};
use crate::shred_log::{Shred, Shredded};

impl GeoKeyService {
    /// Enters a change of somebody's standing; durable and witnessed on return. Read back with
    /// [`GeoKeyService::shreds`]. Errors: `Unknown`, `Destroyed` for a tenant that has no keys.
    pub fn note_standing(&self, tenant: Id, token: Id, act: u8) -> Result<(), KeyError> {
        let mut store = self.store.lock();
        let entry = tenant_entry(&store, &tenant)?.ok_or(KeyError::Unknown)?;
        if entry.state == TenantState::Destroyed {
            return Err(KeyError::Destroyed);
        }
        let what = Shredded::Standing { tenant, token, act };
        store.log_shreds(&[Shred { at: self.clock.cc_lo(), what }], &*self.provider)
    }
}
