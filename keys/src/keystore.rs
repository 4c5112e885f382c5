//! The shreddable store of wrapped keys: one per geo, all in memory when open, never in an index engine (whose logs and
//! free pages keep deleted records). It knows entries, not what they mean; the service does.
//!
//! On disk (docs/key-hierarchy.md, "Key store"):
//! - `shard-0001.seal`: a provider record of this generation's file key, then a sealed segment of kind 6 with all entries
//!   in order, but for those of data subjects that are in shards. A new generation has a new file key, so the old file is
//!   noise as soon as its provider record is gone.
//! - `subjects-<number>.seal`: the subject shards, see `shards`. The main file names each with its digest.
//! - `journal.<generation>`: changes since, as sealed frames, each bound to its number and to the digest of the one
//!   before it.
//!
//! Invariants:
//! - A commit returns once its frame is on disk and the witness (kept on the provider's side) has seen it.
//! - Opening accepts exactly the witnessed state, or that plus changes nobody was told of. Anything older, altered,
//!   reordered or cut is refused; only a torn frame beyond the witness is dropped.
//! - After a failed write nothing more is written: the disk's state is known again only by opening it anew.

mod changes;
mod file;
mod generation;
mod roots;

pub(crate) use changes::{Change, Entries};
pub(crate) use file::{FileKey, open_file, seal_file, unwrap_file_key};
pub(crate) use generation::sha256;
pub(crate) use roots::{salt_of, unwrap_root, unwrap_roots, wrap_root};

use crate::context::Id;
use crate::disk;
use crate::error::{KeyError, KeystoreError};
use crate::provider::{MasterKeys, Witness};
use crate::record::{KeyName, ProviderRecord};
use crate::row::RowKey;
use crate::shards::{Limits, Shards};
use crate::shred_log::{Shred, ShredLog};
use changes::{apply, encode_changes};
use generation::{Loaded, create_journal, frame_place, remove_other_journals};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// All that a shard may hold on disk: 64k records and room for states.
pub(crate) const SHARD_BYTES_MAX: u64 = 64 << 20;
const FRAME_BYTES_MAX: usize = 16 << 20;
/// A journal longer than this is folded into a new generation by the next commit.
const FRAMES_MAX: u64 = 4096;
/// A journal this long is folded before it takes another frame: with the largest frame it stays below what is read.
const JOURNAL_BYTES_FULL: u64 = 32 << 20;

/// What a new generation replaced.
pub(crate) struct Compaction {
    pub(crate) generation: u64,
    /// The salts in the provider records of the file keys that went.
    pub(crate) shredded_salts: Vec<[u8; 24]>,
}

pub(crate) struct Keystore {
    dir: PathBuf,
    pub(crate) geo: Id,
    entries: Entries,
    shards: Shards,
    pub(crate) limits: Limits,
    generation: u64,
    seq: u64,
    chain: [u8; 32],
    file_record: ProviderRecord,
    frames: RowKey,
    journal: Option<File>,
    poisoned: bool,
    /// It was older than its witness.
    accepted: bool,
    shreds: ShredLog,
    _lock: File,
}

/// What to do with a store that is older than its witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Older {
    Refuse,
    /// An operator restored it, and said so.
    Accept,
}

impl Keystore {
    /// Opens the store in `dir`, or makes an empty one where neither it nor its witness exists.
    pub(crate) fn open(dir: &Path, geo: Id, provider: &dyn MasterKeys) -> Result<Self, KeyError> {
        Self::open_with(dir, geo, provider, Older::Refuse)
    }

    /// As [`Keystore::open`]; may take a store that is older than its witness for the true one from here on. The shred
    /// log is held to its anchor all the same.
    pub(crate) fn open_with(dir: &Path, geo: Id, provider: &dyn MasterKeys, older: Older) -> Result<Self, KeyError> {
        fs::create_dir_all(dir).map_err(KeystoreError::from)?;
        let lock = lock(dir)?;
        let shard = dir.join(SHARD);
        disk::finish_replace(&shard).map_err(KeystoreError::from)?;
        let witness = provider.witness()?;
        let bytes = disk::read(&shard, SHARD_BYTES_MAX).map_err(KeystoreError::from)?;
        if bytes.is_none() && witness.is_some() {
            return Err(KeystoreError::RolledBack.into());
        }
        let shreds = |witness: Option<Witness>| ShredLog::open(dir, geo, witness.map(|seen| seen.shreds), provider);
        match bytes {
            Some(bytes) => {
                let loaded = Loaded::open(dir, geo, &bytes, witness, provider, older)?;
                Self::load(dir, geo, loaded, witness, provider, (shreds(witness)?, lock))
            }
            None => Self::create(dir, geo, provider, (shreds(None)?, lock)),
        }
    }

    fn create(
        dir: &Path,
        geo: Id,
        provider: &dyn MasterKeys,
        (shreds, lock): (ShredLog, File),
    ) -> Result<Self, KeyError> {
        let generation = seal_file(geo, 1, std::iter::empty(), provider.active()?, provider)?;
        disk::replace(&dir.join(SHARD), &generation.bytes).map_err(KeystoreError::from)?;
        disk::sync_directory_of(dir).map_err(KeystoreError::from)?;
        let chain = sha256(&generation.bytes);
        let shreds_head = shreds.head();
        provider.advance(&Witness { generation: 1, seq: 0, chain, shreds: shreds_head })?;
        Ok(Self {
            dir: dir.to_owned(),
            geo,
            entries: Entries::new(),
            shards: Shards::default(),
            limits: Limits::default(),
            generation: 1,
            seq: 0,
            chain,
            file_record: generation.record,
            frames: generation.frames,
            journal: None,
            poisoned: false,
            accepted: false,
            shreds,
            _lock: lock,
        })
    }

    fn load(
        dir: &Path,
        geo: Id,
        mut loaded: Loaded,
        witness: Option<Witness>,
        provider: &dyn MasterKeys,
        (shreds, lock): (ShredLog, File),
    ) -> Result<Self, KeyError> {
        loaded.shards.load(dir, geo, &mut loaded.entries, provider)?;
        remove_other_journals(dir, loaded.generation)?;
        loaded.shards.clear_leftovers(dir)?;
        let mut store = Self {
            dir: dir.to_owned(),
            geo,
            entries: loaded.entries,
            shards: loaded.shards,
            limits: Limits::default(),
            generation: loaded.generation,
            seq: loaded.seq,
            chain: loaded.chain,
            file_record: loaded.record,
            frames: loaded.frames,
            journal: loaded.journal,
            poisoned: false,
            accepted: false,
            shreds,
            _lock: lock,
        };
        match witness {
            // Accepted although it is older: it becomes a generation of its own, newer than all that were ever seen.
            Some(seen) if store.is_older_than(&seen) => {
                store.accepted = true;
                store.generation = store.generation.max(seen.generation);
                store.compact(provider)?;
            }
            seen if seen != Some(store.witness()) => {
                store.accepted = seen.is_none() && !(store.generation == 1 && store.entries.is_empty());
                provider.advance(&store.witness())?;
            }
            _ => {}
        }
        Ok(store)
    }

    /// Whether it was older than its witness when it was opened, or had none.
    pub(crate) fn accepted(&self) -> bool {
        self.accepted
    }

    fn is_older_than(&self, seen: &Witness) -> bool {
        let at = (self.generation, self.seq);
        at < (seen.generation, seen.seq) || (at == (seen.generation, seen.seq) && self.chain != seen.chain)
    }

    fn witness(&self) -> Witness {
        Witness { generation: self.generation, seq: self.seq, chain: self.chain, shreds: self.shreds.head() }
    }

    /// Enters what is about to be destroyed into the shred log; durable and witnessed on return.
    pub(crate) fn log_shreds(&mut self, shreds: &[Shred], provider: &dyn MasterKeys) -> Result<(), KeyError> {
        self.not_poisoned()?;
        self.shreds.append(shreds, provider)?;
        Ok(provider.advance(&self.witness())?)
    }

    /// What the shred log held when it was opened; once.
    pub(crate) fn take_shreds(&mut self) -> Vec<Shred> {
        self.shreds.take()
    }

    pub(crate) fn shreds(&self) -> &ShredLog {
        &self.shreds
    }

    /// Wraps the shred log's file key under the active master key.
    pub(crate) fn rewrap_shreds(&mut self, provider: &dyn MasterKeys) -> Result<(), KeyError> {
        self.shreds.rewrap(provider)
    }

    pub(crate) fn entry(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(|value| value.as_slice())
    }

    /// Entries whose key starts with `prefix`, in order.
    pub(crate) fn entries<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.entries
            .range(prefix.to_vec()..)
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// The same behind `key`, which starts with `prefix`.
    pub(crate) fn entries_behind<'a>(
        &'a self,
        prefix: &'a [u8],
        key: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.entries
            .range((std::ops::Bound::Excluded(key.to_vec()), std::ops::Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The master keys that the file keys are wrapped under: this generation's, and each shard's.
    pub(crate) fn masters(&self) -> impl Iterator<Item = KeyName> {
        std::iter::once(self.file_record.fields.master).chain(self.shards.masters())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Applies `changes` together; durable and witnessed on return.
    pub(crate) fn commit(&mut self, changes: Vec<Change>, provider: &dyn MasterKeys) -> Result<(), KeyError> {
        self.not_poisoned()?;
        let journal = self.journal.as_ref().map_or(Ok(0), |file| file.metadata().map(|about| about.len()));
        if self.seq >= FRAMES_MAX || journal.map_err(KeystoreError::from)? >= JOURNAL_BYTES_FULL {
            self.compact(provider)?;
        }
        self.poisoned = true;
        let seq = self.seq + 1;
        let plain = encode_changes(&changes);
        let row = self.frames.seal(b'j', &frame_place(self.generation, seq, &self.chain), &plain, &[]);
        let len = u32::try_from(row.len()).ok().filter(|len| *len as usize <= FRAME_BYTES_MAX);
        let len = len.ok_or(KeystoreError::Io(std::io::ErrorKind::FileTooLarge))?;
        let frame = [&len.to_be_bytes()[..], &row].concat();
        let journal = match &mut self.journal {
            Some(journal) => journal,
            None => self.journal.insert(create_journal(&self.dir, self.generation)?),
        };
        journal.write_all(&frame).map_err(KeystoreError::from)?;
        journal.sync_data().map_err(KeystoreError::from)?;
        let chain = sha256(&frame);
        let shreds = self.shreds.head();
        provider.advance(&Witness { generation: self.generation, seq, chain, shreds })?;
        (self.seq, self.chain) = (seq, chain);
        for change in changes {
            self.shards.touch(change.key(), &self.entries);
            apply(&mut self.entries, change);
        }
        self.poisoned = false;
        Ok(())
    }

    /// Writes a new generation under a new file key and the active master key, with new files for the shards that
    /// changed, then overwrites and unlinks the old ones with the journal: what was removed from the entries is then on
    /// this disk no more.
    pub(crate) fn compact(&mut self, provider: &dyn MasterKeys) -> Result<Compaction, KeyError> {
        self.not_poisoned()?;
        let active = provider.active()?;
        let folded = self.shards.fold(&self.dir, self.geo, &self.entries, self.limits, active, provider)?;
        let (table, shards) = (folded.rows(), &self.shards);
        let in_main = |key: &[u8]| shards.in_main(key) && !(key.starts_with(b"s") && folded.takes(shards, key));
        let main = self.entries.iter().filter(|(key, _)| in_main(key)).chain(&table);
        let next = seal_file(self.geo, self.generation + 1, main, active, provider)?;
        let chain = sha256(&next.bytes);
        self.poisoned = true;
        // A crash after the rename inside `replace` leaves the new generation and, beside it, what opening clears.
        disk::replace(&self.dir.join(SHARD), &next.bytes).map_err(KeystoreError::from)?;
        let shreds = self.shreds.head();
        provider.advance(&Witness { generation: self.generation + 1, seq: 0, chain, shreds })?;
        self.journal = None;
        remove_other_journals(&self.dir, self.generation + 1)?;
        let mut shredded_salts = self.shards.adopt(&self.dir, folded)?;
        shredded_salts.extend(salt_of(&self.file_record));
        self.generation += 1;
        (self.seq, self.chain) = (0, chain);
        (self.file_record, self.frames) = (next.record, next.frames);
        self.poisoned = false;
        Ok(Compaction { generation: self.generation, shredded_salts })
    }

    /// Reads the files anew, through the provider, and returns the entries under `prefix` as the disk has them: for
    /// verify-after-wrap and for scans, which must not believe memory. The shards are read only where `prefix` reaches
    /// into them.
    pub(crate) fn read_back(&self, prefix: &[u8], provider: &dyn MasterKeys) -> Result<ReadBack, KeyError> {
        self.not_poisoned()?;
        let bytes = disk::read(&self.dir.join(SHARD), SHARD_BYTES_MAX).map_err(KeystoreError::from)?;
        let bytes = bytes.ok_or(KeystoreError::Damaged)?;
        let witness = Some(self.witness());
        let mut loaded = Loaded::open(&self.dir, self.geo, &bytes, witness, provider, Older::Refuse)?;
        if (loaded.seq, loaded.chain) != (self.seq, self.chain) {
            return Err(KeystoreError::Damaged.into());
        }
        if prefix.first().is_none_or(|kind| *kind == crate::shards::SUBJECT) {
            loaded.shards.load(&self.dir, self.geo, &mut loaded.entries, provider)?;
        }
        let entries = loaded.entries.into_iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        Ok(ReadBack { entries })
    }

    /// The master keys of all file keys as the disk has them; each was unwrapped.
    pub(crate) fn masters_on_disk(&self, provider: &dyn MasterKeys) -> Result<Vec<KeyName>, KeyError> {
        self.not_poisoned()?;
        let bytes = disk::read(&self.dir.join(SHARD), SHARD_BYTES_MAX).map_err(KeystoreError::from)?;
        let (record, _) = ProviderRecord::parse(&bytes.unwrap_or_default()).map_err(|_| KeystoreError::Damaged)?;
        unwrap_file_key(self.geo, &record, provider)?;
        let mut masters = self.shards.masters_on_disk(&self.dir, self.geo, provider)?;
        masters.push(record.fields.master);
        Ok(masters)
    }

    fn not_poisoned(&self) -> Result<(), KeystoreError> {
        if self.poisoned { Err(KeystoreError::Poisoned) } else { Ok(()) }
    }
}

/// What the disk says.
pub(crate) struct ReadBack {
    pub(crate) entries: Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

const SHARD: &str = "shard-0001.seal";

fn lock(dir: &Path) -> Result<File, KeystoreError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(KeystoreError::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
