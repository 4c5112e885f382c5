//! Turning a group's changed names into rows: deltas, rewritten leaves, splits, merges, fences.
//!
//! Called by the writer for each group, after all its acts. A PUT costs one small delta (shared with the other changes
//! of its leaf in the same commit); after `LEAF_DELTAS_MAX` of them the leaf is written anew, and split when it outgrew
//! `LEAF_ENTRIES_MAX`. A leaf that has become nearly empty is poured into its left neighbour, so names that come and go
//! leave nothing behind. All of it is part of the group's one commit: there is no moment at which a crash could leave
//! half a split.

use super::anchor::Value;
use super::books::{Book, Run};
use super::bucket::OpenBucket;
use super::error::{Damage, IndexError};
use super::group::{Draft, Group};
use super::leaf::{Changes, Leaf, piece_lens};
use super::row_keys::{self, RowKind};
use super::rows::v1::{Fence, FencesBase, FencesDelta, LeafBase, LeafChange, LeafDelta, LeafEntry};
use crate::model::limits::{LEAF_DELTAS_MAX, LEAF_ENTRIES_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A leaf with fewer entries than this is poured into its left neighbour.
const LEAF_ENTRIES_MIN: usize = LEAF_ENTRIES_MAX / 8;

/// What others may see of a bucket's names once the commit is durable.
pub(crate) struct Publication {
    book: Arc<Book>,
    commit: u64,
    runs: BTreeMap<u64, Run>,
    gone: Vec<u64>,
    fresh: Vec<(u64, Arc<Leaf>)>,
    fences: FencesDelta,
    /// Whether the fences' base was written anew, so that no deltas stand on it.
    rebased: bool,
}

impl Group<'_> {
    /// Writes all changed names into the overlay, as part of this commit.
    pub(crate) async fn consolidate(&mut self, commit: u64) -> Result<Vec<Publication>, IndexError> {
        let mut publications = Vec::new();
        for (_, draft) in std::mem::take(&mut self.drafts) {
            publications.push(self.names(draft, commit).await?);
        }
        Ok(publications)
    }

    async fn names(&mut self, draft: Draft, commit: u64) -> Result<Publication, IndexError> {
        let Draft { bucket, book, leaves } = draft;
        let new_bucket = book.with(|names| names.fences.folded == 0);
        let next_leaf = book.with(|names| names.fences.next_leaf);
        let mut names = Rewriter {
            busy: leaves.keys().copied().collect(),
            bucket,
            out: Publication {
                book,
                commit,
                runs: BTreeMap::new(),
                gone: Vec::new(),
                fresh: Vec::new(),
                fences: FencesDelta { next_leaf, ..FencesDelta::default() },
                rebased: false,
            },
        };
        for (leaf, (mut run, changes)) in leaves {
            let full = run.deltas.len() >= LEAF_DELTAS_MAX || run.changes + changes.len() > LEAF_DELTAS_MAX;
            // A leaf that cannot be rewritten now (its key is withheld, its base is damaged) still takes deltas.
            let done = full || new_bucket || names.empties(self, leaf, &changes).await;
            if done && names.rewrite(self, leaf, &run, &changes, new_bucket).await.is_ok() {
                continue;
            }
            names.write_delta(self, leaf, &mut run, changes);
            names.out.runs.insert(leaf, run);
        }
        names.write_fences(self, new_bucket);
        Ok(names.out)
    }
}

/// The rows of one bucket's names in one commit.
struct Rewriter {
    bucket: Arc<OpenBucket>,
    /// Leaves that this commit changes already: no merging into those.
    busy: BTreeSet<u64>,
    out: Publication,
}

impl Rewriter {
    fn write_delta(&self, group: &mut Group<'_>, leaf: u64, run: &mut Run, changes: Changes) {
        let count = changes.len();
        let changes = changes.into_iter().map(|(name, entry)| match entry {
            Some(entry) => LeafChange::Put(entry),
            None => LeafChange::Removed(name),
        });
        let delta = LeafDelta { prev: run.deltas.last().copied().unwrap_or(0), changes: changes.collect() };
        let row_key = row_keys::leaf_row(self.bucket.bucket, leaf, self.out.commit);
        let sealed = self.bucket.seal(RowKind::Leaf, &row_key, &delta, &[]);
        group.overlay.insert(row_key, Some(Value::new(sealed)));
        run.deltas.push(self.out.commit);
        run.changes += count;
        run.upto = self.out.commit;
    }

    /// Writes a leaf's base anew with all changes in it: in pieces when it is too large, into its neighbour when it is
    /// nearly empty. Everything that may fail comes before the first write.
    async fn rewrite(
        &mut self,
        group: &mut Group<'_>,
        leaf: u64,
        run: &Run,
        changes: &Changes,
        new_bucket: bool,
    ) -> Result<(), IndexError> {
        let content = if new_bucket { Arc::new(Leaf::empty()) } else { self.content(group, leaf).await? };
        let entries = content.merged(changes);
        if entries.len() <= LEAF_ENTRIES_MIN
            && let Some((left, left_content, left_run)) = self.left_of(group, &content).await?
            && left_content.entries_from(b"").count() + entries.len() <= LEAF_ENTRIES_MAX * 3 / 4
        {
            let mut all = left_content.merged(&Changes::new());
            all.extend(entries);
            self.remove_leaf(group, leaf, run);
            self.write_base(group, left, &left_run, left_content.first(), content.end(), all);
            return Ok(());
        }
        let lens = piece_lens(entries.len(), LEAF_ENTRIES_MAX, content.appends(changes));
        let mut rest = entries;
        let mut pieces = Vec::new();
        for len in lens {
            let behind = rest.split_off(len);
            pieces.push(std::mem::replace(&mut rest, behind));
        }
        let mut end: Option<Box<str>> = content.end().map(Into::into);
        for (at, piece) in pieces.into_iter().enumerate().rev() {
            if at == 0 {
                self.write_base(group, leaf, run, content.first(), end.as_deref(), piece);
                break;
            }
            let first = piece[0].name.clone();
            let id = self.out.fences.next_leaf;
            self.out.fences.next_leaf += 1;
            self.out.fences.added.push(Fence { first: first.clone(), leaf: id });
            self.write_base(group, id, &Run::default(), &first, end.as_deref(), piece);
            end = Some(first);
        }
        Ok(())
    }

    /// Whether these changes leave nothing in a leaf that has a neighbour to its left: then it goes at once, whatever
    /// the number of its deltas, so that an emptied bucket is not walked leaf by leaf.
    async fn empties(&self, group: &Group<'_>, leaf: u64, changes: &Changes) -> bool {
        if !changes.values().all(Option::is_none) {
            return false;
        }
        let content = self.content(group, leaf).await;
        content.is_ok_and(|content| {
            !content.first().is_empty() && content.entries_from(b"").all(|entry| changes.contains_key(&entry.name))
        })
    }

    async fn content(&self, group: &Group<'_>, leaf: u64) -> Result<Arc<Leaf>, IndexError> {
        let shared = group.shared;
        let content = shared.books.leaf(&*shared.engine, &self.bucket, &self.out.book, leaf).await?;
        Ok(content.ok_or(Damage::Missing)?)
    }

    /// The leaf left of `content`, unless there is none or this commit changes it.
    async fn left_of(
        &mut self,
        group: &Group<'_>,
        content: &Leaf,
    ) -> Result<Option<(u64, Arc<Leaf>, Run)>, IndexError> {
        let left = self.out.book.with(|names| {
            let (at, _) = names.fences.leaf_of(content.first().as_bytes());
            at.checked_sub(1).map(|left| names.fences.as_slice()[left].leaf)
        });
        let Some(left) = left.filter(|left| !self.busy.contains(left)) else { return Ok(None) };
        let run = group.run(&self.bucket, &self.out.book, left).await?;
        let left_content = self.content(group, left).await?;
        if left_content.end() != Some(content.first()) {
            return Err(Damage::Elsewhere.into());
        }
        self.busy.insert(left);
        Ok(Some((left, left_content, run)))
    }

    fn write_base(
        &mut self,
        group: &mut Group<'_>,
        leaf: u64,
        run: &Run,
        first: &str,
        end: Option<&str>,
        entries: Vec<LeafEntry>,
    ) {
        let commit = self.out.commit;
        let base = LeafBase { folded: commit, first: first.into(), end: end.map(Into::into), entries };
        let row_key = row_keys::leaf_row(self.bucket.bucket, leaf, 0);
        let sealed = self.bucket.seal(RowKind::Leaf, &row_key, &base, &[]);
        group.overlay.insert(row_key, Some(Value::new(sealed)));
        self.remove_deltas(group, leaf, run);
        self.out.runs.insert(leaf, Run { upto: commit, deltas: Vec::new(), changes: 0 });
        self.out.fresh.push((leaf, Arc::new(Leaf::new(base))));
    }

    fn remove_leaf(&mut self, group: &mut Group<'_>, leaf: u64, run: &Run) {
        group.overlay.insert(row_keys::leaf_row(self.bucket.bucket, leaf, 0), None);
        self.remove_deltas(group, leaf, run);
        self.out.fences.removed.push(leaf);
        self.out.gone.push(leaf);
    }

    fn remove_deltas(&self, group: &mut Group<'_>, leaf: u64, run: &Run) {
        for seq in &run.deltas {
            group.overlay.insert(row_keys::leaf_row(self.bucket.bucket, leaf, *seq), None);
        }
    }

    /// Writes the fences that changed: as a delta, or anew when there are many deltas, or none at all yet.
    fn write_fences(&mut self, group: &mut Group<'_>, new_bucket: bool) {
        if !new_bucket && self.out.fences.added.is_empty() && self.out.fences.removed.is_empty() {
            return;
        }
        let (commit, bucket) = (self.out.commit, self.bucket.bucket);
        let deltas = self.out.book.with(|names| names.fences.deltas.clone());
        self.out.rebased = new_bucket || deltas.len() >= LEAF_DELTAS_MAX;
        let (row_key, sealed);
        if self.out.rebased {
            let mut fences = self.out.book.with(|names| names.fences.clone());
            fences.change(&self.out.fences.removed, self.out.fences.added.clone());
            let fences = fences.as_slice().to_vec();
            row_key = row_keys::fences_row(bucket, 0);
            let base = FencesBase { folded: commit, next_leaf: self.out.fences.next_leaf, fences };
            sealed = self.bucket.seal(RowKind::Fences, &row_key, &base, &[]);
            for seq in deltas {
                group.overlay.insert(row_keys::fences_row(bucket, seq), None);
            }
        } else {
            self.out.fences.prev = deltas.last().copied().unwrap_or(0);
            row_key = row_keys::fences_row(bucket, commit);
            sealed = self.bucket.seal(RowKind::Fences, &row_key, &self.out.fences, &[]);
        }
        group.overlay.insert(row_key, Some(Value::new(sealed)));
    }
}

impl Publication {
    /// Lets others see the names. Only after the commit is durable, before it is acknowledged.
    pub(crate) fn publish(self, books: &super::books::Books) {
        for (leaf, content) in self.fresh {
            books.keep(&self.book, leaf, content);
        }
        self.book.publish(|names| {
            names.runs.extend(self.runs);
            for leaf in &self.gone {
                names.runs.remove(leaf);
            }
            let fences = &mut names.fences;
            let changed = self.rebased || !self.fences.added.is_empty() || !self.fences.removed.is_empty();
            if self.rebased {
                fences.folded = self.commit;
                fences.deltas.clear();
            } else if changed {
                fences.deltas.push(self.commit);
            }
            fences.next_leaf = self.fences.next_leaf;
            fences.change(&self.fences.removed, self.fences.added);
        });
    }
}
