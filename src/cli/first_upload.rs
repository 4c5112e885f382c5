//! The first upload of a newcomer's store: a real signed PUT and GET over TLS, as any S3 client would do them, and a
//! look at what lies on the disk.
//!
//! Called by `dev` once, when it created its directory. Must not reach into the server: it is a client.

use reqwest::{Client, Method};
use s3s_sigv4::{AmzDate, Payload};
use sha2::{Digest, Sha256};

/// Where and as whom.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// `https://host:port`.
    pub endpoint: &'a str,
    /// The S3 region.
    pub region: &'a str,
    /// The public half of the login.
    pub access_id: &'a str,
    /// The secret half.
    pub secret: &'a str,
}

/// A record as Amazon SES publishes one when a recipient opens a message.
pub const RECORD: &str = r#"{"eventType":"Open","mail":{"timestamp":"2026-11-20T11:30:00.000Z","messageId":"0000014c-first","destination":["recipient@example.com"]},"open":{"ipAddress":"192.0.2.1","timestamp":"2026-11-20T11:31:09.000Z","userAgent":"Mozilla/5.0"}}"#;

/// Why the first upload did not come back as it went.
#[derive(Debug, thiserror::Error)]
pub enum FirstUploadError {
    /// No answer.
    #[error("the store did not answer: {0}")]
    Http(#[from] reqwest::Error),
    /// Not a 200.
    #[error("the store answered {0}")]
    Status(u16),
    /// Other bytes than were sent.
    #[error("the bytes read back differ from those sent")]
    Differs,
}

/// Puts [`RECORD`] under `/bucket/name` and reads it back.
pub async fn first_upload(client: &Client, target: Target<'_>, path: &str, now: &str) -> Result<(), FirstUploadError> {
    send(client, target, Method::PUT, path, RECORD, now).await?;
    let back = send(client, target, Method::GET, path, "", now).await?;
    if back == RECORD.as_bytes() { Ok(()) } else { Err(FirstUploadError::Differs) }
}

/// `now` as SigV4 has it: `20261120T113000Z`.
async fn send(
    client: &Client,
    target: Target<'_>,
    method: Method,
    path: &str,
    body: &'static str,
    now: &str,
) -> Result<Vec<u8>, FirstUploadError> {
    let date = AmzDate::parse(now).expect("the caller formats the time");
    let host = target.endpoint.trim_start_matches("https://");
    let hash = hex::encode(Sha256::digest(body));
    let subject = "x-amz-meta-geoseal-subject";
    let mut headers = vec![("host", host), ("x-amz-content-sha256", &hash), ("x-amz-date", now)];
    if method == Method::PUT {
        headers.push((subject, "contact:4711"));
    }
    headers.sort_unstable();
    let canonical = s3s_sigv4::create_canonical_request_with_raw_uri_path(
        method.as_str(),
        path,
        &[] as &[(String, String)],
        headers.clone(),
        Payload::SingleChunk(&hash),
    );
    let to_sign = s3s_sigv4::create_string_to_sign(&canonical, &date, target.region, "s3");
    let signature = s3s_sigv4::calculate_signature(&to_sign, target.secret, &date, target.region, "s3");
    let signed: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}/{}/s3/aws4_request,SignedHeaders={},Signature={signature}",
        target.access_id,
        date.fmt_date(),
        target.region,
        signed.join(";"),
    );
    let mut request = client.request(method, format!("{}{path}", target.endpoint)).body(body);
    for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
        request = request.header(*name, *value);
    }
    let reply = request.header("authorization", authorization).send().await?;
    match reply.status().as_u16() {
        200 => Ok(reply.bytes().await?.to_vec()),
        other => Err(FirstUploadError::Status(other)),
    }
}
