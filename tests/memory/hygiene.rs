//! M-02 to M-04 and M-09: no core file, keys locked and never swapped, closed to others of the same user, nothing in
//! temporary files, arguments or environment.

use super::outside::{NOBODY, are_root, as_its_user, as_root, proc_file};
use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET, Launch, Server, binary};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::wire::Wire;
use rustix::process::Signal;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

#[test]
fn m02_a_crash_leaves_no_core_file() {
    for signal in [Signal::SEGV, Signal::QUIT, Signal::ABORT] {
        let mut server = Server::start();
        let pid = server.pid();
        let limits = proc_file(pid, "limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit for core files");
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
        let cwd = fs::read_link("/proc/self/cwd").expect("our own directory, which it inherited");
        let before = listing(&cwd);
        server.signal(signal);
        // Rust's own handler takes the first fault for a stack overflow's, finds that it is none, and steps aside for the next.
        if signal == Signal::SEGV {
            while proc_file(pid, "status").lines().any(|line| line.starts_with("SigCgt:") && catches(line, signal)) {
                thread::sleep(Duration::from_millis(5));
            }
            server.signal(signal);
        }
        let status = server.wait_until_ended();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
        assert!(!status.core_dumped(), "{status}");
        let new: Vec<_> = listing(&cwd).difference(&before).filter(|name| name.contains("core")).cloned().collect();
        assert!(new.is_empty(), "{new:?}");
        let in_data = listing(server.data()).into_iter().filter(|name| name.contains("core")).count();
        assert_eq!(in_data, 0);
    }
}

/// Whether a `SigCgt` line of `/proc/PID/status` names the signal.
fn catches(line: &str, signal: Signal) -> bool {
    let mask = line.split_whitespace().nth(1).and_then(|mask| u64::from_str_radix(mask, 16).ok()).expect("a mask");
    mask & (1 << (signal.as_raw() - 1)) != 0
}

fn listing(directory: &std::path::Path) -> HashSet<String> {
    let entries = fs::read_dir(directory).expect("it can be read");
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn m03_keys_are_in_locked_memory_and_nothing_is_swapped() {
    let server = Server::start();
    upload(&server, "one", &bytes(1, 10_000));
    let maps = proc_file(server.pid(), "smaps");
    let mut slabs = 0;
    let (mut size, mut swapped) = (String::new(), String::new());
    for line in maps.lines() {
        let (name, value) = line.split_once(':').unwrap_or(("", ""));
        match name {
            "Size" => size = value.trim().into(),
            "Swap" => swapped = value.trim().into(),
            "VmFlags" => {
                let flags: HashSet<&str> = value.split_whitespace().collect();
                // Locked, left out of core files, wiped in a fork: no other memory of the process is all three.
                if ["lo", "dd", "wf"].iter().all(|flag| flags.contains(flag)) {
                    slabs += 1;
                    assert_eq!((size.as_str(), swapped.as_str()), ("64 kB", "0 kB"), "{line}");
                }
            }
            _ => {}
        }
    }
    assert!(slabs >= 1, "no locked memory in\n{maps}");
    assert!(!server.log().contains("may be swapped"), "{}", server.log());
    let status = proc_file(server.pid(), "status");
    assert!(status.lines().any(|line| line.starts_with("VmSwap:") && line.ends_with(" 0 kB")), "{status}");
}

#[test]
fn m04_another_process_of_its_user_can_neither_trace_nor_read_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let dir = place.path().join("data");
    // A copy, because the build directory may be closed to `nobody`.
    let program = place.path().join("geoseal");
    fs::copy(binary(), &program).expect("the binary can be copied");
    let user = if are_root() { NOBODY } else { rustix::process::geteuid().as_raw() };
    chown(place.path(), Some(user), None).expect("the directory is ours to give");
    let mut daemon = Killed(
        as_its_user(program.as_os_str())
            .args(["dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir"])
            .arg(&dir)
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the geoseal binary starts"),
    );
    while !dir.join("dev.env").exists() {
        assert!(daemon.0.try_wait().expect("our own child").is_none(), "it ended instead of serving");
        thread::sleep(Duration::from_millis(10));
    }
    let pid = daemon.0.id();
    assert_eq!(proc_file(pid, "status").lines().find(|l| l.starts_with("NoNewPrivs")), Some("NoNewPrivs:\t1"));
    let uid = proc_file(pid, "status").lines().find_map(|l| l.strip_prefix("Uid:").map(str::to_owned));
    assert!(uid.expect("a user").split_whitespace().all(|id| id == user.to_string()));
    for name in ["mem", "environ", "maps", "auxv", "fd", "task"] {
        let read = format!("/proc/{pid}/{name}");
        let mut look = as_its_user("sh".as_ref());
        let look = look.args(["-c", "if [ -d \"$0\" ]; then ls \"$0/\"* ; else head -c 1 \"$0\"; fi", &read]);
        let ran = look.current_dir("/").stdin(Stdio::null()).output().expect("sh starts");
        let denied = String::from_utf8_lossy(&ran.stderr).contains("ermission denied");
        let open_to_all = name == "task"; // thread ids only
        assert!(denied || open_to_all, "{read}: {ran:?}");
    }
    const ATTACH: &str = "import ctypes, os, sys\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        answer = libc.ptrace(16, int(sys.argv[1]), None, None)\n\
        print(answer, os.strerror(ctypes.get_errno()))";
    let mut attach = as_its_user("python3".as_ref());
    let ran = attach.args(["-c", ATTACH, &pid.to_string()]).current_dir("/").output().expect("python3 starts");
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "-1 Operation not permitted", "{ran:?}");
    // The same call on a process that allows it: what was denied above is not simply denied to all.
    let mut other = Killed(as_its_user("sleep".as_ref()).arg("60").current_dir("/").spawn().expect("sleep starts"));
    let mut attach = as_its_user("python3".as_ref());
    let ran = attach.args(["-c", ATTACH, &other.0.id().to_string()]).current_dir("/").output();
    let ran = ran.expect("python3 starts");
    let control = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    let guarded = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").is_ok_and(|scope| scope.trim() != "0");
    assert!(control.starts_with('0') || guarded, "{control}");
    assert!(other.0.try_wait().is_ok());
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn m09_no_plaintext_in_temporary_or_deleted_files_and_no_secret_in_arguments_or_environment() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let server = Launch::default().variable("TMPDIR", temporary.path().to_str().expect("UTF-8")).start();
    let canary = b"canary-in-a-large-upload-5d1c".repeat(300_000);
    let mut wire = Wire::to(&server);
    let opened = wire.call(&server, Request::new("POST", &object_path(BUCKET, "big")).query("uploads", ""));
    let upload = opened.text().split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).map(str::to_owned);
    let part = Request::new("PUT", &object_path(BUCKET, "big")).query("partNumber", "1");
    let part = part.query("uploadId", &upload.expect("an upload id")).body(canary.clone());
    // While it is being written, and after.
    let pid = server.pid();
    let looks = thread::scope(|scope| {
        let sent = scope.spawn(|| assert_eq!(wire.call(&server, part).status, 200));
        let mut looks = 0;
        loop {
            let done = sent.is_finished();
            assert_quiet(&server, pid, &temporary);
            looks += 1;
            if done {
                break looks;
            }
        }
    });
    assert!(looks >= 1);
}

/// Nothing of the upload in a temporary file, nor in an open file that has no name any more; no secret where `ps` sees it.
fn assert_quiet(server: &Server, pid: u32, temporary: &tempfile::TempDir) {
    assert_eq!(listing(temporary.path()), HashSet::new(), "temporary files");
    let script =
        "for fd in /proc/$0/fd/*; do case $(readlink $fd) in *deleted*) cat $fd;; esac; done 2>/dev/null; true";
    let unnamed = as_root("sh", &["-c", script, &pid.to_string()]);
    assert!(memchr::memmem::find(&unnamed, b"canary-in-a-large").is_none(), "plaintext in a deleted file");
    let secrets = [server.variable("AWS_SECRET_ACCESS_KEY").to_owned(), server.admin_token()];
    for name in ["cmdline", "environ"] {
        let text = proc_file(pid, name);
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "a secret in {name}");
    }
}

fn upload(server: &Server, name: &str, body: &[u8]) {
    let put = Wire::to(server).call(server, Request::new("PUT", &object_path(BUCKET, name)).body(body.to_vec()));
    assert_eq!(put.status, 200, "{}", put.text());
}
