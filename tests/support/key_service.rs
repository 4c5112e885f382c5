//! A key service of its own: `geoseal keys init`, then `geoseal keys serve`, in a directory of its own; and what speaks
//! its protocol without being the product: a few requests written down byte for byte.

use crate::{
    clients::Ran,
    keepers::secret,
    server::{PATIENCE, Running, binary},
    tools::scratch,
};
use rustix::process::Signal;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A prepared directory, and the process that runs on it, if one does. Killed, and the directory removed, on drop.
pub struct KeyService {
    child: Option<Running>,
    tls: Option<SocketAddr>,
    home: tempfile::TempDir,
}

impl KeyService {
    /// Prepared for the geo `europe`: `listeners` are the tables `[socket]` and `[tls]`, where `HOME` stands for its
    /// directory. Its master keys are in a local keyring sealed by a key file.
    pub fn prepare(listeners: &str) -> Self {
        Self::prepare_with("", "key_file = \"HOME/key\"", listeners)
    }

    /// The same with more settings before the first table, and another `[keyring]`.
    pub fn prepare_with(settings: &str, keyring: &str, listeners: &str) -> Self {
        let service = Self::bare();
        service.found(settings, keyring, listeners);
        service
    }

    /// A directory with a key file and nothing else.
    pub fn bare() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let service = Self { child: None, tls: None, home: scratch() };
        let key: Vec<u8> = (0..32).map(|_| fastrand::u8(..)).collect();
        let file = service.home().join("key");
        fs::write(&file, key).expect("the scratch directory is writable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
        service
    }

    /// Writes the settings, and makes the master keys that they name.
    pub fn found(&self, settings: &str, keyring: &str, listeners: &str) {
        self.configure(settings, keyring, listeners);
        self.run(&["keys", "init", "--config", self.config().to_str().expect("a plain path")]).ok();
    }

    /// Writes the settings anew, for the next start.
    pub fn configure(&self, settings: &str, keyring: &str, listeners: &str) {
        let text = format!(
            "data_dir = \"HOME/data\"\ngeos = [\"europe\"]\n{settings}\n\n[keyring]\n{keyring}\n\n{listeners}\n\n[log]\nformat = \"json\"\n"
        );
        let home = self.home().to_str().expect("a plain path");
        fs::write(self.config(), text.replace("HOME", home)).expect("the scratch directory is writable");
    }

    /// A directory for the test's own files, `HOME` in its settings.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its settings.
    pub fn config(&self) -> PathBuf {
        self.home().join("keys.toml")
    }

    /// Its Unix socket, by convention of these tests.
    pub fn socket(&self) -> PathBuf {
        self.home().join("keys.sock")
    }

    /// A file of the test's own with mode 600.
    pub fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home().join(name);
        secret(&path, content);
        path
    }

    /// Starts, and waits until it serves keys.
    pub fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// The same with more flags.
    pub fn serve_with(&mut self, flags: &[&str]) {
        self.start_until("serving keys", flags);
    }

    /// Starts, and waits until it says `message`.
    pub fn start_until(&mut self, message: &str, flags: &[&str]) {
        assert!(self.child.is_none(), "one process per directory");
        let from = self.log().len();
        let log = File::options().create(true).append(true).open(self.home().join("keys.log"));
        let log = log.expect("the scratch directory is writable");
        let process = Command::new(binary())
            .args(["keys", "serve", "--config"])
            .arg(self.config())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("the geoseal binary starts");
        self.child = Some(Running::watched(process, self.home()));
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().expect("just started").ended() {
                panic!("the key service ended: {status}\n{}", self.log());
            }
            let log = self.log();
            let lines = log[from..].lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            if let Some(line) = lines.into_iter().find(|line| line["message"] == message) {
                self.tls = line["tls"].as_str().and_then(|address| address.parse().ok());
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the key service does not say {message:?}\n{log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A start that should be refused, run to its end.
    pub fn refused(&self, flags: &[&str]) -> Ran {
        let mut command = Command::new("timeout");
        command.arg("60").arg(binary()).args(["keys", "serve", "--config"]).arg(self.config()).args(flags);
        Ran::of(command.stdin(Stdio::null()))
    }

    /// Its TLS listener.
    pub fn tls(&self) -> SocketAddr {
        self.tls.expect("it was started with a TLS listener")
    }

    /// Everything that it has written so far, all starts together.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home().join("keys.log")).unwrap_or_default()).into_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.child.as_ref().expect("it runs").signal(signal);
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) {
        if let Some(running) = self.child.take() {
            running.kill();
        }
    }

    /// SIGTERM, and waits.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().expect("it runs").ended() {
                self.child = None;
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the key service did not end\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(Command::new(binary()).args(arguments).stdin(Stdio::null()))
    }
}

impl Drop for KeyService {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let from = log.char_indices().nth_back(3000).map_or(0, |(at, _)| at);
            eprintln!("--- the key service's last words ---\n{}", &log[from..]);
        }
        self.kill();
    }
}

/// What may be asked over a link, in the link's own bytes.
#[derive(Clone, Copy)]
pub enum Ask {
    /// What the service says of itself, and the geo's directory key.
    Hello,
    /// A tenant's keys.
    Lease([u8; 16]),
    /// Makes a tenant's keys unusable.
    Suspend([u8; 16]),
    /// Makes them usable again.
    Resume([u8; 16]),
}

impl Ask {
    /// Version 1, the geo `europe`, and the request, as CBOR behind its length.
    fn frame(self) -> Vec<u8> {
        let mut geo = [0; 16];
        geo[..6].copy_from_slice(b"europe");
        let mut body = [&[0x83, 0x01, 0x50][..], &geo].concat();
        let of = |number: u8, tenant: &[u8; 16]| [&[0x82, number, 0x81, 0x50][..], tenant].concat();
        body.extend(match self {
            Self::Hello => vec![0x82, 0x00, 0x80],
            Self::Lease(tenant) => of(1, &tenant),
            Self::Suspend(tenant) => of(4, &tenant),
            Self::Resume(tenant) => of(5, &tenant),
        });
        let length = u32::try_from(body.len()).expect("short");
        [&length.to_be_bytes()[..], &body].concat()
    }

    /// Asks, and gives the answer's bytes; an error when the other side takes or answers nothing.
    pub fn over(self, link: &mut (impl Read + Write)) -> io::Result<Vec<u8>> {
        link.write_all(&self.frame())?;
        link.flush()?;
        let mut length = [0; 4];
        link.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        link.read_exact(&mut body)?;
        Ok(body)
    }
}

/// Whether an answer is what was asked for, and not one that says why not.
pub fn is_given(answer: &[u8]) -> bool {
    // Version 1, then variant 0 of two: given.
    answer.starts_with(&[0x82, 0x01, 0x82, 0x00])
}
