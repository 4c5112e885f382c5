//! A bucket's lifecycle rules, and the time at which an object goes by them.
//!
//! To replace the rules: the ledger's entry → a note in the due index that the bucket's objects have to be dated anew →
//! the rules, while no object's commit is in flight. A crash after the note leaves a walk that finds all as it should be.
//! From then on every write is dated by the new rules; what was there before is dated by the walk (`sweep::lifecycle`).

use super::types::StoreError;
use super::{Room, Store};
use crate::audit::{Actor, Event};
use crate::gate::{Admitted, act};
use crate::index::Dating;
use crate::index::rows::v1::ObjectRow;
use crate::model::lifecycle::{Expiry, Rules};
use crate::model::names::ObjectName;
use std::sync::Arc;

impl Store {
    /// Replaces the bucket's rules; `None` removes them. In force on return.
    pub async fn set_lifecycle(
        &self,
        admitted: &Admitted<act::Delete>,
        rules: Option<Rules>,
    ) -> Result<(), StoreError> {
        let room = self.enter(admitted).await?;
        let (at, directory) = (&room.bucket.at, self.directory(room.bucket.at.geo.id)?);
        if let Some(log) = self.0.alarm.log(at.geo.id) {
            let count = rules.as_ref().map_or(0, |rules| rules.0.len() as u64);
            let event = Event::LifecycleSet { tenant: at.tenant, bucket: at.bucket, rules: count };
            log.append(&Actor::part("client"), event).await.map_err(|_| StoreError::Unavailable)?;
        }
        let _walks = directory.walks().lock().await;
        let geo_keys = directory.key_service().geo_keys();
        room.roots.index.put_walk(&geo_keys.directory(), &room.bucket.index).await?;
        directory.set_lifecycle(at, rules).await?.ok_or(StoreError::NoSuchBucket)?;
        Ok(())
    }

    /// The bucket's rules, if it has any.
    pub async fn lifecycle(&self, admitted: &Admitted<act::Read>) -> Result<Option<Arc<Rules>>, StoreError> {
        Ok(self.enter(admitted).await?.bucket.lifecycle.clone())
    }

    /// Dates a version that is about to be committed: when it was written, and when it goes. To be called with commits
    /// held, so that the rules are those in force.
    pub(super) async fn date(&self, room: &Room, row: &mut ObjectRow) -> Result<Option<Expiry>, StoreError> {
        if !row.is_current() {
            row.due = self.dating(room).await?.due(row);
            return Ok(None);
        }
        let now = self.0.clock.now();
        let fresh = row.written.is_none();
        let written = *row.written.get_or_insert(now.cc_lo);
        let rules = self.rules_now(room).await?;
        let expiry = rules.and_then(|rules| rules.expiry(&row.name, row.size, &row.tags, written));
        let by_rule = expiry.as_ref().map(|expiry| u64::try_from(expiry.at.seconds()).unwrap_or(0));
        let by_class = if fresh { self.lifetime(room, row, &now).await? } else { row.due };
        row.due = [by_rule, by_class].into_iter().flatten().min();
        Ok(expiry)
    }

    /// Dates versions that a commit supersedes, or makes current again. To be called with commits held.
    pub(super) async fn dating(&self, room: &Room) -> Result<Dating, StoreError> {
        Ok(Dating::by_rules(self.rules_now(room).await?))
    }

    /// Has the next sweep look at the delete marker of a name from which a version was removed, if nothing else is left of
    /// it. To be called with commits held. What is cut off here the sweep finds by itself, later.
    pub(super) async fn look_at_marker(&self, room: &Room, name: &ObjectName) -> Result<(), StoreError> {
        let Some(rules) = self.rules_now(room).await? else { return Ok(()) };
        let (index, bucket) = (&room.roots.index, &room.bucket.index);
        let left = index.versions_of(bucket, name, None, 2).await?;
        let [marker] = left.as_slice() else { return Ok(()) };
        let goes = rules.lone_marker(&marker.name, marker.age_from()).filter(|_| !marker.is_object());
        let due = goes.map(|expiry| u64::try_from(expiry.at.seconds()).unwrap_or(0));
        if due.is_some() && due != marker.due {
            index.date(bucket, &[(marker.clone(), due)]).await?;
        }
        Ok(())
    }

    /// The rules in force, which may be others than those when the room was entered.
    pub(super) async fn rules_now(&self, room: &Room) -> Result<Option<Arc<Rules>>, StoreError> {
        let opened = self.directory(room.bucket.at.geo.id)?.open_bucket(&room.bucket.at).await?;
        Ok(opened.ok_or(StoreError::NoSuchBucket)?.lifecycle.clone())
    }
}

/// When an object that is stored goes, or is hidden. Of a superseded version nothing is said, as in S3.
pub(super) fn expiry(room: &Room, row: &ObjectRow) -> Option<Expiry> {
    if !row.is_current() {
        return None;
    }
    room.bucket.lifecycle.as_ref()?.expiry(&row.name, row.size, &row.tags, row.age_from())
}
