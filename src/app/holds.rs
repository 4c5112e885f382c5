//! Legal holds, between the admin face and the conductor.

use super::acts::HouseActs;
use super::tenants::{act_error, actor, find};
use crate::admin::acts::{Mode, Order, Outcome, TenantRef};
use crate::admin::error::ActError;
use crate::admin::holds::{DeferredAct, Hold, HoldAct, HoldState, NewHold};
use crate::admin::wire;
use crate::directory::{DirectoryError, TenantEntry};
use crate::holds::{self, Covered, HoldError, NewMatter, Stage, Who};
use crate::index::IndexError;
use crate::model::ids::TenantId;
use crate::report::residency::ObjectAt;
use crate::tenancy::Tenancy;
use crate::tenant::State;
use crate::tenant::holds::{Deferred, Matter, Said, Scope};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn act(acts: &HouseActs, order: &Order, act: HoldAct) -> Result<Outcome<Hold>, ActError> {
    let by = actor(order);
    let who = Who { actor: &by, name: &order.by.0, alone: !acts.two_person };
    match act {
        HoldAct::Place(new) => place(acts, order, who, new).await,
        HoldAct::Approve(id) => {
            let (tenancy, tenant) = find_matter(acts, &id).await?;
            if order.mode == Mode::Plan {
                return planned(&tenancy, tenant, &id, "it keeps what it covers").await;
            }
            let (matter, stage) = holds::approve(&tenancy, who, tenant, &id).await.map_err(hold_error)?;
            Ok(Outcome::Done(shown(tenant, &matter, stage)))
        }
        HoldAct::Release(id) => {
            let (tenancy, tenant) = find_matter(acts, &id).await?;
            if order.mode == Mode::Plan {
                return planned(&tenancy, tenant, &id, "asked for, agreed to, or withdrawn while it is pending").await;
            }
            let (matter, stage, resume) = holds::release(&tenancy, who, tenant, &id).await.map_err(hold_error)?;
            let mut hold = shown(tenant, &matter, stage);
            let entry = entry(&tenancy, tenant).await?;
            hold.deferred = resume.iter().map(deferred).collect();
            let now = tenancy.clock.now();
            let is_due = entry.standing.deadlines().any(|(at, due)| now.lo_for(&at) >= due);
            if stage == Stage::Released && entry.standing.holds.is_empty() && is_due {
                hold.deferred.extend(purge(&entry, 0));
            }
            Ok(Outcome::Done(hold))
        }
    }
}

async fn place(acts: &HouseActs, order: &Order, who: Who<'_>, new: NewHold) -> Result<Outcome<Hold>, ActError> {
    let found = find(acts, &new.tenant).await?;
    let (tenancy, tenant) = (found.tenancy, found.entry.standing.id);
    // A number leads to one matter, whichever of the served geos it is asked in.
    if find_matter(acts, &new.id).await.is_ok_and(|(_, other)| other != tenant) {
        return Err(ActError::HoldExists);
    }
    let NewHold { id, scope, words, prospective, reason, .. } = new;
    if order.mode == Mode::Plan {
        let asked = Matter {
            id,
            scope,
            words,
            prospective,
            placed: Said { by: order.by.0.clone(), at: acts.house.clock.now().wall },
            approved: None,
            written_until: None,
            release: None,
            released: false,
            reason,
        };
        let covered = holds::covered(&tenancy, tenant, &asked).await.map_err(hold_error)?;
        if covered.objects == 0 && !asked.prospective && asked.scope != Scope::Tenant {
            return Err(ActError::UnknownScope);
        }
        let steps = vec!["log it".to_owned(), "it is in force once another principal approved it".to_owned()];
        let counts = BTreeMap::from([("objects".to_owned(), covered.objects)]);
        return Ok(Outcome::Planned(wire::Plan { steps, counts, ..wire::Plan::default() }));
    }
    let new = NewMatter { id, scope, words, prospective, reason };
    let (matter, stage) = holds::place(&tenancy, who, tenant, new).await.map_err(hold_error)?;
    Ok(Outcome::Done(shown(tenant, &matter, stage)))
}

async fn planned(tenancy: &Tenancy, tenant: TenantId, id: &str, then: &str) -> Result<Outcome<Hold>, ActError> {
    let matter = tenancy.directory.matter(tenant, id).await.map_err(directory_error)?.ok_or(ActError::NoSuchHold)?;
    let covered = holds::covered(tenancy, tenant, &matter).await.map_err(hold_error)?;
    let counts = BTreeMap::from([("objects".to_owned(), covered.objects)]);
    let steps = vec!["log it".to_owned(), then.to_owned()];
    Ok(Outcome::Planned(wire::Plan { steps, counts, ..wire::Plan::default() }))
}

pub(super) async fn list(acts: &HouseActs, tenant: Option<&TenantRef>) -> Result<Vec<Hold>, ActError> {
    let mut all = Vec::new();
    if let Some(tenant) = tenant {
        let found = find(acts, tenant).await?;
        all = match of_tenant(&found.tenancy, &found.entry, Count::All).await {
            // What lies elsewhere is not counted here, and no reason to say nothing.
            Err(ActError::RegionNotServed) => of_tenant(&found.tenancy, &found.entry, Count::Nothing).await?,
            all => all?,
        };
    } else {
        for tenancy in acts.house.tenancies() {
            for id in tenancy.directory.tenants_with_matters().await.map_err(directory_error)? {
                let entry = entry(&tenancy, id).await?;
                // Keys that do not open now hide what is said, not that something is in force: `tenant show` says so.
                match of_tenant(&tenancy, &entry, Count::Nothing).await {
                    Ok(holds) => all.extend(holds),
                    Err(ActError::Unavailable(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

/// Whether to count what holds cover: that reads every row that they may mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    All,
    Nothing,
}

async fn of_tenant(tenancy: &Tenancy, entry: &TenantEntry, count: Count) -> Result<Vec<Hold>, ActError> {
    if matches!(entry.standing.state, State::Purging | State::Purged) {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for matter in tenancy.directory.matters(entry.standing.id).await.map_err(directory_error)? {
        all.extend(told(tenancy, entry, &matter, count).await?);
    }
    Ok(all)
}

pub(super) async fn show(acts: &HouseActs, id: &str) -> Result<Hold, ActError> {
    let (tenancy, tenant) = find_matter(acts, id).await?;
    let entry = entry(&tenancy, tenant).await?;
    let matter = tenancy.directory.matter(tenant, id).await.map_err(directory_error)?.ok_or(ActError::NoSuchHold)?;
    told(&tenancy, &entry, &matter, Count::All).await?.ok_or(ActError::NoSuchHold)
}

/// A matter with what it covers now and what waits for its release; `None`: what is left of it is not worth showing.
async fn told(tenancy: &Tenancy, entry: &TenantEntry, matter: &Matter, count: Count) -> Result<Option<Hold>, ActError> {
    let tenant = entry.standing.id;
    let Some(stage) = holds::stage(entry, matter, tenancy.clock.now().wall) else { return Ok(None) };
    let mut hold = shown(tenant, matter, stage);
    let covered = match count {
        Count::All => Some(holds::covered(tenancy, tenant, matter).await.map_err(hold_error)?),
        Count::Nothing => None,
    };
    let objects = covered.as_ref().map(|covered| covered.objects);
    (hold.covered_objects, hold.covered) = (objects, covered.as_ref().map(named).unwrap_or_default());
    let waiting = tenancy.directory.deferred(tenant).await.map_err(directory_error)?;
    hold.deferred = waiting.iter().filter(|act| act.matters.contains(&matter.id)).map(deferred).collect();
    if matches!(stage, Stage::InForce | Stage::ReleaseAsked) {
        hold.deferred.extend(purge(entry, objects.unwrap_or_default()));
    }
    Ok(Some(hold))
}

/// Covered objects as reports name them: by opaque ids.
fn named(covered: &Covered) -> Vec<ObjectAt> {
    let at = |at: &holds::CoveredObject| ObjectAt {
        bucket: at.bucket.to_string(),
        object: at.object.to_string(),
        version: at.version.to_string(),
        region: at.region.id.to_owned(),
    };
    covered.first.iter().map(at).collect()
}

/// A tenant's destruction waits for its holds, too.
fn purge(entry: &TenantEntry, objects: u64) -> Option<DeferredAct> {
    entry.standing.termination.as_ref().map(|_| DeferredAct {
        label: entry.standing.id.to_string(),
        kind: "purge-tenant".into(),
        objects,
    })
}

async fn find_matter(acts: &HouseActs, id: &str) -> Result<(Tenancy, TenantId), ActError> {
    for tenancy in acts.house.tenancies() {
        if let Some(tenant) = tenancy.directory.tenant_of_matter(id).await.map_err(directory_error)? {
            return Ok((tenancy, tenant));
        }
    }
    Err(ActError::NoSuchHold)
}

async fn entry(tenancy: &Tenancy, tenant: TenantId) -> Result<Arc<TenantEntry>, ActError> {
    tenancy.directory.tenant(tenant).await.map_err(directory_error)?.ok_or(ActError::NoSuchTenant)
}

fn shown(tenant: TenantId, matter: &Matter, stage: Stage) -> Hold {
    Hold {
        id: matter.id.clone(),
        tenant,
        state: match stage {
            Stage::Pending => HoldState::PendingApproval,
            Stage::InForce => HoldState::InForce,
            Stage::ReleaseAsked => HoldState::ReleaseAsked,
            Stage::Released => HoldState::Released,
        },
        scope: matter.scope.to_string(),
        matter: matter.words.clone(),
        reason: matter.reason.clone(),
        prospective: matter.prospective,
        placed_by: matter.placed.by.clone(),
        placed_at: wire::Time(matter.placed.at),
        approved_by: matter.approved.as_ref().map(|said| said.by.clone()),
        approved_at: matter.approved.as_ref().map(|said| wire::Time(said.at)),
        release_asked_by: matter.release.as_ref().filter(|_| stage == Stage::ReleaseAsked).map(|said| said.by.clone()),
        covered_objects: None,
        covered: Vec::new(),
        deferred: Vec::new(),
    }
}

fn deferred(act: &Deferred) -> DeferredAct {
    DeferredAct { label: act.label.clone(), kind: act.kind.as_str().into(), objects: act.objects }
}

fn directory_error(error: DirectoryError) -> ActError {
    act_error(error.into())
}

pub(super) fn hold_error(error: HoldError) -> ActError {
    match error {
        HoldError::State(no) => ActError::StateRefuses(no),
        HoldError::Exists => ActError::HoldExists,
        HoldError::NoSuchHold => ActError::NoSuchHold,
        HoldError::Nothing => ActError::UnknownScope,
        HoldError::SamePrincipal => ActError::SamePrincipal,
        HoldError::RegionNotServed(_) => ActError::RegionNotServed,
        HoldError::Tenancy(error) => act_error(error),
        HoldError::Directory(error) => directory_error(error),
        HoldError::Audit(error) => super::acts::log_error(error),
        HoldError::Index(IndexError::KeysWithheld) => ActError::KeysSuspended,
        HoldError::Index(error) => {
            tracing::error!(%error, "an act on a legal hold failed");
            ActError::Broken
        }
    }
}
