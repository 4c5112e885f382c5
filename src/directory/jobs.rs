//! Long work on what a tenant, or the geo, has stored: one job at a time in each lane, its position durable, and a number
//! that tells the runner who holds it from one who held it before.
//!
//! Called by the conductors. A job is a row, `j | tenant id` (zeros: the geo's own), sealed under the geo's directory key:
//! ids, versions and counts, never a name. Invariants:
//!
//! * a lane has one job at a time: a walk of one job never races with rows that another one moves;
//! * who begins or takes up a job gets a token above all that were given out in its lane, in the same commit; every
//!   later step of an older token is refused here, and by the region's writer (`index::Fence`);
//! * a runner that is still at work is not taken over, unless it made no step for [`STALL_S`];
//! * an ended job stays as its lane's last word, so that tokens go on from there.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::{Batch, Direction, EngineError, KeyRange};
use crate::index::{Fence, FenceLine};
use crate::model::ids::{BucketId, OperationId, TenantId};
use crate::model::time::Millis;
use bytes::Bytes;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

/// Seconds without a step after which a runner may be taken over.
pub const STALL_S: i64 = 300;
/// The lane of work on the geo as a whole.
pub const GEO_LANE: TenantId = TenantId([0; 16]);

/// What a job does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum JobKind {
    /// A new tenant data key; every data key's record is wrapped again.
    #[n(1)]
    RotateTenant,
    /// A new index key for one bucket; every row is sealed again.
    #[n(2)]
    RotateIndexKey,
    /// A new root above the data subjects' keys.
    #[n(3)]
    RotateSubjectRoot,
    /// A new root above index keys, credentials and the tenant's directory rows.
    #[n(4)]
    RotateIndexRoot,
    /// New data keys and new segments.
    #[n(5)]
    Reencrypt,
    /// Destruction of a version, from its scan to its end.
    #[n(6)]
    Retire,
    /// The close of an epoch.
    #[n(7)]
    Epoch,
    /// A new directory key of the geo; every row under it is sealed again.
    #[n(8)]
    RotateDirectoryKey,
}

impl JobKind {
    /// As operations and log entries name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RotateTenant => "rotate-tenant",
            Self::RotateIndexKey => "rotate-index-key",
            Self::RotateSubjectRoot => "rotate-subject-root",
            Self::RotateIndexRoot => "rotate-index-root",
            Self::Reencrypt => "reencrypt",
            Self::Retire => "retire",
            Self::Epoch => "epoch",
            Self::RotateDirectoryKey => "rotate-directory-key",
        }
    }
}

/// A job as it stands on disk.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Job {
    /// Its id.
    #[n(0)]
    pub id: OperationId,
    /// What it does.
    #[n(1)]
    pub kind: JobKind,
    /// On whose.
    #[n(2)]
    pub lane: TenantId,
    /// On which bucket only.
    #[n(3)]
    pub bucket: Option<BucketId>,
    /// The version it leaves; 0 while it is not settled.
    #[n(4)]
    pub from: u32,
    /// The version it goes to; 0 while it is not settled.
    #[n(5)]
    pub to: u32,
    /// Where to go on, in the words of whoever runs it.
    #[n(6)]
    pub cursor: Option<ByteVec>,
    /// Who may step it: the newest number given out in this lane.
    #[n(7)]
    pub token: u64,
    /// Records looked at.
    #[n(8)]
    pub done: u64,
    /// Records there were when it began, as far as known.
    #[n(9)]
    pub total: u64,
    /// Records changed.
    #[n(10)]
    pub changed: u64,
    /// When it began.
    #[n(11)]
    pub begun: Millis,
    /// When it was stepped last.
    #[n(12)]
    pub stepped: Millis,
    /// When it ended well.
    #[n(13)]
    pub ended: Option<Millis>,
    /// Records that the closing scan read.
    #[n(14)]
    pub scanned: u64,
    /// How many of those still needed the version it left.
    #[n(15)]
    pub remaining: u64,
    /// Only on what this version of the tenant's data key opens, or once opened.
    #[n(16)]
    pub exposed_by: Option<u32>,
}

/// Which job is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What it does.
    pub kind: JobKind,
    /// On whose; [`GEO_LANE`]: the geo's.
    pub lane: TenantId,
    /// On which bucket only.
    pub bucket: Option<BucketId>,
    /// Only on what this version of the tenant's data key opens, or once opened.
    pub exposed_by: Option<u32>,
}

/// Why a job cannot be begun or stepped.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A runner is at work on it.
    #[error("a runner is at work on this")]
    Running,
    /// Another job of the lane was begun and did not end: it has to be taken up first.
    #[error("{} did not end; it has to be taken up first", .0.as_str())]
    Unfinished(JobKind),
    /// Another runner took the job over. This one changes nothing more.
    #[error("another runner took this job over")]
    Fenced,
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<EngineError> for JobError {
    fn from(error: EngineError) -> Self {
        Self::Directory(error.into())
    }
}

/// What this process knows of its lanes.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<TenantId, Lane>>);

#[derive(Default)]
struct Lane {
    line: FenceLine,
    /// Alive as long as its runner.
    runner: Weak<()>,
    stepped: Option<Millis>,
}

/// A job in the hands of its runner. Dropped: another may take it up at once.
pub struct Held {
    directory: Arc<Directory>,
    job: Job,
    /// The job's row as it was written last.
    row: Bytes,
    fence: Fence,
    _alive: Arc<()>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?})", self.job)
    }
}

impl Directory {
    /// Begins a job, or takes up the one of this kind that did not end. Errors: `Running`, `Unfinished`.
    pub async fn begin_job(self: &Arc<Self>, wanted: Wanted, now: Millis) -> Result<Held, JobError> {
        let _change = self.change.lock().await;
        let row_key = rows::row_key(kind::JOB, &[&wanted.lane.0]);
        let before = self.engine.get(&row_key).await?;
        let last = before.as_ref().map(|row| self.open_job(&row_key, row)).transpose()?;
        let same =
            |job: &Job| (job.kind, job.bucket, job.exposed_by) == (wanted.kind, wanted.bucket, wanted.exposed_by);
        let (line, alive) = {
            let mut lanes = self.lanes.0.lock();
            let lane = lanes.entry(wanted.lane).or_default();
            let stalled = lane.stepped.is_none_or(|stepped| now.0 - stepped.0 >= STALL_S * 1000);
            if lane.runner.strong_count() > 0 && !stalled {
                return Err(JobError::Running);
            }
            // A destruction that was cut off before it decided left nothing to take up.
            let unfinished = |job: &&Job| job.ended.is_none() && job.kind != JobKind::Retire && !same(job);
            if let Some(open) = last.as_ref().filter(unfinished) {
                return Err(JobError::Unfinished(open.kind));
            }
            let alive = Arc::new(());
            (lane.runner, lane.stepped) = (Arc::downgrade(&alive), Some(now));
            (lane.line.clone(), alive)
        };
        let token = last.as_ref().map_or(0, |job| job.token) + 1;
        let job = match last.filter(|job| job.ended.is_none() && same(job)) {
            Some(job) => Job { token, stepped: now, ..job },
            None => new_job(wanted, token, now),
        };
        let row = self.commit_job(&job, before).await?;
        Ok(Held { directory: self.clone(), job, row, fence: line.raise(token), _alive: alive })
    }

    /// The newest job of every lane, ended or not.
    pub async fn jobs(&self) -> Result<Vec<Job>, DirectoryError> {
        let range = KeyRange::prefix(&[kind::JOB]);
        let rows = self.engine.scan(range, usize::MAX, Direction::Ascending).await?;
        rows.iter().map(|(row_key, row)| self.open_job(row_key, row)).collect()
    }

    /// The newest job of a lane.
    pub async fn job(&self, lane: TenantId) -> Result<Option<Job>, DirectoryError> {
        let row_key = rows::row_key(kind::JOB, &[&lane.0]);
        let row = self.engine.get(&row_key).await?;
        row.map(|row| self.open_job(&row_key, &row)).transpose()
    }

    /// Whether a runner of this process is at work in a lane: it replaces its row itself, and nobody else may.
    pub(super) fn has_runner(&self, lane: TenantId) -> bool {
        self.lanes.0.lock().get(&lane).is_some_and(|lane| lane.runner.strong_count() > 0)
    }

    fn open_job(&self, row_key: &[u8], row: &[u8]) -> Result<Job, DirectoryError> {
        let opened = self.keys.geo_keys().open(kind::JOB, row_key, row)?;
        let job: Job = rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)?;
        if row_key[1..] == job.lane.0 { Ok(job) } else { Err(DirectoryError::Integrity) }
    }

    async fn commit_job(&self, job: &Job, before: Option<Bytes>) -> Result<Bytes, JobError> {
        let row_key = rows::row_key(kind::JOB, &[&job.lane.0]);
        let _sealing = self.sealing.read().await;
        let row = self.keys.geo_keys().directory().seal(kind::JOB, &row_key, &rows::encode(job), &[]);
        let row = Bytes::from(row);
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), before);
        batch.put(row_key, row.clone());
        match self.engine.commit(batch).await {
            Ok(()) => Ok(row),
            Err(EngineError::Precondition) => Err(JobError::Fenced),
            Err(error) => Err(error.into()),
        }
    }
}

fn new_job(wanted: Wanted, token: u64, now: Millis) -> Job {
    Job {
        id: OperationId::random(),
        kind: wanted.kind,
        lane: wanted.lane,
        bucket: wanted.bucket,
        from: 0,
        to: 0,
        cursor: None,
        token,
        done: 0,
        total: 0,
        changed: 0,
        begun: now,
        stepped: now,
        ended: None,
        scanned: 0,
        remaining: 0,
        exposed_by: wanted.exposed_by,
    }
}

impl Held {
    /// The job as it stands.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// To be handed to every write that is part of the job.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Says that the runner is at work, in the middle of a long step: it is not taken over.
    pub fn is_at_work(&self, now: Millis) {
        if let Some(lane) = self.directory.lanes.0.lock().get_mut(&self.job.lane)
            && self.fence.holds()
        {
            lane.stepped = Some(now);
        }
    }

    /// Writes how far the job is; durable on return. Errors: `Fenced` when another runner took it over.
    pub async fn step(&mut self, now: Millis, change: impl FnOnce(&mut Job) + Send) -> Result<(), JobError> {
        if !self.fence.holds() {
            return Err(JobError::Fenced);
        }
        let mut job = self.job.clone();
        change(&mut job);
        job.stepped = now;
        self.row = self.directory.commit_job(&job, Some(self.row.clone())).await?;
        self.job = job;
        self.is_at_work(now);
        Ok(())
    }

    /// Writes that the job ended, and with what. Its lane is free.
    pub async fn end(mut self, now: Millis, scanned: u64, remaining: u64) -> Result<Job, JobError> {
        self.step(now, |job| {
            (job.ended, job.scanned, job.remaining, job.cursor) = (Some(now), scanned, remaining, None)
        })
        .await?;
        Ok(self.job)
    }
}
