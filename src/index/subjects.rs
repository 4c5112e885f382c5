//! Where a data subject's objects are: one row each, written in the commit of the object (or of the upload that becomes
//! it), so that none is ever without.
//!
//! Called by `store`, which makes and removes them, and by who erases a subject, exports one, or purges a tenant. Rows
//! are sealed under the tenant's directory key and found by the subject's keyed token. A row whose object is gone does no
//! harm: whoever follows it finds another version there, or none.

use super::acts::Act;
use super::anchor::Value;
use super::engine::{Direction, KeyRange};
use super::error::{Damage, IndexError};
use super::region::RegionIndex;
use super::row_keys::{self, PlaceKey, RowKind};
use super::rows::{self, v1::SubjectRow};
use crate::model::ids::TenantId;
use crate::seal::{TenantKeys, row_version};
use bytes::Bytes;
use std::fmt;

/// Rows taken away in one commit.
const STEP: usize = 1000;

/// A sealed row that goes into an object's commit.
#[derive(Clone)]
pub struct SubjectPlace {
    pub(crate) row_key: Bytes,
    pub(crate) sealed: Value,
}

impl fmt::Debug for SubjectPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectPlace(..)")
    }
}

impl SubjectPlace {
    /// Seals what is said of the place.
    pub fn new(keys: &TenantKeys, at: &PlaceKey, row: &SubjectRow) -> Self {
        let row_key = row_keys::subject(at);
        let sealed = keys.directory().seal(RowKind::Subject as u8, &row_key, &rows::encode(row), &[]);
        Self { row_key, sealed: Value::new(sealed.into()) }
    }
}

impl RegionIndex {
    /// Up to `limit` places of the subject with this token, behind `after`.
    pub async fn subject_places(
        &self,
        keys: &TenantKeys,
        token: [u8; 16],
        after: Option<&PlaceKey>,
        limit: usize,
    ) -> Result<Vec<(PlaceKey, SubjectRow)>, IndexError> {
        let prefix = row_keys::of_subject(TenantId(keys.tenant()), Some(token));
        self.places(keys, KeyRange::prefix(&prefix), after, limit).await
    }

    /// The same of all subjects of the tenant: for a rotation of what tokens and rows hang under.
    pub async fn subject_places_of_tenant(
        &self,
        keys: &TenantKeys,
        after: Option<&PlaceKey>,
        limit: usize,
    ) -> Result<Vec<(PlaceKey, SubjectRow)>, IndexError> {
        let prefix = row_keys::of_subject(TenantId(keys.tenant()), None);
        self.places(keys, KeyRange::prefix(&prefix), after, limit).await
    }

    async fn places(
        &self,
        keys: &TenantKeys,
        mut range: KeyRange,
        after: Option<&PlaceKey>,
        limit: usize,
    ) -> Result<Vec<(PlaceKey, SubjectRow)>, IndexError> {
        if let Some(after) = after {
            range = range.behind(&row_keys::subject(after));
        }
        let rows = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
        let open = |(row_key, sealed): &(Bytes, Bytes)| {
            let at = PlaceKey::parse(row_key).ok_or(IndexError::from(Damage::Shape))?;
            let version = row_version(sealed).unwrap_or_default();
            let directory = keys.directory_of_version(version).ok_or(IndexError::from(Damage::Seal))?;
            let opened = directory.open(RowKind::Subject as u8, row_key, sealed)?;
            Ok((at, rows::decode(&opened.plain)?))
        };
        rows.iter().map(open).collect()
    }

    /// Writes places, each in the place of what was there.
    pub async fn put_subject_places(&self, places: Vec<SubjectPlace>) -> Result<(), IndexError> {
        let rows = places.into_iter().map(|place| (place.row_key, Some(place.sealed))).collect();
        self.submit(|reply| Act::Write { rows, reply }).await
    }

    /// Takes places away whose objects are gone.
    pub async fn remove_subject_places(&self, places: &[PlaceKey]) -> Result<(), IndexError> {
        let rows = places.iter().map(|at| (row_keys::subject(at), None)).collect();
        self.submit(|reply| Act::Write { rows, reply }).await
    }

    /// Takes all places of a tenant away. Needs no key. Answers how many there were.
    pub async fn drop_subject_places(&self, tenant: TenantId) -> Result<u64, IndexError> {
        let mut dropped = 0;
        loop {
            let range = KeyRange::prefix(&row_keys::of_subject(tenant, None));
            let found = self.shared.engine.scan_keys(range, STEP).await?;
            dropped += found.len() as u64;
            let all = found.len() < STEP;
            if !found.is_empty() {
                let rows = found.into_iter().map(|row_key| (row_key, None)).collect();
                self.submit(|reply| Act::Write { rows, reply }).await?;
            }
            if all {
                return Ok(dropped);
            }
        }
    }

    /// How many places of a tenant there are. Needs no key.
    pub async fn raw_subject_places(&self, tenant: TenantId) -> Result<u64, IndexError> {
        let range = KeyRange::prefix(&row_keys::of_subject(tenant, None));
        Ok(self.shared.engine.scan_keys(range, usize::MAX).await?.len() as u64)
    }
}
