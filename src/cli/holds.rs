//! `geoseal hold …`: legal holds.

use super::args::Hold as Command;
use super::client::Client;
use super::dsr::subject as one_line;
use super::failure::Failure;
use super::print::{Output, record, table};
use super::tenants::{rehearsed, show};
use crate::admin::holds::{DeferredAct, Hold, HoldState, Holds, PlaceHold};
use crate::admin::wire::Nothing;
use std::path::PathBuf;

/// Runs one command.
pub(super) async fn hold(client: &Client, output: Output, command: Command) -> Result<(), Failure> {
    match command {
        Command::Place { id, tenant, scope, scope_file, matter, matter_file, prospective, rehearse } => {
            let (scope, matter) = (given(scope, scope_file)?, given(matter, matter_file)?);
            let body = PlaceHold { id, tenant, scope, matter, prospective };
            show(output, client.post(&["holds"], &body, rehearsed(rehearse)).await?, said)
        }
        Command::Approve { id, rehearse } => {
            show(output, client.post(&["holds", &id, "approve"], &Nothing {}, rehearsed(rehearse)).await?, said)
        }
        Command::Release { id, rehearse } => {
            show(output, client.post(&["holds", &id, "release"], &Nothing {}, rehearsed(rehearse)).await?, said)
        }
        Command::List { tenant } => {
            let query: Vec<_> = tenant.into_iter().map(|tenant| ("tenant", tenant)).collect();
            let all: Holds = client.get(&["holds"], &query).await?;
            output.result(&all, |all| {
                let row = |h: &Hold| {
                    let (scope, by) = (h.scope.clone(), h.placed_by.clone());
                    [h.id.clone(), h.state.as_str().into(), scope, h.matter.clone(), by, h.tenant.to_string()]
                };
                table(["hold", "state", "scope", "matter", "placed by", "tenant"], all.holds.iter().map(row))
            })
        }
        Command::Show { id } => {
            let hold: Hold = client.get(&["holds", &id], &[]).await?;
            output.result(&hold, shown)
        }
    }
}

/// What an argument says, or the one line of a file.
fn given(text: Option<String>, file: Option<PathBuf>) -> Result<String, Failure> {
    match (text, file) {
        (Some(text), _) => Ok(text),
        (None, Some(file)) => one_line(&file),
        (None, None) => Err(Failure::Usage("give the scope and the matter".into())),
    }
}

/// What became of it, in a sentence.
fn said(h: &Hold) -> String {
    let id = &h.id;
    match h.state {
        HoldState::PendingApproval => {
            format!("{id} pending_approval: another administrator approves it with `hold approve`")
        }
        HoldState::InForce => format!("{id} in_force"),
        HoldState::ReleaseAsked => {
            format!("{id} release_asked: another administrator agrees with `hold release` within a day")
        }
        HoldState::Released if h.deferred.is_empty() => format!("{id} released; nothing waited for it"),
        HoldState::Released => {
            let acts: Vec<_> = h.deferred.iter().map(act).collect();
            format!("{id} released; {} deferred acts resume: {}", acts.len(), acts.join(", "))
        }
    }
}

fn act(a: &DeferredAct) -> String {
    match (a.kind.as_str(), a.objects) {
        ("purge-tenant", _) => "tenant purge".into(),
        (_, objects) => format!("{} ({objects} objects)", a.label),
    }
}

fn shown(h: &Hold) -> String {
    let deferred: Vec<_> = h.deferred.iter().map(act).collect();
    record(&[
        ("hold", Some(h.id.clone())),
        ("state", Some(h.state.as_str().into())),
        ("tenant", Some(h.tenant.to_string())),
        ("scope", Some(h.scope.clone())),
        ("matter", Some(h.matter.clone())),
        ("prospective", Some(if h.prospective { "yes" } else { "no" }.into())),
        ("placed", Some(format!("{} by {}", h.placed_at.0, h.placed_by))),
        ("approved", h.approved_at.zip(h.approved_by.as_ref()).map(|(at, by)| format!("{} by {by}", at.0))),
        ("release asked by", h.release_asked_by.clone()),
        ("covers", h.covered_objects.map(|objects| format!("{objects} objects"))),
        ("waits for its release", (!deferred.is_empty()).then(|| deferred.join(", "))),
    ])
}
