//! Why an act on the index failed. Variants say who must act; none holds a name, and the reason for a damaged row stays
//! inside this process.

use super::engine::EngineError;
use super::rows::BadRow;
use crate::seal::{OpenClass, OpenError};

/// Why an act on the index failed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The condition of a write did not hold. The caller's business.
    #[error("the condition did not hold")]
    Condition,
    /// The object that would be removed or replaced has to stay: a legal hold keeps it.
    #[error("the object has to stay")]
    Kept,
    /// The bucket was closed for deletion.
    #[error("the bucket is closed")]
    Closed,
    /// The bucket has objects, so it cannot be closed.
    #[error("the bucket is not empty")]
    NotEmpty,
    /// A write that wants an object of this name found none.
    #[error("no such object")]
    NoSuchObject,
    /// No such upload, or it was completed or aborted.
    #[error("no such upload")]
    NoSuchUpload,
    /// A part that an upload was to be completed with was replaced or is missing.
    #[error("a part was replaced or is missing")]
    PartChanged,
    /// The keys of the rows' owner may not be used now.
    #[error("the keys may not be used now")]
    KeysWithheld,
    /// The lease on the keys of the rows' owner ran out. May be tried again.
    #[error("the lease on the keys ran out")]
    KeysExpired,
    /// A row did not verify, or rows that belong together do not fit. An operator must look.
    #[error("a row of the index is damaged: {0}")]
    Damaged(#[from] Damage),
    /// The engine could not read what the commit needed. Nothing was changed; may be tried again.
    #[error("the engine could not read")]
    Unread,
    /// The region takes no writes: shutting down, its anchor cannot be saved, or a commit failed half-way.
    #[error("the region's index takes no writes now")]
    Refusing,
    /// The bucket's key changed between sealing and commit. Sealed anew inside this room; nobody outside sees it.
    #[error("the key of the bucket changed meanwhile")]
    Rekeyed,
    /// Another runner took over the work that this write was part of. Nothing was changed.
    #[error("another runner took this work over")]
    Fenced,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What is wrong with a row. Says nothing about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not open under its key at its place.
    #[error("it does not verify")]
    Seal,
    /// It opened to something unknown.
    #[error("its content has no known shape")]
    Shape,
    /// A delta before it is missing, or one is there that should be gone.
    #[error("a delta is missing")]
    Gap,
    /// A row that another one promises is missing.
    #[error("a promised row is missing")]
    Missing,
    /// It speaks of another object or leaf than its row key says.
    #[error("it belongs elsewhere")]
    Elsewhere,
}

impl From<BadRow> for IndexError {
    fn from(_: BadRow) -> Self {
        Self::Damaged(Damage::Shape)
    }
}

impl From<OpenError> for IndexError {
    fn from(e: OpenError) -> Self {
        match e.class() {
            OpenClass::Revoked => Self::KeysWithheld,
            OpenClass::Expired => Self::KeysExpired,
            _ => Self::Damaged(Damage::Seal),
        }
    }
}
