//! K-10: two runners start the same job, or one wakes up after another took its job over. One wins; the other changes
//! nothing more.

use crate::directory::{Directory, JobError, JobKind, STALL_S, Wanted};
use crate::index::{Engine, MemoryEngine};
use crate::model::atlas::Geo;
use crate::model::ids::{BucketId, TenantId};
use crate::model::time::Millis;
use crate::seal::{Clock, GeoKeyService, KeyClient, LeaseOptions, LocalKeyring, Unlock};
use std::path::Path;
use std::sync::Arc;

const TENANT: TenantId = TenantId([7; 16]);
const ROTATE: Wanted = Wanted { kind: JobKind::RotateTenant, lane: TENANT, bucket: None, exposed_by: None };

struct Still;

impl Clock for Still {
    fn cc_lo(&self) -> i64 {
        1_800_000_000
    }
}

fn keys(at: &Path) -> Arc<KeyClient> {
    let geo = Geo::find("europe").unwrap();
    let unlock = Unlock::KeyFile(at.join("key"));
    LocalKeyring::create_key_file(&at.join("key")).unwrap();
    let keyring = LocalKeyring::create(&at.join("keyring"), geo.bytes(), &unlock).unwrap();
    let service = GeoKeyService::open(&at.join("keystore"), geo.bytes(), Box::new(keyring), Arc::new(Still)).unwrap();
    Arc::new(KeyClient::embedded(Arc::new(service), LeaseOptions::default()).unwrap())
}

fn directory(engine: &Arc<dyn Engine>, keys: &Arc<KeyClient>) -> Arc<Directory> {
    Arc::new(Directory::new(Geo::find("europe").unwrap(), engine.clone(), keys.clone()))
}

fn seconds(seconds: i64) -> Millis {
    Millis(1_800_000_000_000 + seconds * 1000)
}

#[tokio::test]
async fn k10_of_two_runners_one_wins_and_one_that_stalled_is_fenced_off() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(dir.path());
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let here = directory(&engine, &keys);
    let mut first = here.begin_job(ROTATE, seconds(0)).await.unwrap();
    first.step(seconds(1), |job| (job.from, job.to, job.done) = (1, 2, 10)).await.unwrap();
    assert!(matches!(here.begin_job(ROTATE, seconds(2)).await, Err(JobError::Running)));
    let other = Wanted { kind: JobKind::RotateIndexKey, bucket: Some(BucketId([1; 16])), ..ROTATE };
    assert!(matches!(here.begin_job(other, seconds(2)).await, Err(JobError::Running)), "one job a lane");
    // Another lane is another matter.
    drop(here.begin_job(Wanted { lane: TenantId([8; 16]), ..ROTATE }, seconds(2)).await.unwrap());

    // It makes no step for long: another takes the job up where it stood, and the first is told at its next step.
    let mut second = here.begin_job(ROTATE, seconds(1 + STALL_S)).await.unwrap();
    assert_eq!((second.job().id, second.job().to, second.job().done), (first.job().id, 2, 10));
    assert!(second.job().token > first.job().token && second.fence().holds() && !first.fence().holds());
    assert!(matches!(first.step(seconds(400), |job| job.done = 99).await, Err(JobError::Fenced)));
    second.step(seconds(401), |job| job.done = 20).await.unwrap();

    // A directory of another process that shares the engine knows nothing of our lanes: its commit still decides.
    let elsewhere = directory(&engine, &keys);
    let mut third = elsewhere.begin_job(ROTATE, seconds(402)).await.unwrap();
    assert_eq!(third.job().done, 20);
    assert!(matches!(second.step(seconds(403), |job| job.done = 99).await, Err(JobError::Fenced)));
    third.step(seconds(404), |job| job.done = 30).await.unwrap();
    let ended = third.end(seconds(405), 30, 0).await.unwrap();
    assert_eq!((ended.done, ended.scanned, ended.ended), (30, 30, Some(seconds(405))));
}

#[tokio::test]
async fn a_job_outlives_its_runner_and_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(dir.path());
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let here = directory(&engine, &keys);
    let mut held = here.begin_job(ROTATE, seconds(0)).await.unwrap();
    held.step(seconds(1), |job| job.cursor = Some(vec![1, 2, 3].into())).await.unwrap();
    let (id, token) = (held.job().id, held.job().token);
    drop(held);
    let here = directory(&engine, &keys);
    let other = Wanted { kind: JobKind::Reencrypt, ..ROTATE };
    let refused = here.begin_job(other, seconds(2)).await;
    assert!(matches!(refused, Err(JobError::Unfinished(JobKind::RotateTenant))));
    let held = here.begin_job(ROTATE, seconds(2)).await.unwrap();
    assert_eq!((held.job().id, held.job().cursor.as_ref().map(|c| c.to_vec())), (id, Some(vec![1, 2, 3])));
    assert!(held.job().token > token);
    let token = held.job().token;
    held.end(seconds(3), 0, 0).await.unwrap();
    // Ended: the lane is free for anything, tokens go on from there.
    let next = here.begin_job(other, seconds(4)).await.unwrap();
    assert!(next.job().id != id && next.job().token > token && next.job().cursor.is_none());
    assert_eq!(here.jobs().await.unwrap().len(), 1);
}
