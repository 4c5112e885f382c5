//! T-04, T-05: certificates that change, and certificates of clients.

use super::rig::{Authority, GET, Rig, TODAY, install, read_to_close, short, today};
use crate::edge::{CertificateError, CertificateFiles, Certificates, ClientFiles, EdgeLimits, EdgeMeters, Reloaded};
use rcgen::{SerialNumber, date_time_ymd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

async fn serial(rig: &Rig) -> Vec<u8> {
    let tls = rig.connect().await;
    let leaf = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    parsed.raw_serial().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn t_04_a_swap_under_load_fails_no_handshake_and_a_broken_one_changes_nothing() {
    let rig = Arc::new(Rig::start(EdgeLimits::default()).await);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load = |_| {
        let (rig, stop, done) = (rig.clone(), stop.clone(), done.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert!(rig.ask(GET).await.starts_with("HTTP/1.1 200 "));
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let load: Vec<_> = (0..4).map(load).collect();
    let mut held = rig.connect().await;
    assert_eq!(rig.certificates.reload(), Reloaded::Unchanged);
    for n in 1..=5u64 {
        let (chain, key) = rig.authority.issue(|params| params.serial_number = Some(SerialNumber::from(n)));
        install(&rig.file("key.pem"), &key);
        install(&rig.file("chain.pem"), &chain);
        assert_eq!(rig.certificates.reload(), Reloaded::Swapped);
        assert_eq!(serial(&rig).await, [n as u8]);
        // The load goes on under each of them.
        let before = done.load(Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < before + 10 && load.iter().all(|task| !task.is_finished()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let (good, good_key) = (read(&rig, "chain.pem"), read(&rig, "key.pem"));
    let others = rig.authority.issue(|_| {});
    let expired = rig.authority.issue(|p| p.not_after = date_time_ymd(2026, 11, 19));
    let future = rig.authority.issue(|p| p.not_before = date_time_ymd(2026, 11, 22));
    let nameless = rig.authority.issue(|p| p.subject_alt_names.clear());
    let shuffled = format!("{good}{}", Authority::new("Somebody else").pem);
    let broken = [
        ("another key", good.as_str(), others.1.as_str()),
        ("expired", &expired.0, &expired.1),
        ("not yet valid", &future.0, &future.1),
        ("no host", &nameless.0, &nameless.1),
        ("chain out of order", &shuffled, &good_key),
        ("half a file", &good[..good.len() / 2], &good_key),
        ("empty", "", &good_key),
        ("no key", &good, &good),
    ];
    for (kept, (what, chain, key)) in (1..).zip(broken) {
        install(&rig.file("chain.pem"), chain);
        install(&rig.file("key.pem"), key);
        assert_eq!(rig.certificates.reload(), Reloaded::Kept, "{what}");
        assert_eq!(rig.certificates.reload(), Reloaded::Unchanged, "{what}: the alarm is raised once");
        assert_eq!((serial(&rig).await, rig.meters.reloads_kept()), (vec![5], kept), "{what}");
    }
    std::fs::remove_file(rig.file("key.pem")).unwrap();
    assert_eq!(rig.certificates.reload(), Reloaded::Kept);
    assert_eq!(rig.certificates.reload(), Reloaded::Unchanged);
    install(&rig.file("chain.pem"), &others.0);
    install(&rig.file("key.pem"), &others.1);
    assert_eq!(rig.certificates.reload(), Reloaded::Swapped);
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no request failed");
    }
    assert!(done.load(Ordering::Relaxed) >= 50);
    // A connection from before all of this goes on.
    held.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_to_close(&mut held).await.starts_with("HTTP/1.1 200 "));
}

fn read(rig: &Rig, name: &str) -> String {
    std::fs::read_to_string(rig.file(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_seen_by_looking_and_by_sighup() {
    let rig = Rig::start(short()).await;
    let mut n = 0;
    for every in [Duration::from_millis(20), Duration::from_secs(3600)] {
        let watching = tokio::spawn(rig.certificates.clone().watch(every, rig.drain.token()));
        n += 1;
        let (chain, key) = rig.authority.issue(|params| params.serial_number = Some(SerialNumber::from(n)));
        install(&rig.file("key.pem"), &key);
        install(&rig.file("chain.pem"), &chain);
        let deadline = Instant::now() + Duration::from_secs(10);
        while serial(&rig).await != [n as u8] {
            assert!(Instant::now() < deadline, "the new certificate is not served");
            if every > Duration::from_secs(1) && n == 2 {
                // The first loop has let the process' handler for SIGHUP be installed, so this cannot end the test.
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        watching.abort();
    }
}

#[tokio::test]
async fn a_listener_does_not_start_with_a_broken_certificate() {
    let (authority, dir) = (Authority::new("Test CA"), tempfile::tempdir().unwrap());
    let files =
        || CertificateFiles { chain: dir.path().join("chain.pem"), key: dir.path().join("key.pem"), clients: None };
    let load = || Certificates::load(files(), today(), EdgeMeters::default()).unwrap_err();
    assert!(matches!(load(), CertificateError::Read { .. }));
    let (chain, key) = authority.issue(|params| params.not_after = date_time_ymd(2026, 11, 1));
    install(&files().chain, &chain);
    install(&files().key, &key);
    let error = load();
    assert!(matches!(error, CertificateError::Dates { until, .. } if until < TODAY));
    assert!(error.to_string().contains("valid from 2026-01-01T00:00:00Z until 2026-11-01"), "{error}");
    install(&files().key, &authority.issue(|_| {}).1);
    install(&files().chain, &authority.issue(|_| {}).0);
    assert!(matches!(load(), CertificateError::OtherKey { .. }));
}

/// A client certificate is judged at rustls' own clock, so these dates are about the real today.
#[tokio::test]
async fn t_05_client_certificates() {
    let clients = Authority::new("Clients");
    let rig = Rig::start_with(short(), Some((&clients, &[66]))).await;
    let issue = |from: &Authority, serial: u64, until: i32| {
        from.issue(|params| {
            params.serial_number = Some(SerialNumber::from(serial));
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
        })
    };
    let ask = async |config| {
        let mut tls = rig.connect_as(config).await?;
        // In TLS 1.3 the client learns of the refusal with its first read.
        tls.write_all(GET.as_bytes()).await?;
        Ok::<_, std::io::Error>(read_to_close(&mut tls).await)
    };
    let good = issue(&clients, 7, 2040);
    let answer = ask(rig.client_with(&good)).await.unwrap();
    assert!(answer.ends_with("certificate: true"), "{answer}");
    let refused = [
        ("none", rig.client()),
        ("wrong authority", rig.client_with(&issue(&Authority::new("Clients"), 7, 2040))),
        ("expired", rig.client_with(&issue(&clients, 8, 2021))),
        ("revoked", rig.client_with(&issue(&clients, 66, 2040))),
    ];
    for (what, config) in refused {
        let answer = ask(config).await.unwrap_or_default();
        assert_eq!(answer, "", "{what} got an answer");
    }
    assert_eq!(rig.seen(), 1);
    // Revoked while we run: the next connection is refused, and there is no session to resume.
    let config = Arc::new(rig.client_with(&good));
    let again = async || {
        let tls = tokio_rustls::TlsConnector::from(config.clone());
        let mut tls = tls.connect("localhost".try_into().unwrap(), rig.tcp().await).await?;
        tls.write_all(GET.as_bytes()).await?;
        let answer = read_to_close(&mut tls).await;
        Ok::<_, std::io::Error>((answer, tls.get_ref().1.handshake_kind()))
    };
    for _ in 0..2 {
        let (answer, kind) = again().await.unwrap();
        assert!(answer.ends_with("certificate: true") && kind == Some(rustls::HandshakeKind::Full), "{kind:?}");
    }
    install(&rig.file("revoked.pem"), &clients.revoke(&[66, 7]));
    assert_eq!(rig.certificates.reload(), Reloaded::Swapped);
    assert_eq!(again().await.map(|(answer, _)| answer).unwrap_or_default(), "");
}

/// The public listener does resume: a new connection of the same client is cheap.
#[tokio::test]
async fn without_client_certificates_sessions_resume_over_a_swap() {
    let rig = Rig::start(short()).await;
    let config = Arc::new(rig.client());
    let kind = async || {
        let tls = tokio_rustls::TlsConnector::from(config.clone());
        let mut tls = tls.connect("localhost".try_into().unwrap(), rig.tcp().await).await.unwrap();
        tls.write_all(GET.as_bytes()).await.unwrap();
        read_to_close(&mut tls).await;
        tls.get_ref().1.handshake_kind()
    };
    assert_eq!(kind().await, Some(rustls::HandshakeKind::Full));
    assert_eq!(kind().await, Some(rustls::HandshakeKind::Resumed));
    let (chain, key) = rig.authority.issue(|_| {});
    install(&rig.file("key.pem"), &key);
    install(&rig.file("chain.pem"), &chain);
    assert_eq!(rig.certificates.reload(), Reloaded::Swapped);
    assert_eq!(kind().await, Some(rustls::HandshakeKind::Resumed));
}

#[test]
fn an_authority_file_without_certificates_is_refused() {
    let (authority, dir) = (Authority::new("Test CA"), tempfile::tempdir().unwrap());
    let path = |name: &str| dir.path().join(name);
    let (chain, key) = authority.issue(|_| {});
    install(&path("chain.pem"), &chain);
    install(&path("key.pem"), &key);
    install(&path("clients.pem"), "");
    let clients = Some(ClientFiles { authorities: path("clients.pem"), revoked: None });
    let files = CertificateFiles { chain: path("chain.pem"), key: path("key.pem"), clients };
    let error = Certificates::load(files, today(), EdgeMeters::default()).unwrap_err();
    assert!(matches!(error, CertificateError::Pem { expected: "certificates", .. }), "{error}");
}
