//! What falls due for a tenant: `t | seconds | kind | tenant | id`. The row key says it all in ids and times; the value
//! is there only so that a forged row is noticed. Written in the same commit as the standing it follows from.

use super::{Directory, DirectoryError};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::index::row_keys::{self, DueKey, RowKind};
use crate::tenant::{PROVISIONING_S_MAX, Standing, State};

/// The due kind of a tenant's destruction, or of the end of its provisioning. Source: docs/index-layout.md, "Due rows".
pub const DUE_TENANT: u8 = 1;

/// Until when a tenant's row is in the due index: while it is being made, and while it is terminated and not purged.
fn due_of(standing: &Standing) -> Option<DueKey> {
    let at = match standing.state {
        State::Provisioning => standing.created.at.plus_seconds(PROVISIONING_S_MAX),
        State::Terminated | State::PurgeHeld | State::Purging => standing.due()?,
        State::Active | State::Disabled | State::Purged => return None,
    };
    // Rounded down: who finds a row within its second asks the standing itself, which knows better.
    let seconds = u64::try_from(at.seconds()).unwrap_or(0);
    Some(DueKey { seconds, kind: DUE_TENANT, tenant: standing.id, id: [0; 16] })
}

impl Directory {
    /// Tenants that something is due for by `seconds`, earliest first, at most `limit`.
    pub async fn due_by(&self, seconds: u64, limit: usize) -> Result<Vec<DueKey>, DirectoryError> {
        let range =
            KeyRange { start: row_keys::due_before(0), end: Some(row_keys::due_before(seconds.saturating_add(1))) };
        let rows = self.engine.scan(range, limit, Direction::Ascending).await?;
        rows.iter().map(|(row_key, _)| DueKey::parse(row_key).ok_or(DirectoryError::Integrity)).collect()
    }

    /// Takes a row away that belongs to no tenant in such a state any more.
    pub async fn remove_due(&self, row: &DueKey) -> Result<(), DirectoryError> {
        let mut batch = Batch::new();
        batch.delete(row_keys::due(row));
        Ok(self.engine.commit(batch).await?)
    }

    /// Adds to `batch` what the due index needs when `old` becomes `new`.
    pub(super) fn move_due(
        &self,
        batch: &mut Batch,
        old: Option<&Standing>,
        new: Option<&Standing>,
    ) -> Result<(), DirectoryError> {
        let (before, after) = (old.and_then(due_of), new.and_then(due_of));
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
