//! The part of an epoch's close that is about what tenants removed since the last one while they live on: it is to become
//! as unreadable in older copies as what was destroyed. An object that was deleted the ordinary way had its data key only
//! in rows under its bucket's index key; so that key is replaced, and the root above it, and the old root is destroyed.
//!
//! For each tenant, in this order:
//!
//! 1. the rows that note removals are taken: what is removed from here on belongs to the next close
//! 2. each of those buckets gets a new index key: `index_key`, a job of the tenant's lane
//! 3. with erased data subjects: a new subject root: `roots`, a job of the tenant's lane
//! 4. a new index root: the same
//! 5. what was done is kept, with the run's id; then the rows that note removals go, unless written anew since 1
//!
//! A crash anywhere repeats one tenant at most: a tenant that this run has done is passed over, and the jobs of 2 to 4 are
//! taken up where they stood. What cannot be done is kept as `Outside`, with the rows that note it, for the next close.

use super::epoch::blocking;
use super::rooms::{Rooms, Run, Watch};
use super::roots::{rotate_index_root, rotate_subject_root};
use super::{Part, RekeyError, reencrypt, rotate_index_key, rotate_tenant};
use crate::audit::Event as Record;
use crate::directory::{ClosePart, Held, JobError, JobKind, Lives, Outside, Replaced, TenantRemoval};
use crate::index::{RegionIndex, Removal};
use crate::model::ids::{BucketId, OperationId, TenantId};
use crate::regions::RegionRoots;
use crate::seal::{EpochJob, KeyError, KeyKind, KeyState, Shredded};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How often to look whether another job of a tenant has ended.
const LOOK: Duration = Duration::from_millis(200);
/// How often to say that the close is still at work.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// What was removed of one tenant.
#[derive(Default)]
struct Removed {
    /// From which buckets.
    buckets: Vec<(Arc<RegionRoots>, BucketId)>,
    /// Data subjects were erased.
    subjects: bool,
}

/// Gives every tenant of which something was removed the new keys that make it unreadable in older copies. `held`: the
/// close's own job.
pub(super) async fn replace_keys(
    rooms: &Rooms,
    run: &Run<'_>,
    held: &mut Held,
    job: &EpochJob,
) -> Result<(), RekeyError> {
    let found = look(rooms, job).await?;
    run.watch.phase("replacing keys", found.len() as u64);
    for (done, (tenant, removed)) in found.into_iter().enumerate() {
        run.watch.done(done as u64);
        let number = job.number;
        let before = rooms.directory.close_part(number, tenant).await?;
        if before.as_ref().is_some_and(|part| part.run == held.job().id) {
            continue;
        }
        let work = of_tenant(rooms, run, tenant, &removed);
        let Some((part, taken)) = alongside(rooms, held, work).await?? else { continue };
        let part = after(before, ClosePart { run: held.job().id, ..part });
        let record = Record::EpochKeysReplaced {
            number,
            tenant,
            buckets: part.buckets.len() as u64,
            subject_root: part.subject_root.is_some(),
            index_root: part.index_root.is_some(),
            left_out: part.outside.len() as u64,
        };
        rooms.audit.append(run.actor, record).await?;
        // Fenced: a runner that was taken over keeps nothing and takes no note away.
        held.step(rooms.now(), |job| (job.done, job.changed) = (job.done + 1, job.changed + 1)).await?;
        rooms.directory.keep_close_part(number, &part).await?;
        if part.outside.is_empty() {
            taken.drop_all(rooms, tenant).await?;
        }
    }
    Ok(())
}

/// What was removed since the last close, by tenant: from the regions' rows, from the directory, and the data subjects in
/// the frozen part of the shred log.
async fn look(rooms: &Rooms, job: &EpochJob) -> Result<BTreeMap<TenantId, Removed>, RekeyError> {
    let mut found = noted(rooms).await?;
    let (from, to) = (job.shreds_from, job.shreds_to);
    for shred in blocking(rooms.directory.key_service(), move |keys| keys.shreds(from, to)).await? {
        if let Shredded::Subject { tenant, .. } = shred.what {
            found.entry(TenantId(tenant)).or_default().subjects = true;
        }
    }
    Ok(found)
}

async fn noted(rooms: &Rooms) -> Result<BTreeMap<TenantId, Removed>, RekeyError> {
    let mut found: BTreeMap<TenantId, Removed> = BTreeMap::new();
    for region in rooms.directory.geo().regions {
        let Some(roots) = rooms.regions.get(region.id) else { continue };
        for (bucket, tenant) in roots.index.removals().await? {
            found.entry(tenant).or_default().buckets.push((roots.clone(), bucket));
        }
    }
    for tenant in rooms.directory.tenants_with_removals().await? {
        found.entry(tenant).or_default();
    }
    Ok(found)
}

/// Of how much something was removed since the last close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Tenants.
    pub tenants: u64,
    /// Buckets of theirs.
    pub buckets: u64,
}

/// Counts what the next close would go by; data subjects are in the shred log.
pub async fn removals(rooms: &Rooms) -> Result<Removals, RekeyError> {
    let found = noted(rooms).await?;
    let buckets = found.values().map(|removed| removed.buckets.len() as u64).sum();
    Ok(Removals { tenants: found.len() as u64, buckets })
}

/// The notes about removals as they were taken.
#[derive(Default)]
struct Taken {
    buckets: Vec<(Arc<RegionRoots>, Removal)>,
    directory: Option<TenantRemoval>,
}

impl Taken {
    async fn drop_all(self, rooms: &Rooms, tenant: TenantId) -> Result<(), RekeyError> {
        for (roots, removal) in &self.buckets {
            roots.index.drop_removal(removal).await?;
        }
        if let Some(seen) = self.directory {
            rooms.directory.drop_removal(tenant, seen).await?;
        }
        Ok(())
    }
}

/// `None`: the tenant is gone, and its keys with it.
async fn of_tenant(
    rooms: &Rooms,
    run: &Run<'_>,
    tenant: TenantId,
    removed: &Removed,
) -> Result<Option<(ClosePart, Taken)>, RekeyError> {
    let mut taken = Taken { buckets: Vec::new(), directory: rooms.directory.removal_of(tenant).await? };
    for (roots, bucket) in &removed.buckets {
        let index: &RegionIndex = &roots.index;
        let removal = index.take_removal(*bucket, tenant).await?;
        taken.buckets.extend(removal.map(|removal| (roots.clone(), removal)));
    }
    let mut part = ClosePart {
        run: OperationId([0; 16]),
        tenant,
        buckets: Vec::new(),
        subject_root: None,
        index_root: None,
        outside: Vec::new(),
    };
    match rooms.directory.lives(tenant).await? {
        Lives::On => {}
        Lives::Purging => {
            part.outside.push(Outside::Purging);
            return Ok(Some((part, taken)));
        }
        Lives::No => {
            taken.drop_all(rooms, tenant).await?;
            return Ok(None);
        }
    }
    match rooms.directory.keys(tenant).await {
        Ok(_) => {}
        Err(KeyError::Suspended) => {
            part.outside.push(Outside::Suspended);
            return Ok(Some((part, taken)));
        }
        Err(error) => return Err(error.into()),
    }
    let run = &Run { actor: run.actor, records_per_s: run.records_per_s, watch: &Quiet };
    let mut outside = BTreeSet::new();
    for (_, bucket) in &removed.buckets {
        match patiently(rooms, run, tenant, Work::IndexKey(*bucket)).await {
            Ok(replaced) => part.buckets.push((*bucket, replaced)),
            // Deleted since: what is left of it is under the index root alone.
            Err(RekeyError::NoSuchBucket) => {}
            Err(RekeyError::RegionNotServed(_)) => {
                outside.insert(Outside::RegionNotServed);
            }
            Err(error) => return Err(error),
        }
    }
    if removed.subjects {
        part.subject_root = Some(patiently(rooms, run, tenant, Work::SubjectRoot).await?);
    }
    match patiently(rooms, run, tenant, Work::IndexRoot).await {
        Ok(replaced) => part.index_root = Some(replaced),
        Err(RekeyError::RegionNotServed(_)) => {
            outside.insert(Outside::RegionNotServed);
        }
        Err(error) => return Err(error),
    }
    if still_there(rooms, tenant, &part).await? {
        outside.insert(Outside::HeldOn);
    }
    part.outside.extend(outside);
    Ok(Some((part, taken)))
}

/// Whether an older version of a root that was replaced was not destroyed.
async fn still_there(rooms: &Rooms, tenant: TenantId, part: &ClosePart) -> Result<bool, RekeyError> {
    let status = blocking(rooms.directory.key_service(), move |keys| keys.tenant_status(tenant.0)).await?;
    let replaced = |kind| match kind {
        KeyKind::Srk => part.subject_root,
        KeyKind::Tik => part.index_root,
        _ => None,
    };
    let roots = status.iter().flat_map(|status| &status.roots);
    let mut old = roots.filter(|root| replaced(root.kind).is_some_and(|now| root.name.version < now.to));
    Ok(old.any(|root| root.state != KeyState::Destroyed))
}

/// One more part in the place of one that an earlier run kept, which was taken back: its keys stay replaced.
fn after(before: Option<ClosePart>, now: ClosePart) -> ClosePart {
    let Some(before) = before else { return now };
    let since = |before: Option<Replaced>, now: Option<Replaced>| match (before, now) {
        (Some(before), Some(now)) => {
            Some(Replaced { from: before.from, to: now.to, records: before.records + now.records })
        }
        (before, now) => now.or(before),
    };
    let mut buckets: BTreeMap<BucketId, Replaced> = before.buckets.into_iter().collect();
    for (bucket, replaced) in now.buckets {
        let was = buckets.get(&bucket).copied();
        buckets.extend(since(was, Some(replaced)).map(|replaced| (bucket, replaced)));
    }
    ClosePart {
        buckets: buckets.into_iter().collect(),
        subject_root: since(before.subject_root, now.subject_root),
        index_root: since(before.index_root, now.index_root),
        ..now
    }
}

#[derive(Clone, Copy)]
enum Work {
    IndexKey(BucketId),
    SubjectRoot,
    IndexRoot,
}

/// Does one piece of work, after the tenant's other jobs: one that runs is waited for, one that was cut off is taken up.
async fn patiently(rooms: &Rooms, run: &Run<'_>, tenant: TenantId, work: Work) -> Result<Replaced, RekeyError> {
    loop {
        let done = match work {
            Work::IndexKey(bucket) => {
                let done = rotate_index_key(rooms, run, tenant, bucket).await;
                done.map(|done| Replaced { from: done.from, to: done.to, records: done.resealed })
            }
            Work::SubjectRoot | Work::IndexRoot => {
                let done = match work {
                    Work::SubjectRoot => rotate_subject_root(rooms, run, tenant).await,
                    _ => rotate_index_root(rooms, run, tenant).await,
                };
                done.map(|done| Replaced { from: done.from, to: done.to, records: done.rewrapped })
            }
        };
        match done {
            Err(RekeyError::Job(JobError::Running)) => tokio::time::sleep(LOOK).await,
            Err(RekeyError::Job(JobError::Unfinished(_))) => take_up(rooms, run, tenant).await?,
            done => return done,
        }
    }
}

/// Runs the job of a tenant that was cut off to its end.
async fn take_up(rooms: &Rooms, run: &Run<'_>, tenant: TenantId) -> Result<(), RekeyError> {
    let Some(job) = rooms.directory.job(tenant).await?.filter(|job| job.ended.is_none()) else { return Ok(()) };
    let part = Part { bucket: job.bucket, exposed_by: job.exposed_by };
    let ended = match (job.kind, job.bucket) {
        (JobKind::RotateTenant, _) => rotate_tenant(rooms, run, tenant).await.map(drop),
        (JobKind::RotateIndexKey, Some(bucket)) => rotate_index_key(rooms, run, tenant, bucket).await.map(drop),
        (JobKind::RotateSubjectRoot, _) => rotate_subject_root(rooms, run, tenant).await.map(drop),
        (JobKind::RotateIndexRoot, _) => rotate_index_root(rooms, run, tenant).await.map(drop),
        (JobKind::Reencrypt, _) => reencrypt(rooms, run, tenant, part).await.map(drop),
        (kind, _) => return Err(JobError::Unfinished(kind).into()),
    };
    match ended {
        // Somebody else took it up, or its bucket is gone.
        Err(RekeyError::Job(JobError::Running) | RekeyError::NoSuchBucket) => Ok(()),
        ended => ended,
    }
}

/// Does work that takes long while the close's job is seen to be at work.
async fn alongside<T>(rooms: &Rooms, held: &mut Held, work: impl Future<Output = T>) -> Result<T, RekeyError> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(SIGN_OF_LIFE) => held.step(rooms.now(), |_| ()).await?,
        }
    }
}

/// The parts of a close tell nobody how far they are: the close does.
struct Quiet;

impl Watch for Quiet {
    fn phase(&self, _: &'static str, _: u64) {}
    fn done(&self, _: u64) {}
}
