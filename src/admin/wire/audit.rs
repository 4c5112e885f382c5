//! The audit log.

use super::Time;
use crate::model::ids::TenantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry of a geo's audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// The log's geo.
    pub geo: String,
    /// Its place, from 0, without a gap.
    pub index: u64,
    /// When, by the compliance clock.
    pub at: Time,
    /// What, from a closed list.
    pub event: String,
    /// Who, as an opaque id.
    pub actor: String,
    /// Of which tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub tenant: Option<TenantId>,
    /// More, opaque: ids, versions, counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
    /// The chain after this entry, in hexadecimal.
    pub hash: String,
}

/// A page of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// Oldest first.
    pub entries: Vec<AuditEntry>,
}

/// An entry of a geo's audit log, with what was said: for administrators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditShown {
    /// The entry.
    pub entry: AuditEntry,
    /// The words behind its `reason`, while their tenant has keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether there is a `reason` whose words are gone, with the tenant or because its keys did not open.
    pub reason_is_gone: bool,
}

/// What the verification of one geo's log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerdict {
    /// The log's geo.
    pub geo: String,
    /// Whether every entry is in place and unchanged.
    pub intact: bool,
    /// Entries verified.
    pub entries: u64,
    /// The chain's newest hash, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The first entry that does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<u64>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /admin/v1/audit/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerdicts {
    /// One for each log asked for.
    pub logs: Vec<AuditVerdict>,
}

/// The key that signs a geo's certificates and checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogKey {
    /// The geo.
    pub geo: String,
    /// `ed25519`.
    pub algorithm: String,
    /// The public key, in hexadecimal.
    pub public: String,
}
