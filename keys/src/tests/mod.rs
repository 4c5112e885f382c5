//! Tests that need what the outside may not have: fixed salts and given keys. Case names are those of SECURITY.md.

mod agree;
mod cases;
mod crash;
mod directory_key;
mod ending;
mod epoch;
mod geo;
mod k17;
mod leases;
mod models;
pub(crate) mod pairs;
mod providers;
mod service;
mod shreds;
mod standings;
mod subjects;
mod vectors;
mod world;

use crate::context::{Id, ObjectContext};
use crate::material::Secret;
use crate::purposes::{Purposes, Roots};
use crate::record::KeyName;
use crate::segment::{SegmentInfo, SegmentKind};
use crate::tenant_keys::{Dek, Lease, TenantKeys};

/// Bytes `t, t+1, … t+15`.
pub(crate) fn fill(t: u8) -> Id {
    std::array::from_fn(|i| t + i as u8)
}

pub(crate) fn geo() -> Id {
    *b"eu-fra-01\0\0\0\0\0\0\0"
}

pub(crate) fn context() -> ObjectContext {
    ObjectContext { tenant: fill(0x10), geo: geo(), bucket: fill(0x30), object: fill(0x40), version: fill(0x50) }
}

pub(crate) fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// `n` bytes from `from` upwards.
pub(crate) fn run<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from + i as u8)
}

pub(crate) fn secret(from: u8) -> Secret {
    Secret::filled(|bytes| *bytes = run(from))
}

/// The DEK of the vectors.
pub(crate) fn dek() -> Dek {
    Dek::new(KeyName { id: fill(0x70), version: 1 }, secret(0x80), Lease::permanent())
}

pub(crate) fn info(kind: SegmentKind, part: u16) -> SegmentInfo {
    SegmentInfo { kind, part, context: context(), segment_id: fill(0x60), dek_id: fill(0x70) }
}

/// The tenant of the vectors, TRK at version 7.
pub(crate) fn tenant_keys() -> TenantKeys {
    let roots = Roots {
        trk: vec![(KeyName { id: fill(0x20), version: 7 }, secret(0x01))],
        srk: vec![(KeyName { id: fill(0x21), version: 1 }, secret(0x31))],
        tik: vec![(KeyName { id: fill(0x22), version: 1 }, secret(0x61))],
        withheld: Vec::new(),
    };
    let purposes = Purposes::of(roots, &fill(0x10), &geo());
    TenantKeys::new(fill(0x10), geo(), purposes, Lease::permanent()).expect("one root of each kind")
}
