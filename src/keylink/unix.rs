//! A Unix socket: the file's mode says who may knock, and the kernel says who did.

use super::LinkError;
use crate::seal::{Connector, Link};
use rustix::net::sockopt::socket_peercred;
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a request may take to be taken in, and a connection to be.
const WRITE: Duration = Duration::from_secs(10);

/// Connects to the socket of a key service.
pub struct UnixConnector {
    path: PathBuf,
}

impl UnixConnector {
    /// To the socket at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Connector for UnixConnector {
    fn connect(&self, patience: Duration) -> io::Result<Box<dyn Link>> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Before it connects: a service that is there and accepts nobody would be waited for without end.
        socket.set_write_timeout(Some(WRITE))?;
        socket.connect(&SockAddr::unix(&self.path)?)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Box::new(UnixStream::from(OwnedFd::from(socket))))
    }
}

/// The users whose processes are answered.
#[derive(Debug, Clone)]
pub struct Admitted(BTreeSet<u32>);

impl Admitted {
    /// Exactly `users`; the service's own user when none is named.
    pub fn new(users: &[u32]) -> Self {
        let own = rustix::process::geteuid().as_raw();
        if users.is_empty() { Self([own].into()) } else { Self(users.iter().copied().collect()) }
    }

    /// Whether the process at the other end belongs to one of them. The kernel noted its user when it connected.
    pub(super) fn admits(&self, socket: &UnixStream) -> bool {
        socket_peercred(socket).is_ok_and(|peer| self.0.contains(&peer.uid.as_raw()))
    }

    /// 0600 for the service's own user alone. A file mode cannot name another user, so for others anybody may knock who
    /// can reach the directory, and the peer's user decides.
    fn mode(&self) -> u32 {
        let own = rustix::process::geteuid().as_raw();
        if self.0.iter().eq([&own]) { 0o600 } else { 0o666 }
    }
}

/// Makes the socket, with its mode before anybody can find it; takes the place of one that a dead process left.
pub fn listen(path: &Path, admitted: &Admitted) -> Result<UnixListener, LinkError> {
    let failed = |source| LinkError::Socket { path: path.to_owned(), source };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&new).map_err(failed)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(admitted.mode())).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    Ok(listener)
}
