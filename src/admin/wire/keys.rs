//! Keys: their versions and states, and what comes of work on them.

use super::{Operation, Time};
use crate::model::ids::TenantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /admin/v1/keys/tenant/{tenant}/suspend`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendKeys {
    /// Why. Demanded, and not stored: the audit log holds no words of people.
    pub reason: String,
}

/// The state of one version of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyVersion {
    /// Such as `mk/europe/3`, `gdk/europe/1` or `tdk/contoso/1`.
    pub id: String,
    /// 1 and up.
    pub version: u32,
    /// `current`, `decrypt-only`, `compromised`, `destroy-scheduled`, `destroyed`, `suspended`.
    pub state: String,
    /// How many records are under it, where that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Counting stopped at its bound: there may be more than `records`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Of one that is scheduled to be destroyed: not before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroy_at: Option<Time>,
}

/// The keys of one geo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GeoKeys {
    /// The geo.
    pub geo: String,
    /// What keeps its master key, such as `local keyring (key file)`.
    pub provider: String,
    /// Its master key.
    pub master: Vec<KeyVersion>,
    /// Its directory key, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directory: Vec<KeyVersion>,
    /// Its tenants' keys.
    pub tenants: Vec<TenantKeys>,
    /// A rotation that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Operation>,
    /// When the next versions are due, of keys for which the settings have a cryptoperiod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<crate::admin::schedules::Scheduled>,
    /// Acts that wait for a second administrator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<crate::admin::proposals::Proposal>,
}

/// The keys of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantKeys {
    /// The tenant.
    #[schemars(with = "String")]
    pub tenant: TenantId,
    /// Its name, while it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its data key (`tdk/`), its roots above data subjects' keys (`srk/`) and index keys (`tik/`), each oldest first; with
    /// counts, its buckets' index keys (`ik/`), too.
    pub versions: Vec<KeyVersion>,
}

/// `GET /admin/v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyStatus {
    /// The geos this server serves.
    pub geos: Vec<GeoKeys>,
}

/// `POST /admin/v1/keys/{kind}/{of}/{version}/destroy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DestroyKey {
    /// How long it waits, such as `30d`: a day at the least. None: 30 days, or a day where the version is compromised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What came of asking for a key's destruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destruction {
    /// Another administrator has to ask for the same, with the same wait, within a day.
    Proposed {
        /// Which key.
        key: String,
    },
    /// The scan begins, at whose end the day is set.
    Begun(Box<Operation>),
}

/// A version of a key that is to be destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduledKey {
    /// Which.
    pub key: String,
    /// Records that the scan just before read.
    pub scanned: u64,
    /// How many of them needed the key: zero, or its day was not set.
    pub remaining: u64,
    /// Not before then, by the key service's clock. Another scan is made on that day.
    pub destroy_at: Time,
    /// How long it waits, in seconds.
    pub after_s: i64,
}

/// How long work on keys is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyWork {
    /// Records a second at most; without it what the server's settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_s: Option<std::num::NonZeroU32>,
}

/// What of a tenant is to be re-encrypted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reencrypt {
    /// Only what this version of the tenant's data key opens, or opened before a rotation: 1 or more. What hangs under data
    /// subjects' keys is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<std::num::NonZeroU32>,
    /// Only what lies in this bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Records a second at most; without it what the server's settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_s: Option<std::num::NonZeroU32>,
}

/// What a re-encryption did, ending in a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reencrypted {
    /// Whether only what the version `from` opens, or opened before a rotation, was to be re-encrypted.
    pub only_from: bool,
    /// What was done; `rewrapped` counts objects with new data keys and new sealed bytes.
    #[serde(flatten)]
    pub done: Rotation,
}

/// What a rotation did, ending in a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rotation {
    /// The version that was current, such as `mk/europe/3`.
    pub from: String,
    /// The version that is current now.
    pub to: String,
    /// Records wrapped anew.
    pub rewrapped: u64,
    /// Of a master key: how many there were to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Records looked at by the scan at the end.
    pub scanned: u64,
    /// Records that the scan still found under the old version: zero, or the rotation did not end.
    pub remaining: u64,
}
