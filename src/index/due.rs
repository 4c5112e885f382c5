//! What must happen by a time: rows sorted by that time, so a sweep reads what is due and nothing else.
//!
//! Called by `sweep` and by the acts that owe something later. The row key says when, what and to whom in opaque ids,
//! so due work is found without any tenant's key, also after the key is gone; what else there is to say is sealed under
//! the tenant's directory key.

use super::acts::{Act, ResealedRow};
use super::anchor::Value;
use super::bucket::{OpenBucket, Stamp};
use super::engine::{Direction, KeyRange};
use super::error::IndexError;
use super::fence::Fence;
use super::region::RegionIndex;
use super::row_keys::{self, DueKey, RowKind};
use crate::model::ids::{BucketId, TenantId, UploadId};
use crate::model::time::Millis;
use crate::seal::{GeoKeys, RowKey, row_version};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Rows read in one scan.
const STEP: usize = 1000;

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

    /// Seals what is sealed under an older version of the geo's directory key again: due rows of nobody's bucket, and the
    /// anchor. Answers how many rows.
    pub async fn reseal_geo_rows(&self, keys: &GeoKeys, fence: &Fence) -> Result<u64, IndexError> {
        let (active, mut rows) = (keys.name().version, Vec::new());
        for (row_key, value) in self.geo_rows().await? {
            if row_version(&value)? != active && row_key.first() == Some(&(RowKind::Due as u8)) {
                let plain = keys.open(RowKind::Due as u8, &row_key, &value)?.plain;
                let sealed = keys.directory().seal(RowKind::Due as u8, &row_key, &plain, &[]);
                let (sealed, old) = (Value::new(sealed.into()), Stamp::of(&value));
                rows.push(ResealedRow { from: row_key.clone(), to: row_key, sealed, old });
            }
        }
        let fence = fence.clone();
        let resealed = self.submit(|reply| Act::MovePlaces { rows, fence, reply }).await?;
        // Any commit writes the anchor, under the active version.
        let anchor = row_keys::anchor(self.shared.region);
        self.submit(|reply| Act::Write { rows: vec![(anchor, None)], reply }).await?;
        Ok(resealed + 1)
    }

    /// Rows by the version of the geo's directory key they are under.
    pub async fn under_directory_keys(&self) -> Result<BTreeMap<u32, u64>, IndexError> {
        let mut under = BTreeMap::new();
        for (_, value) in self.geo_rows().await? {
            *under.entry(row_version(&value)?).or_default() += 1;
        }
        Ok(under)
    }

    async fn geo_rows(&self) -> Result<Vec<(Bytes, Bytes)>, IndexError> {
        let anchor = row_keys::anchor(self.shared.region);
        let mut found: Vec<_> =
            self.shared.engine.get(&anchor).await?.map(|value| (anchor, value)).into_iter().collect();
        let mut range = KeyRange::prefix(&[RowKind::Due as u8]);
        loop {
            let page = self.shared.engine.scan(range.clone(), STEP, Direction::Ascending).await?;
            let len = page.len();
            let last = page.last().map(|(row_key, _)| row_key.clone());
            // Those of uploads are sealed under their bucket's key.
            let of_geo =
                |(row_key, _): &(Bytes, Bytes)| DueKey::parse(row_key).is_some_and(|due| due.kind != DUE_UPLOAD);
            found.extend(page.into_iter().filter(of_geo));
            match last {
                Some(last) if len == STEP => range = range.behind(&last),
                _ => return Ok(found),
            }
        }
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
