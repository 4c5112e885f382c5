//! The first upload of a newcomer's store: a real signed PUT and GET over TLS, as any S3 client would do them, and a
//! look at what lies on the disk.
//!
//! Called by `dev` once, when it created its directory. Must not reach into the server: it is a client.

use super::dev::{BUCKET, Login, REGION};
use super::failure::Failure;
use super::files::failed;
use crate::model::time::Millis;
use memchr::memmem::Finder;
use reqwest::{Certificate, Client, Method, redirect};
use s3s_sigv4::{AmzDate, Payload};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The object's name.
pub(super) const NAME: &str = "first/open.json";

/// A record as Amazon SES publishes one when a recipient opens a message.
const RECORD: &str = r#"{"eventType":"Open","mail":{"timestamp":"2026-11-20T11:30:00.000Z","messageId":"0000014c-first","destination":["recipient@example.com"]},"open":{"ipAddress":"192.0.2.1","timestamp":"2026-11-20T11:31:09.000Z","userAgent":"Mozilla/5.0"}}"#;

/// What would give the object away if it stood in a file: from its content, its name, its metadata.
const TRACES: [&str; 4] = ["recipient@example.com", "0000014c-first", NAME, SUBJECT];

/// Whom the record is about: its metadata.
const SUBJECT: &str = "contact:4711-first";

/// Names the key in an answer. Source: Amazon S3, "Specifying server-side encryption with AWS KMS".
const KEY_HEADER: &str = "x-amz-server-side-encryption-aws-kms-key-id";

/// Where, as whom, and where the sealed bytes come to lie.
pub(super) struct Target<'a> {
    /// `https://host:port`.
    pub(super) endpoint: &'a str,
    /// The authority to trust.
    pub(super) ca: &'a Path,
    pub(super) login: &'a Login,
    /// The directory to search afterwards.
    pub(super) data: &'a Path,
}

/// What was seen.
pub(super) struct Seen {
    /// Bytes sent and read back.
    pub(super) bytes: usize,
    /// The key under which they are sealed, as the store names it.
    pub(super) key: String,
    /// Files in which no trace of them was found.
    pub(super) files: usize,
}

/// Puts a record, reads it back, and searches the disk for it.
pub(super) async fn first_upload(target: &Target<'_>, now: Millis) -> Result<Seen, Failure> {
    let lost = |e: reqwest::Error| Failure::Unreachable(format!("the store did not answer: {e}"));
    // An answer of Err only says that a provider was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = std::fs::read(target.ca).map_err(|e| failed(target.ca, &e))?;
    let pem = Certificate::from_pem_bundle(&pem).map_err(lost)?;
    let client = Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .tls_certs_only(pem)
        .build()
        .map_err(lost)?;
    let put = send(&client, target, Method::PUT, RECORD, now).await?;
    let key = put.headers().get(KEY_HEADER).and_then(|key| key.to_str().ok()).unwrap_or("its owner's key").to_owned();
    let back = send(&client, target, Method::GET, "", now).await?.bytes().await.map_err(lost)?;
    if back != RECORD.as_bytes() {
        return Err(Failure::Failed("the bytes read back differ from those sent".into()));
    }
    let data = target.data.to_owned();
    let searched = tokio::task::spawn_blocking(move || search(&data)).await;
    let files = searched.map_err(|_| Failure::Failed("the search of the disk ended early".into()))??;
    Ok(Seen { bytes: RECORD.len(), key, files })
}

async fn send(
    client: &Client,
    target: &Target<'_>,
    method: Method,
    body: &'static str,
    now: Millis,
) -> Result<reqwest::Response, Failure> {
    let now = jiff::Timestamp::from_millisecond(now.0).expect("today is a date").strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = AmzDate::parse(&now).expect("it was formatted as one");
    let (host, path) = (target.endpoint.trim_start_matches("https://"), format!("/{BUCKET}/{NAME}"));
    let hash = hex::encode(Sha256::digest(body));
    let mut headers = vec![("host", host), ("x-amz-content-sha256", &hash), ("x-amz-date", &now)];
    if method == Method::PUT {
        headers.push(("x-amz-meta-geoseal-subject", SUBJECT));
    }
    let canonical = s3s_sigv4::create_canonical_request_with_raw_uri_path(
        method.as_str(),
        &path,
        &[] as &[(String, String)],
        headers.clone(),
        Payload::SingleChunk(&hash),
    );
    let to_sign = s3s_sigv4::create_string_to_sign(&canonical, &date, REGION, "s3");
    let signature = s3s_sigv4::calculate_signature(&to_sign, &target.login.secret, &date, REGION, "s3");
    let signed: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}/{REGION}/s3/aws4_request,SignedHeaders={},Signature={signature}",
        target.login.access_id,
        date.fmt_date(),
        signed.join(";"),
    );
    let mut request = client.request(method, format!("{}{path}", target.endpoint)).body(body);
    for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
        request = request.header(*name, *value);
    }
    let reply = request.header("authorization", authorization).send().await;
    let reply = reply.map_err(|e| Failure::Unreachable(format!("the store did not answer: {e}")))?;
    match reply.status().as_u16() {
        200 => Ok(reply),
        other => Err(Failure::Failed(format!("the store answered {other}"))),
    }
}

/// How many files there are under `dir`, none of which has a trace of the record.
fn search(dir: &Path) -> Result<usize, Failure> {
    let finders = TRACES.map(|trace| Finder::new(trace.as_bytes()));
    let (mut files, mut left) = (0, vec![dir.to_owned()]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(|e| failed(&path, &e))?;
            left.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        } else if has_any(&path, &finders).map_err(|e| failed(&path, &e))? {
            return Err(Failure::Failed(format!("{} has the record in the clear", path.display())));
        } else {
            files += 1;
        }
    }
    Ok(files)
}

fn has_any(path: &PathBuf, finders: &[Finder<'_>]) -> std::io::Result<bool> {
    let overlap = TRACES.iter().map(|trace| trace.len()).max().unwrap_or_default();
    let mut file = match File::open(path) {
        // The engine is at work: a file may go while it is looked for.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut window = vec![0; 1 << 20];
    let mut kept = 0;
    loop {
        let count = file.read(&mut window[kept..])?;
        let filled = kept + count;
        if finders.iter().any(|finder| finder.find(&window[..filled]).is_some()) {
            return Ok(true);
        }
        if count == 0 {
            return Ok(false);
        }
        let from = filled.saturating_sub(overlap);
        window.copy_within(from..filled, 0);
        kept = filled - from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_the_clear_is_found_also_across_two_windows() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        let file = dir.path().join("a/0.jnl");
        std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
        assert_eq!(search(dir.path()).unwrap(), 1);
        for at in [0, (1 << 20) - 7, (1 << 20) + 1, (3 << 20) - 21] {
            let mut content = vec![b'x'; 3 << 20];
            content[at..at + 21].copy_from_slice(TRACES[0].as_bytes());
            std::fs::write(&file, content).unwrap();
            assert!(search(dir.path()).is_err(), "{at}");
        }
    }
}
