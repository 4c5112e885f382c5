//! DeleteObject: commit the row's removal → delete the blobs. Row first: a crash in between leaves orphan blobs, never
//! a row without bytes.
//!
//! In a bucket that keeps versions, or did, nothing is removed unless a version is named: a mark of deletion becomes the
//! current version, in one commit. Suspended, that mark takes the place of the `null` version, which goes.
//!
//! Of a terminated tenant the customer may remove what no hold keeps before its time, whatever its features: nothing is
//! taken any more, and a mark of deletion would be something. So a version has to be named where there are any.

use super::alarm::Subject;
use super::put::condition;
use super::types::{Deleted, StoreError, WriteCondition};
use super::{Room, Store};
use crate::gate::{Admitted, Asleep, Need, act};
use crate::index::rows::v1::ObjectRow;
use crate::index::{Condition, IndexError, Keep};
use crate::model::names::ObjectName;
use crate::model::versioning::{VersionAsked, Versioning};

impl Store {
    /// Removes an object; durable on return. An object that is not there is no error, as in S3, unless a condition
    /// asks for it. With `version`, removes that one for good, current or not, or a mark of deletion. Errors: `Held` by a
    /// legal hold; `Asleep` where a mark would be put and the tenant is terminated.
    pub async fn delete(
        &self,
        admitted: &Admitted<act::Erase>,
        name: &ObjectName,
        version: Option<VersionAsked>,
        asked: WriteCondition,
    ) -> Result<Deleted, StoreError> {
        let room = self.enter(admitted).await?;
        let at = &room.bucket.at;
        let erasing = self.directory(at.geo.id)?.commits_to_delete(at.tenant).await?;
        let (awake, ended) = erasing.map_err(|state| StoreError::Asleep(Asleep::of(state)))?;
        let versioning = self.versioning_now(&room).await?;
        let (condition, ended) = (condition(asked), ended.map(Asleep::of));
        let done = match (version, versioning, ended) {
            (Some(version), ..) => self.erase_version(&room, name, version, condition, ended).await,
            (None, Versioning::Never, _) => self.erase(&room, name, condition, ended).await,
            (None, _, Some(asleep)) => Err(StoreError::Asleep(asleep)),
            (None, _, None) => self.mark(&room, name, versioning, condition).await,
        };
        drop(awake);
        done
    }

    async fn erase(
        &self,
        room: &Room,
        name: &ObjectName,
        condition: Condition,
        ended: Option<Asleep>,
    ) -> Result<Deleted, StoreError> {
        if ended.is_none() {
            self.may_delete(room, name).await?;
        }
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
        ended: Option<Asleep>,
    ) -> Result<Deleted, StoreError> {
        let nothing = Deleted::Erased { version: Some(version), was_marker: false };
        let Some(found) = self.version_asked(room, name, version).await? else {
            return match condition {
                Condition::None => Ok(nothing),
                _ => Err(StoreError::NoSuchVersion),
            };
        };
        if ended.is_none() {
            self.may_touch(room, &found.row, Need::Erase).await?;
        }
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
