//! DeleteObject and DeleteObjects.

use super::convert::{object_name, version, write_condition, xml_text};
use super::{Face, error};
use crate::gate::Admitted;
use crate::gate::act::Delete;
use crate::model::limits::DELETE_MAX;
use crate::store::types::{StoreError, WriteCondition};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    Error, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

/// How many of one request's deletes are under way at once: enough to share a commit.
const DELETES_AT_ONCE: usize = 64;

/// Removes an object for good: there are no delete markers without versioning, and the answer says so.
pub(super) async fn one(
    face: &Face,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let at = face.admit::<Delete, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let condition = write_condition(input.if_match, None)?;
    erase(face, &at, &input.key, input.version_id.as_deref(), condition).await?;
    let headers = HeaderMap::from_iter([(DELETED, HeaderValue::from_static("erased"))]);
    Ok(S3Response::with_headers(DeleteObjectOutput::default(), headers))
}

const DELETED: http::HeaderName = http::HeaderName::from_static("x-geoseal-delete");

async fn erase(
    face: &Face,
    at: &Admitted<Delete>,
    name: &str,
    id: Option<&str>,
    condition: WriteCondition,
) -> S3Result<()> {
    match face.store.delete(at, &object_name(name)?, version(id)?, condition).await {
        // S3: to delete what is not there is to succeed.
        Ok(_) | Err(StoreError::NoSuchObject) => Ok(()),
        Err(error) => Err(error::store(&error)),
    }
}

/// Removes up to 1,000 objects; each has its own outcome.
pub(super) async fn many(
    face: &Face,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let at = face.admit::<Delete, _>(&request, &request.input.bucket).await?;
    let asked = request.input.delete;
    if asked.objects.is_empty() || asked.objects.len() > DELETE_MAX {
        return Err(s3_error!(MalformedXML, "A request can name 1 to 1000 objects"));
    }
    let quiet = asked.quiet.unwrap_or(false);
    let at = &at;
    let outcomes = futures::stream::iter(asked.objects).map(|object| async move {
        let outcome = listed(face, at, &object).await;
        (object, outcome)
    });
    let outcomes: Vec<_> = outcomes.buffered(DELETES_AT_ONCE).collect().await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in outcomes {
        let key = xml_text(&object.key);
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject { key, version_id: object.version_id, ..DeletedObject::default() }),
            Err(error) => errors.push(described(&error, key, object.version_id)),
        }
    }
    let deleted = (!deleted.is_empty()).then_some(deleted);
    let errors = (!errors.is_empty()).then_some(errors);
    Ok(S3Response::new(DeleteObjectsOutput { deleted, errors, request_charged: None }))
}

async fn listed(face: &Face, at: &Admitted<Delete>, object: &ObjectIdentifier) -> S3Result<()> {
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(s3_error!(NotImplemented, "Conditions on time and size are not implemented"));
    }
    let condition = write_condition(object.e_tag.clone().map(ETagCondition::ETag), None)?;
    erase(face, at, &object.key, object.version_id.as_deref(), condition).await
}

fn described(error: &S3Error, key: Option<String>, version_id: Option<String>) -> Error {
    let code = Some(error.code().as_str().to_owned());
    Error { code, key, message: error.message().map(str::to_owned), version_id }
}
