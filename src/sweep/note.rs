//! What a destruction must remember across a crash: what there was, because it is gone by then; what the key service
//! said; which audit entry ends it. Ids, counts and hashes only. Kept by the directory, sealed under the geo's key.

use super::SweepError;
use super::certificate::Counts;
use crate::audit::{Hash, Receipt};
use crate::directory::Directory;
use crate::model::ids::{BucketId, TenantId};
use crate::model::time::Millis;
use crate::seal::{KeyKind, ShredEvidence};
use minicbor::{Decode, Encode};

/// A note about one tenant's destruction.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Note {
    /// Entries of the audit log before the first one that the destruction behind the manifest owes.
    #[n(0)]
    pub(super) log_from: u64,
    /// Every bucket that the tenant had, by id.
    #[n(1)]
    pub(super) buckets: Vec<Bucket>,
    /// SHA-256 of the list of what there was.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(super) manifest: [u8; 32],
    /// How much there was.
    #[n(3)]
    pub(super) objects: u64,
    #[n(4)]
    pub(super) versions: u64,
    #[n(5)]
    pub(super) parts: u64,
    #[n(6)]
    pub(super) blobs: u64,
    #[n(7)]
    pub(super) bytes: u64,
    /// What the key service destroyed.
    #[n(8)]
    pub(super) shredded: Option<Shredded>,
    /// The entry that ends it, and when.
    #[n(9)]
    pub(super) ended: Option<Ended>,
}

/// One bucket of the tenant.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Bucket {
    #[n(0)]
    pub(super) id: BucketId,
    #[n(1)]
    pub(super) region: String,
    /// Whether what it held is in the counts: not while its region was out of reach.
    #[n(2)]
    pub(super) counted: bool,
}

/// What the key service destroyed, as it saw it.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Shredded {
    #[n(0)]
    pub(super) destroyed: Vec<String>,
    #[n(1)]
    pub(super) files_searched: u64,
    #[n(2)]
    pub(super) records_found: u64,
    #[n(3)]
    pub(super) overwritten_in_place: bool,
    #[n(4)]
    pub(super) file_system: String,
    /// When, in compliance seconds; not in notes of earlier releases.
    #[n(5)]
    pub(super) at: Option<i64>,
}

/// The audit entry that ends a destruction.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct Ended {
    #[n(0)]
    pub(super) index: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) hash: [u8; 32],
    #[n(2)]
    pub(super) at: Millis,
}

const VERSION: u8 = 1;

impl Note {
    /// The note of a tenant, if its manifest was taken.
    pub(super) async fn read(directory: &Directory, tenant: TenantId) -> Result<Option<Self>, SweepError> {
        let Some(bytes) = directory.purge_note(tenant).await? else { return Ok(None) };
        let known = bytes.split_first().filter(|(version, _)| **version == VERSION);
        let note = known.and_then(|(_, rest)| minicbor::decode(rest).ok());
        note.map(Some).ok_or(SweepError::Integrity)
    }

    /// Keeps the note; durable on return.
    pub(super) async fn keep(&self, directory: &Directory, tenant: TenantId) -> Result<(), SweepError> {
        let mut bytes = vec![VERSION];
        minicbor::encode(self, &mut bytes).expect("a Vec takes every byte");
        Ok(directory.keep_purge_note(tenant, &bytes).await?)
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            buckets: self.buckets.len() as u64,
            objects: self.objects,
            versions: self.versions,
            parts: self.parts,
            blobs: self.blobs,
            bytes: self.bytes,
        }
    }
}

impl From<&ShredEvidence> for Shredded {
    fn from(evidence: &ShredEvidence) -> Self {
        let named = evidence.destroyed.iter();
        Self {
            destroyed: named.map(|(kind, name)| key_name(*kind, name.id, name.version)).collect(),
            files_searched: evidence.files_scanned,
            records_found: evidence.salts_found,
            overwritten_in_place: evidence.overwritten_in_place,
            file_system: evidence.file_system.to_owned(),
            at: Some(evidence.at),
        }
    }
}

/// `trk/<id>/<version>`: how a certificate names a key.
pub(super) fn key_name(kind: KeyKind, id: [u8; 16], version: u32) -> String {
    let kind = kind.as_str().to_ascii_lowercase();
    format!("{kind}/{}/{version}", hex::encode(id))
}

impl Ended {
    pub(super) fn new(receipt: Receipt, at: Millis) -> Self {
        Self { index: receipt.index, hash: receipt.hash.0, at }
    }

    pub(super) fn hash(&self) -> Hash {
        Hash(self.hash)
    }
}
