//! `geoseal contact …`: who wants nothing more to be collected. A contact's id is read from a file or from standard input,
//! never taken as an argument, and is in nothing that is printed.

use super::args::{Contact, ContactKind, Whom};
use super::client::{Client, How, Reply};
use super::dsr::subject;
use super::failure::Failure;
use super::print::Output;
use super::tenants::{rehearsed, show};
use crate::admin::contacts::{Follow, Kind, Standing, Whom as Asked};

/// Runs one command.
pub(super) async fn contact(client: &Client, output: Output, command: Contact) -> Result<(), Failure> {
    let (whom, rehearse, follow) = match command {
        Contact::OptOut { whom, rehearse } => (whom, rehearse, false),
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
