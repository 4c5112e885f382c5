//! A machine whose clocks obey: for `geoseal dev --simulated-clock` and for tests.
//!
//! It runs the same compliance clock as a real machine, over clocks that can be advanced, turned, drifted, paused,
//! suspended and rebooted. In `dev` it flows with the real machine, shifted; in tests it stands still between
//! operations. Its file is kept next to the compliance state and is not authenticated: it exists only in directories
//! that `dev --simulated-clock` made.

use super::{Clock, ClockError, MachineClock, Reading, Sample, Source, StateFile, Status, SystemSource, Trust};
use crate::model::ids::SegmentId;
use crate::model::time::Millis;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};

/// A compliance clock on a simulated machine.
#[derive(Debug)]
pub struct SimulatedClock(MachineClock<SimulatedMachine>);

/// The simulated machine: the base's clocks, shifted.
#[derive(Debug)]
pub struct SimulatedMachine {
    base: Base,
    file: Option<PathBuf>,
    shift: Mutex<Shift>,
}

#[derive(Debug)]
enum Base {
    /// Stands still at this wall time.
    Frozen(Millis),
    /// Flows with the real machine.
    Flowing(SystemSource),
}

/// What the operations did, all in milliseconds.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Shift {
    wall: i64,
    boottime: i64,
    boot_id: String,
    base_boot_id: String,
    drift_ppm: i64,
    drift_from: i64,
    disciplined: bool,
}

impl SimulatedClock {
    /// A clock that stands still at `wall` until an operation moves it. Disciplined, keeps nothing.
    pub fn frozen(wall: Millis) -> Self {
        Self(MachineClock::unsaved(SimulatedMachine::new(Base::Frozen(wall), None)))
    }

    /// Makes the clock of a dev directory; `file` keeps the machine, `state` the compliance clock.
    pub fn create(file: &Path, state: StateFile) -> Result<Self, ClockError> {
        let machine = SimulatedMachine::new(Base::Flowing(SystemSource::new()), Some(file.to_owned()));
        machine.keep()?;
        MachineClock::create(machine, state).map(Self)
    }

    /// Opens the clock of a dev directory.
    pub fn open(file: &Path, state: StateFile) -> Result<Self, ClockError> {
        let text = std::fs::read(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ClockError::Missing,
            _ => ClockError::File(error),
        })?;
        let shift = serde_json::from_slice(&text).map_err(|_| ClockError::Tampered)?;
        let machine = SimulatedMachine::new(Base::Flowing(SystemSource::new()), Some(file.to_owned()));
        machine.continue_from(shift);
        machine.keep()?;
        MachineClock::open(machine, state).map(Self)
    }

    /// Time passes: wall and boot clock alike. Negative is nothing.
    pub fn advance(&self, ms: i64) -> Result<Reading, ClockError> {
        let ms = ms.max(0);
        self.change(|shift, _| {
            shift.wall = shift.wall.saturating_add(ms);
            shift.boottime = shift.boottime.saturating_add(ms);
        })
    }

    /// Somebody turns the wall; no time passes.
    pub fn jump(&self, ms: i64) -> Result<Reading, ClockError> {
        self.change(|shift, _| shift.wall = shift.wall.saturating_add(ms))
    }

    /// The wall gains so many parts per million on the boot clock from now on.
    pub fn drift(&self, ppm: i64) -> Result<Reading, ClockError> {
        self.change(|shift, base| {
            let now = base.boottime_ms.saturating_add(shift.boottime);
            shift.wall = shift.wall.saturating_add(drifted(shift, now));
            (shift.drift_ppm, shift.drift_from) = (ppm, now);
        })
    }

    /// The virtual machine is paused: the wall catches up, the boot clock never learns.
    pub fn pause(&self, ms: i64) -> Result<Reading, ClockError> {
        self.jump(ms.max(0))
    }

    /// The machine sleeps: the boot clock counts that.
    pub fn suspend(&self, ms: i64) -> Result<Reading, ClockError> {
        self.advance(ms)
    }

    /// Whether the kernel says that its clock is disciplined.
    pub fn set_disciplined(&self, disciplined: bool) -> Result<Reading, ClockError> {
        self.change(|shift, _| shift.disciplined = disciplined)
    }

    /// The machine is off for `off_ms` and comes up with a wall that is wrong by `wall_error_ms`.
    pub fn reboot(&self, off_ms: i64, wall_error_ms: i64) -> Result<Reading, ClockError> {
        let machine = self.0.source();
        self.0.restart(|machine| {
            let base = machine.base.sample();
            let mut shift = machine.shift.lock();
            let up = base.boottime_ms.saturating_add(shift.boottime);
            let gained = drifted(&shift, up);
            shift.wall = shift.wall.saturating_add(gained).saturating_add(off_ms.max(0)).saturating_add(wall_error_ms);
            shift.boottime = -base.boottime_ms;
            shift.drift_from = 0;
            shift.boot_id = SegmentId::random().to_string();
        });
        machine.keep()?;
        self.save()?;
        Ok(self.now())
    }

    fn change(&self, operation: impl FnOnce(&mut Shift, &Sample)) -> Result<Reading, ClockError> {
        // The sample before the operation belongs to the time before it.
        self.now();
        let machine = self.0.source();
        operation(&mut machine.shift.lock(), &machine.base.sample());
        machine.keep()?;
        self.save()?;
        Ok(self.now())
    }
}

impl SimulatedMachine {
    fn new(base: Base, file: Option<PathBuf>) -> Self {
        let now = base.sample();
        let shift = Shift {
            wall: 0,
            boottime: 0,
            boot_id: hex::encode(now.boot_id),
            base_boot_id: hex::encode(now.boot_id),
            drift_ppm: 0,
            drift_from: now.boottime_ms,
            disciplined: true,
        };
        Self { base, file, shift: Mutex::new(shift) }
    }

    /// Takes up an earlier shift. When the real machine was rebooted meanwhile, so was the simulated one.
    fn continue_from(&self, earlier: Shift) {
        let now = self.base.sample();
        let base_boot_id = hex::encode(now.boot_id);
        *self.shift.lock() = match earlier.base_boot_id == base_boot_id {
            true => earlier,
            false => Shift {
                boottime: 0,
                boot_id: SegmentId::random().to_string(),
                base_boot_id,
                drift_from: now.boottime_ms,
                ..earlier
            },
        };
    }

    fn keep(&self) -> Result<(), ClockError> {
        let Some(path) = &self.file else { return Ok(()) };
        let bytes = serde_json::to_vec(&*self.shift.lock()).expect("plain fields have a JSON form");
        let mut new = path.clone().into_os_string();
        new.push(".new");
        Ok(super::state::replace(Path::new(&new), path, &bytes)?)
    }
}

impl Source for SimulatedMachine {
    fn sample(&self) -> Sample {
        let base = self.base.sample();
        let shift = self.shift.lock();
        let boottime_ms = base.boottime_ms.saturating_add(shift.boottime);
        let boot_id: SegmentId = shift.boot_id.parse().unwrap_or(SegmentId(base.boot_id));
        Sample {
            wall: Millis(base.wall.0.saturating_add(shift.wall).saturating_add(drifted(&shift, boottime_ms))),
            boottime_ms,
            boot_id: boot_id.0,
            trust: if shift.disciplined { Trust::Corroborated } else { Trust::Uncorroborated },
        }
    }
}

impl Source for Base {
    fn sample(&self) -> Sample {
        match self {
            Self::Flowing(system) => system.sample(),
            Self::Frozen(wall) => Sample { wall: *wall, boottime_ms: 0, boot_id: [1; 16], trust: Trust::Corroborated },
        }
    }
}

fn drifted(shift: &Shift, boottime_ms: i64) -> i64 {
    boottime_ms.saturating_sub(shift.drift_from).saturating_mul(shift.drift_ppm) / 1_000_000
}

impl Clock for SimulatedClock {
    fn now(&self) -> Reading {
        self.0.now()
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn attest(&self, utc: Millis) -> Result<i64, ClockError> {
        self.0.attest(utc)
    }

    fn corroborate(&self, peer: Millis) -> bool {
        self.0.corroborate(peer)
    }

    fn save(&self) -> Result<(), ClockError> {
        self.0.save()
    }
}
