//! Roots under the master key: wrapped, unwrapped, and each checked to be the one that its record was made for.

use crate::context::ObjectContext;
use crate::error::{KeyError, ProviderError};
use crate::provider::{MasterKeys, RootSecret, Wrapped};
use crate::record::{BLOB_BYTES_MAX, KeyKind, KeyName, ProviderKind, ProviderRecord, RootFields};

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
