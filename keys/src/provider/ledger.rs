//! What an outside provider cannot keep for us: which versions of the master key there were and in what state, the
//! witness of the key store, and the key of [`StateMac`](super::StateMac). One file per geo, and a witness beside it.
//!
//! File: a 24-byte header (`GSPL`, version, provider, geo), the provider record of the ledger's key under the active
//! master key, and one sealed row under that key whose row key is everything before it. So whoever has the disk and not
//! the provider can neither read it nor make one; and when a master version is destroyed, every copy of the ledger from
//! its time is noise. A new ledger key is made at each rotation.
//!
//! What this does not notice: ledger, witness and key store taken back together to a state whose master version still
//! exists. So keep the ledger on other media than the key store (`ledger_dir`).

use super::witness::WitnessFile;
use super::{MasterState, MasterVersion, ProviderFault};
use crate::context::{BucketContext, Id, NO_ID};
use crate::disk;
use crate::material::Secret;
use crate::record::{KeyName, ProviderKind, ProviderRecord};
use crate::row::RowKey;
use crate::tenant_keys::Lease;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"GSPL";
const HEADER_BYTES: usize = 24;
const FILE_BYTES_MAX: u64 = 1 << 20;
const ENTRY_BYTES: usize = 16 + 4 + 1;

/// The clear front of a ledger: enough to ask the provider for its key.
pub(super) struct SealedLedger {
    front: Vec<u8>,
    pub(super) record: ProviderRecord,
    row: Vec<u8>,
}

/// The ledger, open.
pub(super) struct Ledger {
    path: PathBuf,
    geo: Id,
    kind: ProviderKind,
    /// Of the witness, and of state MACs; never changes.
    state_seed: Secret,
    pub(super) versions: Vec<MasterVersion>,
    pub(super) witness: WitnessFile,
    seal: RowKey,
    record: ProviderRecord,
}

impl SealedLedger {
    /// Reads the file of `geo`.
    pub(super) fn read(path: &Path, geo: Id, kind: ProviderKind) -> Result<Self, ProviderFault> {
        disk::finish_replace(path)?;
        let bytes = disk::read(path, FILE_BYTES_MAX)?.ok_or(ProviderFault::LedgerMissing)?;
        let after = bytes.strip_prefix(&header(geo, kind)[..]).ok_or(ProviderFault::LedgerDamaged)?;
        let (record, len) = ProviderRecord::parse(after).map_err(|_| ProviderFault::LedgerDamaged)?;
        if record.fields.provider != kind {
            return Err(ProviderFault::LedgerDamaged);
        }
        let (front, row) = bytes.split_at(HEADER_BYTES + len);
        Ok(Self { front: front.to_vec(), record, row: row.to_vec() })
    }

    /// Opens it with the key that the provider unwrapped from its record.
    pub(super) fn open(self, path: &Path, geo: Id, key: &Secret) -> Result<Ledger, ProviderFault> {
        let seal = seal_key(geo, key);
        let plain = seal.open(b'k', &self.front, &self.row).map_err(|_| ProviderFault::LedgerDamaged)?;
        let plain = Zeroizing::new(plain.plain);
        let (state_seed, versions) = parse(&plain).ok_or(ProviderFault::LedgerDamaged)?;
        let witness = WitnessFile::open(path, geo, &state_seed)?;
        let kind = self.record.fields.provider;
        Ok(Ledger { path: path.to_owned(), geo, kind, state_seed, versions, witness, seal, record: self.record })
    }
}

impl Ledger {
    /// Makes the ledger of a first master version. Never overwrites one.
    pub(super) fn create(
        path: &Path,
        geo: Id,
        first: KeyName,
        key: &Secret,
        record: ProviderRecord,
    ) -> Result<Self, ProviderFault> {
        if path.exists() {
            return Err(ProviderFault::LedgerExists);
        }
        let state_seed = Secret::random();
        let witness = WitnessFile::open(path, geo, &state_seed)?;
        let versions = vec![MasterVersion { name: first, state: MasterState::Active }];
        let (kind, seal) = (record.fields.provider, seal_key(geo, key));
        let ledger = Self { path: path.to_owned(), geo, kind, state_seed, versions, witness, seal, record };
        ledger.save(&ledger.versions)?;
        Ok(ledger)
    }

    /// Writes `versions` under the key it has.
    pub(super) fn save(&self, versions: &[MasterVersion]) -> Result<(), ProviderFault> {
        self.write(versions, &self.seal, &self.record)
    }

    /// Writes `versions` under a new key, wrapped under a new master version.
    pub(super) fn reseal(
        &mut self,
        versions: Vec<MasterVersion>,
        key: &Secret,
        record: ProviderRecord,
    ) -> Result<(), ProviderFault> {
        let seal = seal_key(self.geo, key);
        self.write(&versions, &seal, &record)?;
        (self.versions, self.seal, self.record) = (versions, seal, record);
        Ok(())
    }

    /// Of the witness and of state MACs.
    pub(super) fn state_seed(&self) -> &Secret {
        &self.state_seed
    }

    fn write(&self, versions: &[MasterVersion], seal: &RowKey, record: &ProviderRecord) -> Result<(), ProviderFault> {
        let mut bytes = header(self.geo, self.kind).to_vec();
        bytes.extend_from_slice(&record.to_bytes());
        let row = seal.seal(b'k', &bytes, &encode(&self.state_seed, versions), &[]);
        bytes.extend_from_slice(&row);
        Ok(disk::replace(&self.path, &bytes)?)
    }
}

fn header(geo: Id, kind: ProviderKind) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..4].copy_from_slice(MAGIC);
    out[4..6].copy_from_slice(&[1, kind as u8]);
    out[8..].copy_from_slice(&geo);
    out
}

fn seal_key(geo: Id, key: &Secret) -> RowKey {
    let key = Secret::filled(|out| *out = *key.bytes());
    RowKey::new(key, 1, BucketContext { tenant: NO_ID, geo, bucket: NO_ID }, Lease::permanent())
}

fn encode(state_seed: &Secret, versions: &[MasterVersion]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(32 + versions.len() * ENTRY_BYTES));
    plain.extend_from_slice(state_seed.bytes());
    for version in versions {
        plain.extend_from_slice(&version.name.id);
        plain.extend_from_slice(&version.name.version.to_be_bytes());
        plain.push(version.state as u8);
    }
    plain
}

fn parse(plain: &[u8]) -> Option<(Secret, Vec<MasterVersion>)> {
    let (seed, entries) = plain.split_first_chunk::<32>()?;
    let versions: Vec<_> = entries.chunks(ENTRY_BYTES).map(parse_version).collect::<Option<_>>()?;
    (!versions.is_empty()).then(|| (Secret::filled(|out| *out = *seed), versions))
}

fn parse_version(entry: &[u8]) -> Option<MasterVersion> {
    let entry: &[u8; ENTRY_BYTES] = entry.try_into().ok()?;
    let state = MasterState::from_byte(entry[20])?;
    let name =
        KeyName { id: entry[..16].try_into().ok()?, version: u32::from_be_bytes(entry[16..20].try_into().ok()?) };
    Some(MasterVersion { name, state })
}
