//! A key that may be known to somebody: the report, and what it exposes. Two verbs follow from it: `rotate` wraps again and
//! cures nothing, `reencrypt` does.

use super::auth::Role;
use super::call::Call;
use super::door;
use super::error::ActError;
use super::proposals::key;
use super::routes::{Effect, Route, acts, looks, ok, operation};
use super::wire::{Operation, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /admin/v1/keys/{kind}/{of}/{version}/compromise`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportCompromise {
    /// Why it is thought to be known. The audit log keeps a hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was seen where it should not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Time>,
}

/// What a version of a key exposes to whoever has it and an older copy of what was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exposure {
    /// Which version.
    pub key: String,
    /// As `GET /admin/v1/keys` has it.
    pub state: String,
    /// Objects of which at least one version is exposed. None, as the next three: of a master key, everything of its tenants is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Versions of objects that are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<u64>,
    /// How many of them a rotation has wrapped under a newer version since, which cures nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrapped: Option<u64>,
    /// Uploads in progress that are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads: Option<u64>,
    /// Copies of objects with collaborators. None are made yet.
    pub copies: u64,
    /// Backups that hold something under it, by id.
    pub backups: Vec<String>,
    /// Since when it was in use, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Time>,
    /// Until when new things were wrapped under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
    /// Of one that is scheduled to be destroyed: not before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroy_at: Option<Time>,
    /// Of a master key: every tenant whose keys were wrapped under it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// What is left to be done, command by command.
    pub to_do: Vec<String>,
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    const PATH: &str = "/admin/v1/keys/{kind}/{of}/{version}/compromise";
    vec![
        acts::<ReportCompromise, Operation>(
            PATH,
            Effect::Acts,
            "reportCompromise",
            "A version of a tenant's data key, or of the master key, may be known to somebody: it is replaced at once, and what it \
             exposes is counted",
            |c| {
                Box::pin(async move {
                    let report: ReportCompromise = c.body()?;
                    if let Some(reason) = &report.reason {
                        door::reason(reason)?;
                    }
                    operation(&c, c.acts.report_compromise(&c.order, &key(&c)?, &report).await?)
                })
            },
        ),
        looks::<Exposure>(PATH, Role::Auditor, "exposure", "What a version of a key exposes, counted now", &[], |c| {
            Box::pin(async move { ok(&exposure(&c).await?) })
        }),
    ]
}

async fn exposure(c: &Call) -> Result<Exposure, ActError> {
    c.acts.exposure(&key(c)?, c.sight()).await
}
