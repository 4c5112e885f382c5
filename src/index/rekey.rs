//! A bucket gets a new index key: every row of it is sealed anew, a few hundred in each commit, while readers and
//! writers go on. Called by the conductor of rotations, which has made the new key's record durable before.
//!
//! The names' tokens are made with the key, so an object's row moves to another row key; all others are replaced where
//! they stand. Meanwhile:
//!
//! * a row says under which of the two keys it is;
//! * writes go to the new key and take away what stands at the old token, in the same commit;
//! * reads look at the new token, the old one, and the new one again (`RegionIndex::find`);
//! * a row that was written since it was read here is left alone: whoever wrote it wrote under the new key.
//!
//! A crash leaves rows under both keys, which is the state that all of the above is for; resealing again finishes it.

use super::acts::{Act, ResealedRow};
use super::anchor::Value;
use super::bucket::{OpenBucket, Stamp};
use super::due::is_of_bucket;
use super::engine::{Direction, KeyRange};
use super::error::{Damage, IndexError};
use super::fence::Fence;
use super::region::RegionIndex;
use super::row_keys::{self, DueKey, RowKind, order_of};
use super::rows;
use super::rows::v1::ObjectRow;
use crate::seal::row_version;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kinds of rows that are sealed under a bucket's key, in the order in which they are sealed anew. Inline segments
/// are sealed under the objects' own data keys.
const SEALED_KINDS: [RowKind; 6] =
    [RowKind::Object, RowKind::Fences, RowKind::Leaf, RowKind::Upload, RowKind::Part, RowKind::Due];
/// A leaf may weigh some hundred KiB: this many of them in one commit.
const LEAVES_STEP: usize = 16;

/// One step of a re-key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Rows looked at.
    pub seen: u64,
    /// Rows sealed anew. The others were under the new key already, or were written meanwhile.
    pub resealed: u64,
    /// Pass it to go on; none: that was the end.
    pub next: Option<Bytes>,
}

/// What a scan found of a bucket whose key changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderOldKey {
    /// Sealed rows read.
    pub scanned: u64,
    /// How many of them are still under the old key.
    pub remaining: u64,
}

impl RegionIndex {
    /// Makes a later state of a bucket's keys the one that everybody works with: those with older handles too, from
    /// now on. On return no commit under an earlier state is in flight.
    pub async fn switch_key(&self, bucket: &Arc<OpenBucket>) -> Result<(), IndexError> {
        self.shared.keyed.newest(bucket);
        self.submit(|reply| Act::Write { rows: Vec::new(), reply }).await
    }

    /// Seals up to `limit` rows anew behind `cursor` (none: from the start), in one commit.
    pub async fn reseal(
        &self,
        bucket: &Arc<OpenBucket>,
        cursor: Option<&Bytes>,
        limit: usize,
        fence: &Fence,
    ) -> Result<Resealed, IndexError> {
        let (page, next) = self.sealed_rows(bucket, cursor, limit).await?;
        let seen = page.len() as u64;
        let old = page.into_iter().filter(|(_, value)| bucket.is_old(value));
        let rows = old.map(|(from, value)| anew(bucket, from, &value)).collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Ok(Resealed { seen, resealed: 0, next });
        }
        let (bucket, fence) = (bucket.clone(), fence.clone());
        let resealed = self.submit(|reply| Act::Reseal { bucket, rows, fence, reply }).await?;
        Ok(Resealed { seen, resealed, next })
    }

    /// Reads every sealed row of the bucket and counts those under the old key.
    pub async fn under_old_key(&self, bucket: &Arc<OpenBucket>) -> Result<UnderOldKey, IndexError> {
        let (mut found, mut cursor) = (UnderOldKey::default(), None);
        loop {
            cursor = self.count_old(bucket, cursor.as_ref(), 256, &mut found).await?;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }

    /// One step of the same: reads up to `limit` rows behind `cursor`, adds them to `found`, and answers where to go on.
    pub async fn count_old(
        &self,
        bucket: &Arc<OpenBucket>,
        cursor: Option<&Bytes>,
        limit: usize,
        found: &mut UnderOldKey,
    ) -> Result<Option<Bytes>, IndexError> {
        let (page, next) = self.sealed_rows(bucket, cursor, limit).await?;
        found.scanned += page.len() as u64;
        found.remaining += page.iter().filter(|(_, value)| bucket.is_old(value)).count() as u64;
        Ok(next)
    }

    /// One step of counting rows by the version of the bucket's key they are under: reads up to `limit` behind `cursor`,
    /// and answers how many those were, and where to go on.
    pub async fn count_versions(
        &self,
        bucket: &Arc<OpenBucket>,
        cursor: Option<&Bytes>,
        limit: usize,
        under: &mut BTreeMap<u32, u64>,
    ) -> Result<(u64, Option<Bytes>), IndexError> {
        let (page, next) = self.sealed_rows(bucket, cursor, limit).await?;
        for (_, value) in &page {
            *under.entry(row_version(value)?).or_default() += 1;
        }
        Ok((page.len() as u64, next))
    }

    /// The next rows that are sealed under the bucket's key, and where to go on.
    async fn sealed_rows(
        &self,
        bucket: &OpenBucket,
        cursor: Option<&Bytes>,
        limit: usize,
    ) -> Result<(Vec<(Bytes, Bytes)>, Option<Bytes>), IndexError> {
        let at = cursor.and_then(|cursor| SEALED_KINDS.iter().position(|kind| cursor.first() == Some(&(*kind as u8))));
        for (place, kind) in SEALED_KINDS.iter().enumerate().skip(at.unwrap_or(0)) {
            let mut range = match kind {
                RowKind::Due => KeyRange::prefix(&[RowKind::Due as u8]),
                kind => KeyRange::prefix(&row_keys::of_bucket(*kind, bucket.bucket)),
            };
            if let Some(cursor) = cursor.filter(|_| Some(place) == at) {
                range = range.behind(cursor);
            }
            let limit = if *kind == RowKind::Leaf { limit.min(LEAVES_STEP) } else { limit };
            let mut rows = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
            let Some((last, _)) = rows.last() else { continue };
            let next = Some(last.clone());
            if *kind == RowKind::Due {
                rows.retain(|(row_key, value)| is_due_of(bucket, row_key, value));
            }
            return Ok((rows, next));
        }
        Ok((Vec::new(), None))
    }
}

/// Whether it is about an upload or an object of this bucket: only such due rows are sealed under a bucket's key.
fn is_due_of(bucket: &OpenBucket, row_key: &[u8], value: &[u8]) -> bool {
    let known = DueKey::parse(row_key).is_some_and(|due| is_of_bucket(due.kind) && due.tenant == bucket.tenant);
    known && value.ends_with(&bucket.bucket.0)
}

/// The same row under the new key, at the row key it has under that.
fn anew(bucket: &OpenBucket, from: Bytes, value: &Bytes) -> Result<ResealedRow, IndexError> {
    let kind = from.first().copied().unwrap_or(0);
    let opened = bucket.key_of(value).row_key().open(kind, &from, value)?;
    let to = if kind == RowKind::Object as u8 {
        let row: ObjectRow = rows::decode(&opened.plain)?;
        let order = order_of(&from).ok_or(IndexError::from(Damage::Shape))?;
        bucket.version_row_key(&row.name, order)
    } else {
        from.clone()
    };
    let sealed = bucket.key.row_key().seal(kind, &to, &opened.plain, opened.trailing);
    Ok(ResealedRow { from, to, sealed: Value::new(sealed.into()), old: Stamp::of(value) })
}
