//! What is exposed when a version of a tenant's data key is known to somebody: counted from the rows, which name the version
//! that their data key is under, and the one it was under first. Constant memory; as fast as clients leave room.
//!
//! A data key that was wrapped under the version and again under a newer one since is exposed all the same: whoever has
//! the version and an older copy of the row has it.

use super::rooms::{Rooms, Watch};
use super::wrapped::Wrapped;
use super::{RekeyError, STEP_ROWS};
use crate::model::ids::{BucketId, TenantId};

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// Names of which at least one version is exposed.
    pub objects: u64,
    /// Versions of objects.
    pub versions: u64,
    /// How many of them are under a newer version by now.
    pub rewrapped: u64,
    /// Uploads in progress.
    pub uploads: u64,
    /// Rows read.
    pub scanned: u64,
}

/// Counts what a version of a tenant's data key opens, or opened before a rotation.
pub async fn exposure(rooms: &Rooms, watch: &dyn Watch, tenant: TenantId, version: u32) -> Result<Exposed, RekeyError> {
    watch.phase("counting", 0);
    let (places, mut pace) = (rooms.places(tenant, None).await?, rooms.scan_pace());
    let (mut found, mut cursor) = (Exposed::default(), None);
    // Versions of a name stand behind one another.
    let mut counted: Option<(BucketId, String)> = None;
    while let Some(page) = places.page(cursor.as_deref(), pace.step(STEP_ROWS)).await? {
        let bucket = page.place.bucket.at.bucket;
        let rows = page.rows.iter().map(|scanned| &scanned.row);
        for row in rows.filter(|row| row.is_object() && Wrapped::from(*row).was_opened_by(version)) {
            found.versions += 1;
            found.rewrapped += u64::from(Wrapped::from(row).is_newer_than(version));
            if !counted.as_ref().is_some_and(|(at, name)| *at == bucket && *name == row.name) {
                found.objects += 1;
                counted = Some((bucket, row.name.clone()));
            }
        }
        let read = page.rows.len() as u64;
        (cursor, found.scanned) = (Some(page.cursor), found.scanned + read);
        watch.done(found.scanned);
        pace.spent(read).await;
    }
    for place in &places.0 {
        let uploads = place.roots.index.list_uploads(&place.bucket.index).await?;
        found.uploads += uploads.iter().filter(|upload| Wrapped::from(*upload).was_opened_by(version)).count() as u64;
    }
    Ok(found)
}
