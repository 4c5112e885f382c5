//! Reports that a version of a key may be known to somebody, between the admin face, the conductor and the key service:
//! what follows at once, and what is exposed.
//!
//! Order, of a tenant's data key: entry → commits pause, the key service replaces and marks it → count → entry. Of the
//! master key: entry → the key service marks it and, where one administrator is enough, sets its day → rotation → entry.
//! What a crash cuts off of a rotation the next start takes up; a count is asked for again.

use super::acts::{HouseActs, log_error};
use super::keyend::{Found, find, of_one_key, root_state};
use super::keys::ask;
use super::keywork::{Told, rekey_error};
use super::tenants::{act_error, actor};
use crate::admin::acts::{KeyRef, Mode, Order, Outcome, Sight};
use crate::admin::compromise::{Exposure, ReportCompromise};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::{Event as Record, Hash};
use crate::directory::Approval;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::rekey::{self, Exposed, RekeyError, Rooms, Run, Watch};
use crate::report::Digest;
use crate::seal::{
    BackupNote, DESTROY_COMPROMISED_AFTER_SECONDS, Ending, KeyClient, KeyError, KeyKind, KeyState, MasterState,
    ServiceStatus, TenantState, VersionOf,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn report(
    acts: &HouseActs,
    order: &Order,
    key: &KeyRef,
    report: &ReportCompromise,
) -> Result<Outcome<wire::Operation>, ActError> {
    let exposing = Asked::of(acts, find(acts, key).await?)?;
    let seen_at = report.seen_at.as_ref().map(|at| at.0.to_string());
    match exposing.found.of {
        VersionOf::Master { version } => {
            master(acts, order, exposing, version, report.reason.as_deref(), seen_at).await
        }
        VersionOf::Root { tenant, version, .. } => {
            of_tenant(acts, order, exposing, (TenantId(tenant), version), report.reason.as_deref(), seen_at).await
        }
    }
}

pub(super) async fn exposure(acts: &HouseActs, key: &KeyRef, sight: Sight) -> Result<Exposure, ActError> {
    let asked = Asked::of(acts, find(acts, key).await?)?;
    let mut exposure = asked.expose(&Unwatched).await.map_err(of_one_key)?;
    if sight != Sight::Everything {
        exposure.key.clone_from(&asked.found.opaque);
        (exposure.tenants, exposure.to_do) = (Vec::new(), Vec::new());
    }
    Ok(exposure)
}

/// The key service voids every lease on the version before it answers.
async fn of_tenant(
    acts: &HouseActs,
    order: &Order,
    asked: Asked,
    (tenant, version): (TenantId, u32),
    reason: Option<&str>,
    seen_at: Option<String>,
) -> Result<Outcome<wire::Operation>, ActError> {
    let room = *acts.rooms(Some(asked.found.rooms.directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
    if root_state(room, tenant.0, KeyKind::Trk, version).await? == KeyState::Destroyed {
        return Err(ActError::KeyGone);
    }
    if order.mode == Mode::Plan {
        let found = asked.expose(&Unwatched).await.map_err(rekey_error)?;
        let steps = vec![
            "a new version becomes active, if this one is".to_owned(),
            "objects under this version answer 403 until they are re-encrypted".to_owned(),
            "count what is exposed".to_owned(),
        ];
        let counts = [("objects", found.objects), ("versions", found.versions), ("uploads", found.uploads)];
        let counts = counts.into_iter().filter_map(|(name, count)| Some((name.to_owned(), count?)));
        let backups = [("backups".to_owned(), found.backups.len() as u64)];
        let counts: BTreeMap<_, _> = counts.chain(backups).collect();
        return Ok(Outcome::Planned(wire::Plan { steps, counts, ..wire::Plan::default() }));
    }
    let rooms = &asked.found.rooms;
    let (audit, directory) = (&rooms.audit, &rooms.directory);
    let reason = match reason {
        Some(words) => Some(Hash(directory.keep_words(tenant, words).await.map_err(|error| act_error(error.into()))?)),
        None => None,
    };
    let reported = Record::CompromiseReported { tenant, version, reason, seen_at };
    audit.append(&actor(order), reported).await.map_err(log_error)?;
    {
        // No commit may be between the wrapping of its data key and its row while the version changes under it.
        let _still = directory.pause_commits().await;
        ask(room, move |keys| keys.report_compromise(tenant.0, version)).await?;
    }
    Ok(Outcome::Done(asked.begin(acts, order, None)))
}

async fn master(
    acts: &HouseActs,
    order: &Order,
    asked: Asked,
    version: u32,
    reason: Option<&str>,
    seen_at: Option<String>,
) -> Result<Outcome<wire::Operation>, ActError> {
    let rooms = &asked.found.rooms;
    let room = *acts.rooms(Some(rooms.directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
    let status = ask(room, KeyClient::status).await?;
    let known = status.masters.iter().find(|(known, _)| known.name.version == version);
    match known.ok_or(ActError::NoSuchKey)?.0.state {
        MasterState::Destroyed => return Err(ActError::KeyGone),
        MasterState::Active | MasterState::DecryptOnly | MasterState::Disabled => {}
    }
    if order.mode == Mode::Plan {
        let plan = ask(room, |keys| keys.plan_rotation(0)).await?;
        let found = asked.expose(&Unwatched).await.map_err(rekey_error)?;
        let steps = vec![
            "make a new master key version, if this one is current, and wrap every root key again under it".to_owned(),
            "destroy this one after 1 d, once no key and no backup that is not too old needs it".to_owned(),
            "tell which tenants have to be re-encrypted: a rotation cures nothing that was under it".to_owned(),
        ];
        let counts = [("tenants", found.tenants.len()), ("backups", found.backups.len())];
        let counts = counts.map(|(name, count)| (name.to_owned(), count as u64)).into_iter();
        let rewrapped = [("rewrapped".to_owned(), plan.total)];
        let counts: BTreeMap<_, _> = counts.chain(rewrapped).collect();
        return Ok(Outcome::Planned(wire::Plan { steps, counts, ..wire::Plan::default() }));
    }
    let by = actor(order);
    let reason = reason.map(|words| Hash::of(&[words.as_bytes()]));
    let reported = Record::MasterCompromiseReported { version, reason, seen_at };
    rooms.audit.append(&by, reported).await.map_err(log_error)?;
    let alone = !acts.two_person;
    let ending = ask(room, move |keys| keys.report_master_compromise(version, alone)).await?;
    if ending.is_none() && acts.two_person {
        let act = asked.found.act(DESTROY_COMPROMISED_AFTER_SECONDS);
        let proposed = rooms.directory.propose(&act, &order.by.0, acts.house.clock.now().wall).await;
        if proposed.map_err(|error| act_error(error.into()))? == Approval::Proposed {
            let proposed = Record::DestructionProposed { key: asked.found.opaque.clone() };
            rooms.audit.append(&by, proposed).await.map_err(log_error)?;
        }
    }
    Ok(Outcome::Done(asked.begin(acts, order, Some(version))))
}

/// A version of a key, and what the log says of it.
struct Asked {
    found: Found,
    digest: Arc<Digest>,
}

impl Asked {
    fn of(acts: &HouseActs, found: Found) -> Result<Self, ActError> {
        match found.of {
            VersionOf::Master { .. } | VersionOf::Root { kind: KeyKind::Trk, .. } => {}
            // Withholding the only key under which names are found, or subjects' keys lie, would stop the tenant.
            VersionOf::Root { .. } => return Err(ActError::NotBuilt),
        }
        let room = *acts.rooms(Some(found.rooms.directory.geo()))?.first().ok_or(ActError::GeoNotServed)?;
        Ok(Self { found, digest: Arc::new(acts.digests.of(room)?) })
    }

    /// Replaces the master key, if that is what is known, and counts.
    fn begin(self, acts: &HouseActs, order: &Order, master: Option<u32>) -> wire::Operation {
        let (by, now, subject) = (actor(order), acts.house.clock.now().wall, self.found.opaque.clone());
        acts.operations.start("report-compromise", &subject, now, move |progress| async move {
            let watch = Told(progress);
            let rooms = &self.found.rooms;
            if let Some(version) = master {
                let is_current = blocking(rooms, move |keys| {
                    let status = keys.status()?;
                    let is_active = |(known, _): &(crate::seal::MasterVersion, u64)| {
                        known.name.version == version && known.state == MasterState::Active
                    };
                    Ok(status.rotation.is_some() || status.masters.iter().any(is_active))
                });
                if is_current.await.map_err(rekey_error)? {
                    let run = Run { actor: &by, records_per_s: None, watch: &watch };
                    rekey::rotate_master(rooms, &run).await.map_err(rekey_error)?;
                }
            }
            let exposure = self.expose(&watch).await.map_err(rekey_error)?;
            let counted = Record::ExposureCounted {
                key: self.found.opaque.clone(),
                objects: exposure.objects.unwrap_or(0),
                versions: exposure.versions.unwrap_or(0),
                backups: exposure.backups.len() as u64,
            };
            rooms.audit.append(&by, counted).await.map_err(log_error)?;
            Ok(wire::OperationResult::Exposure(Box::new(exposure)))
        })
    }

    async fn expose(&self, watch: &dyn Watch) -> Result<Exposure, RekeyError> {
        let rooms = &self.found.rooms;
        let (status, backups) = blocking(rooms, |keys| Ok((keys.status()?, keys.backups()?))).await?;
        let ending = status.endings.iter().flatten().find(|ending| ending.of == self.found.of).cloned();
        match self.found.of {
            VersionOf::Master { version } => self.of_master(version, &status, &backups, ending).await,
            VersionOf::Root { tenant, version, .. } => {
                self.of_data_key(TenantId(tenant), version, (&status, &backups, ending), watch).await
            }
        }
    }

    async fn of_data_key(
        &self,
        tenant: TenantId,
        version: u32,
        (status, backups, ending): (&ServiceStatus, &[BackupNote], Option<Ending>),
        watch: &dyn Watch,
    ) -> Result<Exposure, RekeyError> {
        let of = status.tenants.iter().find(|of| of.tenant == tenant.0).ok_or(KeyError::Unknown)?;
        let root =
            |version: u32| of.roots.iter().find(move |root| root.kind == KeyKind::Trk && root.name.version == version);
        let this = root(version).ok_or(KeyError::Unknown)?;
        let logged = |version| self.digest.made("tdk", Some(tenant), version).map(|seen| seen.at);
        let made = |version: u32| root(version)?.made.map(Millis::from_seconds).or_else(|| logged(version));
        let replaced = this.replaced.map(Millis::from_seconds).or_else(|| made(version + 1));
        let first = made(version);
        let Exposed { objects, versions, rewrapped, uploads, .. } =
            rekey::exposure(&self.found.rooms, watch, tenant, version).await?;
        let from = first.map_or(i64::MIN, Millis::seconds);
        let until = if this.state == KeyState::Destroyed { this.since } else { i64::MAX };
        let holds = backups.iter().filter(|backup| (from..=until).contains(&backup.at));
        let label = self.found.shown.split('/').nth(1).unwrap_or_default();
        let mut to_do = Vec::new();
        if versions > 0 {
            to_do.push(format!("geoseal key reencrypt --tenant {label} --from {version}"));
        }
        if uploads > 0 {
            to_do.push(format!("complete or abort {uploads} uploads: until then the version stays"));
        }
        if this.state == KeyState::Compromised && ending.is_none() {
            to_do.push(format!("geoseal key destroy {}", self.found.shown));
        }
        Ok(Exposure {
            key: self.found.shown.clone(),
            state: match (this.state, &ending) {
                (KeyState::Destroyed, _) => "destroyed",
                (_, Some(_)) => "destroy-scheduled",
                (KeyState::Compromised, None) => "compromised",
                (KeyState::DecryptOnly, None) => "decrypt-only",
                (KeyState::Active | KeyState::PreActive, None) => "current",
            }
            .into(),
            objects: Some(objects),
            versions: Some(versions),
            rewrapped: Some(rewrapped),
            uploads: Some(uploads),
            copies: 0,
            backups: holds.map(|backup| backup.id.clone()).collect(),
            first_used_at: first.map(wire::Time),
            last_used_at: replaced.map(wire::Time),
            destroy_at: day(ending),
            tenants: Vec::new(),
            to_do,
        })
    }

    async fn of_master(
        &self,
        version: u32,
        status: &ServiceStatus,
        backups: &[BackupNote],
        ending: Option<Ending>,
    ) -> Result<Exposure, RekeyError> {
        let made = |version| self.digest.made("mk", None, version).map(|seen| seen.at);
        let known = status.masters.iter().find(|(known, _)| known.name.version == version).ok_or(KeyError::Unknown)?;
        let is_known = status.known_masters.as_ref().is_some_and(|known| known.contains(&version));
        let replaced = made(version + 1);
        let until = replaced.map_or(i64::MAX, Millis::seconds);
        let living = status.tenants.iter().filter(|tenant| tenant.state != TenantState::Destroyed);
        let mut tenants = Vec::new();
        for tenant in living.filter(|tenant| tenant.created <= until) {
            let id = TenantId(tenant.tenant);
            let entry = self.found.rooms.directory.tenant(id).await?;
            let detail = entry.and_then(|entry| entry.detail.clone());
            tenants.push(detail.map_or_else(|| id.to_string(), |detail| detail.name));
        }
        let geo = self.found.rooms.directory.geo().id;
        let mut to_do = vec![format!("geoseal key rotate directory --geo {geo}")];
        to_do.extend(
            ["subject-root", "index-root"]
                .map(|root| format!("of every tenant listed: geoseal key rotate {root} --tenant TENANT")),
        );
        to_do.push("of every bucket of them: geoseal key rotate index-key --tenant TENANT --bucket BUCKET".to_owned());
        to_do.push("of every tenant listed: new logins, then geoseal key reencrypt --tenant TENANT".to_owned());
        if ending.is_none() && known.0.state != MasterState::Destroyed {
            to_do.push(format!("geoseal key destroy {}", self.found.shown));
        }
        Ok(Exposure {
            key: self.found.shown.clone(),
            state: match known.0.state {
                MasterState::Destroyed => "destroyed",
                _ if ending.is_some() && known.0.state != MasterState::Active => "destroy-scheduled",
                _ if is_known => "compromised",
                MasterState::Active => "current",
                MasterState::DecryptOnly => "decrypt-only",
                MasterState::Disabled => "suspended",
            }
            .into(),
            objects: None,
            versions: None,
            rewrapped: None,
            uploads: None,
            copies: 0,
            backups: backups.iter().filter(|note| note.needs_master(version)).map(|note| note.id.clone()).collect(),
            first_used_at: made(version).map(wire::Time),
            last_used_at: replaced.map(wire::Time),
            destroy_at: day(ending),
            tenants,
            to_do,
        })
    }
}

fn day(ending: Option<Ending>) -> Option<wire::Time> {
    ending.map(|ending| wire::Time(Millis::from_seconds(ending.due)))
}

/// Nobody follows.
struct Unwatched;

impl Watch for Unwatched {
    fn phase(&self, _: &'static str, _: u64) {}

    fn done(&self, _: u64) {}
}

async fn blocking<T: Send + 'static>(
    rooms: &Rooms,
    work: impl FnOnce(&KeyClient) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, RekeyError> {
    let keys = rooms.directory.key_service().clone();
    let done = tokio::task::spawn_blocking(move || work(&keys)).await;
    Ok(done.map_err(|_| RekeyError::Worker)??)
}
