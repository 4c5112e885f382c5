//! The JSON bodies of the admin API, shared by the server and the command line; the OpenAPI document is made of them.
//!
//! What a caller sends refuses unknown fields, so that a mistyped field can never be silently ignored. What the server
//! answers does not, so that an older command line still reads a newer server.

mod audit;
mod keys;
mod tenants;
mod work;

pub use audit::{AuditEntry, AuditPage, AuditShown, AuditVerdict, AuditVerdicts, LogKey};
pub use keys::{
    DestroyKey, Destruction, GeoKeys, KeyStatus, KeyVersion, KeyWork, Reencrypt, Reencrypted, Rotation, ScheduledKey,
    SuspendKeys, TenantKeys,
};
pub use tenants::{
    CancelEarly, Consent, CreateCredential, CreateTenant, Credential, CredentialRole, Credentials, Disable, EarlyPurge,
    EarlyPurging, Enable, EraseSubject, Export, ExportKeys, ExportReport, NewCredential, Notice, PurgeEarly, Reinstate,
    Replication, RevealExportKeys, SubjectErasure, Tenant, TenantState, Tenants, Terminate, UploadsInProgress,
};
pub use work::{Operation, OperationResult, OperationState, SweepReport, SweepStatus};

use crate::model::atlas;
use crate::model::time::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A time: RFC 3339 in UTC with `Z` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Millis);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

// ---------------------------------------------------------------- what a caller sends

/// `POST /admin/v1/clock/advance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// How far, in seconds; 1 to 3,155,760,000 (100 years).
    pub seconds: u64,
}

/// A body that says nothing: rotations and sweeps need no words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

// ---------------------------------------------------------------- words of both directions

/// Every geo and region, in published order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Regions {
    /// In order.
    pub geos: Vec<Geo>,
}

/// One geo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Geo {
    /// Its id.
    pub id: String,
    /// `single-region` where no copy inside the geo is possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// In order.
    pub regions: Vec<Region>,
}

/// One region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Region {
    /// Its id: what S3 clients name as their region.
    pub id: String,
    /// The published label.
    pub location: String,
    /// Whether the server asked serves it; left out where no server was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
}

impl Regions {
    /// The atlas in its own order.
    pub fn of_atlas(geos: &[atlas::Geo], served: impl Fn(&atlas::Region) -> Option<bool>) -> Self {
        let region = |r: &atlas::Region| Region { id: r.id.into(), location: r.location.into(), served: served(r) };
        let geo = |g: &atlas::Geo| Geo {
            id: g.id.into(),
            label: (g.regions.len() == 1).then(|| "single-region".into()),
            regions: g.regions.iter().map(region).collect(),
        };
        Self { geos: geos.iter().map(geo).collect() }
    }
}

/// What a dry run would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Equal for equal plans: a change between two dry runs shows here.
    #[serde(default)]
    pub plan_id: String,
    /// What would happen, in order, in words.
    pub steps: Vec<String>,
    /// The same in figures, such as `tenant_keys: 4102`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// Legal holds that put some of it off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}

/// The compliance clock of this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// Time proven to have passed: nothing is destroyed before it says so.
    pub proven: Time,
    /// Latest plausible time: access ends when it says so.
    pub plausible: Time,
    /// What the machine's clock says.
    pub wall: Time,
    /// The machine's clock jumped; deadlines did not move.
    pub suspect: bool,
    /// Off-time is pending for more than an hour: somebody has to attest the time.
    #[serde(default)]
    pub overdue: bool,
    /// Whether somebody vouches for the machine's clock: the kernel, a peer.
    #[serde(default)]
    pub corroborated: bool,
    /// Seconds the server was off that nobody could corroborate.
    pub pending_s: u64,
    /// Whether this clock can be moved by hand.
    pub simulated: bool,
}

/// What `/healthz` says: that it was said is the news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alive {
    /// True.
    pub alive: bool,
}

/// What `/readyz` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Whether traffic may come.
    pub ready: bool,
    /// What does not stand, in words without names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
}

/// A refusal or failure. Source: RFC 9457.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the `code` says which problem it is.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The HTTP status in words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// Which problem, for programs; stays the same between releases.
    pub code: String,
    /// What happened, for people; names nobody.
    #[serde(default)]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The ids that would have been accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub valid: Vec<String>,
    /// The holds that stand in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}
