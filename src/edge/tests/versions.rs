//! T-01, T-02, T-03: which handshakes pass.

use super::rig::{Rig, short};
use crate::edge::Refusal;
use rustls::SupportedCipherSuite;
use rustls::version::{TLS12, TLS13};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// `openssl s_client`, which still speaks what we must refuse. SECLEVEL=0 lets it offer that at all.
async fn openssl(rig: &Rig, extra: &[&str]) -> Output {
    let mut command = Command::new(geoseal_support::tools::tools().openssl());
    command
        .args(["s_client", "-connect", &rig.address.to_string(), "-servername", "localhost", "-legacy_renegotiation"])
        .args(extra)
        .stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn t_01_openssl_gets_in_with_1_2_and_1_3_only() {
    let rig = Rig::start(short()).await;
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = text(&openssl(&rig, &[version]).await);
        assert!(said.contains(&format!("New, {name}, Cipher is ")), "{said}");
        assert!(!said.contains("(NONE)"), "{said}");
    }
    let refused = rig.meters.refused(Refusal::Handshake);
    for old in ["-tls1", "-tls1_1"] {
        let said = text(&openssl(&rig, &[old, "-cipher", "ALL:@SECLEVEL=0"]).await);
        // The server's word, not the client's own refusal to try.
        assert!(said.contains("SSL alert number") && said.contains("Cipher is (NONE)"), "{old}: {said}");
    }
    for weak in ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256", "AES256-SHA"] {
        let said = text(&openssl(&rig, &["-tls1_2", "-cipher", &format!("{weak}:@SECLEVEL=0")]).await);
        assert!(said.contains("alert handshake failure"), "{weak}: {said}");
    }
    assert_eq!(rig.meters.refused(Refusal::Handshake), refused + 6);
}

/// SSL 2 and 3 are not in any client any more: the bytes themselves.
#[tokio::test]
async fn t_01_ssl_2_and_3_are_refused() {
    let rig = Rig::start(short()).await;
    let mut ssl3 = vec![0x16, 3, 0, 0, 45, 1, 0, 0, 41, 3, 0];
    ssl3.extend([7; 32]);
    ssl3.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let ssl2 = [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat();
    for hello in [ssl3, ssl2] {
        let mut tcp = rig.tcp().await;
        tcp.write_all(&hello).await.unwrap();
        let mut said = Vec::new();
        _ = tcp.read_to_end(&mut said).await;
        // An alert record at most; never a ServerHello.
        assert!(said.is_empty() || (said[0] == 0x15 && said.len() == 7), "{said:?}");
    }
    assert_eq!(rig.seen(), 0);
}

#[tokio::test]
async fn every_suite_we_offer_works_and_is_aead_with_forward_secrecy() {
    let rig = Rig::start(short()).await;
    let provider = rustls::crypto::ring::default_provider();
    for suite in provider.cipher_suites.clone() {
        let name = format!("{:?}", suite.suite());
        let version = if matches!(suite, SupportedCipherSuite::Tls13(_)) { &TLS13 } else { &TLS12 };
        assert!(name.contains("GCM") || name.contains("CHACHA20"), "{name}");
        assert!(version == &TLS13 || name.contains("ECDHE"), "{name}");
        if name.contains("_RSA_") {
            continue; // the certificate of the rig is ECDSA
        }
        let only = rustls::crypto::CryptoProvider { cipher_suites: vec![suite], ..provider.clone() };
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(only))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(rig.authority.roots())
            .with_no_client_auth();
        let tls = rig.connect_as(config).await.unwrap();
        assert_eq!(tls.get_ref().1.negotiated_cipher_suite().unwrap().suite(), suite.suite());
    }
}

#[tokio::test]
async fn t_02_plaintext_is_closed_without_a_byte() {
    let rig = Rig::start(short()).await;
    let plain = ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "PUT /a/b HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\n", "\n"];
    for bytes in plain {
        let mut tcp = rig.tcp().await;
        tcp.write_all(bytes.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        let closed = tokio::time::timeout(Duration::from_millis(300), tcp.read_to_end(&mut said)).await;
        assert!(closed.is_ok() && said.is_empty(), "{bytes:?} was answered with {said:?}");
    }
    assert_eq!((rig.meters.refused(Refusal::NotTls), rig.seen()), (plain.len() as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn t_03_no_early_data_no_renegotiation_no_compression_no_h2() {
    let rig = Rig::start(short()).await;
    let session = rig.file("session.pem");
    let session = session.to_str().unwrap();
    let said = text(&openssl(&rig, &["-tls1_3", "-sess_out", session, "-alpn", "h2,http/1.1", "-comp"]).await);
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    assert!(said.contains("Compression: NONE"), "{said}");
    let said = text(&openssl(&rig, &["-tls1_2", "-comp"]).await);
    assert!(said.contains("Compression: NONE") && said.contains("Extended master secret: yes"), "{said}");

    // A ticket that forbids early data: the client may not even try.
    let mut config = rig.client();
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..2 {
        let mut tls = tokio_rustls::TlsConnector::from(config.clone())
            .connect("localhost".try_into().unwrap(), rig.tcp().await)
            .await
            .unwrap();
        assert!(!tls.get_ref().1.is_early_data_accepted());
        tls.write_all(super::rig::GET.as_bytes()).await.unwrap();
        super::rig::read_to_close(&mut tls).await;
    }
    let mut second = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    assert!(second.early_data().is_none(), "the server's tickets allow early data");

    // Renegotiation on 1.2: "R" asks s_client for it.
    let mut renegotiate = Command::new(geoseal_support::tools::tools().openssl())
        .args(["s_client", "-connect", &rig.address.to_string(), "-tls1_2", "-legacy_renegotiation"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    std::io::Write::write_all(renegotiate.stdin.as_mut().unwrap(), b"R\n").unwrap();
    let said = tokio::task::spawn_blocking(move || renegotiate.wait_with_output().unwrap()).await.unwrap();
    let said = text(&said);
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
}
