//! Classes of data: what an object's class demands before it is sealed, before it is committed, and before it is read.
//!
//! Called by the acts of this room. Promises that no object of a class whose feature is off is committed, replaced,
//! deleted or read, whenever the feature was disabled: a commit asks once more with commits held, and disabling waits for
//! those.

use super::types::{About, StoreError};
use super::{Room, Store};
use crate::feature::No;
use crate::gate::Need;
use crate::index::rows::v1::{ObjectKind, ObjectRow};
use crate::model::classes::{ACTOR_METADATA, CLASS_METADATA, Class};
use crate::model::names::ObjectName;

impl Store {
    /// Settles the class of something that is to be written: an object that names none gets its bucket's, in its own
    /// metadata, so that it keeps it. Nothing of the body was read yet.
    pub(super) async fn settle_class(&self, room: &Room, about: &mut About) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        let directory = self.directory(at.geo.id)?;
        let features = directory.features(at.tenant).await?;
        let class = features.may_write(at.bucket, value(&about.metadata, CLASS_METADATA), has_actor(&about.metadata));
        let class = class.map_err(|no| {
            if matches!(no, No::Disabled(_)) {
                self.0.meters.dropped();
                directory.note_dropped(at.tenant);
            }
            refused(no, Need::Write)
        })?;
        if let Some(class) = class
            && value(&about.metadata, CLASS_METADATA).is_none()
        {
            about.metadata.push((CLASS_METADATA.to_owned(), class.as_str().to_owned()));
        }
        Ok(())
    }

    /// Whether something with this metadata may be committed under this name now. To be called with commits held.
    pub(super) async fn may_commit(
        &self,
        room: &Room,
        name: &str,
        metadata: &[(String, String)],
    ) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        let directory = self.directory(at.geo.id)?;
        let features = directory.features(at.tenant).await?;
        if let Err(no) = features.may_use(Class::of(metadata)) {
            self.0.meters.dropped();
            directory.note_dropped(at.tenant);
            return Err(refused(no, Need::Write));
        }
        match ObjectName::parse(name.to_owned()) {
            Ok(name) if features.has_frozen() => self.not_frozen(room, &name, Need::Write).await,
            _ => Ok(()),
        }
    }

    /// Whether the object of this name may be deleted now. To be called with commits held.
    pub(super) async fn may_delete(&self, room: &Room, name: &ObjectName) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        match self.directory(at.geo.id)?.features(at.tenant).await?.has_frozen() {
            true => self.not_frozen(room, name, Need::Delete).await,
            false => Ok(()),
        }
    }

    /// What a disabled feature left stays as it is: it is neither replaced nor deleted.
    async fn not_frozen(&self, room: &Room, name: &ObjectName, need: Need) -> Result<(), StoreError> {
        let found = room.roots.index.get(&room.bucket.index, name).await?;
        match found.filter(|found| found.row.kind == ObjectKind::Object) {
            Some(found) => self.may_touch(room, &found.row, need).await,
            None => Ok(()),
        }
    }

    /// Whether a stored object may be read or changed now.
    pub(super) async fn may_touch(&self, room: &Room, row: &ObjectRow, need: Need) -> Result<(), StoreError> {
        let Some(class) = Class::of(&row.metadata).filter(|class| class.feature().is_some()) else { return Ok(()) };
        let at = &room.bucket.at;
        let features = self.directory(at.geo.id)?.features(at.tenant).await?;
        features.may_use(Some(class)).map_err(|no| refused(no, need))
    }
}

fn has_actor(metadata: &[(String, String)]) -> bool {
    value(metadata, ACTOR_METADATA).is_some_and(|actor| !actor.trim().is_empty())
}

fn value<'a>(metadata: &'a [(String, String)], name: &str) -> Option<&'a str> {
    metadata.iter().find(|(had, _)| had == name).map(|(_, value)| value.as_str())
}

fn refused(no: No, need: Need) -> StoreError {
    match no {
        No::UnknownClass => StoreError::UnknownClass,
        No::NotStorable => StoreError::ClassNotStorable,
        No::NoActor => StoreError::ActorRequired,
        No::Disabled(_) => StoreError::FeatureDisabled(need),
    }
}
