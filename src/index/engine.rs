//! The one question the index asks of a storage engine: keep sorted rows, write several of them at once or not at all.
//!
//! Called by the writer, the readers of this room and the directory. An engine sees opaque row keys and sealed values
//! and must not know what either means. The contract suite (`contract.rs`) states what every engine promises:
//!
//! * `commit` is atomic and durable when it returns; nothing of it is visible before it is durable;
//! * one `scan` sees one moment: all rows of a batch or none;
//! * order is unsigned byte order of the row key, in both directions;
//! * a precondition that does not hold leaves the engine as it was.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;

/// A sorted, durable map of rows.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The value of one row.
    async fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Up to `limit` rows of `range`, from its start (or from its end, backwards).
    async fn scan(
        &self,
        range: KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError>;

    /// Up to `limit` row keys of `range`, ascending. Never reads large values.
    async fn scan_keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Bytes>, EngineError>;

    /// Writes the batch, all or nothing; durable on return.
    async fn commit(&self, batch: Batch) -> Result<(), EngineError>;

    /// All rows of this moment, to be read at leisure: what is written later is not among them. Costs next to nothing
    /// until it is read.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, EngineError>;

    /// Gives the disk space of deleted and replaced rows back. May take long; reads and commits go on beside it.
    async fn compact(&self) -> Result<(), EngineError>;
}

/// All rows of one moment.
pub trait Snapshot: Send {
    /// Hands every row, key and value, to `take`, in ascending order, until one is refused. Blocks on the disk.
    fn each(&self, take: &mut EachRow<'_>) -> Result<(), EngineError>;
}

/// Takes a row, key and value.
pub type EachRow<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), EngineError> + 'a;

/// Which way a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest row key up.
    Ascending,
    /// From the largest row key down.
    Descending,
}

/// A half-open range of row keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first row key that belongs to the range.
    pub start: Vec<u8>,
    /// The first row key behind the range; none: to the end.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Everything.
    pub fn all() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// All row keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: after_prefix(prefix) }
    }

    /// What of this range lies behind `row_key`, which itself does not belong to it any more.
    pub fn behind(mut self, row_key: &[u8]) -> Self {
        let mut next = row_key.to_vec();
        next.push(0);
        self.start = self.start.max(next);
        self
    }

    /// Whether no row key can lie in the range.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// The first row key that does not begin with `prefix` and is larger than all that do.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

/// Rows to write at once. Each row key stands in it at most once: the last word counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Row key → new value; none: delete the row (which may be absent).
    pub writes: BTreeMap<Bytes, Option<Bytes>>,
    /// What must be so just before, or nothing is written.
    pub preconditions: Vec<Precondition>,
}

/// A row that must hold exactly this value (none: must be absent) for a batch to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// The row.
    pub row_key: Bytes,
    /// Its value.
    pub expected: Option<Bytes>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a row.
    pub fn put(&mut self, row_key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.insert(row_key.into(), Some(value.into()));
    }

    /// Deletes a row.
    pub fn delete(&mut self, row_key: impl Into<Bytes>) {
        self.writes.insert(row_key.into(), None);
    }

    /// Demands that a row holds `expected`.
    pub fn expect(&mut self, row_key: impl Into<Bytes>, expected: Option<Bytes>) {
        self.preconditions.push(Precondition { row_key: row_key.into(), expected });
    }
}

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A precondition did not hold. Nothing was written.
    #[error("a row was not as the batch expected it")]
    Precondition,
    /// A read failed, or a commit before anything was written. May be tried again.
    #[error("the engine could not read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A commit failed half-way: it may or may not be there after the engine is opened again. The operator must look.
    #[error("the engine could not write, its state is unknown until it is opened again")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine could not be opened.
    #[error("the engine could not be opened")]
    Open(#[source] Box<dyn std::error::Error + Send + Sync>),
}
