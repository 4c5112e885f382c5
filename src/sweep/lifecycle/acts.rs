//! What is done with a version whose time has come: it goes, or a delete marker is put over it. Each is one commit, refused
//! if the version is not what was decided on any more.

use super::lifetimes::Fate;
use crate::directory::OpenedBucket;
use crate::index::rows::v1::ObjectRow;
use crate::index::{Condition, Dating, IndexError, Keep, Keeper, RegionIndex};
use crate::model::clock::Clock;
use crate::model::names::ObjectName;
use crate::model::versioning::{VersionAsked, Versioning};
use std::sync::Arc;

/// Where due versions are removed, and who says which have to stay.
pub(super) struct Acts<'a> {
    pub(super) index: &'a RegionIndex,
    pub(super) opened: &'a OpenedBucket,
    pub(super) keeper: Option<&'a Keeper>,
    pub(super) clock: &'a dyn Clock,
}

impl Acts<'_> {
    /// Removes a version for good; answers what is gone.
    pub(super) async fn remove(&self, name: ObjectName, row: Arc<ObjectRow>) -> Result<Option<ObjectRow>, IndexError> {
        let bucket = &self.opened.index;
        let asked = VersionAsked::Id(row.version_id);
        match self.opened.versioning {
            // What a hold keeps beside it is none of its name's versions, and takes no place.
            Versioning::Never if row.is_current() => self.index.delete(bucket, &name, self.condition(row)).await,
            _ => self.index.delete_version(bucket, &name, asked, self.condition(row), Some(self.dating())).await,
        }
    }

    /// Removes or hides a current version; answers what is gone for good.
    pub(super) async fn end(
        &self,
        name: ObjectName,
        row: Arc<ObjectRow>,
        fate: Fate,
    ) -> Result<Option<ObjectRow>, IndexError> {
        if fate != Fate::Marked {
            return self.remove(name, row).await;
        }
        let now = self.clock.now();
        let mut marker = ObjectRow::marker(row.name.clone(), now.wall, now.cc_lo);
        let dating = self.dating();
        marker.due = dating.due(&marker);
        let keep = Keep::of(self.opened.versioning);
        let put = self.index.mark_deleted(&self.opened.index, marker, self.condition(row), keep, Some(dating)).await?;
        Ok(put.replaced)
    }

    fn dating(&self) -> Dating {
        Dating::by_rules(self.opened.lifecycle.clone())
    }

    fn condition(&self, row: Arc<ObjectRow>) -> Condition {
        match self.keeper {
            Some(keeper) => Condition::Unkept(Box::new(Condition::IfSame(row)), keeper.clone()),
            None => Condition::IfSame(row),
        }
    }
}
