//! Files that must be whole, durable, and gone when replaced. Used by the key store and the local keyring only.
//!
//! What a crash leaves behind, in the order of [`replace`]: a `.tmp` nobody trusts; a `.old` that is the same file as
//! the live one (not yet renamed) or its predecessor (not yet overwritten). [`finish_replace`] clears either, and is
//! called before the live file is read.

use crate::material::random_array;
use crate::row::RowKey;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes `bytes` the content of `path`, durable on return; what it replaces is overwritten before it is unlinked.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    finish_replace(path)?;
    let temporary = beside(path, "tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    match fs::hard_link(path, beside(path, "old")) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::rename(&temporary, path)?;
    sync_directory_of(path)?;
    finish_replace(path)
}

/// Completes a replacement that a crash cut short: whatever lies beside `path` is overwritten and unlinked.
pub(crate) fn finish_replace(path: &Path) -> io::Result<()> {
    let old = beside(path, "old");
    let live = fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    match fs::metadata(&old) {
        Ok(meta) if live == Some((meta.dev(), meta.ino())) => {
            fs::remove_file(&old)?;
            sync_directory_of(path)?;
        }
        Ok(_) => shred(&old)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    shred(&beside(path, "tmp"))
}

/// Overwrites a file, waits for the disk, unlinks it. A file that is not there is shredded already.
pub(crate) fn shred(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
    io::copy(&mut io::repeat(0).take(len), &mut file)?;
    file.sync_data()?;
    fs::remove_file(path)?;
    sync_directory_of(path)
}

/// Makes the names in the directory of `path` durable.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// The content of `path`, or `None` where there is no such file. Refuses more than `max` bytes.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(Some(bytes))
}

/// Whether overwriting a file in this directory reaches its old bytes, and the file system's name. Copy-on-write
/// systems write elsewhere, so there a shred must not claim that the bytes are absent.
pub(crate) fn overwrites_in_place(directory: &Path) -> (bool, &'static str) {
    let Ok(stat) = rustix::fs::statfs(directory) else { return (false, "unknown") };
    #[allow(clippy::unnecessary_cast, reason = "f_type differs between targets")]
    match stat.f_type as u64 & 0xffff_ffff {
        0xEF53 => (true, "ext4"),
        0x5846_5342 => (true, "xfs"),
        0x0102_1994 => (true, "tmpfs"),
        0x9123_683E => (false, "btrfs"),
        0x2FC1_2FC1 => (false, "zfs"),
        0x794C_7630 => (false, "overlayfs"),
        0xF2F5_2010 => (false, "f2fs"),
        0xCA45_1A4E => (false, "bcachefs"),
        _ => (false, "unknown"),
    }
}

/// A small sealed value that changes often: two slots of one sector each, written in turn, one `fdatasync` a write. A
/// torn write costs the slot that was being written, never the value before it.
pub(crate) struct Slots {
    file: File,
    label: Vec<u8>,
    key: RowKey,
    counter: u64,
}

const SLOT_BYTES: usize = 512;
/// The longest value a slot holds.
pub(crate) const SLOT_VALUE_BYTES_MAX: usize = 256;

impl Slots {
    /// Opens or makes the file at `path`; returns the newest value in it. `label` tells this value from others under the
    /// same key.
    pub(crate) fn open(path: &Path, label: &[u8], key: RowKey) -> io::Result<(Self, Option<Vec<u8>>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(2 * SLOT_BYTES as u64).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&[0; 2 * SLOT_BYTES])?;
            file.sync_all()?;
            sync_directory_of(path)?;
            return Ok((Self { file, label: label.to_vec(), key, counter: 0 }, None));
        }
        let untouched = bytes.len() == 2 * SLOT_BYTES && bytes.iter().all(|byte| *byte == 0);
        let newest = bytes
            .chunks_exact(SLOT_BYTES)
            .enumerate()
            .filter_map(|(slot, bytes)| Self::open_slot(slot, bytes, label, &key))
            .max_by_key(|(counter, _)| *counter);
        match newest {
            Some((counter, value)) => Ok((Self { file, label: label.to_vec(), key, counter }, Some(value))),
            None if untouched => Ok((Self { file, label: label.to_vec(), key, counter: 0 }, None)),
            None => Err(ErrorKind::InvalidData.into()),
        }
    }

    fn open_slot(slot: usize, bytes: &[u8], label: &[u8], key: &RowKey) -> Option<(u64, Vec<u8>)> {
        let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let row = bytes.get(2..2 + len)?;
        let plain = key.open(b'h', &Self::place(label, slot), row).ok()?.plain;
        let counter = u64::from_be_bytes(plain.get(..8)?.try_into().ok()?);
        Some((counter, plain[8..].to_vec()))
    }

    /// What is written from now on is under another key.
    pub(crate) fn rekey(&mut self, key: RowKey) {
        self.key = key;
    }

    /// Writes the next value; durable on return.
    pub(crate) fn write(&mut self, value: &[u8]) -> io::Result<()> {
        if value.len() > SLOT_VALUE_BYTES_MAX {
            return Err(ErrorKind::InvalidInput.into());
        }
        let counter = self.counter + 1;
        let slot = usize::from(counter % 2 == 1);
        let plain = [&counter.to_be_bytes(), value].concat();
        let row = self.key.seal(b'h', &Self::place(&self.label, slot), &plain, &[]);
        let len = u16::try_from(row.len()).expect("a slot is 512 bytes");
        let mut sector = [0; SLOT_BYTES];
        sector[..2].copy_from_slice(&len.to_be_bytes());
        sector[2..2 + row.len()].copy_from_slice(&row);
        self.file.write_all_at(&sector, (slot * SLOT_BYTES) as u64)?;
        self.file.sync_data()?;
        self.counter = counter;
        Ok(())
    }

    fn place(label: &[u8], slot: usize) -> Vec<u8> {
        let mut place = label.to_vec();
        place.push(u8::from(slot == 1));
        place
    }
}

/// Writes 32 fresh random bytes as a new file only its owner may read; refuses to overwrite one.
pub(crate) fn write_new_random_file(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&*zeroize::Zeroizing::new(random_array::<32>()))?;
    file.sync_all()?;
    sync_directory_of(path)
}
