//! The witness beside a keyring or a ledger: two sealed slots that hold the newest state of the key store seen.

use super::Witness;
use crate::context::{BucketContext, Id, NO_ID};
use crate::disk::Slots;
use crate::material::Secret;
use crate::row::RowKey;
use crate::tenant_keys::Lease;
use std::io::{self, ErrorKind};
use std::path::Path;

pub(super) struct WitnessFile {
    slots: Slots,
    seen: Option<Witness>,
}

impl WitnessFile {
    /// Opens or makes the witness of the file at `path`.
    pub(super) fn open(path: &Path, geo: Id, key: &Secret) -> io::Result<Self> {
        let key = Secret::filled(|out| *out = *key.bytes());
        let key = RowKey::new(key, 1, BucketContext { tenant: NO_ID, geo, bucket: NO_ID }, Lease::permanent());
        let mut name = path.as_os_str().to_owned();
        name.push(".witness");
        let (slots, value) = Slots::open(Path::new(&name), b"witness", key)?;
        let seen = value.map(|value| Witness::parse(&value).ok_or(ErrorKind::InvalidData)).transpose()?;
        Ok(Self { slots, seen })
    }

    pub(super) fn seen(&self) -> Option<Witness> {
        self.seen
    }

    /// Remembers a newer state; durable on return.
    pub(super) fn advance(&mut self, witness: &Witness) -> io::Result<()> {
        self.slots.write(&witness.to_bytes())?;
        self.seen = Some(*witness);
        Ok(())
    }
}
