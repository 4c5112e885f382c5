//! Providers: one contract suite for all of them, against the real things, and what is peculiar to each.

#![allow(clippy::disallowed_methods, reason = "real programs run in real time, and are waited for in it")]

mod contract;
mod guard;
mod kms;
mod openbao;
mod softhsm;

use super::geo;
use super::world::{TENANT, TestClock};
use crate::provider::MasterKeys;
use crate::{
    CallOutcome, Clock, GeoKeyService, GuardLimits, KeyError, ProviderAct, ProviderError, ProviderFault,
    ProviderSettings, ProviderTime, ProviderWatch, found_provider, open_provider,
};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant, SystemTime};

/// The machine's time.
pub(crate) struct Real(Instant);

impl Real {
    pub(crate) fn now() -> Arc<dyn ProviderTime> {
        Arc::new(Self(Instant::now()))
    }
}

impl ProviderTime for Real {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_seconds(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        since.as_secs().try_into().expect("before the year 292 billion")
    }

    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// Remembers what a guard said.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) calls: Mutex<Vec<(ProviderAct, CallOutcome)>>,
    pub(crate) faults: Mutex<Vec<ProviderFault>>,
}

impl ProviderWatch for Watched {
    fn call(&self, act: ProviderAct, outcome: CallOutcome, _: Duration) {
        self.calls.lock().push((act, outcome));
    }

    fn fault(&self, fault: ProviderFault) {
        self.faults.lock().push(fault);
    }
}

impl Watched {
    fn last_fault(&self) -> Option<ProviderFault> {
        self.faults.lock().last().copied()
    }
}

/// One provider in one directory: founded, opened again, and a key service on it.
pub(crate) struct Place<F> {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) watch: Arc<Watched>,
    pub(crate) limits: GuardLimits,
    pub(crate) clock: Arc<TestClock>,
    settings: F,
}

impl<F: Fn(&Path) -> ProviderSettings> Place<F> {
    pub(crate) fn new(settings: F) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000)));
        let dir = geoseal_support::tools::scratch();
        Self { dir, watch: Arc::default(), limits: GuardLimits::default(), clock, settings }
    }

    pub(crate) fn found(&self) -> Result<Box<dyn MasterKeys>, ProviderError> {
        found_provider((self.settings)(self.dir.path()), geo(), self.limits, Real::now(), self.watch.clone())
    }

    pub(crate) fn open(&self) -> Result<Box<dyn MasterKeys>, ProviderError> {
        open_provider((self.settings)(self.dir.path()), geo(), self.limits, Real::now(), self.watch.clone())
    }

    pub(crate) fn serve(&self, provider: Box<dyn MasterKeys>) -> Result<GeoKeyService, KeyError> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        GeoKeyService::open(&self.dir.path().join("keystore"), geo(), provider, clock)
    }

    /// A key service with a tenant.
    pub(crate) fn served(&self) -> GeoKeyService {
        let service = self.serve(self.found().unwrap()).unwrap();
        service.create_tenant(TENANT).unwrap();
        service
    }

    /// Until the next look at the provider.
    pub(crate) fn end_leases(&self) {
        self.clock.0.fetch_add(crate::LEASE_SECONDS, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Runs `body` in a process of its own: this very test again, with `variable` set. (SoftHSM reads its settings from there,
/// and a process must not change its own environment.)
pub(crate) fn in_own_process(test: &str, variable: (&str, &Path), body: impl FnOnce()) {
    if std::env::var_os(variable.0).is_some() {
        return body();
    }
    let run = std::process::Command::new(std::env::current_exe().expect("tests are run from a file"))
        .args([test, "--exact", "--nocapture"])
        .env(variable.0, variable.1)
        .output()
        .expect("this test starts again");
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && out.contains("1 passed"), "in its own process:\n{out}\n{err}");
}
