//! A key service as the rest of the house calls it: one method for each act, wherever the service runs.
//!
//! Everything here blocks (a provider, a disk, a socket) but [`KeyClient::cached`]. In the same process the service is
//! called as it is; elsewhere the same requests go over a link. Either way what is held here are purpose keys under a
//! lease, the geo's directory key, and nothing above.

use crate::authority::{KeyAuthority, Reply, Request};
use crate::backup::KeystoreCopy;
use crate::calls::{Counters, ProviderCalls};
use crate::context::{Id, NO_ID};
use crate::derive;
use crate::destroy::ShredEvidence;
use crate::ending::{Ended, Ending, VersionOf};
use crate::entries::RotationJob;
use crate::epoch::{BackupNote, EpochClosed, EpochJob};
use crate::error::{KeyError, Refusal};
use crate::geo_keys::{DirectoryKey, GeoKeys};
use crate::grant::ExportKey;
use crate::heads::Head;
use crate::leases::{Cached, LeaseOptions, Leases};
use crate::material::Secret;
use crate::provider::StateMac;
use crate::record::{KeyKind, KeyName, ProviderKind, Record};
use crate::reroot::SubjectsStep;
use crate::restored::RestoreNote;
use crate::revocations::Place;
use crate::rotate::{RotationPlan, RotationProgress, ScanEvidence};
use crate::service::{Clock, GeoKeyService, KeyProbe};
use crate::shred_log::Shred;
use crate::status::{ServiceStatus, TenantStatus};
use crate::tenant_keys::{SubjectKey, TenantKeys};
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The key service of one geo, from where its keys are used.
pub struct KeyClient {
    geo: Id,
    authority: Arc<dyn KeyAuthority>,
    clock: Arc<dyn Clock>,
    leases: Arc<Leases>,
    flights: Mutex<HashMap<Id, Arc<Flight>>>,
    provider: ProviderKind,
    geo_keys: Arc<GeoKeys>,
    state: Option<Secret>,
    log_key: [u8; 32],
    known: Mutex<Known>,
    /// The service's own counters, where it runs in this process.
    inside: Option<Arc<Counters>>,
    /// Tenants whose keys were asked for too often, until somebody asks who.
    limited: Mutex<BTreeSet<Id>>,
}

/// How far this holder heard of revocations, and what came with them.
#[derive(Default)]
struct Known {
    place: Place,
    calls: ProviderCalls,
}

/// One request to the service for a tenant's keys, and whoever waits for it.
#[derive(Default)]
struct Flight {
    answer: Mutex<Option<Result<Arc<TenantKeys>, KeyError>>>,
    landed: Condvar,
}

/// Ends a flight whatever happens to who flies it.
struct Landing<'a> {
    client: &'a KeyClient,
    tenant: Id,
    flight: Arc<Flight>,
    answer: Result<Arc<TenantKeys>, KeyError>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.client.flights.lock().remove(&self.tenant);
        *self.flight.answer.lock() = Some(self.answer.clone());
        self.flight.landed.notify_all();
    }
}

/// How often a lease is asked for anew when something is revoked meanwhile.
const TRIES_MAX: u32 = 8;

/// The acts: each sends its request and takes the one reply that fits.
macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) -> $out:ty = $request:ident => $reply:pat => $value:expr;)*) => {
        impl KeyClient {
            $(
                $(#[$doc])*
                pub fn $name(&self, $($arg: $kind),*) -> Result<$out, KeyError> {
                    match self.authority.call(Request::$request { $($arg: $arg.into()),* })? {
                        $reply => Ok($value),
                        _ => Err(KeyError::Protocol),
                    }
                }
            )*
        }
    };
}

acts! {
    /// As [`GeoKeyService::key_probe`].
    key_probe(tenant: Id) -> KeyProbe = KeyProbe => Reply::Probe(probe) => probe;
    /// As [`GeoKeyService::subject_record`].
    subject_record(tenant: Id, subject: Id) -> Record = SubjectRecord => Reply::Record(record) => record;
    /// As [`GeoKeyService::rotation`].
    rotation() -> Option<RotationJob> = Rotation => Reply::Job(job) => job;
    /// As [`GeoKeyService::rotate_master_step`].
    rotate_master_step(token: u64, records_max: usize) -> RotationProgress = RotateMasterStep => Reply::Progress(progress) => progress;
    /// As [`GeoKeyService::scan_masters`].
    scan_masters() -> ScanEvidence = ScanMasters => Reply::Scan(evidence) => evidence;
    /// As [`GeoKeyService::destroy_master_version`].
    destroy_master_version(version: u32) -> String = DestroyMasterVersion => Reply::Text(receipt) => receipt;
    /// As [`GeoKeyService::rewrap_subjects`].
    rewrap_subjects(tenant: Id, after: Option<Id>, records_max: usize) -> SubjectsStep = RewrapSubjects => Reply::Subjects(step) => step;
    /// As [`GeoKeyService::subjects_under`].
    subjects_under(tenant: Id) -> BTreeMap<u32, u64> = SubjectsUnder => Reply::Under(under) => under;
    /// As [`GeoKeyService::set_due`].
    set_due(tenant: Id, due: i64) -> i64 = SetDue => Reply::Seconds(due) => due;
    /// As [`GeoKeyService::clear_due`].
    clear_due(tenant: Id) -> () = ClearDue => Reply::Done => ();
    /// As [`GeoKeyService::instruct_early`].
    instruct_early(tenant: Id, instruction: [u8; 32]) -> i64 = InstructEarly => Reply::Seconds(due) => due;
    /// As [`GeoKeyService::cancel_early`].
    cancel_early(tenant: Id) -> () = CancelEarly => Reply::Done => ();
    /// As [`GeoKeyService::is_due`].
    is_due(tenant: Id) -> bool = IsDue => Reply::Answer(due) => due;
    /// As [`GeoKeyService::save_anchor`].
    save_anchor(region: &str, counter: u64, digest: [u8; 32]) -> () = SaveAnchor => Reply::Done => ();
    /// As [`GeoKeyService::anchor`].
    anchor(region: &str) -> Option<Head> = Anchor => Reply::Head(head) => head;
    /// As [`GeoKeyService::danger_reset_anchor`].
    danger_reset_anchor(region: &str, counter: u64, digest: [u8; 32]) -> () = ResetAnchor => Reply::Done => ();
    /// As [`GeoKeyService::save_audit_head`].
    save_audit_head(entries: u64, digest: [u8; 32]) -> () = SaveAuditHead => Reply::Done => ();
    /// As [`GeoKeyService::audit_head`].
    audit_head() -> Option<Head> = AuditHead => Reply::Head(head) => head;
    /// As [`GeoKeyService::status`].
    status() -> ServiceStatus = Status => Reply::Status(status) => *status;
    /// As [`GeoKeyService::tenant_status`].
    tenant_status(tenant: Id) -> Option<TenantStatus> = TenantStatus => Reply::Tenant(status) => status;
    /// As [`GeoKeyService::restore_note`].
    restore_note() -> Option<RestoreNote> = RestoreNote => Reply::RestoreNote(note) => note;
    /// As [`GeoKeyService::clear_restore_note`].
    clear_restore_note() -> () = ClearRestoreNote => Reply::Done => ();
    /// As [`GeoKeyService::shred_head`].
    shred_head() -> Head = ShredHead => Reply::Head(Some(head)) => head;
    /// As [`GeoKeyService::epoch_begin`].
    epoch_begin(soak_s: i64) -> EpochJob = EpochBegin => Reply::Epoch(Some(job)) => job;
    /// As [`GeoKeyService::epoch_step`].
    epoch_step(records_max: usize) -> (EpochJob, u64, u64) = EpochStep => Reply::EpochStep(job, done, total) => (job, done, total);
    /// As [`GeoKeyService::epoch_finish`].
    epoch_finish() -> Option<EpochClosed> = EpochFinish => Reply::Epochs(closed) => closed.into_iter().next();
    /// As [`GeoKeyService::epoch_abort`].
    epoch_abort() -> EpochJob = EpochAbort => Reply::Epoch(Some(job)) => job;
    /// As [`GeoKeyService::epoch_job`].
    epoch_job() -> Option<EpochJob> = EpochJob => Reply::Epoch(job) => job;
    /// As [`GeoKeyService::epochs`].
    epochs() -> Vec<EpochClosed> = Epochs => Reply::Epochs(closed) => closed;
    /// As [`GeoKeyService::shreds`].
    shreds(from: u64, to: u64) -> Vec<Shred> = Shreds => Reply::Shreds(shreds) => shreds;
    /// As [`GeoKeyService::note_standing`].
    note_standing(tenant: Id, token: Id, act: u8) -> () = NoteStanding => Reply::Done => ();
    /// As [`GeoKeyService::backups`].
    backups() -> Vec<BackupNote> = Backups => Reply::Backups(notes) => notes;
    /// As [`GeoKeyService::backup_heads`], on the key service's machine.
    backup_heads(dir: &str) -> () = BackupHeads => Reply::Done => ();
    /// As [`GeoKeyService::backup_keystore`], on the key service's machine.
    backup_keystore(dir: &str, id: &str) -> KeystoreCopy = BackupKeystore => Reply::KeystoreCopy(copy) => copy;
    /// As [`GeoKeyService::plan_rotation`].
    plan_rotation(tries_max: usize) -> RotationPlan = PlanRotation => Reply::RotationPlan(plan) => plan;
    /// As [`GeoKeyService::schedule_end`].
    schedule_end(of: VersionOf, after_s: i64, records_left: u64) -> Ending = ScheduleEnd => Reply::Ending(Some(ending)) => ending;
    /// As [`GeoKeyService::cancel_end`].
    cancel_end(of: VersionOf) -> Option<Ending> = CancelEnd => Reply::Ending(ending) => ending;
    /// As [`GeoKeyService::may_end`].
    may_end(of: VersionOf, records_left: u64) -> () = MayEnd => Reply::Done => ();
    /// As [`GeoKeyService::forget_end`].
    forget_end(of: VersionOf) -> () = ForgetEnd => Reply::Done => ();
    /// As [`GeoKeyService::endings`].
    endings() -> Vec<Ending> = Endings => Reply::Endings(endings) => endings;
    /// As [`GeoKeyService::report_master_compromise`].
    report_master_compromise(version: u32, destroy: bool) -> Option<Ending> = ReportMasterCompromise => Reply::Ending(ending) => ending;
    /// The log signer's signature of `message`.
    sign(message: &[u8]) -> [u8; 64] = Sign => Reply::Signature(signature) => signature;
    /// A key of an export's key file in hexadecimal: hands the tenant's data to whoever reads it. Only for an export
    /// that the tenant asked for. Cleared when the caller drops it.
    danger_reveal(tenant: Id, key: ExportKey) -> Zeroizing<String> = Reveal => Reply::Revealed(text) => text;
}

/// The acts after which a holder's own leases are not what they were.
impl KeyClient {
    /// As [`GeoKeyService::create_tenant`].
    pub fn create_tenant(&self, tenant: Id) -> Result<(), KeyError> {
        self.voiding(tenant, Request::CreateTenant { tenant })?.done()
    }

    /// As [`GeoKeyService::suspend`].
    pub fn suspend(&self, tenant: Id) -> Result<(), KeyError> {
        self.voiding(tenant, Request::Suspend { tenant })?.done()
    }

    /// As [`GeoKeyService::resume`].
    pub fn resume(&self, tenant: Id) -> Result<(), KeyError> {
        self.voiding(tenant, Request::Resume { tenant })?.done()
    }

    /// As [`GeoKeyService::destroy_tenant`].
    pub fn destroy_tenant(&self, tenant: Id) -> Result<ShredEvidence, KeyError> {
        self.voiding(tenant, Request::DestroyTenant { tenant })?.shredded()
    }

    /// As [`GeoKeyService::discard_tenant`].
    pub fn discard_tenant(&self, tenant: Id) -> Result<(), KeyError> {
        self.voiding(tenant, Request::DiscardTenant { tenant })?.done()
    }

    /// As [`GeoKeyService::rotate_tenant`].
    pub fn rotate_tenant(&self, tenant: Id) -> Result<KeyName, KeyError> {
        let reply = self.authority.call(Request::RotateTenant { tenant })?;
        self.leases.supersede(&tenant);
        match reply {
            Reply::Name(name) => Ok(name),
            _ => Err(KeyError::Protocol),
        }
    }

    /// As [`GeoKeyService::retire_tenant_version`]. Also refuses while somebody here holds keys from before a rotation.
    pub fn retire_tenant_version(
        &self,
        tenant: Id,
        version: u32,
        records_left: u64,
    ) -> Result<ShredEvidence, KeyError> {
        if self.leases.has_superseded(&tenant) {
            return Err(Refusal::InUse.into());
        }
        let reply = self.authority.call(Request::RetireTenantVersion { tenant, version, records_left })?;
        self.leases.supersede(&tenant);
        reply.shredded()
    }

    /// As [`GeoKeyService::rotate_root`].
    pub fn rotate_root(&self, tenant: Id, kind: KeyKind) -> Result<KeyName, KeyError> {
        let reply = self.authority.call(Request::RotateRoot { tenant, kind })?;
        self.leases.supersede(&tenant);
        match reply {
            Reply::Name(name) => Ok(name),
            _ => Err(KeyError::Protocol),
        }
    }

    /// As [`GeoKeyService::retire_root`]. Also refuses while somebody here holds keys from before a rotation.
    pub fn retire_root(
        &self,
        tenant: Id,
        kind: KeyKind,
        version: u32,
        records_left: u64,
    ) -> Result<ShredEvidence, KeyError> {
        if self.leases.has_superseded(&tenant) {
            return Err(Refusal::InUse.into());
        }
        let reply = self.authority.call(Request::RetireRoot { tenant, kind, version, records_left })?;
        self.leases.supersede(&tenant);
        reply.shredded()
    }

    /// As [`GeoKeyService::end_version`]. Of a tenant's root, also refuses while somebody here holds keys from before a
    /// rotation.
    pub fn end_version(&self, of: VersionOf, records_left: u64) -> Result<Ended, KeyError> {
        let tenant = match of {
            VersionOf::Master { .. } => None,
            VersionOf::Root { tenant, .. } => Some(tenant),
        };
        if tenant.is_some_and(|tenant| self.leases.has_superseded(&tenant)) {
            return Err(Refusal::InUse.into());
        }
        let reply = self.authority.call(Request::EndVersion { of, records_left })?;
        if let Some(tenant) = tenant {
            self.leases.supersede(&tenant);
        }
        match reply {
            Reply::Ended(ended) => Ok(ended),
            _ => Err(KeyError::Protocol),
        }
    }

    /// Whether somebody here still holds keys from before the newest rotation of one of the tenant's roots.
    pub fn is_superseded_in_use(&self, tenant: Id) -> bool {
        self.leases.has_superseded(&tenant)
    }

    /// As [`GeoKeyService::report_compromise`].
    pub fn report_compromise(&self, tenant: Id, version: u32) -> Result<KeyName, KeyError> {
        match self.voiding(tenant, Request::ReportCompromise { tenant, version })? {
            Reply::Name(name) => Ok(name),
            _ => Err(KeyError::Protocol),
        }
    }

    /// As [`GeoKeyService::grant_for_reencryption`]: a handle beside the tenant's lease, that ends when that is void.
    pub fn tenant_for_reencryption(&self, tenant: Id) -> Result<Arc<TenantKeys>, KeyError> {
        self.tenant(tenant)?;
        match self.authority.call(Request::LeaseForReencryption { tenant })? {
            Reply::Lease(grant) if grant.tenant == tenant && grant.geo == self.geo => self.leases.beside(*grant),
            _ => Err(KeyError::Protocol),
        }
    }

    /// As [`GeoKeyService::rotate_master`].
    pub fn rotate_master(&self) -> Result<RotationJob, KeyError> {
        match self.authority.call(Request::RotateMaster {})? {
            Reply::Job(Some(job)) => Ok(job),
            _ => Err(KeyError::Protocol),
        }
    }

    /// As [`GeoKeyService::create_subject`].
    pub fn create_subject(&self, tenant: Id, subject: Id) -> Result<Arc<SubjectKey>, KeyError> {
        let keys = self.tenant(tenant)?;
        self.subject_key(&keys, (tenant, subject), Request::CreateSubject { tenant, subject })
    }

    /// As [`GeoKeyService::subject_at_hand`]. Does not block; `None` also when the tenant's lease has to be asked for.
    pub fn subject_at_hand(&self, tenant: Id, subject: Id) -> Result<Option<Arc<SubjectKey>>, KeyError> {
        match self.cached(tenant) {
            Cached::Keys(keys) => Ok(self.leases.subjects.find((tenant, subject), &keys)),
            Cached::Refused(error) => Err(error),
            Cached::Miss => Ok(None),
        }
    }

    /// As [`GeoKeyService::subject`].
    pub fn subject(&self, tenant: Id, subject: Id) -> Result<Arc<SubjectKey>, KeyError> {
        let keys = self.tenant(tenant)?;
        match self.leases.subjects.find((tenant, subject), &keys) {
            Some(key) => Ok(key),
            None => self.subject_key(&keys, (tenant, subject), Request::Subject { tenant, subject }),
        }
    }

    /// As [`GeoKeyService::destroy_subject`].
    pub fn destroy_subject(&self, tenant: Id, subject: Id) -> Result<ShredEvidence, KeyError> {
        let reply = self.authority.call(Request::DestroySubject { tenant, subject });
        self.leases.subjects.erase(tenant, subject);
        reply?.shredded()
    }

    /// A subject's key lives and ends with its tenant's lease. An erasure meanwhile marks what is held here of it.
    fn subject_key(
        &self,
        keys: &Arc<TenantKeys>,
        whose: (Id, Id),
        request: Request,
    ) -> Result<Arc<SubjectKey>, KeyError> {
        let erasure = self.leases.subjects.erasure(whose);
        let Reply::Subject(grant) = self.authority.call(request)? else { return Err(KeyError::Protocol) };
        let key = Arc::new(keys.subject_of(grant, erasure));
        key.check()?;
        self.leases.subjects.keep(whose, &key, keys);
        Ok(key)
    }

    /// The holder knows of it when the act returns, whatever the push channel does. Nothing is certain after a failure
    /// either: the next one asks.
    fn voiding(&self, tenant: Id, request: Request) -> Result<Reply, KeyError> {
        let reply = self.authority.call(request);
        match &reply {
            Err(error) if error.is_outage() => self.leases.expire(&tenant),
            _ => self.leases.void(&tenant),
        }
        reply
    }
}

impl KeyClient {
    /// A client of the service in this process.
    pub fn embedded(service: Arc<GeoKeyService>, options: LeaseOptions) -> Result<Self, KeyError> {
        let (geo, clock, feed) = (service.geo, service.clock.clone(), Arc::clone(&service.feed));
        let inside = Some(Arc::clone(&service.calls));
        let client = Self { inside, ..Self::connect(service, geo, clock, options)? };
        feed.subscribe(Arc::downgrade(&client.leases));
        Ok(client)
    }

    /// A client of the service behind `authority`, which must be that of `geo`. Leases are counted by `clock`, this
    /// process's own.
    pub fn connect(
        authority: Arc<dyn KeyAuthority>,
        geo: Id,
        clock: Arc<dyn Clock>,
        options: LeaseOptions,
    ) -> Result<Self, KeyError> {
        let Reply::Hello(hello) = authority.call(Request::Hello {})? else { return Err(KeyError::Protocol) };
        if hello.geo != geo {
            return Err(KeyError::Protocol);
        }
        let active = DirectoryKey { name: hello.directory, secret: hello.secret };
        let live = std::iter::once(active).chain(hello.older.into_iter().flatten());
        Ok(Self {
            geo,
            authority,
            clock,
            leases: Arc::new(Leases::new(options)),
            flights: Mutex::default(),
            provider: hello.provider,
            geo_keys: Arc::new(GeoKeys::new(geo, live.collect()).ok_or(KeyError::Protocol)?),
            state: hello.state,
            log_key: hello.log_key,
            known: Mutex::default(),
            inside: None,
            limited: Mutex::default(),
        })
    }

    /// The geo these keys belong to.
    pub fn geo(&self) -> Id {
        self.geo
    }

    /// What keeps the master key.
    pub fn provider_kind(&self) -> ProviderKind {
        self.provider
    }

    /// The keys of the geo's own directory.
    pub fn geo_keys(&self) -> Arc<GeoKeys> {
        Arc::clone(&self.geo_keys)
    }

    /// Authenticates small state of this process, such as its clock's: with the service's state key, and before services
    /// had one with the directory key.
    pub fn state_mac(&self) -> StateMac {
        match &self.state {
            Some(key) => {
                let key = Secret::filled(|out| *out = *key.bytes());
                Box::new(move |message| derive::mac(&key, message))
            }
            None => Box::new(self.geo_keys.state_mac()),
        }
    }

    /// As [`GeoKeyService::rotate_directory_key`]; everybody here seals under the new version when it returns.
    pub fn rotate_directory_key(&self) -> Result<KeyName, KeyError> {
        self.directory_keys(Request::RotateDirectoryKey {})
    }

    /// As [`GeoKeyService::retire_root`] of the geo's directory key.
    pub fn retire_directory_key(&self, version: u32, records_left: u64) -> Result<ShredEvidence, KeyError> {
        let request = Request::RetireRoot { tenant: NO_ID, kind: KeyKind::Gdk, version, records_left };
        let evidence = self.authority.call(request)?.shredded()?;
        self.directory_keys(Request::DirectoryKeys {})?;
        Ok(evidence)
    }

    /// Makes what the service has the live versions here; answers the active one.
    pub fn refresh_directory_keys(&self) -> Result<KeyName, KeyError> {
        self.directory_keys(Request::DirectoryKeys {})
    }

    fn directory_keys(&self, request: Request) -> Result<KeyName, KeyError> {
        let Reply::DirectoryKeys(live) = self.authority.call(request)? else { return Err(KeyError::Protocol) };
        self.geo_keys.replace(live);
        Ok(self.geo_keys.name())
    }

    /// The public key of the geo's log signer.
    pub fn log_key(&self) -> [u8; 32] {
        self.log_key
    }

    /// The tenant's keys as far as they are known here. Does not block.
    pub fn cached(&self, tenant: Id) -> Cached {
        self.leases.cached(&tenant, self.clock.cc_lo())
    }

    /// The tenant's keys, from the service if need be. Whoever asks for a tenant that is being asked for already waits
    /// for the same answer.
    pub fn tenant(&self, tenant: Id) -> Result<Arc<TenantKeys>, KeyError> {
        match self.cached(tenant) {
            Cached::Keys(keys) => Ok(keys),
            Cached::Refused(error) => Err(error),
            Cached::Miss => self.renew(tenant).or_else(|error| self.at_hand_after(tenant, error)),
        }
    }

    /// A renewal failed with `error`: a lease that still serves serves on.
    pub fn at_hand_after(&self, tenant: Id, error: KeyError) -> Result<Arc<TenantKeys>, KeyError> {
        match self.cached(tenant) {
            Cached::Keys(keys) => Ok(keys),
            Cached::Refused(_) | Cached::Miss => Err(error),
        }
    }

    /// A new lease from the service.
    pub fn renew(&self, tenant: Id) -> Result<Arc<TenantKeys>, KeyError> {
        let flight = {
            let mut flights = self.flights.lock();
            if let Some(flight) = flights.get(&tenant).cloned() {
                drop(flights);
                let mut answer = flight.answer.lock();
                flight.landed.wait_while(&mut answer, |answer| answer.is_none());
                return answer.clone().unwrap_or(Err(KeyError::Unreachable));
            }
            let flight = Arc::new(Flight::default());
            flights.insert(tenant, Arc::clone(&flight));
            flight
        };
        let mut landing = Landing { client: self, tenant, flight, answer: Err(KeyError::Unreachable) };
        landing.answer = self.ask(tenant);
        landing.answer.clone()
    }

    fn ask(&self, tenant: Id) -> Result<Arc<TenantKeys>, KeyError> {
        for _ in 0..TRIES_MAX {
            let (changes, asked) = (self.leases.changes(), self.clock.cc_lo());
            let grant = match self.authority.call(Request::Lease { tenant }) {
                Ok(Reply::Lease(grant)) if grant.tenant == tenant && grant.geo == self.geo => grant,
                Ok(_) => return Err(KeyError::Protocol),
                Err(error) => {
                    if error == KeyError::TooOften {
                        self.limited.lock().insert(tenant);
                    }
                    self.leases.fail(&tenant, &error, self.clock.cc_lo());
                    return Err(error);
                }
            };
            if let Some(keys) = self.leases.take_in(*grant, changes, asked)? {
                return Ok(keys);
            }
        }
        Err(Refusal::Rotating.into())
    }

    /// Ends the leases whose time is over and names the tenants to be renewed now. To be called once a second.
    pub fn tick(&self) -> Vec<Id> {
        self.leases.tick(self.clock.cc_lo())
    }

    /// Has `listener` called, with no lock held, whenever a tenant's lease ends or is void.
    pub fn on_end(&self, listener: impl Fn(&Id) + Send + Sync + 'static) {
        self.leases.listen(Box::new(listener));
    }

    /// Tenants whose keys are unwrapped here.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Waits up to `wait_ms` for revocations and carries them out; gives how many there were. To be called without end
    /// by a thread of its own when the service is elsewhere. Errors: the link, which the caller tries again soon.
    pub fn follow(&self, wait_ms: u32) -> Result<usize, KeyError> {
        let known = self.known.lock().place;
        let Reply::Revocations(told) = self.authority.call(Request::Revocations { known, wait_ms })? else {
            return Err(KeyError::Protocol);
        };
        if told.complete {
            told.events.iter().for_each(|event| self.leases.hear(event));
        } else {
            self.leases.confirm_all();
        }
        *self.known.lock() = Known { place: told.place, calls: told.provider };
        Ok(told.events.len())
    }

    /// Calls to the provider since the service started: as of now where it runs in this process, else as of the last
    /// [`KeyClient::follow`].
    pub fn provider_calls(&self) -> ProviderCalls {
        self.inside.as_ref().map_or_else(|| self.known.lock().calls, |counters| counters.read())
    }

    /// Tenants whose keys this holder asked for more often than the service allows, since it was last asked this.
    pub fn take_limited(&self) -> BTreeSet<Id> {
        std::mem::take(&mut self.limited.lock())
    }
}
