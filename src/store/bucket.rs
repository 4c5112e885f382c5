//! Buckets: created and listed in the tenant's directory, emptied and removed in their region's index.
//!
//! Create: the region is checked against the tenant's geo → a fresh index key is wrapped → one row. Delete: the index
//! closes the bucket (nothing can be written any more, and it is empty) → the row goes → the bucket's rows go. A crash
//! after the close leaves an empty bucket that can be deleted again.

use super::Store;
use super::types::{BucketInfo, StoreError};
use crate::gate::{Admitted, AdmittedTenant, act};
use crate::model::atlas::Region;
use crate::model::names::BucketName;

/// Buckets of one tenant. Source: S3's own quota is 10,000; a tenant here is smaller.
const BUCKETS_MAX: usize = 1000;

impl Store {
    /// The tenant's buckets by name.
    pub async fn list_buckets(&self, admitted: &AdmittedTenant<act::Read>) -> Result<Vec<BucketInfo>, StoreError> {
        let login = admitted.login();
        let buckets = self.directory(login.geo.id)?.buckets(login.tenant).await?;
        let mut infos: Vec<_> = buckets
            .into_iter()
            .map(|at| BucketInfo { name: at.name.clone(), created: at.created, region: at.region })
            .collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(infos)
    }

    /// Creates a bucket in `region`, or in the tenant's home region. Errors: `ResidencyViolation` outside the
    /// tenant's geo, `RegionNotServed`, `BucketExists`, `TooManyBuckets`.
    pub async fn create_bucket(
        &self,
        admitted: &AdmittedTenant<act::Write>,
        name: BucketName,
        region: Option<&'static Region>,
    ) -> Result<BucketInfo, StoreError> {
        let login = admitted.login();
        let directory = self.directory(login.geo.id)?;
        let region = match region {
            Some(region) => region,
            None => directory.home(login.tenant).await?.ok_or(StoreError::Internal)?,
        };
        if !login.geo.regions.contains(region) {
            return Err(StoreError::ResidencyViolation);
        }
        if !self.0.regions.contains_key(region.id) {
            return Err(StoreError::RegionNotServed);
        }
        if directory.buckets(login.tenant).await?.len() >= BUCKETS_MAX {
            return Err(StoreError::TooManyBuckets);
        }
        let at = directory.create_bucket(login.tenant, &name, region, self.now()).await?;
        let at = at.ok_or(StoreError::BucketExists)?;
        Ok(BucketInfo { name, created: at.created, region })
    }

    /// Removes an empty bucket. Errors: `BucketNotEmpty` while it has objects or open uploads.
    pub async fn delete_bucket(&self, admitted: &Admitted<act::Delete>) -> Result<(), StoreError> {
        let room = self.enter(admitted).await?;
        room.roots.index.close_bucket(&room.bucket.index).await?;
        self.directory(room.bucket.at.geo.id)?.remove_bucket(&room.bucket.at).await?;
        room.roots.index.drop_bucket_rows(room.bucket.at.bucket).await?;
        Ok(())
    }
}
