//! What falls due for a tenant: `t | seconds | kind | tenant | id`. The row key says it all in ids and times; the value
//! is there only so that a forged row is noticed. Written in the same commit as the standing it follows from.

use super::{Directory, DirectoryError};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::index::row_keys::{self, DueKey, RowKind};
use crate::tenant::{Standing, State};

/// The due kind of a tenant's destruction. Source: docs/index-layout.md, "Due rows".
pub const DUE_PURGE: u8 = 1;

/// Until when a tenant's row is in the due index: while it is terminated and not yet purged.
fn due_of(standing: &Standing) -> Option<DueKey> {
    let waits = matches!(standing.state, State::Terminated | State::PurgeHeld | State::Purging);
    let termination = standing.termination.as_ref().filter(|_| waits)?;
    let seconds = u64::try_from(termination.due.seconds()).unwrap_or(u64::MAX);
    Some(DueKey { seconds, kind: DUE_PURGE, tenant: standing.id, id: [0; 16] })
}

impl Directory {
    /// Tenants whose destruction is due by `seconds`, earliest first, at most `limit`.
    pub async fn due_by(&self, seconds: u64, limit: usize) -> Result<Vec<DueKey>, DirectoryError> {
        let range =
            KeyRange { start: row_keys::due_before(0), end: Some(row_keys::due_before(seconds.saturating_add(1))) };
        let rows = self.engine.scan(range, limit, Direction::Ascending).await?;
        rows.iter().map(|(row_key, _)| DueKey::parse(row_key).ok_or(DirectoryError::Integrity)).collect()
    }

    /// Adds to `batch` what the due index needs when `old` becomes `new`.
    pub(super) fn move_due(
        &self,
        batch: &mut Batch,
        old: Option<&Standing>,
        new: &Standing,
    ) -> Result<(), DirectoryError> {
        let (before, after) = (old.and_then(due_of), due_of(new));
        if before == after {
            return Ok(());
        }
        if let Some(before) = before {
            batch.delete(row_keys::due(&before));
        }
        if let Some(after) = after {
            let row_key = row_keys::due(&after);
            let sealed = self.keys.geo_keys().directory().seal(RowKind::Due as u8, &row_key, &[], &[]);
            batch.put(row_key, sealed);
        }
        Ok(())
    }
}
