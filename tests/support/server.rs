//! The shipped binary, running `geoseal dev` in a directory of its own: started, killed, restarted on the same ports,
//! stopped. Tests talk to it only by what it wrote into `dev.env`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    signer::{Credentials, Request, object_path},
    tools::scratch,
    wire::Wire,
};

/// How long a start or a stop may take before the test fails. Far above what either needs on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The variables that `dev.env` always has.
const VARIABLES: [&str; 8] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "GEOSEAL_ADMIN_TOKEN_FILE",
    "GEOSEAL_ADMIN_URL",
    "GEOSEAL_CA",
];

/// The bucket that `geoseal dev` makes.
pub const BUCKET: &str = "interactions";

/// The object that `geoseal dev` uploads when it makes its directory.
pub const FIRST_UPLOAD: &str = "first/open.json";

/// The binary that Cargo built for this run of tests or benches.
pub fn binary() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_geoseal").expect("cargo names the binary when it runs tests and benches").into()
}

/// What to start: flags and environment beside those every start has.
#[derive(Default)]
pub struct Launch {
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Launch {
    /// One more flag for `geoseal dev`.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// One more environment variable, such as a log filter.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts in a new directory, on ports that the system chooses, and waits until it accepts connections.
    pub fn start(self) -> Server {
        self.start_at(scratch())
    }

    /// The same in a new directory below `parent`: on another file system, say.
    pub fn start_in(self, parent: &Path) -> Server {
        self.start_at(tempfile::tempdir_in(parent).expect("the test's own file system is writable"))
    }

    fn start_at(self, home: tempfile::TempDir) -> Server {
        let mut server =
            Server { launch: self, child: None, env: BTreeMap::new(), data: home.path().join("data"), home };
        server.spawn("127.0.0.1:0", "127.0.0.1:0");
        server.remove_first_upload();
        server
    }
}

/// A running server. Killed, and its directory removed, on drop.
pub struct Server {
    launch: Launch,
    child: Option<Running>,
    env: BTreeMap<String, String>,
    data: PathBuf,
    home: tempfile::TempDir,
}

impl Server {
    /// A server of this test's own.
    pub fn start() -> Self {
        Launch::default().start()
    }

    /// One server for all tests of this process that only add to it and name their objects after themselves.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The data directory (`--dir`).
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A directory for the test's own files, beside the data directory, removed with it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Everything that the server has written to stdout and stderr so far, all starts together.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.path().join("server.log")).unwrap_or_default()).into_owned()
    }

    /// What `dev.env` says.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The file `dev.env`.
    pub fn dev_env(&self) -> PathBuf {
        self.data.join("dev.env")
    }

    /// One variable of `dev.env`.
    pub fn variable(&self, name: &str) -> &str {
        &self.env[name]
    }

    /// The S3 listener.
    pub fn s3(&self) -> SocketAddr {
        address(self.variable("AWS_ENDPOINT_URL"))
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        address(self.variable("GEOSEAL_ADMIN_URL"))
    }

    /// The certificate authority of both listeners, PEM.
    pub fn authority(&self) -> Vec<u8> {
        fs::read(self.variable("AWS_CA_BUNDLE")).expect("dev.env names a readable CA file")
    }

    /// The bearer token for the admin API.
    pub fn admin_token(&self) -> String {
        let token = fs::read_to_string(self.variable("GEOSEAL_ADMIN_TOKEN_FILE"));
        token.expect("dev.env names a readable token file").trim().to_owned()
    }

    /// The demo tenant's login.
    pub fn credentials(&self) -> Credentials {
        Credentials {
            access_id: self.variable("AWS_ACCESS_KEY_ID").into(),
            secret: self.variable("AWS_SECRET_ACCESS_KEY").into(),
            region: self.variable("AWS_REGION").into(),
        }
    }

    /// The process id, for `/proc` and for signals.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) {
        if let Some(running) = self.child.take() {
            running.kill();
        }
    }

    /// SIGTERM, and waits for the drain to end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_until_ended()
    }

    /// Waits until the process has ended, as a signal made it.
    pub fn wait_until_ended(&mut self) -> ExitStatus {
        let running = self.child.as_mut().expect("the server runs");
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = running.ended() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server did not stop\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        self.child = None;
        status
    }

    /// Sends any signal, such as HUP.
    pub fn signal(&self, signal: Signal) {
        self.child.as_ref().expect("the server runs").signal(signal);
    }

    /// Starts again on the same directory and the same ports, after [`kill`](Self::kill) or
    /// [`terminate`](Self::terminate).
    pub fn restart(&mut self) {
        let (s3, admin) = (self.s3().to_string(), self.admin().to_string());
        self.spawn(&s3, &admin);
    }

    /// The same with more flags, for this start.
    pub fn restart_with(&mut self, flags: &[&str]) {
        let before = self.launch.flags.clone();
        self.launch.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self.restart();
        self.launch.flags = before;
    }

    /// As [`refuses_to_restart`](Self::refuses_to_restart), with more flags.
    pub fn refuses_to_restart_with(&mut self, flags: &[&str]) -> String {
        let before = self.launch.flags.clone();
        self.launch.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let said = self.refuses_to_restart();
        self.launch.flags = before;
        said
    }

    /// Starts again on a directory that it has to refuse: waits until it ends by itself, without having served, and hands
    /// back what it said.
    pub fn refuses_to_restart(&mut self) -> String {
        assert!(self.child.is_none(), "one process per directory");
        let said = self.log().len();
        // `dev` would set the last start's file aside itself: this way its being there means that the new start serves.
        let ready = self.dev_env();
        if ready.exists() {
            fs::rename(&ready, self.data.join("dev.env.last")).expect("the scratch directory is writable");
        }
        let mut running = self.launch(&self.s3().to_string(), &self.admin().to_string());
        let begun = Instant::now();
        loop {
            if let Some(status) = running.process.try_wait().expect("our own child can be waited for") {
                assert!(!status.success(), "it ended as if all were well\n{}", self.log());
                return self.log()[said..].to_owned();
            }
            if ready.exists() || begun.elapsed() > PATIENCE {
                running.process.kill().expect("our own child can be killed");
                running.process.wait().expect("our own child can be waited for");
                panic!("the server serves what it has to refuse\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs `geoseal ARGUMENTS` against this server's admin API and hands back what it did.
    pub fn geoseal(&self, arguments: &[&str]) -> crate::clients::Ran {
        crate::clients::Ran::of(Command::new(binary()).args(arguments).envs(&self.env).stdin(Stdio::null()))
    }

    /// `dev` begins with an upload of its own; tests begin with an empty bucket.
    fn remove_first_upload(&self) {
        let request = Request::new("DELETE", &object_path(BUCKET, FIRST_UPLOAD));
        let answer = Wire::to(self).call(self, request);
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    fn spawn(&mut self, s3: &str, admin: &str) {
        assert!(self.child.is_none(), "one process per directory");
        self.child = Some(self.launch(s3, admin));
        self.wait_until_ready();
    }

    fn launch(&self, s3: &str, admin: &str) -> Running {
        let log = File::options().create(true).append(true).open(self.home.path().join("server.log"));
        let log = log.expect("the scratch directory is writable");
        let process = Command::new(binary())
            .args(["dev", "--listen", s3, "--admin", admin, "--dir"])
            .arg(&self.data)
            .args(&self.launch.flags)
            .envs(self.launch.environment.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("the geoseal binary starts");
        Running::watched(process, self.home.path())
    }

    /// Ready is: `dev.env` is complete and both of its addresses accept. After a restart `dev.env` is there from the
    /// start, but the ports answer only once the new process listens.
    fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        loop {
            let running = self.child.as_mut().expect("just started");
            if let Some(status) = running.ended() {
                panic!("the server ended instead of serving: {status}\n{}", self.log());
            }
            if let Some(env) = fs::read_to_string(self.dev_env()).ok().and_then(|text| complete(&text)) {
                let addresses = [address(&env["AWS_ENDPOINT_URL"]), address(&env["GEOSEAL_ADMIN_URL"])];
                if addresses.iter().all(|a| TcpStream::connect(a).is_ok()) {
                    self.env = env;
                    return;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "the server is not ready after {PATIENCE:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            // Requests that went well would bury why this one did not.
            let well = |line: &&str| line.contains("geoseal_access") && !line.contains("\"status\":5");
            let mut words: Vec<_> = log.lines().rev().filter(|line| !well(line)).take(30).collect();
            words.reverse();
            eprintln!("--- the server's last words ---\n{}", words.join("\n"));
        }
        self.kill();
    }
}

/// The process and its watchdog: a shell that kills it when this test process goes away, however it goes, so that no
/// failed or interrupted run leaves a server behind, nor its directory.
pub(crate) struct Running {
    process: Child,
    watchdog: Child,
}

impl Running {
    pub(crate) fn watched(process: Child, home: &Path) -> Self {
        let watchdog = Command::new("sh")
            .args(["-c", "cat; kill -9 \"$0\"; sleep 1; rm -rf \"$1\"", &process.id().to_string()])
            .arg(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        Self { process, watchdog }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("our own child can be waited for")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("our own child takes signals");
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("our own child can be killed");
        self.process.wait().expect("our own child can be waited for");
    }
}

impl Drop for Running {
    /// The watchdog goes first: the process id may soon belong to somebody else.
    fn drop(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        // No signal is sent to one that was waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads `dev.env` as a shell would: optional `export`, optional quotes. `None` while a variable is still missing.
fn complete(text: &str) -> Option<BTreeMap<String, String>> {
    let env: BTreeMap<String, String> = text
        .lines()
        .map(|line| line.trim().trim_start_matches("export "))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        // A shell function is no variable.
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect();
    VARIABLES.iter().all(|v| env.contains_key(*v)).then_some(env)
}

/// `https://HOST:PORT` as a socket address; the host may be `localhost`.
fn address(url: &str) -> SocketAddr {
    let authority = url.strip_prefix("https://").expect("an https address").trim_end_matches('/');
    authority.replace("localhost", "127.0.0.1").parse().expect("dev.env names host and port")
}
