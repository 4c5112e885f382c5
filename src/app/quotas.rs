//! Quotas of tenants, between the admin face and the conductor.

use super::acts::HouseActs;
use super::tenants::{FoundTenant, act_error, actor, find};
use crate::admin::acts::{Mode, Order, Outcome, TenantRef};
use crate::admin::error::ActError;
use crate::admin::quotas::{Quota, SetQuota};
use crate::admin::wire::Plan;
use crate::feature;
use crate::model::ids::TenantId;
use crate::tenancy::{Tenancy, TenancyError};

pub(super) async fn set(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    asked: SetQuota,
) -> Result<Outcome<Quota>, ActError> {
    let FoundTenant { tenancy, entry } = find(acts, tenant).await?;
    let id = entry.standing.id;
    let quota = feature::Quota { bytes: asked.bytes, objects: asked.objects }.in_force();
    if order.mode == Mode::Plan {
        let steps = match quota {
            Some(_) => vec!["count what is stored".to_owned(), "log it".to_owned(), "write the quota".to_owned()],
            None => vec!["log it".to_owned(), "take the quota away".to_owned()],
        };
        return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
    }
    tenancy.set_quota(&actor(order), id, quota).await.map_err(act_error)?;
    let found = found(&tenancy, id).await.map_err(act_error)?;
    Ok(Outcome::Done(found.unwrap_or_default()))
}

/// A tenant's quota and what is stored of it, if it has one.
pub(super) async fn found(tenancy: &Tenancy, id: TenantId) -> Result<Option<Quota>, TenancyError> {
    Ok(tenancy.quota(id).await?.map(|(quota, used)| Quota {
        bytes: quota.bytes,
        objects: quota.objects,
        used_bytes: Some(used.bytes),
        used_objects: Some(used.objects),
    }))
}
