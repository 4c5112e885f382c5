//! CONDUCTOR of time: what is due is destroyed, on schedule, and certified.
//!
//! Called by the daemon's schedule and by `geoseal sweep run`, through [`Sweeper`]. [`plan`] decides and changes nothing,
//! so a dry run is the plan; `run` carries it out; `purge` is the order of a tenant's destruction; `orphans` finds what
//! no row names; [`certificate`] is what is left of a tenant. Must not know S3 or HTTP.
//!
//! Promises: one sweep at a time; what is in the way of one act stops no other; an act that a crash cut off is taken up
//! by the next sweep; no message holds a name.

mod archive;
pub mod backups;
pub mod certificate;
pub mod closing;
mod deferred;
mod epoch;
mod find;
mod inventory;
mod key_ends;
mod lifecycle;
pub mod logged;
mod note;
pub mod of_subject;
mod orphans;
pub mod plan;
pub mod probe;
mod purge;
mod redelete;
mod run;
#[cfg(test)]
pub(crate) mod tests;
mod uploads;
pub mod whereabouts;

pub use deferred::Deferrals;
pub use key_ends::{Ended, KeyEnds};
pub use run::{Closes, GeoRooms, Report, Status, Sweeper};

use crate::audit::AuditError;
use crate::blob::BlobError;
use crate::directory::DirectoryError;
use crate::index::{EngineError, IndexError};
use crate::seal::KeyError;
use crate::tenancy::TenancyError;
use crate::tenant::Refusal;

/// Why something due was not done. The next sweep tries again.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The tenant's life does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// An engine could not be compacted.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The log: nothing further was done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// An act on a tenant.
    #[error(transparent)]
    Tenancy(TenancyError),
    /// A region that holds something of the tenant is not served here.
    #[error("{0} regions that hold something of the tenant are out of reach")]
    OutOfReach(usize),
    /// A list of parts, a due row or a note about a destruction is not what was written.
    #[error("a record that the sweep needs failed its integrity check")]
    Integrity,
    /// What was to be swept is not there any more.
    #[error("it is gone already")]
    Gone,
    /// A certificate could not be kept.
    #[error("the certificate could not be kept: {0}")]
    File(#[from] std::io::Error),
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
}

impl From<TenancyError> for SweepError {
    fn from(error: TenancyError) -> Self {
        match error {
            TenancyError::Refused(error) => Self::Refused(error),
            TenancyError::Keys(error) => Self::Keys(error),
            TenancyError::Directory(error) => Self::Directory(error),
            TenancyError::Index(error) => Self::Index(error),
            TenancyError::Blob(error) => Self::Blob(error),
            TenancyError::Audit(error) => Self::Audit(error),
            TenancyError::Worker => Self::Worker,
            TenancyError::NoSuchTenant => Self::Gone,
            TenancyError::NameTaken
            | TenancyError::Changed
            | TenancyError::NoSuchLogin
            | TenancyError::NoSuchBucket
            | TenancyError::FeatureDisabled
            | TenancyError::Feature(_) => Self::Tenancy(error),
        }
    }
}

/// Runs work that blocks (keys, files) beside the requests.
async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, SweepError>
where
    SweepError: From<E>,
{
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| SweepError::Worker)??)
}
