//! Attesting the time: the route, and what it takes and gives.

use super::door;
use super::error::ActError;
use super::routes::{Effect, Route, acts, outcome};
use crate::model::time::Millis;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /admin/v1/clock/attest`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttestClock {
    /// RFC 3339, `Z`: it is at least this time. Not ahead of the machine's clock, nor behind the compliance clock.
    pub utc: String,
    /// How the caller knows; the audit log keeps its SHA-256.
    pub reason: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Attested {
    /// It counts.
    Done {
        /// Seconds of off-time that count now.
        credited_s: i64,
    },
    /// Another administrator has to attest the same time within a day.
    Proposed {
        /// Which time.
        proposed: String,
    },
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![acts::<AttestClock, Attested>(
        "/admin/v1/clock/attest",
        Effect::Acts,
        "attestClock",
        "Say what time it is, when nobody else vouches for time that the machine was off; another administrator has to say \
         the same",
        |c| {
            Box::pin(async move {
                let body: AttestClock = c.body()?;
                let rule = "a time such as 2026-11-21T12:00:00Z";
                let utc: Millis = body.utc.parse().map_err(|_| ActError::BadField { field: "utc", rule })?;
                let reason = door::reason(&body.reason)?;
                outcome(&c, StatusCode::OK, c.acts.attest_clock(&c.order, utc, reason).await?)
            })
        },
    )]
}
