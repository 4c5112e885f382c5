//! Data subjects: `s | tenant | token(name) | 0 | 0` leads from the name that the customer uses to the random id that the
//! subject's key is made for. Sealed under the tenant's `subject-map` key. An erasure under way has a row of its own,
//! `e | tenant | subject`, so that it is taken up after a crash.
//!
//! Order of a first write that names a subject: key made → row written. Crash in between: a key that nothing uses.
//! Order of an erasure: [`Directory::begin_erasure`] → key destroyed → objects removed → [`Directory::end_erasure`]; from
//! its beginning to its end nothing new is written for the subject, and afterwards its name leads nowhere: who is named
//! again is another subject, with another key.

use super::closes::note_removal;
use super::rows::{self, kind, v1::ErasureRow, v1::SubjectRow};
use super::{Directory, DirectoryError, SCAN};
use crate::index::PlaceKey;
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::ids::{BucketId, SubjectId, TenantId, VersionId};
use crate::model::names::SubjectName;
use crate::seal::{Dek, ObjectContext, SubjectKey, TenantKeys, row_version};
use std::sync::Arc;

/// Subjects' ids kept in memory; beyond it the cache begins anew.
pub(super) const SUBJECTS_CACHED_MAX: usize = 100_000;
/// Where a row speaks of the subject itself and not of a place.
const NOWHERE: [u8; 16] = [0; 16];

/// A data subject as the directory has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubjectEntry {
    /// What its key is made for.
    pub id: SubjectId,
    /// Stands for its name.
    pub token: [u8; 16],
    /// It is being erased.
    pub erasing: bool,
}

impl Directory {
    /// The subject of this name, if there is one.
    pub async fn subject(&self, tenant: TenantId, name: &SubjectName) -> Result<Option<SubjectEntry>, DirectoryError> {
        let keys = self.keys(tenant).await?;
        let token = keys.subject_token(name.as_str().as_bytes());
        if let Some(entry) = self.cache.read().subjects.get(&(tenant, token)) {
            return Ok(Some(*entry));
        }
        let Some(row) = self.subject_row(&keys, tenant, token).await? else { return Ok(None) };
        if row.name != name.as_str() {
            return Err(DirectoryError::Integrity);
        }
        let entry = SubjectEntry { id: row.subject, token, erasing: row.erasing };
        self.remember_subject(tenant, entry);
        Ok(Some(entry))
    }

    /// The subject of this name; made, with a key, when there is none.
    pub async fn subject_to_write(&self, tenant: TenantId, name: &SubjectName) -> Result<SubjectEntry, DirectoryError> {
        if let Some(entry) = self.subject(tenant, name).await? {
            return Ok(entry);
        }
        let _one_at_a_time = self.subjects.lock().await;
        if let Some(entry) = self.subject(tenant, name).await? {
            return Ok(entry);
        }
        let keys = self.keys(tenant).await?;
        let id = SubjectId::random();
        let service = self.keys.clone();
        let made = tokio::task::spawn_blocking(move || service.create_subject(tenant.0, id.0).map(drop)).await;
        made.map_err(|_| DirectoryError::Worker)??;
        let token = keys.subject_token(name.as_str().as_bytes());
        let entry = SubjectEntry { id, token, erasing: false };
        let row = SubjectRow { subject: id, name: name.as_str().to_owned(), erasing: false };
        let row_key = subject_row_key(tenant, token);
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), None);
        batch.put(row_key.clone(), keys.subject_map().seal(kind::SUBJECT, &row_key, &rows::encode(&row), &[]));
        self.engine.commit(batch).await?;
        self.remember_subject(tenant, entry);
        Ok(entry)
    }

    /// The key of a subject. Errors: `Destroyed` when it was erased.
    pub async fn subject_key(&self, tenant: TenantId, subject: SubjectId) -> Result<Arc<SubjectKey>, DirectoryError> {
        if let Some(key) = self.keys.subject_at_hand(tenant.0, subject.0)? {
            return Ok(key);
        }
        let service = self.keys.clone();
        let opened = tokio::task::spawn_blocking(move || service.subject(tenant.0, subject.0)).await;
        Ok(opened.map_err(|_| DirectoryError::Worker)??)
    }

    /// The data key in a record: under the subject's key if the object has one, else under the tenant's.
    pub async fn open_dek(
        &self,
        keys: &TenantKeys,
        subject: Option<SubjectId>,
        record: &[u8],
        context: &ObjectContext,
    ) -> Result<Dek, DirectoryError> {
        let Some(subject) = subject else { return Ok(keys.open_dek(record, context)?) };
        let key = self.subject_key(TenantId(keys.tenant()), subject).await?;
        Ok(key.open_dek(record, context)?)
    }

    /// The row key of the place of one version in the rows of a region.
    pub fn place_of(&self, keys: &TenantKeys, name: &SubjectName, bucket: BucketId, version: VersionId) -> PlaceKey {
        let token = keys.subject_token(name.as_str().as_bytes());
        PlaceKey { tenant: TenantId(keys.tenant()), token, bucket, version }
    }

    /// Notes that a subject is being erased, durably; from here on nothing is written for it.
    pub async fn begin_erasure(&self, tenant: TenantId, entry: &SubjectEntry) -> Result<(), DirectoryError> {
        let _one_at_a_time = self.subjects.lock().await;
        let keys = self.keys(tenant).await?;
        let Some(mut row) = self.subject_row(&keys, tenant, entry.token).await? else { return Ok(()) };
        row.erasing = true;
        let (row_key, note_key) = (subject_row_key(tenant, entry.token), erasure_row_key(tenant, entry.id));
        let note = ErasureRow { token: entry.token };
        let mut batch = Batch::new();
        batch.put(row_key.clone(), keys.subject_map().seal(kind::SUBJECT, &row_key, &rows::encode(&row), &[]));
        batch.put(note_key.clone(), keys.subject_map().seal(kind::ERASURE, &note_key, &rows::encode(&note), &[]));
        self.engine.commit(batch).await?;
        self.cache.write().subjects.remove(&(tenant, entry.token));
        Ok(())
    }

    /// Removes the last of an erased subject: its name, and the note that it is being erased.
    pub async fn end_erasure(&self, tenant: TenantId, entry: &SubjectEntry) -> Result<(), DirectoryError> {
        let _one_at_a_time = self.subjects.lock().await;
        let mut batch = Batch::new();
        batch.delete(subject_row_key(tenant, entry.token));
        batch.delete(erasure_row_key(tenant, entry.id));
        note_removal(&mut batch, tenant);
        self.engine.commit(batch).await?;
        self.cache.write().subjects.remove(&(tenant, entry.token));
        Ok(())
    }

    /// Erasures that were begun and have not ended, of tenants whose keys open.
    pub async fn erasures(&self) -> Result<Vec<(TenantId, SubjectEntry)>, DirectoryError> {
        let mut range = KeyRange::prefix(&[kind::ERASURE]);
        let mut found = Vec::new();
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                let ids: &[u8; 33] = row_key.as_ref().try_into().map_err(|_| DirectoryError::Integrity)?;
                let tenant = TenantId(ids[1..17].try_into().expect("16 bytes"));
                let id = SubjectId(ids[17..].try_into().expect("16 bytes"));
                let Ok(keys) = self.keys(tenant).await else { continue };
                let row: ErasureRow = open(&keys, kind::ERASURE, row_key, sealed)?;
                found.push((tenant, SubjectEntry { id, token: row.token, erasing: true }));
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }

    /// Every subject of a tenant.
    pub async fn subjects_of(&self, tenant: TenantId) -> Result<Vec<SubjectEntry>, DirectoryError> {
        let keys = self.keys(tenant).await?;
        let mut range = KeyRange::prefix(&rows::row_key(kind::SUBJECT, &[&tenant.0]));
        let mut found = Vec::new();
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                let fields: &[u8; 65] = row_key.as_ref().try_into().map_err(|_| DirectoryError::Integrity)?;
                let token = fields[17..33].try_into().expect("16 bytes");
                let row: SubjectRow = open(&keys, kind::SUBJECT, row_key, sealed)?;
                found.push(SubjectEntry { id: row.subject, token, erasing: row.erasing });
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }

    async fn subject_row(
        &self,
        keys: &TenantKeys,
        tenant: TenantId,
        token: [u8; 16],
    ) -> Result<Option<SubjectRow>, DirectoryError> {
        let row_key = subject_row_key(tenant, token);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        open(keys, kind::SUBJECT, &row_key, &sealed).map(Some)
    }

    /// Drops what is cached about a subject whose key turned out to be gone.
    pub fn forget_subject(&self, tenant: TenantId, entry: &SubjectEntry) {
        self.cache.write().subjects.remove(&(tenant, entry.token));
    }

    fn remember_subject(&self, tenant: TenantId, entry: SubjectEntry) {
        let mut cache = self.cache.write();
        if cache.subjects.len() >= SUBJECTS_CACHED_MAX {
            cache.subjects.clear();
        }
        cache.subjects.insert((tenant, entry.token), entry);
    }
}

fn subject_row_key(tenant: TenantId, token: [u8; 16]) -> Vec<u8> {
    rows::row_key(kind::SUBJECT, &[&tenant.0, &token, &NOWHERE, &NOWHERE])
}

fn erasure_row_key(tenant: TenantId, subject: SubjectId) -> Vec<u8> {
    rows::row_key(kind::ERASURE, &[&tenant.0, &subject.0])
}

fn open<T>(keys: &TenantKeys, kind: u8, row_key: &[u8], sealed: &[u8]) -> Result<T, DirectoryError>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    let version = row_version(sealed).unwrap_or_default();
    let map = keys.subject_map_of_version(version).ok_or(DirectoryError::Integrity)?;
    let opened = map.open(kind, row_key, sealed)?;
    rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
}
