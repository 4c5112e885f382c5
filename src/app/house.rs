//! Builds the rooms in the order in which they stand on one another: clock, keys, directory, log, index, cellar, store.
//! The only file that knows them all.

use super::AppError;
use super::anchors::{Anchors, KeyClock, LogHeads};
use super::key_link::{self, LateClock};
use super::providers;
use super::register::Registrar;
use crate::audit::WitnessFile;
use crate::audit::{Actor, AuditLog, Event as Record, Hash};
use crate::blob::{BlobStore, ObjectStoreBlobs, Readers, RemoteStore};
use crate::cli::RolledBack;
use crate::config::{BlobsConfig, Config};
use crate::directory::Directory;
use crate::gate::Gate;
use crate::index::{self, FjallEngine, FjallOptions, IndexOptions, OpenFault, RegionIndex};
use crate::model::atlas::Geo;
use crate::model::clock::{Clock, ClockError, RealClock, SimulatedClock, StateFile, SystemSource};
use crate::model::ids::{SubjectId, TenantId};
use crate::model::time::Millis;
use crate::model::traffic::Traffic;
use crate::regions::{RegionRoots, Regions};
use crate::rekey::Rooms;
use crate::seal::{GeoKeyService, KeyClient, StateMac};
use crate::store::{Alarm, Store, StoreMeters};
use crate::telemetry::{KeeperCalls, KeeperMeters, Registry};
use crate::tenancy::Tenancy;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Memory for the listing leaves of one region.
const LEAF_CACHE_BYTES: u64 = 64 << 20;
/// A directory is small: few rows, rarely read past the cache above it.
const DIRECTORY_CACHE_BYTES: u64 = 8 << 20;
const DIRECTORY_MEMTABLE_BYTES: u64 = 4 << 20;

/// One served geo.
pub(super) struct GeoRoom {
    pub(super) geo: &'static Geo,
    pub(super) keys: Arc<KeyClient>,
    pub(super) directory: Arc<Directory>,
    pub(super) audit: Arc<AuditLog>,
    /// Where it keeps its certificates.
    pub(super) certificates: PathBuf,
    /// What remembers its log on other media.
    pub(super) witness: Option<Arc<WitnessFile>>,
    /// Where its log's files lie.
    pub(super) audit_dir: PathBuf,
    /// Data subjects whose keys a restored key store held and that were destroyed again.
    pub(super) subjects_again: Vec<(TenantId, SubjectId)>,
    /// Its key store was put back from a backup; the key service is to be told when what follows from that is done.
    pub(super) is_restored: bool,
}

/// Everything that is served, ready.
pub(super) struct House {
    pub(super) geos: Vec<GeoRoom>,
    pub(super) regions: Regions,
    pub(super) store: Store,
    pub(super) gate: Gate,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) data_dir: PathBuf,
    /// Whether clients are about.
    pub(super) traffic: Traffic,
    /// The same clock, where it can be moved.
    pub(super) simulated: Option<Arc<SimulatedClock>>,
}

/// Whether the clock is the machine's or one that obeys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    Real,
    Simulated,
}

impl House {
    pub(super) async fn open(
        config: &Config,
        keys: Keys,
        accepted: Option<&RolledBack>,
        traffic: Traffic,
        registry: &mut Registry,
    ) -> Result<Self, AppError> {
        let Keys { geos, clock, simulated } = keys;
        let mut rooms = Vec::new();
        for geo in geos {
            rooms.push(geo_room(config, geo, &clock).await?);
        }
        KeeperMeters::register(registry, rooms.iter().map(|room| (room.geo.id, calls_of(room.keys.clone()))).collect());
        let mut regions = HashMap::new();
        for region in &config.regions {
            let room = rooms.iter().find(|room| room.geo == region.geo).ok_or(AppError::NoRegion)?;
            let roots = region_roots(config, region, room, clock.as_ref(), accepted).await?;
            regions.insert(region.region.id, Arc::new(roots));
        }
        let regions: Regions = Arc::new(regions);
        let directories = rooms.iter().map(|room| (room.geo.id, room.directory.clone())).collect();
        let logs = rooms.iter().map(|room| (room.geo.id, room.audit.clone())).collect();
        let (alarm, meters) = (Alarm::new(logs, registry), StoreMeters::register(registry));
        let store = Store::new(directories, regions.clone(), clock.clone(), alarm, meters);
        let gate = Gate::new(Arc::new(Registrar {
            clock: clock.clone(),
            directories: rooms.iter().map(|room| room.directory.clone()).collect(),
            regions: regions.keys().copied().collect(),
        }));
        let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        Ok(Self { geos: rooms, regions, store, gate, clock, data_dir, traffic, simulated })
    }

    /// The acts on the tenants of every geo.
    pub(super) fn tenancies(&self) -> Vec<Tenancy> {
        self.geos.iter().map(|room| self.tenancy_of(room)).collect()
    }

    /// The acts on the tenants of one geo, if it is served.
    pub(super) fn tenancy(&self, geo: &str) -> Option<Tenancy> {
        self.geos.iter().find(|room| room.geo.id == geo).map(|room| self.tenancy_of(room))
    }

    /// What long work on one geo's keys is done with.
    pub(super) fn rekey_rooms(&self, room: &GeoRoom) -> Rooms {
        Rooms {
            directory: room.directory.clone(),
            regions: self.regions.clone(),
            audit: room.audit.clone(),
            clock: self.clock.clone(),
            traffic: self.traffic.clone(),
        }
    }

    pub(super) fn tenancy_of(&self, room: &GeoRoom) -> Tenancy {
        Tenancy {
            directory: room.directory.clone(),
            audit: room.audit.clone(),
            regions: self.regions.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Ends in good order: nothing queued is lost, and the next start needs no recovery.
    pub(super) async fn close(&self) {
        for roots in self.regions.values() {
            if let Err(error) = roots.index.stop().await {
                tracing::error!(%error, region = roots.region.id, "the index did not stop in good order");
            }
        }
        if let Err(error) = self.clock.save() {
            tracing::error!(%error, "the clock's state was not saved");
        }
    }
}

/// Makes the master keys of every geo that the configuration serves; what is there has to open.
pub(super) fn found(config: &Config) -> Result<(), AppError> {
    for geo in served_geos(config) {
        make_dir(&geo_dir(&config.data_dir, geo))?;
        if !config.keys.is_elsewhere() {
            providers::found(&config.data_dir, &config.keyring, geo)?;
        }
    }
    Ok(())
}

fn served_geos(config: &Config) -> Vec<&'static Geo> {
    let mut geos: Vec<_> = config.regions.iter().map(|region| region.geo).collect();
    geos.dedup_by_key(|geo| geo.id);
    geos.sort_by_key(|geo| geo.id);
    geos.dedup_by_key(|geo| geo.id);
    geos
}

pub(super) fn geo_dir(data: &Path, geo: &Geo) -> PathBuf {
    data.join("geo").join(geo.id)
}

pub(super) type Clocks = (Arc<dyn Clock>, Option<Arc<SimulatedClock>>);

/// The keys of one geo.
struct GeoClient {
    geo: &'static Geo,
    client: Arc<KeyClient>,
}

/// The keys of the served geos, and the clock that goes with them.
pub(super) struct Keys {
    geos: Vec<GeoClient>,
    clock: Arc<dyn Clock>,
    simulated: Option<Arc<SimulatedClock>>,
}

impl Keys {
    /// Opens them here, or reaches for the key service that has them. Blocks. Nothing is left open by a failure, so
    /// that it can be tried again: [`AppError::is_outage`].
    pub(super) fn open(
        config: &Config,
        time: Time,
        accepted: Option<&RolledBack>,
        calls: &providers::Calls,
    ) -> Result<Self, AppError> {
        let geos = served_geos(config);
        if config.keys.is_elsewhere() {
            if let Some(RolledBack::Keys { geo, .. }) = accepted {
                return Err(AppError::NothingRestored(geo.id));
            }
            return Self::reach(config, time, geos);
        }
        let open = |geo: &&'static Geo| providers::open(&config.data_dir, &config.keyring, geo, calls);
        let keyrings = geos.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let first = keyrings.first().ok_or(AppError::NoRegion)?;
        let (clock, simulated) = clock(&config.data_dir, time, || first.state_mac())?;
        let mut opened = Vec::new();
        for (geo, keyring) in geos.into_iter().zip(keyrings) {
            let dir = geo_dir(&config.data_dir, geo).join("keystore");
            let reason = accepted.and_then(|accepted| match accepted {
                RolledBack::Keys { geo: of, reason } if *of == geo => Some(reason.clone()),
                _ => None,
            });
            let open = if reason.is_some() { GeoKeyService::danger_open_restored } else { GeoKeyService::open };
            let service = open(&dir, geo.bytes(), keyring, Arc::new(KeyClock(clock.clone())));
            let service = Arc::new(service.map_err(|error| AppError::keys(geo, error))?);
            service.limit_unwraps(config.keys.unwraps_per_minute_max);
            service.allow_early(config.early_purge);
            service.cap_backup_age(i64::from(config.backup_age_max_days) * 86_400);
            if reason.is_some() && !service.restored() {
                return Err(AppError::NothingRestored(geo.id));
            }
            if let Some(reason) = &reason {
                let noted = service.note_restore(Hash::of(&[reason.as_bytes()]).0);
                noted.map_err(|error| AppError::keys(geo, error))?;
            }
            let client = KeyClient::embedded(service, key_link::lease_options(&config.keys));
            let client = Arc::new(client.map_err(|error| AppError::keys(geo, error))?);
            opened.push(GeoClient { geo, client });
        }
        Ok(Self { geos: opened, clock, simulated })
    }

    fn reach(config: &Config, time: Time, geos: Vec<&'static Geo>) -> Result<Self, AppError> {
        let late = Arc::new(LateClock::default());
        let mut opened = Vec::new();
        for geo in geos {
            opened.push(GeoClient { geo, client: key_link::connect(&config.keys, geo, &late)? });
        }
        let first = &opened.first().ok_or(AppError::NoRegion)?.client;
        let (clock, simulated) = clock(&config.data_dir, time, || first.state_mac())?;
        late.set(&clock);
        Ok(Self { geos: opened, clock, simulated })
    }
}

/// The compliance clock whose state lies in `data`, authenticated by `mac`.
pub(super) fn clock(data: &Path, time: Time, mac: impl Fn() -> StateMac) -> Result<Clocks, AppError> {
    let path = data.join("clock");
    let state = || StateFile::new(&path, mac());
    let is_new = !path.exists();
    if time == Time::Real {
        let source = SystemSource::new();
        let clock = if is_new { RealClock::create(source, state()) } else { RealClock::open(source, state()) };
        return Ok((Arc::new(clock?), None));
    }
    let machine = data.join("clock.machine");
    let clock =
        if is_new { SimulatedClock::create(&machine, state()) } else { SimulatedClock::open(&machine, state()) };
    let clock = Arc::new(clock.map_err(|error: ClockError| AppError::Clock(error))?);
    Ok((clock.clone(), Some(clock)))
}

async fn geo_room(config: &Config, keys: GeoClient, clock: &Arc<dyn Clock>) -> Result<GeoRoom, AppError> {
    let GeoClient { geo, client: keys } = keys;
    let dir = geo_dir(&config.data_dir, geo);
    let restored = keys.restore_note().map_err(|error| AppError::keys(geo, error))?;
    let is_restored = restored.is_some();
    let again = restored.iter().flat_map(|note| &note.subjects);
    let subjects_again = again.map(|(tenant, subject)| (TenantId(*tenant), SubjectId(*subject))).collect();
    let options = FjallOptions {
        cache_bytes: DIRECTORY_CACHE_BYTES,
        row_cache_bytes: 0,
        memtable_bytes: DIRECTORY_MEMTABLE_BYTES,
    };
    let engine = Arc::new(FjallEngine::open(&dir.join("directory"), options)?);
    let directory = Arc::new(Directory::new(geo, engine, keys.clone()));
    let heads = Arc::new(LogHeads(keys.clone()));
    let open = if is_restored { AuditLog::open_after_restore } else { AuditLog::open };
    let audit = open(&dir.join("audit"), geo.id, clock.clone(), heads)?;
    let witness = super::witness::open(config.audit.witness_file.as_deref(), geo, &keys, &audit, is_restored).await?;
    if let Some(note) = restored {
        let event = Record::KeysRestored {
            reason: Hash(note.reason),
            tenants: note.tenants,
            subjects: note.subjects.len() as u64,
            roots: note.roots,
            to_rotate: note.to_rotate.len() as u64,
        };
        audit.append(&Actor::part("operator"), event).await?;
        tracing::warn!(geo = geo.id, "accepted: the key store is older than its witness");
        for tenant in note.to_rotate.into_iter().map(TenantId) {
            tracing::warn!(%tenant, "lives by a key version that was retired since the backup: rotate it");
        }
    }
    let certificates = dir.join("certificates");
    make_dir(&certificates)?;
    Ok(GeoRoom {
        geo,
        keys,
        directory,
        audit: Arc::new(audit),
        certificates,
        witness,
        audit_dir: dir.join("audit"),
        subjects_again,
        is_restored,
    })
}

/// What the key service of a geo counts, wherever it runs.
fn calls_of(keys: Arc<KeyClient>) -> Box<dyn Fn() -> KeeperCalls + Send + Sync> {
    Box::new(move || {
        let calls = keys.provider_calls();
        KeeperCalls {
            wraps: calls.wraps,
            unwraps: calls.unwraps,
            others: calls.others,
            failures: calls.failures,
            limited: calls.limited,
        }
    })
}

async fn region_roots(
    config: &Config,
    region: &crate::config::RegionConfig,
    room: &GeoRoom,
    clock: &dyn Clock,
    accepted: Option<&RolledBack>,
) -> Result<RegionRoots, AppError> {
    let dir = config.data_dir.join("region").join(region.region.id);
    make_dir(&dir)?;
    let engine = Arc::new(FjallEngine::open(&dir.join("index"), FjallOptions::default())?);
    let anchors = Arc::new(Anchors(room.keys.clone()));
    let options = IndexOptions { leaf_cache_bytes: LEAF_CACHE_BYTES, ..IndexOptions::default() };
    let (now, keys) = (clock.now().wall, room.keys.geo_keys());
    let opened = RegionIndex::open(engine.clone(), region.region, anchors.clone(), keys.clone(), now, options).await;
    let reason = accepted.and_then(|accepted| match accepted {
        RolledBack::Index { region: of, reason } if *of == region.region => Some(reason),
        _ => None,
    });
    let index = match (opened, reason) {
        (Err(OpenFault::Anchor(fault)), Some(reason)) => {
            let reason = Hash::of(&[reason.as_bytes()]);
            let event = Record::AnchorOverridden { region: region.region.id.into(), behind: fault.behind(), reason };
            room.audit.append(&Actor::part("operator"), event).await?;
            tracing::warn!(region = region.region.id, %fault, "accepted: acknowledged writes are missing");
            index::danger::open_rolled_back(engine, region.region, anchors, keys, now, options).await
        }
        (Ok(_), Some(_)) => return Err(AppError::NothingRolledBack(region.region.id)),
        (opened, _) => opened,
    };
    let index = index.map_err(|error| AppError::Index { region: region.region.id, error })?;
    let blobs = match &region.blobs {
        BlobsConfig::Local => ObjectStoreBlobs::local(&dir.join("blobs"))?,
        BlobsConfig::S3(s3) => {
            let blobs = ObjectStoreBlobs::remote(&RemoteStore {
                endpoint: s3.endpoint.clone(),
                bucket: s3.bucket.clone(),
                region: s3.region.clone(),
                credentials_file: s3.credentials_file.clone(),
                ca_file: s3.ca_file.clone(),
                prefix: s3.prefix.clone(),
            })?;
            blobs.probe().await?;
            blobs
        }
    };
    let blobs: Arc<dyn BlobStore> = Arc::new(blobs);
    // Nothing is being written yet: whatever is half written is a crash's.
    let leftovers = blobs.remove_leftovers(Millis(i64::MAX)).await?;
    if leftovers.files > 0 {
        tracing::info!(
            region = region.region.id,
            files = leftovers.files,
            "removed what a crash had left half written"
        );
    }
    let readers = Readers::new(blobs.clone());
    Ok(RegionRoots { region: region.region, index, blobs, readers, inline_bytes_max: region.inline_bytes_max })
}

pub(super) fn make_dir(path: &Path) -> Result<(), AppError> {
    std::fs::create_dir_all(path).map_err(|error| AppError::Disk { path: path.to_owned(), error })
}
