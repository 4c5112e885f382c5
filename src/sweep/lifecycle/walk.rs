//! A bucket's rules were replaced: every object of it, and every upload, gets the due row that they say.
//!
//! In steps, each some hundred objects in one commit, beside everything else that goes on; the place is kept in the
//! bucket's row among the due rows, so a crash loses one step. Rules that are replaced meanwhile begin the walk anew. What
//! is written meanwhile is dated by its own commit. While a bucket is re-keyed its rows move, and a walk could miss one:
//! a walk that a re-key began or ended under begins anew, and waits until none is under way.

use super::lifetimes::Lifetimes;
use crate::directory::OpenedBucket;
use crate::index::rows::v1::{ObjectRow, WalkRow};
use crate::index::{DueKey, OpenBucket};
use crate::model::ids::BucketId;
use crate::regions::RegionRoots;
use crate::sweep::SweepError;
use crate::sweep::run::GeoRooms;
use crate::sweep::uploads::stale_at;
use bytes::Bytes;
use std::sync::Arc;

/// Objects dated in one commit.
const STEP: usize = 256;

/// Walks every bucket of the geo that needs it. Answers how many objects and uploads got another due time; a bucket that
/// cannot be walked now is left to the next call, and told of by the error once the others are done.
pub(in crate::sweep) async fn walk(rooms: &GeoRooms) -> Result<u64, SweepError> {
    let (mut dated, mut failed) = (0, None);
    for roots in rooms.regions() {
        for due in roots.index.walks().await? {
            match walk_bucket(rooms, &roots, due.key).await {
                Ok(changed) => dated += changed,
                Err(error) => failed = Some(error),
            }
        }
    }
    failed.map_or(Ok(dated), Err)
}

async fn walk_bucket(rooms: &GeoRooms, roots: &Arc<RegionRoots>, key: DueKey) -> Result<u64, SweepError> {
    let (mut dated, mut pace) = (0, rooms.pace());
    while let Some((walk, opened)) = take_up(rooms, roots, key).await? {
        if opened.index.old.is_some() {
            return Ok(dated);
        }
        let cursor = walk.cursor.as_ref().filter(|_| walk.stage == stage(&opened.index));
        if cursor.is_none() {
            dated += date_uploads(roots, &opened).await?;
        }
        let cursor = cursor.map(|cursor| Bytes::copy_from_slice(cursor));
        let limit = pace.step(STEP);
        let page = roots.index.scan_objects(&opened.index, cursor.as_ref(), limit).await?;
        let (seen, next) = (page.len() as u64, page.last().filter(|_| page.len() == limit));
        let next = next.map(|last| last.cursor.clone());
        let lifetimes = Lifetimes::of(rooms, &opened).await?;
        let due = |row: &ObjectRow| Some(u64::try_from(lifetimes.look(row)?.seconds()).unwrap_or(0));
        let rows = page.into_iter().map(|scanned| (due(&scanned.row), scanned.row));
        let rows: Vec<_> = rows.filter(|(due, row)| *due != row.due).map(|(due, row)| (row, due)).collect();
        if !rows.is_empty() {
            dated += roots.index.date(&opened.index, &rows).await?;
        }
        let next =
            WalkRow { change: walk.change, stage: stage(&opened.index), cursor: next.map(|at| at.to_vec().into()) };
        pace.spent(seen).await;
        if !step(rooms, roots, key, next).await? {
            return Ok(dated);
        }
    }
    Ok(dated)
}

/// How far the walk is, and the bucket with the rules in force. `None`: it is over, or the bucket is gone.
async fn take_up(
    rooms: &GeoRooms,
    roots: &Arc<RegionRoots>,
    key: DueKey,
) -> Result<Option<(WalkRow, Arc<OpenedBucket>)>, SweepError> {
    let directory = &rooms.tenancy.directory;
    let _walks = directory.walks().lock().await;
    let Some(walk) = read(rooms, roots, key).await? else { return Ok(None) };
    let buckets = directory.buckets(key.tenant).await?;
    let opened = match buckets.iter().find(|at| at.bucket == BucketId(key.id)) {
        Some(at) => directory.open_bucket(at).await?,
        None => None,
    };
    match opened {
        Some(opened) => Ok(Some((walk, opened))),
        None => {
            roots.index.remove_due(&[key]).await?;
            Ok(None)
        }
    }
}

/// Keeps the place, or ends the walk; whether there is more to do.
async fn step(rooms: &GeoRooms, roots: &Arc<RegionRoots>, key: DueKey, next: WalkRow) -> Result<bool, SweepError> {
    let directory = &rooms.tenancy.directory;
    let _walks = directory.walks().lock().await;
    match read(rooms, roots, key).await? {
        Some(walk) if walk.change == next.change => {}
        // The rules were replaced again.
        Some(_) => return Ok(true),
        None => return Ok(false),
    }
    if next.cursor.is_some() {
        let geo_keys = directory.key_service().geo_keys();
        roots.index.put_walk_at(&geo_keys.directory(), key, &next).await?;
        return Ok(true);
    }
    let buckets = directory.buckets(key.tenant).await?;
    if let Some(at) = buckets.iter().find(|at| at.bucket == BucketId(key.id))
        && let Some(opened) = directory.open_bucket(at).await?
        && stage(&opened.index) != next.stage
    {
        return Ok(true);
    }
    roots.index.remove_due(&[key]).await?;
    Ok(false)
}

async fn read(rooms: &GeoRooms, roots: &Arc<RegionRoots>, key: DueKey) -> Result<Option<WalkRow>, SweepError> {
    let walks = roots.index.walks().await?;
    let geo_keys = rooms.tenancy.directory.key_service().geo_keys();
    Ok(walks.iter().find(|due| due.key == key).map(|due| due.walk(&geo_keys)).transpose()?)
}

async fn date_uploads(roots: &Arc<RegionRoots>, opened: &OpenedBucket) -> Result<u64, SweepError> {
    let mut dated = 0;
    for upload in roots.index.list_uploads(&opened.index).await? {
        // Its older due row, wherever it stands, is looked at when its time comes, and moved here.
        roots.index.move_upload_due(&opened.index, upload.upload_id, None, stale_at(opened, &upload)).await?;
        dated += 1;
    }
    Ok(dated)
}

fn stage(bucket: &OpenBucket) -> u64 {
    bucket.stage()
}
