//! The log as an RFC 6962 Merkle tree, so that its state at any time is one hash: whoever kept an older one can see that
//! nothing before it was changed, and a single entry can be shown to be in the log without the others.
//!
//! A leaf is an entry's line without its line feed. Hashes are computed from the log's files when they are first asked for
//! after a start, and kept in memory: 64 bytes an entry. Nothing of it is stored, so nothing of it can differ from the log.
//! The arithmetic is the crate `tlog_tiles`'; formats are those of <https://c2sp.org>: tlog-checkpoint, signed-note,
//! tlog-tiles and tlog-proof. Source: docs/operations.md, "The audit log".

mod growth;
mod note;
mod proof;
#[cfg(test)]
mod tests;
mod tiles;

pub use growth::{Growth, GrowthError, check_growth};
pub use note::{Checkpoint, NoteError, assemble, origin, verifier_key};
pub use proof::{EntryProof, ProofError};
pub(super) use tiles::bundle;
pub use tiles::{LogDirError, LogVerdict, Tile, lines_of_dir, verify_dir, write_dir};

use super::Hash;
use tlog_tiles::{HashReader, stored_hash_index, stored_hashes};

/// The Merkle tree over a log's first entries.
#[derive(Default)]
pub(super) struct Tree {
    /// In the order of `tlog_tiles::stored_hash_index`.
    hashes: Vec<tlog_tiles::Hash>,
    size: u64,
}

impl Tree {
    /// How many entries it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// One more entry.
    pub(super) fn push(&mut self, line: &[u8]) {
        let more = stored_hashes(self.size, line, self).expect("every earlier hash is here");
        self.hashes.extend(more);
        self.size += 1;
    }

    /// The root over the first `size` entries, which have to be in it.
    pub(super) fn root(&self, size: u64) -> Option<Hash> {
        (size <= self.size).then(|| Hash(tlog_tiles::tree_hash(size, self).expect("every hash is here").0))
    }

    /// Shows that entry `index` is in the tree of the first `size` entries: the hashes beside its way to the root.
    pub(super) fn prove(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.size {
            return None;
        }
        let proof = tlog_tiles::prove_record(size, index, self).expect("every hash is here");
        Some(proof.iter().map(|hash| Hash(hash.0)).collect())
    }

    /// Shows that the tree of the first `newer` entries begins with that of the first `older`.
    pub(super) fn prove_growth(&self, older: u64, newer: u64) -> Option<Growth> {
        if older > newer || newer > self.size {
            return None;
        }
        let proof = match older {
            0 => Vec::new(),
            _ => tlog_tiles::prove_tree(newer, older, self).expect("every hash is here"),
        };
        Some(Growth::new(older, &proof.iter().map(|hash| Hash(hash.0)).collect::<Vec<_>>()))
    }

    /// Hash `index` of those at `level` of the tree: of a whole subtree of 2^level entries.
    fn hash(&self, level: u8, index: u64) -> Option<Hash> {
        let at = usize::try_from(stored_hash_index(level, index)).ok()?;
        self.hashes.get(at).map(|hash| Hash(hash.0))
    }
}

impl HashReader for Tree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let read = |at: &u64| usize::try_from(*at).ok().and_then(|at| self.hashes.get(at)).copied();
        indexes.iter().map(read).collect::<Option<_>>().ok_or(tlog_tiles::Error::IndexesNotInTree)
    }
}
