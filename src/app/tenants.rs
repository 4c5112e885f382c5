//! Tenants and their logins, between the admin face and the conductor.

use super::acts::HouseActs;
use crate::admin::acts::{Mode, NewTenant, Order, Outcome, TenantRef};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::Actor;
use crate::directory::{Detail, LoginEntry, TenantEntry};
use crate::feature;
use crate::index::{IndexError, Unfinished};
use crate::model::atlas::Geo;
use crate::model::ids::TenantId;
use crate::model::login::Role;
use crate::model::names::{AccessId, TenantName};
use crate::seal::{KeyError, KeyKind, KeyState, OpenClass};
use crate::tenancy::{Tenancy, TenancyError};
use crate::tenant::{self, Effect, Event, Refusal, Replication, State};
use std::sync::Arc;

/// A tenant and the acts that reach it.
pub(super) struct FoundTenant {
    pub(super) tenancy: Tenancy,
    pub(super) entry: Arc<TenantEntry>,
}

impl FoundTenant {
    /// That `words` are the tenant's name: as it is found by, so also while its keys are suspended and its name cannot be
    /// shown. ConfirmMismatch.
    pub(super) async fn confirmed_by(&self, words: Option<&str>) -> Result<(), ActError> {
        let name = words.and_then(|words| TenantName::parse(words).ok()).ok_or(ActError::ConfirmMismatch)?;
        let named = self.tenancy.directory.tenant_named(&name).await.map_err(|error| act_error(error.into()))?;
        match named {
            Some(named) if named.standing.id == self.entry.standing.id => Ok(()),
            _ => Err(ActError::ConfirmMismatch),
        }
    }
}

/// A tenant that is not purged. Errors: `NoSuchTenant`, `TenantPurged`.
pub(super) async fn find(acts: &HouseActs, tenant: &TenantRef) -> Result<FoundTenant, ActError> {
    let found = find_any(acts, tenant).await?;
    if found.entry.standing.state == State::Purged { Err(ActError::TenantPurged) } else { Ok(found) }
}

/// A tenant in any state. By its name a living one, or, when there is none, the newest of the purged ones that had it.
pub(super) async fn find_any(acts: &HouseActs, tenant: &TenantRef) -> Result<FoundTenant, ActError> {
    for tenancy in acts.house.tenancies() {
        let found = match tenant {
            TenantRef::Id(id) => tenancy.directory.tenant(*id).await,
            TenantRef::Name(name) => tenancy.directory.tenant_named(name).await,
        };
        if let Some(entry) = found.map_err(|error| act_error(error.into()))? {
            return Ok(FoundTenant { tenancy, entry });
        }
    }
    let TenantRef::Name(name) = tenant else { return Err(ActError::NoSuchTenant) };
    let mut newest: Option<FoundTenant> = None;
    for tenancy in acts.house.tenancies() {
        let found = tenancy.directory.tombstone_named(name).await.map_err(|error| act_error(error.into()))?;
        let created = |of: &FoundTenant| of.entry.standing.created.at;
        let found = found.map(|entry| FoundTenant { tenancy, entry });
        newest = newest.into_iter().chain(found).max_by_key(created);
    }
    newest.ok_or(ActError::NoSuchTenant)
}

pub(super) async fn create(acts: &HouseActs, order: &Order, new: NewTenant) -> Result<Outcome<wire::Tenant>, ActError> {
    let tenancy = acts.house.tenancy(new.geo.id).ok_or(ActError::GeoNotServed)?;
    if !acts.house.regions.contains_key(new.home.id) {
        return Err(ActError::RegionNotServed);
    }
    let named = tenancy.directory.tenant_named(&new.name).await.map_err(|error| act_error(error.into()))?;
    if named.is_some() {
        return Err(ActError::NameTaken);
    }
    let life = tenant::NewTenant {
        id: TenantId::random(),
        geo: new.geo,
        home: new.home,
        replication: Replication::None,
        consent: new.consent,
    };
    if order.mode == Mode::Plan {
        tenant::create(life, &acts.house.clock.now()).map_err(|refusal| act_error(refusal.into()))?;
        let steps = vec![
            "log the tenant's beginning".to_owned(),
            format!("make, wrap and verify its three root keys in {}", new.geo.id),
            "enter it in the directory; ACTIVE".to_owned(),
        ];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let detail = Detail { name: new.name.as_str().to_owned(), contact: new.contact };
    let entry = tenancy.create(&actor(order), life, detail).await.map_err(act_error)?;
    Ok(Outcome::Done(shown_with_master(&tenancy, &entry).await))
}

/// Of a purged one its tombstone, for whoever knows its id.
pub(super) async fn show(acts: &HouseActs, tenant: &TenantRef) -> Result<wire::Tenant, ActError> {
    let found = match tenant {
        TenantRef::Id(_) => find_any(acts, tenant).await?,
        TenantRef::Name(_) => find(acts, tenant).await?,
    };
    // While its keys are being made nobody waits for them to be told so.
    if found.entry.standing.state == State::Provisioning {
        return Ok(shown(&found.tenancy, &found.entry).await);
    }
    let uploads = unfinished(&found).await;
    Ok(wire::Tenant { uploads, ..shown_with_master(&found.tenancy, &found.entry).await })
}

/// Its uploads in progress; none, while its keys do not open its buckets.
async fn unfinished(found: &FoundTenant) -> Option<wire::UploadsInProgress> {
    let tenancy = &found.tenancy;
    let mut all = Unfinished::default();
    for at in tenancy.directory.buckets(found.entry.standing.id).await.ok()? {
        if let Some(roots) = tenancy.regions.get(at.region.id) {
            all += roots.index.count_unfinished(Some(at.bucket)).await.ok()?;
        }
    }
    Some(wire::UploadsInProgress { uploads: all.uploads, parts: all.parts })
}

pub(super) async fn list(
    acts: &HouseActs,
    after: Option<TenantId>,
    limit: usize,
) -> Result<Vec<wire::Tenant>, ActError> {
    let mut all = Vec::new();
    for tenancy in acts.house.tenancies() {
        let page = tenancy.directory.tenants(after, limit).await.map_err(|error| act_error(error.into()))?;
        for entry in &page {
            all.push(shown(&tenancy, entry).await);
        }
    }
    all.sort_by_key(|tenant| tenant.id);
    all.truncate(limit);
    Ok(all)
}

/// Applies the event that `event` makes of what is found. Of the `reason`, where the act demands one, the log keeps the hash.
pub(super) async fn apply(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    reason: Option<&str>,
    event: impl FnOnce(&FoundTenant) -> Result<Event, ActError> + Send,
) -> Result<Outcome<wire::Tenant>, ActError> {
    let found = find(acts, tenant).await?;
    let event = event(&found)?;
    let FoundTenant { tenancy, entry } = found;
    if order.mode == Mode::Plan {
        if order.expect.is_some_and(|seen| seen != entry.revision) {
            return Err(ActError::RevisionChanged);
        }
        let (next, effects) = tenancy.foresee(&entry, &event).map_err(act_error)?;
        let state = next.map_or("gone", |next| next.state.as_str());
        let mut steps: Vec<_> = effects.iter().filter_map(described).collect();
        steps.push(if effects.is_empty() { "nothing changes".into() } else { format!("the tenant is {state}") });
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let id = entry.standing.id;
    let applied = tenancy.apply_because(&actor(order), id, order.expect, &event, reason).await;
    let entry = applied.map_err(act_error)?;
    Ok(Outcome::Done(shown(&tenancy, &entry).await))
}

pub(super) async fn create_credential(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    role: wire::CredentialRole,
) -> Result<Outcome<wire::NewCredential>, ActError> {
    let FoundTenant { tenancy, entry } = find(acts, tenant).await?;
    if order.mode == Mode::Plan {
        let steps = vec!["make a login and show its secret once".to_owned()];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let inner = match role {
        wire::CredentialRole::ReadOnly => Role::ReadOnly,
        wire::CredentialRole::Service => Role::Service,
        wire::CredentialRole::Delete => Role::Delete,
    };
    let login = tenancy.create_login(&actor(order), entry.standing.id, inner).await.map_err(act_error)?;
    Ok(Outcome::Done(wire::NewCredential {
        access_id: login.access_id.as_str().to_owned(),
        secret: login.secret.to_string(),
        role,
        region: entry.standing.home.clone(),
    }))
}

pub(super) async fn credentials(acts: &HouseActs, tenant: &TenantRef) -> Result<Vec<wire::Credential>, ActError> {
    let FoundTenant { tenancy, entry } = find(acts, tenant).await?;
    let logins = tenancy.directory.logins(entry.standing.id).await.map_err(|error| act_error(error.into()))?;
    Ok(logins.into_iter().map(shown_login).collect())
}

pub(super) async fn revoke_credential(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    login: &AccessId,
) -> Result<Outcome<wire::Credential>, ActError> {
    let FoundTenant { tenancy, entry } = find(acts, tenant).await?;
    if order.mode == Mode::Plan {
        let steps = vec!["the login is refused from the next request on".to_owned()];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let revoked = tenancy.revoke_login(&actor(order), entry.standing.id, login).await.map_err(act_error)?;
    Ok(Outcome::Done(shown_login(revoked)))
}

/// As it was signed, with what shows that the log has it; `since` a state of the log that the reader knows.
pub(super) async fn certificate(
    acts: &HouseActs,
    tenant: &TenantRef,
    since: Option<u64>,
) -> Result<serde_json::Value, ActError> {
    let FoundTenant { entry, .. } = find_any(acts, tenant).await?;
    let text = acts.sweeper.certificate(entry.standing.id).await.map_err(|_| ActError::Broken)?;
    let geo = Geo::find(&entry.standing.geo).ok_or(ActError::Broken)?;
    super::transparency::with_log(acts, geo, entry.standing.id, text.ok_or(ActError::NoCertificate)?, since).await
}

/// Who gave an order, as the log knows them.
pub(super) fn actor(order: &Order) -> Actor {
    order.by.0.parse().unwrap_or_else(|_| Actor::part("admin"))
}

pub(super) async fn shown(tenancy: &Tenancy, entry: &TenantEntry) -> wire::Tenant {
    let standing = &entry.standing;
    let now = tenancy.clock.now();
    let left = standing.deadlines().map(|(at, due)| due.seconds() - now.lo_for(&at).seconds()).min();
    let left = left.map(|seconds| u64::try_from(seconds.max(0)).unwrap_or(0).div_ceil(86_400));
    let living = matches!(standing.state, State::Active | State::Disabled | State::Terminated);
    let label = entry.detail.as_ref().map_or_else(|| standing.id.to_string(), |detail| detail.name.clone());
    let (mut key, mut quota) = (None, None);
    if standing.state != State::Provisioning {
        let keys = tenancy.directory.keys(standing.id).await.ok();
        key = keys.map(|keys| format!("tdk/{label}/{}", keys.active_trk().version));
        quota = super::quotas::found(tenancy, standing.id).await.ok().flatten();
    }
    wire::Tenant {
        id: standing.id,
        name: entry.detail.as_ref().map(|detail| detail.name.clone()),
        geo: standing.geo.clone(),
        home: standing.home.clone(),
        replication: match standing.replication {
            Replication::None => wire::Replication::None,
            Replication::Geo => wire::Replication::Geo,
        },
        state: state(standing.state),
        revision: entry.revision,
        created_at: wire::Time(standing.created.wall),
        terminated_at: standing.termination.as_ref().map(|termination| wire::Time(termination.at.wall)),
        purge_due_at: standing.destruction_wall().map(wire::Time),
        early_purge: standing.early.as_ref().map(|early| wire::EarlyPurge {
            approved_at: wire::Time(early.at.wall),
            due_at: wire::Time(early.due_wall()),
            instruction_sha256: hex::encode(early.instruction),
        }),
        days_left: left.filter(|_| living),
        consent_sha256: standing.consent.map(hex::encode),
        contact: entry.detail.as_ref().and_then(|detail| detail.contact.clone()),
        key,
        holds: standing.holds.iter().map(|hold| hold.id.clone()).collect(),
        warnings: warnings(standing),
        quota,
        notices: super::notices::shown(&tenancy.directory, entry).await,
        uploads: None,
    }
}

/// With the master key above its data key, for which the key service is asked: of one tenant, not of a list.
async fn shown_with_master(tenancy: &Tenancy, entry: &TenantEntry) -> wire::Tenant {
    let mut tenant = shown(tenancy, entry).await;
    let (keys, id) = (tenancy.directory.key_service().clone(), entry.standing.id);
    let status = tokio::task::spawn_blocking(move || keys.tenant_status(id.0)).await;
    let roots = status.ok().and_then(Result::ok).flatten().map(|status| status.roots).unwrap_or_default();
    let active = roots.iter().find(|root| root.kind == KeyKind::Trk && root.state == KeyState::Active);
    if let (Some(key), Some(master)) = (&mut tenant.key, active.and_then(|root| root.master)) {
        *key += &format!(" (mk/{}/{master})", tenant.geo);
    }
    tenant
}

fn warnings(standing: &tenant::Standing) -> Vec<String> {
    let geo = crate::model::atlas::Geo::find(&standing.geo);
    let single = geo.is_some_and(|geo| geo.regions.len() == 1);
    single.then(|| "this geo has one region: no copy inside the geo is possible".to_owned()).into_iter().collect()
}

fn shown_login(login: LoginEntry) -> wire::Credential {
    wire::Credential {
        access_id: login.access_id.as_str().to_owned(),
        role: match login.role {
            Role::Service => wire::CredentialRole::Service,
            Role::ReadOnly => wire::CredentialRole::ReadOnly,
            Role::Delete => wire::CredentialRole::Delete,
        },
        created_at: wire::Time(login.created),
        revoked_at: login.revoked.map(wire::Time),
    }
}

pub(super) fn state(state: State) -> wire::TenantState {
    match state {
        State::Provisioning => wire::TenantState::Provisioning,
        State::Active => wire::TenantState::Active,
        State::Disabled => wire::TenantState::Disabled,
        State::Terminated => wire::TenantState::Terminated,
        State::PurgeHeld => wire::TenantState::PurgeHeld,
        State::Purging => wire::TenantState::Purging,
        State::Purged => wire::TenantState::Purged,
    }
}

/// What an effect is, for a plan; those without anything behind them yet are left out.
fn described(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Log(_) => "log it".into(),
        Effect::CloseService => "service logins are refused".into(),
        Effect::OpenService => "service logins are let in".into(),
        Effect::KeepKeys { keep_s } => format!("its keys are kept for {} days at least", keep_s / 86_400),
        Effect::ReleaseKeysEarly { .. } => "its keys may be destroyed 72 hours from then".into(),
        Effect::KeepKeysOn => "its keys are kept for the whole 90 days".into(),
        Effect::ReleaseKeys => "its keys are kept without a term".into(),
        Effect::PutDue(_) => "its destruction is entered in the due index".into(),
        Effect::DropDue => "its destruction is taken out of the due index".into(),
        Effect::RevokeWriters => "its service logins are revoked".into(),
        Effect::StopJobs => "its consent ends, and its jobs' grants are revoked".into(),
        Effect::FreezeLifetimes => "lifetimes of its objects stand still".into(),
        Effect::ResumeLifetimes => "lifetimes of its objects go on".into(),
        Effect::AbortUploads => "its open multipart uploads are aborted".into(),
        _ => return None,
    })
}

/// Why the key service hands out no key of a tenant.
pub(super) fn key_error(error: KeyError) -> ActError {
    match error {
        KeyError::Destroyed => ActError::TenantPurged,
        KeyError::Suspended => ActError::KeysSuspended,
        // Between the look-up of a lease and its use.
        KeyError::Open(open) if open.class() == OpenClass::Revoked => ActError::KeysSuspended,
        error => {
            tracing::error!(%error, "the key service cannot answer");
            ActError::Unavailable("the key service")
        }
    }
}

/// Whether the index lacked nothing but keys.
pub(super) fn of_keys(error: &IndexError) -> Option<ActError> {
    match error {
        IndexError::KeysWithheld => Some(ActError::KeysSuspended),
        IndexError::KeysExpired => Some(ActError::Unavailable("the key service")),
        _ => None,
    }
}

pub(super) fn act_error(error: TenancyError) -> ActError {
    match error {
        TenancyError::NameTaken => ActError::NameTaken,
        TenancyError::Changed => ActError::RevisionChanged,
        TenancyError::NoSuchTenant => ActError::NoSuchTenant,
        TenancyError::FeatureDisabled => ActError::FeatureDisabled,
        TenancyError::NoSuchBucket => ActError::NoSuchBucket,
        TenancyError::Feature(feature::Refusal::ConsentRequired) => ActError::ConsentRequired,
        TenancyError::Feature(feature::Refusal::NotStorable) => ActError::ClassNotStorable,
        TenancyError::NoSuchLogin => ActError::NoSuchCredential,
        TenancyError::Refused(refusal) => refused(refusal),
        TenancyError::Keys(error) => key_error(error),
        TenancyError::Audit(error) => super::acts::log_error(error),
        error => {
            let lacks_keys = if let TenancyError::Index(error) = &error { of_keys(error) } else { None };
            lacks_keys.unwrap_or_else(|| {
                tracing::error!(%error, "an act on a tenant failed");
                ActError::Broken
            })
        }
    }
}

fn refused(refusal: Refusal) -> ActError {
    match refusal {
        Refusal::RegionNotInGeo => ActError::RegionNotInGeo,
        Refusal::NoInGeoReplica => ActError::NoInGeoReplica,
        Refusal::ConsentRequired => ActError::ConsentRequired,
        Refusal::WrongState(State::Purging) => ActError::TenantPurging,
        Refusal::WrongState(State::Purged) => ActError::TenantPurged,
        Refusal::WrongState(other) => ActError::WrongState(state(other)),
        Refusal::PastDue => ActError::TenantPurging,
        Refusal::DueSoon => ActError::DueSoon,
        Refusal::RotationRunning => ActError::Busy,
        Refusal::KeyUnusable => ActError::Unavailable("the tenant's keys"),
        Refusal::NotDue(_)
        | Refusal::KeyServiceDisagrees
        | Refusal::NoSuchHold
        | Refusal::HoldExists
        | Refusal::BadHold
        | Refusal::SomethingLeft(_)
        | Refusal::KeyStillOpens => ActError::Broken,
    }
}
