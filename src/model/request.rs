//! What the faces and telemetry tell each other about one request. Ids and closed lists only: no name fits in.

use super::ids::TenantId;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// The header that tells a terminated tenant's callers when it will be destroyed, RFC 3339.
pub const PURGE_DUE: http::HeaderName = http::HeaderName::from_static("x-geoseal-purge-due");

/// One request of this process. Telemetry puts it into the request's extensions; the log line and the answer carry it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The next one: never twice in a process, and starting at random, so that two processes hardly ever meet.
    pub fn next() -> Self {
        static COUNTER: LazyLock<AtomicU64> = LazyLock::new(|| {
            let mut start = [0; 8];
            SystemRandom::new().fill(&mut start).expect("the operating system gives random bytes");
            AtomicU64::new(u64::from_be_bytes(start))
        });
        // An odd factor is a permutation of u64: still never twice, and neighbours look different.
        Self(COUNTER.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// 16 upper-case hexadecimal digits, as S3 clients know them.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// The bytes of a request's body that were read so far. Telemetry puts it into the *request's* extensions, the face adds
/// to it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<AtomicU64>);

impl Received {
    /// So many more were read.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a face found out about a request. It puts this into the *response's* extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestNote {
    /// What was asked.
    pub operation: Operation,
    /// Whose it was, once known.
    pub tenant: Option<TenantId>,
}

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// What a request asks: a closed list, fit for a metric's label.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[allow(missing_docs, reason = "each is the operation of that name in the S3 API reference")]
        pub enum Operation {
            $($name,)*
            /// `POST /ingest/v1/events`.
            Ingest,
            /// One of the admin API.
            Admin,
            /// `/healthz`, `/readyz`, `/metrics`.
            Health,
            /// Not recognised, not built, or refused before it was known.
            #[default]
            Other,
        }

        impl Operation {
            /// The operation that the S3 API calls so.
            pub fn named(name: &str) -> Self {
                match name {
                    $(stringify!($name) => Self::$name,)*
                    _ => Self::Other,
                }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self::Ingest => "Ingest",
                    Self::Admin => "Admin",
                    Self::Health => "Health",
                    Self::Other => "Other",
                }
            }
        }
    };
}

operations!(
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketLocation,
    GetBucketVersioning,
    PutBucketLifecycleConfiguration,
    GetBucketLifecycleConfiguration,
    DeleteBucketLifecycle,
    PutObject,
    PostObject,
    GetObject,
    HeadObject,
    DeleteObject,
    DeleteObjects,
    CopyObject,
    GetObjectTagging,
    PutObjectTagging,
    DeleteObjectTagging,
    ListObjects,
    ListObjectsV2,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_never_twice_and_sixteen_digits() {
        let ids: std::collections::HashSet<_> = std::iter::repeat_with(RequestId::next).take(10_000).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.to_string().len() == 16));
    }

    #[test]
    fn operations_are_found_by_name() {
        assert_eq!(Operation::named("PutObject"), Operation::PutObject);
        assert_eq!(Operation::named("PutObject").name(), "PutObject");
        assert_eq!(Operation::named("PutBucketVersioning"), Operation::Other);
        assert_eq!(Operation::named("Admin"), Operation::Other);
    }
}
