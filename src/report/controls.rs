//! Controls: what is done, what shows it, and how old that is. Computed from recorded events; what is stale is flagged.

use super::{Digest, Seen};
use crate::model::time::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /admin/v1/compliance/controls`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Controls {
    /// As of when, by the compliance clock.
    pub at: String,
    /// Nobody has certified this software: what stands here is its own word, with evidence.
    pub certification: String,
    /// One for each control and geo.
    pub controls: Vec<Control>,
    /// How many are stale or were never exercised.
    pub stale: u64,
}

/// One control in one geo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Control {
    /// Such as `KEY-1`.
    pub id: String,
    /// The geo.
    pub geo: String,
    /// What is done.
    pub description: String,
    /// Where the evidence is: a page of the documentation, a route, an event of the log.
    pub evidence: String,
    /// Days after which evidence is stale. None: the control acts on occasion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_days: Option<u32>,
    /// When it last acted or was tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// The log's entry that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_entry: Option<u64>,
    /// Whether that is young enough.
    pub status: Freshness,
}

/// Whether a control's evidence is young enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Freshness {
    /// Younger than its period.
    Fresh,
    /// Older.
    Stale,
    /// There is none, and a whole period has passed, or the control has to be exercised before it counts.
    Never,
    /// It acts on occasion; there may have been none.
    OnOccasion,
}

/// What shows a control.
enum Shown {
    /// The newest of these events of the log.
    By(&'static [&'static str]),
    /// The sweeper's history.
    BySweeps,
    /// The witness of the log.
    ByWitness,
}

struct Rule {
    id: &'static str,
    description: &'static str,
    evidence: &'static str,
    period_days: Option<u32>,
    shown: Shown,
}

const fn rule(
    id: &'static str,
    description: &'static str,
    evidence: &'static str,
    period_days: Option<u32>,
    shown: Shown,
) -> Rule {
    Rule { id, description, evidence, period_days, shown }
}

/// The list. An event stands here by the name that the log has it under.
const RULES: [Rule; 16] = [
    rule(
        "NET-1",
        "Every listener speaks TLS 1.2 or 1.3 and nothing else; the release that runs was tested for it",
        "docs/operations.md#settings; tests/edge/versions.rs; server-started",
        Some(366),
        Shown::By(&["server-started"]),
    ),
    rule(
        "NET-2",
        "Checksums of uploads are verified before anything is committed",
        "docs/s3.md; tests/api/checksums.py; server-started",
        Some(366),
        Shown::By(&["server-started"]),
    ),
    rule(
        "ENC-1",
        "Everything stored is sealed under keys of its tenant: content, names, metadata, tags, index",
        "docs/object-format.md; tests/sealed/canary.rs; server-started",
        Some(366),
        Shown::By(&["server-started"]),
    ),
    rule(
        "KEY-1",
        "The geo's master key gets a new version",
        "GET /admin/v1/compliance/keys; master-rotation-ended",
        Some(366),
        Shown::By(&["master-rotation-ended"]),
    ),
    rule(
        "KEY-2",
        "Tenants' keys get new versions",
        "GET /admin/v1/compliance/keys; tenant-rotation-ended, root-rotation-ended, index-key-rotation-ended",
        Some(366),
        Shown::By(&["tenant-rotation-ended", "root-rotation-ended", "index-key-rotation-ended"]),
    ),
    rule(
        "KEY-3",
        "What was destroyed becomes irrecoverable: an epoch is closed",
        "GET /admin/v1/keys/epoch/{geo}; epoch-closed",
        Some(28),
        Shown::By(&["epoch-closed"]),
    ),
    rule(
        "KEY-4",
        "Destroying a key takes two administrators",
        "destruction-approved, epoch-approved",
        None,
        Shown::By(&["destruction-approved", "epoch-approved"]),
    ),
    rule("RET-1", "Retention runs on schedule", "GET /admin/v1/compliance/sweeps", Some(1), Shown::BySweeps),
    rule(
        "RET-2",
        "A terminated tenant is destroyed after 90 days, and that is certified",
        "GET /admin/v1/compliance/population; certificate-issued",
        None,
        Shown::By(&["certificate-issued"]),
    ),
    rule(
        "DSR-1",
        "Data subjects' requests are carried out and on record",
        "docs/subjects.md; subject-erased",
        None,
        Shown::By(&["subject-erased"]),
    ),
    rule(
        "LOG-1",
        "The whole chain of the audit log is verified",
        "GET /admin/v1/audit/verify; log-verified",
        Some(7),
        Shown::By(&["log-verified"]),
    ),
    rule(
        "LOG-2",
        "Something that is not the server remembers how far the audit log has come",
        "docs/evidence.md#the-witness",
        Some(1),
        Shown::ByWitness,
    ),
    rule("BCK-1", "Backups are made", "GET /admin/v1/backups; backup-made", Some(7), Shown::By(&["backup-made"])),
    rule(
        "BCK-2",
        "A backup is put back and served from",
        "docs/operations.md#after-the-restore-of-a-backup; keys-restored",
        Some(92),
        Shown::By(&["keys-restored"]),
    ),
    rule(
        "INT-1",
        "Stored bytes that do not verify are never served, and are on record",
        "integrity-failed, row-damaged",
        None,
        Shown::By(&["integrity-failed", "row-damaged"]),
    ),
    rule(
        "TIM-1",
        "A clock that was turned moves no deadline, and is on record",
        "GET /admin/v1/clock; clock-suspect",
        None,
        Shown::By(&["clock-suspect"]),
    ),
];

/// The controls of one geo. `sweep`: the end of the last sweep; `witnessed`: when the witness last took the log's state.
pub fn of_geo(
    geo: &str,
    digest: &Digest,
    sweep: Option<Millis>,
    witnessed: Option<Millis>,
    now: Millis,
) -> Vec<Control> {
    let control = |rule: &Rule| {
        let (last, entry) = match rule.shown {
            Shown::By(events) => {
                let newest = events.iter().filter_map(|event| digest.last(event)).max_by_key(|seen| seen.index);
                (newest.map(|seen| seen.at), newest.map(|seen| seen.index))
            }
            Shown::BySweeps => (sweep, None),
            Shown::ByWitness => (witnessed, None),
        };
        Control {
            id: rule.id.into(),
            geo: geo.to_owned(),
            description: rule.description.into(),
            evidence: rule.evidence.into(),
            period_days: rule.period_days,
            last_at: last.map(|at| at.to_string()),
            last_entry: entry,
            status: freshness(rule.period_days, last, digest.first(), now),
        }
    };
    RULES.iter().map(control).collect()
}

fn freshness(period_days: Option<u32>, last: Option<Millis>, first: Option<Seen>, now: Millis) -> Freshness {
    let Some(days) = period_days else { return Freshness::OnOccasion };
    let young = |since: Millis| now < since.plus_seconds(i64::from(days) * 86_400);
    match last {
        Some(last) if young(last) => Freshness::Fresh,
        Some(_) => Freshness::Stale,
        // Nobody could have exercised it for longer than there is a log; it is not shown as done all the same.
        None if first.is_some_and(|first| young(first.at)) => Freshness::Never,
        None => Freshness::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r23_evidence_is_fresh_until_its_period_is_over_and_then_flagged() {
        let day = |days: i64| Millis::from_seconds(days * 86_400);
        let first = Some(Seen { index: 0, at: day(0) });
        for (last, now, status) in [
            (Some(day(3)), day(9), Freshness::Fresh),
            (Some(day(3)), day(10), Freshness::Stale),
            (None, day(6), Freshness::Never),
            (None, day(7), Freshness::Stale),
        ] {
            assert_eq!(freshness(Some(7), last, first, now), status, "{last:?} {now:?}");
        }
        assert_eq!(freshness(None, None, first, day(9)), Freshness::OnOccasion);
    }
}
