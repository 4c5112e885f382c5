//! One geo with one region, its real conductors over engines and a blob store in memory, a key service and a log on disk.
//! What is here outlives a crash; a [`House`] does not.

use crate::app::register::Registrar;
use crate::audit::{Actor, AuditLog};
use crate::blob::{BlobStore, ObjectStoreBlobs, Readers};
use crate::directory::{Detail, Directory};
use crate::gate::Gate;
use crate::index::{
    Anchor, AnchorStore, AnchorStoreError, Batch, Direction, Engine, IndexOptions, KeyRange, MemoryEngine, RegionIndex,
};
use crate::model::atlas::{Geo, Region};
use crate::model::clock::{Clock, SimulatedClock};
use crate::model::ids::{SegmentId, TenantId};
use crate::model::login::{Login, Role};
use crate::model::names::BucketName;
use crate::model::time::Millis;
use crate::model::traffic::Traffic;
use crate::regions::{RegionRoots, Regions};
use crate::rekey::Rooms;
use crate::seal::{GeoKeyService, KeyClient, KeyError, KeystoreError, LeaseOptions, LocalKeyring, Unlock};
use crate::store::{Alarm, Store, StoreMeters};
use crate::sweep::tests::fuse::{Fuse, FusedBlobs, FusedEngine, FusedHeads};
use crate::sweep::tests::world::{Heads, KeyClock};
use crate::sweep::{GeoRooms, Sweeper};
use crate::tenancy::Tenancy;
use crate::tenant::{NewTenant, Replication};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub(super) const START: Millis = Millis(1_800_000_000_000);
/// The one bucket of every tenant.
pub(super) const BUCKET: &str = "records";

/// What outlives a crash.
pub(super) struct World {
    dir: tempfile::TempDir,
    directory: MemoryEngine,
    index: MemoryEngine,
    blobs: Arc<ObjectStoreBlobs>,
    pub(super) clock: Arc<SimulatedClock>,
    anchors: Arc<Kept>,
}

/// Rows and blobs as they were at one moment, and what the index was then. Keys and the log are never put back: what was
/// destroyed stays destroyed, as the shred log sees to.
pub(super) struct Backup {
    directory: Vec<(Bytes, Bytes)>,
    index: Vec<(Bytes, Bytes)>,
    blobs: Vec<(SegmentId, Bytes)>,
    anchor: Option<Anchor>,
}

/// The newest anchor of the one region.
#[derive(Default)]
struct Kept(Mutex<Option<Anchor>>);

impl AnchorStore for Kept {
    fn newest(&self, _: &'static Region) -> Result<Option<Anchor>, AnchorStoreError> {
        Ok(*self.0.lock())
    }

    fn save(&self, _: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError> {
        *self.0.lock() = Some(anchor);
        Ok(())
    }
}

/// One process.
pub(super) struct House {
    pub(super) tenancy: Tenancy,
    pub(super) sweeper: Sweeper,
    pub(super) store: Store,
    pub(super) gate: Gate,
    pub(super) fuse: Arc<Fuse>,
}

pub(super) fn geo() -> &'static Geo {
    Geo::find("europe").expect("the atlas has it")
}

pub(super) fn home() -> &'static Region {
    &geo().regions[0]
}

pub(super) fn operator() -> Actor {
    Actor::part("simulation")
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let key = dir.path().join("key");
        LocalKeyring::create_key_file(&key).expect("a key file");
        LocalKeyring::create(&dir.path().join("keyring"), geo().bytes(), &Unlock::KeyFile(key)).expect("a keyring");
        Self {
            dir,
            directory: MemoryEngine::default(),
            index: MemoryEngine::default(),
            blobs: Arc::new(ObjectStoreBlobs::in_memory()),
            clock: Arc::new(SimulatedClock::frozen(START)),
            anchors: Arc::default(),
        }
    }

    /// Starts a process that ends at its `crash`-th write; zero: it lives on. `None`: it ended before it served.
    pub(super) async fn open(&self, crash: u64) -> Option<House> {
        let fuse = Fuse::at(crash);
        let keys = Arc::new(self.open_keys().await);
        let engine = Arc::new(FusedEngine(self.directory.clone(), fuse.clone()));
        let client = Arc::new(KeyClient::embedded(keys.clone(), LeaseOptions::default()).ok()?);
        let directory = Arc::new(Directory::new(geo(), engine, client));
        let heads = Arc::new(FusedHeads(Heads(keys.clone()), fuse.clone()));
        let clock: Arc<dyn Clock> = self.clock.clone();
        let audit = Arc::new(AuditLog::open(&self.dir.path().join("audit"), geo().id, clock.clone(), heads).ok()?);
        let engine = Arc::new(FusedEngine(self.index.clone(), fuse.clone()));
        let (anchors, geo_keys) = (self.anchors.clone(), keys.geo_keys());
        let index = RegionIndex::open(engine, home(), anchors, geo_keys, START, IndexOptions::default()).await.ok()?;
        let blobs: Arc<dyn BlobStore> = Arc::new(FusedBlobs(self.blobs.clone(), fuse.clone()));
        let readers = Readers::new(blobs.clone());
        let roots = Arc::new(RegionRoots { region: home(), index, blobs, readers, inline_bytes_max: 65_536 });
        let regions: Regions = Arc::new(HashMap::from([(home().id, roots)]));
        let tenancy = Tenancy { directory: directory.clone(), audit, regions: regions.clone(), clock: clock.clone() };
        let master_gone = crate::sweep::closing::MasterGone::WithItsSecret;
        let certificates = self.dir.path().join("certificates");
        let rooms =
            GeoRooms { tenancy: tenancy.clone(), certificates, master_gone, traffic: Traffic::default(), closes: None };
        let sweeper = Sweeper::new(vec![rooms], clock.clone(), 3600);
        let (alarm, meters) = (Alarm::default(), StoreMeters::default());
        let store = Store::new(HashMap::from([(geo().id, directory.clone())]), regions, clock, alarm, meters);
        let regions = HashSet::from([home().id]);
        let register = Registrar { directories: vec![directory], regions, clock: self.clock.clone() };
        Some(House { tenancy, sweeper, store, gate: Gate::new(Arc::new(register)), fuse })
    }

    /// After one process another, that ends at its `crash`-th write; one that lives on, if it ended before it served.
    pub(super) async fn again(&self, house: Option<House>, crash: u64) -> House {
        if let Some(house) = house.filter(|house| !house.fuse.is_burnt()) {
            // It ends in good order: no task of it writes after the next one opened.
            for roots in house.tenancy.regions.values() {
                roots.index.stop().await.expect("it stops");
            }
        }
        match self.open(crash).await {
            Some(house) => house,
            None => self.open(0).await.expect("nothing burns"),
        }
    }

    /// How many blobs there are.
    pub(super) async fn blobs(&self) -> usize {
        self.blobs.list().try_fold(0, async |count, _| Ok(count + 1)).await.expect("it lists")
    }

    /// What a backup of this moment has.
    pub(super) async fn backup(&self) -> Backup {
        let all = |engine: &MemoryEngine| {
            let engine = engine.clone();
            async move { engine.scan(KeyRange::all(), usize::MAX, Direction::Ascending).await.expect("it reads") }
        };
        let (directory, index) = (all(&self.directory).await, all(&self.index).await);
        let listed: Vec<_> = self.blobs.list().try_collect().await.expect("it lists");
        let mut blobs = Vec::new();
        for blob in listed {
            // One that nothing names any more may go meanwhile.
            blobs.extend(self.blobs.get(blob.id, 0..blob.len).await.ok().map(|sealed| (blob.id, sealed)));
        }
        Backup { directory, index, blobs, anchor: *self.anchors.0.lock() }
    }

    /// Puts rows and blobs back as they were, in stores of their own: what the last process still has to tidy is not here. No
    /// process runs.
    pub(super) async fn restore(&mut self, backup: &Backup) {
        (self.directory, self.index) = (MemoryEngine::default(), MemoryEngine::default());
        self.blobs = Arc::new(ObjectStoreBlobs::in_memory());
        for (engine, rows) in [(&self.directory, &backup.directory), (&self.index, &backup.index)] {
            let mut batch = Batch::new();
            for (row_key, value) in rows {
                batch.put(row_key.clone(), value.clone());
            }
            engine.commit(batch).await.expect("it writes");
        }
        for (id, sealed) in &backup.blobs {
            let sealed = stream::iter([Ok(sealed.clone())]).boxed();
            self.blobs.put(*id, sealed).await.expect("it writes");
        }
        self.anchors = Arc::new(Kept(Mutex::new(backup.anchor)));
    }

    async fn open_keys(&self) -> GeoKeyService {
        let unlock = Unlock::KeyFile(self.dir.path().join("key"));
        for _ in 0..50_000 {
            let keyring =
                LocalKeyring::open(&self.dir.path().join("keyring"), geo().bytes(), &unlock).expect("it opens");
            let (store, clock) = (self.dir.path().join("keystore"), Arc::new(KeyClock(self.clock.clone())));
            match GeoKeyService::open(&store, geo().bytes(), Box::new(keyring), clock) {
                // The last process may still be ending: its writers are threads of their own, and a busy disk keeps them.
                Err(KeyError::Store(KeystoreError::Locked)) => tokio::time::sleep(Duration::from_millis(2)).await,
                keys => return keys.expect("the key store opens"),
            }
        }
        panic!("the key store stays open");
    }
}

impl House {
    /// A tenant at home here, with a bucket and a login.
    pub(super) async fn tenant(&self, number: usize) -> (TenantId, Login) {
        let id = TenantId::random();
        let new = NewTenant { id, geo: geo(), home: home(), replication: Replication::None, consent: Some([1; 32]) };
        let detail = Detail { name: format!("tenant-{number}"), contact: None };
        self.tenancy.create(&operator(), new, detail).await.expect("it is made");
        let directory = &self.tenancy.directory;
        let login = directory.create_login(id, Role::Service, START).await.expect("a login");
        let name = BucketName::parse(BUCKET).expect("a good name");
        directory.create_bucket(id, &name, home(), START).await.expect("a bucket").expect("a new one");
        (id, login)
    }

    /// What rotations work with.
    pub(super) fn rooms(&self) -> Rooms {
        let Tenancy { directory, audit, regions, clock } = self.tenancy.clone();
        Rooms { directory, regions, audit, clock, traffic: Traffic::default() }
    }
}
