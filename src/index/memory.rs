//! The reference engine: a `BTreeMap` behind a lock. Shows what the contract means; durable only as long as the process.

use super::engine::{Batch, Direction, Engine, EngineError, KeyRange, Snapshot};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Rows in memory. Clones share them, so "reopening" is cloning.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    rows: Arc<RwLock<BTreeMap<Bytes, Bytes>>>,
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.rows.read().get(row_key).cloned())
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rows.read();
        let rows = rows.range::<[u8], _>(bounds(&range)).map(|(k, v)| (k.clone(), v.clone()));
        Ok(match direction {
            Direction::Ascending => rows.take(limit).collect(),
            Direction::Descending => rows.rev().take(limit).collect(),
        })
    }

    async fn scan_keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Bytes>, EngineError> {
        Ok(self.scan(range, limit, Direction::Ascending).await?.into_iter().map(|(row_key, _)| row_key).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        let mut rows = self.rows.write();
        if batch.preconditions.iter().any(|p| rows.get(&p.row_key) != p.expected.as_ref()) {
            return Err(EngineError::Precondition);
        }
        for (row_key, value) in batch.writes {
            match value {
                Some(value) => rows.insert(row_key, value),
                None => rows.remove(&row_key),
            };
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, EngineError> {
        Ok(Box::new(Moment(self.rows.read().clone())))
    }

    async fn compact(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included(&range.start), end)
}

struct Moment(BTreeMap<Bytes, Bytes>);

impl Snapshot for Moment {
    fn each(&self, take: &mut super::engine::EachRow<'_>) -> Result<(), EngineError> {
        self.0.iter().try_for_each(|(row_key, value)| take(row_key, value))
    }
}
