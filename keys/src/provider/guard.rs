//! A provider that is asked with care: every call has an end, is tried again when nobody answered, and is not made at
//! all while the provider is known to fail. Goes around any [`MasterKeys`]; puts nothing of its own into answers.
//!
//! Invariants:
//! - A call returns within [`GuardLimits::call`], whatever the provider does: it runs on a thread of the guard's own,
//!   and a thread that does not come back is left behind. At most `threads_max` may be stuck; after that calls fail at once.
//! - Only *not reachable* is tried again, with full jitter between attempts, and never past the call's end. A refusal
//!   and a wrong answer are answers. Every act that is tried again is idempotent.
//! - After `failures_max` calls in a row without an answer the circuit opens: calls fail at once for
//!   `open_for`; then one call goes through, and its outcome closes or opens the circuit again. A refusal and a wrong
//!   answer are answers: a damaged record of one tenant must not keep the others from their keys.
//! - The witness is not asked over a network, so its calls go straight through.

use super::{MasterKeys, MasterVersion, ProviderFault, RootSecret, StateMac, Witness, Wrapped};
use crate::context::ObjectContext;
use crate::error::ProviderError;
use crate::material::{Secret, random_array};
use crate::memory::scrubbed;
use crate::record::{KeyName, ProviderKind, RootFields};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Time as providers need it; passed in.
pub trait ProviderTime: Send + Sync {
    /// Since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;

    /// The machine's date, in seconds since 1970: signatures carry it.
    fn wall_seconds(&self) -> i64;

    /// Returns after `duration`.
    fn pause(&self, duration: Duration);
}

/// What is asked of a provider.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProviderAct {
    /// Wrap a root.
    Wrap,
    /// Unwrap roots.
    Unwrap,
    /// Make the next version.
    Rotate,
    /// Disable or enable a version.
    SetEnabled,
    /// Destroy a version.
    Destroy,
}

impl ProviderAct {
    /// A short stable word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
            Self::Rotate => "rotate",
            Self::SetEnabled => "set-enabled",
            Self::Destroy => "destroy",
        }
    }
}

/// How one attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallOutcome {
    /// As asked.
    Done,
    /// Nobody answered, or not in time.
    Unreachable,
    /// The provider said no.
    Refused,
    /// The answer was wrong.
    Wrong,
    /// Not made: the circuit is open.
    Held,
}

impl CallOutcome {
    /// A short stable word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Wrong => "wrong",
            Self::Held => "held",
        }
    }

    fn of<T>(answer: &Result<T, ProviderError>) -> Self {
        match answer {
            Ok(_) => Self::Done,
            Err(ProviderError::Refused) => Self::Refused,
            Err(ProviderError::Wrong) => Self::Wrong,
            Err(ProviderError::Unreachable | ProviderError::Keyring(_) | ProviderError::Setup(_)) => Self::Unreachable,
        }
    }
}

/// Is told what goes on, for metrics and logs. Must return at once.
pub trait ProviderWatch: Send + Sync {
    /// One attempt ended, after `took`.
    fn call(&self, act: ProviderAct, outcome: CallOutcome, took: Duration);

    /// Why the provider did not do what was asked.
    fn fault(&self, fault: ProviderFault);
}

/// Nobody watches.
pub struct Unwatched;

impl ProviderWatch for Unwatched {
    fn call(&self, _: ProviderAct, _: CallOutcome, _: Duration) {}
    fn fault(&self, _: ProviderFault) {}
}

/// How long and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuardLimits {
    /// One call, all attempts and pauses together.
    pub call: Duration,
    /// Attempts of one call.
    pub attempts: u32,
    /// The first pause is at most this long; each next at most twice as long.
    pub pause: Duration,
    /// Calls without an answer that open the circuit.
    pub failures_max: u32,
    /// How long it stays open.
    pub open_for: Duration,
    /// Threads that may wait for the provider at one time.
    pub threads_max: usize,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(10),
            attempts: 3,
            pause: Duration::from_millis(100),
            failures_max: 5,
            open_for: Duration::from_secs(5),
            threads_max: 16,
        }
    }
}

/// A provider with an end to every call.
pub struct Guarded {
    inner: Arc<dyn MasterKeys>,
    limits: GuardLimits,
    time: Arc<dyn ProviderTime>,
    watch: Arc<dyn ProviderWatch>,
    circuit: Mutex<Circuit>,
    workers: Workers,
}

impl Guarded {
    /// Puts a guard around `inner`.
    pub fn new(
        inner: Arc<dyn MasterKeys>,
        limits: GuardLimits,
        time: Arc<dyn ProviderTime>,
        watch: Arc<dyn ProviderWatch>,
    ) -> Self {
        let workers = Workers::new(limits.threads_max);
        Self { inner, limits, time, watch, circuit: Mutex::new(Circuit::Closed { failures: 0 }), workers }
    }

    fn call<T: Send + 'static>(
        &self,
        act: ProviderAct,
        ask: impl Fn(&dyn MasterKeys) -> Result<T, ProviderError> + Send + Sync + 'static,
    ) -> Result<T, ProviderError> {
        if !self.circuit.lock().admits(self.time.elapsed(), self.limits.open_for) {
            self.watch.call(act, CallOutcome::Held, Duration::ZERO);
            self.watch.fault(ProviderFault::Held);
            return Err(ProviderError::Unreachable);
        }
        let answer = self.attempts(act, Arc::new(ask));
        let is_well = matches!(answer, Ok(_) | Err(ProviderError::Refused | ProviderError::Wrong));
        self.circuit.lock().record(is_well, self.time.elapsed(), self.limits.failures_max);
        answer
    }

    fn attempts<T: Send + 'static>(&self, act: ProviderAct, ask: Arc<Ask<T>>) -> Result<T, ProviderError> {
        let begun = self.time.elapsed();
        for attempt in 0.. {
            let before = self.time.elapsed();
            let left = self.limits.call.saturating_sub(before.saturating_sub(begun));
            let answer = self.once(Arc::clone(&ask), left);
            self.watch.call(act, CallOutcome::of(&answer), self.time.elapsed().saturating_sub(before));
            let pause = jitter(self.limits.pause.saturating_mul(1 << attempt.min(10)));
            let spent = self.time.elapsed().saturating_sub(begun).saturating_add(pause);
            let is_last = attempt + 1 >= self.limits.attempts || spent >= self.limits.call;
            if is_last || !matches!(answer, Err(ProviderError::Unreachable)) {
                return answer;
            }
            self.time.pause(pause);
        }
        unreachable!("the last attempt returns")
    }

    /// One attempt on a thread of ours; what comes too late is dropped there.
    fn once<T: Send + 'static>(&self, ask: Arc<Ask<T>>, left: Duration) -> Result<T, ProviderError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let inner = Arc::clone(&self.inner);
        let job: Job = Box::new(move || {
            let given = scrubbed(|| ask(&*inner));
            // Nobody waits any more: the call had its end.
            let _ = answer.send(given);
        });
        if !self.workers.run(job) {
            self.watch.fault(ProviderFault::Timeout);
            return Err(ProviderError::Unreachable);
        }
        match answered.recv_timeout(left) {
            Ok(given) => given,
            Err(RecvTimeoutError::Timeout) => {
                self.watch.fault(ProviderFault::Timeout);
                Err(ProviderError::Unreachable)
            }
            // The provider panicked.
            Err(RecvTimeoutError::Disconnected) => Err(ProviderError::Wrong),
        }
    }
}

type Ask<T> = dyn Fn(&dyn MasterKeys) -> Result<T, ProviderError> + Send + Sync;
type Job = Box<dyn FnOnce() + Send>;

/// Threads that wait for the provider: made when all others are waiting, kept for the next call, gone with the guard.
struct Workers {
    jobs: mpsc::Sender<Job>,
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
    /// Jobs given and not done.
    pending: Arc<AtomicUsize>,
    living: AtomicUsize,
    max: usize,
}

impl Workers {
    fn new(max: usize) -> Self {
        let (jobs, queue) = mpsc::channel();
        Self { jobs, queue: Arc::new(Mutex::new(queue)), pending: Arc::default(), living: AtomicUsize::new(0), max }
    }

    /// Gives the job to a thread; false when all that may be are busy.
    fn run(&self, job: Job) -> bool {
        let ours = Pending::new(&self.pending);
        let pending = self.pending.load(Ordering::SeqCst);
        if pending > self.max || (self.living.load(Ordering::SeqCst) < pending && !self.spawn()) {
            return false;
        }
        let job: Job = Box::new(move || {
            let _ours = ours;
            job();
        });
        self.jobs.send(job).is_ok()
    }

    fn spawn(&self) -> bool {
        let queue = Arc::clone(&self.queue);
        let started = std::thread::Builder::new().name("key-provider".into()).spawn(move || {
            loop {
                // The lock is held while waiting: the others wait for it.
                let next = queue.lock().recv();
                let Ok(job) = next else { return };
                // A provider that panics costs its call, not the thread.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            }
        });
        self.living.fetch_add(usize::from(started.is_ok()), Ordering::SeqCst);
        started.is_ok()
    }
}

struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether calls are made.
enum Circuit {
    Closed {
        failures: u32,
    },
    Open {
        since: Duration,
    },
    /// One call is under way to find out.
    HalfOpen,
}

impl Circuit {
    fn admits(&mut self, now: Duration, open_for: Duration) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { since } if now.saturating_sub(*since) >= open_for => {
                *self = Self::HalfOpen;
                true
            }
            Self::Open { .. } | Self::HalfOpen => false,
        }
    }

    fn record(&mut self, is_well: bool, now: Duration, failures_max: u32) {
        *self = match (&*self, is_well) {
            (_, true) => Self::Closed { failures: 0 },
            (Self::Closed { failures }, false) if failures + 1 < failures_max => {
                Self::Closed { failures: failures + 1 }
            }
            (_, false) => Self::Open { since: now },
        };
    }
}

/// Uniform in `[0, max]`: callers that failed together do not come back together.
fn jitter(max: Duration) -> Duration {
    let share = f64::from(u32::from_be_bytes(random_array())) / f64::from(u32::MAX);
    max.mul_f64(share)
}

fn copied(root: &RootSecret) -> RootSecret {
    RootSecret(Secret::filled(|out| *out = *root.0.bytes()))
}

impl MasterKeys for Guarded {
    fn kind(&self) -> ProviderKind {
        self.inner.kind()
    }

    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        self.inner.versions()
    }

    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        let (fields, root, context) = (*fields, copied(root), *context);
        self.call(ProviderAct::Wrap, move |keys| keys.wrap(&fields, &root, &context))
    }

    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        let (fields, blob, context) = (*fields, blob.to_vec(), *context);
        self.call(ProviderAct::Unwrap, move |keys| keys.unwrap(&fields, &blob, &context))
    }

    fn unwrap_many(&self, wrapped: &[Wrapped<'_>]) -> Result<Vec<RootSecret>, ProviderError> {
        let owned: Vec<_> =
            wrapped.iter().map(|(fields, blob, context)| (**fields, blob.to_vec(), **context)).collect();
        self.call(ProviderAct::Unwrap, move |keys| {
            let wrapped: Vec<Wrapped<'_>> =
                owned.iter().map(|(fields, blob, context)| (fields, blob.as_slice(), context)).collect();
            keys.unwrap_many(&wrapped)
        })
    }

    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        self.call(ProviderAct::Rotate, move |keys| keys.rotate_to(version))
    }

    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        self.call(ProviderAct::SetEnabled, move |keys| keys.set_enabled(version, enabled))
    }

    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        self.call(ProviderAct::Destroy, move |keys| keys.destroy(version))
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
}
