//! CopyObject and UploadPartCopy. The source is admitted on its own: it may lie in another bucket, and reading it is
//! another permission.

use super::convert::{
    self, algorithm, content_headers, etag, object_name, read_conditions, set_checksums, set_encryption, timestamp,
    version, version_id, write_condition,
};
use super::multipart::upload_id;
use super::{Face, error, lifecycle, owner, placed};
use crate::gate::Admitted;
use crate::gate::act::{Read, Write};
use crate::store::types::{About, Copy, CopyAbout, CopyPart, StoreError};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, MetadataDirective, Range,
    TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

struct Source {
    at: Admitted<Read>,
    name: String,
    version: Option<String>,
}

/// Admits the caller to the source, like to any read. An unknown bucket there is no other's secret: it is the caller's
/// own name space.
async fn source<I>(face: &Face, request: &S3Request<I>, source: CopySource) -> S3Result<Source> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "Access points are not implemented"));
    };
    // The request is signed for the destination's region; a source elsewhere in the geo is fine.
    let at = face.admit_anywhere::<Read, _>(request, &bucket).await?;
    owner(at.login().tenant, request, "x-amz-source-expected-bucket-owner")?;
    Ok(Source { at, name: key.into_string(), version: version_id.map(String::from) })
}

/// Copies an object, sealed anew under a data key of its own.
pub(super) async fn object(
    face: &Face,
    mut request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let to = face.admit::<Write, _>(&request, &request.input.bucket).await?;
    let from = source(face, &request, request.input.copy_source.clone()).await?;
    let input = &mut request.input;
    let tags = match replaces(input.tagging_directive.as_ref().map(TaggingDirective::as_str))? {
        true => Some(convert::tags(input.tagging.as_deref())?),
        false => None,
    };
    let about = match replaces(input.metadata_directive.as_ref().map(MetadataDirective::as_str))? {
        true => CopyAbout::Replace(Box::new(About {
            headers: content_headers!(input),
            metadata: convert::metadata(input.metadata.take())?,
            tags: tags.clone().unwrap_or_default(),
        })),
        false => CopyAbout::Keep,
    };
    let copy = Copy {
        source: object_name(&from.name)?,
        source_version: version(from.version.as_deref())?,
        source_conditions: read_conditions(
            input.copy_source_if_match.take(),
            input.copy_source_if_none_match.take(),
            input.copy_source_if_modified_since.take(),
            input.copy_source_if_unmodified_since.take(),
        ),
        name: object_name(&input.key)?,
        about,
        tags,
        checksum: input.checksum_algorithm.as_ref().map(|name| algorithm(name.as_str())).transpose()?,
        condition: write_condition(input.if_match.take(), input.if_none_match.take())?,
    };
    let written = face.store.copy(&from.at, &to, copy).await.map_err(|e| refused(&e))?;
    let mut result = CopyObjectResult {
        e_tag: Some(etag(&written.etag)),
        last_modified: Some(timestamp(written.modified)),
        ..CopyObjectResult::default()
    };
    result.checksum_type = written.checksums.first().map(|sum| convert::type_name(sum.kind));
    set_checksums!(result, &written.checksums);
    let mut output = CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() };
    set_encryption!(output, to.login().tenant, written.key_version);
    output.expiration = written.expires.as_ref().and_then(lifecycle::header);
    output.version_id = written.shown.map(version_id);
    output.copy_source_version_id = written.source.map(version_id);
    Ok(S3Response::with_headers(output, placed::headers(&to, &request.input.key, written.key_version)))
}

/// As for any read, but that a delete marker cannot be meant.
fn refused(error: &StoreError) -> S3Error {
    match error {
        StoreError::IsMarker { .. } => {
            s3_error!(
                InvalidRequest,
                "The source of a copy request may not specifically refer to a delete marker by version id."
            )
        }
        error => error::store(error),
    }
}

/// Whether a directive says REPLACE; COPY is the default.
fn replaces(directive: Option<&str>) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "Unknown directive")),
    }
}

/// Copies an object, or a range of one, into a part.
pub(super) async fn part(
    face: &Face,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let to = face.admit::<Write, _>(&request, &request.input.bucket).await?;
    let from = source(face, &request, request.input.copy_source.clone()).await?;
    let input = request.input;
    let part = CopyPart {
        source: object_name(&from.name)?,
        source_version: version(from.version.as_deref())?,
        range: input.copy_source_range.as_deref().map(closed_range).transpose()?,
        source_conditions: read_conditions(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        ),
        name: object_name(&input.key)?,
        upload: upload_id(&input.upload_id)?,
        number: convert::part_number(input.part_number)?,
    };
    let (part, copied) = face.store.copy_part(&from.at, &to, part).await.map_err(|e| refused(&e))?;
    let mut result = CopyPartResult {
        e_tag: Some(etag(&part.etag)),
        last_modified: Some(timestamp(part.modified)),
        ..CopyPartResult::default()
    };
    set_checksums!(result, &part.checksums);
    let (copy_part_result, copy_source_version_id) = (Some(result), copied.map(version_id));
    let output = UploadPartCopyOutput { copy_part_result, copy_source_version_id, ..UploadPartCopyOutput::default() };
    Ok(S3Response::new(output))
}

/// `bytes=first-last`, both given. Source: the S3 API, "UploadPartCopy".
fn closed_range(text: &str) -> S3Result<(u64, u64)> {
    match Range::parse(text) {
        Ok(Range::Int { first, last: Some(last) }) => Ok((first, last)),
        _ => Err(s3_error!(InvalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_ranges_are_closed() {
        assert_eq!(closed_range("bytes=5-9").unwrap(), (5, 9));
        for bad in ["bytes=5-", "bytes=-5", "5-9", "bytes=9-5", "bytes=1-2,3-4", "bytes=a-b", ""] {
            assert!(closed_range(bad).is_err(), "{bad}");
        }
    }
}
