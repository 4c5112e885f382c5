//! What nothing names: blobs of puts that a crash cut off, temporary files, rows of a bucket whose deletion was cut off.
//! Once a day and region, by mark and sweep.
//!
//! Order, and why nothing that is needed goes: list what lies there and is older than a day → mark what rows name → wait
//! until every commit in flight is done → mark again → delete what was named neither time. When any bucket of the region
//! cannot be read (a tenant's keys withheld, a row damaged) nothing is deleted. A crash leaves orphans.

use super::inventory::{MissingList, Stock, delete_blobs};
use super::run::GeoRooms;
use super::{SweepError, blocking};
use crate::index::DueKey;
use crate::model::atlas::Region;
use crate::model::clock::Clock;
use crate::model::ids::{BucketId, SegmentId, TenantId};
use crate::model::time::Millis;
use crate::pace::Pace;
use crate::regions::RegionRoots;
use crate::seal::{KeyError, TenantState};
use crate::tenant::State;
use futures::TryStreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The due kind of a region's next collection. Source: docs/index-layout.md, "Due rows".
const DUE_ORPHANS: u8 = 3;
/// Seconds between two collections of a region, and the age at which a blob may be an orphan.
const ORPHAN_S_MIN: i64 = 86_400;
/// Tenants read at once.
const TENANTS_STEP: usize = 1000;

/// When a region's orphans are collected next; `None`: they never were.
pub(super) async fn next(roots: &RegionRoots) -> Result<Option<Millis>, SweepError> {
    Ok(due_row(roots).await?.map(|row| {
        let [.., a, b, c, d, e, f, g, h] = row.id;
        Millis::from_seconds(i64::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).unwrap_or(i64::MAX))
    }))
}

/// Its due row stands at second 0, before everything that is due some time, and its time is its id: it is found without
/// looking at any other.
async fn due_row(roots: &RegionRoots) -> Result<Option<DueKey>, SweepError> {
    let rows = roots.index.due(Millis(0), None, 1).await?;
    Ok(rows.first().map(|row| row.key).filter(is_of_orphans))
}

/// Whether a due row is of a region's collection: this kind and second, or, from before it stood there, at its time.
pub(super) fn is_of_orphans(key: &DueKey) -> bool {
    key.kind == DUE_ORPHANS
}

/// A region's own due rows belong to no tenant.
const NOBODY: TenantId = TenantId([0; 16]);

/// Collects the orphans of one region; answers how many.
pub(super) async fn collect(rooms: &GeoRooms, region: &'static Region, clock: &dyn Clock) -> Result<u64, SweepError> {
    let roots = rooms.tenancy.regions.get(region.id).ok_or(SweepError::OutOfReach(1))?;
    let (before, mut pace) = (clock.now().wall.plus_seconds(-ORPHAN_S_MIN), rooms.pace());
    // Buckets first: one that is created meanwhile has its directory row before any row here.
    let with_rows = roots.index.raw_buckets().await?;
    let mut suspects = Suspects::list(roots, before).await?;
    let known = mark(rooms, roots, &mut suspects, &mut pace).await?;
    if !suspects.0.is_empty() {
        drop(rooms.tenancy.directory.pause_commits().await);
        mark(rooms, roots, &mut suspects, &mut pace).await?;
    }
    // Somebody is reading them: they go when he is done.
    suspects.0.retain(|blob| !roots.readers.keeps(*blob));
    let mut removed = suspects.0.len() as u64;
    delete_blobs(&roots.blobs, &suspects.0, &mut pace).await?;
    for unknown in with_rows.difference(&known) {
        removed += u64::from(roots.index.drop_bucket_rows_at(*unknown, &mut pace).await? > 0);
    }
    removed += roots.blobs.remove_leftovers(before).await?.files;
    put_next(rooms, roots, clock).await?;
    Ok(removed)
}

/// Blobs that no row was seen to name, sorted. 16 bytes each: ten million blobs take 160 MB while this runs.
struct Suspects(Vec<SegmentId>);

impl Suspects {
    async fn list(roots: &RegionRoots, before: Millis) -> Result<Self, SweepError> {
        let old = roots.blobs.list().try_filter(|blob| std::future::ready(blob.modified < before));
        let mut ids: Vec<_> = old.map_ok(|blob| blob.id).try_collect().await?;
        ids.sort_unstable();
        ids.dedup();
        Ok(Self(ids))
    }
}

/// Takes everything that a row names from the suspects. Answers the region's buckets. Fails unless all could be read.
async fn mark(
    rooms: &GeoRooms,
    roots: &Arc<RegionRoots>,
    suspects: &mut Suspects,
    pace: &mut Pace,
) -> Result<BTreeSet<BucketId>, SweepError> {
    let mut named = vec![false; suspects.0.len()];
    let mut name = |id: &SegmentId| {
        if let Ok(at) = suspects.0.binary_search(id) {
            named[at] = true;
        }
    };
    let mut known = BTreeSet::new();
    for tenant in tenants_with_keys(rooms).await? {
        let here = |region: &str| (region == roots.region.id).then(|| roots.clone());
        for stock in Stock::of_tenant(&rooms.tenancy.directory, tenant, here).await? {
            known.insert(stock.bucket.at.bucket);
            let mut cursor = None;
            loop {
                let (objects, next) = stock.objects(cursor.as_ref(), MissingList::Fails, pace).await?;
                objects.iter().flat_map(|object| &object.blobs).for_each(|segment| name(&segment.id));
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            for (_, parts) in stock.uploads(pace).await? {
                parts.iter().for_each(|part| name(&part.segment.id));
            }
        }
    }
    let mut named = named.into_iter();
    suspects.0.retain(|_| !named.next().unwrap_or(true));
    Ok(known)
}

/// Every tenant that may have buckets: all but those whose keys are destroyed.
pub(super) async fn tenants_with_keys(rooms: &GeoRooms) -> Result<Vec<TenantId>, SweepError> {
    let directory = &rooms.tenancy.directory;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = directory.tenants(after, TENANTS_STEP).await?;
        for entry in &page {
            let (id, state) = (entry.standing.id, entry.standing.state);
            let service = directory.key_service().clone();
            let keys = blocking(move || service.tenant_status(id.0)).await?;
            match keys.map(|status| status.state) {
                Some(TenantState::Destroyed) => {}
                // Never made, or not yet: it cannot have stored anything.
                None | Some(TenantState::Provisioning) if state == State::Provisioning => {}
                None => return Err(KeyError::Unknown.into()),
                Some(_) => found.push(id),
            }
        }
        match page.last() {
            Some(last) => after = Some(last.standing.id),
            None => return Ok(found),
        }
    }
}

async fn put_next(rooms: &GeoRooms, roots: &RegionRoots, clock: &dyn Clock) -> Result<(), SweepError> {
    let old = due_row(roots).await?;
    let at = clock.now().cc_lo.plus_seconds(ORPHAN_S_MIN);
    let mut id = [0; 16];
    id[8..].copy_from_slice(&u64::try_from(at.seconds()).unwrap_or(0).to_be_bytes());
    let next = DueKey { seconds: 0, kind: DUE_ORPHANS, tenant: NOBODY, id };
    let geo_keys = rooms.tenancy.directory.key_service().geo_keys();
    roots.index.put_due(&geo_keys.directory(), next, &[]).await?;
    match old.filter(|old| *old != next) {
        Some(old) => Ok(roots.index.remove_due(&[old]).await?),
        None => Ok(()),
    }
}
