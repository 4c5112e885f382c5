//! DeleteObject: commit the row's removal → delete the blobs. Row first: a crash in between leaves orphan blobs, never
//! a row without bytes.
//!
//! In a bucket that keeps versions, or did, nothing is removed unless a version is named: a mark of deletion becomes the
//! current version, in one commit. Suspended, that mark takes the place of the `null` version, which goes.

use super::alarm::Subject;
use super::put::condition;
use super::types::{Deleted, StoreError, WriteCondition};
use super::{Room, Store};
use crate::gate::{Admitted, Need, act};
use crate::index::rows::v1::ObjectRow;
use crate::index::{Condition, IndexError, Keep};
use crate::model::names::ObjectName;
use crate::model::versioning::{VersionAsked, Versioning};

impl Store {
    /// Removes an object; durable on return. An object that is not there is no error, as in S3, unless a condition
    /// asks for it. With `version`, removes that one for good, current or not, or a mark of deletion. Errors: `Held` by a
    /// legal hold.
    pub async fn delete(
        &self,
        admitted: &Admitted<act::Delete>,
        name: &ObjectName,
        version: Option<VersionAsked>,
        asked: WriteCondition,
    ) -> Result<Deleted, StoreError> {
        let room = self.enter(admitted).await?;
        let awake = self.awake(&room).await?;
        let versioning = self.versioning_now(&room).await?;
        let condition = condition(asked);
        let done = match (version, versioning) {
            (Some(version), _) => self.erase_version(&room, name, version, condition).await,
            (None, Versioning::Never) => self.erase(&room, name, condition).await,
            (None, _) => self.mark(&room, name, versioning, condition).await,
        };
        drop(awake);
        done
    }

    async fn erase(&self, room: &Room, name: &ObjectName, condition: Condition) -> Result<Deleted, StoreError> {
        self.may_delete(room, name).await?;
        let condition = self.directory(room.bucket.at.geo.id)?.unkept(&room.bucket.at, condition).await?;
        let removed = room.roots.index.delete(&room.bucket.index, name, condition).await;
        if let Some(removed) = self.heard(&room.bucket.at, Subject::Row, removed).await? {
            self.discard(room, &removed);
        }
        Ok(Deleted::Erased { version: None, was_marker: false })
    }

    async fn erase_version(
        &self,
        room: &Room,
        name: &ObjectName,
        version: VersionAsked,
        condition: Condition,
    ) -> Result<Deleted, StoreError> {
        let nothing = Deleted::Erased { version: Some(version), was_marker: false };
        let Some(found) = self.version_asked(room, name, version).await? else {
            return match condition {
                Condition::None => Ok(nothing),
                _ => Err(StoreError::NoSuchVersion),
            };
        };
        self.may_touch(room, &found.row, Need::Delete).await?;
        let condition = self.directory(room.bucket.at.geo.id)?.unkept(&room.bucket.at, condition).await?;
        let (index, id) = (&room.roots.index, VersionAsked::Id(found.row.version_id));
        let removed =
            index.delete_version(&room.bucket.index, name, id, condition, Some(self.dating(room).await?)).await;
        match self.heard(&room.bucket.at, Subject::Row, removed).await? {
            Some(removed) => {
                self.discard(room, &removed);
                if let Err(error) = self.look_at_marker(room, name).await {
                    tracing::warn!(%error, "a delete marker that may be all that is left of a name was not dated");
                }
                Ok(Deleted::Erased { version: Some(version), was_marker: !removed.is_object() })
            }
            // Somebody else was faster.
            None => Ok(nothing),
        }
    }

    async fn mark(
        &self,
        room: &Room,
        name: &ObjectName,
        versioning: Versioning,
        condition: Condition,
    ) -> Result<Deleted, StoreError> {
        self.may_delete(room, name).await?;
        let now = self.0.clock.now();
        let mut marker = ObjectRow::marker(name.as_str().to_owned(), now.wall, now.cc_lo);
        marker.versioned = (versioning == Versioning::Enabled).then_some(true);
        let version = marker.asked();
        let condition = self.directory(room.bucket.at.geo.id)?.unkept(&room.bucket.at, condition).await?;
        let dating = self.dating(room).await?;
        marker.due = dating.due(&marker);
        let (index, keep) = (&room.roots.index, Keep::of(versioning));
        let put = index.mark_deleted(&room.bucket.index, marker, condition, keep, Some(dating)).await;
        match put {
            // S3: to delete what is not there is to succeed; but a condition wants something there.
            Err(IndexError::NoSuchObject) => Err(StoreError::NoSuchObject),
            put => {
                if let Some(replaced) = self.heard(&room.bucket.at, Subject::Row, put).await?.replaced {
                    self.discard(room, &replaced);
                }
                Ok(Deleted::Marked { version })
            }
        }
    }
}
