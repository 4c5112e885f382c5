//! Acts on which two administrators have to agree: what waits, and how it is taken back.

use super::routes::{Effect, Route, acts, outcome};
use super::wire::{KeyNamed, Time};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An act that waits for another administrator than the one who asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// What would be done, in opaque ids: `destroy mk/europe/1`, `destroy tdk/TENANT-ID/1`.
    pub act: String,
    /// Who proposed it.
    pub by: String,
    /// When.
    pub at: Time,
    /// Until when it can be approved.
    pub until: Time,
}

/// `POST /admin/v1/keys/withdraw`: what was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Withdrawn {
    /// Which key's destruction.
    pub key: String,
    /// Whether one was waiting.
    pub was_proposed: bool,
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![acts::<KeyNamed, Withdrawn>(
        "/admin/v1/keys/withdraw",
        Effect::Acts,
        "withdrawDestruction",
        "Take the proposal of a key's destruction back, whoever made it",
        |c| {
            Box::pin(async move {
                let KeyNamed { key } = c.body()?;
                outcome(&c, StatusCode::OK, c.acts.withdraw_destruction(&c.order, &key.parse()?).await?)
            })
        },
    )]
}
