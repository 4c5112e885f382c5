//! CONDUCTOR of rotation: new key first, then everything that hangs under the old one is wrapped again, then a scan that
//! counts what still does. Online: readers and writers go on, both versions open.
//!
//! Called by the admin acts through `app`. Every step is idempotent and its position is what the stores hold, so a
//! crash anywhere is mended by running it again: a rotation that was cut off is taken up, not begun anew. No payload
//! byte is read or written. Must not know HTTP.

mod epoch;
mod master;
mod tenant;

pub use epoch::{abort_epoch, close_epoch};
pub use master::{MasterEvidence, rotate_master};
pub use tenant::{TenantEvidence, rotate_tenant};

use crate::audit::AuditError;
use crate::directory::DirectoryError;
use crate::index::IndexError;
use crate::seal::KeyError;

/// Told how far a rotation is: phase, records done, records in all (as far as known).
pub trait Watch: Send + Sync {
    /// Another phase begins.
    fn phase(&self, phase: &'static str, total: u64);
    /// Records done in this phase.
    fn done(&self, done: u64);
}

/// Why a rotation stopped. Running it again takes it up where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum RekeyError {
    /// The key service refused or failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The log: nothing further was done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The tenant has a bucket in a region that is not served here.
    #[error("a bucket of the tenant lies in {0}, which is not served here")]
    RegionNotServed(&'static str),
    /// The closing scan still found records under an old version.
    #[error("{0} records still use an old version; run the rotation again")]
    Leftover(u64),
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
}
