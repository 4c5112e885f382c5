//! Contacts and leads who opted out. Who they are stands in the body: a path would be logged by whatever is between.

use super::acts::{Order, Outcome, TenantRef};
use super::error::ActError;
use super::routes::{Effect, Route, acts, ok, outcome};
use super::wire::Time;
use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What somebody is to a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A contact: objects name them `contact:ID`.
    #[default]
    Contact,
    /// A lead: objects name them `lead:ID`.
    Lead,
}

/// `PUT /admin/v1/tenants/{tenant}/contacts/follow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// The contact's id, known to the tenant or not.
    pub contact: String,
    /// Contact or lead.
    #[serde(default)]
    pub kind: Kind,
    /// `false`: collect nothing more of them. `true`: they take that back.
    pub follow: bool,
}

/// `POST /admin/v1/tenants/{tenant}/contacts/show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// The contact's id.
    pub contact: String,
    /// Contact or lead.
    #[serde(default)]
    pub kind: Kind,
}

/// How somebody stands with a tenant. Does not repeat who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// Whether anything may be collected of them.
    pub follow: bool,
    /// Since when not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opted_out_at: Option<Time>,
    /// Since when what is stored of them may not be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restricted_at: Option<Time>,
    /// Since when they are erased and not to be stored again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<Time>,
    /// From when on this answer holds.
    pub effective_at: Time,
    /// In which regions.
    pub scope: Vec<String>,
    /// Whether this request changed it.
    pub changed: bool,
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let follow = acts::<Follow, Standing>(
        "/admin/v1/tenants/{tenant}/contacts/follow",
        Effect::Acts,
        "followContact",
        "A contact or lead opts out of collection, or in again; holds from the next write on",
        |c| {
            Box::pin(async move {
                let Follow { contact, kind, follow } = c.body()?;
                let whom = Whom { contact, kind };
                let answer = c.acts.follow_contact(&c.order, &c.tenant()?, &whom, follow).await?;
                outcome(&c, StatusCode::OK, answer)
            })
        },
    );
    let show = acts::<Whom, Standing>(
        "/admin/v1/tenants/{tenant}/contacts/show",
        Effect::Looks,
        "showContact",
        "How a contact or lead stands with a tenant",
        |c| {
            Box::pin(async move {
                let whom: Whom = c.body()?;
                ok(&c.acts.contact(&c.tenant()?, &whom).await?)
            })
        },
    );
    vec![Route { method: Method::PUT, ..follow }, show]
}

/// What the routes ask of the house. A house that keeps no contacts says so.
#[async_trait::async_trait]
pub trait ContactActs: Send + Sync {
    /// Opts somebody out, or in again; on one who stands so already changes nothing. NoSuchTenant, BadField.
    async fn follow_contact(
        &self,
        _order: &Order,
        _tenant: &TenantRef,
        _whom: &Whom,
        _follow: bool,
    ) -> Result<Outcome<Standing>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// How somebody stands. NoSuchTenant, BadField.
    async fn contact(&self, _tenant: &TenantRef, _whom: &Whom) -> Result<Standing, ActError> {
        Err(ActError::NotBuilt)
    }
}
