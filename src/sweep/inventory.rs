//! Walks over what a bucket holds, and over what a region's blob store holds.
//!
//! Two looks that share nothing: one goes by the rows and needs the tenant's keys; the other goes by the blobs' own
//! clear headers and needs none, so it also finds what no row names. Source: docs/object-format.md, "Sealed segment".

use super::SweepError;
use crate::blob::{BlobError, BlobStore};
use crate::directory::{Directory, DirectoryError, OpenedBucket};
use crate::index::rows::v1::{ObjectRow, PartRow, Place, SegmentRef, UploadRow};
use crate::model::ids::{SegmentId, TenantId};
use crate::model::limits::PARTS_MAX;
use crate::pace::Pace;
use crate::regions::RegionRoots;
use crate::seal::{self, KeyError, OpenError, TenantKeys};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;

/// Rows read at once.
const STEP: usize = 256;
/// Blob headers read at the same time.
const HEADERS_IN_FLIGHT: usize = 32;

/// A bucket that can be read.
pub(super) struct Stock {
    pub(super) roots: Arc<RegionRoots>,
    pub(super) bucket: Arc<OpenedBucket>,
    directory: Arc<Directory>,
    pub(super) keys: Arc<TenantKeys>,
}

/// An object and its blobs; of an object with a list of parts the list comes last.
pub(super) struct Object {
    pub(super) row: ObjectRow,
    pub(super) blobs: Vec<SegmentRef>,
}

/// Deletes blobs no faster than `pace`, in the order given.
pub(super) async fn delete_blobs(
    blobs: &Arc<dyn BlobStore>,
    mut ids: &[SegmentId],
    pace: &mut Pace,
) -> Result<(), SweepError> {
    while !ids.is_empty() {
        let (some, rest) = ids.split_at(ids.len().min(pace.step(STEP)));
        blobs.delete(some).await?;
        pace.spent(some.len() as u64).await;
        ids = rest;
    }
    Ok(())
}

/// What to do when the list of an object's parts is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingList {
    /// A deletion that was cut off took the parts first: they are gone.
    MeansDeleted,
    /// Something is wrong.
    Fails,
}

impl Stock {
    /// All buckets of a tenant in served regions, opened, in the order of their ids.
    pub(super) async fn of_tenant(
        directory: &Arc<Directory>,
        tenant: TenantId,
        roots_of: impl Fn(&str) -> Option<Arc<RegionRoots>>,
    ) -> Result<Vec<Self>, SweepError> {
        let keys = directory.keys(tenant).await?;
        let mut buckets = directory.buckets(tenant).await?;
        buckets.sort_by_key(|at| at.bucket);
        let mut stocks = Vec::new();
        for at in buckets {
            let Some(roots) = roots_of(at.region.id) else { continue };
            if let Some(bucket) = directory.open_bucket(&at).await? {
                stocks.push(Self { roots, bucket, directory: directory.clone(), keys: keys.clone() });
            }
        }
        Ok(stocks)
    }

    /// One bucket that is open already.
    pub(super) async fn of_bucket(
        directory: &Arc<Directory>,
        roots: &Arc<RegionRoots>,
        bucket: Arc<OpenedBucket>,
    ) -> Result<Self, SweepError> {
        let keys = directory.keys(bucket.at.tenant).await?;
        Ok(Self { roots: roots.clone(), bucket, directory: directory.clone(), keys })
    }

    /// The next objects behind `cursor`, and where to go on; `None`: that was the end. Rests before it answers, also for
    /// what was done with the objects before.
    pub(super) async fn objects(
        &self,
        cursor: Option<&Bytes>,
        missing: MissingList,
        pace: &mut Pace,
    ) -> Result<(Vec<Object>, Option<Bytes>), SweepError> {
        let step = pace.step(STEP);
        let page = self.roots.index.scan_objects(&self.bucket.index, cursor, step).await?;
        let next = page.last().filter(|_| page.len() == step).map(|last| last.cursor.clone());
        let mut objects = Vec::with_capacity(page.len());
        for scanned in page {
            let blobs = self.blobs(&scanned.row, missing).await?;
            objects.push(Object { row: scanned.row, blobs });
        }
        pace.spent(objects.len() as u64).await;
        Ok((objects, next))
    }

    /// Uploads in progress, each with its parts.
    pub(super) async fn uploads(&self, pace: &mut Pace) -> Result<Vec<(UploadRow, Vec<PartRow>)>, SweepError> {
        let mut uploads = Vec::new();
        for upload in self.roots.index.list_uploads(&self.bucket.index).await? {
            let index = &self.roots.index;
            let parts = index.parts(&self.bucket.index, upload.upload_id, 0, usize::from(PARTS_MAX)).await?;
            pace.spent(parts.len() as u64).await;
            uploads.push((upload, parts));
        }
        Ok(uploads)
    }

    /// The data key of one object, under its subject's key or the tenant's.
    pub(super) async fn dek(&self, row: &ObjectRow, context: &seal::ObjectContext) -> Result<seal::Dek, SweepError> {
        Ok(self.directory.open_dek(&self.keys, row.subject, &row.dek_record, context).await?)
    }

    /// The blobs of one object, the list of its parts last.
    pub(super) async fn blobs(&self, row: &ObjectRow, missing: MissingList) -> Result<Vec<SegmentRef>, SweepError> {
        let list = match (row.place, row.segments.first()) {
            (Place::Trailing | Place::Row | Place::Nowhere, _) => return Ok(Vec::new()),
            (Place::Blob, _) => return Ok(row.segments.clone()),
            (Place::PartList, list) => *list.ok_or(SweepError::Integrity)?,
        };
        let sealed = match self.roots.blobs.get(list.id, 0..seal::sealed_len(list.len)).await {
            Ok(sealed) => sealed,
            Err(BlobError::Missing(_)) if missing == MissingList::MeansDeleted => return Ok(vec![list]),
            Err(error) => return Err(error.into()),
        };
        let context = seal::object_context(&self.bucket.at, row.object_id, row.version_id);
        let expected = seal::part_list_info(context, list.id, row.dek_id);
        let dek = match self.directory.open_dek(&self.keys, row.subject, &row.dek_record, &context).await {
            // Its subject was erased: what the list names is nobody's.
            Err(DirectoryError::Keys(KeyError::Destroyed)) => return Ok(vec![list]),
            dek => dek?,
        };
        let plain = dek.open_whole(&expected, &sealed, list.len).map_err(unopened)?;
        let mut segments: Vec<SegmentRef> = minicbor::decode(&plain).map_err(|_| SweepError::Integrity)?;
        segments.push(list);
        Ok(segments)
    }
}

/// A list that does not open is damaged, unless it is the key that may not be used now.
fn unopened(error: OpenError) -> SweepError {
    match DirectoryError::from(error) {
        DirectoryError::Integrity => SweepError::Integrity,
        error => error.into(),
    }
}

/// Whose the blobs of a store are, by their headers alone: those of `tenant`, each with its length. All of the store's
/// are looked at, no faster than `pace`.
pub(super) async fn blobs_of_tenant(
    blobs: &Arc<dyn BlobStore>,
    tenant: TenantId,
    pace: &mut Pace,
) -> Result<Vec<(SegmentId, u64)>, SweepError> {
    let headers = blobs.list().map_ok(|blob| {
        let blobs = blobs.clone();
        async move {
            let whose = match blobs.get(blob.id, 0..HEADER_END).await {
                Ok(header) => tenant_of(&header),
                // Deleted meanwhile; or too short to be a segment of ours.
                Err(BlobError::Missing(_) | BlobError::Range(_)) => None,
                Err(error) => return Err(error),
            };
            Ok((whose, blob.id, blob.len))
        }
    });
    let mut headers = headers.try_buffer_unordered(HEADERS_IN_FLIGHT).boxed();
    let (mut found, mut seen) = (Vec::new(), 0);
    while let Some((whose, id, len)) = headers.try_next().await? {
        if whose == Some(tenant) {
            found.push((id, len));
        }
        seen += 1;
        if seen >= pace.step(STEP) {
            pace.spent(seen as u64).await;
            seen = 0;
        }
    }
    Ok(found)
}

/// Where the tenant's id stands in a segment's header.
const TENANT_AT: std::ops::Range<usize> = 16..32;
const HEADER_END: u64 = TENANT_AT.end as u64;

fn tenant_of(header: &[u8]) -> Option<TenantId> {
    let magic = header.starts_with(b"\x89SEG\r\n\x1a\n");
    magic.then(|| header.get(TENANT_AT)?.try_into().ok().map(TenantId)).flatten()
}
