//! CONDUCTOR of rotation: new key first, then everything that hangs under the old one is wrapped again, then a scan that
//! counts what still does. Online: readers and writers go on, both versions open.
//!
//! Called by the admin acts through `app`. Every job is a row of the directory (the master's: of the key store) with its
//! position and a token; every step is idempotent. So a crash anywhere is mended by running it again: a rotation that was
//! cut off is taken up, not begun anew, and a runner that was taken over changes nothing more. Only `reencrypt` reads or
//! writes payload. Must not know HTTP.

mod counts;
mod directory_key;
mod ending;
mod epoch;
mod exposure;
mod index_key;
mod index_root;
mod master;
mod reencrypt;
mod removed;
mod rooms;
mod roots;
pub mod schedule;
mod segments;
mod tenant;
#[cfg(test)]
mod tests;
mod uses;
mod wrapped;

pub use counts::{COUNT_ROWS_MAX, Counted, TenantCounts, count_directory, count_tenant};
pub use directory_key::rotate_directory_key;
pub use ending::{EndSet, Ends, cancel_end, end_due, kept_by, opaque, schedule_end, uses};
pub use epoch::{abort_epoch, close_epoch};
pub use exposure::{Exposed, exposure};
pub use index_key::{IndexKeyEvidence, rotate_index_key};
pub use master::{MasterEvidence, rotate_master};
pub use reencrypt::{Part, ReencryptEvidence, reencrypt};
pub use removed::{Removals, removals};
pub use rooms::{Rooms, Run, Watch};
pub use roots::{RootEvidence, rotate_index_root, rotate_subject_root};
pub use tenant::{TenantEvidence, rotate_tenant};
pub use uses::VersionUse;

use crate::audit::AuditError;
use crate::blob::BlobError;
use crate::directory::{DirectoryError, JobError};
use crate::index::IndexError;
use crate::model::time::Millis;
use crate::seal::{KeyError, OpenError};

/// Rows read at once; their rewrites share a commit.
const STEP_ROWS: usize = 256;
/// Walks over everything before a job gives up: what a walk missed the next one finds.
const PASSES_MAX: usize = 3;

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
    /// The job: another runner has it, or another job has to end first.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The tenant has no such bucket.
    #[error("there is no such bucket")]
    NoSuchBucket,
    /// The tenant has no such version of its data key.
    #[error("there is no such version")]
    NoSuchVersion,
    /// The log: nothing further was done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The tenant has a bucket in a region that is not served here.
    #[error("a bucket of the tenant lies in {0}, which is not served here")]
    RegionNotServed(&'static str),
    /// The closing scan still found records under an old version.
    #[error("{0} records still use an old version; run the rotation again")]
    Leftover(u64),
    /// A version may not be destroyed: so many of the records that were read need it, or a request still holds it.
    #[error("the version is in use: {} of {} records need it", .0.remaining, .0.scanned)]
    InUse(VersionUse),
    /// A version may not be destroyed on the day that was asked for: a backup needs it for longer.
    #[error("backup {backup} needs the version until {until}")]
    KeptByBackup {
        /// Which.
        backup: String,
        /// When it is older than backups may be.
        until: Millis,
    },
    /// The blob store failed.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// What was read is not what was stored, or what was written did not come back the same.
    #[error("stored bytes failed their integrity check")]
    Integrity,
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
}

impl From<OpenError> for RekeyError {
    fn from(error: OpenError) -> Self {
        KeyError::from(error).into()
    }
}
