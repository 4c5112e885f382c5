//! Carries out what holds put off, for the sweeper.

use super::dsrwork;
use crate::model::ids::TenantId;
use crate::store::Store;
use crate::sweep::Deferrals;
use crate::tenancy::Tenancy;
use crate::tenant::holds::{Deferred, DeferredKind};

/// Every kind of act that can be put off.
pub(super) struct HouseDeferrals {
    pub(super) store: Store,
}

#[async_trait::async_trait]
impl Deferrals for HouseDeferrals {
    async fn resume(&self, tenancy: &Tenancy, tenant: TenantId, act: &Deferred) -> Result<bool, String> {
        match act.kind {
            DeferredKind::EraseSubject | DeferredKind::RectifyObject => {
                let number = act.label.strip_prefix("DSR-").and_then(|number| number.parse().ok());
                let number = number.ok_or("its label is no request's")?;
                dsrwork::go_on(dsrwork::Hands { tenancy, store: &self.store }, tenant, number)
                    .await
                    .map_err(|error| error.to_string())
            }
        }
    }
}
