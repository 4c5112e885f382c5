//! The loop of one listener, and the life of one connection.
//!
//! Who cuts when: `handshake` here; `first_byte`, `header` and the rate of request bodies in `wire`; the rate of
//! readers in `pace`, below TLS; idle between two requests by hyper's header timer, which runs from the end of a
//! response (so it is set to `idle`, and `header` alone would be cut short by it only when it is the longer one).

use super::caps::{Caps, Place};
use super::certificates::Certificates;
use super::drain::DrainToken;
use super::limits::EdgeLimits;
use super::meters::{EdgeMeters, Refusal};
use super::pace::PacedTcp;
use super::wire::Wire;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// First byte of a TLS record that holds a handshake. Source: RFC 8446, 5.1.
const TLS_HANDSHAKE: u8 = 0x16;
/// Unsent bytes the kernel may hold for one peer. Small, so that "the kernel took bytes" means "the peer read"; half
/// of it, the step in which a slow reader shows progress, is about what the least rate wants of one window.
const UNSENT_BYTES_MAX: u32 = 64 * 1024;
/// After `accept` failed for want of file descriptors: the way out is that connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One listener's settings.
#[derive(Debug, Clone)]
pub struct Door {
    /// Its certificate.
    pub certificates: Arc<Certificates>,
    /// Its bounds.
    pub limits: EdgeLimits,
    /// Its meters.
    pub meters: EdgeMeters,
}

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections still open at the deadline, and cut.
    pub cut: usize,
}

type Fault = Box<dyn StdError + Send + Sync>;

impl Door {
    /// Serves until `drain` begins; then accepts no more, lets requests in flight end, and cuts what is still open
    /// after [`EdgeLimits::drain`].
    pub async fn serve<S, B>(&self, listener: TcpListener, service: S, mut drain: DrainToken) -> Drained
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Fault>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Fault>,
    {
        let caps = Caps::new(&self.limits);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = drain.started() => break,
                accepted = listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(e) if is_of_the_peer(&e) => continue,
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match caps.enter(peer.ip()) {
                Ok(place) => {
                    let (door, service, drain) = (self.clone(), service.clone(), drain.clone());
                    connections.spawn(async move { door.connection(tcp, peer, place, service, drain).await });
                }
                Err(reason) => self.meters.refuse(reason),
            }
        }
        drop(listener);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(self.limits.drain, all).await.is_ok() {
            return Drained { cut: 0 };
        }
        let cut = connections.len();
        connections.shutdown().await;
        Drained { cut }
    }

    async fn connection<S, B>(self, tcp: TcpStream, peer: SocketAddr, _place: Place, service: S, mut drain: DrainToken)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Into<Fault>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Fault>,
    {
        let _open = Open::count(&self.meters);
        let greeted = tokio::select! {
            () = drain.started() => return,
            greeted = timeout(self.limits.handshake, self.handshake(tcp)) => greeted,
        };
        let tls = match greeted {
            Ok(Ok(tls)) => tls,
            Ok(Err(reason)) => return self.meters.refuse(reason),
            Err(_) => return self.meters.refuse(Refusal::HandshakeSlow),
        };
        let client =
            tls.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|c| c.clone().into_owned());
        let service = Introduced { inner: service, peer, client };
        let io = TokioIo::new(Wire::new(tls, &self.limits, self.meters.clone()));
        let mut http = pin!(self.http().serve_connection(io, service));
        let ended = tokio::select! {
            ended = http.as_mut() => ended,
            () = drain.started() => {
                http.as_mut().graceful_shutdown();
                http.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        }
    }

    /// Looks at the first byte before rustls does: what is not TLS gets no answer at all, not even an alert.
    async fn handshake(&self, tcp: TcpStream) -> Result<tokio_rustls::server::TlsStream<PacedTcp>, Refusal> {
        let mut first = [0];
        match tcp.peek(&mut first).await {
            Ok(1) if first[0] == TLS_HANDSHAKE => {}
            Ok(1) => return Err(Refusal::NotTls),
            Ok(_) | Err(_) => return Err(Refusal::Handshake),
        }
        _ = tcp.set_nodelay(true);
        _ = socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        let paced = PacedTcp::new(tcp, &self.limits, self.meters.clone());
        let accepted = TlsAcceptor::from(self.certificates.config()).accept(paced).await;
        accepted.map_err(|error| {
            tracing::debug!(%error, "TLS handshake failed");
            Refusal::Handshake
        })
    }

    fn http(&self) -> http1::Builder {
        let mut http = http1::Builder::new();
        // Without a timer the timeout is inert, and setting it panics.
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_headers(self.limits.headers_max)
            .max_buf_size(self.limits.buffer_bytes_max)
            .half_close(false)
            .ignore_invalid_headers(false);
        http
    }
}

/// Errors of `accept` that tell of one peer and not of us. Source: accept(2), "Error handling".
fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::*;
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted | NetworkUnreachable)
}

/// Counts one connection as open while it lives.
struct Open(EdgeMeters);

impl Open {
    fn count(meters: &EdgeMeters) -> Self {
        meters.accepted.inc();
        meters.connections.inc();
        Self(meters.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// Tells each request who sent it.
struct Introduced<S> {
    inner: S,
    peer: SocketAddr,
    client: Option<CertificateDer<'static>>,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Introduced<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.peer);
        if let Some(client) = &self.client {
            request.extensions_mut().insert(client.clone());
        }
        self.inner.call(request)
    }
}
