//! What the protocol face hands to the store and gets back. Plain words, no S3 crate types.

use crate::model::atlas::Region;
use crate::model::ids::{UploadId, VersionId};
use crate::model::lifecycle::Expiry;
use crate::model::names::{BucketName, ObjectName};
pub use crate::model::object::{Checksum, ChecksumAlgorithm, ChecksumType, ContentHeaders};
use crate::model::time::Millis;
pub use crate::model::versioning::{VersionAsked, Versioning};
use bytes::Bytes;
use futures::stream::BoxStream;
use std::fmt;

/// A request's body, aws-chunked framing already taken off, signature already being checked by its producer.
pub type Upload = BoxStream<'static, Result<Bytes, BodyFault>>;
/// A reply's body. An error in it must abort the transport, never end it cleanly.
pub type Download = BoxStream<'static, Result<Bytes, StoreError>>;

/// How a request's body ended badly.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// Shorter or longer than declared, or cut off.
    #[error("the body is incomplete")]
    Incomplete,
    /// Differs from the signed hash, or a chunk's signature is wrong.
    #[error("the body does not match its signature")]
    Signature,
    /// Not a caller's body: the object that is being copied could not be read to its end.
    #[error("the source could not be read to its end")]
    Source,
    /// Slower than the minimum rate.
    #[error("the body came too slowly")]
    TooSlow,
}

/// Reads the checksum trailers once the body has ended. Errors: a declared trailer is missing or malformed.
pub type Trailers = Box<dyn FnOnce() -> Result<Vec<(ChecksumAlgorithm, Vec<u8>)>, BadTrailer> + Send>;

/// A declared checksum trailer was missing or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a declared checksum trailer is missing or malformed")]
pub struct BadTrailer;

/// What the body must hash to, and which checksum to keep.
#[derive(Default)]
pub struct Expected {
    /// `Content-MD5`, decoded.
    pub md5: Option<[u8; 16]>,
    /// `x-amz-checksum-*` headers, decoded, big-endian.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
    /// Algorithms announced by trailer or by `x-amz-sdk-checksum-algorithm`: computed and kept.
    pub compute: Vec<ChecksumAlgorithm>,
    /// Trailer values, readable after the body.
    pub trailers: Option<Trailers>,
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expected(..)")
    }
}

/// The bytes of one PUT or part.
pub struct Incoming {
    /// The stream of plaintext.
    pub body: Upload,
    /// Decoded length in bytes; S3 demands one.
    pub length: u64,
    /// What it must hash to.
    pub expected: Expected,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({} bytes)", self.length)
    }
}

/// Everything stored beside the bytes. `Debug` prints none of it.
#[derive(Clone, Default)]
pub struct About {
    /// Content headers.
    pub headers: ContentHeaders,
    /// User metadata: lower-case names without `x-amz-meta-`, in order.
    pub metadata: Vec<(String, String)>,
    /// Tags, at most 10.
    pub tags: Vec<(String, String)>,
}

impl fmt::Debug for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("About(..)")
    }
}

/// A conditional write. ETags without quotes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum WriteCondition {
    /// Unconditional.
    #[default]
    None,
    /// `If-None-Match: *`.
    IfAbsent,
    /// `If-Match: etag`.
    IfEtag(String),
    /// `If-Match: *`.
    IfPresent,
}

/// A conditional read, as `conditions::evaluate` takes it. Lists are ETags without quotes; `*` stands alone.
#[derive(Clone, Default)]
pub struct ReadConditions {
    /// `If-Match`.
    pub if_match: Option<Vec<String>>,
    /// `If-None-Match`.
    pub if_none_match: Option<Vec<String>>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<Millis>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<Millis>,
}

/// One byte range as asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeAsked {
    /// `bytes=first-last`, inclusive; `last` open when `None`.
    FromTo(u64, Option<u64>),
    /// `bytes=-n`: the last n bytes.
    Suffix(u64),
}

/// PutObject.
#[derive(Debug)]
pub struct Put {
    /// Under which name.
    pub name: ObjectName,
    /// The bytes.
    pub incoming: Incoming,
    /// What is stored beside them.
    pub about: About,
    /// Condition, evaluated in the commit.
    pub condition: WriteCondition,
}

/// GetObject and HeadObject.
pub struct Get {
    /// Which object.
    pub name: ObjectName,
    /// Which version; `None` is the current one.
    pub version: Option<VersionAsked>,
    /// Which bytes.
    pub range: Option<RangeAsked>,
    /// Which part, 1 to 10,000; excludes `range`.
    pub part: Option<u16>,
    /// Conditions.
    pub conditions: ReadConditions,
}

/// What a client may know of an object.
#[derive(Clone)]
pub struct ObjectInfo {
    /// Plaintext bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Millis,
    /// Without quotes: MD5 in hex, or `md5-N` for N parts.
    pub etag: String,
    /// Stored checksums.
    pub checksums: Vec<Checksum>,
    /// What is stored beside the bytes.
    pub about: About,
    /// This version.
    pub version: VersionId,
    /// How a client is told of it; nothing, while the bucket never kept versions.
    pub shown: Option<VersionAsked>,
    /// Parts it was completed from; `None` for a single PUT.
    pub parts: Option<u16>,
    /// Which version of the tenant's data key wraps its data key, for the SSE headers and `x-geoseal-key-version`.
    pub key_version: u32,
    /// When it goes, by which of its bucket's lifecycle rules.
    pub expires: Option<Expiry>,
}

impl fmt::Debug for ObjectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectInfo({} bytes)", self.size)
    }
}

/// The answer to GetObject. The first chunk was verified before this value exists.
pub struct Got {
    /// About the object.
    pub info: ObjectInfo,
    /// First and last byte served, inclusive, when a range or part was asked for.
    pub range: Option<(u64, u64)>,
    /// Bytes that `body` yields.
    pub length: u64,
    /// The plaintext.
    pub body: Download,
}

/// The answer to a write.
#[derive(Clone, Debug)]
pub struct Written {
    /// ETag without quotes.
    pub etag: String,
    /// Kept checksums.
    pub checksums: Vec<Checksum>,
    /// The version that was written.
    pub version: VersionId,
    /// How a client is told of it; nothing, while the bucket never kept versions.
    pub shown: Option<VersionAsked>,
    /// Of a copy, how a client is told of the version that was copied.
    pub source: Option<VersionAsked>,
    /// When.
    pub modified: Millis,
    /// Plaintext bytes.
    pub size: u64,
    /// Version of the tenant's data key that wraps it.
    pub key_version: u32,
    /// When it goes, by which of its bucket's lifecycle rules.
    pub expires: Option<Expiry>,
}

/// What a delete did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// It is gone for good, or was not there.
    Erased {
        /// The version that was asked for.
        version: Option<VersionAsked>,
        /// Whether that was the mark of a deletion.
        was_marker: bool,
    },
    /// It stays, as an older version; the mark of a deletion stands before it.
    Marked {
        /// The mark.
        version: VersionAsked,
    },
}

/// What a copy does with what is stored beside the bytes.
#[derive(Debug)]
pub enum CopyAbout {
    /// Taken over from the source.
    Keep,
    /// Replaced.
    Replace(Box<About>),
}

/// CopyObject. The source was admitted on its own.
pub struct Copy {
    /// Source name.
    pub source: ObjectName,
    /// Source version.
    pub source_version: Option<VersionAsked>,
    /// Conditions on the source.
    pub source_conditions: ReadConditions,
    /// Destination name.
    pub name: ObjectName,
    /// Headers and metadata.
    pub about: CopyAbout,
    /// Tags; `None` keeps the source's.
    pub tags: Option<Vec<(String, String)>>,
    /// Checksum algorithm to compute; `None` keeps the source's.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Condition on the destination.
    pub condition: WriteCondition,
}

/// ListObjects, both versions.
pub struct List {
    /// Names begin with this; may be empty.
    pub prefix: String,
    /// Groups names behind the prefix up to and including the first occurrence.
    pub delimiter: Option<String>,
    /// Names (and common prefixes) strictly after this one.
    pub after: Option<String>,
    /// At most this many entries and common prefixes together, 0 to 1000.
    pub limit: usize,
}

/// One listed object.
#[derive(Clone)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Plaintext bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Millis,
    /// Without quotes.
    pub etag: String,
}

/// One page of a listing.
#[derive(Clone, Default)]
pub struct Page {
    /// Objects in byte order of their names.
    pub entries: Vec<Listed>,
    /// Common prefixes in byte order.
    pub common_prefixes: Vec<String>,
    /// Whether more follow.
    pub truncated: bool,
    /// Where the next page begins: pass as `after`. Set when truncated.
    pub last: Option<String>,
}

/// ListObjectVersions.
#[derive(Default)]
pub struct ListVersions {
    /// Names begin with this; may be empty.
    pub prefix: String,
    /// Groups names behind the prefix up to and including the first occurrence.
    pub delimiter: Option<String>,
    /// Names (and common prefixes) strictly after this one; with a version, also the older ones of that name.
    pub after: Option<(String, Option<VersionAsked>)>,
    /// At most this many versions and common prefixes together, 0 to 1000.
    pub limit: usize,
}

/// One listed version, or mark of a deletion.
#[derive(Clone)]
pub struct ListedVersion {
    /// Its name.
    pub name: String,
    /// Which.
    pub version: VersionAsked,
    /// Whether it is the current one.
    pub is_latest: bool,
    /// Whether it is the mark of a deletion.
    pub is_marker: bool,
    /// Plaintext bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Millis,
    /// Without quotes.
    pub etag: String,
}

/// One page of versions.
#[derive(Clone, Default)]
pub struct PageOfVersions {
    /// In byte order of their names, the newest of a name first.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes in byte order.
    pub common_prefixes: Vec<String>,
    /// Whether more follow.
    pub truncated: bool,
    /// The last version or common prefix of the page: pass it as `after` to go on. `None` on an empty page.
    pub last: Option<(String, Option<VersionAsked>)>,
}

/// CreateMultipartUpload.
#[derive(Debug)]
pub struct CreateUpload {
    /// Under which name.
    pub name: ObjectName,
    /// What is stored beside the bytes.
    pub about: About,
    /// Checksum algorithm and type announced.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

/// UploadPart.
#[derive(Debug)]
pub struct PutPart {
    /// The upload's name, which must match.
    pub name: ObjectName,
    /// Which upload.
    pub upload: UploadId,
    /// 1 to 10,000.
    pub number: u16,
    /// The bytes.
    pub incoming: Incoming,
}

/// UploadPartCopy.
pub struct CopyPart {
    /// Source name.
    pub source: ObjectName,
    /// Source version.
    pub source_version: Option<VersionAsked>,
    /// First and last byte of the source, inclusive.
    pub range: Option<(u64, u64)>,
    /// Conditions on the source.
    pub source_conditions: ReadConditions,
    /// The upload's name, which must match.
    pub name: ObjectName,
    /// Which upload.
    pub upload: UploadId,
    /// 1 to 10,000.
    pub number: u16,
}

/// One uploaded part.
#[derive(Clone, Debug)]
pub struct PartInfo {
    /// 1 to 10,000.
    pub number: u16,
    /// Plaintext bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// When.
    pub modified: Millis,
    /// Kept checksums.
    pub checksums: Vec<Checksum>,
}

/// One page of ListParts.
#[derive(Clone, Debug, Default)]
pub struct PartsPage {
    /// Ascending.
    pub parts: Vec<PartInfo>,
    /// Whether more follow the last one.
    pub truncated: bool,
    /// Checksum algorithm and type announced at creation.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

/// One part named in CompleteMultipartUpload.
#[derive(Clone)]
pub struct CompletedPart {
    /// 1 to 10,000, ascending.
    pub number: u16,
    /// Without quotes.
    pub etag: String,
    /// Checksums the client repeats; must match.
    pub checksums: Vec<(ChecksumAlgorithm, String)>,
}

/// CompleteMultipartUpload.
pub struct Complete {
    /// The upload's name, which must match.
    pub name: ObjectName,
    /// Which upload.
    pub upload: UploadId,
    /// The parts, in order.
    pub parts: Vec<CompletedPart>,
    /// Checksum of the whole object that the client claims (`x-amz-checksum-*` on Complete), base64.
    pub checksums: Vec<(ChecksumAlgorithm, String)>,
    /// `x-amz-mp-object-size`.
    pub size: Option<u64>,
    /// Condition, evaluated in the commit.
    pub condition: WriteCondition,
}

/// ListMultipartUploads.
pub struct ListUploads {
    /// Names begin with this.
    pub prefix: String,
    /// Groups names.
    pub delimiter: Option<String>,
    /// Uploads after this (name, upload).
    pub after: Option<(String, Option<UploadId>)>,
    /// 0 to 1000.
    pub limit: usize,
}

/// One open upload.
#[derive(Clone)]
pub struct UploadInfo {
    /// Under which name.
    pub name: String,
    /// Which upload.
    pub upload: UploadId,
    /// When it was created.
    pub created: Millis,
    /// Checksum algorithm and type announced.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

/// One page of uploads.
#[derive(Clone, Default)]
pub struct UploadsPage {
    /// By name, then by upload id.
    pub uploads: Vec<UploadInfo>,
    /// Common prefixes in byte order.
    pub common_prefixes: Vec<String>,
    /// Whether more follow.
    pub truncated: bool,
}

/// One of the tenant's buckets.
#[derive(Clone, Debug)]
pub struct BucketInfo {
    /// Its name.
    pub name: BucketName,
    /// When it was created.
    pub created: Millis,
    /// Where it lies.
    pub region: &'static Region,
}

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
