//! Restores: when a key store was put back from a backup, and what of the destroyed came back with it and was destroyed
//! again before anything was served. Out of the log, so in opaque ids and counts.

use super::Seen;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /admin/v1/compliance/restores`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restores {
    /// Newest first.
    pub restores: Vec<Restore>,
}

/// One restore in one geo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restore {
    /// The geo.
    pub geo: String,
    /// When the older key store was let in, by the compliance clock.
    pub at: String,
    /// The log's entry that says so, `keys-restored`.
    pub entry: u64,
    /// When the geo was served again; none: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_at: Option<String>,
    /// Keys that were destroyed again.
    pub keys: KeysAgain,
    /// Tenants whose rows and blobs were deleted again, by opaque id.
    pub tenants: Vec<String>,
    /// Data subjects who were erased again.
    pub subjects: Vec<SubjectAgain>,
    /// Batches that were written anew without one of them.
    pub batches: u64,
}

/// Keys that the shred log destroyed again, before anything was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeysAgain {
    /// Of tenants.
    pub tenants: u64,
    /// Of data subjects.
    pub subjects: u64,
    /// Versions of roots.
    pub roots: u64,
    /// Tenants that live by a version which was retired since: they have to be rotated.
    pub to_rotate: u64,
}

/// A data subject who was erased again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubjectAgain {
    /// Whose data subject, by opaque id.
    pub tenant: String,
    /// Who, by opaque id.
    pub subject: String,
    /// The log's entry that says so, `subject-erased`.
    pub entry: u64,
    /// Objects that were removed.
    pub objects: u64,
    /// Uploads in progress that were removed.
    pub uploads: u64,
    /// Blobs that were removed.
    pub blobs: u64,
}

/// What the log has of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub(super) begun: Seen,
    pub(super) served: Option<Seen>,
    pub(super) keys: KeysAgain,
    pub(super) tenants: Vec<String>,
    pub(super) subjects: Vec<SubjectAgain>,
    pub(super) batches: u64,
}

impl Restored {
    pub(super) fn begun(begun: Seen, keys: KeysAgain) -> Self {
        Self { begun, served: None, keys, tenants: Vec::new(), subjects: Vec::new(), batches: 0 }
    }

    /// For whoever asks.
    pub fn of_geo(&self, geo: &str) -> Restore {
        Restore {
            geo: geo.to_owned(),
            at: self.begun.at.to_string(),
            entry: self.begun.index,
            served_at: self.served.map(|seen| seen.at.to_string()),
            keys: self.keys,
            tenants: self.tenants.clone(),
            subjects: self.subjects.clone(),
            batches: self.batches,
        }
    }
}
