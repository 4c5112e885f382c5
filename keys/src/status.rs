//! What the key service says of itself: versions, states, counts. Opaque ids only; nothing here is secret.

use crate::context::{Id, NO_ID};
use crate::ending::{Ending, endings, known_masters};
use crate::entries::{Early, KeyState, RotationJob, TenantEntry, TenantState, place};
use crate::error::{KeyError, KeystoreError};
use crate::provider::MasterVersion;
use crate::record::{KeyKind, KeyName};
use crate::rotate::{all_roots, rotation};
use crate::service::{GeoKeyService, revocation_seq, root_entries, tenant_entry};
use minicbor::{Decode, Encode};
use std::sync::atomic::Ordering;

/// The state of one geo's keys.
#[derive(Clone, Debug, Encode, Decode)]
pub struct ServiceStatus {
    /// The geo.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub geo: Id,
    /// Generation of the key store.
    #[n(1)]
    pub generation: u64,
    /// Counts suspensions, resumptions and destructions.
    #[n(2)]
    pub revocation_seq: u64,
    /// The master key's versions, oldest first, and how many records the key store holds under each.
    #[n(3)]
    pub masters: Vec<(MasterVersion, u64)>,
    /// The geo directory key.
    #[n(4)]
    pub directory: Vec<RootStatus>,
    /// Every tenant, destroyed ones too.
    #[n(5)]
    pub tenants: Vec<TenantStatus>,
    /// The master rotation under way.
    #[n(6)]
    pub rotation: Option<RotationJob>,
    /// Whether its settings allow early destructions.
    #[n(7)]
    pub early_allowed: Option<bool>,
    /// The versions whose day is set; unknown of an older service.
    #[n(8)]
    pub endings: Option<Vec<Ending>>,
    /// Versions of the master key that may be known to somebody.
    #[n(9)]
    pub known_masters: Option<Vec<u32>>,
    /// For how many seconds a backup keeps the versions alive that it needs.
    #[n(10)]
    pub backup_age_s: Option<i64>,
}

/// The state of one tenant's keys.
#[derive(Clone, Debug, Encode, Decode)]
pub struct TenantStatus {
    /// The tenant.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: Id,
    /// Its state in the key service.
    #[n(1)]
    pub state: TenantState,
    /// When it was created, in compliance seconds.
    #[n(2)]
    pub created: i64,
    /// When its keys may be destroyed at the earliest.
    #[n(3)]
    pub due: Option<i64>,
    /// When they were.
    #[n(4)]
    pub destroyed: Option<i64>,
    /// Its roots, by kind, oldest version first.
    #[n(5)]
    pub roots: Vec<RootStatus>,
    /// Living subject keys.
    #[n(6)]
    pub subjects: u64,
    /// The instruction to destroy its keys sooner, while it stands.
    #[n(7)]
    pub early: Option<Early>,
}

/// One version of one root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RootStatus {
    /// Which root.
    #[n(0)]
    pub kind: KeyKind,
    /// Its id and version.
    #[n(1)]
    pub name: KeyName,
    /// Its state.
    #[n(2)]
    pub state: KeyState,
    /// Since when, in compliance seconds.
    #[n(3)]
    pub since: i64,
    /// The version of the master key it is wrapped under; `None` once destroyed.
    #[n(4)]
    pub master: Option<u32>,
    /// When it was made; unknown of those made by earlier releases.
    #[n(5)]
    pub made: Option<i64>,
    /// When the next version took its place.
    #[n(6)]
    pub replaced: Option<i64>,
}

impl GeoKeyService {
    /// Everything at once, from memory.
    pub fn status(&self) -> Result<ServiceStatus, KeyError> {
        let store = self.store.lock();
        let roots = all_roots(&store)?;
        let under = |master: KeyName| {
            let roots = roots.iter().filter_map(|root| root.record.as_ref());
            let of_roots = roots.filter(|record| record.fields.master == master).count() as u64;
            of_roots + store.masters().filter(|name| *name == master).count() as u64
        };
        let masters = self.provider.versions()?.into_iter().map(|master| (master, under(master.name))).collect();
        let tenants = store.entries(place::TENANTS).map(|(key, _)| {
            let tenant = key[1..].try_into().map_err(|_| KeystoreError::Damaged)?;
            tenant_status(&store, tenant)?.ok_or(KeyError::Unknown)
        });
        Ok(ServiceStatus {
            geo: self.geo,
            generation: store.generation(),
            revocation_seq: revocation_seq(&store),
            masters,
            directory: root_statuses(&store, &NO_ID)?,
            tenants: tenants.collect::<Result<_, _>>()?,
            rotation: rotation(&store)?,
            early_allowed: Some(self.early_allowed.load(Ordering::SeqCst)),
            endings: Some(endings(&store)?),
            known_masters: Some(known_masters(&store)),
            backup_age_s: Some(self.backup_age.load(Ordering::SeqCst)),
        })
    }

    /// One tenant; `None` if there never was one of this id.
    pub fn tenant_status(&self, tenant: Id) -> Result<Option<TenantStatus>, KeyError> {
        tenant_status(&self.store.lock(), tenant)
    }
}

type Store = crate::keystore::Keystore;

fn tenant_status(store: &Store, tenant: Id) -> Result<Option<TenantStatus>, KeyError> {
    let Some(TenantEntry { state, created, due, destroyed, early }) = tenant_entry(store, &tenant)? else {
        return Ok(None);
    };
    let roots = root_statuses(store, &tenant)?;
    let subjects = store.entries(&place::subjects_of(&tenant)).filter(|(_, value)| !value.is_empty()).count() as u64;
    Ok(Some(TenantStatus { tenant, state, created, due, destroyed, roots, subjects, early }))
}

fn root_statuses(store: &Store, tenant: &Id) -> Result<Vec<RootStatus>, KeyError> {
    let status = |root: crate::entries::RootEntry| RootStatus {
        kind: root.kind,
        name: root.name,
        state: root.state,
        since: root.since,
        made: root.made,
        replaced: root.replaced,
        master: root.record.map(|record| record.fields.master.version),
    };
    Ok(root_entries(store, tenant)?.into_iter().map(status).collect())
}
