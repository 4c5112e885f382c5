//! An S3-compatible store as the cellar: settings, credentials from a file, and the probe that a backend must pass.

use super::BlobError;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{
    Certificate, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
    StaticCredentialProvider,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A request carries at most one part of 8 MiB, so this allows links down to about 70 KiB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// All attempts of one request together.
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

/// Where an S3-compatible blob store is and how to speak to it. Holds no secret: that is in `credentials_file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteStore {
    /// `https://HOST[:PORT]`. Plain `http` is accepted for a loopback address only.
    pub endpoint: String,
    /// The bucket, which must exist.
    pub bucket: String,
    /// The region name that the store wants in its signatures.
    pub region: String,
    /// A TOML file with `access_key_id`, `secret_access_key` and, where needed, `session_token`; not readable by others.
    pub credentials_file: PathBuf,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Put before every blob's name, so that several regions may share a bucket.
    pub prefix: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    session_token: Option<String>,
}

impl RemoteStore {
    pub(super) fn connect(&self) -> Result<Arc<dyn ObjectStore>, BlobError> {
        // reqwest without a provider of its own asks the process default; ring, as everywhere. An error says that one
        // is already installed.
        _ = rustls::crypto::ring::default_provider().install_default();
        let plain = self.is_plain()?;
        let mut client = ClientOptions::new().with_allow_http(plain).with_timeout(REQUEST_TIMEOUT);
        if let Some(file) = &self.ca_file {
            let pem = read(file)?;
            let roots = Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|_| BlobError::Setup(format!("ca_file {}: no PEM certificates", file.display())))?;
            client = client.with_no_system_certificates(true);
            client = roots.into_iter().fold(client, ClientOptions::with_root_certificate);
        }
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint.trim_end_matches('/'))
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_credentials(Arc::new(StaticCredentialProvider::new(self.credentials()?)))
            .with_client_options(client)
            .with_retry(RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() })
            .build()
            .map_err(BlobError::Store)?;
        Ok(match &self.prefix {
            Some(prefix) => Arc::new(PrefixStore::new(store, prefix.as_str())),
            None => Arc::new(store),
        })
    }

    fn is_plain(&self) -> Result<bool, BlobError> {
        let url: http::Uri = self.endpoint.parse().map_err(|_| refused("endpoint: expected https://HOST[:PORT]"))?;
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match url.scheme_str() {
            Some("https") => Ok(false),
            Some("http") if loopback => Ok(true),
            Some("http") => Err(refused("endpoint: http is accepted for a loopback address only; use https")),
            _ => Err(refused("endpoint: expected https://HOST[:PORT]")),
        }
    }

    fn credentials(&self) -> Result<AwsCredential, BlobError> {
        use std::os::unix::fs::PermissionsExt;
        let file = &self.credentials_file;
        let text = zeroize::Zeroizing::new(read(file)?);
        let mode = std::fs::metadata(file).map_or(0, |meta| meta.permissions().mode());
        if mode & 0o007 != 0 {
            return Err(refused(format!("credentials_file {}: readable by others; chmod 600 it", file.display())));
        }
        // The parser's own message would quote the line, and so the secret.
        let parsed: Credentials = toml::from_str(&text).map_err(|_| {
            refused(format!("credentials_file {}: expected access_key_id and secret_access_key", file.display()))
        })?;
        Ok(AwsCredential {
            key_id: parsed.access_key_id,
            secret_key: parsed.secret_access_key,
            token: parsed.session_token,
        })
    }
}

fn read(file: &Path) -> Result<String, BlobError> {
    std::fs::read_to_string(file).map_err(|e| refused(format!("{}: {e}", file.display())))
}

fn refused(why: impl Into<String>) -> BlobError {
    BlobError::Setup(why.into())
}

/// Create twice under a name that no blob can have; the second must fail.
pub(super) async fn probe(store: &dyn ObjectStore) -> Result<(), BlobError> {
    let path = ObjectPath::from(format!("probe-{}", crate::model::ids::SegmentId::random()));
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&path, PutPayload::from_static(b"first"), create()).await.map_err(BlobError::Store)?;
    let second = store.put_opts(&path, PutPayload::from_static(b"second"), create()).await;
    let kept = store.get_range(&path, 0..5).await;
    store.delete(&path).await.map_err(BlobError::Store)?;
    match second {
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
        Err(e) => return Err(BlobError::Store(e)),
        Ok(_) => {
            return Err(refused(
                "this blob store ignores If-None-Match: a conditional create overwrote what was there; refused",
            ));
        }
    }
    match kept.map_err(BlobError::Store)?.as_ref() {
        b"first" => Ok(()),
        _ => Err(refused("this blob store gave back other bytes than were written")),
    }
}
