//! Backups, between the admin face, the command line and the conductor.

use super::AppError;
use super::acts::HouseActs;
use super::tenants::{act_error, actor};
use crate::admin::acts::{Mode, Order, Outcome};
use crate::admin::backups::{Backup, CreateBackup, KnownBackup};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::backup::{self, BackupError, GeoSource, LOG_KEY_BYTES, Restored, Source};
use crate::model::time::Millis;
use std::path::Path;
use std::sync::Arc;

pub(super) async fn create(
    acts: &HouseActs,
    order: &Order,
    new: &CreateBackup,
) -> Result<Outcome<wire::Operation>, ActError> {
    let out = new.out.clone();
    if out.starts_with(&acts.house.data_dir) {
        return Err(ActError::BadPlace("it lies in the data directory"));
    }
    if std::fs::read_dir(&out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ActError::BadPlace("it is not empty"));
    }
    if order.mode == Mode::Plan {
        let steps = vec![
            "hold back deletes of blobs; pause commits for a moment and take snapshots of every index".to_owned(),
            "copy the key store (wrapped), sealed rows, blobs, the audit log and certificates; no master key"
                .to_owned(),
            "list every file with its SHA-256, signed by the log key".to_owned(),
        ];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let house = acts.house.clone();
    let geos = house.geos.iter().map(|room| GeoSource {
        directory: room.directory.clone(),
        audit: room.audit.clone(),
        audit_dir: room.audit_dir.clone(),
        certificates: room.certificates.clone(),
        regions: house.regions.values().filter(|roots| room.geo.regions.contains(roots.region)).cloned().collect(),
    });
    let source = Source {
        geos: geos.collect(),
        files: ["clock", "clock.machine"].map(|name| house.data_dir.join(name)).to_vec(),
        clock: house.clock.clone(),
        link: new.link,
    };
    let (sweeper, by, now) = (acts.sweeper.clone(), actor(order), house.clock.now().wall);
    let operation = acts.operations.start("backup", "", now, |progress| async move {
        let _no_sweep = sweeper.pause().await;
        let told = Arc::new(progress);
        let made = backup::create(source, &out, &by, move |phase, done| {
            told.phase(phase, 0);
            told.done(done);
        });
        let made = made.await.map_err(failed)?;
        Ok(wire::OperationResult::Backup(Backup {
            id: made.id,
            at: wire::Time(made.at),
            rows: made.rows,
            blobs: made.blobs,
            bytes: made.bytes,
            manifest_sha256: made.manifest.to_string(),
        }))
    });
    Ok(Outcome::Done(operation))
}

fn failed(error: BackupError) -> ActError {
    tracing::error!(%error, "a backup was not made");
    match error {
        BackupError::Place { why, .. } => ActError::BadPlace(why),
        BackupError::Disk { .. } => ActError::BadPlace("the server cannot write there; its log says why"),
        BackupError::Unquiet => ActError::Busy,
        BackupError::Keys(_) => ActError::Unavailable("the key service"),
        BackupError::Audit(error) => super::acts::log_error(error),
        BackupError::Unfit { .. }
        | BackupError::Engine(_)
        | BackupError::Index(_)
        | BackupError::Blob(_)
        | BackupError::Worker => ActError::Broken,
    }
}

pub(super) async fn list(acts: &HouseActs) -> Result<Vec<KnownBackup>, ActError> {
    let mut all = Vec::new();
    for room in &acts.house.geos {
        for note in room.keys.backups().map_err(|error| act_error(error.into()))? {
            all.push(KnownBackup {
                id: note.id,
                geo: room.geo.id.into(),
                at: wire::Time(Millis::from_seconds(note.at)),
                master: format!("mk/{}/{}", room.geo.id, note.master),
            });
        }
    }
    all.sort_by_key(|backup| backup.at.0);
    Ok(all)
}

/// Puts a backup back into an empty data directory, without a server; without a directory only checks it.
pub fn restore_backup(
    from: &Path,
    to: Option<&Path>,
    log_key: Option<&[u8; LOG_KEY_BYTES]>,
) -> Result<Vec<Restored>, AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AppError::Disk { path: "threads".into(), error })?;
    runtime.block_on(backup::restore(from, to, log_key)).map_err(|error| AppError::Restore(error.to_string()))
}
