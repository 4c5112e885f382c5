//! When keys are due for their next versions: what `key status` says of the rotation policy.

use super::wire::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The current version of a key that has a cryptoperiod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scheduled {
    /// Such as `mk/europe/3`, `tdk/contoso/1`, `srk/contoso/1`, `tik/contoso/1`, or `ik/contoso/BUCKET-ID/1`.
    pub key: String,
    /// Since when it is the current one, by the compliance clock; of master and index keys, since when the server knows.
    pub since: Time,
    /// When its days are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
    /// Whether the next version is due now.
    pub is_due: bool,
    /// The policy: for how many days it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// Records that came to hang on it since then, as of the last count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The policy: how many may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_max: Option<u64>,
}
