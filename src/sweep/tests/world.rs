//! A house in a temporary directory, which can be closed, reopened and looked into.

use super::fuse::{Fuse, FusedBlobs, FusedEngine, FusedHeads};
use crate::audit::{Actor, AuditLog, Hash, Head, HeadError, HeadStore};
use crate::blob::{BlobStore, ObjectStoreBlobs, Readers};
use crate::directory::{Detail, Directory, OpenedBucket, TenantEntry};
use crate::index::anchor::{Anchor, AnchorStore, AnchorStoreError};
use crate::index::rows::v1::{ObjectKind, ObjectRow, PartRow, Place, SegmentRef, UploadRow};
use crate::index::{Condition, FjallEngine, FjallOptions, IndexOptions, Keep, PutObject, RegionIndex};
use crate::model::atlas::{Geo, Region};
use crate::model::clock::{Clock, SimulatedClock};
use crate::model::ids::{ObjectId, SegmentId, TenantId, UploadId, VersionId};
use crate::model::limits::UPLOAD_KEEP_S;
use crate::model::names::{BucketName, ObjectName};
use crate::model::object::ContentHeaders;
use crate::model::time::Millis;
use crate::model::versioning::VersionAsked;
use crate::regions::{RegionRoots, Regions};
use crate::seal::{
    self, Dek, GeoKeyService, KeyClient, KeyError, KeystoreError, LeaseOptions, LocalKeyring, SegmentKind, Unlock,
};
use crate::sweep::{GeoRooms, Sweeper};
use crate::tenancy::Tenancy;
use crate::tenant::{Event, NewTenant, Replication};
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const DAY_MS: i64 = 86_400_000;
pub(super) const START: Millis = Millis(1_800_000_000_000);

pub(super) fn geo() -> &'static Geo {
    Geo::find("europe").unwrap()
}

pub(super) fn operator() -> Actor {
    Actor::part("test")
}

/// What survives a crash: the directory and the clock.
pub(super) struct World {
    pub(super) dir: PathBuf,
    _owned: Option<tempfile::TempDir>,
    pub(super) clock: Arc<SimulatedClock>,
}

/// Everything that a crash takes.
pub(super) struct House {
    pub(super) keys: Arc<GeoKeyService>,
    pub(super) directory: Arc<Directory>,
    pub(super) audit: Arc<AuditLog>,
    pub(super) regions: Regions,
    pub(super) tenancy: Tenancy,
    pub(super) sweeper: Sweeper,
    clock: Arc<SimulatedClock>,
}

pub(crate) struct KeyClock(pub(crate) Arc<SimulatedClock>);

impl seal::Clock for KeyClock {
    fn cc_lo(&self) -> i64 {
        self.0.now().cc_lo.seconds()
    }
}

pub(crate) struct Anchors(pub(crate) Arc<GeoKeyService>);

impl AnchorStore for Anchors {
    fn newest(&self, region: &'static Region) -> Result<Option<Anchor>, AnchorStoreError> {
        let head = self.0.anchor(region.id).map_err(|error| AnchorStoreError(error.into()))?;
        Ok(head.map(|head| Anchor { counter: head.counter, digest: head.digest }))
    }

    fn save(&self, region: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError> {
        let saved = self.0.save_anchor(region.id, anchor.counter, anchor.digest);
        saved.map_err(|error| AnchorStoreError(error.into()))
    }
}

pub(crate) struct Heads(pub(crate) Arc<GeoKeyService>);

impl HeadStore for Heads {
    fn newest(&self) -> Result<Option<Head>, HeadError> {
        let head = self.0.audit_head().map_err(|error| HeadError(error.into()))?;
        Ok(head.map(|head| Head { entries: head.counter, hash: Hash(head.digest) }))
    }

    fn save(&self, head: &Head) -> Result<(), HeadError> {
        self.0.save_audit_head(head.entries, head.hash.0).map_err(|error| HeadError(error.into()))
    }
}

impl World {
    pub(super) fn new() -> Self {
        let owned = tempfile::tempdir().unwrap();
        let dir = owned.path().to_owned();
        LocalKeyring::create_key_file(&dir.join("key")).unwrap();
        LocalKeyring::create(&dir.join("keyring"), geo().bytes(), &Unlock::KeyFile(dir.join("key"))).unwrap();
        let clock = Arc::new(SimulatedClock::frozen(START));
        Self { dir, _owned: Some(owned), clock }
    }

    /// A copy of the directory as it lies there, at `now`.
    pub(super) fn copy(&self) -> Self {
        let owned = tempfile::tempdir().unwrap();
        copy_dir(&self.dir, owned.path());
        let clock = Arc::new(SimulatedClock::frozen(self.clock.now().wall));
        Self { dir: owned.path().to_owned(), _owned: Some(owned), clock }
    }

    pub(super) async fn open(&self) -> House {
        self.open_with(Arc::default(), &["westeurope", "northeurope"]).await
    }

    pub(super) async fn open_with(&self, fuse: Arc<Fuse>, served: &[&str]) -> House {
        let keys = Arc::new(self.open_keys().await);
        let engine = FusedEngine(open_engine(&self.dir.join("directory")).await, fuse.clone());
        let client = Arc::new(KeyClient::embedded(keys.clone(), LeaseOptions::default()).unwrap());
        let directory = Arc::new(Directory::new(geo(), Arc::new(engine), client));
        let heads = Arc::new(FusedHeads(Heads(keys.clone()), fuse.clone()));
        let audit = AuditLog::open(&self.dir.join("audit"), geo().id, self.clock.clone(), heads).unwrap();
        let audit = Arc::new(audit);
        let mut regions = HashMap::new();
        for id in served {
            let (_, region) = Region::find(id).unwrap();
            let dir = self.region_dir(id);
            let engine = FusedEngine(open_engine(&dir.join("index")).await, fuse.clone());
            let (anchors, geo_keys) = (Arc::new(Anchors(keys.clone())), keys.geo_keys());
            let options = IndexOptions::default();
            let index = RegionIndex::open(Arc::new(engine), region, anchors, geo_keys, START, options).await.unwrap();
            let blobs = ObjectStoreBlobs::local(&dir.join("blobs")).unwrap();
            let blobs: Arc<dyn BlobStore> = Arc::new(FusedBlobs(Arc::new(blobs), fuse.clone()));
            regions.insert(
                region.id,
                Arc::new(RegionRoots {
                    region,
                    index,
                    readers: Readers::new(blobs.clone()),
                    blobs,
                    inline_bytes_max: 65_536,
                }),
            );
        }
        let regions: Regions = Arc::new(regions);
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (directory_, audit_, regions_) = (directory.clone(), audit.clone(), regions.clone());
        let tenancy = Tenancy { directory: directory_, audit: audit_, regions: regions_, clock: clock.clone() };
        let master_gone = crate::sweep::closing::MasterGone::WithItsSecret;
        let (certificates, traffic) = (self.dir.join("certificates"), Default::default());
        let rooms = GeoRooms { tenancy: tenancy.clone(), certificates, master_gone, traffic, closes: None };
        let sweeper = Sweeper::new(vec![rooms], clock, 3600);
        House { keys, directory, audit, regions, tenancy, sweeper, clock: self.clock.clone() }
    }

    async fn open_keys(&self) -> GeoKeyService {
        for _ in 0..TRIES {
            let keyring = LocalKeyring::open(&self.dir.join("keyring"), geo().bytes(), &self.unlock()).unwrap();
            let clock = Arc::new(KeyClock(self.clock.clone()));
            match GeoKeyService::open(&self.dir.join("keystore"), geo().bytes(), Box::new(keyring), clock) {
                Err(KeyError::Store(KeystoreError::Locked)) => tokio::time::sleep(WAIT).await,
                keys => return keys.unwrap(),
            }
        }
        panic!("the key store stays open");
    }

    pub(super) fn region_dir(&self, region: &str) -> PathBuf {
        let dir = self.dir.join("region").join(region);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn unlock(&self) -> Unlock {
        Unlock::KeyFile(self.dir.join("key"))
    }
}

/// The last house may still be closing: its writers end on threads of their own.
const TRIES: usize = 2000;
const WAIT: std::time::Duration = std::time::Duration::from_millis(5);

async fn open_engine(dir: &Path) -> FjallEngine {
    let options = FjallOptions { cache_bytes: 1 << 20, row_cache_bytes: 1 << 20, memtable_bytes: 1 << 20 };
    for _ in 0..TRIES {
        match FjallEngine::open(dir, options) {
            Ok(engine) => return engine,
            Err(_) => tokio::time::sleep(WAIT).await,
        }
    }
    panic!("the engine in {} stays open", dir.display());
}

static HOLE: [u8; 1 << 16] = [0; 1 << 16];

pub(super) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            // A journal is 64 MiB, nearly all of it a hole.
            let bytes = std::fs::read(entry.path()).unwrap();
            let copy = std::fs::File::create(&to).unwrap();
            copy.set_len(bytes.len() as u64).unwrap();
            for (at, piece) in bytes.chunks(HOLE.len()).enumerate().filter(|(_, piece)| **piece != HOLE[..piece.len()])
            {
                copy.write_all_at(piece, (at * HOLE.len()) as u64).unwrap();
            }
        }
    }
}

/// Every file below a directory, whole.
pub(super) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push((path.clone(), std::fs::read(path).unwrap()));
            }
        }
    }
    found
}

impl House {
    /// Ends in good order.
    pub(super) async fn close(self) {
        for roots in self.regions.values() {
            roots.index.stop().await.unwrap();
        }
    }

    /// A tenant at home in westeurope.
    pub(super) async fn tenant(&self, name: &str) -> TenantId {
        let id = TenantId::random();
        let home = &geo().regions[0];
        let new = NewTenant { id, geo: geo(), home, replication: Replication::None, consent: Some([1; 32]) };
        let detail = Detail { name: name.to_owned(), contact: None };
        self.tenancy.create(&operator(), new, detail).await.unwrap();
        id
    }

    pub(super) async fn entry(&self, id: TenantId) -> Arc<TenantEntry> {
        self.directory.tenant(id).await.unwrap().unwrap()
    }

    pub(super) async fn apply(&self, id: TenantId, event: Event) {
        self.tenancy.apply(&operator(), id, None, &event).await.unwrap();
    }

    /// A bucket in the geo's region with this place.
    pub(super) async fn bucket(&self, id: TenantId, name: &str, region: usize) -> Arc<OpenedBucket> {
        let name = BucketName::parse(name).unwrap();
        let at = self.directory.create_bucket(id, &name, &geo().regions[region], START).await.unwrap().unwrap();
        self.directory.open_bucket(&at).await.unwrap().unwrap()
    }

    pub(super) fn roots(&self, bucket: &OpenedBucket) -> Arc<RegionRoots> {
        self.regions[bucket.at.region.id].clone()
    }

    /// Stores an object as the store does: small ones in the row, middling ones in a row of their own, large as a blob.
    pub(super) async fn put(&self, bucket: &OpenedBucket, name: &str, plain: &[u8]) -> SegmentId {
        self.put_as(bucket, name, plain, Condition::None, Keep::Replace).await
    }

    /// The same in a bucket that keeps versions.
    pub(super) async fn put_version(&self, bucket: &OpenedBucket, name: &str, plain: &[u8]) {
        self.put_as(bucket, name, plain, Condition::None, Keep::Beside).await;
    }

    /// The same where holds may keep what is there.
    pub(super) async fn put_where_held(&self, bucket: &OpenedBucket, name: &str, plain: &[u8]) {
        let condition = self.directory.unkept(&bucket.at, Condition::None).await.unwrap();
        self.put_as(bucket, name, plain, condition, Keep::Replace).await;
    }

    async fn put_as(
        &self,
        bucket: &OpenedBucket,
        name: &str,
        plain: &[u8],
        condition: Condition,
        keep: Keep,
    ) -> SegmentId {
        let (mut row, dek) = self.row(bucket, name).await;
        let id = SegmentId::random();
        let info = seal::segment_info(SegmentKind::Whole, 0, self.context(bucket, &row), id, row.dek_id);
        let sealed = dek.seal_whole(&info, plain);
        row.size = plain.len() as u64;
        row.segments = vec![SegmentRef { id, part: 0, len: row.size }];
        let inline = if plain.len() <= 65_536 {
            Some(Bytes::from(sealed))
        } else {
            self.put_blob(bucket, id, sealed).await;
            None
        };
        self.commit(bucket, (row, inline), condition, keep).await;
        id
    }

    /// An object of so many parts that its list of them is a blob of its own, and the list's id.
    pub(super) async fn put_parts(&self, bucket: &OpenedBucket, name: &str, parts: u16) -> SegmentId {
        let (mut row, dek) = self.row(bucket, name).await;
        let mut segments = Vec::new();
        for part in 1..=parts {
            let id = SegmentId::random();
            let info = seal::segment_info(SegmentKind::Part, part, self.context(bucket, &row), id, row.dek_id);
            self.put_blob(bucket, id, dek.seal_whole(&info, b"a part")).await;
            segments.push(SegmentRef { id, part, len: 6 });
        }
        let plain = minicbor::to_vec(&segments).unwrap();
        let id = SegmentId::random();
        let info = seal::part_list_info(self.context(bucket, &row), id, row.dek_id);
        self.put_blob(bucket, id, dek.seal_whole(&info, &plain)).await;
        row.size = 6 * u64::from(parts);
        row.segments = vec![SegmentRef { id, part: 0, len: plain.len() as u64 }];
        row.place = Place::PartList;
        self.commit(bucket, (row, None), Condition::None, Keep::Replace).await;
        id
    }

    /// An upload with one part.
    pub(super) async fn upload(&self, bucket: &OpenedBucket, name: &str) -> (UploadId, SegmentId) {
        let (row, dek) = self.row(bucket, name).await;
        let (upload_id, id) = (UploadId::random(), SegmentId::random());
        let info = seal::segment_info(SegmentKind::Part, 1, self.context(bucket, &row), id, row.dek_id);
        let upload = UploadRow {
            name: row.name,
            object_id: row.object_id,
            version_id: row.version_id,
            dek_id: row.dek_id,
            dek_record: row.dek_record,
            headers: row.headers,
            metadata: vec![],
            tags: vec![],
            checksum: None,
            created: self.clock.now().wall,
            upload_id,
            subject: None,
            begun: None,
            for_request: None,
            born_under: None,
            subjects: None,
        };
        let stale = self.clock.now().cc_lo.plus_seconds(UPLOAD_KEEP_S);
        let roots = self.roots(bucket);
        roots.index.create_upload(&bucket.index, upload, stale, None).await.unwrap();
        self.put_blob(bucket, id, dek.seal_whole(&info, b"a part")).await;
        let segment = SegmentRef { id, part: 1, len: 6 };
        let part = PartRow { number: 1, segment, etag: "0".repeat(32), checksums: vec![], mtime: START };
        roots.index.put_part(&bucket.index, upload_id, part).await.unwrap();
        (upload_id, id)
    }

    /// A blob of the bucket's tenant that no row names.
    pub(super) async fn orphan(&self, bucket: &OpenedBucket) -> SegmentId {
        let (row, dek) = self.row(bucket, "never committed").await;
        let id = SegmentId::random();
        let info = seal::segment_info(SegmentKind::Whole, 0, self.context(bucket, &row), id, row.dek_id);
        self.put_blob(bucket, id, dek.seal_whole(&info, b"lost")).await;
        id
    }

    async fn row(&self, bucket: &OpenedBucket, name: &str) -> (ObjectRow, Dek) {
        let (object_id, version_id) = (ObjectId::random(), VersionId::random());
        let context = seal::object_context(&bucket.at, object_id, version_id);
        let (dek, dek_record) = self.directory.keys(bucket.at.tenant).await.unwrap().new_dek(&context).unwrap();
        let row = ObjectRow {
            name: name.to_owned(),
            object_id,
            version_id,
            kind: ObjectKind::Object,
            size: 0,
            mtime: self.clock.now().wall,
            etag: "0".repeat(32),
            checksums: vec![],
            headers: ContentHeaders::default(),
            metadata: vec![],
            tags: vec![],
            subject: None,
            segments: vec![],
            place: Place::Blob,
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
        (row, dek)
    }

    fn context(&self, bucket: &OpenedBucket, row: &ObjectRow) -> seal::ObjectContext {
        seal::object_context(&bucket.at, row.object_id, row.version_id)
    }

    async fn put_blob(&self, bucket: &OpenedBucket, id: SegmentId, sealed: Vec<u8>) {
        self.roots(bucket).blobs.put(id, stream::iter([Ok(Bytes::from(sealed))]).boxed()).await.unwrap();
    }

    async fn commit(
        &self,
        bucket: &OpenedBucket,
        (row, inline): (ObjectRow, Option<Bytes>),
        condition: Condition,
        keep: Keep,
    ) {
        let row = ObjectRow { written: Some(self.clock.now().cc_lo), ..row };
        let put = PutObject { row, inline, condition, keep, dating: None, from_upload: None, places: Vec::new() };
        let bucket = &*self.directory.open_bucket(&bucket.at).await.unwrap().unwrap();
        self.roots(bucket).index.put(&bucket.index, put).await.unwrap();
    }

    /// Reads an object that is inline or one blob; panics when anything of it does not verify.
    pub(super) async fn get(&self, bucket: &OpenedBucket, name: &str) -> Option<Vec<u8>> {
        let object = ObjectName::parse(name.to_owned()).unwrap();
        let bucket = &*self.directory.open_bucket(&bucket.at).await.unwrap().unwrap();
        let found = self.roots(bucket).index.get(&bucket.index, &object).await.unwrap()?;
        self.get_version(bucket, name, VersionAsked::Id(found.row.version_id)).await
    }

    /// The same of one version.
    pub(super) async fn get_version(&self, bucket: &OpenedBucket, name: &str, asked: VersionAsked) -> Option<Vec<u8>> {
        let name = ObjectName::parse(name.to_owned()).unwrap();
        let roots = self.roots(bucket);
        // As a request does it: a handle from before the clock moved may be void by now.
        let bucket = &*self.directory.open_bucket(&bucket.at).await.unwrap().unwrap();
        let found = roots.index.find_version(&bucket.index, &name, asked).await.unwrap()?;
        let (row, segment) = (&found.row, found.row.segments[0]);
        let sealed = match found.inline {
            Some(sealed) => sealed,
            None => {
                let len = roots.blobs.len(segment.id).await.unwrap();
                roots.blobs.get(segment.id, 0..len).await.unwrap()
            }
        };
        let context = self.context(bucket, row);
        let info = seal::segment_info(SegmentKind::Whole, 0, context, segment.id, row.dek_id);
        let dek = self.directory.keys(bucket.at.tenant).await.unwrap().open_dek(&row.dek_record, &context).unwrap();
        Some(dek.open_whole(&info, &sealed, segment.len).unwrap())
    }

    /// Every blob of a region, with its length.
    pub(super) async fn blobs(&self, region: usize) -> BTreeMap<SegmentId, u64> {
        let roots = &self.regions[geo().regions[region].id];
        roots.blobs.list().map(|blob| blob.map(|blob| (blob.id, blob.len)).unwrap()).collect().await
    }

    /// Names of the events in the log, about this tenant.
    pub(super) fn events(&self, id: TenantId) -> Vec<String> {
        self.audit.verify().unwrap();
        let entries = self.audit.entries(0, usize::MAX).unwrap();
        entries.iter().filter(|entry| entry.tenant() == Some(id)).map(|entry| entry.name().to_owned()).collect()
    }
}
