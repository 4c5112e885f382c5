//! Multipart uploads: one row for the upload, one for each part, all gone in the commit that completes or aborts it.
//!
//! Called by `store` and, for stale ones, by `sweep`. Part bytes are in the blob store already; whoever is told of a
//! replaced or freed part deletes its blob.

use super::acts::Act;
use super::anchor::Value;
use super::bucket::{OpenBucket, Stamp};
use super::due::Due;
use super::engine::{Direction, KeyRange};
use super::error::{Damage, IndexError};
use super::fence::Fence;
use super::region::RegionIndex;
use super::row_keys::{self, RowKind};
use super::rows::v1::{PartRow, UploadRow};
use super::subjects::SubjectPlace;
use crate::model::ids::UploadId;
use crate::model::time::Millis;
use minicbor::Decode;
use std::sync::Arc;

impl RegionIndex {
    /// Records a new upload and, in the same commit, that it is stale at `stale` (see [`Due::upload`]), and where its data
    /// subjects' object will be.
    pub async fn create_upload(
        &self,
        bucket: &Arc<OpenBucket>,
        row: UploadRow,
        stale: Millis,
        places: impl IntoIterator<Item = SubjectPlace>,
    ) -> Result<(), IndexError> {
        let places: Vec<_> = places.into_iter().collect();
        let row_key = row_keys::upload(bucket.bucket, row.upload_id);
        loop {
            let bucket = self.shared.keyed.newest(bucket);
            let (row_key, places) = (row_key.clone(), places.clone());
            let sealed = Value::new(bucket.seal(RowKind::Upload, &row_key, &row, &[]));
            let due = Due::of_upload(&bucket, row.upload_id, stale);
            match self.submit(|reply| Act::CreateUpload { bucket, row_key, sealed, due, places, reply }).await {
                Err(IndexError::Rekeyed) => {}
                done => return done,
            }
        }
    }

    /// An upload in progress.
    pub async fn upload(&self, bucket: &Arc<OpenBucket>, upload: UploadId) -> Result<Option<UploadRow>, IndexError> {
        let row_key = row_keys::upload(bucket.bucket, upload);
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let Some(value) = self.shared.engine.get(&row_key).await? else { return Ok(None) };
            match keyed.open::<UploadRow>(RowKind::Upload, &row_key, &value) {
                Err(_) if !self.shared.keyed.is_newest(&keyed) => {}
                Ok(row) if row.upload_id != upload => return Err(Damage::Elsewhere.into()),
                row => return row.map(Some),
            }
        }
    }

    /// Replaces the row of an upload with `new`, unless it was completed, aborted or replaced since `old` was read:
    /// then `false`. A step of long work: rotations wrap its data key anew.
    pub async fn replace_upload_if_same(
        &self,
        bucket: &Arc<OpenBucket>,
        old: &UploadRow,
        new: UploadRow,
        fence: &Fence,
    ) -> Result<bool, IndexError> {
        let row_key = row_keys::upload(bucket.bucket, old.upload_id);
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let Some(value) = self.shared.engine.get(&row_key).await? else { return Ok(false) };
            let current = keyed.open::<UploadRow>(RowKind::Upload, &row_key, &value);
            if current.is_err() && !self.shared.keyed.is_newest(&keyed) {
                continue;
            }
            if current? != *old {
                return Ok(false);
            }
            let (old, sealed) = (Stamp::of(&value), Value::new(keyed.seal(RowKind::Upload, &row_key, &new, &[])));
            let (row_key, fence, in_rekey) = (row_key.clone(), Some(fence.clone()), keyed.old.is_some());
            let act = |reply| Act::ReplaceUpload { bucket: keyed, row_key, sealed, old, fence, reply };
            match self.submit(act).await {
                Err(IndexError::Rekeyed) => {}
                // It may only have been sealed anew: the next look tells.
                Ok(false) if in_rekey => {}
                done => return done,
            }
        }
    }

    /// Records a part in the place of the one that had its number, which is answered. Fails with `NoSuchUpload` when
    /// the upload is gone by the time of the commit.
    pub async fn put_part(
        &self,
        bucket: &Arc<OpenBucket>,
        upload: UploadId,
        row: PartRow,
    ) -> Result<Option<PartRow>, IndexError> {
        let row_key = row_keys::part(bucket.bucket, upload, row.number);
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let sealed = Value::new(keyed.seal(RowKind::Part, &row_key, &row, &[]));
            let (bucket, at, len) = (keyed.clone(), row_key.clone(), row.segment.len);
            match self.submit(|reply| Act::PutPart { bucket, upload, row_key: at, sealed, len, reply }).await {
                Err(IndexError::Rekeyed) => {}
                done => return done?.map(|value| keyed.open(RowKind::Part, &row_key, &value)).transpose(),
            }
        }
    }

    /// Parts with a number larger than `after`, ascending, at most `limit`.
    pub async fn parts(
        &self,
        bucket: &Arc<OpenBucket>,
        upload: UploadId,
        after: u16,
        limit: usize,
    ) -> Result<Vec<PartRow>, IndexError> {
        let range = KeyRange::prefix(&row_keys::parts(bucket.bucket, upload));
        let range = range.behind(&row_keys::part(bucket.bucket, upload, after));
        self.open_all(bucket, RowKind::Part, range, limit).await
    }

    /// All uploads in progress, by upload id. There are as many rows to read as uploads: few, since stale ones are
    /// aborted.
    pub async fn list_uploads(&self, bucket: &Arc<OpenBucket>) -> Result<Vec<UploadRow>, IndexError> {
        let range = KeyRange::prefix(&row_keys::of_bucket(RowKind::Upload, bucket.bucket));
        self.open_all(bucket, RowKind::Upload, range, usize::MAX).await
    }

    /// Ends an upload; answers the parts whose blobs are free now.
    pub async fn abort(&self, bucket: &Arc<OpenBucket>, upload: UploadId) -> Result<Vec<PartRow>, IndexError> {
        let of = bucket.clone();
        let parts = self.submit(|reply| Act::Abort { bucket: of, upload, reply }).await?;
        let keyed = self.shared.keyed.newest(bucket);
        parts.iter().map(|(row_key, value)| keyed.open(RowKind::Part, row_key, value)).collect()
    }

    async fn open_all<T>(
        &self,
        bucket: &Arc<OpenBucket>,
        kind: RowKind,
        range: KeyRange,
        limit: usize,
    ) -> Result<Vec<T>, IndexError>
    where
        T: for<'a> Decode<'a, ()>,
    {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let rows = self.shared.engine.scan(range.clone(), limit, Direction::Ascending).await?;
            let opened: Result<Vec<T>, IndexError> =
                rows.iter().map(|(row_key, value)| keyed.open(kind, row_key, value)).collect();
            if opened.is_ok() || self.shared.keyed.is_newest(&keyed) {
                return opened;
            }
        }
    }
}
