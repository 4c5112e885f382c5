//! The operations on buckets. Everything about a bucket that is not here (policies, encryption settings and the
//! rest; lifecycle rules and versioning have files of their own) is not built and answers 501.

use super::Face;
use super::convert::timestamp;
use super::{error, scope};
use crate::gate::act::{Delete, Read, Write};
use crate::model::atlas::Region;
use crate::model::names::BucketName;
use crate::store::types::StoreError;
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// The caller's own buckets, by name. Pages are cut by name, so the continuation token is the last name.
pub(super) async fn list(face: &Face, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let who = face.admit_tenant::<Read, _>(&request).await?;
    let owner = Owner { id: Some(who.login().tenant.to_string()), display_name: None };
    let ListBucketsInput { bucket_region, continuation_token, max_buckets, prefix } = request.input;
    let most = match max_buckets {
        None => usize::MAX,
        Some(most) => usize::try_from(most)
            .ok()
            .filter(|most| (1..=10_000).contains(most))
            .ok_or_else(|| s3_error!(InvalidArgument, "max-buckets must be between 1 and 10000"))?,
    };
    let mut buckets = face.store.list_buckets(&who).await.map_err(|e| error::store(&e))?;
    buckets.sort_by(|a, b| a.name.cmp(&b.name));
    buckets.retain(|bucket| {
        prefix.as_ref().is_none_or(|prefix| bucket.name.as_str().starts_with(prefix.as_str()))
            && bucket_region.as_ref().is_none_or(|region| bucket.region.id == region.as_str())
            && continuation_token.as_ref().is_none_or(|after| bucket.name.as_str() > after.as_str())
    });
    let more = buckets.len() > most;
    buckets.truncate(most);
    let next = buckets.last().filter(|_| more).map(|bucket| bucket.name.as_str().to_owned());
    let shown = buckets.into_iter().map(|bucket| Bucket {
        name: Some(bucket.name.as_str().to_owned()),
        bucket_region: Some(bucket.region.id.to_owned()),
        creation_date: Some(timestamp(bucket.created)),
        ..Bucket::default()
    });
    let buckets = Some(shown.collect());
    Ok(S3Response::new(ListBucketsOutput { buckets, continuation_token: next, owner: Some(owner), prefix }))
}

/// Creates a bucket in the region of `LocationConstraint`, or else in the one that the request was signed for.
pub(super) async fn create(
    face: &Face,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let who = face.admit_tenant::<Write, _>(&request).await?;
    let name = BucketName::parse(&request.input.bucket).map_err(|_| s3_error!(InvalidBucketName))?;
    let configuration = request.input.create_bucket_configuration.as_ref();
    let region = match configuration.and_then(|configuration| configuration.location_constraint.as_ref()) {
        Some(constraint) => {
            Region::find(constraint.as_str())
                .ok_or_else(|| s3_error!(InvalidLocationConstraint, "The specified location constraint is not valid"))?
                .1
        }
        None => scope(&request)?.0,
    };
    if !who.login().geo.regions.contains(region) {
        return Err(error::store(&StoreError::ResidencyViolation));
    }
    let location = Some(format!("/{}", name.as_str()));
    face.store.create_bucket(&who, name, Some(region)).await.map_err(|e| error::store(&e))?;
    Ok(S3Response::new(CreateBucketOutput { location, ..CreateBucketOutput::default() }))
}

/// Says that the bucket is the caller's, and where it lies.
pub(super) async fn head(face: &Face, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let bucket_region = Some(at.bucket().region.id.to_owned());
    Ok(S3Response::new(HeadBucketOutput { bucket_region, ..HeadBucketOutput::default() }))
}

/// Removes an empty bucket.
pub(super) async fn delete(
    face: &Face,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let at = face.admit::<Delete, _>(&request, &request.input.bucket).await?;
    face.store.delete_bucket(&at).await.map_err(|e| error::store(&e))?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// Where the bucket lies; asked by clients that do not know which region to sign for.
pub(super) async fn location(
    face: &Face,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let at = face.admit_anywhere::<Read, _>(&request, &request.input.bucket).await?;
    super::owner(at.login().tenant, &request, "x-amz-expected-bucket-owner")?;
    let region = BucketLocationConstraint::from(at.bucket().region.id.to_owned());
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint: Some(region) }))
}
