//! The certificate of a listener: loaded, checked, swapped while connections run.
//!
//! Invariants:
//! - what is served was checked before it was swapped in: the key belongs to the leaf, the chain is in order, today lies
//!   within its dates, the leaf names at least one host;
//! - a broken new one never replaces a good old one; it is logged as an error and counted, once per change of the files;
//! - a listener that asks for client certificates resumes no session: a resumed one is not verified again, so it
//!   would outlive a revocation.

use super::drain::DrainToken;
use super::meters::EdgeMeters;
use crate::model::time::Millis;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// Sessions that may resume without a ticket, per listener.
const SESSIONS_MAX: usize = 4096;
/// A certificate that ends sooner than this is worth a warning at every load.
const EXPIRES_SOON_S: i64 = 14 * 86_400;

/// Where "now" comes from.
pub type Now = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The PEM files of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The leaf first, then the authorities between it and the root.
    pub chain: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
    /// Whose client certificates to demand; `None` demands none.
    pub clients: Option<ClientFiles>,
}

/// The PEM files that decide about client certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities that sign clients.
    pub authorities: PathBuf,
    /// Their revocation lists, one file; with it, a client of an authority without a list is refused.
    pub revoked: Option<PathBuf>,
}

/// Why certificate files were refused. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file has no such PEM section, or a broken one.
    #[error("{}: expected {expected} in PEM form", file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// Not an X.509 certificate.
    #[error("{}: not an X.509 certificate", .0.display())]
    Certificate(PathBuf),
    /// A certificate was not signed by the one that follows it.
    #[error("{}: the chain is out of order: the leaf comes first, then whoever signed it, and so on", .0.display())]
    ChainOrder(PathBuf),
    /// The dates do not hold today.
    #[error("{}: valid from {from} until {until}, and it is now {now}", file.display())]
    Dates {
        /// Which.
        file: PathBuf,
        /// First moment.
        from: Millis,
        /// Last moment.
        until: Millis,
        /// Today.
        now: Millis,
    },
    /// The leaf names no host.
    #[error("{}: names no host in subjectAltName; clients would refuse it", .0.display())]
    NoHost(PathBuf),
    /// The key is another certificate's.
    #[error("{}: this key does not belong to the certificate in {}", key.display(), chain.display())]
    OtherKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        chain: PathBuf,
    },
    /// rustls or webpki refuses them.
    #[error("{}: {why}", file.display())]
    Refused {
        /// Which.
        file: PathBuf,
        /// Their words.
        why: String,
    },
}

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are the same as at the last look.
    Unchanged,
    /// New connections get the new certificate.
    Swapped,
    /// The new files are broken; the old certificate is kept.
    Kept,
}

/// The TLS settings of one listener, reloading.
pub struct Certificates {
    files: CertificateFiles,
    now: Now,
    meters: EdgeMeters,
    resumption: Resumption,
    served: ArcSwap<ServerConfig>,
    /// Digest of the files at the last look, good or bad.
    seen: Mutex<[u8; 32]>,
}

/// Lives longer than a certificate, so that a swap does not end sessions.
struct Resumption {
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Certificates {
    /// Loads and checks the files; fails where a reload would keep the old ones.
    pub fn load(files: CertificateFiles, now: Now, meters: EdgeMeters) -> Result<Arc<Self>, CertificateError> {
        let resumption = Resumption {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            tickets: rustls::crypto::ring::Ticketer::new().expect("the operating system gives random bytes"),
            sessions: ServerSessionMemoryCache::new(SESSIONS_MAX),
        };
        let pems = Pems::read(&files)?;
        let seen = Mutex::new(pems.digest());
        let served = ArcSwap::from_pointee(build(&files, &pems, now(), &resumption, &meters)?);
        Ok(Arc::new(Self { files, now, meters, resumption, served, seen }))
    }

    /// What the next connection is served with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.served.load_full()
    }

    /// Whole days until what is served ends, by the clock that its dates are judged by; negative behind its end.
    pub fn days_left(&self) -> i64 {
        (self.meters.certificate_expires.get() - (self.now)().seconds()).div_euclid(86_400)
    }

    /// Looks at the files and swaps them in if they are new and good. Reads the disk.
    pub fn reload(&self) -> Reloaded {
        let built = match Pems::read(&self.files) {
            Ok(pems) => {
                let digest = pems.digest();
                if std::mem::replace(&mut *self.seen.lock(), digest) == digest {
                    return Reloaded::Unchanged;
                }
                build(&self.files, &pems, (self.now)(), &self.resumption, &self.meters)
            }
            // A file that is gone: said once, and seen as a change when it is back.
            Err(_) if std::mem::take(&mut *self.seen.lock()) == [0; 32] => return Reloaded::Unchanged,
            Err(e) => Err(e),
        };
        match built {
            Ok(config) => {
                self.served.store(Arc::new(config));
                self.meters.reload(true);
                tracing::info!(file = %self.files.chain.display(), "certificate reloaded");
                Reloaded::Swapped
            }
            Err(error) => {
                self.meters.reload(false);
                tracing::error!(%error, "the new certificate is broken; the old one is kept");
                Reloaded::Kept
            }
        }
    }

    /// Reloads on SIGHUP and `every` so often, until draining begins.
    pub async fn watch(self: Arc<Self>, every: Duration, mut drain: DrainToken) -> std::io::Result<()> {
        let mut hang_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                () = drain.started() => return Ok(()),
                _ = hang_up.recv() => tracing::info!("SIGHUP: looking at the certificates"),
                () = tokio::time::sleep(every) => {}
            }
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.reload()).await.expect("a reload does not panic");
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The files' bytes at one moment.
struct Pems {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    authorities: Vec<u8>,
    revoked: Vec<u8>,
}

impl Pems {
    fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let clients = files.clients.as_ref();
        Ok(Self {
            chain: read(&files.chain)?,
            key: Zeroizing::new(read(&files.key)?),
            authorities: clients.map_or(Ok(Vec::new()), |c| read(&c.authorities))?,
            revoked: clients.and_then(|c| c.revoked.as_deref()).map_or(Ok(Vec::new()), read)?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for part in [&self.chain, &*self.key, &self.authorities, &self.revoked] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(file).map_err(|source| CertificateError::Read { file: file.to_owned(), source })
}

fn build(
    files: &CertificateFiles,
    pems: &Pems,
    now: Millis,
    resumption: &Resumption,
    meters: &EdgeMeters,
) -> Result<ServerConfig, CertificateError> {
    let chain: Vec<CertificateDer<'static>> = sections(&pems.chain, &files.chain, "certificates")?;
    let until = check_chain(&chain, &files.chain, now)?;
    let key = PrivateKeyDer::from_pem_slice(&pems.key)
        .map_err(|_| CertificateError::Pem { file: files.key.clone(), expected: "a private key" })?;
    let provider = resumption.provider.clone();
    let leaf = CertifiedKey::from_der(chain, key, &provider).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            CertificateError::OtherKey { key: files.key.clone(), chain: files.chain.clone() }
        }
        e => CertificateError::Refused { file: files.key.clone(), why: e.to_string() },
    })?;
    // Links between machines of ours speak 1.3 only; S3 clients may be older.
    let versions: &[_] = if files.clients.is_some() { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .expect("ring offers suites for TLS 1.2 and 1.3");
    let mut config = match &files.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(verifier(clients, pems, provider)?),
    }
    .with_cert_resolver(Arc::new(SingleCertAndKey::from(leaf)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.require_ems = true;
    config.max_early_data_size = 0;
    config.enable_secret_extraction = false;
    config.cert_compressors = Vec::new();
    if files.clients.is_some() {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.session_storage = resumption.sessions.clone();
        config.ticketer = resumption.tickets.clone();
    }
    meters.certificate_expires.set(until.seconds());
    Ok(config)
}

/// The leaf's last moment. Checks dates and order of the chain, and that the leaf names a host.
fn check_chain(chain: &[CertificateDer<'_>], file: &Path, now: Millis) -> Result<Millis, CertificateError> {
    let parsed: Vec<_> = chain
        .iter()
        .map(|der| X509Certificate::from_der(der).map(|(_, certificate)| certificate))
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::Certificate(file.to_owned()))?;
    if parsed.windows(2).any(|pair| pair[0].issuer() != pair[1].subject()) {
        return Err(CertificateError::ChainOrder(file.to_owned()));
    }
    for certificate in &parsed {
        let dates = certificate.validity();
        let from = Millis::from_seconds(dates.not_before.timestamp());
        let until = Millis::from_seconds(dates.not_after.timestamp());
        if now < from || until < now {
            return Err(CertificateError::Dates { file: file.to_owned(), from, until, now });
        }
        if until < now.plus_seconds(EXPIRES_SOON_S) {
            tracing::warn!(file = %file.display(), %until, "this certificate ends soon");
        }
    }
    let leaf = &parsed[0];
    match leaf.subject_alternative_name() {
        Ok(Some(names)) if !names.value.general_names.is_empty() => {
            Ok(Millis::from_seconds(leaf.validity().not_after.timestamp()))
        }
        _ => Err(CertificateError::NoHost(file.to_owned())),
    }
}

fn verifier(
    clients: &ClientFiles,
    pems: &Pems,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, CertificateError> {
    let refused = |file: &Path, why: String| CertificateError::Refused { file: file.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for authority in sections(&pems.authorities, &clients.authorities, "certificates")? {
        roots.add(authority).map_err(|e| refused(&clients.authorities, e.to_string()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(file) = &clients.revoked {
        let lists: Vec<CertificateRevocationListDer<'static>> = sections(&pems.revoked, file, "revocation lists")?;
        // An unknown status is refused (the builder's default), and so is a list that is out of date.
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    builder.build().map_err(|e| refused(&clients.authorities, e.to_string()))
}

fn sections<T: PemObject>(pem: &[u8], file: &Path, expected: &'static str) -> Result<Vec<T>, CertificateError> {
    let broken = || CertificateError::Pem { file: file.to_owned(), expected };
    let found: Vec<T> = T::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| broken())?;
    if found.is_empty() { Err(broken()) } else { Ok(found) }
}
