//! TLS clients with what the tests choose: which authority they trust, which certificate they show.

use super::authority::{Authority, Issued};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use std::sync::Arc;

/// Trusts one authority, resumes nothing, shows `certificate` if it is asked for one.
pub(crate) fn client(trusted: &Authority, certificate: Option<&Issued>) -> Arc<ClientConfig> {
    client_of(trusted, certificate, &[&rustls::version::TLS13, &rustls::version::TLS12])
}

pub(crate) fn client_of(
    trusted: &Authority,
    certificate: Option<&Issued>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = builder.expect("ring speaks them").with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(vec![own.der()], own.key_der()).expect("a pair"),
    };
    config.resumption = Resumption::disabled();
    Arc::new(config)
}
