//! The embedded provider: master keys in one file, sealed by a passphrase (Argon2id) or by a 32-byte key file on other
//! media. A witness file beside it remembers the newest state of the key store.
//!
//! File: a 64-byte header (magic, method, Argon2 cost, geo, salt), then one sealed row under the key that the secret
//! gives, whose row key is that header, so neither can be swapped. The witness is two sealed slots.

use super::witness::WitnessFile;
use super::{MasterKeys, MasterState, MasterVersion, RootSecret, StateMac, Witness};
use crate::context::{BucketContext, Id, NO_ID, ObjectContext};
use crate::derive;
use crate::disk;
use crate::error::{KeyringError, ProviderError};
use crate::material::{Secret, random_array};
use crate::record::{self, KeyName, Parent, ProviderKind, RootFields};
use crate::row::RowKey;
use crate::tenant_keys::Lease;
use argon2::{Algorithm, Argon2, Params, Version};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

const MAGIC: &[u8; 4] = b"GSKR";
const HEADER_BYTES: usize = 64;
const FILE_BYTES_MAX: u64 = 1 << 20;
const ENTRY_BYTES: usize = 16 + 4 + 1 + 32;
const PASSPHRASE_CHARS_MIN: usize = 12;
/// RFC 9106, second recommended choice: 64 MiB, 3 passes, 4 lanes.
const COST: Cost = Cost { memory_kib: 65536, passes: 3, lanes: 4 };
/// A file that asks for more than this to open is refused: it would be a way to exhaust memory.
const COST_MAX: Cost = Cost { memory_kib: 1 << 21, passes: 64, lanes: 64 };

#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// What opens a keyring.
pub enum Unlock {
    /// A passphrase of at least 12 characters, through Argon2id.
    Passphrase(Zeroizing<String>),
    /// A file of exactly 32 random bytes.
    KeyFile(PathBuf),
}

impl Unlock {
    const fn method(&self) -> u8 {
        match self {
            Self::Passphrase(_) => 1,
            Self::KeyFile(_) => 2,
        }
    }
}

/// The master keys of one geo in a sealed file.
pub struct LocalKeyring {
    path: PathBuf,
    geo: Id,
    inner: Mutex<Inner>,
}

struct Inner {
    header: [u8; HEADER_BYTES],
    seal: RowKey,
    content: Content,
    witness: WitnessFile,
}

/// What is sealed in the file.
struct Content {
    /// Seals the witness; stays the same when the secret changes.
    witness_key: Secret,
    masters: Vec<Master>,
}

struct Master {
    name: KeyName,
    state: MasterState,
    /// None once destroyed.
    secret: Option<Secret>,
}

impl LocalKeyring {
    /// Makes a keyring with a first, active master key for `geo`. Never overwrites one.
    pub fn create(path: &Path, geo: Id, unlock: &Unlock) -> Result<Self, ProviderError> {
        if path.exists() {
            return Err(KeyringError::Exists.into());
        }
        let header = Header { method: unlock.method(), cost: COST, geo, salt: random_array() };
        let seal = seal_key(&header, unlock)?;
        let first = Master {
            name: KeyName { id: random_array(), version: 1 },
            state: MasterState::Active,
            secret: Some(Secret::random()),
        };
        let content = Content { witness_key: Secret::random(), masters: vec![first] };
        write(path, &header.to_bytes(), &seal, &content).map_err(KeyringError::from)?;
        Self::open(path, geo, unlock)
    }

    /// Opens the keyring of `geo`. Refuses, with a reason an operator can act on, what is missing, damaged, altered, of
    /// another geo, or sealed by another secret.
    pub fn open(path: &Path, geo: Id, unlock: &Unlock) -> Result<Self, ProviderError> {
        disk::finish_replace(path).map_err(KeyringError::from)?;
        let bytes = disk::read(path, FILE_BYTES_MAX).map_err(KeyringError::from)?.ok_or(KeyringError::Missing)?;
        let (header, row) = bytes.split_at_checked(HEADER_BYTES).ok_or(KeyringError::Damaged)?;
        let header: [u8; HEADER_BYTES] = header.try_into().map_err(|_| KeyringError::Damaged)?;
        let fields = Header::parse(&header).ok_or(KeyringError::Damaged)?;
        if fields.geo != geo {
            return Err(KeyringError::OtherGeo.into());
        }
        if fields.method != unlock.method() {
            return Err(KeyringError::OtherMethod.into());
        }
        let seal = seal_key(&fields, unlock)?;
        let plain = Zeroizing::new(seal.open(b'k', &header, row).map_err(|_| KeyringError::WrongSecret)?.plain);
        let content = Content::parse(&plain).ok_or(KeyringError::Damaged)?;
        let witness = WitnessFile::open(path, geo, &content.witness_key).map_err(KeyringError::from)?;
        let inner = Inner { header, seal, content, witness };
        Ok(Self { path: path.to_owned(), geo, inner: Mutex::new(inner) })
    }

    /// Writes a new key file of 32 random bytes, readable by its owner only. Never overwrites one.
    pub fn create_key_file(path: &Path) -> Result<(), ProviderError> {
        Ok(disk::write_new_random_file(path).map_err(KeyringError::from)?)
    }

    /// Seals the keyring by another secret; the file sealed by the old one is overwritten.
    pub fn change_secret(&self, unlock: &Unlock) -> Result<(), ProviderError> {
        let fields = Header { method: unlock.method(), cost: COST, geo: self.geo, salt: random_array() };
        let seal = seal_key(&fields, unlock)?;
        let mut inner = self.inner.lock();
        let header = fields.to_bytes();
        write(&self.path, &header, &seal, &inner.content).map_err(KeyringError::from)?;
        (inner.header, inner.seal) = (header, seal);
        Ok(())
    }
}

impl Inner {
    fn master(&self, version: u32) -> Result<&Master, ProviderError> {
        self.content.masters.iter().find(|master| master.name.version == version).ok_or(ProviderError::Refused)
    }

    fn master_mut(&mut self, version: u32) -> Result<&mut Master, ProviderError> {
        self.content.masters.iter_mut().find(|master| master.name.version == version).ok_or(ProviderError::Refused)
    }

    fn save(&self, path: &Path) -> Result<(), ProviderError> {
        Ok(write(path, &self.header, &self.seal, &self.content).map_err(KeyringError::from)?)
    }
}

impl MasterKeys for LocalKeyring {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Local
    }

    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        let inner = self.inner.lock();
        Ok(inner
            .content
            .masters
            .iter()
            .map(|master| MasterVersion { name: master.name, state: master.state })
            .collect())
    }

    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        let inner = self.inner.lock();
        let master = inner.master(fields.master.version)?;
        let (MasterState::Active, Some(secret)) = (master.state, &master.secret) else {
            return Err(ProviderError::Refused);
        };
        if master.name != fields.master {
            return Err(ProviderError::Refused);
        }
        let parent = Parent { name: master.name, secret };
        Ok(record::wrap(&parent, fields.kind, fields.root, &root.0, context).to_vec())
    }

    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        let inner = self.inner.lock();
        let master = inner.master(fields.master.version)?;
        let (MasterState::Active | MasterState::DecryptOnly, Some(secret)) = (master.state, &master.secret) else {
            return Err(ProviderError::Refused);
        };
        let parent = Parent { name: master.name, secret };
        let (name, root) = record::unwrap(&parent, fields.kind, blob, context).map_err(|_| ProviderError::Wrong)?;
        if name != fields.root {
            return Err(ProviderError::Wrong);
        }
        Ok(RootSecret(root))
    }

    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        let mut inner = self.inner.lock();
        let active = inner.content.masters.iter().find(|master| master.state == MasterState::Active);
        let active = active.ok_or(ProviderError::Refused)?.name;
        if active.version == version {
            return Ok(active);
        }
        if active.version.checked_add(1) != Some(version) {
            return Err(ProviderError::Refused);
        }
        let name = KeyName { id: random_array(), version };
        inner.master_mut(active.version)?.state = MasterState::DecryptOnly;
        inner.content.masters.push(Master { name, state: MasterState::Active, secret: Some(Secret::random()) });
        if let Err(error) = inner.save(&self.path) {
            // Not known to be on disk, so nothing may be wrapped under it.
            inner.content.masters.pop();
            inner.master_mut(active.version)?.state = MasterState::Active;
            return Err(error);
        }
        Ok(name)
    }

    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        let mut inner = self.inner.lock();
        let master = inner.master_mut(version)?;
        master.state = match (master.state, enabled) {
            (MasterState::DecryptOnly | MasterState::Disabled, true) => MasterState::DecryptOnly,
            (MasterState::DecryptOnly | MasterState::Disabled, false) => MasterState::Disabled,
            (MasterState::Active | MasterState::Destroyed, _) => return Err(ProviderError::Refused),
        };
        inner.save(&self.path)
    }

    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        let mut inner = self.inner.lock();
        let master = inner.master_mut(version)?;
        if master.state == MasterState::Active {
            return Err(ProviderError::Refused);
        }
        master.state = MasterState::Destroyed;
        master.secret = None;
        let receipt = format!("local:{}:{version}", hex::encode(master.name.id));
        inner.save(&self.path)?;
        Ok(receipt)
    }

    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        Ok(self.inner.lock().witness.seen())
    }

    fn state_mac(&self) -> StateMac {
        let key = derive::state_key(&self.inner.lock().content.witness_key);
        Box::new(move |state| derive::mac(&key, state))
    }

    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        Ok(self.inner.lock().witness.advance(witness).map_err(KeyringError::from)?)
    }
}

/// The clear part of a keyring.
struct Header {
    method: u8,
    cost: Cost,
    geo: Id,
    salt: [u8; 16],
}

impl Header {
    fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(MAGIC);
        out[4..6].copy_from_slice(&[1, self.method]);
        out[8..12].copy_from_slice(&self.cost.memory_kib.to_be_bytes());
        out[12..16].copy_from_slice(&self.cost.passes.to_be_bytes());
        out[16..20].copy_from_slice(&self.cost.lanes.to_be_bytes());
        out[20..36].copy_from_slice(&self.geo);
        out[36..52].copy_from_slice(&self.salt);
        out
    }

    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let cost = Cost { memory_kib: word(8), passes: word(12), lanes: word(16) };
        let affordable =
            cost.memory_kib <= COST_MAX.memory_kib && cost.passes <= COST_MAX.passes && cost.lanes <= COST_MAX.lanes;
        let known = bytes[..4] == *MAGIC && bytes[4] == 1 && (1..=2).contains(&bytes[5]);
        let header = Self {
            method: bytes[5],
            cost,
            geo: bytes[20..36].try_into().expect("16 bytes"),
            salt: bytes[36..52].try_into().expect("16 bytes"),
        };
        (known && affordable && header.to_bytes() == *bytes).then_some(header)
    }
}

fn seal_key(header: &Header, unlock: &Unlock) -> Result<RowKey, ProviderError> {
    let secret = match unlock {
        Unlock::Passphrase(passphrase) => {
            if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
                return Err(KeyringError::WeakSecret.into());
            }
            let cost = header.cost;
            let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
            let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(|_| KeyringError::Damaged)?);
            Secret::try_filled(|out| argon.hash_password_into(passphrase.as_bytes(), &header.salt, out))
                .map_err(|_| KeyringError::Damaged)?
        }
        Unlock::KeyFile(path) => {
            let mut bytes = match disk::read(path, 32) {
                Ok(bytes) => bytes.ok_or(KeyringError::Missing)?,
                Err(_) => return Err(KeyringError::WeakSecret.into()),
            };
            let secret = <&[u8; 32]>::try_from(bytes.as_slice()).map(|key| Secret::filled(|out| *out = *key));
            bytes.zeroize();
            secret.map_err(|_| KeyringError::WeakSecret)?
        }
    };
    let context = BucketContext { tenant: NO_ID, geo: header.geo, bucket: NO_ID };
    Ok(RowKey::new(secret, 1, context, Lease::permanent()))
}

fn write(path: &Path, header: &[u8; HEADER_BYTES], seal: &RowKey, content: &Content) -> std::io::Result<()> {
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(&seal.seal(b'k', header, &content.to_bytes(), &[]));
    disk::replace(path, &bytes)
}

impl Content {
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(32 + self.masters.len() * ENTRY_BYTES));
        plain.extend_from_slice(self.witness_key.bytes());
        for master in &self.masters {
            plain.extend_from_slice(&master.name.id);
            plain.extend_from_slice(&master.name.version.to_be_bytes());
            plain.push(master.state as u8);
            plain.extend_from_slice(master.secret.as_ref().map_or(&[0; 32], |secret| secret.bytes()));
        }
        plain
    }

    fn parse(plain: &[u8]) -> Option<Self> {
        let (witness_key, entries) = plain.split_first_chunk::<32>()?;
        let masters: Vec<Master> = entries.chunks(ENTRY_BYTES).map(parse_master).collect::<Option<_>>()?;
        let witness_key = Secret::filled(|out| *out = *witness_key);
        (!masters.is_empty()).then_some(Self { witness_key, masters })
    }
}

fn parse_master(entry: &[u8]) -> Option<Master> {
    let entry: &[u8; ENTRY_BYTES] = entry.try_into().ok()?;
    let state = MasterState::from_byte(entry[20])?;
    Some(Master {
        name: KeyName { id: entry[..16].try_into().ok()?, version: u32::from_be_bytes(entry[16..20].try_into().ok()?) },
        state,
        secret: (state != MasterState::Destroyed).then(|| Secret::filled(|out| out.copy_from_slice(&entry[21..]))),
    })
}
