//! Where the master keys are: the one trait, and the providers beside it.
//!
//! A provider wraps and unwraps roots under a geo's master key and never lets the master key go. It may be slow, lie, or
//! lose a key: the service checks every answer against the record's key check value, and uses no root before it has
//! been wrapped, stored, read back and unwrapped again.

mod aws_kms;
mod external;
mod fault;
mod guard;
mod http;
mod ledger;
mod local;
mod open;
mod pkcs11;
mod transit;
mod witness;

pub use aws_kms::AwsKmsSettings;
pub use fault::ProviderFault;
pub use guard::{CallOutcome, GuardLimits, Guarded, ProviderAct, ProviderTime, ProviderWatch, Unwatched};
pub use local::{LocalKeyring, Unlock};
pub use open::{ProviderSettings, found_provider, open_provider};
pub use pkcs11::Pkcs11Settings;
pub use transit::TransitSettings;

use crate::context::ObjectContext;
use crate::error::ProviderError;
use crate::heads::Head;
use crate::material::Secret;
use crate::record::{KeyName, ProviderKind, RootFields};
use minicbor::{Decode, Encode};

/// A root key on its way to or from a provider. Opaque: only providers of this crate look inside.
pub struct RootSecret(pub(crate) Secret);

/// What may be done with a version of the master key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum MasterState {
    /// Wraps and unwraps.
    #[n(1)]
    Active = 1,
    /// Unwraps only.
    #[n(2)]
    DecryptOnly = 2,
    /// Neither, for now.
    #[n(3)]
    Disabled = 3,
    /// Neither, for good.
    #[n(4)]
    Destroyed = 4,
}

impl MasterState {
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Active,
            2 => Self::DecryptOnly,
            3 => Self::Disabled,
            4 => Self::Destroyed,
            _ => return None,
        })
    }
}

/// One version of a geo's master key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MasterVersion {
    /// Its id and version.
    #[n(0)]
    pub name: KeyName,
    /// What may be done with it.
    #[n(1)]
    pub state: MasterState,
}

/// The newest state of the key store that the provider's side has seen. Kept apart from the key store, so that a
/// restored older copy of it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness {
    /// Generation of the key store.
    pub generation: u64,
    /// Journal frames in that generation.
    pub seq: u64,
    /// Digest of the last frame, or of the generation's file where there is none.
    pub chain: [u8; 32],
    /// How far the shred log has come.
    pub shreds: Head,
}

impl Witness {
    /// `u64 generation | u64 seq | chain | u64 shreds | digest of the last of them`: how a provider's side keeps it.
    pub fn to_bytes(&self) -> [u8; 88] {
        let mut out = [0; 88];
        out[..8].copy_from_slice(&self.generation.to_be_bytes());
        out[8..16].copy_from_slice(&self.seq.to_be_bytes());
        out[16..48].copy_from_slice(&self.chain);
        out[48..56].copy_from_slice(&self.shreds.counter.to_be_bytes());
        out[56..].copy_from_slice(&self.shreds.digest);
        out
    }

    /// Reads it back; a witness from before there was a shred log ends behind `chain`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (kept, shreds) = bytes.split_at_checked(48)?;
        let word = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
        let shreds = match shreds {
            [] => Head::START,
            shreds if shreds.len() == 40 => Head { counter: word(&shreds[..8])?, digest: shreds[8..].try_into().ok()? },
            _ => return None,
        };
        let (generation, seq) = (word(&kept[..8])?, word(&kept[8..16])?);
        Some(Self { generation, seq, chain: kept[16..].try_into().ok()?, shreds })
    }
}

/// Authenticates small state of the process that opened the provider, such as its clock.
pub type StateMac = Box<dyn Fn(&[u8]) -> [u8; 32] + Send + Sync>;

/// One wrapped root to be opened: what its record says, the provider's blob, and whose it is.
pub type Wrapped<'a> = (&'a RootFields, &'a [u8], &'a ObjectContext);

/// The master keys of one geo. Calls may block; the service never makes one while a request waits for a cached lease.
pub trait MasterKeys: Send + Sync {
    /// Which provider this is; stands in every record it makes.
    fn kind(&self) -> ProviderKind;

    /// All versions, oldest first, destroyed ones included.
    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError>;

    /// Wraps `root` under the version that `fields` names, bound to `fields` and `context`.
    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError>;

    /// Unwraps what [`MasterKeys::wrap`] made.
    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError>;

    /// Unwraps several, in order, in as few calls as the provider can. All or nothing.
    fn unwrap_many(&self, wrapped: &[Wrapped<'_>]) -> Result<Vec<RootSecret>, ProviderError> {
        wrapped.iter().map(|(fields, blob, context)| self.unwrap(fields, blob, context)).collect()
    }

    /// Makes `version` exist and be the active one; the one before it unwraps only. Idempotent; `version` is the active
    /// one or the next.
    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError>;

    /// Disables a version that is not active, or makes it unwrap again.
    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError>;

    /// Destroys a version that is not active, for good. Idempotent. Returns the provider's receipt.
    fn destroy(&self, version: u32) -> Result<String, ProviderError>;

    /// HMAC-SHA-256 under a key of its own that this provider's side keeps: the same over rotations and changes of any
    /// secret.
    fn state_mac(&self) -> StateMac;

    /// The newest state of the key store seen; `None` before the first.
    fn witness(&self) -> Result<Option<Witness>, ProviderError>;

    /// Remembers a newer state, durable on return.
    fn advance(&self, witness: &Witness) -> Result<(), ProviderError>;

    /// The active version.
    fn active(&self) -> Result<KeyName, ProviderError> {
        let versions = self.versions()?;
        let active = versions.iter().find(|version| version.state == MasterState::Active);
        active.map(|version| version.name).ok_or(ProviderError::Refused)
    }
}
