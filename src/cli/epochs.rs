//! `geoseal key epoch …`

use super::args::{Epoch as Command, Long};
use super::client::{Client, How, Reply};
use super::failure::Failure;
use super::print::{Output, table};
use super::tenants::show;
use super::work::see_through;
use crate::admin::epochs::{CloseEpoch, Closing, Epoch, EpochState, Epochs};
use crate::admin::wire::Nothing;
use serde_json::Value;

/// Runs one command.
pub(super) async fn epoch(client: &Client, output: Output, command: Command) -> Result<(), Failure> {
    match command {
        Command::Close { geo, no_soak, long } => close(client, output, &geo, no_soak, long).await,
        Command::Abort { geo, rehearse } => {
            let how = How { dry_run: rehearse.dry_run, revision: None };
            show(output, client.post(&["keys", "epoch", &geo, "abort"], &Nothing {}, how).await?, shown)
        }
        Command::Status { geo } => {
            let all: Epochs = client.get(&["keys", "epoch", &geo], &[]).await?;
            output.result(&all, |all| {
                let next = match (all.next_due_at, all.every_days) {
                    (Some(at), Some(days)) => format!("next close due {}, every {days} days", at.0),
                    _ => "closes begin only when somebody asks".to_owned(),
                };
                let row = |e: &Epoch| {
                    let masters: Vec<_> = e.masters.iter().map(|master| master.id.clone()).collect();
                    let end = e.closed_at.or(e.soaked_at).map_or(String::new(), |at| at.0.to_string());
                    [e.number.to_string(), state(e.state).into(), e.shreds.to_string(), end, masters.join(" ")]
                };
                let heads = ["epoch", "state", "destroyed", "closed or due", "master keys gone"];
                format!("{}\n{next}", table(heads, all.epochs.iter().map(row)))
            })
        }
        Command::Certificate { geo, number } => {
            let number = number.to_string();
            let certificate: Value = client.get(&["keys", "epoch", &geo, &number, "certificate"], &[]).await?;
            Output::Programs.result(&certificate, |_| String::new())
        }
    }
}

async fn close(client: &Client, output: Output, geo: &str, no_soak: bool, long: Long) -> Result<(), Failure> {
    let how = How { dry_run: long.dry_run, revision: None };
    match client.post(&["keys", "epoch", geo, "close"], &CloseEpoch { no_soak }, how).await? {
        Reply::Done(Closing::Begun(operation)) => see_through(client, output, *operation, long).await,
        reply => show(output, reply, |closing: &Closing| match closing {
            Closing::Proposed { proposed } => {
                format!("{proposed}: proposed. Another administrator has to ask for the same within a day")
            }
            Closing::Begun(operation) => operation.id.clone(),
        }),
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
