//! Every formula of docs/key-hierarchy.md, one function each, written as on the page. Nobody else in this crate calls
//! HKDF or HMAC.
//!
//! `Expand(key, info, n)` is RFC 5869 HKDF-Expand with SHA-256 over a uniformly random 32-byte `key`, used as PRK.
//! `info` always starts with a label that ends in a zero byte, and all fields behind it have a fixed width or a length.

use crate::context::{Id, ObjectContext};
use crate::material::Secret;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `OKM(71) = Expand(DEK, "sealed-segment-v1\0" | header[0..160], 71)`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct SegmentSchedule {
    pub(crate) key: [u8; 32],
    #[zeroize(skip)]
    pub(crate) commitment: [u8; 32],
    #[zeroize(skip)]
    pub(crate) prefix: [u8; 7],
}

pub(crate) fn segment(dek: &Secret, header: &[u8; 160]) -> SegmentSchedule {
    let mut okm = [0; 71];
    expand(dek, &[b"sealed-segment-v1\0", header], &mut okm);
    let mut schedule = SegmentSchedule { key: [0; 32], commitment: [0; 32], prefix: [0; 7] };
    schedule.key.copy_from_slice(&okm[..32]);
    schedule.commitment.copy_from_slice(&okm[32..64]);
    schedule.prefix.copy_from_slice(&okm[64..]);
    okm.zeroize();
    schedule
}

/// A one-shot key, its commitment and its nonce, for records and rows.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct OneShot {
    pub(crate) key: [u8; 32],
    #[zeroize(skip)]
    pub(crate) commitment: [u8; 32],
    #[zeroize(skip)]
    pub(crate) nonce: [u8; 12],
}

/// `OKM(76) = Expand(parent, "key-record-v1\0" | rec[0..72] | ctx80, 76)`.
pub(crate) fn record(parent: &Secret, fields: &[u8; 72], context: &[u8; 80]) -> OneShot {
    one_shot(parent, &[b"key-record-v1\0", fields, context])
}

/// `OKM(76) = Expand(IK, "sealed-row-v1\0" | row[0..40] | CTX48 | u16 len(row_key) | row_key, 76)`.
pub(crate) fn row(ik: &Secret, fields: &[u8; 40], context: &[u8; 48], row_key: &[u8]) -> OneShot {
    one_shot(ik, &[b"sealed-row-v1\0", fields, context, &row_key_len(row_key), row_key])
}

/// `u16 len(row_key)`. A row key of ours is at most some tens of bytes.
pub(crate) fn row_key_len(row_key: &[u8]) -> [u8; 2] {
    u16::try_from(row_key.len()).expect("row keys are shorter than 64 KiB").to_be_bytes()
}

fn one_shot(parent: &Secret, info: &[&[u8]]) -> OneShot {
    let mut okm = [0; 76];
    expand(parent, info, &mut okm);
    let mut out = OneShot { key: [0; 32], commitment: [0; 32], nonce: [0; 12] };
    out.key.copy_from_slice(&okm[..32]);
    out.commitment.copy_from_slice(&okm[32..64]);
    out.nonce.copy_from_slice(&okm[64..]);
    okm.zeroize();
    out
}

/// What a root's purpose key is for. One key, one purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    WrapDek,
    WrapSk,
    WrapIk,
    WrapCredential,
    Directory,
    Token,
    LogPseudonym,
    SubjectMap,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::WrapDek => "wrap-dek",
            Self::WrapSk => "wrap-sk",
            Self::WrapIk => "wrap-ik",
            Self::WrapCredential => "wrap-credential",
            Self::Directory => "directory",
            Self::Token => "token",
            Self::LogPseudonym => "log-pseudonym",
            Self::SubjectMap => "subject-map",
        }
    }
}

/// `Expand(root, "purpose-v1\0" | name | 0x00 | tenant | geo, 32)`.
pub(crate) fn purpose(root: &Secret, purpose: Purpose, tenant: &Id, geo: &Id) -> Secret {
    let name = purpose.name().as_bytes();
    Secret::filled(|out| expand(root, &[b"purpose-v1\0", name, &[0], tenant, geo], out))
}

/// `Expand(IK, "purpose-v1\0" | "token", 32)`: the token key of a key that also seals rows.
pub(crate) fn token_key(ik: &Secret) -> Secret {
    Secret::filled(|out| expand(ik, &[b"purpose-v1\0", b"token"], out))
}

/// `kcv = Expand(key, "root-kcv-v1\0" | rec[0..48] | tenant | geo, 32)`.
pub(crate) fn kcv(key: &Secret, fields: &[u8; 48], context: &ObjectContext) -> [u8; 32] {
    let mut out = [0; 32];
    expand(key, &[b"root-kcv-v1\0", fields, &context.tenant, &context.geo], &mut out);
    out
}

/// `token = HMAC-SHA-256(token key, name)[0..16]`.
pub(crate) fn token(token_key: &Secret, name: &[u8]) -> [u8; 16] {
    let mut mac = Hmac::<Sha256>::new_from_slice(token_key.bytes()).expect("HMAC takes a key of any length");
    mac.update(name);
    let whole = mac.finalize().into_bytes();
    let mut out = [0; 16];
    out.copy_from_slice(&whole[..16]);
    out
}

/// `Expand(witness key, "state-mac-v1\0", 32)`: authenticates small state of the process beside the keyring.
pub(crate) fn state_key(witness_key: &Secret) -> Secret {
    Secret::filled(|out| expand(witness_key, &[b"state-mac-v1\0"], out))
}

/// `HMAC-SHA-256(key, message)`.
pub(crate) fn mac(key: &Secret, message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn expand(key: &Secret, info: &[&[u8]], out: &mut [u8]) {
    Hkdf::<Sha256>::from_prk(key.bytes())
        .expect("32 bytes are exactly one SHA-256 output")
        .expand_multi_info(info, out)
        .expect("at most 76 bytes, far below 255 hashes");
}
