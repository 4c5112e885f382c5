//! Long work, and the sweeper.

use super::{Problem, Reencrypted, Rotation, ScheduledKey, SubjectErasure, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a long piece of work stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// Under way.
    Running,
    /// Ended well; `result` says with what.
    Done,
    /// Ended badly; `problem` says why.
    Failed,
}

/// A long piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Such as `rotate-master`, `rotate-index-key`, `reencrypt`, `close-epoch`, `backup` or `sweep`.
    pub kind: String,
    /// On what: a geo's id, a tenant's id, or empty.
    #[serde(default)]
    pub subject: String,
    /// Where it stands.
    pub state: OperationState,
    /// What it is at, such as `rewrapping` or `scanning`.
    #[serde(default)]
    pub phase: String,
    /// Steps done.
    pub done: u64,
    /// Steps in all, as far as is known.
    pub total: u64,
    /// When it began.
    pub started_at: Time,
    /// Steps a second in this phase so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_s: Option<u64>,
    /// Seconds until this phase ends, if it goes on like that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<u64>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<OperationResult>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl Operation {
    /// The same with keys named by the tenant's opaque id, for whoever may see no names.
    pub(in crate::admin) fn without_names(mut self) -> Self {
        let opaque = |key: &mut String| {
            let mut parts: Vec<_> = key.split('/').collect();
            if let [kind, owner, ..] = &mut parts[..]
                && !matches!(*kind, "mk" | "gdk")
            {
                *owner = &self.subject;
            }
            *key = parts.join("/");
        };
        match &mut self.result {
            Some(OperationResult::Rotation(done) | OperationResult::Reencryption(Reencrypted { done, .. })) => {
                opaque(&mut done.from);
                opaque(&mut done.to);
            }
            Some(OperationResult::Destruction(done)) => opaque(&mut done.key),
            Some(OperationResult::Exposure(found)) => {
                opaque(&mut found.key);
                (found.tenants, found.to_do) = (Vec::new(), Vec::new());
            }
            _ => {}
        }
        self
    }
}

/// What came of a long piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationResult {
    /// Of a rotation.
    Rotation(Rotation),
    /// Of a re-encryption; `rewrapped` counts the objects, `remaining` the uploads in progress.
    Reencryption(Reencrypted),
    /// Of a destruction that was scheduled.
    Destruction(ScheduledKey),
    /// Of a report that a key may be known: what it exposes.
    Exposure(Box<crate::admin::compromise::Exposure>),
    /// Of a sweep.
    Sweep(SweepReport),
    /// Of a data subject's erasure.
    SubjectErasure(SubjectErasure),
    /// Of another request of a data subject.
    Request(crate::admin::dsrs::Request),
    /// Of an epoch's close.
    Epoch(crate::admin::epochs::Epoch),
    /// Of a backup.
    Backup(crate::admin::backups::Backup),
}

/// What one sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepReport {
    /// Tenants whose destruction ended with a certificate.
    pub tenants_purged: u64,
    /// Tenants that are due but held.
    pub tenants_held: u64,
    /// Objects removed.
    pub objects_removed: u64,
    /// Objects removed because their lifetime by lifecycle rules was over.
    #[serde(default)]
    pub objects_expired: u64,
    /// Multipart uploads that were given up.
    pub uploads_aborted: u64,
    /// Blobs and temporary files that no row named.
    pub orphans_removed: u64,
    /// Versions of keys that were destroyed on their day.
    #[serde(default)]
    pub keys_destroyed: u64,
    /// What could not be done this time and why, without names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// `GET /admin/v1/sweep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepStatus {
    /// Seconds between two sweeps.
    pub interval_s: u64,
    /// When the last one began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_started_at: Option<Time>,
    /// When the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_finished_at: Option<Time>,
    /// When the next one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,
    /// How late the oldest due act is, in seconds; zero when none is late.
    pub late_s: u64,
    /// Acts that are due now.
    pub due: u64,
    /// What the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SweepReport>,
}
