//! DeleteObject: commit the row's removal → delete the blobs. Row first: a crash in between leaves orphan blobs, never
//! a row without bytes.

use super::Store;
use super::alarm::Subject;
use super::put::condition;
use super::types::{StoreError, WriteCondition};
use crate::gate::{Admitted, act};
use crate::model::ids::VersionId;
use crate::model::names::ObjectName;

impl Store {
    /// Removes an object; durable on return. An object that is not there is no error, as in S3, unless a condition
    /// asks for it. With `version`, removes only if that is the live one. Errors: `Held` by a legal hold.
    pub async fn delete(
        &self,
        admitted: &Admitted<act::Delete>,
        name: &ObjectName,
        version: Option<VersionId>,
        asked: WriteCondition,
    ) -> Result<(), StoreError> {
        let room = self.enter(admitted).await?;
        if let Some(version) = version {
            match self.row(&room, name, Some(version)).await {
                Ok(_) => {}
                Err(StoreError::NoSuchVersion) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let _awake = self.awake(&room).await?;
        self.may_delete(&room, name).await?;
        let condition = self.directory(room.bucket.at.geo.id)?.unkept(&room.bucket.at, condition(asked)).await?;
        let removed = room.roots.index.delete(&room.bucket.index, name, condition).await;
        if let Some(removed) = self.heard(&room.bucket.at, Subject::Row, removed).await? {
            self.discard(&room, &removed);
        }
        Ok(())
    }
}
