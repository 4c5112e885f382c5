//! The audit log as a transparency log: the routes, and what they give. Formats of what is signed: docs/operations.md.

use super::auth::Role;
use super::call::{Answer, Call};
use super::door;
use super::error::ActError;
use super::routes::{Route, Run, looks, ok};
use super::wire::AuditShown;
use crate::audit::Hash;
use crate::audit::tree::{Growth, Tile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lines a page of the log has at most.
const LINES_MAX: usize = 1000;

/// `GET /admin/v1/audit/checkpoint/{geo}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogCheckpoint {
    /// The log's geo.
    pub geo: String,
    /// Entries.
    pub size: u64,
    /// Root of the Merkle tree over them, in hexadecimal.
    pub root: String,
    /// Both as a signed note.
    pub note: String,
    /// The log key in the form that tools for signed notes take.
    pub verifier_key: String,
}

/// `GET /admin/v1/audit/lines/{geo}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLines {
    /// The entries as they lie in the log, byte for byte, without line feeds.
    pub lines: Vec<String>,
}

/// `GET /admin/v1/audit/proof/{geo}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogProof {
    /// The log's geo.
    pub geo: String,
    /// The entry's place.
    pub index: u64,
    /// The entry, its way to the root, and the signed checkpoint, as a file.
    pub proof: String,
}

/// `GET /admin/v1/audit/growth/{geo}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogGrowth {
    /// The log as it is now.
    pub checkpoint: LogCheckpoint,
    /// The hashes between its first `since` entries and now.
    pub growth: Growth,
    /// What others remember of the log.
    #[serde(default)]
    pub witnesses: Vec<Witnessed>,
}

/// What somebody who is not the log remembers of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Witnessed {
    /// `key-service`, or `witness-file`.
    pub by: String,
    /// How many entries it has seen.
    pub entries: u64,
    /// Whether the log begins with these.
    pub agrees: bool,
}

/// The routes of this page.
pub(super) fn routes() -> Vec<Route> {
    vec![
        looks::<LogCheckpoint>(
            "/admin/v1/audit/checkpoint/{geo}",
            Role::Auditor,
            "logCheckpoint",
            "Size and Merkle root of a geo's audit log, signed",
            &[],
            |c| Box::pin(async move { ok(&c.acts.log_checkpoint(door::geo(c.param("geo"))?).await?) }),
        ),
        looks::<LogLines>(
            "/admin/v1/audit/lines/{geo}",
            Role::Auditor,
            "logLines",
            "Entries of a geo's audit log as they lie in it",
            &["from", "limit"],
            |c| {
                Box::pin(async move {
                    let (geo, from) = (door::geo(c.param("geo"))?, c.query("from")?.unwrap_or(0));
                    ok(&c.acts.log_lines(geo, from, c.limit(LINES_MAX, LINES_MAX)?).await?)
                })
            },
        ),
        looks::<LogProof>(
            "/admin/v1/audit/proof/{geo}",
            Role::Auditor,
            "logProof",
            "One entry of a geo's audit log, and what shows that it is in it",
            &["index"],
            |c| {
                Box::pin(async move {
                    let missing = || ActError::BadQuery("`index` says which entry".into());
                    let (geo, index) = (door::geo(c.param("geo"))?, c.query("index")?.ok_or_else(missing)?);
                    ok(&c.acts.log_proof(geo, index).await?)
                })
            },
        ),
        looks::<AuditShown>(
            "/admin/v1/audit/entries/{geo}/{index}",
            Role::Admin,
            "auditShow",
            "One entry of a geo's audit log, with what was said when somebody acted, while the tenant has keys",
            &[],
            |c| {
                Box::pin(async move {
                    let bad = |_| ActError::BadQuery("an entry's index is a number".into());
                    let index = c.param("index").parse().map_err(bad)?;
                    ok(&c.acts.audit_show(door::geo(c.param("geo"))?, index).await?)
                })
            },
        ),
        looks::<LogGrowth>(
            "/admin/v1/audit/growth/{geo}",
            Role::Auditor,
            "logGrowth",
            "What shows that a geo's audit log goes on from an older checkpoint",
            &["since"],
            |c| {
                Box::pin(async move {
                    let missing =
                        || ActError::BadQuery("`since` says how many entries the older checkpoint has".into());
                    let (geo, since) = (door::geo(c.param("geo"))?, c.query("since")?.ok_or_else(missing)?);
                    ok(&c.acts.log_growth(geo, since).await?)
                })
            },
        ),
        published(
            "/audit/v1/{geo}/checkpoint",
            "publishedCheckpoint",
            "The log's checkpoint: a signed note",
            &[],
            |c| {
                Box::pin(async move {
                    let checkpoint = c.acts.log_checkpoint(door::geo(c.param("geo"))?).await?;
                    Ok(Answer::document(NOTE, checkpoint.note.into_bytes()))
                })
            },
        ),
        published(
            "/audit/v1/{geo}/tile/{*path}",
            "publishedTile",
            "256 hashes or entries, or the first of them",
            &[],
            |c| Box::pin(async move { tile(&c, c.param("path")).await }),
        ),
        published(
            "/audit/v1/{geo}/entries/{*path}",
            "publishedEntries",
            "256 entries, or the first of them",
            &[],
            |c| Box::pin(async move { tile(&c, &format!("entries/{}", c.param("path"))).await }),
        ),
        published(
            "/audit/v1/{geo}/proof",
            "publishedProof",
            "What shows that a certificate, by the SHA-256 that the log has of it, is in the log",
            &["certificate"],
            |c| {
                Box::pin(async move {
                    let missing = || ActError::BadQuery("`certificate` is the SHA-256 of a certificate".into());
                    let text = c.text("certificate").ok_or_else(missing)?;
                    let certificate = serde_json::from_value::<Hash>(text.into()).map_err(|_| missing())?;
                    let found = c.acts.certificate_proof(door::geo(c.param("geo"))?, certificate).await?;
                    Ok(Answer::document(NOTE, found.proof.into_bytes()))
                })
            },
        ),
    ]
}

const NOTE: &str = "text/plain; charset=utf-8";
const TILE: &str = "application/octet-stream";

/// A route of those that tools for transparency logs know: tlog-tiles. What they give is no JSON.
fn published(
    path: &'static str,
    name: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    run: Run,
) -> Route {
    looks::<String>(path, Role::Auditor, name, summary, query, run)
}

async fn tile(call: &Call, path: &str) -> Result<Answer, ActError> {
    let geo = door::geo(call.param("geo"))?;
    let tile = Tile::parse(path).ok_or(ActError::NoSuchRoute)?;
    Ok(Answer::document(TILE, call.acts.log_tile(geo, tile).await?))
}
