//! A tenant's rows under a new index root: its buckets (whose row keys hold a token of that root), its logins and its
//! detail, sealed and wrapped again, each row in one commit. Called by the conductor of rotations. Data subjects' rows
//! are moved in `subjects`, and counted here.
//!
//! Meanwhile both roots open: who looks for a bucket looks at the tokens of both (`buckets::find`).

use super::buckets::bucket_row_key;
use super::logins::{ACCESS_ID_AT, credential_id};
use super::rows::{self, kind, v1};
use super::tenants::DETAIL_AT;
use super::{Directory, DirectoryError, SCAN};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::ids::TenantId;
use crate::seal::{self, TenantKeys};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What was looked at, and what was sealed or wrapped again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rerooted {
    /// Records looked at.
    pub seen: u64,
    /// Records changed.
    pub changed: u64,
}

impl Directory {
    /// Seals and wraps buckets, logins and detail of a tenant under its active index root where they are under an older
    /// one. Its data subjects are moved by [`Directory::move_subjects`].
    pub async fn reroot_tenant(&self, tenant: TenantId) -> Result<Rerooted, DirectoryError> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let keys = self.keys(tenant).await?;
        let mut done = Rerooted::default();
        for (row_key, sealed) in self.bucket_rows(tenant).await? {
            done.seen += 1;
            done.changed += u64::from(self.reroot_bucket(&keys, tenant, row_key, sealed).await?);
        }
        for (row_key, version, row) in self.login_rows(tenant).await? {
            done.seen += 1;
            done.changed += u64::from(self.reroot_login(&keys, &row_key, version, row).await?);
        }
        done.seen += 1;
        done.changed += u64::from(self.reroot_detail(&keys, tenant).await?);
        for kind in [kind::HOLD, kind::DEFERRED, kind::WORDS] {
            let more = self.reroot_rows(&keys, tenant, kind).await?;
            (done.seen, done.changed) = (done.seen + more.seen, done.changed + more.changed);
        }
        Ok(done)
    }

    /// Records of a tenant by the version of the index root they are under, read from the engine. Reads at most `left` rows
    /// of data subjects, which are taken from it; none is left: there may be more.
    pub async fn under_index_roots(
        &self,
        tenant: TenantId,
        left: &mut u64,
    ) -> Result<BTreeMap<u32, u64>, DirectoryError> {
        let mut under = BTreeMap::new();
        let mut count = |version: u32| *under.entry(version).or_default() += 1;
        let version_of = |sealed: &[u8]| seal::row_version(sealed).map_err(DirectoryError::from);
        let keys = self.keys(tenant).await?;
        for (row_key, sealed) in self.bucket_rows(tenant).await? {
            let row: v1::BucketRow = open(&keys, kind::BUCKET, &row_key, &sealed)?;
            count(version_of(&sealed)?);
            for record in std::iter::once(&row.index_key[..]).chain(row.old_index_key.as_deref().map(|old| &old[..])) {
                count(parent_version(record)?);
            }
        }
        for (_, _, row) in self.login_rows(tenant).await? {
            count(version_of(&row.access_id)?);
            count(parent_version(&row.record)?);
        }
        let row_key = rows::row_key(kind::TENANT, &[&tenant.0]);
        if let Some(sealed) = self.engine.get(&row_key).await? {
            let detail = self.open_row(&row_key, &sealed)?.detail;
            if !detail.is_empty() {
                count(version_of(&detail)?);
            }
        }
        for kind in [kind::SUBJECT, kind::ERASURE, kind::HOLD, kind::DEFERRED, kind::WORDS] {
            let mut range = KeyRange::prefix(&rows::row_key(kind, &[&tenant.0]));
            loop {
                let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
                for (_, sealed) in &page {
                    count(version_of(sealed)?);
                }
                *left = left.saturating_sub(page.len() as u64);
                match page.last() {
                    Some((last, _)) if page.len() == SCAN && *left > 0 => range = range.behind(last),
                    _ => break,
                }
            }
        }
        Ok(under)
    }

    async fn reroot_bucket(
        &self,
        keys: &TenantKeys,
        tenant: TenantId,
        row_key: Bytes,
        sealed: Bytes,
    ) -> Result<bool, DirectoryError> {
        let mut row: v1::BucketRow = open(keys, kind::BUCKET, &row_key, &sealed)?;
        let anew = keys.rewrap_bucket_key(&row.index_key, row.bucket.0)?;
        let old_anew = match &row.old_index_key {
            Some(old) => keys.rewrap_bucket_key(old, row.bucket.0)?,
            None => None,
        };
        let is_current = seal::row_version(&sealed)? == keys.active_tik().version;
        if is_current && anew.is_none() && old_anew.is_none() {
            return Ok(false);
        }
        if let Some(anew) = anew {
            row.index_key = anew.to_vec();
        }
        if let Some(anew) = old_anew {
            row.old_index_key = Some(anew.to_vec().into());
        }
        let name = crate::model::names::BucketName::parse(&row.name).map_err(|_| DirectoryError::Integrity)?;
        let to = bucket_row_key(keys, tenant, &name);
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), Some(sealed));
        if row_key[..] != to[..] {
            batch.delete(row_key);
        }
        let resealed = keys.directory().seal(kind::BUCKET, &to, &rows::encode(&row), &[]);
        batch.put(to, resealed);
        self.engine.commit(batch).await?;
        Ok(true)
    }

    async fn reroot_login(
        &self,
        keys: &TenantKeys,
        row_key: &[u8],
        version: u32,
        mut row: v1::LoginRow,
    ) -> Result<bool, DirectoryError> {
        let record = keys.rewrap_credential(&row.record, credential_id(row_key))?;
        let is_current = seal::row_version(&row.access_id)? == keys.active_tik().version;
        if is_current && record.is_none() {
            return Ok(false);
        }
        let opened = directory_key(keys, &row.access_id)?.open(kind::LOGIN, ACCESS_ID_AT, &row.access_id)?;
        row.access_id = keys.directory().seal(kind::LOGIN, ACCESS_ID_AT, &opened.plain, &[]);
        if let Some(record) = record {
            row.record = record.to_vec();
        }
        let mut batch = Batch::new();
        batch.put(row_key.to_vec(), self.seal_login(row_key, version, &row)?);
        self.engine.commit(batch).await?;
        Ok(true)
    }

    async fn reroot_detail(&self, keys: &TenantKeys, tenant: TenantId) -> Result<bool, DirectoryError> {
        let row_key = rows::row_key(kind::TENANT, &[&tenant.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(false) };
        let mut row = self.open_row(&row_key, &sealed)?;
        if row.detail.is_empty() || seal::row_version(&row.detail)? == keys.active_tik().version {
            return Ok(false);
        }
        let opened = directory_key(keys, &row.detail)?.open(kind::TENANT, DETAIL_AT, &row.detail)?;
        row.detail = keys.directory().seal(kind::TENANT, DETAIL_AT, &opened.plain, &[]);
        let resealed = self.keys.geo_keys().directory().seal(kind::TENANT, &row_key, &rows::encode(&row), &[]);
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), Some(sealed));
        batch.put(row_key, resealed);
        self.engine.commit(batch).await?;
        Ok(true)
    }

    /// Rows whose row keys hold no token: sealed again where they stand.
    async fn reroot_rows(&self, keys: &TenantKeys, tenant: TenantId, kind: u8) -> Result<Rerooted, DirectoryError> {
        let mut range = KeyRange::prefix(&rows::row_key(kind, &[&tenant.0]));
        let mut done = Rerooted::default();
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            let mut batch = Batch::new();
            for (row_key, sealed) in &page {
                done.seen += 1;
                if seal::row_version(sealed)? != keys.active_tik().version {
                    let opened = directory_key(keys, sealed)?.open(kind, row_key, sealed)?;
                    batch.expect(row_key.clone(), Some(sealed.clone()));
                    batch.put(row_key.clone(), keys.directory().seal(kind, row_key, &opened.plain, &[]));
                    done.changed += 1;
                }
            }
            self.engine.commit(batch).await?;
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(done),
            }
        }
    }

    async fn bucket_rows(&self, tenant: TenantId) -> Result<Vec<(Bytes, Bytes)>, DirectoryError> {
        let mut range = KeyRange::prefix(&rows::row_key(kind::BUCKET, &[&tenant.0]));
        let mut found = Vec::new();
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            let len = page.len();
            found.extend(page);
            match found.last() {
                Some((last, _)) if len == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }
}

/// The directory key that a row says it is sealed under.
pub(super) fn directory_key<'a>(keys: &'a TenantKeys, sealed: &[u8]) -> Result<&'a seal::RowKey, DirectoryError> {
    keys.directory_of_version(seal::row_version(sealed)?).ok_or(DirectoryError::Integrity)
}

/// Opens a row of a tenant under whichever live version of its index root it names.
pub(super) fn open<T>(keys: &TenantKeys, kind: u8, row_key: &[u8], sealed: &[u8]) -> Result<T, DirectoryError>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    let opened = directory_key(keys, sealed)?.open(kind, row_key, sealed)?;
    rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
}

fn parent_version(record: &[u8]) -> Result<u32, DirectoryError> {
    let record = record.try_into().map_err(|_| DirectoryError::Integrity)?;
    Ok(seal::parent_version(record))
}
