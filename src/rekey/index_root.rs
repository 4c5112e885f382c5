//! A tenant's rows under a new index root: buckets, logins and detail in the directory; data subjects' rows there, and in
//! the regions the places of their objects, both found by a token of that root. The steps of `rotate_index_root`, which
//! makes the root before and destroys the older versions behind them.
//!
//! Subject by subject: its places move in every region, then its row in the directory. Whoever looks for either looks
//! under all live versions, so it does not matter which a crash leaves where:
//!
//! * a write that names the subject finds its row at either token, or makes one, under the lock that also moves it: one
//!   name never has two ids;
//! * a request that was given the older keys may write a place at an older token behind the walk. The closing scan, made
//!   when all such requests are gone, finds it, and the next pass moves it;
//! * an erasure takes a place away wherever it stands, and a place moves only as it was read: it never comes back. The
//!   subject's row moves with the note of its erasure.

use super::rooms::{Rooms, Run};
use super::{RekeyError, STEP_ROWS};
use crate::directory::{DirectoryError, Held, SubjectAt};
use crate::model::ids::TenantId;
use crate::pace::Pace;
use crate::regions::RegionRoots;
use crate::seal::{KeyError, TenantKeys};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for an erasure whose places stand in the way, and how often to look.
const ERASURE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// Records by the version of the index root they are under: the directory's, and the places of all regions.
pub(super) async fn under(rooms: &Rooms, tenant: TenantId) -> Result<BTreeMap<u32, u64>, RekeyError> {
    let mut all = u64::MAX;
    under_at_most(rooms, tenant, &mut all).await
}

/// The same of at most `left` rows, which are taken from it; none is left: there may be more.
pub(super) async fn under_at_most(
    rooms: &Rooms,
    tenant: TenantId,
    left: &mut u64,
) -> Result<BTreeMap<u32, u64>, RekeyError> {
    let mut under = rooms.directory.under_index_roots(tenant, left).await?;
    for roots in regions(rooms, tenant).await? {
        for (version, places) in roots.index.subject_places_under(tenant, left).await? {
            *under.entry(version).or_default() += places;
        }
    }
    Ok(under)
}

/// One pass over everything, from where the job stands.
pub(super) async fn rewrap(rooms: &Rooms, run: &Run<'_>, tenant: TenantId, held: &mut Held) -> Result<(), RekeyError> {
    if held.job().cursor.is_none() {
        let done = rooms.directory.reroot_tenant(tenant).await?;
        held.step(rooms.now(), |job| (job.done, job.changed) = (done.seen, job.changed + done.changed)).await?;
        run.watch.done(done.seen);
    }
    let (regions, mut pace) = (regions(rooms, tenant).await?, rooms.pace(run));
    loop {
        let after = held.job().cursor.as_ref().map(|cursor| cursor.to_vec());
        let page = rooms.directory.subjects_page(tenant, after.as_deref(), pace.step(STEP_ROWS)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        let keys = rooms.directory.keys(tenant).await?;
        let mut moved = 0;
        for roots in &regions {
            for at in &page {
                moved += move_places(rooms, run, (&keys, roots), at, held, &mut pace).await?;
            }
        }
        moved += rooms.directory.move_subjects(tenant, &page, held.fence()).await?;
        let (cursor, seen) = (last.row_key.to_vec(), page.len() as u64);
        held.step(rooms.now(), |job| {
            job.cursor = Some(cursor.into());
            (job.done, job.changed) = (job.done + seen, job.changed + moved);
        })
        .await?;
        run.watch.done(held.job().done);
        pace.spent(seen).await;
    }
}

/// Moves all places of one subject in one region. Answers how many.
async fn move_places(
    rooms: &Rooms,
    run: &Run<'_>,
    (keys, roots): (&TenantKeys, &RegionRoots),
    at: &SubjectAt,
    held: &mut Held,
    pace: &mut Pace,
) -> Result<u64, RekeyError> {
    let mut tokens = keys.subject_tokens(at.name.as_str().as_bytes());
    let Some(to) = tokens.next() else { return Ok(0) };
    let mut all = 0;
    for from in tokens {
        loop {
            let limit = pace.step(STEP_ROWS);
            let (seen, moved) = roots.index.move_subject_places(keys, from, to, limit, held.fence()).await?;
            if seen == 0 {
                break;
            }
            all += moved;
            // A subject of very many objects: its runner is not to be thought dead meanwhile.
            held.step(rooms.now(), |job| job.done += seen).await?;
            run.watch.done(held.job().done);
            pace.spent(seen).await;
        }
    }
    Ok(all)
}

/// Takes away places that no walk over subjects reaches: those of subjects that were erased. To be called when the older
/// keys were let go of. A place whose subject is being erased is the erasure's, which finds the object by it: it is waited
/// for, and what it has not come to by then stays.
pub(super) async fn drop_leftovers(rooms: &Rooms, tenant: TenantId, version: u32) -> Result<(), RekeyError> {
    for roots in regions(rooms, tenant).await? {
        let mut looks = ERASURE.as_millis() / LOOK.as_millis();
        loop {
            let keys = rooms.directory.keys(tenant).await?;
            let (mut gone, mut awaited) = (Vec::new(), false);
            for (at, row) in roots.index.subject_places_before(&keys, version).await? {
                let key = rooms.directory.subject_key(tenant, row.subject).await;
                if !matches!(key, Err(DirectoryError::Keys(KeyError::Destroyed))) {
                    continue;
                }
                // Asked behind the key: an erasure is noted before it destroys the key, until it has removed everything.
                match rooms.directory.erasures().await?.contains(&(tenant, row.subject)) {
                    true => awaited = true,
                    false => gone.push(at),
                }
            }
            if !gone.is_empty() {
                roots.index.remove_subject_places(&gone).await?;
            }
            match (gone.is_empty(), awaited && looks > 0) {
                (true, false) => break,
                (true, true) => {
                    looks -= 1;
                    tokio::time::sleep(LOOK).await;
                }
                (false, _) => {}
            }
        }
    }
    Ok(())
}

/// The served regions of the geo. Errors: `RegionNotServed` when a bucket of the tenant lies elsewhere.
pub(super) async fn regions(rooms: &Rooms, tenant: TenantId) -> Result<Vec<Arc<RegionRoots>>, RekeyError> {
    for at in rooms.directory.buckets(tenant).await? {
        if !rooms.regions.contains_key(at.region.id) {
            return Err(RekeyError::RegionNotServed(at.region.id));
        }
    }
    let of_geo = rooms.directory.geo().regions.iter();
    Ok(of_geo.filter_map(|region| rooms.regions.get(region.id).cloned()).collect())
}
