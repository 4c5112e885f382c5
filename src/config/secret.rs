//! Files that hold a secret: read when it is needed, refused when others may read them or when it is none.

use super::ConfigError;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Shortest PIN.
const PIN_BYTES_MIN: usize = 4;
/// Fewer distinct bytes than this is a placeholder, not a secret.
const DISTINCT_BYTES_MIN: usize = 8;

/// A file with a secret: the path may be printed, the content never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    path: PathBuf,
    bytes_min: usize,
    distinct_min: usize,
    is_text: bool,
}

impl SecretFile {
    pub(super) fn text(path: PathBuf, bytes_min: usize) -> Self {
        Self { path, bytes_min, distinct_min: DISTINCT_BYTES_MIN, is_text: true }
    }

    /// Of a token that locks itself after a few wrong ones.
    pub(super) fn pin(path: PathBuf) -> Self {
        Self { path, bytes_min: PIN_BYTES_MIN, distinct_min: 1, is_text: true }
    }

    pub(super) fn bytes(path: PathBuf, bytes_min: usize) -> Self {
        Self { path, bytes_min, distinct_min: DISTINCT_BYTES_MIN, is_text: false }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret; of a text, without the line end. Refuses a file that others may read, and a placeholder.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let refused = |why: String| ConfigError::Refused(vec![why]);
        private_mode(&self.path).map_err(refused)?;
        let read = std::fs::read(&self.path);
        let mut secret = Zeroizing::new(read.map_err(|source| ConfigError::Read { file: self.path.clone(), source })?);
        if self.is_text {
            let end = secret.trim_ascii_end().len();
            secret.truncate(end);
        }
        let distinct = secret.iter().collect::<BTreeSet<_>>().len();
        if secret.len() < self.bytes_min || distinct < self.distinct_min {
            return Err(refused(format!(
                "{}: too short or too plain for a secret; at least {} random bytes, such as: openssl rand -hex 32",
                self.path.display(),
                self.bytes_min
            )));
        }
        Ok(secret)
    }
}

pub(super) fn private_mode(file: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?;
    if meta.permissions().mode() & 0o007 != 0 {
        return Err(format!("{}: holds a secret and others may read it; chmod o= it", file.display()));
    }
    Ok(())
}
