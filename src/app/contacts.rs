//! Contacts who opted out, between the admin face and the conductor.

use super::acts::HouseActs;
use super::subjects::subject_error;
use super::tenants::{FoundTenant, actor, find};
use crate::admin::acts::{Mode, Order, Outcome, TenantRef};
use crate::admin::contacts::{ContactActs, Kind, Standing, Whom};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::model::standing;
use crate::subject::contacts::{self, Contact, ContactKind};
use crate::tenant::access::{Access, Operation, access};

#[async_trait::async_trait]
impl ContactActs for HouseActs {
    async fn follow_contact(
        &self,
        order: &Order,
        tenant: &TenantRef,
        whom: &Whom,
        follow: bool,
    ) -> Result<Outcome<Standing>, ActError> {
        let found = find_alive(self, tenant).await?;
        let (contact, id) = (known(whom)?, found.entry.standing.id);
        if order.mode == Mode::Plan {
            let standing = contacts::standing(&found.tenancy, id, &contact).await.map_err(subject_error)?;
            let step = match (standing.opted_out.is_none() == follow, follow) {
                (true, _) => "nothing changes",
                (false, true) => "log it; what names them may be stored again",
                (false, false) => "log it; from the next write on, what names them is refused",
            };
            return Ok(Outcome::Planned(wire::Plan { steps: vec![step.to_owned()], ..wire::Plan::default() }));
        }
        let done = contacts::follow(&found.tenancy, &actor(order), id, &contact, follow).await;
        let (standing, changed) = done.map_err(subject_error)?;
        Ok(Outcome::Done(shown(self, &found, standing, changed)))
    }

    async fn contact(&self, tenant: &TenantRef, whom: &Whom) -> Result<Standing, ActError> {
        let found = find_alive(self, tenant).await?;
        let standing = contacts::standing(&found.tenancy, found.entry.standing.id, &known(whom)?).await;
        Ok(shown(self, &found, standing.map_err(subject_error)?, false))
    }
}

/// The tenant, unless it is made or destroyed just now. A hold is in nobody's way: what somebody wants is recorded, and
/// nothing is destroyed.
async fn find_alive(acts: &HouseActs, tenant: &TenantRef) -> Result<FoundTenant, ActError> {
    let found = find(acts, tenant).await?;
    match access(found.entry.standing.state, Operation::DataSubject) {
        Access::Yes | Access::Deferred => Ok(found),
        Access::If(_, no) | Access::No(no) => Err(ActError::StateRefuses(no)),
    }
}

fn known(whom: &Whom) -> Result<Contact, ActError> {
    let kind = match whom.kind {
        Kind::Contact => ContactKind::Contact,
        Kind::Lead => ContactKind::Lead,
    };
    let rule = "1 to 240 bytes without control characters and without white space at its ends";
    Contact::of(kind, &whom.contact).ok_or(ActError::BadField { field: "contact", rule })
}

fn shown(acts: &HouseActs, found: &FoundTenant, standing: standing::Standing, changed: bool) -> Standing {
    let served = |region: &&str| acts.house.regions.contains_key(*region);
    let regions = found.tenancy.directory.geo().regions.iter().map(|region| region.id).filter(served);
    let since = |at: Option<crate::model::time::Millis>| at.map(wire::Time);
    Standing {
        follow: standing.opted_out.is_none(),
        opted_out_at: since(standing.opted_out),
        restricted_at: since(standing.restricted),
        erased_at: since(standing.blocked),
        effective_at: wire::Time(acts.house.clock.now().wall),
        scope: regions.map(str::to_owned).collect(),
        changed,
    }
}
