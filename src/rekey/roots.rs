//! The two roots beside a tenant's data key: the one above its data subjects' keys, and the one above its index keys,
//! credentials and directory rows. A new version, then what survives is wrapped again under it, then a scan counts zero
//! under older ones, then those are destroyed: what an old copy of the store holds under them is noise from then on.
//!
//! Before the closing scan every request that was given the older keys has let go of them, so nothing can appear under
//! them behind the scan. While one does not let go (a download of hours), the old version stays, decrypt-only, and
//! running the rotation again takes it up.

use super::rooms::{Rooms, Run};
use super::{PASSES_MAX, RekeyError, index_root};
use crate::audit::Event as Record;
use crate::directory::{Held, JobKind};
use crate::model::ids::TenantId;
use crate::seal::{KeyClient, KeyError, KeyKind, KeyState, Refusal, RootStatus};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Subject keys wrapped in one durable step.
const STEP_SUBJECTS: usize = 1024;
/// How long to wait for requests that hold the keys of before, and how often to look.
const LET_GO: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// What the closing scan found.
#[derive(Clone, Debug)]
pub struct RootEvidence {
    /// The version before.
    pub from: u32,
    /// The version now.
    pub to: u32,
    /// Records that were wrapped or sealed again.
    pub rewrapped: u64,
    /// Records that the closing scan read.
    pub scanned: u64,
    /// How many of them name an older version: zero.
    pub remaining: u64,
    /// Older versions that were destroyed.
    pub retired: u32,
}

/// Gives a tenant a new root above its data subjects' keys.
pub async fn rotate_subject_root(rooms: &Rooms, run: &Run<'_>, tenant: TenantId) -> Result<RootEvidence, RekeyError> {
    rotate(rooms, run, tenant, Root::Subjects).await
}

/// Gives a tenant a new root above its index keys, credentials, directory rows and data subjects' names; what it does to
/// rows is told in `index_root`.
pub async fn rotate_index_root(rooms: &Rooms, run: &Run<'_>, tenant: TenantId) -> Result<RootEvidence, RekeyError> {
    rotate(rooms, run, tenant, Root::Index).await
}

#[derive(Clone, Copy)]
enum Root {
    Subjects,
    Index,
}

impl Root {
    fn kind(self) -> KeyKind {
        match self {
            Self::Subjects => KeyKind::Srk,
            Self::Index => KeyKind::Tik,
        }
    }

    fn job(self) -> JobKind {
        match self {
            Self::Subjects => JobKind::RotateSubjectRoot,
            Self::Index => JobKind::RotateIndexRoot,
        }
    }

    async fn active(self, rooms: &Rooms, tenant: TenantId) -> Result<u32, RekeyError> {
        let roots = roots_of(rooms, tenant).await?;
        let active = roots.iter().find(|root| root.kind == self.kind() && root.state == KeyState::Active);
        Ok(active.ok_or(KeyError::Unknown)?.name.version)
    }

    /// Records by the version they are under.
    async fn scan(self, rooms: &Rooms, tenant: TenantId) -> Result<BTreeMap<u32, u64>, RekeyError> {
        match self {
            Self::Subjects => blocking(rooms, move |keys| keys.subjects_under(tenant.0)).await,
            Self::Index => index_root::under(rooms, tenant).await,
        }
    }
}

async fn rotate(rooms: &Rooms, run: &Run<'_>, tenant: TenantId, root: Root) -> Result<RootEvidence, RekeyError> {
    if matches!(root, Root::Index) {
        // Nothing is begun that cannot be ended.
        index_root::regions(rooms, tenant).await?;
    }
    let mut held = rooms.begin(root.job(), tenant, None).await?;
    if held.job().to == 0 {
        let current = root.active(rooms, tenant).await?;
        let found = root.scan(rooms, tenant).await?;
        let (from, to) = if older(&found, current) > 0 {
            (current.saturating_sub(1), current)
        } else {
            let kind = root.kind().as_str().to_owned();
            rooms.audit.append(run.actor, Record::RootRotationBegun { tenant, kind, from: current }).await?;
            let made = blocking(rooms, move |keys| keys.rotate_root(tenant.0, root.kind())).await?;
            (current, made.version)
        };
        held.step(rooms.now(), |job| (job.from, job.to, job.total) = (from, to, found.values().sum())).await?;
    }
    let to = held.job().to;
    for _ in 0..PASSES_MAX {
        run.watch.phase("wrapping", held.job().total);
        match root {
            Root::Subjects => rewrap_subjects(rooms, run, tenant, &mut held).await?,
            Root::Index => index_root::rewrap(rooms, run, tenant, &mut held).await?,
        }
        run.watch.phase("scanning", held.job().total);
        let let_go = wait_until_let_go(rooms, tenant).await;
        let mut found = root.scan(rooms, tenant).await?;
        if older(&found, to) > 0 && matches!(root, Root::Index) && let_go {
            index_root::drop_leftovers(rooms, tenant, to).await?;
            found = root.scan(rooms, tenant).await?;
        }
        if older(&found, to) == 0 {
            return end(rooms, run, tenant, root, held, found.values().sum(), let_go).await;
        }
        held.step(rooms.now(), |job| (job.cursor, job.done) = (None, 0)).await?;
    }
    Err(RekeyError::Leftover(older(&root.scan(rooms, tenant).await?, to)))
}

async fn end(
    rooms: &Rooms,
    run: &Run<'_>,
    tenant: TenantId,
    root: Root,
    held: Held,
    scanned: u64,
    let_go: bool,
) -> Result<RootEvidence, RekeyError> {
    let (from, to, rewrapped) = (held.job().from, held.job().to, held.job().changed);
    let roots = roots_of(rooms, tenant).await?;
    let old = roots.iter().filter(|old| old.kind == root.kind() && old.name.version < to);
    let mut retired = 0;
    for version in old.filter(|old| let_go && old.state == KeyState::DecryptOnly).map(|old| old.name.version) {
        // Whoever holds a lease from before the last destruction holds this version too.
        let retire = move |keys: &KeyClient| keys.retire_root(tenant.0, root.kind(), version, 0);
        match if wait_until_let_go(rooms, tenant).await { blocking(rooms, retire).await.map(drop) } else { break } {
            Ok(()) => retired += 1,
            // A lease was renewed just now: the version stays, decrypt-only, for the next rotation.
            Err(RekeyError::Keys(KeyError::Refused(Refusal::InUse))) => break,
            Err(error) => return Err(error),
        }
    }
    let kind = root.kind().as_str().to_owned();
    let ended = Record::RootRotationEnded { tenant, kind, from, to, rewrapped, remaining: 0, retired };
    rooms.audit.append(run.actor, ended).await?;
    held.end(rooms.now(), scanned, 0).await?;
    Ok(RootEvidence { from, to, rewrapped, scanned, remaining: 0, retired })
}

async fn rewrap_subjects(rooms: &Rooms, run: &Run<'_>, tenant: TenantId, held: &mut Held) -> Result<(), RekeyError> {
    let mut pace = rooms.pace(run);
    loop {
        let after = held.job().cursor.as_ref().and_then(|cursor| <[u8; 16]>::try_from(&cursor[..]).ok());
        let limit = pace.whole_step(STEP_SUBJECTS);
        let step = blocking(rooms, move |keys| keys.rewrap_subjects(tenant.0, after, limit)).await?;
        let Some(next) = step.next else { return Ok(()) };
        held.step(rooms.now(), |job| {
            job.cursor = Some(next.to_vec().into());
            (job.done, job.changed) = (job.done + step.seen, job.changed + step.rewrapped);
        })
        .await?;
        run.watch.done(held.job().done);
        pace.spent(step.seen).await;
    }
}

/// Whether nobody holds keys of before any more; waits for it a while.
pub(super) async fn wait_until_let_go(rooms: &Rooms, tenant: TenantId) -> bool {
    let let_go = async {
        while rooms.directory.key_service().is_superseded_in_use(tenant.0) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(LET_GO, let_go).await.is_ok()
}

async fn roots_of(rooms: &Rooms, tenant: TenantId) -> Result<Vec<RootStatus>, RekeyError> {
    let status = blocking(rooms, move |keys| keys.tenant_status(tenant.0)).await?;
    Ok(status.map_or(Vec::new(), |status| status.roots))
}

pub(super) fn older(found: &BTreeMap<u32, u64>, version: u32) -> u64 {
    found.range(..version).map(|(_, records)| records).sum()
}

async fn blocking<T: Send + 'static>(
    rooms: &Rooms,
    work: impl FnOnce(&KeyClient) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, RekeyError> {
    let keys: Arc<KeyClient> = rooms.directory.key_service().clone();
    let done = tokio::task::spawn_blocking(move || work(&keys)).await;
    Ok(done.map_err(|_| RekeyError::Worker)??)
}
