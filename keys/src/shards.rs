//! The subject shards of the key store: files of at most 64k subject keys each, so that an erasure rewrites one of them
//! and not all. Used by the key store only.
//!
//! A shard is a range of entry keys (`s | tenant | subject`): from its own start to the next one's. The main file holds
//! the table of shards, each with the digest of its file, so whoever knows the main file knows them all; and it holds the
//! *pending* entries, additions that no shard has yet. A store from before there were shards is one whose entries are all
//! pending.
//!
//! Invariants:
//! - What a shard's file holds and the entries do not hold any more (a record that became a tombstone, an entry that was
//!   removed) is gone from the file when the next compaction returns.
//! - A shard's file is never changed: a new one with a new number and a new file key is written, then the main file that
//!   names it, then the old one is overwritten and unlinked. Opening clears what no main file names.

use crate::context::Id;
use crate::disk;
use crate::error::{KeyError, KeystoreError};
use crate::keystore::{Entries, FileKey, SHARD_BYTES_MAX, open_file, salt_of, seal_file, sha256, unwrap_file_key};
use crate::provider::MasterKeys;
use crate::record::{KeyName, ProviderRecord};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How many entries of subjects there may be in one place.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// In one shard.
    pub(crate) shard_entries_max: usize,
    /// Pending, in the main file.
    pub(crate) pending_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { shard_entries_max: 65_536, pending_max: 32_768 }
    }
}

/// What an entry of a subject begins with, and where the first shard starts.
pub(crate) const SUBJECT: u8 = b's';
/// What a row of the table begins with, in the main file.
const TABLE: u8 = b'x';

#[derive(Clone)]
struct Shard {
    number: u64,
    digest: [u8; 32],
    master: KeyName,
    /// The salt in its provider record, for the scan that follows its end.
    salt: Option<[u8; 24]>,
}

/// Which shards there are, and what they do not have yet.
#[derive(Default)]
pub(crate) struct Shards {
    /// By the first entry key that belongs there.
    table: BTreeMap<Vec<u8>, Shard>,
    /// Entry keys whose newest value is in no shard, and whether a shard has an older one.
    pending: BTreeMap<Vec<u8>, bool>,
}

/// The next state of the table, its new files written and the old ones still there.
pub(crate) struct Folded {
    table: BTreeMap<Vec<u8>, Shard>,
    replaced: Vec<Shard>,
    /// Ranges that were folded, as shard starts of the old table.
    starts: Vec<Vec<u8>>,
}

impl Shards {
    /// Takes the table out of the main file's entries. What else is there of subjects is pending.
    pub(crate) fn of_main(entries: &mut Entries) -> Result<Self, KeystoreError> {
        let mut shards = Self::default();
        let rows: Vec<_> = range(entries, &[TABLE]).map(|(key, value)| (key.clone(), value.to_vec())).collect();
        for (key, value) in rows {
            entries.remove(&key);
            let (number, digest) = value.split_first_chunk::<8>().ok_or(KeystoreError::Damaged)?;
            let digest = digest.try_into().map_err(|_| KeystoreError::Damaged)?;
            // Master and salt are read with the file.
            let unread = KeyName { id: Id::default(), version: 0 };
            let shard = Shard { number: u64::from_be_bytes(*number), digest, master: unread, salt: None };
            shards.table.insert(key[1..].to_vec(), shard);
        }
        shards.pending = range(entries, &[SUBJECT]).map(|(key, _)| (key.clone(), false)).collect();
        Ok(shards)
    }

    /// Notes a change of an entry, before it is applied to `entries`.
    pub(crate) fn touch(&mut self, key: &[u8], entries: &Entries) {
        if key.first() == Some(&SUBJECT) && !self.pending.contains_key(key) {
            self.pending.insert(key.to_vec(), entries.contains_key(key));
        }
    }

    /// Reads every shard's file into `entries`, where nothing newer is pending.
    pub(crate) fn load(
        &mut self,
        dir: &Path,
        geo: Id,
        entries: &mut Entries,
        provider: &dyn MasterKeys,
    ) -> Result<(), KeyError> {
        for shard in self.table.values_mut() {
            let (record, key, sealed) = read(dir, geo, shard, provider)?;
            (shard.master, shard.salt) = (record.fields.master, salt_of(&record));
            let (number, held) = open_file(geo, &record, key, &sealed)?;
            if number != shard.number {
                return Err(KeystoreError::Damaged.into());
            }
            for (key, value) in held {
                match self.pending.get_mut(&key) {
                    Some(older) => *older = true,
                    None => drop(entries.insert(key, value)),
                }
            }
        }
        Ok(())
    }

    /// The master key that each shard's file key is wrapped under, as the disk has it: read, and unwrapped.
    pub(crate) fn masters_on_disk(
        &self,
        dir: &Path,
        geo: Id,
        provider: &dyn MasterKeys,
    ) -> Result<Vec<KeyName>, KeyError> {
        self.table.values().map(|shard| Ok(read(dir, geo, shard, provider)?.0.fields.master)).collect()
    }

    /// The same, as it was read last.
    pub(crate) fn masters(&self) -> impl Iterator<Item = KeyName> {
        self.table.values().map(|shard| shard.master)
    }

    /// Whether the main file has an entry: all but those that are in a shard.
    pub(crate) fn in_main(&self, key: &[u8]) -> bool {
        key.first() != Some(&SUBJECT) || self.pending.contains_key(key)
    }

    /// Writes the shards anew that must not stay as they are: those that hold an older value of a pending entry, those
    /// under another master key than `active`, and, when there is too much pending, those it belongs to.
    pub(crate) fn fold(
        &self,
        dir: &Path,
        geo: Id,
        entries: &Entries,
        limits: Limits,
        active: KeyName,
        provider: &dyn MasterKeys,
    ) -> Result<Folded, KeyError> {
        let mut starts: Vec<Vec<u8>> = Vec::new();
        let full = self.pending.len() > limits.pending_max;
        for (key, older) in &self.pending {
            if (full || *older) && starts.last().is_none_or(|last| *last != self.start_of(key)) {
                starts.push(self.start_of(key));
            }
        }
        starts.extend(self.table.iter().filter(|(_, shard)| shard.master != active).map(|(start, _)| start.clone()));
        starts.sort();
        starts.dedup();
        let mut folded = Folded { table: self.table.clone(), replaced: Vec::new(), starts };
        let mut number = self.table.values().map(|shard| shard.number).max().unwrap_or(0);
        for start in &folded.starts {
            folded.replaced.extend(folded.table.remove(start));
            let held: Vec<_> = self.held(start, entries).collect();
            let first = start.len() == 1;
            if held.is_empty() && !first {
                // Its range falls to the shard before it.
                continue;
            }
            let each =
                if held.len() > limits.shard_entries_max { limits.shard_entries_max.div_ceil(2) } else { held.len() };
            let mut place = start.clone();
            let mut rest = held.as_slice();
            loop {
                let (part, after) = rest.split_at(each.min(rest.len()));
                number += 1;
                let file = seal_file(geo, number, part.iter().copied(), active, provider)?;
                disk::replace(&path(dir, number), &file.bytes).map_err(KeystoreError::from)?;
                let salt = salt_of(&file.record);
                let shard = Shard { number, digest: sha256(&file.bytes), master: file.record.fields.master, salt };
                folded.table.insert(place, shard);
                rest = after;
                let Some((next, _)) = rest.first() else { break };
                place = (*next).clone();
            }
        }
        Ok(folded)
    }

    /// Entries in the range of the shard that starts at `start`.
    fn held<'a>(
        &self,
        start: &[u8],
        entries: &'a Entries,
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Zeroizing<Vec<u8>>)> + use<'a> {
        let after = (std::ops::Bound::Excluded(start.to_vec()), std::ops::Bound::Unbounded);
        let end = self.table.range(after).next().map_or(vec![SUBJECT + 1], |(end, _)| end.clone());
        entries.range(start.to_vec()..end)
    }

    /// Where the shard that a key belongs to starts.
    fn start_of(&self, key: &[u8]) -> Vec<u8> {
        self.table.range(..=key.to_vec()).next_back().map_or(vec![SUBJECT], |(start, _)| start.clone())
    }

    /// The new state is named by the main file: takes it on, clears the files it replaced. Returns their salts.
    pub(crate) fn adopt(&mut self, dir: &Path, folded: Folded) -> Result<Vec<[u8; 24]>, KeystoreError> {
        let before = std::mem::take(&mut self.pending);
        let kept = before.into_iter().filter(|(key, _)| folded.starts.binary_search(&self.start_of(key)).is_err());
        let kept: BTreeMap<_, _> = kept.collect();
        (self.pending, self.table) = (kept, folded.table);
        for shard in &folded.replaced {
            disk::shred(&path(dir, shard.number))?;
        }
        Ok(folded.replaced.into_iter().filter_map(|shard| shard.salt).collect())
    }

    /// Overwrites and unlinks shard files that the table does not name: what a crash left.
    pub(crate) fn clear_leftovers(&self, dir: &Path) -> Result<(), KeystoreError> {
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
            let named = || self.table.values().any(|shard| self::path(dir, shard.number) == path);
            if name.starts_with(b"subjects-") && !named() {
                disk::shred(&path)?;
            }
        }
        Ok(())
    }
}

impl Folded {
    /// The table as the main file holds it.
    pub(crate) fn rows(&self) -> Entries {
        let row = |(start, shard): (&Vec<u8>, &Shard)| {
            let key = [&[TABLE], start.as_slice()].concat();
            (key, Zeroizing::new([&shard.number.to_be_bytes()[..], &shard.digest].concat()))
        };
        self.table.iter().map(row).collect()
    }

    /// Whether an entry that is pending now will be in a shard.
    pub(crate) fn takes(&self, shards: &Shards, key: &[u8]) -> bool {
        self.starts.binary_search(&shards.start_of(key)).is_ok()
    }
}

fn range<'a>(entries: &'a Entries, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Vec<u8>, &'a Zeroizing<Vec<u8>>)> {
    entries.range(prefix.to_vec()..).take_while(move |(key, _)| key.starts_with(prefix))
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("subjects-{number:010}.seal"))
}

/// A shard's file, if it is the one that the table names.
fn read(
    dir: &Path,
    geo: Id,
    shard: &Shard,
    provider: &dyn MasterKeys,
) -> Result<(ProviderRecord, FileKey, Vec<u8>), KeyError> {
    let bytes = disk::read(&path(dir, shard.number), SHARD_BYTES_MAX).map_err(KeystoreError::from)?;
    let mut bytes = bytes.ok_or(KeystoreError::Damaged)?;
    if sha256(&bytes) != shard.digest {
        return Err(KeystoreError::Damaged.into());
    }
    let (record, at) = ProviderRecord::parse(&bytes).map_err(|_| KeystoreError::Damaged)?;
    let key = unwrap_file_key(geo, &record, provider)?;
    bytes.drain(..at);
    Ok((record, key, bytes))
}
