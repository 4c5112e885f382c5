//! `geoseal init`, then `geoseal serve`: from nothing to an object that is still there after a restart; and what both of
//! them refuse. Source: threats A-17, K-17.

use geoseal_support::{
    daemon::Daemon,
    signer::{Body, Credentials, Request},
    wire::{Response, Wire, client_config},
};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

fn call(daemon: &Daemon, who: &Credentials, request: Request) -> Response {
    let config = client_config(&daemon.authority(), &[&rustls::version::TLS13]);
    let mut wire = Wire::connect(daemon.s3(), config).expect("the S3 listener accepts");
    wire.exchange(&request.signed(who, &daemon.s3().to_string(), Body::Hashed)).expect("an answer")
}

/// Every file under `dir`: its mode and content.
fn files(dir: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            found.insert(path.strip_prefix(dir).unwrap().display().to_string(), (mode, fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn from_nothing_to_an_object_that_outlives_a_restart() {
    let mut daemon = Daemon::prepare();
    let made = files(&daemon.dir());
    for secret in ["secrets/admin-token", "tls/ca-key.pem", "tls/server-key.pem"] {
        assert_eq!(made[secret].0, 0o600, "{secret}");
    }
    assert!(!made.contains_key("secrets/passphrase"), "the passphrase stays where it was");
    let settings = String::from_utf8(made["geoseal.toml"].1.clone()).unwrap();
    assert!(!settings.contains("correct horse"), "no secret stands in the settings");

    daemon.serve();
    let login = daemon.tenant("contoso");
    assert_eq!(call(&daemon, &login, Request::new("PUT", "/letters")).status, 200);
    assert_eq!(call(&daemon, &login, Request::new("PUT", "/letters/one").body("first")).status, 200);
    assert_eq!(daemon.terminate().code(), Some(0));
    daemon.serve();
    let back = call(&daemon, &login, Request::new("GET", "/letters/one"));
    assert_eq!((back.status, back.text().as_str()), (200, "first"));
    let log = daemon.log();
    assert!(!log.contains("correct horse") && !log.contains(&daemon.admin_token()) && !log.contains(&login.secret));
}

#[test]
fn a_second_init_overwrites_nothing() {
    let daemon = Daemon::prepare();
    let before = files(&daemon.dir());
    let passphrase = daemon.secret("another", "a passphrase of somebody else");
    let init = |dir: &Path| {
        let (dir, passphrase) = (dir.to_str().unwrap(), passphrase.to_str().unwrap());
        daemon.run(&["init", dir, "--region", "japaneast", "--host", "h.example", "--passphrase-file", passphrase])
    };
    let refused = init(&daemon.dir());
    assert_eq!(refused.code(), Some(2));
    assert!(refused.stderr().contains("not empty"), "{}", refused.stderr());
    assert!(files(&daemon.dir()) == before, "nothing was touched");
    let thesis = daemon.home().join("thesis");
    fs::create_dir(&thesis).unwrap();
    fs::write(thesis.join("thesis.tex"), "years of work").unwrap();
    assert_eq!(init(&thesis).code(), Some(2));
    assert_eq!(files(&thesis).len(), 1);
}

#[test]
fn init_assumes_no_region_no_host_and_no_secret() {
    let daemon = Daemon::prepare();
    let dir = daemon.home().join("new");
    let good = daemon.secret("good", "correct horse battery staple");
    let (dir_text, good) = (dir.to_str().unwrap(), good.to_str().unwrap());
    let refused = |what: &str, flags: &[&str], says: &str| {
        let ran = daemon.run(&[&["init", dir_text], flags].concat());
        assert_eq!(ran.code(), Some(2), "{what}: {}", ran.stderr());
        assert!(ran.stderr().contains(says), "{what}: {}", ran.stderr());
        assert!(!dir.exists(), "{what}: nothing is left behind");
    };
    refused("no region", &["--host", "h", "--passphrase-file", good], "--region");
    refused("no host", &["--region", "eastus", "--passphrase-file", good], "--host");
    refused("no secret, no terminal", &["--region", "eastus", "--host", "h"], "--passphrase-file");
    let unknown = ["--region", "us-east-1", "--host", "h", "--passphrase-file", good];
    refused("unknown region", &unknown, "valid: westeurope, northeurope, eastus");
    for (what, weak) in [("empty", ""), ("short", "changeme"), ("plain", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")] {
        let file = daemon.secret("weak", weak);
        let flags = ["--region", "eastus", "--host", "h", "--passphrase-file", file.to_str().unwrap()];
        refused(what, &flags, "too short or too plain");
    }
    let readable = daemon.secret("readable", "correct horse battery staple");
    fs::set_permissions(&readable, fs::Permissions::from_mode(0o644)).unwrap();
    let flags = ["--region", "eastus", "--host", "h", "--passphrase-file", readable.to_str().unwrap()];
    refused("readable by all", &flags, "others may read it");
}

/// each of these stops the start, and the message says what to mend, and never what a secret was.
#[test]
fn serve_refuses_what_is_unknown_missing_or_weak() {
    let mut daemon = Daemon::prepare();
    let good = fs::read_to_string(daemon.config()).unwrap();
    let without = |line: &str| {
        let kept: Vec<_> = good.lines().filter(|l| !l.starts_with(line)).collect();
        assert!(kept.len() < good.lines().count(), "{line} stands in the settings");
        kept.join("\n")
    };
    let token = |name: &str, content: &str| {
        let file = daemon.secret(name, content);
        let line = good.lines().find(|l| l.starts_with("token_file")).unwrap();
        good.replace(line, &format!("token_file = {:?}", file.display().to_string()))
    };
    let readable = token("readable-token", &"0123456789abcdef".repeat(4));
    fs::set_permissions(daemon.home().join("readable-token"), fs::Permissions::from_mode(0o604)).unwrap();
    let no_regions = good.replace("[[regions]]\nid = \"westeurope\"\nblobs = \"local\"\n", "");
    let cases: Vec<(String, &str)> = vec![
        (format!("default_region = \"eastus\"\n{good}"), "unknown field `default_region`"),
        (good.replace("[s3]", "[s3]\nplaintext = true"), "unknown field `plaintext`"),
        (good.replace("[admin]", "[admin]\nanonymous = true"), "unknown field `anonymous`"),
        (format!("{good}\n[limits]\nhandshake = 0\n"), "unknown field `handshake`"),
        (good.replace("\"westeurope\"", "\"us-east-1\""), "unknown region"),
        (no_regions.clone(), "missing field `regions`"),
        (format!("regions = []\n{no_regions}"), "there is no default"),
        (without("blobs"), "missing field `blobs`"),
        (without("passphrase_file"), "there is no default"),
        (without("token_file"), "missing field `token_file`"),
        (without("data_dir"), "missing field `data_dir`"),
        (token("empty-token", ""), "too short or too plain"),
        (token("default-token", "admin"), "too short or too plain"),
        (token("plain-token", &"a".repeat(64)), "too short or too plain"),
        (readable, "others may read it"),
        (good.replace("secrets/admin-token", "secrets/no-such-token"), "No such file"),
        (good.replace("tls/server.pem", "tls/no-such.pem"), "No such file"),
        (format!("sweep_interval_s = 86401\n{good}"), "within a day"),
        (format!("sweep_interval_s = 0\n{good}"), "sweep_interval_s"),
        (format!("{good}\n[limits]\nheader_s = 0\n"), "no deadline can be switched off"),
        (format!("{good}\n[limits]\nconnections_max = 0\n"), "connections_max"),
        (good.replace("127.0.0.1:0", "127.0.0.1:9000"), "give them two ports"),
        ("this is not TOML".into(), "expected"),
        (String::new(), "missing field"),
    ];
    for (settings, says) in cases {
        daemon.edit(|_| settings.clone());
        let ran = daemon.refused(&[]);
        assert_eq!(ran.code(), Some(1), "{says}\n{}\n{settings}", ran.stderr());
        assert!(ran.stderr().contains(says), "{says}:\n{}", ran.stderr());
        for secret in ["aaaaaaaa", "0123456789abcdef", "correct horse"] {
            assert!(!ran.stderr().contains(secret), "{says}: a message repeats a secret");
        }
    }
    daemon.edit(|_| good.clone());
    daemon.serve();
}

/// A secret that somebody put into the settings themselves is refused, and not shown to whoever reads the journal.
#[test]
fn a_secret_in_the_settings_is_refused_and_not_repeated() {
    let daemon = Daemon::prepare();
    daemon.edit(|good| good.replace("[keyring]", "[keyring]\npassphrase = \"hunter2 hunter2\""));
    let ran = daemon.refused(&[]);
    assert_eq!(ran.code(), Some(1));
    let line = 1 + fs::read_to_string(daemon.config()).unwrap().lines().position(|l| l.contains("hunter2")).unwrap();
    assert!(ran.stderr().contains(&format!("line {line}: unknown field `passphrase`")), "{}", ran.stderr());
    assert!(!ran.stderr().contains("hunter2"), "{}", ran.stderr());
}

/// K-17: a keyring that does not open stops the start; it is never made anew over what it sealed.
#[test]
fn serve_refuses_a_keyring_that_does_not_open() {
    let mut daemon = Daemon::start();
    daemon.tenant("contoso");
    daemon.terminate();
    let keyring = daemon.dir().join("data/geo/europe/keyring");
    let sealed = fs::read(&keyring).unwrap();
    daemon.secret("passphrase", "incorrect horse battery staple\n");
    let wrong = daemon.refused(&[]);
    assert_eq!(wrong.code(), Some(1));
    assert!(wrong.stderr().contains("keys of europe"), "{}", wrong.stderr());
    daemon.secret("passphrase", "correct horse battery staple\n");
    let mut flipped = sealed.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (what, content) in [("flipped", flipped), ("cut", sealed[..sealed.len() - 1].to_vec()), ("empty", vec![])] {
        fs::write(&keyring, content).unwrap();
        let ran = daemon.refused(&[]);
        assert_eq!(ran.code(), Some(1), "{what}");
        assert!(ran.stderr().contains("keys of europe"), "{what}: {}", ran.stderr());
    }
    fs::remove_file(&keyring).unwrap();
    assert_eq!(daemon.refused(&[]).code(), Some(1));
    assert!(!keyring.exists(), "a lost keyring is not replaced");
    fs::write(&keyring, sealed).unwrap();
    daemon.serve();
    assert_eq!(daemon.geoseal(&["tenant", "show", "contoso", "--json"]).json()["state"], "ACTIVE");
}
