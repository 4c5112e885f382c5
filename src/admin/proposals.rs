//! The end of keys, on which two administrators may have to agree: what waits, and how it is taken back.

use super::acts::KeyRef;
use super::call::Call;
use super::error::ActError;
use super::routes::{Effect, Route, acts, outcome};
use super::wire::{DestroyKey, Destruction, Nothing, Time};
use crate::model::time::seconds;
use crate::seal::{DESTROY_AFTER_SECONDS_MAX, DESTROY_AFTER_SECONDS_MIN};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An act that waits for another administrator than the one who asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// What would be done, in opaque ids: `destroy mk/europe/1 after 30d`, `destroy tdk/TENANT-ID/1 after 1d`.
    pub act: String,
    /// Who proposed it.
    pub by: String,
    /// When.
    pub at: Time,
    /// Until when it can be approved.
    pub until: Time,
}

/// `POST /admin/v1/keys/{kind}/{of}/{version}/cancel-destroy`: what was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Withdrawn {
    /// Which key's destruction.
    pub key: String,
    /// Whether one was waiting for a second administrator.
    pub was_proposed: bool,
    /// The day that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_to_be_at: Option<Time>,
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        acts::<DestroyKey, Destruction>(
            "/admin/v1/keys/{kind}/{of}/{version}/destroy",
            Effect::Acts,
            "destroyKey",
            "Set the day on which one version of a key is destroyed, once a scan finds nothing under it; a second \
             administrator may have to agree. On that day it is scanned once more",
            |c| {
                Box::pin(async move {
                    let DestroyKey { after } = c.body()?;
                    let after_s = after.as_deref().map(wait).transpose()?;
                    outcome(&c, StatusCode::ACCEPTED, c.acts.destroy_key(&c.order, &key(&c)?, after_s).await?)
                })
            },
        ),
        acts::<Nothing, Withdrawn>(
            "/admin/v1/keys/{kind}/{of}/{version}/cancel-destroy",
            Effect::Acts,
            "cancelDestroyKey",
            "Take the destruction of a version back while it waits: its proposal, whoever made it, and its day",
            |c| {
                Box::pin(
                    async move { outcome(&c, StatusCode::OK, c.acts.cancel_destruction(&c.order, &key(&c)?).await?) },
                )
            },
        ),
    ]
}

/// The version that a path names.
pub(super) fn key(c: &Call) -> Result<KeyRef, ActError> {
    format!("{}/{}/{}", c.param("kind"), c.param("of"), c.param("version")).parse()
}

fn wait(after: &str) -> Result<i64, ActError> {
    let rule = "how long it waits, such as 30d: from 1d, so that it can still be taken back, to 366d";
    let bounds = DESTROY_AFTER_SECONDS_MIN..=DESTROY_AFTER_SECONDS_MAX;
    let found = seconds(after).ok().and_then(|seconds| i64::try_from(seconds).ok());
    found.filter(|seconds| bounds.contains(seconds)).ok_or(ActError::BadField { field: "after", rule })
}
