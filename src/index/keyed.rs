//! Which key a bucket is sealed under now: what is known of buckets whose index key changes, or changed since the
//! region was opened.
//!
//! A bucket's handle says what its key was when it was opened. A request that was admitted before a re-key began still
//! holds such a handle; here it gets the newest one. Invariants:
//!
//! * the states of a bucket are ordered: key n; key n+1 beside n; key n+1 alone. A later one is never forgotten for an
//!   earlier one while anybody may hold either;
//! * the writer refuses an act that was sealed for an earlier state (`Rekeyed`), and who asked seals it anew.

use super::bucket::OpenBucket;
use crate::model::ids::BucketId;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// The newest known handle of each bucket whose key changed.
#[derive(Default)]
pub(crate) struct Keyed(RwLock<HashMap<BucketId, Arc<OpenBucket>>>);

impl Keyed {
    /// The handle to work with in the place of `asked`.
    pub(crate) fn newest(&self, asked: &Arc<OpenBucket>) -> Arc<OpenBucket> {
        {
            let known = self.0.read();
            match known.get(&asked.bucket) {
                None if asked.old.is_none() => return asked.clone(),
                Some(known) if known.stage() > asked.stage() => return known.clone(),
                Some(known) if known.stage() == asked.stage() && known.key.check().is_ok() => return asked.clone(),
                // Later, or the same state when the lease of the one that was known is over.
                None | Some(_) => {}
            }
        }
        let mut known = self.0.write();
        let newest = known.entry(asked.bucket).or_insert_with(|| asked.clone());
        if newest.stage() > asked.stage() {
            return newest.clone();
        }
        *newest = asked.clone();
        asked.clone()
    }

    /// Whether nobody has shown a later state of this bucket.
    pub(crate) fn is_newest(&self, bucket: &OpenBucket) -> bool {
        self.0.read().get(&bucket.bucket).is_none_or(|known| known.stage() <= bucket.stage())
    }

    /// Forgets a bucket whose rows are being dropped.
    pub(crate) fn forget(&self, bucket: BucketId) {
        self.0.write().remove(&bucket);
    }

    /// Lets go of handles that nobody else holds: the directory has others, or the tenant is gone.
    pub(crate) fn drop_unheld(&self) {
        if !self.0.read().is_empty() {
            self.0.write().retain(|_, bucket| Arc::strong_count(bucket) > 1);
        }
    }
}
