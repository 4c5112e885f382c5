//! The link to a key service that is a process of its own: a Unix socket on one machine, TLS 1.3 with certificates on
//! both sides between two. Both ends of both kinds.
//!
//! Called by `app`. Promises: who is at the other end was proved before a request is read (the kernel tells the user of
//! a socket's peer; a certificate of the configured authority, not revoked); no session is resumed, since a resumed one
//! is not verified again; every wait has an end. Must not know what the requests mean: `seal` reads and answers them.

mod serve;
mod tls;
mod unix;

pub use serve::{Answerer, Served, serve_tls, serve_unix};
pub use tls::{TlsConnector, TlsPlace};
pub use unix::{Admitted, UnixConnector, listen};

use std::path::PathBuf;

/// Why a link cannot be served. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket cannot be made.
    #[error("{}: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// The operating system's answer.
        source: std::io::Error,
    },
}
