//! A checkpoint, the log's size and root hash, as a signed note.
//!
//! ```text
//! geoseal/audit/europe/5f0c7b6e2b1d4a93
//! 1204
//! <root, base64>
//!
//! — geoseal/audit/europe/5f0c7b6e2b1d4a93 <base64 of key hash (4 bytes) and signature (64 bytes)>
//! ```
//!
//! The signature is Ed25519 over the text up to and with the line feed before the empty line, by the geo's log key.
//! Source: c2sp.org/signed-note and c2sp.org/tlog-checkpoint.

use super::super::Hash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};

/// Says in a key's hash that it is an Ed25519 key. Source: c2sp.org/signed-note.
const ALGORITHM: u8 = 1;
/// Longer is no checkpoint of ours.
const NOTE_BYTES_MAX: usize = 4096;
const PREFIX: &str = "geoseal/audit/";

/// What the log was at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of which geo.
    pub geo: String,
    /// Entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a note is no checkpoint of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It does not have the form.
    #[error("it is no checkpoint of an audit log")]
    Malformed,
    /// No signature of this key is on it, or it does not fit.
    #[error("it is not signed by this log key")]
    Unsigned,
}

/// The log's name: `geoseal/audit/GEO/` and the first eight bytes of the log key.
pub fn origin(geo: &str, log_key: &[u8; 32]) -> String {
    format!("{PREFIX}{geo}/{}", hex::encode(&log_key[..8]))
}

/// The log key in the form that tools for signed notes take: `NAME+HASH+KEY`.
pub fn verifier_key(geo: &str, log_key: &[u8; 32]) -> String {
    let name = origin(geo, log_key);
    let key = [&[ALGORITHM], &log_key[..]].concat();
    format!("{name}+{}+{}", hex::encode(key_hash(&name, log_key)), STANDARD.encode(key))
}

impl Checkpoint {
    /// The text to be signed.
    pub fn text(&self, log_key: &[u8; 32]) -> String {
        format!("{}\n{}\n{}\n", origin(&self.geo, log_key), self.size, STANDARD.encode(self.root.0))
    }

    /// Reads a signed checkpoint. Only what `log_key` signed is looked at.
    pub fn verified(note: &str, log_key: &[u8; 32]) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Malformed);
        }
        let (text, signatures) = note.split_once("\n\n").ok_or(NoteError::Malformed)?;
        let text = &note[..=text.len()];
        let lines = text.split_terminator('\n').collect::<Vec<_>>();
        let [name, size, root] = lines[..] else { return Err(NoteError::Malformed) };
        let geo = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')).ok_or(NoteError::Malformed)?.0;
        if name != origin(geo, log_key) || !signatures.ends_with('\n') {
            return Err(NoteError::Unsigned);
        }
        let signed = signatures.lines().any(|line| {
            let value = line.strip_prefix("— ").and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = value.and_then(|value| STANDARD.decode(value).ok()).unwrap_or_default();
            value.split_at_checked(4).is_some_and(|(hash, signature)| {
                let key = UnparsedPublicKey::new(&ED25519, log_key);
                hash == key_hash(name, log_key) && key.verify(text.as_bytes(), signature).is_ok()
            })
        });
        if !signed {
            return Err(NoteError::Unsigned);
        }
        let size = size.parse().ok().filter(|n: &u64| n.to_string() == size).ok_or(NoteError::Malformed)?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or(NoteError::Malformed)?;
        Ok(Self { geo: geo.to_owned(), size, root: Hash(root) })
    }
}

/// The signed note of `text`, which [`Checkpoint::text`] made, and its signature by the log key.
pub fn assemble(text: &str, log_key: &[u8; 32], signature: &[u8; 64]) -> String {
    let name = text.lines().next().unwrap_or_default();
    let value = [&key_hash(name, log_key)[..], signature].concat();
    format!("{text}\n— {name} {}\n", STANDARD.encode(value))
}

fn key_hash(name: &str, log_key: &[u8; 32]) -> [u8; 4] {
    let hash = Hash::of(&[name.as_bytes(), b"\n", &[ALGORITHM], log_key]);
    hash.0[..4].try_into().expect("four bytes")
}
