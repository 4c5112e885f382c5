//! `geoseal dsr …`: data subjects' requests. A subject's name, and an object's, is read from a file or from standard input,
//! never taken as an argument, and is in nothing that is printed.

use super::args::{Dsr, DsrKind, DsrRef, DsrWhy, Long, Rehearse};
use super::client::{Client, How, Reply};
use super::failure::Failure;
use super::files::{Readers, failed, write_new};
use super::print::{Output, ask, count, counted, record, table};
use super::tenants::{rehearsed, show};
use super::work::work_on;
use crate::admin::dsrs::{
    Because, BundleLink, Kind, LinkShown, OpenRequest, Rectified, Rectify, Request, Requests, Run,
};
use crate::admin::wire::{EraseSubject, Nothing, Operation, Plan, SubjectErasure, Time};
use futures::StreamExt;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest subject file that is read, in bytes: a name, and a line feed.
const SUBJECT_BYTES_MAX: u64 = 4096;

/// Runs one command.
pub(super) async fn dsr(client: &Client, output: Output, command: Dsr) -> Result<(), Failure> {
    match command {
        Dsr::Open { tenant, subject_file, kind, basis, block_reingest, rehearse } => {
            let kind = match kind {
                DsrKind::Access => Kind::Access,
                DsrKind::Rectify => Kind::Rectify,
                DsrKind::Erase => Kind::Erase,
                DsrKind::Restrict => Kind::Restrict,
            };
            let block_reingest = Some(block_reingest).filter(|_| kind == Kind::Erase);
            let body = OpenRequest { subject: subject(&subject_file)?, kind, basis, block_reingest };
            let reply: Reply<Request> = client.post(&["tenants", &tenant, "dsrs"], &body, rehearsed(rehearse)).await?;
            show(output, reply, |r| format!("{} due {}", r.id, day(&r.due_at.0.to_string())))
        }
        Dsr::List { tenant } => list(client, output, &tenant).await,
        Dsr::Show { of } => {
            let request: Request = client.get(&["tenants", &of.tenant, "dsrs", &of.dsr], &[]).await?;
            output.result(&request, shown)
        }
        Dsr::Certificate { of, since_checkpoint } => {
            let path = ["tenants", &of.tenant, "dsrs", &of.dsr, "certificate"];
            super::certificates::fetch(client, &path, since_checkpoint.as_deref()).await
        }
        Dsr::Export { of, out, dry_run } => export(client, output, &of, &out, dry_run).await,
        Dsr::Link { of, out, rehearse } => link(client, output, &of, out.as_deref(), rehearse).await,
        Dsr::Rectify { of, bucket, object_file, content, rehearse } => {
            let said = Rectify { bucket, object: subject(&object_file)? };
            let reply = client.post_file(&path(&of, "rectify"), &said, &content, rehearsed(rehearse)).await?;
            let told = |r: &Rectified| format!("{}: version {} destroyed, {} in its place", r.id, r.from, r.to);
            show(output, reply, told)
        }
        Dsr::Erase { dsr, tenant, subject_file, basis, block_reingest, confirm, long } => {
            if let (Some(dsr), true) = (&dsr, long.dry_run) {
                return preview(client, output, &DsrRef { dsr: dsr.clone(), tenant }).await;
            }
            let question = format!("This erases a data subject of {tenant} for good. The tenant's name, to confirm:");
            let confirm = confirm.or_else(|| if long.dry_run { None } else { ask(&question) });
            if confirm.is_none() && !long.dry_run {
                return Err(Failure::Usage("this erases for good: give the tenant's name with --confirm".into()));
            }
            match (dsr, subject_file) {
                (Some(dsr), _) => {
                    let of = DsrRef { dsr, tenant };
                    work_on(client, output, &path(&of, "run"), &Run { confirm }, long).await
                }
                (None, Some(file)) => {
                    let subject = subject(&file)?;
                    let body = EraseSubject { subject, basis, block_reingest: Some(block_reingest), confirm };
                    let path = ["tenants", &tenant, "dsrs", "erase"];
                    if !long.dry_run {
                        return work_on(client, output, &path, &body, long).await;
                    }
                    let how = How { dry_run: true, revision: None };
                    match client.post::<Operation>(&path, &body, how).await? {
                        Reply::Planned(plan) => rehearsal(output, plan),
                        Reply::Done(_) => Err(Failure::Failed("the answer is not a plan".into())),
                    }
                }
                (None, None) => Err(Failure::Usage("name the request, or give --subject-file".into())),
            }
        }
        Dsr::Restrict { of, long: Long { dry_run: true, .. } } => preview(client, output, &of).await,
        Dsr::Restrict { of, long } => work_on(client, output, &path(&of, "run"), &Run::default(), long).await,
        Dsr::Lift(why) => stop(client, output, "lift", why).await,
        Dsr::Refuse(why) => stop(client, output, "refuse", why).await,
    }
}

async fn stop(client: &Client, output: Output, verb: &str, why: DsrWhy) -> Result<(), Failure> {
    let DsrWhy { of, reason, rehearse } = why;
    let reply: Reply<Request> = client.post(&path(&of, verb), &Because { reason }, rehearsed(rehearse)).await?;
    show(output, reply, told)
}

fn path<'a>(of: &'a DsrRef, verb: &'a str) -> [&'a str; 5] {
    ["tenants", &of.tenant, "dsrs", &of.dsr, verb]
}

/// What a request would do: it is on record that somebody looked.
async fn preview(client: &Client, output: Output, of: &DsrRef) -> Result<(), Failure> {
    let how = How { dry_run: false, revision: None };
    let reply: Reply<Plan> = client.post(&path(of, "preview"), &Nothing {}, how).await?;
    let Reply::Done(plan) = reply else { return Err(Failure::Failed("the answer is not a plan".into())) };
    rehearsal(output, plan)
}

/// Prints a plan; that of an erasure in a sentence.
fn rehearsal(output: Output, plan: Plan) -> Result<(), Failure> {
    if !plan.counts.contains_key("versions") {
        return show(output, Reply::<Request>::Planned(plan), told);
    }
    output.result(&plan, |plan| format!("{}\nnothing was changed; plan {}", foretold(plan), plan.plan_id))
}

/// What an erasure would take, and what holds keep from it.
fn foretold(plan: &Plan) -> String {
    let n = |of: &str| plan.counts.get(of).copied().unwrap_or_default();
    let mut line = taken(n("objects"), n("versions"), n("kpi_hours"), n("collaboration_copies"));
    line += &more(n("batches"), n("uploads"));
    if n("deferred") > 0 {
        let holds = if plan.holds.len() == 1 { "hold" } else { "holds" };
        line += &format!("; {} under {holds} {} → deferred", counted(n("deferred"), "object"), plan.holds.join(", "));
    }
    line
}

/// `38 objects, 41 versions, 0 collaboration copies, 3 KPI hours`.
fn taken(objects: u64, versions: u64, hours: u64, copies: u64) -> String {
    let (objects, versions, hours) =
        (counted(objects, "object"), counted(versions, "version"), counted(hours, "KPI hour"));
    let shared = if copies == 1 { "copy" } else { "copies" };
    format!("{objects}, {versions}, {} collaboration {shared}, {hours}", count(copies))
}

/// What there is seldom.
fn more(batches: u64, uploads: u64) -> String {
    let mut text = String::new();
    if batches > 0 {
        let noun = if batches == 1 { "batch" } else { "batches" };
        text += &format!(", {} {noun} written anew", count(batches));
    }
    if uploads > 0 {
        text += &format!(", {}", counted(uploads, "upload"));
    }
    text
}

async fn list(client: &Client, output: Output, tenant: &str) -> Result<(), Failure> {
    let (mut all, mut after) = (Requests { requests: Vec::new(), next: None }, None::<u64>);
    loop {
        let query: Vec<_> = after.map(|after| ("after", after.to_string())).into_iter().collect();
        let page: Requests = client.get(&["tenants", tenant, "dsrs"], &query).await?;
        all.requests.extend(page.requests);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    output.result(&all, |all| {
        let rows = all.requests.iter().map(|r| {
            let kind = format!("{:?}", r.kind).to_lowercase();
            [r.id.clone(), kind, r.state.clone(), day(&r.due_at.0.to_string()), r.basis.clone()]
        });
        table(["request", "kind", "state", "due", "basis"], rows)
    })
}

/// Into a file that nobody else reads, and that takes its name only when it is whole.
async fn export(client: &Client, output: Output, of: &DsrRef, out: &Path, dry_run: bool) -> Result<(), Failure> {
    if dry_run {
        return preview(client, output, of).await;
    }
    if out.exists() {
        return Err(Failure::Usage(format!("{} is there already", out.display())));
    }
    let mut part = out.as_os_str().to_owned();
    part.push(format!(".partial-{}", crate::model::ids::OperationId::random()));
    let part = Path::new(&part);
    let written = async {
        let response = client.post_for_stream(&path(of, "bundle"), &Nothing {}).await?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).map_err(|e| failed(part, &e))?;
        let (mut pieces, mut bytes) = (response.bytes_stream(), 0);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Failure::Failed("the bundle broke off; ask for it again".into()))?;
            bytes += piece.len() as u64;
            file.write_all(&piece).map_err(|e| failed(part, &e))?;
        }
        file.sync_all().map_err(|e| failed(part, &e))?;
        std::fs::rename(part, out).map_err(|e| failed(out, &e))?;
        Ok::<_, Failure>(bytes)
    };
    let bytes = written.await.inspect_err(|_| drop(std::fs::remove_file(part)))?;
    let done = serde_json::json!({ "dsr": of.dsr, "out": out, "bytes": bytes });
    output.result(&done, |_| format!("{}: {bytes} bytes in {}; it is not sealed", of.dsr, out.display()))
}

/// A link, as it is to be sent to who asked.
#[derive(Serialize)]
struct Sent {
    id: String,
    /// None: it was written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    expires_at: Time,
    downloads_max: u32,
}

async fn link(
    client: &Client,
    output: Output,
    of: &DsrRef,
    out: Option<&Path>,
    rehearse: Rehearse,
) -> Result<(), Failure> {
    if let Some(out) = out.filter(|out| out.exists()) {
        return Err(Failure::Usage(format!("{} exists: it is not overwritten", out.display())));
    }
    let reply: Reply<BundleLink> = client.post(&path(of, "link"), &Nothing {}, rehearsed(rehearse)).await?;
    let made = match reply {
        Reply::Done(made) => made,
        planned @ Reply::Planned(_) => return show(output, planned, |_: &BundleLink| String::new()),
    };
    let BundleLink { id, path, expires_at, downloads_max } = made;
    let url = client.beside(&path);
    if let Some(out) = out {
        write_new(out, format!("{url}\n").as_bytes(), Readers::Owner)?;
    }
    let sent = Sent { id, url: out.is_none().then_some(url), out: out.map(Path::to_owned), expires_at, downloads_max };
    output.result(&sent, |sent| {
        let where_to = match (&sent.url, &sent.out) {
            (Some(url), _) => url.clone(),
            (None, Some(out)) => format!("written to {}", out.display()),
            (None, None) => String::new(),
        };
        format!("{where_to}\n{}: one copy, until {}", sent.id, sent.expires_at.0)
    })
}

fn day(time: &str) -> String {
    time.split('T').next().unwrap_or(time).to_owned()
}

/// A request in a sentence.
pub(super) fn told(r: &Request) -> String {
    let force = if r.in_force { "; in force" } else { "" };
    if r.deferred == 0 {
        return format!("{} is {}{force}", r.id, r.state);
    }
    let gone = taken(r.objects, r.versions, r.kpi_hours, 0) + &more(r.batches, r.uploads);
    let holds = if r.holds.len() == 1 { "hold" } else { "holds" };
    let kept = counted(r.deferred, "object");
    format!("{} is {}{force}: {gone}; {kept} under {holds} {} → deferred", r.id, r.state, r.holds.join(", "))
}

fn shown(r: &Request) -> String {
    let some = |n: u64| Some(n).filter(|n| *n > 0).map(count);
    record(&[
        ("request", Some(r.id.clone())),
        ("kind", Some(format!("{:?}", r.kind).to_lowercase())),
        ("state", Some(r.state.clone())),
        ("basis", Some(r.basis.clone())),
        ("entered", Some(r.opened_at.0.to_string())),
        ("due", Some(r.due_at.0.to_string())),
        ("in force", Some(if r.in_force { "yes" } else { "no" }.to_owned())),
        ("objects", some(r.objects)),
        ("versions", some(r.versions)),
        ("batches written anew", some(r.batches)),
        ("KPI hours", some(r.kpi_hours)),
        ("uploads", some(r.uploads)),
        ("deferred", some(r.deferred)),
        ("holds", Some(r.holds.join(", ")).filter(|holds| !holds.is_empty())),
        ("subject", r.subject.clone()),
        ("link", r.link.as_ref().map(linked)),
        ("certificate", r.certificate.as_ref().map(|_| "yes: see `dsr certificate`".to_owned())),
    ])
}

fn linked(link: &LinkShown) -> String {
    let begun = counted(link.downloads_begun.into(), "download");
    match link.spent_at {
        Some(at) => format!("used {}", at.0),
        None => format!("until {}, {begun} begun", link.expires_at.0),
    }
}

/// The one line of a file.
pub(super) fn subject(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(SUBJECT_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(SUBJECT_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|e| failed(file, &e))?;
    let name = text.strip_suffix('\n').unwrap_or(&text);
    let name = name.strip_suffix('\r').unwrap_or(name);
    if name.is_empty() || name.contains('\n') {
        return Err(Failure::Usage(format!("{} holds one name, on one line", file.display())));
    }
    Ok(name.to_owned())
}

/// What was done, in a sentence.
pub(super) fn erased(e: &SubjectErasure) -> String {
    let (Some(subject), Some(level)) = (&e.subject, &e.level) else {
        return "there is no such data subject: nothing was changed".into();
    };
    let gone = taken(e.objects, e.versions, e.kpi_hours, 0) + &more(e.batches, e.uploads);
    let (blobs, read) = (counted(e.blobs, "blob"), counted(e.files_scanned, "file"));
    let traces = counted(e.salts_found, "trace");
    format!("erased {subject}: {gone}; {blobs}; key destroyed, {level}: {read} read, {traces}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_file_holds_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subject");
        for (text, want) in [("contact:4711", "contact:4711"), ("contact:4711\n", "contact:4711"), ("é\r\n", "é")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(subject(&file).unwrap(), want);
        }
        for bad in ["", "\n", "one\ntwo\n"] {
            std::fs::write(&file, bad).unwrap();
            assert!(matches!(subject(&file), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
