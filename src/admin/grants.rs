//! Grants: short-lived logins for jobs. The routes, and what they take and give.

use super::auth::Role;
use super::error::ActError;
use super::features::{class, purpose};
use super::routes::{Effect, Route, acts, looks, ok, outcome};
use super::wire::{Nothing, Time};
use crate::model::classes::{Class, Purpose};
use crate::model::names::{AccessId, BucketName};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest life of a grant, in seconds.
const SECONDS_MAX: u32 = 86_400;

/// `POST /admin/v1/tenants/{tenant}/grants`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGrant {
    /// What for: a purpose that each bucket has to name, too.
    pub purpose: String,
    /// The classes of data that it reaches, one by one; a consent in force has to name each.
    pub classes: Vec<String>,
    /// The buckets that it reaches.
    pub buckets: Vec<String>,
    /// How long, 1 to 86400.
    pub seconds: u32,
}

/// A grant to be, parsed.
#[derive(Debug)]
pub struct GrantAsked {
    /// What for.
    pub purpose: Purpose,
    /// Which classes.
    pub classes: Vec<Class>,
    /// Which buckets.
    pub buckets: Vec<BucketName>,
    /// How long, in seconds.
    pub seconds: u32,
}

/// A grant just made. The only body that ever holds its secret; no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewGrant {
    /// The public half: `AWS_ACCESS_KEY_ID`.
    pub access_id: String,
    /// The secret half: `AWS_SECRET_ACCESS_KEY`. Shown once.
    pub secret: String,
    /// The region its S3 client should name.
    pub region: String,
    /// Until when it is good.
    pub until: Time,
}

/// One grant, without its secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownGrant {
    /// The public half.
    pub access_id: String,
    /// What for.
    pub purpose: String,
    /// The classes of data that it reaches.
    pub classes: Vec<String>,
    /// The buckets that it reaches, those that are left.
    pub buckets: Vec<String>,
    /// When it was made.
    pub created_at: Time,
    /// Until when it is good.
    pub until: Time,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
    /// Whether it is good now.
    pub good: bool,
}

/// The grants of one tenant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// Oldest first.
    pub grants: Vec<ShownGrant>,
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        looks::<Grants>(
            "/admin/v1/tenants/{tenant}/grants",
            Role::Admin,
            "listGrants",
            "A tenant's grants, without secrets",
            &[],
            |c| Box::pin(async move { ok(&c.acts.features().grants(&c.tenant()?).await?) }),
        ),
        acts::<CreateGrant, NewGrant>(
            "/admin/v1/tenants/{tenant}/grants",
            Effect::Acts,
            "createGrant",
            "Make a short-lived login for a job, limited to a purpose, classes and buckets; the answer shows its secret once",
            |c| {
                Box::pin(async move {
                    let asked = asked(c.body()?)?;
                    outcome(
                        &c,
                        StatusCode::CREATED,
                        c.acts.features().create_grant(&c.order, &c.tenant()?, asked).await?,
                    )
                })
            },
        ),
        acts::<Nothing, ShownGrant>(
            "/admin/v1/tenants/{tenant}/grants/{login}/revoke",
            Effect::Acts,
            "revokeGrant",
            "Revoke a grant at once",
            |c| {
                Box::pin(async move {
                    let Nothing {} = c.body()?;
                    let login = AccessId::parse(c.param("login")).map_err(|_| ActError::NoSuchCredential)?;
                    outcome(&c, StatusCode::OK, c.acts.features().revoke_grant(&c.order, &c.tenant()?, &login).await?)
                })
            },
        ),
    ]
}

fn asked(body: CreateGrant) -> Result<GrantAsked, ActError> {
    let purpose = purpose(&body.purpose)?;
    let classes: Vec<_> = body.classes.iter().map(|name| class(name)).collect::<Result<_, _>>()?;
    let names = body.buckets.iter().map(|name| BucketName::parse(name).map_err(|_| ActError::NoSuchBucket));
    let buckets: Vec<_> = names.collect::<Result<_, _>>()?;
    if classes.is_empty() {
        return Err(ActError::BadField { field: "classes", rule: "name at least one class" });
    }
    if buckets.is_empty() {
        return Err(ActError::BadField { field: "buckets", rule: "name at least one bucket" });
    }
    if !(1..=SECONDS_MAX).contains(&body.seconds) {
        return Err(ActError::BadField { field: "seconds", rule: "1 to 86400: a grant lives for a day at most" });
    }
    Ok(GrantAsked { purpose, classes, buckets, seconds: body.seconds })
}
