//! Buckets: `b | tenant | token(name)`, sealed under the tenant's directory key.

use super::closes::note_removal;
use super::reroot::open;
use super::rows::{self, kind, v1::BucketRow};
use super::{Directory, DirectoryError, OpenedBucket, SCAN};
use crate::index::OpenBucket;
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, TenantId};
use crate::model::lifecycle::Rules;
use crate::model::names::BucketName;
use crate::model::object::BucketRef;
use crate::model::time::Millis;
use crate::model::versioning::Versioning;
use crate::seal::TenantKeys;
use bytes::Bytes;
use std::sync::Arc;

impl Directory {
    /// The tenant's bucket of this name.
    pub async fn bucket(&self, tenant: TenantId, name: &BucketName) -> Result<Option<Arc<BucketRef>>, DirectoryError> {
        if let Some(at) = self.cache.read().buckets.get(&tenant).and_then(|buckets| buckets.get(name)) {
            return Ok(Some(at.clone()));
        }
        let Some((_, _, _, row)) = self.find(tenant, name).await? else { return Ok(None) };
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
                buckets.push(Arc::new(self.bucket_ref(tenant, &open(&keys, kind::BUCKET, row_key, sealed)?)?));
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
        let Some((keys, _, _, row)) = self.find(at.tenant, &at.name).await? else { return Ok(None) };
        if row.bucket != at.bucket {
            return Ok(None);
        }
        let fresh = Arc::new(open_all(&keys, at, row)?);
        let mut cache = self.cache.write();
        // Left by a request that was under way when its lease ended.
        if cache.open.get(&at.bucket).is_some_and(|opened| opened.index.key.check().is_err()) {
            cache.open.remove(&at.bucket);
        }
        // Two may have opened it at once: both must go on with the same one.
        Ok(Some(cache.open.entry(at.bucket).or_insert(fresh).clone()))
    }

    /// Gives a bucket the next index key beside the one it has, or finds that it has two: a re-key that did not end.
    /// Durable on return; `None` when the bucket was removed. The index is the caller's to tell (`switch_key`).
    pub async fn begin_rekey(&self, at: &BucketRef) -> Result<Option<Arc<OpenedBucket>>, DirectoryError> {
        self.change_keys(at, |keys, row| {
            if row.old_index_key.is_none() {
                let old = keys.open_bucket_key(&row.index_key, at.bucket.0)?;
                let (_, next) = keys.next_bucket_key(at.bucket.0, &old)?;
                row.old_index_key = Some(std::mem::replace(&mut row.index_key, next.to_vec()).into());
            }
            Ok(())
        })
        .await
    }

    /// Lets the index key go that a re-key left: no row may be under it any more.
    pub async fn end_rekey(&self, at: &BucketRef) -> Result<Option<Arc<OpenedBucket>>, DirectoryError> {
        self.change_keys(at, |_, row| {
            row.old_index_key = None;
            Ok(())
        })
        .await
    }

    /// Replaces a bucket's lifecycle rules, or removes them. On return no object's commit is in flight that went by those
    /// before; `None` when the bucket was removed. Errors as all acts on a bucket's row.
    pub async fn set_lifecycle(
        &self,
        at: &BucketRef,
        rules: Option<Rules>,
    ) -> Result<Option<Arc<OpenedBucket>>, DirectoryError> {
        let _change = self.change.lock().await;
        let _commits = self.commits.write().await;
        self.change_row(at, |_, row| {
            row.lifecycle = rules;
            Ok(())
        })
        .await
    }

    /// Has a bucket keep versions, or stop to. On return no object's commit is in flight that went by what was said before;
    /// `None` when the bucket was removed. What was `Enabled` once never becomes `Never` again: that is left as it is.
    pub async fn set_versioning(
        &self,
        at: &BucketRef,
        versioning: Versioning,
    ) -> Result<Option<Arc<OpenedBucket>>, DirectoryError> {
        let _change = self.change.lock().await;
        let _commits = self.commits.write().await;
        self.change_row(at, |_, row| {
            if versioning != Versioning::Never {
                row.versioning = Some(versioning);
            }
            Ok(())
        })
        .await
    }

    async fn change_keys(
        &self,
        at: &BucketRef,
        change: impl FnOnce(&TenantKeys, &mut BucketRow) -> Result<(), DirectoryError> + Send,
    ) -> Result<Option<Arc<OpenedBucket>>, DirectoryError> {
        let _change = self.change.lock().await;
        self.change_row(at, change).await
    }

    /// With changes held.
    async fn change_row(
        &self,
        at: &BucketRef,
        change: impl FnOnce(&TenantKeys, &mut BucketRow) -> Result<(), DirectoryError> + Send,
    ) -> Result<Option<Arc<OpenedBucket>>, DirectoryError> {
        let Some((keys, from, sealed, mut row)) = self.find(at.tenant, &at.name).await? else { return Ok(None) };
        if row.bucket != at.bucket {
            return Ok(None);
        }
        change(&keys, &mut row)?;
        let row_key = bucket_row_key(&keys, at.tenant, &at.name);
        let mut batch = Batch::new();
        batch.expect(from.clone(), Some(sealed));
        batch.delete(from);
        batch.put(row_key.clone(), keys.directory().seal(kind::BUCKET, &row_key, &rows::encode(&row), &[]));
        self.engine.commit(batch).await?;
        let opened = Arc::new(open_all(&keys, at, row)?);
        self.cache.write().open.insert(at.bucket, opened.clone());
        Ok(Some(opened))
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
            old_index_key: None,
            lifecycle: None,
            versioning: None,
        };
        let row_key = bucket_row_key(&keys, tenant, name);
        let sealed = keys.directory().seal(kind::BUCKET, &row_key, &rows::encode(&row), &[]);
        let _change = self.change.lock().await;
        if self.find(tenant, name).await?.is_some() {
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
        let _change = self.change.lock().await;
        let keys = self.keys(at.tenant).await?;
        let mut batch = Batch::new();
        for token in keys.bucket_tokens(at.name.as_str().as_bytes()) {
            batch.delete(rows::row_key(kind::BUCKET, &[&at.tenant.0, &token]));
        }
        note_removal(&mut batch, at.tenant);
        self.engine.commit(batch).await?;
        let mut cache = self.cache.write();
        cache.open.remove(&at.bucket);
        if let Some(buckets) = cache.buckets.get_mut(&at.tenant) {
            buckets.remove(&at.name);
        }
        Ok(())
    }

    /// A bucket's row, where it stands, and the keys that opened it. While the tenant gets a new index root the row
    /// stands at one of two tokens, and moves once.
    async fn find(&self, tenant: TenantId, name: &BucketName) -> Result<Option<FoundRow>, DirectoryError> {
        loop {
            let keys = self.keys(tenant).await?;
            let tokens: Vec<_> = keys.bucket_tokens(name.as_str().as_bytes()).collect();
            // The active one's last again: the row may have moved there between the looks.
            let again = tokens.first().filter(|_| tokens.len() > 1);
            for token in tokens.iter().chain(again) {
                let row_key = rows::row_key(kind::BUCKET, &[&tenant.0, token]);
                let Some(sealed) = self.engine.get(&row_key).await? else { continue };
                let row: BucketRow = open(&keys, kind::BUCKET, &row_key, &sealed)?;
                if row.name != name.as_str() {
                    return Err(DirectoryError::Integrity);
                }
                return Ok(Some((keys, row_key, sealed, row)));
            }
            if self.keys(tenant).await?.active_tik() == keys.active_tik() {
                return Ok(None);
            }
        }
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

/// The keys, the row's place, the row sealed and open.
type FoundRow = (Arc<TenantKeys>, Vec<u8>, Bytes, BucketRow);

fn open_all(keys: &TenantKeys, at: &BucketRef, row: BucketRow) -> Result<OpenedBucket, DirectoryError> {
    let index = Arc::new(open_index(keys, at, &row)?);
    let versioning = row.versioning.unwrap_or_default();
    Ok(OpenedBucket { at: Arc::new(at.clone()), index, lifecycle: row.lifecycle.map(Arc::new), versioning })
}

fn open_index(keys: &TenantKeys, at: &BucketRef, row: &BucketRow) -> Result<OpenBucket, DirectoryError> {
    let key = keys.open_bucket_key(&row.index_key, at.bucket.0)?;
    let old = row.old_index_key.as_ref().map(|old| keys.open_bucket_key(old, at.bucket.0)).transpose()?;
    Ok(OpenBucket { tenant: at.tenant, geo: at.geo, region: at.region, bucket: at.bucket, key, old })
}

pub(super) fn bucket_row_key(keys: &TenantKeys, tenant: TenantId, name: &BucketName) -> Vec<u8> {
    rows::row_key(kind::BUCKET, &[&tenant.0, &keys.bucket_token(name.as_str().as_bytes())])
}
