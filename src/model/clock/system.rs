//! The machine's own clocks: the one place of the house that asks the operating system what time it is.
//!
//! The kernel tells whether its clock is disciplined (`adjtimex(2)`), whoever does it: chrony, ntpd, systemd-timesyncd. It
//! says no after a boot, after somebody set the clock by hand, and when its error may be more than 16 s. Where that
//! call is forbidden to us (a seccomp filter), we look for the mark that systemd-timesyncd leaves in `/run`, which is empty
//! at each boot, after its first synchronisation of that boot. Otherwise the clock counts as uncorroborated until
//! a peer's time agrees (`Clock::corroborate`) or somebody attests.

use super::{MachineClock, Sample, Source, Trust};
use crate::model::time::Millis;
use rtime_clock::adjtime::{Timex, adjtimex};
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
    /// When the kernel was asked last, since boot.
    looked_ms: AtomicI64,
}

/// Between two looks: every request asks the time, several times, and the kernel changes its mind rarely.
const LOOK_EVERY_MS: i64 = 1000;

/// What `adjtimex` returns while its clock is not synchronised to a reliable server (`<linux/timex.h>`).
const TIME_ERROR: i32 = 5;
/// The bit of its status that says the same.
const STA_UNSYNC: i32 = 0x40;
/// What systemd-timesyncd leaves behind.
const MARK: &str = "/run/systemd/timesync/synchronized";

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
            let disciplined = is_disciplined(kernels_word(), || Path::new(MARK).exists());
            self.disciplined.store(disciplined, Ordering::Relaxed);
        }
        self.disciplined.load(Ordering::Relaxed)
    }
}

/// The clock's state and its status bits, as `adjtimex(2)` has them; `None` where we may not ask.
fn kernels_word() -> Option<(i32, i32)> {
    // All zero: asks, and sets nothing.
    let mut asked = Timex::new();
    let state = adjtimex(&mut asked).ok()?;
    Some((state, asked.0.status))
}

/// The mark counts only where the kernel does not answer: it stays where it is when the clock is set by hand.
fn is_disciplined(kernel: Option<(i32, i32)>, has_mark: impl FnOnce() -> bool) -> bool {
    match kernel {
        Some((state, status)) => state != TIME_ERROR && status & STA_UNSYNC == 0,
        None => has_mark(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p14_the_kernels_word_counts_and_the_mark_only_where_it_has_none() {
        const TIME_OK: i32 = 0;
        const TIME_INS: i32 = 1;
        const STA_PLL: i32 = 1;
        const STA_NANO: i32 = 0x2000;
        let table = [
            (Some((TIME_OK, STA_PLL | STA_NANO)), false, true),
            (Some((TIME_INS, STA_PLL)), false, true),
            // Never synchronised, or set by hand since: the mark of an earlier synchronisation is of no use.
            (Some((TIME_ERROR, STA_UNSYNC)), true, false),
            (Some((TIME_OK, STA_PLL | STA_UNSYNC)), true, false),
            (Some((TIME_ERROR, STA_PLL)), true, false),
            (None, true, true),
            (None, false, false),
        ];
        for (kernel, mark, disciplined) in table {
            assert_eq!(is_disciplined(kernel, || mark), disciplined, "{kernel:?} {mark}");
        }
    }
}
