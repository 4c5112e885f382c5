//! The sweeper's runs, kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /admin/v1/compliance/sweeps`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepHistory {
    /// Newest first.
    pub runs: Vec<SweepRun>,
}

/// One run of the sweeper, in one geo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepRun {
    /// The geo.
    pub geo: String,
    /// When it began, by the compliance clock.
    pub started_at: String,
    /// When it ended. None: it failed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Acts that it carried out, in all geos together.
    pub acts: u64,
    /// Acts that it left to the next one.
    pub skipped: u64,
    /// How late the longest due act was after it, in seconds.
    pub late_s: u64,
}
