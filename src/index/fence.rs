//! Keeps a runner that was superseded from writing: long work carries the number it was given, and the region's writer
//! asks, just before each of its commits, whether that is still the newest one given out.
//!
//! Made by the directory's job board, which raises the number when another runner takes the work over; checked on the
//! writer's thread, so there is no moment between the look and the commit.

use super::error::IndexError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The newest number that was given to a runner of one piece of work.
#[derive(Clone, Debug, Default)]
pub struct FenceLine(Arc<AtomicU64>);

/// Permission to write for one piece of work, void once a higher number was given out.
#[derive(Clone, Debug)]
pub struct Fence {
    line: FenceLine,
    token: u64,
}

impl FenceLine {
    /// Gives `token` out: every lower one is void from here on.
    pub fn raise(&self, token: u64) -> Fence {
        self.0.fetch_max(token, Ordering::AcqRel);
        Fence { line: self.clone(), token }
    }
}

impl Fence {
    /// The number.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether the number is the newest one given out.
    pub fn holds(&self) -> bool {
        self.line.0.load(Ordering::Acquire) == self.token
    }

    pub(crate) fn check(&self) -> Result<(), IndexError> {
        if self.holds() { Ok(()) } else { Err(IndexError::Fenced) }
    }
}
