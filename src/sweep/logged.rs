//! A certificate together with what shows that the audit log has it: made when somebody fetches it, verified without us.
//!
//! The file gets a third member, `log`: the entry that `audit` names and the entry `certificate-issued` that names the
//! SHA-256 of the file without `log`, each as a tlog-proof that leads to one signed checkpoint; where the reader kept an older
//! checkpoint, the hashes between the two as well. So the certificate is bound to a log that cannot be written anew
//! behind the back of whoever keeps checkpoints. Source: docs/retention.md, "In the log".

use super::certificate::{self, AuditEntry, Certificate, CertificateError, Kind, PublicKey, Signed};
use super::of_subject::SubjectCertificate;
use crate::audit::tree::{Checkpoint, EntryProof, Growth, GrowthError, ProofError, check_growth};
use crate::audit::{Entry, Event, Hash};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The member `log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InLog {
    /// The entry that the certificate's `audit` names: what it certifies. None where it names none: nothing was stored of a
    /// data subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The entry that names the certificate.
    pub issued: String,
    /// From the reader's older checkpoint to that of the two proofs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
}

/// What was shown of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What it says.
    pub certificate: Certificate,
    /// Where the log has it; none when the file has no member `log`.
    pub logged: Option<Place>,
}

/// Where the log has a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the entry that names it.
    pub index: u64,
    /// The checkpoint that it is under.
    pub checkpoint: Checkpoint,
    /// Entries of the older checkpoint that this one goes on from, where one was given.
    pub since: Option<u64>,
}

/// Why a certificate does not hold, or is not shown to be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoggedError {
    /// The certificate itself.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The proof of the entry that `audit` names.
    #[error("the proof of the log's entry on the destruction: {0}")]
    Ended(ProofError),
    /// It is another entry than the certificate says.
    #[error("the entry in `log.ended` is not the one that the certificate names")]
    OtherEntry,
    /// The proof of the entry that names the certificate.
    #[error("the proof of the log's entry on the certificate: {0}")]
    Issued(ProofError),
    /// The log names another certificate.
    #[error("the entry in `log.issued` names another certificate than this one")]
    OtherCertificate,
    /// The two proofs are of two states of the log.
    #[error("the two proofs are under different checkpoints")]
    TwoCheckpoints,
    /// The checkpoint against the reader's older one.
    #[error(transparent)]
    Growth(#[from] GrowthError),
    /// A checkpoint to compare with was given, and the file has no proof.
    #[error("it carries nothing that shows it to be in the log: fetch it again with `certificate get`")]
    Bare,
}

/// The file with its place in the log.
pub fn attach(signed: &str, log: &InLog) -> Result<Value, CertificateError> {
    let mut document: Value = serde_json::from_str(signed).map_err(|_| CertificateError::Malformed)?;
    let log = serde_json::to_value(log).expect("plain fields have a JSON form");
    document.as_object_mut().ok_or(CertificateError::Malformed)?.insert("log".into(), log);
    Ok(document)
}

/// Verifies a tenant's certificate by the log's public key alone; against an `older` checkpoint where there is one.
pub fn verify(file: &str, key: &PublicKey, older: Option<&str>) -> Result<Shown, LoggedError> {
    let (bare, log) = detach(file)?;
    let certificate = certificate::verify(bare.text(), key)?;
    let Some(log) = log else {
        let logged = None;
        return if older.is_some() { Err(LoggedError::Bare) } else { Ok(Shown { certificate, logged }) };
    };
    let tenant = certificate.tenant;
    let ended = |entry: &Entry| {
        entry.tenant() == Some(tenant) && (certificate.kind != Kind::Final || entry.name() == "tenant-purged")
    };
    let issued = Event::CertificateIssued { tenant, certificate: bare.hash() };
    let wanted = Wanted { audit: Some(&certificate.audit), ended: &ended, issued, geo: &certificate.geo };
    let place = wanted.place(&log, key, older)?;
    Ok(Shown { certificate, logged: Some(place) })
}

/// The same of the certificate of a data subject's erasure.
pub fn verify_of_subject(
    file: &str,
    key: &PublicKey,
    older: Option<&str>,
) -> Result<(SubjectCertificate, Option<Place>), LoggedError> {
    let (bare, log) = detach(file)?;
    let certificate = SubjectCertificate::verify(bare.text(), key)?;
    let Some(log) = log else {
        return if older.is_some() { Err(LoggedError::Bare) } else { Ok((certificate, None)) };
    };
    let tenant = certificate.tenant.parse().map_err(|_| CertificateError::Malformed)?;
    let number = certificate.dsr.strip_prefix("DSR-").and_then(|number| number.parse().ok());
    let dsr = number.ok_or(CertificateError::Malformed)?;
    let ended = |entry: &Entry| entry.tenant() == Some(tenant) && entry.name() == "subject-erased";
    let issued = Event::SubjectCertificateIssued { tenant, dsr, certificate: bare.hash() };
    let wanted = Wanted { audit: certificate.audit.as_ref(), ended: &ended, issued, geo: &certificate.geo };
    let place = wanted.place(&log, key, older)?;
    Ok((certificate, Some(place)))
}

/// What the log has to have.
struct Wanted<'a> {
    /// The entry that the certificate names.
    audit: Option<&'a AuditEntry>,
    /// Whether that is one of its kind.
    ended: &'a dyn Fn(&Entry) -> bool,
    /// The entry that names the certificate.
    issued: Event,
    geo: &'a str,
}

impl Wanted<'_> {
    fn place(&self, log: &InLog, key: &PublicKey, older: Option<&str>) -> Result<Place, LoggedError> {
        match (&log.ended, self.audit) {
            (None, None) => {}
            (Some(ended), Some(audit)) => {
                let (entry, _) = proven(ended, key).map_err(LoggedError::Ended)?;
                if (entry.index, entry.hash) != (audit.index, audit.hash) || !(self.ended)(&entry) {
                    return Err(LoggedError::OtherEntry);
                }
            }
            _ => return Err(LoggedError::OtherEntry),
        }
        let (issued, checkpoint) = proven(&log.issued, key).map_err(LoggedError::Issued)?;
        if issued.event().as_ref() != Some(&self.issued) {
            return Err(LoggedError::OtherCertificate);
        }
        let note = |proof: &str| proof.split_once("\n\n").map(|(_, note)| note.to_owned());
        let same = log.ended.as_ref().is_none_or(|ended| note(ended) == note(&log.issued));
        if !same || checkpoint.geo != self.geo {
            return Err(LoggedError::TwoCheckpoints);
        }
        let since = older.map(|older| check_growth(older, &checkpoint, &key.0, log.growth.as_ref())).transpose()?;
        Ok(Place { index: issued.index, checkpoint, since })
    }
}

/// The file as it was signed, and what was put beside it. The whole has to be as we write it.
fn detach(file: &str) -> Result<(Signed, Option<InLog>), CertificateError> {
    let text = file.strip_suffix('\n').unwrap_or(file);
    let mut document: Value = serde_json::from_str(text).map_err(|_| CertificateError::Malformed)?;
    if !certificate::is_as_written(text, &document) {
        return Err(CertificateError::Malformed);
    }
    let log = document.as_object_mut().and_then(|members| members.remove("log"));
    let log = log.map(serde_json::from_value).transpose().map_err(|_| CertificateError::Malformed)?;
    Ok((Signed::of(document), log))
}

/// A proof that holds, written as we write it.
fn proven(text: &str, key: &PublicKey) -> Result<(Entry, Checkpoint), ProofError> {
    let proof = EntryProof::parse(text)?;
    if proof.to_text() != text {
        return Err(ProofError::Malformed);
    }
    proof.verify(&key.0)
}

/// Where to look in the log for a certificate as it was signed: the index of the entry that it names itself, and the hash by
/// which a later entry names it.
pub fn named(signed: &str) -> Option<(u64, Hash)> {
    let document: Value = serde_json::from_str(signed).ok()?;
    Some((document.pointer("/certificate/audit/index")?.as_u64()?, Hash::of(&[signed.as_bytes()])))
}
