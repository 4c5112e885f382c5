//! MEMORY of who: the tenants, buckets and logins of one geo, in an engine of the geo's own.
//!
//! Called by the conductors, and by `app` to answer the gate. Promises that what it answers is what the engine holds
//! (one process owns a geo's directory, so its cache is exact), and that nothing about a tenant beyond ids, states and
//! times can be read without that tenant's keys. Must not know requests or what a state allows.
//!
//! Invariants:
//! - a tenant's name row and its tenant row are written in one commit;
//! - tenant ids are never used again: a purged tenant's row stays, as its tombstone;
//! - every change of a tenant goes through [`Directory::change_tenant`], one at a time.

mod buckets;
mod closes;
mod due;
mod features;
mod follows;
mod geo_rows;
mod holds;
mod jobs;
mod logins;
mod notes;
mod notices;
mod periods;
mod proposals;
mod requests;
mod reroot;
mod revoked;
mod rows;
mod standings;
mod subjects;
mod sweeps;
mod tenants;
mod words;

use crate::feature::Features;
use crate::index::OpenBucket;
use crate::index::engine::{Engine, EngineError};
use crate::model::atlas::{Geo, Region};
use crate::model::ids::{BucketId, TenantId};
use crate::model::lifecycle::Rules;
use crate::model::login::Login;
use crate::model::names::{AccessId, BucketName};
use crate::model::object::BucketRef;
use crate::model::versioning::Versioning;
use crate::seal::{KeyClient, KeyError, Leases, TenantKeys};
use crate::tenant::State;
use crate::tenant::holds::Holds;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use closes::{ClosePart, Lives, Outside, Replaced, TenantRemoval};
pub use due::DUE_TENANT;
pub use geo_rows::GeoStep;
pub use holds::over as matters_of_row;
pub use jobs::{GEO_LANE, Held, Job, JobError, JobKind, STALL_S, Wanted};
pub use logins::{LoginEntry, LoginStub, RevokedBy};
pub use notices::{Notices, Sent};
pub use periods::Period;
pub use proposals::{Approval, PROPOSAL_KEEP_S, Proposal};
pub use requests::{BundleLink, Correction, SealedName, SubjectRequest};
pub use reroot::Rerooted;
pub use revoked::RevokedToken;
pub use standings::{LEDGER_STEP, NameToken, REGISTER};
pub use subjects::{SubjectAt, SubjectEntry};
pub use sweeps::SweepRun;
pub use tenants::{Detail, TenantEntry};

/// Why the directory could not answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The key service refused or failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A row did not open, or has a shape we do not know.
    #[error("a directory row failed its integrity check")]
    Integrity,
    /// Another tenant of the geo has the name.
    #[error("the name is taken")]
    NameTaken,
    /// Another change came first.
    #[error("the record was changed meanwhile")]
    Changed,
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
}

impl From<crate::seal::OpenError> for DirectoryError {
    fn from(error: crate::seal::OpenError) -> Self {
        // Revoked or run out since it was leased: nothing is wrong with the row.
        if error.class().is_about_the_key() { Self::Keys(error.into()) } else { Self::Integrity }
    }
}

/// While one is held, no tenant's standing changes.
pub type CommitGuard<'a> = tokio::sync::RwLockReadGuard<'a, ()>;

/// A bucket with its keys open.
pub struct OpenedBucket {
    /// Whose, which, where.
    pub at: Arc<BucketRef>,
    /// As the index knows it.
    pub index: Arc<OpenBucket>,
    /// Its lifecycle rules, if it has any.
    pub lifecycle: Option<Arc<Rules>>,
    /// Whether it keeps versions.
    pub versioning: Versioning,
}

impl fmt::Debug for OpenedBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenedBucket({})", self.at.bucket)
    }
}

/// The directory of one geo.
pub struct Directory {
    geo: &'static Geo,
    engine: Arc<dyn Engine>,
    keys: Arc<KeyClient>,
    leases: Leases,
    /// Held while a row that was read is changed and written back.
    change: tokio::sync::Mutex<()>,
    acts: tokio::sync::Mutex<()>,
    /// Held while a data subject is made or its erasure begins or ends.
    subjects: tokio::sync::Mutex<()>,
    /// Held while a data subject's request is read, decided on and written.
    requests: tokio::sync::Mutex<()>,
    commits: tokio::sync::RwLock<()>,
    /// Held from the sealing of a row under the geo's directory key until its commit: a switch of that key waits for it.
    sealing: tokio::sync::RwLock<()>,
    lanes: jobs::Lanes,
    /// Read from the ledger when it is first asked for.
    standings: tokio::sync::OnceCell<standings::Standings>,
    /// Held while a bucket's rules are replaced, and while a walk by them is begun or ended.
    walks: tokio::sync::Mutex<()>,
    /// Objects that came too late for a feature, since the start and not yet in a tenant's row.
    dropped: parking_lot::Mutex<HashMap<TenantId, u64>>,
    cache: Arc<RwLock<Cache>>,
}

#[derive(Default)]
struct Cache {
    tenants: HashMap<TenantId, Arc<TenantEntry>>,
    logins: HashMap<AccessId, Arc<Login>>,
    /// Counts what was revoked.
    logins_written: u64,
    buckets: HashMap<TenantId, HashMap<BucketName, Arc<BucketRef>>>,
    open: HashMap<BucketId, Arc<OpenedBucket>>,
    /// The matters in force, as of a revision of the tenant.
    holds: HashMap<TenantId, (u64, Arc<Holds>)>,
    /// By token.
    subjects: HashMap<(TenantId, [u8; 16]), SubjectEntry>,
    features: HashMap<TenantId, Arc<Features>>,
    /// Counts the changes of any.
    features_written: u64,
}

impl Cache {
    fn forget(&mut self, tenant: TenantId) {
        self.tenants.remove(&tenant);
        self.features.remove(&tenant);
        self.buckets.remove(&tenant);
        self.holds.remove(&tenant);
        self.logins_written += 1;
        self.logins.retain(|_, login| login.tenant != tenant);
        self.open.retain(|_, opened| opened.at.tenant != tenant);
        self.subjects.retain(|(of, _), _| *of != tenant);
    }
}

/// Logins kept in memory; beyond it the cache begins anew.
const LOGINS_CACHED_MAX: usize = 100_000;
/// Rows read in one scan.
const SCAN: usize = 1000;

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({})", self.geo.id)
    }
}

impl Directory {
    /// The directory of `geo` in `engine`.
    pub fn new(geo: &'static Geo, engine: Arc<dyn Engine>, keys: Arc<KeyClient>) -> Self {
        let cache = Arc::<RwLock<Cache>>::default();
        let held = Arc::downgrade(&cache);
        // What was opened with a tenant's keys does not outlive their lease.
        keys.on_end(move |tenant| {
            if let Some(cache) = held.upgrade() {
                cache.write().forget(TenantId(*tenant));
            }
        });
        Self {
            geo,
            engine,
            leases: Leases::new(keys.clone()),
            keys,
            change: tokio::sync::Mutex::new(()),
            acts: tokio::sync::Mutex::new(()),
            subjects: tokio::sync::Mutex::new(()),
            requests: tokio::sync::Mutex::new(()),
            commits: tokio::sync::RwLock::new(()),
            sealing: tokio::sync::RwLock::new(()),
            lanes: jobs::Lanes::default(),
            standings: tokio::sync::OnceCell::new(),
            walks: tokio::sync::Mutex::new(()),
            dropped: parking_lot::Mutex::default(),
            cache,
        }
    }

    /// Which geo.
    pub fn geo(&self) -> &'static Geo {
        self.geo
    }

    /// The geo's key service. Its acts block.
    pub fn key_service(&self) -> &Arc<KeyClient> {
        &self.keys
    }

    /// The engine below, for compaction.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Held by whoever decides on a tenant, logs the decision and writes it: acts and sweeps, one at a time.
    pub fn acts(&self) -> &tokio::sync::Mutex<()> {
        &self.acts
    }

    /// Held from the last look at a tenant's standing until an object's commit is durable: a standing changes only
    /// while nobody holds it, so nothing commits after a termination.
    ///
    /// `Err` with the state when it is not ACTIVE any more.
    pub async fn commits(&self, tenant: TenantId) -> Result<Result<CommitGuard<'_>, State>, DirectoryError> {
        let guard = self.commits.read().await;
        let state = self.tenant(tenant).await?.map_or(State::Purged, |entry| entry.standing.state);
        Ok(if state == State::Active { Ok(guard) } else { Err(state) })
    }

    /// The same for a commit that removes objects, which a customer may do until its tenant is purged. Answers the state, too,
    /// when it is not ACTIVE any more.
    ///
    /// `Err` with the state when it is none of ACTIVE, TERMINATED, PURGE_HELD.
    pub async fn commits_to_delete(
        &self,
        tenant: TenantId,
    ) -> Result<Result<(CommitGuard<'_>, Option<State>), State>, DirectoryError> {
        let guard = self.commits.read().await;
        let state = self.tenant(tenant).await?.map_or(State::Purged, |entry| entry.standing.state);
        Ok(match state {
            State::Active => Ok((guard, None)),
            State::Terminated | State::PurgeHeld => Ok((guard, Some(state))),
            other => Err(other),
        })
    }

    /// Held over a commit that an administrator asked for on a data subject's behalf, whatever the tenant's state: those
    /// who pause commits wait for it.
    pub async fn commits_for_subjects(&self) -> CommitGuard<'_> {
        self.commits.read().await
    }

    /// Waits until no commit is in flight and holds further ones off while the guard lives: for a switch of keys.
    pub async fn pause_commits(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.commits.write().await
    }

    /// Held while a bucket's lifecycle rules are replaced together with the note that its objects have to be dated anew,
    /// and while that work is begun or ended: so that none ends for rules that came after it began.
    pub fn walks(&self) -> &tokio::sync::Mutex<()> {
        &self.walks
    }

    /// The tenant's keys. Errors: suspended, destroyed, provider down.
    pub async fn keys(&self, tenant: TenantId) -> Result<Arc<TenantKeys>, KeyError> {
        self.leases.tenant(tenant.0).await
    }

    /// The leases on the tenants' keys, for whoever keeps time.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Where a tenant's buckets go when nothing else is said.
    pub async fn home(&self, tenant: TenantId) -> Result<Option<&'static Region>, DirectoryError> {
        Ok(self.tenant(tenant).await?.and_then(|entry| Region::find(&entry.standing.home).map(|(_, region)| region)))
    }

    /// Drops everything cached about a tenant: its keys changed or are gone.
    pub fn forget(&self, tenant: TenantId) {
        self.cache.write().forget(tenant);
    }
}
