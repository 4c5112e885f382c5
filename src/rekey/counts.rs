//! How many records are under which version of each kind of key. Counted when it is asked for, by reading the rows: nothing
//! is kept that could be wrong. A question reads a bounded number of rows; what that did not reach is said to be unknown,
//! never guessed.

use super::directory_key;
use super::index_root;
use super::master::blocking;
use super::rooms::Rooms;
use super::{RekeyError, STEP_ROWS};
use crate::index::rows::v1::ObjectRow;
use crate::model::ids::{BucketId, TenantId};
use crate::seal::parent_version;
use std::collections::BTreeMap;

/// Rows that one question reads at most.
pub const COUNT_ROWS_MAX: u64 = 200_000;

/// Records by version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many were found under which version.
    pub under: BTreeMap<u32, u64>,
    /// Whether all were read. Otherwise there are at least so many.
    pub whole: bool,
}

/// What is under the keys of one tenant.
#[derive(Clone, Debug, Default)]
pub struct TenantCounts {
    /// Data keys of objects and uploads under its tenant root; those of data subjects' are under the subjects' keys.
    pub data: Counted,
    /// Keys of data subjects under its subject root.
    pub subjects: Counted,
    /// Index keys, logins' secrets, and rows of the directory and of places, under its index root.
    pub index: Counted,
    /// Rows under each bucket's index keys; the active version, and the one before while the bucket is re-keyed.
    pub buckets: Vec<(BucketId, u32, Option<u32>, Counted)>,
}

/// Counts what is under a tenant's keys, reading at most `left` rows, which are taken from it.
pub async fn count_tenant(rooms: &Rooms, tenant: TenantId, left: &mut u64) -> Result<TenantCounts, RekeyError> {
    let service = rooms.directory.key_service();
    // The key service has them in memory, all of them.
    let subjects = blocking(service, move |keys| keys.subjects_under(tenant.0)).await?;
    let index = index_root::under_at_most(rooms, tenant, left).await?;
    let mut counts = TenantCounts {
        subjects: Counted { under: subjects, whole: true },
        index: Counted { under: index, whole: *left > 0 },
        ..TenantCounts::default()
    };
    let (places, mut pace) = (rooms.places(tenant, None).await?, rooms.scan_pace());
    let mut cursor = None;
    while *left > 0 {
        let limit = pace.step(STEP_ROWS);
        let Some(page) = places.page(cursor.as_deref(), limit).await? else { break };
        // Marks of deletion have no data key.
        let of_tenant = |row: &ObjectRow| row.is_object() && row.subject.is_none();
        for scanned in page.rows.iter().filter(|scanned| of_tenant(&scanned.row)) {
            *counts.data.under.entry(parent_version(&scanned.row.dek_record)).or_default() += 1;
        }
        let read = page.rows.len() as u64;
        (cursor, *left) = (Some(page.cursor), left.saturating_sub(read));
        pace.spent(read).await;
    }
    for place in &places.0 {
        if *left == 0 {
            break;
        }
        let uploads = place.roots.index.list_uploads(&place.bucket.index).await?;
        *left = left.saturating_sub(uploads.len() as u64);
        for upload in uploads.iter().filter(|upload| upload.subject.is_none()) {
            *counts.data.under.entry(parent_version(&upload.dek_record)).or_default() += 1;
        }
    }
    counts.data.whole = *left > 0;
    for place in &places.0 {
        let (index, bucket) = (&place.roots.index, &place.bucket.index);
        let (mut counted, mut cursor) = (Counted::default(), None);
        while *left > 0 {
            let (read, next) = index.count_versions(bucket, cursor.as_ref(), STEP_ROWS, &mut counted.under).await?;
            (cursor, *left) = (next, left.saturating_sub(read));
            pace.spent(read).await;
            if cursor.is_none() {
                counted.whole = true;
                break;
            }
        }
        let old = bucket.old.as_ref().map(|old| old.name().version);
        counts.buckets.push((place.bucket.at.bucket, bucket.key.name().version, old, counted));
    }
    Ok(counts)
}

/// Counts the rows under the versions of the geo's directory key, in the directory and in all served regions.
pub async fn count_directory(rooms: &Rooms) -> Result<Counted, RekeyError> {
    let regions = directory_key::regions(rooms).await?;
    Ok(Counted { under: directory_key::under(rooms, &regions).await?, whole: true })
}
