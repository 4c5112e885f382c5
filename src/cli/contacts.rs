//! `geoseal contact …`: who wants nothing more to be collected. A contact's id is read from a file or from standard input,
//! never taken as an argument, and is in nothing that is printed.

use super::args::{Contact, ContactKind, Long, Rehearse, Whom};
use super::client::{Client, How, Reply};
use super::dsr::subject;
use super::failure::Failure;
use super::print::{Output, ask, note};
use super::tenants::{rehearsed, show};
use super::work::see_through;
use crate::admin::contacts::{Follow, Kind, Standing, Whom as Asked};
use crate::admin::wire::{EraseSubject, Operation, Plan};

/// Runs one command.
pub(super) async fn contact(client: &Client, output: Output, command: Contact) -> Result<(), Failure> {
    let (whom, rehearse, follow) = match command {
        Contact::OptOut { whom, erase_history: true, basis, confirm, long } => {
            return forget(client, output, (whom, basis, confirm), long).await;
        }
        Contact::OptOut { whom, long, .. } => (whom, Rehearse { dry_run: long.dry_run }, false),
        Contact::OptIn { whom, rehearse } => (whom, rehearse, true),
        Contact::Show { whom } => {
            let (contact, kind) = (subject(&whom.contact_file)?, kind(&whom));
            let path = ["tenants", &whom.tenant, "contacts", "show"];
            let how = How { dry_run: false, revision: None };
            let reply: Reply<Standing> = client.post(&path, &Asked { contact, kind }, how).await?;
            return show(output, reply, said);
        }
    };
    let body = Follow { contact: subject(&whom.contact_file)?, kind: kind(&whom), follow };
    let path = ["tenants", &whom.tenant, "contacts", "follow"];
    let reply: Reply<Standing> = client.put(&path, &body, rehearsed(rehearse)).await?;
    show(output, reply, said)
}

/// Opts somebody out, and then enters a request for their erasure and carries it out: two acts, each on record.
async fn forget(
    client: &Client,
    output: Output,
    (whom, basis, confirm): (Whom, Option<String>, Option<String>),
    long: Long,
) -> Result<(), Failure> {
    let question =
        format!("This erases somebody's history at {} for good. The tenant's name, to confirm:", whom.tenant);
    let confirm = confirm.or_else(|| if long.dry_run { None } else { ask(&question) });
    if confirm.is_none() && !long.dry_run {
        return Err(Failure::Usage("this erases for good: give the tenant's name with --confirm".into()));
    }
    let (contact, kind) = (subject(&whom.contact_file)?, kind(&whom));
    let subject = format!("{}:{contact}", if kind == Kind::Lead { "lead" } else { "contact" });
    let how = How { dry_run: long.dry_run, revision: None };
    let (follow, erase) = (["tenants", &whom.tenant, "contacts", "follow"], ["tenants", &whom.tenant, "dsrs", "erase"]);
    let opted_out: Reply<Standing> = client.put(&follow, &Follow { contact, kind, follow: false }, how).await?;
    let asked = EraseSubject { subject, basis, block_reingest: Some(true), confirm };
    match (opted_out, client.post(&erase, &asked, how).await?) {
        (Reply::Done(standing), Reply::Done(begun)) => {
            note(&said(&standing));
            see_through(client, output, begun, long).await
        }
        (Reply::Planned(first), Reply::Planned(plan)) => {
            let steps = first.steps.into_iter().chain(plan.steps).collect();
            show(output, Reply::<Operation>::Planned(Plan { steps, ..plan }), |_| String::new())
        }
        _ => Err(Failure::Failed("one of the two answers is no plan".into())),
    }
}

fn kind(whom: &Whom) -> Kind {
    match whom.kind {
        ContactKind::Contact => Kind::Contact,
        ContactKind::Lead => Kind::Lead,
    }
}

/// How somebody stands, in a sentence.
fn said(s: &Standing) -> String {
    let told = [
        s.opted_out_at.map(|at| format!("opted out since {}", at.0)),
        s.restricted_at.map(|at| format!("restricted since {}", at.0)),
        s.erased_at.map(|at| format!("erased {}, not to be stored again", at.0)),
    ];
    let told: Vec<_> = told.into_iter().flatten().collect();
    let told = if told.is_empty() { "nothing stands against collecting".to_owned() } else { told.join("; ") };
    format!("{told}; effective {} in {}", s.effective_at.0, s.scope.join(", "))
}
