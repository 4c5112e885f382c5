//! A backup's manifest: what is in it, and the signature of the geo's log key over the file as it stands.

use super::BackupError;
use super::files::{Sum, disk, sum, write};
use crate::audit::Hash;
use crate::seal::{KeyClient, KeyError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// Bytes of a log key.
pub const LOG_KEY_BYTES: usize = 32;
/// The manifest's file.
pub(super) const FILE: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";

/// What a geo's backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// 32 hexadecimal digits; the same for all geos of one backup.
    pub id: String,
    /// Of which geo.
    pub geo: String,
    /// Of which moment, by the compliance clock, RFC 3339.
    pub at: String,
    /// The release that made it.
    pub release: String,
    /// Its key store.
    pub keystore: KeystorePart,
    /// Its regions.
    pub regions: Vec<RegionPart>,
    /// Every file but blobs and these two, by its path.
    pub files: Vec<FilePart>,
    /// Rows of all tables.
    pub rows: u64,
    /// Blobs of all regions.
    pub blobs: u64,
    /// Bytes, all files together.
    pub bytes: u64,
    /// What a restore needs besides.
    pub not_in_it: Vec<String>,
}

/// A geo's key store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeystorePart {
    /// Its generation.
    pub generation: u64,
    /// The newest version of the master key that it needs.
    pub master: u32,
    /// Entries of the shred log.
    pub shreds: u64,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionPart {
    /// Which.
    pub id: String,
    /// Rows of its index.
    pub rows: u64,
    /// Whether its blobs are in the backup: not where they lie in a store of their own.
    pub blobs_kept: bool,
    /// How many.
    pub blobs: u64,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePart {
    /// From the geo's directory of the backup.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    algorithm: String,
    public: String,
    value: String,
}

/// Ed25519 over a message.
pub(super) trait Sign {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError>;
    fn public_key(&self) -> [u8; LOG_KEY_BYTES];
}

impl Sign for KeyClient {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        Self::sign(self, message)
    }

    fn public_key(&self) -> [u8; LOG_KEY_BYTES] {
        self.log_key()
    }
}

impl Manifest {
    /// Writes it beside what it lists, signed; answers its SHA-256.
    pub(super) fn keep(&self, dir: &Path, by: &dyn Sign) -> Result<Hash, BackupError> {
        let text = serde_json::to_vec_pretty(self).expect("plain fields have a JSON form");
        let signature = Signature {
            algorithm: ALGORITHM.to_owned(),
            public: hex::encode(by.public_key()),
            value: BASE64.encode(by.sign(&text)?),
        };
        let signature = serde_json::to_vec_pretty(&signature).expect("plain fields have a JSON form");
        write(&dir.join(FILE), &text)?;
        write(&dir.join(SIGNATURE), &signature)?;
        Ok(Hash::of(&[&text]))
    }

    /// Reads the manifest in `dir`, if its signature fits; with `log_key` only if that key made it. Answers the key, too.
    pub(super) fn read(
        dir: &Path,
        log_key: Option<&[u8; LOG_KEY_BYTES]>,
    ) -> Result<(Self, [u8; LOG_KEY_BYTES]), BackupError> {
        let path = dir.join(FILE);
        let unfit = |why| BackupError::Unfit { path: path.clone(), why };
        let text = std::fs::read(&path).map_err(disk(&path))?;
        let signature_path = dir.join(SIGNATURE);
        let signature = std::fs::read(&signature_path).map_err(disk(&signature_path))?;
        let signature: Signature =
            serde_json::from_slice(&signature).map_err(|_| unfit("its signature is not one of ours"))?;
        let mut public = [0; LOG_KEY_BYTES];
        let known = hex::decode_to_slice(&signature.public, &mut public).is_ok() && signature.algorithm == ALGORITHM;
        if !known {
            return Err(unfit("its signature is not one of ours"));
        }
        if log_key.is_some_and(|key| *key != public) {
            return Err(unfit("another key than the given log key signed it"));
        }
        let value = BASE64.decode(&signature.value).unwrap_or_default();
        let fits = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public).verify(&text, &value);
        fits.map_err(|_| unfit("the signature does not fit: it was changed"))?;
        let read: Self = serde_json::from_slice(&text).map_err(|_| unfit("it is not a manifest of this release"))?;
        if read.format != 1 {
            return Err(unfit("it is not a manifest of this release"));
        }
        Ok((read, public))
    }
}

const ALGORITHM: &str = "Ed25519";

impl FilePart {
    pub(super) fn of(dir: &Path, path: &Path) -> Result<Self, BackupError> {
        let Sum { bytes, sha256 } = sum(&dir.join(path))?;
        Ok(Self { path: path.display().to_string(), bytes, sha256: hex::encode(sha256) })
    }

    /// Whether the file is what was listed, and lies inside `dir`.
    pub(super) fn check(&self, dir: &Path) -> Result<(), BackupError> {
        let unfit = |why| BackupError::Unfit { path: dir.join(&self.path), why };
        let inside = Path::new(&self.path).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(unfit("a listed path leaves the backup"));
        }
        if !dir.join(&self.path).is_file() {
            return Err(unfit("it is missing"));
        }
        let Sum { bytes, sha256 } = sum(&dir.join(&self.path))?;
        let same = bytes == self.bytes && hex::encode(sha256) == self.sha256;
        if same { Ok(()) } else { Err(unfit("its SHA-256 is not the listed one: it was changed or damaged")) }
    }
}
