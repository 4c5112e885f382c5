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
    fs::create_dir_all(dir)?;
    let path = path(dir, tenant, kind);
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(dir)?.sync_all()
}

/// A certificate's text, if there is one.
pub(super) fn read(dir: &Path, tenant: TenantId, kind: Kind) -> io::Result<Option<String>> {
    match fs::read_to_string(path(dir, tenant, kind)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
