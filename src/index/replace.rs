//! Rows that take the place of others: over the same segments, over others, or as another version, and only if what they
//! replace still is what the caller saw.

use super::acts::{Act, Condition, SealedObject};
use super::anchor::Value;
use super::bucket::{OpenBucket, Stamp};
use super::due::Due;
use super::error::IndexError;
use super::fence::Fence;
use super::region::{RegionIndex, seal_object};
use super::row_keys::{ORDER_CURRENT, RowKind};
use super::rows::v1::{ObjectRow, Place};
use super::subjects::SubjectPlace;
use crate::model::limits::TRAILING_BYTES_MAX;
use bytes::Bytes;
use std::sync::Arc;

impl RegionIndex {
    /// Replaces an object's row by another over the same segments (new tags, a data key wrapped anew), but only if it
    /// still is exactly `old`. Answers whether it was.
    pub async fn replace_if_same(
        &self,
        bucket: &Arc<OpenBucket>,
        old: &ObjectRow,
        new: ObjectRow,
    ) -> Result<bool, IndexError> {
        self.replace(bucket, old, new, None).await
    }

    /// The same as a step of long work, refused when another runner took that over.
    pub async fn replace_fenced(
        &self,
        bucket: &Arc<OpenBucket>,
        old: &ObjectRow,
        new: ObjectRow,
        fence: &Fence,
    ) -> Result<bool, IndexError> {
        self.replace(bucket, old, new, Some(fence)).await
    }

    async fn replace(
        &self,
        bucket: &Arc<OpenBucket>,
        old: &ObjectRow,
        new: ObjectRow,
        fence: Option<&Fence>,
    ) -> Result<bool, IndexError> {
        let kept = |row: &ObjectRow| (row.name.clone(), row.place, row.segments.clone(), row.order);
        if kept(&new) != kept(old) {
            return Ok(false);
        }
        self.replace_with(bucket, old, Arc::new(new), Content::Kept, Terms { fence, ..Terms::default() }).await
    }

    /// Replaces an object's row by one over other segments that hold the same bytes, as a step of long work, but only
    /// if it still is exactly `old`. With `inline` its `place` is set here. Answers whether it was; what `old` names in
    /// the blob store is then the caller's to delete.
    pub async fn swap_segments(
        &self,
        bucket: &Arc<OpenBucket>,
        old: &ObjectRow,
        mut new: ObjectRow,
        inline: Option<Bytes>,
        fence: &Fence,
    ) -> Result<bool, IndexError> {
        if inline.is_some() {
            new.place = if new.size <= TRAILING_BYTES_MAX as u64 { Place::Trailing } else { Place::Row };
        }
        let terms = Terms { fence: Some(fence), ..Terms::default() };
        self.replace_with(bucket, old, Arc::new(new), Content::Swapped(inline), terms).await
    }

    /// Puts another version, with other bytes, in the very place of `old`, current or not, if it still is exactly that and
    /// the condition holds for it: nothing of it is left. Answers whether it was; what `old` names in the blob store is
    /// then the caller's to delete.
    pub async fn replace_version(
        &self,
        bucket: &Arc<OpenBucket>,
        old: &ObjectRow,
        mut new: ObjectRow,
        inline: Option<Bytes>,
        condition: Condition,
        places: Vec<SubjectPlace>,
    ) -> Result<bool, IndexError> {
        if inline.is_some() {
            new.place = if new.size <= TRAILING_BYTES_MAX as u64 { Place::Trailing } else { Place::Row };
        }
        (new.superseded, new.order) = (old.superseded, old.order);
        let terms = Terms { fence: None, condition, places };
        self.replace_with(bucket, old, Arc::new(new), Content::Swapped(inline), terms).await
    }

    async fn replace_with(
        &self,
        bucket: &Arc<OpenBucket>,
        old: &ObjectRow,
        new: Arc<ObjectRow>,
        content: Content,
        terms: Terms<'_>,
    ) -> Result<bool, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let replaced = self.replace_under(&keyed, old, &new, &content, &terms).await;
            match replaced {
                Err(IndexError::Rekeyed) => {}
                Ok(true) => return replaced,
                _ if self.shared.keyed.is_newest(&keyed) => return replaced,
                _ => {}
            }
        }
    }

    async fn replace_under(
        &self,
        bucket: &Arc<OpenBucket>,
        old: &ObjectRow,
        new: &Arc<ObjectRow>,
        content: &Content,
        terms: &Terms<'_>,
    ) -> Result<bool, IndexError> {
        let Some(there) = self.find_row(bucket, old).await?.filter(|there| there.row == *old) else {
            return Ok(false);
        };
        let object = match content {
            Content::Swapped(inline) => seal_object(bucket, new.clone(), inline.clone())?,
            Content::Kept => {
                let row_key = bucket.version_row_key(&old.name, new.order.unwrap_or(ORDER_CURRENT));
                let sealed = Value::new(bucket.seal(RowKind::Object, &row_key, &**new, &there.trailing));
                let due = if new.due == old.due { None } else { Due::of_object(bucket, new) };
                SealedObject { row_key, row: new.clone(), sealed, inline: None, due }
            }
        };
        let (old, fence) = (Stamp::of(&there.value), terms.fence.cloned());
        let (bucket_of_act, condition, places) = (bucket.clone(), terms.condition.clone(), terms.places.clone());
        let act = |reply| Act::Replace { bucket: bucket_of_act, object, old, condition, places, fence, reply };
        match self.submit(act).await {
            // It may only have been sealed anew: the next look tells.
            Ok(false) if bucket.old.is_some() => Err(IndexError::Rekeyed),
            done => done,
        }
    }
}

/// Under which terms a row is replaced.
#[derive(Default)]
struct Terms<'a> {
    fence: Option<&'a Fence>,
    condition: Condition,
    places: Vec<SubjectPlace>,
}

/// What a replaced row's new one stands over.
enum Content {
    /// The same segments.
    Kept,
    /// Others; inline when they ride in the index.
    Swapped(Option<Bytes>),
}
