//! What rotations cost a record: data keys in real rows, roots under a new master key, subject keys under a new root; and
//! the tenant's whole rotation, over an index on disk, as the daemon does it with no client about.
//!
//! `taskset -c 0 cargo bench --bench rotate --ignore-rust-version`: one core. Directories are under `target/`, so that the
//! disk is a disk and not a tmpfs. Every rate is records a second.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use geoseal::audit::{Actor, AuditLog, Head, HeadError, HeadStore};
use geoseal::blob::{BlobStore, ObjectStoreBlobs, Readers};
use geoseal::directory::Directory;
use geoseal::index::rows::v1::{ObjectKind, ObjectRow, Place, SegmentRef};
use geoseal::index::{
    Anchor, AnchorStore, AnchorStoreError, Condition, Engine, FenceLine, FjallEngine, FjallOptions, IndexOptions, Keep,
    MemoryEngine, OpenBucket, PutObject, RegionIndex,
};
use geoseal::model::atlas::{Geo, Region};
use geoseal::model::clock::{Clock, ClockError, Reading, Status};
use geoseal::model::ids::{ObjectId, SegmentId, TenantId, VersionId};
use geoseal::model::names::BucketName;
use geoseal::model::object::{BucketRef, ContentHeaders};
use geoseal::model::time::Millis;
use geoseal::model::traffic::Traffic;
use geoseal::regions::RegionRoots;
use geoseal::rekey::{Rooms, Run, Watch, rotate_index_key, rotate_tenant};
use geoseal::seal::{
    self, Clock as KeyClock, GeoKeyService, Id, KeyClient, KeyKind, LeaseOptions, LocalKeyring, TenantKeys, Unlock,
};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const NOW: Millis = Millis(1_800_000_000_000);
const TENANT: TenantId = TenantId([7; 16]);
/// Rows of a bucket.
const ROWS: u64 = 10_000;
/// Tenants of a geo; each has three roots.
const TENANTS: u64 = 1000;
/// Data subjects of a tenant.
const SUBJECTS: u64 = 5000;

/// So many when it measures, few when it is only tried whether it runs.
fn many(full: u64) -> u64 {
    if std::env::args().any(|argument| argument == "--bench") { full } else { full / 50 }
}

struct Still;

impl KeyClock for Still {
    fn cc_lo(&self) -> i64 {
        NOW.seconds()
    }
}

impl Clock for Still {
    fn now(&self) -> Reading {
        Reading::at(NOW)
    }

    fn status(&self) -> Status {
        let reading = self.now();
        Status { reading, pending_ms: None, overdue: false, suspect: None, corroborated: true, counter: 0 }
    }

    fn attest(&self, _: Millis) -> Result<i64, ClockError> {
        Ok(0)
    }

    fn corroborate(&self, _: Millis) -> bool {
        true
    }

    fn save(&self) -> Result<(), ClockError> {
        Ok(())
    }
}

struct Forgetful;

impl AnchorStore for Forgetful {
    fn newest(&self, _: &'static Region) -> Result<Option<Anchor>, AnchorStoreError> {
        Ok(None)
    }

    fn save(&self, _: &'static Region, _: Anchor) -> Result<(), AnchorStoreError> {
        Ok(())
    }
}

#[derive(Default)]
struct Newest(Mutex<Option<Head>>);

impl HeadStore for Newest {
    fn newest(&self) -> Result<Option<Head>, HeadError> {
        Ok(*self.0.lock().unwrap())
    }

    fn save(&self, head: &Head) -> Result<(), HeadError> {
        *self.0.lock().unwrap() = Some(*head);
        Ok(())
    }
}

struct Nobody;

impl Watch for Nobody {
    fn phase(&self, _: &'static str, _: u64) {}

    fn done(&self, _: u64) {}
}

fn geo() -> &'static Geo {
    Geo::find("europe").unwrap()
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn service(dir: &Path) -> Arc<GeoKeyService> {
    let unlock = Unlock::KeyFile(dir.join("key"));
    LocalKeyring::create_key_file(&dir.join("key")).unwrap();
    let keyring = LocalKeyring::create(&dir.join("keyring"), geo().bytes(), &unlock).unwrap();
    Arc::new(GeoKeyService::open(&dir.join("keystore"), geo().bytes(), Box::new(keyring), Arc::new(Still)).unwrap())
}

fn id(number: u64) -> Id {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[15] = 1;
    id
}

/// An object of 1 KiB, whose data key hangs under the tenant's current version.
fn object(keys: &TenantKeys, at: &BucketRef, number: u64) -> PutObject {
    let (object_id, version_id) = (ObjectId::random(), VersionId::random());
    let (_, dek_record) = keys.new_dek(&seal::object_context(at, object_id, version_id)).unwrap();
    let row = ObjectRow {
        name: format!(
            "{:05x}/interactions/2026/11/{number:012}.json",
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44
        ),
        object_id,
        version_id,
        kind: ObjectKind::Object,
        size: 1024,
        mtime: NOW,
        etag: "0123456789abcdef0123456789abcdef".into(),
        checksums: vec![],
        headers: ContentHeaders { content_type: Some("application/json".into()), ..ContentHeaders::default() },
        metadata: vec![("channel".into(), "e-mail".into())],
        tags: vec![],
        subject: None,
        segments: vec![SegmentRef { id: SegmentId::random(), part: 0, len: 1024 }],
        place: Place::Trailing,
        dek_id: seal::dek_id(&dek_record),
        dek_record,
        written: None,
        due: None,
        enabled_ms: None,
        subjects: None,
        superseded: None,
        versioned: None,
        beside: None,
        order: None,
        born_under: None,
    };
    let inline = Some(Bytes::from(vec![7; 1024 + 208]));
    PutObject {
        row,
        inline,
        condition: Condition::None,
        keep: Keep::Replace,
        dating: None,
        from_upload: None,
        places: Vec::new(),
    }
}

async fn fill(index: &RegionIndex, bucket: &Arc<OpenBucket>, keys: &TenantKeys, at: &BucketRef) {
    let rows = many(ROWS);
    for from in (0..rows).step_by(256) {
        let puts = (from..rows.min(from + 256)).map(|number| index.put(bucket, object(keys, at, number)));
        futures::future::try_join_all(puts).await.unwrap();
    }
}

async fn open_index(engine: Arc<dyn Engine>, service: &GeoKeyService) -> RegionIndex {
    let (region, anchors) = (&geo().regions[0], Arc::new(Forgetful));
    let options = IndexOptions::default();
    RegionIndex::open(engine, region, anchors, service.geo_keys(), NOW, options).await.unwrap()
}

/// The walk's work on each row, with an engine in memory: read and open it, wrap its data key again, seal it, replace it.
fn rows(c: &mut Criterion) {
    let (dir, runtime) = (scratch(), Runtime::new().unwrap());
    let service = service(dir.path());
    service.create_tenant(TENANT.0).unwrap();
    let keys = service.tenant(TENANT.0).unwrap();
    let bucket = geoseal::model::ids::BucketId::random();
    let at = BucketRef {
        tenant: TENANT,
        geo: geo(),
        region: &geo().regions[0],
        bucket,
        name: BucketName::parse("records").unwrap(),
        created: NOW,
    };
    let (key, _) = keys.new_bucket_key(bucket.0).unwrap();
    let open = Arc::new(OpenBucket { tenant: TENANT, geo: at.geo, region: at.region, bucket, key, old: None });
    let index = runtime.block_on(open_index(Arc::new(MemoryEngine::default()), &service));
    runtime.block_on(fill(&index, &open, &keys, &at));
    let fence = FenceLine::default().raise(1);
    let mut group = c.benchmark_group("rotate");
    group.throughput(Throughput::Elements(many(ROWS))).sample_size(10).measurement_time(Duration::from_secs(10));
    group.bench_function("data keys in rows, one after the other", |b| {
        b.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                service.rotate_tenant(TENANT.0).unwrap();
                let keys = service.tenant(TENANT.0).unwrap();
                let begun = Instant::now();
                runtime.block_on(async {
                    let mut cursor = None;
                    loop {
                        let page = index.scan_objects(&open, cursor.as_ref(), 256).await.unwrap();
                        let Some(last) = page.last() else { break };
                        cursor = Some(last.cursor.clone());
                        for scanned in page {
                            let context = seal::object_context(&at, scanned.row.object_id, scanned.row.version_id);
                            let mut new = scanned.row.clone();
                            new.dek_record = keys.rewrap_dek(&new.dek_record, &context).unwrap().unwrap();
                            assert!(index.replace_fenced(&open, &scanned.row, new, &fence).await.unwrap());
                        }
                    }
                });
                took += begun.elapsed();
            }
            took
        });
    });
    group.finish();
}

/// Every root of a geo under a new version of its master key, local keyring: steps and closing scan.
fn roots(c: &mut Criterion) {
    let dir = scratch();
    let service = service(dir.path());
    (0..many(TENANTS)).for_each(|number| service.create_tenant(id(number)).unwrap());
    let roots = service.scan_masters().unwrap().records;
    let mut group = c.benchmark_group("rotate");
    group.throughput(Throughput::Elements(roots)).sample_size(10);
    group.bench_function("roots under a new master key", |b| {
        b.iter(|| {
            let job = service.rotate_master().unwrap();
            while service.rotate_master_step(job.token, 256).unwrap().finished.is_none() {}
        });
    });
    group.finish();
}

/// Every data subject's key under a new subject root.
fn subjects(c: &mut Criterion) {
    let dir = scratch();
    let service = service(dir.path());
    service.create_tenant(TENANT.0).unwrap();
    for number in 0..many(SUBJECTS) {
        service.create_subject(TENANT.0, id(number)).unwrap();
    }
    let mut group = c.benchmark_group("rotate");
    group.throughput(Throughput::Elements(many(SUBJECTS))).sample_size(10);
    group.bench_function("subject keys under a new root", |b| {
        b.iter(|| {
            service.rotate_root(TENANT.0, KeyKind::Srk).unwrap();
            let (mut after, mut rewrapped) = (None, 0);
            loop {
                let step = service.rewrap_subjects(TENANT.0, after, 1024).unwrap();
                rewrapped += step.rewrapped;
                if step.next.is_none() {
                    break;
                }
                after = step.next;
            }
            assert_eq!(rewrapped, many(SUBJECTS));
        });
    });
    group.finish();
}

/// Whole jobs over engines on disk: job rows, durable steps, closing scans and log entries included.
fn jobs(c: &mut Criterion) {
    let (dir, runtime) = (scratch(), Runtime::new().unwrap());
    let service = service(dir.path());
    service.create_tenant(TENANT.0).unwrap();
    let client = Arc::new(KeyClient::embedded(service.clone(), LeaseOptions::default()).unwrap());
    let engine = |name: &str| Arc::new(FjallEngine::open(&dir.path().join(name), FjallOptions::default()).unwrap());
    let index = runtime.block_on(open_index(engine("index"), &service));
    let directory = Arc::new(Directory::new(geo(), engine("directory"), client));
    let blobs: Arc<dyn BlobStore> = Arc::new(ObjectStoreBlobs::in_memory());
    let (region, readers) = (&geo().regions[0], Readers::new(blobs.clone()));
    let roots = Arc::new(RegionRoots { region, index, blobs, readers, inline_bytes_max: 65_536 });
    let audit = AuditLog::open(&dir.path().join("audit"), geo().id, Arc::new(Still), Arc::new(Newest::default()));
    let rooms = Rooms {
        directory: directory.clone(),
        regions: Arc::new(HashMap::from([(region.id, roots.clone())])),
        audit: Arc::new(audit.unwrap()),
        clock: Arc::new(Still),
        traffic: Traffic::default(),
    };
    let name = BucketName::parse("records").unwrap();
    let at = runtime.block_on(directory.create_bucket(TENANT, &name, region, NOW)).unwrap().unwrap();
    runtime.block_on(async {
        let keys = directory.keys(TENANT).await.unwrap();
        let opened = directory.open_bucket(&at).await.unwrap().unwrap();
        fill(&roots.index, &opened.index, &keys, &at).await;
    });
    let actor = Actor::part("bench");
    let run = Run { actor: &actor, records_per_s: None, watch: &Nobody };
    let mut group = c.benchmark_group("rotate");
    group.throughput(Throughput::Elements(many(ROWS))).sample_size(10).measurement_time(Duration::from_secs(10));
    group.bench_function("a tenant's key, the whole job", |b| {
        b.iter(|| {
            let done = runtime.block_on(rotate_tenant(&rooms, &run, TENANT)).unwrap();
            assert_eq!((done.rewrapped, done.remaining), (many(ROWS), 0));
        });
    });
    group.bench_function("a bucket's index key, the whole job", |b| {
        b.iter(|| {
            let done = runtime.block_on(rotate_index_key(&rooms, &run, TENANT, at.bucket)).unwrap();
            assert!(done.resealed >= many(ROWS) && done.remaining == 0);
        });
    });
    group.finish();
    runtime.block_on(roots.index.stop()).unwrap();
}

criterion_group!(benches, rows, roots, subjects, jobs);
criterion_main!(benches);
