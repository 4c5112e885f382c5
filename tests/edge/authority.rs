//! A certificate authority of the test's own: servers, clients, lists of the revoked.

use geoseal_support::daemon::Daemon;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("rcgen writes PEM")
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("rcgen writes PEM")
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = dated(CertificateParams::new(vec![]).expect("no names"));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("ring makes keys");
        let pem = params.self_signed(&key).expect("ring signs").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this machine, changed by `change`.
    pub(crate) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = dated(CertificateParams::new(names).expect("good names"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params.signed_by(&key, &self.issuer).expect("ring signs");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 2, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 2, 1),
            next_update: date_time_ymd(2049, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("ring signs").pem().expect("a list has a PEM form")
    }
}

/// Good today, whenever the test runs.
fn dated(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2021, 1, 1), date_time_ymd(2049, 1, 1));
    params
}

/// Expired long ago.
pub(crate) fn expired(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2021, 1, 1), date_time_ymd(2022, 1, 1));
}

/// Puts a certificate where the daemon's settings say, as an operator should: beside, then by rename; key first.
pub(crate) fn install(daemon: &Daemon, issued: &Issued) {
    put(&daemon.dir().join("tls/server-key.pem"), &issued.key);
    put(&daemon.dir().join("tls/server.pem"), &issued.certificate);
}

pub(crate) fn put(file: &Path, content: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, content).expect("our own directory");
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).expect("our own file");
    fs::rename(beside, file).expect("our own directory");
}
