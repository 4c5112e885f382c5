//! T-01, T-02, T-03: what the listeners speak, and that they say nothing to anything else.

use super::hello::{Answer, Hello};
use geoseal_support::{clients::Ran, daemon::Daemon, signer::Request, tools::tools, wire::Wire};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    time::Duration,
};

/// One that these tests only look at.
fn daemon() -> &'static Daemon {
    static DAEMON: OnceLock<Daemon> = OnceLock::new();
    DAEMON.get_or_init(Daemon::start)
}

fn listeners() -> [SocketAddr; 2] {
    [daemon().s3(), daemon().admin()]
}

const SSL3: u16 = 0x0300;
const TLS10: u16 = 0x0301;
const TLS11: u16 = 0x0302;
const TLS12: u16 = 0x0303;
/// What a client of TLS 1.2 may speak with us: ECDHE, ECDSA, AEAD.
const GOOD: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];
/// ECDHE with CBC; RSA key exchange with AEAD and CBC; DHE; 3DES, RC4, export, NULL and anonymous ones.
const BAD: [u16; 29] = [
    0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0x009c, 0x009d, 0x002f, 0x0035, 0x003c, 0x003d,
    0x009e, 0x009f, 0x0033, 0x0039, 0xc008, 0xc012, 0x000a, 0x0005, 0xc007, 0xc011, 0x0003, 0x0001, 0x0002, 0x0018,
    0xc018,
];
/// Alerts that say "no": handshake_failure, illegal_parameter, protocol_version, insufficient_security.
const NO: [u8; 4] = [40, 47, 70, 71];

/// T-01. The control comes first: the same bytes with a good version and suite are answered.
#[test]
fn r46_old_versions_and_weak_suites_are_refused_on_both_listeners() {
    for address in listeners() {
        for suite in GOOD {
            let answer = Hello { version: TLS12, suites: &[suite], compressions: &[0] }.sent(address);
            assert_eq!(answer, Answer::Hello { version: TLS12, suite, compression: 0 });
        }
        let every: Vec<_> = BAD.into_iter().chain(GOOD).collect();
        for version in [SSL3, TLS10, TLS11] {
            let answer = Hello { version, suites: &every, compressions: &[0] }.sent(address);
            assert!(matches!(answer, Answer::Alert(why) if NO.contains(&why)), "{version:04x}: {answer:?}");
        }
        for suites in BAD.map(|suite| vec![suite]).into_iter().chain([BAD.to_vec()]) {
            let answer = Hello { version: TLS12, suites: &suites, compressions: &[0] }.sent(address);
            assert!(matches!(answer, Answer::Alert(why) if NO.contains(&why)), "{suites:04x?}: {answer:?}");
        }
    }
}

/// T-01 with a stock client, which verifies the certificate, too.
#[test]
fn r46_openssl_gets_through_with_1_2_and_1_3_only() {
    let ca = daemon().dir().join("tls/ca.pem");
    for address in listeners() {
        let ran = |flags: &[&str]| {
            let mut command = Command::new(tools().openssl());
            command.args(["s_client", "-connect", &address.to_string(), "-verify_return_error", "-brief", "-CAfile"]);
            Ran::of(command.arg(&ca).args(flags).stdin(Stdio::null()))
        };
        for (flag, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let run = ran(&[flag]);
            let said = run.ok() + &run.stderr();
            assert!(said.contains(name) && said.contains("Verification: OK"), "{said}");
        }
        for flag in ["-tls1", "-tls1_1"] {
            let said = ran(&[flag, "-cipher", "ALL:@SECLEVEL=0"]).refused();
            assert!(said.contains("alert"), "refused by the server, not by the client itself: {said}");
        }
        ran(&["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"]).refused();
    }
}

/// T-02. Whoever speaks HTTP in the clear, or anything else, is closed without a byte: no redirect, no error page.
#[test]
fn r46_what_is_not_tls_is_closed_without_an_answer() {
    let signed = Request::new("PUT", "/interactions/x").header("host", "localhost").body("secret").bytes();
    let greetings: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\r\n\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80",
        &signed,
    ];
    for address in listeners() {
        for greeting in greetings {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut answer = Vec::new();
            let read = socket.write_all(greeting).and_then(|()| socket.read_to_end(&mut answer));
            // Closed with our bytes unread shows as a reset; a timeout would mean that it was left open.
            let is_closed =
                read.map_or_else(|e| matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), |_| true);
            assert!(is_closed && answer.is_empty(), "{:?} got {answer:02x?}", String::from_utf8_lossy(greeting));
        }
    }
}

/// T-03.
#[test]
fn compression_is_never_chosen() {
    for address in listeners() {
        let both = Hello { version: TLS12, suites: &GOOD, compressions: &[1, 0] }.sent(address);
        assert!(matches!(both, Answer::Hello { compression: 0, .. }), "{both:?}");
        let only = Hello { version: TLS12, suites: &GOOD, compressions: &[1] }.sent(address);
        assert!(matches!(only, Answer::Alert(_)), "{only:?}");
    }
}

/// T-03. The second connection resumes the first one's session, and still may not send early data: a replayed request
/// would act twice.
#[test]
fn a_resumed_session_sends_no_early_data() {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&daemon().authority()).unwrap()).unwrap();
    for address in listeners() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
        let mut config = config.unwrap().with_root_certificates(roots.clone()).with_no_client_auth();
        config.enable_early_data = true;
        let config = Arc::new(config);
        let mut first = Wire::connect(address, config.clone()).unwrap();
        let request = Request::new("GET", "/healthz").header("host", &address.to_string());
        first.exchange(&request).unwrap();
        drop(first);
        let second = Wire::connect(address, config).unwrap();
        assert_eq!(second.session().handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(second.session().protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert!(!second.session().is_early_data_accepted());
        let mut third = second;
        assert!(third.exchange(&request).is_ok());
    }
    // The ticket itself says so: openssl prints what it allows.
    let mut command = Command::new(tools().openssl());
    command.args(["s_client", "-tls1_3", "-connect", &daemon().s3().to_string(), "-ign_eof"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let output = client.wait_with_output().unwrap();
    drop(stdin);
    let said = String::from_utf8_lossy(&output.stdout);
    let allowed: Vec<_> = said.lines().filter(|line| line.contains("Max Early Data")).collect();
    assert!(!allowed.is_empty() && allowed.iter().all(|line| line.ends_with(": 0")), "{allowed:?}");
}

/// T-03. `R` makes openssl's client ask for a renegotiation.
#[test]
fn renegotiation_is_refused() {
    for address in listeners() {
        let mut command = Command::new(tools().openssl());
        command.args(["s_client", "-tls1_2", "-connect", &address.to_string()]).stdin(Stdio::piped());
        let mut client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"R\n").unwrap();
        let output = client.wait_with_output().unwrap();
        drop(stdin);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(said.contains("RENEGOTIATING"), "{said}");
        assert!(said.contains("no renegotiation"), "{said}");
        assert!(!output.status.success());
    }
}
