//! What is said about an object besides its name and bytes. All of it may be personal data: no `Debug` prints values.

use super::ids::BucketId;
use super::{atlas, ids, names};
use std::fmt;

/// The checksum algorithms of S3, without MD5 (which is the ETag's).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    #[n(0)]
    Crc32,
    /// CRC-32C (Castagnoli).
    #[n(1)]
    Crc32c,
    /// CRC-64/NVME.
    #[n(2)]
    Crc64Nvme,
    /// SHA-1.
    #[n(3)]
    Sha1,
    /// SHA-256.
    #[n(4)]
    Sha256,
}

/// Whether a multipart checksum is over the whole object or over the parts' checksums.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum ChecksumType {
    /// Over all bytes in order.
    #[n(0)]
    FullObject,
    /// Over the concatenated checksums of the parts; the value ends in `-N`.
    #[n(1)]
    Composite,
}

/// One checksum as S3 shows it.
#[derive(Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Checksum {
    /// Which algorithm.
    #[n(0)]
    pub algorithm: ChecksumAlgorithm,
    /// Over what.
    #[n(1)]
    pub kind: ChecksumType,
    /// Base64 of the big-endian value; a composite one has `-N` behind it.
    #[n(2)]
    pub value: String,
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({:?}, {:?})", self.algorithm, self.kind)
    }
}

/// The HTTP headers that are stored with an object and given back with it.
#[derive(Clone, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct ContentHeaders {
    /// `Content-Type`.
    #[n(0)]
    pub content_type: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    #[n(1)]
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    #[n(2)]
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    #[n(3)]
    pub content_language: Option<String>,
    /// `Cache-Control`.
    #[n(4)]
    pub cache_control: Option<String>,
    /// `Expires`, as the client wrote it.
    #[n(5)]
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    #[n(6)]
    pub website_redirect: Option<String>,
}

impl fmt::Debug for ContentHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentHeaders(..)")
    }
}

/// A bucket as the gate knows it: whose, which, where. Holds no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketRef {
    /// Whose bucket.
    pub tenant: ids::TenantId,
    /// The tenant's geo, which the region lies in.
    pub geo: &'static atlas::Geo,
    /// Where its bytes lie.
    pub region: &'static atlas::Region,
    /// Which bucket.
    pub bucket: BucketId,
    /// Its name, unique within the tenant.
    pub name: names::BucketName,
    /// When it was created.
    pub created: super::time::Millis,
}
