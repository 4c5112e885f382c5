//! A tenant's data key: a new version for new objects, then every wrapped data key in the tenant's rows is wrapped again
//! under it, then a full scan counts what is left under older versions.
//!
//! Exact, not approximate: the switch waits for commits in flight, and a commit whose data key was wrapped before the
//! switch is wrapped again just before it is written (`store::put`). So behind the switch no row appears under an old
//! version, and the walk meets every row that was there before. A concurrent writer wins over the walk.
//!
//! The position stands in the tenant's job: killed anywhere, the next runner goes on from there, under a token that voids
//! the one before. The end does not go by the position but by the scan.

use super::rooms::{Place, Places, Rooms, Run};
use super::wrapped::Wrapped;
use super::{PASSES_MAX, RekeyError, STEP_ROWS};
use crate::audit::Event as Record;
use crate::directory::{Directory, Held, JobKind};
use crate::index::rows::v1::ObjectRow;
use crate::model::ids::TenantId;
use crate::model::versioning::VersionAsked;
use crate::seal::{self, TenantKeys};
use futures::future::try_join_all;
use std::sync::Arc;

/// What the closing scan found.
#[derive(Clone, Debug)]
pub struct TenantEvidence {
    /// The version before.
    pub from: u32,
    /// The version now.
    pub to: u32,
    /// Records that were wrapped again.
    pub rewrapped: u64,
    /// Records that the closing scan read.
    pub scanned: u64,
    /// How many of them name an older version: zero.
    pub remaining: u64,
}

/// Rotates a tenant's data key. While an older version is still in use by rows (a rotation was cut off), takes that
/// one up instead of making another version.
pub async fn rotate_tenant(rooms: &Rooms, run: &Run<'_>, tenant: TenantId) -> Result<TenantEvidence, RekeyError> {
    let mut held = rooms.begin(JobKind::RotateTenant, tenant, None).await?;
    let places = rooms.places(tenant, None).await?;
    if held.job().to == 0 {
        let current = rooms.directory.keys(tenant).await?.active_trk().version;
        run.watch.phase("counting", 0);
        let before = count(rooms, &places, |wrapped| wrapped.is_older_than(current)).await?;
        let (from, to) = if before.older > 0 {
            (current.saturating_sub(1), current)
        } else {
            let begun = Record::TenantRotationBegun { tenant, from: current, to: current + 1 };
            rooms.audit.append(run.actor, begun).await?;
            (current, switch(&rooms.directory, tenant).await?)
        };
        held.step(rooms.now(), |job| (job.from, job.to, job.total) = (from, to, before.all)).await?;
    }
    let keys = rooms.directory.keys(tenant).await?;
    for _ in 0..PASSES_MAX {
        run.watch.phase("wrapping", held.job().total);
        rewrap(rooms, run, &places, &keys, &mut held).await?;
        run.watch.phase("scanning", held.job().total);
        // Buckets that came meanwhile hold nothing old; those that went hold nothing.
        let (to, places) = (held.job().to, rooms.places(tenant, None).await?);
        let after = count(rooms, &places, |wrapped| wrapped.is_older_than(to)).await?;
        if after.older == 0 {
            return end(rooms, run, tenant, held, &after).await;
        }
        held.step(rooms.now(), |job| (job.cursor, job.done, job.remaining) = (None, 0, after.older)).await?;
    }
    Err(RekeyError::Leftover(held.job().remaining))
}

async fn end(
    rooms: &Rooms,
    run: &Run<'_>,
    tenant: TenantId,
    held: Held,
    after: &Count,
) -> Result<TenantEvidence, RekeyError> {
    let (from, to, rewrapped) = (held.job().from, held.job().to, held.job().changed);
    let ended = Record::TenantRotationEnded { tenant, from, to, rewrapped, remaining: after.older };
    rooms.audit.append(run.actor, ended).await?;
    held.end(rooms.now(), after.all, after.older).await?;
    Ok(TenantEvidence { from, to, rewrapped, scanned: after.all, remaining: after.older })
}

pub(super) async fn switch(directory: &Arc<Directory>, tenant: TenantId) -> Result<u32, RekeyError> {
    let _still = directory.pause_commits().await;
    let service = directory.key_service().clone();
    let made = tokio::task::spawn_blocking(move || service.rotate_tenant(tenant.0)).await;
    Ok(made.map_err(|_| RekeyError::Worker)??.version)
}

/// Wrapped data keys, and how many of them are old, as whoever counts means it.
#[derive(Default)]
pub(super) struct Count {
    pub(super) all: u64,
    pub(super) older: u64,
    /// How many of these are of uploads in progress.
    pub(super) older_uploads: u64,
}

/// Reads every wrapped data key of every row: of objects, and of uploads in progress.
pub(super) async fn count(
    rooms: &Rooms,
    places: &Places,
    is_old: impl Fn(Wrapped<'_>) -> bool,
) -> Result<Count, RekeyError> {
    let (mut count, mut cursor, mut pace) = (Count::default(), None, rooms.scan_pace());
    while let Some(page) = places.page(cursor.as_deref(), pace.step(STEP_ROWS)).await? {
        // Marks of deletion have no data key.
        for scanned in page.rows.iter().filter(|scanned| scanned.row.is_object()) {
            count.all += 1;
            count.older += u64::from(is_old((&scanned.row).into()));
        }
        cursor = Some(page.cursor);
        pace.spent(page.rows.len() as u64).await;
    }
    for place in &places.0 {
        for upload in place.roots.index.list_uploads(&place.bucket.index).await? {
            count.all += 1;
            count.older_uploads += u64::from(is_old((&upload).into()));
        }
    }
    count.older += count.older_uploads;
    Ok(count)
}

async fn rewrap(
    rooms: &Rooms,
    run: &Run<'_>,
    places: &Places,
    keys: &Arc<TenantKeys>,
    held: &mut Held,
) -> Result<(), RekeyError> {
    let mut pace = rooms.pace(run);
    loop {
        let cursor = held.job().cursor.as_ref().map(|cursor| cursor.to_vec());
        let Some(page) = places.page(cursor.as_deref(), pace.step(STEP_ROWS)).await? else { break };
        let rows = page.rows.iter().map(|scanned| rewrap_object(page.place, held, keys, &scanned.row));
        let changed = try_join_all(rows).await?.into_iter().sum::<u64>();
        let seen = page.rows.len() as u64;
        held.step(rooms.now(), |job| {
            job.cursor = Some(page.cursor.into());
            (job.done, job.changed) = (job.done + seen, job.changed + changed);
        })
        .await?;
        run.watch.done(held.job().done);
        pace.spent(seen).await;
    }
    for place in &places.0 {
        for upload in place.roots.index.list_uploads(&place.bucket.index).await? {
            if upload.subject.is_some() {
                continue;
            }
            let context = seal::object_context(&place.bucket.at, upload.object_id, upload.version_id);
            let Some(dek_record) = keys.rewrap_dek(&upload.dek_record, &context)? else { continue };
            let new = crate::index::rows::v1::UploadRow { dek_record, ..upload.clone() };
            // False: it was completed or aborted meanwhile.
            let index = &place.roots.index;
            if index.replace_upload_if_same(&place.bucket.index, &upload, new, held.fence()).await? {
                held.step(rooms.now(), |job| job.changed += 1).await?;
            }
        }
    }
    Ok(())
}

/// Wraps one object's data key again; 1 when its row was replaced. Tries anew when a concurrent writer won, because
/// the winner may be a change of tags that kept the old record, or a version that superseded this one.
async fn rewrap_object(place: &Place, held: &Held, keys: &TenantKeys, row: &ObjectRow) -> Result<u64, RekeyError> {
    let (index, bucket) = (&place.roots.index, &place.bucket);
    let mut row = row.clone();
    loop {
        if row.subject.is_some() || !row.is_object() {
            return Ok(0);
        }
        let context = seal::object_context(&bucket.at, row.object_id, row.version_id);
        let Some(dek_record) = keys.rewrap_dek(&row.dek_record, &context)? else { return Ok(0) };
        let mut new = row.clone();
        new.dek_record = dek_record;
        if index.replace_fenced(&bucket.index, &row, new, held.fence()).await? {
            return Ok(1);
        }
        let name = crate::model::names::ObjectName::parse(row.name.clone());
        let Ok(name) = name else { return Ok(0) };
        match index.find_version(&bucket.index, &name, VersionAsked::Id(row.version_id)).await? {
            Some(found) => row = found.row,
            None => return Ok(0),
        }
    }
}
