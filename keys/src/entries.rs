//! What the key store's entries mean: their row keys and their stored shapes. Plain data, no decisions.

use crate::context::Id;
use crate::error::KeystoreError;
use crate::keystore::Change;
use crate::record::{KeyKind, KeyName, ProviderRecord};
use minicbor::{Decode, Encode};

/// State of one root, after SP 800-57.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum KeyState {
    /// Made, not verified yet; nothing depends on it.
    #[n(0)]
    PreActive = 0,
    /// Wraps and unwraps.
    #[n(1)]
    Active = 1,
    /// Unwraps only.
    #[n(2)]
    DecryptOnly = 2,
    /// Unwraps for a re-encryption only.
    #[n(3)]
    Compromised = 3,
    /// Neither, for good; its name and times stay.
    #[n(4)]
    Destroyed = 4,
}

/// State of one tenant's keys as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum TenantState {
    /// Being created; no key is usable yet.
    #[n(0)]
    Provisioning = 0,
    /// Usable.
    #[n(1)]
    Active = 1,
    /// Not usable until resumed.
    #[n(2)]
    Suspended = 2,
    /// Gone for good.
    #[n(3)]
    Destroyed = 3,
}

/// Row keys of the entries.
pub(crate) mod place {
    use super::{Id, KeyKind};
    use crate::ending::VersionOf;

    pub(crate) const ROOTS: &[u8] = b"r";
    pub(crate) const TENANTS: &[u8] = b"t";
    pub(crate) const SIGNER: &[u8] = b"l";
    pub(crate) const ROTATION: &[u8] = b"j";
    pub(crate) const REVOCATION: &[u8] = b"q";
    pub(crate) const SUBJECTS: &[u8] = b"s";
    pub(crate) const EPOCH: &[u8] = b"ej";
    pub(crate) const EPOCHS_CLOSED: &[u8] = b"ec";
    pub(crate) const BACKUPS: &[u8] = b"b";
    pub(crate) const RESTORED: &[u8] = b"ar";
    pub(crate) const ENDINGS: &[u8] = b"d";
    pub(crate) const KNOWN_MASTERS: &[u8] = b"mc";

    pub(crate) fn tenant(tenant: &Id) -> Vec<u8> {
        [b"t".as_slice(), tenant].concat()
    }

    pub(crate) fn roots_of(tenant: &Id) -> Vec<u8> {
        [b"r".as_slice(), tenant].concat()
    }

    pub(crate) fn root(tenant: &Id, kind: KeyKind, version: u32) -> Vec<u8> {
        [b"r".as_slice(), tenant, &[kind as u8], &version.to_be_bytes()].concat()
    }

    pub(crate) fn subjects_of(tenant: &Id) -> Vec<u8> {
        [b"s".as_slice(), tenant].concat()
    }

    pub(crate) fn subject(tenant: &Id, subject: &Id) -> Vec<u8> {
        [b"s".as_slice(), tenant, subject].concat()
    }

    pub(crate) fn epoch_closed(number: u64) -> Vec<u8> {
        [EPOCHS_CLOSED, &number.to_be_bytes()].concat()
    }

    pub(crate) fn backup(id: &str) -> Vec<u8> {
        [BACKUPS, id.as_bytes()].concat()
    }

    /// `dm | u32 version`, or `dr | tenant | root kind | u32 version`.
    pub(crate) fn ending(of: &VersionOf) -> Vec<u8> {
        match *of {
            VersionOf::Master { version } => [ENDINGS, b"m", &version.to_be_bytes()].concat(),
            VersionOf::Root { tenant, kind, version } => {
                [ENDINGS, b"r", &tenant, &[kind as u8], &version.to_be_bytes()].concat()
            }
        }
    }

    pub(crate) fn endings_of(tenant: &Id) -> Vec<u8> {
        [ENDINGS, b"r", tenant].concat()
    }

    pub(crate) fn known_master(version: u32) -> Vec<u8> {
        [KNOWN_MASTERS, &version.to_be_bytes()].concat()
    }

    pub(crate) fn head(name: &str) -> Vec<u8> {
        [b"h".as_slice(), name.as_bytes()].concat()
    }
}

/// Version 1 of the stored shapes. An entry starts with its version.
mod v1 {
    use minicbor::{Decode, Encode};

    pub(super) const VERSION: u8 = 1;

    #[derive(Encode, Decode)]
    pub(super) struct Root {
        #[n(0)]
        pub(super) state: u8,
        #[n(1)]
        pub(super) since: i64,
        #[cbor(n(2), with = "minicbor::bytes")]
        pub(super) id: [u8; 16],
        /// Empty once destroyed.
        #[cbor(n(3), with = "minicbor::bytes")]
        pub(super) record: Vec<u8>,
        #[n(4)]
        pub(super) made: Option<i64>,
        #[n(5)]
        pub(super) replaced: Option<i64>,
    }

    #[derive(Encode, Decode)]
    pub(super) struct Tenant {
        #[n(0)]
        pub(super) state: u8,
        #[n(1)]
        pub(super) created: i64,
        #[n(2)]
        pub(super) due: Option<i64>,
        #[n(3)]
        pub(super) destroyed: Option<i64>,
        #[n(4)]
        pub(super) early: Option<super::Early>,
    }

    #[derive(Encode, Decode)]
    pub(super) struct Rotation {
        #[n(0)]
        pub(super) from: u32,
        #[n(1)]
        pub(super) to: u32,
        #[cbor(n(2), with = "minicbor::bytes")]
        pub(super) cursor: Vec<u8>,
        #[n(3)]
        pub(super) done: u64,
        #[n(4)]
        pub(super) total: u64,
        #[n(5)]
        pub(super) started: i64,
        #[n(6)]
        pub(super) token: Option<u64>,
    }
}

/// One version of one root of one tenant (or, with tenant zero, of the geo).
#[derive(Clone)]
pub(crate) struct RootEntry {
    pub(crate) tenant: Id,
    pub(crate) kind: KeyKind,
    pub(crate) name: KeyName,
    pub(crate) state: KeyState,
    pub(crate) since: i64,
    /// None once destroyed.
    pub(crate) record: Option<ProviderRecord>,
    /// When it was made; unknown of those made by earlier releases.
    pub(crate) made: Option<i64>,
    /// When the next version took its place.
    pub(crate) replaced: Option<i64>,
}

impl RootEntry {
    pub(crate) fn place(&self) -> Vec<u8> {
        place::root(&self.tenant, self.kind, self.name.version)
    }

    pub(crate) fn put(&self) -> Change {
        let record = self.record.as_ref().map_or_else(Vec::new, ProviderRecord::to_bytes);
        let (state, made, replaced) = (self.state as u8, self.made, self.replaced);
        let stored = v1::Root { state, since: self.since, id: self.name.id, record, made, replaced };
        Change::Put(self.place(), encode(&stored))
    }

    pub(crate) fn parse(key: &[u8], value: &[u8]) -> Result<Self, KeystoreError> {
        let key: &[u8; 22] = key.try_into().map_err(|_| KeystoreError::Damaged)?;
        let stored: v1::Root = decode(value)?;
        let record = match stored.record.as_slice() {
            [] => None,
            bytes => Some(ProviderRecord::parse(bytes).map_err(|_| KeystoreError::Damaged)?.0),
        };
        let state = match stored.state {
            0 => KeyState::PreActive,
            1 => KeyState::Active,
            2 => KeyState::DecryptOnly,
            3 => KeyState::Compromised,
            4 => KeyState::Destroyed,
            _ => return Err(KeystoreError::Damaged),
        };
        Ok(Self {
            tenant: key[1..17].try_into().expect("16 bytes"),
            kind: KeyKind::from_byte(key[17]).ok_or(KeystoreError::Damaged)?,
            name: KeyName { id: stored.id, version: u32::from_be_bytes(key[18..].try_into().expect("4 bytes")) },
            state,
            since: stored.since,
            record,
            made: stored.made,
            replaced: stored.replaced,
        })
    }

    /// The same root with its record gone: a tombstone.
    pub(crate) fn destroyed(&self, at: i64) -> Self {
        Self { state: KeyState::Destroyed, since: at, record: None, ..self.clone() }
    }
}

/// One tenant as the key service knows it.
#[derive(Clone, Copy)]
pub(crate) struct TenantEntry {
    pub(crate) state: TenantState,
    pub(crate) created: i64,
    /// Not before this second may its keys be destroyed.
    pub(crate) due: Option<i64>,
    pub(crate) destroyed: Option<i64>,
    /// That they may be destroyed sooner, because the tenant said so.
    pub(crate) early: Option<Early>,
}

/// A tenant's instruction to destroy its keys before the 90 days are over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Early {
    /// When it was told, in compliance seconds.
    #[n(0)]
    pub at: i64,
    /// Not before this second.
    #[n(1)]
    pub due: i64,
    /// Which instruction: a hash that says nothing by itself.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub instruction: [u8; 32],
}

impl TenantEntry {
    pub(crate) fn put(&self, tenant: &Id) -> Change {
        let Self { state, created, due, destroyed, early } = *self;
        let stored = v1::Tenant { state: state as u8, created, due, destroyed, early };
        Change::Put(place::tenant(tenant), encode(&stored))
    }

    pub(crate) fn parse(value: &[u8]) -> Result<Self, KeystoreError> {
        let stored: v1::Tenant = decode(value)?;
        let state = match stored.state {
            0 => TenantState::Provisioning,
            1 => TenantState::Active,
            2 => TenantState::Suspended,
            3 => TenantState::Destroyed,
            _ => return Err(KeystoreError::Damaged),
        };
        let v1::Tenant { created, due, destroyed, early, .. } = stored;
        Ok(Self { state, created, due, destroyed, early })
    }
}

/// A master rotation under way.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RotationJob {
    /// The version it leaves.
    #[n(0)]
    pub from: u32,
    /// The version it goes to.
    #[n(1)]
    pub to: u32,
    /// Records rewrapped so far.
    #[n(2)]
    pub done: u64,
    /// Records there were when it started.
    #[n(3)]
    pub total: u64,
    /// When, in compliance seconds.
    #[n(4)]
    pub started: i64,
    /// Who may step it: the newest number given to a runner.
    #[n(6)]
    pub token: u64,
    #[cbor(n(5), with = "minicbor::bytes")]
    pub(crate) cursor: Vec<u8>,
}

impl RotationJob {
    pub(crate) fn put(&self) -> Change {
        let stored = v1::Rotation {
            from: self.from,
            to: self.to,
            cursor: self.cursor.clone(),
            done: self.done,
            total: self.total,
            started: self.started,
            token: Some(self.token),
        };
        Change::Put(place::ROTATION.to_vec(), encode(&stored))
    }

    pub(crate) fn parse(value: &[u8]) -> Result<Self, KeystoreError> {
        let v1::Rotation { from, to, cursor, done, total, started, token } = decode(value)?;
        Ok(Self { from, to, done, total, started, token: token.unwrap_or(0), cursor })
    }
}

pub(crate) fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = vec![v1::VERSION];
    minicbor::encode(value, &mut out).expect("writing to memory does not fail");
    out
}

pub(crate) fn decode<'b, T: minicbor::Decode<'b, ()>>(value: &'b [u8]) -> Result<T, KeystoreError> {
    match value.split_first() {
        Some((&v1::VERSION, rest)) => minicbor::decode(rest).map_err(|_| KeystoreError::Damaged),
        _ => Err(KeystoreError::Damaged),
    }
}
