//! What a tenant may store in all: room is reserved before a body is read, so that writes beside each other do not both take
//! the last of it.
//!
//! What is stored is counted by the index, in the commit of every change, over all of the tenant's buckets; what is reserved
//! is kept here, and given back once the write is committed or refused. A write is taken when there is room for both beside
//! it, so what is stored never grows over the quota by it. (A client that goes away in the moment of the commit lets go of its
//! reservation a moment before its object counts.) What replaces an object needs room for itself beside it.
//!
//! Only a client's writes ask. What is done to data for its subjects, by sweeps or by rotations never meets a quota.

use super::types::StoreError;
use super::{Room, Store};
use crate::index::Usage;
use crate::model::ids::TenantId;
use parking_lot::Mutex;
use std::collections::HashMap;

/// What writes under way have reserved, by tenant.
#[derive(Default)]
pub(super) struct Reservations(Mutex<HashMap<TenantId, Usage>>);

/// Room that was reserved; given back when it is dropped.
pub(super) struct Reserved {
    store: Store,
    tenant: TenantId,
    room: Usage,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut reserved = self.store.0.reservations.0.lock();
        let left = reserved.get(&self.tenant).copied().unwrap_or_default().minus(self.room);
        match left == Usage::default() {
            true => reserved.remove(&self.tenant),
            false => reserved.insert(self.tenant, left),
        };
    }
}

impl Store {
    /// Reserves room for something that is to be written, where the tenant has a quota. To be held until it is committed.
    /// Errors: `QuotaExceeded`.
    pub(super) async fn reserve(&self, room: &Room, more: Usage) -> Result<Option<Reserved>, StoreError> {
        let at = &room.bucket.at;
        let Some(quota) = self.directory(at.geo.id)?.features(at.tenant).await?.quota else { return Ok(None) };
        // A bucket that was made since the quota was set is empty.
        room.roots.index.count(&room.bucket.index).await?;
        // What a commit adds is counted before its reservation goes, and both are looked at under this lock: nothing is
        // missed between them.
        let mut reserved = self.0.reservations.0.lock();
        let regions = at.geo.regions.iter().filter_map(|region| self.0.regions.get(region.id));
        let stored = regions.fold(Usage::default(), |all, roots| all.plus(roots.index.usage_of_tenant(at.tenant)));
        let beside = reserved.get(&at.tenant).copied().unwrap_or_default();
        let all = stored.plus(beside).plus(more);
        if !quota.admits(all.bytes, all.objects) {
            return Err(StoreError::QuotaExceeded);
        }
        reserved.insert(at.tenant, beside.plus(more));
        Ok(Some(Reserved { store: self.clone(), tenant: at.tenant, room: more }))
    }
}
