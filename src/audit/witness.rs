//! A witness of the log on other media: the last checkpoint that was signed here, in a file that whoever puts the log's
//! directory back to an older state does not put back with it.
//!
//! It only ever goes forward, and only to a log that begins with all that it saw. The file is a signed note, so anybody who
//! has the log key can read it, and compare. Source: docs/evidence.md, "The witness".

use super::tree::{Checkpoint, NoteError};
use super::{AuditError, AuditLog};
use parking_lot::Mutex;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Why a log is not the one that its witness saw, or the witness cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What stands in it is not a checkpoint of this log key.
    #[error("the witness: {0}")]
    Note(NoteError),
    /// It is of another geo.
    #[error("the witness is of the log of {0}")]
    OtherGeo(String),
    /// The log is older than what it saw.
    #[error("the audit log has {now} entries, and its witness saw {then}: it is an older copy")]
    Older {
        /// Entries now.
        now: u64,
        /// Entries that were seen.
        then: u64,
    },
    /// The log is another one.
    #[error("fork: the first {0} entries of the audit log are not those that its witness saw")]
    Forked(u64),
    /// The log itself.
    #[error(transparent)]
    Log(#[from] AuditError),
}

/// The witness of one geo's log.
pub struct WitnessFile {
    path: PathBuf,
    geo: String,
    log_key: [u8; 32],
    last: Mutex<Option<Checkpoint>>,
}

impl WitnessFile {
    /// The witness at `path`, which need not be there yet.
    pub fn open(path: &Path, geo: &str, log_key: [u8; 32]) -> Result<Self, WitnessError> {
        let last = match fs::read_to_string(path) {
            Ok(note) => Some(Checkpoint::verified(&note, &log_key).map_err(WitnessError::Note)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(WitnessError::File { path: path.to_owned(), error }),
        };
        match &last {
            Some(last) if last.geo != geo => Err(WitnessError::OtherGeo(last.geo.clone())),
            _ => Ok(Self { path: path.to_owned(), geo: geo.to_owned(), log_key, last: Mutex::new(last) }),
        }
    }

    /// What it saw last.
    pub fn last(&self) -> Option<Checkpoint> {
        self.last.lock().clone()
    }

    /// Whether `log` begins with all that it saw. Blocks on the disk; after a start it reads the whole log.
    pub fn agrees(&self, log: &AuditLog) -> Result<(), WitnessError> {
        let Some(last) = self.last() else { return Ok(()) };
        let now = log.head().entries;
        match log.root(last.size)? {
            None => Err(WitnessError::Older { now, then: last.size }),
            Some(root) if root != last.root => Err(WitnessError::Forked(last.size)),
            Some(_) => Ok(()),
        }
    }

    /// Takes a signed checkpoint of `log` for its newest state, if it is; durable on return.
    pub fn take(&self, note: &str, log: &AuditLog) -> Result<(), WitnessError> {
        let new = Checkpoint::verified(note, &self.log_key).map_err(WitnessError::Note)?;
        if new.geo != self.geo {
            return Err(WitnessError::OtherGeo(new.geo));
        }
        self.agrees(log)?;
        let mut last = self.last.lock();
        if last.as_ref().is_some_and(|last| last.size >= new.size) {
            return Ok(());
        }
        write(&self.path, note).map_err(|error| WitnessError::File { path: self.path.clone(), error })?;
        *last = Some(new);
        Ok(())
    }

    /// Puts what it saw aside, because an operator says that the log was put back on purpose; it begins anew.
    pub fn set_aside(&self) -> Result<(), WitnessError> {
        let mut last = self.last.lock();
        if let Some(seen) = last.take() {
            let aside = self.path.with_added_extension(format!("{}.superseded", seen.size));
            fs::rename(&self.path, aside).map_err(|error| WitnessError::File { path: self.path.clone(), error })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for WitnessFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WitnessFile({}, {:?})", self.geo, self.last.lock().as_ref().map(|last| last.size))
    }
}

fn write(path: &Path, note: &str) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}
