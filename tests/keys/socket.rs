//! The key service behind a Unix socket: who is answered, cold starts, suspensions from elsewhere, its death and return.

use super::pair::{
    BUCKET, SOCKET, admin, ask, begin_download, begin_upload, get, is_away, make_bucket, metric, over_a_socket,
    over_a_socket_with, put, server_with, tenant_id, until,
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
    until("the refusal is logged", || keys.log().contains("a process of another user"));

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
    // What is asked for again and again: an answer that has begun is there at once, and cannot be cut.
    assert_eq!(put(&daemon, &who, "small", b"x").status, 200);
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
        until("new requests are refused", || get(&daemon, &who, "small").code() == "KMS.DisabledException");
        eprintln!("K-03: suspended, pushed and refused within {:?}", begun.elapsed());
        let got = slow.rest();
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
        until("it is served again", || get(&daemon, &who, "small").status == 200);
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
    assert!(got.len() < body.len(), "{} bytes", got.len());
    upload.send(&body[body.len() / 2..body.len() / 2 + (256 << 10)]).expect("it waits for more");
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

/// An older copy of the key store is refused, until an operator says that he put it back: then it serves, and the log of
/// the server that asks it says so, once.
#[test]
fn an_older_key_store_serves_once_somebody_says_so() {
    let (mut keys, mut daemon, who) = over_a_socket(300);
    assert_eq!(put(&daemon, &who, "kept", b"kept").status, 200);
    assert!(daemon.terminate().success() && keys.terminate().success());
    let (store, copy) = (keys.home().join("data/geo/europe/keystore"), keys.home().join("copy"));
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let _ = std::fs::remove_dir_all(to);
        assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().expect("cp starts").success());
    };
    copied(&store, &copy);
    keys.serve();
    daemon.serve();
    daemon.tenant("later");
    assert!(daemon.terminate().success() && keys.terminate().success());
    copied(&copy, &store);
    let refused = keys.refused(&[]).refused();
    assert!(refused.contains("older than its witness"), "{refused}");
    let reason = "ticket 4711: disk lost";
    let refused = keys.refused(&["--accept-restore", "india", "--reason", reason]).refused();
    assert!(!refused.contains("panicked"), "{refused}");
    keys.serve_with(&["--accept-restore", "europe", "--reason", reason]);
    daemon.serve();
    assert_eq!(get(&daemon, &who, "kept").body, b"kept");
    let hash = hex::encode(ring::digest::digest(&ring::digest::SHA256, reason.as_bytes()));
    let told = |daemon: &Daemon| daemon.geoseal(&["audit", "tail", "--json"]).ok().matches(&hash).count();
    assert_eq!(told(&daemon), 1, "{}", daemon.geoseal(&["audit", "tail", "--json"]).ok());
    assert!(daemon.terminate().success() && keys.terminate().success());
    let refused = keys.refused(&["--accept-restore", "europe", "--reason", reason]).refused();
    assert!(refused.contains("is not older than its witness"), "the flag is for one start: {refused}");
    keys.serve();
    daemon.serve();
    assert_eq!(told(&daemon), 1, "it was told once");
}

/// A holder that asks for one tenant's keys without end gets no more than its share, costs the provider no more, and is
/// seen; other tenants notice nothing.
#[test]
fn a_tenants_keys_can_be_asked_for_only_so_often() {
    let limits = "unwraps_per_minute_max = 5";
    let (keys, daemon, greedy) = over_a_socket_with(limits, "key_file = \"HOME/key\"", 300);
    let other = daemon.tenant("other");
    make_bucket(&daemon, &other);
    assert_eq!(put(&daemon, &greedy, "kept", b"kept").status, 200);
    let tenant = tenant_id(&daemon, "acme");
    let mut elsewhere = UnixStream::connect(keys.socket()).expect("it listens");
    let given = (0..50).filter(|_| is_given(&Ask::Lease(tenant).over(&mut elsewhere).expect("an answer"))).count();
    assert!((1..=6).contains(&given), "{given} of 50 were given");
    assert_eq!(get(&daemon, &greedy, "kept").status, 200, "its lease runs on");
    // Without a lease it has to ask, and is told to slow down.
    for verb in ["suspend", "resume"] {
        let because = ["--reason", "a test"];
        let because = if verb == "suspend" { &because[..] } else { &[] };
        daemon.geoseal(&[&["key", verb, "tenant", "acme"][..], because].concat()).ok();
    }
    let slowed = get(&daemon, &greedy, "kept");
    assert!(is_away(&slowed) && slowed.code() == "SlowDown", "{} {}", slowed.status, slowed.code());
    assert_eq!(put(&daemon, &other, "kept", b"kept").status, 200, "others have their own share");
    let tail = || daemon.geoseal(&["audit", "tail", "--json"]).ok();
    let said: serde_json::Value = serde_json::from_str(&tail()).expect("JSON");
    let entries = said["entries"].as_array().expect("a list");
    let suspended = entries.iter().find(|entry| entry["event"] == "tenant-keys-suspended").expect("it is logged");
    assert_eq!(suspended["detail"]["reason"].as_str().map(str::len), Some(64), "a salted hash of why: {suspended}");
    until("it is in the log", || tail().contains("tenant-keys-asked-too-often"));
    until("it is counted", || {
        metric(&admin(&daemon, "/metrics").text(), "geoseal_key_requests_limited_total{", &[]) > 0
    });
    until("its share fills up again", || get(&daemon, &greedy, "kept").status == 200);
}
