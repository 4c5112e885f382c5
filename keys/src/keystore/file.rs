//! One file of entries: a provider record of its own file key, then a sealed segment of kind 6. A generation is one, and so
//! is a shard of subject keys.

use super::changes::{Entries, decode_entries, encode_entries};
use super::roots::{unwrap_root, wrap_root};
use crate::context::{BucketContext, Id, NO_ID, ObjectContext};
use crate::error::{KeyError, KeystoreError, ProviderError};
use crate::material::{Secret, random_array};
use crate::provider::{MasterKeys, RootSecret};
use crate::record::{KeyKind, KeyName, ProviderRecord};
use crate::row::RowKey;
use crate::segment::{HEADER_BYTES, SegmentInfo, SegmentKind, plain_len};
use crate::tenant_keys::{Dek, Lease};
use zeroize::Zeroizing;

/// The key of one file, unwrapped.
pub(crate) type FileKey = RootSecret;

/// A file of entries, ready to be written, its file key verified by unwrapping it again.
pub(crate) struct SealedFile {
    pub(crate) bytes: Vec<u8>,
    pub(crate) record: ProviderRecord,
    pub(super) frames: RowKey,
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

pub(super) fn frame_key(geo: Id, file_key: RootSecret) -> RowKey {
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
