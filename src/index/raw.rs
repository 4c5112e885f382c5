//! Rows as the engine has them, counted and weighed without any key.
//!
//! Called by `sweep`: what it counts after a purge must not depend on what the purge itself believed to be there, nor on
//! keys that are destroyed by then.

use super::engine::{Direction, KeyRange};
use super::error::IndexError;
use super::region::RegionIndex;
use super::row_keys::{self, BUCKET_KINDS, ORDER_CURRENT, RowKind, order_of};
use crate::model::ids::{BucketId, UploadId};
use crate::pace::Pace;
use bytes::Bytes;
use std::collections::BTreeSet;

/// Rows read at once.
const STEP: usize = 256;

/// Rows and what they weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawRows {
    /// How many.
    pub rows: u64,
    /// How many of them are versions of objects, marks of deletion too.
    pub objects: u64,
    /// Of how many names these are.
    pub names: u64,
    /// How many of them are parts of uploads in progress.
    pub parts: u64,
    /// Sealed bytes of their values.
    pub bytes: u64,
}

/// What is stored and stands in no listing: uploads in progress and their parts, counted by their row keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Uploads.
    pub uploads: u64,
    /// Parts.
    pub parts: u64,
}

impl std::ops::AddAssign for Unfinished {
    fn add_assign(&mut self, other: Self) {
        self.uploads += other.uploads;
        self.parts += other.parts;
    }
}

/// Rows, counted by their row keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCount {
    /// How many.
    pub rows: u64,
    /// How many of them are objects.
    pub objects: u64,
}

impl RegionIndex {
    /// All rows of a bucket, of every kind.
    pub async fn raw_rows(&self, bucket: BucketId) -> Result<RawRows, IndexError> {
        self.raw_rows_at(bucket, &mut Pace::free()).await
    }

    /// The same, no faster than `pace`.
    pub async fn raw_rows_at(&self, bucket: BucketId, pace: &mut Pace) -> Result<RawRows, IndexError> {
        let mut found = RawRows::default();
        for kind in BUCKET_KINDS {
            let mut range = KeyRange::prefix(&row_keys::of_bucket(kind, bucket));
            loop {
                let step = pace.step(STEP);
                let page = self.shared.engine.scan(range.clone(), step, Direction::Ascending).await?;
                found.rows += page.len() as u64;
                match kind {
                    RowKind::Object => {
                        let current = |(row_key, _): &&(Bytes, Bytes)| order_of(row_key) == Some(ORDER_CURRENT);
                        found.objects += page.len() as u64;
                        found.names += page.iter().filter(current).count() as u64;
                    }
                    RowKind::Part => found.parts += page.len() as u64,
                    _ => {}
                }
                found.bytes += page.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
                pace.spent(page.len() as u64).await;
                match page.last() {
                    Some((last, _)) if page.len() == step => range = range.behind(last),
                    _ => break,
                }
            }
        }
        Ok(found)
    }

    /// How many rows a bucket has, and how many of them are objects, by the row keys alone.
    pub async fn count_rows(&self, bucket: BucketId) -> Result<RowCount, IndexError> {
        let mut found = RowCount::default();
        for kind in BUCKET_KINDS {
            let mut range = KeyRange::prefix(&row_keys::of_bucket(kind, bucket));
            loop {
                let page = self.shared.engine.scan_keys(range.clone(), STEP).await?;
                found.rows += page.len() as u64;
                found.objects += if kind == RowKind::Object { page.len() as u64 } else { 0 };
                match page.last() {
                    Some(last) if page.len() == STEP => range = range.behind(last),
                    _ => break,
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(found)
    }

    /// Uploads in progress of a bucket, or of all buckets here.
    pub async fn count_unfinished(&self, bucket: Option<BucketId>) -> Result<Unfinished, IndexError> {
        let mut counts = [0; 2];
        for (kind, count) in [RowKind::Upload, RowKind::Part].into_iter().zip(&mut counts) {
            let prefix = bucket.map_or_else(|| vec![kind as u8], |bucket| row_keys::of_bucket(kind, bucket).to_vec());
            let mut range = KeyRange::prefix(&prefix);
            loop {
                let page = self.shared.engine.scan_keys(range.clone(), STEP).await?;
                *count += page.len() as u64;
                match page.last() {
                    Some(last) if page.len() == STEP => range = range.behind(last),
                    _ => break,
                }
                tokio::task::yield_now().await;
            }
        }
        let [uploads, parts] = counts;
        Ok(Unfinished { uploads, parts })
    }

    /// Whether there is a row of this upload.
    pub async fn has_upload(&self, bucket: BucketId, upload: UploadId) -> Result<bool, IndexError> {
        Ok(self.shared.engine.get(&row_keys::upload(bucket, upload)).await?.is_some())
    }

    /// The ids of all buckets that have any row here: one look for each bucket and kind, however many rows there are.
    pub async fn raw_buckets(&self) -> Result<BTreeSet<BucketId>, IndexError> {
        let mut found = BTreeSet::new();
        for kind in BUCKET_KINDS {
            let mut range = KeyRange::prefix(&[kind as u8]);
            while let Some(row_key) = self.shared.engine.scan_keys(range.clone(), 1).await?.first() {
                let Some(id) = row_key.get(1..17).and_then(|id| id.try_into().ok()).map(BucketId) else {
                    range = range.behind(row_key);
                    continue;
                };
                found.insert(id);
                // Behind everything that begins with this bucket's prefix.
                range.start = KeyRange::prefix(&row_keys::of_bucket(kind, id)).end.unwrap_or_default();
                if range.is_empty() {
                    break;
                }
            }
        }
        Ok(found)
    }
}
