//! The compliance clock as a pure machine: samples of the machine's clocks in, readings out.
//!
//! Invariants:
//! - `cc_lo` never decreases.
//! - Within a boot it moves with the boot clock alone; no jump of the wall moves it.
//! - Off-time counts only between two moments at which the wall was trusted, the *anchor* and now: real time between
//!   them is the difference of their walls, so what `cc_lo` missed of it has provably passed. An untrusted wall, at
//!   either end, proves nothing: the off-time stays pending.
//! - Nobody knows where between anchor and now the missed time lay, so a credit moves every deadline stamped in a *leg*
//!   after the anchor's. A restart, a loss of trust and a pause each begin a new leg.
//!
//! The rule asks for `wall - saved_wall` where we take `wall - anchor.wall`: they are the same on a machine whose clock
//! is disciplined, and the anchor also withstands somebody who turns the wall back before he switches off.

use super::{ClockError, Reading, Status};
use crate::model::time::Millis;
use std::sync::Arc;

/// What the machine's clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Wall clock.
    pub wall: Millis,
    /// Milliseconds since boot, suspended time included.
    pub boottime_ms: i64,
    /// Random for each boot.
    pub boot_id: [u8; 16],
    /// Whether the kernel's clock is disciplined now.
    pub trust: Trust,
}

/// Whether somebody vouches for the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody does.
    Uncorroborated,
    /// The kernel's discipline, an authenticated peer, or two principals do.
    Corroborated,
}

/// How the wall contradicts the proven time. Either way no deadline moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// Behind `cc_lo` by so many milliseconds: turned back.
    Behind(i64),
    /// Ahead by so many milliseconds while running: turned forward, or the virtual machine was paused.
    Ahead(i64),
}

/// Off-time that was credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Credit {
    /// Moves the deadlines that were stamped, without knowing of it, in legs after this one.
    pub after_leg: u32,
    /// By so many milliseconds.
    pub amount_ms: i64,
}

/// A moment at which the wall was trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Anchor {
    wall_ms: i64,
    cc_lo_ms: i64,
    leg: u32,
}

/// The state that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    counter: u64,
    leg: u32,
    cc_lo_ms: i64,
    wall_ms: i64,
    boottime_ms: i64,
    boot_id: String,
    pending_since_ms: Option<i64>,
    accepted_ahead_ms: i64,
    anchor: Option<Anchor>,
    credits: Vec<Credit>,
}

/// The clock. Feed it a [`Sample`] before each reading.
#[derive(Clone, Debug)]
pub struct ComplianceClock {
    counter: u64,
    leg: u32,
    cc_lo: i64,
    last: Sample,
    pending_since: Option<i64>,
    accepted_ahead: i64,
    anchor: Option<Anchor>,
    credits: Arc<[Credit]>,
}

impl ComplianceClock {
    /// How far, in milliseconds, the wall may lie ahead, or a peer beside it, before it is suspect.
    pub const TOLERANCE_MS: i64 = 5 * 60 * 1000;
    /// How far, in milliseconds, the wall may lie behind: what stepping by NTP does in health.
    pub const BEHIND_MS: i64 = 10 * 1000;
    /// How long, in milliseconds, off-time may be pending before it is an alarm.
    pub const PENDING_ALARM_MS: i64 = 60 * 60 * 1000;
    /// How much time, in milliseconds, may be missed in one go before it was a pause and not a slewed clock.
    pub const PAUSE_MS: i64 = 100;
    /// Most credits remembered one by one.
    pub const CREDITS_MAX: usize = 256;

    /// The first start ever: set once from the wall, never again.
    pub fn begin(sample: Sample) -> Self {
        let mut clock = Self {
            counter: 0,
            leg: 1,
            cc_lo: sample.wall.0,
            last: sample,
            pending_since: None,
            accepted_ahead: 0,
            anchor: None,
            credits: Arc::from([]),
        };
        clock.observe(sample);
        clock
    }

    /// Any later start. In the boot that saved it, the clock simply goes on; after a reboot the off-time is pending
    /// unless both ends are corroborated.
    pub fn resume(saved: Saved, sample: Sample) -> Self {
        let same_boot = saved.boot_id == hex::encode(sample.boot_id) && sample.boottime_ms >= saved.boottime_ms;
        let mut clock = Self {
            counter: saved.counter,
            leg: saved.leg,
            cc_lo: saved.cc_lo_ms,
            last: Sample { boottime_ms: saved.boottime_ms, ..sample },
            pending_since: saved.pending_since_ms,
            accepted_ahead: saved.accepted_ahead_ms,
            anchor: saved.anchor,
            credits: saved.credits.into(),
        };
        if !same_boot {
            clock.begin_leg();
            clock.last = sample;
            clock.pending_since = clock.pending_since.or(Some(clock.cc_lo));
        }
        clock.observe(sample);
        clock
    }

    /// Moves on by the boot clock, and settles what is pending when the wall is corroborated.
    pub fn observe(&mut self, sample: Sample) {
        let elapsed = sample.boottime_ms.saturating_sub(self.last.boottime_ms).max(0);
        self.cc_lo = self.cc_lo.saturating_add(elapsed);
        self.last = Sample { boottime_ms: sample.boottime_ms.max(self.last.boottime_ms), ..sample };
        match sample.trust {
            Trust::Corroborated => self.trusted(sample.wall.0, sample.wall.0),
            Trust::Uncorroborated if self.anchor.is_some_and(|anchor| anchor.leg == self.leg) => self.begin_leg(),
            Trust::Uncorroborated => {}
        }
    }

    /// See [`super::Clock::corroborate`].
    pub fn corroborate(&mut self, peer: Millis) -> bool {
        let wall = self.last.wall.0;
        let agrees = wall.abs_diff(peer.0) <= Self::TOLERANCE_MS.unsigned_abs();
        if agrees {
            self.trusted(wall.min(peer.0), wall.max(peer.0));
            self.last.trust = Trust::Corroborated;
        }
        agrees
    }

    /// See [`super::Clock::attest`].
    pub fn attest(&mut self, utc: Millis) -> Result<i64, ClockError> {
        if utc > self.last.wall {
            return Err(ClockError::BeyondWall);
        }
        if utc.0 < self.cc_lo {
            return Err(ClockError::BehindProven);
        }
        let before = self.cc_lo;
        self.trusted(utc.0, utc.0);
        self.accepted_ahead = self.last.wall.0.saturating_sub(self.cc_lo);
        Ok(self.cc_lo - before)
    }

    /// The reading of the last sample.
    pub fn reading(&self) -> Reading {
        Reading {
            wall: self.last.wall,
            cc_lo: Millis(self.cc_lo),
            cc_hi: Millis(self.cc_lo.max(self.last.wall.0)),
            leg: self.leg,
            credits: self.credits.clone(),
        }
    }

    /// The status of the last sample.
    pub fn status(&self) -> Status {
        let ahead = self.last.wall.0.saturating_sub(self.cc_lo);
        let waited = self.pending_since.map(|since| self.cc_lo.saturating_sub(since));
        Status {
            reading: self.reading(),
            pending_ms: waited.map(|_| ahead.max(0)),
            overdue: waited.is_some_and(|ms| ms > Self::PENDING_ALARM_MS),
            suspect: self.suspect(ahead),
            corroborated: self.last.trust == Trust::Corroborated,
            counter: self.counter,
        }
    }

    /// The state to save, with the next counter.
    pub fn save(&mut self) -> Saved {
        self.counter += 1;
        Saved {
            counter: self.counter,
            leg: self.leg,
            cc_lo_ms: self.cc_lo,
            wall_ms: self.last.wall.0,
            boottime_ms: self.last.boottime_ms,
            boot_id: hex::encode(self.last.boot_id),
            pending_since_ms: self.pending_since,
            accepted_ahead_ms: self.accepted_ahead,
            anchor: self.anchor,
            credits: self.credits.to_vec(),
        }
    }

    /// The wall is trusted to lie between `low` and `high`: settle what is pending, and anchor here.
    fn trusted(&mut self, low: i64, high: i64) {
        let missed = self.missed(low);
        if self.pending_since.take().is_some() {
            self.credit(missed);
            self.accepted_ahead = low.saturating_sub(self.cc_lo);
        } else if missed > Self::PAUSE_MS {
            self.begin_leg();
        }
        self.anchor = Some(Anchor { wall_ms: high, cc_lo_ms: self.cc_lo, leg: self.leg });
    }

    /// Real time since the anchor that `cc_lo` has not counted, in milliseconds.
    fn missed(&self, wall: i64) -> i64 {
        let Some(anchor) = self.anchor else { return 0 };
        let real = wall.saturating_sub(anchor.wall_ms);
        real.saturating_sub(self.cc_lo.saturating_sub(anchor.cc_lo_ms)).max(0)
    }

    /// Counts `amount_ms`, and moves the deadlines that must not profit from it. Past the bound the two oldest credits
    /// become one that moves the deadlines of both: late, never early.
    fn credit(&mut self, amount_ms: i64) {
        let (Some(anchor), 1..) = (self.anchor, amount_ms) else { return };
        self.cc_lo = self.cc_lo.saturating_add(amount_ms);
        let mut credits = self.credits.to_vec();
        credits.push(Credit { after_leg: anchor.leg, amount_ms });
        if credits.len() > Self::CREDITS_MAX {
            let oldest = credits.remove(0);
            credits[0].after_leg = credits[0].after_leg.min(oldest.after_leg);
            credits[0].amount_ms = credits[0].amount_ms.saturating_add(oldest.amount_ms);
        }
        self.credits = credits.into();
    }

    fn begin_leg(&mut self) {
        self.leg = self.leg.saturating_add(1);
    }

    fn suspect(&self, ahead: i64) -> Option<Suspect> {
        let allowed_ahead = self.accepted_ahead.max(0).saturating_add(Self::TOLERANCE_MS);
        match ahead {
            _ if ahead < -Self::BEHIND_MS => Some(Suspect::Behind(-ahead)),
            _ if ahead > allowed_ahead && self.pending_since.is_none() => Some(Suspect::Ahead(ahead)),
            _ => None,
        }
    }
}
