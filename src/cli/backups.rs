//! `geoseal backup …`

use super::Wiring;
use super::args::Backup as Command;
use super::client::Client;
use super::failure::Failure;
use super::print::{Output, table};
use super::records::public;
use super::work::work_on;
use crate::admin::backups::{Backup, Backups, CreateBackup};
use std::path::Path;

/// Runs one command that asks the server.
pub(super) async fn backup(client: &Client, output: Output, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { out, link, long } => {
            let out = std::path::absolute(&out).map_err(|e| super::files::failed(&out, &e))?;
            work_on(client, output, &["backups"], &CreateBackup { out, link }, long).await
        }
        Command::List => {
            let all: Backups = client.get(&["backups"], &[]).await?;
            output.result(&all, |all| {
                let row = |b: &crate::admin::backups::KnownBackup| {
                    [b.id.clone(), b.geo.clone(), b.at.0.to_string(), b.master.clone()]
                };
                table(["backup", "geo", "at", "master key"], all.backups.iter().map(row))
            })
        }
        Command::Restore { .. } => unreachable!("needs no server: `command` takes it itself"),
    }
}

/// Puts a backup back, without a server; without a `to`, checks it.
pub(super) fn restore(
    wiring: &dyn Wiring,
    output: Output,
    from: &Path,
    to: Option<&Path>,
    log_key: Option<String>,
) -> Result<(), Failure> {
    let log_key = log_key.map(|given| public(&given)).transpose()?;
    let restored = wiring.restore_backup(from, to, log_key.as_ref()).map_err(Failure::Failed)?;
    output.result(&restored, |all| {
        let of_geo = |geo: &super::RestoredGeo| {
            let super::RestoredGeo { backup, geo, at, rows, blobs, log_key, not_in_it } = geo;
            let besides = not_in_it.join("\n  - ");
            let whole =
                format!("{geo}: backup {backup} of {at}: {rows} rows, {blobs} blobs; signed by log key {log_key}");
            if to.is_none() {
                return format!("{whole}; whole and unaltered");
            }
            format!(
                "{whole}\n\
                 not in it, to be put beside it before the start:\n  - {besides}\n\
                 then: geoseal serve --config FILE --accept-restore {geo} --reason TEXT"
            )
        };
        all.iter().map(of_geo).collect::<Vec<_>>().join("\n")
    })
}

/// What was made, in a sentence.
pub(super) fn shown(b: &Backup) -> String {
    let Backup { id, at, rows, blobs, bytes, .. } = b;
    format!(
        "backup {id} of {}: {rows} rows, {blobs} blobs, {bytes} bytes; master keys are not in it: keep the keyring, its \
         witness and the shred log elsewhere",
        at.0
    )
}
