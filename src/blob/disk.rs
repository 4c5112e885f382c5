//! What `LocalFileSystem::with_fsync` leaves open, closed with `std::fs`.
//!
//! object_store 0.14.2 syncs a file, its directory and the directories *it* created. It does not:
//! - sync directories that a concurrent put has created and not yet synced (it sees them and goes on), so we make and
//!   sync the fan-out directories ourselves, before the first put into each;
//! - sync deletes;
//! - show `name#1`, the temporary file of a write that died, in any listing.

use super::{BlobError, Leftovers};
use crate::model::ids::SegmentId;
use crate::model::time::Millis;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The directory of a local store: `ab/cd/<32 hex digits>`.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    /// Which of the 65,536 fan-out directories exist durably: one bit each, by the first two bytes of the id.
    durable: Mutex<Box<[u64; 1024]>>,
}

impl Disk {
    /// Creates `root` where needed, and makes every directory that is already there durable.
    pub(super) fn open(root: &Path) -> Result<Self, BlobError> {
        let absolute = std::path::absolute(root).map_err(failed("find the blob directory"))?;
        let there = absolute.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/")).to_owned();
        let mut make = fs::DirBuilder::new();
        make.recursive(true).mode(0o700).create(root).map_err(failed("create the blob directory"))?;
        // Every directory that is new, and the one that was there and has got a new entry.
        for dir in absolute.ancestors().take_while(|dir| dir.starts_with(&there)) {
            sync_dir(dir)?;
        }
        let root = fs::canonicalize(root).map_err(failed("find the blob directory"))?;
        let mut durable = Box::new([0; 1024]);
        for first in fan_out_dirs(&root)? {
            for second in fan_out_dirs(&root.join(hex::encode([first])))? {
                mark(&mut durable, [first, second]);
            }
            sync_dir(&root.join(hex::encode([first])))?;
        }
        sync_dir(&root)?;
        Ok(Self { root, durable: Mutex::new(durable) })
    }

    /// Where the store lies, absolute and without links.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directory of `id` exist durably. Blocks on the disk the first time, costs a bit test afterwards.
    pub(super) fn make_dir(&self, id: SegmentId) -> Result<(), BlobError> {
        let fan = [id.0[0], id.0[1]];
        // Held while syncing: a second put into the same new directory has to wait until it is durable.
        let mut durable = self.durable.lock();
        if is_marked(&durable, fan) {
            return Ok(());
        }
        let first = self.root.join(hex::encode([fan[0]]));
        fs::create_dir_all(first.join(hex::encode([fan[1]]))).map_err(failed("create a blob directory"))?;
        sync_dir(&first)?;
        sync_dir(&self.root)?;
        mark(&mut durable, fan);
        Ok(())
    }

    /// Whether [`Disk::make_dir`] has nothing to do.
    pub(super) fn has_dir(&self, id: SegmentId) -> bool {
        is_marked(&self.durable.lock(), [id.0[0], id.0[1]])
    }

    /// Unlinks blobs and syncs each directory once.
    pub(super) fn delete(&self, ids: &[SegmentId]) -> Result<(), BlobError> {
        let mut touched = BTreeSet::new();
        for id in ids {
            let path = self.root.join(super::objects::name(*id));
            match fs::remove_file(&path) {
                Ok(()) => _ = touched.insert(path.parent().expect("a blob lies in a directory").to_owned()),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(failed("delete a blob")(e)),
            }
        }
        touched.iter().try_for_each(|dir| sync_dir(dir))
    }

    /// Unlinks temporary files last written before `before`, and syncs.
    pub(super) fn remove_leftovers(&self, before: Millis) -> Result<Leftovers, BlobError> {
        let mut removed = Leftovers::default();
        for first in fan_out_dirs(&self.root)? {
            let first = self.root.join(hex::encode([first]));
            for second in fan_out_dirs(&first)? {
                let dir = first.join(hex::encode([second]));
                let found = remove_temporary(&dir, before)?;
                if found.files > 0 {
                    sync_dir(&dir)?;
                }
                removed.files += found.files;
                removed.bytes += found.bytes;
            }
        }
        Ok(removed)
    }
}

fn remove_temporary(dir: &Path, before: Millis) -> Result<Leftovers, BlobError> {
    let mut removed = Leftovers::default();
    for entry in fs::read_dir(dir).map_err(failed("read a blob directory"))? {
        let entry = entry.map_err(failed("read a blob directory"))?;
        if !entry.file_name().to_str().is_some_and(is_temporary) {
            continue;
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(failed("look at a temporary file")(e)),
        };
        if modified(&meta) >= before {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Ok(()) => {
                removed.files += 1;
                removed.bytes += meta.len();
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(failed("delete a temporary file")(e)),
        }
    }
    Ok(removed)
}

/// object_store's temporary names: `<name>#<digits>`.
fn is_temporary(name: &str) -> bool {
    name.split_once('#').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn modified(meta: &fs::Metadata) -> Millis {
    let since = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    Millis(since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
}

/// The sub-directories of `dir` whose names are two lower-case hexadecimal digits.
fn fan_out_dirs(dir: &Path) -> Result<Vec<u8>, BlobError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("read a blob directory"))? {
        let entry = entry.map_err(failed("read a blob directory"))?;
        let name = entry.file_name();
        let byte = name.to_str().filter(|n| n.len() == 2).and_then(|n| u8::from_str_radix(n, 16).ok());
        match byte {
            Some(byte) if name.to_str() == Some(hex::encode([byte]).as_str()) => found.push(byte),
            _ => {}
        }
    }
    Ok(found)
}

fn sync_dir(dir: &Path) -> Result<(), BlobError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(failed("sync a blob directory"))
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> BlobError {
    move |source| BlobError::Disk { doing, source }
}

fn mark(durable: &mut [u64; 1024], fan: [u8; 2]) {
    let bit = usize::from(u16::from_be_bytes(fan));
    durable[bit / 64] |= 1 << (bit % 64);
}

fn is_marked(durable: &[u64; 1024], fan: [u8; 2]) -> bool {
    let bit = usize::from(u16::from_be_bytes(fan));
    durable[bit / 64] & (1 << (bit % 64)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_temporary_files_from_blobs() {
        for temporary in ["0011#1", "x#27"] {
            assert!(is_temporary(temporary), "{temporary}");
        }
        for blob in ["0011", "0011#", "0011#a", ""] {
            assert!(!is_temporary(blob), "{blob}");
        }
    }

    #[test]
    fn directories_found_at_open_need_no_second_sync() {
        let dir = tempfile::tempdir().unwrap();
        let id = SegmentId([0xab; 16]);
        let disk = Disk::open(dir.path()).unwrap();
        assert!(!disk.has_dir(id));
        disk.make_dir(id).unwrap();
        assert!(disk.has_dir(id));
        assert!(dir.path().join("ab/ab").is_dir());
        let again = Disk::open(dir.path()).unwrap();
        assert!(again.has_dir(id) && !again.has_dir(SegmentId([0xac; 16])));
    }
}
