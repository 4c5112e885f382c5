//! What shows that a log of some size begins with all of an older one: RFC 6962, section 2.1.2, "Merkle consistency
//! proofs". Whoever kept an older checkpoint needs the two roots and these hashes, and nothing else of the log.

use super::super::Hash;
use super::note::{Checkpoint, NoteError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A tree of 2^64 entries needs no more.
const HASHES_MAX: usize = 65;

/// The hashes between two states of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Entries of the older state.
    pub from: u64,
    /// Hashes, base64, in the order of RFC 6962.
    pub hashes: Vec<String>,
}

/// Why a log is not shown to go on from an older checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrowthError {
    /// The older checkpoint is not one of this log key.
    #[error("the older checkpoint: {0}")]
    Older(NoteError),
    /// The older checkpoint is of another log.
    #[error("the older checkpoint is of another log")]
    OtherLog,
    /// The log has become shorter.
    #[error("the log has {now} entries; it had {then} when the older checkpoint was signed")]
    Shorter {
        /// Entries now.
        now: u64,
        /// Entries then.
        then: u64,
    },
    /// The hashes between the two are not at hand.
    #[error(
        "nothing shows what came after the {0} entries of the older checkpoint: fetch it again with --since-checkpoint"
    )]
    NotShown(u64),
    /// The log is another one than it was.
    #[error("fork: the first {0} entries are not those that the older checkpoint was signed for")]
    Forked(u64),
}

impl Growth {
    pub(super) fn new(from: u64, hashes: &[Hash]) -> Self {
        Self { from, hashes: hashes.iter().map(|hash| STANDARD.encode(hash.0)).collect() }
    }

    fn decoded(&self) -> Option<Vec<tlog_tiles::Hash>> {
        let hash = |text: &String| Some(tlog_tiles::Hash(STANDARD.decode(text).ok()?.try_into().ok()?));
        if self.hashes.len() > HASHES_MAX { None } else { self.hashes.iter().map(hash).collect() }
    }
}

/// Whether the log of `newer` begins with all of the log of `older`, which is a signed note that somebody kept. Answers
/// how many entries that one had.
pub fn check_growth(
    older: &str,
    newer: &Checkpoint,
    log_key: &[u8; 32],
    growth: Option<&Growth>,
) -> Result<u64, GrowthError> {
    let older = Checkpoint::verified(older, log_key).map_err(GrowthError::Older)?;
    if older.geo != newer.geo {
        return Err(GrowthError::OtherLog);
    }
    if older.size > newer.size {
        return Err(GrowthError::Shorter { now: newer.size, then: older.size });
    }
    let forked = GrowthError::Forked(older.size);
    if older.size == newer.size {
        return if older.root == newer.root { Ok(older.size) } else { Err(forked) };
    }
    if older.size == 0 {
        return Ok(0);
    }
    let growth = growth.filter(|growth| growth.from == older.size).ok_or(GrowthError::NotShown(older.size))?;
    let hashes = growth.decoded().ok_or(forked)?;
    let (new, old) = (tlog_tiles::Hash(newer.root.0), tlog_tiles::Hash(older.root.0));
    tlog_tiles::check_tree(&hashes, newer.size, new, older.size, old).map_err(|_| forked)?;
    Ok(older.size)
}
