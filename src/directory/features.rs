//! Features of a tenant: `f | tenant`, sealed under the geo's directory key. Ids, hashes, classes and times; it goes with
//! the tenant. How far the jobs on a bucket are: `k | tenant | bucket`, the same way.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::feature::{Features, Watermarks};
use crate::index::engine::Batch;
use crate::model::classes::Feature;
use crate::model::ids::{BucketId, TenantId};
use std::sync::Arc;

impl Directory {
    /// The features of a tenant; none when nobody ever enabled one.
    pub async fn features(&self, tenant: TenantId) -> Result<Arc<Features>, DirectoryError> {
        let written = {
            let cache = self.cache.read();
            if let Some(features) = cache.features.get(&tenant) {
                return Ok(features.clone());
            }
            cache.features_written
        };
        let features = Arc::new(self.read_features(tenant).await?);
        let mut cache = self.cache.write();
        // What was read may be older than what was written meanwhile: only this moment's may be remembered.
        if cache.features_written == written {
            cache.features.insert(tenant, features.clone());
        }
        Ok(features)
    }

    async fn read_features(&self, tenant: TenantId) -> Result<Features, DirectoryError> {
        let row_key = rows::row_key(kind::FEATURES, &[&tenant.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(Features::default()) };
        let opened = self.keys.geo_keys().open(kind::FEATURES, &row_key, &sealed)?;
        rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
    }

    /// Changes the features of a tenant. No write of an object that was allowed before is under way on return. `change`
    /// answers whether there is anything to write. Errors: `Changed` when `expect` is not the revision.
    pub async fn change_features<E: From<DirectoryError>>(
        &self,
        tenant: TenantId,
        expect: Option<u64>,
        change: impl FnOnce(&mut Features) -> Result<bool, E> + Send,
    ) -> Result<Arc<Features>, E> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        // No write of an object may be between its look at the old features and its commit.
        let _commits = self.commits.write().await;
        let mut features = self.read_features(tenant).await?;
        if expect.is_some_and(|seen| seen != features.revision) {
            return Err(DirectoryError::Changed.into());
        }
        if !change(&mut features)? {
            return Ok(Arc::new(features));
        }
        features.revision += 1;
        let row_key = rows::row_key(kind::FEATURES, &[&tenant.0]);
        let sealed = self.keys.geo_keys().directory().seal(kind::FEATURES, &row_key, &rows::encode(&features), &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        self.engine.commit(batch).await.map_err(DirectoryError::from)?;
        let features = Arc::new(features);
        let mut cache = self.cache.write();
        cache.features_written += 1;
        cache.features.insert(tenant, features.clone());
        Ok(features)
    }

    /// An object of a feature came too late, and was not taken.
    pub fn note_dropped(&self, tenant: TenantId) {
        *self.dropped.lock().entry(tenant).or_default() += 1;
    }

    /// How many did that are in no row yet.
    pub fn dropped(&self, tenant: TenantId) -> u64 {
        self.dropped.lock().get(&tenant).copied().unwrap_or(0)
    }

    /// The same, to be kept in the tenant's row; counts from zero again.
    pub fn take_dropped(&self, tenant: TenantId) -> u64 {
        self.dropped.lock().remove(&tenant).unwrap_or(0)
    }

    /// Adds what came too late to the tenants' rows, so that a restart loses no more than what came since. It is no change that
    /// anybody decided on: revisions stay. What cannot be written now stays counted.
    pub async fn keep_dropped(&self) -> Result<(), DirectoryError> {
        let tenants: Vec<TenantId> = self.dropped.lock().keys().copied().collect();
        for tenant in tenants {
            let count = self.take_dropped(tenant);
            let kept = self.add_dropped(tenant, count).await;
            if !matches!(kept, Ok(true)) {
                *self.dropped.lock().entry(tenant).or_default() += count;
            }
            kept?;
        }
        Ok(())
    }

    /// Whether there was a disabled feature to count it for.
    async fn add_dropped(&self, tenant: TenantId, count: u64) -> Result<bool, DirectoryError> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let mut features = self.read_features(tenant).await?;
        let off = Feature::ALL.iter().find(|of| features.setting(**of).is_some_and(|setting| !setting.enabled));
        let Some(setting) = off.and_then(|of| features.setting_mut(*of)) else { return Ok(false) };
        setting.dropped = setting.dropped.saturating_add(count);
        let row_key = rows::row_key(kind::FEATURES, &[&tenant.0]);
        let sealed = self.keys.geo_keys().directory().seal(kind::FEATURES, &row_key, &rows::encode(&features), &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        self.engine.commit(batch).await?;
        let mut cache = self.cache.write();
        cache.features_written += 1;
        cache.features.insert(tenant, Arc::new(features));
        Ok(true)
    }

    /// How far the jobs on a bucket are.
    pub async fn watermarks(&self, tenant: TenantId, bucket: BucketId) -> Result<Watermarks, DirectoryError> {
        let row_key = rows::row_key(kind::WATERMARK, &[&tenant.0, &bucket.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(Watermarks::default()) };
        let opened = self.keys.geo_keys().open(kind::WATERMARK, &row_key, &sealed)?;
        rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
    }

    /// Changes it; `change` answers whether there is anything to write.
    pub async fn change_watermarks(
        &self,
        tenant: TenantId,
        bucket: BucketId,
        change: impl FnOnce(&mut Watermarks) -> bool + Send,
    ) -> Result<Watermarks, DirectoryError> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let mut watermarks = self.watermarks(tenant, bucket).await?;
        if change(&mut watermarks) {
            let row_key = rows::row_key(kind::WATERMARK, &[&tenant.0, &bucket.0]);
            let geo_keys = self.keys.geo_keys();
            let sealed = geo_keys.directory().seal(kind::WATERMARK, &row_key, &rows::encode(&watermarks), &[]);
            let mut batch = Batch::new();
            batch.put(row_key, sealed);
            self.engine.commit(batch).await?;
        }
        Ok(watermarks)
    }
}
