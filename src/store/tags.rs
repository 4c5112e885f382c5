//! Object tags: read and replaced in the row; the bytes are not touched.

use super::Store;
use super::types::StoreError;
use crate::gate::{Admitted, Need, act};
use crate::model::names::ObjectName;
use crate::model::versioning::VersionAsked;

impl Store {
    /// Replaces the tags of a version, nothing else, and answers which it was. A concurrent write wins:
    /// `ConditionalConflict`.
    pub async fn set_tags(
        &self,
        admitted: &Admitted<act::Write>,
        name: &ObjectName,
        version: Option<VersionAsked>,
        tags: Vec<(String, String)>,
    ) -> Result<Option<VersionAsked>, StoreError> {
        let room = self.enter(admitted).await?;
        let (old, _) = self.row(&room, name, version).await?;
        let mut new = old.clone();
        new.tags = tags;
        let _awake = self.awake(&room).await?;
        self.may_touch(&room, &old, Need::Write).await?;
        // A rule may be about the tags. What was written before times were kept goes on by the old one.
        new.written = Some(new.age_from());
        self.date(&room, &mut new).await?;
        if room.roots.index.replace_if_same(&room.bucket.index, &old, new).await? {
            Ok(room.shown(&old))
        } else {
            Err(StoreError::ConditionalConflict)
        }
    }

    /// The tags of an object, in the order they were given.
    pub async fn tags(
        &self,
        admitted: &Admitted<act::Read>,
        name: &ObjectName,
        version: Option<VersionAsked>,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let room = self.enter(admitted).await?;
        let (row, _) = self.row(&room, name, version).await?;
        self.may_touch(&room, &row, Need::Read).await?;
        self.may_be_used(&room, &row).await?;
        Ok(row.tags)
    }
}
