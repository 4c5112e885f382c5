//! The shipped binary as an operator runs it: `geoseal init`, then `geoseal serve --config`, in a directory of its own,
//! with settings that a test may change. Where it listens is read from its log, since every port is the system's choice.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    clients::Ran,
    server::{PATIENCE, Running, binary},
    signer::Credentials,
    tools::scratch,
};

/// The region that the daemon serves.
pub const REGION: &str = "westeurope";
/// Its geo.
pub const GEO: &str = "europe";

/// A prepared directory, and the server that runs on it, if one does. Killed, and the directory removed, on drop.
pub struct Daemon {
    child: Option<Running>,
    addresses: Option<(SocketAddr, SocketAddr)>,
    variables: Vec<(String, PathBuf)>,
    home: tempfile::TempDir,
}

impl Daemon {
    /// `geoseal init`, not started yet.
    pub fn prepare() -> Self {
        Self::prepare_for(&[REGION])
    }

    /// The same for other regions, perhaps of several geos.
    pub fn prepare_for(regions: &[&str]) -> Self {
        let daemon = Self::bare(&[]);
        let passphrase = daemon.secret("passphrase", "correct horse battery staple\n");
        daemon.init(regions, &["--passphrase-file", passphrase.to_str().expect("a plain path")]).ok();
        daemon
    }

    /// A directory in which nothing is prepared; `variables` are in the environment of everything that is run.
    pub fn bare(variables: &[(&str, &Path)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { child: None, addresses: None, variables, home: scratch() }
    }

    /// `geoseal init` with flags that say where the master keys are.
    pub fn init(&self, regions: &[&str], keeper: &[&str]) -> Ran {
        let dir = self.dir();
        let dir = dir.to_str().expect("a plain path");
        let regions: Vec<&str> = regions.iter().flat_map(|region| ["--region", region]).collect();
        let hosts = ["--host", "localhost", "--host", "127.0.0.1"];
        let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        self.run(&[&["init", dir][..], &hosts, &listen, keeper, &regions].concat())
    }

    /// Prepared and started.
    pub fn start() -> Self {
        let mut daemon = Self::prepare();
        daemon.serve();
        daemon
    }

    /// A directory for the test's own files.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What `init` made.
    pub fn dir(&self) -> PathBuf {
        self.home().join("d")
    }

    /// The settings.
    pub fn config(&self) -> PathBuf {
        self.dir().join("geoseal.toml")
    }

    /// Changes the settings, for the next start.
    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.config()).expect("init wrote it");
        fs::write(self.config(), change(text)).expect("our own file");
    }

    /// A file of the test's own with mode 600.
    pub fn secret(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.home().join(name);
        fs::write(&path, content).expect("the scratch directory is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        path
    }

    /// Starts, and waits until it says that it serves.
    pub fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// The same with more flags.
    pub fn serve_with(&mut self, flags: &[&str]) {
        self.start_until("serving", flags);
    }

    /// Starts, and waits until it listens without its keys: their provider is out of reach.
    pub fn serve_without_keys(&mut self) {
        self.start_until("listening, serving nothing yet", &[]);
    }

    fn start_until(&mut self, message: &str, flags: &[&str]) {
        assert!(self.child.is_none(), "one process per directory");
        let from = self.log().len();
        let log = File::options().create(true).append(true).open(self.home().join("server.log"));
        let log = log.expect("the scratch directory is writable");
        let process = Command::new(binary())
            .args(["serve", "--config"])
            .arg(self.config())
            .args(flags)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("the geoseal binary starts");
        self.child = Some(Running::watched(process, self.home.path()));
        let begun = Instant::now();
        self.addresses = loop {
            if let Some(status) = self.ended() {
                panic!("the server ended instead of serving: {status}\n{}", self.log());
            }
            if let Some(addresses) = said(message, &self.log()[from..]) {
                break Some(addresses);
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not serve\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        };
    }

    /// A start that should be refused, run to its end.
    pub fn refused(&self, flags: &[&str]) -> Ran {
        let config = self.config();
        let mut arguments = vec!["serve", "--config", config.to_str().expect("a plain path")];
        arguments.extend(flags);
        let mut command = Command::new("timeout");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ran::of(command.arg("60").arg(binary()).args(arguments).stdin(Stdio::null()))
    }

    /// The S3 listener.
    pub fn s3(&self) -> SocketAddr {
        self.addresses.expect("it was started").0
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.addresses.expect("it was started").1
    }

    /// The authority that `init` made, PEM.
    pub fn authority(&self) -> Vec<u8> {
        fs::read(self.dir().join("tls/ca.pem")).expect("init wrote it")
    }

    /// The administrator's token.
    pub fn admin_token(&self) -> String {
        fs::read_to_string(self.dir().join("secrets/admin-token")).expect("init wrote it").trim().to_owned()
    }

    /// Everything that it has written so far, all starts together.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home().join("server.log")).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.child.as_ref().expect("the server runs").signal(signal);
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().expect("the server runs").ended()
    }

    /// Waits until it ends by itself, as after a signal.
    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                self.child = None;
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server did not end\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and waits.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Runs `geoseal ARGUMENTS` as its administrator.
    pub fn geoseal(&self, arguments: &[&str]) -> Ran {
        let token = self.dir().join("secrets/admin-token");
        self.geoseal_as(&token, arguments)
    }

    /// The same with another token.
    pub fn geoseal_as(&self, token: &Path, arguments: &[&str]) -> Ran {
        let mut command = command(arguments);
        command
            .env("GEOSEAL_ADMIN_URL", format!("https://{}", self.admin()))
            .env("GEOSEAL_ADMIN_TOKEN_FILE", token)
            .env("GEOSEAL_CA", self.dir().join("tls/ca.pem"));
        Ran::of(&mut command)
    }

    /// Runs `geoseal ARGUMENTS` with nothing in its environment that says where a server is.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(command(arguments).envs(self.variables.iter().map(|(name, value)| (name, value))))
    }

    /// A tenant and a login of it.
    pub fn tenant(&self, name: &str) -> Credentials {
        self.tenant_in(GEO, REGION, name)
    }

    /// The same in another geo and home region.
    pub fn tenant_in(&self, geo: &str, home: &str, name: &str) -> Credentials {
        let consent = self.secret("consent.txt", "We agree.\n");
        let consent = consent.to_str().expect("a plain path");
        self.geoseal(&["tenant", "create", name, "--geo", geo, "--home", home, "--consent", consent]).ok();
        let login = self.geoseal(&["credential", "create", "--tenant", name, "--json"]).json();
        login_of(&login)
    }
}

/// What `credential create --json` printed.
pub fn login_of(printed: &serde_json::Value) -> Credentials {
    let text = |name: &str| printed[name].as_str().expect("a login has it").to_owned();
    Credentials { access_id: text("access_id"), secret: text("secret"), region: text("region") }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    for name in ["GEOSEAL_ADMIN_URL", "GEOSEAL_ADMIN_TOKEN_FILE", "GEOSEAL_CA"] {
        command.env_remove(name);
    }
    command
}

/// The addresses in the line with this message.
fn said(message: &str, log: &str) -> Option<(SocketAddr, SocketAddr)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let line = lines.into_iter().find(|line| line["message"] == message)?;
    let address = |name: &str| line[name].as_str()?.parse().ok();
    Some((address("s3")?, address("admin")?))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let from = log.char_indices().nth_back(4000).map_or(0, |(at, _)| at);
            eprintln!("--- the server's last words ---\n{}", &log[from..]);
        }
        if let Some(running) = self.child.take() {
            running.kill();
        }
    }
}
