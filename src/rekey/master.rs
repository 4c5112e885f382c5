//! The master key of a geo: the key service wraps every root again, a few hundred in each durable step, and ends with a
//! scan of its files. No row and no object is touched.

use super::RekeyError;
use super::rooms::{Rooms, Run};
use crate::audit::Event as Record;
use crate::seal::{KeyClient, KeyError, RotationProgress};
use std::sync::Arc;

/// Roots in one durable step.
const STEP_RECORDS: usize = 256;

/// What the closing scan found.
#[derive(Clone, Debug)]
pub struct MasterEvidence {
    /// The version before.
    pub from: u32,
    /// The version now.
    pub to: u32,
    /// Records that were wrapped again.
    pub rewrapped: u64,
    /// How many there were to be.
    pub total: u64,
    /// Wrapped roots read back from disk and opened.
    pub records: u64,
    /// How many of them name an older version: zero.
    pub remaining: u64,
}

/// Rotates the master key of a geo, or takes up a rotation that was cut off.
pub async fn rotate_master(rooms: &Rooms, run: &Run<'_>) -> Result<MasterEvidence, RekeyError> {
    let (keys, watch, mut pace) = (rooms.directory.key_service(), run.watch, rooms.pace(run));
    let job = blocking(keys, KeyClient::rotate_master).await?;
    rooms.audit.append(run.actor, Record::MasterRotationBegun { from: job.from, to: job.to }).await?;
    watch.phase("wrapping", job.total);
    let mut before = job.done;
    loop {
        let (token, step) = (job.token, pace.whole_step(STEP_RECORDS));
        let progress: RotationProgress = blocking(keys, move |keys| keys.rotate_master_step(token, step)).await?;
        watch.done(progress.job.done);
        let Some(scan) = progress.finished else {
            pace.spent(progress.job.done.saturating_sub(before)).await;
            before = progress.job.done;
            continue;
        };
        let remaining = scan.per_version.range(..job.to).map(|(_, records)| records).sum();
        let (from, to, rewrapped) = (job.from, job.to, progress.job.done);
        rooms.audit.append(run.actor, Record::MasterRotationEnded { from, to, rewrapped, remaining }).await?;
        if remaining > 0 {
            return Err(RekeyError::Leftover(remaining));
        }
        return Ok(MasterEvidence { from, to, rewrapped, total: job.total, records: scan.records, remaining });
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    keys: &Arc<KeyClient>,
    work: impl FnOnce(&KeyClient) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, RekeyError> {
    let keys = keys.clone();
    let done = tokio::task::spawn_blocking(move || work(&keys)).await;
    Ok(done.map_err(|_| RekeyError::Worker)??)
}
