//! What one request leaves behind: its id, what it was, whose it was, and the refusal that overrides any other answer.
//!
//! Made by the guard, carried in the request's extensions, filled in by whoever learns more. Holds ids only: no name,
//! no access id, no header. Must not be able to hold one.

use super::refusal::Refusal;
use crate::model::ids::TenantId;
use crate::model::request::{Operation, RequestId, RequestNote};
use crate::model::time::Millis;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Shared between the guard, the access hook, the body and the operation of one request.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    id: RequestId,
    operation: OnceLock<Operation>,
    tenant: OnceLock<TenantId>,
    refusal: OnceLock<Refusal>,
    purge_due: OnceLock<Millis>,
}

impl Trace {
    /// For a new request.
    pub fn new(id: RequestId) -> Self {
        let (operation, tenant, refusal) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { id, operation, tenant, refusal, purge_due: OnceLock::new() }))
    }

    /// The request's id.
    pub fn id(&self) -> RequestId {
        self.0.id
    }

    /// Notes the operation.
    pub fn set_operation(&self, operation: Operation) {
        let _ = self.0.operation.set(operation);
    }

    /// Notes whose request it is, after the signature was checked.
    pub fn set_tenant(&self, tenant: TenantId) {
        let _ = self.0.tenant.set(tenant);
    }

    /// Notes when the tenant will be destroyed, after the signature was checked.
    pub fn set_purge_due(&self, due: Millis) {
        let _ = self.0.purge_due.set(due);
    }

    /// When the tenant will be destroyed, if it was terminated.
    pub fn purge_due(&self) -> Option<Millis> {
        self.0.purge_due.get().copied()
    }

    /// What is known by now, for telemetry.
    pub fn note(&self) -> RequestNote {
        let operation = self.0.operation.get().copied().unwrap_or_default();
        RequestNote { operation, tenant: self.0.tenant.get().copied() }
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

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({})", self.0.id)
    }
}
