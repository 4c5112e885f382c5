//! The one door to a geo's keys: a request in, a reply out, the same in this process and over a link.
//!
//! A new act is a variant of [`Request`], where need be one of [`Reply`], an arm of the `match` below, and a method of
//! [`crate::KeyClient`]. Numbers are never given twice: two releases may talk to one another.

use crate::backup::KeystoreCopy;
use crate::context::Id;
use crate::destroy::ShredEvidence;
use crate::ending::{Ended, Ending, VersionOf};
use crate::entries::RotationJob;
use crate::epoch::{BackupNote, EpochClosed, EpochJob};
use crate::error::KeyError;
use crate::geo_keys::DirectoryKey;
use crate::grant::{ExportKey, Grant, SubjectGrant};
use crate::heads::Head;
use crate::material::Secret;
use crate::record::{KeyKind, KeyName, ProviderKind, Record};
use crate::reroot::SubjectsStep;
use crate::restored::RestoreNote;
use crate::revocations::{Place, Revocations};
use crate::rotate::{RotationPlan, RotationProgress, ScanEvidence};
use crate::service::KeyProbe;
use crate::shred_log::Shred;
use crate::status::{ServiceStatus, TenantStatus};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Whoever answers for the keys of one geo. Calls block.
pub trait KeyAuthority: Send + Sync {
    /// Carries out one act.
    fn call(&self, request: Request) -> Result<Reply, KeyError>;
}

/// An act that is asked for. Holds ids and public data, never a key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(missing_docs, reason = "each is the method of GeoKeyService that has its name, and its arguments")]
pub enum Request {
    #[n(0)]
    Hello {},
    #[n(1)]
    Lease {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(2)]
    Revocations {
        #[n(0)]
        known: Place,
        #[n(1)]
        wait_ms: u32,
    },
    #[n(3)]
    CreateTenant {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(4)]
    Suspend {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(5)]
    Resume {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(6)]
    KeyProbe {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(7)]
    CreateSubject {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[cbor(n(1), with = "minicbor::bytes")]
        subject: Id,
    },
    #[n(8)]
    Subject {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[cbor(n(1), with = "minicbor::bytes")]
        subject: Id,
    },
    #[n(9)]
    SubjectRecord {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[cbor(n(1), with = "minicbor::bytes")]
        subject: Id,
    },
    #[n(10)]
    DestroySubject {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[cbor(n(1), with = "minicbor::bytes")]
        subject: Id,
    },
    #[n(11)]
    Rotation {},
    #[n(12)]
    RotateMaster {},
    #[n(13)]
    RotateMasterStep {
        #[n(1)]
        token: u64,
        #[n(0)]
        records_max: Count,
    },
    #[n(14)]
    ScanMasters {},
    #[n(15)]
    DestroyMasterVersion {
        #[n(0)]
        version: u32,
    },
    #[n(16)]
    RotateTenant {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(17)]
    RetireTenantVersion {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[n(1)]
        version: u32,
        #[n(2)]
        records_left: u64,
    },
    #[n(18)]
    SetDue {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[n(1)]
        due: i64,
    },
    #[n(19)]
    ClearDue {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(20)]
    IsDue {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(21)]
    DestroyTenant {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(22)]
    DiscardTenant {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(23)]
    SaveAnchor {
        #[n(0)]
        region: String,
        #[n(1)]
        counter: u64,
        #[cbor(n(2), with = "minicbor::bytes")]
        digest: [u8; 32],
    },
    #[n(24)]
    Anchor {
        #[n(0)]
        region: String,
    },
    #[n(25)]
    ResetAnchor {
        #[n(0)]
        region: String,
        #[n(1)]
        counter: u64,
        #[cbor(n(2), with = "minicbor::bytes")]
        digest: [u8; 32],
    },
    #[n(26)]
    SaveAuditHead {
        #[n(0)]
        entries: u64,
        #[cbor(n(1), with = "minicbor::bytes")]
        digest: [u8; 32],
    },
    #[n(27)]
    AuditHead {},
    #[n(28)]
    Status {},
    #[n(29)]
    TenantStatus {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(30)]
    Sign {
        #[cbor(n(0), with = "minicbor::bytes")]
        message: Vec<u8>,
    },
    #[n(31)]
    Reveal {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[n(1)]
        key: ExportKey,
    },
    #[n(40)]
    ShredHead {},
    #[n(41)]
    EpochBegin {
        #[n(0)]
        soak_s: i64,
    },
    #[n(42)]
    EpochStep {
        #[n(0)]
        records_max: Count,
    },
    #[n(43)]
    EpochFinish {},
    #[n(44)]
    EpochAbort {},
    #[n(45)]
    EpochJob {},
    #[n(46)]
    Epochs {},
    #[n(47)]
    Shreds {
        #[n(0)]
        from: u64,
        #[n(1)]
        to: u64,
    },
    #[n(48)]
    Backups {},
    #[n(49)]
    BackupHeads {
        #[n(0)]
        dir: String,
    },
    #[n(50)]
    BackupKeystore {
        #[n(0)]
        dir: String,
        #[n(1)]
        id: String,
    },
    #[n(60)]
    RotateRoot {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[n(1)]
        kind: KeyKind,
    },
    #[n(61)]
    RetireRoot {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[n(1)]
        kind: KeyKind,
        #[n(2)]
        version: u32,
        #[n(3)]
        records_left: u64,
    },
    #[n(62)]
    RewrapSubjects {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[cbor(n(1), with = "minicbor::bytes")]
        after: Option<Id>,
        #[n(2)]
        records_max: Count,
    },
    #[n(63)]
    SubjectsUnder {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(64)]
    ReportCompromise {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[n(1)]
        version: u32,
    },
    #[n(65)]
    LeaseForReencryption {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(70)]
    RotateDirectoryKey {},
    #[n(71)]
    DirectoryKeys {},
    #[n(80)]
    RestoreNote {},
    #[n(81)]
    ClearRestoreNote {},
    #[n(90)]
    NoteStanding {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[cbor(n(1), with = "minicbor::bytes")]
        token: Id,
        #[n(2)]
        act: u8,
    },
    #[n(91)]
    InstructEarly {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
        #[cbor(n(1), with = "minicbor::bytes")]
        instruction: [u8; 32],
    },
    #[n(92)]
    CancelEarly {
        #[cbor(n(0), with = "minicbor::bytes")]
        tenant: Id,
    },
    #[n(100)]
    ScheduleEnd {
        #[n(0)]
        of: VersionOf,
        #[n(1)]
        after_s: i64,
        #[n(2)]
        records_left: u64,
    },
    #[n(101)]
    CancelEnd {
        #[n(0)]
        of: VersionOf,
    },
    #[n(102)]
    MayEnd {
        #[n(0)]
        of: VersionOf,
        #[n(1)]
        records_left: u64,
    },
    #[n(103)]
    EndVersion {
        #[n(0)]
        of: VersionOf,
        #[n(1)]
        records_left: u64,
    },
    #[n(104)]
    ForgetEnd {
        #[n(0)]
        of: VersionOf,
    },
    #[n(105)]
    Endings {},
    #[n(107)]
    PlanRotation {
        #[n(0)]
        tries_max: Count,
    },
    #[n(106)]
    ReportMasterCompromise {
        #[n(0)]
        version: u32,
        #[n(1)]
        destroy: bool,
    },
}

impl Request {
    /// Whether doing it twice is the same as doing it once, so that it may be asked again when a link broke.
    pub(crate) const fn is_repeatable(&self) -> bool {
        !matches!(
            self,
            Self::CreateTenant { .. }
                | Self::CreateSubject { .. }
                | Self::RotateTenant { .. }
                | Self::RotateDirectoryKey { .. }
        )
    }
}

impl Request {
    /// Whether it may go through every key of the geo or of a tenant, and through every file: nothing that a client of
    /// the store waits for.
    pub(crate) const fn is_long(&self) -> bool {
        matches!(
            self,
            Self::CreateTenant { .. }
                | Self::DestroySubject { .. }
                | Self::RotateMaster {}
                | Self::RotateMasterStep { .. }
                | Self::ScanMasters {}
                | Self::DestroyMasterVersion { .. }
                | Self::RotateTenant { .. }
                | Self::RetireTenantVersion { .. }
                | Self::RotateRoot { .. }
                | Self::RetireRoot { .. }
                | Self::RewrapSubjects { .. }
                | Self::SubjectsUnder { .. }
                | Self::ReportCompromise { .. }
                | Self::DestroyTenant { .. }
                | Self::DiscardTenant { .. }
                | Self::Status {}
                | Self::EpochBegin { .. }
                | Self::EpochStep { .. }
                | Self::EpochFinish {}
                | Self::EpochAbort {}
                | Self::BackupHeads { .. }
                | Self::BackupKeystore { .. }
                | Self::PlanRotation { .. }
                | Self::ScheduleEnd { .. }
                | Self::MayEnd { .. }
                | Self::EndVersion { .. }
        )
    }
}

/// A number of things, the same on every machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Count(#[n(0)] pub u64);

impl From<usize> for Count {
    fn from(count: usize) -> Self {
        Self(count as u64)
    }
}

/// What an act gave. Some hold keys: no `Debug`, no `Clone`.
#[derive(Encode, Decode)]
#[allow(missing_docs, reason = "each is what the act of the request gives")]
pub enum Reply {
    #[n(0)]
    Hello(#[n(0)] Box<Hello>),
    #[n(1)]
    Lease(#[n(0)] Box<Grant>),
    #[n(2)]
    Revocations(#[n(0)] Revocations),
    #[n(3)]
    Done,
    #[n(4)]
    Probe(#[n(0)] KeyProbe),
    #[n(5)]
    Subject(#[n(0)] SubjectGrant),
    #[n(6)]
    Record(#[cbor(n(0), with = "minicbor::bytes")] Record),
    #[n(7)]
    Shredded(#[n(0)] ShredEvidence),
    #[n(8)]
    Job(#[n(0)] Option<RotationJob>),
    #[n(9)]
    Progress(#[n(0)] RotationProgress),
    #[n(10)]
    Scan(#[n(0)] ScanEvidence),
    #[n(11)]
    Text(#[n(0)] String),
    #[n(12)]
    Name(#[n(0)] KeyName),
    #[n(13)]
    Seconds(#[n(0)] i64),
    #[n(14)]
    Answer(#[n(0)] bool),
    #[n(15)]
    Head(#[n(0)] Option<Head>),
    #[n(16)]
    Status(#[n(0)] Box<ServiceStatus>),
    #[n(17)]
    Tenant(#[n(0)] Option<TenantStatus>),
    #[n(18)]
    Signature(#[cbor(n(0), with = "minicbor::bytes")] [u8; 64]),
    #[n(19)]
    Revealed(#[cbor(n(0), with = "crate::wire::text")] Zeroizing<String>),
    #[n(40)]
    Epoch(#[n(0)] Option<EpochJob>),
    #[n(41)]
    EpochStep(#[n(0)] EpochJob, #[n(1)] u64, #[n(2)] u64),
    #[n(42)]
    Epochs(#[n(0)] Vec<EpochClosed>),
    #[n(43)]
    Shreds(#[n(0)] Vec<Shred>),
    #[n(44)]
    Backups(#[n(0)] Vec<BackupNote>),
    #[n(45)]
    KeystoreCopy(#[n(0)] KeystoreCopy),
    #[n(60)]
    Subjects(#[n(0)] SubjectsStep),
    #[n(61)]
    Under(#[n(0)] BTreeMap<u32, u64>),
    #[n(70)]
    DirectoryKeys(#[n(0)] Vec<DirectoryKey>),
    #[n(80)]
    RestoreNote(#[n(0)] Option<RestoreNote>),
    #[n(100)]
    Ending(#[n(0)] Option<Ending>),
    #[n(101)]
    Ended(#[n(0)] Ended),
    #[n(102)]
    Endings(#[n(0)] Vec<Ending>),
    #[n(103)]
    RotationPlan(#[n(0)] RotationPlan),
}

impl Reply {
    pub(crate) fn done(self) -> Result<(), KeyError> {
        if matches!(self, Self::Done) { Ok(()) } else { Err(KeyError::Protocol) }
    }

    pub(crate) fn shredded(self) -> Result<ShredEvidence, KeyError> {
        if let Self::Shredded(evidence) = self { Ok(evidence) } else { Err(KeyError::Protocol) }
    }
}

/// What a service says of itself, and the one key that its holders have for good: the geo's directory key, under which
/// they find tenants and logins.
#[derive(Encode, Decode)]
pub struct Hello {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) geo: Id,
    #[n(1)]
    pub(crate) provider: ProviderKind,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) log_key: [u8; 32],
    #[n(3)]
    pub(crate) directory: KeyName,
    #[n(4)]
    pub(crate) secret: Secret,
    /// Its older versions that still open.
    #[n(5)]
    pub(crate) older: Option<Vec<DirectoryKey>>,
    /// Authenticates the holder's small state; the same for good. An older service has none.
    #[n(6)]
    pub(crate) state: Option<Secret>,
}
