//! The machine's own clocks: the one place of the house that asks the operating system what time it is.
//!
//! The kernel tells whether its clock is disciplined through `adjtimex(2)`, which no safe wrapper offers read-only
//! (rustix 1.1 and nix 0.31 lack it), and `unsafe` is forbidden here. So we look for the mark that systemd-timesyncd
//! leaves in `/run`, which is empty at each boot, after its first synchronisation of that boot. Hosts disciplined by
//! something else count as uncorroborated until a peer's time agrees (`Clock::corroborate`) or somebody attests.

use super::{MachineClock, Sample, Source, Trust};
use crate::model::time::Millis;
use rustix::time::{ClockId, Timespec};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The compliance clock on the real machine.
pub type RealClock = MachineClock<SystemSource>;

/// Samples of the real machine.
#[derive(Debug)]
pub struct SystemSource {
    boot_id: [u8; 16],
    disciplined: AtomicBool,
    /// When the mark was looked for last, since boot.
    looked_ms: AtomicI64,
}

/// Between two looks for the mark: every request asks the time, several times, and the mark changes once a boot.
const LOOK_EVERY_MS: i64 = 1000;

impl SystemSource {
    /// Reads the boot's id. A machine that does not tell it counts as rebooted at each start: late, never early.
    pub fn new() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits = text.trim().replace('-', "");
        let boot_id = digits.parse().unwrap_or_else(|_| crate::model::ids::SegmentId::random());
        Self { boot_id: boot_id.0, disciplined: AtomicBool::new(false), looked_ms: AtomicI64::new(i64::MIN) }
    }

    fn is_disciplined(&self, now_ms: i64) -> bool {
        if now_ms.saturating_sub(self.looked_ms.load(Ordering::Relaxed)) >= LOOK_EVERY_MS {
            self.looked_ms.store(now_ms, Ordering::Relaxed);
            self.disciplined.store(Path::new("/run/systemd/timesync/synchronized").exists(), Ordering::Relaxed);
        }
        self.disciplined.load(Ordering::Relaxed)
    }
}

impl Default for SystemSource {
    fn default() -> Self {
        Self::new()
    }
}

impl Source for SystemSource {
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    fn sample(&self) -> Sample {
        let boottime_ms = millis(rustix::time::clock_gettime(ClockId::Boottime));
        Sample {
            wall: Millis(millis(rustix::time::clock_gettime(ClockId::Realtime))),
            boottime_ms,
            boot_id: self.boot_id,
            trust: if self.is_disciplined(boottime_ms) { Trust::Corroborated } else { Trust::Uncorroborated },
        }
    }
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}
