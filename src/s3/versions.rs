//! Whether a bucket keeps versions, and the listing of them. Which version an operation on objects means is said with it.
//!
//! Sources: S3 API reference, "PutBucketVersioning" and "ListObjectVersions"; S3 user guide, "Using versioning in S3
//! buckets".

use super::convert::{etag, length, page_size, timestamp, version, version_id};
use super::list::{Spelling, asked, delimiter, prefixes};
use super::{Face, error, owner};
use crate::gate::act::{Delete, Read};
use crate::store::types::{ListVersions, ListedVersion, VersionAsked, Versioning};
use s3s::dto::{
    BucketVersioningStatus, DeleteMarkerEntry, GetBucketVersioningInput, GetBucketVersioningOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, MFADelete, ObjectVersion, ObjectVersionStorageClass, Owner,
    PutBucketVersioningInput, PutBucketVersioningOutput, VersioningConfiguration,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// Has a bucket keep versions, or stop to. Needs what removing an object needs: it decides what a removal is.
pub(super) async fn put(
    face: &Face,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let at = face.admit::<Delete, _>(&request, &request.input.bucket).await?;
    owner(at.login().tenant, &request, "x-amz-expected-bucket-owner")?;
    let versioning = parse(&request.input.versioning_configuration)?;
    face.store.set_versioning(&at, versioning).await.map_err(|e| error::store(&e))?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

fn parse(given: &VersioningConfiguration) -> S3Result<Versioning> {
    let mfa = given.mfa_delete.as_ref().map(MFADelete::as_str);
    if mfa.is_some_and(|mfa| mfa != MFADelete::DISABLED) {
        return Err(s3_error!(NotImplemented, "MFA delete is not implemented."));
    }
    match given.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Ok(Versioning::Enabled),
        Some(BucketVersioningStatus::SUSPENDED) => Ok(Versioning::Suspended),
        Some(_) => Err(s3_error!(MalformedXML, "The Status of versioning is Enabled or Suspended.")),
        None => Err(s3_error!(IllegalVersioningConfigurationException, "The Versioning element must be specified")),
    }
}

/// Whether a bucket keeps versions: nothing, if that was never said.
pub(super) async fn get(
    face: &Face,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let status = match face.store.versioning(&at).await.map_err(|e| error::store(&e))? {
        Versioning::Never => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
    };
    Ok(S3Response::new(GetBucketVersioningOutput { status, mfa_delete: None }))
}

/// One page of versions and markers: by name, then the newest first.
pub(super) async fn list(
    face: &Face,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let at = face.admit::<Read, _>(&request, &request.input.bucket).await?;
    let input = request.input;
    let limit = page_size(input.max_keys)?;
    asked(input.encoding_type.as_ref())?;
    let after = behind(input.key_marker.as_deref(), input.version_id_marker.as_deref())?;
    let prefix = input.prefix.unwrap_or_default();
    let delimiter = delimiter(input.delimiter);
    let key_marker = input.key_marker.unwrap_or_default();
    let list = ListVersions { prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
    let page = face.store.list_versions(&at, list).await.map_err(|e| error::store(&e))?;
    let names = page.versions.iter().map(|one| one.name.as_str());
    let names = names.chain(page.common_prefixes.iter().map(String::as_str));
    let echoed = [Some(&prefix), delimiter.as_ref(), Some(&key_marker)].into_iter().flatten();
    let spelling = Spelling::of(input.encoding_type.as_ref(), names.chain(echoed.map(String::as_str)));
    let owner = Owner { id: Some(at.login().tenant.to_string()), display_name: None };
    let (markers, objects): (Vec<_>, Vec<_>) = page.versions.iter().partition(|one| one.is_marker);
    let objects: Vec<_> = objects.into_iter().map(|one| object(one, spelling, &owner)).collect();
    let markers: Vec<_> = markers.into_iter().map(|one| marker(one, spelling, &owner)).collect();
    let next = page.last.filter(|_| page.truncated);
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(spelling.write(&prefix)),
        delimiter: delimiter.map(|delimiter| spelling.write(&delimiter)),
        key_marker: Some(spelling.write(&key_marker)),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        next_key_marker: next.as_ref().map(|(name, _)| spelling.write(name)),
        next_version_id_marker: next.and_then(|(_, version)| version).map(version_id),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(page.truncated),
        encoding_type: spelling.element(),
        versions: (!objects.is_empty()).then_some(objects),
        delete_markers: (!markers.is_empty()).then_some(markers),
        common_prefixes: prefixes(&page.common_prefixes, spelling),
        request_charged: None,
    }))
}

/// Behind which version the page begins. Errors: a version without a name.
fn behind(key: Option<&str>, id: Option<&str>) -> S3Result<Option<(String, Option<VersionAsked>)>> {
    let key = key.filter(|key| !key.is_empty());
    match (key, id) {
        (None, None) => Ok(None),
        (Some(key), id) => Ok(Some((key.to_owned(), version(id)?))),
        (None, Some(_)) => {
            Err(s3_error!(InvalidArgument, "A version-id marker cannot be specified without a key marker."))
        }
    }
}

fn object(one: &ListedVersion, spelling: Spelling, owner: &Owner) -> ObjectVersion {
    ObjectVersion {
        key: Some(spelling.write(&one.name)),
        version_id: Some(version_id(one.version)),
        is_latest: Some(one.is_latest),
        size: Some(length(one.size)),
        e_tag: Some(etag(&one.etag)),
        last_modified: Some(timestamp(one.modified)),
        storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
        owner: Some(owner.clone()),
        ..ObjectVersion::default()
    }
}

fn marker(one: &ListedVersion, spelling: Spelling, owner: &Owner) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        key: Some(spelling.write(&one.name)),
        version_id: Some(version_id(one.version)),
        is_latest: Some(one.is_latest),
        last_modified: Some(timestamp(one.modified)),
        owner: Some(owner.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: Option<&'static str>, mfa: Option<&'static str>) -> Result<Versioning, String> {
        let configuration = VersioningConfiguration {
            status: status.map(BucketVersioningStatus::from_static),
            mfa_delete: mfa.map(MFADelete::from_static),
        };
        parse(&configuration).map_err(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn what_can_be_said_of_versioning() {
        assert_eq!(said(Some("Enabled"), None), Ok(Versioning::Enabled));
        assert_eq!(said(Some("Suspended"), Some("Disabled")), Ok(Versioning::Suspended));
        assert_eq!(said(Some("Enabled"), Some("Enabled")), Err("NotImplemented".into()));
        assert_eq!(said(None, None), Err("IllegalVersioningConfigurationException".into()));
        for bad in ["enabled", "Disabled", "Never", ""] {
            assert_eq!(said(Some(bad), None), Err("MalformedXML".into()), "{bad}");
        }
    }

    #[test]
    fn where_a_page_begins() {
        let id = crate::model::ids::VersionId::random();
        let name = |version| Some(("k".to_owned(), version));
        assert_eq!(behind(None, None).unwrap(), None);
        assert_eq!(behind(Some(""), None).unwrap(), None);
        assert_eq!(behind(Some("k"), None).unwrap(), name(None));
        assert_eq!(behind(Some("k"), Some("null")).unwrap(), name(Some(VersionAsked::Null)));
        assert_eq!(behind(Some("k"), Some(&id.to_string())).unwrap(), name(Some(VersionAsked::Id(id))));
        for (key, marker) in [(None, "null"), (Some(""), "null"), (Some("k"), ""), (Some("k"), "nonsense")] {
            assert_eq!(behind(key, Some(marker)).unwrap_err().code().as_str(), "InvalidArgument", "{key:?} {marker}");
        }
    }
}
