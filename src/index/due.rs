//! What must happen by a time: rows sorted by that time, so a sweep reads what is due and nothing else.
//!
//! Called by `sweep` and by the acts that owe something later. The row key says when, what and to whom in opaque ids,
//! so due work is found without any tenant's key, also after the key is gone; what else there is to say is sealed under
//! the tenant's directory key.

use super::acts::Act;
use super::anchor::Value;
use super::engine::{Direction, KeyRange};
use super::error::IndexError;
use super::region::RegionIndex;
use super::row_keys::{self, DueKey, RowKind};
use crate::model::time::Millis;
use crate::seal::RowKey;
use bytes::Bytes;

/// A row that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// When, what, to whom.
    pub key: DueKey,
    sealed: Bytes,
}

impl Due {
    /// What `put_due` sealed with it.
    pub fn open(&self, directory: &RowKey) -> Result<Vec<u8>, IndexError> {
        Ok(directory.open(RowKind::Due as u8, &row_keys::due(&self.key), &self.sealed)?.plain)
    }
}

impl RegionIndex {
    /// Records something due. The same key again replaces it.
    pub async fn put_due(&self, directory: &RowKey, key: DueKey, about: &[u8]) -> Result<(), IndexError> {
        let row_key = row_keys::due(&key);
        let sealed = Value::new(directory.seal(RowKind::Due as u8, &row_key, about, &[]).into());
        self.submit(|reply| Act::Write { rows: vec![(row_key, Some(sealed))], reply }).await
    }

    /// Up to `limit` rows that are due at `now` or were before, the oldest first.
    pub async fn due(&self, now: Millis, limit: usize) -> Result<Vec<Due>, IndexError> {
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        let start = vec![RowKind::Due as u8];
        let range = KeyRange { start, end: Some(row_keys::due_before(seconds.saturating_add(1))) };
        let rows = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
        let due = rows.into_iter().filter_map(|(row_key, sealed)| Some(Due { key: DueKey::parse(&row_key)?, sealed }));
        Ok(due.collect())
    }

    /// Takes rows away that were dealt with.
    pub async fn remove_due(&self, keys: &[DueKey]) -> Result<(), IndexError> {
        let rows = keys.iter().map(|key| (row_keys::due(key), None)).collect();
        self.submit(|reply| Act::Write { rows, reply }).await
    }
}
