//! Looking into a process as root does, or as another process of its user would.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The user `nobody`, whom nothing belongs to.
pub(super) const NOBODY: u32 = 65_534;

/// Whether these tests run as root. Without, what needs root goes through `sudo -n`.
pub(super) fn are_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a program as root and hands back its stdout; panics with its stderr when it fails.
pub(super) fn as_root(program: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = if are_root() { Command::new(program) } else { Command::new("sudo") };
    if !are_root() {
        command.args(["-n", program]);
    }
    let ran = command.args(arguments).stdin(Stdio::null()).output().expect("it starts");
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

/// A file below `/proc/PID`, as text.
pub(super) fn proc_file(pid: u32, name: &str) -> String {
    String::from_utf8_lossy(&as_root("cat", &[&format!("/proc/{pid}/{name}")])).into_owned()
}

/// Runs a program as `nobody` when these tests are root's, as ourselves otherwise: the user that the daemon of these tests has.
pub(super) fn as_its_user(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(program);
    if are_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
