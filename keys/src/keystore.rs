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

use crate::context::{BucketContext, Id, NO_ID, ObjectContext};
use crate::disk;
use crate::error::{KeyError, KeystoreError, ProviderError};
use crate::material::{Secret, random_array};
use crate::provider::{MasterKeys, RootSecret, Witness, Wrapped};
use crate::record::{BLOB_BYTES_MAX, KeyKind, KeyName, ProviderKind, ProviderRecord, RootFields};
use crate::row::RowKey;
use crate::segment::{HEADER_BYTES, SegmentInfo, SegmentKind, plain_len};
use crate::shards::{Limits, Shards};
use crate::shred_log::{Shred, ShredLog};
use crate::tenant_keys::{Dek, Lease};
use ring::digest;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// All that a shard may hold on disk: 64k records and room for states.
pub(crate) const SHARD_BYTES_MAX: u64 = 64 << 20;
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
const FRAME_BYTES_MAX: usize = 16 << 20;
/// A journal longer than this is folded into a new generation by the next commit.
const FRAMES_MAX: u64 = 4096;

pub(crate) type Entries = BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>;

/// One change of one entry.
pub(crate) enum Change {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

impl Change {
    fn key(&self) -> &[u8] {
        let (Self::Put(key, _) | Self::Remove(key)) = self;
        key
    }
}

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
        if self.seq >= FRAMES_MAX {
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

/// The key of one file, unwrapped.
pub(crate) type FileKey = RootSecret;

/// A file of entries, ready to be written, its file key verified by unwrapping it again.
pub(crate) struct SealedFile {
    pub(crate) bytes: Vec<u8>,
    pub(crate) record: ProviderRecord,
    frames: RowKey,
}

/// Seals entries under a file key of their own, that one under `master`. `number` tells the file from every other one:
/// a generation's, or a shard's.
pub(crate) fn seal_file<'a>(
    geo: Id,
    number: u64,
    entries: impl Iterator<Item = (&'a Vec<u8>, &'a Zeroizing<Vec<u8>>)>,
    master: KeyName,
    provider: &dyn MasterKeys,
) -> Result<SealedFile, KeyError> {
    let name = KeyName { id: random_array(), version: 1 };
    let root = RootSecret(Secret::random());
    let record = wrap_root(provider, master, KeyKind::File, name, &root, &root_context(geo))?;
    let again = unwrap_root(provider, &record, &root_context(geo))?;
    if !again.0.same(&root.0) {
        return Err(ProviderError::Wrong.into());
    }
    let mut bytes = record.to_bytes();
    let dek = Dek::new(name, root.0, Lease::permanent());
    bytes.extend_from_slice(&dek.seal_whole(&shard_info(geo, name.id), &encode_entries(number, entries)));
    Ok(SealedFile { bytes, record, frames: frame_key(geo, again) })
}

/// A generation and its journal as they were read and verified.
struct Loaded {
    /// Without those of the shards.
    entries: Entries,
    shards: Shards,
    generation: u64,
    seq: u64,
    chain: [u8; 32],
    record: ProviderRecord,
    frames: RowKey,
    journal: Option<File>,
}

impl Loaded {
    fn open(
        dir: &Path,
        geo: Id,
        bytes: &[u8],
        witness: Option<Witness>,
        provider: &dyn MasterKeys,
        older: Older,
    ) -> Result<Self, KeyError> {
        let (record, at) = ProviderRecord::parse(bytes).map_err(|_| KeystoreError::Damaged)?;
        let file_key = unwrap_file_key(geo, &record, provider)?;
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

/// Wraps a root under a version of the master key.
pub(crate) fn wrap_root(
    provider: &dyn MasterKeys,
    master: KeyName,
    kind: KeyKind,
    root: KeyName,
    secret: &RootSecret,
    context: &ObjectContext,
) -> Result<ProviderRecord, KeyError> {
    let fields = RootFields { provider: provider.kind(), kind, root, master };
    let blob = provider.wrap(&fields, secret, context)?;
    if blob.len() > BLOB_BYTES_MAX {
        return Err(ProviderError::Wrong.into());
    }
    let kcv = crate::derive::kcv(&secret.0, &fields.to_bytes(), context);
    Ok(ProviderRecord { fields, kcv, blob })
}

/// Unwraps a root and checks that it is the one the record was made for.
pub(crate) fn unwrap_root(
    provider: &dyn MasterKeys,
    record: &ProviderRecord,
    context: &ObjectContext,
) -> Result<RootSecret, KeyError> {
    let root = provider.unwrap(&record.fields, &record.blob, context)?;
    if !record.vouches_for(&root.0, context) {
        return Err(ProviderError::Wrong.into());
    }
    Ok(root)
}

/// Unwraps several roots of one owner in as few calls as the provider can, and checks each.
pub(crate) fn unwrap_roots(
    provider: &dyn MasterKeys,
    records: &[&ProviderRecord],
    context: &ObjectContext,
) -> Result<Vec<RootSecret>, KeyError> {
    let wrapped: Vec<Wrapped<'_>> =
        records.iter().map(|record| (&record.fields, record.blob.as_slice(), context)).collect();
    let roots = provider.unwrap_many(&wrapped)?;
    let are_right = roots.len() == records.len()
        && records.iter().zip(&roots).all(|(record, root)| record.vouches_for(&root.0, context));
    if are_right { Ok(roots) } else { Err(ProviderError::Wrong.into()) }
}

/// 24 bytes of a provider's blob that are nowhere else: the salt inside a local one, the end of any other (ciphertext
/// and tag; what comes before may be the same in every blob of a key).
pub(crate) fn salt_of(record: &ProviderRecord) -> Option<[u8; 24]> {
    match record.fields.provider {
        ProviderKind::Local => record.blob.get(48..72).and_then(|salt| salt.try_into().ok()),
        ProviderKind::Pkcs11 | ProviderKind::Transit | ProviderKind::AwsKms => record.blob.last_chunk().copied(),
    }
}

const SHARD: &str = "shard-0001.seal";

fn root_context(geo: Id) -> ObjectContext {
    ObjectContext::of_root(NO_ID, geo)
}

fn shard_info(geo: Id, file_key: Id) -> SegmentInfo {
    // One file key seals one segment, so its id names both.
    SegmentInfo {
        kind: SegmentKind::KeystoreShard,
        part: 1,
        context: root_context(geo),
        segment_id: file_key,
        dek_id: file_key,
    }
}

fn frame_key(geo: Id, file_key: RootSecret) -> RowKey {
    RowKey::new(file_key.0, 1, BucketContext { tenant: NO_ID, geo, bucket: NO_ID }, Lease::permanent())
}

/// Unwraps the key of a file that was read; its master key must be one of this keyring's.
pub(crate) fn unwrap_file_key(
    geo: Id,
    record: &ProviderRecord,
    provider: &dyn MasterKeys,
) -> Result<FileKey, KeyError> {
    let known = provider.versions()?.iter().any(|version| version.name == record.fields.master);
    if !known || record.fields.provider != provider.kind() {
        return Err(KeystoreError::OtherMaster.into());
    }
    unwrap_root(provider, record, &root_context(geo)).map_err(|error| match error {
        KeyError::Provider(ProviderError::Wrong) => KeystoreError::Damaged.into(),
        other => other,
    })
}

pub(crate) fn open_file(
    geo: Id,
    record: &ProviderRecord,
    key: FileKey,
    sealed: &[u8],
) -> Result<(u64, Entries), KeyError> {
    let name = record.fields.root;
    let dek = Dek::new(name, key.0, Lease::permanent());
    let len = plain_len(sealed.len() as u64).filter(|_| sealed.len() >= HEADER_BYTES).ok_or(KeystoreError::Damaged)?;
    let plain = dek.open_whole(&shard_info(geo, name.id), sealed, len).map_err(|_| KeystoreError::Damaged)?;
    Ok(decode_entries(&Zeroizing::new(plain)).ok_or(KeystoreError::Damaged)?)
}

/// `generation | seq | digest of what came before`: where a frame stands, as its row key.
fn frame_place(generation: u64, seq: u64, chain: &[u8; 32]) -> [u8; 48] {
    let mut place = [0; 48];
    place[..8].copy_from_slice(&generation.to_be_bytes());
    place[8..16].copy_from_slice(&seq.to_be_bytes());
    place[16..].copy_from_slice(chain);
    place
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 is 32 bytes")
}

fn lock(dir: &Path) -> Result<File, KeystoreError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(KeystoreError::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn journal_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("journal.{generation:020}"))
}

fn create_journal(dir: &Path, generation: u64) -> Result<File, KeystoreError> {
    let path = journal_path(dir, generation);
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    disk::sync_directory_of(&path)?;
    Ok(file)
}

/// Overwrites and unlinks the journals of generations that are gone.
fn remove_other_journals(dir: &Path, generation: u64) -> Result<(), KeystoreError> {
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

fn apply(entries: &mut Entries, change: Change) {
    match change {
        Change::Put(key, value) => {
            entries.insert(key, Zeroizing::new(value));
        }
        Change::Remove(key) => {
            entries.remove(&key);
        }
    }
}

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const ENTRIES_VERSION: u8 = 1;

/// `version | generation | (u16 len | key | u32 len | value)*`, in order of keys.
fn encode_entries<'a>(
    generation: u64,
    entries: impl Iterator<Item = (&'a Vec<u8>, &'a Zeroizing<Vec<u8>>)>,
) -> Zeroizing<Vec<u8>> {
    let entries: Vec<_> = entries.collect();
    let len = 9 + entries.iter().map(|(key, value)| 6 + key.len() + value.len()).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(len));
    out.push(ENTRIES_VERSION);
    out.extend_from_slice(&generation.to_be_bytes());
    for (key, value) in entries {
        put_entry(&mut out, key, value);
    }
    out
}

fn decode_entries(plain: &[u8]) -> Option<(u64, Entries)> {
    let (&version, rest) = plain.split_first()?;
    let (generation, mut rest) = rest.split_first_chunk::<8>()?;
    if version != ENTRIES_VERSION {
        return None;
    }
    let mut entries = Entries::new();
    while !rest.is_empty() {
        let (key, value) = take_entry(&mut rest)?;
        entries.insert(key, Zeroizing::new(value));
    }
    Some((u64::from_be_bytes(*generation), entries))
}

/// `(op | u16 len | key | u32 len | value)*`; a removal has an empty value.
fn encode_changes(changes: &[Change]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(256 * changes.len()));
    for change in changes {
        match change {
            Change::Put(key, value) => {
                out.push(PUT);
                put_entry(&mut out, key, value);
            }
            Change::Remove(key) => {
                out.push(REMOVE);
                put_entry(&mut out, key, &[]);
            }
        }
    }
    out
}

fn decode_changes(mut rest: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while let Some((op, after)) = rest.split_first() {
        rest = after;
        let (key, value) = take_entry(&mut rest)?;
        changes.push(match *op {
            PUT => Change::Put(key, value),
            REMOVE if value.is_empty() => Change::Remove(key),
            _ => return None,
        });
    }
    Some(changes)
}

fn put_entry(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let key_len = u16::try_from(key.len()).expect("entry keys are some tens of bytes");
    let value_len = u32::try_from(value.len()).expect("entries are some KiB at most");
    out.extend_from_slice(&key_len.to_be_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(&value_len.to_be_bytes());
    out.extend_from_slice(value);
}

fn take_entry(rest: &mut &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (len, after) = rest.split_first_chunk::<2>()?;
    let (key, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (len, after) = after.split_first_chunk::<4>()?;
    let (value, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *rest = after;
    Some((key.to_vec(), value.to_vec()))
}
