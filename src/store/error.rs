//! The other rooms' errors in the store's words. Reasons stop here: they go to the log with ids, never further.

use super::types::{Fault, StoreError};
use crate::blob::BlobError;
use crate::directory::DirectoryError;
use crate::index::{Damage, IndexError};
use crate::seal::{KeyError, OpenClass, OpenError, ProviderError, SealError};

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error.class() {
            OpenClass::Revoked | OpenClass::Withheld => Self::KeysSuspended,
            OpenClass::Expired => Self::KeysExpired,
            OpenClass::Erased => Self::NoSuchObject,
            class => Self::Integrity(Fault::new(class.as_str())),
        }
    }
}

impl From<KeyError> for StoreError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Open(error) => error.into(),
            KeyError::Suspended => Self::KeysSuspended,
            KeyError::Unknown | KeyError::Destroyed => Self::NoSuchBucket,
            KeyError::Provider(ProviderError::Wrong) => Self::Integrity(Fault::new("provider")),
            KeyError::Provider(_) | KeyError::Store(_) | KeyError::Unreachable | KeyError::Protocol => {
                tracing::error!(%error, "the key service cannot answer");
                Self::Unavailable
            }
            KeyError::TooOften => Self::SlowDown,
            KeyError::Exists | KeyError::Refused(_) | KeyError::Exhausted => {
                tracing::error!(%error, "the key service refused");
                Self::Internal
            }
        }
    }
}

impl From<BlobError> for StoreError {
    fn from(error: BlobError) -> Self {
        match error {
            // A row without its bytes: somebody took the blob away, or cut it short.
            BlobError::Missing(segment) | BlobError::Range(segment) => {
                tracing::error!(%segment, "a blob is missing or short");
                Self::Integrity(Fault::MISSING)
            }
            BlobError::Source(_) => Self::Unavailable,
            BlobError::Store(_) | BlobError::Disk { .. } | BlobError::Setup(_) => {
                tracing::error!(%error, "the blob store cannot answer");
                Self::Unavailable
            }
        }
    }
}

impl From<DirectoryError> for StoreError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Keys(error) => error.into(),
            DirectoryError::Integrity => Self::Integrity(Fault::DIRECTORY),
            DirectoryError::Changed | DirectoryError::NameTaken => Self::ConditionalConflict,
            DirectoryError::Engine(_) | DirectoryError::Worker => {
                tracing::error!(%error, "the directory cannot answer");
                Self::Unavailable
            }
        }
    }
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::NoSuchObject => Self::NoSuchObject,
            IndexError::PartChanged => Self::InvalidPart,
            IndexError::Condition => Self::PreconditionFailed,
            IndexError::Kept => Self::Held,
            IndexError::Closed => Self::NoSuchBucket,
            IndexError::NotEmpty => Self::BucketNotEmpty,
            IndexError::NoSuchUpload => Self::NoSuchUpload,
            IndexError::KeysWithheld => Self::KeysSuspended,
            IndexError::KeysExpired => Self::KeysExpired,
            IndexError::Damaged(damage) => Self::Integrity(Fault::new(match damage {
                Damage::Seal => "seal",
                Damage::Shape => "shape",
                Damage::Gap => "gap",
                Damage::Missing => "missing",
                Damage::Elsewhere => "elsewhere",
            })),
            IndexError::Rekeyed => Self::ConditionalConflict,
            IndexError::Refusing | IndexError::Unread | IndexError::Fenced | IndexError::Engine(_) => {
                tracing::error!(%error, "the index cannot answer");
                Self::Unavailable
            }
        }
    }
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Revoked => Self::KeysSuspended,
            SealError::Expired => Self::KeysExpired,
            SealError::Complete | SealError::ChunkLength | SealError::TooLong => {
                tracing::error!(%error, "a sealer was used against its contract");
                Self::Internal
            }
        }
    }
}
