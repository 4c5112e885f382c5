//! Rows under the geo's own directory key, and what a new version of it does to them: they are sealed again where they
//! stand; those that are found by a name (tenants' names, logins) move to the new key's token. Called by the conductor of
//! rotations.
//!
//! Meanwhile both versions open, and who looks for a name looks at the tokens of both. Writers seal under the active
//! version from the moment of the switch, which waits for those that had sealed and not committed yet. A row that has to
//! move names something that only its tenant's keys open: while those are suspended it stays, and is counted.

use super::logins::{ACCESS_ID_AT, credential_id};
use super::reroot::directory_key;
use super::rows::{self, kind, v1};
use super::{Directory, DirectoryError, SCAN};
use crate::index::engine::{Batch, Direction, EngineError, KeyRange};
use crate::model::ids::TenantId;
use crate::model::names::{AccessId, TenantName};
use crate::seal::{KeyClient, KeyError, KeyName, row_version};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The kinds of rows that are sealed under their tenant's keys, or not at all (what was removed: ids and a random value).
/// Every other row is sealed under the geo's key.
const OF_OTHERS: [u8; 7] =
    [kind::BUCKET, kind::SUBJECT, kind::ERASURE, kind::REMOVAL, kind::HOLD, kind::DEFERRED, kind::WORDS];

/// One step of a rotation of the geo's directory key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GeoStep {
    /// Rows looked at.
    pub seen: u64,
    /// Rows sealed again.
    pub resealed: u64,
    /// Rows that stay because their tenant's keys do not open.
    pub closed: u64,
    /// Pass it to go on; none: that was the end.
    pub next: Option<Bytes>,
}

/// What becomes of a row under an older version.
enum Next {
    Anew(Anew),
    /// Its tenant's keys do not open.
    KeysClosed,
    /// A runner at work writes it itself, with its next step.
    ItsRunners,
}

/// A row to be written in the place of another.
struct Anew {
    from: Bytes,
    old: Bytes,
    to: Vec<u8>,
    sealed: Vec<u8>,
}

impl Directory {
    /// Gives the geo's directory key a new version. On return nothing is sealed under an older one any more.
    pub async fn switch_directory_key(&self) -> Result<KeyName, DirectoryError> {
        self.with_writers_waiting(KeyClient::rotate_directory_key).await
    }

    /// Has everybody here seal under the newest version that the key service has: a switch may have been cut off between
    /// the two.
    pub async fn follow_directory_key(&self) -> Result<KeyName, DirectoryError> {
        self.with_writers_waiting(KeyClient::refresh_directory_keys).await
    }

    async fn with_writers_waiting(
        &self,
        act: fn(&KeyClient) -> Result<KeyName, KeyError>,
    ) -> Result<KeyName, DirectoryError> {
        let _still = self.sealing.write().await;
        let keys = self.keys.clone();
        let switched = tokio::task::spawn_blocking(move || act(&keys)).await;
        Ok(switched.map_err(|_| DirectoryError::Worker)??)
    }

    /// Seals up to `limit` rows behind `after` again under the active version, each as long as nobody writes it.
    pub async fn reseal_geo_rows(&self, after: Option<&Bytes>, limit: usize) -> Result<GeoStep, DirectoryError> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let (page, next) = self.geo_rows(after, limit).await?;
        let active = self.keys.geo_keys().name().version;
        let mut step = GeoStep { seen: page.len() as u64, next, ..GeoStep::default() };
        let mut rows = Vec::new();
        for (row_key, sealed) in page {
            if row_version(&sealed)? == active {
                continue;
            }
            match self.anew(row_key, sealed).await? {
                Next::Anew(row) => rows.push(row),
                Next::KeysClosed => step.closed += 1,
                Next::ItsRunners => {}
            }
        }
        step.resealed = self.replace_geo_rows(rows).await?;
        Ok(step)
    }

    /// Rows by the version of the geo's directory key they are under, read from the engine.
    pub async fn under_directory_keys(&self) -> Result<BTreeMap<u32, u64>, DirectoryError> {
        let (mut under, mut after) = (BTreeMap::new(), None);
        loop {
            let (page, next) = self.geo_rows(after.as_ref(), SCAN).await?;
            for (_, sealed) in &page {
                *under.entry(row_version(sealed)?).or_default() += 1;
            }
            after = next;
            if after.is_none() {
                return Ok(under);
            }
        }
    }

    async fn geo_rows(
        &self,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<(Vec<(Bytes, Bytes)>, Option<Bytes>), DirectoryError> {
        let first = after.and_then(|after| after.first().copied());
        for kind in (first.unwrap_or(0)..=u8::MAX).filter(|kind| !OF_OTHERS.contains(kind)) {
            let mut range = KeyRange::prefix(&[kind]);
            if let Some(after) = after.filter(|_| Some(kind) == first) {
                range = range.behind(after);
            }
            let page = self.engine.scan(range, limit, Direction::Ascending).await?;
            if let Some((last, _)) = page.last() {
                let next = last.clone();
                return Ok((page, Some(next)));
            }
        }
        Ok((Vec::new(), None))
    }

    /// The same row under the active version.
    async fn anew(&self, from: Bytes, old: Bytes) -> Result<Next, DirectoryError> {
        let geo_keys = self.keys.geo_keys();
        let kind = from.first().copied().unwrap_or(0);
        let (to, plain) = match kind {
            kind::TENANT_NAME => {
                let row: v1::NameRow =
                    rows::decode(&geo_keys.open(kind, &from, &old)?.plain).ok_or(DirectoryError::Integrity)?;
                let entry = self.tenant(row.tenant).await?;
                let Some(detail) = entry.and_then(|entry| entry.detail.clone()) else {
                    return Ok(Next::KeysClosed);
                };
                let name = TenantName::parse(&detail.name).map_err(|_| DirectoryError::Integrity)?;
                (self.name_row_key(&name), rows::encode(&row))
            }
            kind::LOGIN => match self.login_anew(&from, &old).await? {
                Some(moved) => moved,
                None => return Ok(Next::KeysClosed),
            },
            kind::JOB if self.has_runner(TenantId(from[1..].try_into().map_err(|_| DirectoryError::Integrity)?)) => {
                return Ok(Next::ItsRunners);
            }
            _ => (from.to_vec(), geo_keys.open(kind, &from, &old)?.plain),
        };
        let sealed = geo_keys.directory().seal(kind, &to, &plain, &[]);
        Ok(Next::Anew(Anew { from, old, to, sealed }))
    }

    /// A login at the active token. Its secret's record is bound to the token, so it is wrapped again.
    async fn login_anew(&self, from: &[u8], old: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, DirectoryError> {
        let (_, mut row) = self.open_login(from, old)?;
        let Ok(keys) = self.keys(row.tenant).await else { return Ok(None) };
        let opened = directory_key(&keys, &row.access_id)?.open(kind::LOGIN, ACCESS_ID_AT, &row.access_id)?;
        let access_id = String::from_utf8(opened.plain).ok().and_then(|text| AccessId::parse(&text).ok());
        let to = self.login_row_key(&access_id.ok_or(DirectoryError::Integrity)?);
        let secret = keys.open_credential(&row.record, credential_id(from))?;
        row.record = keys.wrap_credential(&secret, credential_id(&to))?.to_vec();
        Ok(Some((to, rows::encode(&row))))
    }

    /// Writes rows in the place of others in one commit, or, when one was written meanwhile, the others one by one.
    async fn replace_geo_rows(&self, rows: Vec<Anew>) -> Result<u64, DirectoryError> {
        let batch = |rows: &[Anew]| {
            let mut batch = Batch::new();
            for Anew { from, old, to, sealed } in rows {
                batch.expect(from.clone(), Some(old.clone()));
                if from[..] != to[..] {
                    batch.expect(to.clone(), None);
                    batch.delete(from.clone());
                }
                batch.put(to.clone(), sealed.clone());
            }
            batch
        };
        if rows.is_empty() {
            return Ok(0);
        }
        match self.engine.commit(batch(&rows)).await {
            Ok(()) => return Ok(rows.len() as u64),
            Err(EngineError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
        let mut replaced = 0;
        for row in &rows {
            match self.engine.commit(batch(std::slice::from_ref(row))).await {
                Ok(()) => replaced += 1,
                Err(EngineError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(replaced)
    }

    /// The row of a name under whichever live version of the geo's directory key it stands.
    pub(super) async fn find_named(&self, kind: u8, name: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, DirectoryError> {
        let geo_keys = self.keys.geo_keys();
        loop {
            let (active, tokens) = (geo_keys.name(), geo_keys.name_tokens(name));
            // The active one's last again: the row may have moved there between the looks.
            let again = tokens.first().filter(|_| tokens.len() > 1);
            for token in tokens.iter().chain(again) {
                let row_key = rows::row_key(kind, &[token]);
                if let Some(sealed) = self.engine.get(&row_key).await? {
                    return Ok(Some((row_key, sealed)));
                }
            }
            if geo_keys.name() == active {
                return Ok(None);
            }
        }
    }
}
