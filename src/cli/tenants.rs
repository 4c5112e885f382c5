//! `geoseal tenant …` and `geoseal credential …`.

use super::args::{Credential, Rehearse, Replication, Role, Tenant};
use super::client::{Client, How, Reply};
use super::failure::Failure;
use super::files::{Readers, failed, write_new};
use super::print::{Output, ask, record, table};
use crate::admin::quotas::{Quota, SetQuota};
use crate::admin::wire;
use ring::digest::{SHA256, digest};
use std::path::Path;

/// Tenants of one page.
const PAGE: usize = 200;

/// Runs one command.
pub(super) async fn tenant(client: &Client, output: Output, command: Tenant) -> Result<(), Failure> {
    match command {
        Tenant::Create { name, geo, home, replication, consent, contact, rehearse } => {
            let replication = match replication {
                Replication::None => wire::Replication::None,
                Replication::Geo => wire::Replication::Geo,
            };
            let consent = consent.as_deref().map(consented).transpose()?;
            let body = wire::CreateTenant { name, geo, home, replication, consent, contact };
            let reply = client.post(&["tenants"], &body, rehearsed(rehearse)).await?;
            show(output, reply, created)
        }
        Tenant::Show { tenant } => {
            let tenant: wire::Tenant = client.get(&["tenants", &tenant], &[]).await?;
            output.result(&tenant, shown)
        }
        Tenant::List => list(client, output).await,
        Tenant::Quota { tenant, bytes, objects, rehearse } => {
            let body = SetQuota { bytes: bytes.0, objects: objects.0 };
            let reply: Reply<Quota> = client.put(&["tenants", &tenant, "quota"], &body, rehearsed(rehearse)).await?;
            show(output, reply, |quota| format!("{tenant} quota {}", used(quota)))
        }
        Tenant::Disable { tenant, reason, rehearse } => {
            change(client, output, &tenant, "disable", &wire::Disable { reason }, rehearse).await
        }
        Tenant::Enable { tenant, consent, rehearse } => {
            let body = wire::Enable { consent: consent.as_deref().map(consented).transpose()? };
            change(client, output, &tenant, "enable", &body, rehearse).await
        }
        Tenant::Terminate { tenant, reason, confirm, rehearse } => {
            terminate(client, output, &tenant, reason, confirm, rehearse).await
        }
        Tenant::PurgeEarly { tenant, reason_file, confirm, rehearse } => {
            purge_early(client, output, &tenant, &reason_file, confirm, rehearse).await
        }
        Tenant::CancelEarly { tenant, rehearse } => {
            change(client, output, &tenant, "cancel-early", &wire::CancelEarly {}, rehearse).await
        }
        Tenant::Reinstate { tenant, consent, rehearse } => {
            let body = wire::Reinstate { consent: Some(consented(&consent)?) };
            change(client, output, &tenant, "reinstate", &body, rehearse).await
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let mut all = wire::Tenants { tenants: vec![], next: None };
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(all.next.map(|after| ("after", after.to_string())));
        let page: wire::Tenants = client.get(&["tenants"], &query).await?;
        all.tenants.extend(page.tenants);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    output.result(&all, |all| {
        let row = |t: &wire::Tenant| {
            let due = t.purge_due_at.map_or(String::new(), |due| due.0.to_string());
            [
                t.name.clone().unwrap_or_default(),
                t.state.as_str().into(),
                t.geo.clone(),
                t.home.clone(),
                due,
                t.id.to_string(),
            ]
        };
        table(["name", "state", "geo", "home", "purge due", "id"], all.tenants.iter().map(row))
    })
}

/// Changes a tenant's state as it was when this command looked: a change in between is refused by the server.
async fn change(
    client: &Client,
    output: Output,
    tenant: &str,
    verb: &str,
    body: &impl serde::Serialize,
    rehearse: Rehearse,
) -> Result<(), Failure> {
    let before: wire::Tenant = client.get(&["tenants", tenant], &[]).await?;
    let how = How { revision: Some(before.revision), ..rehearsed(rehearse) };
    let reply = client.post(&["tenants", tenant, verb], body, how).await?;
    show(output, reply, |after: &wire::Tenant| {
        let unchanged = if after.revision == before.revision { " (no change)" } else { "" };
        format!("{} {}{unchanged}", name(after), after.state.as_str())
    })
}

async fn terminate(
    client: &Client,
    output: Output,
    tenant: &str,
    reason: String,
    confirm: Option<String>,
    rehearse: Rehearse,
) -> Result<(), Failure> {
    let before: wire::Tenant = client.get(&["tenants", tenant], &[]).await?;
    let asked = || ask(&format!("This ends {tenant}: in 90 days it is destroyed. Its name, to confirm:"));
    // A rehearsal changes nothing, so it needs no confirmation; the server is given the name it expects.
    let confirm = confirm.or_else(|| if rehearse.dry_run { before.name.clone() } else { asked() });
    let confirm = confirm.ok_or_else(|| Failure::Usage("this ends a tenant: give its name with --confirm".into()))?;
    let how = How { revision: Some(before.revision), ..rehearsed(rehearse) };
    let body = wire::Terminate { reason, confirm };
    let reply = client.post(&["tenants", tenant, "terminate"], &body, how).await?;
    show(output, reply, |after: &wire::Tenant| {
        let at = after.terminated_at.map_or(String::new(), |t| format!(" {}", t.0));
        let due = after.purge_due_at.map_or(String::new(), |t| format!("; purge due {}", t.0));
        let left = after.days_left.map_or(String::new(), |d| format!(" ({d} d)"));
        let unchanged = if after.revision == before.revision { "; no change" } else { "" };
        let export = format!("; export: geoseal export --tenant {} --out DIR --key-file FILE", name(after));
        format!("{} {}{at}; read-only{due}{left}{unchanged}{export}", name(after), after.state.as_str())
    })
}

async fn purge_early(
    client: &Client,
    output: Output,
    tenant: &str,
    reason_file: &Path,
    confirm: Option<String>,
    rehearse: Rehearse,
) -> Result<(), Failure> {
    let reason = std::fs::read_to_string(reason_file)
        .map_err(|error| Failure::Usage(format!("{}: {error}", reason_file.display())))?;
    let reason = reason.trim().to_owned();
    let asked = || ask(&format!("This destroys {tenant} for good in 72 hours. Its name, to confirm:"));
    let confirm = confirm.or_else(|| if rehearse.dry_run { None } else { asked() });
    if confirm.is_none() && !rehearse.dry_run {
        return Err(Failure::Usage("this destroys a tenant: give its name with --confirm".into()));
    }
    let body = wire::PurgeEarly { reason, confirm };
    let reply = client.post(&["tenants", tenant, "purge-early"], &body, rehearsed(rehearse)).await?;
    show(output, reply, |done: &wire::EarlyPurging| match done {
        wire::EarlyPurging::Proposed { until } => {
            format!("entered; another administrator has to approve the same by {}", until.0)
        }
        wire::EarlyPurging::Approved(after) => {
            let due = after.purge_due_at.map_or(String::new(), |due| format!("; to be destroyed from {}", due.0));
            format!("{} {}{due}; until then: tenant cancel-early", name(after), after.state.as_str())
        }
    })
}

/// Runs one command.
pub(super) async fn credential(client: &Client, output: Output, command: Credential) -> Result<(), Failure> {
    match command {
        Credential::Create { tenant, role, out, rehearse } => {
            let role = match role {
                Role::ReadOnly => wire::CredentialRole::ReadOnly,
                Role::Service => wire::CredentialRole::Service,
                Role::Delete => wire::CredentialRole::Delete,
            };
            if let Some(out) = out.as_deref().filter(|out| out.exists()) {
                return Err(Failure::Usage(format!("{} exists: it is not overwritten", out.display())));
            }
            let body = wire::CreateCredential { role };
            let reply = client.post(&["tenants", &tenant, "credentials"], &body, rehearsed(rehearse)).await?;
            match (reply, out) {
                (Reply::Done(made), Some(out)) => kept(output, &made, &out),
                (reply, _) => show(output, reply, |made: &wire::NewCredential| {
                    format!("{}\nThe secret is shown this once.", login(made))
                }),
            }
        }
        Credential::List { tenant } => {
            let all: wire::Credentials = client.get(&["tenants", &tenant, "credentials"], &[]).await?;
            output.result(&all, |all| {
                let row = |c: &wire::Credential| {
                    let revoked = c.revoked_at.map_or(String::new(), |t| t.0.to_string());
                    [c.access_id.clone(), role(c.role).into(), c.created_at.0.to_string(), revoked]
                };
                table(["login", "role", "created", "revoked"], all.credentials.iter().map(row))
            })
        }
        Credential::Revoke { login, tenant, yes, rehearse } => {
            let agreed = || ask(&format!("Revoke {login} of {tenant} at once? (yes)")).map(|a| a == "yes");
            match if yes || rehearse.dry_run { Some(true) } else { agreed() } {
                Some(true) => {}
                Some(false) => return Err(Failure::Usage("not revoked".into())),
                None => return Err(Failure::Usage("a revoked login does not come back: give --yes".into())),
            }
            let path = ["tenants", &tenant, "credentials", &login, "revoke"];
            let reply = client.post(&path, &wire::Nothing {}, rehearsed(rehearse)).await?;
            show(output, reply, |c: &wire::Credential| format!("{} revoked", c.access_id))
        }
    }
}

/// Writes a login to a file of its owner's instead of printing it.
fn kept(output: Output, made: &wire::NewCredential, out: &Path) -> Result<(), Failure> {
    write_new(out, format!("{}\n", login(made)).as_bytes(), Readers::Owner)?;
    let shown =
        serde_json::json!({ "access_id": made.access_id, "role": made.role, "region": made.region, "file": out });
    output.result(&shown, |_| format!("{} written to {}", made.access_id, out.display()))
}

/// Prints what was done, or the plan of a rehearsal.
pub(super) fn show<T: serde::Serialize>(
    output: Output,
    reply: Reply<T>,
    people: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match reply {
        Reply::Done(done) => output.result(&done, people),
        Reply::Planned(plan) => output.result(&plan, |plan| {
            let counts = plan.counts.iter().map(|(name, n)| format!("{name}: {n}"));
            let lines: Vec<_> = plan.steps.iter().cloned().chain(counts).collect();
            format!("{}\nnothing was changed; plan {}", lines.join("\n"), plan.plan_id)
        }),
    }
}

pub(super) fn rehearsed(rehearse: Rehearse) -> How {
    How { dry_run: rehearse.dry_run, revision: None }
}

pub(super) fn consented(path: &Path) -> Result<wire::Consent, Failure> {
    let text = std::fs::read(path).map_err(|e| failed(path, &e))?;
    if text.trim_ascii().is_empty() {
        return Err(Failure::Usage(format!("{} is empty: nobody agreed to anything", path.display())));
    }
    Ok(wire::Consent { sha256: hex::encode(digest(&SHA256, &text)) })
}

/// A quota and what is stored of it, as `1024 of 10737418240 bytes, 3 objects`.
fn used(quota: &Quota) -> String {
    let of = |used: Option<u64>, most: Option<u64>, what: &str| match (used, most) {
        (Some(used), Some(most)) => format!("{used} of {most} {what}"),
        (Some(used), None) => format!("{used} {what}"),
        (None, _) => String::new(),
    };
    if quota.bytes.is_none() && quota.objects.is_none() {
        return "none".to_owned();
    }
    let bytes = of(quota.used_bytes, quota.bytes, "bytes");
    format!("{bytes}, {}", of(quota.used_objects, quota.objects, "objects"))
}

fn name(tenant: &wire::Tenant) -> String {
    tenant.name.clone().unwrap_or_else(|| tenant.id.to_string())
}

fn created(t: &wire::Tenant) -> String {
    let replica = replication(t.replication);
    let mut line = format!("{} {} geo={} home={} replica={replica}", name(t), t.state.as_str(), t.geo, t.home);
    line.extend(t.key.iter().map(|key| format!(" key={key}")));
    line.extend(t.consent_sha256.iter().map(|sha256| format!(" consent=sha256:{sha256}")));
    line.extend(t.warnings.iter().map(|warning| format!("\nwarning: {warning}")));
    line
}

fn replication(of: wire::Replication) -> &'static str {
    match of {
        wire::Replication::None => "none",
        wire::Replication::Geo => "geo",
    }
}

fn shown(t: &wire::Tenant) -> String {
    let list = |all: &[String]| (!all.is_empty()).then(|| all.join(", "));
    record(&[
        ("id", Some(t.id.to_string())),
        ("name", t.name.clone()),
        ("state", Some(t.state.as_str().into())),
        ("geo", Some(t.geo.clone())),
        ("home", Some(t.home.clone())),
        ("replication", Some(replication(t.replication).into())),
        ("created", Some(t.created_at.0.to_string())),
        ("terminated", t.terminated_at.map(|at| at.0.to_string())),
        ("purge due", t.purge_due_at.map(|at| at.0.to_string())),
        (
            "early purge",
            t.early_purge.as_ref().map(|early| format!("on its instruction, approved {}", early.approved_at.0)),
        ),
        ("days left", t.days_left.map(|d| d.to_string())),
        ("key", t.key.clone()),
        ("consent", t.consent_sha256.as_ref().map(|sha256| format!("sha256:{sha256}"))),
        ("contact", t.contact.clone()),
        ("quota", t.quota.as_ref().map(used)),
        ("holds", list(&t.holds)),
        ("notices", (!t.notices.is_empty()).then(|| t.notices.iter().map(notice).collect::<Vec<_>>().join(", "))),
        ("uploads", t.uploads.map(|of| format!("{} in progress, {} parts", of.uploads, of.parts))),
        ("warning", list(&t.warnings)),
    ])
}

/// `-30d arrived 2027-01-19T11:30:00Z`, or when it is due.
fn notice(of: &wire::Notice) -> String {
    match of.delivered_at {
        Some(at) => format!("{} arrived {}", of.stage, at.0),
        None => format!("{} due {}", of.stage, of.at.0),
    }
}

fn role(role: wire::CredentialRole) -> &'static str {
    match role {
        wire::CredentialRole::ReadOnly => "read-only",
        wire::CredentialRole::Service => "service",
        wire::CredentialRole::Delete => "delete",
    }
}

fn login(made: &wire::NewCredential) -> String {
    let wire::NewCredential { access_id, secret, region, .. } = made;
    format!("export AWS_ACCESS_KEY_ID={access_id}\nexport AWS_SECRET_ACCESS_KEY={secret}\nexport AWS_REGION={region}")
}
