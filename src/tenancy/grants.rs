//! Grants: short-lived logins for jobs, limited to a purpose, classes of data and buckets. The log knows them by an opaque
//! id, as every login. Besides, the registers of a feature: messages that are followed, users who are not captured.

use super::{Tenancy, TenancyError};
use crate::audit::{Actor, Event as Record};
use crate::directory::RevokedBy;
use crate::feature;
use crate::model::classes::{Class, Feature, Purpose};
use crate::model::ids::TenantId;
use crate::model::login::{Grant, Login, Role};
use crate::model::names::BucketName;
use crate::tenant::{Refusal, State};

/// Longest life of a grant, in seconds.
pub const GRANT_S_MAX: u32 = 86_400;

/// A grant to be.
#[derive(Debug)]
pub struct NewGrant {
    /// What for.
    pub purpose: Purpose,
    /// Which classes of data.
    pub classes: Vec<Class>,
    /// In which buckets.
    pub buckets: Vec<BucketName>,
    /// How long, 1 to [`GRANT_S_MAX`].
    pub seconds: u32,
}

impl Tenancy {
    /// Makes a grant of a tenant in service. Errors: `Refused`, `Feature` (consent required) when no consent in force names a
    /// class, `NoSuchBucket`.
    pub async fn create_grant(&self, actor: &Actor, id: TenantId, new: NewGrant) -> Result<Login, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        let entry = self.living(id).await?;
        if entry.standing.state != State::Active {
            return Err(Refusal::WrongState(entry.standing.state).into());
        }
        let features = self.directory.features(id).await?;
        if !new.classes.iter().all(|class| features.is_consented(*class)) {
            return Err(feature::Refusal::ConsentRequired.into());
        }
        let mut buckets = Vec::new();
        for name in &new.buckets {
            buckets.push(self.directory.bucket(id, name).await?.ok_or(TenancyError::NoSuchBucket)?.bucket);
        }
        let now = self.clock.now();
        let until = now.cc_hi.plus_seconds(i64::from(new.seconds.min(GRANT_S_MAX)));
        let grant = Grant { purpose: new.purpose, classes: new.classes, buckets, until };
        let login = self.directory.create_limited_login(id, Role::Service, Some(grant.clone()), now.wall).await?;
        let created = Record::GrantCreated {
            tenant: id,
            credential: self.directory.login_id(&login.access_id),
            purpose: grant.purpose.to_string(),
            classes: grant.classes.iter().map(Class::to_string).collect(),
            buckets: grant.buckets,
            until: grant.until.to_string(),
        };
        if let Err(error) = self.log(actor, created).await {
            // A login that the log does not know must not exist.
            self.directory.revoke_login(id, &login.access_id, self.clock.now().wall).await?;
            return Err(error);
        }
        Ok(login)
    }

    /// Registers messages as followed, from now on. Answers how many were not before. Errors: `FeatureDisabled`.
    pub async fn follow(&self, actor: &Actor, id: TenantId, messages: &[String]) -> Result<u64, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        self.enabled(id).await?;
        let now = self.clock.now().wall;
        self.log(actor, Record::MessagesFollowed { tenant: id, messages: messages.len() as u64 }).await?;
        let mut added = 0;
        for message in messages {
            added += u64::from(self.directory.follow(id, message, now).await?);
        }
        Ok(added)
    }

    /// Follows messages no more: their next event is refused where only followed ones are taken. Answers how many were
    /// followed. Also while the feature is off.
    pub async fn unfollow(&self, actor: &Actor, id: TenantId, messages: &[String]) -> Result<u64, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        self.living(id).await?;
        self.log(actor, Record::MessagesUnfollowed { tenant: id, messages: messages.len() as u64 }).await?;
        let mut removed = 0;
        for message in messages {
            removed += u64::from(self.directory.unfollow(id, message).await?);
        }
        Ok(removed)
    }

    /// Says whether what a user tracks is captured. Errors: `FeatureDisabled`.
    pub async fn capture(&self, actor: &Actor, id: TenantId, user: &str, on: bool) -> Result<(), TenancyError> {
        let _acts = self.directory.acts().lock().await;
        self.enabled(id).await?;
        self.log(actor, Record::CaptureSet { tenant: id, on }).await?;
        Ok(self.directory.capture(id, user, on).await?)
    }

    async fn enabled(&self, id: TenantId) -> Result<(), TenancyError> {
        self.living(id).await?;
        let on = self.directory.features(id).await?.is_on(Feature::EmailEngagement);
        if on { Ok(()) } else { Err(TenancyError::FeatureDisabled) }
    }

    /// Revokes every grant of a tenant: the consent that they rest on ended. Needs none of the tenant's keys.
    pub(super) async fn revoke_grants(&self, actor: &Actor, id: TenantId, by: RevokedBy) -> Result<(), TenancyError> {
        self.revoke_where(actor, id, by, |login| login.grant.is_some()).await
    }
}
