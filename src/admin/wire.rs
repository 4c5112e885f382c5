//! The JSON bodies of the admin API, shared by the server and the command line; the OpenAPI document is made of them.
//!
//! What a caller sends refuses unknown fields, so that a mistyped field can never be silently ignored. What the server
//! answers does not, so that an older command line still reads a newer server.

use crate::model::atlas;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A time: RFC 3339 in UTC with `Z` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Millis);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

// ---------------------------------------------------------------- what a caller sends

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

/// `POST /admin/v1/keys/tenant/{tenant}/suspend`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendKeys {
    /// Why. Demanded, and not stored: the audit log holds no words of people.
    pub reason: String,
}

/// `POST /admin/v1/tenants/{tenant}/enable`. Nothing to say, but the body must be an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enable {}

/// `POST /admin/v1/tenants/{tenant}/terminate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminate {
    /// Why. The audit log keeps the SHA-256 of the text without the spaces around it, never the text: it holds no words of people.
    pub reason: String,
    /// The tenant's name once more.
    pub confirm: String,
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

/// `POST /admin/v1/clock/advance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// How far, in seconds; 1 to 3,155,760,000 (100 years).
    pub seconds: u64,
}

/// A body that says nothing: rotations and sweeps need no words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

// ---------------------------------------------------------------- words of both directions

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

/// Every geo and region, in published order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Regions {
    /// In order.
    pub geos: Vec<Geo>,
}

/// One geo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Geo {
    /// Its id.
    pub id: String,
    /// `single-region` where no copy inside the geo is possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// In order.
    pub regions: Vec<Region>,
}

/// One region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Region {
    /// Its id: what S3 clients name as their region.
    pub id: String,
    /// The published label.
    pub location: String,
    /// Whether the server asked serves it; left out where no server was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
}

impl Regions {
    /// The atlas in its own order.
    pub fn of_atlas(geos: &[atlas::Geo], served: impl Fn(&atlas::Region) -> Option<bool>) -> Self {
        let region = |r: &atlas::Region| Region { id: r.id.into(), location: r.location.into(), served: served(r) };
        let geo = |g: &atlas::Geo| Geo {
            id: g.id.into(),
            label: (g.regions.len() == 1).then(|| "single-region".into()),
            regions: g.regions.iter().map(region).collect(),
        };
        Self { geos: geos.iter().map(geo).collect() }
    }
}

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
    /// Its current data key and the master key above it, such as `tdk/contoso/1 (mk/europe/3)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Holds that keep it from destruction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// What its administrator should know, such as "single-region geo: no copy outside brazilsouth".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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

/// What a dry run would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Equal for equal plans: a change between two dry runs shows here.
    #[serde(default)]
    pub plan_id: String,
    /// What would happen, in order, in words.
    pub steps: Vec<String>,
    /// The same in figures, such as `tenant_keys: 4102`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
}

/// The state of one version of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyVersion {
    /// Such as `mk/europe/3`, `gdk/europe/1` or `tdk/contoso/1`.
    pub id: String,
    /// 1 and up.
    pub version: u32,
    /// `current`, `decrypt-only`, `compromised`, `destroy-scheduled`, `destroyed`, `suspended`.
    pub state: String,
    /// How many records are under it, where that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Counting stopped at its bound: there may be more than `records`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// The keys of one geo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GeoKeys {
    /// The geo.
    pub geo: String,
    /// What keeps its master key, such as `local keyring (key file)`.
    pub provider: String,
    /// Its master key.
    pub master: Vec<KeyVersion>,
    /// Its directory key, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directory: Vec<KeyVersion>,
    /// Its tenants' keys.
    pub tenants: Vec<TenantKeys>,
    /// A rotation that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Operation>,
    /// When the next versions are due, of keys for which the settings have a cryptoperiod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<super::schedules::Scheduled>,
    /// Acts that wait for a second administrator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<super::proposals::Proposal>,
}

/// The keys of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantKeys {
    /// The tenant.
    #[schemars(with = "String")]
    pub tenant: TenantId,
    /// Its name, while it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its data key (`tdk/`), its roots above data subjects' keys (`srk/`) and index keys (`tik/`), each oldest first; with
    /// counts, its buckets' index keys (`ik/`), too.
    pub versions: Vec<KeyVersion>,
}

/// `GET /admin/v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyStatus {
    /// The geos this server serves.
    pub geos: Vec<GeoKeys>,
}

/// Where a long piece of work stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// Under way.
    Running,
    /// Ended well; `result` says with what.
    Done,
    /// Ended badly; `problem` says why.
    Failed,
}

/// Which version of a key: `mk/europe/1`, `tdk/contoso/1`, `srk/contoso/1` or `tik/contoso/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyNamed {
    /// As `GET /admin/v1/keys` names it.
    pub key: String,
}

/// What came of asking for a key's destruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destruction {
    /// Another administrator has to ask for the same within a day.
    Proposed {
        /// Which key.
        key: String,
    },
    /// It begins.
    Begun(Box<Operation>),
}

/// A version of a key that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestroyedKey {
    /// Which.
    pub key: String,
    /// Records that the scan just before read.
    pub scanned: u64,
    /// How many of them needed the key: zero, or it was not destroyed.
    pub remaining: u64,
    /// The provider's receipt, of a master key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// Files of the key store that were read for what must be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_scanned: Option<u64>,
    /// Places where a salt of a destroyed record still stood: zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salts_found: Option<u64>,
    /// Whether overwriting reaches the old bytes on this file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwritten_in_place: Option<bool>,
}

/// How long work on keys is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyWork {
    /// Records a second at most; without it what the server's settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_s: Option<std::num::NonZeroU32>,
}

/// A long piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Such as `rotate-master`, `rotate-index-key`, `reencrypt`, `close-epoch`, `backup` or `sweep`.
    pub kind: String,
    /// On what: a geo's id, a tenant's id, or empty.
    #[serde(default)]
    pub subject: String,
    /// Where it stands.
    pub state: OperationState,
    /// What it is at, such as `rewrapping` or `scanning`.
    #[serde(default)]
    pub phase: String,
    /// Steps done.
    pub done: u64,
    /// Steps in all, as far as is known.
    pub total: u64,
    /// When it began.
    pub started_at: Time,
    /// Steps a second in this phase so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_s: Option<u64>,
    /// Seconds until this phase ends, if it goes on like that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<u64>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<OperationResult>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// What came of a long piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationResult {
    /// Of a rotation.
    Rotation(Rotation),
    /// Of a re-encryption; `rewrapped` counts the objects, `remaining` the uploads in progress.
    Reencryption(Rotation),
    /// Of a destruction.
    Destruction(DestroyedKey),
    /// Of a sweep.
    Sweep(SweepReport),
    /// Of a data subject's erasure.
    SubjectErasure(SubjectErasure),
    /// Of an epoch's close.
    Epoch(super::epochs::Epoch),
    /// Of a backup.
    Backup(super::backups::Backup),
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
    /// `S1`, inaccessible, or `S2`, absent: its wrapped key was overwritten on this server's disk, and not found again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Objects removed.
    pub objects: u64,
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

/// What a rotation did, ending in a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rotation {
    /// The version that was current, such as `mk/europe/3`.
    pub from: String,
    /// The version that is current now.
    pub to: String,
    /// Records wrapped anew.
    pub rewrapped: u64,
    /// Records looked at by the scan at the end.
    pub scanned: u64,
    /// Records that the scan still found under the old version: zero, or the rotation did not end.
    pub remaining: u64,
}

/// What one sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepReport {
    /// Tenants whose destruction ended with a certificate.
    pub tenants_purged: u64,
    /// Tenants that are due but held.
    pub tenants_held: u64,
    /// Objects removed.
    pub objects_removed: u64,
    /// Multipart uploads that were given up.
    pub uploads_aborted: u64,
    /// Blobs and temporary files that no row named.
    pub orphans_removed: u64,
    /// What could not be done this time and why, without names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// `GET /admin/v1/sweep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepStatus {
    /// Seconds between two sweeps.
    pub interval_s: u64,
    /// When the last one began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_started_at: Option<Time>,
    /// When the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_finished_at: Option<Time>,
    /// When the next one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,
    /// How late the oldest due act is, in seconds; zero when none is late.
    pub late_s: u64,
    /// Acts that are due now.
    pub due: u64,
    /// What the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SweepReport>,
}

/// One entry of a geo's audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// The log's geo.
    pub geo: String,
    /// Its place, from 0, without a gap.
    pub index: u64,
    /// When, by the compliance clock.
    pub at: Time,
    /// What, from a closed list.
    pub event: String,
    /// Who, as an opaque id.
    pub actor: String,
    /// Of which tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub tenant: Option<TenantId>,
    /// More, opaque: ids, versions, counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
    /// The chain after this entry, in hexadecimal.
    pub hash: String,
}

/// A page of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// Oldest first.
    pub entries: Vec<AuditEntry>,
}

/// What the verification of one geo's log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerdict {
    /// The log's geo.
    pub geo: String,
    /// Whether every entry is in place and unchanged.
    pub intact: bool,
    /// Entries verified.
    pub entries: u64,
    /// The chain's newest hash, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The first entry that does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<u64>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /admin/v1/audit/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerdicts {
    /// One for each log asked for.
    pub logs: Vec<AuditVerdict>,
}

/// The key that signs a geo's certificates and checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogKey {
    /// The geo.
    pub geo: String,
    /// `ed25519`.
    pub algorithm: String,
    /// The public key, in hexadecimal.
    pub public: String,
}

/// The compliance clock of this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// Time proven to have passed: nothing is destroyed before it says so.
    pub proven: Time,
    /// Latest plausible time: access ends when it says so.
    pub plausible: Time,
    /// What the machine's clock says.
    pub wall: Time,
    /// The machine's clock jumped; deadlines did not move.
    pub suspect: bool,
    /// Seconds the server was off that nobody could corroborate.
    pub pending_s: u64,
    /// Whether this clock can be moved by hand.
    pub simulated: bool,
}

/// What `/healthz` says: that it was said is the news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alive {
    /// True.
    pub alive: bool,
}

/// What `/readyz` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Whether traffic may come.
    pub ready: bool,
    /// What does not stand, in words without names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
}

/// A refusal or failure. Source: RFC 9457.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the `code` says which problem it is.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The HTTP status in words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// Which problem, for programs; stays the same between releases.
    pub code: String,
    /// What happened, for people; names nobody.
    #[serde(default)]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The ids that would have been accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub valid: Vec<String>,
    /// The holds that stand in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}
