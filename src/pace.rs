//! How fast long work may go: so many records a second at most, and, while clients are about, only a share of the time.
//! Rotations and sweeps go by it; no request does.
//!
//! The share is kept by resting: a step that took `t` is followed by a rest of `REST * t`. `t` is what passed, waiting
//! included, so on a busy machine the steps take longer and so do the rests: the work gives way by itself, and yet every
//! rest ends, so it always gets on. Steps are small then, so that nobody waits long behind one, but not so small that
//! most of their time goes into making them durable. With no client about, there are no rests, and the steps are large.

use crate::model::traffic::Traffic;
use parking_lot::Mutex;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// While clients are about, the work rests so many times as long as it worked: it has a fifth of the time.
const REST: u32 = 4;
/// The longest rest: a single slow step (a stalled disk) must not put the work to sleep.
const REST_MAX: Duration = Duration::from_secs(10);
/// For how long after the last sign of a client they count as being about.
const QUIET: Duration = Duration::from_millis(250);
/// The part of a full step that one is while clients are about.
const STEP_BUSY: usize = 4;

/// Rests while clients are about. Cheap to clone; clones share what they know.
#[derive(Clone, Debug)]
pub struct Courtesy {
    traffic: Traffic,
    known: Arc<Mutex<Known>>,
    /// Held while one rests: of many that work side by side, one rests after the other, so that all of them together
    /// keep to the share.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Known {
    ended: u64,
    /// When a client was last seen.
    seen: Option<Instant>,
    /// All rests so far.
    rested: Duration,
}

impl Courtesy {
    /// Towards the clients of `traffic`.
    pub fn new(traffic: Traffic) -> Self {
        let known = Known { ended: traffic.seen().ended, seen: None, rested: Duration::ZERO };
        Self { traffic, known: Arc::new(Mutex::new(known)), turn: Arc::default() }
    }

    /// Whether clients are about.
    fn is_due(&self) -> bool {
        let (now, seen) = (Instant::now(), self.traffic.seen());
        let mut known = self.known.lock();
        if seen.in_flight > 0 || seen.ended != known.ended {
            (known.ended, known.seen) = (seen.ended, Some(now));
        }
        known.seen.is_some_and(|seen| now - seen < QUIET)
    }

    /// Rests after work that took so long, if clients are about.
    pub async fn after(&self, took: Duration) {
        self.rest(took * REST).await;
    }

    async fn rest(&self, owed: Duration) {
        if !self.is_due() || owed.is_zero() {
            return tokio::task::yield_now().await;
        }
        let rest = owed.min(REST_MAX);
        let _turn = self.turn.lock().await;
        tokio::time::sleep(rest).await;
        self.known.lock().rested += rest;
    }

    fn rested(&self) -> Duration {
        self.known.lock().rested
    }
}

/// A bound on the speed of one piece of work.
#[derive(Debug)]
pub struct Pace {
    records_per_s: Option<NonZeroU32>,
    courtesy: Courtesy,
    /// Before this moment nothing further is begun.
    next: Instant,
    /// When the step under way began, and what had been rested by then.
    begun: (Instant, Duration),
}

impl Pace {
    /// At most so many records a second (`None`: as fast as it goes), and with room for the clients of `traffic`.
    pub fn new(records_per_s: Option<NonZeroU32>, traffic: &Traffic) -> Self {
        let (now, courtesy) = (Instant::now(), Courtesy::new(traffic.clone()));
        Self { records_per_s, courtesy, next: now, begun: (now, Duration::ZERO) }
    }

    /// As fast as it goes, whoever is about: for work that somebody waits for. Others get their turn between its steps.
    pub fn free() -> Self {
        Self::new(None, &Traffic::default())
    }

    /// How many records may share a step: at most `full`, at most a second's worth, so that a slow pace is slow evenly,
    /// and few while clients are about.
    pub fn step(&self, full: usize) -> usize {
        let limit = self.whole_step(full);
        if self.courtesy.is_due() { limit.min((full / STEP_BUSY).max(1)) } else { limit }
    }

    /// The same for work that no client waits behind, and of which a step costs much, whatever it does: the key store's.
    pub fn whole_step(&self, limit: usize) -> usize {
        self.records_per_s.map_or(limit, |rate| limit.min(rate.get() as usize))
    }

    /// For work inside a step that is long by itself; what it rests is not rested again.
    pub fn courtesy(&self) -> Courtesy {
        self.courtesy.clone()
    }

    /// Waits until work may go on, after a step of so many records.
    pub async fn spent(&mut self, records: u64) {
        let (begun, rested) = self.begun;
        let inside = self.courtesy.rested() - rested;
        let took = begun.elapsed().saturating_sub(inside);
        self.courtesy.rest((took * REST).saturating_sub(inside)).await;
        if let Some(rate) = self.records_per_s {
            let share = Duration::from_secs_f64(records as f64 / f64::from(rate.get()));
            self.next = self.next.max(begun) + share;
            tokio::time::sleep_until(self.next).await;
        }
        self.begun = (Instant::now(), self.courtesy.rested());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_takes_the_time_its_pace_says() {
        let (begun, traffic) = (Instant::now(), Traffic::default());
        let mut pace = Pace::new(NonZeroU32::new(100), &traffic);
        assert_eq!((pace.step(256), Pace::new(None, &traffic).step(256)), (100, 256));
        for _ in 0..5 {
            pace.spent(100).await;
        }
        assert_eq!(begun.elapsed().as_millis().div_ceil(100), 50);
        let mut free = Pace::new(None, &traffic);
        let begun = Instant::now();
        free.spent(1_000_000).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn while_clients_are_about_it_has_a_fifth_of_the_time() {
        let traffic = Traffic::default();
        let mut pace = Pace::new(None, &traffic);
        traffic.begin();
        let begun = Instant::now();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(3)).await;
            pace.spent(8).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_millis(10 * 3 * 5));
        // A step that took far too long ends in a bounded rest.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        pace.spent(26).await;
        assert_eq!((begun.elapsed(), pace.step(256), pace.step(16)), (REST_MAX, 64, 4));
        // The client has gone: after a moment it goes as fast as it can.
        traffic.end();
        pace.spent(1).await;
        tokio::time::sleep(QUIET).await;
        let begun = Instant::now();
        pace.spent(1).await;
        assert_eq!((begun.elapsed(), pace.step(256)), (Duration::ZERO, 256));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_rested_inside_a_step_is_not_rested_again() {
        let traffic = Traffic::default();
        traffic.begin();
        let mut pace = Pace::new(None, &traffic);
        let courtesy = pace.courtesy();
        let begun = Instant::now();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            courtesy.after(Duration::from_millis(10)).await;
        }
        pace.spent(1).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(3 * 50));
        // Side by side they keep to the share together.
        let begun = Instant::now();
        futures::future::join_all((0..4).map(|_| courtesy.after(Duration::from_millis(10)))).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(4 * 40));
    }
}
