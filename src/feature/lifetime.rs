//! Lifetimes that run only while their feature is on, and only behind a watermark.
//!
//! * The enabled clock of a feature counts the proven time for which it was on, and its tenant in service. It stands still
//!   otherwise, and never goes back.
//! * A watermark says of which hours a job has consumed the interactions that had been written by some moment, and what
//!   the enabled clock showed when the job said so. An object's lifetime begins at the first watermark that covers it.
//!   When something was written is a reading of the enabled clock, too: walls can be turned back.
//! * Windows of watermarks meet: together they are one span of hours without a gap. The first begins where it likes; what
//!   lies before it is covered by none.
//! * An object is due when the enabled clock shows as much more as its lifetime.
//!
//! So nothing is due without a watermark, and disabling for any time moves every due time by that time.

use crate::model::clock::{Reading, Stamp};
use crate::model::time::Millis;

/// Days that interactions are kept when nothing else is said.
pub const TTL_DAYS_STANDARD: u16 = 30;
/// Most days that they can be kept.
pub const TTL_DAYS_MAX: u16 = 365;
/// Watermarks of one bucket that are kept; beyond it neighbours are merged, which makes what they cover live longer.
pub const WATERMARKS_MAX: usize = 1024;

/// A lifetime in days, 1 to 365.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Ttl(#[n(0)] u16);

impl Default for Ttl {
    fn default() -> Self {
        Self(TTL_DAYS_STANDARD)
    }
}

impl Ttl {
    /// `None` outside 1 to 365.
    pub fn of_days(days: u16) -> Option<Self> {
        (1..=TTL_DAYS_MAX).contains(&days).then_some(Self(days))
    }

    /// Days.
    pub fn days(self) -> u16 {
        self.0
    }

    /// Milliseconds.
    pub fn millis(self) -> i64 {
        i64::from(self.0) * 86_400_000
    }
}

/// How long a feature has been on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct EnabledClock {
    /// Milliseconds of the times before the present one.
    #[n(0)]
    ran_ms: i64,
    /// Since when it runs; `None` while it stands still.
    #[n(1)]
    running: Option<Stamp>,
}

impl EnabledClock {
    /// What it shows, in milliseconds.
    pub fn at(&self, now: &Reading) -> i64 {
        let since = self.running.map_or(0, |since| now.lo_for(&since).0.saturating_sub(since.at.0).max(0));
        self.ran_ms.saturating_add(since)
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn start(&mut self, now: &Reading) {
        self.running.get_or_insert(now.stamp());
    }

    pub(super) fn stop(&mut self, now: &Reading) {
        *self = Self { ran_ms: self.at(now), running: None };
    }
}

/// That a job consumed what there was of the hours from `from` until `until` when it looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Watermark {
    /// End of the newest hour, exclusive.
    #[n(0)]
    pub until: Millis,
    /// What was written before the enabled clock showed this was seen.
    #[n(1)]
    pub seen_ms: i64,
    /// What the enabled clock showed when it was committed.
    #[n(2)]
    pub enabled_ms: i64,
    /// Start of the oldest hour. `None`: from the beginning, as it was said before windows were.
    #[n(3)]
    pub from: Option<Millis>,
    /// When the job looked, as it said. `None`: not on record. Two marks of one look are the same, though their `seen_ms`,
    /// which each commit works out by two clocks anew, may differ by a tick.
    #[n(4)]
    pub looked: Option<Millis>,
}

impl Watermark {
    fn begins(&self) -> Millis {
        self.from.unwrap_or(Millis(i64::MIN))
    }

    fn covers(&self, hour: Millis, written_ms: i64) -> bool {
        self.begins() <= hour && hour < self.until && written_ms < self.seen_ms
    }

    fn reaches(&self, other: &Self) -> bool {
        self.spans(other) && self.seen_ms >= other.seen_ms
    }

    /// Whether `other` says of these hours, or some of them, what this one said of them by the same look.
    fn repeated_by(&self, other: &Self) -> bool {
        self.spans(other) && self.looked.is_some() && self.looked == other.looked
    }

    fn spans(&self, other: &Self) -> bool {
        self.begins() <= other.begins() && self.until >= other.until
    }

    /// One for both, which covers nothing that neither covers, and begins no earlier; `None` when their hours do not meet.
    fn with(&self, later: &Self) -> Option<Self> {
        if later.reaches(self) {
            return Some(*later);
        }
        let meet = self.begins() <= later.until && later.begins() <= self.until;
        meet.then(|| Self {
            from: self.from.and_then(|from| later.from.map(|other| from.min(other))),
            until: self.until.max(later.until),
            seen_ms: self.seen_ms.min(later.seen_ms),
            enabled_ms: self.enabled_ms.max(later.enabled_ms),
            looked: None,
        })
    }
}

/// Why a watermark is not committed: hours between it and those before it would never be consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// It begins after where the watermark stands.
    #[error("the watermark stands at {0}: the next window begins there, or before it")]
    Ahead(Millis),
    /// It ends before where the first one began.
    #[error("the first window began at {0}: one before it ends there, or later")]
    Behind(Millis),
}

/// The watermarks of one bucket, the oldest first. None is reached by an older one; their hours are one span.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Watermarks {
    /// Counts the changes.
    #[n(0)]
    pub revision: u64,
    #[n(1)]
    marks: Vec<Watermark>,
}

impl Watermarks {
    /// Commits one; `false` when an older one reaches as far. One of hours that were consumed before says that they were
    /// consumed again: it covers what had come late, and leaves where the watermark stands.
    pub fn commit(&mut self, mark: Watermark) -> Result<bool, Gap> {
        self.meets(mark.from, mark.until)?;
        if self.marks.iter().any(|had| had.reaches(&mark) || had.repeated_by(&mark)) {
            return Ok(false);
        }
        self.revision += 1;
        self.marks.push(mark);
        if self.marks.len() > WATERMARKS_MAX {
            self.thin();
        }
        Ok(true)
    }

    /// Whether a window meets those before it; the first one does.
    pub fn meets(&self, from: Option<Millis>, until: Millis) -> Result<(), Gap> {
        let Some(stands) = self.stands() else { return Ok(()) };
        if from.is_some_and(|from| from > stands) {
            return Err(Gap::Ahead(stands));
        }
        match self.marks.iter().map(Watermark::begins).min() {
            Some(begins) if until < begins => Err(Gap::Behind(begins)),
            _ => Ok(()),
        }
    }

    /// Makes one of two neighbours whose hours meet: what the first covers begins when the next was committed, a short time
    /// later. The oldest goes that way when everything that both cover is due, however long it is kept. What came late to one
    /// of the two, and was seen, may have to wait for its hours to be consumed again.
    fn thin(&mut self) {
        let shown = |place: usize| self.marks[place].enabled_ms;
        let last = self.marks.len() - 1;
        let one = |place: usize| self.marks[place].with(&self.marks[place + 1]);
        let oldest_matters = shown(last).saturating_sub(shown(1)) < Ttl(TTL_DAYS_MAX).millis();
        let least = (1..last)
            .filter(|place| oldest_matters && one(*place).is_some())
            .min_by_key(|place| shown(place + 1).saturating_sub(shown(place - 1)));
        let least = least.or_else(|| (0..last).find(|place| one(*place).is_some())).unwrap_or(0);
        if let Some(one) = one(least) {
            self.marks[least + 1] = one;
        }
        self.marks.remove(least);
    }

    /// Where it stands: the end of the newest hour that was consumed.
    pub fn stands(&self) -> Option<Millis> {
        self.marks.iter().map(|mark| mark.until).max()
    }

    /// What the enabled clock showed when an object of `hour`, written when it showed `written_ms`, was consumed; `None`: it
    /// was not.
    pub fn consumed_at(&self, hour: Millis, written_ms: i64) -> Option<i64> {
        self.marks.iter().find(|mark| mark.covers(hour, written_ms)).map(|mark| mark.enabled_ms)
    }

    /// How long the enabled clock has to go on until an object is due: not positive when it is. What is not consumed now
    /// cannot be due before a whole lifetime.
    pub fn left_ms(&self, hour: Millis, written_ms: i64, ttl: Ttl, enabled_ms: i64) -> i64 {
        let from = self.consumed_at(hour, written_ms).unwrap_or(enabled_ms);
        from.saturating_add(ttl.millis()).saturating_sub(enabled_ms)
    }
}

/// The hour that an object's name places it in, by `dt=YYYY-MM-DD` and `hr=HH` among its parts; else when it was written.
pub fn hour_of(name: &str, written: Millis) -> Millis {
    let (mut day, mut hour) = (None, 0);
    for part in name.split('/') {
        if let Some(date) = part.strip_prefix("dt=").and_then(|date| format!("{date}T00:00:00Z").parse().ok()) {
            day = Some(date);
        } else if let Some(text) = part.strip_prefix("hr=") {
            hour = text.parse().ok().filter(|hour| (0..24).contains(hour)).unwrap_or(0);
        }
    }
    day.map_or(written, |day: Millis| day.plus_seconds(hour * 3600))
}
