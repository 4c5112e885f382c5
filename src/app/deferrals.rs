//! Carries out what holds put off, for the sweeper.

use crate::audit::Actor;
use crate::model::ids::TenantId;
use crate::model::names::SubjectName;
use crate::subject;
use crate::sweep::Deferrals;
use crate::tenancy::Tenancy;
use crate::tenant::holds::{Deferred, DeferredKind};

/// Every kind of act that can be put off.
pub(super) struct HouseDeferrals;

#[async_trait::async_trait]
impl Deferrals for HouseDeferrals {
    async fn resume(&self, tenancy: &Tenancy, tenant: TenantId, act: &Deferred) -> Result<bool, String> {
        match act.kind {
            DeferredKind::EraseSubject => erase(tenancy, tenant, act).await,
        }
    }
}

async fn erase(tenancy: &Tenancy, tenant: TenantId, act: &Deferred) -> Result<bool, String> {
    let by = Actor::part("geoseal");
    let name = std::str::from_utf8(&act.detail).ok().and_then(|name| SubjectName::parse(name).ok());
    let name = name.ok_or("its detail is damaged")?;
    let found = subject::foresee(tenancy, tenant, &name).await.map_err(|error| error.to_string())?;
    let Some((entry, _)) = found else { return Ok(true) };
    if let Some(held) = subject::held(tenancy, tenant, &name).await.map_err(|error| error.to_string())? {
        let again = Deferred { matters: held.matters, objects: held.objects, ..act.clone() };
        tenancy.directory.defer(tenant, &again).await.map_err(|error| error.to_string())?;
        return Ok(false);
    }
    if !entry.erasing {
        subject::begin(tenancy, &by, tenant, &name, entry.id).await.map_err(|error| error.to_string())?;
    }
    subject::erase(tenancy, &by, tenant, entry.id, &|_| {}).await.map_err(|error| error.to_string())?;
    Ok(true)
}
