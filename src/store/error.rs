//! Why a store act fails, and the other rooms' errors in the store's words. Reasons stop here: they go to the log with ids,
//! never further.

use super::types::BodyFault;
use crate::blob::BlobError;
use crate::directory::DirectoryError;
use crate::index::{Damage, IndexError};
use crate::model::time::Millis;
use crate::model::versioning::VersionAsked;
use crate::seal::{KeyError, OpenClass, OpenError, ProviderError, SealError};

/// Which check refused stored bytes: a short word for the audit log, never for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(&'static str);

impl Fault {
    /// The row, the segments or the blob do not fit together.
    pub const SHAPE: Self = Self("shape");
    /// A blob that a row names is missing or short.
    pub const MISSING: Self = Self("missing");
    /// Something above the buckets: a login, a bucket's own row.
    pub const DIRECTORY: Self = Self("directory");

    /// A word of the room that found the fault.
    pub fn new(class: &'static str) -> Self {
        Self(class)
    }

    /// The word.
    pub fn class(self) -> &'static str {
        self.0
    }
}

/// Why a store act failed. Variants say what the caller can do; reasons stay inside. No variant holds a name.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("no such object")]
    NoSuchObject,
    /// The current version of the name is the mark of a deletion.
    #[error("no such object")]
    MarkedDeleted {
        /// The mark.
        version: VersionAsked,
    },
    /// The version that was asked for is the mark of a deletion.
    #[error("this version is the mark of a deletion: it can be deleted, and nothing else")]
    IsMarker {
        /// The mark.
        version: VersionAsked,
        /// When it was made.
        modified: Millis,
    },
    /// No such version.
    #[error("no such version")]
    NoSuchVersion,
    /// No such upload, or it is another name's.
    #[error("no such upload")]
    NoSuchUpload,
    /// The bucket is gone.
    #[error("no such bucket")]
    NoSuchBucket,
    /// A bucket of this name exists and is the caller's own.
    #[error("the bucket exists already")]
    BucketExists,
    /// The bucket still has objects.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The tenant has as many buckets as it may.
    #[error("too many buckets")]
    TooManyBuckets,
    /// The region does not exist, or lies outside the tenant's geo.
    #[error("the region is not one of the tenant's geo")]
    ResidencyViolation,
    /// The region is in the tenant's geo, but this process does not serve it.
    #[error("the region is not served here")]
    RegionNotServed,
    /// A condition did not hold.
    #[error("a condition did not hold")]
    PreconditionFailed,
    /// `If-None-Match` or `If-Modified-Since` said that the client has it already.
    #[error("not modified")]
    NotModified {
        /// ETag without quotes.
        etag: String,
        /// When it was written.
        modified: Millis,
    },
    /// A concurrent conditional write won.
    #[error("a concurrent write won")]
    ConditionalConflict,
    /// The range lies outside the object.
    #[error("the range lies outside the object")]
    InvalidRange {
        /// The object's plaintext bytes.
        size: u64,
    },
    /// A part number outside the object, or outside 1 to 10,000.
    #[error("no such part number")]
    InvalidPartNumber,
    /// A part named in Complete is missing or has another ETag or checksum.
    #[error("a part is missing or differs")]
    InvalidPart,
    /// Parts are not in ascending order.
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A part but the last is under 5 MiB.
    #[error("a part but the last is too small")]
    PartTooSmall,
    /// Over 5 GiB in one PUT, or over 5 TiB in all.
    #[error("the object is too large")]
    TooLarge,
    /// The body hashes to something else than declared.
    #[error("the body differs from its declared digest")]
    BadDigest,
    /// A checksum in Complete or in a trailer is malformed, or its type is not the upload's.
    #[error("a checksum request is not valid")]
    InvalidChecksum,
    /// The body ended badly.
    #[error("the request body ended badly")]
    Body(#[from] BodyFault),
    /// `x-amz-meta-geoseal-subject` does not name a data subject.
    #[error(
        "x-amz-meta-geoseal-subject is 1 to 256 bytes without control characters and without white space at its ends"
    )]
    InvalidSubject,
    /// The data subject that the write names is being erased, or was.
    #[error("the data subject that this object names is being erased, or was and is not to be stored again")]
    SubjectErased,
    /// The object's data subject has opted out, and the reader is a job.
    #[error("the data subject of this object has opted out: no job computes anything of it")]
    OutOfJobs,
    /// An object that is marked as a batch of several data subjects' records is none.
    #[error(transparent)]
    InvalidBatch(#[from] crate::model::batch::BadBatch),
    /// What is stored of the object's data subject may not be used.
    #[error("the use of what is stored of this object's data subject is restricted")]
    SubjectRestricted,
    /// The data subject that the write names wants nothing more to be collected.
    #[error("the data subject that this object names has opted out: nothing more is collected of it")]
    OptedOut,
    /// There is no room for it within the tenant's quota.
    #[error("the tenant's quota has no room for this: delete what is not needed, or ask an administrator for more")]
    QuotaExceeded,
    /// A legal hold keeps the object that would be removed or replaced.
    #[error("a legal hold keeps this object: it can be neither removed nor replaced")]
    Held,
    /// `x-amz-meta-geoseal-class` is not a class of data.
    #[error(
        "x-amz-meta-geoseal-class is one of interaction, tracked-activity, contact, lead, opportunity, account, activity, metadata, kpi"
    )]
    UnknownClass,
    /// Excerpts are looked at, and never kept.
    #[error("objects of the class transient are never stored")]
    ClassNotStorable,
    /// A tracked message without its acting user.
    #[error("an object of the class tracked-activity names its acting user in x-amz-meta-geoseal-actor")]
    ActorRequired,
    /// The tenant collects of followed messages only, and this is of none.
    #[error(
        "only interactions of messages that were followed by then are taken: x-amz-meta-geoseal-message names the message, x-amz-meta-geoseal-occurred says when, RFC 3339"
    )]
    NotFollowed,
    /// The caller's grant does not cover the object's class.
    #[error("the grant does not cover objects of this class")]
    NotGranted,
    /// A job would read an interaction of a message that is not followed, or was not by then.
    #[error("nothing is computed of messages that are not followed")]
    UnfollowedInJobs,
    /// What should commit a watermark cannot.
    #[error(
        "a watermark is an object of the class kpi with x-amz-meta-geoseal-watermark-from and x-amz-meta-geoseal-watermark, from where until where hours were consumed, and x-amz-meta-geoseal-seen, when the job began to look: RFC 3339, whole hours the first two, none in the future"
    )]
    InvalidWatermark,
    /// Who should not commit a watermark would.
    #[error("a watermark is committed by a job: use a login of `geoseal grant create --purpose kpi`")]
    WatermarkNotGranted,
    /// A watermark would leave hours out.
    #[error("{0}")]
    WatermarkGap(crate::feature::Gap),
    /// The feature that owns the object's class is off.
    #[error("the feature that this object's class belongs to is not enabled for the tenant")]
    FeatureDisabled(crate::gate::Need),
    /// A copy onto itself that changes nothing.
    #[error("a copy onto itself must change something")]
    CopyOntoItself,
    /// An opaque token (continuation, upload id) is malformed, altered, expired or another bucket's.
    #[error("the token is not valid")]
    BadToken,
    /// The tenant's state changed while the request ran: nothing was written.
    #[error("the tenant's state does not allow this any more")]
    Asleep(crate::gate::Asleep),
    /// The tenant's keys are suspended.
    #[error("the tenant's keys are suspended")]
    KeysSuspended,
    /// The lease on the tenant's keys ran out while the request ran, and nobody could renew it.
    #[error("the keys of the tenant are out of reach")]
    KeysExpired,
    /// The tenant's keys were asked for more often than the key service allows.
    #[error("the tenant's keys were asked for too often")]
    SlowDown,
    /// The key service, the engine or the blob store cannot answer now.
    #[error("temporarily unavailable")]
    Unavailable,
    /// Sealed bytes did not verify. One word outside; the class goes to the audit log.
    #[error("stored data failed its integrity check")]
    Integrity(Fault),
    /// Ours to mend.
    #[error("internal error")]
    Internal,
}

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
