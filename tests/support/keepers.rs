//! Keepers of master keys that tests start: a SoftHSM2 token, a TPM in software, an OpenBao server over TLS, moto's AWS KMS behind a proxy
//! that can be told to fail, and a link to any of them that can be cut, slowed or led elsewhere.

use crate::server::{PATIENCE, Running};
use crate::tools::{scratch, tools};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The PIN of test tokens' users.
pub const PIN: &str = "97531";

/// A token of SoftHSM2 in a directory of its own. Whoever uses it needs its configuration's variable in its environment.
pub struct SoftHsm {
    home: tempfile::TempDir,
}

impl SoftHsm {
    /// The variable that tells SoftHSM2 where its settings are.
    pub const VARIABLE: &'static str = "SOFTHSM2_CONF";
    /// The token's label.
    pub const TOKEN: &'static str = "geoseal";

    /// Makes and initialises it.
    pub fn new() -> Self {
        let hsm = Self { home: scratch() };
        fs::create_dir(hsm.tokens()).expect("the scratch directory is writable");
        hsm.configure("");
        secret(&hsm.pin_file(), PIN);
        let mut init = Command::new(tools().softhsm_util());
        init.args(["--init-token", "--free", "--label", Self::TOKEN, "--so-pin", "2468000", "--pin", PIN]);
        let made =
            init.env(Self::VARIABLE, hsm.settings()).stdin(Stdio::null()).output().expect("softhsm2-util starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        hsm
    }

    /// Writes its settings, with more lines such as `slots.mechanisms = -CKM_AES_GCM`.
    pub fn configure(&self, more: &str) {
        let tokens = self.tokens();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n{more}\n",
            tokens.display()
        );
        fs::write(self.settings(), text).expect("the scratch directory is writable");
    }

    /// The maker's module.
    pub fn module(&self) -> PathBuf {
        tools().softhsm().to_owned()
    }

    /// The value of [`SoftHsm::VARIABLE`].
    pub fn settings(&self) -> PathBuf {
        self.home.path().join("softhsm2.conf")
    }

    /// The file with the PIN.
    pub fn pin_file(&self) -> PathBuf {
        self.home.path().join("pin")
    }

    /// A directory for the test's own files.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn tokens(&self) -> PathBuf {
        self.home.path().join("tokens")
    }
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}

/// OpenBao's development server over TLS, with a Transit engine at `transit`.
pub struct OpenBao {
    _process: Running,
    address: SocketAddr,
    home: tempfile::TempDir,
}

impl OpenBao {
    const ROOT: &'static str = "root-token-of-a-test-0001";

    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        let home = scratch();
        let address = free_address();
        let log = File::create(home.path().join("log")).expect("the scratch directory is writable");
        let process = Command::new(tools().openbao())
            .args(["server", "-dev", "-dev-tls", "-dev-no-store-token", "-log-level=warn"])
            .arg(format!("-dev-tls-cert-dir={}", home.path().display()))
            .arg(format!("-dev-root-token-id={}", Self::ROOT))
            .arg(format!("-dev-listen-address={address}"))
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("OpenBao starts");
        let process = Running::watched(process, home.path());
        let bao = Self { _process: process, address, home };
        bao.wait();
        bao.root("POST", "sys/mounts/transit", &json!({ "type": "transit" }));
        secret(&bao.home.path().join("root"), Self::ROOT);
        bao
    }

    fn wait(&self) {
        let begun = Instant::now();
        while self.ask(Self::ROOT, "GET", "sys/health", &Value::Null).is_none_or(|(status, _)| status != 200) {
            assert!(begun.elapsed() < PATIENCE, "OpenBao does not answer");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        self.address
    }

    /// `https://…`.
    pub fn address(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority that signed its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.home.path().join("vault-ca.pem")
    }

    /// A file with a token that may do everything.
    pub fn root_token_file(&self) -> PathBuf {
        self.home.path().join("root")
    }

    /// A file with a new token that may use the Transit engine as docs/operations.md says, and that lives for `ttl`, such as
    /// `2s`.
    pub fn token_file(&self, ttl: &str) -> PathBuf {
        let rights = [
            ("keys/+", "\"create\", \"read\", \"update\""),
            ("keys/+/rotate", "\"update\""),
            ("keys/+/config", "\"update\""),
            ("keys/+/trim", "\"update\""),
            ("encrypt/+", "\"update\""),
            ("decrypt/+", "\"update\""),
        ];
        let policy: String = rights
            .iter()
            .map(|(path, may)| format!("path \"transit/{path}\" {{ capabilities = [{may}] }}\n"))
            .collect();
        self.root("POST", "sys/policies/acl/geoseal", &json!({ "policy": policy }));
        let asked = json!({ "policies": ["geoseal"], "ttl": ttl, "renewable": true });
        let made = self.root("POST", "auth/token/create", &asked);
        let token = made["auth"]["client_token"].as_str().expect("OpenBao answers with a token").to_owned();
        let file = self.home.path().join(format!("token-{}", made["auth"]["accessor"].as_str().expect("an accessor")));
        secret(&file, &token);
        file
    }

    /// Asks as root; panics unless it is done.
    pub fn root(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(Self::ROOT, method, path, body).expect("OpenBao answers");
        assert!(matches!(status, 200 | 204), "{method} {path}: {status} {answer}");
        answer
    }

    /// Asks with a token, through curl's own TLS: another implementation than the one under test.
    fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut curl = Command::new(tools().python());
        curl.arg("-c").arg(ASK).arg(self.home.path().join("vault-ca.pem")).arg(method);
        curl.arg(format!("{}/v1/{path}", self.address())).env("TOKEN", token).env("BODY", body.to_string());
        let done = curl.stdin(Stdio::null()).output().expect("python starts");
        let text = String::from_utf8(done.stdout).ok()?;
        let (status, body) = text.split_once('\n')?;
        Some((status.parse().ok()?, serde_json::from_str(body).unwrap_or(Value::Null)))
    }
}

const ASK: &str = "
import os, ssl, sys, urllib.request, urllib.error
ca, method, url = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
body = os.environ['BODY']
data = None if body == 'null' else body.encode()
request = urllib.request.Request(url, data=data, method=method, headers={'X-Vault-Token': os.environ['TOKEN']})
try:
    answer = urllib.request.urlopen(request, context=context, timeout=10)
    print(answer.status); print(answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code); print(error.read().decode())
";

/// moto's AWS KMS, and before it a proxy that checks signatures, enforces what moto does not (disabled keys, pending
/// deletions), remembers requests, and fails as told.
pub struct Kms {
    _moto: Running,
    _proxy: Running,
    proxy: SocketAddr,
    home: tempfile::TempDir,
}

impl Kms {
    /// A region that moto knows.
    pub const REGION: &'static str = "eu-central-1";

    /// Starts both and waits until they answer.
    pub fn start() -> Self {
        let home = scratch();
        let (moto, proxy) = (free_address(), free_address());
        let port = |address: SocketAddr| address.port().to_string();
        let run = |arguments: &[&str], log: &str| {
            let log = File::create(home.path().join(log)).expect("the scratch directory is writable");
            let process = Command::new(tools().python())
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a file can be cloned"))
                .stderr(log)
                .spawn()
                .expect("python starts");
            Running::watched(process, home.path())
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kms_proxy.py");
        let script = script.to_str().expect("a plain path");
        let moto_process = run(&["-m", "moto.server", "-H", "127.0.0.1", "-p", &port(moto)], "moto.log");
        let proxy_process = run(&[script, &port(proxy), &port(moto)], "proxy.log");
        for address in [moto, proxy] {
            let begun = Instant::now();
            while TcpStream::connect(address).is_err() {
                assert!(begun.elapsed() < PATIENCE, "moto or its proxy does not answer");
                thread::sleep(Duration::from_millis(20));
            }
        }
        let kms = Self { _moto: moto_process, _proxy: proxy_process, proxy, home };
        let credentials =
            "access_key_id = \"AKIAGEOSEALTEST00001\"\nsecret_access_key = \"a-secret-of-this-test/0001+x\"\n";
        secret(&kms.credentials_file(), credentials);
        kms
    }

    /// The endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// Where the proxy listens.
    pub fn socket(&self) -> SocketAddr {
        self.proxy
    }

    /// The TOML file with the credentials.
    pub fn credentials_file(&self) -> PathBuf {
        self.home.path().join("credentials.toml")
    }

    /// The settings of a keyring that is kept here, as the table `[keyring]` has them.
    pub fn keyring(&self) -> String {
        let (endpoint, credentials) = (self.endpoint(), self.credentials_file());
        format!(
            "kind = \"aws-kms\"\nendpoint = {endpoint:?}\nregion = {:?}\ncredentials_file = {credentials:?}",
            Self::REGION
        )
    }

    /// Makes the next `times` calls fail in one of the proxy's ways: `throttle`, `429`, `500`, `garbage`, `huge`, `slow`,
    /// `late` (two seconds), `wrong-key` (tenants' only), `any-wrong-key`, `denied`, `disabled`, `cut`.
    pub fn fail(&self, way: &str, times: u32) {
        self.control("fault", &json!({ "way": way, "times": times }));
    }

    /// No more failures.
    pub fn mend(&self) {
        self.control("fault", &json!({ "way": "", "times": 0 }));
    }

    /// Every request since the start: `act`, `headers`, `body`, `signature` (whether botocore computes the same).
    pub fn captured(&self) -> Vec<Value> {
        match self.control("captured", &Value::Null) {
            Value::Array(captured) => captured,
            other => panic!("the proxy answers {other}"),
        }
    }

    fn control(&self, what: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.proxy).expect("the proxy listens");
        let head = format!(
            "POST /-/{what} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the proxy reads");
        stream.write_all(body.as_bytes()).expect("the proxy reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the proxy answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("the proxy speaks HTTP");
        serde_json::from_str(body).expect("the proxy answers in JSON")
    }
}

/// A TPM 2.0 in software, and systemd's credentials sealed to it.
pub struct Tpm {
    _process: Running,
    server: SocketAddr,
    home: tempfile::TempDir,
}

impl Tpm {
    /// Starts a new one: no two have the same seed.
    pub fn start() -> Self {
        let home = scratch();
        let (server, control) = free_pair();
        let tcp = |address: SocketAddr| format!("type=tcp,port={},bindaddr=127.0.0.1", address.port());
        let process = Command::new(tools().swtpm())
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", home.path().display()))
            .args(["--server", &tcp(server), "--ctrl", &tcp(control)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm starts");
        Self { _process: Running::watched(process, home.path()), server, home }
    }

    /// Seals `secret` as the credential `name`, as `systemd-creds encrypt` does for `LoadCredentialEncrypted=`.
    pub fn seal(&self, name: &str, content: &str) -> Vec<u8> {
        let plain = self.home.path().join("plain");
        secret(&plain, content);
        let sealed = self.home.path().join("sealed");
        let begun = Instant::now();
        // The TPM needs a moment to listen; a connection to see whether it does would be its one connection.
        while !self.creds(&["encrypt", "--with-key=tpm2", &format!("--name={name}")], &plain, &sealed) {
            assert!(begun.elapsed() < PATIENCE, "systemd-creds cannot seal to the TPM");
            thread::sleep(Duration::from_millis(100));
        }
        fs::remove_file(&plain).expect("our own file");
        fs::read(sealed).expect("systemd-creds wrote it")
    }

    /// Opens a credential into `directory`, as systemd does before it starts a service; false if this TPM cannot.
    pub fn open(&self, name: &str, sealed: &[u8], directory: &Path) -> bool {
        let file = self.home.path().join("sealed");
        fs::write(&file, sealed).expect("the scratch directory is writable");
        let plain = directory.join(name);
        let is_open = self.creds(&["decrypt", &format!("--name={name}")], &file, &plain);
        if is_open {
            fs::set_permissions(&plain, fs::Permissions::from_mode(0o400)).expect("our own file");
        }
        is_open
    }

    fn creds(&self, arguments: &[&str], from: &Path, to: &Path) -> bool {
        let mut command = Command::new(tools().systemd_creds());
        command.args(arguments).arg(format!("--tpm2-device=swtpm:host=127.0.0.1,port={}", self.server.port()));
        command.arg(from).arg(to).stdin(Stdio::null()).output().expect("systemd-creds starts").status.success()
    }
}

/// A TCP link that can be cut, and led elsewhere.
pub struct Link {
    address: SocketAddr,
    state: Arc<LinkState>,
}

struct LinkState {
    to: Mutex<SocketAddr>,
    is_cut: AtomicBool,
    live: Mutex<Vec<TcpStream>>,
}

impl Link {
    /// A link to `to`.
    pub fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(LinkState { to: Mutex::new(to), is_cut: AtomicBool::new(false), live: Mutex::default() });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // The last owner but this thread is gone.
                if Arc::strong_count(&serving) == 1 {
                    return;
                }
                if let Ok(stream) = stream {
                    serving.carry(stream);
                }
            }
        });
        Self { address, state }
    }

    /// This end of it.
    pub fn socket(&self) -> SocketAddr {
        self.address
    }

    /// Cuts it: living connections end, new ones end at once.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        self.state.end();
    }

    /// Mends it.
    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }

    /// From now on it leads to somebody else; living connections end.
    pub fn lead_to(&self, to: SocketAddr) {
        *self.state.to.lock().expect("nobody panicked") = to;
        self.state.end();
    }
}

impl LinkState {
    fn end(&self) {
        for stream in self.live.lock().expect("nobody panicked").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn carry(&self, near: TcpStream) {
        if self.is_cut.load(Ordering::SeqCst) {
            return;
        }
        let to = *self.to.lock().expect("nobody panicked");
        let Ok(far) = TcpStream::connect(to) else { return };
        let clone = |stream: &TcpStream| stream.try_clone().expect("a socket can be cloned");
        self.live.lock().expect("nobody panicked").extend([clone(&near), clone(&far)]);
        for (mut from, mut to) in [(clone(&near), clone(&far)), (far, near)] {
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }
}

/// Two free ports, one after the other: the TSS looks for a software TPM's control channel there.
fn free_pair() -> (SocketAddr, SocketAddr) {
    let next = |first: SocketAddr| Some(SocketAddr::new(first.ip(), first.port().checked_add(1)?));
    let pairs = (0..100).filter_map(|_| {
        let first = free_address();
        next(first).filter(|second| TcpListener::bind(second).is_ok()).map(|second| (first, second))
    });
    pairs.into_iter().next().expect("two free ports beside each other")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// Writes a file with mode 600.
pub fn secret(path: &Path, content: &str) {
    fs::write(path, content).expect("the scratch directory is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("our own file");
}
