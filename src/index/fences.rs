//! The fences of one bucket in memory: which leaf holds which names. Pure.
//!
//! Called by the bucket's book. About 60 bytes a leaf, so 10 million names cost 600 KB while their bucket is open.

use super::error::Damage;
use super::rows::v1::{Fence, FencesBase, FencesDelta};

/// Sorted first names of a bucket's leaves. Never empty: the first fence is the empty name.
#[derive(Clone)]
pub(crate) struct Fences {
    sorted: Vec<Fence>,
    /// The next leaf gets this number.
    pub(crate) next_leaf: u64,
    /// The commit that wrote the base; 0: nothing is written yet.
    pub(crate) folded: u64,
    /// The seqs of the deltas since.
    pub(crate) deltas: Vec<u64>,
}

impl Fences {
    /// Those of a bucket that never held a name.
    pub(crate) fn unwritten() -> Self {
        Self { sorted: vec![Fence { first: "".into(), leaf: 1 }], next_leaf: 2, folded: 0, deltas: Vec::new() }
    }

    /// Those that a base row holds.
    pub(crate) fn new(base: FencesBase) -> Result<Self, Damage> {
        let sorted = base.fences.windows(2).all(|pair| pair[0].first < pair[1].first);
        if !sorted || base.fences.first().is_none_or(|fence| !fence.first.is_empty()) {
            return Err(Damage::Shape);
        }
        Ok(Self { sorted: base.fences, next_leaf: base.next_leaf, folded: base.folded, deltas: Vec::new() })
    }

    /// Applies a delta row that was read. Fails unless it follows the one before.
    pub(crate) fn apply(&mut self, seq: u64, delta: FencesDelta) -> Result<(), Damage> {
        if delta.prev != self.newest_delta() || seq <= self.folded.max(delta.prev) {
            return Err(Damage::Gap);
        }
        self.change(&delta.removed, delta.added);
        self.next_leaf = delta.next_leaf;
        self.deltas.push(seq);
        Ok(())
    }

    /// Takes fences out and puts others in.
    pub(crate) fn change(&mut self, removed: &[u64], added: Vec<Fence>) {
        self.sorted.retain(|fence| !removed.contains(&fence.leaf));
        for fence in added {
            let at = self.sorted.partition_point(|other| other.first < fence.first);
            self.sorted.insert(at, fence);
        }
    }

    /// The seq of the newest delta; 0 when there is none.
    pub(crate) fn newest_delta(&self) -> u64 {
        self.deltas.last().copied().unwrap_or(0)
    }

    /// The leaf that holds this name (any bytes), and its place in the order.
    pub(crate) fn leaf_of(&self, name: &[u8]) -> (usize, u64) {
        let at = self.sorted.partition_point(|fence| fence.first.as_bytes() <= name) - 1;
        (at, self.sorted[at].leaf)
    }

    /// All of them, in order.
    pub(crate) fn as_slice(&self) -> &[Fence] {
        &self.sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(first: &str, leaf: u64) -> Fence {
        Fence { first: first.into(), leaf }
    }

    #[test]
    fn a_name_finds_its_leaf() {
        let mut fences = Fences::unwritten();
        fences.change(&[], vec![fence("m", 2), fence("t", 3)]);
        for (name, leaf) in [("", 1), ("a", 1), ("lz", 1), ("m", 2), ("m\0", 2), ("t", 3), ("\u{10ffff}", 3)] {
            assert_eq!(fences.leaf_of(name.as_bytes()).1, leaf, "{name}");
        }
        fences.change(&[2], vec![]);
        assert_eq!(fences.leaf_of(b"m"), (0, 1));
    }

    #[test]
    fn a_delta_that_does_not_follow_and_a_base_out_of_order_are_refused() {
        let base = |fences| FencesBase { folded: 4, next_leaf: 9, fences };
        assert!(Fences::new(base(vec![])).is_err());
        assert!(Fences::new(base(vec![fence("a", 1)])).is_err());
        assert!(Fences::new(base(vec![fence("", 1), fence("b", 2), fence("a", 3)])).is_err());
        let mut fences = Fences::new(base(vec![fence("", 1)])).unwrap();
        let delta = |prev| FencesDelta { prev, next_leaf: 10, ..FencesDelta::default() };
        assert_eq!(fences.apply(4, delta(0)), Err(Damage::Gap));
        assert_eq!(fences.apply(6, delta(5)), Err(Damage::Gap));
        fences.apply(6, delta(0)).unwrap();
        assert_eq!(fences.apply(8, delta(0)), Err(Damage::Gap));
        fences.apply(8, delta(6)).unwrap();
    }
}
