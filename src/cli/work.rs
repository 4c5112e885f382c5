//! `geoseal key …` and `geoseal sweep …`: long work, followed with a progress bar to its end.

use super::args::{Key, Long, Pace, Reencrypt, Resume, Rotate, Suspend, Sweep};
use super::client::{Client, How, Reply};
use super::failure::Failure;
use super::print::{Output, ask, note, progress, record, table};
use super::tenants::{rehearsed, show};
use crate::admin::compromise::{Exposure, ReportCompromise};
use crate::admin::proposals::Withdrawn;
use crate::admin::schedules::Scheduled;
use crate::admin::wire;
use crate::admin::wire::{
    DestroyKey, Destruction, KeyStatus, KeyVersion, KeyWork, Nothing, Operation, OperationResult, OperationState,
    Rotation, SuspendKeys, SweepReport, SweepStatus, TenantKeys, Time,
};
use serde::Serialize;
use std::time::Duration;

/// First pause between two looks at running work; it grows.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest pause between two looks.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);

/// Runs one command.
pub(super) async fn key(client: &Client, output: Output, command: Key) -> Result<(), Failure> {
    match command {
        Key::Status { geo, tenant, count } => {
            let count = count.then(|| "true".to_owned());
            let query: Vec<_> = [("count", count), ("geo", geo), ("tenant", tenant)]
                .into_iter()
                .filter_map(|(n, v)| Some((n, v?)))
                .collect();
            let status: KeyStatus = client.get(&["keys"], &query).await?;
            output.result(&status, versions)
        }
        Key::Inventory => super::compliance::inventory(client, output).await,
        Key::Epoch(command) => super::epochs::epoch(client, output, command).await,
        Key::Rotate(Rotate::Master { geo, pace, long }) => {
            work_on(client, output, &["keys", "master", &geo, "rotate"], &at(pace), long).await
        }
        Key::Rotate(Rotate::Directory { geo, pace, long }) => {
            work_on(client, output, &["keys", "directory", &geo, "rotate"], &at(pace), long).await
        }
        Key::Rotate(Rotate::Tenant { tenant, pace, long }) => {
            work_on(client, output, &["keys", "tenant", &tenant, "rotate"], &at(pace), long).await
        }
        Key::Rotate(Rotate::IndexKey { tenant, bucket, pace, long }) => {
            let path = ["keys", "tenant", &tenant, "buckets", &bucket, "rotate"];
            work_on(client, output, &path, &at(pace), long).await
        }
        Key::Rotate(Rotate::SubjectRoot { tenant, pace, long }) => {
            work_on(client, output, &["keys", "tenant", &tenant, "subject-root", "rotate"], &at(pace), long).await
        }
        Key::Rotate(Rotate::IndexRoot { tenant, pace, long }) => {
            work_on(client, output, &["keys", "tenant", &tenant, "index-root", "rotate"], &at(pace), long).await
        }
        Key::ReportCompromise { key, reason, seen_at, yes, long } => {
            let question =
                "It is replaced; objects under it answer 403 until they are re-encrypted. Type the key's id:";
            confirm(&key, yes || long.dry_run, question)?;
            let report = ReportCompromise { reason, seen_at: seen_at.map(Time) };
            work_on(client, output, &of_version(&key, "compromise")?, &report, long).await
        }
        Key::Exposure { key } => {
            let exposure: Exposure = client.get(&of_version(&key, "compromise")?, &[]).await?;
            output.result(&exposure, exposed)
        }
        Key::Destroy { key, after, yes, long } => {
            confirm(&key, yes || long.dry_run, "On its day it is destroyed for good. Type the key's id:")?;
            destroy(client, output, &key, after, long).await
        }
        Key::CancelDestroy { key, rehearse } => {
            let path = of_version(&key, "cancel-destroy")?;
            let reply: Reply<Withdrawn> = client.post(&path, &Nothing {}, rehearsed(rehearse)).await?;
            show(output, reply, |w: &Withdrawn| match (&w.was_to_be_at, w.was_proposed) {
                (Some(at), _) => format!("{}: no longer to be destroyed; it was to be on {}", w.key, at.0),
                (None, true) => format!("{}: no longer proposed", w.key),
                (None, false) => format!("{}: was neither scheduled nor proposed to be destroyed", w.key),
            })
        }
        Key::Reencrypt(Reencrypt { tenant, from, bucket, pace, long }) => {
            let body = wire::Reencrypt { from, bucket, records_per_s: pace.records_per_second };
            work_on(client, output, &["tenants", &tenant, "reencrypt"], &body, long).await
        }
        Key::Suspend(Suspend::Tenant { tenant, reason, rehearse }) => {
            let body = SuspendKeys { reason };
            let reply = client.post(&["keys", "tenant", &tenant, "suspend"], &body, rehearsed(rehearse)).await?;
            show(output, reply, |keys: &TenantKeys| tenant_versions(keys))
        }
        Key::Resume(Resume::Tenant { tenant, rehearse }) => {
            let reply = client.post(&["keys", "tenant", &tenant, "resume"], &Nothing {}, rehearsed(rehearse)).await?;
            show(output, reply, |keys: &TenantKeys| tenant_versions(keys))
        }
    }
}

/// Asks before what cannot be taken back.
fn confirm(key: &str, known: bool, question: &str) -> Result<(), Failure> {
    match (known, if known { None } else { ask(question) }) {
        (true, _) => Ok(()),
        (false, Some(answer)) if answer == key => Ok(()),
        (false, Some(_)) => Err(Failure::Usage("that is not the key's id; nothing was done".into())),
        (false, None) => Err(Failure::Usage("there is no terminal to ask on: say --yes".into())),
    }
}

/// The route of an act on one version: `mk/europe/1` as three parts of a path.
fn of_version<'a>(key: &'a str, act: &'a str) -> Result<Vec<&'a str>, Failure> {
    let parts: Vec<_> = key.split('/').collect();
    match parts[..] {
        [kind, of, version] if !(kind.is_empty() || of.is_empty() || version.is_empty()) => {
            Ok(vec!["keys", kind, of, version, act])
        }
        _ => Err(Failure::Usage(format!("{key:?} is no version of a key; `key status` lists them: mk/europe/1"))),
    }
}

async fn destroy(client: &Client, output: Output, key: &str, after: Option<String>, long: Long) -> Result<(), Failure> {
    let how = How { dry_run: long.dry_run, revision: None };
    match client.post(&of_version(key, "destroy")?, &DestroyKey { after }, how).await? {
        Reply::Done(Destruction::Begun(operation)) => see_through(client, output, *operation, long).await,
        reply => show(output, reply, |destruction: &Destruction| match destruction {
            Destruction::Proposed { key } => {
                format!("{key}: proposed. Another administrator has to ask for the same, --after too, within a day")
            }
            Destruction::Begun(operation) => operation.id.clone(),
        }),
    }
}

fn at(pace: Pace) -> KeyWork {
    KeyWork { records_per_s: pace.records_per_second }
}

/// Runs one command.
pub(super) async fn sweep(client: &Client, output: Output, command: Sweep) -> Result<(), Failure> {
    match command {
        Sweep::Run { long } => work_on(client, output, &["sweep", "run"], &Nothing {}, long).await,
        Sweep::History { limit } => super::compliance::sweeps(client, output, limit).await,
        Sweep::Status => {
            let status: SweepStatus = client.get(&["sweep"], &[]).await?;
            output.result(&status, |s| {
                record(&[
                    ("interval", Some(format!("{} s", s.interval_s))),
                    ("last began", s.last_started_at.map(|t| t.0.to_string())),
                    ("last ended", s.last_finished_at.map(|t| t.0.to_string())),
                    ("next", s.next_at.map(|t| t.0.to_string())),
                    ("due now", Some(s.due.to_string())),
                    ("late", Some(format!("{} s", s.late_s))),
                    ("last did", s.last.as_ref().map(swept)),
                ])
            })
        }
    }
}

/// Starts long work and, unless told otherwise, stays until it ends.
pub(super) async fn work_on(
    client: &Client,
    output: Output,
    path: &[&str],
    body: &impl Serialize,
    long: Long,
) -> Result<(), Failure> {
    let how = How { dry_run: long.dry_run, revision: None };
    let started: Operation = match client.post(path, body, how).await? {
        Reply::Done(operation) => operation,
        planned @ Reply::Planned(_) => return show(output, planned, |_: &Operation| String::new()),
    };
    see_through(client, output, started, long).await
}

/// Follows work that has begun to its end, unless told otherwise.
pub(super) async fn see_through(
    client: &Client,
    output: Output,
    started: Operation,
    long: Long,
) -> Result<(), Failure> {
    if long.no_wait {
        return output.result(&started, |o| format!("{} {} started", o.kind, o.id));
    }
    let ended = follow(client, started).await?;
    if let Some(problem) = ended.problem {
        return Err(Failure::Refused(Box::new(problem)));
    }
    output.result(&ended, |o| o.result.as_ref().map_or_else(String::new, outcome))
}

async fn follow(client: &Client, mut operation: Operation) -> Result<Operation, Failure> {
    let bar = progress(&operation.kind);
    let mut pause = LOOK_EVERY;
    while operation.state == OperationState::Running {
        bar.set_length(operation.total);
        bar.set_position(operation.done);
        bar.set_message(match (operation.per_s, operation.eta_s) {
            (Some(per_s), Some(eta_s)) => format!("{} {per_s}/s, {eta_s} s left", operation.phase),
            (Some(per_s), None) => format!("{} {per_s}/s", operation.phase),
            _ => operation.phase.clone(),
        });
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_EVERY_MAX);
        operation = match client.get(&["operations", &operation.id], &[]).await {
            Ok(now) => now,
            Err(failure) => {
                bar.abandon();
                note("The server went away. What it began it takes up again; the same command follows it.");
                return Err(failure);
            }
        };
    }
    bar.finish_and_clear();
    Ok(operation)
}

fn outcome(result: &OperationResult) -> String {
    match result {
        OperationResult::Rotation(r) => rotated(r),
        OperationResult::Reencryption(r) => reencrypted(r),
        OperationResult::Destruction(d) => {
            format!(
                "{} is destroyed after {} d, on {}; scan of {}: {} under it (cancel: geoseal key cancel-destroy {})",
                d.key,
                d.after_s.div_euclid(86_400),
                d.destroy_at.0,
                d.scanned,
                d.remaining,
                d.key
            )
        }
        OperationResult::Exposure(e) => exposed(e),
        OperationResult::Sweep(s) => swept(s),
        OperationResult::SubjectErasure(e) => super::dsr::erased(e),
        OperationResult::Request(r) => super::dsr::told(r),
        OperationResult::Epoch(e) => super::epochs::shown(e),
        OperationResult::Backup(b) => super::backups::shown(b),
    }
}

fn rotated(r: &Rotation) -> String {
    let Rotation { from, to, rewrapped, total, scanned, remaining } = r;
    match (total, from.rsplit_once('/')) {
        // A master key's older version is kept until somebody says otherwise; others' are gone, or still open rows.
        (Some(total), Some((_, older))) => format!(
            "{to} current; {older} decrypt-only; rewrapped {rewrapped}/{total}; {scanned} verified by unwrap, {remaining} under \
             {from}; destroy {from} after 30 d: geoseal key destroy {from} (cancel: geoseal key cancel-destroy {from})"
        ),
        _ => format!(
            "{to} current; {from} decrypt-only; {rewrapped} rewrapped; scan of {scanned}: {remaining} under {from}"
        ),
    }
}

/// What is exposed, and which of the two verbs cures it.
fn exposed(e: &Exposure) -> String {
    let of = |time: &Option<Time>, none: &str| time.as_ref().map_or_else(|| none.to_owned(), |at| at.0.to_string());
    let used = format!("used {} to {}", of(&e.first_used_at, "the beginning"), of(&e.last_used_at, "now"));
    let counted = match (e.objects, e.versions, e.rewrapped, e.uploads) {
        (Some(objects), Some(versions), Some(rewrapped), Some(uploads)) => format!(
            "{objects} objects exposed, {versions} versions ({rewrapped} of them only rewrapped since), {uploads} uploads, {} \
             copies",
            e.copies
        ),
        _ => format!("everything of {} tenants exposed: {}", e.tenants.len(), e.tenants.join(" ")),
    };
    let backups = match e.backups.len() {
        0 => "no backup under it".to_owned(),
        n => format!("{n} backups still under it: {}", e.backups.join(" ")),
    };
    let mut text = format!("{} {}: {counted}; {used}; {backups}", e.key, e.state);
    text.extend(e.destroy_at.as_ref().map(|at| format!("; destroyed on {}", at.0)));
    text.push_str("\n`key rotate` only wraps again and cures none of this; `key reencrypt` does");
    text.extend(e.to_do.iter().map(|what| format!("\nto do: {what}")));
    text
}

fn reencrypted(r: &wire::Reencrypted) -> String {
    let Rotation { from, to, rewrapped, scanned, remaining, .. } = &r.done;
    let what = if r.only_from {
        format!("with a data key that {from} opens or opened")
    } else {
        "with a data key from before".to_owned()
    };
    format!("{to} current; {rewrapped} re-encrypted; scan of {scanned}: {remaining} {what}")
}

fn swept(s: &SweepReport) -> String {
    let counts = [
        (s.tenants_purged, "tenants purged"),
        (s.tenants_held, "tenants held"),
        (s.objects_removed, "objects removed"),
        (s.objects_expired, "objects expired"),
        (s.uploads_aborted, "uploads given up"),
        (s.orphans_removed, "orphans removed"),
        (s.keys_destroyed, "keys destroyed"),
    ];
    let done: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let mut text = if done.is_empty() { "nothing was due".to_owned() } else { done.join(", ") };
    text.extend(s.skipped.iter().map(|what| format!("\nnot done: {what}")));
    text
}

fn tenant_versions(keys: &TenantKeys) -> String {
    let of = keys.name.clone().unwrap_or_else(|| keys.tenant.to_string());
    let rows = keys.versions.iter().map(|v| [of.clone(), v.id.clone(), state(v)]);
    table(["of", "version", "state"], rows)
}

/// With the day of one that is to be destroyed.
fn state(version: &KeyVersion) -> String {
    version.destroy_at.as_ref().map_or_else(|| version.state.clone(), |at| format!("{} {}", version.state, at.0))
}

fn versions(status: &KeyStatus) -> String {
    let row = |of: &str, v: &KeyVersion| {
        let more = if v.more { " or more" } else { "" };
        [of.to_owned(), v.id.clone(), state(v), v.records.map_or(String::new(), |n| format!("{n}{more}"))]
    };
    let mut rows = vec![];
    for geo in &status.geos {
        rows.extend(geo.master.iter().map(|v| row(&format!("{} ({})", geo.geo, geo.provider), v)));
        rows.extend(geo.directory.iter().map(|v| row(&geo.geo, v)));
        for tenant in &geo.tenants {
            let of = tenant.name.clone().unwrap_or_else(|| tenant.tenant.to_string());
            rows.extend(tenant.versions.iter().map(|v| row(&of, v)));
        }
    }
    let under_way = status.geos.iter().filter_map(|g| g.rotation.as_ref());
    let under_way = under_way.map(|o| format!("\n{} under way: {} {} of {}", o.kind, o.phase, o.done, o.total));
    table(["of", "version", "state", "records"], rows)
        + &under_way.collect::<String>()
        + &due(status)
        + &waiting(status)
}

/// When keys are due for their next versions, and by which policy.
fn due(status: &KeyStatus) -> String {
    let rows: Vec<_> = status.geos.iter().flat_map(|geo| &geo.schedule).map(when_due).collect();
    if rows.is_empty() {
        String::new()
    } else {
        format!("\n\n{}", table(["key", "in use since", "next", "policy"], rows))
    }
}

fn when_due(s: &Scheduled) -> [String; 4] {
    let next = match (s.is_due, s.due_at) {
        (true, _) => "due now".to_owned(),
        (false, Some(at)) => at.0.to_string(),
        (false, None) => String::new(),
    };
    let days = s.days.map(|days| format!("{days} days"));
    let counted = s.records.map_or(String::new(), |records| format!(" ({records} so far)"));
    let records = s.records_max.map(|most| format!("{most} records{counted}"));
    let policy = [days, records].into_iter().flatten().collect::<Vec<_>>().join(" or ");
    [s.key.clone(), s.since.0.to_string(), next, policy]
}

/// What waits for a second administrator.
fn waiting(status: &KeyStatus) -> String {
    let proposals = status.geos.iter().flat_map(|geo| &geo.proposals);
    proposals.map(|p| format!("\n{}: proposed by {}, waits for another until {}", p.act, p.by, p.until.0)).collect()
}
