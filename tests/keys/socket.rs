//! The key service behind a Unix socket: who is answered, cold starts, suspensions from elsewhere, its death and return.

use super::pair::{
    BUCKET, SOCKET, admin, ask, begin_download, begin_upload, get, is_away, make_bucket, over_a_socket, put,
    server_with, tenant_id, until,
};
use geoseal_support::daemon::Daemon;
use geoseal_support::key_service::{Ask, KeyService, is_given};
use geoseal_support::records::bytes;
use geoseal_support::signer::Credentials;
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// T-05 on this link, and a server that starts without its keys: it listens, says what it waits for, and serves by
/// itself once it is answered.
#[test]
fn t05_k04_the_socket_answers_the_users_it_names_and_a_server_waits_until_it_is_one() {
    let me = rustix::process::geteuid().as_raw();
    let only = |user: u32| format!("{SOCKET}\npeer_uids = [{user}]");
    let mut keys = KeyService::prepare(&only(me + 1));
    keys.serve();
    let mut stranger = UnixStream::connect(keys.socket()).expect("anybody may knock");
    assert!(Ask::Hello.over(&mut stranger).is_err(), "the kernel says who does, and he is not answered");
    let mut daemon = server_with(&format!("socket = {:?}", keys.socket()));
    daemon.serve_without_keys();
    let cold = |daemon: &Daemon| {
        let nobody = Credentials { access_id: "A".into(), secret: "s".into(), region: "westeurope".into() };
        let answer = get(daemon, &nobody, "any");
        assert!(is_away(&answer), "{} {:?}", answer.status, answer.headers);
        let ready = admin(daemon, "/readyz");
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains("waiting for the keys"), "{}", ready.text());
        assert_eq!(admin(daemon, "/healthz").status, 200);
    };
    cold(&daemon);
    assert!(keys.log().contains("a process of another user"), "{}", keys.log());

    assert!(keys.terminate().success());
    keys.configure("", "key_file = \"HOME/key\"", &only(me));
    keys.serve();
    let mode = std::fs::metadata(keys.socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for its own user alone");
    until("it serves by itself", || admin(&daemon, "/readyz").status == 200);
    let mut known = UnixStream::connect(keys.socket()).expect("it listens");
    assert!(is_given(&Ask::Hello.over(&mut known).expect("an answer")));
    let who = daemon.tenant("acme");
    make_bucket(&daemon, &who);
    assert_eq!(put(&daemon, &who, "kept", b"kept").status, 200);

    // Neither is there: the server comes first.
    assert!(daemon.terminate().success());
    keys.kill();
    daemon.serve_without_keys();
    cold(&daemon);
    keys.serve();
    until("it serves by itself again", || admin(&daemon, "/readyz").status == 200);
    assert_eq!(get(&daemon, &who, "kept").body, b"kept");
    let files = walk(daemon.dir().join("data"));
    assert!(!files.iter().any(|file| file.contains("keystore")), "no key store lies with the server: {files:?}");
}

fn walk(dir: std::path::PathBuf) -> Vec<String> {
    let (mut dirs, mut files) = (vec![dir], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("our own directory").filter_map(Result::ok) {
            if entry.path().is_dir() {
                dirs.push(entry.path());
            }
            files.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    files
}

/// Suspended by somebody else who asks the same key service: this server hears of it only by the push.
#[test]
fn k02_k03_a_suspension_from_elsewhere_is_pushed_and_cuts_a_download() {
    let (keys, daemon, who) = over_a_socket(300);
    let body = bytes(2, 48 << 20);
    assert_eq!(put(&daemon, &who, "large", &body).status, 200);
    let tenant = tenant_id(&daemon, "acme");
    let mut elsewhere = UnixStream::connect(keys.socket()).expect("it listens");
    for round in 0..2 {
        let mut slow = begin_download(&daemon, &who, "large");
        let begun = Instant::now();
        if round == 0 {
            assert!(is_given(&Ask::Suspend(tenant).over(&mut elsewhere).expect("an answer")));
        } else {
            daemon.geoseal(&["key", "suspend", "tenant", "acme", "--reason", "a test"]).ok();
        }
        until("new requests are refused", || get(&daemon, &who, "large").code() == "KMS.DisabledException");
        eprintln!("K-03: suspended, pushed and refused within {:?}", begun.elapsed());
        let got = slow.rest();
        assert!(got.starts_with(b"HTTP/1.1 200 "), "it had begun");
        assert!(got.len() < body.len(), "{} bytes came although the keys were suspended", got.len());
        assert_eq!(get(&daemon, &who, "large").status, 403);
        let refused = put(&daemon, &who, "new", b"x");
        assert_eq!((refused.status, refused.code().as_str()), (403, "KMS.DisabledException"));
        if round == 0 {
            assert!(is_given(&Ask::Resume(tenant).over(&mut elsewhere).expect("an answer")));
        } else {
            daemon.geoseal(&["key", "resume", "tenant", "acme"]).ok();
        }
        // A refusal is remembered for some seconds, but not beyond the word that it is over.
        until("it is served again", || get(&daemon, &who, "large").status == 200);
    }
    assert!(get(&daemon, &who, "large").body == body);
}

/// Killed, and nothing is heard of it until well after the leases: what was leased serves to its end and not longer,
/// and what a lease's end cuts short is told to come back, not that its keys are suspended.
#[test]
fn k04_the_key_service_is_killed_and_comes_back() {
    let (mut keys, daemon, who) = over_a_socket(5);
    let body = bytes(3, 48 << 20);
    assert_eq!(put(&daemon, &who, "large", &body).status, 200);
    assert_eq!(put(&daemon, &who, "small", b"small").status, 200);
    let mut upload = begin_upload(&daemon, &who, "cut", &body);
    let mut download = begin_download(&daemon, &who, "large");
    assert_eq!(get(&daemon, &who, "small").status, 200, "a lease that was just used");
    keys.kill();
    let mut served = 0;
    let away = loop {
        let answer = get(&daemon, &who, "small");
        if answer.status != 200 {
            break answer;
        }
        assert_eq!(answer.body, b"small");
        served += 1;
    };
    assert!(served > 0, "the lease runs on");
    assert!(is_away(&away), "{} {} {:?}", away.status, away.code(), away.headers);
    assert_eq!(away.code(), "ServiceUnavailable");
    assert!(is_away(&put(&daemon, &who, "small", b"changed")), "nor is anything written");
    let mut late = UnixStream::connect(keys.socket());
    assert!(late.as_mut().map_or(true, |link| Ask::Hello.over(link).is_err()), "it is dead");
    // What was under way: the download ends early, the upload is told to come again.
    let got = download.rest();
    assert!(got.starts_with(b"HTTP/1.1 200 ") && got.len() < body.len(), "{} bytes", got.len());
    // The server may stop reading before all was sent.
    let _ = upload.send(&body[body.len() - body.len() / 2..]);
    let refused = upload.answer("PUT").expect("it is told");
    assert!(is_away(&refused), "{} {}", refused.status, refused.code());
    let ready = admin(&daemon, "/readyz");
    assert_eq!((ready.status, admin(&daemon, "/healthz").status), (200, 200), "the server itself is well");

    keys.serve();
    until("it is served again", || get(&daemon, &who, "small").status == 200);
    assert_eq!(get(&daemon, &who, "small").body, b"small");
    assert!(get(&daemon, &who, "large").body == body);
    assert_eq!(get(&daemon, &who, "cut").status, 404, "nothing of the upload is there");
    assert_eq!(put(&daemon, &who, "cut", b"whole").status, 200);
    let listed = ask(&daemon, &who, "GET", &format!("/{BUCKET}"), &[]).text();
    assert_eq!(listed.matches("<Key>").count(), 3, "{listed}");
}

/// Restarts and a stop of some seconds under load: within the leases nobody notices.
#[test]
fn k04_the_key_service_restarts_under_load_and_nobody_notices() {
    let (mut keys, daemon, who) = over_a_socket(60);
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let work = |number: usize| {
            let (daemon, who, stop, answers) = (&daemon, &who, &stop, &answers);
            move || {
                let mut wrong = Vec::new();
                for round in 0.. {
                    let (name, body) = (format!("{number}/{round}"), bytes(round, 20_000));
                    let put = put(daemon, who, &name, &body);
                    let got = get(daemon, who, &name);
                    if put.status != 200 || got.body != body {
                        wrong.push(format!("{} {}, {} {}", put.status, put.code(), got.status, got.code()));
                    }
                    answers.fetch_add(2, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        return wrong;
                    }
                }
                wrong
            }
        };
        let loads: Vec<_> = (0..2).map(|number| scope.spawn(work(number))).collect();
        let some = |more: u64| {
            let from = answers.load(Ordering::Relaxed);
            until("the load goes on", || answers.load(Ordering::Relaxed) >= from + more);
        };
        some(20);
        for _ in 0..2 {
            assert!(keys.terminate().success());
            some(10);
            keys.serve();
            some(10);
        }
        keys.kill();
        keys.serve();
        keys.signal(Signal::STOP);
        some(20);
        keys.signal(Signal::CONT);
        some(20);
        stop.store(true, Ordering::Relaxed);
        let wrong: Vec<_> = loads.into_iter().flat_map(|load| load.join().expect("no panic")).collect();
        eprintln!("restarts under load: {} answers, {} wrong", answers.load(Ordering::Relaxed), wrong.len());
        assert!(wrong.is_empty(), "{wrong:?}");
    });
    // The place of a dead process' socket is taken over, and the server's acts reach the new one.
    daemon.geoseal(&["key", "suspend", "tenant", "acme", "--reason", "a test"]).ok();
    assert_eq!(get(&daemon, &who, "0/0").status, 403);
}
