//! The strict look at a request's head before `s3s` parses anything: what is ambiguous, unsigned or not built is
//! refused here, with an S3 error.
//!
//! Called by the guard for every request, and by the fuzz target. Pure. Promises that what it passes has one meaning:
//! one host, one length, one way of authentication, every security header once, every `x-amz-*` header signed, no
//! sub-resource that would fall through to another operation, a region that is served here.
//!
//! `s3s` 0.17 gets these right, so they are not repeated here: the signature itself (header, presigned, chunks,
//! trailers), clock skew and expiry against the clock, scope date against request date, the payload's SHA-256, the
//! chunked framing and its decoded length, percent-decoding of the path, bucket naming, key length, size limits while
//! a body is read. What it leaves to us, besides this file: a missing last chunk, DTDs, digests of XML bodies
//! (`body`), request ids (`guard`), checksums (`store::digest`), conditions, ranges, listing encodings.
//!
//! What it would take and we refuse:
//! - requests without authentication, POST forms, SigV2, session tokens, two kinds of authentication at once;
//! - repeated headers and query parameters (`s3s` treats some repeated ones as absent);
//! - `host` missing from the signed headers; `X-Amz-Expires` of 0 or with a sign;
//! - `aws-chunked` without a streaming payload hash, which would store the framing;
//! - sub-resources it does not route: `DELETE /b/k?acl` would delete the object;
//! - `x-amz-*` query parameters that S3 takes for headers, and `s3s` ignores.

use super::hosts::{Hosts, Level, well_formed};
use super::ingest;
use super::refusal::Refusal;
use crate::model::atlas::Region;
use crate::model::limits::{SEGMENT_BYTES_MAX, XML_BYTES_MAX};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Version, header};
use s3s_sigv4::{AuthorizationV4, CredentialV4, ParseAuthorizationError};
use std::collections::HashSet;

/// Most header lines of a request.
pub const HEADERS_MAX: usize = 100;
/// Longest header value, and longest path with query, in bytes.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// All header names and values together, in bytes. Source: S3 allows 8 KiB; Authorization and signed copies need room.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest life of a presigned URL, in seconds. Source: S3 user guide, "Sharing objects with presigned URLs".
pub const PRESIGNED_S_MAX: u32 = 604_800;
/// What chunk framing and trailers may add to a body of `SEGMENT_BYTES_MAX`.
const FRAMING_BYTES_MAX: u64 = SEGMENT_BYTES_MAX / 64;

/// What this endpoint answers to.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The domains of virtual-hosted-style addressing.
    pub hosts: Hosts,
    /// The regions served here, not empty: what the scope of a signature may name.
    pub regions: Vec<&'static Region>,
}

/// A request's head that passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passed {
    /// The region in the scope of the signature. Not yet verified: the signature is.
    pub region: &'static Region,
    /// What the body has to be.
    pub body: BodyRule,
}

/// What the body has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyRule {
    /// None.
    Empty,
    /// XML: at most `XML_BYTES_MAX`, no DTD.
    Xml,
    /// An object's or part's bytes, as they are or in chunks that end in a trailer.
    Object,
    /// An object's or part's bytes in signed chunks without a trailer: the last chunk must be there.
    SignedChunks,
    /// Events for `POST /ingest/v1/events`: at most `INGEST_BYTES_MAX`, as they are.
    Events,
}

/// Checks a request's head. Costs no look-up and no hash.
pub fn check(rules: &Rules, parts: &Parts) -> Result<Passed, Refusal> {
    method(&parts.method)?;
    bounds(parts)?;
    let host = host(parts)?;
    framing(parts)?;
    once(&parts.headers)?;
    let path = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8().map_err(|_| BAD_URI)?;
    let query = match parts.uri.query() {
        Some(query) => super::query::parse(query).ok_or(BAD_URI)?,
        None => Vec::new(),
    };
    let query = query.as_slice();
    unique(query)?;
    plain(query)?;
    let region = authentication(rules, &parts.headers, query)?;
    super::unbuilt::check(&parts.headers)?;
    if ingest::is_for(&rules.hosts, host, parts) {
        return Ok(Passed { region, body: ingest::body_rule(&parts.headers)? });
    }
    let level = rules.hosts.level(host, &path);
    routes(&parts.method, level, query)?;
    Ok(Passed { region, body: body(parts, level, query)? })
}

/// Whether a request, well formed or not, is for `POST /ingest/v1/events`: whose errors are JSON.
pub(super) fn is_for_ingest(rules: &Rules, parts: &Parts) -> bool {
    host(parts).is_ok_and(|host| ingest::is_for(&rules.hosts, host, parts))
}

const BAD_URI: Refusal = Refusal::bad("InvalidURI", "Couldn't parse the specified URI.");
const DENIED: Refusal = Refusal::forbidden("AccessDenied", "Access Denied");
const MALFORMED: Refusal =
    Refusal::bad("AuthorizationHeaderMalformed", "The authorization header that you provided is not valid.");
const BAD_QUERY_AUTH: Refusal = Refusal::bad(
    "AuthorizationQueryParametersError",
    "The authorization query parameters that you provided are not valid.",
);
const UNSIGNED_HEADERS: Refusal =
    Refusal::forbidden("AccessDenied", "There were headers present in the request which were not signed");

fn method(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE => Ok(()),
        // No origin is ever reflected: there is no CORS configuration to allow one.
        Method::OPTIONS => Err(Refusal::forbidden("AccessForbidden", "CORSResponse: CORS is not enabled here.")),
        _ => Err(Refusal::new(
            "MethodNotAllowed",
            StatusCode::METHOD_NOT_ALLOWED,
            "The specified method is not allowed against this resource.",
        )),
    }
}

fn bounds(parts: &Parts) -> Result<(), Refusal> {
    let too_large = Refusal::bad("RequestHeaderSectionTooLarge", "Your request header section exceeds the limits.");
    if parts.uri.path().len() + parts.uri.query().map_or(0, str::len) > LINE_BYTES_MAX {
        return Err(BAD_URI);
    }
    let mut bytes = 0;
    for (name, value) in &parts.headers {
        bytes += name.as_str().len() + value.len();
        if value.len() > LINE_BYTES_MAX || bytes > HEAD_BYTES_MAX {
            return Err(too_large);
        }
        let text = std::str::from_utf8(value.as_bytes());
        let ascii = |text: &str| text.bytes().all(|b| b == b'\t' || (0x20..0x7f).contains(&b));
        if !text.is_ok_and(|text| !is_exact(name.as_str()) || ascii(text)) {
            return Err(Refusal::bad("InvalidArgument", "A header has a character that is not allowed in it."));
        }
    }
    if parts.headers.len() > HEADERS_MAX {
        return Err(too_large);
    }
    Ok(())
}

/// Headers that decide something: plain ASCII, and never twice.
fn is_exact(name: &str) -> bool {
    const EXACT: [&str; 15] = [
        "authorization",
        "content-encoding",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "range",
        "transfer-encoding",
        "upgrade",
    ];
    EXACT.contains(&name) || (name.starts_with("x-amz-") && !name.starts_with("x-amz-meta-"))
}

fn once(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.len() == headers.keys_len() {
        return Ok(());
    }
    for name in headers.keys() {
        let decides = is_exact(name.as_str()) || name.as_str().starts_with("x-amz-meta-");
        if decides && headers.get_all(name).iter().nth(1).is_some() {
            return Err(Refusal::bad("InvalidRequest", "A header that must stand once stands several times."));
        }
    }
    Ok(())
}

fn host(parts: &Parts) -> Result<&str, Refusal> {
    let refused = Refusal::bad("InvalidRequest", "The request must name one valid host.");
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = match (first, authority) {
        (Some(host), _) => host.to_str().map_err(|_| refused)?,
        (None, Some(authority)) if parts.version >= Version::HTTP_2 => authority,
        (None, _) => return Err(refused),
    };
    let same = authority.is_none_or(|authority| authority.eq_ignore_ascii_case(host));
    if second.is_some() || !same || !well_formed(host) { Err(refused) } else { Ok(host) }
}

/// One length, one framing: two that disagree are how requests are smuggled past a proxy.
fn framing(parts: &Parts) -> Result<(), Refusal> {
    let refused = Refusal::bad("InvalidRequest", "The framing of the request's body is ambiguous.");
    let headers = &parts.headers;
    let length = headers.get(header::CONTENT_LENGTH);
    let transfer = headers.get(header::TRANSFER_ENCODING);
    let digits = |value: &header::HeaderValue| number(value.as_bytes()).is_some();
    if length.is_some_and(|length| !digits(length)) || (length.is_some() && transfer.is_some()) {
        return Err(refused);
    }
    if transfer.is_some_and(|transfer| parts.version >= Version::HTTP_2 || transfer.as_bytes() != b"chunked") {
        return Err(refused);
    }
    let continues = |expect: &header::HeaderValue| expect.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.contains_key(header::UPGRADE) || headers.get(header::EXPECT).is_some_and(|e| !continues(e)) {
        return Err(refused);
    }
    Ok(())
}

/// Digits only: no sign, no space, no empty text.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn unique(query: &[(String, String)]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    if query.iter().all(|(name, _)| seen.insert(name.as_str())) {
        return Ok(());
    }
    Err(Refusal::bad("InvalidArgument", "A query parameter stands several times."))
}

/// Query parameters that hold a name of the client's, and may hold anything.
const NAMES: [&str; 5] = ["delimiter", "key-marker", "marker", "prefix", "start-after"];

/// No control character elsewhere: it could only end up in a header of the answer, or in an error that XML cannot hold.
fn plain(query: &[(String, String)]) -> Result<(), Refusal> {
    let free = |name: &str| NAMES.contains(&name);
    if query.iter().all(|(name, value)| free(name) || !value.contains(char::is_control)) {
        return Ok(());
    }
    Err(Refusal::bad("InvalidArgument", "A query parameter has a character that is not allowed in it."))
}

/// Exactly one way of authentication, in one of two shapes. Returns the region that the signature's scope names.
fn authentication(rules: &Rules, headers: &HeaderMap, query: &[(String, String)]) -> Result<&'static Region, Refusal> {
    let amz = |name: &str| name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
    let v2 = query.iter().any(|(name, _)| name == "AWSAccessKeyId" || name == "Signature");
    let presigned = query.iter().any(|(name, _)| amz(name) && is_presigned(name));
    let header = headers.get(header::AUTHORIZATION);
    if headers.contains_key("x-amz-security-token") || query.iter().any(|(name, _)| name == "X-Amz-Security-Token") {
        return Err(Refusal::bad("InvalidToken", "The provided token is malformed or otherwise invalid."));
    }
    for (name, _) in query.iter().filter(|(name, _)| amz(name)) {
        if !is_presigned(name) && !IGNORED_QUERY.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(Refusal::not_built("This x-amz- query parameter is not supported; send it as a header."));
        }
    }
    match (header, presigned, v2) {
        (None, false, false) => Err(DENIED),
        (Some(_), true, _) | (Some(_), _, true) | (_, true, true) => {
            Err(Refusal::bad("InvalidArgument", "Only one auth mechanism allowed."))
        }
        (None, false, true) => Err(OLD_SIGNATURE),
        (Some(header), false, false) => by_header(rules, headers, header.to_str().map_err(|_| MALFORMED)?),
        (None, true, false) => by_query(rules, headers, query),
    }
}

const OLD_SIGNATURE: Refusal = Refusal::forbidden(
    "AccessDenied",
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
);

/// `x-amz-` query parameters that make a presigned URL, in their one spelling.
const PRESIGNED: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"];

/// `x-amz-` query parameters that SDKs add to presigned URLs and that change nothing.
const IGNORED_QUERY: [&str; 5] = [
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-checksum-crc32",
    "x-amz-user-agent",
];

fn is_presigned(name: &str) -> bool {
    PRESIGNED.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn by_header(rules: &Rules, headers: &HeaderMap, authorization: &str) -> Result<&'static Region, Refusal> {
    if authorization.starts_with("AWS ") {
        return Err(OLD_SIGNATURE);
    }
    let parsed = AuthorizationV4::parse(authorization).map_err(|error| match error {
        ParseAuthorizationError::Malformed => MALFORMED,
        ParseAuthorizationError::InvalidSignature => Refusal::forbidden(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        ),
    })?;
    if parsed.algorithm != "AWS4-HMAC-SHA256" {
        return Err(MALFORMED);
    }
    if !headers.contains_key("x-amz-date") {
        return Err(Refusal::forbidden(
            "AccessDenied",
            "AWS authentication requires a valid Date or x-amz-date header",
        ));
    }
    let Some(payload) = headers.get("x-amz-content-sha256") else {
        return Err(Refusal::bad("InvalidRequest", "Missing required header for this request: x-amz-content-sha256"));
    };
    if !is_payload_hash(payload.as_bytes()) {
        return Err(BAD_PAYLOAD_HASH);
    }
    signed(headers, &parsed.signed_headers)?;
    scope(rules, &parsed.credential, MALFORMED)
}

fn by_query(rules: &Rules, headers: &HeaderMap, query: &[(String, String)]) -> Result<&'static Region, Refusal> {
    let value = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).ok_or(BAD_QUERY_AUTH);
    let misspelt = query.iter().any(|(name, _)| is_presigned(name) && !PRESIGNED.contains(&name.as_str()));
    if misspelt || value("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(BAD_QUERY_AUTH);
    }
    let expires = number(value("X-Amz-Expires")?.as_bytes()).ok_or(BAD_QUERY_AUTH)?;
    if !(1..=u64::from(PRESIGNED_S_MAX)).contains(&expires) {
        return Err(BAD_QUERY_AUTH);
    }
    value("X-Amz-Date")?;
    value("X-Amz-Signature")?;
    if let Some(payload) = headers.get("x-amz-content-sha256")
        && (!is_payload_hash(payload.as_bytes()) || payload.as_bytes().starts_with(b"STREAMING-"))
    {
        return Err(BAD_PAYLOAD_HASH);
    }
    let names: Vec<_> = value("X-Amz-SignedHeaders")?.split(';').collect();
    signed(headers, &names)?;
    let credential = CredentialV4::parse(value("X-Amz-Credential")?).map_err(|_| BAD_QUERY_AUTH)?;
    scope(rules, &credential, BAD_QUERY_AUTH)
}

const BAD_PAYLOAD_HASH: Refusal = Refusal::bad(
    "InvalidArgument",
    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a known STREAMING- value or a valid sha256 value.",
);

fn is_payload_hash(value: &[u8]) -> bool {
    let hash = value.len() == 64 && value.iter().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    hash || matches!(
        value,
        b"UNSIGNED-PAYLOAD"
            | b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
            | b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
            | b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    )
}

/// `host` and every `x-amz-*` header are signed; each name stands once, in lower case. `authorization` is none of
/// them: `s3s` would skip it in silence.
///
/// Routing and parsing read headers that arrived, the signature covers headers that were named: whatever lies between
/// the two would let the holder of a signed request turn it into another one.
fn signed(headers: &HeaderMap, names: &[&str]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    let proper =
        |name: &&str| !name.is_empty() && *name != "authorization" && !name.bytes().any(|b| b.is_ascii_uppercase());
    if !names.iter().all(|name| proper(name) && seen.insert(*name)) {
        return Err(UNSIGNED_HEADERS);
    }
    let all = headers.keys().filter(|name| name.as_str().starts_with("x-amz-"));
    if !seen.contains("host") || !all.into_iter().all(|name| seen.contains(name.as_str())) {
        return Err(UNSIGNED_HEADERS);
    }
    Ok(())
}

fn scope(rules: &Rules, credential: &CredentialV4<'_>, otherwise: Refusal) -> Result<&'static Region, Refusal> {
    if credential.aws_service != "s3" || credential.access_key_id.is_empty() || credential.access_key_id.len() > 128 {
        return Err(otherwise);
    }
    let served = rules.regions.iter().find(|region| region.id == credential.aws_region);
    let wrong = |first: &&'static Region| Refusal { code: otherwise.code, ..Refusal::wrong_region(first) };
    served.copied().ok_or_else(|| rules.regions.first().map_or(otherwise, wrong))
}

/// The names that select a sub-resource anywhere in S3. One that is not built where it stands must not fall through
/// to the plain operation.
pub(super) const SUBRESOURCES: [&str; 42] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "events",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// What is built, by method and level; `s3s` tells the operations apart from there.
fn routes(method: &Method, level: Level, query: &[(String, String)]) -> Result<(), Refusal> {
    let built: &[&str] = match (method.as_str(), level) {
        ("GET", Level::Bucket) => &["lifecycle", "location", "uploads", "versioning", "versions"],
        ("GET", Level::Object) => &["partNumber", "tagging", "uploadId", "versionId"],
        ("HEAD", Level::Object) => &["partNumber", "versionId"],
        ("PUT", Level::Object) => &["partNumber", "tagging", "uploadId", "versionId"],
        ("PUT", Level::Bucket) => &["lifecycle", "versioning"],
        ("DELETE", Level::Bucket) => &["lifecycle"],
        ("POST", Level::Bucket) => &["delete"],
        ("POST", Level::Object) => &["uploadId", "uploads"],
        ("DELETE", Level::Object) => &["tagging", "uploadId", "versionId"],
        _ => &[],
    };
    let has = |wanted: &str| query.iter().any(|(name, _)| name == wanted);
    if query.iter().any(|(name, _)| SUBRESOURCES.contains(&name.as_str()) && !built.contains(&name.as_str())) {
        return Err(Refusal::not_built("This sub-resource is not implemented here."));
    }
    let part = method == Method::PUT && has("partNumber") != has("uploadId");
    let version = method == Method::PUT && has("versionId") && !has("tagging");
    if part || version {
        return Err(Refusal::bad("InvalidArgument", "The query parameters do not belong together."));
    }
    Ok(())
}

fn body(parts: &Parts, level: Level, query: &[(String, String)]) -> Result<BodyRule, Refusal> {
    let headers = &parts.headers;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| number(length.as_bytes()));
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let has = |wanted: &str| query.iter().any(|(name, _)| name == wanted);
    let object = parts.method == Method::PUT
        && level == Level::Object
        && !has("tagging")
        && !headers.contains_key("x-amz-copy-source");
    let hash = headers.get("x-amz-content-sha256").map_or(&b""[..], header::HeaderValue::as_bytes);
    let streaming = hash.starts_with(b"STREAMING-");
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let framed = encoding.split(',').any(|one| one.trim().eq_ignore_ascii_case("aws-chunked"));
    if framed && !streaming {
        return Err(Refusal::bad("InvalidRequest", "aws-chunked needs a STREAMING- value in x-amz-content-sha256."));
    }
    if !object {
        if streaming {
            return Err(Refusal::bad("InvalidRequest", "This operation does not take a chunked payload."));
        }
        if length.is_some_and(|length| length > XML_BYTES_MAX as u64) {
            return Err(TOO_LONG);
        }
        if matches!(parts.method, Method::PUT | Method::POST) {
            return form(headers).map(|()| BodyRule::Xml);
        }
        let any = chunked || length.is_some_and(|length| length > 0);
        let refused = Refusal::bad("InvalidRequest", "This operation does not take a request body.");
        return if any { Err(refused) } else { Ok(BodyRule::Empty) };
    }
    let too_large = Refusal::bad("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.");
    if streaming {
        let decoded = headers.get("x-amz-decoded-content-length").map(|value| number(value.as_bytes()));
        match decoded {
            Some(Some(decoded)) if decoded > SEGMENT_BYTES_MAX => return Err(too_large),
            Some(Some(_)) => {}
            Some(None) => return Err(Refusal::bad("InvalidArgument", "x-amz-decoded-content-length is no length.")),
            None => return Err(NO_LENGTH),
        }
        if length.is_some_and(|length| length > SEGMENT_BYTES_MAX + FRAMING_BYTES_MAX) {
            return Err(too_large);
        }
        let trailers = headers.get("x-amz-trailer");
        if hash.ends_with(b"-TRAILER") != trailers.is_some() {
            return Err(Refusal::bad("InvalidRequest", "x-amz-trailer and x-amz-content-sha256 do not agree."));
        }
        return Ok(if trailers.is_some() { BodyRule::Object } else { BodyRule::SignedChunks });
    }
    if headers.contains_key("x-amz-trailer") || chunked {
        return Err(if chunked { NO_LENGTH } else { BAD_PAYLOAD_HASH });
    }
    if length.is_some_and(|length| length > SEGMENT_BYTES_MAX) { Err(too_large) } else { Ok(BodyRule::Object) }
}

/// An XML body is over `XML_BYTES_MAX`.
pub const TOO_LONG: Refusal = Refusal::bad("MaxMessageLengthExceeded", "Your request was too big.");
const NO_LENGTH: Refusal = Refusal::new(
    "MissingContentLength",
    StatusCode::LENGTH_REQUIRED,
    "You must provide the Content-Length HTTP header.",
);

/// Forms carry their authentication in the body, so they would pass by the checks above.
fn form(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if kind.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
        return Err(Refusal::not_built("POST forms are not implemented here."));
    }
    Ok(())
}

#[cfg(test)]
#[path = "precheck_tests.rs"]
mod tests;
