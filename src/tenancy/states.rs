//! Create, disable, enable, terminate, reinstate: each an event for `tenant::step`, and its effects carried out.

use super::{Tenancy, TenancyError};
use crate::audit::{Actor, Event as Record, Hash};
use crate::directory::{Detail, RevokedBy, TenantEntry};
use crate::index::IndexError;
use crate::model::clock::Reading;
use crate::model::ids::TenantId;
use crate::model::login::Role;
use crate::model::names::TenantName;
use crate::seal::KeyError;
use crate::tenant::{self, Effect, Event, NewTenant, Standing, State, Transition};
use std::sync::Arc;

/// The sweeper and the server's own acts in the log.
fn house() -> Actor {
    Actor::part("geoseal")
}

impl Tenancy {
    /// Creates a tenant: log → keys, each verified after it was wrapped → rows → probe → ACTIVE. A failure before
    /// ACTIVE leaves nothing of it.
    pub async fn create(
        &self,
        actor: &Actor,
        new: NewTenant,
        detail: Detail,
    ) -> Result<Arc<TenantEntry>, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        let name = TenantName::parse(&detail.name).map_err(|_| TenancyError::NameTaken)?;
        if self.directory.tenant_named(&name).await?.is_some() {
            return Err(TenancyError::NameTaken);
        }
        let now = self.clock.now();
        let (standing, _) = tenant::create(new, &now)?;
        let id = standing.id;
        let (home, consent) = (standing.home.clone(), Hash(standing.consent.unwrap_or_default()));
        self.log(actor, Record::TenantCreated { tenant: id, home, consent }).await?;
        match self.provision(actor, standing, detail).await {
            Ok(entry) => Ok(entry),
            Err(error) => {
                // Taken back at once where that is possible; where not, the sweeper gives it up after 15 minutes.
                if self.give_up(id).await.is_err() {
                    tracing::warn!(tenant = %id, "a tenant that could not be made is left to the sweeper");
                }
                Err(error)
            }
        }
    }

    async fn provision(
        &self,
        actor: &Actor,
        standing: Standing,
        detail: Detail,
    ) -> Result<Arc<TenantEntry>, TenancyError> {
        let id = standing.id;
        self.blocking(move |keys| keys.create_tenant(id.0)).await?;
        let master = self.master_version().await?;
        self.log(actor, Record::TenantKeysCreated { tenant: id, version: 1, master }).await?;
        let entry = self.directory.enter_tenant(standing, detail).await?;
        self.directory.keys(id).await?;
        self.directory.make_register_key(id).await?;
        let now = self.clock.now();
        let (next, _) = tenant::step(&entry.standing, &Event::Provisioned, &now)?;
        self.log(actor, Record::TenantActivated { tenant: id }).await?;
        Ok(self.directory.change_tenant(&entry, next.unwrap_or_else(|| entry.standing.clone())).await?)
    }

    async fn give_up(&self, id: TenantId) -> Result<(), TenancyError> {
        self.directory.erase_tenant(id).await?;
        self.blocking(move |keys| keys.discard_tenant(id.0)).await?;
        self.log(&house(), Record::TenantGivenUp { tenant: id }).await
    }

    /// Gives up a tenant that stays PROVISIONING, after 15 minutes: log → keys → rows. A crash in between leaves the
    /// rows, and with them the next try.
    pub async fn give_up_unmade(&self, actor: &Actor, id: TenantId) -> Result<(), TenancyError> {
        let _acts = self.directory.acts().lock().await;
        let entry = self.directory.tenant(id).await?.ok_or(TenancyError::NoSuchTenant)?;
        tenant::step(&entry.standing, &Event::ProvisioningChecked, &self.clock.now())?;
        self.log(actor, Record::TenantGivenUp { tenant: id }).await?;
        self.blocking(move |keys| keys.discard_tenant(id.0)).await?;
        self.directory.erase_tenant(id).await?;
        Ok(())
    }

    async fn master_version(&self) -> Result<u32, TenancyError> {
        let status = self.blocking(crate::seal::KeyClient::status).await?;
        let newest = status.masters.iter().map(|(master, _)| master.name.version).max();
        Ok(newest.unwrap_or_default())
    }

    /// What an event would make of a tenant, without doing it: the next standing and the effects owed.
    pub fn foresee(&self, entry: &TenantEntry, event: &Event) -> Result<tenant::Step, TenancyError> {
        Ok(tenant::step(&entry.standing, event, &self.clock.now())?)
    }

    /// Applies an event to a tenant. `expect` is the revision that the caller has seen. Answers the tenant as it is
    /// then; an event that changes nothing is not logged.
    pub async fn apply(
        &self,
        actor: &Actor,
        id: TenantId,
        expect: Option<u64>,
        event: &Event,
    ) -> Result<Arc<TenantEntry>, TenancyError> {
        self.apply_because(actor, id, expect, event, None).await
    }

    /// [`apply`](Self::apply) with why, for the acts that demand a reason: the words are sealed under the tenant's keys, and
    /// the log keeps their salted hash.
    pub async fn apply_because(
        &self,
        actor: &Actor,
        id: TenantId,
        expect: Option<u64>,
        event: &Event,
        reason: Option<&str>,
    ) -> Result<Arc<TenantEntry>, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        let entry = self.directory.tenant(id).await?.ok_or(TenancyError::NoSuchTenant)?;
        if expect.is_some_and(|seen| seen != entry.revision) {
            return Err(TenancyError::Changed);
        }
        let now = self.clock.now();
        let (next, effects) = tenant::step(&entry.standing, event, &now)?;
        let Some(next) = next else { return Err(TenancyError::NoSuchTenant) };
        if effects.is_empty() {
            return Ok(entry);
        }
        let reason = match reason {
            Some(words) => Some(Hash(self.directory.keep_words(id, words).await?)),
            None => None,
        };
        for effect in &effects {
            if let Effect::Log(transition) = effect {
                self.log(actor, record(*transition, &next, event, reason)).await?;
            }
        }
        // First, so that a crash in between makes lifetimes longer, never shorter; the next start lets them go on.
        if effects.iter().any(|effect| matches!(effect, Effect::FreezeLifetimes | Effect::CloseService)) {
            self.serve_lifetimes(id, false).await?;
        }
        // Before the standing, so that no grant outlives what it says: a failure in between leaves it as it was, to be asked
        // for again.
        if effects.contains(&Effect::StopJobs) {
            let ends = next.state == State::Terminated;
            self.revoke_grants(actor, id, if ends { RevokedBy::Termination } else { RevokedBy::Act }).await?;
        }
        let entry = self.directory.change_tenant(&entry, next).await?;
        for effect in effects {
            self.carry_out(actor, &entry, effect, &now).await?;
        }
        Ok(entry)
    }

    /// One effect besides the log entry, the standing and its due row, which are written by then. Purging is the
    /// sweeper's.
    async fn carry_out(
        &self,
        actor: &Actor,
        entry: &TenantEntry,
        effect: Effect,
        now: &Reading,
    ) -> Result<(), TenancyError> {
        let id = entry.standing.id;
        match effect {
            Effect::KeepKeys { keep_s } => {
                // The key service counts by its own clock and never takes less than 90 days.
                let due = now.cc_lo.plus_seconds(keep_s).seconds();
                self.blocking(move |keys| keys.set_due(id.0, due)).await?;
            }
            Effect::ReleaseKeys => self.blocking(move |keys| keys.clear_due(id.0)).await?,
            // It counts its 72 hours by its own clock, and refuses where its own settings do not allow this.
            Effect::ReleaseKeysEarly { instruction } => {
                self.blocking(move |keys| keys.instruct_early(id.0, instruction)).await?;
            }
            Effect::KeepKeysOn => self.blocking(move |keys| keys.cancel_early(id.0)).await?,
            Effect::RevokeWriters => {
                self.revoke_where(actor, id, RevokedBy::Termination, |login| login.role == Role::Service).await?;
            }
            Effect::AbortUploads => match self.abort_uploads(id).await {
                // Nobody can add to them or complete them. What may not be seen now the sweep ends when it is stale, or the
                // purge does.
                Err(TenancyError::Keys(KeyError::Suspended) | TenancyError::Index(IndexError::KeysWithheld)) => {
                    tracing::warn!(tenant = %id, "uploads were not aborted: the tenant's keys are suspended");
                }
                aborted => aborted?,
            },
            // The gate asks for the standing at every request, and the store once more at every commit.
            Effect::Log(_) | Effect::PutDue(_) | Effect::DropDue | Effect::OpenService | Effect::CloseService => {}
            // Done before the standing was written.
            Effect::FreezeLifetimes | Effect::StopJobs => {}
            Effect::ResumeLifetimes => self.serve_lifetimes(id, true).await?,
            // There are no collaborations yet.
            Effect::RevokeCollaborations => {}
            Effect::MakeKeys
            | Effect::DestroyKeys
            | Effect::LeaveNoTrace
            | Effect::TakeManifest
            | Effect::DeleteUnheld
            | Effect::DeleteAll
            | Effect::ListAgain
            | Effect::ProbeKeys
            | Effect::CertifyPart
            | Effect::CertifyResidual
            | Effect::Certify
            | Effect::LeaveTombstone => {}
        }
        Ok(())
    }

    /// At start: carries out again what a crash may have cut off behind a standing that was written.
    pub async fn resume(&self) -> Result<(), TenancyError> {
        let mut after = None;
        loop {
            let page = self.directory.tenants(after, 1000).await?;
            for entry in &page {
                let now = self.clock.now();
                if matches!(entry.standing.state, State::Active | State::Disabled | State::Terminated) {
                    self.serve_lifetimes(entry.standing.id, entry.standing.state == State::Active).await?;
                }
                if entry.standing.state == State::Terminated {
                    let keep_s = crate::model::limits::TERMINATION_KEEP_S;
                    let id = entry.standing.id.0;
                    let probe = self.blocking(move |keys| keys.tenant_status(id)).await?;
                    if probe.as_ref().is_some_and(|status| status.due.is_none()) {
                        self.carry_out(&house(), entry, Effect::KeepKeys { keep_s }, &now).await?;
                    }
                    let told = probe.and_then(|status| status.early).map(|early| early.instruction);
                    match entry.standing.early.as_ref().map(|early| early.instruction) {
                        wanted if wanted == told => {}
                        Some(instruction) => {
                            // Not allowed there any more: then the 90 days hold.
                            let effect = Effect::ReleaseKeysEarly { instruction };
                            if let Err(error) = self.carry_out(&house(), entry, effect, &now).await {
                                tracing::warn!(tenant = %entry.standing.id, %error, "the key service takes no early destruction");
                            }
                        }
                        None => self.carry_out(&house(), entry, Effect::KeepKeysOn, &now).await?,
                    }
                    self.carry_out(&house(), entry, Effect::RevokeWriters, &now).await?;
                    self.carry_out(&house(), entry, Effect::AbortUploads, &now).await?;
                }
            }
            match page.last() {
                Some(last) => after = Some(last.standing.id),
                None => return Ok(()),
            }
        }
    }

    async fn abort_uploads(&self, id: TenantId) -> Result<(), TenancyError> {
        for at in self.directory.buckets(id).await? {
            let Some(roots) = self.regions.get(at.region.id) else { continue };
            let Some(bucket) = self.directory.open_bucket(&at).await? else { continue };
            let of_clients = roots.index.list_uploads(&bucket.index).await?.into_iter();
            // What waits to put an object right is its request's to end: data subjects' rights outlive the service.
            for upload in of_clients.filter(|upload| upload.for_request.is_none()) {
                let parts = roots.index.abort(&bucket.index, upload.upload_id).await?;
                let segments: Vec<_> = parts.iter().map(|part| part.segment.id).collect();
                roots.blobs.delete(&segments).await?;
            }
        }
        Ok(())
    }
}

fn record(transition: Transition, next: &Standing, event: &Event, reason: Option<Hash>) -> Record {
    let tenant = next.id;
    let consent = Hash(next.consent.unwrap_or_default());
    let hold = || match event {
        Event::PlaceHold(hold) => hold.id.clone(),
        Event::ReleaseHold { id } => id.clone(),
        _ => String::new(),
    };
    match transition {
        Transition::Create => Record::TenantCreated { tenant, home: next.home.clone(), consent },
        Transition::Activate => Record::TenantActivated { tenant },
        Transition::GiveUp => Record::TenantGivenUp { tenant },
        Transition::Disable => Record::TenantDisabled { tenant, reason },
        Transition::Enable => Record::TenantEnabled { tenant, consent },
        Transition::Terminate => {
            let due = next.termination.as_ref().map(|termination| termination.due_wall().to_string());
            Record::TenantTerminated { tenant, due: due.unwrap_or_default(), reason }
        }
        Transition::InstructEarly => {
            let early = next.early.as_ref();
            Record::EarlyPurgeInstructed {
                tenant,
                due: early.map(|early| early.due_wall().to_string()).unwrap_or_default(),
                instruction: Hash(early.map(|early| early.instruction).unwrap_or_default()),
                entered_by: early.map(|early| early.entered_by.clone()).unwrap_or_default(),
            }
        }
        Transition::CancelEarly => Record::EarlyPurgeCancelled { tenant },
        Transition::Reinstate => Record::TenantReinstated { tenant, consent },
        Transition::BeginPurge => Record::PurgeBegun { tenant },
        Transition::HoldPurge => Record::PurgeHeld { tenant, holds: next.holds.len() as u64 },
        Transition::EndPurge => Record::TenantPurged { tenant },
        Transition::DestroyKeysFirst => Record::KeysFirst { tenant, regions_out_of_reach: 1 },
        // The sweeper logs it itself, with what there was.
        Transition::EndPart => Record::PurgeHeld { tenant, holds: next.holds.len() as u64 },
        Transition::PlaceHold => Record::HoldPlaced { tenant, hold: hold() },
        Transition::ReleaseHold => Record::HoldReleased { tenant, hold: hold() },
    }
}
