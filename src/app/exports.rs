//! Exports, between the admin face and the conductor.

use super::acts::HouseActs;
use super::tenants::{FoundTenant, act_error, actor, find};
use crate::admin::acts::{Broke, Mode, Order, Outcome, Streamed, TenantRef};
use crate::admin::auth::Role;
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::export::{self, ExportError};
use crate::index::IndexError;
use crate::model::names::BucketName;
use crate::tenant::access::{Access, Condition, Operation, access};
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;

/// The tenant, if its state lets the caller export it: an administrator what is the tenant's, counsel what only holds keep.
async fn exportable(acts: &HouseActs, order: &Order, tenant: &TenantRef) -> Result<FoundTenant, ActError> {
    let found = find(acts, tenant).await?;
    let state = found.entry.standing.state;
    match (access(state, Operation::AdminExport), order.role) {
        (Access::Yes, Role::Admin) | (Access::If(Condition::LegalRole, _), Role::Legal) => Ok(found),
        (Access::Yes, _) => Err(ActError::Forbidden),
        (Access::If(_, no) | Access::No(no), _) => Err(ActError::StateRefuses(no)),
        (Access::Deferred, _) => Err(ActError::WrongState(super::tenants::state(state))),
    }
}

pub(super) async fn export(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    bucket: Option<BucketName>,
) -> Result<Outcome<Streamed>, ActError> {
    let FoundTenant { tenancy, entry } = exportable(acts, order, tenant).await?;
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
    let found = exportable(acts, order, tenant).await?;
    found.confirmed_by(Some(confirm)).await?;
    let FoundTenant { tenancy, entry } = found;
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
        ExportError::Index(IndexError::KeysWithheld) => ActError::KeysSuspended,
        ExportError::Index(_) | ExportError::Blob(_) | ExportError::HungUp | ExportError::Worker => {
            tracing::error!(%error, "an export could not begin");
            ActError::Broken
        }
    }
}
