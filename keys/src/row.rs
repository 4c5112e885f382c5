//! Sealed rows: every value that the index engine holds. Source: docs/object-format.md, "Sealed row".
//!
//! A row is bound to the key that seals it, its owner (`CTX48`), its kind and its own place in the engine, so a row
//! moved elsewhere does not open. An inlined segment may ride behind it as `trailing`; that is sealed already, and only
//! its length is bound here.

use crate::context::BucketContext;
use crate::derive;
use crate::error::{OpenClass, OpenError};
use crate::material::{BulkKey, Secret, random_array};
use crate::tenant_keys::Lease;
use subtle::ConstantTimeEq;

/// Bytes before the ciphertext.
pub const ROW_HEADER_BYTES: usize = 72;
/// What sealing adds to a row.
pub const ROW_OVERHEAD_BYTES: usize = ROW_HEADER_BYTES + ROW_TAG_BYTES;

const ROW_TAG_BYTES: usize = 16;
const MAGIC: &[u8; 4] = b"SROW";
const VERSION: u8 = 1;
const SUITE: u8 = 1;

/// Seals and opens the rows of one owner: a bucket, a tenant's directory, a geo's directory.
pub struct RowKey {
    secret: Secret,
    token_key: Secret,
    version: u32,
    context: BucketContext,
    lease: Lease,
}

/// A row that opened.
#[derive(PartialEq, Eq)]
pub struct OpenedRow<'a> {
    /// What was sealed.
    pub plain: Vec<u8>,
    /// What rode behind it, still sealed under its own key.
    pub trailing: &'a [u8],
}

impl RowKey {
    pub(crate) fn new(secret: Secret, version: u32, context: BucketContext, lease: Lease) -> Self {
        Self { token_key: derive::token_key(&secret), secret, version, context, lease }
    }

    /// The version of the key, as rows sealed by it carry it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the lease behind it is still good.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        self.lease.check()
    }

    #[cfg(test)]
    pub(crate) fn context(&self) -> BucketContext {
        self.context
    }

    /// Seals `plain` as the row of `kind` at `row_key`, under a fresh salt; appends `trailing` as it is.
    ///
    /// # Panics
    /// If `row_key` is 64 KiB or longer, or `trailing` 4 GiB: a bug of the caller.
    pub fn seal(&self, kind: u8, row_key: &[u8], plain: &[u8], trailing: &[u8]) -> Vec<u8> {
        self.seal_with_salt(kind, row_key, plain, trailing, random_array())
    }

    pub(crate) fn seal_with_salt(
        &self,
        kind: u8,
        row_key: &[u8],
        plain: &[u8],
        trailing: &[u8],
        salt: [u8; 24],
    ) -> Vec<u8> {
        let mut row = Vec::with_capacity(ROW_OVERHEAD_BYTES + plain.len() + trailing.len());
        row.extend_from_slice(MAGIC);
        row.extend_from_slice(&[VERSION, SUITE, kind, 0]);
        row.extend_from_slice(&self.version.to_be_bytes());
        let trailing_len = u32::try_from(trailing.len()).expect("a trailing segment is a few KiB");
        row.extend_from_slice(&trailing_len.to_be_bytes());
        row.extend_from_slice(&salt);
        let context = self.context.to_bytes();
        let once = derive::row(&self.secret, row[..40].try_into().expect("40 bytes"), &context, row_key);
        row.extend_from_slice(&once.commitment);
        let aad = Aad::new(&row[..ROW_HEADER_BYTES], &context, row_key);
        row.extend_from_slice(plain);
        let tag = BulkKey::new(&once.key).seal(once.nonce, aad.bytes(), &mut row[ROW_HEADER_BYTES..]);
        row.extend_from_slice(tag.as_ref());
        row.extend_from_slice(trailing);
        row
    }

    /// Opens the row of `kind` that was found at `row_key`.
    pub fn open<'a>(&self, kind: u8, row_key: &[u8], row: &'a [u8]) -> Result<OpenedRow<'a>, OpenError> {
        self.lease.check()?;
        let (sealed, trailing) = split(row, kind)?;
        if row_version(row)? != self.version {
            return Err(OpenClass::Parent.into());
        }
        let context = self.context.to_bytes();
        let once = derive::row(&self.secret, sealed[..40].try_into().expect("40 bytes"), &context, row_key);
        if !bool::from(once.commitment.ct_eq(&sealed[40..ROW_HEADER_BYTES])) {
            return Err(OpenClass::Commitment.into());
        }
        let aad = Aad::new(&sealed[..ROW_HEADER_BYTES], &context, row_key);
        let mut plain = sealed[ROW_HEADER_BYTES..].to_vec();
        let len = BulkKey::new(&once.key).open(once.nonce, aad.bytes(), &mut plain).ok_or(OpenClass::Tag)?.len();
        plain.truncate(len);
        Ok(OpenedRow { plain, trailing })
    }

    /// The token of a name in this owner's rows: `HMAC-SHA-256(token key, name)[0..16]`.
    pub fn token(&self, name: &[u8]) -> [u8; 16] {
        derive::token(&self.token_key, name)
    }
}

/// The version of the key that a row says it was sealed under; not authenticated, only to pick the key.
pub fn row_version(row: &[u8]) -> Result<u32, OpenError> {
    let bytes = row.get(8..12).ok_or(OpenClass::Length)?;
    Ok(u32::from_be_bytes(bytes.try_into().expect("4 bytes")))
}

/// Checks the clear fields; returns the row without its trailing bytes, and those.
fn split(row: &[u8], expected_kind: u8) -> Result<(&[u8], &[u8]), OpenError> {
    if row.len() < ROW_OVERHEAD_BYTES {
        return Err(OpenClass::Length.into());
    }
    if row[..4] != *MAGIC {
        return Err(OpenClass::Magic.into());
    }
    let [version, suite, kind, flags] = row[4..8].try_into().expect("4 bytes");
    if version != VERSION {
        return Err(OpenClass::Version.into());
    }
    if suite != SUITE {
        return Err(OpenClass::Suite.into());
    }
    if kind != expected_kind {
        return Err(OpenClass::Kind.into());
    }
    if flags != 0 {
        return Err(OpenClass::Flags.into());
    }
    let trailing = u32::from_be_bytes(row[12..16].try_into().expect("4 bytes")) as usize;
    let sealed = row.len().checked_sub(trailing).filter(|len| *len >= ROW_OVERHEAD_BYTES).ok_or(OpenClass::Length)?;
    Ok(row.split_at(sealed))
}

/// `row[0..72] | CTX48 | u16 len(row_key) | row_key`, on the stack for row keys of ordinary length.
struct Aad {
    inline: [u8; Self::INLINE],
    len: usize,
    spilled: Vec<u8>,
}

impl Aad {
    const INLINE: usize = ROW_HEADER_BYTES + 48 + 2 + 64;

    fn new(header: &[u8], context: &[u8; 48], row_key: &[u8]) -> Self {
        let row_key_len = derive::row_key_len(row_key);
        let fields = [header, context, &row_key_len, row_key];
        let len = fields.iter().map(|field| field.len()).sum();
        let mut aad = Self { inline: [0; Self::INLINE], len, spilled: Vec::new() };
        if len > Self::INLINE {
            aad.spilled = fields.concat();
            return aad;
        }
        let mut at = 0;
        for field in fields {
            aad.inline[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        aad
    }

    fn bytes(&self) -> &[u8] {
        if self.spilled.is_empty() { &self.inline[..self.len] } else { &self.spilled }
    }
}
