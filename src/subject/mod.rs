//! CONDUCTOR of data subjects' requests: access, rectification, restriction, erasure; and of contacts' opting out.
//!
//! Called by the admin acts through `app`. Goes by the rows that say where a subject's objects are (`index::subjects`),
//! so it touches nothing of anybody else. Promises that an erasure that a crash cut off is taken up at the next start,
//! and that no log entry or message holds a name. Must not know HTTP or S3.

mod batches;
pub mod bundle;
pub mod contacts;
mod erase;
pub mod link;
mod places;
pub mod rectify;
pub mod requests;
mod zip;

pub use batches::{Rewritten, rewrite};
pub use erase::{Erased, Foreseen, InPart, begin, erase, erase_in_part, foresee, resume};
pub use places::Window;

use crate::audit::AuditError;
use crate::blob::BlobError;
use crate::directory::DirectoryError;
use crate::index::IndexError;
use crate::model::dsr::RequestState;
use crate::seal::KeyError;
use crate::store::types::StoreError;

/// Why a request was not carried out. Running it again takes it up.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The key service refused or failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The log: nothing further was done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The tenant has a bucket in a region that is not served here.
    #[error("a bucket of the tenant lies in {0}, which is not served here")]
    RegionNotServed(&'static str),
    /// A list of parts is not what was written.
    #[error("a record that the request needs failed its integrity check")]
    Integrity,
    /// There is no such request of the tenant.
    #[error("there is no such request")]
    NoSuchRequest,
    /// There is no such link, or the token is another.
    #[error("there is no such link")]
    NoSuchLink,
    /// The link was used, has ended, or leads to nothing any more.
    #[error("the link is over")]
    LinkOver,
    /// The request is in a state from which this step does not lead.
    #[error("the request is {}: it cannot take this step", .0.as_str())]
    WrongStep(RequestState),
    /// A batch still holds records of who is erased: it is to be written anew first.
    #[error("a batch still holds records of the data subject")]
    BatchLeft,
    /// The object is not there, or does not speak of who asks.
    #[error("there is no such object of who asks")]
    NoSuchObject,
    /// The store could not read or write an object.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever was reading has gone away.
    #[error("whoever was reading has gone away")]
    HungUp,
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
}
