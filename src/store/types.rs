//! What the protocol face hands to the store and gets back. Plain words, no S3 crate types.

pub use super::error::{Fault, StoreError};
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
