//! `geoseal audit …` as far as it is about the log as a whole: checkpoints, exports, proofs, and verifying them without a
//! server.

use super::Wiring;
use super::args::Audit;
use super::client::Client;
use super::failure::Failure;
use super::files;
use super::print::Output;
use super::records::{self, public};
use crate::admin::transparency::{LogCheckpoint, LogGrowth, LogLines, LogProof};
use crate::admin::wire;
use crate::model::time::Millis;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Lines asked for at once.
const PAGE: &str = "1000";

/// Runs one command; connects only for those that need a server.
pub(super) async fn audit(
    wiring: &dyn Wiring,
    output: Output,
    command: Audit,
    connect: impl FnOnce() -> Result<Client, Failure>,
) -> Result<(), Failure> {
    match command {
        Audit::Checkpoint { geo, out } => {
            let checkpoint: LogCheckpoint = connect()?.get(&["audit", "checkpoint", &geo], &[]).await?;
            if let Some(out) = &out {
                write(out, &checkpoint.note)?;
            }
            output.result(&checkpoint, |c| match &out {
                Some(out) => format!("{}: {} entries, root {}; written to {}", c.geo, c.size, c.root, out.display()),
                None => c.note.trim_end().to_owned(),
            })
        }
        Audit::Export { geo, out, from, to } => {
            let period = (from.is_some() || to.is_some())
                .then(|| from.unwrap_or(Millis(i64::MIN))..to.unwrap_or(Millis(i64::MAX)));
            if period.as_ref().is_some_and(|period| period.is_empty()) {
                return Err(Failure::Usage("--from lies before --to".into()));
            }
            export(wiring, output, &connect()?, &geo, &out, period).await
        }
        Audit::Prove { geo, entry, out } => {
            let index = [("index", entry.to_string())];
            let proof: LogProof = connect()?.get(&["audit", "proof", &geo], &index).await?;
            if let Some(out) = &out {
                write(out, &proof.proof)?;
            }
            output.result(&proof, |proof| match &out {
                Some(out) => format!("{}: entry {}; written to {}", proof.geo, proof.index, out.display()),
                None => proof.proof.trim_end().to_owned(),
            })
        }
        Audit::Verify { log: Some(dir), log_key, checkpoint, .. } => {
            let older = checkpoint.map(|path| read(&path)).transpose()?;
            let verdict = wiring.verify_log(&dir, &key(log_key)?, older.as_deref());
            let (valid, reason) = (verdict.is_ok(), verdict.as_ref().err());
            let (entries, root) = verdict.clone().map_or((None, None), |(entries, root)| (Some(entries), Some(root)));
            let shown = serde_json::json!({ "valid": valid, "reason": reason, "entries": entries, "root": root });
            output.result(&shown, |_| match &verdict {
                Ok((entries, root)) => format!("valid: {entries} entries, root {root}"),
                Err(reason) => format!("NOT VALID: {reason}"),
            })?;
            if valid { Ok(()) } else { Err(Failure::Unfit("the exported log is not valid".into())) }
        }
        Audit::Verify { proof: Some(file), log_key, .. } => {
            let verdict = wiring.verify_proof(&read(&file)?, &key(log_key)?);
            let shown = serde_json::json!({
                "valid": verdict.is_ok(), "reason": verdict.as_ref().err(), "entry": verdict.as_ref().ok(),
            });
            output.result(&shown, |_| match &verdict {
                Ok(line) => format!("valid: in the log, as {line}"),
                Err(reason) => format!("NOT VALID: {reason}"),
            })?;
            if verdict.is_ok() { Ok(()) } else { Err(Failure::Unfit("the proof is not valid".into())) }
        }
        Audit::Verify { since_checkpoint: Some(kept), geo, log_key, .. } => {
            let key = log_key.map(|given| public(&given)).transpose()?;
            since(wiring, output, &connect()?, &kept, geo, key).await
        }
        asks => records::audit(&connect()?, output, asks).await,
    }
}

/// What came of holding the server's log against a kept checkpoint.
#[derive(serde::Serialize)]
struct Since {
    valid: bool,
    from: u64,
    to: u64,
    first_bad: Option<u64>,
    reason: Option<String>,
    witnesses: Vec<String>,
}

/// The chain as the server walks it, the growth since the kept checkpoint as we verify it, and what its witnesses say.
async fn since(
    wiring: &dyn Wiring,
    output: Output,
    client: &Client,
    kept: &Path,
    geo: Option<String>,
    key: Option<[u8; 32]>,
) -> Result<(), Failure> {
    let dir = kept.is_dir().then_some(kept);
    let note_at = dir.map_or_else(|| kept.to_owned(), |dir| dir.join("checkpoint"));
    let (note, from) = (read(&note_at)?, super::certificates::size_of(&note_at)?);
    let named = note.lines().next().and_then(|name| name.split('/').nth(2)).map(str::to_owned);
    let geo = geo.or(named).ok_or_else(|| Failure::Usage(format!("{} names no geo", note_at.display())))?;
    let key = match key {
        Some(key) => key,
        None => public(&client.get::<wire::LogKey>(&["audit", "log-key", &geo], &[]).await?.public)?,
    };
    let walked: wire::AuditVerdicts = client.get(&["audit", "verify"], &[("geo", geo.clone())]).await?;
    let now: LogCheckpoint = client.get(&["audit", "checkpoint", &geo], &[]).await?;
    let mut found = Since { valid: false, from, to: now.size, first_bad: None, reason: None, witnesses: Vec::new() };
    if let Some(bad) = walked.logs.iter().find(|log| !log.intact) {
        (found.first_bad, found.reason) = (bad.first_bad, bad.reason.clone());
    } else if now.size < from {
        (found.first_bad, found.reason) = (Some(now.size), Some("gap: the log ends before the kept checkpoint".into()));
    } else {
        let growth: LogGrowth = client.get(&["audit", "growth", &geo], &[("since", from.to_string())]).await?;
        let stray = growth.witnesses.iter().filter(|witness| !witness.agrees);
        found.witnesses = stray.map(|witness| witness.by.clone()).collect();
        match wiring.verify_growth(&note, &growth, &key) {
            Ok((_, to)) => found.to = to,
            Err(reason) => {
                found.reason = Some(reason);
                if let Some(dir) = dir {
                    let lines = lines(client, &geo, from).await?;
                    found.first_bad = wiring.first_difference(dir, &key, &lines).map_err(Failure::Failed)?;
                }
            }
        }
    }
    found.valid = found.reason.is_none() && found.witnesses.is_empty();
    output.result(&found, |found| match (&found.reason, found.first_bad) {
        (Some(reason), Some(index)) => format!("NOT CONSISTENT: {reason}; first bad index {index}"),
        (Some(reason), None) => format!("NOT CONSISTENT: {reason}; first bad index: one below {from}"),
        (None, _) if found.witnesses.is_empty() => {
            format!("consistent {}→{}; signatures ok; witness ok", found.from, found.to)
        }
        (None, _) => format!(
            "consistent {}→{}; signatures ok; witness DISAGREES: {}",
            found.from,
            found.to,
            found.witnesses.join(", ")
        ),
    })?;
    if found.valid { Ok(()) } else { Err(Failure::Unfit(format!("the audit log of {geo} is not what it was"))) }
}

/// The first `count` entries as they lie in the log.
async fn lines(client: &Client, geo: &str, count: u64) -> Result<Vec<String>, Failure> {
    let mut lines: Vec<String> = Vec::new();
    while (lines.len() as u64) < count {
        let query = [("from", lines.len().to_string()), ("limit", PAGE.to_owned())];
        let page: LogLines = client.get(&["audit", "lines", geo], &query).await?;
        if page.lines.is_empty() {
            return Err(Failure::Failed(format!("the log ends at entry {}, before its checkpoint", lines.len())));
        }
        lines.extend(page.lines);
    }
    lines.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(lines)
}

/// Exactly the entries that one checkpoint was signed for: all of them, because only the whole log verifies; those of a
/// period are listed beside it, each with its index in the log.
async fn export(
    wiring: &dyn Wiring,
    output: Output,
    client: &Client,
    geo: &str,
    out: &Path,
    period: Option<Range<Millis>>,
) -> Result<(), Failure> {
    if out.exists() {
        return Err(Failure::Failed(format!("{} is there already; an export wants a new directory", out.display())));
    }
    let checkpoint: LogCheckpoint = client.get(&["audit", "checkpoint", geo], &[]).await?;
    let lines = lines(client, geo, checkpoint.size).await?;
    wiring.write_log(out, &checkpoint.note, &lines).map_err(Failure::Failed)?;
    if let Some(period) = period {
        let list: String = lines.iter().filter(|line| is_of(line, &period)).map(|line| format!("{line}\n")).collect();
        write(&out.join("period.ndjson"), &list)?;
    }
    output.result(&checkpoint, |c| {
        format!(
            "{}: {} entries, root {}; verify it with\n  geoseal audit verify --log {} --log-key KEY",
            c.geo,
            c.size,
            c.root,
            out.display()
        )
    })
}

/// Whether an entry is of a period, by its proven time. One that cannot be read is: nothing is left out quietly.
fn is_of(line: &str, period: &Range<Millis>) -> bool {
    let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let proven = entry["proven"].as_str().and_then(|time| time.parse::<Millis>().ok());
    proven.is_none_or(|proven| period.contains(&proven))
}

fn key(given: Option<String>) -> Result<[u8; 32], Failure> {
    public(&given.ok_or_else(|| Failure::Usage("--log-key says whose log it should be".into()))?)
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| files::failed(path, &error))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| files::failed(path, &error))
}
