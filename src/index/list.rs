//! Listing: one page of a bucket's names in byte order, under a prefix, grouped by a delimiter.
//!
//! Called by `store`. Reads only the leaves that the page needs; behind a common prefix it seeks, however many names
//! stand under it. A page is not one moment: each of its leaves is, and holds at least what was acknowledged before
//! the page was asked for.

use super::bucket::OpenBucket;
use super::error::{Damage, IndexError};
use super::leaf::Leaf;
use super::region::RegionIndex;
use super::rows::v1::{LeafEntry, ObjectKind};
use crate::model::time::Millis;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What to list.
#[derive(Clone, Default)]
pub struct ListQuery {
    /// Names begin with this; may be empty.
    pub prefix: String,
    /// Groups names behind the prefix up to and including its first occurrence. Empty counts as none.
    pub delimiter: Option<String>,
    /// Only names, and only common prefixes, strictly behind this one in byte order.
    pub after: Option<String>,
    /// At most this many entries and common prefixes together.
    pub limit: usize,
}

/// One listed object.
#[derive(Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// Its name.
    pub name: String,
    /// Plaintext bytes.
    pub size: u64,
    /// When it was written.
    pub mtime: Millis,
    /// Without quotes.
    pub etag: String,
}

/// One page.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Objects in byte order of their names.
    pub entries: Vec<ListEntry>,
    /// Common prefixes in byte order.
    pub common_prefixes: Vec<String>,
    /// Whether more follow.
    pub truncated: bool,
    /// The last entry or common prefix of the page: pass it as `after` to go on. None on an empty page.
    pub last: Option<String>,
}

impl fmt::Debug for ListQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListQuery(at most {})", self.limit)
    }
}

impl fmt::Debug for ListEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListEntry(..)")
    }
}

impl fmt::Debug for ListPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListPage({} entries, {} prefixes)", self.entries.len(), self.common_prefixes.len())
    }
}

impl RegionIndex {
    /// One page of names.
    pub async fn list(&self, bucket: &Arc<OpenBucket>, query: &ListQuery) -> Result<ListPage, IndexError> {
        self.list_names(bucket, query, Names::OfObjects).await
    }

    pub(super) async fn list_names(
        &self,
        bucket: &Arc<OpenBucket>,
        query: &ListQuery,
        which: Names,
    ) -> Result<ListPage, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let page = self.list_under(&keyed, query, which).await;
            if page.is_ok() || self.shared.keyed.is_newest(&keyed) {
                return page;
            }
        }
    }

    async fn list_under(
        &self,
        bucket: &Arc<OpenBucket>,
        query: &ListQuery,
        which: Names,
    ) -> Result<ListPage, IndexError> {
        let mut page = Pager::new(query, which);
        if query.limit == 0 {
            return Ok(page.page);
        }
        loop {
            let leaf = self.leaf_of(bucket, &page.cursor).await?;
            if let Step::Done = page.take(&leaf) {
                return Ok(page.page);
            }
        }
    }

    /// The leaf that holds `name`, as of at least now.
    ///
    /// Between a split's commit and its publication the fences still show the old bounds: the leaf itself knows better,
    /// and the fences follow as soon as the writer gets to it.
    async fn leaf_of(&self, bucket: &OpenBucket, name: &[u8]) -> Result<Arc<Leaf>, IndexError> {
        let shared = &self.shared;
        let book = shared.books.book(&*shared.engine, bucket).await?;
        for _ in 0..PUBLICATION_TRIES {
            let (written, leaf) = book.with(|names| (names.fences.folded > 0, names.fences.leaf_of(name).1));
            match shared.books.leaf(&*shared.engine, bucket, &book, leaf).await? {
                Some(content) if content.covers(name) => return Ok(content),
                None if !written => return Ok(Arc::new(Leaf::empty())),
                Some(_) | None => tokio::time::sleep(PUBLICATION_WAIT).await,
            }
        }
        Err(Damage::Elsewhere.into())
    }
}

/// How often to look again for fences that a commit has moved, and how long to wait in between.
const PUBLICATION_TRIES: usize = 1000;
const PUBLICATION_WAIT: Duration = Duration::from_millis(2);

/// Which names are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Those whose current version is an object.
    OfObjects,
    /// Those that have any version.
    All,
}

/// A page in the making. Pure: fed one leaf after the other.
struct Pager<'a> {
    query: &'a ListQuery,
    which: Names,
    delimiter: Option<&'a str>,
    /// The smallest name (any bytes) that may still come.
    cursor: Vec<u8>,
    page: ListPage,
}

enum Step {
    Done,
    /// Feed the leaf that holds `cursor`.
    More,
}

impl<'a> Pager<'a> {
    fn new(query: &'a ListQuery, which: Names) -> Self {
        let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let cursor = query.prefix.clone().into_bytes();
        let mut pager = Self { query, which, delimiter, cursor, page: ListPage::default() };
        if let Some(after) = &query.after {
            // A common prefix that is not behind `after` was on an earlier page, with everything under it.
            let behind = match pager.group_of(after) {
                Some(group) => behind_all_of(group),
                None => [after.as_bytes(), &[0]].concat(),
            };
            pager.cursor = pager.cursor.max(behind);
        }
        pager
    }

    /// The common prefix that a name belongs under.
    fn group_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        let rest = name.strip_prefix(self.query.prefix.as_str())?;
        let delimiter = self.delimiter?;
        let at = rest.find(delimiter)?;
        Some(&name[..self.query.prefix.len() + at + delimiter.len()])
    }

    fn take(&mut self, leaf: &Leaf) -> Step {
        let mut entries = leaf.entries_from(&self.cursor);
        while let Some(entry) = entries.next() {
            if !entry.name.starts_with(self.query.prefix.as_str()) {
                return Step::Done;
            }
            if entry.kind == ObjectKind::DeleteMarker && self.which == Names::OfObjects {
                continue;
            }
            if self.page.entries.len() + self.page.common_prefixes.len() == self.query.limit {
                self.page.truncated = true;
                return Step::Done;
            }
            match self.group_of(&entry.name).map(str::to_owned) {
                None => {
                    self.page.last = Some(entry.name.to_string());
                    self.page.entries.push(shown(entry));
                }
                Some(group) => {
                    self.cursor = behind_all_of(&group);
                    self.page.last = Some(group.clone());
                    self.page.common_prefixes.push(group);
                    if !leaf.covers(&self.cursor) {
                        return self.beyond_prefix();
                    }
                    entries = leaf.entries_from(&self.cursor);
                }
            }
        }
        match leaf.end() {
            Some(end) => {
                self.cursor = end.as_bytes().to_vec();
                self.beyond_prefix()
            }
            None => Step::Done,
        }
    }

    /// Whether names under the prefix can still lie at the cursor or behind it.
    fn beyond_prefix(&self) -> Step {
        let prefix = self.query.prefix.as_bytes();
        if self.cursor.starts_with(prefix) || *self.cursor < *prefix { Step::More } else { Step::Done }
    }
}

fn shown(entry: &LeafEntry) -> ListEntry {
    ListEntry { name: entry.name.to_string(), size: entry.size, mtime: entry.mtime, etag: entry.etag.to_string() }
}

/// The smallest byte string behind everything that begins with `text`: its last byte plus one, since UTF-8 has no 0xff.
fn behind_all_of(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    *bytes.last_mut().expect("a group ends with its delimiter, which is not empty") += 1;
    bytes
}
