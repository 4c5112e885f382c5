//! Where a data subject's objects are: one row each, written in the commit of the object (or of the upload that becomes
//! it), so that none is ever without.
//!
//! Called by `store`, which makes and removes them, and by who erases a subject, exports one, or purges a tenant. Rows
//! are sealed under the tenant's directory key and found by the subject's keyed token. A row whose object is gone does no
//! harm: whoever follows it finds another version there, or none.
//!
//! Key and token are those of one version of the tenant's index root. While that is replaced, a place stands at one of the
//! live versions' tokens; it moves to a newer one's, never back, and only if nobody touched it since it was read. So who
//! looks at the tokens from the oldest to the newest meets every place.

use super::acts::{Act, ResealedRow};
use super::anchor::Value;
use super::bucket::Stamp;
use super::engine::{Direction, KeyRange};
use super::error::{Damage, IndexError};
use super::fence::Fence;
use super::region::RegionIndex;
use super::row_keys::{self, PlaceKey, RowKind};
use super::rows::{self, v1::SubjectRow};
use crate::model::ids::TenantId;
use crate::pace::Pace;
use crate::seal::{TenantKeys, row_version};
use bytes::Bytes;
use std::collections::BTreeMap;
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

    /// Moves up to `limit` places from an older token of a subject to its active one. Answers how many were there, and
    /// how many moved: the others were taken away meanwhile.
    pub async fn move_subject_places(
        &self,
        keys: &TenantKeys,
        from: [u8; 16],
        to: [u8; 16],
        limit: usize,
        fence: &Fence,
    ) -> Result<(u64, u64), IndexError> {
        let range = KeyRange::prefix(&row_keys::of_subject(TenantId(keys.tenant()), Some(from)));
        let found = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
        let seen = found.len() as u64;
        if found.is_empty() {
            return Ok((0, 0));
        }
        let anew = |(row_key, value): (Bytes, Bytes)| {
            let (at, row) = open(keys, &row_key, &value)?;
            let SubjectPlace { row_key: moved, sealed } = SubjectPlace::new(keys, &PlaceKey { token: to, ..at }, &row);
            Ok(ResealedRow { from: row_key, to: moved, sealed, old: Stamp::of(&value) })
        };
        let rows = found.into_iter().map(anew).collect::<Result<Vec<_>, IndexError>>()?;
        let fence = fence.clone();
        Ok((seen, self.submit(|reply| Act::MovePlaces { rows, fence, reply }).await?))
    }

    /// How many places of a tenant are sealed under which version of its index root. Needs no key.
    /// Reads at most `left` of them, which are taken from it; none is left: there may be more.
    pub async fn subject_places_under(
        &self,
        tenant: TenantId,
        left: &mut u64,
    ) -> Result<BTreeMap<u32, u64>, IndexError> {
        let mut range = KeyRange::prefix(&row_keys::of_subject(tenant, None));
        let mut under = BTreeMap::new();
        loop {
            let page = self.shared.engine.scan(range.clone(), STEP, Direction::Ascending).await?;
            for (_, sealed) in &page {
                *under.entry(row_version(sealed)?).or_default() += 1;
            }
            *left = left.saturating_sub(page.len() as u64);
            match page.last() {
                Some((last, _)) if page.len() == STEP && *left > 0 => range = range.behind(last),
                _ => return Ok(under),
            }
        }
    }

    /// Places of a tenant, of all its subjects, that are sealed under a version of its index root older than `version`.
    pub async fn subject_places_before(
        &self,
        keys: &TenantKeys,
        version: u32,
    ) -> Result<Vec<(PlaceKey, SubjectRow)>, IndexError> {
        let mut range = KeyRange::prefix(&row_keys::of_subject(TenantId(keys.tenant()), None));
        let mut older = Vec::new();
        loop {
            let page = self.shared.engine.scan(range.clone(), STEP, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                if row_version(sealed)? < version {
                    older.push(open(keys, row_key, sealed)?);
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == STEP && older.len() < STEP => range = range.behind(last),
                _ => return Ok(older),
            }
        }
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
        rows.iter().map(|(row_key, sealed)| open(keys, row_key, sealed)).collect()
    }

    /// Takes places away whose objects are gone.
    pub async fn remove_subject_places(&self, places: &[PlaceKey]) -> Result<(), IndexError> {
        let rows = places.iter().map(|at| (row_keys::subject(at), None)).collect();
        self.submit(|reply| Act::Write { rows, reply }).await
    }

    /// Takes all places of a tenant away, no faster than `pace`. Needs no key. Answers how many there were.
    pub async fn drop_subject_places(&self, tenant: TenantId, pace: &mut Pace) -> Result<u64, IndexError> {
        let (mut dropped, mut range) = (0, KeyRange::prefix(&row_keys::of_subject(tenant, None)));
        loop {
            let step = pace.step(STEP);
            let found = self.shared.engine.scan_keys(range.clone(), step).await?;
            let (gone, all) = (found.len() as u64, found.len() < step);
            dropped += gone;
            // Behind them: an engine walks slowly over rows that were deleted a moment ago.
            if let Some(last) = found.last() {
                range = range.behind(last);
                let rows = found.into_iter().map(|row_key| (row_key, None)).collect();
                self.submit(|reply| Act::Write { rows, reply }).await?;
            }
            pace.spent(gone).await;
            if all {
                return Ok(dropped);
            }
        }
    }

    /// How many places of a tenant there are, counted no faster than `pace`. Needs no key.
    pub async fn raw_subject_places(&self, tenant: TenantId, pace: &mut Pace) -> Result<u64, IndexError> {
        let (mut places, mut range) = (0, KeyRange::prefix(&row_keys::of_subject(tenant, None)));
        loop {
            let step = pace.step(STEP);
            let found = self.shared.engine.scan_keys(range.clone(), step).await?;
            places += found.len() as u64;
            pace.spent(found.len() as u64).await;
            match found.last() {
                Some(last) if found.len() == step => range = range.behind(last),
                _ => return Ok(places),
            }
        }
    }
}

/// A place, under whichever live version of the index root it is.
fn open(keys: &TenantKeys, row_key: &[u8], sealed: &[u8]) -> Result<(PlaceKey, SubjectRow), IndexError> {
    let at = PlaceKey::parse(row_key).ok_or(IndexError::from(Damage::Shape))?;
    let version = row_version(sealed).unwrap_or_default();
    let directory = keys.directory_of_version(version).ok_or(IndexError::from(Damage::Seal))?;
    let opened = directory.open(RowKind::Subject as u8, row_key, sealed)?;
    Ok((at, rows::decode(&opened.plain)?))
}
