//! Answers the admin face: each act handed to the conductor that does it, each answer in the face's words.

use super::admins;
use super::house::{GeoRoom, House};
use super::probes::Listeners;
use super::schedule::Counted;
use super::{
    backups, clocks, compromise, epochs, exports, holds, keyend, keys, keywork, notices, reports, subjects, sweeps,
    tenants, transparency,
};
use crate::admin::acts::{Acts, KeyRef, KeyWork, Mode, NewTenant, Order, Outcome, Sight, Streamed, TenantRef};
use crate::admin::admins::Admin;
use crate::admin::auth::Logins;
use crate::admin::backups::{CreateBackup, KnownBackup};
use crate::admin::clocks::Attested;
use crate::admin::compromise::{Exposure, ReportCompromise};
use crate::admin::dsrs::NewRequest;
use crate::admin::epochs::{Closing, Epoch, Epochs};
use crate::admin::error::ActError;
use crate::admin::evidence::{
    Controls, KeyInventory, Population, ProcessorRecord, Residency, Restores, Subprocessors, SweepHistory,
};
use crate::admin::features::FeatureActs;
use crate::admin::holds::{Hold, HoldAct};
use crate::admin::operations::Operations;
use crate::admin::proposals::Withdrawn;
use crate::admin::transparency::{LogCheckpoint, LogGrowth, LogLines, LogProof};
use crate::admin::wire;
use crate::audit::tree::Tile;
use crate::audit::{AuditError, Entry, Event as Record, Hash};
use crate::config::{ComplianceConfig, Config, ConfigError, EpochConfig, RotationConfig};
use crate::model::atlas::{Geo, Region};
use crate::model::ids::{OperationId, TenantId};
use crate::model::names::{AccessId, BucketName};
use crate::model::time::Millis;
use crate::report::Period;
use crate::seal::ProviderKind;
use crate::sweep::closing::MasterGone;
use crate::sweep::whereabouts::After;
use crate::sweep::{Closes, GeoRooms, Sweeper};
use crate::telemetry::{Metrics, Registry};
use crate::tenant::Event;
use std::sync::Arc;
use std::time::Duration;

/// The acts of this process.
pub(super) struct HouseActs {
    pub(super) house: Arc<House>,
    pub(super) sweeper: Arc<Sweeper>,
    pub(super) operations: Operations,
    registry: Arc<Registry>,
    pub(super) metrics: Metrics,
    pub(super) sweep_interval: Duration,
    /// How late a sweep may be before the server is not ready.
    pub(super) sweep_late: Duration,
    /// Whether two administrators have to agree on the destruction of a key.
    pub(super) two_person: bool,
    /// Whether tenants may be destroyed before their 90 days are over, on their instruction.
    pub(super) early_purge: bool,
    /// Who may call the admin API.
    pub(super) logins: Logins,
    /// Held while one of them is revoked.
    pub(super) revoking: tokio::sync::Mutex<()>,
    pub(super) epoch: EpochConfig,
    /// When keys are due for their next versions.
    pub(super) rotation: RotationConfig,
    /// What the schedule counted last.
    pub(super) counted: Counted,
    /// What the logs say in all.
    pub(super) digests: reports::Digests,
    pub(super) compliance: ComplianceConfig,
    /// Where this process listens, once it does.
    pub(super) listeners: Listeners,
    /// Who carries notices of a tenant's coming end.
    pub(super) courier: Option<Arc<notices::Courier>>,
}

impl HouseActs {
    pub(super) fn new(
        house: Arc<House>,
        registry: Arc<Registry>,
        metrics: Metrics,
        logins: Logins,
        config: &Config,
        listeners: Listeners,
    ) -> Result<Self, ConfigError> {
        let courier = config.notices.as_ref().map(notices::Courier::new).transpose()?.map(Arc::new);
        let (sweep_interval, epoch, two_person) = (config.sweep_interval, config.epoch, config.admin.two_person);
        let early_purge = config.early_purge;
        let sweep_late = config.sweep_late;
        let (rotation, compliance) = (config.rotation.clone(), config.compliance.clone());
        let digests = reports::Digests::new(&house);
        let geos = house.geos.iter().map(|room| GeoRooms {
            tenancy: house.tenancy_of(room),
            certificates: room.certificates.clone(),
            traffic: house.traffic.clone(),
            closes: epoch
                .every_s()
                .map(|every_s| Closes { every_s, soak_s: i64::try_from(epoch.soak_s).unwrap_or(i64::MAX) }),
            master_gone: match room.keys.provider_kind() {
                ProviderKind::Local if epoch.keyring_secret_destroyable => MasterGone::WithItsSecret,
                ProviderKind::Local => MasterGone::Unless,
                ProviderKind::Pkcs11 | ProviderKind::Transit | ProviderKind::AwsKms => MasterGone::ByItsProvider,
            },
        });
        let interval_s = i64::try_from(sweep_interval.as_secs()).unwrap_or(i64::MAX);
        let sweeper = Sweeper::new(geos.collect(), house.clock.clone(), interval_s);
        let sweeper = sweeper.with_deferrals(Arc::new(super::deferrals::HouseDeferrals { store: house.store.clone() }));
        let sweeper = Arc::new(sweeper.with_key_ends(Arc::new(keyend::HouseKeyEnds { house: house.clone() })));
        let (operations, counted) = (Operations::default(), Counted::default());
        Ok(Self {
            house,
            sweeper,
            operations,
            registry,
            metrics,
            sweep_interval,
            sweep_late,
            two_person,
            early_purge,
            logins,
            revoking: tokio::sync::Mutex::default(),
            epoch,
            rotation,
            counted,
            digests,
            compliance,
            listeners,
            courier,
        })
    }

    /// The served geos that a question is about.
    pub(super) fn rooms(&self, geo: Option<&'static Geo>) -> Result<Vec<&GeoRoom>, ActError> {
        let rooms: Vec<_> = self.house.geos.iter().filter(|room| geo.is_none_or(|geo| room.geo == geo)).collect();
        if rooms.is_empty() { Err(ActError::GeoNotServed) } else { Ok(rooms) }
    }
}

#[async_trait::async_trait]
impl Acts for HouseActs {
    fn served(&self) -> Vec<&'static Region> {
        self.house.regions.values().map(|roots| roots.region).collect()
    }

    async fn waiting_for(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        for roots in self.house.regions.values().filter(|roots| !roots.index.is_writable()) {
            waiting.push(format!("the index of {} takes no writes", roots.region.id));
        }
        for room in self.house.geos.iter().filter(|room| !room.audit.writable()) {
            waiting.push(format!("the audit log of {} takes no entries", room.geo.id));
        }
        waiting.extend(sweeps::waiting_for(self));
        waiting
    }

    fn features(&self) -> &dyn FeatureActs {
        self
    }

    fn metrics(&self) -> String {
        crate::telemetry::encode(&self.registry)
    }

    async fn create_tenant(&self, order: &Order, new: NewTenant) -> Result<Outcome<wire::Tenant>, ActError> {
        tenants::create(self, order, new).await
    }

    async fn tenant(&self, tenant: &TenantRef) -> Result<wire::Tenant, ActError> {
        tenants::show(self, tenant).await
    }

    async fn tenants(&self, after: Option<TenantId>, limit: usize) -> Result<Vec<wire::Tenant>, ActError> {
        tenants::list(self, after, limit).await
    }

    async fn disable(&self, order: &Order, t: &TenantRef, reason: &str) -> Result<Outcome<wire::Tenant>, ActError> {
        tenants::apply(self, order, t, Some(reason), |_| Ok(Event::Disable)).await
    }

    async fn enable(
        &self,
        order: &Order,
        t: &TenantRef,
        consent: Option<[u8; 32]>,
    ) -> Result<Outcome<wire::Tenant>, ActError> {
        let found = tenants::find(self, t).await?;
        let keys = found.tenancy.directory.keys(found.entry.standing.id).await.map(drop);
        let key_usable = keys.is_ok();
        let enabled = tenants::apply(self, order, t, None, |_| Ok(Event::Enable { consent, key_usable })).await;
        match (enabled, keys) {
            (Err(ActError::Unavailable(_)), Err(error)) => Err(tenants::act_error(error.into())),
            (enabled, _) => enabled,
        }
    }

    async fn terminate(
        &self,
        order: &Order,
        t: &TenantRef,
        reason: &str,
        confirm: &str,
    ) -> Result<Outcome<wire::Tenant>, ActError> {
        tenants::find(self, t).await?.confirmed_by(Some(confirm)).await?;
        tenants::apply(self, order, t, Some(reason), |_| Ok(Event::Terminate)).await
    }

    async fn purge_early(
        &self,
        order: &Order,
        t: &TenantRef,
        reason: &str,
        confirm: Option<&str>,
    ) -> Result<Outcome<wire::EarlyPurging>, ActError> {
        super::early::instruct(self, order, t, reason, confirm).await
    }

    async fn cancel_early(&self, order: &Order, t: &TenantRef) -> Result<Outcome<wire::Tenant>, ActError> {
        super::early::cancel(self, order, t).await
    }

    async fn reinstate(
        &self,
        order: &Order,
        t: &TenantRef,
        consent: [u8; 32],
    ) -> Result<Outcome<wire::Tenant>, ActError> {
        tenants::apply(self, order, t, None, |_| Ok(Event::Reinstate { consent: Some(consent) })).await
    }

    async fn create_credential(
        &self,
        order: &Order,
        t: &TenantRef,
        role: wire::CredentialRole,
    ) -> Result<Outcome<wire::NewCredential>, ActError> {
        tenants::create_credential(self, order, t, role).await
    }

    async fn credentials(&self, t: &TenantRef) -> Result<Vec<wire::Credential>, ActError> {
        tenants::credentials(self, t).await
    }

    async fn revoke_credential(
        &self,
        order: &Order,
        t: &TenantRef,
        login: &AccessId,
    ) -> Result<Outcome<wire::Credential>, ActError> {
        tenants::revoke_credential(self, order, t, login).await
    }

    async fn key_status(
        &self,
        geo: Option<&'static Geo>,
        tenant: Option<&TenantRef>,
        count: bool,
        sight: Sight,
    ) -> Result<wire::KeyStatus, ActError> {
        keys::status(self, geo, tenant, count, sight).await
    }

    async fn destroy_key(
        &self,
        order: &Order,
        key: &KeyRef,
        after_s: Option<i64>,
    ) -> Result<Outcome<wire::Destruction>, ActError> {
        keyend::destroy(self, order, key, after_s).await
    }

    async fn cancel_destruction(&self, order: &Order, key: &KeyRef) -> Result<Outcome<Withdrawn>, ActError> {
        keyend::cancel(self, order, key).await
    }

    async fn report_compromise(
        &self,
        order: &Order,
        key: &KeyRef,
        report: &ReportCompromise,
    ) -> Result<Outcome<wire::Operation>, ActError> {
        compromise::report(self, order, key, report).await
    }

    async fn exposure(&self, key: &KeyRef, sight: Sight) -> Result<Exposure, ActError> {
        compromise::exposure(self, key, sight).await
    }

    async fn key_work(&self, order: &Order, work: KeyWork) -> Result<Outcome<wire::Operation>, ActError> {
        keywork::start(self, order, work).await
    }

    async fn export(
        &self,
        order: &Order,
        t: &TenantRef,
        bucket: Option<BucketName>,
    ) -> Result<Outcome<Streamed>, ActError> {
        exports::export(self, order, t, bucket).await
    }

    async fn export_keys(
        &self,
        order: &Order,
        t: &TenantRef,
        confirm: &str,
    ) -> Result<Outcome<wire::ExportKeys>, ActError> {
        exports::keys(self, order, t, confirm).await
    }

    async fn erase_subject(
        &self,
        order: &Order,
        t: &TenantRef,
        new: NewRequest,
        confirm: Option<&str>,
    ) -> Result<Outcome<wire::Operation>, ActError> {
        subjects::erase(self, order, t, new, confirm).await
    }

    async fn hold_act(&self, order: &Order, act: HoldAct) -> Result<Outcome<Hold>, ActError> {
        holds::act(self, order, act).await
    }

    async fn holds(&self, tenant: Option<&TenantRef>) -> Result<Vec<Hold>, ActError> {
        holds::list(self, tenant).await
    }

    async fn hold(&self, id: &str) -> Result<Hold, ActError> {
        holds::show(self, id).await
    }

    async fn close_epoch(&self, order: &Order, geo: &'static Geo, no_soak: bool) -> Result<Outcome<Closing>, ActError> {
        epochs::close(self, order, geo, no_soak).await
    }

    async fn abort_epoch(&self, order: &Order, geo: &'static Geo) -> Result<Outcome<Epoch>, ActError> {
        epochs::abort(self, order, geo).await
    }

    async fn epochs(&self, geo: &'static Geo) -> Result<Epochs, ActError> {
        epochs::list(self, geo).await
    }

    async fn epoch_certificate(&self, geo: &'static Geo, number: u64) -> Result<serde_json::Value, ActError> {
        epochs::certificate(self, geo, number).await
    }

    async fn create_backup(&self, order: &Order, new: &CreateBackup) -> Result<Outcome<wire::Operation>, ActError> {
        backups::create(self, order, new).await
    }

    async fn backups(&self) -> Result<Vec<KnownBackup>, ActError> {
        backups::list(self).await
    }

    async fn suspend_keys(
        &self,
        order: &Order,
        t: &TenantRef,
        reason: &str,
    ) -> Result<Outcome<wire::TenantKeys>, ActError> {
        keys::suspend(self, order, t, reason).await
    }

    async fn resume_keys(&self, order: &Order, t: &TenantRef) -> Result<Outcome<wire::TenantKeys>, ActError> {
        keys::resume(self, order, t).await
    }

    async fn operation(&self, id: &OperationId) -> Result<wire::Operation, ActError> {
        self.operations.find(id)
    }

    async fn sweep_run(&self, order: &Order) -> Result<Outcome<wire::Operation>, ActError> {
        sweeps::run(self, order).await
    }

    async fn sweep_status(&self) -> Result<wire::SweepStatus, ActError> {
        Ok(sweeps::status(self))
    }

    async fn audit_tail(
        &self,
        geo: Option<&'static Geo>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<wire::AuditEntry>, ActError> {
        let mut all = Vec::new();
        for room in self.rooms(geo)? {
            let (log, geo) = (room.audit.clone(), room.geo.id);
            let read = move || match after {
                Some(after) => log.entries(after.saturating_add(1), limit),
                None => log.tail(limit),
            };
            let entries = tokio::task::spawn_blocking(read).await.map_err(|_| ActError::Broken)?;
            for entry in entries.map_err(log_error)? {
                all.push(shown_entry(geo, &entry)?);
            }
        }
        Ok(all)
    }

    async fn audit_show(&self, geo: &'static Geo, index: u64) -> Result<wire::AuditShown, ActError> {
        transparency::show(self, geo, index).await
    }

    async fn audit_verify(&self, geo: Option<&'static Geo>) -> Result<Vec<wire::AuditVerdict>, ActError> {
        let mut verdicts = Vec::new();
        for room in self.rooms(geo)? {
            let log = room.audit.clone();
            let verified = tokio::task::spawn_blocking(move || log.verify()).await.map_err(|_| ActError::Broken)?;
            let geo = room.geo.id.to_owned();
            verdicts.push(match verified {
                Ok(summary) => wire::AuditVerdict {
                    geo,
                    intact: true,
                    // Those behind the head are just being written.
                    entries: summary.entries - summary.behind_head,
                    head: Some(summary.head.to_string()),
                    first_bad: None,
                    reason: None,
                },
                Err(AuditError::Bad(bad)) => wire::AuditVerdict {
                    geo,
                    intact: false,
                    entries: bad.index,
                    head: None,
                    first_bad: Some(bad.index),
                    reason: Some(bad.to_string()),
                },
                Err(error) => return Err(log_error(error)),
            });
        }
        Ok(verdicts)
    }

    async fn log_key(&self, geo: &'static Geo) -> Result<wire::LogKey, ActError> {
        let room = *self.rooms(Some(geo))?.first().ok_or(ActError::GeoNotServed)?;
        let public = hex::encode(room.keys.log_key());
        Ok(wire::LogKey { geo: geo.id.into(), algorithm: "ed25519".into(), public })
    }

    async fn log_checkpoint(&self, geo: &'static Geo) -> Result<LogCheckpoint, ActError> {
        transparency::checkpoint(self, geo).await
    }

    async fn log_lines(&self, geo: &'static Geo, from: u64, limit: usize) -> Result<LogLines, ActError> {
        transparency::lines(self, geo, from, limit).await
    }

    async fn log_proof(&self, geo: &'static Geo, index: u64) -> Result<LogProof, ActError> {
        transparency::proof(self, geo, index).await
    }

    async fn log_growth(&self, geo: &'static Geo, since: u64) -> Result<LogGrowth, ActError> {
        transparency::growth(self, geo, since).await
    }

    async fn log_tile(&self, geo: &'static Geo, tile: Tile) -> Result<Vec<u8>, ActError> {
        transparency::tile(self, geo, tile).await
    }

    async fn certificate_proof(&self, geo: &'static Geo, certificate: Hash) -> Result<LogProof, ActError> {
        transparency::certificate_proof(self, geo, certificate).await
    }

    async fn certificate(&self, tenant: &TenantRef, since: Option<u64>) -> Result<serde_json::Value, ActError> {
        tenants::certificate(self, tenant, since).await
    }

    async fn controls(&self) -> Result<Controls, ActError> {
        reports::controls(self).await
    }

    async fn restores(&self) -> Result<Restores, ActError> {
        reports::restores(self)
    }

    async fn subprocessors(&self) -> Result<Subprocessors, ActError> {
        Ok(reports::subprocessors(self))
    }

    async fn processor_record(&self, sight: Sight) -> Result<ProcessorRecord, ActError> {
        reports::record(self, sight).await
    }

    async fn population(&self, text: &str, period: Period) -> Result<Population, ActError> {
        reports::population(self, text, &period).await
    }

    async fn residency(&self, tenant: &TenantRef, after: Option<&After>, limit: usize) -> Result<Residency, ActError> {
        reports::residency(self, tenant, after, limit).await
    }

    async fn key_inventory(&self) -> Result<KeyInventory, ActError> {
        reports::inventory(self).await
    }

    async fn sweep_history(&self, limit: usize) -> Result<SweepHistory, ActError> {
        reports::sweeps(self, limit).await
    }

    async fn admins(&self) -> Result<Vec<Admin>, ActError> {
        admins::list(self).await
    }

    async fn revoke_admin(&self, order: &Order, id: &str) -> Result<Outcome<Admin>, ActError> {
        admins::revoke(self, order, id).await
    }

    async fn clock(&self) -> Result<wire::Clock, ActError> {
        let status = self.house.clock.status();
        Ok(wire::Clock {
            proven: wire::Time(status.reading.cc_lo),
            plausible: wire::Time(status.reading.cc_hi),
            wall: wire::Time(status.reading.wall),
            suspect: status.suspect.is_some(),
            overdue: status.overdue,
            corroborated: status.corroborated,
            pending_s: status.pending_ms.map_or(0, |ms| u64::try_from(ms / 1000).unwrap_or(0)),
            simulated: self.house.simulated.is_some(),
        })
    }

    async fn attest_clock(&self, order: &Order, utc: Millis, reason: &str) -> Result<Outcome<Attested>, ActError> {
        clocks::attest(self, order, utc, reason).await
    }

    async fn clock_advance(&self, order: &Order, seconds: u64) -> Result<Outcome<wire::Clock>, ActError> {
        let clock = self.house.simulated.clone().ok_or(ActError::ClockIsReal)?;
        if order.mode == Mode::Plan {
            let steps = vec![format!("the simulated clock moves {seconds} s ahead")];
            return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
        }
        let moved = i64::try_from(seconds).unwrap_or(i64::MAX / 1000);
        for room in &self.house.geos {
            room.audit
                .append(&tenants::actor(order), Record::ClockMoved { seconds: moved })
                .await
                .map_err(log_error)?;
        }
        let advance = move || clock.advance(moved.saturating_mul(1000));
        let advanced = tokio::task::spawn_blocking(advance).await.map_err(|_| ActError::Broken)?;
        advanced.map_err(|error| {
            tracing::error!(%error, "the simulated clock did not move");
            ActError::Broken
        })?;
        Ok(Outcome::Done(self.clock().await?))
    }
}

pub(super) fn shown_entry(geo: &str, entry: &Entry) -> Result<wire::AuditEntry, ActError> {
    Ok(wire::AuditEntry {
        geo: geo.into(),
        index: entry.index,
        at: wire::Time(entry.proven.parse().map_err(|_| ActError::Broken)?),
        event: entry.name().to_owned(),
        actor: entry.actor.clone(),
        tenant: entry.tenant(),
        detail: entry.detail(),
        hash: entry.hash.to_string(),
    })
}

pub(super) fn log_error(error: AuditError) -> ActError {
    tracing::error!(%error, "the audit log cannot answer");
    ActError::Unavailable("the audit log")
}
