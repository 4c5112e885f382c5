//! The key service's part of a backup: its files as they are, wrapped and sealed. Never the keyring: what a backup holds
//! opens only with the master keys, which stay with their provider.
//!
//! Order for whoever makes one while serving: [`GeoKeyService::backup_heads`] first (a head may be older than what it
//! tells of, never newer), then the snapshots of the indexes, then [`GeoKeyService::backup_keystore`] (every key that a
//! snapshot needs is in it, unless one was destroyed meanwhile: compare [`KeystoreCopy::shreds`] with the log's head
//! from before the snapshots).

use crate::ending::masters_needed;
use crate::entries::{encode, place};
use crate::epoch::BackupNote;
use crate::error::{KeyError, KeystoreError};
use crate::heads::Head;
use crate::keystore::Change;
use crate::service::GeoKeyService;
use crate::shred_log::path_beside;
use minicbor::{Decode, Encode};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What was copied of a key store.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct KeystoreCopy {
    /// What the key service remembers of the backup.
    #[n(0)]
    pub note: BackupNote,
    /// Generation of the key store.
    #[n(1)]
    pub generation: u64,
    /// The shred log's head.
    #[n(2)]
    pub shreds: Head,
}

impl GeoKeyService {
    /// Copies the newest heads (index anchors, audit log) into `dir`, which must not exist; durable on return.
    pub fn backup_heads(&self, dir: &Path) -> Result<(), KeyError> {
        // A slot that is being written costs its copy the newest value, never the one before.
        Ok(copy_files(self.heads.dir(), dir)?)
    }

    /// Copies the key store into `dir` and the shred log to `dir` with `.shreds`, neither of which may exist; durable on
    /// return. The backup `id` is
    /// remembered, so that the close of an epoch can tell which backups it made unreadable.
    pub fn backup_keystore(&self, dir: &Path, id: &str) -> Result<KeystoreCopy, KeyError> {
        if dir.exists() {
            return Err(KeyError::Exists);
        }
        let mut store = self.store.lock();
        let master = self.provider.active()?.version;
        let masters = Some(masters_needed(&store)?);
        let note = BackupNote { id: id.to_owned(), at: self.clock.cc_lo(), master, masters };
        store.commit(vec![Change::Put(place::backup(id), encode(&note))], &*self.provider)?;
        copy_files(store.dir(), dir)?;
        let log = path_beside(store.dir());
        if log.exists() {
            copy_file(&log, &path_beside(dir))?;
        }
        Ok(KeystoreCopy { note, generation: store.generation(), shreds: store.shreds().head() })
    }
}

/// The plain files of a directory, but for the lock, into a new one: a backup overwrites nothing.
fn copy_files(from: &Path, to: &Path) -> Result<(), KeystoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(to.parent().unwrap_or(Path::new("/")));
    made.and_then(|()| fs::DirBuilder::new().mode(0o700).create(to))?;
    for file in fs::read_dir(from)? {
        let file = file?;
        if file.file_type()?.is_file() && file.file_name() != "lock" {
            copy_file(&file.path(), &to.join(file.file_name()))?;
        }
    }
    Ok(File::open(to)?.sync_all()?)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), KeystoreError> {
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut File::open(from)?, &mut copy)?;
    Ok(copy.sync_all()?)
}
