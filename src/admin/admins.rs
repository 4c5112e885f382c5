//! Who may call the admin API: the tokens that the settings name, and revoking one for good.

use super::auth::Role;
use super::routes::{Effect, Route, acts, looks, ok, outcome};
use super::wire::{Nothing, Time};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /admin/v1/admins`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admins {
    /// In the order of the settings.
    pub admins: Vec<Admin>,
}

/// Whoever has a token of the admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admin {
    /// As the audit log knows them.
    pub id: String,
    /// `admin`, `legal` or `auditor`.
    pub role: String,
    /// Since when the token opens nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
    /// Who revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        looks::<Admins>("/admin/v1/admins", Role::Admin, "listAdmins", "Who may call this API", &[], |c| {
            Box::pin(async move { ok(&Admins { admins: c.acts.admins().await? }) })
        }),
        acts::<Nothing, Admin>(
            "/admin/v1/admins/{admin}/revoke",
            Effect::Acts,
            "revokeAdmin",
            "Revoke a token of this API for good, from the next request on",
            |c| {
                Box::pin(async move {
                    let Nothing {} = c.body()?;
                    let id = c.param("admin").to_owned();
                    outcome(&c, StatusCode::OK, c.acts.revoke_admin(&c.order, &id).await?)
                })
            },
        ),
    ]
}
