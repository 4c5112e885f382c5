//! The shipped binary with its master keys in each of the places where they can be: `init` by flags, an upload, a restart,
//! a rotation, another restart; what it says when the keeper is not well; and that no secret of the keeper's shows.

use geoseal_support::daemon::{Daemon, REGION};
use geoseal_support::keepers::{Kms, Link, OpenBao, PIN, SoftHsm, Tpm, secret};
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire, client_config};
use std::path::Path;

const BUCKET: &str = "records";

/// One S3 request on a connection of its own.
fn ask(daemon: &Daemon, who: &Credentials, method: &str, path: &str, body: &[u8]) -> Response {
    let config = client_config(&daemon.authority(), rustls::ALL_VERSIONS);
    let mut wire = Wire::connect(daemon.s3(), config).expect("it listens");
    let host = wire.host().to_owned();
    let request = Request::new(method, path).body(body.to_vec()).signed(who, &host, Body::Hashed);
    wire.exchange(&request).expect("it answers")
}

fn put(daemon: &Daemon, who: &Credentials, name: &str) {
    let answer = ask(daemon, who, "PUT", &object_path(BUCKET, name), name.repeat(1000).as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn reads_back(daemon: &Daemon, who: &Credentials, name: &str) {
    let answer = ask(daemon, who, "GET", &object_path(BUCKET, name), &[]);
    assert!(answer.status == 200 && answer.body == name.repeat(1000).as_bytes(), "{name}: {}", answer.text());
}

/// Prepared by flags, started, with a tenant and its bucket.
fn started(flags: &[&str], variables: &[(&str, &Path)]) -> (Daemon, Credentials) {
    let mut daemon = Daemon::bare(variables);
    daemon.init(&[REGION], flags).ok();
    daemon.serve();
    let who = daemon.tenant("acme");
    let made = ask(&daemon, &who, "PUT", &format!("/{BUCKET}"), &[]);
    assert_eq!(made.status, 200, "{}", made.text());
    (daemon, who)
}

/// A life with the master keys elsewhere.
fn lives(mut daemon: Daemon, who: &Credentials, provider: &str, secrets: &[&str]) {
    put(&daemon, who, "before");
    reads_back(&daemon, who, "before");
    assert!(daemon.terminate().success());
    daemon.serve();
    reads_back(&daemon, who, "before");
    daemon.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    put(&daemon, who, "after");
    assert!(daemon.terminate().success());
    daemon.serve();
    for name in ["before", "after"] {
        reads_back(&daemon, who, name);
    }
    let status = daemon.geoseal(&["key", "status", "--json"]).json();
    assert_eq!(status["geos"][0]["provider"], provider, "{status}");
    let masters = status["geos"][0]["master"].as_array().expect("versions").clone();
    assert_eq!(masters.len(), 2, "{status}");
    for master in &masters {
        assert_eq!(master["records"] != 0, master["state"] == "current", "{status}");
    }
    let shown = [daemon.log(), std::fs::read_to_string(daemon.config()).expect("init wrote it")].concat();
    for secret in secrets {
        assert!(!shown.contains(secret), "a secret is in the log or in the settings");
    }
    assert!(!daemon.dir().join("data/geo/europe/keyring").exists(), "there is no keyring of our own");
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

fn hsm_flags(hsm: &SoftHsm) -> Vec<String> {
    let (module, pin) = (text(&hsm.module()), text(&hsm.pin_file()));
    let flags =
        ["--keyring", "pkcs11", "--pkcs11-module", &module, "--pkcs11-token", SoftHsm::TOKEN, "--pin-file", &pin];
    flags.map(str::to_owned).to_vec()
}

fn bao_flags(bao: &OpenBao, address: &str, token: &Path) -> Vec<String> {
    let (ca, token) = (text(&bao.ca_file()), text(token));
    let flags = ["--keyring", "transit", "--transit-address", address, "--token-file", &token, "--ca-file", &ca];
    flags.map(str::to_owned).to_vec()
}

fn kms_flags(kms: &Kms) -> Vec<String> {
    let (endpoint, credentials) = (kms.endpoint(), text(&kms.credentials_file()));
    let flags =
        ["--keyring", "aws-kms", "--kms-region", Kms::REGION, "--kms-endpoint", &endpoint, "--credentials-file"];
    flags.into_iter().chain([credentials.as_str()]).map(str::to_owned).collect()
}

fn borrowed(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[test]
fn master_keys_in_a_pkcs11_token() {
    let hsm = SoftHsm::new();
    let ledgers = hsm.home().join("ledgers");
    let mut flags = hsm_flags(&hsm);
    flags.extend(["--ledger-dir".to_owned(), text(&ledgers)]);
    let (daemon, who) = started(&borrowed(&flags), &[(SoftHsm::VARIABLE, &hsm.settings())]);
    assert!(ledgers.join("europe.ledger").exists(), "the ledger lies where it was told to");
    lives(daemon, &who, "PKCS#11", &[PIN]);
}

#[test]
fn master_keys_in_openbao() {
    let bao = OpenBao::start();
    let token = bao.token_file("1h");
    let (daemon, who) = started(&borrowed(&bao_flags(&bao, &bao.address(), &token)), &[]);
    lives(daemon, &who, "Vault Transit", &[&std::fs::read_to_string(&token).expect("our own file")]);
}

#[test]
fn master_keys_in_aws_kms() {
    let kms = Kms::start();
    let (daemon, who) = started(&borrowed(&kms_flags(&kms)), &[]);
    lives(daemon, &who, "AWS KMS", &["a-secret-of-this-test"]);
    assert!(kms.captured().iter().all(|request| request["signature"] == true));
}

fn recovers(daemon: &Daemon, who: &Credentials, name: &str) {
    let mended = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        ask(daemon, who, "GET", &object_path(BUCKET, name), &[]).status == 200
    });
    assert!(mended, "it recovers alone\n{}", daemon.log());
    reads_back(daemon, who, name);
}

#[test]
fn t06_k04_somebody_between_the_server_and_its_kms_means_503() {
    let (bao, impostor) = (OpenBao::start(), OpenBao::start());
    let link = Link::new(bao.socket());
    let address = format!("https://{}", link.socket());
    let (mut daemon, who) = started(&borrowed(&bao_flags(&bao, &address, &bao.token_file("1h"))), &[]);
    put(&daemon, &who, "kept");
    assert!(daemon.terminate().success());
    daemon.edit(|text| format!("{text}\n[keys]\nlease_s = 1\n"));
    daemon.serve();
    reads_back(&daemon, &who, "kept");

    link.lead_to(impostor.socket());
    let begun = std::time::Instant::now();
    let refused = loop {
        let answer = ask(&daemon, &who, "GET", &object_path(BUCKET, "kept"), &[]);
        if answer.status != 200 || begun.elapsed().as_secs() > 60 {
            break answer;
        }
    };
    assert_eq!(refused.status, 503, "when the lease has ended: {}", refused.code());
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    let consent = text(&daemon.secret("consent.txt", "We agree.\n"));
    let create = ["tenant", "create", "late", "--geo", "europe", "--home", REGION, "--consent", &consent, "--json"];
    let late = daemon.geoseal(&create);
    assert_eq!(late.code(), Some(6), "out of reach, which is 503: {}{}", late.stdout(), late.stderr());
    let told = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        daemon.log().contains("certificate is not trusted")
    });
    assert!(told, "{}", daemon.log());
    link.lead_to(bao.socket());
    recovers(&daemon, &who, "kept");

    assert!(daemon.terminate().success());
    link.lead_to(impostor.socket());
    daemon.serve_without_keys();
    let cold = ask(&daemon, &who, "GET", &object_path(BUCKET, "kept"), &[]);
    assert_eq!(cold.status, 503, "{}", cold.code());
    link.lead_to(bao.socket());
    recovers(&daemon, &who, "kept");
}

#[test]
fn k18_k19_a_start_says_what_is_wrong_with_the_keeper() {
    let hsm = SoftHsm::new();
    let mut daemon = Daemon::bare(&[(SoftHsm::VARIABLE, &hsm.settings())]);
    let another: Vec<_> = hsm_flags(&hsm)
        .iter()
        .map(|flag| if flag == SoftHsm::TOKEN { "another".to_owned() } else { flag.clone() })
        .collect();
    let missing = Daemon::bare(&[(SoftHsm::VARIABLE, &hsm.settings())]).init(&[REGION], &borrowed(&another)).refused();
    assert!(missing.contains("token is not present"), "{missing}");
    daemon.init(&[REGION], &borrowed(&hsm_flags(&hsm))).ok();
    daemon.serve();
    assert!(daemon.terminate().success());
    secret(&hsm.pin_file(), "00000");
    let start = daemon.refused(&[]).refused();
    assert!(start.contains("the PIN is wrong"), "{}", start);
    secret(&hsm.pin_file(), PIN);
    hsm.configure("slots.mechanisms = CKM_AES_KEY_GEN");
    let start = daemon.refused(&[]).refused();
    assert!(start.contains("CKM_AES_GCM"), "{}", start);
    hsm.configure("");
    daemon.edit(|text| text.replace("token = \"geoseal\"", "token = \"geoseal\"\naddress = \"https://vault\""));
    let start = daemon.refused(&[]).refused();
    assert!(start.contains("address is not for kind = \"pkcs11\""), "{}", start);
}

/// As systemd does it: the credential is opened into a directory before the service starts, and gone when it ends.
#[test]
fn a_keyring_bound_to_a_tpm_by_a_systemd_credential() {
    let passphrase = "a passphrase that only the TPM has\n";
    let tpm = Tpm::start();
    let sealed = tpm.seal("keyring", passphrase);
    let credentials = geoseal_support::tools::scratch();
    assert!(tpm.open("keyring", &sealed, credentials.path()));
    let mut daemon = Daemon::bare(&[("CREDENTIALS_DIRECTORY", credentials.path())]);
    daemon.init(&[REGION], &["--passphrase-file", &text(&credentials.path().join("keyring"))]).ok();
    let setting = |text: &str| text.lines().find(|line| line.starts_with("passphrase_file")).map(str::to_owned);
    daemon.edit(|text| {
        let old = setting(&text).expect("init wrote it");
        text.replace(&old, "passphrase_file = \"credential:keyring\"")
    });
    daemon.serve();
    let who = daemon.tenant("acme");
    assert_eq!(ask(&daemon, &who, "PUT", &format!("/{BUCKET}"), &[]).status, 200);
    put(&daemon, &who, "sealed");
    assert!(daemon.terminate().success());

    // Another machine with the same disks: its TPM does not open the credential, and without it there is no start.
    std::fs::remove_file(credentials.path().join("keyring")).expect("our own file");
    assert!(!Tpm::start().open("keyring", &sealed, credentials.path()));
    assert!(daemon.refused(&[]).refused().contains("keyring"));

    assert!(tpm.open("keyring", &sealed, credentials.path()));
    daemon.serve();
    reads_back(&daemon, &who, "sealed");
    assert!(daemon.terminate().success());
    daemon.edit(|text| text.replace("credential:keyring", "credential:../keyring"));
    assert!(daemon.refused(&[]).refused().contains("the name of a credential"));
}
