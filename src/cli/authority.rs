//! The certificate authority of a directory, and the server certificate it signs. For development, and for a first
//! start in production; an operator may put certificates of another authority in the same places.

use super::failure::Failure;
use super::files::{Readers, failed, make_dir, read_if_there, replace, write_new};
use crate::model::time::Millis;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::path::{Path, PathBuf};
use x509_parser::pem::parse_x509_pem;

/// How long the authority is good for, in days.
const AUTHORITY_DAYS: i64 = 3650;
/// How long a server certificate is good for, in days. Source: what browsers and Apple's clients still take, 398.
const SERVER_DAYS: i64 = 397;
/// A server certificate that ends within so many days is signed anew.
const RENEW_DAYS: i64 = 30;
/// Certificates begin a little earlier, for clients whose clock is behind.
const BEGIN_EARLIER_S: i64 = 3600;

const DAY_S: i64 = 86_400;

/// Where the certificates of a directory lie.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    /// The authority's certificate: what clients trust.
    pub(super) ca: PathBuf,
    /// The authority's signing key, mode 600. A server does not need it.
    pub(super) ca_key: PathBuf,
    /// The server's certificate.
    pub(super) certificate: PathBuf,
    /// The server's key, mode 600.
    pub(super) key: PathBuf,
}

impl Certificates {
    /// Their places under `dir`.
    pub(super) fn under(dir: &Path) -> Self {
        let tls = dir.join("tls");
        Self {
            ca: tls.join("ca.pem"),
            ca_key: tls.join("ca-key.pem"),
            certificate: tls.join("server.pem"),
            key: tls.join("server-key.pem"),
        }
    }

    /// Makes what is missing; signs the server certificate anew when it ends soon.
    pub(super) fn ensure(&self, hosts: &[String], now: Millis) -> Result<(), Failure> {
        make_dir(self.ca.parent().expect("it lies under tls/"))?;
        if read_if_there(&self.ca)?.is_none() {
            self.found(now)?;
        }
        let wanted = match read_if_there(&self.certificate)? {
            None => true,
            Some(pem) => ends(&pem).is_none_or(|end| end.seconds() < now.seconds() + RENEW_DAYS * DAY_S),
        };
        if wanted { self.sign(hosts, now) } else { Ok(()) }
    }

    fn found(&self, now: Millis) -> Result<(), Failure> {
        let signing = KeyPair::generate().map_err(broken)?;
        let certificate = authority(now)?.self_signed(&signing).map_err(broken)?;
        // A leftover key whose certificate was never written signed nothing: it may go.
        replace(&self.ca_key, signing.serialize_pem().as_bytes(), Readers::Owner)?;
        write_new(&self.ca, certificate.pem().as_bytes(), Readers::Everybody)
    }

    fn sign(&self, hosts: &[String], now: Millis) -> Result<(), Failure> {
        let pem = std::fs::read_to_string(&self.ca_key).map_err(|e| failed(&self.ca_key, &e))?;
        let issuer = Issuer::new(authority(now)?, KeyPair::from_pem(&pem).map_err(broken)?);
        let serving = KeyPair::generate().map_err(broken)?;
        let certificate = server(hosts, now)?.signed_by(&serving, &issuer).map_err(broken)?;
        // The key first: a server that looks in between finds a pair that does not match, and keeps the old one.
        replace(&self.key, serving.serialize_pem().as_bytes(), Readers::Owner)?;
        replace(&self.certificate, certificate.pem().as_bytes(), Readers::Everybody)
    }
}

/// The authority's particulars; the same each time but for the dates, so that an issuer can be made of them again.
fn authority(now: Millis) -> Result<CertificateParams, Failure> {
    let mut params = valid(CertificateParams::default(), now, AUTHORITY_DAYS)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "geoseal local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server(hosts: &[String], now: Millis) -> Result<CertificateParams, Failure> {
    let params = CertificateParams::new(hosts).map_err(|_| Failure::Usage("a host is a name or an address".into()))?;
    let mut params = valid(params, now, SERVER_DAYS)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "geoseal");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn valid(mut params: CertificateParams, now: Millis, days: i64) -> Result<CertificateParams, Failure> {
    let at = |time: Millis| {
        let date = jiff::Timestamp::from_second(time.seconds()).ok()?.to_zoned(jiff::tz::TimeZone::UTC).date();
        let (month, day) = (u8::try_from(date.month()).ok()?, u8::try_from(date.day()).ok()?);
        Some(rcgen::date_time_ymd(date.year().into(), month, day))
    };
    let unset = || Failure::Failed("this machine's clock is not set".into());
    params.not_before = at(now.plus_seconds(-BEGIN_EARLIER_S)).ok_or_else(unset)?;
    params.not_after = at(now.plus_seconds(days * DAY_S)).ok_or_else(unset)?;
    Ok(params)
}

fn ends(pem: &[u8]) -> Option<Millis> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    Some(Millis::from_seconds(certificate.validity().not_after.timestamp()))
}

fn broken(error: rcgen::Error) -> Failure {
    Failure::Failed(format!("certificates: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    use std::sync::Arc;
    use std::time::Duration;

    fn now() -> Millis {
        "2026-11-20T11:30:00Z".parse().unwrap()
    }

    fn accepts(at: &Certificates, host: &str, when: Millis) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&at.ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let certificate = CertificateDer::from_pem_file(&at.certificate).unwrap();
        let when = UnixTime::since_unix_epoch(Duration::from_secs(when.seconds().unsigned_abs()));
        let host = ServerName::try_from(host.to_owned()).unwrap();
        verifier.verify_server_cert(&certificate, &[], &host, &[], when).is_ok()
    }

    #[test]
    fn a_client_that_trusts_the_authority_accepts_the_hosts_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let at = Certificates::under(dir.path());
        let hosts = ["localhost", "*.s3.example.org", "127.0.0.1", "::1"].map(str::to_owned);
        at.ensure(&hosts, now()).unwrap();
        for host in ["localhost", "interactions.s3.example.org", "127.0.0.1", "::1"] {
            assert!(accepts(&at, host, now()), "{host}");
        }
        for other in ["example.org", "127.0.0.2", "a.b.s3.example.org"] {
            assert!(!accepts(&at, other, now()), "{other}");
        }
        assert!(!accepts(&at, "localhost", now().plus_seconds(400 * DAY_S)));
    }

    #[test]
    fn a_certificate_that_ends_soon_is_signed_anew_by_the_same_authority() {
        let dir = tempfile::tempdir().unwrap();
        let at = Certificates::under(dir.path());
        let hosts = ["localhost".to_owned()];
        let files = || [&at.ca, &at.ca_key, &at.certificate, &at.key].map(|p| std::fs::read(p).unwrap());
        at.ensure(&hosts, now()).unwrap();
        let first = files();
        at.ensure(&hosts, now().plus_seconds(300 * DAY_S)).unwrap();
        assert_eq!(first, files(), "nothing is made twice");
        let later = now().plus_seconds(380 * DAY_S);
        at.ensure(&hosts, later).unwrap();
        let second = files();
        assert_eq!((first[..2] == second[..2], first[2] == second[2]), (true, false));
        assert!(accepts(&at, "localhost", later.plus_seconds(300 * DAY_S)));
    }
}
