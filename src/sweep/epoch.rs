//! The end of an epoch's close: when the soak is over the older versions of the master key are destroyed; then every
//! tenant whose destruction fell into the epoch gets a certificate that says so, and the close one of its own.
//!
//! Order: entry → destruction at the key service, which goes by its own clock → entries → certificates. What a crash cuts
//! off the next sweep does: certificates are made for every closed epoch that has none of its own yet.

use super::certificate::{self, Certificate, Kind, PublicKey, Signer};
use super::certificate::{Destruction, Level};
use super::closing::{EpochCertificate, EpochPart, KeysReplaced, MasterPart, Reached};
use super::purge::certify::Hand;
use super::run::GeoRooms;
use super::{SweepError, archive, blocking};
use crate::audit::{Actor, Event as Record};
use crate::directory::ClosePart;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::seal::{EpochClosed, EpochPhase, KeyClient, KeyError, Refusal, Shred, Shredded};
use std::path::PathBuf;
use std::sync::Arc;

/// Finishes the close of the geo's epoch if it is due, and certifies what is not certified yet. Answers whether one was
/// closed.
pub(super) async fn finish(rooms: &GeoRooms, actor: &Actor) -> Result<bool, SweepError> {
    let closed = destroy(rooms, actor).await?;
    let keys = rooms.tenancy.directory.key_service().clone();
    for epoch in blocking(move || keys.epochs()).await? {
        certify(rooms, actor, epoch).await?;
    }
    Ok(closed)
}

async fn destroy(rooms: &GeoRooms, actor: &Actor) -> Result<bool, SweepError> {
    let audit = &rooms.tenancy.audit;
    let keys = rooms.tenancy.directory.key_service().clone();
    let asked = keys.clone();
    let Some(job) = blocking(move || asked.epoch_job()).await? else { return Ok(false) };
    let now = rooms.tenancy.clock.now().cc_lo.seconds();
    if job.phase == EpochPhase::Wrapping || job.soaked_at().is_none_or(|soaked| now < soaked) {
        return Ok(false);
    }
    if job.alarms > 0 && job.phase == EpochPhase::Soaking {
        audit.append(actor, Record::EpochAlarm { number: job.number, uses: job.alarms }).await?;
        tracing::error!(number = job.number, "a master key that is to be destroyed is still in use: see `key epoch`");
        return Err(KeyError::Refused(Refusal::InUse).into());
    }
    audit.append(actor, Record::EpochEnding { number: job.number, to: job.to }).await?;
    let Some(closed) = blocking(move || keys.epoch_finish()).await? else { return Ok(false) };
    for master in &closed.masters {
        audit.append(actor, Record::MasterKeyDestroyed { version: master.version }).await?;
    }
    let (masters, backups) = (closed.masters.len() as u64, closed.backups.len() as u64);
    let (number, records) = (closed.number, closed.records);
    audit.append(actor, Record::EpochClosed { number, records, masters, backups }).await?;
    Ok(true)
}

async fn certify(rooms: &GeoRooms, actor: &Actor, closed: EpochClosed) -> Result<(), SweepError> {
    let (keys, dir) = (rooms.tenancy.directory.key_service().clone(), rooms.certificates.clone());
    let own = archive::epoch(closed.number);
    let work = Certifying {
        keys,
        dir,
        geo: rooms.tenancy.directory.geo().id.to_owned(),
        gone: rooms.master_gone,
        now: rooms.tenancy.clock.now().cc_lo,
        closed,
    };
    let (name, known) = (own.clone(), work.dir.clone());
    if blocking(move || archive::read_named(&known, &name)).await?.is_some() {
        return Ok(());
    }
    let (work, shreds) = blocking(move || -> Result<_, SweepError> {
        let shreds = work.keys.shreds(work.closed.shreds_from, work.closed.shreds_to)?;
        Ok((work, shreds))
    })
    .await?;
    let directory = &rooms.tenancy.directory;
    let parts = directory.close_parts(work.closed.number).await?;
    let (number, work) = (work.closed.number, Arc::new(work));
    let mut waiting = false;
    for shred in &shreds {
        let Shredded::Tenant(tenant) = shred.what else { continue };
        let (work, tenant) = (work.clone(), TenantId(tenant));
        match blocking(move || work.tenant(tenant)).await? {
            Made::Now(certificate) => {
                rooms.tenancy.audit.append(actor, Record::CertificateIssued { tenant, certificate }).await?;
            }
            Made::Before => {}
            Made::NotYet => waiting = true,
        }
    }
    // A tenant whose keys went first, with a region out of reach, has its own certificate still to come.
    if waiting {
        return Ok(());
    }
    let served = rooms.regions();
    let regions = directory.geo().regions.iter();
    let not_served = regions.filter(|region| !served.iter().any(|served| served.region == *region));
    let not_served = not_served.map(|region| region.id.to_owned()).collect();
    blocking(move || -> Result<_, SweepError> {
        let text = work.of_epoch(&shreds, &parts, not_served)?;
        Ok(archive::keep_named(&work.dir, &own, &text)?)
    })
    .await?;
    Ok(directory.drop_close_parts(number).await?)
}

enum Made {
    Now(crate::audit::Hash),
    Before,
    NotYet,
}

struct Certifying {
    keys: Arc<KeyClient>,
    dir: PathBuf,
    geo: String,
    gone: super::closing::MasterGone,
    now: Millis,
    closed: EpochClosed,
}

impl Certifying {
    fn part(&self) -> EpochPart {
        let at = |seconds| Millis::from_seconds(seconds).to_string();
        EpochPart {
            number: self.closed.number,
            opened_at: at(self.closed.opened),
            disabled_at: at(self.closed.disabled),
            closed_at: at(self.closed.closed),
            masters: self
                .closed
                .masters
                .iter()
                .map(|master| MasterPart { version: master.version, receipt: master.receipt.clone() })
                .collect(),
            records_scanned: self.closed.records,
            backups_invalidated: self.closed.backups.clone(),
        }
    }

    /// The final certificate of a tenant once more, with what the close added.
    fn tenant(&self, tenant: TenantId) -> Result<Made, SweepError> {
        let name = archive::closed(tenant);
        if archive::read_named(&self.dir, &name)?.is_some() {
            return Ok(Made::Before);
        }
        let Some(text) = archive::read(&self.dir, tenant, Kind::Final)? else { return Ok(Made::NotYet) };
        let hand = Hand(&self.keys);
        let before = certificate::verify(&text, &PublicKey(hand.public_key())).map_err(|_| SweepError::Integrity)?;
        let destruction = before.destruction.after_close(self.gone);
        let part = self.part();
        let ended = before.purge_ended_at.clone();
        let absent = (destruction.level >= Level::S2).then(|| ended.clone());
        let reached = before.reached.clone().unwrap_or(Reached { s1: ended, s2: absent, s3: None });
        let reached = Reached {
            s2: reached.s2.or_else(|| (destruction.level >= Level::S2).then(|| part.closed_at.clone())),
            s3: (destruction.level == Level::S3).then(|| part.closed_at.clone()),
            ..reached
        };
        let known = self.keys.backups()?;
        let backups = before.backups.as_ref().map(|backups| backups.remaining(&known, self.now));
        let certificate = Certificate {
            schema: Certificate::SCHEMA.to_owned(),
            backups,
            destruction,
            reached: Some(reached),
            epoch: Some(part),
            not_covered: Certificate::not_covered_after_close(),
            issued_at: self.now.to_string(),
            ..before
        };
        let signed = certificate.sign(&hand)?;
        archive::keep_named(&self.dir, &name, signed.text())?;
        Ok(Made::Now(signed.hash()))
    }

    fn of_epoch(
        &self,
        shreds: &[Shred],
        parts: &[ClosePart],
        regions_not_served: Vec<String>,
    ) -> Result<String, SweepError> {
        let count = |of: fn(&Shredded) -> bool| shreds.iter().filter(|shred| of(&shred.what)).count() as u64;
        let tenants = shreds.iter().filter_map(|shred| match shred.what {
            Shredded::Tenant(tenant) => Some(TenantId(tenant).to_string()),
            _ => None,
        });
        let in_place = self.closed.overwritten_in_place.unwrap_or(false);
        let file_system = self.closed.file_system.as_deref().unwrap_or("unknown");
        let level = Destruction::judged(0, 0, in_place, file_system).after_close(self.gone);
        let certificate = EpochCertificate {
            schema: EpochCertificate::SCHEMA.to_owned(),
            geo: self.geo.clone(),
            epoch: self.part(),
            tenants: tenants.collect(),
            subjects: count(|what| matches!(what, Shredded::Subject { .. })),
            roots: count(|what| matches!(what, Shredded::Root { .. })),
            shreds: (self.closed.shreds_from, self.closed.shreds_to),
            keys_replaced: Some(parts.iter().map(KeysReplaced::from).collect()),
            regions_not_served,
            level: level.level,
            not_higher_because: level.not_higher_because,
            not_covered: EpochCertificate::not_covered(),
            issued_at: self.now.to_string(),
        };
        Ok(certificate.sign(&Hand(&self.keys))?.text().to_owned())
    }
}
