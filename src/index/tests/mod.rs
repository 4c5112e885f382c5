//! What the tests of this room share: keys, buckets, rows, an anchor store, an engine that fails on demand.

mod crash;
mod kill;
mod model;
mod rekey;
mod removals;
mod tamper;
mod usage;
mod versions;
mod writer;

use super::engine::{Batch, Direction, Engine, EngineError, KeyRange};
use super::rows::v1::{ObjectKind, ObjectRow, Place, SegmentRef};
use super::*;
use crate::model::atlas::{Geo, Region};
use crate::model::ids::{BucketId, DekId, ObjectId, SegmentId, TenantId, VersionId};
use crate::model::names::ObjectName;
use crate::model::object::ContentHeaders;
use crate::model::time::Millis;
use crate::seal::{Clock, GeoKeyService, GeoKeys, LocalKeyring, TenantKeys, Unlock};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(super) const TENANT: TenantId = TenantId([7; 16]);

struct Still;

impl Clock for Still {
    fn cc_lo(&self) -> i64 {
        1_800_000_000
    }
}

/// A real key service over a keyring and a key file in a directory of its own, gone again once the keys are leased.
pub(super) static KEYS: LazyLock<(Arc<GeoKeys>, Arc<TenantKeys>)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let unlock = Unlock::KeyFile(directory.path().join("key"));
    LocalKeyring::create_key_file(&directory.path().join("key")).unwrap();
    let keyring = LocalKeyring::create(&directory.path().join("keyring"), geo().bytes(), &unlock).unwrap();
    let keystore = directory.path().join("keystore");
    let service = GeoKeyService::open(&keystore, geo().bytes(), Box::new(keyring), Arc::new(Still)).unwrap();
    service.create_tenant(TENANT.0).unwrap();
    (service.geo_keys(), service.tenant(TENANT.0).unwrap())
});

pub(super) fn geo() -> &'static Geo {
    Geo::find("europe").unwrap()
}

pub(super) fn region() -> &'static Region {
    &geo().regions[0]
}

pub(super) fn bucket() -> Arc<OpenBucket> {
    let bucket = BucketId::random();
    let (key, _) = KEYS.1.new_bucket_key(bucket.0).unwrap();
    Arc::new(OpenBucket { tenant: TENANT, geo: geo(), region: region(), bucket, key, old: None })
}

pub(super) fn name(name: &str) -> ObjectName {
    ObjectName::parse(name.into()).unwrap()
}

/// The row of an object whose content says its size.
pub(super) fn row(name: &str, size: u64) -> ObjectRow {
    ObjectRow {
        name: name.into(),
        object_id: ObjectId::random(),
        version_id: VersionId::random(),
        kind: ObjectKind::Object,
        size,
        mtime: Millis(1_700_000_000_000 + size as i64),
        etag: hex::encode([size as u8; 16]),
        checksums: vec![],
        headers: ContentHeaders::default(),
        metadata: vec![("subject".into(), "contact:4711".into())],
        tags: vec![],
        subject: None,
        segments: vec![SegmentRef { id: SegmentId::random(), part: 0, len: size }],
        place: Place::Blob,
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
    }
}

pub(super) fn put_of(row: ObjectRow, inline: Option<Bytes>) -> PutObject {
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

/// A small object, as most are.
pub(super) fn small(name: &str, size: u64) -> PutObject {
    put_of(row(name, size), Some(Bytes::from(vec![size as u8; 250])))
}

pub(super) async fn open(engine: &Arc<dyn Engine>, anchors: &Arc<Anchors>) -> Result<RegionIndex, OpenFault> {
    let options = IndexOptions::default();
    RegionIndex::open(engine.clone(), region(), anchors.clone(), KEYS.0.clone(), Millis(0), options).await
}

pub(super) async fn in_memory() -> RegionIndex {
    open(&(Arc::new(MemoryEngine::default()) as Arc<dyn Engine>), &Arc::default()).await.unwrap()
}

/// Every name of the bucket, page by page.
pub(super) async fn all_names(index: &RegionIndex, bucket: &Arc<OpenBucket>) -> Vec<(String, u64)> {
    let mut names = Vec::new();
    let mut query = ListQuery { limit: 333, ..ListQuery::default() };
    loop {
        let page = index.list(bucket, &query).await.unwrap();
        names.extend(page.entries.into_iter().map(|entry| (entry.name, entry.size)));
        if !page.truncated {
            return names;
        }
        query.after = page.last;
    }
}

/// Remembers an anchor as the key service does, or fails to.
#[derive(Default)]
pub(super) struct Anchors {
    pub(super) newest: Mutex<Option<Anchor>>,
    pub(super) saves: AtomicU64,
    pub(super) broken: AtomicBool,
    /// Nobody answers while this is true.
    pub(super) hangs: Mutex<bool>,
    pub(super) goes_on: Condvar,
}

impl AnchorStore for Anchors {
    fn newest(&self, _: &'static Region) -> Result<Option<Anchor>, AnchorStoreError> {
        Ok(*self.newest.lock())
    }

    fn save(&self, _: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError> {
        self.goes_on.wait_while(&mut self.hangs.lock(), |hangs| *hangs);
        if self.broken.load(Ordering::Relaxed) {
            return Err(AnchorStoreError("broken".into()));
        }
        self.saves.fetch_add(1, Ordering::Relaxed);
        *self.newest.lock() = Some(anchor);
        Ok(())
    }
}

/// How a commit fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Nothing is written, and the engine does not know that.
    Before,
    /// Everything is written, and the engine does not know that.
    After,
}

/// An engine that fails at its nth commit from now, and counts them; a stopped one fails at every commit.
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Engine>,
    pub(super) plan: Mutex<Option<(u64, Fault)>>,
    pub(super) reads_fail: AtomicBool,
    pub(super) commits: AtomicU64,
    /// Commits wait at it: who holds it lets writes queue up.
    pub(super) gate: tokio::sync::Mutex<()>,
    pub(super) values_read: AtomicU64,
}

impl Faulty {
    pub(super) fn new(inner: Arc<dyn Engine>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            plan: Mutex::new(None),
            reads_fail: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            gate: tokio::sync::Mutex::new(()),
            values_read: AtomicU64::new(0),
        })
    }

    fn read(&self) -> Result<(), EngineError> {
        if self.reads_fail.load(Ordering::Relaxed) { Err(EngineError::Read("fault".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Engine for Faulty {
    async fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.read()?;
        self.values_read.fetch_add(1, Ordering::Relaxed);
        self.inner.get(row_key).await
    }

    async fn scan(&self, range: KeyRange, limit: usize, way: Direction) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.read()?;
        let rows = self.inner.scan(range, limit, way).await?;
        self.values_read.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(rows)
    }

    async fn scan_keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Bytes>, EngineError> {
        self.read()?;
        self.inner.scan_keys(range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        drop(self.gate.lock().await);
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        let plan = *self.plan.lock();
        match plan {
            Some((at, Fault::Before)) if number >= at => Err(EngineError::Write("fault".into())),
            Some((at, Fault::After)) if number == at => {
                self.inner.commit(batch).await?;
                Err(EngineError::Write("fault".into()))
            }
            Some((at, Fault::After)) if number > at => Err(EngineError::Write("fault".into())),
            _ => self.inner.commit(batch).await,
        }
    }

    fn snapshot(&self) -> Result<Box<dyn crate::index::Snapshot>, EngineError> {
        self.read()?;
        self.inner.snapshot()
    }

    async fn compact(&self) -> Result<(), EngineError> {
        self.inner.compact().await
    }
}
