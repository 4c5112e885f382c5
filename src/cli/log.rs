//! `geoseal audit …` as far as it is about the log as a whole: checkpoints, exports, proofs, and verifying them without a
//! server.

use super::Wiring;
use super::args::Audit;
use super::client::Client;
use super::failure::Failure;
use super::files;
use super::print::Output;
use super::records::{self, public};
use crate::admin::transparency::{LogCheckpoint, LogLines, LogProof};
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
        Audit::Export { geo, out } => export(wiring, output, &connect()?, &geo, &out).await,
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
        asks => records::audit(&connect()?, output, asks).await,
    }
}

/// Exactly the entries that one checkpoint was signed for.
async fn export(wiring: &dyn Wiring, output: Output, client: &Client, geo: &str, out: &Path) -> Result<(), Failure> {
    if out.exists() {
        return Err(Failure::Failed(format!("{} is there already; an export wants a new directory", out.display())));
    }
    let checkpoint: LogCheckpoint = client.get(&["audit", "checkpoint", geo], &[]).await?;
    let mut lines: Vec<String> = Vec::new();
    while (lines.len() as u64) < checkpoint.size {
        let query = [("from", lines.len().to_string()), ("limit", PAGE.to_owned())];
        let page: LogLines = client.get(&["audit", "lines", geo], &query).await?;
        if page.lines.is_empty() {
            return Err(Failure::Failed(format!("the log ends at entry {}, before its checkpoint", lines.len())));
        }
        lines.extend(page.lines);
    }
    lines.truncate(usize::try_from(checkpoint.size).unwrap_or(usize::MAX));
    wiring.write_log(out, &checkpoint.note, &lines).map_err(Failure::Failed)?;
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

fn key(given: Option<String>) -> Result<[u8; 32], Failure> {
    public(&given.ok_or_else(|| Failure::Usage("--log-key says whose log it should be".into()))?)
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| files::failed(path, &error))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| files::failed(path, &error))
}
