//! How much a tenant may store in all.
//!
//! Its buckets are counted → log → row → the buckets that were made meanwhile are counted. A crash before the row leaves buckets
//! that are counted and no quota; set again, it finds them counted. From the row on no write is taken that was not asked
//! for room, and buckets are counted before they take one.

use super::{Tenancy, TenancyError};
use crate::audit::{Actor, Event as Record};
use crate::feature::Quota;
use crate::index::Usage;
use crate::model::ids::TenantId;

impl Tenancy {
    /// Sets a tenant's quota, or takes it away. What is stored over it already stays. Changes nothing, and logs nothing, when
    /// it is that already. Errors: `Refused`.
    pub async fn set_quota(&self, actor: &Actor, id: TenantId, quota: Option<Quota>) -> Result<(), TenancyError> {
        let _acts = self.directory.acts().lock().await;
        self.living(id).await?;
        let quota = quota.and_then(Quota::in_force);
        if self.directory.features(id).await?.quota == quota {
            return Ok(());
        }
        if quota.is_some() {
            self.count_buckets(id).await?;
        }
        let (bytes, objects) = quota.map_or((None, None), |quota| (quota.bytes, quota.objects));
        self.log(actor, Record::QuotaSet { tenant: id, bytes, objects }).await?;
        self.directory
            .change_features::<TenancyError>(id, None, |features| {
                features.quota = quota;
                Ok(true)
            })
            .await?;
        if quota.is_some() {
            self.count_buckets(id).await?;
        }
        Ok(())
    }

    /// A tenant's quota, and what is stored of it; `None` where it has none.
    pub async fn quota(&self, id: TenantId) -> Result<Option<(Quota, Usage)>, TenancyError> {
        let Some(quota) = self.directory.features(id).await?.quota else { return Ok(None) };
        let regions = self.directory.geo().regions.iter().filter_map(|region| self.regions.get(region.id));
        Ok(Some((quota, regions.fold(Usage::default(), |all, roots| all.plus(roots.index.usage_of_tenant(id))))))
    }

    async fn count_buckets(&self, id: TenantId) -> Result<(), TenancyError> {
        for at in self.directory.buckets(id).await? {
            let Some(roots) = self.regions.get(at.region.id) else { continue };
            if let Some(bucket) = self.directory.open_bucket(&at).await? {
                roots.index.count(&bucket.index).await?;
            }
        }
        Ok(())
    }
}
