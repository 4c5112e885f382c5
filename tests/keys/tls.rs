//! The key service behind mutual TLS: who is let in on either side, and somebody between them.

use super::pair::{admin, get, install, is_away, make_bucket, over_tls, put, server_with, tenant_id, until};
use crate::edge::authority::{Authority, Issued, expired};
use crate::edge::clients::client_of;
use geoseal_support::daemon::Daemon;
use geoseal_support::keepers::Link;
use geoseal_support::key_service::{Ask, is_given};
use rcgen::{ExtendedKeyUsagePurpose, SerialNumber};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a link answers to who comes as `config` says: the bytes of an answer, or why not.
fn knock(address: SocketAddr, config: Arc<ClientConfig>, asked: Ask) -> std::io::Result<Vec<u8>> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let name = ServerName::IpAddress(address.ip().into());
    let tls = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    asked.over(&mut StreamOwned::new(tls, socket))
}

/// A server that goes to `address` with `own`, and trusts `authority`.
fn server_of(address: &str, authority: &Authority, own: &Issued, lease_s: u32) -> Daemon {
    let daemon = server_with(&format!(
        "url = \"tls://{address}\"\nca_file = \"keys-ca.pem\"\ncert_file = \"own.pem\"\nkey_file = \"own-key.pem\"\n\
         lease_s = {lease_s}"
    ));
    install(&daemon.dir(), "own", own);
    std::fs::write(daemon.dir().join("keys-ca.pem"), &authority.pem).expect("our own directory");
    daemon
}

fn only_for(usage: ExtendedKeyUsagePurpose) -> impl FnOnce(&mut rcgen::CertificateParams) {
    move |params| params.extended_key_usages = vec![usage]
}

#[test]
fn t05_the_key_service_answers_only_certificates_that_hold() {
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let serial = |number: u64| {
        move |params: &mut rcgen::CertificateParams| params.serial_number = Some(SerialNumber::from(number))
    };
    let keys = over_tls(&ours.issue(|_| {}), &ours, Some(&ours.revoke(&[7])));
    let good = ours.issue(serial(8));
    let as_client = |certificate: Option<&Issued>| client_of(&ours, certificate, &[&TLS13]);
    let answered = || is_given(&knock(keys.tls(), as_client(Some(&good)), Ask::Hello).expect("an answer"));
    assert!(answered());
    let refused = [
        ("no certificate", as_client(None)),
        ("another authority's", as_client(Some(&other.issue(serial(9))))),
        ("an expired one", as_client(Some(&ours.issue(expired)))),
        ("a revoked one", as_client(Some(&ours.issue(serial(7))))),
        ("one for servers only", as_client(Some(&ours.issue(only_for(ExtendedKeyUsagePurpose::ServerAuth))))),
        ("TLS 1.2", client_of(&ours, Some(&good), &[&TLS12])),
    ];
    for (what, config) in refused {
        for asked in [Ask::Hello, Ask::Lease([1; 16])] {
            let answer = knock(keys.tls(), config.clone(), asked);
            assert!(answer.is_err(), "{what} was answered with {} bytes", answer.map_or(0, |bytes| bytes.len()));
        }
    }
    // Neither plain bytes nor silence holds up anybody else.
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(keys.tls()).expect("it listens")).collect();
    assert!(Ask::Hello.over(&mut TcpStream::connect(keys.tls()).expect("it listens")).is_err(), "in the clear");
    assert!(answered());
    drop(silent);
    until("a refusal is logged", || keys.log().contains("a link was refused"));
}

/// Looks like a key service, and counts the bytes that anybody entrusts to it.
struct Impostor {
    address: SocketAddr,
    entrusted: Arc<AtomicUsize>,
    met: Arc<AtomicUsize>,
}

impl Impostor {
    fn new(shows: &Issued, version: &'static rustls::SupportedProtocolVersion) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        let config = config.expect("ring speaks it").with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![shows.der()], shows.key_der()).expect("a pair"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (entrusted, met): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let (count, seen) = (entrusted.clone(), met.clone());
        std::thread::spawn(move || {
            for mut tcp in listener.incoming().filter_map(Result::ok) {
                let mut tls = rustls::ServerConnection::new(config.clone()).expect("good settings");
                let mut buffer = [0; 1024];
                while let Ok(some) = rustls::Stream::new(&mut tls, &mut tcp).read(&mut buffer) {
                    if some == 0 {
                        break;
                    }
                    count.fetch_add(some, Ordering::SeqCst);
                }
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, entrusted, met }
    }
}

/// Each of these looks like a key service, and none is entrusted with a byte: the server listens and waits.
#[test]
fn t05_t06_the_server_talks_to_its_key_service_and_to_nobody_else() {
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let own = ours.issue(only_for(ExtendedKeyUsagePurpose::ClientAuth));
    let names = |names: &'static [&'static str]| {
        move |params: &mut rcgen::CertificateParams| {
            let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            params.subject_alt_names = rcgen::CertificateParams::new(names).expect("good names").subject_alt_names;
        }
    };
    let true_one = over_tls(&ours.issue(|_| {}), &ours, None);
    let link = Link::new(true_one.tls());
    // The link's address is in the server's settings for good; what stands behind it changes.
    let mut daemon = server_of(&link.socket().to_string(), &ours, &own, 3);
    let impostors = [
        ("another name", Impostor::new(&ours.issue(names(&["keys.example"])), &TLS13)),
        ("another authority", Impostor::new(&other.issue(|_| {}), &TLS13)),
        ("expired", Impostor::new(&ours.issue(expired), &TLS13)),
        ("for clients only", Impostor::new(&ours.issue(only_for(ExtendedKeyUsagePurpose::ClientAuth)), &TLS13)),
        ("TLS 1.2", Impostor::new(&ours.issue(|_| {}), &TLS12)),
    ];
    link.lead_to(impostors[0].1.address);
    daemon.serve_without_keys();
    for (what, impostor) in &impostors {
        link.lead_to(impostor.address);
        until("it was met twice", || impostor.met.load(Ordering::SeqCst) >= 2);
        assert_eq!(impostor.entrusted.load(Ordering::SeqCst), 0, "{what}: it was talked to");
        assert_eq!(admin(&daemon, "/readyz").status, 503, "{what}");
    }
    // The same without a fault is talked to: what was refused above was refused for what it showed.
    let plausible = Impostor::new(&ours.issue(|_| {}), &TLS13);
    link.lead_to(plausible.address);
    until("it was talked to", || plausible.entrusted.load(Ordering::SeqCst) > 0);
    link.lead_to(true_one.tls());
    until("it serves by itself", || admin(&daemon, "/readyz").status == 200);
    let who = daemon.tenant("acme");
    make_bucket(&daemon, &who);
    assert_eq!(put(&daemon, &who, "kept", b"kept").status, 200);
    let tenant = tenant_id(&daemon, "acme");

    // Somebody steps between them: he learns no key, gives none, and cannot end a lease early, only late.
    assert_eq!(get(&daemon, &who, "kept").status, 200);
    link.lead_to(impostors[1].1.address);
    let away = loop {
        let answer = get(&daemon, &who, "kept");
        if answer.status != 200 {
            break answer;
        }
    };
    assert!(is_away(&away), "{} {}", away.status, away.code());
    // K-03: suspended meanwhile, where the server cannot hear it. The end of the lease bounded that.
    let direct = client_of(&ours, Some(&own), &[&TLS13]);
    assert!(is_given(&knock(true_one.tls(), direct.clone(), Ask::Suspend(tenant)).expect("an answer")));
    assert!(is_away(&get(&daemon, &who, "kept")));
    assert_eq!(impostors[1].1.entrusted.load(Ordering::SeqCst), 0, "and is entrusted with nothing");
    link.lead_to(true_one.tls());
    until("it hears of it", || get(&daemon, &who, "kept").code() == "KMS.DisabledException");
    assert!(is_given(&knock(true_one.tls(), direct, Ask::Resume(tenant)).expect("an answer")));
    until("it recovers alone", || get(&daemon, &who, "kept").body == b"kept");
}
