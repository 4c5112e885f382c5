//! Ends the world at the n-th write: from then on every engine, blob store, log head and keyring refuses, as after a
//! crash. Odd numbers burn before the write, even ones behind it.

use crate::audit::{Head, HeadError, HeadStore};
use crate::blob::{BlobError, BlobStore, Leftovers, ListedBlob, SealedStream};
use crate::index::engine::{Batch, Direction, Engine, EngineError, KeyRange};
use crate::model::ids::SegmentId;
use crate::model::time::Millis;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts writes; `at` zero: never burns.
#[derive(Debug, Default)]
pub(crate) struct Fuse {
    passed: AtomicU64,
    at: u64,
    /// Compaction takes seconds and has a test of its own.
    pub(crate) compacts: bool,
}

#[derive(Debug)]
pub(crate) struct Burnt;

impl Fuse {
    pub(crate) fn at(at: u64) -> Arc<Self> {
        Arc::new(Self { passed: AtomicU64::new(0), at, compacts: false })
    }

    /// Passed before and behind every write.
    fn pass(&self) -> Result<(), Burnt> {
        let passed = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if self.at != 0 && passed >= self.at { Err(Burnt) } else { Ok(()) }
    }

    /// Whether it has burnt: the process is as good as dead.
    pub(crate) fn is_burnt(&self) -> bool {
        self.at != 0 && self.count() >= self.at
    }

    pub(crate) fn that_compacts() -> Arc<Self> {
        Arc::new(Self { compacts: true, ..Self::default() })
    }

    /// Writes so far, each counted before and behind.
    pub(crate) fn count(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

pub(crate) struct FusedEngine<E>(pub(crate) E, pub(crate) Arc<Fuse>);

fn broken() -> EngineError {
    EngineError::Write("the fuse burnt".into())
}

#[async_trait]
impl<E: Engine> Engine for FusedEngine<E> {
    async fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.0.get(row_key).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.0.scan(range, limit, direction).await
    }

    async fn scan_keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Bytes>, EngineError> {
        self.0.scan_keys(range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        self.1.pass().map_err(|_| broken())?;
        self.0.commit(batch).await?;
        self.1.pass().map_err(|_| broken())
    }

    fn snapshot(&self) -> Result<Box<dyn crate::index::Snapshot>, EngineError> {
        self.0.snapshot()
    }

    async fn compact(&self) -> Result<(), EngineError> {
        self.1.pass().map_err(|_| broken())?;
        if self.1.compacts { self.0.compact().await } else { Ok(()) }
    }
}

#[derive(Debug)]
pub(crate) struct FusedBlobs(pub(crate) Arc<dyn BlobStore>, pub(crate) Arc<Fuse>);

#[async_trait]
impl BlobStore for FusedBlobs {
    async fn put(&self, id: SegmentId, sealed: SealedStream<'_>) -> Result<u64, BlobError> {
        self.0.put(id, sealed).await
    }

    async fn get(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes, BlobError> {
        self.0.get(id, range).await
    }

    async fn len(&self, id: SegmentId) -> Result<u64, BlobError> {
        self.0.len(id).await
    }

    async fn delete(&self, ids: &[SegmentId]) -> Result<(), BlobError> {
        if ids.is_empty() {
            return Ok(());
        }
        // One after the other, so that a crash may fall between any two.
        for id in ids {
            self.1.pass().map_err(|_| BlobError::Setup("the fuse burnt".into()))?;
            self.0.delete(&[*id]).await?;
        }
        Ok(())
    }

    fn list(&self) -> BoxStream<'static, Result<ListedBlob, BlobError>> {
        self.0.list()
    }

    async fn remove_leftovers(&self, before: Millis) -> Result<Leftovers, BlobError> {
        self.0.remove_leftovers(before).await
    }
}

pub(crate) struct FusedHeads<H>(pub(crate) H, pub(crate) Arc<Fuse>);

impl<H: HeadStore> HeadStore for FusedHeads<H> {
    fn newest(&self) -> Result<Option<Head>, HeadError> {
        self.0.newest()
    }

    fn save(&self, head: &Head) -> Result<(), HeadError> {
        self.1.pass().map_err(|_| HeadError("the fuse burnt".into()))?;
        self.0.save(head)?;
        self.1.pass().map_err(|_| HeadError("the fuse burnt".into()))
    }
}
