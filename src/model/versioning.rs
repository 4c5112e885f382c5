//! Versions of objects: whether a bucket keeps them, and which one is asked for.

use super::ids::VersionId;
use minicbor::{Decode, Encode};

/// What a bucket does with the object that a write or a DELETE takes the name from. Once it was `Enabled` a bucket never
/// goes back to `Never`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Versioning {
    /// Nothing was ever said: a write replaces, a DELETE erases.
    #[default]
    #[n(0)]
    Never,
    /// Every write is a version of its own, and a DELETE puts a marker over them.
    #[n(1)]
    Enabled,
    /// Versions from before stay; a write or a DELETE replaces the `null` version only.
    #[n(2)]
    Suspended,
}

/// A version as it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VersionAsked {
    /// The one that was written while the bucket did not give its objects versions: `null`.
    Null,
    /// This one.
    Id(VersionId),
}
