//! What an administrator can ask of this server: the one question that `admin` puts to the house, answered in `app`
//! over the directory, the key service, the index and the log.
//!
//! Arguments arrive parsed and checked against the atlas. An act that changes anything takes an [`Order`]; in
//! [`Mode::Plan`] it must change nothing and answer [`Outcome::Planned`] with what the run would do.

use super::admins::Admin;
use super::auth::Role;
use super::backups::{CreateBackup, KnownBackup};
use super::clocks::Attested;
use super::compromise::{Exposure, ReportCompromise};
use super::contacts::ContactActs;
use super::dsrs::{DsrActs, NewRequest};
use super::epochs::{Closing, Epoch, Epochs};
use super::error::ActError;
use super::evidence::{
    Controls, KeyInventory, Population, ProcessorRecord, Residency, Restores, Subprocessors, SweepHistory,
};
use super::features::FeatureActs;
use super::holds::{Hold, HoldAct};
use super::proposals::Withdrawn;
use super::transparency::{LogCheckpoint, LogGrowth, LogLines, LogProof};
use super::wire;
use crate::audit::Hash;
use crate::audit::tree::Tile;
use crate::model::atlas::{Geo, Region};
use crate::model::ids::{OperationId, TenantId};
use crate::model::names::{AccessId, BucketName, TenantName};
use crate::model::time::Millis;
use crate::report::Period;
use crate::sweep::whereabouts::After;
use async_trait::async_trait;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Who asks: an opaque id for the audit log, never a name or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(pub String);

/// Whether to act or to say what would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Change nothing; answer with the plan.
    Plan,
    /// Act.
    Run,
}

/// What whoever asks may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// An administrator: names, too.
    Everything,
    /// An auditor: opaque ids, no names.
    NoNames,
}

/// How an act is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who asks.
    pub by: Actor,
    /// In which role.
    pub role: Role,
    /// To act or to plan.
    pub mode: Mode,
    /// The revision that the caller has seen (`If-Match`): refuse with [`ActError::RevisionChanged`] on any other.
    pub expect: Option<u64>,
}

/// What came of an order.
#[derive(Clone, Debug)]
pub enum Outcome<T> {
    /// Nothing was changed; this is what a run would do. `plan_id` is filled in by the caller.
    Planned(wire::Plan),
    /// It was done.
    Done(T),
}

/// A tenant as an administrator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantRef {
    /// By its id: 32 hexadecimal digits. The only way to a purged tenant whose name is gone.
    Id(TenantId),
    /// By its name.
    Name(TenantName),
}

impl FromStr for TenantRef {
    type Err = ActError;

    fn from_str(text: &str) -> Result<Self, ActError> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => TenantName::parse(text).map(Self::Name).map_err(|_| ActError::NoSuchTenant),
        }
    }
}

/// A tenant to be; geo and region agree.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Not the shape of an id.
    pub name: TenantName,
    /// Its geo.
    pub geo: &'static Geo,
    /// A region of that geo.
    pub home: &'static Region,
    /// SHA-256 of the consent text.
    pub consent: Option<[u8; 32]>,
    /// Whom to reach; at most 200 bytes.
    pub contact: Option<String>,
}

/// What streams out of a long answer. An error breaks the transport.
pub type Streamed = futures::stream::BoxStream<'static, Result<bytes::Bytes, Broke>>;

/// A long answer broke off; the log of the room that made it says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub struct Broke;

/// One version of a key, as `key status` names it.
#[derive(Clone, Debug)]
pub enum KeyRef {
    /// `mk/GEO/VERSION`: a geo's master key.
    Master(&'static Geo, u32),
    /// `tdk/TENANT/VERSION`: a tenant's data key.
    Tenant(TenantRef, u32),
    /// `srk/TENANT/VERSION`: the root above its data subjects' keys.
    SubjectRoot(TenantRef, u32),
    /// `tik/TENANT/VERSION`: the root above its index keys.
    IndexRoot(TenantRef, u32),
}

impl FromStr for KeyRef {
    type Err = ActError;

    fn from_str(text: &str) -> Result<Self, ActError> {
        let mut parts = text.split('/');
        let (Some(kind), Some(of), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ActError::NoSuchKey);
        };
        let version = version.parse().map_err(|_| ActError::NoSuchKey)?;
        match kind {
            "mk" => Ok(Self::Master(Geo::find(of).ok_or(ActError::UnknownGeo)?, version)),
            "tdk" => Ok(Self::Tenant(of.parse()?, version)),
            "srk" => Ok(Self::SubjectRoot(of.parse()?, version)),
            "tik" => Ok(Self::IndexRoot(of.parse()?, version)),
            _ => Err(ActError::NoSuchKey),
        }
    }
}

/// Long work on keys.
#[derive(Clone, Debug)]
pub struct KeyWork {
    /// On which.
    pub on: WorkOn,
    /// Records a second at most; `None`: what the settings say.
    pub records_per_s: Option<NonZeroU32>,
}

/// On which keys long work is done, and what.
#[derive(Clone, Debug)]
pub enum WorkOn {
    /// A geo's master key gets a new version.
    Master(&'static Geo),
    /// A geo's directory key gets a new version.
    Directory(&'static Geo),
    /// A tenant's data key gets a new version.
    Tenant(TenantRef),
    /// A bucket's index key gets a new version.
    IndexKey(TenantRef, BucketName),
    /// The root above a tenant's data subjects' keys gets a new version.
    SubjectRoot(TenantRef),
    /// The root above a tenant's index keys, credentials and directory rows gets a new version.
    IndexRoot(TenantRef),
    /// Everything of a tenant, or of one bucket, or what a version of the tenant's data key opens or once opened, gets new data
    /// keys and new segments.
    Reencrypt(TenantRef, Option<BucketName>, Option<NonZeroU32>),
}

/// One method for each act. Every one may answer [`ActError::Unavailable`] and [`ActError::Broken`] besides what it says.
#[async_trait]
pub trait Acts: ContactActs + DsrActs + Send + Sync + 'static {
    /// The regions this server serves.
    fn served(&self) -> Vec<&'static Region>;

    /// What keeps this server from serving, in words without names; empty when it is ready.
    async fn waiting_for(&self) -> Vec<String>;

    /// The acts on features, classes and buckets' purposes.
    fn features(&self) -> &dyn FeatureActs;

    /// Whoever has a token of this API, revoked ones too.
    async fn admins(&self) -> Result<Vec<Admin>, ActError>;

    /// Revokes one for good, from the next request on; on a revoked one changes nothing. NoSuchCredential, LastAdmin.
    async fn revoke_admin(&self, order: &Order, id: &str) -> Result<Outcome<Admin>, ActError>;

    /// The metrics page, in the OpenMetrics text format.
    fn metrics(&self) -> String;

    /// Creates a tenant: keys wrapped and probed before it is ACTIVE. NameTaken, RegionNotServed, ConsentRequired.
    async fn create_tenant(&self, order: &Order, new: NewTenant) -> Result<Outcome<wire::Tenant>, ActError>;

    /// One tenant in any state. NoSuchTenant.
    async fn tenant(&self, tenant: &TenantRef) -> Result<wire::Tenant, ActError>;

    /// At most `limit` tenants in order of their ids, of all served geos.
    async fn tenants(&self, after: Option<TenantId>, limit: usize) -> Result<Vec<wire::Tenant>, ActError>;

    /// ACTIVE → DISABLED: its consent and its grants end; on a disabled tenant changes nothing. WrongState.
    async fn disable(&self, order: &Order, t: &TenantRef, reason: &str) -> Result<Outcome<wire::Tenant>, ActError>;

    /// DISABLED → ACTIVE under the consent given, or the one in force; on an active tenant changes nothing but that.
    /// WrongState, ConsentRequired.
    async fn enable(
        &self,
        order: &Order,
        t: &TenantRef,
        consent: Option<[u8; 32]>,
    ) -> Result<Outcome<wire::Tenant>, ActError>;

    /// → TERMINATED, due in 90 days; on a terminated tenant changes nothing. `confirm` must be the tenant's name:
    /// ConfirmMismatch. WrongState.
    async fn terminate(
        &self,
        order: &Order,
        t: &TenantRef,
        reason: &str,
        confirm: &str,
    ) -> Result<Outcome<wire::Tenant>, ActError>;

    /// Enters the instruction to destroy a terminated tenant early, or approves what another administrator entered within a
    /// day: then 72 hours run. EarlyPurgeDisabled, ConfirmMismatch, AnotherNeeded, DueSoon, WrongState.
    async fn purge_early(
        &self,
        order: &Order,
        t: &TenantRef,
        reason: &str,
        confirm: Option<&str>,
    ) -> Result<Outcome<wire::EarlyPurging>, ActError>;

    /// Takes that back, approved or not, while destruction has not begun: the 90 days hold. WrongState.
    async fn cancel_early(&self, order: &Order, t: &TenantRef) -> Result<Outcome<wire::Tenant>, ActError>;

    /// TERMINATED → DISABLED while destruction has not begun. WrongState.
    async fn reinstate(
        &self,
        order: &Order,
        t: &TenantRef,
        consent: [u8; 32],
    ) -> Result<Outcome<wire::Tenant>, ActError>;

    /// Makes a login; the answer holds its secret, which is never shown again. WrongState.
    async fn create_credential(
        &self,
        order: &Order,
        t: &TenantRef,
        role: wire::CredentialRole,
    ) -> Result<Outcome<wire::NewCredential>, ActError>;

    /// The logins of a tenant, revoked ones too, oldest first.
    async fn credentials(&self, t: &TenantRef) -> Result<Vec<wire::Credential>, ActError>;

    /// Revokes a login at once; on a revoked one changes nothing. NoSuchCredential.
    async fn revoke_credential(
        &self,
        order: &Order,
        t: &TenantRef,
        login: &AccessId,
    ) -> Result<Outcome<wire::Credential>, ActError>;

    /// Key versions, of one geo or tenant or of all; with `count`, how many records are under each, up to a bound.
    async fn key_status(
        &self,
        geo: Option<&'static Geo>,
        tenant: Option<&TenantRef>,
        count: bool,
        sight: Sight,
    ) -> Result<wire::KeyStatus, ActError>;

    /// Sets the day on which one version of a key is destroyed, after a scan found nothing under it; `after_s`: how long it
    /// waits. Where two administrators have to agree, the first call proposes and another's approves. NoSuchKey, KeyGone,
    /// KeyInUse, KeptByBackup, AnotherNeeded, Busy.
    async fn destroy_key(
        &self,
        order: &Order,
        key: &KeyRef,
        after_s: Option<i64>,
    ) -> Result<Outcome<wire::Destruction>, ActError>;

    /// Takes the proposal of a key's destruction, or its day, back. NoSuchKey, KeyGone.
    async fn cancel_destruction(&self, order: &Order, key: &KeyRef) -> Result<Outcome<Withdrawn>, ActError>;

    /// Makes a tenant's keys unusable at once, streams under way included, until they are resumed. WrongState.
    async fn suspend_keys(
        &self,
        order: &Order,
        t: &TenantRef,
        reason: &str,
    ) -> Result<Outcome<wire::TenantKeys>, ActError>;

    /// Makes a tenant's suspended keys usable again. WrongState.
    async fn resume_keys(&self, order: &Order, t: &TenantRef) -> Result<Outcome<wire::TenantKeys>, ActError>;

    /// Records that a version of a tenant's data key, or of the master key, may be known to somebody, replaces it and begins to
    /// count what it exposes. NoSuchKey, KeyGone, NotBuilt for other kinds.
    async fn report_compromise(
        &self,
        order: &Order,
        key: &KeyRef,
        report: &ReportCompromise,
    ) -> Result<Outcome<wire::Operation>, ActError>;

    /// What a version exposes, counted now. NoSuchKey, NotBuilt for other kinds than a tenant's data key and the master key.
    async fn exposure(&self, key: &KeyRef, sight: Sight) -> Result<Exposure, ActError>;

    /// Starts long work on keys, or takes up what was cut off. GeoNotServed, WrongState, NoSuchBucket, Busy.
    async fn key_work(&self, order: &Order, work: KeyWork) -> Result<Outcome<wire::Operation>, ActError>;

    /// Begins an export, whose archive streams out. Held, NoSuchBucket.
    async fn export(
        &self,
        order: &Order,
        t: &TenantRef,
        bucket: Option<BucketName>,
    ) -> Result<Outcome<Streamed>, ActError>;

    /// Hands out the keys that open an export. ConfirmMismatch.
    async fn export_keys(
        &self,
        order: &Order,
        t: &TenantRef,
        confirm: &str,
    ) -> Result<Outcome<wire::ExportKeys>, ActError>;

    /// Enters a request for erasure and carries it out. Held, ConfirmMismatch.
    async fn erase_subject(
        &self,
        order: &Order,
        t: &TenantRef,
        new: NewRequest,
        confirm: Option<&str>,
    ) -> Result<Outcome<wire::Operation>, ActError>;

    /// Places, approves or releases a legal hold. HoldExists, NoSuchHold, UnknownScope, SamePrincipal, StateRefuses.
    async fn hold_act(&self, order: &Order, act: HoldAct) -> Result<Outcome<Hold>, ActError>;

    /// The legal holds of a tenant, or of all.
    async fn holds(&self, tenant: Option<&TenantRef>) -> Result<Vec<Hold>, ActError>;

    /// One legal hold, with what it covers now and what waits for its release. NoSuchHold.
    async fn hold(&self, id: &str) -> Result<Hold, ActError>;

    /// Closes a geo's epoch, or takes up a close that was cut off. Where two persons have to agree, the first call proposes
    /// and another's approves. GeoNotServed, SoakRequired, Busy.
    async fn close_epoch(&self, order: &Order, geo: &'static Geo, no_soak: bool) -> Result<Outcome<Closing>, ActError>;

    /// Takes a close back. GeoNotServed, NoSuchEpoch when none is under way or it destroys already.
    async fn abort_epoch(&self, order: &Order, geo: &'static Geo) -> Result<Outcome<Epoch>, ActError>;

    /// The epochs of a geo, and when the next is due. GeoNotServed.
    async fn epochs(&self, geo: &'static Geo) -> Result<Epochs, ActError>;

    /// The certificate of an epoch's close, as it was signed. NoCertificate.
    async fn epoch_certificate(&self, geo: &'static Geo, number: u64) -> Result<serde_json::Value, ActError>;

    /// Makes a backup. BadPlace, Busy.
    async fn create_backup(&self, order: &Order, new: &CreateBackup) -> Result<Outcome<wire::Operation>, ActError>;

    /// Backups whose key store can still be opened.
    async fn backups(&self) -> Result<Vec<KnownBackup>, ActError>;

    /// A long piece of work. NoSuchOperation.
    async fn operation(&self, id: &OperationId) -> Result<wire::Operation, ActError>;

    /// Starts a sweep, or answers with the one under way.
    async fn sweep_run(&self, order: &Order) -> Result<Outcome<wire::Operation>, ActError>;

    /// The sweeper's last, next and late.
    async fn sweep_status(&self) -> Result<wire::SweepStatus, ActError>;

    /// The newest `limit` entries of one geo's log or of all, oldest first; with `after`, the `limit` entries that
    /// follow this index instead.
    async fn audit_tail(
        &self,
        geo: Option<&'static Geo>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<wire::AuditEntry>, ActError>;

    /// One entry of a geo's log, with the words behind its hashes. GeoNotServed, BadQuery.
    async fn audit_show(&self, geo: &'static Geo, index: u64) -> Result<wire::AuditShown, ActError>;

    /// Walks the chain of one geo's log or of all.
    async fn audit_verify(&self, geo: Option<&'static Geo>) -> Result<Vec<wire::AuditVerdict>, ActError>;

    /// The key that signs this geo's certificates. GeoNotServed.
    async fn log_key(&self, geo: &'static Geo) -> Result<wire::LogKey, ActError>;

    /// Size and Merkle root of this geo's audit log, signed. GeoNotServed.
    async fn log_checkpoint(&self, geo: &'static Geo) -> Result<LogCheckpoint, ActError>;

    /// At most `limit` entries of this geo's audit log from index `from` on, as they lie in it. GeoNotServed.
    async fn log_lines(&self, geo: &'static Geo, from: u64, limit: usize) -> Result<LogLines, ActError>;

    /// One entry of this geo's audit log, and what shows that it is in it. GeoNotServed, BadQuery.
    async fn log_proof(&self, geo: &'static Geo, index: u64) -> Result<LogProof, ActError>;

    /// This geo's audit log as it is now, and what shows that it goes on from its first `since` entries. GeoNotServed,
    /// BadQuery.
    async fn log_growth(&self, geo: &'static Geo, since: u64) -> Result<LogGrowth, ActError>;

    /// A tile of this geo's audit log. GeoNotServed, NoSuchRoute.
    async fn log_tile(&self, geo: &'static Geo, tile: Tile) -> Result<Vec<u8>, ActError>;

    /// The entry of this geo's audit log that names a certificate of this hash, and what shows that it is in it.
    /// GeoNotServed, NotInLog.
    async fn certificate_proof(&self, geo: &'static Geo, certificate: Hash) -> Result<LogProof, ActError>;

    /// The certificate of a purged tenant, as it was signed, with its proofs of the log; also from the log's first `since`
    /// entries on. NoCertificate, BadQuery.
    async fn certificate(&self, tenant: &TenantRef, since: Option<u64>) -> Result<serde_json::Value, ActError>;

    /// Every control with its newest evidence.
    async fn controls(&self) -> Result<Controls, ActError>;

    /// Every restore of a key store, with what was destroyed again.
    async fn restores(&self) -> Result<Restores, ActError>;

    /// Whom the processor has work for it.
    async fn subprocessors(&self) -> Result<Subprocessors, ActError>;

    /// The record of processing activities.
    async fn processor_record(&self, sight: Sight) -> Result<ProcessorRecord, ActError>;

    /// Every tenant terminated in a period; `text` is how it was asked for.
    async fn population(&self, text: &str, period: Period) -> Result<Population, ActError>;

    /// Where a tenant's bytes are.
    async fn residency(&self, tenant: &TenantRef, after: Option<&After>, limit: usize) -> Result<Residency, ActError>;

    /// Every version of every key.
    async fn key_inventory(&self) -> Result<KeyInventory, ActError>;

    /// At most `limit` runs of the sweeper, newest first.
    async fn sweep_history(&self, limit: usize) -> Result<SweepHistory, ActError>;

    /// The compliance clock.
    async fn clock(&self) -> Result<wire::Clock, ActError>;

    /// Attests the time, or proposes it; `reason` is kept as its hash. BadField ahead of the wall or behind the clock,
    /// SamePrincipal.
    async fn attest_clock(&self, order: &Order, utc: Millis, reason: &str) -> Result<Outcome<Attested>, ActError>;

    /// Moves a simulated clock. ClockIsReal.
    async fn clock_advance(&self, order: &Order, seconds: u64) -> Result<Outcome<wire::Clock>, ActError>;
}
