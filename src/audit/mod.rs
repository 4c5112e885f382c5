//! MEMORY of acts: one append-only log per geo, each line chained to the one before by its hash.
//!
//! Called by the conductors and `app`, before an act on a tenant or a key takes effect and after it ends. Promises that
//! an entry is on disk, and the log's head with the key service, before [`AuditLog::append`] answers; and that any edit,
//! deletion, insertion, exchange or truncation of what was answered for is found by [`AuditLog::verify`], which names
//! the first bad entry. Must not know names, subjects or keys: entries hold opaque ids, versions and counts only. (What
//! people said when they acted lies in the directory, sealed under their tenant's keys; entries have its salted hash.)
//!
//! The line format is in `entry`, the files in `log`. Source: docs/operations.md, "The audit log".

mod entry;
mod event;
mod log;
#[cfg(test)]
mod tests;
pub mod tree;
mod verify;
mod witness;

pub use entry::{Actor, BadActor, Entry, Hash};
pub use event::{Act, Event};
pub use log::{AuditError, AuditLog, Receipt};
pub use verify::{BadIndex, Fault, Summary, VerifyError, verify};
pub use witness::{WitnessError, WitnessFile};

/// Where the chain stands: how many entries, and the hash of the last. With `entries` zero, the geo's first hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Entries so far; the next one has this index.
    pub entries: u64,
    /// Hash of the last one.
    pub hash: Hash,
}

impl Head {
    /// The head of a geo's log before its first entry: logs of two geos share no hash.
    pub fn first(geo: &str) -> Self {
        Self { entries: 0, hash: Hash::of(&[b"geoseal/audit/v1/first\0", geo.as_bytes()]) }
    }
}

/// Keeps the newest head where whoever can write to the log cannot: answered by the key service.
pub trait HeadStore: Send + Sync + 'static {
    /// The newest head that was saved; `None` when there never was a log.
    fn newest(&self) -> Result<Option<Head>, HeadError>;

    /// Saves a newer head; durable on return.
    fn save(&self, head: &Head) -> Result<(), HeadError>;
}

/// The head's keeper failed.
#[derive(Debug, thiserror::Error)]
#[error("the key service could not keep the audit log's head")]
pub struct HeadError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
