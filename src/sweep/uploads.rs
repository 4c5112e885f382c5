//! A stale upload: abort it (its rows go in one commit) → delete its parts' blobs → take the due row away. A crash after
//! the first leaves orphan blobs and a due row of nothing, which the next sweep removes.

use super::SweepError;
use super::run::GeoRooms;
use crate::index::{Due, IndexError};
use crate::model::atlas::Region;

pub(super) async fn abort(rooms: &GeoRooms, region: &Region, row: &Due) -> Result<(), SweepError> {
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
    match roots.index.abort(&opened.index, upload).await {
        Ok(parts) => {
            let blobs: Vec<_> = parts.iter().map(|part| part.segment.id).collect();
            roots.blobs.delete(&blobs).await?;
        }
        // Completed or aborted since the plan was made.
        Err(IndexError::NoSuchUpload) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(roots.index.remove_due(&[row.key]).await?)
}
