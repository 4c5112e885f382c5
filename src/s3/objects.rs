//! What the face asks of the store, one method per act; the store answers by the lines at the end.
//!
//! A trait, so that the face is tested over HTTP against an in-memory stand-in. Every method takes proof of admission.
//! A write that returned `Ok` is durable.

use crate::gate::{Admitted, AdmittedTenant, act};
use crate::model::atlas::Region;
use crate::model::ids::{UploadId, VersionId};
use crate::model::names::{BucketName, ObjectName};
use crate::store::Store;
use crate::store::types::{
    BucketInfo, Complete, Copy, CopyPart, CreateUpload, Get, Got, List, ListUploads, ObjectInfo, Page, PartInfo,
    PartsPage, Put, PutPart, StoreError, UploadsPage, WriteCondition, Written,
};

/// The answer to HeadObject.
pub struct Headed {
    /// About the object.
    pub info: ObjectInfo,
    /// First and last byte that a GET would serve, inclusive, when a range or part was asked for.
    pub range: Option<(u64, u64)>,
}

/// Everything a face can ask of the store.
#[async_trait::async_trait]
pub trait Objects: Send + Sync + 'static {
    /// The tenant's buckets, by name.
    async fn list_buckets(&self, who: &AdmittedTenant<act::Read>) -> Result<Vec<BucketInfo>, StoreError>;
    /// Creates a bucket. Errors: `BucketExists`, `ResidencyViolation`, `RegionNotServed`.
    async fn create_bucket(
        &self,
        who: &AdmittedTenant<act::Write>,
        name: BucketName,
        region: &'static Region,
    ) -> Result<BucketInfo, StoreError>;
    /// Removes an empty bucket.
    async fn delete_bucket(&self, at: &Admitted<act::Delete>) -> Result<(), StoreError>;

    /// PutObject.
    async fn put(&self, at: &Admitted<act::Write>, put: Put) -> Result<Written, StoreError>;
    /// GetObject.
    async fn get(&self, at: &Admitted<act::Read>, get: Get) -> Result<Got, StoreError>;
    /// HeadObject: the same answer without the bytes.
    async fn head(&self, at: &Admitted<act::Read>, get: Get) -> Result<Headed, StoreError>;
    /// DeleteObject. Errors: `NoSuchObject` when there was none, which S3 calls success.
    async fn delete(
        &self,
        at: &Admitted<act::Delete>,
        name: ObjectName,
        version: Option<VersionId>,
        condition: WriteCondition,
    ) -> Result<(), StoreError>;
    /// CopyObject.
    async fn copy(
        &self,
        from: &Admitted<act::Read>,
        to: &Admitted<act::Write>,
        copy: Copy,
    ) -> Result<Written, StoreError>;
    /// Replaces the tags of an object, nothing else.
    async fn set_tags(
        &self,
        at: &Admitted<act::Write>,
        name: ObjectName,
        tags: Vec<(String, String)>,
    ) -> Result<(), StoreError>;
    /// ListObjects, both versions.
    async fn list(&self, at: &Admitted<act::Read>, list: List) -> Result<Page, StoreError>;

    /// CreateMultipartUpload.
    async fn create_upload(&self, at: &Admitted<act::Write>, create: CreateUpload) -> Result<UploadId, StoreError>;
    /// UploadPart.
    async fn put_part(&self, at: &Admitted<act::Write>, part: PutPart) -> Result<PartInfo, StoreError>;
    /// UploadPartCopy.
    async fn copy_part(
        &self,
        from: &Admitted<act::Read>,
        to: &Admitted<act::Write>,
        part: CopyPart,
    ) -> Result<PartInfo, StoreError>;
    /// ListParts: parts with a number over `after`, at most `limit`.
    async fn list_parts(
        &self,
        at: &Admitted<act::Read>,
        name: ObjectName,
        upload: UploadId,
        after: u16,
        limit: usize,
    ) -> Result<PartsPage, StoreError>;
    /// CompleteMultipartUpload.
    async fn complete(&self, at: &Admitted<act::Write>, complete: Complete) -> Result<Written, StoreError>;
    /// AbortMultipartUpload.
    async fn abort(&self, at: &Admitted<act::Delete>, name: ObjectName, upload: UploadId) -> Result<(), StoreError>;
    /// ListMultipartUploads.
    async fn list_uploads(&self, at: &Admitted<act::Read>, list: ListUploads) -> Result<UploadsPage, StoreError>;

    /// Seals a continuation under the bucket's key: opaque text without a byte of `plain` in it, good for a day.
    async fn seal_token(&self, at: &Admitted<act::Read>, plain: &[u8]) -> Result<String, StoreError>;
    /// Opens it. Errors: `BadToken` when it was altered, has expired, or is another bucket's.
    async fn open_token(&self, at: &Admitted<act::Read>, token: &str) -> Result<Vec<u8>, StoreError>;
}

#[async_trait::async_trait]
impl Objects for Store {
    async fn list_buckets(&self, who: &AdmittedTenant<act::Read>) -> Result<Vec<BucketInfo>, StoreError> {
        self.list_buckets(who).await
    }

    async fn create_bucket(
        &self,
        who: &AdmittedTenant<act::Write>,
        name: BucketName,
        region: &'static Region,
    ) -> Result<BucketInfo, StoreError> {
        self.create_bucket(who, name, Some(region)).await
    }

    async fn delete_bucket(&self, at: &Admitted<act::Delete>) -> Result<(), StoreError> {
        self.delete_bucket(at).await
    }

    async fn put(&self, at: &Admitted<act::Write>, put: Put) -> Result<Written, StoreError> {
        self.put(at, put).await
    }

    async fn get(&self, at: &Admitted<act::Read>, get: Get) -> Result<Got, StoreError> {
        self.get(at, get).await
    }

    async fn head(&self, at: &Admitted<act::Read>, get: Get) -> Result<Headed, StoreError> {
        self.head(at, get).await.map(|(info, range)| Headed { info, range })
    }

    async fn delete(
        &self,
        at: &Admitted<act::Delete>,
        name: ObjectName,
        version: Option<VersionId>,
        condition: WriteCondition,
    ) -> Result<(), StoreError> {
        self.delete(at, &name, version, condition).await
    }

    async fn copy(
        &self,
        from: &Admitted<act::Read>,
        to: &Admitted<act::Write>,
        copy: Copy,
    ) -> Result<Written, StoreError> {
        self.copy(from, to, copy).await
    }

    async fn set_tags(
        &self,
        at: &Admitted<act::Write>,
        name: ObjectName,
        tags: Vec<(String, String)>,
    ) -> Result<(), StoreError> {
        self.set_tags(at, &name, tags).await
    }

    async fn list(&self, at: &Admitted<act::Read>, list: List) -> Result<Page, StoreError> {
        self.list(at, list).await
    }

    async fn create_upload(&self, at: &Admitted<act::Write>, create: CreateUpload) -> Result<UploadId, StoreError> {
        self.create_upload(at, create).await
    }

    async fn put_part(&self, at: &Admitted<act::Write>, part: PutPart) -> Result<PartInfo, StoreError> {
        self.put_part(at, part).await
    }

    async fn copy_part(
        &self,
        from: &Admitted<act::Read>,
        to: &Admitted<act::Write>,
        part: CopyPart,
    ) -> Result<PartInfo, StoreError> {
        self.copy_part(from, to, part).await
    }

    async fn list_parts(
        &self,
        at: &Admitted<act::Read>,
        name: ObjectName,
        upload: UploadId,
        after: u16,
        limit: usize,
    ) -> Result<PartsPage, StoreError> {
        self.parts(at, &name, upload, after, limit).await
    }

    async fn complete(&self, at: &Admitted<act::Write>, complete: Complete) -> Result<Written, StoreError> {
        self.complete(at, complete).await
    }

    async fn abort(&self, at: &Admitted<act::Delete>, name: ObjectName, upload: UploadId) -> Result<(), StoreError> {
        self.abort(at, &name, upload).await
    }

    async fn list_uploads(&self, at: &Admitted<act::Read>, list: ListUploads) -> Result<UploadsPage, StoreError> {
        self.uploads(at, list).await
    }

    async fn seal_token(&self, at: &Admitted<act::Read>, plain: &[u8]) -> Result<String, StoreError> {
        self.seal_token(at, plain).await
    }

    async fn open_token(&self, at: &Admitted<act::Read>, token: &str) -> Result<Vec<u8>, StoreError> {
        self.open_token(at, token).await
    }
}
