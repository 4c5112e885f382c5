//! `geoseal hold …`: legal holds.

use super::args::Hold as Command;
use super::client::Client;
use super::dsr::subject as one_line;
use super::failure::Failure;
use super::print::{Output, count, counted, record, table};
use super::tenants::{rehearsed, show};
use crate::admin::holds::{DeferredAct, Hold, HoldState, Holds, PlaceHold};
use crate::admin::wire::Nothing;
use std::path::PathBuf;

/// Runs one command.
pub(super) async fn hold(client: &Client, output: Output, command: Command) -> Result<(), Failure> {
    match command {
        Command::Place {
            id,
            tenant,
            scope,
            scope_file,
            matter,
            matter_file,
            reason,
            reason_file,
            prospective,
            rehearse,
        } => {
            let needed =
                |given: Option<String>| given.ok_or_else(|| Failure::Usage("give the scope and the matter".into()));
            let (scope, matter) = (needed(given(scope, scope_file)?)?, needed(given(matter, matter_file)?)?);
            let reason = given(reason, reason_file)?;
            let body = PlaceHold { id, tenant, scope, matter, prospective, reason };
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
                    let covers = h.covered_objects.map_or(String::new(), count);
                    let waits = h.deferred.iter().map(act).collect::<Vec<_>>().join(", ");
                    let state = h.state.as_str().to_owned();
                    [h.id.clone(), state, scope, covers, waits, h.matter.clone(), by, h.tenant.to_string()]
                };
                let header = ["hold", "state", "scope", "covers", "waiting", "matter", "placed by", "tenant"];
                table(header, all.holds.iter().map(row))
            })
        }
        Command::Show { id } => {
            let hold: Hold = client.get(&["holds", &id], &[]).await?;
            output.result(&hold, shown)
        }
    }
}

/// What an argument says, or the one line of a file; neither: `None`.
fn given(text: Option<String>, file: Option<PathBuf>) -> Result<Option<String>, Failure> {
    match (text, file) {
        (Some(text), _) => Ok(Some(text)),
        (None, Some(file)) => one_line(&file).map(Some),
        (None, None) => Ok(None),
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
        HoldState::Released if h.deferred.is_empty() => format!("{id} released; no deferred act resumes"),
        HoldState::Released => {
            let acts: Vec<_> = h.deferred.iter().map(act).collect();
            let resume = if acts.len() == 1 { "act resumes" } else { "acts resume" };
            format!("{id} released; {} deferred {resume}: {}", acts.len(), acts.join(", "))
        }
    }
}

fn act(a: &DeferredAct) -> String {
    match (a.kind.as_str(), a.objects) {
        ("purge-tenant", _) => "tenant purge".into(),
        (_, objects) => format!("{} ({})", a.label, counted(objects, "object")),
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
        ("reason", h.reason.clone()),
        ("prospective", Some(if h.prospective { "yes" } else { "no" }.into())),
        ("placed", Some(format!("{} by {}", h.placed_at.0, h.placed_by))),
        ("approved", h.approved_at.zip(h.approved_by.as_ref()).map(|(at, by)| format!("{} by {by}", at.0))),
        ("release asked by", h.release_asked_by.clone()),
        ("covers", h.covered_objects.map(|objects| counted(objects, "object"))),
        ("waits for its release", (!deferred.is_empty()).then(|| deferred.join(", "))),
    ])
}
