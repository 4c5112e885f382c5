//! T-04 and T-05: certificates that change while clients come and go, and client certificates on the admin listener.

use super::authority::{Authority, Issued, expired, install, put};
use super::clients::{client, client_of};
use super::{admin_get, metric, once, until};
use geoseal_support::{daemon::Daemon, signer::Request, wire::Wire};
use rcgen::{CertificateParams, SerialNumber};
use rustix::process::Signal;
use rustls::ClientConfig;
use std::{
    fs,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// A server whose certificate the test signed, with these settings under `[limits]`.
fn daemon(authority: &Authority, limits: &str) -> (Daemon, Issued) {
    let mut daemon = Daemon::prepare();
    let first = authority.issue(|_| {});
    install(&daemon, &first);
    put(&daemon.dir().join("tls/ca.pem"), &authority.pem);
    daemon.edit(|text| format!("{text}\n[limits]\n{limits}\n"));
    daemon.serve();
    (daemon, first)
}

fn is_served(address: SocketAddr, config: &Arc<ClientConfig>, certificate: &Issued) -> bool {
    let wire = Wire::connect(address, config.clone()).expect("no handshake fails");
    wire.session().peer_certificates().is_some_and(|chain| chain[0] == certificate.der())
}

/// T-04 by SIGHUP: the files are not looked at by themselves for an hour.
#[test]
fn r46_certificates_swap_under_load_on_sighup() {
    swap("certificate_poll_s = 3600", |daemon| daemon.signal(Signal::HUP));
}

/// T-04 by change of the files alone.
#[test]
fn certificates_swap_under_load_by_themselves() {
    swap("certificate_poll_s = 1", |_| {});
}

/// Clients that connect anew for each request, on both listeners, all the while: good certificates are swapped in,
/// broken ones are not, and no client ever notices.
fn swap(limits: &str, look: impl Fn(&Daemon)) {
    let authority = Authority::new("the test's authority");
    let (daemon, first) = daemon(&authority, limits);
    let config = client(&authority, None);
    let (stop, handshakes) = (AtomicBool::new(false), AtomicU64::new(0));
    let listeners = [daemon.s3(), daemon.admin()];
    // One connection stays open over everything.
    let mut steady = Wire::connect(daemon.admin(), config.clone()).unwrap();
    let alive = Request::new("GET", "/healthz").header("host", "localhost");
    assert_eq!(steady.exchange(&alive).unwrap().status, 200);
    thread::scope(|scope| {
        for address in [listeners, listeners].concat() {
            let (config, stop, handshakes, alive) = (&config, &stop, &handshakes, &alive);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut wire = Wire::connect(address, config.clone()).expect("no handshake fails");
                    wire.exchange(alive).expect("and every request is answered");
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Stops the clients also when an assertion below fails: the scope would wait for them forever.
        let _stop = Stop(&stop);
        let kept = || {
            let metrics = once(daemon.admin(), config.clone(), &admin_get(&daemon, "/metrics")).unwrap().text();
            metric(&metrics, "geoseal_certificate_reloads_total", &["outcome=\"Kept\""])
        };
        let mut served = first;
        for _ in 0..3 {
            let next = authority.issue(|_| {});
            install(&daemon, &next);
            look(&daemon);
            until("the new certificate is served", || listeners.iter().all(|at| is_served(*at, &config, &next)));
            served = next;
        }
        let garbage = || put(&daemon.dir().join("tls/server.pem"), "not a certificate");
        let other_key = || put(&daemon.dir().join("tls/server.pem"), &authority.issue(|_| {}).certificate);
        let past = || install(&daemon, &authority.issue(expired));
        let nameless = || install(&daemon, &authority.issue(|params| params.subject_alt_names.clear()));
        let broken: [(&str, &dyn Fn()); 4] =
            [("garbage", &garbage), ("another's key", &other_key), ("expired", &past), ("for no host", &nameless)];
        for (what, make) in broken {
            let before = kept();
            let logged = daemon.log().len();
            make();
            look(&daemon);
            until(what, || kept() >= before + 2.0);
            assert!(listeners.iter().all(|at| is_served(*at, &config, &served)), "{what}: the old one is kept");
            let is_alarm = |line: &str| line.contains("the old one is kept") && line.contains("ERROR");
            until("the alarm is in the log", || daemon.log()[logged..].lines().any(is_alarm));
        }
        let good = authority.issue(|_| {});
        install(&daemon, &good);
        look(&daemon);
        until("a good one heals it", || listeners.iter().all(|at| is_served(*at, &config, &good)));
        assert_eq!(steady.exchange(&alive).unwrap().status, 200, "an open connection stays open");
        until("there was a load", || handshakes.load(Ordering::Relaxed) > 50);
    });
}

/// R46: a server that could not be told from another, or only until yesterday, does not start.
#[test]
fn r46_a_certificate_that_is_no_good_stops_the_start() {
    let authority = Authority::new("the test's authority");
    let (mut daemon, good) = (Daemon::prepare(), authority.issue(|_| {}));
    put(&daemon.dir().join("tls/ca.pem"), &authority.pem);
    let bad = [
        ("expired", authority.issue(expired), "and it is now"),
        ("for no host", authority.issue(|params| params.subject_alt_names.clear()), "names no host"),
        (
            "with another's key",
            Issued { certificate: good.certificate.clone(), key: authority.issue(|_| {}).key },
            "does not belong",
        ),
    ];
    for (what, issued, says) in bad {
        install(&daemon, &issued);
        let ran = daemon.refused(&[]);
        assert_eq!(ran.code(), Some(1), "{what}: {}", ran.stderr());
        assert!(
            ran.stderr().contains("server.pem") || ran.stderr().contains("server-key.pem"),
            "{what}: {}",
            ran.stderr()
        );
        assert!(ran.stderr().contains(says), "{what}: {}", ran.stderr());
    }
    install(&daemon, &good);
    daemon.serve();
    // Nor does a client of ours speak to one that is not who it says, or whom nobody vouches for.
    let other = Authority::new("another authority");
    assert!(daemon.geoseal(&["region", "list"]).code() == Some(0));
    put(&daemon.dir().join("tls/ca.pem"), &other.pem);
    assert_eq!(daemon.geoseal(&["region", "list"]).code(), Some(6), "a server that nobody we trust vouches for");
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// T-05.
#[test]
fn r46_the_admin_listener_takes_good_client_certificates_only() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let serial =
        |number: u64| move |params: &mut CertificateParams| params.serial_number = Some(SerialNumber::from(number));
    let mut daemon = Daemon::prepare();
    install(&daemon, &ours.issue(|_| {}));
    put(&daemon.dir().join("clients.pem"), &ours.pem);
    put(&daemon.dir().join("revoked.pem"), &ours.revoke(&[7]));
    daemon.edit(|text| {
        text.replace(
            "token_file",
            "client_authorities = \"clients.pem\"\nclient_revocations = \"revoked.pem\"\ntoken_file",
        ) + "\n[limits]\ncertificate_poll_s = 3600\n"
    });
    daemon.serve();
    let good = ours.issue(serial(8));
    let asks = admin_get(&daemon, "/admin/v1/regions");
    let ask = |certificate: Option<&Issued>| once(daemon.admin(), client(&ours, certificate), &asks);
    assert_eq!(ask(Some(&good)).unwrap().status, 200);
    let bare = Request::new("GET", "/admin/v1/regions");
    let answer = once(daemon.admin(), client(&ours, Some(&good)), &bare).unwrap();
    assert_eq!(answer.status, 401, "a certificate is not a token");
    let refused = |what: &str, certificate: Option<&Issued>| match ask(certificate) {
        Ok(answer) => panic!("{what}: answered {}", answer.status),
        Err(e) => assert!(!matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{what}: left open"),
    };
    refused("none", None);
    refused("of another authority", Some(&theirs.issue(serial(8))));
    refused("expired", Some(&ours.issue(expired)));
    refused("revoked", Some(&ours.issue(serial(7))));
    // 1.3 only, and no session outlives a revocation.
    let old = client_of(&ours, Some(&good), &[&rustls::version::TLS12]);
    assert!(once(daemon.admin(), old, &asks).is_err());
    put(&daemon.dir().join("revoked.pem"), &ours.revoke(&[7, 8]));
    daemon.signal(Signal::HUP);
    until("a certificate revoked just now is refused", || ask(Some(&good)).is_err());
    assert_eq!(ask(Some(&ours.issue(serial(9)))).unwrap().status, 200);
    // The S3 listener asks nobody for one.
    assert!(once(daemon.s3(), client(&ours, None), &Request::new("GET", "/")).is_ok());
    // A list that cannot be read is no reason to let everybody in.
    fs::write(daemon.dir().join("revoked.pem"), "").unwrap();
    daemon.signal(Signal::HUP);
    until("the alarm", || daemon.log().contains("the old one is kept"));
    refused("revoked, list broken", Some(&good));
}
