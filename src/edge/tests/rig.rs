//! A listener with a certificate authority of its own, a service that counts what it sees, and clients.

use crate::edge::{CertificateFiles, Certificates, ClientFiles, Door, Drain, Drained, EdgeLimits, EdgeMeters, Now};
use crate::model::time::Millis;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) type Tls = TlsStream<TcpStream>;

/// 2026-11-20; the certificates hold from 2026-01-01 to 2040-01-01.
pub(super) const TODAY: Millis = Millis(1_795_132_800_000);

/// An authority that signs what the tests need.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2040, 1, 1));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Chain and key in PEM form.
    pub(super) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2040, 1, 1));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    pub(super) fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 2, 1),
            next_update: date_time_ymd(2040, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .pem()
        .unwrap()
    }

    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

/// Writes as an operator should: beside, then rename.
pub(super) fn install(file: &Path, content: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, file).unwrap();
}

/// Deadlines that fit into a test. Every one of them is the production one divided by about 12.
pub(super) fn short() -> EdgeLimits {
    EdgeLimits {
        handshake: Duration::from_millis(400),
        first_byte: Duration::from_millis(400),
        header: Duration::from_millis(800),
        idle: Duration::from_millis(1500),
        body_window: Duration::from_millis(1000),
        body_window_bytes_min: 8 * 1024,
        drain: Duration::from_millis(1500),
        ..EdgeLimits::default()
    }
}

pub(super) struct Rig {
    pub(super) authority: Authority,
    pub(super) address: SocketAddr,
    pub(super) certificates: Arc<Certificates>,
    pub(super) meters: EdgeMeters,
    pub(super) drain: Drain,
    /// Requests that reached the service.
    pub(super) seen: Arc<AtomicU64>,
    pub(super) served: JoinHandle<Drained>,
    dir: tempfile::TempDir,
}

pub(super) fn today() -> Now {
    Arc::new(|| TODAY)
}

impl Rig {
    pub(super) async fn start(limits: EdgeLimits) -> Self {
        Self::start_with(limits, None).await
    }

    /// With an authority for clients, and the serials it revoked, the listener demands client certificates.
    pub(super) async fn start_with(limits: EdgeLimits, clients: Option<(&Authority, &[u64])>) -> Self {
        let (authority, dir) = (Authority::new("Test CA"), tempfile::tempdir().unwrap());
        let path = |name: &str| dir.path().join(name);
        let (chain, key) = authority.issue(|_| {});
        install(&path("chain.pem"), &chain);
        install(&path("key.pem"), &key);
        if let Some((clients, revoked)) = clients {
            install(&path("clients.pem"), &clients.pem);
            install(&path("revoked.pem"), &clients.revoke(revoked));
        }
        let files = CertificateFiles {
            chain: path("chain.pem"),
            key: path("key.pem"),
            clients: clients
                .map(|_| ClientFiles { authorities: path("clients.pem"), revoked: Some(path("revoked.pem")) }),
        };
        let (meters, drain, seen) = (EdgeMeters::default(), Drain::new(), Arc::new(AtomicU64::new(0)));
        let certificates = Certificates::load(files, today(), meters.clone()).unwrap();
        let door = Door { certificates: certificates.clone(), limits, meters: meters.clone() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counter, token) = (seen.clone(), drain.token());
        let service = service_fn(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            answer(request)
        });
        let served = tokio::spawn(async move { door.serve(listener, service, token).await });
        Self { authority, address, certificates, meters, drain, seen, served, dir }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    pub(super) fn client(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(self.authority.roots()).with_no_client_auth()
    }

    pub(super) fn client_with(&self, (chain, key): &(String, String)) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        builder.with_root_certificates(self.authority.roots()).with_client_auth_cert(chain, key).unwrap()
    }

    pub(super) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(super) async fn connect(&self) -> Tls {
        self.connect_as(self.client()).await.unwrap()
    }

    pub(super) async fn connect_as(&self, config: ClientConfig) -> std::io::Result<Tls> {
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }

    /// One whole request on a connection of its own: the answer, head and body.
    pub(super) async fn ask(&self, request: &str) -> String {
        let mut tls = self.connect().await;
        tls.write_all(request.as_bytes()).await.unwrap();
        read_to_close(&mut tls).await
    }
}

/// `/stream` never ends, `/slow` takes 300 ms, `/unread` leaves the body; everything else counts the body and tells
/// the peer's address.
async fn answer(request: Request<Incoming>) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, hyper::Error> {
    let peer = *request.extensions().get::<SocketAddr>().expect("the edge tells the peer");
    let client = request.extensions().get::<CertificateDer<'static>>().is_some();
    let body = match request.uri().path() {
        "/stream" => {
            let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
            let endless = futures::stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
            StreamBody::new(endless.boxed()).boxed_unsync()
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Full::new(Bytes::from("slow")).boxed_unsync()
        }
        "/unread" => Full::new(Bytes::from("unread")).boxed_unsync(),
        _ => {
            let body = request.into_body().collect().await?.to_bytes();
            let text = format!("{} bytes from {}, certificate: {client}", body.len(), peer.ip());
            Full::new(Bytes::from(text)).boxed_unsync()
        }
    };
    Ok(Response::new(body))
}

pub(super) async fn read_to_close(tls: &mut Tls) -> String {
    let mut all = Vec::new();
    // A reset is a close, too.
    _ = tls.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

pub(super) const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
