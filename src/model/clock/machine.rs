//! A compliance clock on a machine: takes the samples, keeps the state file.
//!
//! One lock, held for two system calls; a save writes the file under a lock of its own so that nobody who asks the
//! time waits for the disk.

use super::{Clock, ClockError, ComplianceClock, Reading, Sample, StateFile, Status};
use crate::model::time::Millis;
use parking_lot::Mutex;

/// Where samples come from: the system, or a simulated machine.
pub trait Source: Send + Sync + 'static {
    /// The machine's clocks now.
    fn sample(&self) -> Sample;
}

/// A compliance clock over a source, with or without a state file.
pub struct MachineClock<S> {
    source: S,
    clock: Mutex<ComplianceClock>,
    state: Option<Mutex<StateFile>>,
}

impl<S: Source> MachineClock<S> {
    /// Makes a clock that has never run, set from the wall, and saves it. Refused when `state` exists.
    pub fn create(source: S, state: StateFile) -> Result<Self, ClockError> {
        if state.load()?.is_some() {
            return Err(ClockError::Exists);
        }
        let clock = ComplianceClock::begin(source.sample());
        Self::saved(Self { source, clock: Mutex::new(clock), state: Some(Mutex::new(state)) })
    }

    /// Opens a clock that has run before. Refused when `state` is missing or was edited.
    pub fn open(source: S, state: StateFile) -> Result<Self, ClockError> {
        let saved = state.load()?.ok_or(ClockError::Missing)?;
        let clock = ComplianceClock::resume(saved, source.sample());
        Self::saved(Self { source, clock: Mutex::new(clock), state: Some(Mutex::new(state)) })
    }

    /// A clock that keeps nothing, for tests and one-off tools.
    pub fn unsaved(source: S) -> Self {
        let clock = ComplianceClock::begin(source.sample());
        Self { source, clock: Mutex::new(clock), state: None }
    }

    /// What the samples come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// What a reboot does: forgets everything but the saved state. `change` is what happens to the machine meanwhile.
    pub(super) fn restart(&self, change: impl FnOnce(&S)) {
        let mut clock = self.clock.lock();
        clock.observe(self.source.sample());
        let saved = clock.save();
        change(&self.source);
        *clock = ComplianceClock::resume(saved, self.source.sample());
    }

    fn saved(self) -> Result<Self, ClockError> {
        self.save()?;
        Ok(self)
    }

    fn look<T>(&self, answer: impl FnOnce(&mut ComplianceClock) -> T) -> T {
        let mut clock = self.clock.lock();
        clock.observe(self.source.sample());
        answer(&mut clock)
    }
}

impl<S: Source> Clock for MachineClock<S> {
    fn now(&self) -> Reading {
        self.look(|clock| clock.reading())
    }

    fn status(&self) -> Status {
        self.look(|clock| clock.status())
    }

    fn attest(&self, utc: Millis) -> Result<i64, ClockError> {
        let credit = self.look(|clock| clock.attest(utc))?;
        self.save()?;
        Ok(credit)
    }

    fn corroborate(&self, peer: Millis) -> bool {
        self.look(|clock| clock.corroborate(peer))
    }

    fn save(&self) -> Result<(), ClockError> {
        let Some(state) = &self.state else { return Ok(()) };
        let file = state.lock();
        let saved = self.look(ComplianceClock::save);
        file.store(&saved)
    }
}

impl<S> std::fmt::Debug for MachineClock<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachineClock").finish_non_exhaustive()
    }
}
