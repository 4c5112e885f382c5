//! The door: sockets, TLS, limits, deadlines, drain.
//!
//! Called by `app`, which hands in one hyper service per listener. Promises:
//! - nothing but TLS 1.2 and 1.3 gets past; anything else on the port is closed without an HTTP answer;
//! - a peer that is silent, drips, or does not read is cut by a deadline of ours, whatever hyper does;
//! - one address cannot take all places;
//! - a request whose end two parsers could see in different places reaches no service;
//! - a request's extensions hold the peer's [`std::net::SocketAddr`], and its certificate
//!   ([`rustls_pki_types::CertificateDer`]) where one was asked for.
//!
//! Must not know S3, tenants or storage.

mod caps;
mod certificates;
mod drain;
mod framing;
mod limits;
mod meters;
mod pace;
mod probe;
mod serve;
mod wire;

#[cfg(test)]
mod tests;

pub use certificates::{CertificateError, CertificateFiles, Certificates, ClientFiles, Now, Reloaded};
pub use drain::{Drain, DrainToken};
pub use limits::EdgeLimits;
pub use meters::{EdgeMeters, Refusal};
pub use probe::{Probed, probe};
pub use serve::{Door, Drained};
