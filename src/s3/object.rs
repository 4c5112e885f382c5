//! PutObject, GetObject, HeadObject, and an object's tags.

use super::convert::{
    self, content_headers, etag, key_id, length, object_name, read_conditions, set_checksums, set_content_headers,
    set_encryption, timestamp, version, version_id, write_condition,
};
use super::{Face, body, error, lifecycle, placed};
use crate::gate::Admitted;
use crate::gate::act::{Read, Write};
use crate::model::ids::TenantId;
use crate::store::types::{About, Get, Incoming, ObjectInfo, Put, StoreError};
use s3s::dto::{
    ChecksumMode, DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectInput, GetObjectOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, HeadObjectInput, HeadObjectOutput, Metadata, ObjectVersionId,
    PartNumber, PutObjectInput, PutObjectOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Range, StorageClass,
    StreamingBlob, Tag,
};
use s3s::{S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

/// Takes the bytes; the store commits them only after a clean end with the right digests.
pub(super) async fn put(face: &Face, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let at = face.admit::<Write, _>(&request, &request.input.bucket).await?;
    let trailers = request.trailing_headers.take();
    let stream = request.input.body.take();
    let incoming = incoming(&request, stream, request.input.content_length, trailers)?;
    let input = &mut request.input;
    let put = Put {
        name: object_name(&input.key)?,
        incoming,
        about: About {
            headers: content_headers!(input),
            metadata: convert::metadata(input.metadata.take())?,
            tags: convert::tags(input.tagging.as_deref())?,
        },
        condition: write_condition(input.if_match.take(), input.if_none_match.take())?,
    };
    let written = face.store.put(&at, put).await.map_err(|e| error::store(&e))?;
    let mut output = PutObjectOutput { e_tag: Some(etag(&written.etag)), ..PutObjectOutput::default() };
    output.checksum_type = written.checksums.first().map(|sum| convert::type_name(sum.kind));
    set_checksums!(output, &written.checksums);
    set_encryption!(output, at.login().tenant, written.key_version);
    output.expiration = written.expires.as_ref().and_then(lifecycle::header);
    output.version_id = written.shown.map(version_id);
    Ok(S3Response::with_headers(output, placed::headers(&at, &request.input.key, written.key_version)))
}

/// The body of a PUT or part. Errors: no length.
pub(super) fn incoming<I>(
    request: &S3Request<I>,
    stream: Option<StreamingBlob>,
    content_length: Option<i64>,
    trailers: Option<TrailingHeaders>,
) -> S3Result<Incoming> {
    let length = content_length.and_then(|length| u64::try_from(length).ok());
    let length = length.ok_or_else(|| s3_error!(MissingContentLength))?;
    let expected = convert::expected(&request.headers, trailers)?;
    let trace = request.extensions.get().cloned().ok_or_else(|| s3_error!(AccessDenied))?;
    Ok(Incoming { body: body::upload(stream, trace), length, expected })
}

struct Asked {
    name: String,
    version: Option<ObjectVersionId>,
    range: Option<Range>,
    part: Option<PartNumber>,
}

/// What GET and HEAD ask alike. Errors: a range and a part at once.
fn asked(asked: Asked, conditions: crate::store::types::ReadConditions) -> S3Result<Get> {
    if asked.range.is_some() && asked.part.is_some() {
        return Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"));
    }
    Ok(Get {
        name: object_name(&asked.name)?,
        version: version(asked.version.as_deref())?,
        range: asked.range.map(convert::range),
        part: asked.part.map(convert::part_number).transpose()?,
        conditions,
    })
}

/// Fills what the answers of GET and HEAD have in common.
macro_rules! describe {
    ($output:expr, $info:expr, $tenant:expr, $range:expr, $with_checksums:expr) => {{
        let info: ObjectInfo = $info;
        let tenant: TenantId = $tenant;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.content_range = $range.map(|(first, last): (u64, u64)| format!("bytes {first}-{last}/{}", info.size));
        $output.e_tag = Some(etag(&info.etag));
        $output.last_modified = Some(timestamp(info.modified));
        $output.server_side_encryption =
            Some(s3s::dto::ServerSideEncryption::from_static(s3s::dto::ServerSideEncryption::AWS_KMS));
        $output.ssekms_key_id = Some(key_id(tenant, info.key_version));
        // The whole object's checksums would only mislead a client that received a piece.
        if $with_checksums && $range.is_none() {
            $output.checksum_type = info.checksums.first().map(|sum| convert::type_name(sum.kind));
            set_checksums!($output, &info.checksums);
        }
        let tags = i32::try_from(info.about.tags.len()).expect("at most ten tags");
        $output.tag_count = (tags > 0).then_some(tags);
        $output.expiration = info.expires.as_ref().and_then(lifecycle::header);
        $output.version_id = info.shown.map(version_id);
        $output.parts_count = info.parts.map(i32::from);
        $output.metadata = (!info.about.metadata.is_empty()).then(|| Metadata::from_iter(info.about.metadata));
        set_content_headers!($output, info.about.headers);
    }};
}

fn enabled(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

/// Gives the bytes. The status line leaves after the first chunk was verified.
pub(super) async fn get(face: &Face, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let conditions =
        read_conditions(input.if_match, input.if_none_match, input.if_modified_since, input.if_unmodified_since);
    let by_part = input.part_number.is_some();
    let which = Asked { name: input.key, version: input.version_id, range: input.range, part: input.part_number };
    let got = face.store.get(&at, asked(which, conditions)?).await.map_err(|e| error::store(&e))?;
    let given = super::allowed::while_admitted(face.gate.clone(), &at, got.body);
    let stream = body::download(got.length, given).await.map_err(|e| error::store(&e))?;
    let mut output =
        GetObjectOutput { body: Some(stream), content_length: Some(length(got.length)), ..GetObjectOutput::default() };
    describe!(output, got.info, at.login().tenant, got.range, enabled(input.checksum_mode.as_ref()));
    output.parts_count = output.parts_count.filter(|_| by_part);
    Ok(S3Response::new(output))
}

/// Gives the head that GET would give.
pub(super) async fn head(face: &Face, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let conditions =
        read_conditions(input.if_match, input.if_none_match, input.if_modified_since, input.if_unmodified_since);
    let by_part = input.part_number.is_some();
    let which = Asked { name: input.key, version: input.version_id, range: input.range, part: input.part_number };
    let (info, range) = face.store.head(&at, asked(which, conditions)?).await.map_err(|e| error::store(&e))?;
    let bytes = range.map_or(info.size, |(first, last)| last - first + 1);
    let mut output = HeadObjectOutput { content_length: Some(length(bytes)), ..HeadObjectOutput::default() };
    describe!(output, info, at.login().tenant, range, enabled(input.checksum_mode.as_ref()));
    output.parts_count = output.parts_count.filter(|_| by_part);
    output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
    Ok(S3Response::new(output))
}

/// The tags.
pub(super) async fn tagging(
    face: &Face,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let which = Asked { name: input.key, version: input.version_id, range: None, part: None };
    let (info, _) = face.store.head(&at, asked(which, Default::default())?).await.map_err(|e| error::store(&e))?;
    let tags = info.about.tags;
    if !tags.iter().all(|(key, value)| convert::fits_xml(key) && convert::fits_xml(value)) {
        return Err(error::store(&StoreError::Internal));
    }
    let tag_set = tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: info.shown.map(version_id) }))
}

/// Replaces the tags.
pub(super) async fn set_tagging(
    face: &Face,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let at = face.admit::<Write, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let given =
        input.tagging.tag_set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    let tags = convert::tag_rule(given.collect())?;
    let version_id = retag(face, &at, &input.key, input.version_id.as_deref(), tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

/// Removes the tags.
pub(super) async fn delete_tagging(
    face: &Face,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let at = face.admit::<Write, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let version_id = retag(face, &at, &input.key, input.version_id.as_deref(), vec![]).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

async fn retag(
    face: &Face,
    at: &Admitted<Write>,
    name: &str,
    id: Option<&str>,
    tags: Vec<(String, String)>,
) -> S3Result<Option<ObjectVersionId>> {
    let set = face.store.set_tags(at, &object_name(name)?, version(id)?, tags).await;
    set.map(|set| set.map(version_id)).map_err(|e| error::store(&e))
}
