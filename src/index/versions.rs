//! The versions of a name, as readers meet them: one by its id, all of one name, all of a bucket page by page.
//!
//! Reads go to the engine beside the writer, who may supersede a version or bring one back between two of them. A version
//! never leaves the current place and comes back to it under the same id unless all that came after it is gone; so who
//! finds the same current version before and after the look at the superseded ones has missed none.

use super::acts::{Act, Condition, Dating, Keep};
use super::bucket::{OpenBucket, Stamp};
use super::engine::Direction;
use super::error::{Damage, IndexError};
use super::list::{ListQuery, Names};
use super::region::{Found, Put, PutObject, RegionIndex};
use super::row_keys::{self, ORDER_CURRENT, RowKind, order_of};
use super::rows::v1::{ObjectRow, Place};
use crate::model::names::ObjectName;
use crate::model::versioning::VersionAsked;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Superseded versions read at once.
const STEP: usize = 128;
/// How often a look begins anew because the name was written meanwhile.
const TRIES_MAX: usize = 100;

/// Which versions of a bucket to list.
#[derive(Clone, Default)]
pub struct VersionsQuery {
    /// Names begin with this; may be empty.
    pub prefix: String,
    /// Groups names behind the prefix up to and including its first occurrence. Empty counts as none.
    pub delimiter: Option<String>,
    /// Only names, and only common prefixes, strictly behind this one; with a version, also the older ones of that name.
    pub after: Option<(String, Option<VersionAsked>)>,
    /// At most this many versions and common prefixes together.
    pub limit: usize,
    /// Also what no client sees: what a hold alone keeps, and the marks over that.
    pub hidden: bool,
}

/// One page of versions.
#[derive(Clone, Default)]
pub struct VersionsPage {
    /// Versions and marks of deletion: by name, then the newest first.
    pub versions: Vec<ObjectRow>,
    /// Common prefixes in byte order.
    pub common_prefixes: Vec<String>,
    /// Whether more follow.
    pub truncated: bool,
    /// The last version or common prefix of the page: pass it as `after` to go on. `None` on an empty page.
    pub last: Option<(String, Option<VersionAsked>)>,
}

impl fmt::Debug for VersionsQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionsQuery(at most {})", self.limit)
    }
}

impl fmt::Debug for VersionsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionsPage({} versions, {} prefixes)", self.versions.len(), self.common_prefixes.len())
    }
}

/// A version as it stands in the engine.
pub(super) struct There {
    pub(super) at: Bytes,
    pub(super) value: Bytes,
    pub(super) row: ObjectRow,
    /// Its one sealed segment, if that is behind the row.
    pub(super) trailing: Bytes,
}

/// Which versions of a name are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that a client may see.
    Shown,
}

impl ObjectRow {
    /// How a client asks for this version.
    pub fn asked(&self) -> VersionAsked {
        if self.is_null() { VersionAsked::Null } else { VersionAsked::Id(self.version_id) }
    }

    /// Whether a client may see it: neither what a hold alone keeps nor the mark over that.
    pub fn is_shown(&self) -> bool {
        !self.is_kept() && !self.is_cover()
    }
}

impl RegionIndex {
    /// Finds one version of an object, current or not. Marks of deletion are versions too.
    pub async fn find_version(
        &self,
        bucket: &Arc<OpenBucket>,
        name: &ObjectName,
        asked: VersionAsked,
    ) -> Result<Option<Found>, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let found = self.find_version_under(&keyed, name.as_str(), asked).await;
            if matches!(found, Ok(Some(_))) || self.shared.keyed.is_newest(&keyed) {
                return found;
            }
        }
    }

    async fn find_version_under(
        &self,
        bucket: &OpenBucket,
        name: &str,
        asked: VersionAsked,
    ) -> Result<Option<Found>, IndexError> {
        let mut seen = None;
        loop {
            let Some(there) = self.locate(bucket, name, asked).await? else { return Ok(None) };
            let stamp = Stamp::of(&there.value);
            match self.content(bucket, &there).await? {
                Some(inline) => return Ok(Some(Found { row: there.row, inline })),
                // Replaced or removed between the two reads, or, if nothing changed, lost.
                None if seen == Some(stamp) => return Err(Damage::Missing.into()),
                None => seen = Some(stamp),
            }
        }
    }

    async fn locate(&self, bucket: &OpenBucket, name: &str, asked: VersionAsked) -> Result<Option<There>, IndexError> {
        for _ in 0..TRIES_MAX {
            let Some(current) = self.there(bucket, name, ORDER_CURRENT).await? else { return Ok(None) };
            if asked.is(&current.row) {
                return Ok(Some(current));
            }
            let mut behind = None;
            loop {
                let page = self.superseded(bucket, name, behind, STEP).await?;
                behind = page.last().filter(|_| page.len() == STEP).and_then(|last| order_of(&last.at));
                if let Some(found) = page.into_iter().find(|there| asked.is(&there.row)) {
                    return Ok(Some(found));
                }
                if behind.is_none() {
                    break;
                }
            }
            if self.is_still_current(bucket, &current).await? {
                return Ok(None);
            }
        }
        Err(IndexError::Unread)
    }

    /// Up to `limit` versions of a name, the current one first, then the newest first: those older than `after`. What a
    /// hold alone keeps is among them, and marks of deletion are.
    pub async fn versions_of(
        &self,
        bucket: &Arc<OpenBucket>,
        name: &ObjectName,
        after: Option<VersionAsked>,
        limit: usize,
    ) -> Result<Vec<ObjectRow>, IndexError> {
        self.versions(bucket, name.as_str(), after, limit, Which::All).await
    }

    async fn versions(
        &self,
        bucket: &Arc<OpenBucket>,
        name: &str,
        after: Option<VersionAsked>,
        limit: usize,
        which: Which,
    ) -> Result<Vec<ObjectRow>, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let found = self.versions_under(&keyed, name, after, limit, which).await;
            if self.shared.keyed.is_newest(&keyed) {
                return found;
            }
        }
    }

    async fn versions_under(
        &self,
        bucket: &OpenBucket,
        name: &str,
        mut after: Option<VersionAsked>,
        limit: usize,
        which: Which,
    ) -> Result<Vec<ObjectRow>, IndexError> {
        for _ in 0..TRIES_MAX {
            let Some(current) = self.there(bucket, name, ORDER_CURRENT).await? else { return Ok(Vec::new()) };
            let mut found = Some(current.row.clone()).into_iter().collect::<Vec<_>>();
            let mut skipping = after;
            let mut taken = Vec::new();
            let mut behind = None;
            loop {
                for row in found {
                    match skipping {
                        Some(asked) if asked.is(&row) => skipping = None,
                        Some(_) => {}
                        None if which == Which::Shown && !row.is_shown() => {}
                        None => taken.push(row),
                    }
                }
                if taken.len() >= limit {
                    break;
                }
                let page = self.superseded(bucket, name, behind, STEP).await?;
                let Some(last) = page.last() else { break };
                behind = order_of(&last.at);
                found = page.into_iter().map(|there| there.row).collect();
            }
            if !self.is_still_current(bucket, &current).await? {
                continue;
            }
            if skipping.is_none() {
                taken.truncate(limit);
                return Ok(taken);
            }
            // The one to go on behind is gone: rather some of them twice than one of them never.
            after = None;
        }
        Err(IndexError::Unread)
    }

    /// One page of all versions of a bucket.
    pub async fn list_versions(
        &self,
        bucket: &Arc<OpenBucket>,
        query: &VersionsQuery,
    ) -> Result<VersionsPage, IndexError> {
        let mut page = VersionsPage::default();
        if query.limit == 0 {
            return Ok(page);
        }
        let mut names = ListQuery {
            prefix: query.prefix.clone(),
            delimiter: query.delimiter.clone(),
            after: query.after.as_ref().map(|(name, _)| name.clone()),
            limit: query.limit,
        };
        if let Some((name, Some(asked))) = &query.after
            && name.starts_with(&query.prefix)
            && !self.add(bucket, query, name, Some(*asked), &mut page).await?
        {
            return Ok(page);
        }
        loop {
            let listed = self.list_names(bucket, &names, Names::All).await?;
            let mut prefixes = listed.common_prefixes.into_iter().peekable();
            let mut entries = listed.entries.into_iter().peekable();
            loop {
                let prefix_first = match (prefixes.peek(), entries.peek()) {
                    (None, None) => break,
                    (Some(prefix), Some(entry)) => *prefix < entry.name,
                    (prefix, _) => prefix.is_some(),
                };
                if page.is_full(query.limit) {
                    page.truncated = true;
                    return Ok(page);
                }
                if let Some(prefix) = prefixes.next_if(|_| prefix_first) {
                    page.last = Some((prefix.clone(), None));
                    page.common_prefixes.push(prefix);
                } else if let Some(entry) = entries.next()
                    && !self.add(bucket, query, &entry.name, None, &mut page).await?
                {
                    return Ok(page);
                }
            }
            if !listed.truncated {
                return Ok(page);
            }
            names.after = listed.last;
        }
    }

    /// Adds the versions of one name; `false`: the page is full, and not all of them are on it.
    async fn add(
        &self,
        bucket: &Arc<OpenBucket>,
        query: &VersionsQuery,
        name: &str,
        after: Option<VersionAsked>,
        page: &mut VersionsPage,
    ) -> Result<bool, IndexError> {
        let room = query.limit.saturating_sub(page.versions.len() + page.common_prefixes.len());
        let which = if query.hidden { Which::All } else { Which::Shown };
        let mut rows = self.versions(bucket, name, after, room + 1, which).await?;
        page.truncated = rows.len() > room;
        rows.truncate(room);
        if let Some(last) = rows.last() {
            // What is hidden is nobody's `null` version.
            let asked = if query.hidden { VersionAsked::Id(last.version_id) } else { last.asked() };
            page.last = Some((name.to_owned(), Some(asked)));
        }
        page.versions.extend(rows);
        Ok(!page.truncated)
    }

    /// Removes one version for good; answers what it was. Of the current one the newest superseded one takes the place.
    /// The condition is about the version that is removed. Its blobs, if any, are the caller's to delete.
    pub async fn delete_version(
        &self,
        bucket: &Arc<OpenBucket>,
        name: &ObjectName,
        asked: VersionAsked,
        condition: Condition,
        dating: Option<Dating>,
    ) -> Result<Option<ObjectRow>, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let (name, condition, dating) = (name.as_str().to_owned(), condition.clone(), dating.clone());
            let act = |reply| Act::DeleteVersion { bucket: keyed.clone(), name, asked, condition, dating, reply };
            match self.submit(act).await {
                Err(IndexError::Rekeyed) => {}
                done => return done,
            }
        }
    }

    /// Puts the mark of a deletion over what a name has, in a bucket that keeps versions or did.
    pub async fn mark_deleted(
        &self,
        bucket: &Arc<OpenBucket>,
        marker: ObjectRow,
        condition: Condition,
        keep: Keep,
        dating: Option<Dating>,
    ) -> Result<Put, IndexError> {
        let put =
            PutObject { row: marker, inline: None, condition, keep, dating, from_upload: None, places: Vec::new() };
        self.put(bucket, put).await
    }

    /// The row of this very version, wherever it stands now that it was `row`: current, or in the place that it names.
    pub(super) async fn find_row(&self, bucket: &OpenBucket, row: &ObjectRow) -> Result<Option<There>, IndexError> {
        self.there(bucket, &row.name, row.order.unwrap_or(ORDER_CURRENT)).await
    }

    /// The version of a name at an order. While its bucket is re-keyed it stands at one of two tokens and moves from the
    /// old one to the new one at most once, so who finds it at neither looks at the new one again.
    pub(super) async fn there(&self, bucket: &OpenBucket, name: &str, order: u64) -> Result<Option<There>, IndexError> {
        let row_keys: Vec<_> = bucket.tokens(name).map(|token| row_keys::object(bucket.bucket, token, order)).collect();
        let again = row_keys.first().filter(|_| row_keys.len() > 1);
        for at in row_keys.iter().chain(again) {
            if let Some(value) = self.shared.engine.get(at).await? {
                return opened(bucket, name, at.clone(), value).map(Some);
            }
        }
        Ok(None)
    }

    async fn is_still_current(&self, bucket: &OpenBucket, current: &There) -> Result<bool, IndexError> {
        let now = self.there(bucket, &current.row.name, ORDER_CURRENT).await?;
        Ok(now.is_some_and(|now| now.row.version_id == current.row.version_id))
    }

    /// Up to `limit` superseded versions of a name, the newest first, behind an order.
    async fn superseded(
        &self,
        bucket: &OpenBucket,
        name: &str,
        behind: Option<u64>,
        limit: usize,
    ) -> Result<Vec<There>, IndexError> {
        let tokens: Vec<_> = bucket.tokens(name).collect();
        let again = tokens.first().filter(|_| tokens.len() > 1);
        let mut found = BTreeMap::new();
        for token in tokens.iter().chain(again) {
            let mut range = row_keys::superseded(bucket.bucket, *token);
            if let Some(behind) = behind {
                range = range.behind(&row_keys::object(bucket.bucket, *token, behind));
            }
            let rows = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
            found.extend(rows.into_iter().map(|(at, value)| (order_of(&at), (at, value))));
        }
        let found = found.into_values().take(limit);
        found.map(|(at, value)| opened(bucket, name, at, value)).collect()
    }

    /// The one sealed segment of a version, if it is in the index. The outer `None`: it was there a moment ago.
    pub(super) async fn content(
        &self,
        bucket: &OpenBucket,
        there: &There,
    ) -> Result<Option<Option<Bytes>>, IndexError> {
        match (there.row.place, there.row.segments.first()) {
            (Place::Trailing, _) => Ok(Some(Some(there.trailing.clone()))),
            (Place::Row, Some(segment)) => {
                let sealed = self.shared.engine.get(&row_keys::inline(bucket.bucket, segment.id)).await?;
                Ok(sealed.map(Some))
            }
            (Place::Row, None) => Err(Damage::Shape.into()),
            (Place::Blob | Place::PartList | Place::Nowhere, _) => Ok(Some(None)),
        }
    }
}

impl VersionsPage {
    fn is_full(&self, limit: usize) -> bool {
        self.versions.len() + self.common_prefixes.len() >= limit
    }
}

pub(super) fn opened(bucket: &OpenBucket, name: &str, at: Bytes, value: Bytes) -> Result<There, IndexError> {
    let (row, trailing) = bucket.open_trailing::<ObjectRow>(RowKind::Object, &at, &value)?;
    if row.name != name {
        return Err(Damage::Elsewhere.into());
    }
    Ok(There { at, value, row, trailing })
}
