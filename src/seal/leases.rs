//! A geo's keys for async callers: a lease that serves is at hand without waiting; anything that has to ask the key
//! service asks on a thread that may block, once for each tenant, and a bounded number at a time, so that a provider
//! that does not answer takes no worker and not every blocking thread either.

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use geoseal_keys::{Cached, KeyClient, KeyError, TenantKeys};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Tenants asked for at one time.
const ASKING_MAX: usize = 32;

type Answer = Result<Arc<TenantKeys>, KeyError>;
type Flight = Shared<BoxFuture<'static, Answer>>;

/// The leases of one geo. Cheap to clone.
#[derive(Clone)]
pub struct Leases(Arc<Inner>);

struct Inner {
    client: Arc<KeyClient>,
    flights: Mutex<HashMap<[u8; 16], Flight>>,
    asking: Arc<Semaphore>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leases({})", self.0.client.leases())
    }
}

impl Leases {
    /// Over the key service that `client` reaches.
    pub fn new(client: Arc<KeyClient>) -> Self {
        Self(Arc::new(Inner { client, flights: Mutex::default(), asking: Arc::new(Semaphore::new(ASKING_MAX)) }))
    }

    /// The key service. Its acts block.
    pub fn client(&self) -> &Arc<KeyClient> {
        &self.0.client
    }

    /// The tenant's keys. Errors: suspended, destroyed, provider or key service out of reach.
    pub async fn tenant(&self, tenant: [u8; 16]) -> Answer {
        match self.0.client.cached(tenant) {
            Cached::Keys(keys) => Ok(keys),
            Cached::Refused(error) => Err(error),
            Cached::Miss => {
                let answer = self.flight(tenant).await;
                answer.or_else(|error| self.0.client.at_hand_after(tenant, error))
            }
        }
    }

    /// Ends the leases whose time is over and renews, in the background, those that are used and near their end.
    pub fn tick(&self) {
        for tenant in self.0.client.tick() {
            // The flight is its own task; nobody has to wait for it.
            drop(self.flight(tenant));
        }
    }

    /// The request that is under way for this tenant, or a new one. It ends whether or not anybody waits.
    fn flight(&self, tenant: [u8; 16]) -> Flight {
        let mut flights = self.0.flights.lock();
        if let Some(flight) = flights.get(&tenant) {
            return flight.clone();
        }
        let inner = self.0.clone();
        let task = tokio::spawn(async move {
            let permit = inner.asking.clone().acquire_owned().await;
            let client = inner.client.clone();
            let answer = tokio::task::spawn_blocking(move || client.renew(tenant)).await;
            drop(permit);
            inner.flights.lock().remove(&tenant);
            answer.unwrap_or(Err(KeyError::Unreachable))
        });
        let flight = task.map(|ended| ended.unwrap_or(Err(KeyError::Unreachable))).boxed().shared();
        flights.insert(tenant, flight.clone());
        flight
    }
}
