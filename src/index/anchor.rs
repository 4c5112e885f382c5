//! The region's anchor: how many commits there were, and a digest chained over all of them.
//!
//! Kept in the engine, advanced by every commit, and remembered by the key service every now and then. An engine that
//! lost commits (a restored backup, a journal damaged in its middle, an older disk put back) opens behind what the key
//! service remembers, and is refused until an operator says why. Rolling both back together is not noticed.

use crate::model::atlas::Region;
use ring::digest::{Context, SHA256, digest};

pub use super::rows::v1::AnchorRow as Anchor;

/// Remembers the newest anchor of each region, outside the region's engine. Answered by the key service.
pub trait AnchorStore: Send + Sync {
    /// The newest anchor that was saved; none: never.
    fn newest(&self, region: &'static Region) -> Result<Option<Anchor>, AnchorStoreError>;

    /// Remembers `anchor`, durably.
    fn save(&self, region: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError>;

    /// Remembers an anchor that lies behind the remembered one, because an operator says so. A store whose `save` never
    /// refuses need not tell the two apart.
    fn put_back(&self, region: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError> {
        self.save(region, anchor)
    }
}

/// The anchor store failed.
#[derive(Debug, thiserror::Error)]
#[error("the anchor could not be read or saved")]
pub struct AnchorStoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Most commits that the engine's anchor may be ahead of the saved one: then no write is taken until it is saved.
pub const ANCHOR_COMMITS_MAX: u64 = 1000;
/// So many commits ahead it is to be saved: well before writes would have to wait for it.
pub const ANCHOR_COMMITS_DUE: u64 = ANCHOR_COMMITS_MAX / 2;
/// Longest time between two savings of an anchor that moved, in milliseconds.
pub const ANCHOR_INTERVAL_MS_MAX: i64 = 10_000;

/// A value and its SHA-256, which its producer computes beside its own work so that the writer need not.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) bytes: bytes::Bytes,
    digest: [u8; 32],
}

impl Value {
    pub(crate) fn new(bytes: bytes::Bytes) -> Self {
        let digest = digest(&SHA256, &bytes).as_ref().try_into().expect("32 bytes");
        Self { bytes, digest }
    }
}

/// The anchor after one more commit:
/// `digest' = SHA-256("geoseal-anchor-v1" | digest | u64 counter' | for each row: u16 len | row_key | SHA-256(value))`,
/// rows in order, a deleted one with 32 zero bytes.
pub(crate) fn next<'a>(anchor: &Anchor, writes: impl Iterator<Item = (&'a bytes::Bytes, &'a Option<Value>)>) -> Anchor {
    let counter = anchor.counter + 1;
    let mut chain = Context::new(&SHA256);
    chain.update(b"geoseal-anchor-v1");
    chain.update(&anchor.digest);
    chain.update(&counter.to_be_bytes());
    for (row_key, value) in writes {
        chain.update(&u16::try_from(row_key.len()).expect("row keys are short").to_be_bytes());
        chain.update(row_key);
        chain.update(value.as_ref().map_or(&[0; 32], |value| &value.digest));
    }
    Anchor { counter, digest: chain.finish().as_ref().try_into().expect("32 bytes") }
}

/// What an engine's anchor says beside the one that was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnchorFault {
    /// Commits that were acknowledged are missing.
    #[error("the index is at commit {engine}, but commit {saved} was acknowledged: it was rolled back or lost its end")]
    Behind {
        /// The engine's counter.
        engine: u64,
        /// The remembered counter.
        saved: u64,
    },
    /// The same number of commits, but other ones.
    #[error("the index is at commit {counter}, but its history is not the one that was acknowledged")]
    Forked {
        /// Both counters.
        counter: u64,
    },
}

impl AnchorFault {
    /// How many acknowledged commits are missing; zero when others stand in their place.
    pub fn behind(&self) -> u64 {
        match self {
            Self::Behind { engine, saved } => saved - engine,
            Self::Forked { .. } => 0,
        }
    }
}

/// Compares the engine's anchor with the remembered one.
pub(crate) fn compare(engine: &Anchor, saved: Option<&Anchor>) -> Result<(), AnchorFault> {
    match saved {
        Some(saved) if engine.counter < saved.counter => {
            Err(AnchorFault::Behind { engine: engine.counter, saved: saved.counter })
        }
        Some(saved) if engine.counter == saved.counter && engine.digest != saved.digest => {
            Err(AnchorFault::Forked { counter: engine.counter })
        }
        _ => Ok(()),
    }
}

impl Anchor {
    /// Before the first commit.
    pub const START: Self = Self { counter: 0, digest: [0; 32] };
}
