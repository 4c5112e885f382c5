//! Tenants: `n | tenant id`, found by `m | token(name)`. Ids, state and times are sealed under the geo's directory key
//! and outlive the tenant; name and contact are sealed once more under the tenant's own, and die with it.
//!
//! A tombstone is found by `p | token of its name | tenant id`. That token is made with the key service's state key, which
//! outlives every version of the directory key: of a name that is gone no other token could be made.

use super::reroot::open;
use super::rows::{self, kind, v1};
use super::{Directory, DirectoryError, SCAN};
use crate::index::engine::{Batch, Direction, EngineError, KeyRange};
use crate::model::ids::TenantId;
use crate::model::names::TenantName;
use crate::pace::Pace;
use crate::tenant::{Standing, State};
use std::fmt;
use std::sync::Arc;

/// What only the tenant's own keys can open.
#[derive(Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Detail {
    /// Unique in the geo while the tenant lives.
    #[n(0)]
    pub name: String,
    /// Whom to reach.
    #[n(1)]
    pub contact: Option<String>,
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detail(..)")
    }
}

/// A tenant as the directory has it.
#[derive(Clone, Debug)]
pub struct TenantEntry {
    /// Counts the changes of this row.
    pub revision: u64,
    /// Ids, state, times.
    pub standing: Standing,
    /// `None` when its keys do not open it: suspended, provider away, or destroyed.
    pub detail: Option<Detail>,
}

/// Where the detail stands sealed inside a tenant's row: never a row key of its own.
pub(super) const DETAIL_AT: &[u8] = b"n:detail";

/// The kinds of a tenant's own rows, whose row keys begin with its id: there may be many.
const OF_TENANT: [u8; 11] = [
    kind::BUCKET,
    kind::SUBJECT,
    kind::ERASURE,
    kind::REMOVAL,
    kind::HOLD,
    kind::DEFERRED,
    kind::WORDS,
    kind::WATERMARK,
    kind::FOLLOWED,
    kind::UNCAPTURED,
    kind::REQUEST,
];

impl Directory {
    /// The tenant with this id, in any state.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Arc<TenantEntry>>, DirectoryError> {
        if let Some(entry) = self.cache.read().tenants.get(&id) {
            return Ok(Some(entry.clone()));
        }
        let row_key = rows::row_key(kind::TENANT, &[&id.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        let entry = Arc::new(self.open_tenant(&row_key, &sealed).await?);
        if entry.detail.is_some() {
            self.cache.write().tenants.insert(id, entry.clone());
        }
        Ok(Some(entry))
    }

    /// The living tenant of this name.
    pub async fn tenant_named(&self, name: &TenantName) -> Result<Option<Arc<TenantEntry>>, DirectoryError> {
        let Some((row_key, sealed)) = self.find_named(kind::TENANT_NAME, name.as_str().as_bytes()).await? else {
            return Ok(None);
        };
        let opened = self.keys.geo_keys().open(kind::TENANT_NAME, &row_key, &sealed)?;
        let row: v1::NameRow = rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)?;
        self.tenant(row.tenant).await
    }

    /// The newest of the tombstones of this name. A tenant that is being purged has one from when its name is gone.
    pub async fn tombstone_named(&self, name: &TenantName) -> Result<Option<Arc<TenantEntry>>, DirectoryError> {
        let token = self.tombstone_token(name.as_str());
        let mut range = KeyRange::prefix(&rows::row_key(kind::TOMBSTONE, &[&token]));
        let mut newest: Option<Arc<TenantEntry>> = None;
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                let opened = self.keys.geo_keys().open(kind::TOMBSTONE, row_key, sealed)?;
                let row: v1::NameRow = rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)?;
                let Some(entry) = self.tenant(row.tenant).await? else { continue };
                let of = |entry: &TenantEntry| entry.standing.created.at;
                if newest.as_deref().is_none_or(|newest| of(newest) < of(&entry)) {
                    newest = Some(entry);
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(newest),
            }
        }
    }

    /// At most `limit` tenants in order of their ids, after `after`.
    pub async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Arc<TenantEntry>>, DirectoryError> {
        let mut range = KeyRange::prefix(&[kind::TENANT]);
        if let Some(after) = after {
            range = range.behind(&rows::row_key(kind::TENANT, &[&after.0]));
        }
        let page = self.engine.scan(range, limit.min(SCAN), Direction::Ascending).await?;
        let mut tenants = Vec::with_capacity(page.len());
        for (row_key, sealed) in &page {
            tenants.push(Arc::new(self.open_tenant(row_key, sealed).await?));
        }
        Ok(tenants)
    }

    /// The ids of at most `limit` tenants behind `after`, in every state. Opens nothing.
    pub async fn tenant_ids(&self, after: Option<TenantId>, limit: usize) -> Result<Vec<TenantId>, DirectoryError> {
        let mut range = KeyRange::prefix(&[kind::TENANT]);
        if let Some(after) = after {
            range = range.behind(&rows::row_key(kind::TENANT, &[&after.0]));
        }
        let page = self.engine.scan_keys(range, limit.min(SCAN)).await?;
        let id = |row_key: &bytes::Bytes| row_key.get(1..17).and_then(|id| id.try_into().ok()).map(TenantId);
        page.iter().map(|row_key| id(row_key).ok_or(DirectoryError::Integrity)).collect()
    }

    /// Enters a new tenant, whose keys exist. Errors: `NameTaken`.
    pub async fn enter_tenant(&self, standing: Standing, detail: Detail) -> Result<Arc<TenantEntry>, DirectoryError> {
        let name = TenantName::parse(&detail.name).map_err(|_| DirectoryError::Integrity)?;
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        if self.find_named(kind::TENANT_NAME, name.as_str().as_bytes()).await?.is_some() {
            return Err(DirectoryError::NameTaken);
        }
        let (row_key, name_key) = (rows::row_key(kind::TENANT, &[&standing.id.0]), self.name_row_key(&name));
        let entry = TenantEntry { revision: 1, standing, detail: Some(detail) };
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), None);
        batch.expect(name_key.clone(), None);
        let named = v1::NameRow { tenant: entry.standing.id };
        let geo_keys = self.keys.geo_keys();
        let sealed_name = geo_keys.directory().seal(kind::TENANT_NAME, &name_key, &rows::encode(&named), &[]);
        batch.put(name_key, sealed_name);
        batch.put(row_key.clone(), self.seal_tenant(&row_key, &entry, self.seal_detail(&entry).await?, None));
        self.move_due(&mut batch, None, Some(&entry.standing))?;
        match self.engine.commit(batch).await {
            Err(EngineError::Precondition) => return Err(DirectoryError::NameTaken),
            other => other?,
        }
        let entry = Arc::new(entry);
        self.cache.write().tenants.insert(entry.standing.id, entry.clone());
        Ok(entry)
    }

    /// Writes the next standing of a tenant that was read at `seen`. Errors: `Changed` when another change came first.
    pub async fn change_tenant(
        &self,
        seen: &TenantEntry,
        standing: Standing,
    ) -> Result<Arc<TenantEntry>, DirectoryError> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        // No write of an object may be between its look at the old standing and its commit.
        let _commits = self.commits.write().await;
        let row_key = rows::row_key(kind::TENANT, &[&standing.id.0]);
        let current = self.engine.get(&row_key).await?.ok_or(DirectoryError::Changed)?;
        if self.open_tenant(&row_key, &current).await?.revision != seen.revision {
            return Err(DirectoryError::Changed);
        }
        // As it stands sealed: it is kept although the tenant's keys may not open it now, and stays away once buried.
        let v1::TenantRow { detail, name, .. } = self.open_row(&row_key, &current)?;
        let entry = TenantEntry { revision: seen.revision + 1, standing, detail: seen.detail.clone() };
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), Some(current));
        self.move_due(&mut batch, Some(&seen.standing), Some(&entry.standing))?;
        if entry.standing.state == State::Purged {
            batch.delete(rows::row_key(kind::NOTE, &[&entry.standing.id.0]));
        }
        batch.put(row_key.clone(), self.seal_tenant(&row_key, &entry, detail, name));
        self.engine.commit(batch).await?;
        let entry = Arc::new(entry);
        self.cache.write().tenants.insert(entry.standing.id, entry.clone());
        Ok(entry)
    }

    /// Removes everything of a tenant but its tombstone: name, buckets, logins, and what its keys sealed in the row. From then
    /// on its name leads to the tombstone, and so do the access ids that it had to the end. Needs none of its keys; again does no harm. Answers how many rows went.
    pub async fn bury_tenant(&self, id: TenantId) -> Result<u64, DirectoryError> {
        self.bury_tenant_at(id, &mut Pace::free()).await
    }

    /// The same, no faster than `pace`: all but a little of it in steps, so that other acts come in between.
    pub async fn bury_tenant_at(&self, id: TenantId, pace: &mut Pace) -> Result<u64, DirectoryError> {
        let mut removed = 0;
        for kind in OF_TENANT {
            removed += self.drop_rows_of(kind, id, pace).await?;
        }
        Ok(removed + self.bury_rest(id).await?)
    }

    /// Needs no sealing lock: rows that are sealed anew meanwhile are among the rest.
    async fn drop_rows_of(&self, kind: u8, id: TenantId, pace: &mut Pace) -> Result<u64, DirectoryError> {
        let (mut removed, mut range) = (0, KeyRange::prefix(&rows::row_key(kind, &[&id.0])));
        loop {
            let step = pace.step(SCAN);
            let page = self.engine.scan_keys(range.clone(), step).await?;
            let Some(last) = page.last() else { return Ok(removed) };
            range = range.behind(last);
            let mut batch = Batch::new();
            page.iter().for_each(|row_key| batch.delete(row_key.to_vec()));
            let _change = self.change.lock().await;
            self.engine.commit(batch).await?;
            drop(_change);
            removed += page.len() as u64;
            pace.spent(page.len() as u64).await;
            if page.len() < step {
                return Ok(removed);
            }
        }
    }

    /// What is not gone yet, with what the tenant's keys sealed in its row, in one commit.
    async fn bury_rest(&self, id: TenantId) -> Result<u64, DirectoryError> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let row_key = rows::row_key(kind::TENANT, &[&id.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(0) };
        let mut entry = self.open_tenant(&row_key, &sealed).await?;
        let name = self.open_row(&row_key, &sealed)?.name;
        let name = entry.detail.as_ref().map(|detail| self.tombstone_token(&detail.name).into()).or(name);
        let mut batch = Batch::new();
        self.rows_of(id).await?.into_iter().for_each(|row_key| batch.delete(row_key));
        let removed = batch.writes.len() as u64;
        entry.revision += 1;
        batch.put(row_key.clone(), self.seal_tenant(&row_key, &entry, Vec::new(), name));
        // Of a tenant that never served, nothing stays.
        let served = entry.standing.state != State::Provisioning;
        if served {
            self.keep_former_logins(id, &mut batch).await?;
        }
        if let Some(name) = name.filter(|_| served) {
            let row_key = rows::row_key(kind::TOMBSTONE, &[&*name, &id.0]);
            let row = rows::encode(&v1::NameRow { tenant: id });
            batch.put(row_key.clone(), self.keys.geo_keys().directory().seal(kind::TOMBSTONE, &row_key, &row, &[]));
        }
        self.engine.commit(batch).await?;
        self.forget(id);
        Ok(removed)
    }

    /// Removes a tenant that never served, tombstone and all.
    pub async fn erase_tenant(&self, id: TenantId) -> Result<(), DirectoryError> {
        self.bury_tenant(id).await?;
        let _change = self.change.lock().await;
        let row_key = rows::row_key(kind::TENANT, &[&id.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(()) };
        let entry = self.open_tenant(&row_key, &sealed).await?;
        let mut batch = Batch::new();
        self.move_due(&mut batch, Some(&entry.standing), None)?;
        batch.delete(row_key);
        self.engine.commit(batch).await?;
        self.forget(id);
        Ok(())
    }

    /// How many rows name this tenant besides its tombstone.
    pub async fn rows_of_tenant(&self, id: TenantId) -> Result<u64, DirectoryError> {
        Ok(self.rows_of(id).await?.len() as u64)
    }

    /// The row keys of a tenant's name, logins, buckets, data subjects, features, job and cryptoperiods, by full listing.
    async fn rows_of(&self, id: TenantId) -> Result<Vec<Vec<u8>>, DirectoryError> {
        let mut found: Vec<_> = self.login_rows(id).await?.into_iter().map(|(row_key, ..)| row_key).collect();
        for kind in [kind::JOB, kind::PERIODS, kind::FEATURES, kind::NOTICES] {
            let row_key = rows::row_key(kind, &[&id.0]);
            found.extend(self.engine.get(&row_key).await?.is_some().then_some(row_key));
        }
        let geo_keys = self.keys.geo_keys();
        let mut range = KeyRange::prefix(&[kind::TENANT_NAME]);
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                let opened = geo_keys.open(kind::TENANT_NAME, row_key, sealed)?;
                let row: v1::NameRow = rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)?;
                found.extend((row.tenant == id).then(|| row_key.to_vec()));
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => break,
            }
        }
        for kind in OF_TENANT {
            let mut range = KeyRange::prefix(&rows::row_key(kind, &[&id.0]));
            loop {
                let page = self.engine.scan_keys(range.clone(), SCAN).await?;
                found.extend(page.iter().map(|row_key| row_key.to_vec()));
                tokio::task::yield_now().await;
                match page.last() {
                    Some(last) if page.len() == SCAN => range = range.behind(last),
                    _ => break,
                }
            }
        }
        Ok(found)
    }

    pub(super) fn name_row_key(&self, name: &TenantName) -> Vec<u8> {
        let token = self.keys.geo_keys().name_token(name.as_str().as_bytes());
        rows::row_key(kind::TENANT_NAME, &[&token])
    }

    fn tombstone_token(&self, name: &str) -> [u8; 16] {
        self.lasting_token(b"tombstone-name-v1\0", name)
    }

    /// What stands for a name that is gone: only who has the key service can tell whether a name is the one.
    pub(super) fn lasting_token(&self, of: &[u8], name: &str) -> [u8; 16] {
        let said = [of, &self.geo.bytes(), name.as_bytes()].concat();
        let mac = self.keys.state_mac()(&said);
        mac[..16].try_into().expect("a MAC is 32 bytes")
    }

    async fn seal_detail(&self, entry: &TenantEntry) -> Result<Vec<u8>, DirectoryError> {
        let Some(detail) = &entry.detail else { return Ok(Vec::new()) };
        let keys = self.keys(entry.standing.id).await?;
        Ok(keys.directory().seal(kind::TENANT, DETAIL_AT, &rows::encode(detail), &[]))
    }

    /// `detail` is sealed already, or empty; `name` stands for a name that cannot be read now.
    fn seal_tenant(
        &self,
        row_key: &[u8],
        entry: &TenantEntry,
        detail: Vec<u8>,
        name: Option<minicbor::bytes::ByteArray<16>>,
    ) -> Vec<u8> {
        let known = entry.detail.as_ref().map(|detail| self.tombstone_token(&detail.name).into());
        let (revision, standing) = (entry.revision, entry.standing.encode());
        let row = v1::TenantRow { revision, standing, detail, name: known.or(name) };
        self.keys.geo_keys().directory().seal(kind::TENANT, row_key, &rows::encode(&row), &[])
    }

    pub(super) fn open_row(&self, row_key: &[u8], sealed: &[u8]) -> Result<v1::TenantRow, DirectoryError> {
        let opened = self.keys.geo_keys().open(kind::TENANT, row_key, sealed)?;
        rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
    }

    async fn open_tenant(&self, row_key: &[u8], sealed: &[u8]) -> Result<TenantEntry, DirectoryError> {
        let row = self.open_row(row_key, sealed)?;
        let standing = Standing::decode(&row.standing).ok_or(DirectoryError::Integrity)?;
        if row_key[1..] != standing.id.0 {
            return Err(DirectoryError::Integrity);
        }
        let detail = match self.keys(standing.id).await {
            Ok(keys) if !row.detail.is_empty() => Some(open(&keys, kind::TENANT, DETAIL_AT, &row.detail)?),
            _ => None,
        };
        Ok(TenantEntry { revision: row.revision, standing, detail })
    }
}
