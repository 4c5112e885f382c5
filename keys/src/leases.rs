//! The leases that one holder has: which tenants' purpose keys are unwrapped in this process, until when, and why others
//! are not.
//!
//! Invariants:
//! - What is handed out refuses everything from the moment its lease ends, is voided, or is let go by the service: the
//!   gate behind it is raised, and that is the one atomic comparison of every use. It says which: *expired* when only
//!   time went by, *revoked* when somebody who may say so said no.
//! - A grant is taken in only if nothing was revoked or superseded since it was asked for.
//! - At most [`LEASES_MAX`] tenants are unwrapped; a refusal is remembered for [`REFUSED_SECONDS`].
//!
//! Pure but for the locks: time comes in as seconds, chance as a function. Who asks the service is `client`.

use crate::context::Id;
use crate::error::{KeyError, KeystoreError};
use crate::grant::Grant;
use crate::revocations::{Revocation, RevocationKind};
use crate::subjects::SubjectCache;
use crate::tenant_keys::{Gate, Lease, TenantKeys};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// How long a refusal is answered without asking again, in seconds.
pub const REFUSED_SECONDS: i64 = 5;
/// Who is the first to use a lease since it was renewed, with this many seconds left of it or fewer, asks for the next
/// one before going on: it was idle, so nobody renewed it, and what begins now should not end with it.
const LAST_SECONDS: i64 = 5;
/// The longest lease, in seconds.
pub const LEASE_SECONDS_MAX: i64 = 900;
/// Tenants unwrapped at most; beyond that the ones whose leases end soonest go.
const LEASES_MAX: usize = 4096;
/// Refusals remembered at most.
const REFUSALS_MAX: usize = 4096;

/// How a holder keeps its leases.
#[derive(Clone)]
pub struct LeaseOptions {
    /// Seconds that a lease serves, from the moment it was asked for. 1 to [`LEASE_SECONDS_MAX`].
    pub lease_s: i64,
    /// Between 0 and 1, anew at each call: leases are renewed when between 70 % and 80 % of their time is over, so that
    /// those that began together do not come together.
    pub jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Default for LeaseOptions {
    /// [`crate::LEASE_SECONDS`], and chance from the operating system.
    fn default() -> Self {
        let chance = || f64::from(u32::from_be_bytes(crate::material::random_array())) / f64::from(u32::MAX);
        Self { lease_s: crate::service::LEASE_SECONDS, jitter: Arc::new(chance) }
    }
}

/// What a holder knows of a tenant's keys without asking.
pub enum Cached {
    /// Its lease serves.
    Keys(Arc<TenantKeys>),
    /// It was refused less than [`REFUSED_SECONDS`] ago.
    Refused(KeyError),
    /// Nothing: the service has to be asked.
    Miss,
}

/// Whoever keeps something that must go when a tenant's lease ends or is void.
type Listener = Box<dyn Fn(&Id) + Send + Sync>;

/// The leases of one holder.
pub(crate) struct Leases {
    options: LeaseOptions,
    pub(crate) subjects: SubjectCache,
    state: RwLock<State>,
    listeners: RwLock<Vec<Listener>>,
}

#[derive(Default)]
struct State {
    /// Counts what was revoked or superseded.
    changes: u64,
    held: HashMap<Id, Tenancy>,
    refused: HashMap<Id, (KeyError, i64)>,
    /// Every lease is to be confirmed by the service.
    confirm: bool,
}

struct Tenancy {
    gate: Arc<Gate>,
    keys: Option<Arc<TenantKeys>>,
    until: i64,
    renew_at: i64,
    used: AtomicBool,
    /// Leases no longer handed out that a request may still hold.
    superseded: Vec<Weak<TenantKeys>>,
}

impl Tenancy {
    fn let_go(&mut self) {
        self.superseded.retain(|keys| keys.strong_count() > 0);
        self.superseded.extend(self.keys.take().map(|keys| Arc::downgrade(&keys)));
    }

    fn is_in_use(&self) -> bool {
        self.used.load(Ordering::Relaxed)
            || self.keys.as_ref().is_some_and(|keys| Arc::strong_count(keys) > 1)
            || self.is_superseded_in_use()
    }

    fn is_superseded_in_use(&self) -> bool {
        self.superseded.iter().any(|keys| keys.strong_count() > 0)
    }

    /// Whether its time to be renewed has come, and its end is near. Not in the second in which it was asked for.
    fn is_ending(&self, lease_s: i64, now: i64) -> bool {
        now >= self.renew_at && now > self.until - lease_s && self.until - now <= LAST_SECONDS
    }
}

impl Leases {
    pub(crate) fn new(mut options: LeaseOptions) -> Self {
        options.lease_s = options.lease_s.clamp(1, LEASE_SECONDS_MAX);
        let (state, listeners) = (RwLock::default(), RwLock::default());
        Self { options, subjects: SubjectCache::default(), state, listeners }
    }

    pub(crate) fn listen(&self, listener: Listener) {
        self.listeners.write().push(listener);
    }

    /// The hot path: one read lock, one look-up.
    pub(crate) fn cached(&self, tenant: &Id, now: i64) -> Cached {
        let state = self.state.read();
        let held = state.held.get(tenant);
        if let Some(over) = held.filter(|tenancy| now >= tenancy.until) {
            // What is under way ends with it, too, and not only with the next tick.
            over.gate.expire();
        } else if let Some(tenancy) = held
            && let Some(keys) = &tenancy.keys
        {
            // Most find it set: they share the cache line.
            let is_first = !tenancy.used.load(Ordering::Relaxed) && !tenancy.used.swap(true, Ordering::Relaxed);
            if is_first && tenancy.is_ending(self.options.lease_s, now) {
                return Cached::Miss;
            }
            return Cached::Keys(Arc::clone(keys));
        }
        match state.refused.get(tenant) {
            Some((error, until)) if now < *until => Cached::Refused(error.clone()),
            _ => Cached::Miss,
        }
    }

    /// To be read before the service is asked, and handed to [`Leases::take_in`].
    pub(crate) fn changes(&self) -> u64 {
        self.state.read().changes
    }

    /// Takes in a grant that was asked for at `asked`; `None` when something was revoked or superseded since `changes`
    /// was read: ask again.
    pub(crate) fn take_in(&self, grant: Grant, changes: u64, asked: i64) -> Result<Option<Arc<TenantKeys>>, KeyError> {
        let Grant { tenant, geo, purposes } = grant;
        let early = self.options.lease_s as f64 * ((self.options.jitter)().clamp(0.0, 1.0) / 10.0);
        let mut state = self.state.write();
        if state.changes != changes {
            return Ok(None);
        }
        let gate = state.held.get(&tenant).map(|tenancy| &tenancy.gate).filter(|gate| !gate.is_over()).cloned();
        let gate = gate.unwrap_or_else(|| Gate::new(0));
        let keys = TenantKeys::new(tenant, geo, purposes, Lease::new(Arc::clone(&gate), 0));
        let keys = Arc::new(keys.ok_or(KeystoreError::Damaged)?);
        state.refused.remove(&tenant);
        evict(&mut state.held);
        let tenancy = state.held.entry(tenant).or_insert_with(|| Tenancy {
            gate: Arc::clone(&gate),
            keys: None,
            until: 0,
            renew_at: 0,
            used: AtomicBool::new(true),
            superseded: Vec::new(),
        });
        tenancy.let_go();
        tenancy.gate = gate;
        tenancy.keys = Some(Arc::clone(&keys));
        tenancy.until = asked.saturating_add(self.options.lease_s);
        tenancy.renew_at = asked.saturating_add(self.options.lease_s * 8 / 10 - early as i64);
        tenancy.used.store(false, Ordering::Relaxed);
        Ok(Some(keys))
    }

    /// A handle over a grant of its own, beside the tenant's lease and void with it. It is not handed out again.
    pub(crate) fn beside(&self, grant: Grant) -> Result<Arc<TenantKeys>, KeyError> {
        let Grant { tenant, geo, purposes } = grant;
        let gate = self.state.read().held.get(&tenant).map(|tenancy| Arc::clone(&tenancy.gate));
        let lease = Lease::new(gate.ok_or(KeyError::Unreachable)?, 0);
        Ok(Arc::new(TenantKeys::new(tenant, geo, purposes, lease).ok_or(KeystoreError::Damaged)?))
    }

    /// The service, or nobody, answered so at `now`. A refusal ends the lease; an outage lets it run on.
    pub(crate) fn fail(&self, tenant: &Id, error: &KeyError, now: i64) {
        if error.revokes() {
            self.void(tenant);
        }
        let mut state = self.state.write();
        if state.refused.len() >= REFUSALS_MAX {
            state.refused.clear();
        }
        state.refused.insert(*tenant, (error.clone(), now.saturating_add(REFUSED_SECONDS)));
        if let Some(tenancy) = state.held.get_mut(tenant) {
            // Several times before a lease is over, however short it is.
            tenancy.renew_at = now.saturating_add((self.options.lease_s / 20).clamp(1, REFUSED_SECONDS));
        }
    }

    /// Ends a tenant's lease at once, and forgets that it was ever refused.
    pub(crate) fn void(&self, tenant: &Id) {
        self.end(tenant, Gate::revoke);
    }

    /// The same for want of an answer: nobody said no, and whoever asks again may get another.
    pub(crate) fn expire(&self, tenant: &Id) {
        self.end(tenant, Gate::expire);
    }

    fn end(&self, tenant: &Id, how: fn(&Gate)) {
        {
            let mut state = self.state.write();
            state.changes += 1;
            state.refused.remove(tenant);
            if let Some(tenancy) = state.held.remove(tenant) {
                how(&tenancy.gate);
            }
        }
        self.tell(&[*tenant]);
    }

    /// Lets go of a tenant's lease without ending it: what was begun may finish, the next one asks anew.
    pub(crate) fn supersede(&self, tenant: &Id) {
        let mut state = self.state.write();
        state.changes += 1;
        if let Some(tenancy) = state.held.get_mut(tenant) {
            tenancy.let_go();
        }
    }

    pub(crate) fn hear(&self, event: &Revocation) {
        match event.kind {
            RevocationKind::Void => self.void(&event.tenant),
            RevocationKind::Superseded => self.supersede(&event.tenant),
            RevocationKind::Erased => self.subjects.erase(event.tenant, event.subject),
        }
    }

    /// The service cannot say what was missed: every lease is to be confirmed with the next [`Leases::tick`].
    pub(crate) fn confirm_all(&self) {
        let mut state = self.state.write();
        state.changes += 1;
        state.refused.clear();
        state.confirm = true;
    }

    /// Whether somebody still holds keys from before the last rotation.
    pub(crate) fn has_superseded(&self, tenant: &Id) -> bool {
        self.state.read().held.get(tenant).is_some_and(Tenancy::is_superseded_in_use)
    }

    /// Ends the leases whose time is over, and names the tenants whose leases are to be renewed now: those in use, and
    /// all of them when the service asked for it.
    pub(crate) fn tick(&self, now: i64) -> Vec<Id> {
        let (ended, due) = {
            let mut state = self.state.write();
            state.refused.retain(|_, (_, until)| now < *until);
            let ended: Vec<Id> = state.held.iter().filter(|(_, t)| now >= t.until).map(|(id, _)| *id).collect();
            for tenant in &ended {
                if let Some(tenancy) = state.held.remove(tenant) {
                    tenancy.gate.expire();
                }
            }
            let confirm = std::mem::take(&mut state.confirm);
            let is_due = |t: &Tenancy| confirm || (now >= t.renew_at && t.is_in_use());
            let due: Vec<Id> = state.held.iter().filter(|(_, t)| is_due(t)).map(|(id, _)| *id).collect();
            (ended, due)
        };
        self.tell(&ended);
        due
    }

    /// Leases that serve now.
    pub(crate) fn len(&self) -> usize {
        self.state.read().held.values().filter(|tenancy| tenancy.keys.is_some()).count()
    }

    fn tell(&self, tenants: &[Id]) {
        let listeners = self.listeners.read();
        for tenant in tenants {
            listeners.iter().for_each(|listener| listener(tenant));
        }
    }
}

/// Keeps the unwrapped keys in memory bounded: lets go of those whose leases end soonest. The gates stay until the
/// lease's own end, so what is still held somewhere can be revoked.
fn evict(held: &mut HashMap<Id, Tenancy>) {
    let mut ends: Vec<i64> = held.values().filter(|t| t.keys.is_some()).map(|t| t.until).collect();
    if ends.len() < LEASES_MAX {
        return;
    }
    ends.sort_unstable();
    let cut = ends[ends.len() / 8];
    for tenancy in held.values_mut().filter(|tenancy| tenancy.until <= cut) {
        tenancy.let_go();
    }
}
