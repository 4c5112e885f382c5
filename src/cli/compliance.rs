//! Reports for auditors: `geoseal compliance …`, `residency prove`, `key inventory`, `sweep history`.

use super::args::Compliance;
use super::client::Client;
use super::failure::Failure;
use super::print::{Output, record, table};
use crate::admin::evidence::{
    Control, Controls, Freshness, InRegion, KeyInventory, KeyLine, Outcome, Population, ProcessorRecord, Residency,
    Restore, Restores, Subprocessor, Subprocessors, SweepHistory, Terminated,
};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

fn word<T: serde::Serialize>(of: &T) -> String {
    serde_json::to_value(of).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Runs one command.
pub(super) async fn compliance(client: &Client, output: Output, command: Compliance) -> Result<(), Failure> {
    match command {
        Compliance::Controls => controls(client, output).await,
        Compliance::Record(_) => processor_record(client, output).await,
        Compliance::Restores => restores(client, output).await,
        Compliance::Subprocessors => subprocessors(client, output).await,
        Compliance::Population { period, .. } => population(client, output, period).await,
    }
}

async fn controls(client: &Client, output: Output) -> Result<(), Failure> {
    let all: Controls = client.get(&["compliance", "controls"], &[]).await?;
    output.result(&all, |all| {
        let row = |c: &Control| {
            let period = c.period_days.map_or("-".into(), |days| format!("{days} d"));
            let last = c.last_at.clone().unwrap_or_else(|| "-".into());
            let status = match c.status {
                Freshness::Stale => "STALE".into(),
                Freshness::Failed => "FAILED".into(),
                _ => word(&c.status),
            };
            let found = c.finding.clone().unwrap_or_else(|| "-".into());
            [c.id.clone(), c.geo.clone(), status, last, period, found, c.description.clone(), c.evidence.clone()]
        };
        let titles = ["control", "geo", "status", "last", "period", "found", "what", "evidence"];
        let lines = table(titles, all.controls.iter().map(row));
        let (stale, failed, of) = (all.stale, all.failed, all.controls.len());
        format!("{lines}\n{stale} of {of} stale or never exercised, {failed} failed; {}", all.certification)
    })?;
    let failed = all.controls.iter().filter(|control| control.status == Freshness::Failed);
    let failed: Vec<_> = failed.map(|control| format!("{} in {}", control.id, control.geo)).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Unfit(format!("controls that do not hold: {}", failed.join(", ")))),
    }
}

/// A record that is not complete is printed all the same, and says so.
async fn processor_record(client: &Client, output: Output) -> Result<(), Failure> {
    let made: ProcessorRecord = client.get(&["compliance", "record"], &[]).await?;
    // A document for both.
    Output::Programs.result(&made, |_| String::new())?;
    let _ = output;
    match made.incomplete.is_empty() {
        true => Ok(()),
        false => Err(Failure::Incomplete(format!("the record is incomplete: {}", made.incomplete.join("; ")))),
    }
}

async fn restores(client: &Client, output: Output) -> Result<(), Failure> {
    let all: Restores = client.get(&["compliance", "restores"], &[]).await?;
    output.result(&all, |all| {
        let told = |r: &Restore| {
            let tenants = r.tenants.iter().map(|tenant| format!("\n  tenant {tenant} deleted again"));
            let subjects = r.subjects.iter().map(|s| {
                let (tenant, who) = (&s.tenant, &s.subject);
                format!("\n  subject {who} of {tenant} erased again: {} objects, {} uploads", s.objects, s.uploads)
            });
            let served = r.served_at.as_deref().unwrap_or("not yet");
            let (keys, again) = (r.keys, tenants.chain(subjects).collect::<String>());
            format!(
                "{} {} entry {}; served again {served}; keys destroyed again: {} of tenants, {} of subjects, {} roots; \
                 {} batches rewritten{again}\n",
                r.geo, r.at, r.entry, keys.tenants, keys.subjects, keys.roots, r.batches
            )
        };
        let lines: String = all.restores.iter().map(told).collect();
        format!("{lines}{} restores", all.restores.len())
    })
}

async fn subprocessors(client: &Client, output: Output) -> Result<(), Failure> {
    let all: Subprocessors = client.get(&["compliance", "subprocessors"], &[]).await?;
    output.result(&all, |all| {
        let row = |s: &Subprocessor| [s.name.clone(), s.purpose.clone(), s.location.clone()];
        let lines = table(["name", "purpose", "location"], all.subprocessors.iter().map(row));
        let processor = all.processor.as_deref().unwrap_or("the processor, whom the settings do not name");
        format!("{lines}\n{} work for {processor}", all.subprocessors.len())
    })
}

async fn population(client: &Client, output: Output, period: String) -> Result<(), Failure> {
    let all: Population = client.get(&["compliance", "population"], &[("period", period)]).await?;
    output.result(&all, |all| {
        let row = |t: &Terminated| {
            let outcome = if t.outcome == Outcome::Purged { "purged".into() } else { word(&t.outcome) };
            let exceptions = if t.exceptions.is_empty() { "-".into() } else { t.exceptions.join("; ") };
            let certificate = t.certificate_sha256.clone().unwrap_or_else(|| "-".into());
            let purged = t.purged_at.clone().unwrap_or_else(|| "-".into());
            [t.tenant.clone(), t.terminated_at.clone(), t.due_at.clone(), outcome, purged, certificate, exceptions]
        };
        let lines = table(
            ["tenant", "terminated", "due", "outcome", "purged", "certificate", "exceptions"],
            all.terminated.iter().map(row),
        );
        format!("{lines}\n{}: {} terminated, {} with exceptions", all.period, all.terminated.len(), all.exceptions)
    })
}

/// `residency prove`. However many objects there are: they go to a file, page by page.
pub(super) async fn residency(
    client: &Client,
    output: Output,
    tenant: &str,
    objects: Option<&Path>,
) -> Result<(), Failure> {
    let path = ["compliance", "residency", tenant];
    let Some(file) = objects else {
        let proof: Residency = client.get(&path, &[]).await?;
        return output.result(&proof, |p| {
            let more = if p.next.is_some() { " and more; --objects FILE lists them all" } else { "" };
            proven(p, &format!("{} objects{more}", p.objects.len()))
        });
    };
    let written = |error: std::io::Error| Failure::Failed(format!("{}: {error}", file.display()));
    let mut lines = BufWriter::new(File::create_new(file).map_err(written)?);
    let most = ("limit", "10000".to_owned());
    let mut proof: Residency = client.get(&path, std::slice::from_ref(&most)).await?;
    let (mut page, mut count) = (std::mem::take(&mut proof.objects), 0u64);
    loop {
        for object in &page {
            serde_json::to_writer(&mut lines, object).map_err(|error| written(error.into()))?;
            lines.write_all(b"\n").map_err(written)?;
        }
        count += page.len() as u64;
        let Some(after) = proof.next.take() else { break };
        let more: Residency = client.get(&path, &[most.clone(), ("after", after)]).await?;
        (page, proof.next) = (more.objects, more.next);
    }
    lines.flush().map_err(written)?;
    output.result(&proof, |p| proven(p, &format!("{count} objects, in {}", file.display())))
}

fn proven(p: &Residency, objects: &str) -> String {
    let of = [("tenant", Some(p.tenant.clone())), ("geo", Some(p.geo.clone())), ("home", Some(p.home.clone()))];
    let row = |r: &InRegion| {
        let served = if r.served { "yes" } else { "no" };
        let counts = [r.buckets, r.objects, r.rows, r.row_bytes, r.blobs_found].map(|count| count.to_string());
        let [buckets, objects, rows, bytes, blobs] = counts;
        [r.region.clone(), served.into(), buckets, objects, rows, bytes, blobs]
    };
    let regions = table(
        ["region", "served", "buckets", "objects", "rows", "row bytes", "blobs found"],
        p.regions.iter().map(row),
    );
    let exceptions =
        p.exceptions.iter().map(|e| [e.id.clone(), if e.used { "USED" } else { "not used" }.into(), e.note.clone()]);
    let exceptions = table(["exception", "used", "note"], exceptions);
    format!(
        "{}\n\n{regions}\n\n{objects}\n\ntransfer register: {} ({})\n\n{exceptions}",
        record(&of),
        p.transfers.len(),
        p.transfers_note
    )
}

/// `key inventory`.
pub(super) async fn inventory(client: &Client, output: Output) -> Result<(), Failure> {
    let all: KeyInventory = client.get(&["compliance", "keys"], &[]).await?;
    output.result(&all, |all| {
        let row = |k: &KeyLine| {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            let version = k.version.to_string();
            [
                k.geo.clone(),
                k.kind.clone(),
                or_dash(&k.tenant),
                version,
                k.destroy_at.as_ref().map_or_else(|| k.state.clone(), |at| format!("{} {at}", k.state)),
                or_dash(&k.created_at),
                or_dash(&k.last_rotation_at),
            ]
        };
        table(["geo", "kind", "tenant", "version", "state", "made", "last rotation"], all.keys.iter().map(row))
    })
}

/// `sweep history`.
pub(super) async fn sweeps(client: &Client, output: Output, limit: u32) -> Result<(), Failure> {
    let all: SweepHistory = client.get(&["compliance", "sweeps"], &[("limit", limit.to_string())]).await?;
    output.result(&all, |all| {
        let rows = all.runs.iter().map(|run| {
            let ended = run.ended_at.clone().unwrap_or_else(|| "FAILED".into());
            let [acts, skipped, late] = [run.acts, run.skipped, run.late_s].map(|count| count.to_string());
            [run.geo.clone(), run.started_at.clone(), ended, acts, skipped, late]
        });
        table(["geo", "started", "ended", "acts", "skipped", "late s"], rows)
    })
}
