//! What the close of an epoch goes by, and what it did.
//!
//! `r | tenant`: something of a tenant's directory was removed since the last close, a bucket or a data subject. Written in
//! the commit that removes it; the value is random and tells one writing from another, so a close takes the row away only
//! if nothing was removed since it looked. (What is removed *from* a bucket is noted in its region: `index::removals`.)
//!
//! `c | number(16) | tenant`: what the close of that number did for a tenant, sealed under the geo's directory key. Kept
//! until the close has its certificate. Ids, versions and counts only.
//!
//! `c` alone: since when the schedule of closes counts, while there was no close yet.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::{Batch, Direction, EngineError, KeyRange};
use crate::model::ids::{BucketId, OperationId, TenantId};
use crate::tenant::State;
use bytes::Bytes;
use minicbor::{Decode, Encode};

/// A key of a tenant that a close replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Replaced {
    /// The version before.
    #[n(0)]
    pub from: u32,
    /// The version now.
    #[n(1)]
    pub to: u32,
    /// Records or rows that were wrapped or sealed again under it.
    #[n(2)]
    pub records: u64,
}

/// Why a close left something of a tenant as it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Outside {
    /// Its keys are suspended: nothing of it can be wrapped anew.
    #[n(0)]
    Suspended,
    /// A bucket lies in a region that is not served here.
    #[n(2)]
    RegionNotServed,
    /// A request held keys of before until the end: the older version of a root is still there.
    #[n(3)]
    HeldOn,
    /// It is being purged, or a hold keeps what is left of it.
    #[n(4)]
    Purging,
}

/// What the close of an epoch did for one tenant.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ClosePart {
    /// The run of the close that did it: one that was taken back and begun anew is another.
    #[n(0)]
    pub run: OperationId,
    /// Whose.
    #[n(1)]
    pub tenant: TenantId,
    /// Buckets whose index key was replaced.
    #[n(2)]
    pub buckets: Vec<(BucketId, Replaced)>,
    /// Its subject root.
    #[n(3)]
    pub subject_root: Option<Replaced>,
    /// Its index root.
    #[n(4)]
    pub index_root: Option<Replaced>,
    /// What was left to the next close, and why.
    #[n(5)]
    pub outside: Vec<Outside>,
}

/// How a close finds a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lives {
    /// It is kept, in service or not.
    On,
    /// It is being purged, or a hold keeps what is left.
    Purging,
    /// It is destroyed, or never came to be.
    No,
}

/// One writing of a tenant's row about removals.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantRemoval(Bytes);

impl Directory {
    /// Whether a tenant is there to be given new keys.
    pub async fn lives(&self, tenant: TenantId) -> Result<Lives, DirectoryError> {
        let state = self.tenant(tenant).await?.map_or(State::Purged, |entry| entry.standing.state);
        Ok(match state {
            State::Active | State::Disabled | State::Terminated => Lives::On,
            State::PurgeHeld | State::Purging => Lives::Purging,
            State::Provisioning | State::Purged => Lives::No,
        })
    }

    /// The tenants from whose directory something was removed.
    pub async fn tenants_with_removals(&self) -> Result<Vec<TenantId>, DirectoryError> {
        let row_keys = self.engine.scan_keys(KeyRange::prefix(&[kind::REMOVAL]), usize::MAX).await?;
        let ids = row_keys.iter().map(|row_key| row_key[1..].try_into().map(TenantId));
        ids.collect::<Result<_, _>>().map_err(|_| DirectoryError::Integrity)
    }

    /// The tenant's row about removals as it stands.
    pub async fn removal_of(&self, tenant: TenantId) -> Result<Option<TenantRemoval>, DirectoryError> {
        Ok(self.engine.get(&rows::row_key(kind::REMOVAL, &[&tenant.0])).await?.map(TenantRemoval))
    }

    /// Takes the row away, unless something was removed since it was read. Answers whether it went.
    pub async fn drop_removal(&self, tenant: TenantId, seen: TenantRemoval) -> Result<bool, DirectoryError> {
        let row_key = rows::row_key(kind::REMOVAL, &[&tenant.0]);
        let mut batch = Batch::new();
        batch.expect(row_key.clone(), Some(seen.0));
        batch.delete(row_key);
        match self.engine.commit(batch).await {
            Ok(()) => Ok(true),
            Err(EngineError::Precondition) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Since when the schedule counts, in compliance seconds: `now` at the first call ever.
    pub async fn closes_counted_from(&self, now: i64) -> Result<i64, DirectoryError> {
        let _change = self.change.lock().await;
        let geo_keys = self.keys.geo_keys();
        if let Some(sealed) = self.engine.get(&[kind::CLOSE]).await? {
            let opened = geo_keys.open(kind::CLOSE, &[kind::CLOSE], &sealed)?;
            return rows::decode(&opened.plain).ok_or(DirectoryError::Integrity);
        }
        let _sealing = self.sealing.read().await;
        let mut batch = Batch::new();
        let sealed = geo_keys.directory().seal(kind::CLOSE, &[kind::CLOSE], &rows::encode(&now), &[]);
        batch.put(vec![kind::CLOSE], sealed);
        self.engine.commit(batch).await?;
        Ok(now)
    }

    /// What the close of this number did for one tenant, so far.
    pub async fn close_part(&self, number: u64, tenant: TenantId) -> Result<Option<ClosePart>, DirectoryError> {
        let row_key = part_row_key(number, Some(tenant));
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        self.open_part(&row_key, &sealed).map(Some)
    }

    fn open_part(&self, row_key: &[u8], sealed: &[u8]) -> Result<ClosePart, DirectoryError> {
        let opened = self.keys.geo_keys().open(kind::CLOSE, row_key, sealed)?;
        rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
    }

    /// Keeps what a close did for a tenant, in the place of what was kept before; durable on return.
    pub async fn keep_close_part(&self, number: u64, part: &ClosePart) -> Result<(), DirectoryError> {
        let row_key = part_row_key(number, Some(part.tenant));
        let _sealing = self.sealing.read().await;
        let mut batch = Batch::new();
        let sealed = self.keys.geo_keys().directory().seal(kind::CLOSE, &row_key, &rows::encode(part), &[]);
        batch.put(row_key, sealed);
        Ok(self.engine.commit(batch).await?)
    }

    /// What the close of this number did, by tenant.
    pub async fn close_parts(&self, number: u64) -> Result<Vec<ClosePart>, DirectoryError> {
        let range = KeyRange::prefix(&part_row_key(number, None));
        let found = self.engine.scan(range, usize::MAX, Direction::Ascending).await?;
        found.iter().map(|(row_key, sealed)| self.open_part(row_key, sealed)).collect()
    }

    /// Forgets what the close of this number did: it is in the close's certificate.
    pub async fn drop_close_parts(&self, number: u64) -> Result<(), DirectoryError> {
        let row_keys = self.engine.scan_keys(KeyRange::prefix(&part_row_key(number, None)), usize::MAX).await?;
        if row_keys.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        row_keys.into_iter().for_each(|row_key| batch.delete(row_key));
        Ok(self.engine.commit(batch).await?)
    }
}

/// Adds to a commit that something of the tenant's directory is removed.
pub(super) fn note_removal(batch: &mut Batch, tenant: TenantId) {
    batch.put(rows::row_key(kind::REMOVAL, &[&tenant.0]), OperationId::random().0.to_vec());
}

fn part_row_key(number: u64, tenant: Option<TenantId>) -> Vec<u8> {
    let mut wide = [0; 16];
    wide[8..].copy_from_slice(&number.to_be_bytes());
    let mut row_key = rows::row_key(kind::CLOSE, &[&wide]);
    row_key.extend_from_slice(tenant.as_ref().map_or(&[], |tenant| &tenant.0[..]));
    row_key
}
