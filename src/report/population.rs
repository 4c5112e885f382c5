//! Every tenant that was terminated in a period, each with what became of it: the population that an auditor draws his sample
//! from. Taken from the log, which forgets nobody, and held against what the directory and the certificates say.

use super::{Digest, End, Period, Seen};
use crate::audit::Hash;
use crate::model::time::Millis;
use crate::tenant::{Standing, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /admin/v1/compliance/population`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Population {
    /// The period that was asked for.
    pub period: String,
    /// Its first instant.
    pub from: String,
    /// The first instant after it.
    pub until: String,
    /// Terminations in it, in the order of the log.
    pub terminated: Vec<Terminated>,
    /// How many of them have an exception.
    pub exceptions: u64,
}

/// One termination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terminated {
    /// The tenant, by opaque id.
    pub tenant: String,
    /// Its geo.
    pub geo: String,
    /// T, by the compliance clock.
    pub terminated_at: String,
    /// The log's entry that says so.
    pub terminated_entry: u64,
    /// T + 90 days.
    pub due_at: String,
    /// That it was to be destroyed sooner, on its own instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_by_instruction: Option<EarlyByInstruction>,
    /// `waiting`, `reinstated`, `held`, `purging` or `purged`.
    pub outcome: Outcome,
    /// When its destruction began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_begun_at: Option<String>,
    /// When it was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged_at: Option<String>,
    /// The log's entry that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged_entry: Option<u64>,
    /// SHA-256 of its certificate, as the log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// The log's entry that names the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_entry: Option<u64>,
    /// What is not as it should be. Empty: nothing.
    pub exceptions: Vec<String>,
}

/// A tenant's own instruction to be destroyed before the 90 days were over, approved by two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlyByInstruction {
    /// When it was approved.
    pub approved_at: String,
    /// The log's entry that says so.
    pub approved_entry: u64,
    /// 72 hours later.
    pub due_at: String,
}

/// What became of a terminated tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is kept for its 90 days.
    Waiting,
    /// It was taken back.
    Reinstated,
    /// It is due, and a hold keeps it.
    Held,
    /// It is being destroyed.
    Purging,
    /// It is destroyed.
    Purged,
}

/// What is known of a terminated tenant besides the log.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its standing.
    pub standing: Option<Standing>,
    /// SHA-256 of the certificate that is kept of it.
    pub certificate: Option<Hash>,
}

/// The terminations of one geo in a period. `late_s`: how long after its due time a tenant may wait for its sweep.
pub fn terminated(
    geo: &str,
    digest: &Digest,
    period: &Period,
    now: Millis,
    late_s: i64,
    known: impl Fn(&End) -> Known,
) -> Vec<Terminated> {
    let ends = digest.ends().iter().enumerate().filter(|(_, end)| period.contains(end.terminated.at));
    let row = |(at, end): (usize, &End)| {
        let again = digest.ends()[at + 1..].iter().any(|later| later.tenant == end.tenant);
        one(geo, end, &known(end), again, now, late_s)
    };
    ends.map(row).collect()
}

fn one(geo: &str, end: &End, known: &Known, again: bool, now: Millis, late_s: i64) -> Terminated {
    let holds = known.standing.as_ref().map_or(0, |standing| standing.holds.len());
    let outcome = match (end.reinstated, end.purged, end.begun) {
        (Some(_), ..) => Outcome::Reinstated,
        (_, Some(_), _) => Outcome::Purged,
        (_, _, Some(_)) => Outcome::Purging,
        _ if end.held.is_some() && holds > 0 => Outcome::Held,
        _ => Outcome::Waiting,
    };
    let mut exceptions = Vec::new();
    if outcome == Outcome::Purged {
        match (&end.certificate, known.certificate) {
            (None, _) => exceptions.push("the log names no certificate of it".to_owned()),
            (Some(_), None) => exceptions.push("its certificate is missing".to_owned()),
            (Some((_, logged)), Some(kept)) if *logged != kept => {
                exceptions.push("its certificate is another one than the log names".to_owned());
            }
            _ => {}
        }
    }
    let regular = end.due.parse().ok();
    let early = end.early.as_ref().and_then(|(_, due)| due.parse().ok());
    let due: Option<Millis> = regular.map(|regular: Millis| early.map_or(regular, |early: Millis| early.min(regular)));
    match due {
        Some(due) if end.begun.is_some_and(|begun| begun.at < due) => {
            exceptions.push("its destruction began before it was due".to_owned());
        }
        Some(due) if matches!(outcome, Outcome::Waiting | Outcome::Purging) && now > due.plus_seconds(late_s) => {
            exceptions.push(format!("late: {} s past its due time, and not destroyed", now.seconds() - due.seconds()));
        }
        Some(due) if outcome == Outcome::Held || (holds > 0 && now >= due && outcome == Outcome::Waiting) => {
            exceptions.push(format!("due, and kept by {holds} holds"));
        }
        Some(_) => {}
        None => exceptions.push("the log's due time of it cannot be read".to_owned()),
    }
    match &known.standing {
        None => exceptions.push("the log has it, and the directory does not".to_owned()),
        Some(standing) if !again && !agrees(outcome, standing.state) => {
            exceptions.push(format!("the log and the directory disagree: there it is {}", standing.state.as_str()));
        }
        Some(_) => {}
    }
    let at = |seen: Option<Seen>| seen.map(|seen| seen.at.to_string());
    Terminated {
        tenant: end.tenant.to_string(),
        geo: geo.to_owned(),
        terminated_at: end.terminated.at.to_string(),
        terminated_entry: end.terminated.index,
        due_at: end.due.clone(),
        early_by_instruction: end.early.as_ref().map(|(seen, due)| EarlyByInstruction {
            approved_at: seen.at.to_string(),
            approved_entry: seen.index,
            due_at: due.clone(),
        }),
        outcome,
        purge_begun_at: at(end.begun),
        purged_at: at(end.purged),
        purged_entry: end.purged.map(|seen| seen.index),
        certificate_sha256: end.certificate.map(|(_, hash)| hash.to_string()),
        certificate_entry: end.certificate.map(|(seen, _)| seen.index),
        exceptions,
    }
}

fn agrees(outcome: Outcome, state: State) -> bool {
    match outcome {
        Outcome::Reinstated => !matches!(state, State::Terminated | State::PurgeHeld),
        Outcome::Waiting => state == State::Terminated,
        Outcome::Held => matches!(state, State::PurgeHeld | State::Terminated),
        // The entry of the end comes first, then the certificate, then the standing.
        Outcome::Purging => state == State::Purging,
        Outcome::Purged => matches!(state, State::Purged | State::Purging),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    const DAY: i64 = 86_400;

    fn end(begun: i64, certificate: bool) -> End {
        let seen = |index, seconds| Seen { index, at: Millis::from_seconds(seconds) };
        End {
            tenant: TenantId([7; 16]),
            terminated: seen(1, 0),
            due: Millis::from_seconds(90 * DAY).to_string(),
            early: None,
            reinstated: None,
            begun: Some(seen(2, begun)),
            held: None,
            purged: Some(seen(3, begun)),
            certificate: certificate.then(|| (seen(4, begun), Hash([1; 32]))),
        }
    }

    fn exceptions(end: &End, certificate: Option<Hash>) -> Vec<String> {
        let known = Known { standing: None, certificate };
        let mut found = one("europe", end, &known, false, Millis::from_seconds(100 * DAY), DAY).exceptions;
        assert_eq!(found.pop().as_deref(), Some("the log has it, and the directory does not"));
        found
    }

    #[test]
    fn d12_a_missing_or_another_certificate_is_an_exception_and_so_is_what_came_early_or_late() {
        assert!(exceptions(&end(90 * DAY, true), Some(Hash([1; 32]))).is_empty());
        assert_eq!(exceptions(&end(90 * DAY, true), None), ["its certificate is missing"]);
        let other = exceptions(&end(90 * DAY, true), Some(Hash([2; 32])));
        assert_eq!(other, ["its certificate is another one than the log names"]);
        assert_eq!(exceptions(&end(90 * DAY, false), Some(Hash([1; 32]))), ["the log names no certificate of it"]);
        let early = exceptions(&end(90 * DAY - 1, true), Some(Hash([1; 32])));
        assert_eq!(early, ["its destruction began before it was due"]);
        // By instruction it may begin 72 hours after the approval, and no sooner.
        let approved = Seen { index: 2, at: Millis::from_seconds(10 * DAY) };
        let early = Some((approved, Millis::from_seconds(13 * DAY).to_string()));
        let on_time = End { early: early.clone(), ..end(13 * DAY, true) };
        assert!(exceptions(&on_time, Some(Hash([1; 32]))).is_empty());
        let too_early = End { early, ..end(13 * DAY - 1, true) };
        assert_eq!(exceptions(&too_early, Some(Hash([1; 32]))), ["its destruction began before it was due"]);
        let late = exceptions(&End { begun: None, purged: None, ..end(0, false) }, None);
        assert_eq!(late, ["late: 864000 s past its due time, and not destroyed"]);
    }
}
