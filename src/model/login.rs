//! A login: who signs requests, for which tenant, with which secret.

use super::atlas::Geo;
use super::ids::TenantId;
use super::names::AccessId;
use std::fmt;
use zeroize::Zeroizing;

/// What a login may do with its tenant's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Reads and writes.
    #[n(0)]
    Service,
    /// Reads only.
    #[n(1)]
    ReadOnly,
}

/// A login whose signature was or will be checked with its secret.
#[derive(Clone)]
pub struct Login {
    /// The public half.
    pub access_id: AccessId,
    /// Whose login.
    pub tenant: TenantId,
    /// The tenant's geo.
    pub geo: &'static Geo,
    /// What it may do.
    pub role: Role,
    /// The secret half: 43 characters of base64url.
    pub secret: Zeroizing<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, {:?})", self.tenant, self.role)
    }
}
