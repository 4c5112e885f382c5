//! The shred log: everything that was ever destroyed, and what was said of data subjects' standing, as an append-only
//! chain of sealed frames beside the key store.
//!
//! It lies outside the key store's directory and is never part of a restore: an older key store that is put back meets
//! the newest log, and what the log says is destroyed is destroyed again before anything is served ([`replay`]). The
//! witness on the provider's side remembers the log's head, so a log that is older, cut or gone is refused.
//!
//! File (docs/key-hierarchy.md, "Shred log"): a provider record of the log's file key, then frames `u32 len | sealed row`
//! of kind `x`, whose row key is `u64 number | SHA-256 of the frame before` (zeros for the first). It is made with the
//! first entry. Opaque ids, kinds, versions and times only; never a name, never a key.
//!
//! Order of a destruction: entry durable → witnessed → the act itself. A crash in between leaves an entry whose act the
//! next start carries out: it had been decided.

use crate::context::{BucketContext, Id, NO_ID, ObjectContext};
use crate::disk;
use crate::entries::{KeyState, RootEntry, TenantEntry, TenantState, place};
use crate::error::{KeyError, KeystoreError, ProviderError};
use crate::heads::Head;
use crate::keystore::{Change, Keystore, unwrap_root, wrap_root};
use crate::material::{Secret, random_array};
use crate::provider::{MasterKeys, RootSecret};
use crate::record::{KeyKind, KeyName, ProviderRecord};
use crate::row::RowKey;
use crate::service::{put_revocation_seq, revocation_seq, root_entries, tenant_entry};
use crate::tenant_keys::Lease;
use ring::digest;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Twenty million entries, about.
const LOG_BYTES_MAX: u64 = 4 << 30;
const FRAME: u8 = b'x';
const ENTRY_BYTES: usize = 48;
const ENTRY_VERSION: u8 = 1;

/// One thing that was destroyed, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shred {
    /// In compliance seconds.
    pub at: i64,
    /// What.
    pub what: Shredded,
}

impl<C> minicbor::Encode<C> for Shred {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Shred {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::parse(d.bytes()?).ok_or_else(|| minicbor::decode::Error::message("an entry of a shred log has 48 bytes"))
    }
}

/// What was destroyed, or said for good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shredded {
    /// Every key of a tenant.
    Tenant(Id),
    /// A data subject's key.
    Subject {
        /// Whose.
        tenant: Id,
        /// Which.
        subject: Id,
    },
    /// One version of a tenant's root, or (tenant zero) of the geo's.
    Root {
        /// Whose.
        tenant: Id,
        /// Which root.
        kind: KeyKind,
        /// Which version of it.
        version: u32,
        /// Whether it is known or feared to be known to others: then it is destroyed again whatever hangs on it.
        compromised: bool,
    },
    /// A version of the geo's master key.
    Master {
        /// Which.
        version: u32,
    },
    /// Nothing: somebody's standing with a tenant changed, and no older copy of anything may make that undone.
    Standing {
        /// With whom.
        tenant: Id,
        /// Stands for the subject's name: a keyed hash, see [`crate::SubjectKey::token`].
        token: Id,
        /// What changed, in the words of whoever keeps the tenant's subjects.
        act: u8,
    },
}

impl Shred {
    /// `version | i64 at | kind | tenant(16) | id(16) | root kind | u32 version | compromised`
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let (kind, tenant, id, root, version, flag) = match self.what {
            Shredded::Tenant(tenant) => (1, tenant, NO_ID, 0, 0, 0),
            Shredded::Subject { tenant, subject } => (2, tenant, subject, 0, 0, 0),
            Shredded::Root { tenant, kind, version, compromised } => {
                (3, tenant, NO_ID, kind as u8, version, u8::from(compromised))
            }
            Shredded::Master { version } => (4, NO_ID, NO_ID, 0, version, 0),
            Shredded::Standing { tenant, token, act } => (5, tenant, token, act, 0, 0),
        };
        let mut out = [0; ENTRY_BYTES];
        out[0] = ENTRY_VERSION;
        out[1..9].copy_from_slice(&self.at.to_be_bytes());
        out[9] = kind;
        out[10..26].copy_from_slice(&tenant);
        out[26..42].copy_from_slice(&id);
        out[42] = root;
        out[43..47].copy_from_slice(&u32::to_be_bytes(version));
        out[47] = flag;
        out
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().ok()?;
        let tenant: Id = bytes[10..26].try_into().ok()?;
        let version = u32::from_be_bytes(bytes[43..47].try_into().ok()?);
        let what = match bytes[9] {
            1 => Shredded::Tenant(tenant),
            2 => Shredded::Subject { tenant, subject: bytes[26..42].try_into().ok()? },
            3 => {
                let kind = KeyKind::from_byte(bytes[42])?;
                Shredded::Root { tenant, kind, version, compromised: bytes[47] == 1 }
            }
            4 => Shredded::Master { version },
            5 => Shredded::Standing { tenant, token: bytes[26..42].try_into().ok()?, act: bytes[42] },
            _ => return None,
        };
        let shred = Self { at: i64::from_be_bytes(bytes[1..9].try_into().ok()?), what };
        (shred.to_bytes() == *bytes).then_some(shred)
    }
}

/// The log of one geo, open for appending.
pub(crate) struct ShredLog {
    path: PathBuf,
    geo: Id,
    head: Head,
    open: Option<Open>,
    /// What was read at opening; taken by the replay.
    entries: Vec<Shred>,
}

struct Open {
    record: ProviderRecord,
    frames: RowKey,
    file: File,
}

impl ShredLog {
    /// Opens the log beside the key store in `dir`. Refuses one that does not go as far as `anchor` says, or is another.
    pub(crate) fn open(dir: &Path, geo: Id, anchor: Option<Head>, provider: &dyn MasterKeys) -> Result<Self, KeyError> {
        let path = path_beside(dir);
        disk::finish_replace(&path).map_err(KeystoreError::from)?;
        let mut log = Self { path, geo, head: Head::START, open: None, entries: Vec::new() };
        let anchor = anchor.unwrap_or(Head::START);
        match disk::read(&log.path, LOG_BYTES_MAX).map_err(KeystoreError::from)? {
            Some(bytes) => log.load(&bytes, anchor, provider)?,
            None if anchor.counter > 0 => return Err(KeystoreError::ShredLogBehind.into()),
            None => {}
        }
        Ok(log)
    }

    fn load(&mut self, bytes: &[u8], anchor: Head, provider: &dyn MasterKeys) -> Result<(), KeyError> {
        let (record, at) = ProviderRecord::parse(bytes).map_err(|_| KeystoreError::ShredLogDamaged)?;
        let key = unwrap_root(provider, &record, &context(self.geo)).map_err(|error| match error {
            KeyError::Provider(ProviderError::Wrong) => KeystoreError::ShredLogDamaged.into(),
            other => other,
        })?;
        let frames = frame_key(self.geo, key);
        let mut rest = &bytes[at..];
        while let Some((frame, shred)) = next_frame(&frames, &self.head, rest) {
            self.head = Head { counter: self.head.counter + 1, digest: sha256(frame) };
            if self.head.counter == anchor.counter && self.head.digest != anchor.digest {
                return Err(KeystoreError::ShredLogDamaged.into());
            }
            self.entries.push(shred);
            rest = &rest[frame.len()..];
        }
        if self.head.counter < anchor.counter {
            let behind = rest.is_empty();
            return Err(if behind { KeystoreError::ShredLogBehind } else { KeystoreError::ShredLogDamaged }.into());
        }
        let file = OpenOptions::new().append(true).open(&self.path).map_err(KeystoreError::from)?;
        if !rest.is_empty() {
            // Beyond the anchor: a torn write of an entry that nobody was told of.
            file.set_len((bytes.len() - rest.len()) as u64).map_err(KeystoreError::from)?;
            file.sync_all().map_err(KeystoreError::from)?;
        }
        self.open = Some(Open { record, frames, file });
        Ok(())
    }

    /// Entries behind number `from` up to number `to`, read anew.
    pub(crate) fn read(&self, from: u64, to: u64) -> Result<Vec<Shred>, KeyError> {
        let Some(open) = &self.open else { return Ok(Vec::new()) };
        let bytes = disk::read(&self.path, LOG_BYTES_MAX).map_err(KeystoreError::from)?;
        let bytes = bytes.ok_or(KeystoreError::ShredLogBehind)?;
        let (_, at) = ProviderRecord::parse(&bytes).map_err(|_| KeystoreError::ShredLogDamaged)?;
        let (mut head, mut rest, mut found) = (Head::START, &bytes[at..], Vec::new());
        while head.counter < to.min(self.head.counter) {
            let (frame, shred) = next_frame(&open.frames, &head, rest).ok_or(KeystoreError::ShredLogDamaged)?;
            head = Head { counter: head.counter + 1, digest: sha256(frame) };
            if head.counter > from {
                found.push(shred);
            }
            rest = &rest[frame.len()..];
        }
        Ok(found)
    }

    /// What was read at opening; once.
    pub(crate) fn take(&mut self) -> Vec<Shred> {
        std::mem::take(&mut self.entries)
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// The master key that the log's file key is wrapped under; `None` while there is no log.
    pub(crate) fn master(&self) -> Option<KeyName> {
        self.open.as_ref().map(|open| open.record.fields.master)
    }

    /// Adds entries, durable on return. The caller tells the witness.
    pub(crate) fn append(&mut self, shreds: &[Shred], provider: &dyn MasterKeys) -> Result<(), KeyError> {
        if self.open.is_none() {
            self.create(provider)?;
        }
        let open = self.open.as_mut().ok_or(KeystoreError::Poisoned)?;
        let (mut head, mut bytes) = (self.head, Vec::with_capacity(shreds.len() * 160));
        for shred in shreds {
            let row = open.frames.seal(FRAME, &frame_place(&head), &shred.to_bytes(), &[]);
            let len = u32::try_from(row.len()).expect("an entry has a fixed length");
            let frame = [&len.to_be_bytes()[..], &row].concat();
            head = Head { counter: head.counter + 1, digest: sha256(&frame) };
            bytes.extend_from_slice(&frame);
        }
        let written = open.file.write_all(&bytes).and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            // Unknown how much is there: read anew at the next start.
            self.open = None;
            return Err(KeystoreError::from(error).into());
        }
        self.head = head;
        Ok(())
    }

    fn create(&mut self, provider: &dyn MasterKeys) -> Result<(), KeyError> {
        if self.path.exists() {
            return Err(KeystoreError::Poisoned.into());
        }
        let name = KeyName { id: random_array(), version: 1 };
        let key = RootSecret(Secret::random());
        let (record, again) = self.wrapped(name, &key, provider)?;
        disk::replace(&self.path, &record.to_bytes()).map_err(KeystoreError::from)?;
        let file = OpenOptions::new().append(true).open(&self.path).map_err(KeystoreError::from)?;
        self.open = Some(Open { record, frames: frame_key(self.geo, again), file });
        Ok(())
    }

    /// Wraps the log's file key under the active master key, where it is under another; entries and chain stay.
    pub(crate) fn rewrap(&mut self, provider: &dyn MasterKeys) -> Result<(), KeyError> {
        let Some(open) = &self.open else { return Ok(()) };
        if open.record.fields.master == provider.active()? {
            return Ok(());
        }
        let key = unwrap_root(provider, &open.record, &context(self.geo))?;
        let (record, again) = self.wrapped(open.record.fields.root, &key, provider)?;
        let bytes = disk::read(&self.path, LOG_BYTES_MAX).map_err(KeystoreError::from)?;
        let bytes = bytes.ok_or(KeystoreError::ShredLogBehind)?;
        let (_, at) = ProviderRecord::parse(&bytes).map_err(|_| KeystoreError::ShredLogDamaged)?;
        self.open = None;
        disk::replace(&self.path, &[&record.to_bytes(), &bytes[at..]].concat()).map_err(KeystoreError::from)?;
        let file = OpenOptions::new().append(true).open(&self.path).map_err(KeystoreError::from)?;
        self.open = Some(Open { record, frames: frame_key(self.geo, again), file });
        Ok(())
    }

    fn wrapped(
        &self,
        name: KeyName,
        key: &RootSecret,
        provider: &dyn MasterKeys,
    ) -> Result<(ProviderRecord, RootSecret), KeyError> {
        let record = wrap_root(provider, provider.active()?, KeyKind::File, name, key, &context(self.geo))?;
        let again = unwrap_root(provider, &record, &context(self.geo))?;
        if again.0.same(&key.0) { Ok((record, again)) } else { Err(ProviderError::Wrong.into()) }
    }
}

/// What a replay did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Replayed {
    /// Tenants that the key store still held and that are destroyed again.
    pub tenants: Vec<Id>,
    /// Data subjects whose keys it still held and that are destroyed again: tenant, subject.
    pub subjects: Vec<(Id, Id)>,
    /// Versions of roots destroyed again.
    pub roots: u64,
    /// Versions of roots that were retired by a rotation which this key store does not know: they are its active ones,
    /// so they stay, and the tenant has to be rotated again.
    pub to_rotate: Vec<(Id, KeyKind, u32)>,
}

impl Replayed {
    /// Whether the key store held nothing that it should not.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Destroys again what the log says is destroyed and the store still holds, and enters into the log what the store knows
/// to be destroyed and the log does not (stores from before there was one). Called before anything is served.
pub(crate) fn replay(store: &mut Keystore, provider: &dyn MasterKeys, now: i64) -> Result<Replayed, KeyError> {
    let entries = store.take_shreds();
    let logged: HashSet<Shredded> = entries.iter().map(|shred| shred.what).collect();
    let missing = missing_tombstones(store, &logged, now)?;
    if !missing.is_empty() {
        store.log_shreds(&missing, provider)?;
    }
    let (mut done, mut changes) = (Replayed::default(), Vec::new());
    for shred in &entries {
        redelete(store, shred, &mut done, &mut changes)?;
    }
    if changes.is_empty() {
        return Ok(done);
    }
    changes.push(put_revocation_seq(revocation_seq(store) + 1));
    store.commit(changes, provider)?;
    store.compact(provider)?;
    Ok(done)
}

fn redelete(
    store: &Keystore,
    shred: &Shred,
    done: &mut Replayed,
    changes: &mut Vec<Change>,
) -> Result<(), KeystoreError> {
    match shred.what {
        Shredded::Tenant(tenant) => {
            let entry = tenant_entry(store, &tenant)?;
            if entry.is_some_and(|entry| entry.state == TenantState::Destroyed) {
                return Ok(());
            }
            let blank = TenantEntry {
                state: TenantState::Destroyed,
                created: shred.at,
                due: None,
                destroyed: Some(shred.at),
                early: None,
            };
            let gone = match entry {
                Some(entry) => {
                    done.tenants.push(tenant);
                    TenantEntry { created: entry.created, due: entry.due, early: entry.early, ..blank }
                }
                None => blank,
            };
            changes.push(gone.put(&tenant));
            for root in root_entries(store, &tenant)? {
                changes.push(root.destroyed(shred.at).put());
            }
            let subjects = place::subjects_of(&tenant);
            changes.extend(store.entries(&subjects).map(|(key, _)| Change::Remove(key.to_vec())));
        }
        Shredded::Subject { tenant, subject } => {
            let lives = tenant_entry(store, &tenant)?.is_some_and(|entry| entry.state != TenantState::Destroyed);
            let place = place::subject(&tenant, &subject);
            match store.entry(&place) {
                Some([]) => {}
                found if lives => {
                    done.subjects.extend(found.map(|_| (tenant, subject)));
                    changes.push(Change::Put(place, Vec::new()));
                }
                _ => {}
            }
        }
        Shredded::Root { tenant, kind, version, compromised } => {
            let place = place::root(&tenant, kind, version);
            let Some(root) = store.entry(&place).map(|value| RootEntry::parse(&place, value)).transpose()? else {
                return Ok(());
            };
            if root.state == KeyState::Destroyed {
                return Ok(());
            }
            let newer = root_entries(store, &tenant)?
                .iter()
                .any(|other| other.kind == kind && other.name.version > version && other.state == KeyState::Active);
            if newer || compromised {
                done.roots += 1;
                changes.push(root.destroyed(shred.at).put());
            } else {
                done.to_rotate.push((tenant, kind, version));
            }
        }
        Shredded::Master { .. } | Shredded::Standing { .. } => {}
    }
    Ok(())
}

fn missing_tombstones(store: &Keystore, logged: &HashSet<Shredded>, now: i64) -> Result<Vec<Shred>, KeystoreError> {
    let mut missing = Vec::new();
    let mut add = |what, at| {
        if !logged.contains(&what) {
            missing.push(Shred { at, what });
        }
    };
    for (key, value) in store.entries(place::TENANTS) {
        let entry = TenantEntry::parse(value)?;
        if entry.state == TenantState::Destroyed {
            let tenant = key[1..].try_into().map_err(|_| KeystoreError::Damaged)?;
            add(Shredded::Tenant(tenant), entry.destroyed.unwrap_or(now));
        }
    }
    for (key, _) in store.entries(place::SUBJECTS).filter(|(_, value)| value.is_empty()) {
        let key: &[u8; 33] = key.try_into().map_err(|_| KeystoreError::Damaged)?;
        let tenant = key[1..17].try_into().expect("16 bytes");
        add(Shredded::Subject { tenant, subject: key[17..].try_into().expect("16 bytes") }, now);
    }
    Ok(missing)
}

/// `<key store>.shreds`
pub(crate) fn path_beside(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".shreds");
    name.into()
}

fn next_frame<'a>(frames: &RowKey, head: &Head, rest: &'a [u8]) -> Option<(&'a [u8], Shred)> {
    let len = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
    let frame = rest.get(..len.checked_add(4)?)?;
    let row = frames.open(FRAME, &frame_place(head), &frame[4..]).ok()?;
    Some((frame, Shred::parse(&row.plain)?))
}

fn frame_place(before: &Head) -> [u8; 40] {
    let mut place = [0; 40];
    place[..8].copy_from_slice(&(before.counter + 1).to_be_bytes());
    place[8..].copy_from_slice(&before.digest);
    place
}

fn context(geo: Id) -> ObjectContext {
    ObjectContext::of_root(NO_ID, geo)
}

fn frame_key(geo: Id, key: RootSecret) -> RowKey {
    RowKey::new(key.0, 1, BucketContext { tenant: NO_ID, geo, bucket: NO_ID }, Lease::permanent())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 is 32 bytes")
}
