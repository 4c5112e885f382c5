//! What must happen by a time: rows sorted by that time, so a sweep reads what is due and nothing else.
//!
//! Called by `sweep` and by the acts that owe something later. The row key says when, what and to whom in opaque ids,
//! so due work is found without any tenant's key, also after the key is gone; what else there is to say is sealed under
//! the tenant's directory key.

use super::acts::Act;
use super::anchor::Value;
use super::bucket::OpenBucket;
use super::engine::{Direction, KeyRange};
use super::error::IndexError;
use super::region::RegionIndex;
use super::row_keys::{self, DueKey, RowKind};
use crate::model::ids::{BucketId, TenantId, UploadId};
use crate::model::time::Millis;
use crate::seal::RowKey;
use bytes::Bytes;

/// A row that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// When, what, to whom.
    pub key: DueKey,
    sealed: Bytes,
}

impl Due {
    /// What `put_due` sealed with it.
    pub fn open(&self, directory: &RowKey) -> Result<Vec<u8>, IndexError> {
        Ok(directory.open(RowKind::Due as u8, &row_keys::due(&self.key), &self.sealed)?.plain)
    }
}

/// The due kind of an upload that nobody completed. Source: docs/index-layout.md, "Due rows".
pub(super) const DUE_UPLOAD: u8 = 2;

impl Due {
    /// The row that says when an upload is stale: the upload's id in its key, the bucket's id behind the sealed row. It
    /// is sealed under that very bucket's key, so a row that was given another bucket's id does not open.
    pub(crate) fn of_upload(bucket: &OpenBucket, upload: UploadId, stale: Millis) -> (Bytes, Value) {
        let seconds = u64::try_from(stale.seconds()).unwrap_or(0);
        let row_key = row_keys::due(&DueKey { seconds, kind: DUE_UPLOAD, tenant: bucket.tenant, id: upload.0 });
        let sealed = bucket.key.row_key().seal(RowKind::Due as u8, &row_key, &[], &bucket.bucket.0);
        (row_key, Value::new(sealed.into()))
    }

    /// The upload and its bucket, if it speaks of one; not verified yet.
    pub fn upload(&self) -> Option<(UploadId, BucketId)> {
        let bucket = self.sealed.last_chunk::<16>().filter(|_| self.key.kind == DUE_UPLOAD)?;
        Some((UploadId(self.key.id), BucketId(*bucket)))
    }

    /// Whether the row is what was written for that bucket.
    pub fn is_of(&self, bucket: &OpenBucket) -> bool {
        let (row_key, kind) = (row_keys::due(&self.key), RowKind::Due as u8);
        let opened = bucket.key_of(&self.sealed).row_key().open(kind, &row_key, &self.sealed);
        opened.is_ok_and(|opened| opened.trailing == bucket.bucket.0)
    }
}

impl RegionIndex {
    /// Records something due. The same key again replaces it.
    pub async fn put_due(&self, directory: &RowKey, key: DueKey, about: &[u8]) -> Result<(), IndexError> {
        let row_key = row_keys::due(&key);
        let sealed = Value::new(directory.seal(RowKind::Due as u8, &row_key, about, &[]).into());
        self.submit(|reply| Act::Write { rows: vec![(row_key, Some(sealed))], reply }).await
    }

    /// Up to `limit` rows that are due at `now` or were before, the oldest first.
    pub async fn due(&self, now: Millis, limit: usize) -> Result<Vec<Due>, IndexError> {
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        let start = vec![RowKind::Due as u8];
        let range = KeyRange { start, end: Some(row_keys::due_before(seconds.saturating_add(1))) };
        let rows = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
        let due = rows.into_iter().filter_map(|(row_key, sealed)| Some(Due { key: DueKey::parse(&row_key)?, sealed }));
        Ok(due.collect())
    }

    /// Every due row of a tenant, whenever it is due: for its purge.
    pub async fn due_of_tenant(&self, tenant: TenantId) -> Result<Vec<DueKey>, IndexError> {
        let range = KeyRange::prefix(&[RowKind::Due as u8]);
        let row_keys = self.shared.engine.scan_keys(range, usize::MAX).await?;
        Ok(row_keys.iter().filter_map(|row_key| DueKey::parse(row_key)).filter(|key| key.tenant == tenant).collect())
    }

    /// Takes rows away that were dealt with.
    pub async fn remove_due(&self, keys: &[DueKey]) -> Result<(), IndexError> {
        let rows = keys.iter().map(|key| (row_keys::due(key), None)).collect();
        self.submit(|reply| Act::Write { rows, reply }).await
    }
}
