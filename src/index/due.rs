//! What must happen by a time: rows sorted by that time, so a sweep reads what is due and nothing else.
//!
//! Called by `sweep` and by the acts that owe something later. The row key says when, what and to whom in opaque ids,
//! so due work is found without any tenant's key, also after the key is gone; what else there is to say is sealed under
//! the tenant's directory key.

use super::acts::{Act, Dated, ResealedRow};
use super::anchor::Value;
use super::bucket::{OpenBucket, Stamp};
use super::engine::{Direction, KeyRange};
use super::error::{Damage, IndexError};
use super::fence::Fence;
use super::region::RegionIndex;
use super::row_keys::{self, DueKey, RowKind, order_of};
use super::rows;
use super::rows::v1::{ObjectRow, WalkRow};
use super::versions::There;
use crate::model::ids::{BucketId, OperationId, TenantId, UploadId, VersionId};
use crate::model::time::Millis;
use crate::pace::Pace;
use crate::seal::{GeoKeys, RowKey, row_version};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows read in one scan, written in one commit.
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

    /// How far a walk is; under whichever version of the geo's directory key.
    pub fn walk(&self, keys: &GeoKeys) -> Result<WalkRow, IndexError> {
        Ok(rows::decode(&keys.open(RowKind::Due as u8, &row_keys::due(&self.key), &self.sealed)?.plain)?)
    }
}

/// The due kind of an upload that nobody completed. Source: docs/index-layout.md, "Due rows".
pub(super) const DUE_UPLOAD: u8 = 2;
/// The due kind of an object that a lifecycle rule is about. Source: the same.
const DUE_OBJECT: u8 = 4;
/// The due kind of a bucket whose objects have to be dated by new rules. Source: the same.
const DUE_WALK: u8 = 5;

/// Whether due rows of this kind are sealed under a bucket's key, the bucket's id behind them.
pub(super) fn is_of_bucket(kind: u8) -> bool {
    kind == DUE_UPLOAD || kind == DUE_OBJECT
}

/// Where the due row of an object stands; none: no rule is about it.
pub(super) fn due_key(bucket: &OpenBucket, row: &ObjectRow) -> Option<DueKey> {
    row.due.map(|seconds| DueKey { seconds, kind: DUE_OBJECT, tenant: bucket.tenant, id: row.version_id.0 })
}

impl Due {
    /// The row that says when an upload is stale: the upload's id in its key, the bucket's id behind the sealed row. It
    /// is sealed under that very bucket's key, so a row that was given another bucket's id does not open.
    pub(crate) fn of_upload(bucket: &OpenBucket, upload: UploadId, stale: Millis) -> (Bytes, Value) {
        let key = DueKey { seconds: second(stale), kind: DUE_UPLOAD, tenant: bucket.tenant, id: upload.0 };
        Self::sealed(bucket, &key, &[])
    }

    /// The row that says when an object goes, its name sealed in it; none: no rule is about it.
    pub(super) fn of_object(bucket: &OpenBucket, row: &ObjectRow) -> Option<(Bytes, Value)> {
        due_key(bucket, row).map(|key| Self::sealed(bucket, &key, row.name.as_bytes()))
    }

    fn sealed(bucket: &OpenBucket, key: &DueKey, about: &[u8]) -> (Bytes, Value) {
        let row_key = row_keys::due(key);
        let sealed = bucket.key.row_key().seal(RowKind::Due as u8, &row_key, about, &bucket.bucket.0);
        (row_key, Value::new(sealed.into()))
    }

    /// The upload and its bucket, if it speaks of one; not verified yet.
    pub fn upload(&self) -> Option<(UploadId, BucketId)> {
        let bucket = self.sealed.last_chunk::<16>().filter(|_| self.key.kind == DUE_UPLOAD)?;
        Some((UploadId(self.key.id), BucketId(*bucket)))
    }

    /// The version and the bucket of the object, if it speaks of one; not verified yet.
    pub fn object(&self) -> Option<(VersionId, BucketId)> {
        let bucket = self.sealed.last_chunk::<16>().filter(|_| self.key.kind == DUE_OBJECT)?;
        Some((VersionId(self.key.id), BucketId(*bucket)))
    }

    /// Whether the row is what was written for that bucket.
    pub fn is_of(&self, bucket: &OpenBucket) -> bool {
        self.about(bucket).is_some()
    }

    /// What was sealed with it for that bucket: of an object, its name. `None`: it is not what was written for it.
    pub fn about(&self, bucket: &OpenBucket) -> Option<Vec<u8>> {
        let (row_key, kind) = (row_keys::due(&self.key), RowKind::Due as u8);
        let opened = bucket.key_of(&self.sealed).row_key().open(kind, &row_key, &self.sealed).ok()?;
        (opened.trailing == bucket.bucket.0).then_some(opened.plain)
    }
}

pub(super) fn second(time: Millis) -> u64 {
    u64::try_from(time.seconds()).unwrap_or(0)
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
            // Those of uploads and objects are sealed under their bucket's key.
            let of_geo =
                |(row_key, _): &(Bytes, Bytes)| DueKey::parse(row_key).is_some_and(|due| !is_of_bucket(due.kind));
            found.extend(page.into_iter().filter(of_geo));
            match last {
                Some(last) if len == STEP => range = range.behind(&last),
                _ => return Ok(found),
            }
        }
    }

    /// Up to `limit` rows behind `after` that are due at `now` or were before, the oldest first.
    pub async fn due(&self, now: Millis, after: Option<&DueKey>, limit: usize) -> Result<Vec<Due>, IndexError> {
        let start = vec![RowKind::Due as u8];
        let mut range = KeyRange { start, end: Some(row_keys::due_before(second(now).saturating_add(1))) };
        if let Some(after) = after {
            range = range.behind(&row_keys::due(after));
        }
        let rows = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
        let due = rows.into_iter().filter_map(|(row_key, sealed)| Some(Due { key: DueKey::parse(&row_key)?, sealed }));
        Ok(due.collect())
    }

    /// Buckets whose objects have to be dated anew. Their rows stand at second 0, before all others.
    pub async fn walks(&self) -> Result<Vec<Due>, IndexError> {
        let start =
            row_keys::due(&DueKey { seconds: 0, kind: DUE_WALK, tenant: TenantId([0; 16]), id: [0; 16] }).to_vec();
        let end = row_keys::due(&DueKey { seconds: 0, kind: DUE_WALK + 1, tenant: TenantId([0; 16]), id: [0; 16] });
        let rows =
            self.shared.engine.scan(KeyRange { start, end: Some(end.to_vec()) }, STEP, Direction::Ascending).await?;
        Ok(rows.into_iter().filter_map(|(key, sealed)| Some(Due { key: DueKey::parse(&key)?, sealed })).collect())
    }

    /// Notes that a bucket's objects have to be dated anew, from the first on.
    pub async fn put_walk(&self, directory: &RowKey, bucket: &OpenBucket) -> Result<(), IndexError> {
        let key = DueKey { seconds: 0, kind: DUE_WALK, tenant: bucket.tenant, id: bucket.bucket.0 };
        let walk = WalkRow { change: OperationId::random().0, stage: 0, cursor: None };
        self.put_walk_at(directory, key, &walk).await
    }

    /// Keeps how far such a walk is.
    pub async fn put_walk_at(&self, directory: &RowKey, key: DueKey, walk: &WalkRow) -> Result<(), IndexError> {
        self.put_due(directory, key, &rows::encode(walk)).await
    }

    /// Gives up to a thousand objects their due times: each is looked up, and left alone unless it still is exactly the row
    /// given. Answers how many were changed.
    pub async fn date(&self, bucket: &Arc<OpenBucket>, rows: &[(ObjectRow, Option<u64>)]) -> Result<u64, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let mut dated = Vec::with_capacity(rows.len());
            for (row, due) in rows {
                dated.extend(self.dated(&keyed, row, *due).await?);
            }
            let (act_bucket, is_newest) = (keyed.clone(), self.shared.keyed.is_newest(&keyed));
            if !is_newest {
                continue;
            }
            match self.submit(|reply| Act::Date { bucket: act_bucket, rows: dated, reply }).await {
                Err(IndexError::Rekeyed) => {}
                done => return done,
            }
        }
    }

    async fn dated(&self, bucket: &OpenBucket, row: &ObjectRow, due: Option<u64>) -> Result<Option<Dated>, IndexError> {
        let there = match self.find_row(bucket, row).await {
            // Sealed anew under a key that this handle does not know: whoever asked looks again.
            Err(_) if !self.shared.keyed.is_newest(bucket) => return Ok(None),
            there => there?,
        };
        let Some(There { at: from, value, row: current, trailing }) = there.filter(|there| there.row == *row) else {
            return Ok(None);
        };
        let spent = due_key(bucket, row).map(|key| row_keys::due(&key));
        let new = ObjectRow { due, ..current };
        let order = order_of(&from).ok_or(IndexError::from(Damage::Shape))?;
        let to = bucket.version_row_key(&new.name, order);
        let sealed = Value::new(bucket.seal(RowKind::Object, &to, &new, &trailing));
        let row = ResealedRow { from, to, sealed, old: Stamp::of(&value) };
        Ok(Some(Dated { row, spent, due: Due::of_object(bucket, &new) }))
    }

    /// Gives an upload another time at which it is stale.
    pub async fn move_upload_due(
        &self,
        bucket: &Arc<OpenBucket>,
        upload: UploadId,
        from: Option<DueKey>,
        stale: Millis,
    ) -> Result<(), IndexError> {
        loop {
            let bucket = self.shared.keyed.newest(bucket);
            let (row_key, sealed) = Due::of_upload(&bucket, upload, stale);
            let mut rows = vec![(row_key, Some(sealed))];
            rows.extend(from.filter(|from| from.seconds != second(stale)).map(|from| (row_keys::due(&from), None)));
            match self.submit(|reply| Act::WriteFor { bucket, rows, reply }).await {
                Err(IndexError::Rekeyed) => {}
                done => return done,
            }
        }
    }

    /// Every due row of a tenant, whenever it is due: for its purge.
    pub async fn due_of_tenant(&self, tenant: TenantId) -> Result<Vec<DueKey>, IndexError> {
        self.due_of_tenant_at(tenant, &mut Pace::free()).await
    }

    /// The same, no faster than `pace`.
    pub async fn due_of_tenant_at(&self, tenant: TenantId, pace: &mut Pace) -> Result<Vec<DueKey>, IndexError> {
        let (mut range, mut found) = (KeyRange::prefix(&[RowKind::Due as u8]), Vec::new());
        loop {
            let step = pace.step(STEP);
            let page = self.shared.engine.scan_keys(range.clone(), step).await?;
            let keys = page.iter().filter_map(|row_key| DueKey::parse(row_key));
            found.extend(keys.filter(|key| key.tenant == tenant));
            pace.spent(page.len() as u64).await;
            match page.last() {
                Some(last) if page.len() == step => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }

    /// Takes rows away that were dealt with.
    pub async fn remove_due(&self, keys: &[DueKey]) -> Result<(), IndexError> {
        self.remove_due_at(keys, &mut Pace::free()).await
    }

    /// The same, no faster than `pace`.
    pub async fn remove_due_at(&self, mut keys: &[DueKey], pace: &mut Pace) -> Result<(), IndexError> {
        while !keys.is_empty() {
            let (some, rest) = keys.split_at(keys.len().min(pace.step(STEP)));
            let rows = some.iter().map(|key| (row_keys::due(key), None)).collect();
            self.submit(|reply| Act::Write { rows, reply }).await?;
            pace.spent(some.len() as u64).await;
            keys = rest;
        }
        Ok(())
    }
}
