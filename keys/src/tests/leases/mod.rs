//! Leases, their ends, and what a provider or a link can do to them (K-01, K-03 to K-06). The provider is the real local
//! keyring behind a switch; time is the test's. Here is what the tests share.

mod ends;
mod link;
mod states;

use super::world::{TENANT, World};
use crate::{
    GeoKeyService, KeyClient, KeyError, KeyName, LeaseOptions, MasterKeys, MasterVersion, ObjectContext, OpenClass,
    ProviderError, ProviderKind, RootFields, RootSecret, StateMac, TenantKeys, Witness,
};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the provider does when it is asked to unwrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Well,
    Unreachable,
    Disabled,
    /// Answers with a key, but another one.
    Garbage,
    /// Does not answer before its mood changes.
    Stuck,
}

struct Switch {
    mood: Mutex<Mood>,
    changed: Condvar,
    unwraps: AtomicU64,
}

impl Switch {
    fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
        self.changed.notify_all();
    }

    fn unwraps(&self) -> u64 {
        self.unwraps.load(Ordering::SeqCst)
    }

    /// Waits until the provider was asked `count` times.
    fn wait_for(&self, count: u64) {
        let mut mood = self.mood.lock();
        while self.unwraps() < count {
            self.changed.wait(&mut mood);
        }
    }
}

struct Moody(Box<dyn MasterKeys>, Arc<Switch>);

impl MasterKeys for Moody {
    fn kind(&self) -> ProviderKind {
        self.0.kind()
    }

    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        self.0.versions()
    }

    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        self.0.wrap(fields, root, context)
    }

    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        let mut mood = self.1.mood.lock();
        self.1.unwraps.fetch_add(1, Ordering::SeqCst);
        self.1.changed.notify_all();
        while *mood == Mood::Stuck {
            self.1.changed.wait(&mut mood);
        }
        match *mood {
            Mood::Well | Mood::Stuck => self.0.unwrap(fields, blob, context),
            Mood::Unreachable => Err(ProviderError::Unreachable),
            Mood::Disabled => Err(ProviderError::Refused),
            Mood::Garbage => Ok(RootSecret(crate::material::Secret::random())),
        }
    }

    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        self.0.rotate_to(version)
    }

    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        self.0.set_enabled(version, enabled)
    }

    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        self.0.destroy(version)
    }

    fn state_mac(&self) -> StateMac {
        self.0.state_mac()
    }

    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        self.0.witness()
    }

    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        self.0.advance(witness)
    }
}

struct Rig {
    world: World,
    switch: Arc<Switch>,
    service: Arc<GeoKeyService>,
    client: Arc<KeyClient>,
}

fn options() -> LeaseOptions {
    LeaseOptions { jitter: Arc::new(|| 0.0), ..LeaseOptions::default() }
}

fn moody(world: &World, switch: &Arc<Switch>) -> Arc<GeoKeyService> {
    let provider = Moody(Box::new(world.keyring().unwrap()), Arc::clone(switch));
    Arc::new(world.open_with(Box::new(provider)).unwrap())
}

/// A service with one tenant, and a client of it in the same process.
fn rig() -> Rig {
    let world = World::new();
    let switch = Arc::new(Switch { mood: Mutex::new(Mood::Well), changed: Condvar::new(), unwraps: AtomicU64::new(0) });
    let service = moody(&world, &switch);
    let client = Arc::new(KeyClient::embedded(Arc::clone(&service), options()).unwrap());
    client.create_tenant(TENANT).unwrap();
    Rig { world, switch, service, client }
}

fn is_void(keys: &TenantKeys) -> bool {
    matches!(keys.check(), Err(KeyError::Open(error)) if error.class() == OpenClass::Revoked)
}

fn is_expired(keys: &TenantKeys) -> bool {
    matches!(keys.check(), Err(KeyError::Open(error)) if error.class() == OpenClass::Expired)
}

fn told(answer: &Result<Arc<TenantKeys>, KeyError>) -> Option<KeyError> {
    answer.as_ref().err().cloned()
}
