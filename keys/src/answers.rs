//! The service's answers to what comes through its one door.

use crate::authority::{Count, Hello, KeyAuthority, Reply, Request};
use crate::calls::ProviderCalls;
use crate::error::KeyError;
use crate::geo_keys::DirectoryKey;
use crate::grant::ExportKey;
use crate::material::Secret;
use crate::revocations::{Place, Revocations};
use crate::service::GeoKeyService;

impl KeyAuthority for GeoKeyService {
    fn call(&self, request: Request) -> Result<Reply, KeyError> {
        Ok(match request {
            Request::Hello {} => Reply::Hello(Box::new(self.hello())),
            Request::Lease { tenant } => Reply::Lease(Box::new(self.grant(tenant)?)),
            Request::Revocations { known, wait_ms } => Reply::Revocations(self.revocations_since(known, wait_ms)),
            Request::CreateTenant { tenant } => done(self.create_tenant(tenant)?),
            Request::Suspend { tenant } => done(self.suspend(tenant)?),
            Request::Resume { tenant } => done(self.resume(tenant)?),
            Request::KeyProbe { tenant } => Reply::Probe(self.key_probe(tenant)?),
            Request::CreateSubject { tenant, subject } => Reply::Subject(self.create_subject(tenant, subject)?.grant()),
            Request::Subject { tenant, subject } => Reply::Subject(self.subject(tenant, subject)?.grant()),
            Request::SubjectRecord { tenant, subject } => Reply::Record(self.subject_record(tenant, subject)?),
            Request::DestroySubject { tenant, subject } => Reply::Shredded(self.destroy_subject(tenant, subject)?),
            Request::Rotation {} => Reply::Job(self.rotation()?),
            Request::RotateMaster {} => Reply::Job(Some(self.rotate_master()?)),
            Request::RotateMasterStep { token, records_max: Count(max) } => {
                Reply::Progress(self.rotate_master_step(token, usize::try_from(max).unwrap_or(usize::MAX))?)
            }
            Request::ScanMasters {} => Reply::Scan(self.scan_masters()?),
            Request::DestroyMasterVersion { version } => Reply::Text(self.destroy_master_version(version)?),
            Request::RotateTenant { tenant } => Reply::Name(self.rotate_tenant(tenant)?),
            Request::RetireTenantVersion { tenant, version, records_left } => {
                Reply::Shredded(self.retire_tenant_version(tenant, version, records_left)?)
            }
            Request::RotateRoot { tenant, kind } => Reply::Name(self.rotate_root(tenant, kind)?),
            Request::RetireRoot { tenant, kind, version, records_left } => {
                Reply::Shredded(self.retire_root(tenant, kind, version, records_left)?)
            }
            Request::RewrapSubjects { tenant, after, records_max: Count(max) } => {
                Reply::Subjects(self.rewrap_subjects(tenant, after, usize::try_from(max).unwrap_or(usize::MAX))?)
            }
            Request::SubjectsUnder { tenant } => Reply::Under(self.subjects_under(tenant)?),
            Request::ReportCompromise { tenant, version } => Reply::Name(self.report_compromise(tenant, version)?),
            Request::LeaseForReencryption { tenant } => Reply::Lease(Box::new(self.grant_for_reencryption(tenant)?)),
            Request::RotateDirectoryKey {} => {
                self.rotate_directory_key()?;
                Reply::DirectoryKeys(self.directory_keys())
            }
            Request::DirectoryKeys {} => Reply::DirectoryKeys(self.directory_keys()),
            Request::SetDue { tenant, due } => Reply::Seconds(self.set_due(tenant, due)?),
            Request::ClearDue { tenant } => done(self.clear_due(tenant)?),
            Request::InstructEarly { tenant, instruction } => Reply::Seconds(self.instruct_early(tenant, instruction)?),
            Request::CancelEarly { tenant } => done(self.cancel_early(tenant)?),
            Request::IsDue { tenant } => Reply::Answer(self.is_due(tenant)?),
            Request::DestroyTenant { tenant } => Reply::Shredded(self.destroy_tenant(tenant)?),
            Request::DiscardTenant { tenant } => done(self.discard_tenant(tenant)?),
            Request::SaveAnchor { region, counter, digest } => done(self.save_anchor(&region, counter, digest)?),
            Request::Anchor { region } => Reply::Head(self.anchor(&region)?),
            Request::ResetAnchor { region, counter, digest } => {
                done(self.danger_reset_anchor(&region, counter, digest)?)
            }
            Request::SaveAuditHead { entries, digest } => done(self.save_audit_head(entries, digest)?),
            Request::AuditHead {} => Reply::Head(self.audit_head()?),
            Request::Status {} => Reply::Status(Box::new(self.status()?)),
            Request::TenantStatus { tenant } => Reply::Tenant(self.tenant_status(tenant)?),
            Request::Sign { message } => Reply::Signature(self.log_signer().sign(&message)),
            Request::Reveal { tenant, key: ExportKey::Tenant } => {
                Reply::Revealed(self.danger_reveal_tenant_key(tenant)?)
            }
            Request::Reveal { tenant, key: ExportKey::SubjectWrap } => {
                Reply::Revealed(self.danger_reveal_subject_wrap_key(tenant)?)
            }
            Request::RestoreNote {} => Reply::RestoreNote(self.restore_note()?),
            Request::ClearRestoreNote {} => done(self.clear_restore_note()?),
            Request::ShredHead {} => Reply::Head(Some(self.shred_head())),
            Request::EpochBegin { soak_s } => Reply::Epoch(Some(self.epoch_begin(soak_s)?)),
            Request::EpochStep { records_max: Count(max) } => {
                let (job, done, total) = self.epoch_step(usize::try_from(max).unwrap_or(usize::MAX))?;
                Reply::EpochStep(job, done, total)
            }
            Request::EpochFinish {} => Reply::Epochs(self.epoch_finish()?.into_iter().collect()),
            Request::EpochAbort {} => Reply::Epoch(Some(self.epoch_abort()?)),
            Request::EpochJob {} => Reply::Epoch(self.epoch_job()?),
            Request::Epochs {} => Reply::Epochs(self.epochs()?),
            Request::Shreds { from, to } => Reply::Shreds(self.shreds(from, to)?),
            Request::NoteStanding { tenant, token, act } => done(self.note_standing(tenant, token, act)?),
            Request::PlanRotation { tries_max: Count(max) } => {
                Reply::RotationPlan(self.plan_rotation(usize::try_from(max).unwrap_or(usize::MAX))?)
            }
            Request::ScheduleEnd { of, after_s, records_left } => {
                Reply::Ending(Some(self.schedule_end(of, after_s, records_left)?))
            }
            Request::CancelEnd { of } => Reply::Ending(self.cancel_end(of)?),
            Request::MayEnd { of, records_left } => done(self.may_end(of, records_left)?),
            Request::EndVersion { of, records_left } => Reply::Ended(self.end_version(of, records_left)?),
            Request::ForgetEnd { of } => done(self.forget_end(of)?),
            Request::Endings {} => Reply::Endings(self.endings()?),
            Request::ReportMasterCompromise { version, destroy } => {
                Reply::Ending(self.report_master_compromise(version, destroy)?)
            }
            Request::Backups {} => Reply::Backups(self.backups()?),
            Request::BackupHeads { dir } => done(self.backup_heads(dir.as_ref())?),
            Request::BackupKeystore { dir, id } => Reply::KeystoreCopy(self.backup_keystore(dir.as_ref(), &id)?),
        })
    }
}

fn done((): ()) -> Reply {
    Reply::Done
}

impl GeoKeyService {
    fn hello(&self) -> Hello {
        let mut live = self.directory_keys().into_iter();
        let DirectoryKey { name: directory, secret } = live.next().expect("a service has its directory key");
        let state = self.provider.state_mac()(&[b"link-state-v1\0", &self.geo[..]].concat());
        Hello {
            older: Some(live.collect()),
            state: Some(Secret::filled(|out| *out = state)),
            geo: self.geo,
            provider: self.provider_kind(),
            log_key: self.log_signer().public_key(),
            directory,
            secret,
        }
    }

    /// What happened to leases behind `known`; waits for it at most `wait_ms`, and 30 s.
    pub fn revocations_since(&self, known: Place, wait_ms: u32) -> Revocations {
        let (place, events, complete) = self.feed.since(known, wait_ms);
        Revocations { place, events, complete, provider: self.provider_calls() }
    }

    /// Calls to the provider since this service was opened.
    pub fn provider_calls(&self) -> ProviderCalls {
        self.calls.read()
    }
}
