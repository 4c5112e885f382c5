//! The end of a key, between the admin face and the conductor: destructions, which two administrators may have to agree on. A destruction is scheduled; the sweep carries it out on its day.

use super::acts::HouseActs;
use super::house::{GeoRoom, House};
use super::keys::ask;
use super::keywork::{Told, of_tenant, rekey_error};
use super::tenants::{act_error, actor};
use crate::admin::acts::{KeyRef, Mode, Order, Outcome, TenantRef};
use crate::admin::error::ActError;
use crate::admin::proposals::{Proposal, Withdrawn};
use crate::admin::wire;
use crate::audit::{Actor, Event as Record};
use crate::directory::Approval;
use crate::model::time::Millis;
use crate::rekey::{self, RekeyError, Rooms, Run, VersionUse};
use crate::seal::{
    DESTROY_AFTER_SECONDS, DESTROY_COMPROMISED_AFTER_SECONDS, Ending, KeyClient, KeyError, KeyKind, KeyState,
    MasterState, VersionOf,
};
use crate::sweep::{Ended, KeyEnds};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A version of a key that was found.
pub(super) struct Found {
    pub(super) rooms: Rooms,
    pub(super) of: VersionOf,
    /// As its audience names it.
    pub(super) shown: String,
    /// The same in opaque ids, for logs and proposals.
    pub(super) opaque: String,
}

pub(super) async fn find(acts: &HouseActs, key: &KeyRef) -> Result<Found, ActError> {
    let (tenant, kind, version): (&TenantRef, _, _) = match key {
        KeyRef::Master(geo, version) => {
            let room = *acts.rooms(Some(geo))?.first().ok_or(ActError::GeoNotServed)?;
            let (of, rooms) = (VersionOf::Master { version: *version }, acts.house.rekey_rooms(room));
            let shown = rekey::opaque(&rooms, &of);
            return Ok(Found { rooms, of, opaque: shown.clone(), shown });
        }
        KeyRef::Tenant(tenant, version) => (tenant, KeyKind::Trk, *version),
        KeyRef::SubjectRoot(tenant, version) => (tenant, KeyKind::Srk, *version),
        KeyRef::IndexRoot(tenant, version) => (tenant, KeyKind::Tik, *version),
    };
    let named = of_tenant(acts, tenant).await?;
    let of = VersionOf::Root { tenant: named.id.0, kind, version };
    let opaque = rekey::opaque(&named.rooms, &of);
    let shown = opaque.replace(&named.id.to_string(), &named.label);
    Ok(Found { rooms: named.rooms, of, shown, opaque })
}

/// Where an older version stands.
struct Standing {
    is_compromised: bool,
    /// The day that is set.
    ending: Option<Ending>,
}

/// How a version of a tenant's root stands. NoSuchKey.
pub(super) async fn root_state(
    room: &GeoRoom,
    tenant: [u8; 16],
    kind: KeyKind,
    version: u32,
) -> Result<KeyState, ActError> {
    let status = ask(room, move |keys| keys.tenant_status(tenant)).await?.ok_or(ActError::NoSuchKey)?;
    let root = status.roots.iter().find(|root| root.kind == kind && root.name.version == version);
    root.map(|root| root.state).ok_or(ActError::NoSuchKey)
}

impl Found {
    /// Refuses what no scan could allow: a version that is not there, is active, or is destroyed already.
    async fn standing(&self, acts: &HouseActs) -> Result<Standing, ActError> {
        let room = *acts.rooms(Some(self.rooms.directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
        let in_use = ActError::KeyInUse { remaining: 0, scanned: 0 };
        let is_compromised = match self.of {
            VersionOf::Master { version } => {
                let status = ask(room, KeyClient::status).await?;
                let found = status.masters.iter().find(|(master, _)| master.name.version == version);
                match found.ok_or(ActError::NoSuchKey)?.0.state {
                    MasterState::Active => return Err(in_use),
                    MasterState::Destroyed => return Err(ActError::KeyGone),
                    MasterState::DecryptOnly | MasterState::Disabled => {}
                }
                status.known_masters.is_some_and(|known| known.contains(&version))
            }
            VersionOf::Root { tenant, kind, version } => match root_state(room, tenant, kind, version).await? {
                KeyState::Active | KeyState::PreActive => return Err(in_use),
                KeyState::Destroyed => return Err(ActError::KeyGone),
                state @ (KeyState::DecryptOnly | KeyState::Compromised) => state == KeyState::Compromised,
            },
        };
        let ending = ask(room, KeyClient::endings).await?.into_iter().find(|ending| ending.of == self.of);
        Ok(Standing { is_compromised, ending })
    }

    /// Its destruction, as proposals name it: two have to agree on the wait, too.
    pub(super) fn act(&self, after_s: i64) -> String {
        format!("{}{after_s}s", self.acts())
    }

    /// What every such proposal begins with.
    fn acts(&self) -> String {
        format!("destroy {} after ", self.opaque)
    }

    async fn in_use(&self) -> Result<VersionUse, ActError> {
        rekey::uses(&self.rooms, &self.of).await.map_err(rekey_error)
    }
}

pub(super) async fn destroy(
    acts: &HouseActs,
    order: &Order,
    key: &KeyRef,
    after_s: Option<i64>,
) -> Result<Outcome<wire::Destruction>, ActError> {
    let found = find(acts, key).await?;
    let standing = found.standing(acts).await?;
    let default = if standing.is_compromised { DESTROY_COMPROMISED_AFTER_SECONDS } else { DESTROY_AFTER_SECONDS };
    let after_s = after_s.unwrap_or(default);
    if order.mode == Mode::Plan {
        return plan(acts, &found, &standing, after_s).await.map(Outcome::Planned);
    }
    let (by, now) = (actor(order), acts.house.clock.now().wall);
    let audit = found.rooms.audit.clone();
    let is_set = standing.ending.as_ref().is_some_and(|ending| ending.due.saturating_sub(ending.at) == after_s);
    if acts.two_person && !is_set {
        let approval = found.rooms.directory.propose(&found.act(after_s), &order.by.0, now).await;
        match approval.map_err(|error| act_error(error.into()))? {
            Approval::Given => {}
            Approval::Waits => return Err(ActError::AnotherNeeded),
            Approval::Proposed => {
                let proposed = Record::DestructionProposed { key: found.opaque.clone() };
                audit.append(&by, proposed).await.map_err(super::acts::log_error)?;
                return Ok(Outcome::Done(wire::Destruction::Proposed { key: found.shown }));
            }
        }
    }
    if !is_set {
        let approved = Record::DestructionApproved { key: found.opaque.clone() };
        audit.append(&by, approved).await.map_err(super::acts::log_error)?;
    }
    let subject = found.opaque.clone();
    let operation = acts.operations.start("destroy-key", &subject, now, move |progress| async move {
        let watch = Told(progress);
        let run = Run { actor: &by, records_per_s: None, watch: &watch };
        let set = rekey::schedule_end(&found.rooms, &run, found.of, after_s, standing.is_compromised).await;
        let set = set.map_err(rekey_error)?;
        Ok(wire::OperationResult::Destruction(wire::ScheduledKey {
            key: found.shown,
            scanned: set.found.scanned,
            remaining: set.found.remaining,
            destroy_at: wire::Time(Millis::from_seconds(set.ending.due)),
            after_s: set.ending.due.saturating_sub(set.ending.at),
        }))
    });
    Ok(Outcome::Done(wire::Destruction::Begun(Box::new(operation))))
}

async fn plan(acts: &HouseActs, found: &Found, standing: &Standing, after_s: i64) -> Result<wire::Plan, ActError> {
    let VersionUse { scanned, remaining } = found.in_use().await?;
    let now = acts.house.clock.now().cc_lo;
    let kept = rekey::kept_by(&found.rooms, &found.of, now.seconds()).await.map_err(rekey_error)?;
    let mut steps = vec!["scan every record once more: zero may need the key, or its day is not set".to_owned()];
    if acts.two_person {
        steps.insert(0, "propose it, or approve what another administrator proposed within a day".to_owned());
    }
    // What a data key that may be known opens is known, in backups too.
    let waits = !standing.is_compromised || matches!(found.of, VersionOf::Master { .. });
    if let Some((backup, until)) = kept.filter(|(_, until)| waits && *until > now) {
        steps.push(format!("backup {} needs it until {until}", backup.id));
    }
    steps.push(format!("destroy {} not before {}, after another scan", found.shown, now.plus_seconds(after_s)));
    let counts = BTreeMap::from([("records".to_owned(), scanned), ("in_use".to_owned(), remaining)]);
    Ok(wire::Plan { steps, counts, ..wire::Plan::default() })
}

/// Takes the destruction of a key back: what was proposed, and the day that was set. Entry first: what is in the log and
/// was not done is asked for again.
pub(super) async fn cancel(acts: &HouseActs, order: &Order, key: &KeyRef) -> Result<Outcome<Withdrawn>, ActError> {
    let found = find(acts, key).await?;
    if order.mode == Mode::Plan {
        let steps =
            vec![format!("take the destruction of {} back, proposed or scheduled, if there is one", found.shown)];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let now = acts.house.clock.now().wall;
    let failed = |error: crate::directory::DirectoryError| act_error(error.into());
    let directory = &found.rooms.directory;
    let room = *acts.rooms(Some(directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
    let mut proposals = directory.proposals(now).await.map_err(failed)?;
    proposals.retain(|proposal| proposal.act.starts_with(&found.acts()));
    let is_set =
        ask(room, KeyClient::endings).await?.iter().any(|ending| ending.of == found.of && ending.ended.is_none());
    if is_set || !proposals.is_empty() {
        let withdrawn = Record::DestructionWithdrawn { key: found.opaque.clone() };
        found.rooms.audit.append(&actor(order), withdrawn).await.map_err(super::acts::log_error)?;
    }
    let was_proposed = !proposals.is_empty();
    for proposal in proposals {
        directory.withdraw(&proposal.act, now).await.map_err(failed)?;
    }
    let ending = rekey::cancel_end(&found.rooms, found.of).await.map_err(of_one_key)?;
    let was_to_be_at = ending.map(|ending| wire::Time(Millis::from_seconds(ending.due)));
    Ok(Outcome::Done(Withdrawn { key: found.shown, was_proposed, was_to_be_at }))
}

/// Destroys the versions whose day has come, for the sweeper.
pub(super) struct HouseKeyEnds {
    pub(super) house: Arc<House>,
}

#[async_trait::async_trait]
impl KeyEnds for HouseKeyEnds {
    async fn end_due(&self, geo: &str, actor: Option<&Actor>) -> Ended {
        let Some(room) = self.house.geos.iter().find(|room| room.geo.id == geo) else { return Ended::default() };
        match rekey::end_due(&self.house.rekey_rooms(room), actor).await {
            Ok(ends) => Ended { destroyed: ends.destroyed.len() as u64, stay: ends.stay },
            Err(error) => Ended { destroyed: 0, stay: vec![format!("keys of {geo} whose day has come: {error}")] },
        }
    }
}

/// What waits for a second administrator in a geo.
pub(super) async fn proposals(acts: &HouseActs, room: &GeoRoom) -> Result<Vec<Proposal>, ActError> {
    let now = acts.house.clock.now().wall;
    let waiting = room.directory.proposals(now).await.map_err(|error| act_error(error.into()))?;
    let shown = waiting.into_iter().map(|proposal| Proposal {
        at: wire::Time(proposal.at),
        until: wire::Time(proposal.until()),
        act: proposal.act,
        by: proposal.by,
    });
    Ok(shown.collect())
}

/// What stopped work on one version of a key.
pub(super) fn of_one_key(error: RekeyError) -> ActError {
    match error {
        RekeyError::Keys(KeyError::Unknown) => ActError::NoSuchKey,
        other => rekey_error(other),
    }
}
