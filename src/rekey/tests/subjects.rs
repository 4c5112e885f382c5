//! The index root of a tenant with data subjects, replaced again and again while clients name those subjects, while some
//! are erased, and while the power goes. The model is small: what was acknowledged and not erased is there, under the one
//! id that its subject's name leads to, and can be found by it; what was erased is nowhere; nothing is left behind under
//! an older root.

use crate::audit::{Actor, AuditLog, Head, HeadError, HeadStore};
use crate::blob::{BlobStore, ObjectStoreBlobs, Readers};
use crate::directory::{Detail, Directory, OpenedBucket};
use crate::index::anchor::{Anchor, AnchorStore, AnchorStoreError};
use crate::index::engine::{Batch, Direction, EngineError, KeyRange, Snapshot};
use crate::index::rows::v1::{ObjectKind, ObjectRow, Place, SubjectRow};
use crate::index::{Condition, Engine, IndexOptions, Keep, MemoryEngine, PutObject, RegionIndex, SubjectPlace};
use crate::model::atlas::{Geo, Region};
use crate::model::clock::SimulatedClock;
use crate::model::ids::{ObjectId, SubjectId, TenantId, VersionId};
use crate::model::names::{BucketName, SubjectName};
use crate::model::object::{BucketRef, ContentHeaders};
use crate::model::time::Millis;
use crate::model::traffic::Traffic;
use crate::regions::{RegionRoots, Regions};
use crate::rekey::{Rooms, Run, Watch, rotate_index_root};
use crate::seal::{self, Clock, GeoKeyService, KeyClient, LeaseOptions, LocalKeyring, Unlock};
use crate::subject;
use crate::tenancy::Tenancy;
use crate::tenant::{NewTenant, Replication};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinSet;

const START: Millis = Millis(1_800_000_000_000);
const NAMES: usize = 7;
const ACTS: usize = 300;

struct Still;

impl Clock for Still {
    fn cc_lo(&self) -> i64 {
        START.seconds()
    }
}

struct NoAnchors;

impl AnchorStore for NoAnchors {
    fn newest(&self, _: &'static Region) -> Result<Option<Anchor>, AnchorStoreError> {
        Ok(None)
    }

    fn save(&self, _: &'static Region, _: Anchor) -> Result<(), AnchorStoreError> {
        Ok(())
    }
}

struct NoHeads;

impl HeadStore for NoHeads {
    fn newest(&self) -> Result<Option<Head>, HeadError> {
        Ok(None)
    }

    fn save(&self, _: &Head) -> Result<(), HeadError> {
        Ok(())
    }
}

struct Nobody;

impl Watch for Nobody {
    fn phase(&self, _: &'static str, _: u64) {}
    fn done(&self, _: u64) {}
}

pub(super) fn nobody_watches() -> &'static dyn Watch {
    &Nobody
}

/// Gives way to others a random number of times before everything it does.
#[derive(Clone)]
struct Halting(MemoryEngine, Arc<Mutex<fastrand::Rng>>);

impl Halting {
    async fn halt(&self) {
        let times = self.1.lock().usize(..6);
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait::async_trait]
impl Engine for Halting {
    async fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.halt().await;
        self.0.get(row_key).await
    }

    async fn scan(&self, range: KeyRange, limit: usize, way: Direction) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.halt().await;
        // Small pages, so that a walk is often between two.
        let rows = self.0.scan(range, limit, way).await;
        self.halt().await;
        rows
    }

    async fn scan_keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Bytes>, EngineError> {
        self.halt().await;
        self.0.scan_keys(range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        self.halt().await;
        self.0.commit(batch).await
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, EngineError> {
        self.0.snapshot()
    }

    async fn compact(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// What a crash leaves: the engines, the key service's disk (and here the service itself).
pub(super) struct World {
    pub(super) service: Arc<GeoKeyService>,
    engine: Halting,
    regions: Regions,
    audit: Arc<AuditLog>,
    clock: Arc<SimulatedClock>,
    chance: Arc<Mutex<fastrand::Rng>>,
    _dir: tempfile::TempDir,
}

/// What a crash takes: caches, locks, who runs what.
#[derive(Clone)]
struct House {
    tenancy: Tenancy,
    tenant: TenantId,
    at: Arc<BucketRef>,
    chance: Arc<Mutex<fastrand::Rng>>,
}

fn geo() -> &'static Geo {
    Geo::find("europe").unwrap()
}

fn service(at: &Path) -> Arc<GeoKeyService> {
    let unlock = Unlock::KeyFile(at.join("key"));
    LocalKeyring::create_key_file(&at.join("key")).unwrap();
    let keyring = LocalKeyring::create(&at.join("keyring"), geo().bytes(), &unlock).unwrap();
    Arc::new(GeoKeyService::open(&at.join("keystore"), geo().bytes(), Box::new(keyring), Arc::new(Still)).unwrap())
}

impl World {
    pub(super) async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = service(dir.path());
        let chance = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
        let engine = Halting(MemoryEngine::default(), chance.clone());
        let clock = Arc::new(SimulatedClock::frozen(START));
        let heads = Arc::new(NoHeads);
        let audit = Arc::new(AuditLog::open(&dir.path().join("audit"), geo().id, clock.clone(), heads).unwrap());
        let mut regions = HashMap::new();
        for region in geo().regions.iter().take(2) {
            let engine = Arc::new(Halting(MemoryEngine::default(), chance.clone()));
            let (anchors, options) = (Arc::new(NoAnchors), IndexOptions::default());
            let index = RegionIndex::open(engine, region, anchors, service.geo_keys(), START, options).await.unwrap();
            let blobs = Arc::new(ObjectStoreBlobs::local(&dir.path().join(region.id)).unwrap()) as Arc<dyn BlobStore>;
            let readers = Readers::new(blobs.clone());
            regions
                .insert(region.id, Arc::new(RegionRoots { region, index, blobs, readers, inline_bytes_max: 65_536 }));
        }
        Self { service, engine, regions: Arc::new(regions), audit, clock, chance, _dir: dir }
    }

    pub(super) fn tenancy(&self) -> Tenancy {
        let client = Arc::new(KeyClient::embedded(self.service.clone(), LeaseOptions::default()).unwrap());
        let directory = Arc::new(Directory::new(geo(), Arc::new(self.engine.clone()), client));
        Tenancy { directory, audit: self.audit.clone(), regions: self.regions.clone(), clock: self.clock.clone() }
    }

    fn restart(&self, before: &House) -> House {
        House { tenancy: self.tenancy(), ..before.clone() }
    }

    async fn first(&self) -> House {
        let (tenancy, tenant) = (self.tenancy(), TenantId::random());
        let home = &geo().regions[0];
        let new = NewTenant { id: tenant, geo: geo(), home, replication: Replication::None, consent: Some([1; 32]) };
        let detail = Detail { name: "acme".into(), contact: None };
        tenancy.create(&Actor::part("test"), new, detail).await.unwrap();
        let name = BucketName::parse("contacts").unwrap();
        let at = tenancy.directory.create_bucket(tenant, &name, home, START).await.unwrap().unwrap();
        House { tenancy, tenant, at, chance: self.chance.clone() }
    }
}

fn name(of: usize) -> SubjectName {
    SubjectName::parse(&format!("contact:{of}")).unwrap()
}

impl House {
    async fn bucket(&self) -> Arc<OpenedBucket> {
        self.tenancy.directory.open_bucket(&self.at).await.unwrap().unwrap()
    }

    async fn halt(&self) {
        let times = self.chance.lock().usize(..40);
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }

    /// As the store puts: keys, subject and its key first, the body, then the commit. `None`: refused, the subject is
    /// being erased.
    async fn put(self, of: usize, object: usize) -> Option<(usize, usize, SubjectId)> {
        let directory = &self.tenancy.directory;
        let (name, bucket) = (name(of), self.bucket().await);
        let keys = directory.keys(self.tenant).await.unwrap();
        let entry = directory.subject_to_write(self.tenant, &name).await.unwrap();
        if entry.erasing {
            return None;
        }
        let Ok(key) = directory.subject_key(self.tenant, entry.id).await else {
            directory.forget_subject(self.tenant, &entry);
            return None;
        };
        let (object_id, version_id) = (ObjectId::random(), VersionId::random());
        let context = seal::object_context(&self.at, object_id, version_id);
        let (_, dek_record) = key.new_dek(&context).ok()?;
        self.halt().await;
        let place = directory.place_of(&keys, &name, self.at.bucket, version_id);
        let said = SubjectRow { subject: entry.id, name: format!("o/{object}"), upload: None };
        let place = SubjectPlace::new(&keys, &place, &said);
        let row = ObjectRow {
            name: said.name,
            object_id,
            version_id,
            kind: ObjectKind::Object,
            size: 0,
            mtime: START,
            etag: "0".repeat(32),
            checksums: vec![],
            headers: ContentHeaders::default(),
            metadata: vec![],
            tags: vec![],
            subject: Some(entry.id),
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
        let _commits = directory.commits(self.tenant).await.unwrap().unwrap();
        directory.subject_key(self.tenant, entry.id).await.ok()?.check().ok()?;
        let put = PutObject {
            row,
            inline: None,
            condition: Condition::None,
            keep: Keep::Replace,
            dating: None,
            from_upload: None,
            places: vec![place],
        };
        self.tenancy.regions[self.at.region.id].index.put(&bucket.index, put).await.unwrap();
        Some((of, object, entry.id))
    }

    async fn erase(self, of: usize, erased: Arc<Mutex<BTreeSet<SubjectId>>>) {
        let (by, name) = (Actor::part("test"), name(of));
        let Some((entry, _)) = subject::foresee(&self.tenancy, self.tenant, &name).await.unwrap() else { return };
        // From here on it may be gone, whatever becomes of this.
        erased.lock().insert(entry.id);
        if !entry.erasing {
            subject::begin(&self.tenancy, &by, self.tenant, &name, entry.id).await.unwrap();
        }
        subject::erase(&self.tenancy, &by, self.tenant, entry.id, &|_| {}).await.unwrap();
    }

    async fn rotate(self) {
        let Tenancy { directory, regions, audit, clock } = self.tenancy;
        let (rooms, by) =
            (Rooms { directory, regions, audit, clock, traffic: Traffic::default() }, Actor::part("test"));
        let run = Run { actor: &by, records_per_s: None, watch: &Nobody };
        let done = rotate_index_root(&rooms, &run, self.tenant).await.unwrap();
        assert_eq!(done.remaining, 0);
    }

    /// Compares everything that is stored with what has to be there.
    async fn audit(&self, acknowledged: &[(usize, usize, SubjectId)], erased: &BTreeSet<SubjectId>) {
        let (directory, index) = (&self.tenancy.directory, &self.tenancy.regions[self.at.region.id].index);
        assert!(directory.erasures().await.unwrap().is_empty());
        let known = directory.subjects_page(self.tenant, None, usize::MAX).await.unwrap();
        let by_name: BTreeMap<_, _> = known.iter().map(|at| (at.name.as_str().to_owned(), at.id)).collect();
        assert_eq!(known.len(), by_name.len(), "a name leads to two ids");
        let mut objects = BTreeMap::new();
        let (bucket, mut cursor) = (self.bucket().await, None);
        loop {
            let page = index.scan_objects(&bucket.index, cursor.as_ref(), 100).await.unwrap();
            objects.extend(page.iter().map(|found| (found.row.name.clone(), found.row.clone())));
            match page.last() {
                Some(last) => cursor = Some(last.cursor.clone()),
                None => break,
            }
        }
        for (of, object, id) in acknowledged.iter().filter(|(_, _, id)| !erased.contains(id)) {
            assert_eq!(by_name.get(name(*of).as_str()), Some(id), "contact:{of} is another one now");
            let row = objects.get(&format!("o/{object}")).expect("what was acknowledged is there");
            assert_eq!(row.subject, Some(*id));
        }
        let keys = directory.keys(self.tenant).await.unwrap();
        let mut placed = BTreeSet::new();
        for at in &known {
            let tokens: Vec<_> = keys.subject_tokens(at.name.as_str().as_bytes()).collect();
            assert_eq!(tokens.len(), 1, "older index roots are destroyed");
            for (place, row) in index.subject_places(&keys, tokens[0], None, usize::MAX).await.unwrap() {
                assert_eq!(row.subject, at.id);
                placed.insert((row.name, place.version, row.subject));
            }
        }
        let held: BTreeSet<_> =
            objects.values().map(|row| (row.name.clone(), row.version_id, row.subject.expect("a subject's"))).collect();
        assert_eq!(held, placed, "an object without its place, or a place without its object");
        let mut most = u64::MAX;
        let all: u64 = index.subject_places_under(self.tenant, &mut most).await.unwrap().values().sum();
        assert_eq!(all, placed.len() as u64, "places that no name leads to");
        for (_, _, id) in &placed {
            directory.subject_key(self.tenant, *id).await.expect("nothing is left of who was erased");
        }
    }
}

async fn live(seed: u64) {
    let world = World::new(seed).await;
    let mut house = world.first().await;
    let erased = Arc::new(Mutex::new(BTreeSet::new()));
    let (mut acknowledged, mut puts, mut others) = (Vec::new(), JoinSet::new(), JoinSet::new());
    let (mut rotation, mut restarts, mut rotations) = (None::<tokio::task::JoinHandle<()>>, 0, 0);
    for act in 0..ACTS {
        let (chance, of) = {
            let mut chance = world.chance.lock();
            (chance.usize(..100), chance.usize(..NAMES))
        };
        match chance {
            0..76 => drop(puts.spawn(house.clone().put(of, act))),
            76..84 => drop(others.spawn(house.clone().erase(of, erased.clone()))),
            84..97 => {
                if let Some(ended) = rotation.take_if(|rotation| rotation.is_finished()) {
                    ended.await.unwrap();
                }
                if rotation.is_none() {
                    rotation = Some(tokio::spawn(house.clone().rotate()));
                    rotations += 1;
                }
            }
            _ => {
                // The power goes: whoever was at work is not any more; what they had asked of the writer may yet come.
                restarts += 1;
                while let Some(Ok(put)) = puts.try_join_next() {
                    acknowledged.extend(put);
                }
                puts.shutdown().await;
                others.shutdown().await;
                if let Some(rotation) = rotation.take() {
                    rotation.abort();
                    let _cut_off = rotation.await;
                }
                house = world.restart(&house);
                // As at the start of a server: erasures first, a rotation beside the requests.
                subject::resume(&house.tenancy, &Actor::part("test")).await.unwrap();
                rotation = Some(tokio::spawn(house.clone().rotate()));
            }
        }
        house.halt().await;
        if puts.len() > 8 {
            acknowledged.extend(puts.join_next().await.unwrap().unwrap());
        }
        while others.len() > 2 {
            others.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(put) = puts.join_next().await {
        acknowledged.extend(put.unwrap());
    }
    while let Some(ended) = others.join_next().await {
        ended.unwrap();
    }
    if let Some(rotation) = rotation {
        rotation.await.unwrap();
    }
    // A version stays for the next rotation where a lease was renewed in just that moment.
    for _ in 0..20 {
        house.clone().rotate().await;
        if house.tenancy.directory.keys(house.tenant).await.unwrap().subject_tokens(b"any").count() == 1 {
            break;
        }
    }
    let erased = erased.lock().clone();
    let left = acknowledged.iter().filter(|(_, _, id)| !erased.contains(id)).count();
    eprintln!(
        "seed {seed}: {} acknowledged, {left} left, {} erased, {rotations} rotations, {restarts} restarts",
        acknowledged.len(),
        erased.len()
    );
    house.audit(&acknowledged, &erased).await;
}

/// Prints its seeds; `GEOSEAL_SEED` takes one of them up again.
#[tokio::test]
async fn subjects_keep_one_id_through_rotations_erasures_and_crashes() {
    let seeds: Vec<u64> = match std::env::var("GEOSEAL_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=12).collect(),
    };
    for seed in seeds {
        live(seed).await;
    }
}
