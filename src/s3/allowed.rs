//! A download is given for as long as whoever asked may have it: his login or grant revoked or ended, his tenant disabled
//! or terminated, and what is under way is cut off within moments. What became of the object or the bucket does not matter:
//! who began to read has it to the end.

use crate::gate::act::Read;
use crate::gate::{Admitted, Gate, Refusal};
use crate::store::types::{Download, StoreError};
use futures::{StreamExt, TryStreamExt, stream};
use std::time::Duration;
use tokio::time::Instant;

/// Between two questions, while bytes are given.
const ASK: Duration = Duration::from_secs(1);

/// The same body, cut off when the gate says no to whom it was opened for.
pub(super) fn while_admitted(gate: Gate, at: &Admitted<Read>, body: Download) -> Download {
    let (who, bucket) = (at.login().access_id.clone(), at.bucket().name.clone());
    let state = (body, Instant::now());
    stream::try_unfold(state, move |(mut body, mut asked)| {
        let (gate, who, bucket) = (gate.clone(), who.clone(), bucket.clone());
        async move {
            let Some(bytes) = body.try_next().await? else { return Ok(None) };
            if asked.elapsed() >= ASK {
                lost(gate.admit::<Read>(&who, &bucket).await.err())?;
                asked = Instant::now();
            }
            Ok(Some((bytes, (body, asked))))
        }
    })
    .boxed()
}

/// Whether a refusal means that access was lost; that nobody can tell now does not.
fn lost(refusal: Option<Refusal>) -> Result<(), StoreError> {
    match refusal {
        Some(Refusal::Asleep(asleep)) => Err(StoreError::Asleep(asleep)),
        Some(Refusal::UnknownLogin | Refusal::Role | Refusal::GrantEnded | Refusal::PurposeMismatch) => {
            Err(StoreError::NotGranted)
        }
        // The keys have a say of their own, at every fetch.
        Some(Refusal::NoSuchBucket | Refusal::Elsewhere(_) | Refusal::KeysSuspended | Refusal::SlowDown)
        | Some(Refusal::Unavailable)
        | None => Ok(()),
    }
}
