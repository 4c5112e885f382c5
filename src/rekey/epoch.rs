//! The first part of an epoch's close: everything that lives is wrapped under a new version of the master key, and the
//! older versions are disabled. From there on time does the work: the sweeper destroys them when their soak is over.
//!
//! Order: entry → steps at the key service, each durable → entry. A crash leaves the job where it was; asked again, it
//! is taken up.

use super::{RekeyError, Watch};
use crate::audit::{Actor, AuditLog, Event as Record};
use crate::seal::{EpochJob, EpochPhase, KeyClient, KeyError};
use std::sync::Arc;

/// Roots in one durable step.
const STEP_RECORDS: usize = 256;

/// Begins the close of a geo's epoch, or takes up one that was cut off, up to its soak of `soak_s` seconds.
pub async fn close_epoch(
    keys: &Arc<KeyClient>,
    audit: &AuditLog,
    actor: &Actor,
    soak_s: i64,
    watch: &dyn Watch,
) -> Result<EpochJob, RekeyError> {
    let begun = blocking(keys, KeyClient::epoch_job).await?;
    let job = match begun {
        Some(job) => job,
        None => {
            let head = blocking(keys, KeyClient::shred_head).await?;
            let number = blocking(keys, KeyClient::epochs).await?.last().map_or(0, |last| last.number) + 1;
            audit.append(actor, Record::EpochBegun { number, shreds: head.counter }).await?;
            blocking(keys, move |keys| keys.epoch_begin(soak_s)).await?
        }
    };
    if job.phase != EpochPhase::Wrapping {
        return Ok(job);
    }
    watch.phase("wrapping", 0);
    loop {
        let (job, done, total) = blocking(keys, |keys| keys.epoch_step(STEP_RECORDS)).await?;
        watch.phase("wrapping", total);
        watch.done(done);
        if job.phase != EpochPhase::Wrapping {
            let (number, to, records, soak_s) = (job.number, job.to, job.records, job.soak_s);
            audit.append(actor, Record::EpochSoaking { number, to, records, soak_s }).await?;
            return Ok(job);
        }
    }
}

/// Takes a close back that has destroyed nothing yet.
pub async fn abort_epoch(keys: &Arc<KeyClient>, audit: &AuditLog, actor: &Actor) -> Result<EpochJob, RekeyError> {
    let number = blocking(keys, KeyClient::epoch_job).await?.map_or(0, |job| job.number);
    audit.append(actor, Record::EpochAborted { number }).await?;
    blocking(keys, KeyClient::epoch_abort).await
}

async fn blocking<T: Send + 'static>(
    keys: &Arc<KeyClient>,
    work: impl FnOnce(&KeyClient) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, RekeyError> {
    let keys = keys.clone();
    let done = tokio::task::spawn_blocking(move || work(&keys)).await;
    Ok(done.map_err(|_| RekeyError::Worker)??)
}
