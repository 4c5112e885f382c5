//! Tenants: what is asked of them, and what is told of them, their logins, their data subjects and their leaving.

use super::Time;
use crate::model::ids::TenantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer to "on which terms?": the hash of the text that was agreed to. The text itself stays with the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// SHA-256 of the consent text, 64 hexadecimal digits.
    pub sha256: String,
}

/// `POST /admin/v1/tenants`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTenant {
    /// 1 to 63 of `[a-z0-9-]`.
    pub name: String,
    /// The border that its bytes and keys do not cross.
    pub geo: String,
    /// Its home region; may be left out only where the geo has one region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Whether copies are kept in another region of the geo.
    #[serde(default)]
    pub replication: Replication,
    /// The consent under which the tenant is taken on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// Whom to reach about this tenant's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// `POST /admin/v1/tenants/{tenant}/disable`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disable {
    /// Why. The audit log keeps the SHA-256 of the text without the spaces around it, never the text: it holds no words of people.
    pub reason: String,
}

/// `POST /admin/v1/tenants/{tenant}/enable`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enable {
    /// The new consent. Without one it is refused, unless one is in force: disabling and terminating withdraw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

/// `POST /admin/v1/tenants/{tenant}/terminate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminate {
    /// Why. The audit log keeps the SHA-256 of the text without the spaces around it, never the text: it holds no words of people.
    pub reason: String,
    /// The tenant's name once more.
    pub confirm: String,
}

/// `POST /admin/v1/tenants/{tenant}/purge-early`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeEarly {
    /// The tenant's instruction, in words. The log keeps their salted hash; they are sealed under the tenant's keys.
    pub reason: String,
    /// The tenant's name; may be left out of a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// `POST /admin/v1/tenants/{tenant}/cancel-early`. Nothing to say, but the body must be an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelEarly {}

/// What became of an instruction to destroy a tenant early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EarlyPurging {
    /// It is entered, and waits for another administrator.
    Proposed {
        /// Until when it can be approved.
        until: Time,
    },
    /// It is approved: the 72 hours run.
    Approved(Box<Tenant>),
}

/// An early destruction that was instructed and approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlyPurge {
    /// When it was approved.
    pub approved_at: Time,
    /// When the destruction begins at the earliest.
    pub due_at: Time,
    /// The salted hash of the instruction's words, as in the log.
    pub instruction_sha256: String,
}

/// `POST /admin/v1/tenants/{tenant}/export`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Only this bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
}

/// `POST /admin/v1/tenants/{tenant}/export/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevealExportKeys {
    /// The tenant's name.
    pub confirm: String,
}

/// `POST /admin/v1/tenants/{tenant}/dsrs/erase`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseSubject {
    /// The data subject, as `x-amz-meta-geoseal-subject` named it. In no log, and in no answer.
    pub subject: String,
    /// On which ground: 1 to 200 bytes, such as `art17`. Without one it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// Refuse to store them again. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_reingest: Option<bool>,
    /// The tenant's name; may be left out of a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

impl std::fmt::Debug for EraseSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EraseSubject(..)")
    }
}

/// `POST /admin/v1/tenants/{tenant}/reinstate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reinstate {
    /// The new consent: the old one ended with the termination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

/// `POST /admin/v1/tenants/{tenant}/credentials`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCredential {
    /// What the credential may do.
    pub role: CredentialRole,
}

/// A tenant's copies inside its geo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Replication {
    /// One copy, in the region of the bucket.
    #[default]
    None,
    /// A second region of the same geo.
    Geo,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialRole {
    /// Reads only.
    ReadOnly,
    /// Reads and writes.
    Service,
    /// Deletes objects and does nothing else, also of a terminated tenant.
    Delete,
}

/// A tenant's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TenantState {
    /// Being created.
    Provisioning,
    /// In service.
    Active,
    /// Kept, not served.
    Disabled,
    /// Kept for 90 days, then destroyed.
    Terminated,
    /// Due, but a hold keeps some of it.
    PurgeHeld,
    /// Being destroyed.
    Purging,
    /// Gone; a certificate says so.
    Purged,
}

impl TenantState {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Active => "ACTIVE",
            Self::Disabled => "DISABLED",
            Self::Terminated => "TERMINATED",
            Self::PurgeHeld => "PURGE_HELD",
            Self::Purging => "PURGING",
            Self::Purged => "PURGED",
        }
    }
}

// ---------------------------------------------------------------- what the server answers

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tenant {
    /// For good; never used again.
    #[schemars(with = "String")]
    pub id: TenantId,
    /// Its name; gone once it is purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its geo.
    pub geo: String,
    /// Its home region.
    pub home: String,
    /// Its copies inside the geo.
    pub replication: Replication,
    /// Where it stands.
    pub state: TenantState,
    /// Grows with every change of this record; the ETag.
    pub revision: u64,
    /// When it was created, by the compliance clock.
    pub created_at: Time,
    /// When it was terminated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated_at: Option<Time>,
    /// When its destruction is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_due_at: Option<Time>,
    /// Whole days until then, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_left: Option<u64>,
    /// The consent on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_sha256: Option<String>,
    /// Whom to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Its current data key and, where one tenant is asked for, the master key above it: `tdk/contoso/1 (mk/europe/3)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Holds that keep it from destruction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// What its administrator should know, such as "single-region geo: no copy outside brazilsouth".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Of a terminated tenant that is to be destroyed early, on its own instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_purge: Option<EarlyPurge>,
    /// How much it may store in all, and how much of that is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<crate::admin::quotas::Quota>,
    /// Of a terminated tenant: when its administrators hear of its coming end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// Multipart uploads in progress: stored, and in no listing of objects. Of one tenant only, while its keys can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads: Option<UploadsInProgress>,
}

/// Multipart uploads in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadsInProgress {
    /// How many.
    pub uploads: u64,
    /// Their parts.
    pub parts: u64,
}

/// A notice of a tenant's coming end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// `T`, `-30d`, `-14d`, `-7d` or `-1d`.
    pub stage: String,
    /// When it is due.
    pub at: Time,
    /// When it arrived at the webhook, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Time>,
}

/// A page of tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tenants {
    /// In order of their ids.
    pub tenants: Vec<Tenant>,
    /// Give this as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next: Option<TenantId>,
}

/// One login, without its secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Credential {
    /// The public half: `AWS_ACCESS_KEY_ID`.
    pub access_id: String,
    /// What it may do.
    pub role: CredentialRole,
    /// When it was made.
    pub created_at: Time,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
}

/// The logins of one tenant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Credentials {
    /// Oldest first.
    pub credentials: Vec<Credential>,
}

/// A login just made. The only body that ever holds its secret; no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewCredential {
    /// The public half: `AWS_ACCESS_KEY_ID`.
    pub access_id: String,
    /// The secret half: `AWS_SECRET_ACCESS_KEY`. Shown once.
    pub secret: String,
    /// What it may do.
    pub role: CredentialRole,
    /// The region its S3 client should name.
    pub region: String,
}

/// `export.json`, the last file of an export's archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportReport {
    /// Objects in the manifest.
    pub objects: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
    /// Objects that did not verify, and are not in the manifest.
    pub damaged: u64,
    /// Multipart uploads in progress, which are no objects yet and are not in the manifest.
    #[serde(default)]
    pub uploads: u64,
    /// Their parts.
    #[serde(default)]
    pub parts: u64,
    /// Segments in the archive that belong to no object of the manifest: to be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discard: Vec<String>,
}

/// The keys that open an export: lines of its key file, in this order.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportKeys {
    /// The version of the tenant's key; the manifest's record names it too.
    pub version: u32,
    /// The tenant's key, 64 hexadecimal digits.
    pub tenant_key: String,
    /// The key above the data subjects' keys, 64 hexadecimal digits.
    pub subject_wrap_key: String,
}

impl std::fmt::Debug for ExportKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExportKeys(version {})", self.version)
    }
}

impl Drop for ExportKeys {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.tenant_key.zeroize();
        self.subject_wrap_key.zeroize();
    }
}

/// What the erasure of a data subject did. Opaque ids only: it may be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubjectErasure {
    /// The subject's id; none: the tenant had no such subject, and nothing was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The request under which it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dsr: Option<String>,
    /// `S1`, inaccessible, or `S2`, absent: its wrapped key was overwritten on this server's disk, and not found again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Objects removed, batches apart.
    pub objects: u64,
    /// Versions of them.
    #[serde(default)]
    pub versions: u64,
    /// Versions of batches that were written anew without the subject's records.
    #[serde(default)]
    pub batches: u64,
    /// Windows of figures that lost the subject's rows.
    #[serde(default)]
    pub kpi_hours: u64,
    /// Uploads in progress that were ended.
    pub uploads: u64,
    /// Blobs deleted.
    pub blobs: u64,
    /// From when on nothing of it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inaccessible_at: Option<Time>,
    /// Files of the key store that were read from end to end.
    pub files_scanned: u64,
    /// Places where the destroyed key's record was found: zero.
    pub salts_found: u64,
    /// What the key store lies on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// The entry of the audit log that ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_index: Option<u64>,
    /// That entry's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_hash: Option<String>,
}
