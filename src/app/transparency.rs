//! The audit log as a transparency log, between the admin face, the log and the key that signs it; and the checks that need
//! no server.

use super::acts::{HouseActs, log_error};
use super::house::GeoRoom;
use crate::admin::error::ActError;
use crate::admin::transparency::{LogCheckpoint, LogLines, LogProof};
use crate::audit::tree::{self, Checkpoint, EntryProof};
use crate::model::atlas::Geo;
use std::path::Path;

fn room<'a>(acts: &'a HouseActs, geo: &'static Geo) -> Result<&'a GeoRoom, ActError> {
    acts.rooms(Some(geo))?.first().copied().ok_or(ActError::GeoNotServed)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActError> + Send + 'static,
) -> Result<T, ActError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ActError::Broken)?
}

/// The log as it is now, signed: with its text and its note.
async fn signed(room: &GeoRoom) -> Result<(Checkpoint, String), ActError> {
    let (log, keys) = (room.audit.clone(), room.keys.clone());
    blocking(move || {
        let checkpoint = log.checkpoint().map_err(log_error)?;
        let (log_key, text) = (keys.log_key(), checkpoint.text(&keys.log_key()));
        let signature = keys.sign(text.as_bytes()).map_err(|error| super::tenants::act_error(error.into()))?;
        Ok((checkpoint, tree::assemble(&text, &log_key, &signature)))
    })
    .await
}

pub(super) async fn checkpoint(acts: &HouseActs, geo: &'static Geo) -> Result<LogCheckpoint, ActError> {
    let room = room(acts, geo)?;
    let (Checkpoint { size, root, .. }, note) = signed(room).await?;
    let verifier_key = tree::verifier_key(geo.id, &room.keys.log_key());
    Ok(LogCheckpoint { geo: geo.id.into(), size, root: root.to_string(), note, verifier_key })
}

pub(super) async fn lines(acts: &HouseActs, geo: &'static Geo, from: u64, limit: usize) -> Result<LogLines, ActError> {
    let log = room(acts, geo)?.audit.clone();
    blocking(move || Ok(LogLines { lines: log.lines(from, limit).map_err(log_error)? })).await
}

pub(super) async fn proof(acts: &HouseActs, geo: &'static Geo, index: u64) -> Result<LogProof, ActError> {
    let room = room(acts, geo)?;
    let (checkpoint, note) = signed(room).await?;
    let log = room.audit.clone();
    let found = blocking(move || log.prove(index, checkpoint.size).map_err(log_error)).await?;
    let (line, hashes) = found.ok_or_else(|| {
        ActError::BadQuery(format!("`index` counts from 0, and the log has {} entries", checkpoint.size))
    })?;
    let proof = EntryProof { index, line, hashes, checkpoint: note };
    Ok(LogProof { geo: geo.id.into(), index, proof: proof.to_text() })
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
