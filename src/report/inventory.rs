//! Every version of every key: what it is, since when, in which state. Never a byte of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /admin/v1/compliance/keys`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyInventory {
    /// In the order of geos, then master and directory keys, then tenants.
    pub keys: Vec<KeyLine>,
}

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyLine {
    /// The geo.
    pub geo: String,
    /// `mk` master, `gdk` directory, `tdk` a tenant's data, `srk` its data subjects, `tik` its index.
    pub kind: String,
    /// Whose, by opaque id; none of keys of the geo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// 1 and up.
    pub version: u32,
    /// `current`, `decrypt-only`, `compromised`, `destroy-scheduled`, `destroyed`, `suspended`.
    pub state: String,
    /// Of one that is scheduled to be destroyed: not before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroy_at: Option<String>,
    /// When it was made, as the audit log says. None: before the log's first entry on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When the key last got a new version, as the audit log says. None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation_at: Option<String>,
}
