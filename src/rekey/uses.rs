//! What needs one version of a key: the scan before its destruction, made anew each time, whatever a rotation counted.

use super::master::blocking;
use super::rooms::{Places, Rooms};
use super::{RekeyError, STEP_ROWS, index_root};
use crate::model::ids::TenantId;
use crate::seal::{self, DekRecord, KeyKind};

/// What a scan found of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionUse {
    /// Records read.
    pub scanned: u64,
    /// How many of them need the version.
    pub remaining: u64,
}

/// Counts the records that need one version of a tenant's root.
pub(super) async fn version_use(
    rooms: &Rooms,
    tenant: TenantId,
    kind: KeyKind,
    version: u32,
) -> Result<VersionUse, RekeyError> {
    let under = match kind {
        KeyKind::Trk => return tenant_use(rooms, &rooms.places(tenant, None).await?, version).await,
        KeyKind::Srk => blocking(rooms.directory.key_service(), move |keys| keys.subjects_under(tenant.0)).await?,
        _ => index_root::under(rooms, tenant).await?,
    };
    Ok(VersionUse { scanned: under.values().sum(), remaining: under.get(&version).copied().unwrap_or(0) })
}

async fn tenant_use(rooms: &Rooms, places: &Places, version: u32) -> Result<VersionUse, RekeyError> {
    let (mut found, mut cursor, mut pace) = (VersionUse::default(), None, rooms.scan_pace());
    let mut add = |record: &DekRecord, of_subject: bool| {
        found.scanned += 1;
        found.remaining += u64::from(!of_subject && seal::parent_version(record) == version);
    };
    while let Some(page) = places.page(cursor.as_deref(), pace.step(STEP_ROWS)).await? {
        let objects = page.rows.iter().filter(|scanned| scanned.row.is_object());
        objects.for_each(|scanned| add(&scanned.row.dek_record, scanned.row.subject.is_some()));
        cursor = Some(page.cursor);
        pace.spent(page.rows.len() as u64).await;
    }
    for place in &places.0 {
        for upload in place.roots.index.list_uploads(&place.bucket.index).await? {
            add(&upload.dek_record, upload.subject.is_some());
        }
    }
    Ok(found)
}

/// Counts the key store's records that need one version of the master key, as its disk has them.
pub(super) async fn master_use(rooms: &Rooms, version: u32) -> Result<VersionUse, RekeyError> {
    let scan = blocking(rooms.directory.key_service(), |keys| keys.scan_masters()).await?;
    Ok(VersionUse { scanned: scan.records, remaining: scan.per_version.get(&version).copied().unwrap_or(0) })
}
