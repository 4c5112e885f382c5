//! One entry, and what shows that it is in the log: to be given to somebody who gets nothing else of it.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <the entry's line, base64>
//! index 7
//! <hash, base64>
//! ...
//!
//! <a signed checkpoint>
//! ```
//!
//! Source: c2sp.org/tlog-proof.

use super::super::Hash;
use super::super::entry::{self, Entry};
use super::note::{Checkpoint, NoteError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const FIRST: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 entries has no more.
const HASHES_MAX: usize = 64;

/// An entry with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    /// Its place.
    pub index: u64,
    /// Its line, without the line feed.
    pub line: String,
    /// The hashes beside its way to the root, from the leaf up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint that it leads to.
    pub checkpoint: String,
}

/// Why a proof shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It does not have the form.
    #[error("it is no proof of an entry")]
    Malformed,
    /// Its checkpoint is not the log's.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// The entry is not in the log of that checkpoint.
    #[error("the entry is not in the log of its checkpoint, or not in this place")]
    NotInLog,
}

impl EntryProof {
    /// As a file.
    pub fn to_text(&self) -> String {
        let extra = STANDARD.encode(&self.line);
        let mut text = format!("{FIRST}\nextra {extra}\nindex {}\n", self.index);
        for hash in &self.hashes {
            text += &STANDARD.encode(hash.0);
            text.push('\n');
        }
        text + "\n" + &self.checkpoint
    }

    /// Reads what [`EntryProof::to_text`] wrote. Nothing is verified yet.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Malformed)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(ProofError::Malformed);
        }
        let decoded = |text: &str| STANDARD.decode(text).map_err(|_| ProofError::Malformed);
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).ok_or(ProofError::Malformed);
        let line = String::from_utf8(decoded(field("extra ")?)?).map_err(|_| ProofError::Malformed)?;
        let index = field("index ")?;
        let index = index.parse().ok().filter(|n: &u64| n.to_string() == index).ok_or(ProofError::Malformed)?;
        let hashes = lines.take(HASHES_MAX + 1).map(|line| {
            let hash = decoded(line)?.try_into().map_err(|_| ProofError::Malformed)?;
            Ok(Hash(hash))
        });
        let hashes = hashes.collect::<Result<Vec<_>, ProofError>>()?;
        if hashes.len() > HASHES_MAX {
            return Err(ProofError::Malformed);
        }
        Ok(Self { index, line, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies it by the log key, and gives the entry and the checkpoint that it is under.
    pub fn verify(&self, log_key: &[u8; 32]) -> Result<(Entry, Checkpoint), ProofError> {
        let checkpoint = Checkpoint::verified(&self.checkpoint, log_key)?;
        let hashes = self.hashes.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect();
        let (root, leaf) = (tlog_tiles::Hash(checkpoint.root.0), tlog_tiles::record_hash(self.line.as_bytes()));
        tlog_tiles::check_record(&hashes, checkpoint.size, root, self.index, leaf).map_err(|_| ProofError::NotInLog)?;
        let entry = entry::read(self.line.as_bytes()).filter(|entry| entry.index == self.index);
        Ok((entry.ok_or(ProofError::NotInLog)?, checkpoint))
    }
}
