//! The destruction of one version of a key, by whoever may: the scan is made here, anew, whatever a rotation counted
//! before, and the key service refuses unless it found nothing.

use super::master::blocking;
use super::rooms::{Places, Rooms, Run};
use super::roots::wait_until_let_go;
use super::{RekeyError, STEP_ROWS, index_root};
use crate::audit::Event as Record;
use crate::directory::JobKind;
use crate::model::ids::TenantId;
use crate::seal::{self, DekRecord, KeyKind, ShredEvidence};

/// What a scan found of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionUse {
    /// Records read.
    pub scanned: u64,
    /// How many of them need the version.
    pub remaining: u64,
}

/// What was destroyed.
#[derive(Clone, Debug)]
pub struct Retired {
    /// The scan that allowed it.
    pub found: VersionUse,
    /// What the key service saw of it on its disk; none of a master key.
    pub shredded: Option<ShredEvidence>,
    /// The provider's receipt, of a master key.
    pub receipt: Option<String>,
}

/// Counts the records that need one version of a tenant's root.
pub async fn version_use(
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

/// Destroys one older version of a tenant's root, after a scan of its own. Errors: `InUse` with what the scan found.
pub async fn retire(
    rooms: &Rooms,
    run: &Run<'_>,
    tenant: TenantId,
    kind: KeyKind,
    version: u32,
) -> Result<Retired, RekeyError> {
    // Held over scan and destruction: nothing is moved meanwhile, and nothing is wrapped under another version.
    let held = rooms.begin(JobKind::Retire, tenant, None).await?;
    run.watch.phase("scanning", 0);
    let let_go = wait_until_let_go(rooms, tenant).await;
    let found = version_use(rooms, tenant, kind, version).await;
    let retired = match found {
        Err(error) => Err(error),
        Ok(found) if found.remaining > 0 || !let_go => Err(RekeyError::InUse(found)),
        Ok(found) => {
            run.watch.phase("destroying", 1);
            let service = rooms.directory.key_service();
            blocking(service, move |keys| keys.retire_root(tenant.0, kind, version, found.remaining))
                .await
                .map(|shredded| Retired { found, shredded: Some(shredded), receipt: None })
        }
    };
    let found = retired.as_ref().map(|retired| retired.found).unwrap_or_default();
    held.end(rooms.now(), found.scanned, found.remaining).await?;
    if retired.is_ok() {
        let kind = kind.as_str().to_owned();
        rooms.audit.append(run.actor, Record::RootRetired { tenant, kind, version, scanned: found.scanned }).await?;
    }
    retired
}

/// Destroys a version of the geo's master key in the provider. The key service scans its disk itself and refuses while
/// any record needs the version.
pub async fn retire_master(rooms: &Rooms, run: &Run<'_>, version: u32) -> Result<Retired, RekeyError> {
    let service = rooms.directory.key_service();
    run.watch.phase("scanning", 0);
    let found = master_use(rooms, version).await?;
    if found.remaining > 0 {
        return Err(RekeyError::InUse(found));
    }
    run.watch.phase("destroying", 1);
    let receipt = blocking(service, move |keys| keys.destroy_master_version(version)).await?;
    rooms.audit.append(run.actor, Record::MasterKeyDestroyed { version }).await?;
    Ok(Retired { found, shredded: None, receipt: Some(receipt) })
}

/// Counts the key store's records that need one version of the master key, as its disk has them.
pub async fn master_use(rooms: &Rooms, version: u32) -> Result<VersionUse, RekeyError> {
    let scan = blocking(rooms.directory.key_service(), |keys| keys.scan_masters()).await?;
    Ok(VersionUse { scanned: scan.records, remaining: scan.per_version.get(&version).copied().unwrap_or(0) })
}
