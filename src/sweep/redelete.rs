//! The redelete rule: a restored backup may hold rows and blobs of tenants that were destroyed since. Their keys are
//! destroyed again by the replay of the shred log before this runs, so nothing of them opens; here the bytes go too.
//!
//! Without keys nobody can tell which buckets were theirs; but of every living tenant all buckets are known. So: blobs by
//! their own headers, rows of buckets that nobody living has, then name, logins and buckets in the directory, and what
//! stays is the tombstone. A crash leaves a tenant that is not PURGED, and the next start begins again.

use super::inventory::{Stock, blobs_of_tenant};
use super::run::GeoRooms;
use super::{SweepError, orphans};
use crate::audit::{Actor, Event as Record};
use crate::model::ids::TenantId;
use crate::pace::Pace;
use crate::seal::TenantState;
use crate::tenant::{Standing, State};
use std::collections::BTreeSet;

/// Tenants read at once.
const TENANTS_STEP: usize = 1000;

/// Deletes again what is left of tenants whose keys are destroyed. Answers how many there were.
pub(super) async fn redelete(rooms: &GeoRooms, actor: &Actor) -> Result<u64, SweepError> {
    let again = destroyed(rooms).await?;
    if again.is_empty() {
        return Ok(0);
    }
    let mut pace = Pace::free();
    for tenant in &again {
        rooms.tenancy.audit.append(actor, Record::TenantRedeleted { tenant: *tenant }).await?;
        for roots in rooms.regions() {
            let blobs = blobs_of_tenant(&roots.blobs, *tenant, &mut pace).await?;
            roots.blobs.delete(&blobs.into_iter().map(|(id, _)| id).collect::<Vec<_>>()).await?;
            let due = roots.index.due_of_tenant(*tenant).await?;
            if !due.is_empty() {
                roots.index.remove_due(&due).await?;
            }
        }
    }
    let mut living = BTreeSet::new();
    for tenant in orphans::tenants_with_keys(rooms).await? {
        let regions = &rooms.tenancy.regions;
        let stocks = Stock::of_tenant(&rooms.tenancy.directory, tenant, |region| regions.get(region).cloned()).await?;
        living.extend(stocks.iter().map(|stock| stock.bucket.at.bucket));
    }
    for roots in rooms.regions() {
        for unknown in roots.index.raw_buckets().await?.difference(&living) {
            roots.index.drop_bucket_rows(*unknown).await?;
        }
        roots.index.compact().await?;
    }
    let directory = &rooms.tenancy.directory;
    for tenant in &again {
        directory.bury_tenant(*tenant).await?;
        let entry = directory.tenant(*tenant).await?.ok_or(SweepError::Gone)?;
        let gone = Standing { state: State::Purged, ..entry.standing.clone() };
        directory.change_tenant(&entry, gone).await?;
    }
    directory.engine().compact().await?;
    Ok(again.len() as u64)
}

/// Tenants whose keys are destroyed and whose end the directory does not know. One that is being purged is the purge's.
async fn destroyed(rooms: &GeoRooms) -> Result<Vec<TenantId>, SweepError> {
    let directory = &rooms.tenancy.directory;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = directory.tenants(after, TENANTS_STEP).await?;
        for entry in &page {
            let (id, state) = (entry.standing.id, entry.standing.state);
            if matches!(state, State::Purging | State::Purged) {
                continue;
            }
            let keys = directory.key_service().tenant_status(id.0)?;
            found.extend(keys.filter(|keys| keys.state == TenantState::Destroyed).map(|_| id));
        }
        match page.last() {
            Some(last) => after = Some(last.standing.id),
            None => return Ok(found),
        }
    }
}
