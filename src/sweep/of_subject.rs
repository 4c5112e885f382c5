//! The certificate of a data subject's erasure: what was removed, what was destroyed, and what that does not reach.

use super::certificate::{AuditEntry, CertificateError, Destruction, PublicKey, Signed, sign, verified};
use super::purge::certify::Hand;
use crate::seal::{KeyClient, KeyError};
use serde::{Deserialize, Serialize};

/// The certificate of an erasure. Opaque ids only: it may be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectCertificate {
    /// [`SubjectCertificate::SCHEMA`].
    pub schema: String,
    /// Of which geo.
    pub geo: String,
    /// Of which tenant.
    pub tenant: String,
    /// The request.
    pub dsr: String,
    /// Who was erased; none: nothing was stored of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When the request was entered.
    pub opened_at: String,
    /// From when on nothing could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inaccessible_at: Option<String>,
    /// Objects removed.
    pub objects: u64,
    /// Uploads in progress that were ended.
    pub uploads: u64,
    /// Blobs deleted.
    pub blobs: u64,
    /// Objects of several subjects that were written anew without this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewritten: Vec<Rewritten>,
    /// What was searched and found; none where no key was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destruction: Option<Destruction>,
    /// Whether they are refused from now on.
    pub blocked: bool,
    /// Regions that were looked at.
    pub regions: Vec<String>,
    /// Backups made before that can still be opened: in those it is noise only once their master key is destroyed.
    pub backups: Backups,
    /// The entry of the audit log that ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditEntry>,
    /// What it does not speak of.
    pub not_covered: Vec<String>,
    /// When it was signed.
    pub issued_at: String,
}

/// An object that was written anew without one of its subjects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewritten {
    /// The version that was destroyed.
    pub from: String,
    /// The version in its place; none: nothing was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Backups that the key service knows of, measured and not assumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backups {
    /// How many.
    pub known: u64,
    /// When the oldest was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<String>,
}

impl SubjectCertificate {
    /// The shape's name.
    pub const SCHEMA: &'static str = "geoseal/subject-certificate/v1";

    /// Signs it with the geo's log key.
    pub fn sign(&self, keys: &KeyClient) -> Result<Signed, KeyError> {
        sign(self, &Hand(keys))
    }

    /// Checks a certificate's file; needs nothing but the public key.
    pub fn verify(file: &str, key: &PublicKey) -> Result<Self, CertificateError> {
        let certificate: Self =
            serde_json::from_value(verified(file, key)?).map_err(|_| CertificateError::Malformed)?;
        let is_ours =
            certificate.schema == Self::SCHEMA && certificate.subject.is_some() == certificate.destruction.is_some();
        if is_ours { Ok(certificate) } else { Err(CertificateError::Malformed) }
    }
}
