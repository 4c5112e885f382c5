//! DeleteObject and DeleteObjects.

use super::convert::{object_name, version, version_id, write_condition, xml_text};
use super::{Face, error};
use crate::gate::Admitted;
use crate::gate::act::Erase;
use crate::model::limits::DELETE_MAX;
use crate::store::types::{Deleted, StoreError, WriteCondition};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    Error, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

/// How many of one request's deletes are under way at once: enough to share a commit.
const DELETES_AT_ONCE: usize = 64;

/// Removes an object, or hides it: where its bucket keeps versions, a DELETE that names none puts a delete marker. Which
/// it was is said in a header, so that nobody takes the one for the other.
pub(super) async fn one(
    face: &Face,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let at = face.admit::<Erase, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let condition = write_condition(input.if_match, None)?;
    let deleted = delete(face, &at, &input.key, input.version_id.as_deref(), condition).await?;
    let (what, output) = match deleted {
        Deleted::Erased { version, was_marker } => {
            let (delete_marker, version_id) = (was_marker.then_some(true), version.map(version_id));
            ("erased", DeleteObjectOutput { delete_marker, version_id, request_charged: None })
        }
        Deleted::Marked { version } => {
            let version_id = Some(version_id(version));
            ("marker", DeleteObjectOutput { delete_marker: Some(true), version_id, request_charged: None })
        }
    };
    let headers = HeaderMap::from_iter([(DELETED, HeaderValue::from_static(what))]);
    Ok(S3Response::with_headers(output, headers))
}

const DELETED: http::HeaderName = http::HeaderName::from_static("x-geoseal-delete");

async fn delete(
    face: &Face,
    at: &Admitted<Erase>,
    name: &str,
    id: Option<&str>,
    condition: WriteCondition,
) -> S3Result<Deleted> {
    let version = version(id)?;
    match face.store.delete(at, &object_name(name)?, version, condition).await {
        // S3: to delete what is not there is to succeed.
        Err(StoreError::NoSuchObject) => Ok(Deleted::Erased { version, was_marker: false }),
        deleted => deleted.map_err(|e| error::store(&e)),
    }
}

/// Removes up to 1,000 objects; each has its own outcome.
pub(super) async fn many(
    face: &Face,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let at = face.admit::<Erase, _>(&request, &request.input.bucket).await?;
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
            Ok(_) if quiet => {}
            Ok(done) => deleted.push(told(done, key, object.version_id)),
            Err(error) => errors.push(described(&error, key, object.version_id)),
        }
    }
    let deleted = (!deleted.is_empty()).then_some(deleted);
    let errors = (!errors.is_empty()).then_some(errors);
    Ok(S3Response::new(DeleteObjectsOutput { deleted, errors, request_charged: None }))
}

fn told(done: Deleted, key: Option<String>, asked: Option<String>) -> DeletedObject {
    let marker = match done {
        Deleted::Erased { was_marker: true, .. } => asked.clone(),
        Deleted::Erased { .. } => None,
        Deleted::Marked { version } => Some(version_id(version)),
    };
    let delete_marker = marker.is_some().then_some(true);
    DeletedObject { key, version_id: asked, delete_marker, delete_marker_version_id: marker }
}

async fn listed(face: &Face, at: &Admitted<Erase>, object: &ObjectIdentifier) -> S3Result<Deleted> {
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(s3_error!(NotImplemented, "Conditions on time and size are not implemented"));
    }
    let condition = write_condition(object.e_tag.clone().map(ETagCondition::ETag), None)?;
    delete(face, at, &object.key, object.version_id.as_deref(), condition).await
}

fn described(error: &S3Error, key: Option<String>, version_id: Option<String>) -> Error {
    let code = Some(error.code().as_str().to_owned());
    Error { code, key, message: error.message().map(str::to_owned), version_id }
}
