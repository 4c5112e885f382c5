//! The one place where errors of the rooms below become S3 errors. No wildcard arm: a new variant does not compile
//! until somebody has said what a client is told.
//!
//! Promises that no name, reason or path of ours is in an answer. `Resource` is left out: it would repeat the name.

use super::convert::version_id;
use crate::gate::{Asleep, Need, Refusal};
use crate::model::time::Millis;
use crate::store::types::{BodyFault, StoreError, VersionAsked};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode};

/// What a client is told of a store act that failed.
pub(super) fn store(error: &StoreError) -> S3Error {
    let (code, status) = code(error);
    let mut answer = S3Error::with_message(named(code), message(error));
    answer.set_status_code(status);
    let mut headers = HeaderMap::new();
    match error {
        StoreError::NotModified { etag, modified } => {
            let etag = HeaderValue::from_str(&format!("\"{etag}\"")).expect("an ETag is hexadecimal digits");
            headers.insert(header::ETAG, etag);
            headers.extend(date(*modified).map(|date| (header::LAST_MODIFIED, date)));
        }
        StoreError::MarkedDeleted { version } => headers = marker(*version),
        StoreError::IsMarker { version, modified } => {
            headers = marker(*version);
            headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
            headers.extend(date(*modified).map(|date| (header::LAST_MODIFIED, date)));
        }
        StoreError::InvalidRange { size } => {
            let range = HeaderValue::from_str(&format!("bytes */{size}")).expect("digits are a header value");
            headers.insert(header::CONTENT_RANGE, range);
        }
        StoreError::Unavailable | StoreError::KeysExpired | StoreError::SlowDown => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        _ => {}
    }
    if !headers.is_empty() {
        answer_headers(&mut answer, headers);
    }
    answer
}

/// What tells of a delete marker.
fn marker(version: VersionAsked) -> HeaderMap {
    let id = HeaderValue::from_str(&version_id(version)).expect("hexadecimal digits are a header value");
    HeaderMap::from_iter([(DELETE_MARKER, HeaderValue::from_static("true")), (VERSION_ID, id)])
}

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

fn date(time: Millis) -> Option<HeaderValue> {
    let time = jiff::Timestamp::from_millisecond(time.0).ok()?;
    HeaderValue::from_str(&time.strftime("%a, %d %b %Y %T GMT").to_string()).ok()
}

/// S3 code and status.
pub(super) fn code(error: &StoreError) -> (&'static str, StatusCode) {
    use StatusCode as S;
    match error {
        StoreError::NoSuchObject => ("NoSuchKey", S::NOT_FOUND),
        StoreError::MarkedDeleted { .. } => ("NoSuchKey", S::NOT_FOUND),
        StoreError::IsMarker { .. } => ("MethodNotAllowed", S::METHOD_NOT_ALLOWED),
        StoreError::NoSuchVersion => ("NoSuchVersion", S::NOT_FOUND),
        StoreError::NoSuchUpload => ("NoSuchUpload", S::NOT_FOUND),
        StoreError::NoSuchBucket => ("NoSuchBucket", S::NOT_FOUND),
        StoreError::BucketExists => ("BucketAlreadyOwnedByYou", S::CONFLICT),
        StoreError::BucketNotEmpty => ("BucketNotEmpty", S::CONFLICT),
        StoreError::TooManyBuckets => ("TooManyBuckets", S::BAD_REQUEST),
        StoreError::ResidencyViolation => ("ResidencyViolation", S::FORBIDDEN),
        StoreError::RegionNotServed => ("IllegalLocationConstraintException", S::BAD_REQUEST),
        StoreError::PreconditionFailed => ("PreconditionFailed", S::PRECONDITION_FAILED),
        StoreError::NotModified { .. } => ("NotModified", S::NOT_MODIFIED),
        StoreError::ConditionalConflict => ("ConditionalRequestConflict", S::CONFLICT),
        StoreError::InvalidRange { .. } => ("InvalidRange", S::RANGE_NOT_SATISFIABLE),
        StoreError::InvalidPartNumber => ("InvalidPartNumber", S::RANGE_NOT_SATISFIABLE),
        StoreError::InvalidPart => ("InvalidPart", S::BAD_REQUEST),
        StoreError::InvalidPartOrder => ("InvalidPartOrder", S::BAD_REQUEST),
        StoreError::PartTooSmall => ("EntityTooSmall", S::BAD_REQUEST),
        StoreError::TooLarge => ("EntityTooLarge", S::BAD_REQUEST),
        StoreError::BadDigest => ("BadDigest", S::BAD_REQUEST),
        StoreError::InvalidChecksum => ("InvalidRequest", S::BAD_REQUEST),
        StoreError::Body(BodyFault::Incomplete) => ("IncompleteBody", S::BAD_REQUEST),
        StoreError::Body(BodyFault::Signature) => ("XAmzContentSHA256Mismatch", S::BAD_REQUEST),
        StoreError::Body(BodyFault::Source) => ("InternalError", S::INTERNAL_SERVER_ERROR),
        StoreError::Body(BodyFault::TooSlow) => ("RequestTimeout", S::BAD_REQUEST),
        StoreError::InvalidSubject => ("InvalidArgument", S::BAD_REQUEST),
        StoreError::SubjectErased => ("SubjectErased", S::CONFLICT),
        StoreError::OptedOut => ("OptedOut", S::CONFLICT),
        StoreError::OutOfJobs => ("OptedOut", S::FORBIDDEN),
        StoreError::InvalidBatch(crate::model::batch::BadBatch::Multipart) => ("NotImplemented", S::NOT_IMPLEMENTED),
        StoreError::InvalidBatch(_) => ("InvalidArgument", S::BAD_REQUEST),
        StoreError::Held => ("LegalHold", S::FORBIDDEN),
        StoreError::QuotaExceeded => ("QuotaExceeded", S::INSUFFICIENT_STORAGE),
        StoreError::UnknownClass => ("UnknownClass", S::UNPROCESSABLE_ENTITY),
        StoreError::ClassNotStorable => ("ClassNotStorable", S::UNPROCESSABLE_ENTITY),
        StoreError::ActorRequired => ("ActorRequired", S::UNPROCESSABLE_ENTITY),
        StoreError::NotFollowed => ("NotFollowed", S::UNPROCESSABLE_ENTITY),
        StoreError::NotGranted => ("AccessDenied", S::FORBIDDEN),
        StoreError::UnfollowedInJobs => ("NotFollowed", S::FORBIDDEN),
        StoreError::InvalidWatermark => ("InvalidWatermark", S::UNPROCESSABLE_ENTITY),
        StoreError::WatermarkNotGranted => ("AccessDenied", S::FORBIDDEN),
        StoreError::WatermarkGap(_) => ("WatermarkGap", S::CONFLICT),
        StoreError::FeatureDisabled(Need::Read) => ("FeatureDisabled", S::FORBIDDEN),
        StoreError::FeatureDisabled(Need::Write | Need::Delete | Need::Erase) => ("FeatureDisabled", S::CONFLICT),
        StoreError::SubjectRestricted => ("SubjectRestricted", S::FORBIDDEN),
        StoreError::CopyOntoItself => ("InvalidRequest", S::BAD_REQUEST),
        StoreError::BadToken => ("InvalidArgument", S::BAD_REQUEST),
        StoreError::Asleep(state) => asleep(*state, Need::Write),
        StoreError::KeysSuspended => ("KMS.DisabledException", S::FORBIDDEN),
        StoreError::KeysExpired | StoreError::Unavailable => ("ServiceUnavailable", S::SERVICE_UNAVAILABLE),
        StoreError::SlowDown => ("SlowDown", S::SERVICE_UNAVAILABLE),
        StoreError::Integrity(_) => ("IntegrityFailure", S::INTERNAL_SERVER_ERROR),
        StoreError::Internal => ("InternalError", S::INTERNAL_SERVER_ERROR),
    }
}

/// The sentence that goes with it: the error's own, which holds no name by its contract.
pub(super) fn message(error: &StoreError) -> String {
    error.to_string()
}

/// What a client is told when the gate said no to an act that needed `need`.
pub(super) fn gate(refusal: &Refusal, need: Need) -> S3Error {
    use StatusCode as S;
    let (code, status) = match refusal {
        // The same words as for a wrong signature: who does not have the secret learns nothing about ids.
        Refusal::UnknownLogin => return S3Error::new(S3ErrorCode::SignatureDoesNotMatch),
        Refusal::Role => ("AccessDenied", S::FORBIDDEN),
        Refusal::GrantEnded => ("ExpiredToken", S::FORBIDDEN),
        Refusal::PurposeMismatch => ("PurposeMismatch", S::FORBIDDEN),
        Refusal::Asleep(Asleep::Provisioning) | Refusal::Unavailable => {
            return store(&StoreError::Unavailable);
        }
        Refusal::Asleep(state) => asleep(*state, need),
        Refusal::KeysSuspended => return store(&StoreError::KeysSuspended),
        Refusal::SlowDown => return store(&StoreError::SlowDown),
        Refusal::NoSuchBucket => ("NoSuchBucket", S::NOT_FOUND),
        Refusal::Elsewhere(_) => ("PermanentRedirect", S::MOVED_PERMANENTLY),
    };
    let mut answer = S3Error::with_message(named(code), refusal.to_string());
    answer.set_status_code(status);
    answer
}

/// What the tenant's state says to an act that needed `need`.
fn asleep(state: Asleep, need: Need) -> (&'static str, StatusCode) {
    use StatusCode as S;
    match state {
        Asleep::Provisioning => ("ServiceUnavailable", S::SERVICE_UNAVAILABLE),
        Asleep::Disabled if need == Need::Read => ("TenantDisabled", S::FORBIDDEN),
        Asleep::Disabled => ("TenantDisabled", S::CONFLICT),
        Asleep::Terminated => ("TenantTerminated", S::FORBIDDEN),
        Asleep::Purging => ("TenantPurging", S::GONE),
        Asleep::Purged => ("TenantPurged", S::GONE),
    }
}

fn named(code: &str) -> S3ErrorCode {
    S3ErrorCode::from_bytes(code.as_bytes()).expect("our codes are ASCII")
}

fn answer_headers(answer: &mut S3Error, mut headers: HeaderMap) {
    // s3s replaces the whole map, its own content type with it.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer.set_headers(headers);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::types::Fault;

    /// Every variant with what the S3 API reference, or docs/s3.md where S3 has no word for it, says.
    #[test]
    fn the_table_of_errors() {
        let modified = Millis(1_763_640_000_000);
        for (error, want, status) in [
            (StoreError::NoSuchObject, "NoSuchKey", 404),
            (StoreError::NoSuchVersion, "NoSuchVersion", 404),
            (StoreError::MarkedDeleted { version: VersionAsked::Null }, "NoSuchKey", 404),
            (StoreError::IsMarker { version: VersionAsked::Null, modified }, "MethodNotAllowed", 405),
            (StoreError::NoSuchUpload, "NoSuchUpload", 404),
            (StoreError::NoSuchBucket, "NoSuchBucket", 404),
            (StoreError::BucketExists, "BucketAlreadyOwnedByYou", 409),
            (StoreError::BucketNotEmpty, "BucketNotEmpty", 409),
            (StoreError::TooManyBuckets, "TooManyBuckets", 400),
            (StoreError::ResidencyViolation, "ResidencyViolation", 403),
            (StoreError::RegionNotServed, "IllegalLocationConstraintException", 400),
            (StoreError::PreconditionFailed, "PreconditionFailed", 412),
            (StoreError::NotModified { etag: "ab".into(), modified }, "NotModified", 304),
            (StoreError::ConditionalConflict, "ConditionalRequestConflict", 409),
            (StoreError::InvalidRange { size: 7 }, "InvalidRange", 416),
            (StoreError::InvalidPartNumber, "InvalidPartNumber", 416),
            (StoreError::InvalidPart, "InvalidPart", 400),
            (StoreError::InvalidPartOrder, "InvalidPartOrder", 400),
            (StoreError::PartTooSmall, "EntityTooSmall", 400),
            (StoreError::TooLarge, "EntityTooLarge", 400),
            (StoreError::BadDigest, "BadDigest", 400),
            (StoreError::InvalidChecksum, "InvalidRequest", 400),
            (StoreError::Body(BodyFault::Incomplete), "IncompleteBody", 400),
            (StoreError::Body(BodyFault::Signature), "XAmzContentSHA256Mismatch", 400),
            (StoreError::Body(BodyFault::Source), "InternalError", 500),
            (StoreError::Body(BodyFault::TooSlow), "RequestTimeout", 400),
            (StoreError::Held, "LegalHold", 403),
            (StoreError::QuotaExceeded, "QuotaExceeded", 507),
            (StoreError::CopyOntoItself, "InvalidRequest", 400),
            (StoreError::BadToken, "InvalidArgument", 400),
            (StoreError::InvalidSubject, "InvalidArgument", 400),
            (StoreError::SubjectErased, "SubjectErased", 409),
            (StoreError::OptedOut, "OptedOut", 409),
            (StoreError::OutOfJobs, "OptedOut", 403),
            (StoreError::InvalidBatch(crate::model::batch::BadBatch::Form), "InvalidArgument", 400),
            (StoreError::UnknownClass, "UnknownClass", 422),
            (StoreError::ClassNotStorable, "ClassNotStorable", 422),
            (StoreError::ActorRequired, "ActorRequired", 422),
            (StoreError::NotFollowed, "NotFollowed", 422),
            (StoreError::NotGranted, "AccessDenied", 403),
            (StoreError::UnfollowedInJobs, "NotFollowed", 403),
            (StoreError::InvalidWatermark, "InvalidWatermark", 422),
            (StoreError::WatermarkNotGranted, "AccessDenied", 403),
            (StoreError::FeatureDisabled(Need::Read), "FeatureDisabled", 403),
            (StoreError::FeatureDisabled(Need::Write), "FeatureDisabled", 409),
            (StoreError::FeatureDisabled(Need::Delete), "FeatureDisabled", 409),
            (StoreError::FeatureDisabled(Need::Erase), "FeatureDisabled", 409),
            (StoreError::SubjectRestricted, "SubjectRestricted", 403),
            (StoreError::Asleep(Asleep::Terminated), "TenantTerminated", 403),
            (StoreError::KeysSuspended, "KMS.DisabledException", 403),
            (StoreError::KeysExpired, "ServiceUnavailable", 503),
            (StoreError::SlowDown, "SlowDown", 503),
            (StoreError::Unavailable, "ServiceUnavailable", 503),
            (StoreError::Integrity(Fault::SHAPE), "IntegrityFailure", 500),
            (StoreError::Internal, "InternalError", 500),
        ] {
            let answer = store(&error);
            assert_eq!((answer.code().as_str(), answer.status_code().unwrap().as_u16()), (want, status), "{error:?}");
        }
        for later in [StoreError::Unavailable, StoreError::KeysExpired, StoreError::SlowDown] {
            assert_eq!(store(&later).headers().unwrap()[header::RETRY_AFTER], "5", "{later:?}");
        }
        let range = store(&StoreError::InvalidRange { size: 7 });
        assert_eq!(range.headers().unwrap()[header::CONTENT_RANGE], "bytes */7");
        let unchanged = store(&StoreError::NotModified { etag: "ab".into(), modified });
        assert_eq!(unchanged.headers().unwrap()[header::ETAG], "\"ab\"");
        assert_eq!(unchanged.headers().unwrap()[header::LAST_MODIFIED], "Thu, 20 Nov 2025 12:00:00 GMT");
        for error in [
            StoreError::MarkedDeleted { version: VersionAsked::Null },
            StoreError::IsMarker { version: VersionAsked::Null, modified },
        ] {
            let marker = store(&error);
            let headers = marker.headers().unwrap();
            assert_eq!(
                (headers[DELETE_MARKER].as_bytes(), headers[VERSION_ID].as_bytes()),
                (&b"true"[..], &b"null"[..])
            );
            let allowed = matches!(error, StoreError::IsMarker { .. }).then_some("DELETE");
            assert_eq!(headers.get(header::ALLOW).map(|allow| allow.to_str().unwrap()), allowed);
        }
    }

    #[test]
    fn the_gate_in_every_state() {
        let told = |refusal, need| {
            let answer = gate(&refusal, need);
            (answer.code().as_str().to_owned(), answer.status_code().unwrap().as_u16())
        };
        let needs = [Need::Read, Need::Write, Need::Delete, Need::Erase];
        for (asleep, code, statuses) in [
            (Asleep::Provisioning, "ServiceUnavailable", [503; 4]),
            (Asleep::Disabled, "TenantDisabled", [403, 409, 409, 409]),
            (Asleep::Terminated, "TenantTerminated", [403; 4]),
            (Asleep::Purging, "TenantPurging", [410; 4]),
            (Asleep::Purged, "TenantPurged", [410; 4]),
        ] {
            for (need, status) in needs.into_iter().zip(statuses) {
                assert_eq!(told(Refusal::Asleep(asleep), need), (code.to_owned(), status), "{asleep:?} {need:?}");
            }
        }
        assert_eq!(told(Refusal::NoSuchBucket, Need::Read), ("NoSuchBucket".to_owned(), 404));
        assert_eq!(told(Refusal::Role, Need::Write), ("AccessDenied".to_owned(), 403));
        let (unknown, wrong) =
            (gate(&Refusal::UnknownLogin, Need::Read), S3Error::new(S3ErrorCode::SignatureDoesNotMatch));
        assert_eq!((unknown.code(), unknown.message()), (wrong.code(), wrong.message()));
    }
}
