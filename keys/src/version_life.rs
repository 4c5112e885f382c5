//! The life of one version of a key, pure: which state it is in, when its end may be scheduled, and when it may come.
//! `ending` asks and carries out.
//!
//! ```text
//! current → decrypt-only → destroy-scheduled → destroyed
//!     ↘          ↘     ↖________↙    ↑
//!        compromised ────────────────┘
//! ```
//!
//! Promises: an active version has no end; an end that is scheduled comes no sooner than a day later, and never while
//! anything needs the version, whatever was true when it was scheduled; until it came it can be taken back.

use crate::error::Refusal;

/// How long the end of a version waits, if nothing else is said: 30 days.
pub const DESTROY_AFTER_SECONDS: i64 = 30 * DAY;
/// The same for one that may be known to somebody: a day.
pub const DESTROY_COMPROMISED_AFTER_SECONDS: i64 = DAY;
/// The shortest wait: a day in which whoever notices a mistake can take it back.
pub const DESTROY_AFTER_SECONDS_MIN: i64 = DAY;
/// The longest wait: a year.
pub const DESTROY_AFTER_SECONDS_MAX: i64 = 366 * DAY;

const DAY: i64 = 86_400;

/// What a version is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// New things are wrapped under it, or it is being made.
    Active,
    /// It only opens.
    Older,
    /// It is gone.
    Destroyed,
}

/// The day that was set, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    pub(crate) at: i64,
    pub(crate) due: i64,
}

/// One version, as far as its end goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    pub(crate) stage: Stage,
    pub(crate) compromised: bool,
    pub(crate) wait: Option<Wait>,
}

/// What stands against the end of a version now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Needs {
    /// Records under it, and requests that still hold it.
    pub(crate) records: u64,
    /// Other work on keys of its kind that has to end first.
    pub(crate) busy: Option<Refusal>,
    /// Until when the last backup that needs it is inside its age cap.
    pub(crate) backups_until: Option<i64>,
}

impl Life {
    /// Sets its day, `after_s` from `now` within the bounds. The same wait asked for again does not begin anew; another
    /// one does.
    pub(crate) fn schedule(self, now: i64, after_s: i64, needs: &Needs) -> Result<Self, Refusal> {
        let after_s = after_s.clamp(DESTROY_AFTER_SECONDS_MIN, DESTROY_AFTER_SECONDS_MAX);
        let due = now.saturating_add(after_s);
        match (self.stage, self.wait) {
            (Stage::Destroyed, _) => Err(Refusal::State),
            (Stage::Active, _) => Err(Refusal::Active),
            (Stage::Older, Some(wait)) if wait.due.saturating_sub(wait.at) == after_s => Ok(self),
            (Stage::Older, _) if needs.records > 0 => Err(Refusal::InUse),
            (Stage::Older, _) if needs.backups_until.is_some_and(|until| until > due) => Err(Refusal::BackupNeeds),
            (Stage::Older, _) => Ok(Self { wait: Some(Wait { at: now, due }), ..self }),
        }
    }

    /// Takes its day back.
    pub(crate) fn cancel(self) -> Result<Self, Refusal> {
        if self.stage == Stage::Destroyed { Err(Refusal::State) } else { Ok(Self { wait: None, ..self }) }
    }

    /// Notes that it may be known to somebody. A day that was set stays.
    pub(crate) fn report(self) -> Result<Self, Refusal> {
        if self.stage == Stage::Destroyed { Err(Refusal::State) } else { Ok(Self { compromised: true, ..self }) }
    }

    /// Whether it may be destroyed now. One that is destroyed already may be, again: a crash came in between.
    pub(crate) fn may_end(&self, now: i64, needs: &Needs) -> Result<(), Refusal> {
        match (self.stage, self.wait, needs.busy) {
            (Stage::Destroyed, ..) => Ok(()),
            (Stage::Active, ..) => Err(Refusal::Active),
            (Stage::Older, None, _) => Err(Refusal::NoDue),
            (Stage::Older, Some(wait), _) if now < wait.due => Err(Refusal::NotDue),
            (Stage::Older, _, Some(busy)) => Err(busy),
            (Stage::Older, ..) if needs.records > 0 => Err(Refusal::InUse),
            (Stage::Older, ..) if needs.backups_until.is_some_and(|until| until > now) => Err(Refusal::BackupNeeds),
            (Stage::Older, ..) => Ok(()),
        }
    }
}
