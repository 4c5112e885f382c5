//! Long work on keys, between the admin face and the conductor: rotations and the like as operations with progress.

use super::acts::HouseActs;
use super::house::GeoRoom;
use super::keyend::root_state;
use super::keys::ask;
use super::tenants::{act_error, actor, find, key_error};
use crate::admin::acts::{KeyWork, Mode, Order, Outcome, TenantRef, WorkOn};
use crate::admin::error::ActError;
use crate::admin::operations::Progress;
use crate::admin::wire;
use crate::audit::Actor;
use crate::directory::{DirectoryError, GEO_LANE, Job, JobError, JobKind};
use crate::index::IndexError;
use crate::model::atlas::Geo;
use crate::model::ids::{BucketId, TenantId};
use crate::model::names::BucketName;
use crate::rekey::schedule::Scheduled;
use crate::rekey::{self, Part, RekeyError, Rooms, RootEvidence, Run, Watch};
use crate::seal::{KeyError, KeyKind, MasterState, Refusal};
use crate::tenant::State;
use std::num::NonZeroU32;
use tokio::time::Instant;

pub(super) async fn start(
    acts: &HouseActs,
    order: &Order,
    work: KeyWork,
) -> Result<Outcome<wire::Operation>, ActError> {
    let KeyWork { on, records_per_s } = work;
    match on {
        WorkOn::Master(geo) => rotate_master(acts, order, geo, records_per_s).await,
        WorkOn::Directory(geo) => {
            let room = *acts.rooms(Some(geo))?.first().ok_or(ActError::GeoNotServed)?;
            let of = OfTenant { rooms: acts.house.rekey_rooms(room), id: GEO_LANE, label: geo.id.into() };
            let steps = [
                "make a new version of the geo's directory key; everything is sealed under it at once",
                "seal its rows again, move tenants' names and logins to its tokens",
                "scan those rows: zero under older versions, or it does not end; then destroy those versions",
            ];
            Ok(on_tenant(acts, order, of, Task::Directory, &steps, records_per_s))
        }
        WorkOn::Tenant(tenant) => {
            let of = workable(acts, &tenant).await?;
            let steps = [
                "make a new data key version; new objects use it at once",
                "wrap every object's data key again under it; no object is rewritten",
                "scan all rows: zero records under older versions, or it does not end",
            ];
            Ok(on_tenant(acts, order, of, Task::Tenant, &steps, records_per_s))
        }
        WorkOn::IndexKey(tenant, bucket) => {
            let of = workable(acts, &tenant).await?;
            let bucket = bucket_id(&of, &bucket).await?;
            let steps = [
                "make a new index key for the bucket; writes use it at once",
                "seal every row of the bucket again under it, names' tokens and all; no object is rewritten",
                "scan all rows: zero under the old key, or it does not end; then drop the old key's record",
            ];
            Ok(on_tenant(acts, order, of, Task::IndexKey(bucket), &steps, records_per_s))
        }
        WorkOn::SubjectRoot(tenant) => {
            let of = workable(acts, &tenant).await?;
            let steps = [
                "make a new subject root; new subject keys use it at once",
                "wrap every living subject key again under it; no row and no object is rewritten",
                "scan all subject keys: zero under older versions, or it does not end; then destroy those versions",
            ];
            Ok(on_tenant(acts, order, of, Task::SubjectRoot, &steps, records_per_s))
        }
        WorkOn::IndexRoot(tenant) => {
            let of = workable(acts, &tenant).await?;
            let steps = [
                "make a new index root",
                "wrap index keys and credentials again under it, seal the tenant's directory rows again",
                "move what is found by the name of a data subject to the new root's tokens, subject by subject",
                "scan those rows: zero under older versions, or it does not end; then destroy those versions",
            ];
            Ok(on_tenant(acts, order, of, Task::IndexRoot, &steps, records_per_s))
        }
        WorkOn::Reencrypt(tenant, bucket, exposed_by) => {
            let of = workable(acts, &tenant).await?;
            let bucket = match bucket {
                Some(bucket) => Some(bucket_id(&of, &bucket).await?),
                None => None,
            };
            let exposed_by = exposed_by.map(NonZeroU32::get);
            if let Some(version) = exposed_by {
                let room = *acts.rooms(Some(of.rooms.directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
                root_state(room, of.id.0, KeyKind::Trk, version).await?;
            }
            let (which, end) = match exposed_by {
                Some(_) => (
                    "seal every object whose data key that version opens, or opened before a rotation, under a fresh data \
                     key, read it back, compare hashes, replace its row",
                    "scan all rows: zero with a data key that it opens or opened but uploads in progress, or it does not end",
                ),
                None => (
                    "seal every object again under a fresh data key, read it back, compare hashes, replace its row",
                    "scan all rows: zero with a data key from before but uploads in progress, or it does not end",
                ),
            };
            let first = match exposed_by {
                Some(_) => {
                    "if that version is the current one, make a new data key version; new objects use it at once"
                }
                None => "make a new data key version; new objects use it at once",
            };
            let steps = [first, which, "delete the old sealed bytes", end];
            Ok(on_tenant(acts, order, of, Task::Reencrypt(Part { bucket, exposed_by }), &steps, records_per_s))
        }
    }
}

/// A tenant whose keys may be worked on.
pub(super) struct OfTenant {
    pub(super) rooms: Rooms,
    pub(super) id: TenantId,
    /// Its name, or its id.
    pub(super) label: String,
}

/// What is done to a tenant's keys.
#[derive(Clone, Copy)]
enum Task {
    Directory,
    Tenant,
    IndexKey(BucketId),
    SubjectRoot,
    IndexRoot,
    Reencrypt(Part),
}

impl Task {
    fn kind(self) -> &'static str {
        match self {
            Self::Directory => "rotate-directory-key",
            Self::Tenant => "rotate-tenant",
            Self::IndexKey(_) => "rotate-index-key",
            Self::SubjectRoot => "rotate-subject-root",
            Self::IndexRoot => "rotate-index-root",
            Self::Reencrypt(_) => "reencrypt",
        }
    }

    fn of_job(job: &Job) -> Option<Self> {
        match (job.kind, job.bucket) {
            (JobKind::RotateDirectoryKey, _) => Some(Self::Directory),
            (JobKind::RotateTenant, _) => Some(Self::Tenant),
            (JobKind::RotateIndexKey, Some(bucket)) => Some(Self::IndexKey(bucket)),
            (JobKind::RotateSubjectRoot, _) => Some(Self::SubjectRoot),
            (JobKind::RotateIndexRoot, _) => Some(Self::IndexRoot),
            (JobKind::Reencrypt, bucket) => Some(Self::Reencrypt(Part { bucket, exposed_by: job.exposed_by })),
            (JobKind::RotateIndexKey, None) | (JobKind::Retire | JobKind::Epoch, _) => None,
        }
    }

    async fn run(self, of: &OfTenant, run: &Run<'_>) -> Result<wire::OperationResult, RekeyError> {
        let label = &of.label;
        Ok(match self {
            Self::Directory => {
                let geo = of.rooms.directory.geo().id;
                root_rotated("gdk", geo, rekey::rotate_directory_key(&of.rooms, run).await?)
            }
            Self::Tenant => {
                let done = rekey::rotate_tenant(&of.rooms, run, of.id).await?;
                wire::OperationResult::Rotation(wire::Rotation {
                    from: format!("tdk/{label}/{}", done.from),
                    to: format!("tdk/{label}/{}", done.to),
                    rewrapped: done.rewrapped,
                    total: None,
                    scanned: done.scanned,
                    remaining: done.remaining,
                })
            }
            Self::IndexKey(bucket) => {
                let done = rekey::rotate_index_key(&of.rooms, run, of.id, bucket).await?;
                wire::OperationResult::Rotation(wire::Rotation {
                    from: format!("ik/{bucket}/{}", done.from),
                    to: format!("ik/{bucket}/{}", done.to),
                    rewrapped: done.resealed,
                    total: None,
                    scanned: done.scanned,
                    remaining: done.remaining,
                })
            }
            Self::SubjectRoot => root_rotated("srk", label, rekey::rotate_subject_root(&of.rooms, run, of.id).await?),
            Self::IndexRoot => root_rotated("tik", label, rekey::rotate_index_root(&of.rooms, run, of.id).await?),
            Self::Reencrypt(part) => {
                let done = rekey::reencrypt(&of.rooms, run, of.id, part).await?;
                wire::OperationResult::Reencryption(wire::Reencrypted {
                    only_from: part.exposed_by.is_some(),
                    done: wire::Rotation {
                        from: format!("tdk/{label}/{}", done.from),
                        to: format!("tdk/{label}/{}", done.to),
                        rewrapped: done.reencrypted,
                        total: None,
                        scanned: done.scanned,
                        remaining: done.remaining,
                    },
                })
            }
        })
    }
}

fn root_rotated(kind: &str, label: &str, done: RootEvidence) -> wire::OperationResult {
    wire::OperationResult::Rotation(wire::Rotation {
        from: format!("{kind}/{label}/{}", done.from),
        to: format!("{kind}/{label}/{}", done.to),
        rewrapped: done.rewrapped,
        total: None,
        scanned: done.scanned,
        remaining: done.remaining,
    })
}

/// The same of one whose keys can be used: no work begins that could not go on. KeysSuspended.
async fn workable(acts: &HouseActs, tenant: &TenantRef) -> Result<OfTenant, ActError> {
    let of = of_tenant(acts, tenant).await?;
    of.rooms.directory.keys(of.id).await.map_err(|error| act_error(error.into()))?;
    Ok(of)
}

pub(super) async fn of_tenant(acts: &HouseActs, tenant: &TenantRef) -> Result<OfTenant, ActError> {
    let found = find(acts, tenant).await?;
    let (tenancy, entry) = (found.tenancy, found.entry);
    let id = entry.standing.id;
    match entry.standing.state {
        State::Active | State::Disabled | State::Terminated => {}
        State::Purging => return Err(ActError::WrongState(wire::TenantState::Purging)),
        State::PurgeHeld => return Err(ActError::WrongState(wire::TenantState::PurgeHeld)),
        State::Purged => return Err(ActError::TenantPurged),
        State::Provisioning => return Err(ActError::WrongState(wire::TenantState::Provisioning)),
    }
    let label = entry.detail.as_ref().map_or_else(|| id.to_string(), |detail| detail.name.clone());
    let geo = tenancy.directory.geo();
    let room = *acts.rooms(Some(geo))?.first().ok_or(ActError::GeoNotServed)?;
    Ok(OfTenant { rooms: acts.house.rekey_rooms(room), id, label })
}

/// What its operations are said to be about.
fn subject_of(of: &OfTenant) -> String {
    if of.id == GEO_LANE { of.label.clone() } else { of.id.to_string() }
}

async fn bucket_id(of: &OfTenant, name: &BucketName) -> Result<BucketId, ActError> {
    let bucket = of.rooms.directory.bucket(of.id, name).await.map_err(|error| act_error(error.into()))?;
    Ok(bucket.ok_or(ActError::NoSuchBucket)?.bucket)
}

fn on_tenant(
    acts: &HouseActs,
    order: &Order,
    of: OfTenant,
    task: Task,
    steps: &[&str],
    records_per_s: Option<NonZeroU32>,
) -> Outcome<wire::Operation> {
    if order.mode == Mode::Plan {
        let steps = steps.iter().map(|step| (*step).to_owned()).collect();
        return Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() });
    }
    Outcome::Done(begin(acts, of, task, actor(order), records_per_s, ()))
}

/// Begins work in the name of `by`; `held` is dropped when it has ended, or when it is under way already.
fn begin<H: Send + 'static>(
    acts: &HouseActs,
    of: OfTenant,
    task: Task,
    by: Actor,
    records_per_s: Option<NonZeroU32>,
    held: H,
) -> wire::Operation {
    let (subject, now) = (subject_of(&of), acts.house.clock.now().wall);
    acts.operations.start(task.kind(), &subject, now, move |progress| async move {
        let _held = held;
        run(&of, task, &by, records_per_s, progress).await
    })
}

async fn run(
    of: &OfTenant,
    task: Task,
    by: &Actor,
    records_per_s: Option<NonZeroU32>,
    progress: Progress,
) -> Result<wire::OperationResult, ActError> {
    let watch = Told(progress);
    let run = Run { actor: by, records_per_s, watch: &watch };
    loop {
        match task.run(of, &run).await {
            // What was cut off comes first: its rows are in two states, which the next job does not know.
            Err(RekeyError::Job(JobError::Unfinished(_))) => take_up(of, &run).await.map_err(rekey_error)?,
            done => return done.map_err(rekey_error),
        }
    }
}

/// Runs the job of a tenant that was cut off to its end.
async fn take_up(of: &OfTenant, run: &Run<'_>) -> Result<(), RekeyError> {
    let job = of.rooms.directory.job(of.id).await?.filter(|job| job.ended.is_none());
    match job.map(|job| Task::of_job(&job).ok_or(job.kind)) {
        Some(Ok(task)) => task.run(of, run).await.map(drop),
        // An epoch's close: whoever closes epochs takes it up.
        Some(Err(kind)) => Err(JobError::Unfinished(kind).into()),
        None => Ok(()),
    }
}

/// Takes up every job of a geo that was cut off when its server went. Called once, when the server begins to serve.
pub(super) async fn take_up_all(acts: &HouseActs) {
    for room in &acts.house.geos {
        let Ok(jobs) = room.directory.jobs().await else { continue };
        for job in jobs.iter().filter(|job| job.ended.is_none()) {
            let Some(task) = Task::of_job(job) else { continue };
            let label = if job.lane == GEO_LANE { room.geo.id.into() } else { job.lane.to_string() };
            let of = OfTenant { rooms: acts.house.rekey_rooms(room), id: job.lane, label };
            tracing::info!(job = %job.id, kind = job.kind.as_str(), "a job that was cut off is taken up");
            begin(acts, of, task, Actor::part("server"), UNFOLLOWED_RECORDS_PER_S, ());
        }
        // One that may be known to somebody is replaced, whoever was cut off before it began.
        let is_known = ask(room, |keys| {
            let status = keys.status()?;
            let current = status.masters.iter().find(|(master, _)| master.state == MasterState::Active);
            let known = status.known_masters.unwrap_or_default();
            Ok(status.rotation.is_none() && current.is_some_and(|(master, _)| known.contains(&master.name.version)))
        });
        if is_known.await.unwrap_or(false) {
            tracing::warn!(geo = room.geo.id, "the master key may be known to somebody: it is replaced");
            begin_master(acts, room, Actor::part("server"), UNFOLLOWED_RECORDS_PER_S, ());
        }
        // The master's job stands in the key store. That of an epoch's close is the close's own.
        let cut_off = ask(room, |keys| Ok(keys.rotation()?.is_some() && keys.epoch_job()?.is_none())).await;
        if cut_off.unwrap_or(false) {
            tracing::info!(geo = room.geo.id, "a rotation of the master key that was cut off is taken up");
            begin_master(acts, room, Actor::part("server"), UNFOLLOWED_RECORDS_PER_S, ());
        }
    }
}

/// Gives a key its next version because it is due, and stays until that has ended; work of its kind that is under way is
/// left alone.
pub(super) async fn by_schedule(acts: &HouseActs, room: &GeoRoom, on: Scheduled) -> Result<(), ActError> {
    let (held, ended) = tokio::sync::oneshot::channel::<()>();
    let (by, rate) = (Actor::part("schedule"), UNFOLLOWED_RECORDS_PER_S);
    let (tenant, task) = match on {
        Scheduled::Master => {
            begin_master(acts, room, by, rate, held);
            // Never sent: it is dropped at the end.
            _ = ended.await;
            return Ok(());
        }
        Scheduled::Tenant(tenant) => (tenant, Task::Tenant),
        Scheduled::SubjectRoot(tenant) => (tenant, Task::SubjectRoot),
        Scheduled::IndexRoot(tenant) => (tenant, Task::IndexRoot),
        Scheduled::IndexKey(tenant, bucket) => (tenant, Task::IndexKey(bucket)),
    };
    let of = of_tenant(acts, &TenantRef::Id(tenant)).await?;
    begin(acts, of, task, by, rate, held);
    _ = ended.await;
    Ok(())
}

/// How fast jobs go that nobody follows.
const UNFOLLOWED_RECORDS_PER_S: Option<NonZeroU32> = NonZeroU32::new(2000);

async fn rotate_master(
    acts: &HouseActs,
    order: &Order,
    geo: &'static Geo,
    records_per_s: Option<NonZeroU32>,
) -> Result<Outcome<wire::Operation>, ActError> {
    let room = *acts.rooms(Some(geo))?.first().ok_or(ActError::GeoNotServed)?;
    if order.mode == Mode::Plan {
        return Ok(Outcome::Planned(master_plan(room).await?));
    }
    Ok(Outcome::Done(begin_master(acts, room, actor(order), records_per_s, ())))
}

/// What it would do, and how long that would take: a few roots are wrapped again, forgotten, and timed.
async fn master_plan(room: &GeoRoom) -> Result<wire::Plan, ActError> {
    let begun = Instant::now();
    let plan = ask(room, |keys| keys.plan_rotation(TRIES_MAX)).await?;
    let took = begun.elapsed();
    // Each is unwrapped, wrapped and unwrapped again, and once more by the scan at the end.
    let left = plan.total.saturating_sub(plan.done);
    let each_us = took.as_micros() * 4 / 3 / u128::from(plan.tried.max(1));
    let est_s = (each_us * u128::from(left)).div_ceil(1_000_000).max(1);
    let first = match plan.done {
        0 => format!("make mk/{}/{}", room.geo.id, plan.to),
        done => format!("take up the rotation to mk/{}/{} that was cut off after {done}", room.geo.id, plan.to),
    };
    let steps = vec![
        format!("{left} keys to rewrap ({} of tenants), est. {est_s} s, no data rewritten", plan.of_tenants),
        first,
        "wrap every root key again under it, each unwrapped before it takes the old one's place".to_owned(),
        "scan the key store: zero records under the old version, or it does not end".to_owned(),
    ];
    let counts = [("rewrapped", plan.total), ("left", left), ("of_tenants", plan.of_tenants)];
    let counts = counts.map(|(name, count)| (name.to_owned(), count)).into_iter().collect();
    Ok(wire::Plan { steps, counts, ..wire::Plan::default() })
}

/// Roots that are wrapped again for an estimate.
const TRIES_MAX: usize = 8;

/// As [`begin`], of the master key.
fn begin_master<H: Send + 'static>(
    acts: &HouseActs,
    room: &GeoRoom,
    by: Actor,
    records_per_s: Option<NonZeroU32>,
    held: H,
) -> wire::Operation {
    let (rooms, geo, now) = (acts.house.rekey_rooms(room), room.geo.id, acts.house.clock.now().wall);
    acts.operations.start("rotate-master", geo, now, move |progress| async move {
        let (_held, watch) = (held, Told(progress));
        let run = Run { actor: &by, records_per_s, watch: &watch };
        let done = rekey::rotate_master(&rooms, &run).await.map_err(rekey_error)?;
        Ok(wire::OperationResult::Rotation(wire::Rotation {
            from: format!("mk/{geo}/{}", done.from),
            to: format!("mk/{geo}/{}", done.to),
            rewrapped: done.rewrapped,
            total: Some(done.total),
            scanned: done.records,
            remaining: done.remaining,
        }))
    })
}

/// A rotation's progress in the words of an operation.
pub(super) struct Told(pub(super) Progress);

impl Watch for Told {
    fn phase(&self, phase: &'static str, total: u64) {
        self.0.phase(phase, total);
    }

    fn done(&self, done: u64) {
        self.0.done(done);
    }
}

pub(super) fn rekey_error(error: RekeyError) -> ActError {
    tracing::error!(%error, "long work on keys stopped; running it again takes it up");
    match error {
        RekeyError::RegionNotServed(_) => ActError::RegionNotServed,
        RekeyError::NoSuchBucket => ActError::NoSuchBucket,
        RekeyError::NoSuchVersion => ActError::NoSuchKey,
        RekeyError::Audit(error) => super::acts::log_error(error),
        RekeyError::Keys(KeyError::Refused(Refusal::InUse)) => ActError::KeyInUse { remaining: 1, scanned: 0 },
        RekeyError::Keys(KeyError::Destroyed) => ActError::KeyGone,
        RekeyError::Keys(error) | RekeyError::Directory(DirectoryError::Keys(error)) => key_error(error),
        RekeyError::Index(IndexError::KeysWithheld) => ActError::KeysSuspended,
        RekeyError::KeptByBackup { backup, until } => ActError::KeptByBackup { backup, until },
        RekeyError::InUse(found) => ActError::KeyInUse { remaining: found.remaining, scanned: found.scanned },
        RekeyError::Leftover(_) | RekeyError::Job(JobError::Running | JobError::Unfinished(_) | JobError::Fenced) => {
            ActError::Busy
        }
        RekeyError::Directory(_)
        | RekeyError::Index(_)
        | RekeyError::Job(JobError::Directory(_))
        | RekeyError::Blobs(_)
        | RekeyError::Integrity
        | RekeyError::Worker => ActError::Broken,
    }
}
