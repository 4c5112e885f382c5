//! Wrapped keys at rest: the 152-byte key record `KREC` (a key under a parent key) and the provider record `PREC` (a
//! root under the geo master key). Source: docs/object-format.md, "Wrapped-key record" and "Provider record".
//!
//! A record read from disk is [`Unverified`]: its fields may be used to find a parent, never to trust a key. Only
//! opening it yields one.

use crate::context::{Id, ObjectContext};
use crate::derive;
use crate::error::{OpenClass, OpenError};
use crate::material::{Secret, random_array};
use crate::memory::scrubbed;
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;

/// A wrapped-key record is exactly this long.
pub const RECORD_BYTES: usize = 152;
/// A wrapped key, sealed and safe to store anywhere but the purged key store.
pub type Record = [u8; RECORD_BYTES];
/// The record of an object's data key, as its index row carries it.
pub type DekRecord = Record;

const MAGIC: &[u8; 4] = b"KREC";
const PROVIDER_MAGIC: &[u8; 4] = b"PREC";
const VERSION: u8 = 1;
const SUITE: u8 = 1;

/// What kind of key a record wraps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum KeyKind {
    /// Tenant root: wraps data keys.
    #[n(1)]
    Trk = 1,
    /// Subject root: wraps subject keys.
    #[n(2)]
    Srk = 2,
    /// Subject key: wraps the data keys of one data subject's objects.
    #[n(3)]
    Sk = 3,
    /// Index key of one bucket: seals its rows.
    #[n(4)]
    Ik = 4,
    /// Data key of one object version.
    #[n(5)]
    Dek = 5,
    /// File key of one generation of the key store.
    #[n(6)]
    File = 6,
    /// Index root: wraps index keys and credentials, seals the tenant's directory rows.
    #[n(7)]
    Tik = 7,
    /// A login's secret.
    #[n(8)]
    Credential = 8,
    /// Geo directory key.
    #[n(9)]
    Gdk = 9,
}

impl KeyKind {
    /// The kind with this number, if v1 knows it.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Trk,
            2 => Self::Srk,
            3 => Self::Sk,
            4 => Self::Ik,
            5 => Self::Dek,
            6 => Self::File,
            7 => Self::Tik,
            8 => Self::Credential,
            9 => Self::Gdk,
            _ => return None,
        })
    }

    /// A short stable name, for status pages and audit entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trk => "TRK",
            Self::Srk => "SRK",
            Self::Sk => "SK",
            Self::Ik => "IK",
            Self::Dek => "DEK",
            Self::File => "FILE",
            Self::Tik => "TIK",
            Self::Credential => "CREDENTIAL",
            Self::Gdk => "GDK",
        }
    }
}

/// A key by its id and version; says nothing of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct KeyName {
    /// Random, opaque.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: Id,
    /// Counts from 1.
    #[n(1)]
    pub version: u32,
}

/// The clear fields of a record as they were read: well formed, not authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unverified {
    /// What is wrapped.
    pub kind: KeyKind,
    /// The wrapped key.
    pub key: KeyName,
    /// The key it is wrapped under.
    pub parent: KeyName,
}

impl Unverified {
    /// Reads the clear fields of a `KREC`. Checks length, magic, version, suite, kind and flags, nothing more.
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenError> {
        let record: &Record = bytes.try_into().map_err(|_| OpenClass::Length)?;
        let [_, _, _, _, version, suite, kind, flags, ..] = *record;
        if record[..4] != *MAGIC {
            return Err(OpenClass::Magic.into());
        }
        if version != VERSION {
            return Err(OpenClass::Version.into());
        }
        if suite != SUITE {
            return Err(OpenClass::Suite.into());
        }
        let kind = KeyKind::from_byte(kind).ok_or(OpenClass::Kind)?;
        if flags != 0 {
            return Err(OpenClass::Flags.into());
        }
        Ok(Self {
            kind,
            key: KeyName { id: field(record, 16), version: u32::from_be_bytes(field(record, 8)) },
            parent: KeyName { id: field(record, 32), version: u32::from_be_bytes(field(record, 12)) },
        })
    }
}

/// A parent key together with its name: what a record is wrapped under.
pub(crate) struct Parent<'a> {
    pub(crate) name: KeyName,
    pub(crate) secret: &'a Secret,
}

/// Wraps `key` under `parent`, bound to `context`, under a fresh salt.
pub(crate) fn wrap(parent: &Parent<'_>, kind: KeyKind, name: KeyName, key: &Secret, context: &ObjectContext) -> Record {
    wrap_with_salt(parent, kind, name, key, context, random_array())
}

pub(crate) fn wrap_with_salt(
    parent: &Parent<'_>,
    kind: KeyKind,
    name: KeyName,
    key: &Secret,
    context: &ObjectContext,
    salt: [u8; 24],
) -> Record {
    let mut record = [0; RECORD_BYTES];
    record[..4].copy_from_slice(MAGIC);
    record[4..8].copy_from_slice(&[VERSION, SUITE, kind as u8, 0]);
    record[8..12].copy_from_slice(&name.version.to_be_bytes());
    record[12..16].copy_from_slice(&parent.name.version.to_be_bytes());
    record[16..32].copy_from_slice(&name.id);
    record[32..48].copy_from_slice(&parent.name.id);
    record[48..72].copy_from_slice(&salt);
    let context = context.to_bytes();
    scrubbed(|| {
        let once = derive::record(parent.secret, &field(&record, 0), &context);
        record[72..104].copy_from_slice(&once.commitment);
        let aad = record_aad(&record, &context);
        record[104..136].copy_from_slice(key.bytes());
        #[cfg(test)]
        crate::tests::pairs::note(crate::tests::pairs::print_of(&once.key), once.nonce);
        let tag = cipher(&once.key)
            .encrypt_inout_detached(&once.nonce.into(), &aad, (&mut record[104..136]).into())
            .expect("32 bytes are far below the length GCM allows");
        record[136..].copy_from_slice(&tag);
    });
    record
}

/// Unwraps a record: its kind and parent must be the expected ones, its context the given one.
///
/// Order of checks: fields, then derive, then commitment (constant time), then tag. The key is written nowhere before
/// its tag verified but into the buffer that is cleared on failure.
pub(crate) fn unwrap(
    parent: &Parent<'_>,
    kind: KeyKind,
    bytes: &[u8],
    context: &ObjectContext,
) -> Result<(KeyName, Secret), OpenError> {
    let fields = Unverified::parse(bytes)?;
    if fields.kind != kind {
        return Err(OpenClass::Kind.into());
    }
    if fields.parent != parent.name {
        return Err(OpenClass::Parent.into());
    }
    let record: &Record = bytes.try_into().map_err(|_| OpenClass::Length)?;
    let context = context.to_bytes();
    let secret = scrubbed(|| {
        let once = derive::record(parent.secret, &field(record, 0), &context);
        if !bool::from(once.commitment.ct_eq(&record[72..104])) {
            return Err(OpenError::new(OpenClass::Commitment));
        }
        let aad = record_aad(record, &context);
        let tag: [u8; 16] = field(record, 136);
        Secret::try_filled(|key| {
            key.copy_from_slice(&record[104..136]);
            cipher(&once.key)
                .decrypt_inout_detached(&once.nonce.into(), &aad, key.as_mut_slice().into(), &tag.into())
                .map_err(|_| OpenError::new(OpenClass::Tag))
        })
    })?;
    Ok((fields.key, secret))
}

/// `AAD = rec[0..104] | ctx80`.
fn record_aad(record: &Record, context: &[u8; 80]) -> [u8; 184] {
    let mut aad = [0; 184];
    aad[..104].copy_from_slice(&record[..104]);
    aad[104..].copy_from_slice(context);
    aad
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

fn field<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    bytes[from..from + N].try_into().expect("a slice of N bytes")
}

/// Which provider holds the master key that wraps a root.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum ProviderKind {
    /// The embedded sealed keyring.
    #[n(1)]
    Local = 1,
    /// A PKCS#11 token.
    #[n(2)]
    Pkcs11 = 2,
    /// Vault or OpenBao Transit.
    #[n(3)]
    Transit = 3,
    /// AWS KMS.
    #[n(4)]
    AwsKms = 4,
}

/// The clear fields of a `PREC`, and the 80 bytes that the provider binds into what it wraps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootFields {
    /// Who holds the master key.
    pub provider: ProviderKind,
    /// Which root: TRK, SRK, TIK, GDK or the key store's file key.
    pub kind: KeyKind,
    /// The wrapped root.
    pub root: KeyName,
    /// The master key.
    pub master: KeyName,
}

impl RootFields {
    /// `rec[0..48]`.
    pub(crate) fn to_bytes(self) -> [u8; 48] {
        let mut out = [0; 48];
        out[..4].copy_from_slice(PROVIDER_MAGIC);
        out[4..8].copy_from_slice(&[VERSION, self.provider as u8, self.kind as u8, 0]);
        out[8..12].copy_from_slice(&self.root.version.to_be_bytes());
        out[12..16].copy_from_slice(&self.master.version.to_be_bytes());
        out[16..32].copy_from_slice(&self.root.id);
        out[32..48].copy_from_slice(&self.master.id);
        out
    }
}

/// A provider record: `rec[0..48] | kcv | u16 blob_len | blob`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProviderRecord {
    pub(crate) fields: RootFields,
    pub(crate) kcv: [u8; 32],
    pub(crate) blob: Vec<u8>,
}

/// The longest blob we accept from a provider (AWS KMS answers a few hundred bytes).
pub(crate) const BLOB_BYTES_MAX: usize = 4096;

impl ProviderRecord {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(82 + self.blob.len());
        out.extend_from_slice(&self.fields.to_bytes());
        out.extend_from_slice(&self.kcv);
        let len = u16::try_from(self.blob.len()).expect("bounded by BLOB_BYTES_MAX when it was made");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&self.blob);
        out
    }

    /// Reads one record from the front of `bytes`; returns it and its length.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, usize), OpenError> {
        if bytes.len() < 82 {
            return Err(OpenClass::Length.into());
        }
        if bytes[..4] != *PROVIDER_MAGIC {
            return Err(OpenClass::Magic.into());
        }
        if bytes[4] != VERSION {
            return Err(OpenClass::Version.into());
        }
        let provider = match bytes[5] {
            1 => ProviderKind::Local,
            2 => ProviderKind::Pkcs11,
            3 => ProviderKind::Transit,
            4 => ProviderKind::AwsKms,
            _ => return Err(OpenClass::Suite.into()),
        };
        let kind = KeyKind::from_byte(bytes[6]).ok_or(OpenClass::Kind)?;
        if bytes[7] != 0 {
            return Err(OpenClass::Flags.into());
        }
        let fields = RootFields {
            provider,
            kind,
            root: KeyName { id: field(bytes, 16), version: u32::from_be_bytes(field(bytes, 8)) },
            master: KeyName { id: field(bytes, 32), version: u32::from_be_bytes(field(bytes, 12)) },
        };
        let blob_len = usize::from(u16::from_be_bytes(field(bytes, 80)));
        if blob_len > BLOB_BYTES_MAX || bytes.len() < 82 + blob_len {
            return Err(OpenClass::Length.into());
        }
        let blob = bytes[82..82 + blob_len].to_vec();
        Ok((Self { fields, kcv: field(bytes, 48), blob }, 82 + blob_len))
    }

    /// Whether `key` is the one this record was made for. Catches a provider that answers with another tenant's key.
    pub(crate) fn vouches_for(&self, key: &Secret, context: &ObjectContext) -> bool {
        derive::kcv(key, &self.fields.to_bytes(), context).ct_eq(&self.kcv).into()
    }
}
