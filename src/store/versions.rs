//! Versions: whether a bucket keeps them, which one is meant, and listing them.
//!
//! To have a bucket keep versions, or stop to: the ledger's entry → the bucket's row, while no object's commit is in
//! flight. Every write asks what is in force with commits held, so none goes by what was said before.

use super::alarm::Subject;
use super::types::{ListVersions, ListedVersion, PageOfVersions, StoreError};
use super::{Room, Store};
use crate::audit::{Actor, Event};
use crate::gate::{Admitted, act};
use crate::index::rows::v1::ObjectRow;
use crate::index::{Found, VersionsQuery};
use crate::model::ids::VersionId;
use crate::model::limits::LIST_MAX;
use crate::model::names::ObjectName;
use crate::model::versioning::{VersionAsked, Versioning};

impl Room {
    /// How a client is told which version a row is; nothing, while its bucket never kept versions.
    pub(super) fn shown(&self, row: &ObjectRow) -> Option<VersionAsked> {
        (self.bucket.versioning != Versioning::Never).then(|| row.asked())
    }
}

impl Store {
    /// Has the bucket keep versions, or stop to. In force on return.
    pub async fn set_versioning(
        &self,
        admitted: &Admitted<act::Delete>,
        versioning: Versioning,
    ) -> Result<(), StoreError> {
        let room = self.enter(admitted).await?;
        let at = &room.bucket.at;
        if let Some(log) = self.0.alarm.log(at.geo.id) {
            let enabled = versioning == Versioning::Enabled;
            let event = Event::VersioningSet { tenant: at.tenant, bucket: at.bucket, enabled };
            log.append(&Actor::part("client"), event).await.map_err(|_| StoreError::Unavailable)?;
        }
        let directory = self.directory(at.geo.id)?;
        directory.set_versioning(at, versioning).await?.ok_or(StoreError::NoSuchBucket)?;
        Ok(())
    }

    /// Whether the bucket keeps versions.
    pub async fn versioning(&self, admitted: &Admitted<act::Read>) -> Result<Versioning, StoreError> {
        Ok(self.enter(admitted).await?.bucket.versioning)
    }

    /// One page of all versions and marks of deletion, in byte order of the names, the newest first. A limit of 0 gives an
    /// empty page that is not truncated.
    pub async fn list_versions(
        &self,
        admitted: &Admitted<act::Read>,
        list: ListVersions,
    ) -> Result<PageOfVersions, StoreError> {
        let room = self.enter(admitted).await?;
        let query = VersionsQuery {
            prefix: list.prefix,
            delimiter: list.delimiter,
            after: list.after,
            limit: list.limit.min(LIST_MAX),
            hidden: false,
        };
        let page = room.roots.index.list_versions(&room.bucket.index, &query).await;
        let page = self.heard(&room.bucket.at, Subject::Row, page).await?;
        let listed = |row: ObjectRow| ListedVersion {
            version: row.asked(),
            is_latest: row.is_current(),
            is_marker: !row.is_object(),
            name: row.name,
            size: row.size,
            modified: row.mtime,
            etag: row.etag,
        };
        Ok(PageOfVersions {
            versions: page.versions.into_iter().map(listed).collect(),
            common_prefixes: page.common_prefixes,
            truncated: page.truncated,
            last: page.last,
        })
    }

    /// What is in force, which may be another than when the room was entered. To be called with commits held.
    pub(super) async fn versioning_now(&self, room: &Room) -> Result<Versioning, StoreError> {
        let opened = self.directory(room.bucket.at.geo.id)?.open_bucket(&room.bucket.at).await?;
        Ok(opened.ok_or(StoreError::NoSuchBucket)?.versioning)
    }

    /// The version that a client asks for: by its id one that was given to it, or the `null` one. Marks of deletion too.
    pub(super) async fn version_asked(
        &self,
        room: &Room,
        name: &ObjectName,
        asked: VersionAsked,
    ) -> Result<Option<Found>, StoreError> {
        let found = room.roots.index.find_version(&room.bucket.index, name, asked).await;
        let found = self.heard(&room.bucket.at, Subject::Row, found).await?;
        Ok(found.filter(|found| found.row.is_shown() && found.row.asked() == asked))
    }

    /// The object of this very version, current or not, whoever may see it.
    pub(super) async fn version(
        &self,
        room: &Room,
        name: &ObjectName,
        version: VersionId,
    ) -> Result<Found, StoreError> {
        let found = room.roots.index.find_version(&room.bucket.index, name, VersionAsked::Id(version)).await;
        let found = self.heard(&room.bucket.at, Subject::Row, found).await?;
        let found = found.filter(|found| found.row.is_object()).ok_or(StoreError::NoSuchVersion)?;
        self.still_there(room, &found.row).await?;
        Ok(found)
    }
}
