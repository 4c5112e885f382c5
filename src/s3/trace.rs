//! What one request leaves behind for the line in the access log, and the request id that its answer carries.
//!
//! Made by the guard, carried in the request's extensions, filled in by whoever learns more. Holds ids only: no name,
//! no access id, no header. Must not be able to hold one.

use super::refusal::Refusal;
use crate::model::ids::TenantId;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The id of one request: 16 hexadecimal digits, random.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestId(String);

impl RequestId {
    /// A fresh one.
    pub fn random() -> Self {
        let mut bytes = [0; 8];
        SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
        Self(hex::encode_upper(bytes))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shared between the guard, the access hook, the body and the operation of one request.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    id: RequestId,
    operation: OnceLock<&'static str>,
    tenant: OnceLock<TenantId>,
    refusal: OnceLock<Refusal>,
}

impl Trace {
    /// For a new request.
    pub fn new() -> Self {
        let id = RequestId::random();
        let (operation, tenant, refusal) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { id, operation, tenant, refusal }))
    }

    /// The request's id.
    pub fn id(&self) -> &RequestId {
        &self.0.id
    }

    /// Notes the operation, as S3 calls it.
    pub fn set_operation(&self, name: &'static str) {
        let _ = self.0.operation.set(name);
    }

    /// The operation, once known.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation.get().copied()
    }

    /// Notes whose request it is, after the signature was checked.
    pub fn set_tenant(&self, tenant: TenantId) {
        let _ = self.0.tenant.set(tenant);
    }

    /// Whose request it is.
    pub fn tenant(&self) -> Option<TenantId> {
        self.0.tenant.get().copied()
    }

    /// Replaces whatever answer comes back by this one. The first wins.
    pub fn refuse(&self, refusal: Refusal) {
        let _ = self.0.refusal.set(refusal);
    }

    /// The refusal, if somebody noted one.
    pub fn refusal(&self) -> Option<Refusal> {
        self.0.refusal.get().copied()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({})", self.0.id)
    }
}
