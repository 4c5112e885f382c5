//! A tenant's destruction, in this order:
//!
//! 1. freeze: entry, standing PURGING (from here on there is no way back; its due row stays until the end)
//! 2. manifest: everything there is, by full listing; its hash and counts are noted, then logged
//! 3. delete: blobs, then rows, of every bucket; then its name, logins and buckets; then the engines are compacted
//! 4. list again: rows by the buckets' ids, blobs by their own headers, needing no key and not trusting step 3
//! 5. destroy the keys, at the key service, which goes by its own clock
//! 6. probe: no key opens
//! 7. certify: entry, certificate on disk, entry
//! 8. standing PURGED, due row and note gone, in one commit
//!
//! A crash anywhere leaves PURGING and the due row, and the next sweep begins at 1 again: what step 2 found is in the
//! note, since it cannot be found again; entries that are in the log are not written twice; deleting what is gone and
//! destroying what is destroyed does no harm. A certificate that was kept is not signed anew.
//!
//! Keys last: destroyed first, they would leave bytes that nobody can read and nobody can find. The exception is a region
//! that stays out of reach for a day beyond due time and one sweep: then the keys go without it, a residual certificate
//! says so, and the tenant stays PURGING until the region is back and the final one can follow.

pub(super) mod certify;
mod erase;
mod manifest;
pub(super) mod part;

use super::find::evidence;
use super::inventory::Stock;
use super::note::{Note, Shredded};
use super::run::GeoRooms;
use super::{SweepError, blocking};
use crate::audit::{Actor, Event as Record, Hash, Receipt};
use crate::directory::TenantEntry;
use crate::model::atlas::Region;
use crate::model::ids::TenantId;
use crate::regions::RegionRoots;
use crate::seal::{KeyProbe, TenantState};
use crate::tenant::{self, Event, Proof, Refusal, State};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Entries of the log read at once.
const LOG_STEP: usize = 1000;

/// A tenant of which nothing is left but what lies deleted in the engines' files, and its keys.
pub(super) struct Emptied {
    id: TenantId,
    entry: Arc<TenantEntry>,
    note: Note,
    missing: BTreeSet<String>,
}

/// Steps 1 to 3 without the compaction, which all tenants of a sweep share.
pub(super) async fn empty(
    rooms: &GeoRooms,
    actor: &Actor,
    id: TenantId,
    sweep_interval_s: i64,
) -> Result<Emptied, SweepError> {
    let purge = Purge { rooms, actor, id };
    let mut entry = purge.freeze().await?;
    let mut note = purge.manifest().await?;
    let missing = purge.out_of_reach(&note);
    if !missing.is_empty() {
        entry = purge.keys_first(missing.len(), sweep_interval_s).await?;
    }
    purge.delete(&mut note).await?;
    Ok(Emptied { id, entry, note, missing })
}

/// The compaction of step 3: rewrites the engines of the regions where the emptied tenants had buckets, and the
/// directory's. Only then are deleted rows gone from the files.
pub(super) async fn compact(rooms: &GeoRooms, emptied: &[&Emptied]) -> Result<(), SweepError> {
    let buckets = emptied.iter().flat_map(|emptied| &emptied.note.buckets);
    let regions: BTreeSet<_> = buckets.map(|bucket| bucket.region.as_str()).collect();
    for roots in rooms.regions().iter().filter(|roots| regions.contains(roots.region.id)) {
        roots.index.compact().await?;
    }
    Ok(rooms.tenancy.directory.engine().compact().await?)
}

/// Steps 4 to 8. Answers how many objects there were.
pub(super) async fn finish(rooms: &GeoRooms, actor: &Actor, emptied: Emptied) -> Result<u64, SweepError> {
    let Emptied { id, entry, mut note, missing } = emptied;
    let purge = Purge { rooms, actor, id };
    let listings = purge.list_again(&note, &missing).await?;
    let destroyed = purge.destroy_keys(&mut note).await?;
    purge.probe(&note).await?;
    if !missing.is_empty() {
        purge.certify_residual(&entry.standing, &note, listings, destroyed).await?;
        return Err(SweepError::OutOfReach(missing.len()));
    }
    let certificate = purge.certify(&entry.standing, &mut note, listings).await?;
    purge.end(certificate).await?;
    Ok(note.objects)
}

struct Purge<'a> {
    rooms: &'a GeoRooms,
    actor: &'a Actor,
    id: TenantId,
}

impl Purge<'_> {
    async fn freeze(&self) -> Result<Arc<TenantEntry>, SweepError> {
        let evidence = evidence(self.rooms, self.id).await?;
        let tenancy = &self.rooms.tenancy;
        let entry = tenancy.apply(self.actor, self.id, None, &Event::Sweep(evidence)).await?;
        if entry.standing.state != State::Purging {
            return Err(Refusal::WrongState(entry.standing.state).into());
        }
        // Suspended keys would hide what has to be listed. PURGING lets nobody in.
        if self.key_state().await? == Some(TenantState::Suspended) {
            self.log(Record::TenantKeysResumed { tenant: self.id }).await?;
            let (keys, id) = (tenancy.directory.key_service().clone(), self.id.0);
            blocking(move || keys.resume(id)).await?;
        }
        Ok(entry)
    }

    /// Regions that hold something of the tenant and are not served here.
    fn out_of_reach(&self, note: &Note) -> BTreeSet<String> {
        let served = &self.rooms.tenancy.regions;
        let regions = note.buckets.iter().filter(|bucket| !served.contains_key(bucket.region.as_str()));
        regions.map(|bucket| bucket.region.clone()).collect()
    }

    /// Whether the keys may go although a region is out of reach; if not yet, the purge waits.
    async fn keys_first(&self, missing: usize, sweep_interval_s: i64) -> Result<Arc<TenantEntry>, SweepError> {
        let out_of_reach = Event::OutOfReach { sweep_interval_s };
        let applied = self.rooms.tenancy.apply(self.actor, self.id, None, &out_of_reach).await;
        match applied.map_err(SweepError::from) {
            Err(SweepError::Refused(Refusal::NotDue(_))) => Err(SweepError::OutOfReach(missing)),
            other => other,
        }
    }

    async fn destroy_keys(&self, note: &mut Note) -> Result<Receipt, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        if note.shredded.is_none() {
            let (keys, id) = (directory.key_service().clone(), self.id.0);
            let evidence = blocking(move || keys.destroy_tenant(id)).await?;
            directory.forget(self.id);
            note.shredded = Some(Shredded::from(&evidence));
            note.keep(directory, self.id).await?;
        }
        let versions = note.shredded.as_ref().map_or(0, |shredded| shredded.destroyed.len() as u32);
        self.log_once(note, Record::TenantKeysDestroyed { tenant: self.id, versions }).await
    }

    async fn probe(&self, note: &Note) -> Result<(), SweepError> {
        let (keys, id) = (self.rooms.tenancy.directory.key_service().clone(), self.id);
        match blocking(move || keys.key_probe(id.0)).await? {
            KeyProbe::Gone => {
                self.log_once(note, Record::TenantKeysProbed { tenant: id, opens: false }).await?;
                Ok(())
            }
            KeyProbe::Unwraps => {
                self.log(Record::TenantKeysProbed { tenant: id, opens: true }).await?;
                Err(Refusal::KeyStillOpens.into())
            }
        }
    }

    /// Standing PURGED; with it, in one commit, the due row and the note go.
    async fn end(&self, certificate: Hash) -> Result<(), SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let _acts = directory.acts().lock().await;
        let entry = directory.tenant(self.id).await?.ok_or(SweepError::Gone)?;
        let proof = Proof { left: 0, key_opens: false, certificate: certificate.0 };
        let now = self.rooms.tenancy.clock.now();
        let (next, _) = tenant::step(&entry.standing, &Event::Verified(proof), &now)?;
        directory.change_tenant(&entry, next.ok_or(SweepError::Gone)?).await?;
        Ok(())
    }

    /// The buckets that can still be read by their keys: none once those are destroyed.
    async fn stocks(&self) -> Result<Vec<Stock>, SweepError> {
        if self.key_state().await? == Some(TenantState::Destroyed) {
            return Ok(Vec::new());
        }
        let regions = &self.rooms.tenancy.regions;
        Stock::of_tenant(&self.rooms.tenancy.directory, self.id, |region| regions.get(region).cloned()).await
    }

    async fn key_state(&self) -> Result<Option<TenantState>, SweepError> {
        let (keys, id) = (self.rooms.tenancy.directory.key_service().clone(), self.id.0);
        let status = blocking(move || keys.tenant_status(id)).await?;
        Ok(status.map(|status| status.state))
    }

    fn roots(&self, region: &str) -> Option<Arc<RegionRoots>> {
        let served = Region::find(region).and_then(|(_, region)| self.rooms.tenancy.regions.get(region.id));
        served.cloned()
    }

    async fn log(&self, event: Record) -> Result<Receipt, SweepError> {
        Ok(self.rooms.tenancy.audit.append(self.actor, event).await?)
    }

    /// Writes an entry unless a run before a crash wrote it: every step of a destruction has one.
    async fn log_once(&self, note: &Note, event: Record) -> Result<Receipt, SweepError> {
        let (audit, wanted, from) = (self.rooms.tenancy.audit.clone(), event.clone(), note.log_from);
        let written = blocking(move || {
            let mut from = from;
            loop {
                let page = audit.entries(from, LOG_STEP)?;
                if let Some(entry) = page.iter().find(|entry| entry.event().as_ref() == Some(&wanted)) {
                    return Ok::<_, crate::audit::AuditError>(Some(Receipt { index: entry.index, hash: entry.hash }));
                }
                match page.last() {
                    Some(last) if page.len() == LOG_STEP => from = last.index + 1,
                    _ => return Ok(None),
                }
            }
        });
        match written.await? {
            Some(receipt) => Ok(receipt),
            None => self.log(event).await,
        }
    }
}
