//! The closed list of what is recorded. Fields are opaque ids, versions, counts and hashes; text that a person chose
//! never is, but for a hold's matter number.

use super::{Actor, Hash};
use crate::model::ids::{BucketId, ObjectId, SubjectId, TenantId, VersionId};

/// What is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// What.
    pub event: Event,
}

/// What happened or is about to. A stored name is never used for anything else.
#[allow(missing_docs, reason = "a field's name says what it is: an id, a version, a count, a hash")]
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The server began to serve this geo.
    ServerStarted { release: String },
    /// The server stopped in good order.
    ServerStopped {},
    /// After a crash, entries were found that no caller had been answered for.
    LogRecovered { unanswered: u64 },

    /// A tenant begins.
    TenantCreated { tenant: TenantId, home: String, consent: Hash },
    /// Its keys opened; it is in service.
    TenantActivated { tenant: TenantId },
    /// Its keys could not be made; nothing of it is left.
    TenantGivenUp { tenant: TenantId },
    /// Kept, not served. `reason` is the salted hash of the operator's words, as in `TenantTerminated`; entries from before it
    /// was kept have none, and stay valid byte for byte.
    TenantDisabled {
        tenant: TenantId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Hash>,
    },
    /// In service again.
    TenantEnabled { tenant: TenantId, consent: Hash },
    /// To be destroyed at `due`, RFC 3339.
    TenantTerminated {
        tenant: TenantId,
        due: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Hash>,
    },
    /// Kept after all.
    TenantReinstated { tenant: TenantId, consent: Hash },
    /// Somebody enters the tenant's instruction to destroy it early; another principal has to approve. `reason` as in
    /// `TenantTerminated`.
    EarlyPurgeProposed { tenant: TenantId, reason: Hash },
    /// Another principal approved it: to be destroyed at `due`, RFC 3339. `instruction` is the salted hash of its words.
    EarlyPurgeInstructed { tenant: TenantId, due: String, instruction: Hash, entered_by: String },
    /// That was taken back, or what was entered before anybody approved it.
    EarlyPurgeCancelled { tenant: TenantId },
    /// Somebody asks for a hold; another principal has to approve. `scope` is its kind, not what it names; `reason`, where one was
    /// given, as in `TenantTerminated`.
    HoldProposed {
        tenant: TenantId,
        hold: String,
        scope: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Hash>,
    },
    /// Such a request is taken back.
    HoldWithdrawn { tenant: TenantId, hold: String },
    /// A hold came into force.
    HoldPlaced { tenant: TenantId, hold: String },
    /// Somebody asks for a hold's release; another principal has to agree.
    HoldReleaseProposed { tenant: TenantId, hold: String },
    /// A hold was released.
    HoldReleased { tenant: TenantId, hold: String },
    /// An act that holds stand in the way of is put off until they are released.
    ActDeferred { tenant: TenantId, act: String, label: String, objects: u64, holds: u64 },
    /// Its holds are released: it is carried out.
    ActResumed { tenant: TenantId, act: String, label: String },

    /// Due; destruction begins.
    PurgeBegun { tenant: TenantId },
    /// Due; what no hold keeps is destroyed.
    PurgeHeld { tenant: TenantId, holds: u64 },
    /// What no hold keeps is destroyed: so many objects and blobs, and data subjects' keys; `held` objects are kept. `round`
    /// counts: a hold that is released while others stay begins another.
    PurgePartEnded { tenant: TenantId, round: u32, objects: u64, blobs: u64, held: u64, subjects: u64 },
    /// What there was, before anything was deleted.
    ManifestTaken { tenant: TenantId, objects: u64, blobs: u64, bytes: u64, manifest: Hash },
    /// All of it deleted; `left` by an independent listing.
    PurgeListed { tenant: TenantId, left: u64 },
    /// Keys destroyed before a region that is out of reach could be listed.
    KeysFirst { tenant: TenantId, regions_out_of_reach: u64 },
    /// Over. The certificate names this entry; `certificate-issued` names the certificate.
    TenantPurged { tenant: TenantId },
    /// A certificate was signed.
    CertificateIssued { tenant: TenantId, certificate: Hash },

    /// A feature was enabled under this consent, or its terms changed. Of what it had when it was disabled, `objects` are
    /// there, and are the `same`. `follow_only`: whether only what belongs to followed messages is collected; entries from
    /// before it was kept have none.
    FeatureEnabled {
        tenant: TenantId,
        feature: String,
        consent: Hash,
        objects: u64,
        same: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follow_only: Option<bool>,
    },
    /// A feature was disabled and its consent withdrawn: nothing of it is taken or given.
    FeatureDisabled { tenant: TenantId, feature: String, reason: Option<Hash> },
    /// What a bucket is for.
    BucketRulesSet {
        tenant: TenantId,
        bucket: BucketId,
        purposes: Vec<String>,
        class: Option<String>,
        ttl_days: Option<u16>,
    },

    /// What a tenant may store in all is bounded so, or not any more.
    QuotaSet { tenant: TenantId, bytes: Option<u64>, objects: Option<u64> },
    /// A login was made for a job, limited to a purpose, classes and buckets, until `until`, RFC 3339.
    GrantCreated {
        tenant: TenantId,
        credential: String,
        purpose: String,
        classes: Vec<String>,
        buckets: Vec<BucketId>,
        until: String,
    },
    /// So many messages are registered as followed; some may have been before.
    MessagesFollowed { tenant: TenantId, messages: u64 },
    /// So many messages are followed no more; some may not have been.
    MessagesUnfollowed { tenant: TenantId, messages: u64 },
    /// A user's tracking is captured, or is not any more.
    CaptureSet { tenant: TenantId, on: bool },
    /// A job has consumed a bucket's interactions of the hours from `from` until `until`, RFC 3339: their lifetimes begin.
    /// Entries from before windows were have no `from`: all hours before `until`.
    WatermarkCommitted {
        tenant: TenantId,
        bucket: BucketId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        until: String,
    },

    /// A login was made. `credential` is an opaque id, not the login.
    CredentialCreated { tenant: TenantId, credential: String, role: String },
    /// A login was revoked.
    CredentialRevoked { tenant: TenantId, credential: String },
    /// A bucket was made.
    BucketCreated { tenant: TenantId, bucket: BucketId, region: String },
    /// An empty bucket was removed.
    BucketDeleted { tenant: TenantId, bucket: BucketId },

    /// A tenant's roots were made, wrapped and opened again.
    TenantKeysCreated { tenant: TenantId, version: u32, master: u32 },
    /// A tenant's keys were opened: from now on this process can read it.
    TenantKeysOpened { tenant: TenantId, version: u32 },
    /// Keys are refused until resumed. `reason` is the hash of the operator's words, as in `TenantTerminated`; entries
    /// from before it was kept have none.
    TenantKeysSuspended {
        tenant: TenantId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Hash>,
    },
    /// Keys open again.
    TenantKeysResumed { tenant: TenantId },
    /// This process asked for the tenant's keys more often than the key service allows, and was refused.
    TenantKeysAskedTooOften { tenant: TenantId },
    /// A tenant's data key gets a new version.
    TenantRotationBegun { tenant: TenantId, from: u32, to: u32 },
    /// `remaining` records of the old version were found by scan: zero, or it did not end.
    TenantRotationEnded { tenant: TenantId, from: u32, to: u32, rewrapped: u64, remaining: u64 },
    /// A version of a root that none of the `scanned` records needs was destroyed.
    RootRetired { tenant: TenantId, kind: String, version: u32, scanned: u64 },
    /// A version may be known to somebody: only a re-encryption may open what is under it.
    /// `reason` is the hash of the operator's words, as in `TenantTerminated`; `seen_at` when it was seen where it should not be.
    CompromiseReported {
        tenant: TenantId,
        version: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Hash>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen_at: Option<String>,
    },
    /// A version of the master key may be known to somebody: it is replaced, and to be destroyed.
    MasterCompromiseReported {
        version: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Hash>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen_at: Option<String>,
    },
    /// What it exposes was counted.
    ExposureCounted { key: String, objects: u64, versions: u64, backups: u64 },
    /// An administrator asks for the destruction of a version; another has to approve.
    DestructionProposed { key: String },
    /// Such a request, or the day that was set, is taken back.
    DestructionWithdrawn { key: String },
    /// The destruction of a version may be scheduled; approved, where two have to agree.
    DestructionApproved { key: String },
    /// A version that a scan found unused is to be destroyed so many seconds from now.
    DestructionScheduled { key: String, after_s: i64 },
    /// The day has come, another scan found it unused, and it is about to be destroyed.
    DestructionDue { key: String },
    /// Every key of a tenant was destroyed.
    TenantKeysDestroyed { tenant: TenantId, versions: u32 },
    /// The last known wrapped key was tried.
    TenantKeysProbed { tenant: TenantId, opens: bool },
    /// Everything of a tenant, or of one bucket, or what one version of its data key opens or once opened, gets new data keys
    /// and new segments.
    ReencryptionBegun {
        tenant: TenantId,
        bucket: Option<BucketId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exposed_by: Option<u32>,
        from: u32,
    },
    /// `remaining` records with a data key from before were found by scan: uploads in progress.
    ReencryptionEnded {
        tenant: TenantId,
        bucket: Option<BucketId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exposed_by: Option<u32>,
        from: u32,
        to: u32,
        reencrypted: u64,
        remaining: u64,
    },
    /// A tenant's root of this kind gets a new version.
    RootRotationBegun { tenant: TenantId, kind: String, from: u32 },
    /// `remaining` records of older versions were found by scan: zero; so many older versions were destroyed.
    RootRotationEnded {
        tenant: TenantId,
        kind: String,
        from: u32,
        to: u32,
        rewrapped: u64,
        remaining: u64,
        retired: u32,
    },
    /// A bucket's index key gets a new version.
    IndexKeyRotationBegun { tenant: TenantId, bucket: BucketId },
    /// `remaining` rows under the old key were found by scan: zero, or it did not end.
    IndexKeyRotationEnded { tenant: TenantId, bucket: BucketId, from: u32, to: u32, resealed: u64, remaining: u64 },
    /// A geo's master key gets a new version.
    MasterRotationBegun { from: u32, to: u32 },
    /// `remaining` records of the old version were found by scan: zero, or it did not end.
    MasterRotationEnded { from: u32, to: u32, rewrapped: u64, remaining: u64 },
    /// A geo's directory key gets a new version.
    DirectoryKeyRotationBegun { from: u32 },
    /// `remaining` rows of older versions were found by scan: zero; so many older versions were destroyed.
    DirectoryKeyRotationEnded { from: u32, to: u32, resealed: u64, remaining: u64, retired: u32 },
    /// A master key was destroyed.
    MasterKeyDestroyed { version: u32 },
    /// Somebody, or the schedule, asks for the close of an epoch; another has to approve.
    EpochProposed { geo: String },
    /// The close of an epoch begins; approved, where two have to agree.
    EpochApproved { geo: String },
    /// An epoch is being closed: what the shred log lists up to `shreds` is to become irrecoverable.
    EpochBegun { number: u64, shreds: u64 },
    /// Of a tenant that lives on, so many index keys and these roots were replaced and the older roots destroyed: what it
    /// removed since the last close is in no copy that a living key opens. `left_out` reasons left something as it was.
    EpochKeysReplaced {
        number: u64,
        tenant: TenantId,
        buckets: u64,
        subject_root: bool,
        index_root: bool,
        left_out: u64,
    },
    /// What lives is wrapped under `to`; every version below it is disabled, to be destroyed after `soak_s` seconds.
    EpochSoaking { number: u64, to: u32, records: u64, soak_s: i64 },
    /// The soak is over; the disabled versions are about to be destroyed.
    EpochEnding { number: u64, to: u32 },
    /// They are destroyed. Backups made before `number` ended hold a key store that nothing opens.
    EpochClosed { number: u64, records: u64, masters: u64, backups: u64 },
    /// It was taken back before anything was destroyed.
    EpochAborted { number: u64 },
    /// A disabled version was asked for so often during its soak: it is not destroyed.
    EpochAlarm { number: u64, uses: u64 },
    /// What a restored backup brought back of a destroyed tenant is deleted again.
    TenantRedeleted { tenant: TenantId },
    /// A backup was made; the hash is that of its signed manifest.
    BackupMade { backup: String, manifest: Hash },
    /// An operator let a geo serve from an older key store. `reason` is the hash of his words; the counts say what the
    /// shred log destroyed again, and how many tenants have to be rotated.
    KeysRestored { reason: Hash, tenants: u64, subjects: u64, roots: u64, to_rotate: u64 },

    /// An export of a tenant, or of one bucket of it, begins to leave.
    ExportBegun { tenant: TenantId, bucket: Option<BucketId> },
    /// It left whole. `manifest` is the hash of its sealed manifest; `damaged` objects are not in it.
    ExportEnded { tenant: TenantId, objects: u64, bytes: u64, damaged: u64, manifest: Hash },
    /// The keys that open a tenant's data were handed out.
    TenantKeyRevealed { tenant: TenantId, version: u32 },

    /// A data subject is to be erased. `subject` is an opaque id, not the subject's name.
    SubjectErasureBegun { tenant: TenantId, subject: SubjectId },
    /// Its key was destroyed; the key store's files were read for it, and it was found so many times: zero, or look why.
    SubjectKeyDestroyed { tenant: TenantId, subject: SubjectId, files_scanned: u64, salts_found: u64, in_place: bool },
    /// Its objects, uploads and blobs were removed in so many of this run, and its name was forgotten.
    SubjectErased { tenant: TenantId, subject: SubjectId, objects: u64, uploads: u64, blobs: u64 },

    /// A batch of several subjects' records is written anew without this one's.
    BatchRewritten { tenant: TenantId, subject: SubjectId, bucket: BucketId, from: VersionId, to: VersionId },
    /// While holds keep `kept` of its objects, the others were removed; the erasure itself is to come.
    SubjectErasedInPart { tenant: TenantId, subject: SubjectId, objects: u64, uploads: u64, blobs: u64, kept: u64 },
    /// A data subject's request was entered. `subject` is a keyed hash of who asks, `basis` the hash of the ground.
    DsrOpened { tenant: TenantId, dsr: u64, kind: String, subject: String, basis: Hash },
    /// It is to stand so from now on.
    DsrMoved {
        tenant: TenantId,
        dsr: u64,
        state: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Hash>,
    },
    /// The certificate of an erasure, by the SHA-256 of its text.
    SubjectCertificateIssued { tenant: TenantId, dsr: u64, certificate: Hash },
    /// A copy of all that is stored of who asks is handed out.
    DsrBundle { tenant: TenantId, dsr: u64 },
    /// A link was made by which who asks may fetch it once, until `until`, RFC 3339; one of before is void.
    DsrLinkMade { tenant: TenantId, dsr: u64, until: String },
    /// By that link a whole copy was fetched: it is void.
    DsrLinkSpent { tenant: TenantId, dsr: u64 },
    /// By a request somebody is to stand so with a tenant: `restricted`, `not-to-be-stored`, or either taken back.
    SubjectStanding {
        tenant: TenantId,
        dsr: u64,
        subject: String,
        act: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Hash>,
    },
    /// The content of an object was put right for its data subject; the version of before is destroyed.
    ObjectRectified { tenant: TenantId, dsr: u64, bucket: BucketId, from: VersionId, to: VersionId },
    /// Somebody wants nothing more of themselves to be collected. `contact` is a keyed hash of who, `kind` is `contact` or
    /// `lead`.
    ContactOptedOut { tenant: TenantId, contact: String, kind: String },
    /// They take that back.
    ContactOptedIn { tenant: TenantId, contact: String, kind: String },

    /// A bucket's lifecycle rules are replaced by so many; zero: they are removed.
    LifecycleSet { tenant: TenantId, bucket: BucketId, rules: u64 },
    /// A bucket keeps versions from here on, or stops to.
    VersioningSet { tenant: TenantId, bucket: BucketId, enabled: bool },
    /// So many versions of objects of a bucket are about to be removed, or hidden by markers, by its lifecycle rules.
    ObjectsExpiring { tenant: TenantId, bucket: BucketId, objects: u64 },
    /// A notice of its coming end arrived where the operator wants them: `T`, `-30d`, `-14d`, `-7d` or `-1d`.
    NoticeSent { tenant: TenantId, stage: String, attempts: u32 },
    /// The whole chain was walked, and so many entries are as they were written.
    LogVerified { entries: u64 },
    /// Each listener was spoken to from outside: `failed` of them take plaintext or an old version of TLS, or take no new
    /// one, or have a certificate that is about to end. The first of them ends in so many days.
    ListenersProbed { listeners: u32, failed: u32, certificate_days: i64 },
    /// Bodies that are and are not what they claim were given to what verifies uploads; it judged `failed` of them wrongly.
    DigestsProbed { claims: u32, failed: u32 },
    /// A sample of what is stored was read: `failed` rows and blobs are not sealed, do not open, or open after a change.
    SealingProbed { tenants: u32, rows: u32, blobs: u32, failed: u32 },
    /// A witness on other media begins to remember the log, which has so many entries.
    WitnessBegun { entries: u64 },
    /// The sweeper did something. Sweeps that do nothing are not recorded.
    SweepEnded { purged: u64, held: u64, uploads_aborted: u64, orphans_removed: u64, skipped: u64 },
    /// The wall contradicts the proven time, by so many seconds, ahead (positive) or behind.
    ClockSuspect { ahead_s: i64 },
    /// Somebody says that it was at least `utc`, RFC 3339; another principal has to say the same. `reason` is the hash of his
    /// words.
    ClockAttestationProposed { utc: String, reason: Hash },
    /// Another principal says the same, or one may alone: it is about to count.
    ClockAttestationAgreed { utc: String, reason: Hash },
    /// A token of the admin API was revoked. `admin` is its id in the log.
    AdminRevoked { admin: String },
    /// Two principals attested the time; so many seconds of off-time now count.
    ClockAttested { by: String, second: String, credited_s: i64 },
    /// A simulated clock was moved.
    ClockMoved { seconds: i64 },
    /// Stored bytes of an object, or its key, failed their authentication; `class` says which check.
    IntegrityFailed { tenant: TenantId, bucket: BucketId, object: ObjectId, version: VersionId, class: String },
    /// A row of a bucket's index failed its authentication, or rows that belong together do not fit.
    RowDamaged { tenant: TenantId, bucket: BucketId, class: String },
    /// An operator let a region serve that was behind its anchor by so many commits. `reason` is the hash of his words.
    AnchorOverridden { region: String, behind: u64, reason: Hash },
    /// An administrator was refused.
    AdminRefused { status: u16 },
}
