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
use super::region::RegionIndex;
use super::row_keys::{self, RowKind};
use super::rows::v1::{PartRow, UploadRow};
use super::subjects::SubjectPlace;
use crate::model::ids::UploadId;
use crate::model::time::Millis;

impl RegionIndex {
    /// Records a new upload and, in the same commit, that it is stale at `stale` (see [`Due::upload`]), and where its data
    /// subject's object will be.
    pub async fn create_upload(
        &self,
        bucket: &OpenBucket,
        row: UploadRow,
        stale: Millis,
        place: Option<SubjectPlace>,
    ) -> Result<(), IndexError> {
        let row_key = row_keys::upload(bucket.bucket, row.upload_id);
        let sealed = Value::new(bucket.seal(RowKind::Upload, &row_key, &row, &[]));
        let due = Due::of_upload(bucket, row.upload_id, stale);
        let bucket = bucket.bucket;
        self.submit(|reply| Act::CreateUpload { bucket, row_key, sealed, due, place, reply }).await
    }

    /// An upload in progress.
    pub async fn upload(&self, bucket: &OpenBucket, upload: UploadId) -> Result<Option<UploadRow>, IndexError> {
        let row_key = row_keys::upload(bucket.bucket, upload);
        let Some(value) = self.shared.engine.get(&row_key).await? else { return Ok(None) };
        let row: UploadRow = bucket.open(RowKind::Upload, &row_key, &value)?;
        if row.upload_id == upload { Ok(Some(row)) } else { Err(Damage::Elsewhere.into()) }
    }

    /// Replaces the row of an upload with `new`, unless it was completed, aborted or replaced since `old` was read:
    /// then `false`. For rotations, which wrap its data key anew.
    pub async fn replace_upload_if_same(
        &self,
        bucket: &OpenBucket,
        old: &UploadRow,
        new: UploadRow,
    ) -> Result<bool, IndexError> {
        let row_key = row_keys::upload(bucket.bucket, old.upload_id);
        let Some(value) = self.shared.engine.get(&row_key).await? else { return Ok(false) };
        if bucket.open::<UploadRow>(RowKind::Upload, &row_key, &value)? != *old {
            return Ok(false);
        }
        let (old, sealed) = (Stamp::of(&value), Value::new(bucket.seal(RowKind::Upload, &row_key, &new, &[])));
        let bucket = bucket.bucket;
        self.submit(|reply| Act::ReplaceUpload { bucket, row_key, sealed, old, reply }).await
    }

    /// Records a part in the place of the one that had its number, which is answered. Fails with `NoSuchUpload` when
    /// the upload is gone by the time of the commit.
    pub async fn put_part(
        &self,
        bucket: &OpenBucket,
        upload: UploadId,
        row: PartRow,
    ) -> Result<Option<PartRow>, IndexError> {
        let row_key = row_keys::part(bucket.bucket, upload, row.number);
        let sealed = Value::new(bucket.seal(RowKind::Part, &row_key, &row, &[]));
        let act = |reply| Act::PutPart { bucket: bucket.bucket, upload, row_key: row_key.clone(), sealed, reply };
        let replaced = self.submit(act).await?;
        replaced.map(|value| bucket.open(RowKind::Part, &row_key, &value)).transpose()
    }

    /// Parts with a number larger than `after`, ascending, at most `limit`.
    pub async fn parts(
        &self,
        bucket: &OpenBucket,
        upload: UploadId,
        after: u16,
        limit: usize,
    ) -> Result<Vec<PartRow>, IndexError> {
        let range = KeyRange::prefix(&row_keys::parts(bucket.bucket, upload));
        let range = range.behind(&row_keys::part(bucket.bucket, upload, after));
        let rows = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
        rows.iter().map(|(row_key, value)| bucket.open(RowKind::Part, row_key, value)).collect()
    }

    /// All uploads in progress, by upload id. There are as many rows to read as uploads: few, since stale ones are
    /// aborted.
    pub async fn list_uploads(&self, bucket: &OpenBucket) -> Result<Vec<UploadRow>, IndexError> {
        let range = KeyRange::prefix(&row_keys::of_bucket(RowKind::Upload, bucket.bucket));
        let rows = self.shared.engine.scan(range, usize::MAX, Direction::Ascending).await?;
        rows.iter().map(|(row_key, value)| bucket.open(RowKind::Upload, row_key, value)).collect()
    }

    /// Ends an upload; answers the parts whose blobs are free now.
    pub async fn abort(&self, bucket: &OpenBucket, upload: UploadId) -> Result<Vec<PartRow>, IndexError> {
        let parts = self.submit(|reply| Act::Abort { bucket: bucket.bucket, upload, reply }).await?;
        parts.iter().map(|(row_key, value)| bucket.open(RowKind::Part, row_key, value)).collect()
    }
}
