//! From which buckets something was removed since the last close of an epoch: an object deleted or overwritten, its tags
//! replaced, an upload ended. The close gives those buckets a new index key, so that what older copies of their rows say
//! of it opens no more.
//!
//! One row a bucket, `r | bucket | tenant`, written in the commit of the first such act and not again: ids and a random
//! value, which tells one writing of it from another. It holds nothing to seal; who forges one makes a close do more.
//!
//! Invariant: a bucket is in [`Marked`] only while its row stands in the engine and was written since the row was last
//! taken ([`RegionIndex::take_removal`]). Both are kept on the writer's thread alone. So a row that is still the one that
//! was taken says that nothing was removed since, and may go ([`RegionIndex::drop_removal`]). After a start the set is
//! empty: the next removal of each bucket writes its row anew.

use super::acts::Act;
use super::anchor::Value;
use super::engine::KeyRange;
use super::error::IndexError;
use super::region::RegionIndex;
use super::row_keys::{self, RowKind};
use crate::model::ids::{BucketId, OperationId, TenantId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::mem;

/// Buckets whose row is known to stand.
#[derive(Default)]
pub(crate) struct Marked(Mutex<HashSet<BucketId>>);

impl Marked {
    pub(crate) fn holds(&self, bucket: BucketId) -> bool {
        self.0.lock().contains(&bucket)
    }

    /// After the commit that wrote their rows.
    pub(crate) fn add(&self, buckets: &mut Vec<BucketId>) {
        if !buckets.is_empty() {
            self.0.lock().extend(mem::take(buckets));
        }
    }

    pub(crate) fn forget(&self, bucket: BucketId) {
        self.0.lock().remove(&bucket);
    }
}

/// A fresh writing of a bucket's row.
pub(crate) fn mark() -> Value {
    Value::new(Bytes::copy_from_slice(&OperationId::random().0))
}

/// One writing of a bucket's row, as it was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removal {
    row_key: Bytes,
    value: Bytes,
}

impl RegionIndex {
    /// The buckets from which something was removed, and whose they are.
    pub async fn removals(&self) -> Result<Vec<(BucketId, TenantId)>, IndexError> {
        let range = KeyRange::prefix(&[RowKind::Removal as u8]);
        let row_keys = self.shared.engine.scan_keys(range, usize::MAX).await?;
        Ok(row_keys.iter().filter_map(|row_key| row_keys::removal_of(row_key)).collect())
    }

    /// Takes a bucket's row as it stands: what is removed from here on writes it anew. `None`: nothing was removed.
    pub async fn take_removal(&self, bucket: BucketId, tenant: TenantId) -> Result<Option<Removal>, IndexError> {
        let row_key = row_keys::removal(bucket, tenant);
        let at = row_key.clone();
        let value = self.submit(|reply| Act::TakeRemoval { bucket, row_key: at, reply }).await?;
        Ok(value.map(|value| Removal { row_key, value }))
    }

    /// Takes the row away, unless something was removed since it was taken. Answers whether it went.
    pub async fn drop_removal(&self, taken: &Removal) -> Result<bool, IndexError> {
        let Removal { row_key, value } = taken.clone();
        self.submit(|reply| Act::DropRemoval { row_key, value, reply }).await
    }
}
