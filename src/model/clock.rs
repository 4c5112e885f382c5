//! The compliance clock: what time it is, and how sure we are.
//!
//! Called by every room that stamps, compares or waits for a date; passed in as `Arc<dyn Clock>`. Nobody else may ask
//! the operating system (clippy.toml says so): `system` is the one place that does. Durations that decide nothing
//! (latency, timeouts) are measured with `tokio::time::Instant`.
//!
//! What it promises:
//! - `cc_lo` is time *proven* to have passed. It never decreases and never runs ahead of real elapsed time. Retention
//!   and key destruction wait for `cc_lo`, so their errors are late, never early.
//! - `cc_hi` is the latest plausible time. Grants, links and logins end by `cc_hi`, so their errors are early.
//! - A credit for time spent switched off moves every deadline stamped after it, or not provably before it, by as much:
//!   compare a deadline with [`Reading::lo_for`] its [`Stamp`], never with a bare `cc_lo`.
//!
//! Must not know tenants, keys or files other than its own state. Source: docs/retention.md, "The clock".

mod compliance;
mod machine;
mod simulated;
mod state;
mod system;
#[cfg(test)]
mod tests;

pub use compliance::{ComplianceClock, Credit, Sample, Saved, Suspect, Trust};
pub use machine::{MachineClock, Source};
pub use simulated::{SimulatedClock, SimulatedMachine};
pub use state::{Mac, StateFile};
pub use system::{RealClock, SystemSource};

use super::time::Millis;
use std::sync::Arc;

/// Where every room gets its time from.
pub trait Clock: Send + Sync + 'static {
    /// The time now, in its three senses.
    fn now(&self) -> Reading;

    /// How sure the clock is, for `clock show`, metrics and alarms.
    fn status(&self) -> Status;

    /// Two principals say that it is at least `utc` now; the caller has checked who they are. Gives the credit that
    /// followed, in milliseconds. Refused when `utc` lies ahead of the wall or behind `cc_lo`.
    fn attest(&self, utc: Millis) -> Result<i64, ClockError>;

    /// A time that came authenticated over TLS (a peer, the blob store) was read just now. Agreeing with the wall
    /// within five minutes it corroborates the wall; disagreeing it changes nothing. Tells which.
    fn corroborate(&self, peer: Millis) -> bool;

    /// Looks at the machine and saves the state durably. To be called every [`SAVE_EVERY_S`] seconds and at shutdown.
    fn save(&self) -> Result<(), ClockError>;
}

/// Seconds between two saves. A crash costs at most this much proven time, and only when the machine reboots as well.
pub const SAVE_EVERY_S: u64 = 60;

/// One look at the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Wall clock, UTC. For people and protocols only.
    pub wall: Millis,
    /// Time proven to have passed: destroy by this.
    pub cc_lo: Millis,
    /// Latest plausible time, the later of wall and `cc_lo`: end access by this.
    pub cc_hi: Millis,
    /// Which leg of the clock's life this is, counted from 1: a restart, a loss of trust and a pause begin a new one.
    pub leg: u32,
    credits: Arc<[Credit]>,
}

impl Reading {
    /// A reading of a clock that has no doubts, for tests and for one-off tools.
    pub fn at(time: Millis) -> Self {
        Self { wall: time, cc_lo: time, cc_hi: time, leg: 1, credits: Arc::from([]) }
    }

    /// What a record keeps of this moment, so that a deadline can be counted from it.
    pub fn stamp(&self) -> Stamp {
        Stamp { at: self.cc_lo, wall: self.wall, leg: self.leg, credited: self.credited(self.leg) }
    }

    /// `cc_lo` as it counts for deadlines stamped at `stamp`: less the credits given since for off-time that lay
    /// before the stamp. Pass this wherever a due time is compared, the key service included.
    pub fn lo_for(&self, stamp: &Stamp) -> Millis {
        let late = self.credited(stamp.leg).saturating_sub(stamp.credited).max(0);
        Millis(self.cc_lo.0.saturating_sub(late))
    }

    /// Whether `keep_s` seconds have provably passed since `stamp`.
    pub fn passed(&self, stamp: &Stamp, keep_s: i64) -> bool {
        self.lo_for(stamp) >= stamp.at.plus_seconds(keep_s)
    }

    /// Whether an access that ends at `until` has ended.
    pub fn ended(&self, until: Millis) -> bool {
        self.cc_hi >= until
    }

    fn credited(&self, leg: u32) -> i64 {
        let moved = self.credits.iter().filter(|credit| credit.after_leg < leg);
        moved.fold(0, |sum, credit| sum.saturating_add(credit.amount_ms))
    }
}

/// A moment that deadlines are counted from. Stored in records as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Stamp {
    /// `cc_lo` at that moment.
    #[n(0)]
    pub at: Millis,
    /// The wall at that moment: what people are shown.
    #[n(1)]
    pub wall: Millis,
    /// The leg it was made in.
    #[n(2)]
    pub leg: u32,
    /// Late credits, in milliseconds, that had been given by then for off-time before it.
    #[n(3)]
    pub credited: i64,
}

/// How sure the clock is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The reading that goes with it.
    pub reading: Reading,
    /// Off-time of a restart does not count yet: milliseconds that the wall claims above `cc_lo`.
    pub pending_ms: Option<i64>,
    /// Pending for more than an hour: an operator should attest.
    pub overdue: bool,
    /// The wall contradicts the proven time.
    pub suspect: Option<Suspect>,
    /// Whether the wall was corroborated at the last look.
    pub corroborated: bool,
    /// How often the state was saved: the key service refuses an older one.
    pub counter: u64,
}

/// Why the clock cannot do what was asked. An operator must act on every one.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// Attesting a time that even the wall has not reached.
    #[error("the attested time is ahead of this machine's clock: set the machine's clock first")]
    BeyondWall,
    /// Attesting a time that has provably passed.
    #[error("the attested time is behind the compliance clock, which never goes back")]
    BehindProven,
    /// The state file was edited, or belongs to another key.
    #[error("the clock's state file fails its authentication: restore it, it must not be made anew")]
    Tampered,
    /// There is no state although there should be.
    #[error("the clock's state file is missing: restore it, it must not be made anew while data is kept")]
    Missing,
    /// A clock is made once only.
    #[error("the clock's state file exists already")]
    Exists,
    /// Reading or writing the state file failed.
    #[error("the clock's state file: {0}")]
    File(#[from] std::io::Error),
}
