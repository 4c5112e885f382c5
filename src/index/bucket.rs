//! An open bucket: whose it is, where, and the key that seals its rows.
//!
//! Built by the conductors once the gate has admitted the caller; shared as an `Arc` for as long as requests use it. All
//! sealing and opening of this room's rows goes through it, so that kind, place and key are never mixed up.

use super::error::IndexError;
use super::row_keys::{self, ORDER_CURRENT, RowKind};
use super::rows;
use crate::model::atlas::{Geo, Region};
use crate::model::ids::{BucketId, TenantId};
use crate::seal::{self, BucketKey};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use std::fmt;

/// A bucket that may be read and written, with its key.
pub struct OpenBucket {
    /// Whose.
    pub tenant: TenantId,
    /// The border its bytes do not cross.
    pub geo: &'static Geo,
    /// Where its bytes lie.
    pub region: &'static Region,
    /// Which.
    pub bucket: BucketId,
    /// Seals its rows and makes its tokens.
    pub key: BucketKey,
    /// While the bucket is re-keyed: the key before, which rows that were not sealed anew yet open under.
    pub old: Option<BucketKey>,
}

impl fmt::Debug for OpenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenBucket({})", self.bucket)
    }
}

impl OpenBucket {
    /// How far the bucket's re-keyings have come: key n, key n+1 beside n, key n+1 alone.
    pub(crate) fn stage(&self) -> u64 {
        2 * u64::from(self.key.name().version) + u64::from(self.old.is_none())
    }

    /// The tokens that stand for a name, the newest key's first.
    pub(crate) fn tokens(&self, name: &str) -> impl Iterator<Item = [u8; 16]> {
        let old = self.old.as_ref().map(|old| old.token(name.as_bytes()));
        std::iter::once(self.key.token(name.as_bytes())).chain(old)
    }

    /// The row key of one version of an object.
    pub(crate) fn version_row_key(&self, name: &str, order: u64) -> Bytes {
        row_keys::object(self.bucket, self.key.token(name.as_bytes()), order)
    }

    /// The key that a sealed row says it is under; the newest when it says nothing we know.
    pub(crate) fn key_of(&self, value: &[u8]) -> &BucketKey {
        let version = seal::row_version(value).ok();
        self.old.as_ref().filter(|old| version == Some(old.name().version)).unwrap_or(&self.key)
    }

    /// Whether a sealed row stands under the key that is to go.
    pub(crate) fn is_old(&self, value: &[u8]) -> bool {
        self.old.as_ref().is_some_and(|old| seal::row_version(value).ok() == Some(old.name().version))
    }

    /// The row key of an object's current version.
    pub(crate) fn object_row_key(&self, name: &str) -> Bytes {
        self.version_row_key(name, ORDER_CURRENT)
    }

    /// Seals a row for its place. `trailing` is sealed already.
    pub(crate) fn seal<T: Encode<()>>(&self, kind: RowKind, row_key: &[u8], row: &T, trailing: &[u8]) -> Bytes {
        self.key.row_key().seal(kind as u8, row_key, &rows::encode(row), trailing).into()
    }

    /// Opens the row that was found at `row_key`.
    pub(crate) fn open<T>(&self, kind: RowKind, row_key: &[u8], value: &[u8]) -> Result<T, IndexError>
    where
        T: for<'a> Decode<'a, ()>,
    {
        let opened = self.key_of(value).row_key().open(kind as u8, row_key, value)?;
        Ok(rows::decode(&opened.plain)?)
    }

    /// Opens a row and hands out what trails it, without a copy.
    pub(crate) fn open_trailing<T>(
        &self,
        kind: RowKind,
        row_key: &[u8],
        value: &Bytes,
    ) -> Result<(T, Bytes), IndexError>
    where
        T: for<'a> Decode<'a, ()>,
    {
        let opened = self.key_of(value).row_key().open(kind as u8, row_key, value)?;
        let trailing = value.slice(value.len() - opened.trailing.len()..);
        Ok((rows::decode(&opened.plain)?, trailing))
    }
}

/// Which writing of a row this is: the fresh salt it was sealed with. Two writings never share one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp([u8; 24]);

impl Stamp {
    /// Of a sealed row; of something else, no row's.
    pub(crate) fn of(value: &[u8]) -> Self {
        Self(value.get(16..40).map_or([0; 24], |salt| salt.try_into().expect("24 bytes")))
    }
}
