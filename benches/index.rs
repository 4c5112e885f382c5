//! The index over fjall: group commits with 1, 16 and 64 in flight, a listing page, a point get.
//!
//! `cargo bench --bench index --ignore-rust-version`. Rows are real (sealed, with a 1 KiB segment behind them), the
//! directory is under `target/`, so that the disk is a disk and not a tmpfs.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use geoseal::index::rows::v1::{ObjectKind, ObjectRow, Place, SegmentRef};
use geoseal::index::{
    Anchor, AnchorStore, AnchorStoreError, Condition, FjallEngine, FjallOptions, IndexOptions, Keep, ListQuery,
    OpenBucket, PutObject, RegionIndex,
};
use geoseal::model::atlas::{Geo, Region};
use geoseal::model::ids::{BucketId, DekId, ObjectId, SegmentId, TenantId, VersionId};
use geoseal::model::names::ObjectName;
use geoseal::model::object::ContentHeaders;
use geoseal::model::time::Millis;
use geoseal::seal::{Clock, GeoKeyService, LocalKeyring, Unlock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;

struct Still;

impl Clock for Still {
    fn cc_lo(&self) -> i64 {
        1_800_000_000
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

struct Bench {
    index: Arc<RegionIndex>,
    bucket: Arc<OpenBucket>,
    runtime: Runtime,
    next: AtomicU64,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let geo = Geo::find("europe").unwrap();
        let unlock = Unlock::KeyFile(directory.path().join("key"));
        LocalKeyring::create_key_file(&directory.path().join("key")).unwrap();
        let keyring = LocalKeyring::create(&directory.path().join("keyring"), geo.bytes(), &unlock).unwrap();
        let keystore = directory.path().join("keystore");
        let service = GeoKeyService::open(&keystore, geo.bytes(), Box::new(keyring), Arc::new(Still)).unwrap();
        let (tenant, bucket) = (TenantId::random(), BucketId::random());
        service.create_tenant(tenant.0).unwrap();
        let (key, _) = service.tenant(tenant.0).unwrap().new_bucket_key(bucket.0).unwrap();
        let bucket = Arc::new(OpenBucket { tenant, geo, region: &geo.regions[0], bucket, key, old: None });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let options = FjallOptions::default();
        let engine = Arc::new(FjallEngine::open(&directory.path().join("index"), options).unwrap());
        let index = runtime.block_on(RegionIndex::open(
            engine,
            bucket.region,
            Arc::new(Forgetful),
            service.geo_keys(),
            Millis(0),
            IndexOptions::default(),
        ));
        let index = Arc::new(index.unwrap());
        Self { index, bucket, runtime, next: AtomicU64::new(0), _directory: directory }
    }

    /// Puts `count` objects, `in_flight` at a time.
    fn put(&self, count: u64, in_flight: u64) {
        self.runtime.block_on(async {
            let tasks = (0..in_flight).map(|task| {
                let (index, bucket) = (self.index.clone(), self.bucket.clone());
                let share = count / in_flight + u64::from(task < count % in_flight);
                let start = self.next.fetch_add(share, Ordering::Relaxed);
                tokio::spawn(async move {
                    for number in start..start + share {
                        index.put(&bucket, object(number)).await.unwrap();
                    }
                })
            });
            futures::future::join_all(tasks).await;
        });
    }
}

/// Names that come in no order, as with a hash or an id in front.
fn name(number: u64) -> String {
    format!("{:05x}/interactions/2026/11/{number:012}.json", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44)
}

fn object(number: u64) -> PutObject {
    let row = ObjectRow {
        name: name(number),
        object_id: ObjectId::random(),
        version_id: VersionId::random(),
        kind: ObjectKind::Object,
        size: 1024,
        mtime: Millis(1_800_000_000_000),
        etag: "0123456789abcdef0123456789abcdef".into(),
        checksums: vec![],
        headers: ContentHeaders { content_type: Some("application/json".into()), ..ContentHeaders::default() },
        metadata: vec![("geoseal-subject".into(), "contact:4711".into())],
        tags: vec![],
        subject: None,
        segments: vec![SegmentRef { id: SegmentId::random(), part: 0, len: 1024 }],
        place: Place::Trailing,
        dek_id: DekId::random(),
        dek_record: [9; 152],
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
    PutObject {
        row,
        inline: Some(Bytes::from(vec![7; 1024 + 208])),
        condition: Condition::None,
        keep: Keep::Replace,
        dating: None,
        from_upload: None,
        places: Vec::new(),
    }
}

fn commits(c: &mut Criterion) {
    let mut group = c.benchmark_group("index/put 1 KiB durable");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for in_flight in [1, 16, 64] {
        let bench = Bench::new();
        group.bench_with_input(BenchmarkId::new("in flight", in_flight), &in_flight, |b, in_flight| {
            b.iter_custom(|count| {
                let start = tokio::time::Instant::now();
                bench.put(count, *in_flight);
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn reads(c: &mut Criterion) {
    let bench = Bench::new();
    let names = 100_000;
    bench.put(names, 256);
    let mut group = c.benchmark_group(format!("index/{names} names"));
    let mut number = 0;
    group.bench_function("get 1 KiB", |b| {
        b.iter(|| {
            number = (number + 7919) % names;
            let one = ObjectName::parse(name(number)).unwrap();
            bench.runtime.block_on(bench.index.get(&bench.bucket, &one)).unwrap().unwrap()
        });
    });
    group.bench_function("get, absent", |b| {
        let one = ObjectName::parse("absent".into()).unwrap();
        b.iter(|| assert!(bench.runtime.block_on(bench.index.get(&bench.bucket, &one)).unwrap().is_none()));
    });
    let mut list = |label: &str, mut query: Box<dyn FnMut() -> ListQuery>| {
        group.bench_function(label, |b| {
            b.iter(|| bench.runtime.block_on(bench.index.list(&bench.bucket, &query())).unwrap());
        });
    };
    let mut at = 0u64;
    list(
        "list 1000",
        Box::new(move || {
            at = (at + 7919) % 0xfffff;
            ListQuery { after: Some(format!("{at:05x}")), limit: 1000, ..ListQuery::default() }
        }),
    );
    list(
        "list 1000 common prefixes",
        Box::new(|| ListQuery { delimiter: Some("/".into()), limit: 1000, ..ListQuery::default() }),
    );
    group.finish();
}

criterion_group!(benches, commits, reads);
criterion_main!(benches);
