//! `geoseal key epoch …`

use super::args::Epoch as Command;
use super::client::{Client, How};
use super::failure::Failure;
use super::print::{Output, table};
use super::tenants::show;
use super::work::work_on;
use crate::admin::epochs::{CloseEpoch, Epoch, EpochState, Epochs};
use crate::admin::wire::Nothing;
use serde_json::Value;

/// Runs one command.
pub(super) async fn epoch(client: &Client, output: Output, command: Command) -> Result<(), Failure> {
    match command {
        Command::Close { geo, no_soak, long } => {
            work_on(client, output, &["keys", "epoch", &geo, "close"], &CloseEpoch { no_soak }, long).await
        }
        Command::Abort { geo, rehearse } => {
            let how = How { dry_run: rehearse.dry_run, revision: None };
            show(output, client.post(&["keys", "epoch", &geo, "abort"], &Nothing {}, how).await?, shown)
        }
        Command::Status { geo } => {
            let all: Epochs = client.get(&["keys", "epoch", &geo], &[]).await?;
            output.result(&all, |all| {
                let row = |e: &Epoch| {
                    let masters: Vec<_> = e.masters.iter().map(|master| master.id.clone()).collect();
                    let end = e.closed_at.or(e.soaked_at).map_or(String::new(), |at| at.0.to_string());
                    [e.number.to_string(), state(e.state).into(), e.shreds.to_string(), end, masters.join(" ")]
                };
                table(["epoch", "state", "destroyed", "closed or due", "master keys gone"], all.epochs.iter().map(row))
            })
        }
        Command::Certificate { geo, number } => {
            let number = number.to_string();
            let certificate: Value = client.get(&["keys", "epoch", &geo, &number, "certificate"], &[]).await?;
            Output::Programs.result(&certificate, |_| String::new())
        }
    }
}

/// What became of a close, in a sentence.
pub(super) fn shown(e: &Epoch) -> String {
    let Epoch { number, shreds, records, .. } = e;
    let what = format!("epoch {number}: {shreds} destroyed since the one before; {records} wrapped keys live on");
    match (e.closed_at, e.soaked_at) {
        (Some(at), _) => format!("{what}; closed {}; {} master keys gone", at.0, e.masters.len()),
        (None, Some(at)) => format!("{what}; older master keys are disabled and go at the first sweep after {}", at.0),
        (None, None) => format!("{what}; {}", state(e.state)),
    }
}

fn state(state: EpochState) -> &'static str {
    match state {
        EpochState::Wrapping => "wrapping",
        EpochState::Soaking => "soaking",
        EpochState::Destroying => "destroying",
        EpochState::Closed => "closed",
    }
}
