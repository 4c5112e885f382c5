//! A login: who signs requests, for which tenant, with which secret.

use super::atlas::Geo;
use super::classes::{Class, Purpose};
use super::ids::{BucketId, TenantId};
use super::names::AccessId;
use super::time::Millis;
use std::fmt;
use std::sync::Arc;
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
    /// Deletes objects and does nothing else, also when its tenant is terminated.
    #[n(2)]
    Delete,
}

/// What a job may do, until when: a login with a grant may do nothing else.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Grant {
    /// What for.
    #[n(0)]
    pub purpose: Purpose,
    /// Which classes of data.
    #[n(1)]
    pub classes: Vec<Class>,
    /// In which buckets.
    #[n(2)]
    pub buckets: Vec<BucketId>,
    /// It ends when the latest plausible time reaches this.
    #[n(3)]
    pub until: Millis,
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
    /// What it is limited to.
    pub grant: Option<Arc<Grant>>,
    /// It was revoked by its tenant's termination: whoever proves that it is his may hear so, and nothing else.
    pub ended: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, {:?})", self.tenant, self.role)
    }
}
