//! What the process asks of the kernel before it holds a key: no core file, no reading of its memory by others of the
//! same user, no new privileges, and as many open files as it may have.
//!
//! Cheap parts only; the rest is the unit's (`deploy/geoseal.service`). Each is said and skipped where a kernel or a
//! sandbox refuses it: a server that does not start protects nobody.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use tracing::warn;

/// Does it. To be called while there is one thread: threads made later inherit it all.
pub(super) fn harden() {
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        warn!(%error, "core files are not switched off");
    }
    // After this, /proc/PID of the process is root's, and no process of the same user may attach to it.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%error, "the process can be traced by others of its user");
    }
    if let Err(error) = set_no_new_privs(true) {
        warn!(%error, "the process could gain privileges");
    }
    // Each connection and each engine file is one. The soft limit is low for the sake of select(2), which is not used.
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }) {
        warn!(%error, "the limit of open files stays where it is");
    }
}

/// Says whether keys may be swapped. To be called once there are some.
pub(super) fn say_key_memory() {
    let memory = crate::seal::key_memory();
    if memory.unlocked > 0 {
        warn!(
            slabs = memory.slabs,
            unlocked = memory.unlocked,
            "keys are in memory that may be swapped; raise RLIMIT_MEMLOCK"
        );
    }
}
