//! The cellar: sealed bytes of whole segments, one blob per segment, in the region that was admitted.
//!
//! Called by the conductors (`store`, `sweep`). Promises:
//! - a blob is there in full, durably, when [`BlobStore::put`] returns, and not at all when it fails;
//! - a blob is gone, durably, when [`BlobStore::delete`] returns, temporary files included after
//!   [`BlobStore::remove_leftovers`];
//! - constant memory, whatever the length of a blob.
//!
//! Must not know keys, tenants, names or S3's faces: a blob is named by its segment's random id and by nothing else.

mod disk;
mod objects;
mod readers;
mod remote;

#[cfg(test)]
mod contract;

use crate::model::ids::SegmentId;
use crate::model::time::Millis;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::ops::Range;

pub use objects::ObjectStoreBlobs;
pub use readers::{Reader, Readers};
pub use remote::RemoteStore;

/// Longest range that one [`BlobStore::get`] returns, in bytes: 16 sealed chunks and a header fit.
pub const GET_BYTES_MAX: u64 = 2 << 20;

/// An error of whoever feeds a put; carried through unchanged in [`BlobError::Source`].
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Sealed bytes on their way in, in pieces of any size.
pub type SealedStream<'a> = BoxStream<'a, Result<Bytes, SourceError>>;

/// One blob as a listing tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedBlob {
    /// The segment whose bytes it holds.
    pub id: SegmentId,
    /// Sealed bytes.
    pub len: u64,
    /// When it was written, by the clock of the store: fit to tell an orphan from an upload in flight, for nothing else.
    pub modified: Millis,
}

/// What [`BlobStore::remove_leftovers`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leftovers {
    /// Files of writes that never finished.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a blob could not be served. Messages hold segment ids and paths of the store's own, never a name.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No such blob.
    #[error("no blob {0}")]
    Missing(SegmentId),
    /// The range reaches past the blob's end, is empty, or is longer than [`GET_BYTES_MAX`].
    #[error("blob {0} has no such range")]
    Range(SegmentId),
    /// Whoever fed the put failed; nothing was stored.
    #[error("the source of the bytes failed")]
    Source(#[source] SourceError),
    /// The store answered with an error or not at all. Nothing is known to be stored.
    #[error("the blob store failed")]
    Store(#[source] object_store::Error),
    /// The disk answered with an error.
    #[error("the disk failed: {doing}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The operator has to change the configuration.
    #[error("{0}")]
    Setup(String),
}

/// Sealed segments by id. Implementations are checked by one contract suite.
#[async_trait::async_trait]
pub trait BlobStore: Send + Sync + std::fmt::Debug {
    /// Writes one blob and returns its length in bytes.
    ///
    /// Durable on return. On an error, or when the future is dropped, no blob becomes visible, but a leftover may stay.
    /// The same id twice: the later bytes win; callers draw a fresh random id for each segment.
    async fn put(&self, id: SegmentId, sealed: SealedStream<'_>) -> Result<u64, BlobError>;

    /// Reads `range` of a blob: half-open, not empty, within the blob, at most [`GET_BYTES_MAX`] bytes.
    async fn get(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes, BlobError>;

    /// A blob's length in bytes.
    async fn len(&self, id: SegmentId) -> Result<u64, BlobError>;

    /// Removes blobs, durably. One that is already gone is no error.
    async fn delete(&self, ids: &[SegmentId]) -> Result<(), BlobError>;

    /// All blobs, in no order; what is not a blob of ours is left out.
    fn list(&self) -> BoxStream<'static, Result<ListedBlob, BlobError>>;

    /// From here on deletes are only noted, until [`BlobStore::release_deletes`]: for a backup, which must find what the
    /// rows of its moment name. A crash in between leaves orphans.
    fn hold_deletes(&self) {}

    /// Carries out the deletes that were noted, and no longer holds them.
    async fn release_deletes(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// The file that a blob is, where it is one of this machine's.
    fn file_of(&self, _: SegmentId) -> Option<std::path::PathBuf> {
        None
    }

    /// Removes what unfinished writes left behind and that was last written before `before`.
    ///
    /// At start, before anybody writes, `before` may be the far future; in a running daemon it must lie further back
    /// than the slowest upload pauses (an hour is plenty).
    async fn remove_leftovers(&self, before: Millis) -> Result<Leftovers, BlobError>;
}
