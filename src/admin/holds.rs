//! Legal holds: the routes, and what they take and give.

use super::acts::{Outcome, TenantRef};
use super::auth::Role;
use super::door;
use super::error::ActError;
use super::routes::{Effect, Route, acts_as, looks, ok, outcome};
use super::wire::{Nothing, Time};
use crate::model::ids::TenantId;
use crate::report::residency::ObjectAt;
use crate::tenant::holds::Scope;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /admin/v1/holds`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceHold {
    /// The matter's number, used once in a geo: 1 to 64 letters, digits and dashes.
    pub id: String,
    /// The tenant's name or id.
    pub tenant: String,
    /// What is kept: `tenant`, `bucket:NAME`, `prefix:BUCKET/PREFIX`, `subject:NAME` or `object:BUCKET/NAME`.
    pub scope: String,
    /// What it is about: 1 to 200 bytes. Sealed under the tenant's keys.
    pub matter: String,
    /// Keep what is written later, too; without it the scope has to cover something now.
    #[serde(default)]
    pub prospective: bool,
    /// Why it is placed: 1 to 200 bytes. Sealed as the matter is; the log keeps a salted hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A matter to be placed, parsed.
#[derive(Clone)]
pub struct NewHold {
    /// Its number.
    pub id: String,
    /// Whose.
    pub tenant: TenantRef,
    /// What it keeps.
    pub scope: Scope,
    /// What it is about.
    pub words: String,
    /// Whether what is written later is kept, too.
    pub prospective: bool,
    /// Why it is placed.
    pub reason: Option<String>,
}

/// An act on a hold.
#[derive(Clone)]
pub enum HoldAct {
    /// Place it.
    Place(NewHold),
    /// Approve what another principal placed.
    Approve(String),
    /// Release it, or ask for its release.
    Release(String),
}

/// A legal hold.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// The matter's number.
    pub id: String,
    /// Whose data it keeps.
    #[schemars(with = "String")]
    pub tenant: TenantId,
    /// Where it is.
    pub state: HoldState,
    /// What it keeps, as it was asked for.
    pub scope: String,
    /// What it is about.
    pub matter: String,
    /// Why it was placed, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether what is written later is kept, too.
    pub prospective: bool,
    /// Who placed it.
    pub placed_by: String,
    /// When.
    pub placed_at: Time,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Time>,
    /// Who asked for its release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_asked_by: Option<String>,
    /// Objects that it covers now, every version of each; absent where the holds of all tenants are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_objects: Option<u64>,
    /// The first 100 of them, by opaque ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered: Vec<ObjectAt>,
    /// Acts that wait for its release; after a release, those that the next sweep carries out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<DeferredAct>,
}

/// Where a hold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Another principal has to approve it; it keeps nothing yet.
    PendingApproval,
    /// It keeps what it covers.
    InForce,
    /// It still does; another principal has to agree to its release within a day.
    ReleaseAsked,
    /// Over.
    Released,
}

impl HoldState {
    /// As people and the wire write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PendingApproval => "pending_approval",
            Self::InForce => "in_force",
            Self::ReleaseAsked => "release_asked",
            Self::Released => "released",
        }
    }
}

/// An act that waits for the release of holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeferredAct {
    /// How its request is called; an opaque id.
    pub label: String,
    /// What kind: `erase-subject`, `purge-tenant`.
    pub kind: String,
    /// How many objects the holds keep from it.
    pub objects: u64,
}

/// `GET /admin/v1/holds`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holds {
    /// In order of their numbers.
    pub holds: Vec<Hold>,
}

fn new_hold(body: PlaceHold) -> Result<NewHold, ActError> {
    let letters = body.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !letters || !(1..=64).contains(&body.id.len()) {
        return Err(ActError::BadField { field: "id", rule: "1 to 64 letters, digits and dashes" });
    }
    let rule = "tenant, bucket:NAME, prefix:BUCKET/PREFIX, subject:NAME or object:BUCKET/NAME";
    let scope = body.scope.parse().map_err(|_| ActError::BadField { field: "scope", rule })?;
    let words = door::matter(&body.matter)?.to_owned();
    let reason = body.reason.as_deref().map(door::reason).transpose()?.map(str::to_owned);
    Ok(NewHold { id: body.id, tenant: body.tenant.parse()?, scope, words, prospective: body.prospective, reason })
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let mut all = vec![
        looks::<Holds>("/admin/v1/holds", Role::Legal, "listHolds", "Legal holds", &["tenant"], |c| {
            Box::pin(async move {
                let tenant: Option<TenantRef> = c.query("tenant")?;
                ok(&Holds { holds: c.acts.holds(tenant.as_ref()).await? })
            })
        }),
        looks::<Hold>(
            "/admin/v1/holds/{hold}",
            Role::Legal,
            "hold",
            "One legal hold: what it covers now, and what waits for its release",
            &[],
            |c| Box::pin(async move { ok(&c.acts.hold(c.param("hold")).await?) }),
        ),
    ];
    all.extend([
        acts_as::<PlaceHold, Hold>(
            Role::Legal,
            "/admin/v1/holds",
            Effect::Acts,
            "placeHold",
            "Place a legal hold; it is in force once another principal approved it",
            |c| {
                Box::pin(async move {
                    let new = new_hold(c.body()?)?;
                    let placed = c.acts.hold_act(&c.order, HoldAct::Place(new)).await?;
                    outcome(&c, accepted(&placed), placed)
                })
            },
        ),
        acts_as::<Nothing, Hold>(
            Role::Legal,
            "/admin/v1/holds/{hold}/approve",
            Effect::Acts,
            "approveHold",
            "Approve a legal hold that another principal placed",
            |c| {
                Box::pin(async move {
                    let Nothing {} = c.body()?;
                    let act = HoldAct::Approve(c.param("hold").to_owned());
                    outcome(&c, StatusCode::OK, c.acts.hold_act(&c.order, act).await?)
                })
            },
        ),
        acts_as::<Nothing, Hold>(
            Role::Legal,
            "/admin/v1/holds/{hold}/release",
            Effect::Acts,
            "releaseHold",
            "Ask for the release of a legal hold, or agree to it; a pending one is withdrawn",
            |c| {
                Box::pin(async move {
                    let Nothing {} = c.body()?;
                    let act = HoldAct::Release(c.param("hold").to_owned());
                    let released = c.acts.hold_act(&c.order, act).await?;
                    outcome(&c, accepted(&released), released)
                })
            },
        ),
    ]);
    all
}

/// 202 while another principal is still to agree.
fn accepted(of: &Outcome<Hold>) -> StatusCode {
    match of {
        Outcome::Done(hold) if matches!(hold.state, HoldState::PendingApproval | HoldState::ReleaseAsked) => {
            StatusCode::ACCEPTED
        }
        _ => StatusCode::OK,
    }
}
