//! Counts the calls to a provider, whichever it is: in health there are a few for each tenant and lease, and none for a
//! request. Also the place to put anything else between the key service and its provider: a wrapper is a provider.

use crate::context::ObjectContext;
use crate::error::ProviderError;
use crate::provider::{MasterKeys, MasterVersion, RootSecret, StateMac, Witness, Wrapped};
use crate::record::{KeyName, ProviderKind, RootFields};
use minicbor::{Decode, Encode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a provider was asked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
pub struct ProviderCalls {
    /// To wrap a root.
    #[n(0)]
    pub wraps: u64,
    /// To unwrap one, or several in one call.
    #[n(1)]
    pub unwraps: u64,
    /// Anything else that may leave the process: versions, rotation, destruction. Not the witness.
    #[n(2)]
    pub others: u64,
    /// How many of all these failed.
    #[n(3)]
    pub failures: u64,
    /// How often a tenant's keys were asked for, and were not, because of their limit.
    #[n(4)]
    pub limited: u64,
}

/// The counters behind [`ProviderCalls`].
#[derive(Default)]
pub(crate) struct Counters {
    wraps: AtomicU64,
    unwraps: AtomicU64,
    others: AtomicU64,
    failures: AtomicU64,
    limited: AtomicU64,
}

impl Counters {
    /// One request was refused before the provider was asked.
    pub(crate) fn limited(&self) {
        self.limited.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> ProviderCalls {
        ProviderCalls {
            wraps: self.wraps.load(Ordering::Relaxed),
            unwraps: self.unwraps.load(Ordering::Relaxed),
            others: self.others.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            limited: self.limited.load(Ordering::Relaxed),
        }
    }
}

/// A provider whose calls are counted.
pub(crate) struct Counted {
    inner: Box<dyn MasterKeys>,
    counters: Arc<Counters>,
}

impl Counted {
    pub(crate) fn new(inner: Box<dyn MasterKeys>) -> (Self, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Self { inner, counters: counters.clone() }, counters)
    }

    fn count<T>(&self, which: &AtomicU64, answer: Result<T, ProviderError>) -> Result<T, ProviderError> {
        which.fetch_add(1, Ordering::Relaxed);
        if answer.is_err() {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

impl MasterKeys for Counted {
    fn kind(&self) -> ProviderKind {
        self.inner.kind()
    }

    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        self.count(&self.counters.others, self.inner.versions())
    }

    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        self.count(&self.counters.wraps, self.inner.wrap(fields, root, context))
    }

    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        self.count(&self.counters.unwraps, self.inner.unwrap(fields, blob, context))
    }

    fn unwrap_many(&self, wrapped: &[Wrapped<'_>]) -> Result<Vec<RootSecret>, ProviderError> {
        self.count(&self.counters.unwraps, self.inner.unwrap_many(wrapped))
    }

    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        self.count(&self.counters.others, self.inner.rotate_to(version))
    }

    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        self.count(&self.counters.others, self.inner.set_enabled(version, enabled))
    }

    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        self.count(&self.counters.others, self.inner.destroy(version))
    }

    fn state_mac(&self) -> StateMac {
        self.inner.state_mac()
    }

    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        self.inner.witness()
    }

    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        self.inner.advance(witness)
    }

    fn active(&self) -> Result<KeyName, ProviderError> {
        self.count(&self.counters.others, self.inner.active())
    }
}
