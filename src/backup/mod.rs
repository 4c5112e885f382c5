//! CONDUCTOR of backups: makes one while the server serves, and puts one back while it does not.
//!
//! Called by the admin acts (through `app`) and, to put one back, by the command line (through `app`). A backup is a
//! directory for each geo: its key store (wrapped, as it lies on disk), heads, shred log, audit log and certificates,
//! the rows of its directory and of each region's index (sealed, as they are), and the blobs of regions that keep them
//! on this machine. Never the keyring: without the master keys, wherever they are, a backup opens nowhere.
//!
//! Promises:
//! - what was acknowledged before the backup began is in it, and opens with its key store: see `create` for the order;
//! - every file has its SHA-256 in a manifest, which the geo's log key signs; a restore checks all of it first;
//! - a restore writes into an empty directory and nowhere else.
//!
//! Must not know S3 or HTTP.

mod create;
mod files;
mod manifest;
mod restore;
mod rows;

pub use create::{GeoSource, Made, Source, create};
pub use manifest::{LOG_KEY_BYTES, Manifest};
pub use restore::{Restored, restore};

use crate::audit::AuditError;
use crate::blob::BlobError;
use crate::index::{EngineError, IndexError};
use crate::seal::KeyError;
use std::path::PathBuf;

/// Why a backup was not made or not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Where it should go.
    #[error("{}: {why}", path.display())]
    Place {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The disk.
    #[error("{}: {error}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something of the backup is not what its manifest says.
    #[error("{}: {why}", path.display())]
    Unfit {
        /// What.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Keys were destroyed each time that a moment was taken.
    #[error("keys were destroyed while the backup was made, time and again; try later")]
    Unquiet,
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// An engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Blobs.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
}
