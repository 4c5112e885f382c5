//! A tenant's data key: a new version for new objects, then every wrapped data key in the tenant's rows is wrapped again
//! under it, then a full scan counts what is left under older versions.
//!
//! Exact, not approximate: the switch waits for commits in flight, and a commit whose data key was wrapped before the
//! switch is wrapped again just before it is written (`store::put`). So behind the switch no row appears under an old
//! version, and the walk meets every row that was there before. A concurrent writer wins over the walk.

use super::{RekeyError, Watch};
use crate::audit::{Actor, AuditLog, Event as Record};
use crate::directory::{Directory, OpenedBucket};
use crate::index::rows::v1::ObjectRow;
use crate::model::ids::TenantId;
use crate::regions::{RegionRoots, Regions};
use crate::seal::{self, DekRecord, TenantKeys};
use futures::future::try_join_all;
use std::sync::Arc;

/// Rows read at once; their rewrites share a commit.
const STEP_ROWS: usize = 256;

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
pub async fn rotate_tenant(
    directory: &Arc<Directory>,
    regions: &Regions,
    audit: &AuditLog,
    actor: &Actor,
    tenant: TenantId,
    watch: &dyn Watch,
) -> Result<TenantEvidence, RekeyError> {
    let walk = Walk::of(directory, regions, tenant).await?;
    let current = directory.keys(tenant).await?.active_trk().version;
    watch.phase("counting", 0);
    let before = walk.count(current).await?;
    let (from, to) = if before.older > 0 {
        (current.saturating_sub(1), current)
    } else {
        audit.append(actor, Record::TenantRotationBegun { tenant, from: current, to: current + 1 }).await?;
        (current, switch(directory, tenant).await?)
    };
    let keys = directory.keys(tenant).await?;
    watch.phase("wrapping", before.all);
    let rewrapped = walk.rewrap(&keys, watch).await?;
    watch.phase("scanning", before.all);
    let after = walk.count(to).await?;
    let remaining = after.older;
    audit.append(actor, Record::TenantRotationEnded { tenant, from, to, rewrapped, remaining }).await?;
    if remaining > 0 {
        return Err(RekeyError::Leftover(remaining));
    }
    Ok(TenantEvidence { from, to, rewrapped, scanned: after.all, remaining })
}

async fn switch(directory: &Arc<Directory>, tenant: TenantId) -> Result<u32, RekeyError> {
    let _still = directory.pause_commits().await;
    let service = directory.key_service().clone();
    let made = tokio::task::spawn_blocking(move || service.rotate_tenant(tenant.0)).await;
    Ok(made.map_err(|_| RekeyError::Worker)??.version)
}

/// Every place where a tenant's data keys are kept.
struct Walk {
    places: Vec<(Arc<RegionRoots>, Arc<OpenedBucket>)>,
}

#[derive(Default)]
struct Count {
    all: u64,
    older: u64,
}

impl Walk {
    async fn of(directory: &Directory, regions: &Regions, tenant: TenantId) -> Result<Self, RekeyError> {
        let mut places = Vec::new();
        for at in directory.buckets(tenant).await? {
            let roots = regions.get(at.region.id).ok_or(RekeyError::RegionNotServed(at.region.id))?;
            if let Some(bucket) = directory.open_bucket(&at).await? {
                places.push((roots.clone(), bucket));
            }
        }
        Ok(Self { places })
    }

    async fn count(&self, version: u32) -> Result<Count, RekeyError> {
        let mut count = Count::default();
        for (roots, bucket) in &self.places {
            let mut cursor = None;
            loop {
                let page = roots.index.scan_objects(&bucket.index, cursor.as_ref(), STEP_ROWS).await?;
                let under_root = page.iter().filter(|scanned| scanned.row.subject.is_none());
                under_root.for_each(|scanned| count.add(&scanned.row.dek_record, version));
                match page.last() {
                    Some(last) if page.len() == STEP_ROWS => cursor = Some(last.cursor.clone()),
                    _ => break,
                }
            }
            let uploads = roots.index.list_uploads(&bucket.index).await?;
            for upload in uploads.iter().filter(|upload| upload.subject.is_none()) {
                count.add(&upload.dek_record, version);
            }
        }
        Ok(count)
    }

    async fn rewrap(&self, keys: &Arc<TenantKeys>, watch: &dyn Watch) -> Result<u64, RekeyError> {
        let (mut done, mut rewrapped) = (0, 0);
        for (roots, bucket) in &self.places {
            let mut cursor = None;
            loop {
                let page = roots.index.scan_objects(&bucket.index, cursor.as_ref(), STEP_ROWS).await?;
                // Under a subject's key: nothing that rotates here is above it.
                let under_root = page.iter().filter(|scanned| scanned.row.subject.is_none());
                let rows = under_root.map(|scanned| rewrap_object(roots, bucket, keys, &scanned.row));
                rewrapped += try_join_all(rows).await?.into_iter().sum::<u64>();
                done += page.len() as u64;
                watch.done(done);
                match page.last() {
                    Some(last) if page.len() == STEP_ROWS => cursor = Some(last.cursor.clone()),
                    _ => break,
                }
            }
            let uploads = roots.index.list_uploads(&bucket.index).await?;
            for upload in uploads.into_iter().filter(|upload| upload.subject.is_none()) {
                let context = seal::object_context(&bucket.at, upload.object_id, upload.version_id);
                if let Some(dek_record) = keys.rewrap_dek(&upload.dek_record, &context)? {
                    let mut new = upload.clone();
                    new.dek_record = dek_record;
                    // False: it was completed or aborted meanwhile.
                    rewrapped += u64::from(roots.index.replace_upload_if_same(&bucket.index, &upload, new).await?);
                }
                done += 1;
                watch.done(done);
            }
        }
        Ok(rewrapped)
    }
}

/// Wraps one object's data key again; 1 when its row was replaced. Tries anew when a concurrent writer won, because
/// the winner may be a change of tags that kept the old record.
async fn rewrap_object(
    roots: &RegionRoots,
    bucket: &OpenedBucket,
    keys: &TenantKeys,
    row: &ObjectRow,
) -> Result<u64, RekeyError> {
    let mut row = row.clone();
    loop {
        let context = seal::object_context(&bucket.at, row.object_id, row.version_id);
        let Some(dek_record) = keys.rewrap_dek(&row.dek_record, &context)? else { return Ok(0) };
        let mut new = row.clone();
        new.dek_record = dek_record;
        if roots.index.replace_if_same(&bucket.index, &row, new).await? {
            return Ok(1);
        }
        let name = crate::model::names::ObjectName::parse(row.name.clone());
        let Ok(name) = name else { return Ok(0) };
        match roots.index.get(&bucket.index, &name).await? {
            Some(found) => row = found.row,
            None => return Ok(0),
        }
    }
}

impl Count {
    fn add(&mut self, record: &DekRecord, version: u32) {
        self.all += 1;
        self.older += u64::from(seal::parent_version(record) < version);
    }
}
