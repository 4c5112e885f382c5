//! What is exposed when a version of a tenant's data key is known to somebody: counted from the rows, which name the version
//! that their data key is under. Constant memory; as fast as clients leave room.
//!
//! A data key that was wrapped under the version and again under a newer one since is exposed all the same: whoever has
//! the version and an older copy of the row has it. Such a row is told by when it was written, unless everything was
//! re-encrypted since.

use super::rooms::{Rooms, Watch};
use super::{RekeyError, STEP_ROWS};
use crate::index::rows::v1::ObjectRow;
use crate::model::ids::{BucketId, TenantId};
use crate::model::time::Millis;
use crate::seal::parent_version;

/// What is asked for.
pub struct Exposing<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// Which version of its data key.
    pub version: u32,
    /// When the next version took its place: what was written until then was under it. Unknown: none of what is under
    /// newer versions is counted.
    pub replaced: Option<Millis>,
    /// Whether everything in a bucket got new data keys since.
    pub cured: &'a (dyn Fn(BucketId) -> bool + Send + Sync),
}

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
pub async fn exposure(rooms: &Rooms, watch: &dyn Watch, asked: &Exposing<'_>) -> Result<Exposed, RekeyError> {
    watch.phase("counting", 0);
    let (places, mut pace) = (rooms.places(asked.tenant, None).await?, rooms.scan_pace());
    let (mut found, mut cursor) = (Exposed::default(), None);
    // Versions of a name stand behind one another.
    let mut counted: Option<(BucketId, String)> = None;
    while let Some(page) = places.page(cursor.as_deref(), pace.step(STEP_ROWS)).await? {
        let bucket = page.place.bucket.at.bucket;
        let cured = (asked.cured)(bucket);
        for row in page.rows.iter().map(|scanned| &scanned.row).filter(|row| row.is_object()) {
            let Some(now) = asked.is_exposed(row, cured) else { continue };
            found.versions += 1;
            found.rewrapped += u64::from(now == Under::Newer);
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
        for upload in place.roots.index.list_uploads(&place.bucket.index).await? {
            let is_under = upload.subject.is_none() && parent_version(&upload.dek_record) == asked.version;
            found.uploads += u64::from(is_under);
        }
    }
    Ok(found)
}

/// What an exposed data key is under now.
#[derive(PartialEq, Eq)]
enum Under {
    It,
    Newer,
}

impl Exposing<'_> {
    /// A data subject's hang under the subject's key, and are not.
    fn is_exposed(&self, row: &ObjectRow, cured: bool) -> Option<Under> {
        if row.subject.is_some() {
            return None;
        }
        let parent = parent_version(&row.dek_record);
        let before = self.replaced.is_some_and(|replaced| row.age_from().seconds() <= replaced.seconds());
        match parent.cmp(&self.version) {
            std::cmp::Ordering::Equal => Some(Under::It),
            std::cmp::Ordering::Greater if before && !cured => Some(Under::Newer),
            _ => None,
        }
    }
}
