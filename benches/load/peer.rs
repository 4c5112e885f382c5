//! nginx beside us: the same bytes as static files over TLS 1.3, one worker on the server's core, nothing signed and
//! nothing sealed. The practical ceiling, started and stopped by the bench.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use geoseal_support::{
    tools::{scratch, tools},
    wire::client_config,
};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;

use crate::process::children;

/// A running nginx. Stopped, and its files removed, on drop.
pub(crate) struct Nginx {
    master: Child,
    home: tempfile::TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Trusts its certificate and speaks TLS 1.3 only.
    pub(crate) tls: Arc<ClientConfig>,
}

impl Nginx {
    /// Starts it on the core this thread is pinned to, and waits until it accepts.
    pub(crate) fn start() -> Self {
        let home = scratch();
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        // The same kind of certificate as the server's own: ECDSA on P-256.
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).expect("a certificate can be made");
        let authority = certificate.cert.pem();
        let write = |name: &str, text: &str| fs::write(home.path().join(name), text).expect("scratch is writable");
        write("certificate.pem", &authority);
        write("private.pem", &certificate.signing_key.serialize_pem());
        write("nginx.conf", &configuration(home.path(), address));
        fs::create_dir_all(home.path().join("files")).expect("scratch is writable");
        let master = Command::new(tools().nginx())
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(home.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() || children(master.id()).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "nginx does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Self { master, home, address, tls: client_config(authority.as_bytes(), &[&rustls::version::TLS13]) }
    }

    /// Puts a file where `GET path` finds it.
    pub(crate) fn store(&self, path: &str, body: &[u8]) {
        let file = self.home.path().join("files").join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().expect("a folder")).expect("scratch is writable");
        fs::write(file, body).expect("scratch is writable");
    }

    /// The process that does the work.
    pub(crate) fn worker(&self) -> u32 {
        children(self.master.id())[0]
    }
}

impl Drop for Nginx {
    /// SIGTERM to the master, which stops its worker; a plain kill would leave the worker behind.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.master.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.master.wait();
    }
}

/// `user root` matters only when root runs the bench: the worker would otherwise not see the scratch directory.
fn configuration(home: &Path, address: SocketAddr) -> String {
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let home = home.display();
    format!(
        "daemon off; worker_processes 1; pid {home}/pid; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; types {{ }} default_type application/octet-stream;
  keepalive_requests 1000000000; keepalive_timeout 3600; tcp_nodelay on;
  client_max_body_size 0; client_body_temp_path {home}/uploads; client_body_buffer_size 128k;
  server {{
    listen {address} ssl; root {home}/files;
    ssl_protocols TLSv1.3; ssl_certificate {home}/certificate.pem; ssl_certificate_key {home}/private.pem;
    location / {{ dav_methods PUT; create_full_put_path on; }}
  }}
}}
"
    )
}
