//! The certificate of a destruction: signed by the key service's log key, kept durably, named in the log.

use super::Purge;
use crate::audit::{Event as Record, Hash, Receipt};
use crate::model::time::Millis;
use crate::seal::{KeyClient, KeyError};
use crate::sweep::certificate::{
    self, AuditEntry, Certificate, CertificateError, Destruction, EarlyEnd, Keys, Kind, Level, Listing, PublicKey,
    Signer,
};
use crate::sweep::closing::Reached;
use crate::sweep::note::{Ended, Note};
use crate::sweep::{SweepError, archive, blocking};
use crate::tenant::{self, Event, Proof, Standing};

impl Purge<'_> {
    /// Entry → certificate on disk → entry.
    pub(super) async fn certify(
        &self,
        standing: &Standing,
        note: &mut Note,
        listings: Vec<Listing>,
    ) -> Result<Hash, SweepError> {
        // Whether the state machine would let it end, before the log says that it did.
        let left = listings.iter().map(|listing| listing.rows_left + listing.blobs_left).sum();
        let proof = Proof { left, key_opens: false, certificate: [0; 32] };
        let now = self.rooms.tenancy.clock.now();
        tenant::step(standing, &Event::Verified(proof), &now)?;
        let receipt = self.log_once(note, Record::TenantPurged { tenant: self.id }).await?;
        let ended = match note.ended {
            Some(ended) => ended,
            None => {
                let ended = Ended::new(receipt, now.cc_lo);
                note.ended = Some(ended);
                note.keep(&self.rooms.tenancy.directory, self.id).await?;
                ended
            }
        };
        let audit = AuditEntry { index: ended.index, hash: ended.hash() };
        let hash = self.issue(Kind::Final, standing, note, listings, audit, ended.at).await?;
        self.log_once(note, Record::CertificateIssued { tenant: self.id, certificate: hash }).await?;
        Ok(hash)
    }

    pub(super) async fn certify_residual(
        &self,
        standing: &Standing,
        note: &Note,
        listings: Vec<Listing>,
        destroyed: Receipt,
    ) -> Result<(), SweepError> {
        let audit = AuditEntry { index: destroyed.index, hash: destroyed.hash };
        let now = self.rooms.tenancy.clock.now().cc_lo;
        let hash = self.issue(Kind::Residual, standing, note, listings, audit, now).await?;
        self.log_once(note, Record::CertificateIssued { tenant: self.id, certificate: hash }).await?;
        Ok(())
    }

    /// Signs a certificate and keeps it, unless one about the same entry is kept already.
    async fn issue(
        &self,
        kind: Kind,
        standing: &Standing,
        note: &Note,
        listings: Vec<Listing>,
        audit: AuditEntry,
        ended: Millis,
    ) -> Result<Hash, SweepError> {
        let keys = self.rooms.tenancy.directory.key_service().clone();
        let (dir, id) = (self.rooms.certificates.clone(), self.id);
        let shredded = note.shredded.as_ref().ok_or(SweepError::Integrity)?;
        let purge = standing.purge.as_ref().ok_or(SweepError::Integrity)?;
        let termination = standing.termination.as_ref().ok_or(SweepError::Integrity)?;
        let destruction = Destruction::judged(
            shredded.files_searched,
            shredded.records_found,
            shredded.overwritten_in_place,
            &shredded.file_system,
        );
        let gone = shredded.at.map_or(ended, Millis::from_seconds).to_string();
        let absent = (destruction.level >= Level::S2).then(|| gone.clone());
        let backups = Some(self.rooms.backups(standing.created.at).await?);
        let certificate = Certificate {
            schema: Certificate::SCHEMA.to_owned(),
            kind,
            tenant: self.id,
            geo: standing.geo.clone(),
            terminated_at: termination.at.at.to_string(),
            due_at: termination.due.to_string(),
            early: EarlyEnd::of(standing),
            purge_begun_at: purge.begun.at.to_string(),
            purge_ended_at: ended.to_string(),
            deleted: note.counts(),
            manifest_sha256: hex::encode(note.manifest),
            listings,
            keys: Keys { destroyed: shredded.destroyed.clone(), probe_opens: false },
            destruction,
            reached: Some(Reached { s1: gone, s2: absent, s3: None }),
            epoch: None,
            backups,
            holds: Vec::new(),
            audit,
            not_covered: Certificate::not_covered(),
            issued_at: self.rooms.tenancy.clock.now().cc_lo.to_string(),
        };
        blocking(move || -> Result<Hash, SweepError> {
            let hand = Hand(&keys);
            if let Some(kept) = archive::read(&dir, id, kind)? {
                let same: Result<Certificate, CertificateError> =
                    certificate::verify(&kept, &PublicKey(hand.public_key()));
                if same.is_ok_and(|kept| kept.tenant == id && kept.audit == certificate.audit) {
                    return Ok(Hash::of(&[kept.as_bytes()]));
                }
            }
            let signed = certificate.sign(&hand)?;
            archive::keep(&dir, id, kind, signed.text())?;
            Ok(signed.hash())
        })
        .await
    }
}

/// The key service's hand under a certificate.
pub(in crate::sweep) struct Hand<'a>(pub(in crate::sweep) &'a KeyClient);

impl Signer for Hand<'_> {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        self.0.sign(message)
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.log_key()
    }
}
