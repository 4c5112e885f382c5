//! The end of a key, between the admin face and the conductor: reports that one may be known, and destructions, which two
//! administrators may have to agree on.

use super::acts::HouseActs;
use super::house::GeoRoom;
use super::keys::ask;
use super::keywork::{Told, of_tenant, rekey_error};
use super::tenants::{act_error, actor};
use crate::admin::acts::{KeyRef, Mode, Order, Outcome, TenantRef};
use crate::admin::error::ActError;
use crate::admin::proposals::{Proposal, Withdrawn};
use crate::admin::wire;
use crate::audit::Event as Record;
use crate::directory::Approval;
use crate::model::ids::TenantId;
use crate::rekey::{self, Retired, Rooms, Run, VersionUse};
use crate::seal::{KeyKind, KeyState};
use std::collections::BTreeMap;

/// A version of a key that was found.
struct Found {
    rooms: Rooms,
    /// Of whom, and which root; none: the geo's master key.
    of: Option<(TenantId, KeyKind)>,
    version: u32,
    /// As its audience names it.
    shown: String,
    /// The same in opaque ids, for logs and proposals.
    opaque: String,
}

async fn find(acts: &HouseActs, key: &KeyRef) -> Result<Found, ActError> {
    let (tenant, kind, prefix, version): (&TenantRef, _, _, _) = match key {
        KeyRef::Master(geo, version) => {
            let room = *acts.rooms(Some(geo))?.first().ok_or(ActError::GeoNotServed)?;
            let shown = format!("mk/{}/{version}", geo.id);
            let rooms = acts.house.rekey_rooms(room);
            return Ok(Found { rooms, of: None, version: *version, opaque: shown.clone(), shown });
        }
        KeyRef::Tenant(tenant, version) => (tenant, KeyKind::Trk, "tdk", *version),
        KeyRef::SubjectRoot(tenant, version) => (tenant, KeyKind::Srk, "srk", *version),
        KeyRef::IndexRoot(tenant, version) => (tenant, KeyKind::Tik, "tik", *version),
    };
    let of = of_tenant(acts, tenant).await?;
    let (shown, opaque) = (format!("{prefix}/{}/{version}", of.label), format!("{prefix}/{}/{version}", of.id));
    Ok(Found { rooms: of.rooms, of: Some((of.id, kind)), version, shown, opaque })
}

impl Found {
    /// Refuses what no scan could allow: a version that is not there, is active, or is destroyed already.
    async fn may_go(&self, acts: &HouseActs) -> Result<(), ActError> {
        let room = *acts.rooms(Some(self.rooms.directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
        let Some((tenant, kind)) = self.of else {
            let status = ask(room, crate::seal::KeyClient::status).await?;
            let newest = status.masters.last().map(|(master, _)| master.name.version);
            let known = status.masters.iter().any(|(master, _)| master.name.version == self.version);
            return match newest {
                _ if !known => Err(ActError::NoSuchKey),
                Some(newest) if newest == self.version => Err(ActError::KeyInUse { remaining: 0, scanned: 0 }),
                _ => Ok(()),
            };
        };
        let status = ask(room, move |keys| keys.tenant_status(tenant.0)).await?.ok_or(ActError::NoSuchKey)?;
        let root = status.roots.iter().find(|root| root.kind == kind && root.name.version == self.version);
        match root.ok_or(ActError::NoSuchKey)?.state {
            KeyState::DecryptOnly | KeyState::Compromised | KeyState::Destroyed => Ok(()),
            KeyState::Active | KeyState::PreActive => Err(ActError::KeyInUse { remaining: 0, scanned: 0 }),
        }
    }

    /// Its destruction, as proposals name it.
    fn act(&self) -> String {
        format!("destroy {}", self.opaque)
    }

    async fn in_use(&self) -> Result<VersionUse, ActError> {
        let found = match self.of {
            None => rekey::master_use(&self.rooms, self.version).await,
            Some((tenant, kind)) => rekey::version_use(&self.rooms, tenant, kind, self.version).await,
        };
        found.map_err(rekey_error)
    }
}

pub(super) async fn destroy(
    acts: &HouseActs,
    order: &Order,
    key: &KeyRef,
) -> Result<Outcome<wire::Destruction>, ActError> {
    let found = find(acts, key).await?;
    if order.mode == Mode::Plan {
        let VersionUse { scanned, remaining } = found.in_use().await?;
        let mut steps = vec!["scan every record once more: zero may need the key, or it is not destroyed".to_owned()];
        if acts.two_person {
            steps.insert(0, "propose it, or approve what another administrator proposed within a day".to_owned());
        }
        steps.push(format!("destroy {}; its id, times and reason remain", found.shown));
        let counts = BTreeMap::from([("records".to_owned(), scanned), ("in_use".to_owned(), remaining)]);
        return Ok(Outcome::Planned(wire::Plan { steps, counts, ..wire::Plan::default() }));
    }
    found.may_go(acts).await?;
    let (by, now) = (actor(order), acts.house.clock.now().wall);
    let audit = found.rooms.audit.clone();
    if acts.two_person {
        let approval = found.rooms.directory.propose(&found.act(), &order.by.0, now).await;
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
    let approved = Record::DestructionApproved { key: found.opaque.clone() };
    audit.append(&by, approved).await.map_err(super::acts::log_error)?;
    let subject = found.opaque.clone();
    let operation = acts.operations.start("destroy-key", &subject, now, move |progress| async move {
        let watch = Told(progress);
        let run = Run { actor: &by, records_per_s: None, watch: &watch };
        let retired = match found.of {
            None => rekey::retire_master(&found.rooms, &run, found.version).await,
            Some((tenant, kind)) => rekey::retire(&found.rooms, &run, tenant, kind, found.version).await,
        };
        Ok(wire::OperationResult::Destruction(shown(found.shown, retired.map_err(rekey_error)?)))
    });
    Ok(Outcome::Done(wire::Destruction::Begun(Box::new(operation))))
}

/// Takes the proposal of a key's destruction back. Entry first: what is in the log and was not done is asked for again.
pub(super) async fn withdraw(acts: &HouseActs, order: &Order, key: &KeyRef) -> Result<Outcome<Withdrawn>, ActError> {
    let found = find(acts, key).await?;
    if order.mode == Mode::Plan {
        let steps = vec![format!("take the proposal to destroy {} back, if there is one", found.shown)];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let now = acts.house.clock.now().wall;
    let withdrawn = Record::DestructionWithdrawn { key: found.opaque.clone() };
    found.rooms.audit.append(&actor(order), withdrawn).await.map_err(super::acts::log_error)?;
    let was_proposed = found.rooms.directory.withdraw(&found.act(), now).await;
    let was_proposed = was_proposed.map_err(|error| act_error(error.into()))?;
    Ok(Outcome::Done(Withdrawn { key: found.shown, was_proposed }))
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

fn shown(key: String, retired: Retired) -> wire::DestroyedKey {
    let shredded = retired.shredded.as_ref();
    wire::DestroyedKey {
        key,
        scanned: retired.found.scanned,
        remaining: retired.found.remaining,
        receipt: retired.receipt,
        files_scanned: shredded.map(|shredded| shredded.files_scanned),
        salts_found: shredded.map(|shredded| shredded.salts_found),
        overwritten_in_place: shredded.map(|shredded| shredded.overwritten_in_place),
    }
}

pub(super) async fn report_compromise(
    acts: &HouseActs,
    order: &Order,
    key: &KeyRef,
) -> Result<Outcome<wire::KeyVersion>, ActError> {
    let found = find(acts, key).await?;
    let Some((tenant, KeyKind::Trk)) = found.of else { return Err(ActError::NotBuilt) };
    if order.mode == Mode::Plan {
        let VersionUse { scanned, remaining } = found.in_use().await?;
        let steps = vec![
            "a new version becomes active, if this one is".to_owned(),
            "objects under this version answer 403 until they are re-encrypted".to_owned(),
        ];
        let counts = BTreeMap::from([("records".to_owned(), scanned), ("in_use".to_owned(), remaining)]);
        return Ok(Outcome::Planned(wire::Plan { steps, counts, ..wire::Plan::default() }));
    }
    let (audit, version) = (found.rooms.audit.clone(), found.version);
    let reported = Record::CompromiseReported { tenant, version };
    audit.append(&actor(order), reported).await.map_err(super::acts::log_error)?;
    let directory = &found.rooms.directory;
    // No commit may be between the wrapping of its data key and its row while the version changes under it.
    let _still = directory.pause_commits().await;
    let room = *acts.rooms(Some(directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
    ask(room, move |keys| keys.report_compromise(tenant.0, version)).await?;
    Ok(Outcome::Done(wire::KeyVersion {
        id: found.shown,
        version,
        state: "compromised".into(),
        records: None,
        more: false,
    }))
}
