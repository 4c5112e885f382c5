//! A bucket's index key: the next key beside the old one, then every row of the bucket is sealed again, then a scan
//! counts zero under the old key, then the old key's record is dropped. The names' tokens change with the key; how
//! readers and writers go on meanwhile is told in `index::rekey`.
//!
//! The order, and what a crash leaves behind:
//!
//! 1. the bucket's directory row gets the new key beside the old     a re-key that the next runner takes up
//! 2. the index is told: from here on all writes are under the new   the same; the directory's row says it
//! 3. rows are sealed again, some hundred in each commit              rows under both keys, which all readers know
//! 4. a scan finds zero rows under the old key                       the same
//! 5. the old key's record leaves the directory row                  a bucket under one key

use super::rooms::{Rooms, Run};
use super::{PASSES_MAX, RekeyError, STEP_ROWS};
use crate::audit::Event as Record;
use crate::directory::{Held, JobKind, OpenedBucket};
use crate::index::{RegionIndex, UnderOldKey};
use crate::model::ids::{BucketId, TenantId};
use crate::model::object::BucketRef;
use bytes::Bytes;
use minicbor::bytes::ByteVec;
use std::sync::Arc;

/// What the closing scan found.
#[derive(Clone, Debug)]
pub struct IndexKeyEvidence {
    /// The version before.
    pub from: u32,
    /// The version now.
    pub to: u32,
    /// Rows that were sealed again.
    pub resealed: u64,
    /// Rows that the closing scan read.
    pub scanned: u64,
    /// How many of them are under the old key: zero.
    pub remaining: u64,
}

/// Gives a bucket a new index key, or takes up a re-key that was cut off. Errors: `NoSuchBucket`.
pub async fn rotate_index_key(
    rooms: &Rooms,
    run: &Run<'_>,
    tenant: TenantId,
    bucket: BucketId,
) -> Result<IndexKeyEvidence, RekeyError> {
    let mut held = rooms.begin(JobKind::RotateIndexKey, tenant, Some(bucket)).await?;
    let buckets = rooms.directory.buckets(tenant).await?;
    let Some(at) = buckets.iter().find(|at| at.bucket == bucket) else {
        held.end(rooms.now(), 0, 0).await?;
        return Err(RekeyError::NoSuchBucket);
    };
    let index = &rooms.regions.get(at.region.id).ok_or(RekeyError::RegionNotServed(at.region.id))?.index;
    let opened = begin(rooms, run, &mut held, at).await?;
    index.switch_key(&opened.index).await?;
    for _ in 0..PASSES_MAX {
        run.watch.phase("sealing", held.job().total);
        reseal(rooms, run, index, &opened, &mut held).await?;
        run.watch.phase("scanning", held.job().total);
        let found = scan(rooms, index, &opened).await?;
        if found.remaining == 0 {
            return end(rooms, run, at, index, held, found).await;
        }
        held.step(rooms.now(), |job| (job.cursor, job.done, job.remaining) = (None, 0, found.remaining)).await?;
    }
    Err(RekeyError::Leftover(held.job().remaining))
}

async fn begin(rooms: &Rooms, run: &Run<'_>, held: &mut Held, at: &BucketRef) -> Result<Arc<OpenedBucket>, RekeyError> {
    let (tenant, bucket) = (at.tenant, at.bucket);
    if held.job().to == 0 {
        rooms.audit.append(run.actor, Record::IndexKeyRotationBegun { tenant, bucket }).await?;
    }
    let opened = rooms.directory.begin_rekey(at).await?.ok_or(RekeyError::NoSuchBucket)?;
    if held.job().to == 0 {
        let roots = rooms.regions.get(at.region.id).ok_or(RekeyError::RegionNotServed(at.region.id))?;
        let (to, total) = (opened.index.key.name().version, roots.index.count_rows(bucket).await?.rows);
        held.step(rooms.now(), |job| (job.from, job.to, job.total) = (to - 1, to, total)).await?;
    }
    Ok(opened)
}

async fn reseal(
    rooms: &Rooms,
    run: &Run<'_>,
    index: &RegionIndex,
    opened: &OpenedBucket,
    held: &mut Held,
) -> Result<(), RekeyError> {
    let mut pace = rooms.pace(run);
    let mut cursor = held.job().cursor.as_ref().map(|cursor| Bytes::copy_from_slice(cursor));
    loop {
        let step = index.reseal(&opened.index, cursor.as_ref(), pace.step(STEP_ROWS), held.fence()).await?;
        cursor = step.next;
        let kept = cursor.as_ref().map(|cursor| ByteVec::from(cursor.to_vec()));
        held.step(rooms.now(), |job| {
            job.cursor = kept;
            (job.done, job.changed) = (job.done + step.seen, job.changed + step.resealed);
        })
        .await?;
        run.watch.done(held.job().done);
        if cursor.is_none() {
            return Ok(());
        }
        pace.spent(step.seen).await;
    }
}

/// Counts the rows that are still under the old key.
async fn scan(rooms: &Rooms, index: &RegionIndex, opened: &OpenedBucket) -> Result<UnderOldKey, RekeyError> {
    let (mut found, mut cursor, mut pace) = (UnderOldKey::default(), None, rooms.scan_pace());
    loop {
        let before = found.scanned;
        cursor = index.count_old(&opened.index, cursor.as_ref(), pace.step(STEP_ROWS), &mut found).await?;
        if cursor.is_none() {
            return Ok(found);
        }
        pace.spent(found.scanned - before).await;
    }
}

async fn end(
    rooms: &Rooms,
    run: &Run<'_>,
    at: &BucketRef,
    index: &RegionIndex,
    held: Held,
    found: UnderOldKey,
) -> Result<IndexKeyEvidence, RekeyError> {
    if let Some(alone) = rooms.directory.end_rekey(at).await? {
        index.switch_key(&alone.index).await?;
    }
    let (from, to, resealed) = (held.job().from, held.job().to, held.job().changed);
    let (tenant, bucket, remaining) = (at.tenant, at.bucket, found.remaining);
    rooms
        .audit
        .append(run.actor, Record::IndexKeyRotationEnded { tenant, bucket, from, to, resealed, remaining })
        .await?;
    held.end(rooms.now(), found.scanned, found.remaining).await?;
    Ok(IndexKeyEvidence { from, to, resealed, scanned: found.scanned, remaining: found.remaining })
}
