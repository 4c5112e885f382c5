//! Exports, between the admin face and the conductor.

use super::acts::HouseActs;
use super::tenants::{FoundTenant, act_error, actor, find};
use crate::admin::acts::{Broke, Mode, Order, Outcome, Streamed, TenantRef};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::export::{self, ExportError};
use crate::model::names::BucketName;
use crate::tenant::State;
use crate::tenant::access::{Access, Operation, access};
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;

/// The tenant, if its state lets an administrator export it.
async fn exportable(acts: &HouseActs, tenant: &TenantRef) -> Result<FoundTenant, ActError> {
    let found = find(acts, tenant).await?;
    let standing = &found.entry.standing;
    match (access(standing.state, Operation::AdminExport), standing.state) {
        (Access::Yes, _) => Ok(found),
        (Access::Deferred | Access::If(..), State::PurgeHeld) => {
            Err(ActError::Held(standing.holds.iter().map(|hold| hold.id.clone()).collect()))
        }
        (_, State::Purged) => Err(ActError::TenantPurged),
        (_, State::Purging) => Err(ActError::TenantPurging),
        (_, state) => Err(ActError::WrongState(super::tenants::state(state))),
    }
}

pub(super) async fn export(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    bucket: Option<BucketName>,
) -> Result<Outcome<Streamed>, ActError> {
    let FoundTenant { tenancy, entry } = exportable(acts, tenant).await?;
    let id = entry.standing.id;
    if order.mode == Mode::Plan {
        let foreseen = export::foresee(&tenancy, id, bucket.as_ref()).await.map_err(export_error)?;
        let steps = vec![
            "log that the export begins".to_owned(),
            "copy every sealed segment as it is, opening each on the way".to_owned(),
            "seal a manifest under the tenant's key".to_owned(),
        ];
        let counts = [("objects", foreseen.objects), ("bytes", foreseen.bytes)];
        let counts: BTreeMap<_, _> = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        return Ok(Outcome::Planned(wire::Plan { steps, counts, ..wire::Plan::default() }));
    }
    let leaving = export::begin(&tenancy, &actor(order), id, bucket.as_ref()).await.map_err(export_error)?;
    Ok(Outcome::Done(leaving.map_err(|_| Broke).boxed()))
}

pub(super) async fn keys(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    confirm: &str,
) -> Result<Outcome<wire::ExportKeys>, ActError> {
    let FoundTenant { tenancy, entry } = exportable(acts, tenant).await?;
    if entry.detail.as_ref().is_none_or(|detail| detail.name != confirm) {
        return Err(ActError::ConfirmMismatch);
    }
    if order.mode == Mode::Plan {
        let steps = vec!["log it, and hand out the keys that open the tenant's data".to_owned()];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let keys = export::keys(&tenancy, &actor(order), entry.standing.id).await.map_err(export_error)?;
    Ok(Outcome::Done(wire::ExportKeys {
        version: keys.version,
        tenant_key: keys.tenant.to_string(),
        subject_wrap_key: keys.subject_wrap.to_string(),
    }))
}

fn export_error(error: ExportError) -> ActError {
    match error {
        ExportError::Keys(error) => act_error(error.into()),
        ExportError::Directory(error) => act_error(error.into()),
        ExportError::Tenancy(error) => act_error(error),
        ExportError::Audit(error) => super::acts::log_error(error),
        ExportError::RegionNotServed(_) => ActError::RegionNotServed,
        ExportError::NoSuchBucket => ActError::NoSuchBucket,
        ExportError::Index(_) | ExportError::Blob(_) | ExportError::HungUp | ExportError::Worker => {
            tracing::error!(%error, "an export could not begin");
            ActError::Broken
        }
    }
}
