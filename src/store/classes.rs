//! Classes of data: what an object's class demands before it is sealed, before it is committed, and before it is read.
//!
//! Called by the acts of this room. Promises that no object of a class whose feature is off is committed, replaced,
//! deleted or read, whenever the feature was disabled: a commit asks once more with commits held, and disabling waits for
//! those.

use super::types::{About, StoreError};
use super::{Room, Store};
use crate::feature::{Features, No, Watermarks, hour_of};
use crate::gate::{AdmittedTenant, Need, act};
use crate::index::rows::v1::{ObjectKind, ObjectRow};
use crate::model::classes::{
    ACTOR_METADATA, CLASS_METADATA, Class, FOLLOW_METADATA, Feature, MESSAGE_METADATA, OCCURRED_METADATA,
};
use crate::model::clock::Reading;
use crate::model::names::{BucketName, ObjectName};
use crate::model::time::Millis;

impl Store {
    /// The tenant's buckets whose objects are of this class when they name none, by name.
    pub async fn buckets_for(
        &self,
        admitted: &AdmittedTenant<act::Write>,
        class: Class,
    ) -> Result<Vec<BucketName>, StoreError> {
        let login = admitted.login();
        let directory = self.directory(login.geo.id)?;
        let features = directory.features(login.tenant).await?;
        let mut buckets = directory.buckets(login.tenant).await?;
        buckets.retain(|at| features.bucket(at.bucket).and_then(|rules| rules.default_class) == Some(class));
        let mut names: Vec<_> = buckets.into_iter().map(|at| at.name.clone()).collect();
        names.sort();
        Ok(names)
    }

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
        self.registered(room, class, &features, &about.metadata).await?;
        if let Some(grant) = &room.grant {
            // A job writes what it made, and nothing else.
            let made = class.filter(|class| *class == Class::Kpi && grant.classes.contains(class));
            made.filter(|class| features.is_consented(*class)).ok_or(StoreError::NotGranted)?;
        }
        if let Some(class) = class
            && value(&about.metadata, CLASS_METADATA).is_none()
        {
            about.metadata.push((CLASS_METADATA.to_owned(), class.as_str().to_owned()));
        }
        Ok(())
    }

    /// Asks the tenant's registers: whether an interaction is of a message that was followed by then, where only those are
    /// taken, and whether who tracked a message may be captured. Registers a message whose first record says so.
    async fn registered(
        &self,
        room: &Room,
        class: Option<Class>,
        features: &Features,
        metadata: &[(String, String)],
    ) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        let directory = self.directory(at.geo.id)?;
        match class {
            Some(Class::TrackedActivity) => {
                let actor = value(metadata, ACTOR_METADATA).unwrap_or_default();
                match directory.is_captured(at.tenant, actor).await? {
                    true => Ok(()),
                    false => Err(StoreError::OptedOut),
                }
            }
            Some(Class::Interaction) => {
                let message = value(metadata, MESSAGE_METADATA).filter(|message| !message.trim().is_empty());
                if value(metadata, FOLLOW_METADATA) == Some("true") && room.grant.is_none() {
                    let message = message.ok_or(StoreError::NotFollowed)?;
                    directory.follow(at.tenant, message, self.now()).await?;
                    return Ok(());
                }
                match self.is_followed(room, features, metadata).await? {
                    true => Ok(()),
                    false => Err(StoreError::NotFollowed),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether an interaction is of a message that is followed, and was when it occurred; always where more than those are
    /// collected. The record of a sending that said so is of a message that was followed with it.
    async fn is_followed(
        &self,
        room: &Room,
        features: &Features,
        metadata: &[(String, String)],
    ) -> Result<bool, StoreError> {
        if !features.setting(Feature::EmailEngagement).is_some_and(|setting| setting.follow_only) {
            return Ok(true);
        }
        let message = value(metadata, MESSAGE_METADATA).filter(|message| !message.trim().is_empty());
        let Some(message) = message else { return Ok(false) };
        let at = &room.bucket.at;
        let Some(since) = self.directory(at.geo.id)?.followed_since(at.tenant, message).await? else {
            return Ok(false);
        };
        let occurred = value(metadata, OCCURRED_METADATA).and_then(|time| time.parse::<Millis>().ok());
        // Times of providers are of whole seconds.
        let in_time = occurred.is_some_and(|occurred| occurred.seconds() >= since.seconds());
        Ok(in_time || value(metadata, FOLLOW_METADATA) == Some("true"))
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
        if Class::of(metadata) == Some(Class::TrackedActivity) {
            let actor = value(metadata, ACTOR_METADATA).unwrap_or_default();
            if !directory.is_captured(at.tenant, actor).await? {
                return Err(StoreError::OptedOut);
            }
        }
        match ObjectName::parse(name.to_owned()) {
            Ok(name) if features.has_frozen() || room.grant.is_some() => {
                self.may_displace(room, &name, Need::Write).await
            }
            _ => Ok(()),
        }
    }

    /// Whether the object of this name may be deleted now. To be called with commits held.
    pub(super) async fn may_delete(&self, room: &Room, name: &ObjectName) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        match self.directory(at.geo.id)?.features(at.tenant).await?.has_frozen() {
            true => self.may_displace(room, name, Need::Erase).await,
            false => Ok(()),
        }
    }

    /// What a disabled feature left stays as it is, and what a grant does not cover: it is neither replaced nor deleted.
    async fn may_displace(&self, room: &Room, name: &ObjectName, need: Need) -> Result<(), StoreError> {
        let found = room.roots.index.get(&room.bucket.index, name).await?;
        match found.filter(|found| found.row.kind == ObjectKind::Object) {
            Some(found) => self.may_touch(room, &found.row, need).await,
            None => Ok(()),
        }
    }

    /// Whether a stored object may be read or changed now.
    pub(super) async fn may_touch(&self, room: &Room, row: &ObjectRow, need: Need) -> Result<(), StoreError> {
        let class = Class::of(&row.metadata);
        if room.grant.is_none() && class.and_then(Class::feature).is_none() {
            return Ok(());
        }
        let at = &room.bucket.at;
        let features = self.directory(at.geo.id)?.features(at.tenant).await?;
        features.may_use(class).map_err(|no| refused(no, need))?;
        let Some(grant) = &room.grant else { return Ok(()) };
        let granted = class.filter(|class| grant.classes.contains(class) && features.is_consented(*class));
        match granted {
            // Of a message that is followed no more, or was not by then, nothing is computed from then on.
            Some(Class::Interaction) if need == Need::Read => {
                match self.is_followed(room, &features, &row.metadata).await? {
                    true => Ok(()),
                    false => Err(StoreError::UnfollowedInJobs),
                }
            }
            Some(class) if need == Need::Read || class == Class::Kpi => Ok(()),
            _ => Err(StoreError::NotGranted),
        }
    }

    /// The second at which an object that is being written has to be looked at for its class's lifetime; keeps in its row
    /// what that is counted from. To be called with commits held.
    pub(super) async fn lifetime(
        &self,
        room: &Room,
        row: &mut ObjectRow,
        now: &Reading,
    ) -> Result<Option<u64>, StoreError> {
        let Some(class) = Class::of(&row.metadata).filter(|class| class.is_temporary()) else { return Ok(None) };
        let at = &room.bucket.at;
        let features = self.directory(at.geo.id)?.features(at.tenant).await?;
        let setting = class.feature().and_then(|feature| features.setting(feature));
        let enabled_ms = setting.map_or(0, |setting| setting.clock.at(now));
        row.enabled_ms = Some(enabled_ms);
        // No watermark can cover what is only being written.
        let (marks, hour) = (Watermarks::default(), hour_of(&row.name, row.mtime));
        let again = features.look_again_s(class, at.bucket, &marks, hour, enabled_ms, now);
        Ok(again.map(|again| u64::try_from(now.cc_lo.plus_seconds(again).seconds()).unwrap_or(0)))
    }
}

fn has_actor(metadata: &[(String, String)]) -> bool {
    value(metadata, ACTOR_METADATA).is_some_and(|actor| !actor.trim().is_empty())
}

pub(super) fn value<'a>(metadata: &'a [(String, String)], name: &str) -> Option<&'a str> {
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
