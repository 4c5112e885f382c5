//! One listing leaf in memory: a sorted run of entries, and what changed since it was written. Pure.
//!
//! Called by the listing and the writer. Promises to notice a delta that was taken away from the middle of its row, and
//! to merge base and changes in order. Must not know engines or keys.

use super::error::Damage;
use super::rows::v1::{LeafBase, LeafChange, LeafDelta, LeafEntry};
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

/// A leaf's content as of one commit.
#[derive(Clone)]
pub(crate) struct Leaf {
    base: Arc<LeafBase>,
    /// Name → its entry since the base; none: removed.
    changes: BTreeMap<Box<str>, Option<LeafEntry>>,
    /// The seq of the newest delta; 0 when there is none.
    newest_delta: u64,
    /// Bytes in memory, about.
    bytes: usize,
}

/// Changes of one commit to one leaf, the last word per name.
pub(crate) type Changes = BTreeMap<Box<str>, Option<LeafEntry>>;

impl Leaf {
    /// A leaf that holds just what its base says.
    pub(crate) fn new(base: LeafBase) -> Self {
        let bytes = base.entries.iter().map(entry_bytes).sum::<usize>() + 256;
        Self { base: Arc::new(base), changes: BTreeMap::new(), newest_delta: 0, bytes }
    }

    /// The one leaf of a bucket that never held a name.
    pub(crate) fn empty() -> Self {
        Self::new(LeafBase { folded: 0, first: "".into(), end: None, entries: Vec::new() })
    }

    /// Adds the delta with this seq. Fails unless it follows the newest one.
    pub(crate) fn apply(&mut self, seq: u64, delta: LeafDelta) -> Result<(), Damage> {
        if delta.prev != self.newest_delta || seq <= self.upto() {
            return Err(Damage::Gap);
        }
        self.newest_delta = seq;
        for change in delta.changes {
            let (name, entry) = match change {
                LeafChange::Put(entry) => (entry.name.clone(), Some(entry)),
                LeafChange::Removed(name) => (name, None),
            };
            self.bytes += 64 + 2 * name.len();
            self.changes.insert(name, entry);
        }
        Ok(())
    }

    /// The newest commit that is in it.
    pub(crate) fn upto(&self) -> u64 {
        self.newest_delta.max(self.base.folded)
    }

    /// The seq of the newest delta; 0 when there is none.
    pub(crate) fn newest_delta(&self) -> u64 {
        self.newest_delta
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The smallest name that belongs here.
    pub(crate) fn first(&self) -> &str {
        &self.base.first
    }

    /// The first name that belongs to the next leaf; none: this is the last.
    pub(crate) fn end(&self) -> Option<&str> {
        self.base.end.as_deref()
    }

    /// Whether a name (any bytes) lies between this leaf's bounds.
    pub(crate) fn covers(&self, name: &[u8]) -> bool {
        self.base.first.as_bytes() <= name && self.base.end.as_ref().is_none_or(|end| name < end.as_bytes())
    }

    /// Entries whose name is `from` or larger, in order.
    pub(crate) fn entries_from<'a>(&'a self, from: &[u8]) -> impl Iterator<Item = &'a LeafEntry> + use<'a> {
        let start = self.base.entries.partition_point(|entry| entry.name.as_bytes() < from);
        let before = self.changes.keys().take_while(|name| name.as_bytes() < from).count();
        let changes = self.changes.iter().skip(before);
        Merge { base: self.base.entries[start..].iter().peekable(), changes: changes.peekable() }
    }

    /// All entries after `changes` too.
    pub(crate) fn merged(&self, changes: &Changes) -> Vec<LeafEntry> {
        let before: Vec<_> = self.entries_from(b"").collect();
        let merge = Merge { base: before.into_iter().peekable(), changes: changes.iter().peekable() };
        merge.cloned().collect()
    }

    /// Whether at least half of what `changes` puts lies behind everything that is in the leaf: names that grow.
    pub(crate) fn appends(&self, changes: &Changes) -> bool {
        let last = self.entries_from(b"").last().map_or("", |entry| &entry.name);
        let puts = changes.iter().filter(|(_, entry)| entry.is_some());
        let (behind, all) = puts.fold((0, 0), |(b, a), (name, _)| (b + usize::from(&**name > last), a + 1));
        self.base.end.is_none() && 2 * behind >= all
    }
}

fn entry_bytes(entry: &LeafEntry) -> usize {
    size_of::<LeafEntry>() + entry.name.len() + 16
}

/// Two sorted runs as one; where both have a name, the change counts.
struct Merge<'a, B: Iterator<Item = &'a LeafEntry>, C: Iterator<Item = (&'a Box<str>, &'a Option<LeafEntry>)>> {
    base: Peekable<B>,
    changes: Peekable<C>,
}

impl<'a, B, C> Iterator for Merge<'a, B, C>
where
    B: Iterator<Item = &'a LeafEntry>,
    C: Iterator<Item = (&'a Box<str>, &'a Option<LeafEntry>)>,
{
    type Item = &'a LeafEntry;

    fn next(&mut self) -> Option<&'a LeafEntry> {
        loop {
            let Some((name, entry)) = self.changes.peek() else { return self.base.next() };
            if self.base.peek().is_some_and(|base| base.name < **name) {
                return self.base.next();
            }
            self.base.next_if(|base| base.name == **name);
            let entry = *entry;
            self.changes.next();
            if entry.is_some() {
                return entry.as_ref();
            }
        }
    }
}

/// How many entries each piece of a leaf with `len` entries gets: one piece while it is within its bound.
///
/// When names grow, full leaves stay behind and only the last one is small: they will not be touched again.
pub(crate) fn piece_lens(len: usize, entries_max: usize, appends: bool) -> Vec<usize> {
    if len <= entries_max {
        return vec![len];
    }
    if appends {
        let rest = len % entries_max;
        return std::iter::repeat_n(entries_max, len / entries_max).chain((rest > 0).then_some(rest)).collect();
    }
    let pieces = len.div_ceil(entries_max * 3 / 4);
    (0..pieces).map(|i| len * (i + 1) / pieces - len * i / pieces).collect()
}

#[cfg(test)]
mod tests {
    use super::super::rows::v1::{EntryTag, ObjectKind};
    use super::*;
    use crate::model::time::Millis;

    fn entry(name: &str, size: u64) -> LeafEntry {
        let etag = EntryTag::Md5([0; 16]);
        LeafEntry { name: name.into(), order: 0, size, mtime: Millis(0), etag, kind: ObjectKind::Object }
    }

    fn leaf(names: &[&str]) -> Leaf {
        let entries = names.iter().map(|name| entry(name, 1)).collect();
        Leaf::new(LeafBase { folded: 3, first: "".into(), end: None, entries })
    }

    fn names(leaf: &Leaf, from: &str) -> Vec<String> {
        leaf.entries_from(from.as_bytes()).map(|e| format!("{}{}", e.name, e.size)).collect()
    }

    #[test]
    fn changes_win_over_the_base() {
        let mut leaf = leaf(&["b", "d", "f"]);
        let put = |name| LeafChange::Put(entry(name, 2));
        leaf.apply(5, LeafDelta { prev: 0, changes: vec![put("a"), put("d"), LeafChange::Removed("f".into())] })
            .unwrap();
        leaf.apply(9, LeafDelta { prev: 5, changes: vec![put("e"), LeafChange::Removed("zz".into())] }).unwrap();
        assert_eq!(names(&leaf, ""), ["a2", "b1", "d2", "e2"]);
        assert_eq!(names(&leaf, "c"), ["d2", "e2"]);
        assert_eq!(names(&leaf, "d\0"), ["e2"]);
        assert_eq!((leaf.upto(), leaf.newest_delta()), (9, 9));
        let changes = Changes::from([("b".into(), None), ("f".into(), Some(entry("f", 3)))]);
        let merged: Vec<_> = leaf.merged(&changes).iter().map(|e| e.name.to_string()).collect();
        assert_eq!(merged, ["a", "d", "e", "f"]);
    }

    #[test]
    fn a_delta_that_does_not_follow_is_refused() {
        let delta = |prev| LeafDelta { prev, changes: vec![] };
        let mut leaf = leaf(&[]);
        assert_eq!(leaf.apply(3, delta(0)), Err(Damage::Gap), "folded into the base already");
        assert_eq!(leaf.apply(5, delta(4)), Err(Damage::Gap), "its predecessor is missing");
        leaf.apply(5, delta(0)).unwrap();
        assert_eq!(leaf.apply(6, delta(0)), Err(Damage::Gap));
        assert_eq!(leaf.apply(5, delta(5)), Err(Damage::Gap));
    }

    #[test]
    fn pieces_are_within_the_bound_and_even() {
        assert_eq!(piece_lens(1000, 1000, false), [1000]);
        assert_eq!(piece_lens(1001, 1000, false), [500, 501]);
        assert_eq!(piece_lens(1001, 1000, true), [1000, 1]);
        assert_eq!(piece_lens(2000, 1000, true), [1000, 1000]);
        assert_eq!(piece_lens(0, 1000, true), [0]);
        for len in 1001..5000 {
            let pieces = piece_lens(len, 1000, false);
            assert_eq!(pieces.iter().sum::<usize>(), len);
            assert!(pieces.iter().all(|piece| (333..=1000).contains(piece)), "{len}: {pieces:?}");
        }
    }
}
