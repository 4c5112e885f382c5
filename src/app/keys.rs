//! Keys, between the admin face and the key service: what there is, and in which state.

use super::acts::HouseActs;
use super::house::GeoRoom;
use super::keywork::rekey_error;
use super::schedule;
use super::tenants::{act_error, actor, find, find_any};
use crate::admin::acts::{Mode, Order, Outcome, Sight, TenantRef};
use crate::admin::error::ActError;
use crate::admin::schedules::Scheduled;
use crate::admin::wire;
use crate::audit::{Event as Record, Hash};
use crate::model::atlas::Geo;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::rekey::schedule::{Scheduled as On, Standing};
use crate::rekey::{self, COUNT_ROWS_MAX, Counted, TenantCounts};
use crate::seal::{
    KeyClient, KeyError, KeyKind, KeyState, MasterState, ProviderKind, RootStatus, ServiceStatus, TenantState,
    TenantStatus, VersionOf,
};
use crate::tenant::State;
use std::collections::BTreeMap;

pub(super) async fn status(
    acts: &HouseActs,
    geo: Option<&'static Geo>,
    tenant: Option<&TenantRef>,
    count: bool,
    sight: Sight,
) -> Result<wire::KeyStatus, ActError> {
    let only = match tenant {
        // That they are destroyed is shown, too.
        Some(tenant) => Some(find_any(acts, tenant).await?.entry.standing.id),
        None => None,
    };
    let mut geos = Vec::new();
    let mut left = count.then_some(COUNT_ROWS_MAX);
    for room in acts.rooms(geo)? {
        geos.push(geo_keys(acts, room, only, &mut left, sight).await?);
    }
    if only.is_some() {
        geos.retain(|geo| !geo.tenants.is_empty());
    }
    Ok(wire::KeyStatus { geos })
}

/// `left`: rows that may be read to count records; none: they are not counted.
async fn geo_keys(
    acts: &HouseActs,
    room: &GeoRoom,
    only: Option<TenantId>,
    left: &mut Option<u64>,
    sight: Sight,
) -> Result<wire::GeoKeys, ActError> {
    let status = ask(room, KeyClient::status).await?;
    let geo = room.geo.id;
    let days = Days::of(&status);
    let master = status.masters.iter().map(|(master, records)| {
        let version = master.name.version;
        let destroy_at = days.master(version).filter(|_| master.state != MasterState::Destroyed);
        let is_known = status.known_masters.as_ref().is_some_and(|known| known.contains(&version));
        wire::KeyVersion {
            id: format!("mk/{geo}/{version}"),
            version,
            state: match master.state {
                MasterState::Destroyed => "destroyed",
                MasterState::Disabled => "suspended",
                MasterState::DecryptOnly if destroy_at.is_some() => "destroy-scheduled",
                MasterState::Active | MasterState::DecryptOnly if is_known => "compromised",
                MasterState::Active => "current",
                MasterState::DecryptOnly => "decrypt-only",
            }
            .into(),
            records: Some(*records),
            more: false,
            destroy_at,
        }
    });
    let rooms = acts.house.rekey_rooms(room);
    let counted = match left {
        Some(_) => Some(rekey::count_directory(&rooms).await.map_err(rekey_error)?),
        None => None,
    };
    let directory = status.directory.iter();
    let directory = directory.map(|root| version(format!("gdk/{geo}"), root, false, counted.as_ref(), None)).collect();
    let mut tenants = Vec::new();
    for tenant in &status.tenants {
        let id = TenantId(tenant.tenant);
        if only.is_some_and(|only| only != id) {
            continue;
        }
        let entry = room.directory.tenant(id).await.map_err(|error| act_error(error.into()))?;
        let detail = entry.filter(|_| sight == Sight::Everything).and_then(|entry| entry.detail.clone());
        let name = detail.map(|detail| detail.name);
        let counts = match left {
            Some(left) if tenant.state == TenantState::Active => {
                Some(rekey::count_tenant(&rooms, id, left).await.map_err(rekey_error)?)
            }
            _ => None,
        };
        tenants.push(shown(tenant, name, counts.as_ref(), &days));
    }
    let schedule = scheduled(acts, room, only, &tenants).await;
    let proposals = if only.is_some() { Vec::new() } else { super::keyend::proposals(acts, room).await? };
    Ok(wire::GeoKeys {
        geo: geo.into(),
        provider: provider(room.keys.provider_kind()).into(),
        master: master.collect(),
        directory,
        tenants,
        rotation: acts.operations.running("rotate-master", geo),
        schedule,
        proposals,
    })
}

/// When keys are due. What cannot be read now (a tenant's keys are out of reach) hides nothing else of the status.
async fn scheduled(
    acts: &HouseActs,
    room: &GeoRoom,
    only: Option<TenantId>,
    tenants: &[wire::TenantKeys],
) -> Vec<Scheduled> {
    let standings = match schedule::standings(acts, room).await {
        Ok(standings) => standings,
        Err(error) => {
            tracing::warn!(geo = room.geo.id, ?error, "which keys are due could not be read");
            return Vec::new();
        }
    };
    let now = acts.house.clock.now().cc_lo;
    let of = |id: TenantId| {
        let name = tenants.iter().find(|tenant| tenant.tenant == id).and_then(|tenant| tenant.name.clone());
        name.unwrap_or_else(|| id.to_string())
    };
    let named = |standing: &Standing| {
        let version = standing.version;
        match standing.on {
            On::Master => format!("mk/{}/{version}", room.geo.id),
            On::Tenant(id) => format!("tdk/{}/{version}", of(id)),
            On::SubjectRoot(id) => format!("srk/{}/{version}", of(id)),
            On::IndexRoot(id) => format!("tik/{}/{version}", of(id)),
            On::IndexKey(id, bucket) => format!("ik/{}/{bucket}/{version}", of(id)),
        }
    };
    let shown = standings.iter().filter(|standing| only.is_none() || standing.on.tenant() == only);
    shown.map(|standing| schedule::shown(standing, named(standing), now)).collect()
}

/// The days that are set for versions.
#[derive(Default)]
struct Days(BTreeMap<VersionOf, i64>);

impl Days {
    fn of(status: &ServiceStatus) -> Self {
        Self(status.endings.iter().flatten().map(|ending| (ending.of, ending.due)).collect())
    }

    fn day(&self, of: &VersionOf) -> Option<wire::Time> {
        self.0.get(of).map(|due| wire::Time(Millis::from_seconds(*due)))
    }

    fn master(&self, version: u32) -> Option<wire::Time> {
        self.day(&VersionOf::Master { version })
    }

    fn root(&self, tenant: TenantId, root: &RootStatus) -> Option<wire::Time> {
        self.day(&VersionOf::Root { tenant: tenant.0, kind: root.kind, version: root.name.version })
    }
}

fn shown(tenant: &TenantStatus, name: Option<String>, counts: Option<&TenantCounts>, days: &Days) -> wire::TenantKeys {
    let id = TenantId(tenant.tenant);
    let label = name.clone().unwrap_or_else(|| id.to_string());
    let suspended = tenant.state == TenantState::Suspended;
    let of_kind = |kind: KeyKind, prefix: &str, counted: Option<&Counted>| {
        let roots = tenant.roots.iter().filter(|root| root.kind == kind);
        let line = |root| version(format!("{prefix}/{label}"), root, suspended, counted, days.root(id, root));
        roots.map(line).collect::<Vec<_>>()
    };
    let mut versions = of_kind(KeyKind::Trk, "tdk", counts.map(|counts| &counts.data));
    versions.extend(of_kind(KeyKind::Srk, "srk", counts.map(|counts| &counts.subjects)));
    versions.extend(of_kind(KeyKind::Tik, "tik", counts.map(|counts| &counts.index)));
    for (bucket, active, old, counted) in counts.iter().flat_map(|counts| &counts.buckets) {
        let live = old.iter().map(|old| (old, "decrypt-only")).chain([(active, "current")]);
        versions.extend(live.map(|(number, state)| wire::KeyVersion {
            id: format!("ik/{label}/{bucket}/{number}"),
            version: *number,
            state: state.into(),
            records: Some(counted.under.get(number).copied().unwrap_or(0)),
            more: !counted.whole,
            destroy_at: None,
        }));
    }
    wire::TenantKeys { tenant: id, name, versions }
}

fn version(
    of: String,
    root: &RootStatus,
    suspended: bool,
    counted: Option<&Counted>,
    day: Option<wire::Time>,
) -> wire::KeyVersion {
    let number = root.name.version;
    let is_live = root.state != KeyState::Destroyed;
    wire::KeyVersion {
        id: format!("{of}/{number}"),
        version: number,
        state: match root.state {
            KeyState::Destroyed => "destroyed",
            _ if suspended => "suspended",
            _ if day.is_some() => "destroy-scheduled",
            KeyState::PreActive => "pre-active",
            KeyState::Active => "current",
            KeyState::DecryptOnly => "decrypt-only",
            KeyState::Compromised => "compromised",
        }
        .into(),
        records: counted.filter(|_| is_live).map(|counted| counted.under.get(&number).copied().unwrap_or(0)),
        more: is_live && counted.is_some_and(|counted| !counted.whole),
        destroy_at: day.filter(|_| is_live),
    }
}

/// Log → key service, which voids every lease before it answers.
pub(super) async fn suspend(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    reason: &str,
) -> Result<Outcome<wire::TenantKeys>, ActError> {
    let reason = match order.mode {
        Mode::Plan => None,
        Mode::Run => {
            let found = find(acts, tenant).await?;
            let kept = found.tenancy.directory.keep_words(found.entry.standing.id, reason).await;
            Some(Hash(kept.map_err(|error| act_error(error.into()))?))
        }
    };
    let plan = [
        "log it",
        "the tenant's keys open nothing from now on; what is being read or written ends within seconds",
        "nothing is destroyed: resume makes them usable again",
    ];
    switch(acts, order, tenant, &plan, |tenant| Record::TenantKeysSuspended { tenant, reason }, KeyClient::suspend)
        .await
}

/// Log → key service.
pub(super) async fn resume(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
) -> Result<Outcome<wire::TenantKeys>, ActError> {
    let plan = ["log it", "the tenant's keys are usable again at once"];
    switch(acts, order, tenant, &plan, |tenant| Record::TenantKeysResumed { tenant }, KeyClient::resume).await
}

async fn switch(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    plan: &[&str],
    record: impl FnOnce(TenantId) -> Record + Send,
    act: fn(&KeyClient, crate::seal::Id) -> Result<(), KeyError>,
) -> Result<Outcome<wire::TenantKeys>, ActError> {
    let found = find(acts, tenant).await?;
    let (tenancy, entry) = (found.tenancy, found.entry);
    let id = entry.standing.id;
    match entry.standing.state {
        State::Active | State::Disabled | State::Terminated => {}
        // A purge resumes suspended keys, to find what it has to destroy: neither may come in between.
        State::Purging | State::PurgeHeld => return Err(ActError::TenantPurging),
        State::Purged => return Err(ActError::TenantPurged),
        State::Provisioning => return Err(ActError::WrongState(wire::TenantState::Provisioning)),
    }
    if order.mode == Mode::Plan {
        let steps = plan.iter().map(|step| (*step).to_owned()).collect();
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let _acts = tenancy.directory.acts().lock().await;
    tenancy.audit.append(&actor(order), record(id)).await.map_err(super::acts::log_error)?;
    let keys = tenancy.directory.key_service().clone();
    let work = move || act(&keys, id.0).and_then(|()| keys.tenant_status(id.0)?.ok_or(KeyError::Unknown));
    let status = tokio::task::spawn_blocking(work).await.map_err(|_| ActError::Broken)?;
    let status = status.map_err(|error| act_error(error.into()))?;
    // Read anew: while its keys are suspended, a tenant has no name.
    let known = tenancy.directory.tenant(id).await.map_err(|error| act_error(error.into()))?;
    let known = known.and_then(|entry| entry.detail.clone()).or_else(|| entry.detail.clone());
    Ok(Outcome::Done(shown(&status, known.map(|detail| detail.name), None, &Days::default())))
}

/// Asks the key service beside the requests: it blocks.
pub(super) async fn ask<T: Send + 'static>(
    room: &GeoRoom,
    question: impl FnOnce(&KeyClient) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, ActError> {
    let keys = room.keys.clone();
    let answer = tokio::task::spawn_blocking(move || question(&keys)).await.map_err(|_| ActError::Broken)?;
    answer.map_err(|error| act_error(error.into()))
}

fn provider(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Local => "local keyring",
        ProviderKind::Pkcs11 => "PKCS#11",
        ProviderKind::Transit => "Vault Transit",
        ProviderKind::AwsKms => "AWS KMS",
    }
}
