//! Features of a tenant and what its buckets are for: the acts, the routes, and what they take and give.

use super::acts::{Order, Outcome, TenantRef};
use super::auth::Role;
use super::call::{Answer, Call};
use super::door;
use super::error::ActError;
use super::grants::{GrantAsked, Grants, NewGrant, ShownGrant};
use super::quotas::{Quota, SetQuota};
use super::routes::{Effect, Route, acts, looks, outcome};
use super::wire::{Consent, Time};
use crate::feature::{Terms, Ttl};
use crate::model::classes::{Class, Feature, Purpose};
use crate::model::names::{AccessId, BucketName};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /admin/v1/tenants/{tenant}/features/{feature}/enable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnableFeature {
    /// The consent that was given. May be left out while one is in force; disabling ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// Classes of data that the consent names besides the feature's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Days that interactions are kept behind their watermark, 1 to 365.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_days: Option<u16>,
    /// Whether only interactions of followed messages are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow_only: Option<bool>,
}

/// `POST /admin/v1/tenants/{tenant}/follows`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// Ids of messages, 1 to 1000. In no log, and in no answer; only keyed tokens of them are kept.
    pub messages: Vec<String>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Followed {
    /// Messages that are followed now.
    pub followed: u64,
    /// Of these, those that were not before.
    pub added: u64,
}

/// What came of following messages no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unfollowed {
    /// Messages that were followed until now.
    pub removed: u64,
}

/// `POST /admin/v1/tenants/{tenant}/users/capture`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The user, as `x-amz-meta-geoseal-actor` names it. In no log, and in no answer.
    pub user: String,
    /// Whether what the user tracks is captured.
    pub on: bool,
}

/// What a user prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Captured {
    /// Whether what the user tracks is captured.
    pub on: bool,
}

/// `POST /admin/v1/tenants/{tenant}/features/{feature}/disable`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DisableFeature {
    /// Why. The audit log keeps the SHA-256 of the text without the spaces around it, never the text.
    pub reason: String,
}

/// A consent as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedConsent {
    /// SHA-256 of its text.
    pub sha256: String,
    /// Who recorded it.
    pub by: String,
    /// When.
    pub at: Time,
    /// The classes of data that it names.
    pub classes: Vec<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Time>,
}

/// What there was of a feature, and what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Objects when it was disabled.
    pub objects: u64,
    /// Of these, how many fewer there are.
    pub missing: u64,
    /// SHA-256 over the list of them when it was disabled.
    pub manifest_sha256: String,
    /// Whether the list is the same.
    pub same: bool,
}

/// A feature of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantFeature {
    /// Which.
    pub feature: String,
    /// Whether it is on.
    pub enabled: bool,
    /// Grows with every change of the tenant's features; the ETag.
    pub revision: u64,
    /// Since when it is on or off; absent: it was never on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// While it is off: objects that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// While it is off: SHA-256 over the list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,
    /// Whether lifetimes stand still.
    pub ttl_frozen: bool,
    /// Days that interactions are kept behind their watermark.
    pub ttl_days: u16,
    /// Whether only interactions of followed messages are taken.
    #[serde(default)]
    pub follow_only: bool,
    /// Consents, the newest last; the last one is in force unless it was withdrawn.
    pub consents: Vec<RecordedConsent>,
    /// Objects that came after it was disabled and were not taken.
    pub dropped: u64,
    /// After it was enabled again: what was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
}

/// `POST /admin/v1/tenants/{tenant}/buckets/{bucket}/rules`. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetBucketRules {
    /// The class of objects that name none; an empty text: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_class: Option<String>,
    /// What its data may be used for under a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purposes: Option<Vec<String>>,
    /// Days that interactions are kept behind their watermark, 1 to 365, in the place of the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_days: Option<u16>,
}

/// What a bucket is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownBucketRules {
    /// Its name.
    pub bucket: String,
    /// The class of objects that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_class: Option<String>,
    /// What its data may be used for under a grant.
    pub purposes: Vec<String>,
    /// Days that interactions are kept behind their watermark.
    pub ttl_days: u16,
    /// Up to which hour a job has consumed the interactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Time>,
}

/// Rules of a bucket, parsed: what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct BucketChange {
    /// The class of objects that name none.
    pub default_class: Option<Option<Class>>,
    /// What its data may be used for.
    pub purposes: Option<Vec<Purpose>>,
    /// How long interactions are kept.
    pub ttl: Option<Ttl>,
}

/// Acts on features. Each may answer [`ActError::NotBuilt`] where there is no such house behind the face.
#[async_trait::async_trait]
pub trait FeatureActs: Send + Sync {
    /// One feature of a tenant. NoSuchTenant.
    async fn feature(&self, _: &TenantRef, _: Feature) -> Result<TenantFeature, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Enables it, or changes its terms. ConsentRequired, WrongState.
    async fn enable(&self, _: &Order, _: &TenantRef, _: Feature, _: Terms) -> Result<Outcome<TenantFeature>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Disables it; on one that is off changes nothing. WrongState.
    async fn disable(&self, _: &Order, _: &TenantRef, _: Feature, _: &str) -> Result<Outcome<TenantFeature>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Registers messages as followed. FeatureDisabled.
    async fn follow(&self, _: &Order, _: &TenantRef, _: Vec<String>) -> Result<Outcome<Followed>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Follows messages no more.
    async fn unfollow(&self, _: &Order, _: &TenantRef, _: Vec<String>) -> Result<Outcome<Unfollowed>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Says whether what a user tracks is captured. FeatureDisabled.
    async fn capture(&self, _: &Order, _: &TenantRef, _: &str, _: bool) -> Result<Outcome<Captured>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Makes a grant; the answer holds its secret, which is never shown again. ConsentRequired, NoSuchBucket, WrongState.
    async fn create_grant(&self, _: &Order, _: &TenantRef, _: GrantAsked) -> Result<Outcome<NewGrant>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// The grants of a tenant, ended and revoked ones too, oldest first.
    async fn grants(&self, _: &TenantRef) -> Result<Grants, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Revokes a grant from the next request on; again changes nothing. NoSuchCredential.
    async fn revoke_grant(&self, _: &Order, _: &TenantRef, _: &AccessId) -> Result<Outcome<ShownGrant>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Bounds what a tenant may store, or lifts the bound. WrongState.
    async fn set_quota(&self, _: &Order, _: &TenantRef, _: SetQuota) -> Result<Outcome<Quota>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// What a bucket is for. NoSuchBucket.
    async fn bucket_rules(&self, _: &TenantRef, _: &BucketName) -> Result<ShownBucketRules, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Changes that. NoSuchBucket, WrongState.
    async fn set_bucket_rules(
        &self,
        _: &Order,
        _: &TenantRef,
        _: &BucketName,
        _: BucketChange,
    ) -> Result<Outcome<ShownBucketRules>, ActError> {
        Err(ActError::NotBuilt)
    }
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        looks::<TenantFeature>(
            "/admin/v1/tenants/{tenant}/features/{feature}",
            Role::Admin,
            "feature",
            "A feature of a tenant, with its consents",
            &[],
            |c| {
                Box::pin(async move {
                    let shown = c.acts.features().feature(&c.tenant()?, feature(&c)?).await?;
                    revised(&c, Outcome::Done(shown))
                })
            },
        ),
        acts::<EnableFeature, TenantFeature>(
            "/admin/v1/tenants/{tenant}/features/{feature}/enable",
            Effect::ActsOnRecord,
            "enableFeature",
            "Enable a feature with a recorded consent; what there was when it was disabled is there again",
            |c| {
                Box::pin(async move {
                    let (feature, body) = (feature(&c)?, c.body::<EnableFeature>()?);
                    let terms = Terms {
                        consent: door::consent(body.consent.as_ref())?,
                        classes: body.classes.iter().map(|name| class(name)).collect::<Result<_, _>>()?,
                        follow_only: body.follow_only,
                        ttl: body.ttl_days.map(ttl).transpose()?,
                    };
                    revised(&c, c.acts.features().enable(&c.order, &c.tenant()?, feature, terms).await?)
                })
            },
        ),
        acts::<DisableFeature, TenantFeature>(
            "/admin/v1/tenants/{tenant}/features/{feature}/disable",
            Effect::ActsOnRecord,
            "disableFeature",
            "Disable a feature: its consent ends, nothing of it is taken or given, nothing is lost",
            |c| {
                Box::pin(async move {
                    let (feature, body) = (feature(&c)?, c.body::<DisableFeature>()?);
                    let reason = door::reason(&body.reason)?;
                    revised(&c, c.acts.features().disable(&c.order, &c.tenant()?, feature, reason).await?)
                })
            },
        ),
        acts::<Follow, Followed>(
            "/admin/v1/tenants/{tenant}/follows",
            Effect::Acts,
            "follow",
            "Register messages as followed; only keyed tokens of their ids are kept",
            |c| {
                Box::pin(async move {
                    let messages = messages(&c)?;
                    outcome(&c, StatusCode::OK, c.acts.features().follow(&c.order, &c.tenant()?, messages).await?)
                })
            },
        ),
        acts::<Follow, Unfollowed>(
            "/admin/v1/tenants/{tenant}/follows/remove",
            Effect::Acts,
            "unfollow",
            "Follow messages no more; what was collected of them stays",
            |c| {
                Box::pin(async move {
                    let messages = messages(&c)?;
                    outcome(&c, StatusCode::OK, c.acts.features().unfollow(&c.order, &c.tenant()?, messages).await?)
                })
            },
        ),
        acts::<Capture, Captured>(
            "/admin/v1/tenants/{tenant}/users/capture",
            Effect::Acts,
            "capture",
            "Say whether what a user tracks is captured",
            |c| {
                Box::pin(async move {
                    let Capture { user, on } = c.body()?;
                    if !is_id(&user) {
                        return Err(ActError::BadField { field: "user", rule: ID_RULE });
                    }
                    outcome(&c, StatusCode::OK, c.acts.features().capture(&c.order, &c.tenant()?, &user, on).await?)
                })
            },
        ),
        looks::<ShownBucketRules>(
            "/admin/v1/tenants/{tenant}/buckets/{bucket}/rules",
            Role::Admin,
            "bucketRules",
            "What a bucket is for",
            &[],
            |c| {
                Box::pin(async move {
                    let shown = c.acts.features().bucket_rules(&c.tenant()?, &bucket(&c)?).await?;
                    outcome(&c, StatusCode::OK, Outcome::Done(shown))
                })
            },
        ),
        acts::<SetBucketRules, ShownBucketRules>(
            "/admin/v1/tenants/{tenant}/buckets/{bucket}/rules",
            Effect::Acts,
            "setBucketRules",
            "Say what a bucket is for: the class of its objects, purposes, how long interactions are kept",
            |c| {
                Box::pin(async move {
                    let (bucket, body) = (bucket(&c)?, c.body::<SetBucketRules>()?);
                    let default_class = body.default_class.as_deref().filter(|name| !name.is_empty());
                    let change = BucketChange {
                        default_class: body.default_class.is_some().then_some(default_class.map(class).transpose()?),
                        purposes: body
                            .purposes
                            .map(|names| names.iter().map(|name| purpose(name)).collect())
                            .transpose()?,
                        ttl: body.ttl_days.map(ttl).transpose()?,
                    };
                    let set = c.acts.features().set_bucket_rules(&c.order, &c.tenant()?, &bucket, change).await?;
                    outcome(&c, StatusCode::OK, set)
                })
            },
        ),
    ]
}

/// Messages registered in one call.
const FOLLOWS_MAX: usize = 1000;
/// What an id has to be.
const ID_RULE: &str =
    "1 to 1000 ids of 1 to 512 bytes without control characters and without white space at their ends";

fn messages(call: &Call) -> Result<Vec<String>, ActError> {
    let Follow { messages } = call.body()?;
    let fits = (1..=FOLLOWS_MAX).contains(&messages.len()) && messages.iter().all(|id| is_id(id));
    if fits { Ok(messages) } else { Err(ActError::BadField { field: "messages", rule: ID_RULE }) }
}

fn is_id(id: &str) -> bool {
    (1..=512).contains(&id.len()) && id.trim() == id && !id.chars().any(char::is_control)
}

fn revised(call: &Call, of: Outcome<TenantFeature>) -> Result<Answer, ActError> {
    let revision = if let Outcome::Done(feature) = &of { Some(feature.revision) } else { None };
    let answer = outcome(call, StatusCode::OK, of)?;
    Ok(match revision {
        Some(revision) => answer.with_revision(revision),
        None => answer,
    })
}

fn feature(call: &Call) -> Result<Feature, ActError> {
    Feature::parse(call.param("feature")).ok_or(ActError::NoSuchFeature)
}

fn bucket(call: &Call) -> Result<BucketName, ActError> {
    BucketName::parse(call.param("bucket")).map_err(|_| ActError::NoSuchBucket)
}

/// A class that is stored.
pub(super) fn class(name: &str) -> Result<Class, ActError> {
    match Class::parse(name) {
        None => Err(ActError::UnknownClass),
        Some(Class::Transient) => Err(ActError::ClassNotStorable),
        Some(class) => Ok(class),
    }
}

pub(super) fn purpose(name: &str) -> Result<Purpose, ActError> {
    Purpose::parse(name).ok_or(ActError::UnknownPurpose)
}

fn ttl(days: u16) -> Result<Ttl, ActError> {
    Ttl::of_days(days).ok_or(ActError::BadField { field: "ttl_days", rule: "1 to 365" })
}
