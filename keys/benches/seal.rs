//! What sealing costs: segments by size, rows, wraps. Short runs, for a look and for CI; `cargo bench -p geoseal-keys`.
//!
//! Everything goes through the public face, so salts are drawn and leases checked as in the daemon.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use geoseal_keys::{Clock, GeoKeyService, Id, LocalKeyring, ObjectContext, SegmentInfo, SegmentKind, Unlock, geo_id};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

struct Fixed;

impl Clock for Fixed {
    fn cc_lo(&self) -> i64 {
        1_800_000_000
    }
}

const TENANT: Id = [1; 16];

fn service(dir: &std::path::Path) -> GeoKeyService {
    let geo = geo_id("europe").expect("a geo's name");
    let unlock = Unlock::KeyFile(dir.join("key"));
    LocalKeyring::create_key_file(&dir.join("key")).expect("a key file");
    let keyring = LocalKeyring::create(&dir.join("keyring"), geo, &unlock).expect("a keyring");
    let service = GeoKeyService::open(&dir.join("keystore"), geo, Box::new(keyring), Arc::new(Fixed));
    let service = service.expect("a key service");
    service.create_tenant(TENANT).expect("a tenant");
    service
}

fn segments(c: &mut Criterion, service: &GeoKeyService) {
    let keys = service.tenant(TENANT).expect("keys");
    let context = ObjectContext { tenant: TENANT, geo: keys.geo(), bucket: [2; 16], object: [3; 16], version: [4; 16] };
    let (dek, _) = keys.new_dek(&context).expect("a data key");
    let info = SegmentInfo { kind: SegmentKind::Whole, part: 0, context, segment_id: [5; 16], dek_id: dek.id() };
    let mut group = c.benchmark_group("segment");
    for bytes in [0usize, 1 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20] {
        let plain = vec![0x5A; bytes];
        let sealed = dek.seal_whole(&info, &plain);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::new("seal", bytes), &plain, |b, plain| {
            b.iter(|| dek.seal_whole(&info, plain));
        });
        group.bench_with_input(BenchmarkId::new("open", bytes), &sealed, |b, sealed| {
            let open = |mut sealed: Vec<u8>| {
                dek.open_whole_in_place(&info, &mut sealed, bytes as u64).expect("it opens");
                sealed
            };
            b.iter_batched(|| sealed.clone(), open, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn rows(c: &mut Criterion, service: &GeoKeyService) {
    let keys = service.tenant(TENANT).expect("keys");
    let (bucket, _) = keys.new_bucket_key([2; 16]).expect("an index key");
    let place = [7; 41];
    let plain = vec![0x5A; 700];
    let row = bucket.row_key().seal(b'o', &place, &plain, &[]);
    let mut group = c.benchmark_group("row");
    group.bench_function("seal", |b| b.iter(|| bucket.row_key().seal(b'o', &place, black_box(&plain), &[])));
    group
        .bench_function("open", |b| b.iter(|| bucket.row_key().open(b'o', &place, black_box(&row)).expect("it opens")));
    group.bench_function("token", |b| b.iter(|| bucket.token(black_box(b"inbox/2026/11/21/message-0001.json"))));
    group.finish();
}

fn wraps(c: &mut Criterion, service: &GeoKeyService) {
    let keys = service.tenant(TENANT).expect("keys");
    let context = ObjectContext { tenant: TENANT, geo: keys.geo(), bucket: [2; 16], object: [3; 16], version: [4; 16] };
    let (_, record) = keys.new_dek(&context).expect("a data key");
    let mut group = c.benchmark_group("wrap");
    group.bench_function("new_dek", |b| b.iter(|| keys.new_dek(black_box(&context)).expect("a data key")));
    group.bench_function("open_dek", |b| b.iter(|| keys.open_dek(black_box(&record), &context).expect("it opens")));
    group.bench_function("lease", |b| b.iter(|| service.tenant(black_box(TENANT)).expect("a lease")));
    group.finish();
}

/// What the keys do for one GET of a small object: the lease, one row, one data key, one segment.
fn small_get(c: &mut Criterion, service: &GeoKeyService) {
    let keys = service.tenant(TENANT).expect("keys");
    let context = ObjectContext { tenant: TENANT, geo: keys.geo(), bucket: [2; 16], object: [3; 16], version: [4; 16] };
    let (bucket, _) = keys.new_bucket_key([2; 16]).expect("an index key");
    let (dek, record) = keys.new_dek(&context).expect("a data key");
    let info = SegmentInfo { kind: SegmentKind::Whole, part: 0, context, segment_id: [5; 16], dek_id: dek.id() };
    let segment = dek.seal_whole(&info, &[0x5A; 1024]);
    let row = bucket.row_key().seal(b'o', &[7; 41], &[0x5A; 500], &segment);
    c.bench_function("get_1_kib", |b| {
        b.iter(|| {
            let keys = service.tenant(TENANT).expect("a lease");
            bucket.token(black_box(b"inbox/2026/11/21/message-0001.json"));
            let opened = bucket.row_key().open(b'o', &[7; 41], black_box(&row)).expect("it opens");
            let dek = keys.open_dek(&record, &context).expect("it opens");
            dek.open_whole(&info, opened.trailing, 1024).expect("it opens")
        });
    });
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let service = service(dir.path());
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20)
        .configure_from_args();
    segments(&mut criterion, &service);
    rows(&mut criterion, &service);
    wraps(&mut criterion, &service);
    small_get(&mut criterion, &service);
    criterion.final_summary();
}
