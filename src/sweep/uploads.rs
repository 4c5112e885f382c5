//! A stale upload: abort it (its rows go in one commit) → delete its parts' blobs → take the due row away. A crash after
//! the first leaves orphan blobs and a due row of nothing, which the next sweep removes.

use super::SweepError;
use super::run::GeoRooms;
use crate::directory::OpenedBucket;
use crate::index::rows::v1::UploadRow;
use crate::index::{Due, IndexError};
use crate::model::atlas::Region;
use crate::model::limits::{CORRECTION_KEEP_S, UPLOAD_KEEP_S};
use crate::model::time::Millis;

/// Answers whether it was due: a lifecycle rule may give uploads another time than their due row says.
pub(super) async fn abort(rooms: &GeoRooms, region: &Region, row: &Due, now: Millis) -> Result<bool, SweepError> {
    let (directory, tenant) = (&rooms.tenancy.directory, row.key.tenant);
    let (upload, bucket) = row.upload().ok_or(SweepError::Integrity)?;
    let roots = rooms.tenancy.regions.get(region.id).ok_or(SweepError::OutOfReach(1))?;
    let buckets = directory.buckets(tenant).await?;
    let at = buckets.iter().find(|at| at.bucket == bucket && at.region == region).ok_or(SweepError::Gone)?;
    let opened = directory.open_bucket(at).await?.ok_or(SweepError::Gone)?;
    // Whoever could write to the engine could have given any upload a due time.
    if !row.is_of(&opened.index) {
        return Err(SweepError::Integrity);
    }
    if let Some(there) = roots.index.upload(&opened.index, upload).await? {
        let stale = stale_at(&opened, &there);
        if stale > now {
            roots.index.move_upload_due(&opened.index, upload, Some(row.key), stale).await?;
            return Ok(false);
        }
    }
    match roots.index.abort(&opened.index, upload).await {
        Ok(parts) => {
            let blobs: Vec<_> = parts.iter().map(|part| part.segment.id).collect();
            roots.blobs.delete(&blobs).await?;
        }
        // Completed or aborted since the plan was made.
        Err(IndexError::NoSuchUpload) => {}
        Err(error) => return Err(error.into()),
    }
    roots.index.remove_due(&[row.key]).await?;
    Ok(true)
}

/// When an upload is stale: as a lifecycle rule says, or else a day after it was begun. What waits for a hold's release is
/// its request's to end.
pub(super) fn stale_at(bucket: &OpenedBucket, upload: &UploadRow) -> Millis {
    if upload.for_request.is_some() {
        return upload.age_from().plus_seconds(CORRECTION_KEEP_S);
    }
    let by_rule = bucket.lifecycle.as_ref().and_then(|rules| rules.abort(&upload.name, upload.age_from()));
    by_rule.map_or_else(|| upload.age_from().plus_seconds(UPLOAD_KEEP_S), |by_rule| by_rule.at)
}
