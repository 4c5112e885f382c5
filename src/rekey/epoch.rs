//! The close of an epoch, up to its soak: tenants of which something was removed get the keys that make it unreadable in
//! older copies ([`removed`]), then everything that lives is wrapped under a new version of the master key, and the older
//! versions are disabled. From there on time does the work: the sweeper destroys them when their soak is over.
//!
//! Order: entry → the key service freezes what belongs to the epoch → tenants' keys → wrapping, in durable steps → entry.
//! The job stands twice: at the key service, and in the directory's lane of the geo, whose token keeps two runners apart. A
//! crash leaves both where they were; asked again, the close is taken up.

use super::removed;
use super::rooms::{Rooms, Run};
use super::{RekeyError, STEP_ROWS};
use crate::audit::{Actor, Event as Record};
use crate::directory::{GEO_LANE, Held, JobError, JobKind};
use crate::model::ids::OperationId;
use crate::seal::{EpochJob, EpochPhase, KeyClient, KeyError};
use std::sync::Arc;
use std::time::Duration;

/// How often, and how many times, to look whether the geo's lane is free: two minutes.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: u32 = 600;
/// Roots in one durable step.
const STEP_RECORDS: usize = STEP_ROWS;

/// Begins the close of a geo's epoch, or takes up one that was cut off, up to its soak of `soak_s` seconds. Errors: `Job`
/// while another runner is at work on it.
pub async fn close_epoch(rooms: &Rooms, run: &Run<'_>, soak_s: i64) -> Result<EpochJob, RekeyError> {
    let keys = rooms.directory.key_service();
    let mut held = lane(rooms).await?;
    let begun = blocking(keys, KeyClient::epoch_job).await?;
    let job = match begun {
        Some(job) => job,
        None => {
            // Another run than one that was taken back: what that did is not this one's.
            held.step(rooms.now(), |job| (job.id, job.to, job.done) = (OperationId::random(), 0, 0)).await?;
            let head = blocking(keys, KeyClient::shred_head).await?;
            let number = blocking(keys, KeyClient::epochs).await?.last().map_or(0, |last| last.number) + 1;
            rooms.audit.append(run.actor, Record::EpochBegun { number, shreds: head.counter }).await?;
            blocking(keys, move |keys| keys.epoch_begin(soak_s)).await?
        }
    };
    if job.phase != EpochPhase::Wrapping {
        held.end(rooms.now(), job.records, 0).await?;
        return Ok(job);
    }
    if held.job().to == 0 {
        removed::replace_keys(rooms, run, &mut held, &job).await?;
        held.step(rooms.now(), |held| held.to = job.to).await?;
    }
    run.watch.phase("wrapping", 0);
    loop {
        let (job, done, total) = blocking(keys, |keys| keys.epoch_step(STEP_RECORDS)).await?;
        run.watch.phase("wrapping", total);
        run.watch.done(done);
        if job.phase != EpochPhase::Wrapping {
            let (number, to, records, soak_s) = (job.number, job.to, job.records, job.soak_s);
            rooms.audit.append(run.actor, Record::EpochSoaking { number, to, records, soak_s }).await?;
            held.end(rooms.now(), records, 0).await?;
            return Ok(job);
        }
        held.step(rooms.now(), |_| ()).await?;
    }
}

/// The geo's lane, after a job there that runs and does not take long.
async fn lane(rooms: &Rooms) -> Result<Held, RekeyError> {
    for _ in 0..LOOKS {
        match rooms.begin(JobKind::Epoch, GEO_LANE, None).await {
            Err(RekeyError::Job(JobError::Running)) => tokio::time::sleep(LOOK).await,
            held => return held,
        }
    }
    rooms.begin(JobKind::Epoch, GEO_LANE, None).await
}

/// Takes a close back that has destroyed nothing yet. Keys of tenants that it replaced stay replaced.
pub async fn abort_epoch(rooms: &Rooms, actor: &Actor) -> Result<EpochJob, RekeyError> {
    let keys = rooms.directory.key_service();
    let number = blocking(keys, KeyClient::epoch_job).await?.map_or(0, |job| job.number);
    rooms.audit.append(actor, Record::EpochAborted { number }).await?;
    let aborted = blocking(keys, KeyClient::epoch_abort).await?;
    // A runner that is still at it learns from the key service that there is nothing to go on with.
    if let Ok(held) = rooms.begin(JobKind::Epoch, GEO_LANE, None).await {
        held.end(rooms.now(), 0, 0).await?;
    }
    Ok(aborted)
}

pub(super) async fn blocking<T: Send + 'static>(
    keys: &Arc<KeyClient>,
    work: impl FnOnce(&KeyClient) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, RekeyError> {
    let keys = keys.clone();
    let done = tokio::task::spawn_blocking(move || work(&keys)).await;
    Ok(done.map_err(|_| RekeyError::Worker)??)
}
