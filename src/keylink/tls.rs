//! TLS between two machines of ours: 1.3 only, a certificate on either side, nothing resumed.

use crate::seal::{Connector, Link};
use rustls::client::Resumption;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// For the connection, and for the whole of the handshake.
const HELLO: Duration = Duration::from_secs(5);
/// How long a request or an answer may take to be taken in.
const WRITE: Duration = Duration::from_secs(10);

/// Where a key service is, and as whom to go there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPlace {
    /// Its host name or address: what its certificate must name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// PEM: the authorities that sign its certificate.
    pub authorities: PathBuf,
    /// PEM: our certificate.
    pub certificate: PathBuf,
    /// PEM: our private key.
    pub private_key: PathBuf,
}

/// Connects to a key service over TLS. Reads its files anew for each connection: a renewed certificate needs no restart.
pub struct TlsConnector {
    place: TlsPlace,
}

impl TlsConnector {
    /// To `place`.
    pub fn new(place: TlsPlace) -> Self {
        Self { place }
    }
}

impl Connector for TlsConnector {
    fn connect(&self, patience: Duration) -> io::Result<Box<dyn Link>> {
        let TlsPlace { host, port, .. } = &self.place;
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let config = client_config(&self.place)?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in (host.as_str(), *port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, HELLO) {
                Ok(mut tcp) => {
                    tcp.set_nodelay(true)?;
                    tcp.set_write_timeout(Some(WRITE))?;
                    let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
                    shake_hands(&mut tls, &mut tcp)?;
                    tcp.set_read_timeout(Some(patience))?;
                    return Ok(Box::new(StreamOwned::new(tls, tcp)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn client_config(place: &TlsPlace) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(&place.authorities)? {
        roots.add(authority).map_err(io::Error::other)?;
    }
    let chain = certificates(&place.certificate)?;
    let pem = Zeroizing::new(std::fs::read(&place.private_key)?);
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(io::Error::other)?;
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_secret_extraction = false;
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file)?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(io::Error::other)
}

/// A handshake that has an end, however slowly the other side sends.
fn shake_hands<C, S>(tls: &mut C, tcp: &mut TcpStream) -> io::Result<()>
where
    C: DerefMut<Target = rustls::ConnectionCommon<S>>,
    S: rustls::SideData,
{
    #[allow(
        clippy::disallowed_methods,
        reason = "how long a peer may take is real time, as the socket's time-outs are"
    )]
    let begun = Instant::now();
    while tls.is_handshaking() {
        while tls.wants_write() {
            tls.write_tls(tcp)?;
        }
        if !tls.is_handshaking() {
            break;
        }
        let left = HELLO.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        tcp.set_read_timeout(Some(left))?;
        if tls.read_tls(tcp)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Err(error) = tls.process_new_packets() {
            // Says why to the other side; whether it still listens is its business.
            let _ = tls.write_tls(tcp);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
    while tls.wants_write() {
        tls.write_tls(tcp)?;
    }
    Ok(())
}

/// The server's side of the handshake; the client's certificate was verified when it returns.
pub(super) fn accept(mut tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<impl Link> {
    tcp.set_nodelay(true)?;
    tcp.set_write_timeout(Some(WRITE))?;
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    shake_hands(&mut tls, &mut tcp)?;
    // Whoever was admitted may keep a link idle; a dead one is found by the system's own probes.
    tcp.set_read_timeout(None)?;
    socket2::SockRef::from(&tcp).set_keepalive(true)?;
    Ok(StreamOwned::new(tls, tcp))
}
