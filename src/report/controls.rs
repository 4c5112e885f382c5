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
    /// How many were looked at and found not to hold.
    #[serde(default)]
    pub failed: u64,
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
    /// What was found then, in counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
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
    /// It was looked at, and does not hold.
    Failed,
    /// There is none, and a whole period has passed, or the control has to be exercised before it counts.
    Never,
    /// It acts on occasion; there may have been none.
    OnOccasion,
}

/// What shows a control.
enum Shown {
    /// The newest of these events of the log.
    By(&'static [&'static str]),
    /// The newest of this event, which says what a probe found.
    ByProbe(&'static str),
    /// The oldest hold in force.
    ByHolds,
    /// Notices that are due and do not arrive.
    ByNotices,
    /// Data subjects' requests that should have been answered.
    ByRequests,
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

/// A probe runs once a day.
const PROBED_DAYS: u32 = 2;

/// The list. An event stands here by the name that the log has it under.
const RULES: [Rule; 19] = [
    rule(
        "NET-1",
        "Every listener speaks TLS 1.2 or 1.3 and nothing else, under a certificate that does not end within a week",
        "docs/evidence.md#probes; docs/operations.md#settings; listeners-probed",
        Some(PROBED_DAYS),
        Shown::ByProbe("listeners-probed"),
    ),
    rule(
        "NET-2",
        "Checksums of uploads are verified before anything is committed",
        "docs/evidence.md#probes; docs/s3.md; digests-probed",
        Some(PROBED_DAYS),
        Shown::ByProbe("digests-probed"),
    ),
    rule(
        "ENC-1",
        "Everything stored is sealed under keys of its tenant: content, names, metadata, tags, index",
        "docs/evidence.md#probes; docs/object-format.md; sealing-probed",
        Some(PROBED_DAYS),
        Shown::ByProbe("sealing-probed"),
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
        "DSR-2",
        "No data subject's request waits for longer than it may",
        "GET /admin/v1/tenants/{tenant}/dsrs",
        Some(1),
        Shown::ByRequests,
    ),
    rule(
        "HLD-1",
        "No legal hold is in force for longer than a year without being placed anew",
        "GET /admin/v1/holds; hold-placed, hold-released",
        Some(366),
        Shown::ByHolds,
    ),
    rule(
        "NOT-1",
        "Notices of a tenant's coming end arrive",
        "docs/retention.md; notice-sent",
        Some(1),
        Shown::ByNotices,
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

/// What the controls of a geo rest on beside its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// The end of the last sweep.
    pub sweep: Option<Millis>,
    /// When the witness last took the log's state.
    pub witnessed: Option<Millis>,
    /// Notices, if any are sent.
    pub notices: Option<NoticesDue>,
    /// Data subjects' requests.
    pub requests: RequestsOpen,
}

/// Notices that should have arrived and have not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticesDue {
    /// All of them.
    pub due: u64,
    /// Those that were tried in vain.
    pub failing: u64,
}

/// Data subjects' requests that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestsOpen {
    /// All of them.
    pub open: u64,
    /// Those that should have been answered by now.
    pub overdue: u64,
}

/// What shows a control now: when, which entry, what was found, and whether that refutes it.
#[derive(Default)]
struct Evidence {
    last: Option<Millis>,
    entry: Option<u64>,
    finding: Option<String>,
    failed: bool,
    /// There was no occasion.
    idle: bool,
}

impl Evidence {
    fn at(seen: Option<Seen>) -> Self {
        Self { last: seen.map(|seen| seen.at), entry: seen.map(|seen| seen.index), ..Self::default() }
    }

    fn counted(now: Millis, failed: bool, finding: String) -> Self {
        Self { last: Some(now), finding: Some(finding), failed, ..Self::default() }
    }

    fn of(shown: &Shown, digest: &Digest, gathered: &Gathered, now: Millis) -> Self {
        match shown {
            Shown::By(events) => {
                Self::at(events.iter().filter_map(|event| digest.last(event)).max_by_key(|seen| seen.index))
            }
            Shown::ByProbe(event) => {
                let found = digest.found(event);
                let (finding, failed) = (found.map(|found| found.words.clone()), found.is_some_and(|f| f.failed > 0));
                Self { finding, failed, ..Self::at(digest.last(event)) }
            }
            Shown::BySweeps => Self { last: gathered.sweep, ..Self::default() },
            Shown::ByWitness => Self { last: gathered.witnessed, ..Self::default() },
            Shown::ByHolds => {
                let (holds, oldest) = digest.holds();
                Self { finding: Some(format!("{holds} in force")), idle: holds == 0, ..Self::at(oldest) }
            }
            Shown::ByNotices => match gathered.notices {
                None => Self { finding: Some("no webhook is set: none is sent".into()), idle: true, ..Self::default() },
                Some(NoticesDue { due, failing }) => {
                    Self::counted(now, failing > 0, format!("{due} due, {failing} tried in vain"))
                }
            },
            Shown::ByRequests => {
                let RequestsOpen { open, overdue } = gathered.requests;
                Self::counted(now, overdue > 0, format!("{open} open, {overdue} overdue"))
            }
        }
    }
}

/// The controls of one geo.
pub fn of_geo(geo: &str, digest: &Digest, gathered: &Gathered, now: Millis) -> Vec<Control> {
    let control = |rule: &Rule| {
        let evidence = Evidence::of(&rule.shown, digest, gathered, now);
        let status = match (evidence.failed, evidence.idle) {
            (true, _) => Freshness::Failed,
            (false, true) => Freshness::OnOccasion,
            (false, false) => freshness(rule.period_days, evidence.last, digest.first(), now),
        };
        Control {
            id: rule.id.into(),
            geo: geo.to_owned(),
            description: rule.description.into(),
            evidence: rule.evidence.into(),
            period_days: rule.period_days,
            last_at: evidence.last.map(|at| at.to_string()),
            last_entry: evidence.entry,
            finding: evidence.finding,
            status,
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
    use crate::audit::{Entry, Event, Hash};
    use crate::model::ids::TenantId;

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

    /// A log with one entry a day.
    fn digest(events: &[Event]) -> Digest {
        let mut digest = Digest::default();
        for (index, event) in (0u64..).zip(events) {
            let act = serde_json::to_value(event).unwrap().as_object().unwrap().clone();
            let at = Millis::from_seconds(index as i64 * 86_400).to_string();
            let (time, proven, actor, hash) = (at.clone(), at, "prober".to_owned(), Hash([0; 32]));
            digest.take(&Entry { index, time, proven, actor, act, prev: hash, hash });
        }
        digest
    }

    #[test]
    fn r23_a_probe_is_fresh_then_stale_when_none_follows_and_failed_when_it_finds_something() {
        let at = |hours: i64| Millis::from_seconds(hours * 3600);
        let sealing = |failed| Event::SealingProbed { tenants: 1, rows: 2, blobs: 1, failed };
        let good = digest(&[Event::ServerStarted { release: "0".into() }, sealing(0)]);
        let enc = |digest: &Digest, gathered: &Gathered, now| {
            of_geo("europe", digest, gathered, now).into_iter().find(|control| control.id == "ENC-1").unwrap()
        };
        let none = Gathered::default();
        let fresh = enc(&good, &none, at(24 + 47));
        assert_eq!((fresh.status, fresh.last_entry, fresh.period_days), (Freshness::Fresh, Some(1), Some(2)));
        assert!(fresh.finding.unwrap().starts_with("2 rows and 1 blobs of 1 tenants, 0 "));
        assert_eq!(enc(&good, &none, at(24 + 48)).status, Freshness::Stale, "no probe came after it");
        let bad = digest(&[sealing(0), sealing(1)]);
        assert_eq!(enc(&bad, &none, at(25)).status, Freshness::Failed);
        assert_eq!(enc(&bad, &none, at(240)).status, Freshness::Failed, "time heals nothing");
        assert_eq!(enc(&digest(&[sealing(1), sealing(0)]), &none, at(25)).status, Freshness::Fresh);
    }

    #[test]
    fn r23_holds_notices_and_requests_are_counted() {
        let day = |days: i64| Millis::from_seconds(days * 86_400);
        let tenant = TenantId([7; 16]);
        let hold = || Event::HoldPlaced { tenant, hold: "M-9".into() };
        let released = Event::HoldReleased { tenant, hold: "M-9".into() };
        let of = |digest: &Digest, gathered: &Gathered, now, id: &str| {
            of_geo("europe", digest, gathered, now).into_iter().find(|control| control.id == id).unwrap().status
        };
        let none = Gathered::default();
        let (held, free) = (digest(&[hold()]), digest(&[hold(), released]));
        assert_eq!(of(&held, &none, day(365), "HLD-1"), Freshness::Fresh);
        assert_eq!(of(&held, &none, day(366), "HLD-1"), Freshness::Stale, "nobody looked at it for a year");
        assert_eq!(of(&free, &none, day(366), "HLD-1"), Freshness::OnOccasion);
        assert_eq!(of(&free, &none, day(1), "NOT-1"), Freshness::OnOccasion, "none is sent");
        for (failing, overdue, notices, requests) in
            [(0, 0, Freshness::Fresh, Freshness::Fresh), (1, 1, Freshness::Failed, Freshness::Failed)]
        {
            let gathered = Gathered {
                notices: Some(NoticesDue { due: 1, failing }),
                requests: RequestsOpen { open: 2, overdue },
                ..none
            };
            assert_eq!(of(&free, &gathered, day(1), "NOT-1"), notices);
            assert_eq!(of(&free, &gathered, day(1), "DSR-2"), requests);
        }
    }
}
