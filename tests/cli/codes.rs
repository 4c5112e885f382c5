//! One exit code for each kind of end, the same for every command. Source: docs/cli.md, "Exit codes".

use super::{code, consent, create};
use geoseal_support::{
    clients::Ran,
    server::{Server, binary},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

#[test]
fn each_kind_of_end_has_its_code() {
    let server = Server::shared();
    let terms = consent(server);
    create(server, "codes").ok();
    let terminate = ["tenant", "terminate", "codes", "--reason", "r"];
    let cases: Vec<(u8, &str, Vec<&str>)> = vec![
        // 2: the command was wrong.
        (2, "", vec!["tenant"]),
        (2, "", vec!["tenant", "destroy", "codes"]),
        (2, "", vec!["tenant", "create", "x"]),
        (
            2,
            "BadField",
            vec!["tenant", "create", "Not A Name", "--geo", "europe", "--home", "westeurope", "--consent", &terms],
        ),
        (2, "Usage", terminate.to_vec()),
        (2, "ConfirmMismatch", [&terminate[..], &["--confirm", "demo"]].concat()),
        (2, "ConfirmMismatch", [&terminate[..], &["--confirm", "CODES"]].concat()),
        (2, "Usage", vec!["credential", "revoke", "GSNOBODY", "--tenant", "codes"]),
        (2, "UnknownGeo", vec!["key", "rotate", "master", "--geo", "atlantis"]),
        (2, "Usage", vec!["tenant", "reinstate", "codes", "--consent", "/dev/null"]),
        // 3: there is no such thing.
        (3, "NoSuchTenant", vec!["tenant", "show", "nobody"]),
        (3, "NoSuchTenant", vec!["credential", "create", "--tenant", "nobody"]),
        (3, "NoSuchTenant", vec!["key", "rotate", "tenant", "nobody"]),
        (3, "NoSuchCredential", vec!["credential", "revoke", "GSNOBODY", "--tenant", "codes", "--yes"]),
        (3, "NoCertificate", vec!["certificate", "get", "codes"]),
        // 4: its state does not allow it.
        (
            4,
            "NameTaken",
            vec!["tenant", "create", "codes", "--geo", "europe", "--home", "westeurope", "--consent", &terms],
        ),
        (4, "WrongState", vec!["tenant", "reinstate", "codes", "--consent", &terms]),
        (4, "ClockIsReal", vec!["dev", "clock", "advance", "1d"]),
        // 5: denied.
        (5, "ConsentRequired", vec!["tenant", "create", "unasked", "--geo", "europe", "--home", "westeurope"]),
    ];
    for (expected, problem, arguments) in cases {
        let ran = server.geoseal(&[&arguments[..], &["--json"]].concat());
        assert_eq!(ran.code(), Some(i32::from(expected)), "{arguments:?}\n{}", ran.stderr());
        assert!(!ran.stderr().is_empty(), "{arguments:?}: people are told, too");
        if !problem.is_empty() {
            assert_eq!(code(&ran), problem, "{arguments:?}");
        }
        let ran = server.geoseal(&arguments);
        assert_eq!((ran.code(), ran.stdout().as_str()), (Some(i32::from(expected)), ""), "{arguments:?}");
    }
    let shown = server.geoseal(&["tenant", "show", "codes", "--json"]).json();
    assert_eq!(shown["state"], "ACTIVE", "nobody was terminated");
    assert_eq!(server.geoseal(&["tenant", "show", "unasked"]).code(), Some(3));
}

#[test]
fn one_is_for_what_is_not_in_order() {
    let server = Server::shared();
    let file = server.home().join("no-certificate.json");
    let key = "ab".repeat(32);
    for content in ["not JSON", "{}", "{\"certificate\":{\"geo\":\"europe\"},\"signature\":{}}"] {
        fs::write(&file, content).unwrap();
        let flags = ["certificate", "verify", file.to_str().unwrap(), "--log-key", &key];
        assert_eq!(server.geoseal(&flags).code(), Some(1), "{content}");
    }
    let online = server.geoseal(&["certificate", "verify", file.to_str().unwrap()]);
    assert_eq!(online.code(), Some(1));
    assert!(online.stdout().contains("NOT VALID") && online.stdout().contains("taken from"), "{}", online.stdout());
}

/// `geoseal tenant show contoso` with this way to the server.
fn show(url: &str, token: &str, ca: &str) -> Ran {
    let mut command = Command::new(binary());
    command.args(["tenant", "show", "contoso", "--json", "--admin-url", url, "--admin-token-file", token, "--ca", ca]);
    Ran::of(command.stdin(Stdio::null()))
}

#[test]
fn five_is_denied_and_six_is_out_of_reach() {
    let server = Server::shared();
    let (url, ca) = (server.variable("GEOSEAL_ADMIN_URL"), server.variable("GEOSEAL_CA"));
    let token = server.variable("GEOSEAL_ADMIN_TOKEN_FILE");
    let wrong = server.home().join("wrong-token");
    fs::write(&wrong, "f".repeat(64)).unwrap();
    let denied = show(url, wrong.to_str().unwrap(), ca);
    assert_eq!((denied.code(), code(&denied).as_str()), (Some(5), "Unauthenticated"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = show(&format!("https://{free}"), token, ca);
    assert_eq!((nobody.code(), code(&nobody).as_str()), (Some(6), "Unreachable"));
    // Another authority than the server's: the token must not have left.
    let other = server.home().join("other-ca.pem");
    let key = KeyPair::generate().unwrap();
    fs::write(&other, CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem()).unwrap();
    assert_eq!(show(url, token, other.to_str().unwrap()).code(), Some(6));
    assert_eq!(show(&url.replace("https", "http"), token, ca).code(), Some(2), "never in the clear");
    assert_eq!(show(url, "/no/such/file", ca).code(), Some(2));
}

/// No release of this server places holds yet, so a stand-in answers as one that does.
#[test]
fn seven_is_a_hold() {
    let home = geoseal_support::tools::scratch();
    let (ca, token) = (home.path().join("ca.pem"), home.path().join("token"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
    fs::write(&ca, certificate.pem()).unwrap();
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config =
        Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let stand_in = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tls.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let body = r#"{"status":409,"code":"PurgeHeld","detail":"a hold stands in the way","holds":["M-9"]}"#;
        let head = format!("HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        tls.write_all(format!("{head}{body}").as_bytes()).unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
    });
    let held = show(&url, token.to_str().unwrap(), ca.to_str().unwrap());
    stand_in.join().unwrap();
    assert_eq!((held.code(), code(&held).as_str()), (Some(7), "PurgeHeld"));
    assert!(held.stderr().contains("holds: M-9"), "{}", held.stderr());
}
