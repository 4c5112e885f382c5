//! The geo's directory key: a new version, then every row under an older one is sealed again (tenants' names and logins
//! move to its tokens), then a scan counts zero under older versions, then those are destroyed.
//!
//! The order, and what a crash leaves behind:
//!
//! 1. the key service makes the version, writes its heads anew, and this process seals under it     both versions open
//! 2. the directory's rows, some hundred in each commit; in each region the anchor and due rows     rows under both
//! 3. a scan of the directory and of every region finds zero rows under older versions              the same
//! 4. the older versions are destroyed                                                              one version
//!
//! Tenants whose keys are suspended keep the older versions alive: their names and logins' ids, which the tokens are made
//! of, are sealed under the tenant's own keys.

use super::master::blocking;
use super::rooms::{Rooms, Run};
use super::roots::older;
use super::{RekeyError, RootEvidence, STEP_ROWS};
use crate::audit::Event as Record;
use crate::directory::{GEO_LANE, Held, JobKind};
use crate::regions::RegionRoots;
use crate::seal::KeyState;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait for those who replace their row themselves, and how often to look.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// Gives the geo a new directory key. While rows are under an older version (a rotation was cut off), takes that one up
/// instead of making another. Errors: `Leftover` while tenants' keys are suspended.
pub async fn rotate_directory_key(rooms: &Rooms, run: &Run<'_>) -> Result<RootEvidence, RekeyError> {
    let regions = regions(rooms).await?;
    let mut held = rooms.begin(JobKind::RotateDirectoryKey, GEO_LANE, None).await?;
    let current = rooms.directory.follow_directory_key().await?.version;
    if held.job().to == 0 {
        let found = under(rooms, &regions).await?;
        let (from, to) = if older(&found, current) > 0 {
            (current.saturating_sub(1), current)
        } else {
            rooms.audit.append(run.actor, Record::DirectoryKeyRotationBegun { from: current }).await?;
            (current, rooms.directory.switch_directory_key().await?.version)
        };
        held.step(rooms.now(), |job| (job.from, job.to, job.total) = (from, to, found.values().sum())).await?;
    }
    let begun = Instant::now();
    loop {
        run.watch.phase("sealing", held.job().total);
        let closed = reseal(rooms, run, &regions, &mut held).await?;
        run.watch.phase("scanning", held.job().total);
        let found = under(rooms, &regions).await?;
        let left = older(&found, held.job().to);
        if left == 0 {
            return end(rooms, run, held, found.values().sum()).await;
        }
        held.step(rooms.now(), |job| (job.cursor, job.done, job.remaining) = (None, 0, left)).await?;
        // Those of runners at work go with their next steps; those of suspended tenants stay.
        if left == closed || begun.elapsed() > PATIENCE {
            // Ended all the same, so that it keeps no other work on the geo waiting: the next one finds what is left by scan.
            held.end(rooms.now(), found.values().sum(), left).await?;
            return Err(RekeyError::Leftover(left));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Rows by the version of the geo's directory key they are under: the directory's, and those of every region.
pub(super) async fn under(rooms: &Rooms, regions: &[Arc<RegionRoots>]) -> Result<BTreeMap<u32, u64>, RekeyError> {
    let mut under = rooms.directory.under_directory_keys().await?;
    for roots in regions {
        for (version, rows) in roots.index.under_directory_keys().await? {
            *under.entry(version).or_default() += rows;
        }
    }
    Ok(under)
}

/// All regions of the geo that were ever served. Errors: `RegionNotServed` when one of them is not served here: its anchor
/// would be lost with the older versions.
pub(super) async fn regions(rooms: &Rooms) -> Result<Vec<Arc<RegionRoots>>, RekeyError> {
    let mut served = Vec::new();
    for region in rooms.directory.geo().regions {
        if let Some(roots) = rooms.regions.get(region.id) {
            served.push(roots.clone());
        } else if blocking(rooms.directory.key_service(), |keys| keys.anchor(region.id)).await?.is_some() {
            return Err(RekeyError::RegionNotServed(region.id));
        }
    }
    Ok(served)
}

async fn reseal(
    rooms: &Rooms,
    run: &Run<'_>,
    regions: &[Arc<RegionRoots>],
    held: &mut Held,
) -> Result<u64, RekeyError> {
    let (mut pace, mut closed) = (rooms.pace(run), 0);
    let mut cursor = held.job().cursor.as_ref().map(|cursor| Bytes::copy_from_slice(cursor));
    loop {
        let step = rooms.directory.reseal_geo_rows(cursor.as_ref(), pace.step(STEP_ROWS)).await?;
        cursor = step.next;
        closed += step.closed;
        let kept = cursor.as_ref().map(|cursor| cursor.to_vec().into());
        held.step(rooms.now(), |job| {
            job.cursor = kept;
            (job.done, job.changed) = (job.done + step.seen, job.changed + step.resealed);
        })
        .await?;
        run.watch.done(held.job().done);
        if cursor.is_none() {
            break;
        }
        pace.spent(step.seen).await;
    }
    let keys = rooms.directory.key_service().geo_keys();
    for roots in regions {
        let resealed = roots.index.reseal_geo_rows(&keys, held.fence()).await?;
        held.step(rooms.now(), |job| (job.done, job.changed) = (job.done + resealed, job.changed + resealed)).await?;
    }
    Ok(closed)
}

async fn end(rooms: &Rooms, run: &Run<'_>, held: Held, scanned: u64) -> Result<RootEvidence, RekeyError> {
    let (from, to, resealed) = (held.job().from, held.job().to, held.job().changed);
    let service = rooms.directory.key_service();
    let versions = blocking(service, |keys| keys.status()).await?.directory;
    let mut retired = 0;
    for old in versions.iter().filter(|old| old.name.version < to && old.state == KeyState::DecryptOnly) {
        let version = old.name.version;
        blocking(service, move |keys| keys.retire_directory_key(version, 0)).await?;
        retired += 1;
    }
    let ended = Record::DirectoryKeyRotationEnded { from, to, resealed, remaining: 0, retired };
    rooms.audit.append(run.actor, ended).await?;
    held.end(rooms.now(), scanned, 0).await?;
    Ok(RootEvidence { from, to, rewrapped: resealed, scanned, remaining: 0, retired })
}
