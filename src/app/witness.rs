//! The witness of a geo's audit log: opened and asked before the geo is served, told of every checkpoint that leaves, and of
//! the log's state every now and then.

use super::AppError;
use super::house::{GeoRoom, House};
use crate::admin::transparency::Witnessed;
use crate::audit::{Actor, AuditError, AuditLog, Event as Record, WitnessError, WitnessFile};
use crate::model::atlas::Geo;
use crate::seal::KeyClient;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at the log.
const TICK: Duration = Duration::from_secs(10);

/// Opens the witness that the settings name, and holds the log against it. `is_restored`: an operator said that what is there
/// was put back on purpose.
pub(super) async fn open(
    file: Option<&Path>,
    geo: &'static Geo,
    keys: &KeyClient,
    log: &AuditLog,
    is_restored: bool,
) -> Result<Option<Arc<WitnessFile>>, AppError> {
    let Some(file) = file else { return Ok(None) };
    let path = file.with_added_extension(geo.id);
    let wrong = |error| AppError::Witness { geo: geo.id, path: path.clone(), error };
    let witness = WitnessFile::open(&path, geo.id, keys.log_key()).map_err(wrong)?;
    match tokio::task::block_in_place(|| witness.agrees(log)) {
        Err(WitnessError::Older { .. } | WitnessError::Forked(_)) if is_restored => {
            tracing::warn!(geo = geo.id, "accepted: the audit log is not the one that its witness saw");
            witness.set_aside().map_err(wrong)?;
        }
        agrees => agrees.map_err(wrong)?,
    }
    if witness.last().is_none() {
        // A witness that begins where there was one is a gap that the log itself shows.
        log.append(&Actor::part("witness"), Record::WitnessBegun { entries: log.head().entries }).await?;
    }
    Ok(Some(Arc::new(witness)))
}

/// Keeps every witness up with its log.
pub(super) async fn keep(house: Arc<House>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        for room in &house.geos {
            tell(room).await;
        }
    }
}

/// Tells a witness of the log as it is now. What goes wrong is logged: whoever asks for evidence meanwhile is refused.
pub(super) async fn tell(room: &GeoRoom) {
    let seen = room.witness.as_ref().map(|witness| witness.last().map_or(0, |last| last.size));
    if seen.is_none_or(|seen| seen == room.audit.head().entries) {
        return;
    }
    // It is told of every checkpoint that is signed.
    if let Err(error) = super::transparency::signed(room).await {
        tracing::error!(geo = room.geo.id, ?error, "the audit log's witness could not be told");
    }
}

/// What those who remember the log on their own say of it as it is now. Blocks.
pub(super) fn words(
    keys: &KeyClient,
    log: &AuditLog,
    file: Option<&WitnessFile>,
) -> Result<Vec<Witnessed>, AuditError> {
    let mut words = Vec::new();
    // Asked first: what it has seen the log has.
    if let Ok(Some(head)) = keys.audit_head() {
        let newest = log.entries(head.counter.saturating_sub(1), 1)?;
        let agrees = head.counter == 0 || newest.first().is_some_and(|entry| entry.hash.0 == head.digest);
        words.push(Witnessed { by: "key-service".into(), entries: head.counter, agrees });
    }
    if let Some(file) = file {
        let entries = file.last().map_or(0, |last| last.size);
        words.push(Witnessed { by: "witness-file".into(), entries, agrees: file.agrees(log).is_ok() });
    }
    Ok(words)
}
