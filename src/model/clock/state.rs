//! The clock's state on disk: one line of JSON, one line with its MAC in hexadecimal.
//!
//! Replaced whole: temporary file, fsync, rename, fsync of the directory. The MAC is computed by whoever holds the
//! key (the key service hands in a closure); here is no key. A *whole* older file still passes: within a boot it is
//! harmless, across boots it only makes the clock late, and the counter lets the key service notice.

use super::{ClockError, Saved};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// Computes the state's authentication tag under a key of the key service.
pub type Mac = Box<dyn Fn(&[u8]) -> [u8; 32] + Send + Sync>;

/// The file and what authenticates it.
pub struct StateFile {
    path: PathBuf,
    mac: Mac,
}

impl StateFile {
    /// A state file at `path`; its directory must exist.
    pub fn new(path: impl Into<PathBuf>, mac: Mac) -> Self {
        Self { path: path.into(), mac }
    }

    /// The state; `None` when there is no file.
    pub fn load(&self) -> Result<Option<Saved>, ClockError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(ClockError::Tampered),
            Err(error) => return Err(error.into()),
        };
        let (state, tag) = text.split_once('\n').ok_or(ClockError::Tampered)?;
        let mut given = [0; 32];
        hex::decode_to_slice(tag.trim_end(), &mut given).map_err(|_| ClockError::Tampered)?;
        if !bool::from(given.ct_eq(&(self.mac)(state.as_bytes()))) {
            return Err(ClockError::Tampered);
        }
        serde_json::from_str(state).map(Some).map_err(|_| ClockError::Tampered)
    }

    /// Replaces the state; durable on return.
    pub fn store(&self, saved: &Saved) -> Result<(), ClockError> {
        let state = serde_json::to_string(saved).expect("plain fields have a JSON form");
        let tag = hex::encode((self.mac)(state.as_bytes()));
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        replace(Path::new(&new), &self.path, format!("{state}\n{tag}\n").as_bytes())?;
        Ok(())
    }
}

/// Writes `bytes` to `new` and renames it to `path`, each step synced.
pub(super) fn replace(new: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(new, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
