//! One bounded HTTPS POST or GET at a time, for the providers that speak JSON. TLS 1.2 or 1.3 with ring, no redirects,
//! no proxies from the environment, an end to every wait, a bound to every answer.
//!
//! Blocks; must not be called from an asynchronous task. The guard's threads call it.

use super::ProviderFault;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::redirect;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest answer read: batches of 64 wrapped keys with their names stay far below.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// A status and a body that was read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    /// May hold a key in base64.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// The client and the address it talks to.
pub(super) struct Http {
    client: Client,
    base: String,
}

impl Http {
    /// `endpoint` is `https://HOST[:PORT]`; plain `http` for a loopback address only. Trusts `ca_file` alone if given, else
    /// the system's authorities.
    pub(super) fn new(endpoint: &str, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, ProviderFault> {
        let base = endpoint.trim_end_matches('/').to_owned();
        let url = reqwest::Url::parse(&base).map_err(|_| ProviderFault::Setting("the address is not a URL"))?;
        let is_plain = url.scheme() == "http" && url.host_str().is_some_and(is_loopback);
        if url.scheme() != "https" && !is_plain {
            return Err(ProviderFault::Setting("the address begins with https://"));
        }
        if url.path() != "/" || url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(ProviderFault::Setting("the address is https://HOST[:PORT] and nothing more"));
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls(ca_file)?)
            .https_only(!is_plain)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .timeout(timeout)
            .pool_max_idle_per_host(4)
            .build();
        Ok(Self { client: client.map_err(|_| ProviderFault::Setting("TLS cannot be set up"))?, base })
    }

    /// `HOST[:PORT]`, as the `host` header has it.
    pub(super) fn host(&self) -> &str {
        self.base.split_once("://").map_or(self.base.as_str(), |(_, host)| host)
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    /// Sends, and reads the answer whole.
    pub(super) fn send(request: RequestBuilder) -> Result<Answer, ProviderFault> {
        let mut response = request.send().map_err(|error| fault(&error))?;
        let status = response.status().as_u16();
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(8 << 10));
        let read = Read::by_ref(&mut response).take(ANSWER_BYTES_MAX + 1).read_to_end(&mut body);
        match read {
            Ok(_) if body.len() as u64 > ANSWER_BYTES_MAX => Err(ProviderFault::TooLong),
            Ok(_) => Ok(Answer { status, body }),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(ProviderFault::Timeout),
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>()) {
                Some(inner) => Err(fault(inner)),
                None => Err(ProviderFault::NoConnection),
            },
        }
    }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, ProviderFault> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file).map_err(|_| ProviderFault::Authorities)?;
            for certificate in certificates {
                let certificate = certificate.map_err(|_| ProviderFault::Authorities)?;
                roots.add(certificate).map_err(|_| ProviderFault::Authorities)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(ProviderFault::Authorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| ProviderFault::Setting("TLS cannot be set up"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn fault(error: &reqwest::Error) -> ProviderFault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<rustls::Error>() {
            return ProviderFault::Untrusted;
        }
        // An I/O error shows what it was made of to nobody who asks for its source.
        let made_of = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = made_of.map(|inner| inner as &(dyn Error + 'static)).or_else(|| inner.source());
    }
    if error.is_timeout() { ProviderFault::Timeout } else { ProviderFault::NoConnection }
}
