//! The certificate of destruction: what is left when a tenant is gone, and anybody's proof of it.
//!
//! A JSON document of two members. `certificate` says what was destroyed, when, by which rule and how thoroughly, in
//! opaque ids; `signature` is Ed25519 over the canonical form of `certificate`: members sorted, no white space. So a
//! short script checks it without geoseal (docs/retention.md has one). Our own [`verify`] demands more: the whole file
//! must be, byte for byte, as we write it, pretty or compact; any edit fails, white space included.

use super::backups::Backups;
use super::closing::{EpochPart, Reached};
use crate::audit::Hash;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::seal::KeyError;
use crate::tenant::Standing;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Signs certificates: answered by the key service, which alone has the key.
pub trait Signer: Send + Sync {
    /// Ed25519 over `message`. Errors: the key service.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError>;
    /// The public key.
    fn public_key(&self) -> [u8; 32];
}

/// What is certified. Times are RFC 3339 by the compliance clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`Certificate::SCHEMA`], or [`Certificate::SCHEMA_V1`] in those of earlier releases.
    pub schema: String,
    /// Whether something is still to follow.
    pub kind: Kind,
    /// Which tenant.
    pub tenant: TenantId,
    /// Of which geo.
    pub geo: String,
    /// T.
    pub terminated_at: String,
    /// T + 90 days.
    pub due_at: String,
    /// That the end was early, on the tenant's own instruction: then it need not lie behind `due_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early: Option<EarlyEnd>,
    /// When the destruction began.
    pub purge_begun_at: String,
    /// When it was verified.
    pub purge_ended_at: String,
    /// What was deleted.
    pub deleted: Counts,
    /// SHA-256, in hexadecimal, of the list of what there was before.
    pub manifest_sha256: String,
    /// What an independent listing found afterwards, for each region of the geo that held anything of the tenant.
    pub listings: Vec<Listing>,
    /// The keys.
    pub keys: Keys,
    /// How thoroughly.
    pub destruction: Destruction,
    /// When each level was reached. Since v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// The close of the epoch that it fell into. Since v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<EpochPart>,
    /// Backups that may still hold the tenant's bytes, unreadable. Certificates of earlier releases say nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backups: Option<Backups>,
    /// Matters whose holds keep the rest, in a partial certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// The entry of the audit log that records the end of the destruction.
    pub audit: AuditEntry,
    /// What this certificate does not speak of.
    pub not_covered: Vec<String>,
    /// When it was signed.
    pub issued_at: String,
}

/// An end before the 90 days were over. Nothing in it is a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyEnd {
    /// The salted hash of the instruction's words, as in the log.
    pub instruction: Hash,
    /// Who entered it, as the log knows them.
    pub entered_by: String,
    /// Who approved it.
    pub approved_by: String,
    /// When it was approved.
    pub approved_at: String,
    /// 72 hours later.
    pub due_at: String,
}

impl EarlyEnd {
    /// Of a tenant, if it was to be destroyed early.
    pub(super) fn of(standing: &Standing) -> Option<Self> {
        standing.early.as_ref().map(|early| Self {
            instruction: Hash(early.instruction),
            entered_by: early.entered_by.clone(),
            approved_by: early.approved_by.clone(),
            approved_at: early.at.at.to_string(),
            due_at: early.due.to_string(),
        })
    }
}

/// Whether something is still to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Everything is destroyed.
    Final,
    /// A hold keeps something; the rest is destroyed.
    Partial,
    /// The keys are destroyed, but a region was out of reach; a final one follows.
    Residual,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Buckets.
    pub buckets: u64,
    /// Objects.
    pub objects: u64,
    /// Their versions and delete markers.
    pub versions: u64,
    /// Parts of uploads that were never completed.
    pub parts: u64,
    /// Blobs.
    pub blobs: u64,
    /// Sealed bytes of blobs and rows.
    pub bytes: u64,
}

/// What an independent listing found in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// Which region.
    pub region: String,
    /// Rows still there.
    pub rows_left: u64,
    /// Blobs still there.
    pub blobs_left: u64,
    /// `false`: it was out of reach, the counts are the last known.
    pub reached: bool,
}

/// The keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Ids of the keys destroyed.
    pub destroyed: Vec<String>,
    /// Whether the last known wrapped key still opened when tried afterwards. `false` in every final certificate.
    pub probe_opens: bool,
}

/// How thoroughly. Source: docs/retention.md, "The certificate".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destruction {
    /// The level reached.
    pub level: Level,
    /// Why no higher; empty at S3.
    pub not_higher_because: String,
    /// Files of the key store that were searched for the destroyed records.
    pub files_searched: u64,
    /// Places where one was still found.
    pub records_found: u64,
    /// The key store's file system.
    pub file_system: String,
}

/// A destruction level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Inaccessible: no process gives the key out.
    S1,
    /// Absent: no file of the key store holds it.
    S2,
    /// Irrecoverable: every older copy is under a master key that is destroyed too.
    S3,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// Its index.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Destruction {
    /// What may be claimed of keys that were overwritten in the key store, while older copies of it (backups, snapshots)
    /// still lie under a living master key.
    pub fn judged(files_searched: u64, records_found: u64, overwritten_in_place: bool, file_system: &str) -> Self {
        let (level, because) = match (records_found, overwritten_in_place) {
            (1.., _) => (Level::S1, "a destroyed record was still found in a file"),
            (0, false) => (Level::S1, "the key store's file system does not overwrite in place"),
            (0, true) => (Level::S2, "the master key above the destroyed keys is still in use: older copies need it"),
        };
        let (not_higher_because, file_system) = (because.to_owned(), file_system.to_owned());
        Self { level, not_higher_because, files_searched, records_found, file_system }
    }
}

impl Certificate {
    /// The shape's name.
    pub const SCHEMA: &'static str = "geoseal/certificate/v2";
    /// The shape before there were epochs: without `reached` and `epoch`.
    pub const SCHEMA_V1: &'static str = "geoseal/certificate/v1";

    /// What no certificate of ours speaks of.
    pub fn not_covered() -> Vec<String> {
        let outside =
            ["exports made before the destruction", "copies that clients keep", "backups made by the operator"];
        outside.map(str::to_owned).to_vec()
    }

    /// The same once the epoch is closed: the operator's backups of before are worth nothing any more.
    pub fn not_covered_after_close() -> Vec<String> {
        let outside = [
            "exports made before the destruction",
            "copies that clients keep",
            "copies of the master keys that their provider keeps, or its operator made",
        ];
        outside.map(str::to_owned).to_vec()
    }

    /// Signs it; gives the file's text.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Signed, KeyError> {
        sign(self, signer)
    }

    /// Whether what it says is what a certificate of its kind must say.
    fn consistent(&self) -> bool {
        let nothing_left = self.listings.iter().all(|of| of.reached && of.rows_left == 0 && of.blobs_left == 0);
        let no_key = !self.keys.probe_opens;
        let for_its_kind = match self.kind {
            Kind::Final => nothing_left && no_key && self.holds.is_empty(),
            Kind::Partial => !self.holds.is_empty(),
            Kind::Residual => no_key && !nothing_left,
        };
        let at = |text: &str| text.parse::<Millis>().ok();
        let waited =
            |early: &EarlyEnd| at(&early.due_at).zip(at(&self.purge_begun_at)).is_some_and(|(due, begun)| due <= begun);
        let in_time = self.early.as_ref().is_none_or(waited);
        let backups = self.backups.as_ref().is_none_or(Backups::is_consistent);
        for_its_kind && in_time && backups && self.consistent_shape()
    }

    fn consistent_shape(&self) -> bool {
        let level = self.destruction.level;
        match (&self.reached, self.schema.as_str()) {
            (None, Self::SCHEMA_V1) => self.epoch.is_none() && level < Level::S3,
            (Some(reached), Self::SCHEMA) => {
                let s2 = reached.s2.is_some() == (level >= Level::S2);
                let s3 = reached.s3.is_some() == (level == Level::S3);
                s2 && s3 && (level < Level::S3 || self.epoch.is_some())
            }
            _ => false,
        }
    }
}

/// Signs a document of ours: `{"certificate": …, "signature": …}`.
pub(super) fn sign(document: &impl Serialize, signer: &dyn Signer) -> Result<Signed, KeyError> {
    let key = PublicKey(signer.public_key());
    let certificate = sorted(serde_json::to_value(document).expect("plain fields have a JSON form"));
    let signature = Signature {
        algorithm: ALGORITHM.to_owned(),
        key_id: key.id(),
        value: BASE64.encode(signer.sign(compact(&certificate).as_bytes())?),
    };
    let signature = serde_json::to_value(signature).expect("plain fields have a JSON form");
    let document =
        Value::Object([("certificate".into(), certificate), ("signature".into(), signature)].into_iter().collect());
    Ok(Signed(pretty(&sorted(document))))
}

/// A certificate with its signature, as it is stored and handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed(String);

impl Signed {
    /// What was read back: the same document is the same text.
    pub(super) fn of(document: Value) -> Self {
        Self(pretty(&sorted(document)))
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of the text: what the audit log and the tombstone keep.
    pub fn hash(&self) -> Hash {
        Hash::of(&[self.0.as_bytes()])
    }
}

const ALGORITHM: &str = "Ed25519";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    algorithm: String,
    key_id: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    certificate: Value,
    signature: Signature,
}

/// Why a certificate does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate, or edited.
    #[error("this is not a certificate as geoseal writes it: it was edited, or is not one")]
    Malformed,
    /// Signed by another key.
    #[error("the certificate was signed by another key")]
    OtherKey,
    /// The signature does not fit.
    #[error("the signature does not fit: the certificate was edited")]
    Forged,
    /// The key is not one.
    #[error("not an Ed25519 public key in PEM, base64 or hexadecimal")]
    BadKey,
}

/// Checks a certificate's file; needs nothing but the public key.
///
/// Accepts exactly what [`Certificate::sign`] writes, or the same without any white space, each with or without one
/// line feed at the end. Source: docs/retention.md, "The certificate".
pub fn verify(file: &str, key: &PublicKey) -> Result<Certificate, CertificateError> {
    let certificate: Certificate =
        serde_json::from_value(verified(file, key)?).map_err(|_| CertificateError::Malformed)?;
    if certificate.consistent() { Ok(certificate) } else { Err(CertificateError::Malformed) }
}

/// Whether a text is one of the two forms in which we write `document`.
pub(super) fn is_as_written(text: &str, document: &Value) -> bool {
    let document = sorted(document.clone());
    text == pretty(&document) || text == compact(&document)
}

/// What is certified in a file that holds; not yet read.
pub(super) fn verified(file: &str, key: &PublicKey) -> Result<Value, CertificateError> {
    let text = file.strip_suffix('\n').unwrap_or(file);
    let value: Value = serde_json::from_str(text).map_err(|_| CertificateError::Malformed)?;
    if !is_as_written(text, &value) {
        return Err(CertificateError::Malformed);
    }
    let document: Document = serde_json::from_value(value).map_err(|_| CertificateError::Malformed)?;
    if document.signature.algorithm != ALGORITHM || document.signature.key_id != key.id() {
        return Err(CertificateError::OtherKey);
    }
    let signature = BASE64.decode(&document.signature.value).map_err(|_| CertificateError::Malformed)?;
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.0);
    let signed = compact(&document.certificate);
    public.verify(signed.as_bytes(), &signature).map_err(|_| CertificateError::Forged)?;
    Ok(document.certificate)
}

/// The public half of a geo's log key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// SubjectPublicKeyInfo of an Ed25519 key, up to the key. Source: RFC 8410, section 4.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl PublicKey {
    /// From PEM (`BEGIN PUBLIC KEY`), base64 of the 32 bytes, or 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, CertificateError> {
        let text = text.trim();
        let pem =
            text.strip_prefix("-----BEGIN PUBLIC KEY-----").and_then(|t| t.strip_suffix("-----END PUBLIC KEY-----"));
        let bytes = match pem {
            Some(body) => {
                let der = BASE64.decode(body.split_whitespace().collect::<String>()).unwrap_or_default();
                der.strip_prefix(&SPKI).map(<[u8]>::to_vec)
            }
            None if text.len() == 64 => hex::decode(text).ok(),
            None => BASE64.decode(text).ok(),
        };
        let key = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(CertificateError::BadKey)?;
        Ok(Self(key))
    }

    /// As PEM: what openssl and every crypto library read.
    pub fn pem(&self) -> String {
        let der = BASE64.encode([&SPKI[..], &self.0].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the 32 bytes.
    pub fn id(&self) -> String {
        Hash::of(&[&self.0]).to_string()[..16].to_owned()
    }
}

/// With the members of every object in order, however `serde_json` was built.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        plain => plain,
    }
}

fn compact(value: &Value) -> String {
    serde_json::to_string(value).expect("a value has a JSON form")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a value has a JSON form")
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
