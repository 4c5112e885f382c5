//! Reports for auditors: gathers what the log, the directory, the sweeper and the key service have, and hands it to the pure
//! functions of `report`.

use super::acts::{HouseActs, log_error};
use super::house::{GeoRoom, House};
use super::tenants::{act_error, find_any};
use crate::admin::acts::{Sight, TenantRef};
use crate::admin::error::ActError;
use crate::audit::{Actor, AuditError, Event as Record, Hash};
use crate::config::ComplianceConfig;
use crate::directory::{Directory, DirectoryError, SweepRun};
use crate::model::dsr::RequestState;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::report::controls::{self, Controls, Freshness, Gathered, RequestsOpen};
use crate::report::inventory::{KeyInventory, KeyLine};
use crate::report::population::{self, Known, Population};
use crate::report::record::{Controller, Processor, ProcessorRecord, Subprocessor, Subprocessors};
use crate::report::residency::{self, InRegion, ObjectAt, Residency};
use crate::report::restores::Restores;
use crate::report::sweeps::{SweepHistory, SweepRun as ShownRun};
use crate::report::{Digest, Period};
use crate::sweep::whereabouts::{self, After};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Entries of the log read at once.
const STEP: usize = 4096;
/// Tenants read at once.
const TENANTS_STEP: usize = 500;
/// Seconds between two walks over the whole log.
const VERIFY_EVERY_S: i64 = 86_400;
/// What the log of each geo says in all, as of the last question.
#[derive(Default)]
pub(super) struct Digests(HashMap<&'static str, Mutex<Digest>>);

impl Digests {
    pub(super) fn new(house: &House) -> Self {
        Self(house.geos.iter().map(|room| (room.geo.id, Mutex::default())).collect())
    }

    /// Brings the digest up to the log and asks it. Reads files, after a start the whole log.
    pub(super) fn ask<T>(&self, room: &GeoRoom, question: impl FnOnce(&Digest) -> T) -> Result<T, AuditError> {
        let fresh = Mutex::default();
        let mut digest = self.0.get(room.geo.id).unwrap_or(&fresh).lock();
        loop {
            let page = room.audit.entries(digest.next(), STEP)?;
            page.iter().for_each(|entry| digest.take(entry));
            if page.len() < STEP {
                return Ok(question(&digest));
            }
        }
    }

    pub(super) fn of(&self, room: &GeoRoom) -> Result<Digest, ActError> {
        tokio::task::block_in_place(|| self.ask(room, Digest::clone)).map_err(log_error)
    }
}

/// Walks over the logs once a day, and enters into each that it did. A log that does not verify is an error of the process'
/// own log and no entry, so the control over it grows stale.
pub(super) async fn verify_logs(acts: &HouseActs, now: Millis) {
    for room in &acts.house.geos {
        if let Err(error) = verify_log(acts, room, now).await {
            tracing::error!(geo = room.geo.id, %error, "the audit log was not verified");
        }
    }
}

async fn verify_log(acts: &HouseActs, room: &GeoRoom, now: Millis) -> Result<(), AuditError> {
    let last = |digest: &Digest| digest.last("log-verified").or(digest.first()).map(|seen| seen.at);
    let last = tokio::task::block_in_place(|| acts.digests.ask(room, last))?;
    if last.is_none_or(|last| now < last.plus_seconds(VERIFY_EVERY_S)) {
        return Ok(());
    }
    let log = room.audit.clone();
    let walked = tokio::task::spawn_blocking(move || log.verify()).await;
    let entries = walked.map_err(|_| AuditError::Unwritable)??.entries;
    room.audit.append(&Actor::part("verifier"), Record::LogVerified { entries }).await?;
    Ok(())
}

/// Keeps a run of the sweeper in every geo.
pub(super) async fn keep_sweep(directories: &[Arc<Directory>], run: &SweepRun) {
    for directory in directories {
        if let Err(error) = directory.keep_sweep(run).await {
            tracing::error!(geo = directory.geo().id, %error, "a sweep is not in the history");
        }
    }
}

pub(super) async fn sweeps(acts: &HouseActs, limit: usize) -> Result<SweepHistory, ActError> {
    let mut runs = Vec::new();
    for room in &acts.house.geos {
        for run in room.directory.sweeps(limit).await.map_err(|error| act_error(error.into()))? {
            let late_s = run.late_s;
            let shown = ShownRun {
                geo: room.geo.id.into(),
                started_at: run.started.to_string(),
                ended_at: run.ended.map(|at| at.to_string()),
                acts: run.acts,
                skipped: run.skipped,
                late_s,
            };
            runs.push((run.started, shown));
        }
    }
    runs.sort_by_key(|(started, _)| std::cmp::Reverse(*started));
    Ok(SweepHistory { runs: runs.into_iter().map(|(_, run)| run).take(limit).collect() })
}

pub(super) async fn controls(acts: &HouseActs) -> Result<Controls, ActError> {
    let now = acts.house.clock.now().cc_lo;
    let mut all = Vec::new();
    for room in &acts.house.geos {
        let sweeps = room.directory.sweeps(1).await.map_err(|error| act_error(error.into()))?;
        let gathered = Gathered {
            sweep: sweeps.first().and_then(|run| run.ended),
            witnessed: witnessed(room, now)?,
            notices: super::notices::owed(acts, room).await.map_err(|error| act_error(error.into()))?,
            requests: open_requests(room, now).await.map_err(|error| act_error(error.into()))?,
        };
        all.extend(controls::of_geo(room.geo.id, &acts.digests.of(room)?, &gathered, now));
    }
    let failed = all.iter().filter(|control| control.status == Freshness::Failed).count() as u64;
    let stale = all.iter().filter(|control| matches!(control.status, Freshness::Stale | Freshness::Never)).count();
    Ok(Controls {
        at: now.to_string(),
        certification: "not certified: the statements of this software about itself, with evidence".into(),
        controls: all,
        stale: stale as u64,
        failed,
    })
}

/// Data subjects' requests of a geo that have not ended.
async fn open_requests(room: &GeoRoom, now: Millis) -> Result<RequestsOpen, DirectoryError> {
    const OPEN: [RequestState; 4] =
        [RequestState::Open, RequestState::Previewed, RequestState::Running, RequestState::Deferred];
    let mut found = RequestsOpen::default();
    for (tenant, number) in room.directory.requests_in(&OPEN).await? {
        let request = room.directory.request(tenant, number).await?;
        found.open += 1;
        // What a hold defers is the hold's to answer for.
        let waits = request.filter(|request| request.state != RequestState::Deferred);
        found.overdue += u64::from(waits.is_some_and(|request| request.due <= now));
    }
    Ok(found)
}

/// Now, when everybody who remembers the log on his own agrees with it.
fn witnessed(room: &GeoRoom, now: Millis) -> Result<Option<Millis>, ActError> {
    let words = || super::witness::words(&room.keys, &room.audit, room.witness.as_deref());
    let words = tokio::task::block_in_place(words).map_err(log_error)?;
    Ok((!words.is_empty() && words.iter().all(|word| word.agrees)).then_some(now))
}

pub(super) async fn population(acts: &HouseActs, text: &str, period: &Period) -> Result<Population, ActError> {
    let now = acts.house.clock.now().cc_lo;
    let late_s = i64::try_from(acts.sweep_interval.as_secs()).unwrap_or(i64::MAX);
    let mut terminated = Vec::new();
    for room in &acts.house.geos {
        let digest = acts.digests.of(room)?;
        let mut known: HashMap<TenantId, Known> = HashMap::new();
        for end in digest.ends().iter().filter(|end| period.contains(end.terminated.at)) {
            let entry = room.directory.tenant(end.tenant).await.map_err(|error| act_error(error.into()))?;
            let kept = acts.sweeper.certificate(end.tenant).await.map_err(|_| ActError::Broken)?;
            let certificate = kept.map(|text| Hash::of(&[text.as_bytes()]));
            known.insert(end.tenant, Known { standing: entry.map(|entry| entry.standing.clone()), certificate });
        }
        let of = |end: &crate::report::End| known.get(&end.tenant).cloned().unwrap_or_default();
        terminated.extend(population::terminated(room.geo.id, &digest, period, now, late_s, of));
    }
    let exceptions = terminated.iter().filter(|one| !one.exceptions.is_empty()).count() as u64;
    let (from, until) = (period.from.to_string(), period.until.to_string());
    Ok(Population { period: text.to_owned(), from, until, terminated, exceptions })
}

pub(super) async fn inventory(acts: &HouseActs) -> Result<KeyInventory, ActError> {
    let mut keys = Vec::new();
    for room in &acts.house.geos {
        let digest = acts.digests.of(room)?;
        let status = super::keys::status(acts, Some(room.geo), None, false, Sight::NoNames).await?;
        for geo in &status.geos {
            let line = |kind: &'static str, tenant: Option<TenantId>, shown: &crate::admin::wire::KeyVersion| {
                let version = shown.version;
                let made = |version| digest.made(kind, tenant, version).map(|seen| seen.at.to_string());
                // Version 1 of the geo's own keys was there before the log's first entry.
                let last = (2..=version).rev().find_map(made);
                KeyLine {
                    geo: geo.geo.clone(),
                    kind: kind.into(),
                    tenant: tenant.map(|tenant| tenant.to_string()),
                    version,
                    state: shown.state.clone(),
                    destroy_at: shown.destroy_at.map(|at| at.0.to_string()),
                    created_at: made(version),
                    last_rotation_at: last,
                }
            };
            keys.extend(geo.master.iter().map(|version| line("mk", None, version)));
            keys.extend(geo.directory.iter().map(|version| line("gdk", None, version)));
            for tenant in &geo.tenants {
                let kinds = [("tdk/", "tdk"), ("srk/", "srk"), ("tik/", "tik")];
                keys.extend(tenant.versions.iter().filter_map(|version| {
                    let (_, kind) = kinds.iter().find(|(prefix, _)| version.id.starts_with(prefix))?;
                    Some(line(kind, Some(tenant.tenant), version))
                }));
            }
        }
    }
    // The newest version's rotation is the key's.
    let mut newest: HashMap<(String, String, Option<String>), Option<String>> = HashMap::new();
    for key in &keys {
        let of = (key.geo.clone(), key.kind.clone(), key.tenant.clone());
        let at = newest.entry(of).or_default();
        *at = at.clone().max(key.last_rotation_at.clone());
    }
    for key in &mut keys {
        let of = (key.geo.clone(), key.kind.clone(), key.tenant.clone());
        key.last_rotation_at = newest.get(&of).cloned().flatten();
    }
    Ok(KeyInventory { keys })
}

pub(super) fn restores(acts: &HouseActs) -> Result<Restores, ActError> {
    let mut all = Vec::new();
    for room in &acts.house.geos {
        all.extend(acts.digests.of(room)?.restored().iter().map(|restored| restored.of_geo(room.geo.id)));
    }
    all.sort_by(|a, b| b.at.cmp(&a.at));
    Ok(Restores { restores: all })
}

pub(super) fn subprocessors(acts: &HouseActs) -> Subprocessors {
    let ComplianceConfig { processor, subprocessors, .. } = acts.compliance.clone();
    let generated_at = acts.house.clock.now().cc_lo.to_string();
    let shown = |other: crate::config::SubprocessorConfig| Subprocessor {
        name: other.name,
        purpose: other.purpose,
        location: other.location,
    };
    Subprocessors { generated_at, processor, subprocessors: subprocessors.into_iter().map(shown).collect() }
}

pub(super) async fn record(acts: &HouseActs, sight: Sight) -> Result<ProcessorRecord, ActError> {
    let ComplianceConfig { processor, contact, data_protection_officer, .. } = acts.compliance.clone();
    let processor = Processor { name: processor, contact, data_protection_officer };
    let mut controllers = Vec::new();
    for room in &acts.house.geos {
        let mut after = None;
        loop {
            let page = room.directory.tenants(after, TENANTS_STEP).await.map_err(|error| act_error(error.into()))?;
            controllers.extend(page.iter().map(|entry| controller(entry, sight)));
            match page.last() {
                Some(last) if page.len() == TENANTS_STEP => after = Some(last.standing.id),
                _ => break,
            }
        }
    }
    let mut measures: Vec<_> = controls(acts).await?.controls.into_iter().map(|control| control.description).collect();
    measures.sort();
    measures.dedup();
    let incomplete = ProcessorRecord::gaps(&processor, &controllers);
    Ok(ProcessorRecord {
        schema: ProcessorRecord::SCHEMA.into(),
        generated_at: acts.house.clock.now().cc_lo.to_string(),
        processor,
        controllers,
        transfers: Vec::new(),
        transfers_note: residency::NO_TRANSFERS.into(),
        subprocessors: subprocessors(acts).subprocessors,
        measures,
        incomplete,
    })
}

fn controller(entry: &crate::directory::TenantEntry, sight: Sight) -> Controller {
    let (standing, detail) = (&entry.standing, entry.detail.as_ref());
    let shown = detail.filter(|_| sight == Sight::Everything);
    Controller {
        tenant: standing.id.to_string(),
        name: shown.map(|detail| detail.name.clone()),
        contact: shown.and_then(|detail| detail.contact.clone()),
        has_contact: detail.is_some_and(|detail| detail.contact.is_some()),
        geo: standing.geo.clone(),
        home: standing.home.clone(),
        state: standing.state.as_str().into(),
        since: standing.created.at.to_string(),
        consent_sha256: standing.consent.map(hex::encode),
        processing: ProcessorRecord::processing(),
        erased_at: standing.due().map(|due| due.to_string()),
    }
}

pub(super) async fn residency(
    acts: &HouseActs,
    tenant: &TenantRef,
    after: Option<&After>,
    limit: usize,
) -> Result<Residency, ActError> {
    let found = find_any(acts, tenant).await?;
    let standing = &found.entry.standing;
    let broken = |error| {
        tracing::error!(%error, "where a tenant's bytes are could not be read");
        ActError::Broken
    };
    let regions = match after {
        None => whereabouts::regions(&found.tenancy, standing.id).await.map_err(broken)?,
        Some(_) => Vec::new(),
    };
    let objects = whereabouts::objects(&found.tenancy, standing.id, after, limit).await.map_err(broken)?;
    let (objects, next) = objects.unwrap_or_default();
    Ok(Residency {
        tenant: standing.id.to_string(),
        geo: standing.geo.clone(),
        home: standing.home.clone(),
        at: acts.house.clock.now().cc_lo.to_string(),
        regions: regions
            .iter()
            .map(|of| InRegion {
                region: of.region.id.into(),
                served: of.served,
                buckets: of.buckets,
                objects: of.rows.objects,
                rows: of.rows.rows,
                row_bytes: of.rows.bytes,
                blobs_found: of.blobs,
            })
            .collect(),
        objects: objects
            .iter()
            .map(|at| ObjectAt {
                bucket: at.bucket.to_string(),
                object: at.object.to_string(),
                version: at.version.to_string(),
                region: at.region.id.into(),
            })
            .collect(),
        next: next.map(|after| after.to_string()),
        transfers: Vec::new(),
        transfers_note: residency::NO_TRANSFERS.into(),
        exceptions: residency::exceptions(),
    })
}
