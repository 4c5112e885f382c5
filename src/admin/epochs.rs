//! Closing epochs: the routes, and what they take and give.

use super::acts::Outcome;
use super::auth::Role;
use super::door;
use super::routes::{Effect, Route, acts, looks, ok, outcome};
use super::wire::{Nothing, Operation, Time};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /admin/v1/keys/epoch/{geo}/close`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseEpoch {
    /// Destroy at once, where the settings allow it.
    #[serde(default)]
    pub no_soak: bool,
}

/// An epoch of a geo's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Epoch {
    /// Of which geo.
    pub geo: String,
    /// Which, from 1.
    pub number: u64,
    /// Where its close is.
    pub state: EpochState,
    /// When the close began.
    pub opened_at: Time,
    /// When older versions of the master key were disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Time>,
    /// When they will be destroyed, at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soaked_at: Option<Time>,
    /// When they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    /// How much was destroyed since the epoch before: tenants, data subjects, versions of roots.
    pub shreds: u64,
    /// Wrapped keys that the closing scan read back and opened, all under newer versions.
    pub records: u64,
    /// How often a disabled version was asked for in its soak; above zero it is not destroyed.
    pub alarms: u64,
    /// The versions destroyed, with the provider's receipts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masters: Vec<EpochMaster>,
    /// Backups whose key store nothing opens since, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups_invalidated: Vec<String>,
}

/// Where a close is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EpochState {
    /// What lives is being wrapped under a new version.
    Wrapping,
    /// Older versions are disabled.
    Soaking,
    /// They are being destroyed.
    Destroying,
    /// They are destroyed.
    Closed,
}

/// A version of the master key that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EpochMaster {
    /// Such as `mk/europe/3`.
    pub id: String,
    /// What the provider said.
    pub receipt: String,
}

/// `GET /admin/v1/keys/epoch/{geo}`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Epochs {
    /// Oldest first; the last one may be under way.
    pub epochs: Vec<Epoch>,
    /// Days from one close to the next; absent: none begins by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_days: Option<u64>,
    /// When the next close begins, or is proposed where two persons have to agree; absent: when somebody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due_at: Option<Time>,
}

/// What came of asking for a close.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Closing {
    /// It begins, or goes on.
    Begun(Box<Operation>),
    /// Another administrator has to ask for the same within a day.
    Proposed {
        /// Of which geo.
        proposed: String,
    },
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        looks::<Epochs>(
            "/admin/v1/keys/epoch/{geo}",
            Role::Auditor,
            "epochs",
            "The epochs of a geo's keys",
            &[],
            |c| Box::pin(async move { ok(&c.acts.epochs(door::geo(c.param("geo"))?).await?) }),
        ),
        looks::<serde_json::Value>(
            "/admin/v1/keys/epoch/{geo}/{number}/certificate",
            Role::Auditor,
            "epochCertificate",
            "The certificate of an epoch's close",
            &[],
            |c| {
                Box::pin(async move {
                    let number = c.param("number").parse().map_err(|_| super::error::ActError::NoCertificate)?;
                    ok(&c.acts.epoch_certificate(door::geo(c.param("geo"))?, number).await?)
                })
            },
        ),
        acts::<CloseEpoch, Closing>(
            "/admin/v1/keys/epoch/{geo}/close",
            Effect::Acts,
            "closeEpoch",
            "Make what was destroyed irrecoverable: wrap what lives anew, disable older master keys, destroy them; a second \
             administrator may have to agree",
            |c| {
                Box::pin(async move {
                    let CloseEpoch { no_soak } = c.body()?;
                    let geo = door::geo(c.param("geo"))?;
                    let closing = c.acts.close_epoch(&c.order, geo, no_soak).await?;
                    let id = match &closing {
                        Outcome::Done(Closing::Begun(operation)) => Some(operation.id.clone()),
                        _ => None,
                    };
                    let answer = outcome(&c, StatusCode::ACCEPTED, closing)?;
                    Ok(match id {
                        Some(id) => answer.with_location(&format!("/admin/v1/operations/{id}")),
                        None => answer,
                    })
                })
            },
        ),
        acts::<Nothing, Epoch>(
            "/admin/v1/keys/epoch/{geo}/abort",
            Effect::Acts,
            "abortEpoch",
            "Take a close back that has destroyed nothing yet",
            |c| {
                Box::pin(async move {
                    let Nothing {} = c.body()?;
                    let done: Outcome<Epoch> = c.acts.abort_epoch(&c.order, door::geo(c.param("geo"))?).await?;
                    outcome(&c, StatusCode::OK, done)
                })
            },
        ),
    ]
}
