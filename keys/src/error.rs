//! Few words outside, reasons inside.
//!
//! Whoever hands us bytes learns one thing: they did not open. The class of the failure is for the audit log, next to
//! ids; it must never travel to a client, so neither `Display` nor `Debug` prints it.

use minicbor::{Decode, Encode};
use std::fmt;

/// Sealed bytes did not open. One word outside, whatever the reason.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes did not open")]
pub struct OpenError(OpenClass);

impl OpenError {
    pub(crate) const fn new(class: OpenClass) -> Self {
        Self(class)
    }

    /// Why, for the audit log only; write it there with opaque ids and nothing else.
    pub const fn class(&self) -> OpenClass {
        self.0
    }
}

impl fmt::Debug for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenError")
    }
}

impl From<OpenClass> for OpenError {
    fn from(class: OpenClass) -> Self {
        Self(class)
    }
}

/// Which check refused the bytes. In the order in which a reader checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum OpenClass {
    /// The key behind this handle was revoked (suspended, destroyed) since it was leased.
    #[n(0)]
    Revoked,
    /// The lease behind this handle ran out and was not renewed: the key service or its provider is out of reach.
    #[n(25)]
    Expired,
    /// The data subject whose key is behind this handle was erased since it was leased.
    #[n(13)]
    Erased,
    /// The version of the key above was reported as compromised: only a re-encryption may open what is under it.
    #[n(24)]
    Withheld,
    /// Too short, too long, or not the length that its fields and the row demand.
    #[n(1)]
    Length,
    /// The leading magic differs.
    #[n(2)]
    Magic,
    /// A format version we do not know.
    #[n(3)]
    Version,
    /// An algorithm suite we do not know.
    #[n(4)]
    Suite,
    /// Another kind than expected, or one we do not know.
    #[n(5)]
    Kind,
    /// A flag is set that v1 does not define.
    #[n(6)]
    Flags,
    /// Another chunk size than v1's.
    #[n(7)]
    ChunkSize,
    /// Another geo's: the bytes crossed a border.
    #[n(14)]
    Geo,
    /// Another tenant, bucket, object, version, part, segment or data key than expected.
    #[n(8)]
    Context,
    /// Names a parent key, or a version of it, that this handle does not hold.
    #[n(9)]
    Parent,
    /// The commitment does not match: wrong key, or the header or its context was altered.
    #[n(10)]
    Commitment,
    /// Authentication failed: the body was altered, moved, or cut.
    #[n(11)]
    Tag,
    /// A chunk outside the segment, or an empty last chunk behind a full one.
    #[n(12)]
    Chunk,
}

impl OpenClass {
    /// Whether the bytes may be whole, and only the key may not be used, now or any more.
    pub const fn is_about_the_key(self) -> bool {
        matches!(self, Self::Revoked | Self::Expired | Self::Erased | Self::Withheld)
    }

    /// A short stable word for the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::Withheld => "withheld",
            Self::Length => "length",
            Self::Magic => "magic",
            Self::Version => "version",
            Self::Suite => "suite",
            Self::Kind => "kind",
            Self::Flags => "flags",
            Self::ChunkSize => "chunk-size",
            Self::Geo => "geo",
            Self::Context => "context",
            Self::Parent => "parent",
            Self::Commitment => "commitment",
            Self::Tag => "tag",
            Self::Chunk => "chunk",
        }
    }
}

/// A key could not be had or used. Variants say who must act.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// The record or the lease behind it did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No such tenant, subject or version here, or never.
    #[error("the key does not exist")]
    Unknown,
    /// It exists already.
    #[error("the key exists already")]
    Exists,
    /// Suspended by the tenant or the operator, who may resume it.
    #[error("the key is suspended")]
    Suspended,
    /// Destroyed, for good.
    #[error("the key is destroyed")]
    Destroyed,
    /// The key service refuses the act, now.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The master key's provider could not answer.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The key store could not be read or written.
    #[error(transparent)]
    Store(#[from] KeystoreError),
    /// The key service does not answer, or the link to it is cut. Leases run on; retry later.
    #[error("the key service does not answer")]
    Unreachable,
    /// The key service answered with something that was not asked for: two releases that do not fit.
    #[error("the key service gave an answer that does not fit")]
    Protocol,
    /// The tenant's keys were asked for more often than the key service allows. Leases run on; retry later.
    #[error("the tenant's keys were asked for too often")]
    TooOften,
    /// A version counter ran out.
    #[error("no version numbers left")]
    Exhausted,
}

impl KeyError {
    /// Whether nobody refused: the provider or the key service is out of reach, and asking again later may help.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Open(error) => matches!(error.class(), OpenClass::Expired),
            Self::Unreachable | Self::Provider(ProviderError::Unreachable) => true,
            Self::Provider(ProviderError::Setup(fault)) => fault.is_outage(),
            _ => false,
        }
    }

    /// Whether keys that were handed out may not be used any longer: somebody who may say so said no.
    pub const fn revokes(&self) -> bool {
        matches!(self, Self::Suspended | Self::Destroyed | Self::Unknown | Self::Provider(ProviderError::Refused))
    }
}

/// Why the key service refuses an act that it understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// Destruction before its due time, by the key service's own clock.
    #[error("the due time has not come")]
    #[n(0)]
    NotDue,
    /// Destruction of a tenant for which no due time was set.
    #[error("no due time is set")]
    #[n(1)]
    NoDue,
    /// The version is the active one.
    #[error("the version is active")]
    #[n(2)]
    Active,
    /// Records still need the version.
    #[error("records still use the version")]
    #[n(3)]
    InUse,
    /// Another rotation has not finished.
    #[error("a rotation is running")]
    #[n(4)]
    Rotating,
    /// Another runner took the job over.
    #[n(20)]
    #[error("another runner took the job over")]
    Superseded,
    /// No rotation is under way.
    #[error("no rotation is running")]
    #[n(5)]
    NotRotating,
    /// A head older than the newest one known.
    #[error("it is older than the newest one known")]
    #[n(6)]
    Backwards,
    /// The key's state does not allow it.
    #[error("the state of the key does not allow it")]
    #[n(7)]
    State,
    /// Destruction before the 90 days are over, where the key service's own settings do not allow it.
    #[error("the key service's settings do not allow an early destruction")]
    #[n(21)]
    EarlyNotAllowed,
    /// A backup that is not too old yet needs the version.
    #[error("a backup still needs the version")]
    #[n(22)]
    BackupNeeds,
}

/// The provider of the master key did not do what was asked. The three outcomes that a caller must tell apart.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProviderError {
    /// Not reachable now; leases run on, retry later.
    #[error("the key provider does not answer")]
    Unreachable,
    /// It answered no: the master key is disabled, destroyed, unknown, or access was denied.
    #[error("the key provider refused")]
    Refused,
    /// It answered with something that is not the key it was asked for.
    #[error("the key provider gave a wrong answer")]
    Wrong,
    /// The local keyring could not be opened or written.
    #[error("keyring: {0}")]
    Keyring(KeyringError),
    /// An outside provider could not be opened: for the operator who starts the server. Once open, its calls answer one
    /// of the three above.
    #[error(transparent)]
    Setup(#[from] crate::provider::ProviderFault),
}

/// The local keyring refuses to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is none.
    #[error("there is no keyring file; `init` makes one")]
    Missing,
    /// There is one already.
    #[error("a keyring file exists already; it is never overwritten")]
    Exists,
    /// Wrong passphrase or key file, or the file was altered: an attacker's change looks just the same.
    #[error("the passphrase or key file is wrong, or the keyring was altered")]
    WrongSecret,
    /// Cut off, or not a keyring.
    #[error("the file is damaged or is not a keyring")]
    Damaged,
    /// It is sealed the other way: passphrase versus key file.
    #[error("the keyring is sealed by the other kind of secret (passphrase or key file)")]
    OtherMethod,
    /// The keyring belongs to another geo.
    #[error("the keyring belongs to another geo")]
    OtherGeo,
    /// The key file is not 32 bytes, or the passphrase is shorter than 12 characters.
    #[error("a key file has 32 bytes, a passphrase at least 12 characters")]
    WeakSecret,
    /// Reading or writing failed.
    #[error("input or output failed: {0:?}")]
    Io(std::io::ErrorKind),
}

/// The key store refuses to open, or could not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeystoreError {
    /// Another process holds it.
    #[error("another process has the key store open")]
    Locked,
    /// The provider holds no master key that this key store is sealed under.
    #[error("the key store is sealed under a master key that this keyring does not hold")]
    OtherMaster,
    /// It is sealed under a version of the master key that is destroyed.
    #[error(
        "the key store is sealed under version {0} of the master key, which is destroyed: nothing opens it any more. \
         Restore a backup that was made after the rotation away from that version"
    )]
    MasterDestroyed(u32),
    /// Altered or cut off.
    #[error("the key store is damaged or was altered")]
    Damaged,
    /// Older than what the keyring's witness saw last: a restored copy, or a deleted journal.
    #[error("the key store is older than its witness: it was rolled back, or its journal was cut")]
    RolledBack,
    /// The witness is gone though the key store is not new.
    #[error("the witness of the key store is missing")]
    NoWitness,
    /// The shred log does not go as far as its anchor: it is an older copy, or was cut, or is gone.
    #[error(
        "the shred log is older than its anchor, so something destroyed since could come back: \
         put the newest copy of the .shreds file beside the key store"
    )]
    ShredLogBehind,
    /// The shred log was altered, or is not the one that was anchored.
    #[error("the shred log is damaged, was altered, or is another geo's")]
    ShredLogDamaged,
    /// The disk says that the last write may not have been kept; nothing more is written until a restart.
    #[error("an earlier write to the key store failed; restart to read it again")]
    Poisoned,
    /// Reading or writing failed.
    #[error("key store input or output failed: {0:?}")]
    Io(std::io::ErrorKind),
}

impl From<std::io::Error> for KeystoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl From<std::io::Error> for KeyringError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl From<KeyringError> for ProviderError {
    fn from(error: KeyringError) -> Self {
        Self::Keyring(error)
    }
}

impl From<Refusal> for KeyError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A sealer was used against its contract. The caller's mistake, never the data's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// A chunk after the last one.
    #[error("the segment is already complete")]
    Complete,
    /// A chunk that is not the last must be full; the last may not be empty unless it is the only one.
    #[error("the chunk has a length that its place does not allow")]
    ChunkLength,
    /// The key was revoked while the body streamed in.
    #[error("the key was revoked")]
    Revoked,
    /// The lease on the key ran out while the body streamed in.
    #[error("the lease on the key ran out")]
    Expired,
    /// More than a segment may hold (5 GiB).
    #[error("the segment is longer than a segment may be")]
    TooLong,
}
