//! `geoseal region`, `audit` and `clock`: what only looks.

use super::args::{Admin, Audit, Clock};
use super::client::{Client, How};
use super::failure::Failure;
use super::files::failed;
use super::print::{Output, ask, record, table};
use super::tenants::show;
use crate::admin::admins::{self as wire_admin, Admins};
use crate::admin::clocks::{AttestClock, Attested};
use crate::admin::wire;
use std::path::Path;

/// The atlas, with what the server serves where one is asked.
pub(super) fn regions(output: Output, regions: &wire::Regions) -> Result<(), Failure> {
    output.result(regions, |all| {
        let rows = all.geos.iter().flat_map(|geo| {
            geo.regions.iter().map(|r| {
                let served = r.served.map_or("", |served| if served { "yes" } else { "no" });
                let label = geo.label.clone().unwrap_or_default();
                [geo.id.clone(), r.id.clone(), r.location.clone(), label, served.into()]
            })
        });
        table(["geo", "region", "location", "label", "served"], rows)
    })
}

/// Runs one command.
pub(super) async fn audit(client: &Client, output: Output, command: Audit) -> Result<(), Failure> {
    match command {
        Audit::Tail { geo, after, limit } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(geo.map(|geo| ("geo", geo)));
            query.extend(after.map(|after| ("after", after.to_string())));
            let page: wire::AuditPage = client.get(&["audit"], &query).await?;
            output.result(&page, |page| {
                table(["geo", "index", "at", "event", "actor", "tenant", "detail"], page.entries.iter().map(entry))
            })
        }
        Audit::Verify { geo, .. } => verify(client, output, geo).await,
        Audit::Show { entry: index, geo } => {
            let shown: wire::AuditShown = client.get(&["audit", "entries", &geo, &index.to_string()], &[]).await?;
            output.result(&shown, |shown| {
                let [geo, index, at, event, actor, tenant, detail] = entry(&shown.entry);
                let gone = shown.reason_is_gone.then(|| "gone: only its salted hash is left".to_owned());
                record(&[
                    ("geo", Some(geo)),
                    ("index", Some(index)),
                    ("at", Some(at)),
                    ("event", Some(event)),
                    ("actor", Some(actor)),
                    ("tenant", Some(tenant).filter(|tenant| !tenant.is_empty())),
                    ("detail", Some(detail).filter(|detail| !detail.is_empty())),
                    ("reason", shown.reason.clone().or(gone)),
                ])
            })
        }
        Audit::LogKey { geo } => {
            let key: wire::LogKey = client.get(&["audit", "log-key", &geo], &[]).await?;
            output.result(&key, |key| key.public.clone())
        }
        Audit::Checkpoint { .. } | Audit::Export { .. } | Audit::Prove { .. } => {
            unreachable!("`log::audit` takes these itself")
        }
    }
}

fn entry(e: &wire::AuditEntry) -> [String; 7] {
    let detail: Vec<_> = e.detail.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let tenant = e.tenant.map_or(String::new(), |t| t.to_string());
    [e.geo.clone(), e.index.to_string(), e.at.0.to_string(), e.event.clone(), e.actor.clone(), tenant, detail.join(" ")]
}

async fn verify(client: &Client, output: Output, geo: Option<String>) -> Result<(), Failure> {
    let query: Vec<_> = geo.map(|geo| ("geo", geo)).into_iter().collect();
    let verdicts: wire::AuditVerdicts = client.get(&["audit", "verify"], &query).await?;
    let line = |v: &wire::AuditVerdict| match (v.intact, v.first_bad) {
        (true, _) => format!("{}: intact, {} entries, head {}", v.geo, v.entries, v.head.as_deref().unwrap_or("-")),
        (false, Some(index)) => {
            format!(
                "{}: BROKEN at entry {index}: {}",
                v.geo,
                v.reason.as_deref().unwrap_or("it does not fit the chain")
            )
        }
        (false, None) => {
            format!("{}: BROKEN: {}", v.geo, v.reason.as_deref().unwrap_or("it does not end where it should"))
        }
    };
    output.result(&verdicts, |all| all.logs.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    match verdicts.logs.iter().find(|v| !v.intact) {
        None => Ok(()),
        Some(bad) => Err(Failure::Unfit(format!("the audit log of {} was altered", bad.geo))),
    }
}

/// A public key in hexadecimal, or the file that holds one, bare or as `audit log-key --json` prints it.
pub(super) fn public(given: &str) -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    if hex::decode_to_slice(given.trim(), &mut bytes).is_ok() {
        return Ok(bytes);
    }
    let text = std::fs::read_to_string(given).map_err(|e| failed(Path::new(given), &e))?;
    let inside = serde_json::from_str::<wire::LogKey>(&text).map_or(text, |key| key.public);
    hex::decode_to_slice(inside.trim(), &mut bytes)
        .map_err(|_| Failure::Usage("a log key is 64 hexadecimal digits, or a file that holds them".into()))?;
    Ok(bytes)
}

/// Runs one command.
pub(super) async fn admin(client: &Client, output: Output, command: Admin) -> Result<(), Failure> {
    match command {
        Admin::List => output.result(&client.get::<Admins>(&["admins"], &[]).await?, |all: &Admins| {
            let row = |admin: &wire_admin::Admin| {
                let revoked = admin.revoked_at.map_or(String::new(), |at| at.0.to_string());
                [admin.id.clone(), admin.role.clone(), revoked, admin.revoked_by.clone().unwrap_or_default()]
            };
            table(["id", "role", "revoked", "by"], all.admins.iter().map(row))
        }),
        Admin::Revoke { id, yes, rehearse } => {
            let agreed = || ask(&format!("Revoke the token of {id} for good? (yes)")).map(|a| a == "yes");
            match if yes || rehearse.dry_run { Some(true) } else { agreed() } {
                Some(true) => {}
                Some(false) => return Err(Failure::Usage("not revoked".into())),
                None => return Err(Failure::Usage("a revoked token does not come back: give --yes".into())),
            }
            let how = How { dry_run: rehearse.dry_run, revision: None };
            let reply = client.post(&["admins", &id, "revoke"], &wire::Nothing {}, how).await?;
            show(output, reply, |admin: &wire_admin::Admin| format!("{} revoked", admin.id))
        }
    }
}

/// Runs one command.
pub(super) async fn clock(client: &Client, output: Output, command: Clock) -> Result<(), Failure> {
    match command {
        Clock::Show => output.result(&client.get::<wire::Clock>(&["clock"], &[]).await?, clock_shown),
        Clock::Attest { utc, reason, rehearse } => {
            let how = How { dry_run: rehearse.dry_run, revision: None };
            let reply = client.post(&["clock", "attest"], &AttestClock { utc, reason }, how).await?;
            show(output, reply, |attested: &Attested| match attested {
                Attested::Done { credited_s } => format!("attested: {credited_s} s of off-time count now"),
                Attested::Proposed { proposed } => {
                    format!("{proposed}: another administrator has to attest the same time within a day")
                }
            })
        }
    }
}

/// `dev clock advance`.
pub(super) async fn advance(client: &Client, output: Output, seconds: u64, dry_run: bool) -> Result<(), Failure> {
    let how = How { dry_run, revision: None };
    show(output, client.post(&["clock", "advance"], &wire::Advance { seconds }, how).await?, clock_shown)
}

fn clock_shown(c: &wire::Clock) -> String {
    record(&[
        ("proven", Some(c.proven.0.to_string())),
        ("plausible", Some(c.plausible.0.to_string())),
        ("wall", Some(c.wall.0.to_string())),
        ("kind", Some(if c.simulated { "simulated" } else { "real" }.into())),
        ("suspect", c.suspect.then(|| "the machine's clock jumped; deadlines did not move".into())),
        ("vouched for", Some(if c.corroborated { "yes" } else { "no" }.into())),
        ("overdue", c.overdue.then(|| "somebody has to say what time it is: clock attest".into())),
        ("pending", (c.pending_s > 0).then(|| format!("{} s of off-time do not count yet", c.pending_s))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_key_is_taken_bare_from_a_file_or_from_json() {
        let digits = "ab".repeat(32);
        let dir = tempfile::tempdir().unwrap();
        let (bare, json) = (dir.path().join("bare"), dir.path().join("json"));
        std::fs::write(&bare, format!("{digits}\n")).unwrap();
        let key = wire::LogKey { geo: "europe".into(), algorithm: "ed25519".into(), public: digits.clone() };
        std::fs::write(&json, serde_json::to_string_pretty(&key).unwrap()).unwrap();
        for given in [digits.as_str(), bare.to_str().unwrap(), json.to_str().unwrap()] {
            assert_eq!(public(given).unwrap(), [0xab; 32]);
        }
        std::fs::write(&bare, "ab").unwrap();
        assert!(matches!(public(bare.to_str().unwrap()), Err(Failure::Usage(_))));
    }
}
