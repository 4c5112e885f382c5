//! `geoseal grant …`: short-lived logins for jobs.

use super::args::Grant;
use super::client::{Client, Reply};
use super::failure::Failure;
use super::files::{Readers, write_new};
use super::print::{Output, table};
use super::tenants::{rehearsed, show};
use crate::admin::grants::{CreateGrant, Grants, NewGrant, ShownGrant};
use crate::admin::wire::Nothing;

/// Runs one command.
pub(super) async fn grant(client: &Client, output: Output, command: Grant) -> Result<(), Failure> {
    match command {
        Grant::Create { tenant, purpose, classes, buckets, seconds, out, rehearse } => {
            if let Some(out) = out.as_deref().filter(|out| out.exists()) {
                return Err(Failure::Usage(format!("{} exists: it is not overwritten", out.display())));
            }
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            let body = CreateGrant { purpose, classes, buckets, seconds };
            let reply = client.post(&["tenants", &tenant, "grants"], &body, rehearsed(rehearse)).await?;
            match (reply, out) {
                (Reply::Done(made), Some(out)) => {
                    let made: NewGrant = made;
                    write_new(&out, format!("{}\n", login(&made)).as_bytes(), Readers::Owner)?;
                    let shown = serde_json::json!({ "access_id": made.access_id, "until": made.until, "region": made.region, "file": out });
                    output.result(&shown, |_| {
                        format!("{} until {}, written to {}", made.access_id, made.until.0, out.display())
                    })
                }
                (reply, _) => show(output, reply, |made: &NewGrant| {
                    format!("{}\nGood until {}. The secret is shown this once.", login(made), made.until.0)
                }),
            }
        }
        Grant::List { tenant } => {
            let all: Grants = client.get(&["tenants", &tenant, "grants"], &[]).await?;
            output.result(&all, |all| {
                let row = |g: &ShownGrant| {
                    let state = match (g.good, g.revoked_at) {
                        (true, _) => "good".to_owned(),
                        (false, Some(at)) => format!("revoked {}", at.0),
                        (false, None) => "ended".to_owned(),
                    };
                    let (classes, buckets) = (g.classes.join(" "), g.buckets.join(" "));
                    [g.access_id.clone(), g.purpose.clone(), classes, buckets, g.until.0.to_string(), state]
                };
                table(["grant", "purpose", "classes", "buckets", "until", "state"], all.grants.iter().map(row))
            })
        }
        Grant::Revoke { login, tenant, rehearse } => {
            let path = ["tenants", &tenant, "grants", &login, "revoke"];
            let reply = client.post(&path, &Nothing {}, rehearsed(rehearse)).await?;
            show(output, reply, |g: &ShownGrant| format!("{} revoked", g.access_id))
        }
    }
}

fn login(made: &NewGrant) -> String {
    let NewGrant { access_id, secret, region, .. } = made;
    format!("export AWS_ACCESS_KEY_ID={access_id}\nexport AWS_SECRET_ACCESS_KEY={secret}\nexport AWS_REGION={region}")
}
