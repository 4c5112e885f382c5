//! From the words of `s3s` to the words of the store, and back. Pure, except that a trailer is read when the store
//! asks for it.
//!
//! Used by the operations. Promises that whatever reaches the store was parsed and bounded here.

use super::refusal::Refusal;
use crate::model::ids::TenantId;
use crate::model::limits::METADATA_BYTES_MAX;
use crate::model::names::ObjectName;
use crate::model::time::Millis;
use crate::model::versioning::VersionAsked;
use crate::store::digest::decode_value;
use crate::store::types::{
    BadTrailer, Checksum, ChecksumAlgorithm, ChecksumType, ContentHeaders, Expected, RangeAsked, ReadConditions,
    WriteCondition,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::request::Parts;
use s3s::dto::{self, ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};
use std::time::{Duration, SystemTime};

/// The algorithms with their names and headers.
const ALGORITHMS: [(ChecksumAlgorithm, &str, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "CRC32", "x-amz-checksum-crc32"),
    (ChecksumAlgorithm::Crc32c, "CRC32C", "x-amz-checksum-crc32c"),
    (ChecksumAlgorithm::Crc64Nvme, "CRC64NVME", "x-amz-checksum-crc64nvme"),
    (ChecksumAlgorithm::Sha1, "SHA1", "x-amz-checksum-sha1"),
    (ChecksumAlgorithm::Sha256, "SHA256", "x-amz-checksum-sha256"),
];

/// The algorithm of this name.
pub(super) fn algorithm(name: &str) -> S3Result<ChecksumAlgorithm> {
    let found = ALGORITHMS.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(algorithm, _, _)| *algorithm).ok_or_else(|| s3_error!(NotImplemented, "Unknown checksum algorithm"))
}

/// The algorithm's name.
pub(super) fn algorithm_name(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    let found = ALGORITHMS.iter().find(|(known, _, _)| *known == algorithm);
    dto::ChecksumAlgorithm::from_static(found.expect("every algorithm is in the table").1)
}

/// The type's name.
pub(super) fn type_name(kind: ChecksumType) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match kind {
        ChecksumType::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumType::Composite => dto::ChecksumType::COMPOSITE,
    })
}

/// The stored value of one algorithm, for a field of an answer.
pub(super) fn value(checksums: &[Checksum], algorithm: ChecksumAlgorithm) -> Option<String> {
    checksums.iter().find(|sum| sum.algorithm == algorithm).map(|sum| sum.value.clone())
}

/// Fills the five checksum fields of an answer of `s3s`.
macro_rules! set_checksums {
    ($output:expr, $checksums:expr) => {{
        use $crate::store::types::ChecksumAlgorithm as A;
        let sums: &[$crate::store::types::Checksum] = $checksums;
        $output.checksum_crc32 = $crate::s3::convert::value(sums, A::Crc32);
        $output.checksum_crc32c = $crate::s3::convert::value(sums, A::Crc32c);
        $output.checksum_crc64nvme = $crate::s3::convert::value(sums, A::Crc64Nvme);
        $output.checksum_sha1 = $crate::s3::convert::value(sums, A::Sha1);
        $output.checksum_sha256 = $crate::s3::convert::value(sums, A::Sha256);
    }};
}
pub(super) use set_checksums;

/// The checksum fields of an input of `s3s` that are set: algorithm and base64.
macro_rules! given_checksums {
    ($input:expr) => {{
        use $crate::store::types::ChecksumAlgorithm as A;
        let given = [
            (A::Crc32, &$input.checksum_crc32),
            (A::Crc32c, &$input.checksum_crc32c),
            (A::Crc64Nvme, &$input.checksum_crc64nvme),
            (A::Sha1, &$input.checksum_sha1),
            (A::Sha256, &$input.checksum_sha256),
        ];
        given.into_iter().filter_map(|(a, v)| v.clone().map(|v| (a, v))).collect::<Vec<(A, String)>>()
    }};
}
pub(super) use given_checksums;

const BAD_MD5: Refusal = Refusal::bad("InvalidDigest", "The Content-MD5 you specified is not valid.");
const BAD_CHECKSUM: Refusal = Refusal::bad("InvalidRequest", "Value for a x-amz-checksum- header is invalid.");

/// A refusal in the words of `s3s`.
fn told(refusal: Refusal) -> S3Error {
    let code = S3ErrorCode::from_bytes(refusal.code.as_bytes()).unwrap_or(S3ErrorCode::InvalidRequest);
    S3Error::with_message(code, refusal.message)
}

/// What the headers say that the body hashes to.
fn claims(headers: &HeaderMap) -> Result<Expected, Refusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let mut expected = Expected::default();
    if let Some(md5) = text("content-md5") {
        let md5 = STANDARD.decode(md5).ok().and_then(|md5| md5.try_into().ok());
        expected.md5 = Some(md5.ok_or(BAD_MD5)?);
    }
    for (algorithm, _, header) in ALGORITHMS {
        if let Some(base64) = text(header) {
            expected.checksums.push((algorithm, decode_value(algorithm, base64).ok_or(BAD_CHECKSUM)?));
        }
    }
    Ok(expected)
}

/// What an XML body has to hash to. On CompleteMultipartUpload the checksum headers speak of the object instead.
pub(super) fn xml_digests(parts: &Parts) -> Result<Expected, Refusal> {
    let mut expected = claims(&parts.headers)?;
    let of_object = parts.uri.query().is_some_and(|query| query.contains("uploadId"));
    if of_object || parts.headers.contains_key("x-amz-copy-source") {
        expected.checksums.clear();
    }
    Ok(expected)
}

/// What the body of a PUT or part has to hash to, and what to keep of it. Trailers are read when the body has ended:
/// exactly the one that was declared has to be there.
pub(super) fn expected(headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> S3Result<Expected> {
    let mut expected = claims(headers).map_err(told)?;
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("").trim());
    if let Some(name) = text("x-amz-sdk-checksum-algorithm") {
        expected.compute.push(algorithm(name)?);
    }
    let declared = match text("x-amz-trailer") {
        Some(name) => {
            let known = ALGORITHMS.iter().find(|(_, _, header)| header.eq_ignore_ascii_case(name));
            Some(*known.ok_or_else(|| s3_error!(InvalidRequest, "The declared trailer is not a known checksum"))?)
        }
        None => None,
    };
    expected.compute.extend(declared.map(|(algorithm, _, _)| algorithm));
    if declared.is_some() || trailers.is_some() {
        expected.trailers = Some(Box::new(move || read_trailers(declared, trailers.as_ref())));
    }
    Ok(expected)
}

type Declared = Option<(ChecksumAlgorithm, &'static str, &'static str)>;

fn read_trailers(
    declared: Declared,
    trailers: Option<&TrailingHeaders>,
) -> Result<Vec<(ChecksumAlgorithm, Vec<u8>)>, BadTrailer> {
    let arrived = trailers.and_then(TrailingHeaders::take).unwrap_or_default();
    let known = |name: &http::HeaderName| declared.is_some_and(|(_, _, header)| name.as_str() == header);
    // The trailers' own signature stands among them; s3s has verified it.
    if !arrived.keys().all(|name| known(name) || name.as_str() == "x-amz-trailer-signature") {
        return Err(BadTrailer);
    }
    let Some((algorithm, _, header)) = declared else { return Ok(vec![]) };
    let mut values = arrived.get_all(header).iter();
    let (Some(one), None) = (values.next(), values.next()) else { return Err(BadTrailer) };
    let value = one.to_str().ok().and_then(|base64| decode_value(algorithm, base64.trim()));
    Ok(vec![(algorithm, value.ok_or(BadTrailer)?)])
}

/// An object's name from the path, a header or an XML body.
pub(super) fn object_name(name: &str) -> S3Result<ObjectName> {
    ObjectName::parse(name.to_owned()).map_err(|error| match error {
        crate::model::names::BadName::TooLong => s3_error!(KeyTooLongError),
        _ => s3_error!(InvalidArgument, "The object name is not valid"),
    })
}

/// A version id: `null` is the version that was written while the bucket gave out none.
pub(super) fn version(id: Option<&str>) -> S3Result<Option<VersionAsked>> {
    let parsed = |id: &str| id.parse().map(VersionAsked::Id);
    match id {
        None => Ok(None),
        Some("null") => Ok(Some(VersionAsked::Null)),
        Some(id) => parsed(id).map(Some).map_err(|_| s3_error!(InvalidArgument, "Invalid version id specified")),
    }
}

/// A version's id as clients are told it.
pub(super) fn version_id(version: VersionAsked) -> String {
    match version {
        VersionAsked::Null => "null".to_owned(),
        VersionAsked::Id(id) => id.to_string(),
    }
}

/// User metadata in order of name. Errors: over 2 KiB in all.
pub(super) fn metadata(given: Option<dto::Metadata>) -> S3Result<Vec<(String, String)>> {
    let mut metadata: Vec<_> = given.unwrap_or_default().into_iter().collect();
    metadata.sort();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(s3_error!(MetadataTooLarge));
    }
    Ok(metadata)
}

/// Tags from the `x-amz-tagging` header, a query string.
pub(super) fn tags(given: Option<&str>) -> S3Result<Vec<(String, String)>> {
    tag_rule(super::query::parse(given.unwrap_or("")).ok_or_else(|| s3_error!(InvalidTag))?)
}

/// At most 10 tags, keys distinct, 1 to 128 characters, values up to 256. Source: the S3 user guide, "Object tags".
pub(super) fn tag_rule(mut tags: Vec<(String, String)>) -> S3Result<Vec<(String, String)>> {
    tags.sort();
    let fits =
        |(key, value): &(String, String)| (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
    let twice = tags.windows(2).any(|two| two[0].0 == two[1].0);
    if tags.len() > 10 || twice || !tags.iter().all(fits) { Err(s3_error!(InvalidTag)) } else { Ok(tags) }
}

/// The content headers of an input, without the framing's encoding.
macro_rules! content_headers {
    ($input:expr) => {
        $crate::store::types::ContentHeaders {
            content_type: $input.content_type.take(),
            content_encoding: $crate::s3::convert::stored_encoding($input.content_encoding.take()),
            content_disposition: $input.content_disposition.take(),
            content_language: $input.content_language.take(),
            cache_control: $input.cache_control.take(),
            expires: $input.expires.take(),
            website_redirect: $input.website_redirect_location.take(),
        }
    };
}
pub(super) use content_headers;

/// `aws-chunked` describes the transfer, not the object. Source: the S3 API, "Signature calculations: chunked upload".
pub(super) fn stored_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<_> = encoding.split(',').map(str::trim).filter(|e| !e.eq_ignore_ascii_case("aws-chunked")).collect();
    (!kept.iter().all(|one| one.is_empty())).then(|| kept.join(","))
}

/// Fills the content headers of an answer.
macro_rules! set_content_headers {
    ($output:expr, $headers:expr) => {{
        let headers: $crate::store::types::ContentHeaders = $headers;
        $output.content_type = headers.content_type.or_else(|| Some("binary/octet-stream".to_owned()));
        $output.content_encoding = headers.content_encoding;
        $output.content_disposition = headers.content_disposition;
        $output.content_language = headers.content_language;
        $output.cache_control = headers.cache_control;
        $output.expires = headers.expires;
        $output.website_redirect_location = headers.website_redirect;
    }};
}
pub(super) use set_content_headers;

/// Keeps `ContentHeaders` named here, where both macros write them out.
const _: fn(&ContentHeaders) = |_| ();

/// `If-None-Match` and `If-Match` of a write.
pub(super) fn write_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<WriteCondition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(WriteCondition::None),
        (None, Some(ETagCondition::Any)) => Ok(WriteCondition::IfAbsent),
        (Some(ETagCondition::Any), None) => Ok(WriteCondition::IfPresent),
        (Some(ETagCondition::ETag(etag)), None) => Ok(WriteCondition::IfEtag(etag.into_value())),
        _ => Err(s3_error!(NotImplemented, "This combination of conditions is not implemented for writes")),
    }
}

/// The conditions of a read.
pub(super) fn read_conditions(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
) -> ReadConditions {
    let list = |condition: Option<ETagCondition>| {
        condition.map(|one| vec![one.into_etag().map_or_else(|| "*".to_owned(), ETag::into_value)])
    };
    ReadConditions {
        if_match: list(if_match),
        if_none_match: list(if_none_match),
        if_modified_since: if_modified_since.map(millis),
        if_unmodified_since: if_unmodified_since.map(millis),
    }
}

/// A byte range as asked for.
pub(super) fn range(asked: dto::Range) -> RangeAsked {
    match asked {
        dto::Range::Int { first, last } => RangeAsked::FromTo(first, last),
        dto::Range::Suffix { length } => RangeAsked::Suffix(length),
    }
}

/// A part's number. Errors: outside 1 to 10,000.
pub(super) fn part_number(number: i32) -> S3Result<u16> {
    let number = u16::try_from(number).ok().filter(|n| (1..=crate::model::limits::PARTS_MAX).contains(n));
    number.ok_or_else(|| s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}

/// A page's size: none is the largest, larger ones are cut. Errors: negative.
pub(super) fn page_size(asked: Option<i32>) -> S3Result<usize> {
    let max = crate::model::limits::LIST_MAX;
    match asked {
        None => Ok(max),
        Some(asked) => usize::try_from(asked)
            .map(|asked| asked.min(max))
            .map_err(|_| s3_error!(InvalidArgument, "A page size must not be negative")),
    }
}

/// A strong ETag.
pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

/// A time for an answer.
pub(super) fn timestamp(time: Millis) -> Timestamp {
    let since = Duration::from_millis(time.0.unsigned_abs());
    Timestamp::from(if time.0 < 0 { SystemTime::UNIX_EPOCH - since } else { SystemTime::UNIX_EPOCH + since })
}

/// A time from a header. `s3s` has parsed it; one that a calendar cannot hold is as far off as any.
pub(super) fn millis(time: Timestamp) -> Millis {
    let mut text = Vec::new();
    let written = time.format(TimestampFormat::DateTime, &mut text).is_ok();
    let parsed = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    parsed.filter(|_| written).unwrap_or(Millis(0))
}

/// The id of the tenant's data key that S3 shows: which tenant's, which version. Ids only.
pub(super) fn key_id(tenant: TenantId, version: u32) -> String {
    format!("tdk/{tenant}/{version}")
}

/// Fills the encryption headers of an answer: what happened, by which key.
macro_rules! set_encryption {
    ($output:expr, $tenant:expr, $version:expr) => {{
        $output.server_side_encryption =
            Some(s3s::dto::ServerSideEncryption::from_static(s3s::dto::ServerSideEncryption::AWS_KMS));
        $output.ssekms_key_id = Some($crate::s3::convert::key_id($tenant, $version));
    }};
}
pub(super) use set_encryption;

/// Whether XML 1.0 can hold the text, and every reader gets it back: line ends may come back as others.
pub(super) fn fits_xml(text: &str) -> bool {
    !text.chars().any(|c| (c < ' ' && c != '\t') || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

/// The text where an answer has no way to encode it and XML can hold it.
pub(super) fn xml_text(text: &str) -> Option<String> {
    fits_xml(text).then(|| text.to_owned())
}

/// A length for an answer.
pub(super) fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("objects stay far below 2^63 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn claims_are_decoded_or_refused() {
        let good = headers(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="), ("x-amz-checksum-crc32", "AAAAAA==")]);
        let expected = claims(&good).unwrap();
        assert_eq!((expected.md5.unwrap()[0], expected.checksums.len()), (0xd4, 1));
        for (name, value) in [
            ("content-md5", "AAAA"),
            ("content-md5", "not base64"),
            ("x-amz-checksum-crc32", "AAAA"),
            ("x-amz-checksum-sha256", ""),
        ] {
            assert!(claims(&headers(&[(name, value)])).is_err(), "{name}: {value}");
        }
        assert!(expected_trailer("x-amz-checksum-crc32, x-amz-checksum-sha1").is_err());
        assert!(expected_trailer("x-amz-meta-a").is_err());
        let declared = expected_trailer("x-amz-checksum-crc32").unwrap();
        assert_eq!(declared.compute, [ChecksumAlgorithm::Crc32]);
        assert_eq!(declared.trailers.unwrap()().unwrap_err(), BadTrailer, "declared, but it never came");
    }

    fn expected_trailer(names: &str) -> S3Result<Expected> {
        expected(&headers(&[("x-amz-trailer", names)]), None)
    }

    #[test]
    fn metadata_stops_at_two_kib() {
        let of = |bytes: usize| metadata(Some(dto::Metadata::from_iter([("a".to_owned(), "b".repeat(bytes))])));
        assert!(of(METADATA_BYTES_MAX - 1).is_ok());
        assert!(of(METADATA_BYTES_MAX).is_err());
    }

    #[test]
    fn tags_are_ten_distinct_short_pairs() {
        let kept = [("a".to_owned(), "b c".to_owned()), ("d".to_owned(), String::new())];
        assert_eq!(tags(Some("a=b+c&d=")).unwrap(), kept);
        assert!(tags(None).unwrap().is_empty());
        let eleven = (0..11).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join("&");
        for bad in ["a=1&a=2", "=v", &format!("{}=v", "k".repeat(129)), &format!("k={}", "v".repeat(257)), &eleven] {
            assert!(tags(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_framing_is_not_stored() {
        assert_eq!(stored_encoding(Some("aws-chunked".into())), None);
        assert_eq!(stored_encoding(Some("gzip, aws-chunked".into())).as_deref(), Some("gzip"));
        assert_eq!(stored_encoding(Some("aws-chunked,gzip,br".into())).as_deref(), Some("gzip,br"));
    }

    #[test]
    fn times_go_both_ways() {
        for ms in [0, 1_763_640_000_123, -1500] {
            assert_eq!(millis(timestamp(Millis(ms))), Millis(ms));
        }
    }
}
