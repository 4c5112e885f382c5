//! From `s3s` to the gate: whose secret a signature is checked with, whether the caller may knock at all, and the
//! settings that `s3s` must not be left to choose.
//!
//! Built by `app`. Promises that an unknown login and a wrong signature cannot be told apart: both are checked against
//! a secret, one of them a decoy. Only of a purged tenant's login it is said that the tenant is gone. Must not know tenants beyond what the gate answers.

use super::Face;
use super::error;
use super::guard::{Guard, Scope};
use super::hosts::Hosts;
use super::ingest::Ingest;
use super::precheck::{PRESIGNED_S_MAX, Rules};
use super::refusal::Refusal;
use super::trace::Trace;
use crate::gate::{self, Gate, Need};
use crate::model::atlas::Region;
use crate::model::limits::{INGEST_BYTES_MAX, SEGMENT_BYTES_MAX, XML_BYTES_MAX};
use crate::model::names::AccessId;
use crate::model::request::Operation;
use crate::store::Store;
use http::Extensions;
use ring::hmac;
use ring::rand::SystemRandom;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};
use std::sync::Arc;

/// What the S3 face has to know beside the gate and the store.
pub struct Settings {
    /// The regions served here, not empty.
    pub regions: Vec<&'static Region>,
    /// The domains of virtual-hosted-style addressing; may be empty.
    pub domains: Vec<String>,
}

/// The whole S3 face as one hyper service.
pub fn service(gate: Gate, store: Store, settings: Settings) -> Guard {
    let hosts = Hosts::new(&settings.domains);
    let face = Face::new(gate.clone(), store);
    let mut builder = S3ServiceBuilder::new(face.clone());
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config(&settings.regions)))));
    // Without this, s3s runs no access check at all.
    builder.set_auth(Secrets::new(gate.clone()));
    builder.set_access(Access { gate: gate.clone() });
    builder.set_route(Ingest { face, access: Access { gate } });
    builder.set_host(hosts.clone());
    Guard::new(Rules { hosts, regions: settings.regions }, builder.build())
}

/// Signed chunks are held whole until their signature is known: this much memory for one upload.
const SIGNED_CHUNK_BYTES_MAX: usize = 16 << 20;

fn config(regions: &[&'static Region]) -> S3Config {
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_BYTES_MAX;
    config.put_object_max_size = Some(SEGMENT_BYTES_MAX);
    config.custom_route_max_body_size = Some(INGEST_BYTES_MAX as u64);
    config.aws_chunked_stream_max_chunk_size = SIGNED_CHUNK_BYTES_MAX;
    // Forms are refused by the pre-check; if one ever came through, it would be small and unsigned, so denied.
    config.post_object_max_file_size = 0;
    config.form_max_field_size = 16 * 1024;
    config.form_max_fields_size = 64 * 1024;
    config.form_max_parts = 100;
    config.allow_post_signature = false;
    config.presigned_url_max_skew_time_secs = 900;
    config.presigned_url_max_expires_secs = PRESIGNED_S_MAX;
    config.sig_v4_allowed_services = vec!["s3".to_owned()];
    config.enable_sig_v2 = false;
    config.normalize_forward_slash_path = false;
    config.normalize_content_length = true;
    config.unsigned_amz_header_allowlist = Vec::new();
    // s3s can expect one region only. With several, the pre-check's list and the access hook decide.
    if let [only] = regions {
        config.expected_region = only.id.parse().ok();
    }
    config
}

/// Answers `s3s` with the secret of a login, or with a decoy.
struct Secrets {
    gate: Gate,
    decoys: hmac::Key,
}

impl Secrets {
    fn new(gate: Gate) -> Self {
        let decoys = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self { gate, decoys: decoys.expect("the operating system gives random bytes") }
    }

    /// As long as a real secret, the same for the same id, unknown to everybody.
    fn decoy(&self, id: &str) -> SecretKey {
        use base64::Engine as _;
        let tag = hmac::sign(&self.decoys, id.as_bytes());
        SecretKey::from(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }
}

#[async_trait::async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let Ok(id) = AccessId::parse(access_key) else { return Ok(self.decoy(access_key)) };
        match self.gate.login(&id).await {
            Ok(login) => Ok(SecretKey::from(login.secret.as_str())),
            Err(gate::Refusal::UnknownLogin) => Ok(self.decoy(access_key)),
            Err(refusal) => Err(error::gate(&refusal, Need::Read)),
        }
    }
}

/// Asked by `s3s` after the signature and before any input is parsed.
pub(super) struct Access {
    gate: Gate,
}

impl Access {
    /// Whether the caller may knock at all: a login of the geo whose region was signed for. Notes whose request it is.
    pub(super) async fn welcome(&self, id: &AccessId, operation: Operation, extensions: &Extensions) -> S3Result<()> {
        let denied = || s3_error!(AccessDenied, "Access Denied");
        // Both are put there by the guard: a request that came round it is nobody's.
        let (trace, scope) =
            (extensions.get::<Trace>().ok_or_else(denied)?, extensions.get::<Scope>().ok_or_else(denied)?);
        trace.set_operation(operation);
        let login = self.gate.login(id).await.map_err(|refusal| error::gate(&refusal, Need::Read))?;
        trace.set_tenant(login.tenant);
        if let Ok(Some(due)) = self.gate.purge_due(login.tenant).await {
            trace.set_purge_due(due);
        }
        if !login.geo.regions.contains(scope.0) {
            trace.refuse(login.geo.regions.first().map_or(GEO, Refusal::wrong_region));
            return Err(denied());
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name();
        let built = BUILT.contains(&operation);
        let operation = Operation::named(operation);
        let id = cx.credentials().and_then(|credentials| AccessId::parse(&credentials.access_key).ok());
        let id = id.ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        self.welcome(&id, operation, cx.extensions_mut()).await?;
        if built { Ok(()) } else { Err(s3_error!(NotImplemented, "This operation is not implemented.")) }
    }
}

const GEO: Refusal = Refusal::forbidden("AccessDenied", "Access Denied");

/// The operations of S3 that are built. Everything else answers 501 before its input is read.
pub(super) const BUILT: [&str; 29] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteBucketLifecycle",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjects",
    "GetBucketLifecycleConfiguration",
    "GetBucketLocation",
    "GetBucketVersioning",
    "GetObject",
    "GetObjectTagging",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutBucketLifecycleConfiguration",
    "PutBucketVersioning",
    "PutObject",
    "PutObjectTagging",
    "UploadPart",
    "UploadPartCopy",
];
