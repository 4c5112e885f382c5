//! How fast long work may go: so many records a second, and never so fast that it keeps others from their turn.

use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::Instant;

/// A bound on the speed of one piece of work.
#[derive(Debug)]
pub struct Pace {
    records_per_s: Option<NonZeroU32>,
    /// Before this moment nothing further is begun.
    next: Instant,
}

impl Pace {
    /// At most so many records a second; `None`: as fast as it goes.
    pub fn new(records_per_s: Option<NonZeroU32>) -> Self {
        Self { records_per_s, next: Instant::now() }
    }

    /// How many records may share a step, so that a slow pace is slow evenly: at most a second's worth of `limit`.
    pub(super) fn step(&self, limit: usize) -> usize {
        self.records_per_s.map_or(limit, |rate| limit.min(rate.get() as usize))
    }

    /// Waits until work on `records` more may go on.
    pub(super) async fn spent(&mut self, records: u64) {
        let Some(rate) = self.records_per_s else { return tokio::task::yield_now().await };
        let took = Duration::from_secs_f64(records as f64 / f64::from(rate.get()));
        self.next = self.next.max(Instant::now()) + took;
        tokio::time::sleep_until(self.next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_takes_the_time_its_pace_says() {
        let begun = Instant::now();
        let mut pace = Pace::new(NonZeroU32::new(100));
        assert_eq!((pace.step(256), Pace::new(None).step(256)), (100, 256));
        for _ in 0..5 {
            pace.spent(100).await;
        }
        assert_eq!(begun.elapsed().as_millis().div_ceil(100), 50);
        let mut free = Pace::new(None);
        let begun = Instant::now();
        free.spent(1_000_000).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
