//! When an object of a bucket goes: by its bucket's rules, or because the lifetime of its class is over. What a disabled
//! feature owns stays, whatever the rules say.

use crate::directory::OpenedBucket;
use crate::feature::{Features, Watermarks, hour_of};
use crate::index::rows::v1::ObjectRow;
use crate::model::classes::Class;
use crate::model::clock::Reading;
use crate::model::time::Millis;
use crate::sweep::SweepError;
use crate::sweep::run::GeoRooms;
use std::sync::Arc;

/// How long what stands still is left alone, in seconds: whoever lets it go on has all of it looked at.
const FROZEN_S: i64 = 86_400;

/// What is known of a bucket's lifetimes now.
pub(super) struct Lifetimes {
    features: Arc<Features>,
    marks: Watermarks,
    now: Reading,
}

impl Lifetimes {
    /// Of this bucket.
    pub(super) async fn of(rooms: &GeoRooms, opened: &OpenedBucket) -> Result<Self, SweepError> {
        let (directory, at) = (&rooms.tenancy.directory, &opened.at);
        let features = directory.features(at.tenant).await?;
        let marks = directory.watermarks(at.tenant, at.bucket).await?;
        Ok(Self { features, marks, now: rooms.tenancy.clock.now() })
    }

    /// When the object goes, or has to be looked at again; `None`: nothing is about it.
    pub(super) fn due(&self, opened: &OpenedBucket, row: &ObjectRow) -> Option<Millis> {
        let class = Class::of(&row.metadata);
        if self.features.may_use(class).is_err() {
            return Some(self.now.cc_lo.plus_seconds(FROZEN_S));
        }
        let rules = opened.lifecycle.as_ref();
        let by_rule = rules.and_then(|rules| rules.expiry(&row.name, row.size, &row.tags, row.age_from()));
        let hour = hour_of(&row.name, row.mtime);
        let (marks, bucket, written_ms) = (&self.marks, opened.at.bucket, row.enabled_ms.unwrap_or(0));
        let again_s =
            class.and_then(|class| self.features.look_again_s(class, bucket, marks, hour, written_ms, &self.now));
        let by_class = again_s.map(|again_s| self.now.cc_lo.plus_seconds(again_s));
        [by_rule.map(|expiry| expiry.at), by_class].into_iter().flatten().min()
    }
}
