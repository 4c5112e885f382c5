//! A server and the key service that it asks, as two processes.

use crate::edge::authority::{Authority, Issued};
use geoseal_support::daemon::Daemon;
use geoseal_support::key_service::KeyService;
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire, client_config};
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const BUCKET: &str = "records";
/// The table of a key service that listens on a Unix socket.
pub(super) const SOCKET: &str = "[socket]\npath = \"HOME/keys.sock\"";
/// Beyond what anything here needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that has `[keys]` instead of `[keyring]`; not started yet.
pub(super) fn server_with(keys: &str) -> Daemon {
    let daemon = Daemon::prepare();
    daemon.edit(|text| {
        let (before, rest) = text.split_once("[keyring]").expect("init wrote it");
        let (_, after) = rest.split_once("# Where S3 clients").expect("init wrote it");
        format!("{before}[keys]\n{keys}\n\n# Where S3 clients{after}")
    });
    daemon
}

/// A key service behind a Unix socket, a server that asks it under leases of `lease_s`, and a tenant with a bucket.
pub(super) fn over_a_socket(lease_s: u32) -> (KeyService, Daemon, Credentials) {
    over_a_socket_with("", "key_file = \"HOME/key\"", lease_s)
}

/// The same with more settings of the key service, and master keys elsewhere.
pub(super) fn over_a_socket_with(settings: &str, keyring: &str, lease_s: u32) -> (KeyService, Daemon, Credentials) {
    let mut keys = KeyService::prepare_with(settings, keyring, SOCKET);
    keys.serve();
    let mut daemon = server_with(&format!("socket = {:?}\nlease_s = {lease_s}", keys.socket()));
    daemon.serve();
    let who = daemon.tenant("acme");
    make_bucket(&daemon, &who);
    (keys, daemon, who)
}

pub(super) fn make_bucket(daemon: &Daemon, who: &Credentials) {
    let made = ask(daemon, who, "PUT", &format!("/{BUCKET}"), &[]);
    assert_eq!(made.status, 200, "{}", made.text());
}

/// Its certificates over mutual TLS: the authority of both sides, in files under `home`.
pub(super) fn install(home: &Path, name: &str, issued: &Issued) {
    use std::os::unix::fs::PermissionsExt;
    for (file, content) in [(format!("{name}.pem"), &issued.certificate), (format!("{name}-key.pem"), &issued.key)] {
        let path = home.join(file);
        std::fs::write(&path, content).expect("the scratch directory is writable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("our own file");
    }
}

/// A key service behind mutual TLS; `server` is what it shows, `clients` sign those it answers.
pub(super) fn over_tls(server: &Issued, clients: &Authority, revoked: Option<&str>) -> KeyService {
    let mut listeners = "[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"HOME/server.pem\"\nprivate_key = \
                         \"HOME/server-key.pem\"\nclient_authorities = \"HOME/clients.pem\"\n"
        .to_owned();
    if revoked.is_some() {
        listeners += "client_revocations = \"HOME/clients.crl\"\n";
    }
    // `init` reads the settings, too: the files have to be there before.
    let mut keys = KeyService::bare();
    install(keys.home(), "server", server);
    keys.secret("clients.pem", &clients.pem);
    if let Some(list) = revoked {
        keys.secret("clients.crl", list);
    }
    keys.found("", "key_file = \"HOME/key\"", &listeners);
    keys.serve();
    keys
}

/// One S3 request on a connection of its own.
pub(super) fn ask(daemon: &Daemon, who: &Credentials, method: &str, path: &str, body: &[u8]) -> Response {
    let mut wire = connect(daemon);
    let host = wire.host().to_owned();
    let request = Request::new(method, path).body(body.to_vec()).signed(who, &host, Body::Hashed);
    wire.exchange(&request).expect("it answers")
}

pub(super) fn connect(daemon: &Daemon) -> Wire {
    connect_to(daemon.s3(), &daemon.authority())
}

pub(super) fn connect_to(address: SocketAddr, authority: &[u8]) -> Wire {
    Wire::connect(address, client_config(authority, rustls::ALL_VERSIONS)).expect("it listens")
}

pub(super) fn put(daemon: &Daemon, who: &Credentials, name: &str, body: &[u8]) -> Response {
    ask(daemon, who, "PUT", &object_path(BUCKET, name), body)
}

pub(super) fn get(daemon: &Daemon, who: &Credentials, name: &str) -> Response {
    ask(daemon, who, "GET", &object_path(BUCKET, name), &[])
}

/// A route of the admin listener, as the administrator.
pub(super) fn admin(daemon: &Daemon, path: &str) -> Response {
    let address = daemon.admin();
    let bearer = format!("Bearer {}", daemon.admin_token());
    let request = Request::new("GET", path).header("host", &address.to_string()).header("authorization", &bearer);
    connect_to(address, &daemon.authority()).exchange(&request).expect("it answers")
}

/// The sum of a counter's samples whose line has all of `labels`.
pub(super) fn metric(text: &str, name: &str, labels: &[&str]) -> u64 {
    let of = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
    text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Waits until something is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// 503, with the time after which to try again.
pub(super) fn is_away(answer: &Response) -> bool {
    answer.status == 503 && answer.header("retry-after").is_some()
}

/// The id of a tenant as the link carries it.
pub(super) fn tenant_id(daemon: &Daemon, name: &str) -> [u8; 16] {
    let shown = daemon.geoseal(&["tenant", "show", name, "--json"]).json();
    let id = shown["id"].as_str().expect("a tenant has an id");
    hex::decode(id).ok().and_then(|id| id.try_into().ok()).expect("an id is 16 bytes in hexadecimal")
}

/// A download that has begun and waits for its reader.
pub(super) fn begin_download(daemon: &Daemon, who: &Credentials, name: &str) -> Wire {
    let mut slow = connect(daemon);
    let host = slow.host().to_owned();
    let get = Request::new("GET", &object_path(BUCKET, name)).signed(who, &host, Body::Unsigned);
    slow.send(&get.bytes()).expect("the server listens");
    assert_eq!(slow.head().expect("an answer"), 200, "it has begun");
    slow
}

/// An upload whose body has begun: half of `body` was sent.
pub(super) fn begin_upload(daemon: &Daemon, who: &Credentials, name: &str, body: &[u8]) -> Wire {
    let mut wire = connect(daemon);
    let host = wire.host().to_owned();
    let put = Request::new("PUT", &object_path(BUCKET, name)).body(body).signed(who, &host, Body::Unsigned);
    let bytes = put.bytes();
    wire.send(&bytes[..bytes.len() - body.len() / 2]).expect("the server listens");
    wire
}
