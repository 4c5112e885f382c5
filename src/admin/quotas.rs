//! How much a tenant may store in all: the route, and what it takes and gives.

use super::routes::{Effect, Route, acts, outcome};
use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `PUT /admin/v1/tenants/{tenant}/quota`. The whole quota: what is left out is not bounded; an empty one is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuota {
    /// Most bytes of content, of all versions and of parts of unfinished uploads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Most versions of objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
}

/// A tenant's quota, and what is stored of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quota {
    /// Most bytes; absent: not bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Most versions of objects; absent: not bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Bytes that are stored; absent: not counted, as there is no quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Versions that are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_objects: Option<u64>,
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let set = acts::<SetQuota, Quota>(
        "/admin/v1/tenants/{tenant}/quota",
        Effect::Acts,
        "setQuota",
        "Bound what a tenant may store, or lift the bound; what is stored over it stays",
        |c| {
            Box::pin(async move {
                let quota: SetQuota = c.body()?;
                outcome(&c, StatusCode::OK, c.acts.features().set_quota(&c.order, &c.tenant()?, quota).await?)
            })
        },
    );
    vec![Route { method: Method::PUT, ..set }]
}
