//! Data subjects: `s | tenant | token(name) | 0 | 0` leads from the name that the customer uses to the random id that the
//! subject's key is made for. Sealed under the tenant's `subject-map` key. An erasure under way has a row of its own,
//! `e | tenant | subject`, so that it is taken up after a crash.
//!
//! The token is one of the tenant's index root. While that is replaced, a subject's row stands at the token of one of the
//! live versions and moves to the active one's once; who looks for it looks at all (`find_subject`). Rows come, move and
//! go under one lock, so that two rows never stand for one name.
//!
//! Order of a first write that names a subject: key made → row written. Crash in between: a key that nothing uses.
//! Order of an erasure: [`Directory::begin_erasure`] → key destroyed → objects removed → [`Directory::end_erasure`]; from
//! its beginning to its end nothing new is written for the subject, and afterwards its name leads nowhere: who is named
//! again is another subject, with another key.

use super::closes::note_removal;
use super::rows::{self, kind, v1::ErasureRow, v1::SubjectRow};
use super::{Directory, DirectoryError, JobError, SCAN};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::index::{Fence, PlaceKey};
use crate::model::ids::{BucketId, SubjectId, TenantId, VersionId};
use crate::model::names::SubjectName;
use crate::seal::{Dek, ObjectContext, SubjectKey, TenantKeys, row_version};
use bytes::Bytes;
use std::fmt;
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
    /// Stands for its name here, by the index root that was active when it was looked up.
    pub token: [u8; 16],
    /// It is being erased.
    pub erasing: bool,
}

/// A data subject as a walk over all of a tenant's finds it.
pub struct SubjectAt {
    /// What its key is made for.
    pub id: SubjectId,
    /// As the customer calls it.
    pub name: SubjectName,
    /// It is being erased.
    pub erasing: bool,
    /// Where its row stands: to go on behind it.
    pub row_key: Bytes,
    sealed: Bytes,
}

impl fmt::Debug for SubjectAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectAt({})", self.id)
    }
}

/// A subject's row, where it stands, and the keys that opened it.
struct FoundSubject {
    keys: Arc<TenantKeys>,
    row_key: Vec<u8>,
    sealed: Bytes,
    row: SubjectRow,
}

impl Directory {
    /// The subject of this name, if there is one.
    pub async fn subject(&self, tenant: TenantId, name: &SubjectName) -> Result<Option<SubjectEntry>, DirectoryError> {
        let keys = self.keys(tenant).await?;
        let token = keys.subject_token(name.as_str().as_bytes());
        if let Some(entry) = self.cache.read().subjects.get(&(tenant, token)) {
            return Ok(Some(*entry));
        }
        let Some(found) = self.find_subject(tenant, name).await? else { return Ok(None) };
        let token = found.keys.subject_token(name.as_str().as_bytes());
        let entry = SubjectEntry { id: found.row.subject, token, erasing: found.row.erasing };
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

    /// The same under every live version of the index root, for whoever takes the place away.
    pub fn places_of(
        &self,
        keys: &TenantKeys,
        name: &SubjectName,
        bucket: BucketId,
        version: VersionId,
    ) -> impl Iterator<Item = PlaceKey> {
        let tenant = TenantId(keys.tenant());
        let tokens = keys.subject_tokens(name.as_str().as_bytes());
        tokens.map(move |token| PlaceKey { tenant, token, bucket, version })
    }

    /// Notes that a subject is being erased, durably; from here on nothing is written for it. Does nothing when the name
    /// leads to it no more.
    pub async fn begin_erasure(
        &self,
        tenant: TenantId,
        name: &SubjectName,
        subject: SubjectId,
    ) -> Result<(), DirectoryError> {
        let _one_at_a_time = self.subjects.lock().await;
        let found = self.find_subject(tenant, name).await?.filter(|found| found.row.subject == subject);
        let Some(FoundSubject { keys, row_key, sealed, row }) = found else { return Ok(()) };
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), Some(sealed));
        self.put_subject(&mut batch, &keys, tenant, &row_key, &SubjectRow { erasing: true, ..row });
        self.engine.commit(batch).await?;
        let tokens = keys.subject_tokens(name.as_str().as_bytes());
        let mut cache = self.cache.write();
        for token in tokens {
            cache.subjects.remove(&(tenant, token));
        }
        Ok(())
    }

    /// The name of a subject whose erasure was begun and has not ended.
    pub async fn name_of_erased(
        &self,
        tenant: TenantId,
        subject: SubjectId,
    ) -> Result<Option<SubjectName>, DirectoryError> {
        // Locked: both rows move together.
        let _one_at_a_time = self.subjects.lock().await;
        let Some((_, row)) = self.erasure(tenant, subject).await? else { return Ok(None) };
        SubjectName::parse(&row.name).map(Some).map_err(|_| DirectoryError::Integrity)
    }

    /// Removes the last of an erased subject: its name, and the note that it is being erased.
    pub async fn end_erasure(&self, tenant: TenantId, subject: SubjectId) -> Result<(), DirectoryError> {
        let _one_at_a_time = self.subjects.lock().await;
        let Some((token, _)) = self.erasure(tenant, subject).await? else { return Ok(()) };
        let mut batch = Batch::new();
        batch.delete(subject_row_key(tenant, token));
        batch.delete(erasure_row_key(tenant, subject));
        note_removal(&mut batch, tenant);
        self.engine.commit(batch).await?;
        self.cache.write().subjects.remove(&(tenant, token));
        Ok(())
    }

    /// Where the row of a subject stands whose erasure is under way, and what it says.
    async fn erasure(
        &self,
        tenant: TenantId,
        subject: SubjectId,
    ) -> Result<Option<([u8; 16], SubjectRow)>, DirectoryError> {
        let keys = self.keys(tenant).await?;
        let note_key = erasure_row_key(tenant, subject);
        let Some(sealed) = self.engine.get(&note_key).await? else { return Ok(None) };
        let ErasureRow { token } = open(&keys, kind::ERASURE, &note_key, &sealed)?;
        let row_key = subject_row_key(tenant, token);
        let sealed = self.engine.get(&row_key).await?.ok_or(DirectoryError::Integrity)?;
        let row: SubjectRow = open(&keys, kind::SUBJECT, &row_key, &sealed)?;
        if row.subject == subject { Ok(Some((token, row))) } else { Err(DirectoryError::Integrity) }
    }

    /// Erasures that were begun and have not ended, of tenants whose keys open.
    pub async fn erasures(&self) -> Result<Vec<(TenantId, SubjectId)>, DirectoryError> {
        let mut range = KeyRange::prefix(&[kind::ERASURE]);
        let mut found = Vec::new();
        loop {
            let page = self.engine.scan_keys(range.clone(), SCAN).await?;
            for row_key in &page {
                let ids: &[u8; 33] = row_key.as_ref().try_into().map_err(|_| DirectoryError::Integrity)?;
                let tenant = TenantId(ids[1..17].try_into().expect("16 bytes"));
                if self.keys(tenant).await.is_ok() {
                    found.push((tenant, SubjectId(ids[17..].try_into().expect("16 bytes"))));
                }
            }
            match page.last() {
                Some(last) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }

    /// Up to `limit` subjects of a tenant behind the row key `after`, under whichever version of the index root.
    pub async fn subjects_page(
        &self,
        tenant: TenantId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<SubjectAt>, DirectoryError> {
        let mut range = KeyRange::prefix(&rows::row_key(kind::SUBJECT, &[&tenant.0]));
        if let Some(after) = after {
            range = range.behind(after);
        }
        let page = self.engine.scan(range, limit, Direction::Ascending).await?;
        // Asked for behind the scan: they open what a rotation moved meanwhile, too.
        let keys = self.keys(tenant).await?;
        let opened = page.into_iter().map(|(row_key, sealed)| {
            let row: SubjectRow = open(&keys, kind::SUBJECT, &row_key, &sealed)?;
            let name = SubjectName::parse(&row.name).map_err(|_| DirectoryError::Integrity)?;
            Ok(SubjectAt { id: row.subject, name, erasing: row.erasing, row_key, sealed })
        });
        opened.collect()
    }

    /// Moves those rows of a page that stand under an older index root to the active one's token, with the notes of
    /// their erasures, in one commit; a row that was changed since it was read is left to whoever changed it. Answers how
    /// many moved. Errors: `Fenced`.
    pub async fn move_subjects(&self, tenant: TenantId, page: &[SubjectAt], fence: &Fence) -> Result<u64, JobError> {
        let _one_at_a_time = self.subjects.lock().await;
        let keys = self.keys(tenant).await.map_err(DirectoryError::from)?;
        let (mut batch, mut moved) = (Batch::new(), Vec::new());
        for at in page {
            let is_current = row_version(&at.sealed).ok() == Some(keys.active_tik().version);
            if is_current || self.engine.get(&at.row_key).await?.as_ref() != Some(&at.sealed) {
                continue;
            }
            let row = SubjectRow { subject: at.id, name: at.name.as_str().to_owned(), erasing: at.erasing };
            batch.expect(at.row_key.clone(), Some(at.sealed.clone()));
            self.put_subject(&mut batch, &keys, tenant, &at.row_key, &row);
            moved.push(keys.subject_tokens(row.name.as_bytes()).collect::<Vec<_>>());
        }
        if moved.is_empty() {
            return Ok(0);
        }
        if !fence.holds() {
            return Err(JobError::Fenced);
        }
        self.engine.commit(batch).await?;
        let mut cache = self.cache.write();
        for token in moved.iter().flatten() {
            cache.subjects.remove(&(tenant, *token));
        }
        Ok(moved.len() as u64)
    }

    /// A subject's row, under whichever live version of the index root it stands.
    async fn find_subject(&self, tenant: TenantId, name: &SubjectName) -> Result<Option<FoundSubject>, DirectoryError> {
        loop {
            let keys = self.keys(tenant).await?;
            let tokens: Vec<_> = keys.subject_tokens(name.as_str().as_bytes()).collect();
            // The active one's last again: the row may have moved there between the looks.
            let again = tokens.first().filter(|_| tokens.len() > 1);
            for token in tokens.iter().chain(again) {
                let row_key = subject_row_key(tenant, *token);
                let Some(sealed) = self.engine.get(&row_key).await? else { continue };
                let row: SubjectRow = open(&keys, kind::SUBJECT, &row_key, &sealed)?;
                if row.name != name.as_str() {
                    return Err(DirectoryError::Integrity);
                }
                return Ok(Some(FoundSubject { keys, row_key, sealed, row }));
            }
            if self.keys(tenant).await?.active_tik() == keys.active_tik() {
                return Ok(None);
            }
        }
    }

    /// Writes a subject's row at the active token in the place of the one at `from`, and with it the note of its
    /// erasure, which names the token.
    fn put_subject(&self, batch: &mut Batch, keys: &TenantKeys, tenant: TenantId, from: &[u8], row: &SubjectRow) {
        let token = keys.subject_token(row.name.as_bytes());
        let row_key = subject_row_key(tenant, token);
        if from != row_key {
            batch.expect(row_key.clone(), None);
            batch.delete(from.to_vec());
        }
        batch.put(row_key.clone(), keys.subject_map().seal(kind::SUBJECT, &row_key, &rows::encode(row), &[]));
        if row.erasing {
            let note_key = erasure_row_key(tenant, row.subject);
            let note = keys.subject_map().seal(kind::ERASURE, &note_key, &rows::encode(&ErasureRow { token }), &[]);
            batch.put(note_key, note);
        }
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
