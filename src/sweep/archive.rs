//! Certificates as files of a geo: `<tenant>.json`, and `<tenant>.residual.json` while a final one is still to follow.

use super::certificate::Kind;
use crate::model::ids::TenantId;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where a tenant's certificate of this kind is kept.
fn path(dir: &Path, tenant: TenantId, kind: Kind) -> PathBuf {
    dir.join(match kind {
        Kind::Final => format!("{tenant}.json"),
        Kind::Partial => format!("{tenant}.partial.json"),
        Kind::Residual => format!("{tenant}.residual.json"),
    })
}

/// Keeps a certificate's text; durable on return.
pub(super) fn keep(dir: &Path, tenant: TenantId, kind: Kind, text: &str) -> io::Result<()> {
    keep_at(dir, &path(dir, tenant, kind), text)
}

fn keep_at(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

/// Keeps a file of this name; durable on return.
pub(super) fn keep_named(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    keep_at(dir, &dir.join(name), text)
}

/// A file of this name, if there is one.
pub(super) fn read_named(dir: &Path, name: &str) -> io::Result<Option<String>> {
    read_at(&dir.join(name))
}

/// The certificate of what became of a tenant when its epoch was closed.
pub(super) fn closed(tenant: TenantId) -> String {
    format!("{tenant}.closed.json")
}

/// The certificate of an epoch's close.
pub(super) fn epoch(number: u64) -> String {
    format!("epoch-{number}.json")
}

/// A certificate's text, if there is one.
pub(super) fn read(dir: &Path, tenant: TenantId, kind: Kind) -> io::Result<Option<String>> {
    read_at(&path(dir, tenant, kind))
}

fn read_at(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
