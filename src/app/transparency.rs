//! The audit log as a transparency log, between the admin face, the log and the key that signs it; and the checks that need
//! no server.

use super::acts::{HouseActs, log_error};
use super::house::GeoRoom;
use crate::admin::error::ActError;
use crate::admin::transparency::{LogCheckpoint, LogGrowth, LogLines, LogProof};
use crate::admin::wire::AuditShown;
use crate::audit::tree::{self, Checkpoint, EntryProof, Tile};
use crate::audit::{AuditLog, Event, Hash};
use crate::cli::{InLog, VerifiedCertificate};
use crate::directory::DirectoryError;
use crate::model::atlas::Geo;
use crate::model::ids::TenantId;
use crate::sweep::certificate::{CertificateError, PublicKey};
use crate::sweep::closing::EpochCertificate;
use crate::sweep::logged::{self, LoggedError};
use std::path::Path;

/// Entries read at once when one is looked for.
const LOOK_STEP: usize = 1000;

fn room<'a>(acts: &'a HouseActs, geo: &'static Geo) -> Result<&'a GeoRoom, ActError> {
    acts.rooms(Some(geo))?.first().copied().ok_or(ActError::GeoNotServed)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActError> + Send + 'static,
) -> Result<T, ActError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ActError::Broken)?
}

/// The log as it is now, signed: with its text and its note. Its witness knows it before anybody else does.
pub(super) async fn signed(room: &GeoRoom) -> Result<(Checkpoint, String), ActError> {
    let (log, keys, witness) = (room.audit.clone(), room.keys.clone(), room.witness.clone());
    blocking(move || {
        let checkpoint = log.checkpoint().map_err(log_error)?;
        let (log_key, text) = (keys.log_key(), checkpoint.text(&keys.log_key()));
        let signature = keys.sign(text.as_bytes()).map_err(|error| super::tenants::act_error(error.into()))?;
        let note = tree::assemble(&text, &log_key, &signature);
        if let Some(witness) = witness {
            witness.take(&note, &log).map_err(|error| {
                tracing::error!(%error, "the audit log's witness does not take its state");
                ActError::Unavailable("the audit log's witness")
            })?;
        }
        Ok((checkpoint, note))
    })
    .await
}

pub(super) async fn checkpoint(acts: &HouseActs, geo: &'static Geo) -> Result<LogCheckpoint, ActError> {
    let room = room(acts, geo)?;
    let (checkpoint, note) = signed(room).await?;
    Ok(shown(room, &checkpoint, note))
}

fn shown(room: &GeoRoom, checkpoint: &Checkpoint, note: String) -> LogCheckpoint {
    let verifier_key = tree::verifier_key(room.geo.id, &room.keys.log_key());
    let (geo, size, root) = (room.geo.id.into(), checkpoint.size, checkpoint.root.to_string());
    LogCheckpoint { geo, size, root, note, verifier_key }
}

pub(super) async fn lines(acts: &HouseActs, geo: &'static Geo, from: u64, limit: usize) -> Result<LogLines, ActError> {
    let log = room(acts, geo)?.audit.clone();
    blocking(move || Ok(LogLines { lines: log.lines(from, limit).map_err(log_error)? })).await
}

pub(super) async fn proof(acts: &HouseActs, geo: &'static Geo, index: u64) -> Result<LogProof, ActError> {
    let room = room(acts, geo)?;
    let (checkpoint, note) = signed(room).await?;
    let log = room.audit.clone();
    let found = blocking(move || proof_of(&log, index, &checkpoint, &note)).await?;
    Ok(LogProof { geo: geo.id.into(), index, proof: found.to_text() })
}

pub(super) async fn tile(acts: &HouseActs, geo: &'static Geo, tile: Tile) -> Result<Vec<u8>, ActError> {
    let log = room(acts, geo)?.audit.clone();
    blocking(move || log.tile(&tile).map_err(log_error)?.ok_or(ActError::NoSuchRoute)).await
}

/// The proof of the entry that names a certificate, of a tenant or of a data subject's erasure.
pub(super) async fn certificate_proof(
    acts: &HouseActs,
    geo: &'static Geo,
    certificate: Hash,
) -> Result<LogProof, ActError> {
    let log = room(acts, geo)?.audit.clone();
    let names = move |event: &Event| match event {
        Event::CertificateIssued { certificate: named, .. }
        | Event::SubjectCertificateIssued { certificate: named, .. } => *named == certificate,
        _ => false,
    };
    let index = blocking(move || find(&log, 0, names)?.ok_or(ActError::NotInLog)).await?;
    proof(acts, geo, index).await
}

fn proof_of(log: &AuditLog, index: u64, checkpoint: &Checkpoint, note: &str) -> Result<EntryProof, ActError> {
    let found = log.prove(index, checkpoint.size).map_err(log_error)?;
    let (line, hashes) = found.ok_or_else(|| {
        ActError::BadQuery(format!("`index` counts from 0, and the log has {} entries", checkpoint.size))
    })?;
    Ok(EntryProof { index, line, hashes, checkpoint: note.to_owned() })
}

fn growth_of(log: &AuditLog, since: u64, checkpoint: &Checkpoint) -> Result<tree::Growth, ActError> {
    let growth = log.prove_growth(since, checkpoint.size).map_err(log_error)?;
    growth.ok_or_else(|| ActError::BadQuery(format!("`since`: the log has {} entries only", checkpoint.size)))
}

pub(super) async fn growth(acts: &HouseActs, geo: &'static Geo, since: u64) -> Result<LogGrowth, ActError> {
    let room = room(acts, geo)?;
    let (checkpoint, note) = signed(room).await?;
    let (log, now, keys, witness) = (room.audit.clone(), checkpoint.clone(), room.keys.clone(), room.witness.clone());
    let (growth, witnesses) = blocking(move || {
        let words = super::witness::words(&keys, &log, witness.as_deref()).map_err(log_error)?;
        Ok((growth_of(&log, since, &now)?, words))
    })
    .await?;
    Ok(LogGrowth { checkpoint: shown(room, &checkpoint, note), growth, witnesses })
}

/// A certificate with what shows that the log has it. A certificate that the log does not name (a crash came between, and the
/// next sweep names it) is answered as it was signed.
pub(super) async fn with_log(
    acts: &HouseActs,
    geo: &'static Geo,
    tenant: TenantId,
    text: String,
    since: Option<u64>,
) -> Result<serde_json::Value, ActError> {
    let room = room(acts, geo)?;
    let (checkpoint, note) = signed(room).await?;
    let log = room.audit.clone();
    blocking(move || {
        let (ended, hash) = logged::named(&text).ok_or(ActError::Broken)?;
        let Some(issued) = issued(&log, ended, tenant, hash)? else {
            return serde_json::from_str(&text).map_err(|_| ActError::Broken);
        };
        let proof = |index| Ok::<_, ActError>(proof_of(&log, index, &checkpoint, &note)?.to_text());
        let growth = since.map(|since| growth_of(&log, since, &checkpoint)).transpose()?;
        let log = logged::InLog { ended: Some(proof(ended)?), issued: proof(issued)?, growth };
        logged::attach(&text, &log).map_err(|_| ActError::Broken)
    })
    .await
}

/// The same of the certificate of a data subject's erasure, which entry `issued` of the log names.
pub(super) async fn with_log_of_subject(
    acts: &HouseActs,
    geo: &'static Geo,
    text: String,
    issued: Option<u64>,
    since: Option<u64>,
) -> Result<serde_json::Value, ActError> {
    let room = room(acts, geo)?;
    let (checkpoint, note) = signed(room).await?;
    let log = room.audit.clone();
    blocking(move || {
        let Some(issued) = issued else { return serde_json::from_str(&text).map_err(|_| ActError::Broken) };
        let proof = |index| Ok::<_, ActError>(proof_of(&log, index, &checkpoint, &note)?.to_text());
        let ended = logged::named(&text).map(|(ended, _)| proof(ended)).transpose()?;
        let growth = since.map(|since| growth_of(&log, since, &checkpoint)).transpose()?;
        let log = logged::InLog { ended, issued: proof(issued)?, growth };
        logged::attach(&text, &log).map_err(|_| ActError::Broken)
    })
    .await
}

/// The entry behind `from` that names a certificate.
fn issued(log: &AuditLog, from: u64, tenant: TenantId, certificate: Hash) -> Result<Option<u64>, ActError> {
    let wanted = Event::CertificateIssued { tenant, certificate };
    find(log, from, |event| *event == wanted)
}

/// The first entry from `from` on that is `wanted`.
fn find(log: &AuditLog, mut from: u64, wanted: impl Fn(&Event) -> bool) -> Result<Option<u64>, ActError> {
    loop {
        let page = log.entries(from, LOOK_STEP).map_err(log_error)?;
        if let Some(entry) = page.iter().find(|entry| entry.event().is_some_and(|event| wanted(&event))) {
            return Ok(Some(entry.index));
        }
        match page.last() {
            Some(last) if page.len() == LOOK_STEP => from = last.index + 1,
            _ => return Ok(None),
        }
    }
}

/// Verifies a certificate by the log's public key, without a server.
pub fn verify_certificate(
    certificate: &[u8],
    log_key: &[u8; 32],
    older: Option<&str>,
) -> Result<VerifiedCertificate, String> {
    let text = std::str::from_utf8(certificate).map_err(|_| CertificateError::Malformed.to_string())?;
    let key = PublicKey(*log_key);
    match logged::verify(text, &key, older) {
        Ok(shown) => Ok(VerifiedCertificate::OfATenant(shown.logged.map(in_log))),
        // Of a tenant, of an epoch's close, or of a data subject's erasure.
        Err(LoggedError::Certificate(error)) => {
            if EpochCertificate::verify(text, &key).is_ok() {
                return Ok(VerifiedCertificate::OfAnEpoch);
            }
            match logged::verify_of_subject(text, &key, older) {
                Ok((_, logged)) => Ok(VerifiedCertificate::OfASubject(logged.map(in_log))),
                Err(LoggedError::Certificate(_)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }
        Err(error) => Err(error.to_string()),
    }
}

fn in_log(at: logged::Place) -> InLog {
    InLog { index: at.index, entries: at.checkpoint.size, since: at.since }
}

/// Writes an exported log into a new directory.
pub fn write_log(dir: &Path, checkpoint: &str, lines: &[String]) -> Result<(), String> {
    tree::write_dir(dir, checkpoint, lines).map_err(|error| error.to_string())
}

/// Verifies an exported log by its public key alone; answers how many entries it has, and their root.
pub fn verify_log(dir: &Path, log_key: &[u8; 32], older: Option<&str>) -> Result<(u64, String), String> {
    let verdict = tree::verify_dir(dir, log_key, older).map_err(|error| error.to_string())?;
    Ok((verdict.checkpoint.size, verdict.checkpoint.root.to_string()))
}

/// Verifies the proof of one entry by the log's public key alone; answers the entry's line.
pub fn verify_proof(proof: &str, log_key: &[u8; 32]) -> Result<String, String> {
    let verified = EntryProof::parse(proof).and_then(|proof| proof.verify(log_key).map(|_| proof.line));
    verified.map_err(|error| error.to_string())
}

/// Verifies that a log goes on from an older checkpoint, by its public key alone; answers both sizes.
pub fn verify_growth(older: &str, newer: &LogGrowth, log_key: &[u8; 32]) -> Result<(u64, u64), String> {
    let checkpoint = Checkpoint::verified(&newer.checkpoint.note, log_key).map_err(|error| error.to_string())?;
    let since = tree::check_growth(older, &checkpoint, log_key, Some(&newer.growth));
    Ok((since.map_err(|error| error.to_string())?, checkpoint.size))
}

/// The first entry in which an exported log differs from `lines`, the log as it is now.
pub fn first_difference(dir: &Path, log_key: &[u8; 32], lines: &[String]) -> Result<Option<u64>, String> {
    let exported = tree::lines_of_dir(dir, log_key).map_err(|error| error.to_string())?;
    let differs = exported.iter().enumerate().find(|(at, line)| lines.get(*at) != Some(line));
    Ok(differs.map(|(at, _)| at as u64))
}

/// One entry, with the words behind its reason while their tenant has keys.
pub(super) async fn show(acts: &HouseActs, geo: &'static Geo, index: u64) -> Result<AuditShown, ActError> {
    let room = room(acts, geo)?;
    let log = room.audit.clone();
    let found = blocking(move || log.entries(index, 1).map_err(log_error)).await?;
    let found = found.first().filter(|entry| entry.index == index);
    let entry = found.ok_or_else(|| ActError::BadQuery("the log has no entry of this index".into()))?;
    let hash = entry.act.get("reason").and_then(|hash| serde_json::from_value::<Hash>(hash.clone()).ok());
    let reason = match (entry.tenant(), hash) {
        (Some(tenant), Some(hash)) => room.directory.words(tenant, &hash.0).await,
        _ => Ok(None),
    };
    let reason = match reason {
        // Suspended or destroyed: the words are as far away as everything else of the tenant.
        Err(DirectoryError::Keys(_)) => None,
        reason => reason.map_err(|error| super::tenants::act_error(error.into()))?,
    };
    let reason_is_gone = hash.is_some() && reason.is_none();
    Ok(AuditShown { entry: super::acts::shown_entry(geo.id, entry)?, reason, reason_is_gone })
}
