//! Whether clients are about: requests under way and requests that ended. The face counts them; long work looks, and
//! makes room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests of this process. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// The counts of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that have ended since the process began.
    pub ended: u64,
}

impl Traffic {
    /// A request begins.
    pub fn begin(&self) {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that began is over.
    pub fn end(&self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts as they are now.
    pub fn seen(&self) -> Seen {
        let ended = self.0.ended.load(Ordering::Relaxed);
        Seen { in_flight: self.0.begun.load(Ordering::Relaxed).saturating_sub(ended), ended }
    }
}
