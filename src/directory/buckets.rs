//! Buckets: `b | tenant | token(name)`, sealed under the tenant's directory key.

use super::rows::{self, kind, v1::BucketRow};
use super::{Directory, DirectoryError, OpenedBucket, SCAN};
use crate::index::OpenBucket;
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, TenantId};
use crate::model::names::BucketName;
use crate::model::object::BucketRef;
use crate::model::time::Millis;
use crate::seal::TenantKeys;
use std::sync::Arc;

impl Directory {
    /// The tenant's bucket of this name.
    pub async fn bucket(&self, tenant: TenantId, name: &BucketName) -> Result<Option<Arc<BucketRef>>, DirectoryError> {
        if let Some(at) = self.cache.read().buckets.get(&tenant).and_then(|buckets| buckets.get(name)) {
            return Ok(Some(at.clone()));
        }
        let keys = self.keys(tenant).await?;
        let row_key = bucket_row_key(&keys, tenant, name);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        let row = open(&keys, &row_key, &sealed)?;
        if row.name != name.as_str() {
            return Err(DirectoryError::Integrity);
        }
        let at = Arc::new(self.bucket_ref(tenant, &row)?);
        self.cache.write().buckets.entry(tenant).or_default().insert(name.clone(), at.clone());
        Ok(Some(at))
    }

    /// All buckets of a tenant, in no order.
    pub async fn buckets(&self, tenant: TenantId) -> Result<Vec<Arc<BucketRef>>, DirectoryError> {
        let keys = self.keys(tenant).await?;
        let mut range = KeyRange::prefix(&rows::row_key(kind::BUCKET, &[&tenant.0]));
        let mut buckets = Vec::new();
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                buckets.push(Arc::new(self.bucket_ref(tenant, &open(&keys, row_key, sealed)?)?));
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(buckets),
            }
        }
    }

    /// The bucket with its keys open; `None` when it was removed meanwhile.
    pub async fn open_bucket(&self, at: &BucketRef) -> Result<Option<Arc<OpenedBucket>>, DirectoryError> {
        let opened = self.cache.read().open.get(&at.bucket).cloned();
        if let Some(opened) = opened.filter(|opened| opened.index.key.check().is_ok()) {
            return Ok(Some(opened));
        }
        let keys = self.keys(at.tenant).await?;
        let row_key = bucket_row_key(&keys, at.tenant, &at.name);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        let row = open(&keys, &row_key, &sealed)?;
        if row.bucket != at.bucket {
            return Ok(None);
        }
        let key = keys.open_bucket_key(&row.index_key, at.bucket.0)?;
        let at = Arc::new(at.clone());
        let mut cache = self.cache.write();
        // Left by a request that was under way when its lease ended.
        if cache.open.get(&at.bucket).is_some_and(|opened| opened.index.key.check().is_err()) {
            cache.open.remove(&at.bucket);
        }
        // Two may have opened it at once: both must go on with the same one.
        let opened = cache.open.entry(at.bucket).or_insert_with(|| {
            let index = OpenBucket { tenant: at.tenant, geo: at.geo, region: at.region, bucket: at.bucket, key };
            Arc::new(OpenedBucket { at, index: Arc::new(index) })
        });
        Ok(Some(opened.clone()))
    }

    /// Creates a bucket with a fresh index key; `None` when the tenant has one of this name.
    pub async fn create_bucket(
        &self,
        tenant: TenantId,
        name: &BucketName,
        region: &'static Region,
        now: Millis,
    ) -> Result<Option<Arc<BucketRef>>, DirectoryError> {
        let keys = self.keys(tenant).await?;
        let bucket = BucketId::random();
        let (_, index_key) = keys.new_bucket_key(bucket.0)?;
        let row = BucketRow {
            bucket,
            name: name.as_str().to_owned(),
            region: region.id.to_owned(),
            created: now,
            index_key: index_key.to_vec(),
        };
        let row_key = bucket_row_key(&keys, tenant, name);
        let sealed = keys.directory().seal(kind::BUCKET, &row_key, &rows::encode(&row), &[]);
        let _change = self.change.lock().await;
        if self.engine.get(&row_key).await?.is_some() {
            return Ok(None);
        }
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), None);
        batch.put(row_key, sealed);
        self.engine.commit(batch).await?;
        let at = Arc::new(self.bucket_ref(tenant, &row)?);
        self.cache.write().buckets.entry(tenant).or_default().insert(name.clone(), at.clone());
        Ok(Some(at))
    }

    /// Removes a bucket's row. Its rows in the region's index are the caller's.
    pub async fn remove_bucket(&self, at: &BucketRef) -> Result<(), DirectoryError> {
        let keys = self.keys(at.tenant).await?;
        let mut batch = Batch::new();
        batch.delete(bucket_row_key(&keys, at.tenant, &at.name));
        self.engine.commit(batch).await?;
        let mut cache = self.cache.write();
        cache.open.remove(&at.bucket);
        if let Some(buckets) = cache.buckets.get_mut(&at.tenant) {
            buckets.remove(&at.name);
        }
        Ok(())
    }

    fn bucket_ref(&self, tenant: TenantId, row: &BucketRow) -> Result<BucketRef, DirectoryError> {
        let (geo, region) = Region::find(&row.region).ok_or(DirectoryError::Integrity)?;
        if geo != self.geo {
            return Err(DirectoryError::Integrity);
        }
        let name = BucketName::parse(&row.name).map_err(|_| DirectoryError::Integrity)?;
        Ok(BucketRef { tenant, geo, region, bucket: row.bucket, name, created: row.created })
    }
}

fn bucket_row_key(keys: &TenantKeys, tenant: TenantId, name: &BucketName) -> Vec<u8> {
    rows::row_key(kind::BUCKET, &[&tenant.0, &keys.bucket_token(name.as_str().as_bytes())])
}

fn open(keys: &TenantKeys, row_key: &[u8], sealed: &[u8]) -> Result<BucketRow, DirectoryError> {
    let opened = keys.directory().open(kind::BUCKET, row_key, sealed)?;
    rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
}
