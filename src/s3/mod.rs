//! FACE: the S3 protocol over the store. Names the operation, checks the caller at the gate, calls the store, and puts
//! its answer into S3's words.
//!
//! Called by `edge`, built by `app` with [`entry::service`]. A request passes `guard` (id, strict pre-check of the
//! head, inspection of the body), `s3s` (signature, routing, parsing), `entry` (login, region), one operation, and
//! `guard` again. Promises correct S3 codes, that an answer repeats nothing a client should not see, and that what is
//! not built says 501. Must not know how anything is stored or sealed.

mod allowed;
mod body;
mod bucket;
mod convert;
mod copy;
mod delete;
pub mod entrance;
pub mod entry;
mod error;
pub mod guard;
pub mod hosts;
mod ingest;
mod lifecycle;
mod list;
mod multipart;
mod object;
mod placed;
pub mod precheck;
mod problem;
mod query;
pub mod refusal;
pub mod trace;
mod unbuilt;
mod unread;
mod versions;

use crate::gate::act::Act;
use crate::gate::{self, Admitted, AdmittedTenant, Gate};
use crate::model::ids::TenantId;
use crate::model::names::{AccessId, BucketName};
use crate::store::Store;
use guard::Scope;
use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use trace::Trace;

/// The operations. One file per family; this one only says which is where. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Face {
    gate: Gate,
    store: Store,
}

impl Face {
    pub(crate) fn new(gate: Gate, store: Store) -> Self {
        Self { gate, store }
    }

    /// Admits the caller to an act on its tenant.
    async fn admit_tenant<A: Act, I>(&self, request: &S3Request<I>) -> S3Result<AdmittedTenant<A>> {
        let admitted = self.gate.admit_tenant(&caller(request)?).await;
        admitted.map_err(|refusal| error::gate(&refusal, A::NEED))
    }

    /// Admits the caller to an act in one bucket, which has to lie in the region that the request was signed for.
    async fn admit<A: Act, I>(&self, request: &S3Request<I>, bucket: &str) -> S3Result<Admitted<A>> {
        let admitted = self.admit_anywhere(request, bucket).await?;
        let region = admitted.bucket().region;
        if scope(request)?.0 != region {
            refuse(request, refusal::Refusal::wrong_region(region));
            return Err(s3_error!(AuthorizationHeaderMalformed));
        }
        owner(admitted.login().tenant, request, "x-amz-expected-bucket-owner")?;
        Ok(admitted)
    }

    /// The same for a question that S3 answers whatever region was signed for.
    async fn admit_anywhere<A: Act, I>(&self, request: &S3Request<I>, bucket: &str) -> S3Result<Admitted<A>> {
        let name = BucketName::parse(bucket).map_err(|_| s3_error!(InvalidBucketName))?;
        let admitted = self.gate.admit(&caller(request)?, &name).await;
        if let Err(gate::Refusal::Elsewhere(region)) = &admitted {
            refuse(request, refusal::Refusal::elsewhere(region));
        }
        admitted.map_err(|refusal| error::gate(&refusal, A::NEED))
    }
}

fn caller<I>(request: &S3Request<I>) -> S3Result<AccessId> {
    let credentials = request.credentials.as_ref().and_then(|c| AccessId::parse(&c.access_key).ok());
    credentials.ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))
}

fn scope<I>(request: &S3Request<I>) -> S3Result<Scope> {
    request.extensions.get().copied().ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))
}

fn refuse<I>(request: &S3Request<I>, refusal: refusal::Refusal) {
    if let Some(trace) = request.extensions.get::<Trace>() {
        trace.refuse(refusal);
    }
}

/// Whether the owner that the client expects is the caller's own tenant; no other can own its buckets.
fn owner<I>(tenant: TenantId, request: &S3Request<I>, header: &'static str) -> S3Result<()> {
    match request.headers.get(header) {
        Some(expected) if expected.as_bytes() != tenant.to_string().as_bytes() => {
            Err(s3_error!(AccessDenied, "Access Denied"))
        }
        _ => Ok(()),
    }
}

/// Writes the trait of `s3s`: operation, input, output, and the function that does it.
macro_rules! operations {
    ($($operation:ident($input:ident) -> $output:ident = $family:ident::$function:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Face {
            $(async fn $operation(&self, request: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                $family::$function(self, request).await
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = bucket::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = bucket::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = bucket::head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = bucket::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = bucket::location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = versions::get;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = versions::put;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = versions::list;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput)
        -> PutBucketLifecycleConfigurationOutput = lifecycle::put;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
        -> GetBucketLifecycleConfigurationOutput = lifecycle::get;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = lifecycle::delete;
    put_object(PutObjectInput) -> PutObjectOutput = object::put;
    get_object(GetObjectInput) -> GetObjectOutput = object::get;
    head_object(HeadObjectInput) -> HeadObjectOutput = object::head;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = object::tagging;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = object::set_tagging;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = object::delete_tagging;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete::one;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete::many;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::object;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copy::part;
    list_objects(ListObjectsInput) -> ListObjectsOutput = list::v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::v2;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::put_part;
    list_parts(ListPartsInput) -> ListPartsOutput = multipart::list_parts;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::list;
}

#[cfg(test)]
mod tests;
