//! A generation as the disk has it: its file, and the journal of what changed since, frame by frame, held against the
//! witness.

use super::Older;
use super::changes::{Change, Entries, apply, decode_changes};
use super::file::{frame_key, open_file, unwrap_file_key};
use crate::context::Id;
use crate::disk;
use crate::error::{KeyError, KeystoreError, ProviderError};
use crate::material::Secret;
use crate::provider::{MasterKeys, MasterState, RootSecret, Witness};
use crate::record::ProviderRecord;
use crate::row::RowKey;
use crate::shards::Shards;
use ring::digest;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// A generation and its journal as they were read and verified.
pub(super) struct Loaded {
    /// Without those of the shards.
    pub(super) entries: Entries,
    pub(super) shards: Shards,
    pub(super) generation: u64,
    pub(super) seq: u64,
    pub(super) chain: [u8; 32],
    pub(super) record: ProviderRecord,
    pub(super) frames: RowKey,
    pub(super) journal: Option<File>,
}

/// A provider that refuses, and why where it can be told.
fn whose(error: KeyError, record: &ProviderRecord, provider: &dyn MasterKeys) -> KeyError {
    let master = record.fields.master;
    let versions = provider.versions().unwrap_or_default();
    let is_gone = versions.iter().any(|known| known.name == master && known.state == MasterState::Destroyed);
    match error {
        KeyError::Provider(ProviderError::Refused) if is_gone => KeystoreError::MasterDestroyed(master.version).into(),
        error => error,
    }
}

impl Loaded {
    pub(super) fn open(
        dir: &Path,
        geo: Id,
        bytes: &[u8],
        witness: Option<Witness>,
        provider: &dyn MasterKeys,
        older: Older,
    ) -> Result<Self, KeyError> {
        let (record, at) = ProviderRecord::parse(bytes).map_err(|_| KeystoreError::Damaged)?;
        let file_key = unwrap_file_key(geo, &record, provider).map_err(|error| whose(error, &record, provider))?;
        let frames = frame_key(geo, RootSecret(Secret::filled(|out| *out = *file_key.0.bytes())));
        let (generation, mut entries) = open_file(geo, &record, file_key, &bytes[at..])?;
        let shards = Shards::of_main(&mut entries)?;
        let mut loaded =
            Self { entries, shards, generation, seq: 0, chain: sha256(bytes), record, frames, journal: None };
        // Accepted unseen: every frame that fits is taken, and nothing is held against it.
        let accepted = older == Older::Accept;
        if !accepted {
            loaded.check_generation(witness)?;
        }
        loaded.replay(dir, witness, accepted)?;
        Ok(loaded)
    }

    fn check_generation(&self, witness: Option<Witness>) -> Result<(), KeystoreError> {
        match witness {
            Some(witness) if self.generation < witness.generation => Err(KeystoreError::RolledBack),
            Some(witness) if self.generation == witness.generation => self.check_chain(&witness),
            Some(_) => Ok(()),
            // A store that was made, and its maker died before telling the witness.
            None if self.generation == 1 && self.entries.is_empty() => Ok(()),
            None => Err(KeystoreError::NoWitness),
        }
    }

    /// At the witnessed number the digest must be the witnessed one: two histories never share it.
    fn check_chain(&self, witness: &Witness) -> Result<(), KeystoreError> {
        if self.seq == witness.seq && self.chain != witness.chain {
            return Err(KeystoreError::RolledBack);
        }
        Ok(())
    }

    /// Applies the journal's frames. Bytes beyond the last good frame are a torn write if the witness never saw them,
    /// and are cut off; below that they are damage.
    fn replay(&mut self, dir: &Path, witness: Option<Witness>, accepted: bool) -> Result<(), KeyError> {
        let seen = witness.filter(|witness| witness.generation == self.generation && !accepted);
        let path = journal_path(dir, self.generation);
        let bytes = disk::read(&path, JOURNAL_BYTES_MAX).map_err(KeystoreError::from)?;
        let mut rest = bytes.as_deref().unwrap_or(&[]);
        while !rest.is_empty() {
            let Some((frame, changes)) = self.next_frame(rest) else { break };
            if witness.is_none() && !accepted {
                return Err(KeystoreError::NoWitness.into());
            }
            self.seq += 1;
            self.chain = sha256(frame);
            if let Some(witness) = &seen {
                self.check_chain(witness)?;
            }
            for change in changes {
                self.shards.touch(change.key(), &self.entries);
                apply(&mut self.entries, change);
            }
            rest = &rest[frame.len()..];
        }
        if seen.is_some_and(|witness| self.seq < witness.seq) {
            return Err(if rest.is_empty() { KeystoreError::RolledBack } else { KeystoreError::Damaged }.into());
        }
        let Some(bytes) = &bytes else { return Ok(()) };
        let file = OpenOptions::new().append(true).open(&path).map_err(KeystoreError::from)?;
        if !rest.is_empty() {
            file.set_len((bytes.len() - rest.len()) as u64).map_err(KeystoreError::from)?;
            file.sync_all().map_err(KeystoreError::from)?;
        }
        self.journal = Some(file);
        Ok(())
    }

    fn next_frame<'a>(&self, rest: &'a [u8]) -> Option<(&'a [u8], Vec<Change>)> {
        let len = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
        let frame = rest.get(..len.checked_add(4)?)?;
        let place = frame_place(self.generation, self.seq + 1, &self.chain);
        let row = self.frames.open(b'j', &place, &frame[4..]).ok()?;
        Some((frame, decode_changes(&Zeroizing::new(row.plain))?))
    }
}

/// `generation | seq | digest of what came before`: where a frame stands, as its row key.
pub(super) fn frame_place(generation: u64, seq: u64, chain: &[u8; 32]) -> [u8; 48] {
    let mut place = [0; 48];
    place[..8].copy_from_slice(&generation.to_be_bytes());
    place[8..16].copy_from_slice(&seq.to_be_bytes());
    place[16..].copy_from_slice(chain);
    place
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 is 32 bytes")
}

fn journal_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("journal.{generation:020}"))
}

pub(super) fn create_journal(dir: &Path, generation: u64) -> Result<File, KeystoreError> {
    let path = journal_path(dir, generation);
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    disk::sync_directory_of(&path)?;
    Ok(file)
}

/// Overwrites and unlinks the journals of generations that are gone.
pub(super) fn remove_other_journals(dir: &Path, generation: u64) -> Result<(), KeystoreError> {
    let live = journal_path(dir, generation);
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let is_journal = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"journal."));
        if is_journal && path != live {
            disk::shred(&path)?;
        }
    }
    Ok(())
}
