//! What the kernel says about a process, and on which core it runs.

use std::{fs, io, time::Duration};

use rustix::thread::{CpuSet, sched_setaffinity};

/// Puts this thread on one core; processes that it starts from then on inherit that.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// The CPU time of a process so far, all its threads, user and system.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // Fields 14 and 15, counted from 1; the second field may hold spaces and ends with the last parenthesis.
    let after = stat.rsplit_once(')').expect("a process has a name").1;
    let ticks: u64 = after.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("ticks")).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory in MiB: `VmHWM` is the most a process ever held, `VmRSS` what it holds now.
pub(crate) fn memory_mib(pid: u32, which: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|l| l.strip_prefix(which)).expect("the kernel counts memory");
    let kib: f64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number of kB");
    kib / 1024.0
}

/// The processes that a process started and that still run.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|n| n.parse().ok()).collect()
}

/// Model and number of cores, kernel: what a figure is worth nothing without.
pub(crate) fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("?", |m| m.trim_matches([':', ' ', '\t']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
