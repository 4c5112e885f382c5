//! A key service in a temporary directory, with a clock that the test moves.

use super::{fill, geo};
use crate::{Clock, GeoKeyService, Id, KeyError, KeystoreError, LocalKeyring, MasterKeys, Unlock, VersionOf};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// How often it is tried to open a key store that somebody has open.
const TRIES: usize = 100_000;

pub(crate) const TENANT: Id = *b"tenant-0-tenant-";

pub(crate) struct TestClock(pub(crate) AtomicI64);

impl Clock for TestClock {
    fn cc_lo(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Arc<TestClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let world = Self { dir, clock: Arc::new(TestClock(AtomicI64::new(1_800_000_000))) };
        LocalKeyring::create_key_file(&world.key_file()).unwrap();
        LocalKeyring::create(&world.keyring_file(), geo(), &world.unlock()).unwrap();
        world
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    pub(crate) fn keyring_file(&self) -> PathBuf {
        self.dir.path().join("keyring")
    }

    pub(crate) fn keystore(&self) -> PathBuf {
        self.dir.path().join("keystore")
    }

    pub(crate) fn unlock(&self) -> Unlock {
        Unlock::KeyFile(self.key_file())
    }

    pub(crate) fn keyring(&self) -> Result<LocalKeyring, KeyError> {
        Ok(LocalKeyring::open(&self.keyring_file(), geo(), &self.unlock())?)
    }

    /// Opens it, once nobody else has it open: a process that another test has just begun keeps the lock of a file that it
    /// inherited until it runs its own program.
    pub(crate) fn open(&self) -> Result<GeoKeyService, KeyError> {
        for _ in 0..TRIES {
            match self.open_with(Box::new(self.keyring()?)) {
                Err(KeyError::Store(KeystoreError::Locked)) => std::thread::yield_now(),
                opened => return opened,
            }
        }
        Err(KeystoreError::Locked.into())
    }

    pub(crate) fn open_with(&self, provider: Box<dyn MasterKeys>) -> Result<GeoKeyService, KeyError> {
        GeoKeyService::open(&self.keystore(), geo(), provider, Arc::clone(&self.clock) as Arc<dyn Clock>)
    }
}

/// Sets a version's day as soon as may be and lets it come.
pub(crate) fn await_end(clock: &TestClock, service: &GeoKeyService, of: VersionOf) {
    let ending = service.schedule_end(of, 0, 0).unwrap();
    clock.0.store(ending.due, Ordering::SeqCst);
}

/// The geo's master key, in a version.
pub(crate) fn master(version: u32) -> VersionOf {
    VersionOf::Master { version }
}

/// A tenant's data key, in a version.
pub(crate) fn trk(tenant: Id, version: u32) -> VersionOf {
    VersionOf::Root { tenant, kind: crate::KeyKind::Trk, version }
}

/// A context of `tenant` for the object number `n`.
pub(crate) fn object(tenant: Id, n: u8) -> crate::ObjectContext {
    crate::ObjectContext { tenant, geo: geo(), bucket: fill(0x30), object: fill(n), version: fill(n.wrapping_add(1)) }
}
