//! The embedded key service of one geo: creates tenants, leases their keys, suspends, and answers for their state.
//! Rotation and destruction are further acts of it, in `rotate` and `destroy`.
//!
//! Everything here blocks (disk, provider) but [`GeoKeyService::tenant`] on a cached lease. Methods take `&self` and may
//! be called from any thread; acts that change something go one after the other.
//!
//! Promises:
//! - A root is used only after it was wrapped, stored, read back from disk and unwrapped again.
//! - A suspended or destroyed tenant's handles refuse at once, those already handed out too.
//! - What an act changed is on disk, and witnessed, when the act returns.

use crate::calls::{Counted, Counters};
use crate::context::{Id, NO_ID, ObjectContext};
use crate::ending::BACKUP_AGE_SECONDS;
use crate::entries::{KeyState, RootEntry, TenantEntry, TenantState, place};
use crate::epoch::{self, Watch};
use crate::error::{KeyError, KeystoreError, ProviderError, Refusal};
use crate::geo_keys::{DirectoryKey, GeoKeys};
use crate::grant::opens;
use crate::heads::{Head, Heads};
use crate::keystore::{Change, Keystore, Older, unwrap_root, unwrap_roots, wrap_root};
use crate::limit::Limit;
use crate::material::{Secret, random_array};
use crate::provider::{MasterKeys, RootSecret};
use crate::purposes::{Purposes, Roots};
use crate::record::{KeyKind, KeyName, ProviderKind};
use crate::revocations::{Feed, RevocationKind};
use crate::shred_log::{self, Replayed};
use crate::signer::LogSigner;
use crate::subjects::SubjectCache;
use crate::tenant_keys::{Gate, Lease, TenantKeys};
use minicbor::{Decode, Encode};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};

/// How long a lease serves before the provider is asked again, in seconds.
pub const LEASE_SECONDS: i64 = 300;
/// The shortest time between setting a due time and destroying a tenant's keys: 90 days.
pub const RETENTION_SECONDS: i64 = 7_776_000;
/// The shortest time between a tenant's instruction to destroy its keys early and their destruction: 72 hours.
pub const EARLY_SECONDS: i64 = 259_200;
/// Unwrapped tenants held at most; beyond that the ones with the oldest leases go.
const LEASES_MAX: usize = 4096;

/// The key service's own compliance clock.
pub trait Clock: Send + Sync {
    /// Seconds since the epoch that have certainly passed; never goes back.
    fn cc_lo(&self) -> i64;
}

/// The key service of one geo.
pub struct GeoKeyService {
    pub(crate) geo: Id,
    pub(crate) provider: Box<dyn MasterKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Mutex<Keystore>,
    leases: RwLock<HashMap<Id, Tenancy>>,
    geo_keys: Arc<GeoKeys>,
    signer: LogSigner,
    pub(crate) heads: Heads,
    restored: bool,
    replayed: Replayed,
    pub(crate) subjects: SubjectCache,
    pub(crate) feed: Arc<Feed>,
    pub(crate) calls: Arc<Counters>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) limit: Limit,
    pub(crate) early_allowed: AtomicBool,
    pub(crate) backup_age: AtomicI64,
}

/// What the service remembers of a tenant in memory.
struct Tenancy {
    gate: Arc<Gate>,
    keys: Option<Arc<TenantKeys>>,
    until: i64,
    /// Leases no longer handed out that a request may still hold.
    superseded: Vec<Weak<TenantKeys>>,
}

impl Tenancy {
    fn let_go(&mut self) {
        self.superseded.retain(|keys| keys.strong_count() > 0);
        self.superseded.extend(self.keys.take().map(|keys| Arc::downgrade(&keys)));
    }
}

/// Whether a tenant's keys can still be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyProbe {
    /// A root unwrapped, and is the one it should be.
    #[n(0)]
    Unwraps,
    /// The keys were destroyed, or never were: there is nothing left to unwrap.
    #[n(1)]
    Gone,
}

impl GeoKeyService {
    /// Opens the key service of `geo` in `dir`; makes its key store, directory key and log signer on first use.
    ///
    /// Refuses, each with its own error: another process has it open; a keyring of other master keys; a store that was
    /// altered, cut, or is older than its witness.
    pub fn open(dir: &Path, geo: Id, provider: Box<dyn MasterKeys>, clock: Arc<dyn Clock>) -> Result<Self, KeyError> {
        let (provider, calls) = counted(provider);
        let store = Keystore::open(dir, geo, &*provider)?;
        Self::over(store, dir, provider, calls, clock)
    }

    /// As [`GeoKeyService::open`], and takes a key store that is older than its witness, as after the restore of a
    /// backup, for the true one from here on: what was suspended, resumed or made since is forgotten. What was destroyed
    /// since is destroyed again; a shred log that does not go as far as its anchor is refused all the same.
    pub fn danger_open_restored(
        dir: &Path,
        geo: Id,
        provider: Box<dyn MasterKeys>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let (provider, calls) = counted(provider);
        let store = Keystore::open_with(dir, geo, &*provider, Older::Accept)?;
        Self::over(store, dir, provider, calls, clock)
    }

    fn over(
        mut store: Keystore,
        dir: &Path,
        provider: Box<dyn MasterKeys>,
        calls: Arc<Counters>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let geo = store.geo;
        let watch = Arc::new(Watch::default());
        let provider = watch.over(provider);
        epoch::resume(&store, &*provider, &watch)?;
        let replayed = shred_log::replay(&mut store, &*provider, clock.cc_lo())?;
        let geo_keys = Arc::new(open_geo_keys(&mut store, geo, &*provider, clock.cc_lo())?);
        let signer = open_signer(&mut store, &*provider)?;
        let heads = Heads::open(dir.join("heads"), Arc::clone(&geo_keys))?;
        let leases = RwLock::new(HashMap::new());
        let subjects = SubjectCache::default();
        let restored = store.accepted();
        let (store, feed) = (Mutex::new(store), Arc::new(Feed::new()));
        Ok(Self {
            geo,
            provider,
            clock,
            store,
            leases,
            geo_keys,
            signer,
            heads,
            restored,
            replayed,
            subjects,
            feed,
            calls,
            watch,
            limit: Limit::default(),
            early_allowed: AtomicBool::new(false),
            backup_age: AtomicI64::new(BACKUP_AGE_SECONDS),
        })
    }

    /// Sets how often the roots of one tenant may be asked for in a minute, and as many at once. Default
    /// [`crate::UNWRAPS_PER_MINUTE`].
    pub fn limit_unwraps(&self, per_minute: u32) {
        self.limit.set(per_minute);
    }

    /// Whether a tenant's keys may be destroyed before the 90 days are over, on its instruction. Default: no.
    pub fn allow_early(&self, allowed: bool) {
        self.early_allowed.store(allowed, Ordering::SeqCst);
    }

    /// Whether the key store was older than its witness, and accepted all the same.
    pub fn restored(&self) -> bool {
        self.restored
    }

    /// What this opening destroyed again, because the shred log said that it was destroyed and the key store held it.
    pub fn replayed(&self) -> &Replayed {
        &self.replayed
    }

    /// How many entries the shred log has, and the digest of the last.
    pub fn shred_head(&self) -> Head {
        self.store.lock().shreds().head()
    }

    /// The geo these keys belong to.
    pub fn geo(&self) -> Id {
        self.geo
    }

    /// What keeps the master key.
    pub fn provider_kind(&self) -> ProviderKind {
        self.provider.kind()
    }

    /// The keys of the geo's own directory.
    pub fn geo_keys(&self) -> Arc<GeoKeys> {
        Arc::clone(&self.geo_keys)
    }

    /// Signs the geo's audit log and certificates.
    pub fn log_signer(&self) -> &LogSigner {
        &self.signer
    }

    /// Makes the three roots of a new tenant and activates them once each was verified. After a failure, or a crash,
    /// nothing depends on what is left, and calling again starts over. A tenant id is never used again.
    pub fn create_tenant(&self, tenant: Id) -> Result<(), KeyError> {
        let mut store = self.store.lock();
        match tenant_entry(&store, &tenant)?.map(|entry| entry.state) {
            None | Some(TenantState::Provisioning) => {}
            Some(TenantState::Destroyed) => return Err(KeyError::Destroyed),
            Some(TenantState::Active | TenantState::Suspended) => return Err(KeyError::Exists),
        }
        let now = self.clock.cc_lo();
        let entry =
            TenantEntry { state: TenantState::Provisioning, created: now, due: None, destroyed: None, early: None };
        let made = [KeyKind::Trk, KeyKind::Srk, KeyKind::Tik]
            .map(|kind| NewRoot::make(&*self.provider, tenant, self.geo, kind, 1, now));
        let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut changes: Vec<Change> = made.iter().map(|root| root.entry.put()).collect();
        changes.push(entry.put(&tenant));
        store.commit(changes, &*self.provider)?;
        if let Err(error) = verify(&store, &made, &*self.provider, self.geo) {
            let mut undo: Vec<Change> = made.iter().map(|root| Change::Remove(root.entry.place())).collect();
            undo.push(Change::Remove(place::tenant(&tenant)));
            store.commit(undo, &*self.provider)?;
            return Err(error);
        }
        let mut changes: Vec<Change> = made.iter().map(|root| root.activated(now).put()).collect();
        changes.push(TenantEntry { state: TenantState::Active, ..entry }.put(&tenant));
        store.commit(changes, &*self.provider)
    }

    /// The tenant's keys under a lease. On the hot path this is one read lock and one map look-up; every
    /// [`LEASE_SECONDS`] the provider is asked anew.
    pub fn tenant(&self, tenant: Id) -> Result<Arc<TenantKeys>, KeyError> {
        let now = self.clock.cc_lo();
        if let Some(tenancy) = self.leases.read().get(&tenant)
            && let Some(keys) = &tenancy.keys
            && now < tenancy.until
        {
            return Ok(Arc::clone(keys));
        }
        self.renew(&mut self.store.lock(), tenant, now)
    }

    fn renew(&self, store: &mut Keystore, tenant: Id, now: i64) -> Result<Arc<TenantKeys>, KeyError> {
        let entry = tenant_entry(store, &tenant)?.ok_or(KeyError::Unknown)?;
        match entry.state {
            TenantState::Active => {}
            TenantState::Suspended => return Err(KeyError::Suspended),
            TenantState::Destroyed => return Err(KeyError::Destroyed),
            TenantState::Provisioning => return Err(KeyError::Unknown),
        }
        let seq = revocation_seq(store);
        let gate = self.leases.read().get(&tenant).map(|tenancy| Arc::clone(&tenancy.gate));
        let gate = gate.unwrap_or_else(|| Gate::new(seq));
        let roots = match self.unwrap_roots(store, &tenant) {
            Ok(roots) => roots,
            Err(error) => {
                // Disabled or denied: leases end now. Not reachable: they run on to their end.
                if error == KeyError::Provider(ProviderError::Refused) {
                    gate.raise(seq + 1);
                    self.leases.write().remove(&tenant);
                    self.feed.tell(tenant, RevocationKind::Void);
                }
                return Err(error);
            }
        };
        let lease = Lease::new(Arc::clone(&gate), seq);
        let purposes = Purposes::of(roots, &tenant, &self.geo);
        let keys = TenantKeys::new(tenant, self.geo, purposes, lease).ok_or(KeystoreError::Damaged)?;
        let keys = Arc::new(keys);
        let mut leases = self.leases.write();
        evict(&mut leases);
        let fresh = || Tenancy { gate, keys: None, until: 0, superseded: Vec::new() };
        let tenancy = leases.entry(tenant).or_insert_with(fresh);
        tenancy.let_go();
        tenancy.keys = Some(Arc::clone(&keys));
        tenancy.until = now.saturating_add(LEASE_SECONDS);
        Ok(keys)
    }

    fn unwrap_roots(&self, store: &Keystore, tenant: &Id) -> Result<Roots, KeyError> {
        let mut roots = Roots { trk: Vec::new(), srk: Vec::new(), tik: Vec::new(), withheld: Vec::new() };
        let all = root_entries(store, tenant)?;
        let compromised = all.iter().filter(|entry| entry.state == KeyState::Compromised);
        roots.withheld.extend(compromised.map(|entry| entry.name));
        let entries: Vec<RootEntry> = all.into_iter().filter(|entry| opens(entry.state)).collect();
        let records: Vec<_> = entries.iter().filter_map(|entry| Some((entry, entry.record.as_ref()?))).collect();
        let context = ObjectContext::of_root(*tenant, self.geo);
        let asked: Vec<_> = records.iter().map(|(_, record)| *record).collect();
        let secrets = unwrap_roots(&*self.provider, &asked, &context)?;
        // Newest version first, so that the active one leads.
        for ((entry, _), RootSecret(secret)) in records.into_iter().zip(secrets).rev() {
            match entry.kind {
                KeyKind::Trk => roots.trk.push((entry.name, secret)),
                KeyKind::Srk => roots.srk.push((entry.name, secret)),
                KeyKind::Tik => roots.tik.push((entry.name, secret)),
                _ => return Err(KeystoreError::Damaged.into()),
            }
        }
        Ok(roots)
    }

    /// Makes a tenant's keys unusable until [`GeoKeyService::resume`]; streams under way end within a chunk.
    pub fn suspend(&self, tenant: Id) -> Result<(), KeyError> {
        self.change_state(tenant, TenantState::Active, TenantState::Suspended)
    }

    /// Makes a suspended tenant's keys usable again.
    pub fn resume(&self, tenant: Id) -> Result<(), KeyError> {
        self.change_state(tenant, TenantState::Suspended, TenantState::Active)
    }

    fn change_state(&self, tenant: Id, from: TenantState, to: TenantState) -> Result<(), KeyError> {
        let mut store = self.store.lock();
        let entry = tenant_entry(&store, &tenant)?.ok_or(KeyError::Unknown)?;
        if entry.state == to {
            return Ok(());
        }
        if entry.state != from {
            return Err(if entry.state == TenantState::Destroyed {
                KeyError::Destroyed
            } else {
                Refusal::State.into()
            });
        }
        let seq = revocation_seq(&store) + 1;
        let changes = vec![TenantEntry { state: to, ..entry }.put(&tenant), put_revocation_seq(seq)];
        store.commit(changes, &*self.provider)?;
        self.revoke(&tenant, seq);
        Ok(())
    }

    /// Voids every lease of the tenant below `seq`. The caller holds the store, so none is being made.
    pub(crate) fn revoke(&self, tenant: &Id, seq: u64) {
        if let Some(tenancy) = self.leases.write().remove(tenant) {
            tenancy.gate.raise(seq);
        }
        self.feed.tell(*tenant, RevocationKind::Void);
    }

    /// Lets go of the cached lease without voiding it: the next request gets the new state, those under way finish.
    pub(crate) fn supersede(&self, tenant: &Id) {
        if let Some(tenancy) = self.leases.write().get_mut(tenant) {
            tenancy.let_go();
        }
        self.feed.tell(*tenant, RevocationKind::Superseded);
    }

    /// Whether a request still holds keys from before the last rotation.
    pub(crate) fn has_superseded(&self, tenant: &Id) -> bool {
        let leases = self.leases.read();
        leases.get(tenant).is_some_and(|tenancy| tenancy.superseded.iter().any(|keys| keys.strong_count() > 0))
    }

    /// Asks the provider for a root of the tenant, whatever its state: the negative test of a destruction.
    pub fn key_probe(&self, tenant: Id) -> Result<KeyProbe, KeyError> {
        let store = self.store.lock();
        let context = ObjectContext::of_root(tenant, self.geo);
        for entry in root_entries(&store, &tenant)? {
            if let Some(record) = &entry.record {
                unwrap_root(&*self.provider, record, &context)?;
                return Ok(KeyProbe::Unwraps);
            }
        }
        Ok(KeyProbe::Gone)
    }
}

/// A root that was made and wrapped, not yet trusted.
pub(crate) struct NewRoot {
    pub(crate) entry: RootEntry,
    secret: RootSecret,
}

impl NewRoot {
    pub(crate) fn make(
        provider: &dyn MasterKeys,
        tenant: Id,
        geo: Id,
        kind: KeyKind,
        version: u32,
        now: i64,
    ) -> Result<Self, KeyError> {
        let name = KeyName { id: random_array(), version };
        let secret = RootSecret(Secret::random());
        let context = ObjectContext::of_root(tenant, geo);
        let record = wrap_root(provider, provider.active()?, kind, name, &secret, &context)?;
        let (state, record, made) = (KeyState::PreActive, Some(record), Some(now));
        let entry = RootEntry { tenant, kind, name, state, since: now, record, made, replaced: None };
        Ok(Self { entry, secret })
    }

    pub(crate) fn activated(&self, now: i64) -> RootEntry {
        RootEntry { state: KeyState::Active, since: now, ..self.entry.clone() }
    }
}

/// Verify-after-wrap: reads the roots back from disk, unwraps each, and compares it with what was made.
pub(crate) fn verify(store: &Keystore, made: &[NewRoot], provider: &dyn MasterKeys, geo: Id) -> Result<(), KeyError> {
    for root in made {
        let place = root.entry.place();
        let back = store.read_back(&place, provider)?;
        let [(key, value)] = back.entries.as_slice() else { return Err(KeystoreError::Damaged.into()) };
        let stored = RootEntry::parse(key, value)?.record.ok_or(KeystoreError::Damaged)?;
        let again = unwrap_root(provider, &stored, &ObjectContext::of_root(root.entry.tenant, geo))?;
        if !again.0.same(&root.secret.0) {
            return Err(ProviderError::Wrong.into());
        }
    }
    Ok(())
}

fn counted(provider: Box<dyn MasterKeys>) -> (Box<dyn MasterKeys>, Arc<Counters>) {
    let (provider, calls) = Counted::new(provider);
    (Box::new(provider), calls)
}

pub(crate) fn tenant_entry(store: &Keystore, tenant: &Id) -> Result<Option<TenantEntry>, KeystoreError> {
    store.entry(&place::tenant(tenant)).map(TenantEntry::parse).transpose()
}

/// All versions of all roots of a tenant, by kind, oldest first.
pub(crate) fn root_entries(store: &Keystore, tenant: &Id) -> Result<Vec<RootEntry>, KeystoreError> {
    store.entries(&place::roots_of(tenant)).map(|(key, value)| RootEntry::parse(key, value)).collect()
}

pub(crate) fn revocation_seq(store: &Keystore) -> u64 {
    let value = store.entry(place::REVOCATION).and_then(|value| value.try_into().ok());
    value.map_or(0, u64::from_be_bytes)
}

pub(crate) fn put_revocation_seq(seq: u64) -> Change {
    Change::Put(place::REVOCATION.to_vec(), seq.to_be_bytes().to_vec())
}

fn open_geo_keys(store: &mut Keystore, geo: Id, provider: &dyn MasterKeys, now: i64) -> Result<GeoKeys, KeyError> {
    if let Some(keys) = GeoKeys::new(geo, directory_keys(store, geo, provider)?) {
        return Ok(keys);
    }
    let made = NewRoot::make(provider, NO_ID, geo, KeyKind::Gdk, 1, now)?;
    store.commit(vec![made.entry.put()], provider)?;
    verify(store, std::slice::from_ref(&made), provider, geo)?;
    store.commit(vec![made.activated(now).put()], provider)?;
    let only = vec![DirectoryKey { name: made.entry.name, secret: made.secret.0 }];
    Ok(GeoKeys::new(geo, only).ok_or(KeystoreError::Damaged)?)
}

/// The live versions of the geo's directory key, the active one first; none: it was never made, or never verified.
pub(crate) fn directory_keys(
    store: &Keystore,
    geo: Id,
    provider: &dyn MasterKeys,
) -> Result<Vec<DirectoryKey>, KeyError> {
    let mut live = root_entries(store, &NO_ID)?;
    live.retain(|entry| matches!(entry.state, KeyState::Active | KeyState::DecryptOnly));
    if live.iter().all(|entry| entry.state != KeyState::Active) {
        return Ok(Vec::new());
    }
    let newest_first = live.iter().rev().filter_map(|entry| Some((entry.name, entry.record.as_ref()?)));
    let context = ObjectContext::of_root(NO_ID, geo);
    let unwrapped = newest_first
        .map(|(name, record)| Ok(DirectoryKey { name, secret: unwrap_root(provider, record, &context)?.0 }));
    unwrapped.collect()
}

fn open_signer(store: &mut Keystore, provider: &dyn MasterKeys) -> Result<LogSigner, KeyError> {
    if let Some(seed) = store.entry(place::SIGNER) {
        let seed: &[u8; 32] = seed.try_into().map_err(|_| KeystoreError::Damaged)?;
        return Ok(LogSigner::new(&Secret::filled(|out| *out = *seed)));
    }
    let seed = Secret::random();
    store.commit(vec![Change::Put(place::SIGNER.to_vec(), seed.bytes().to_vec())], provider)?;
    Ok(LogSigner::new(&seed))
}

/// Keeps the unwrapped keys in memory bounded: lets go of those whose leases end soonest. The gates stay, so a lease
/// that is still held somewhere can be revoked.
fn evict(leases: &mut HashMap<Id, Tenancy>) {
    let mut ends: Vec<i64> = leases.values().filter(|t| t.keys.is_some()).map(|t| t.until).collect();
    if ends.len() < LEASES_MAX {
        return;
    }
    ends.sort_unstable();
    let cut = ends[ends.len() / 8];
    for tenancy in leases.values_mut().filter(|tenancy| tenancy.until <= cut) {
        tenancy.let_go();
    }
}
