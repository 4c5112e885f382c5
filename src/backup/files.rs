//! Files of a backup: written durably, copied with their SHA-256, found again.

use super::BackupError;
use ring::digest::{Context, SHA256};
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes read at once.
const STEP: usize = 1 << 20;

/// What a file is.
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
}

pub(super) fn disk(path: &Path) -> impl Fn(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::Disk { path: path.clone(), error }
}

/// Makes a directory that may not have anything in it.
pub(super) fn make_empty(path: &Path) -> Result<(), BackupError> {
    make_dir(path)?;
    let has_any = fs::read_dir(path).map_err(disk(path))?.next().is_some();
    if has_any { Err(BackupError::Place { path: path.to_owned(), why: "it is not empty" }) } else { Ok(()) }
}

pub(super) fn make_dir(path: &Path) -> Result<(), BackupError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk(path))
}

pub(super) fn create(path: &Path) -> Result<File, BackupError> {
    make_dir(path.parent().unwrap_or(Path::new("/")))?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(disk(path))
}

pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let mut file = create(path)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(disk(path))
}

/// Copies a file; durable on return.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    make_dir(to.parent().unwrap_or(Path::new("/")))?;
    fs::copy(from, to).map_err(disk(from))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(disk(to))
}

pub(super) fn sum(path: &Path) -> Result<Sum, BackupError> {
    let file = File::open(path).map_err(disk(path))?;
    let (mut file, mut hash, mut bytes) = (BufReader::new(file), Context::new(&SHA256), 0);
    let mut buffer = vec![0; STEP];
    loop {
        let read = file.read(&mut buffer).map_err(disk(path))?;
        if read == 0 {
            let sha256 = hash.finish().as_ref().try_into().expect("SHA-256 is 32 bytes");
            return Ok(Sum { bytes, sha256 });
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// All plain files below `dir`, each by its path from there, in order.
pub(super) fn below(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let (mut left, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).map_err(disk(&next))? {
            let entry = entry.map_err(disk(&next))?;
            let kind = entry.file_type().map_err(disk(&entry.path()))?;
            if kind.is_dir() {
                left.push(entry.path());
            } else {
                found.extend(entry.path().strip_prefix(dir).ok().map(Path::to_owned));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Makes the names in a directory, and in those below it, durable.
pub(super) fn sync_dirs(dir: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(dir).map_err(disk(dir))? {
        let entry = entry.map_err(disk(dir))?;
        if entry.file_type().map_err(disk(dir))?.is_dir() {
            sync_dirs(&entry.path())?;
        }
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(disk(dir))
}
