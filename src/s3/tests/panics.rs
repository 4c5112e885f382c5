//! M-06: a bug below any handler. The engine panics with a secret in its message; the caller gets the one answer for an
//! inner error, and the house goes on. What a panic may write to the log is shown in `telemetry`.

use super::world::{World, refused, split};
use crate::index::{Batch, Direction, Engine, EngineError, KeyRange, MemoryEngine};
use bytes::Bytes;
use geoseal_support::signer::Request;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const CANARY: &str = "canary-in-a-panic-7731";

/// A memory engine that panics on each read while it is told to.
pub(super) struct PanickyEngine {
    inner: MemoryEngine,
    faults: Arc<Faults>,
}

/// Whether engines panic, and how often they did.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) armed: AtomicBool,
    pub(super) count: AtomicU32,
}

impl PanickyEngine {
    pub(super) fn new(faults: Arc<Faults>) -> Self {
        Self { inner: MemoryEngine::default(), faults }
    }

    fn read(&self) {
        if self.faults.armed.load(Ordering::SeqCst) {
            self.faults.count.fetch_add(1, Ordering::SeqCst);
            panic!("{CANARY}");
        }
    }
}

#[async_trait::async_trait]
impl Engine for PanickyEngine {
    async fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.read();
        self.inner.get(row_key).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.read();
        self.inner.scan(range, limit, direction).await
    }

    async fn scan_keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Bytes>, EngineError> {
        self.read();
        self.inner.scan_keys(range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        self.inner.commit(batch).await
    }

    fn snapshot(&self) -> Result<Box<dyn crate::index::Snapshot>, EngineError> {
        self.read();
        self.inner.snapshot()
    }

    async fn compact(&self) -> Result<(), EngineError> {
        self.inner.compact().await
    }
}

/// Every operation that is built, but for those that this world answers from memory without a read: `HeadBucket`,
/// `GetBucketLocation`, `GetBucketVersioning`, both listings of a bucket whose leaf is cached, and the opening of an upload.
/// `UPLOAD` stands for an upload's id.
fn requests() -> Vec<(&'static str, Request)> {
    let copy = |path: &str| split("PUT", path).header("x-amz-copy-source", "/records/a");
    let delete = b"<Delete><Object><Key>a</Key></Object></Delete>";
    let done =
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>";
    let tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    vec![
        ("ListBuckets", split("GET", "/")),
        ("CreateBucket", split("PUT", "/second")),
        ("DeleteBucket", split("DELETE", "/records")),
        ("HeadObject", split("HEAD", "/records/a")),
        ("GetObject", split("GET", "/records/a")),
        ("GetObjectTagging", split("GET", "/records/a?tagging")),
        ("PutObjectTagging", split("PUT", "/records/a?tagging").body(tags)),
        ("DeleteObjectTagging", split("DELETE", "/records/a?tagging")),
        ("CopyObject", copy("/records/b")),
        ("PutObject", split("PUT", "/records/c").body(b"c")),
        ("DeleteObject", split("DELETE", "/records/a")),
        ("DeleteObjects", split("POST", "/records?delete").body(delete)),
        ("ListMultipartUploads", split("GET", "/records?uploads")),
        ("UploadPart", split("PUT", "/records/big?partNumber=1&uploadId=UPLOAD").body(b"part")),
        ("UploadPartCopy", copy("/records/big?partNumber=1&uploadId=UPLOAD")),
        ("ListParts", split("GET", "/records/big?uploadId=UPLOAD")),
        ("CompleteMultipartUpload", split("POST", "/records/big?uploadId=UPLOAD").body(done)),
        ("AbortMultipartUpload", split("DELETE", "/records/big?uploadId=UPLOAD")),
    ]
}

#[tokio::test]
async fn m06_a_panic_below_any_handler_is_an_error_that_says_nothing() {
    for (what, mut request) in requests() {
        let world = World::new().await;
        assert_eq!(world.put("/records/a", b"body").await.status, 200);
        let upload = world.call(split("POST", "/records/big?uploads")).await.element("UploadId");
        for (name, value) in &mut request.query {
            if name == "uploadId" {
                value.clone_from(&upload);
            }
        }
        let before = world.faults.count.load(Ordering::SeqCst);
        world.faults.armed.store(true, Ordering::SeqCst);
        let answer = world.call(request).await;
        world.faults.armed.store(false, Ordering::SeqCst);
        assert_eq!(world.faults.count.load(Ordering::SeqCst), before + 1, "{what} read nothing");
        // Those that read in the region's writer, which a panic ends: the region is read-only until a restart.
        let by_writer = ["DeleteBucket", "PutObject", "DeleteObject", "DeleteObjects"].contains(&what);
        match what {
            "DeleteObjects" => assert_eq!(answer.element("Code"), "ServiceUnavailable"),
            "HeadObject" => assert_eq!(answer.status, 500),
            _ if by_writer => assert_eq!(answer.code(), refused(503, "ServiceUnavailable"), "{what}"),
            _ => assert_eq!(answer.code(), refused(500, "InternalError"), "{what}"),
        }
        assert!(!answer.text().contains(CANARY), "{what}: {}", answer.text());
        assert_eq!(world.get("/records/a").await.status, 200, "{what}");
        let put = world.put("/records/d", b"d").await.status;
        assert_eq!(put, if by_writer { 503 } else { 200 }, "{what}");
    }
}
