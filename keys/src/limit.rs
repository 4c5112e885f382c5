//! How often the roots of one tenant may be asked for: it protects the provider from a holder that runs wild, and tells
//! of one that collects keys. In health a holder asks once for each lease.
//!
//! A bucket for each tenant, full at first: a minute's worth, which fills up evenly. Pure but for the lock.

use crate::context::Id;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

/// Requests for one tenant's roots in a minute, if nothing else is said: ten a second.
pub const UNWRAPS_PER_MINUTE: u32 = 600;
/// Tenants remembered before full buckets are dropped, which are as good as none.
const TENANTS_MAX: usize = 16_384;

pub(crate) struct Limit {
    per_minute: AtomicU32,
    tenants: Mutex<HashMap<Id, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// Sixtieths of a request.
    left: u64,
    at: i64,
}

impl Bucket {
    fn filled(self, per_minute: u64, now: i64) -> Self {
        let seconds = u64::try_from(now.saturating_sub(self.at)).unwrap_or(0).min(60);
        Self { left: (self.left + seconds * per_minute).min(60 * per_minute), at: now.max(self.at) }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self { per_minute: AtomicU32::new(UNWRAPS_PER_MINUTE), tenants: Mutex::default() }
    }
}

impl Limit {
    pub(crate) fn set(&self, per_minute: u32) {
        self.per_minute.store(per_minute.max(1), Ordering::Relaxed);
    }

    /// Whether one more request for `tenant` is within the limit; then it counts.
    pub(crate) fn admits(&self, tenant: &Id, now: i64) -> bool {
        let per_minute = u64::from(self.per_minute.load(Ordering::Relaxed));
        let full = Bucket { left: 60 * per_minute, at: now };
        let mut tenants = self.tenants.lock();
        if tenants.len() >= TENANTS_MAX {
            tenants.retain(|_, bucket| bucket.filled(per_minute, now).left < full.left);
        }
        let bucket = tenants.entry(*tenant).or_insert(full);
        *bucket = bucket.filled(per_minute, now);
        let admitted = bucket.left >= 60;
        bucket.left -= if admitted { 60 } else { 0 };
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Id = [1; 16];
    const B: Id = [2; 16];

    #[test]
    fn a_minutes_worth_at_once_and_then_as_it_fills() {
        let limit = Limit::default();
        limit.set(30);
        let taken = |tenant: &Id, now| (0..100).take_while(|_| limit.admits(tenant, now)).count();
        assert_eq!(taken(&A, 1000), 30);
        assert_eq!(taken(&B, 1000), 30, "each tenant has its own");
        assert_eq!(taken(&A, 1001), 0, "half of one");
        assert_eq!(taken(&A, 1002), 1);
        assert_eq!(taken(&A, 1012), 5);
        assert_eq!(taken(&A, 9000), 30, "never more than a minute's worth");
        assert_eq!(taken(&A, 8000), 0, "a clock that goes back gives nothing");
    }

    #[test]
    fn memory_is_bounded_by_those_who_are_near_their_limit() {
        let limit = Limit::default();
        for number in 0..40_000u64 {
            let mut tenant = [0; 16];
            tenant[..8].copy_from_slice(&number.to_be_bytes());
            assert!(limit.admits(&tenant, number as i64));
        }
        assert!(limit.tenants.lock().len() <= TENANTS_MAX);
    }
}
