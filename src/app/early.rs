//! The early destruction of a terminated tenant, on its own instruction: entered by one administrator, approved by another
//! within a day, whatever `admin.two_person` says; then 72 hours by two clocks. The settings must allow it, here and where
//! the key service is.

use super::acts::{HouseActs, log_error};
use super::keys::ask;
use super::tenants::{self, FoundTenant, act_error, actor};
use crate::admin::acts::{Mode, Order, Outcome, TenantRef};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::{Event as Record, Hash};
use crate::directory::{Approval, Directory, PROPOSAL_KEEP_S};
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::tenant::Event;

/// As the proposal names it.
fn act(id: TenantId) -> String {
    format!("destroy tenant {id} early")
}

/// Enters the instruction, or approves what another administrator entered.
pub(super) async fn instruct(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    reason: &str,
    confirm: Option<&str>,
) -> Result<Outcome<wire::EarlyPurging>, ActError> {
    let found = tenants::find(acts, tenant).await?;
    if order.mode != Mode::Plan || confirm.is_some() {
        found.confirmed_by(confirm).await?;
    }
    let FoundTenant { tenancy, entry } = found;
    let id = entry.standing.id;
    if !acts.early_purge || !key_service_allows(acts, &tenancy.directory).await? {
        return Err(ActError::EarlyPurgeDisabled);
    }
    let now = acts.house.clock.now().wall;
    let entered_by = proposer(&tenancy.directory, id, now).await?;
    let instruct = |instruction, entered_by| {
        let approved_by = order.by.0.clone();
        Event::InstructEarly { instruction, entered_by, approved_by }
    };
    // Refused before anybody is asked to agree to it.
    tenancy.foresee(&entry, &instruct([0; 32], String::new())).map_err(act_error)?;
    if order.mode == Mode::Plan {
        let steps = match entered_by {
            Some(by) if by != order.by.0 => vec![
                "log it".to_owned(),
                "approve what another administrator entered".to_owned(),
                "72 hours later, unless it is taken back or a hold keeps it: destroy everything of the tenant"
                    .to_owned(),
            ],
            _ => vec!["log it".to_owned(), "wait a day for another administrator to approve it".to_owned()],
        };
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    if entry.standing.early.is_some() {
        return Ok(Outcome::Done(wire::EarlyPurging::Approved(Box::new(tenants::shown(&tenancy, &entry).await))));
    }
    let words = tenancy.directory.keep_words(id, reason).await.map_err(|error| act_error(error.into()))?;
    let approval = tenancy.directory.propose(&act(id), &order.by.0, now).await;
    match approval.map_err(|error| act_error(error.into()))? {
        Approval::Waits => return Err(ActError::AnotherNeeded),
        Approval::Proposed => {
            let proposed = Record::EarlyPurgeProposed { tenant: id, reason: Hash(words) };
            tenancy.audit.append(&actor(order), proposed).await.map_err(log_error)?;
            let until = wire::Time(now.plus_seconds(PROPOSAL_KEEP_S));
            return Ok(Outcome::Done(wire::EarlyPurging::Proposed { until }));
        }
        Approval::Given => {}
    }
    let event = instruct(words, entered_by.unwrap_or_default());
    let entry = tenancy.apply(&actor(order), id, None, &event).await.map_err(act_error)?;
    Ok(Outcome::Done(wire::EarlyPurging::Approved(Box::new(tenants::shown(&tenancy, &entry).await))))
}

/// Takes it back, approved or not.
pub(super) async fn cancel(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
) -> Result<Outcome<wire::Tenant>, ActError> {
    let FoundTenant { tenancy, entry } = tenants::find(acts, tenant).await?;
    let (id, now) = (entry.standing.id, acts.house.clock.now().wall);
    if order.mode == Mode::Run
        && entry.standing.early.is_none()
        && proposer(&tenancy.directory, id, now).await?.is_some()
    {
        let cancelled = Record::EarlyPurgeCancelled { tenant: id };
        tenancy.audit.append(&actor(order), cancelled).await.map_err(log_error)?;
        tenancy.directory.withdraw(&act(id), now).await.map_err(|error| act_error(error.into()))?;
    }
    tenants::apply(acts, order, tenant, None, |_| Ok(Event::CancelEarly)).await
}

/// Who entered the instruction that waits, if one does.
async fn proposer(directory: &Directory, id: TenantId, now: Millis) -> Result<Option<String>, ActError> {
    let waiting = directory.proposals(now).await.map_err(|error| act_error(error.into()))?;
    Ok(waiting.into_iter().find(|proposal| proposal.act == act(id)).map(|proposal| proposal.by))
}

async fn key_service_allows(acts: &HouseActs, directory: &Directory) -> Result<bool, ActError> {
    let room = *acts.rooms(Some(directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
    Ok(ask(room, crate::seal::KeyClient::status).await?.early_allowed == Some(true))
}
