//! Multipart uploads. Upload ids are random: nothing of the name is in them.

use super::convert::{
    self, algorithm, algorithm_name, content_headers, etag, given_checksums, object_name, page_size, set_checksums,
    set_encryption, timestamp, type_name, write_condition, xml_text,
};
use super::list::{Spelling, delimiter, prefixes};
use super::object::incoming;
use super::{Face, error, lifecycle, placed};
use crate::gate::act::{Delete, Read, Write};
use crate::model::ids::{TenantId, UploadId};
use crate::model::limits::PARTS_MAX;
use crate::store::types::{
    About, ChecksumAlgorithm, ChecksumType, Complete, CompletedPart, CreateUpload, ListUploads, PartInfo, PutPart,
    StoreError, UploadInfo,
};
use s3s::dto::{
    self, AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, Initiator,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Owner,
    Part, ServerSideEncryption, StorageClass, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// An upload's id. One that cannot be one is an upload that does not exist.
pub(super) fn upload_id(text: &str) -> S3Result<UploadId> {
    text.parse().map_err(|_| error::store(&StoreError::NoSuchUpload))
}

/// Which checksum the object will have. Source: the S3 user guide, "Full object and composite checksum types".
fn announced(
    name: Option<&dto::ChecksumAlgorithm>,
    kind: Option<&dto::ChecksumType>,
) -> S3Result<Option<(ChecksumAlgorithm, ChecksumType)>> {
    use ChecksumAlgorithm::{Crc64Nvme, Sha1, Sha256};
    let Some(name) = name else {
        let none = kind.is_none();
        return if none { Ok(None) } else { Err(s3_error!(InvalidRequest, "A checksum type needs an algorithm")) };
    };
    let algorithm = algorithm(name.as_str())?;
    let kind = match (kind.map(dto::ChecksumType::as_str), algorithm) {
        (None | Some(dto::ChecksumType::FULL_OBJECT), Crc64Nvme) => ChecksumType::FullObject,
        (Some(dto::ChecksumType::FULL_OBJECT), a) if !matches!(a, Sha1 | Sha256) => ChecksumType::FullObject,
        (None | Some(dto::ChecksumType::COMPOSITE), a) if a != Crc64Nvme => ChecksumType::Composite,
        _ => return Err(s3_error!(InvalidRequest, "The checksum type does not fit the algorithm")),
    };
    Ok(Some((algorithm, kind)))
}

/// Opens an upload.
pub(super) async fn create(
    face: &Face,
    mut request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let at = face.admit::<Write, _>(&request, &request.input.bucket).await?;
    let input = &mut request.input;
    let checksum = announced(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let create = CreateUpload {
        name: object_name(&input.key)?,
        about: About {
            headers: content_headers!(input),
            metadata: convert::metadata(input.metadata.take())?,
            tags: convert::tags(input.tagging.as_deref())?,
        },
        checksum,
    };
    let (id, aborted) = face.store.create_upload(&at, create).await.map_err(|e| error::store(&e))?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(std::mem::take(&mut input.bucket)),
        key: xml_text(&input.key),
        upload_id: Some(id.to_string()),
        checksum_algorithm: checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
        checksum_type: checksum.map(|(_, kind)| type_name(kind)),
        abort_date: aborted.as_ref().map(|aborted| timestamp(aborted.at)),
        abort_rule_id: aborted.map(|aborted| lifecycle::encoded(&aborted.rule)),
        server_side_encryption: Some(ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS)),
        ..CreateMultipartUploadOutput::default()
    }))
}

/// Takes one part.
pub(super) async fn put_part(
    face: &Face,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let at = face.admit::<Write, _>(&request, &request.input.bucket).await?;
    let trailers = request.trailing_headers.take();
    let stream = request.input.body.take();
    let part = PutPart {
        name: object_name(&request.input.key)?,
        upload: upload_id(&request.input.upload_id)?,
        number: convert::part_number(request.input.part_number)?,
        incoming: incoming(&request, stream, request.input.content_length, trailers)?,
    };
    let part = face.store.put_part(&at, part).await.map_err(|e| error::store(&e))?;
    let mut output = UploadPartOutput { e_tag: Some(etag(&part.etag)), ..UploadPartOutput::default() };
    output.server_side_encryption = Some(ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS));
    set_checksums!(output, &part.checksums);
    Ok(S3Response::new(output))
}

/// One page of an upload's parts.
pub(super) async fn list_parts(
    face: &Face,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let limit = page_size(input.max_parts)?;
    let refused = || s3_error!(InvalidArgument, "part-number-marker must be between 0 and 10000");
    let after = u16::try_from(input.part_number_marker.unwrap_or(0)).map_err(|_| refused())?;
    let (name, upload) = (object_name(&input.key)?, upload_id(&input.upload_id)?);
    let page = face.store.parts(&at, &name, upload, after, limit).await.map_err(|e| error::store(&e))?;
    let last = page.parts.last().map_or(after, |part| part.number);
    let tenant = at.login().tenant;
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: xml_text(&input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(i32::from(after)),
        next_part_number_marker: page.truncated.then_some(i32::from(last)),
        max_parts: i32::try_from(limit).ok(),
        is_truncated: Some(page.truncated),
        parts: Some(page.parts.iter().map(part).collect()),
        checksum_algorithm: page.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
        checksum_type: page.checksum.map(|(_, kind)| type_name(kind)),
        owner: Some(Owner { id: Some(tenant.to_string()), display_name: None }),
        initiator: Some(Initiator { id: Some(tenant.to_string()), display_name: None }),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..ListPartsOutput::default()
    }))
}

fn part(info: &PartInfo) -> Part {
    let mut part = Part {
        part_number: Some(i32::from(info.number)),
        size: Some(convert::length(info.size)),
        e_tag: Some(etag(&info.etag)),
        last_modified: Some(timestamp(info.modified)),
        ..Part::default()
    };
    set_checksums!(part, &info.checksums);
    part
}

/// Makes an object of the parts. Commits rows only, so it is over before a client could lose patience.
pub(super) async fn complete(
    face: &Face,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let at = face.admit::<Write, _>(&request, &request.input.bucket).await?;
    let location = request.uri.path().to_owned();
    let input = request.input;
    let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    if named.is_empty() || named.len() > usize::from(PARTS_MAX) {
        return Err(s3_error!(MalformedXML, "A request must name 1 to 10000 parts"));
    }
    let size = input.mpu_object_size.map(u64::try_from).transpose();
    let complete = Complete {
        name: object_name(&input.key)?,
        upload: upload_id(&input.upload_id)?,
        parts: named.into_iter().map(completed).collect::<S3Result<_>>()?,
        checksums: vec![],
        size: size.map_err(|_| s3_error!(InvalidArgument, "x-amz-mp-object-size must not be negative"))?,
        condition: write_condition(input.if_match.clone(), input.if_none_match.clone())?,
    };
    let complete = Complete { checksums: given_checksums!(input), ..complete };
    let written = face.store.complete(&at, complete).await.map_err(|e| error::store(&e))?;
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: xml_text(&input.key),
        location: Some(location),
        e_tag: Some(etag(&written.etag)),
        checksum_type: written.checksums.first().map(|sum| type_name(sum.kind)),
        ..CompleteMultipartUploadOutput::default()
    };
    set_checksums!(output, &written.checksums);
    set_encryption!(output, at.login().tenant, written.key_version);
    output.expiration = written.expires.as_ref().and_then(lifecycle::header);
    output.version_id = written.shown.map(convert::version_id);
    Ok(S3Response::with_headers(output, placed::headers(&at, &input.key, written.key_version)))
}

fn completed(part: dto::CompletedPart) -> S3Result<CompletedPart> {
    let missing = || s3_error!(MalformedXML, "Every part needs its number and ETag");
    Ok(CompletedPart {
        number: convert::part_number(part.part_number.ok_or_else(missing)?)?,
        checksums: given_checksums!(part),
        etag: part.e_tag.ok_or_else(missing)?.into_value(),
    })
}

/// Gives an upload up.
pub(super) async fn abort(
    face: &Face,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let at = face.admit::<Delete, _>(&request, &request.input.bucket).await?;
    let (name, upload) = (object_name(&request.input.key)?, upload_id(&request.input.upload_id)?);
    face.store.abort(&at, &name, upload).await.map_err(|e| error::store(&e))?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

/// One page of a bucket's open uploads.
pub(super) async fn list(
    face: &Face,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let limit = page_size(input.max_uploads)?;
    let prefix = input.prefix.unwrap_or_default();
    let delimiter = delimiter(input.delimiter);
    let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
    // S3: without a key marker the upload id marker is ignored.
    let id_marker = input.upload_id_marker.filter(|marker| !marker.is_empty() && key_marker.is_some());
    let id = id_marker.as_deref().map(upload_id).transpose()?;
    let after = key_marker.clone().map(|name| (name, id));
    let list = ListUploads { prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
    let page = face.store.uploads(&at, list).await.map_err(|e| error::store(&e))?;
    let names = page.uploads.iter().map(|upload| &upload.name).chain(&page.common_prefixes);
    let echoed = [Some(&prefix), delimiter.as_ref(), key_marker.as_ref()].into_iter().flatten();
    let spelling = Spelling::of(input.encoding_type.as_ref(), names.chain(echoed).map(String::as_str));
    let last_prefix = page.common_prefixes.last();
    let last = page.uploads.last().filter(|last| last_prefix.is_none_or(|prefix| *prefix < last.name));
    let next_key = last.map(|last| &last.name).or(last_prefix).filter(|_| page.truncated);
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(spelling.write(&prefix)),
        delimiter: delimiter.map(|delimiter| spelling.write(&delimiter)),
        key_marker: Some(spelling.write(key_marker.as_deref().unwrap_or(""))),
        upload_id_marker: Some(id_marker.unwrap_or_default()),
        next_key_marker: next_key.map(|name| spelling.write(name)),
        next_upload_id_marker: last.filter(|_| page.truncated).map(|last| last.upload.to_string()),
        max_uploads: i32::try_from(limit).ok(),
        is_truncated: Some(page.truncated),
        encoding_type: spelling.element(),
        uploads: Some(page.uploads.iter().map(|one| upload(one, spelling, at.login().tenant)).collect()),
        common_prefixes: prefixes(&page.common_prefixes, spelling),
        request_charged: None,
    }))
}

fn upload(info: &UploadInfo, spelling: Spelling, tenant: TenantId) -> MultipartUpload {
    MultipartUpload {
        key: Some(spelling.write(&info.name)),
        upload_id: Some(info.upload.to_string()),
        initiated: Some(timestamp(info.created)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        owner: Some(Owner { id: Some(tenant.to_string()), display_name: None }),
        initiator: Some(Initiator { id: Some(tenant.to_string()), display_name: None }),
        checksum_algorithm: info.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
        checksum_type: info.checksum.map(|(_, kind)| type_name(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_checksums_an_upload_can_have() {
        let ask = |name: &'static str, kind: Option<&'static str>| {
            let name = dto::ChecksumAlgorithm::from_static(name);
            let kind = kind.map(dto::ChecksumType::from_static);
            announced(Some(&name), kind.as_ref()).ok().flatten().map(|(_, kind)| kind)
        };
        use ChecksumType::{Composite, FullObject};
        for (name, default, full, composite) in [
            ("CRC32", Some(Composite), Some(FullObject), Some(Composite)),
            ("CRC32C", Some(Composite), Some(FullObject), Some(Composite)),
            ("CRC64NVME", Some(FullObject), Some(FullObject), None),
            ("SHA1", Some(Composite), None, Some(Composite)),
            ("SHA256", Some(Composite), None, Some(Composite)),
        ] {
            let got = (ask(name, None), ask(name, Some("FULL_OBJECT")), ask(name, Some("COMPOSITE")));
            assert_eq!(got, (default, full, composite), "{name}");
        }
        assert!(announced(None, None).unwrap().is_none());
    }

    #[test]
    fn an_upload_id_that_cannot_be_one_is_unknown() {
        for bad in ["", "..", "zz", "0123"] {
            assert_eq!(upload_id(bad).unwrap_err().code().as_str(), "NoSuchUpload");
        }
        let id = UploadId::random();
        assert_eq!(upload_id(&id.to_string()).unwrap(), id);
    }
}
