//! A tenant's destruction, in this order:
//!
//! 1. freeze: entry, standing PURGING (from here on there is no way back; its due row stays until the end)
//! 2. manifest: everything there is, by full listing; its hash and counts are noted, then logged
//! 3. delete: blobs, then rows, of every bucket; then its name, logins and buckets; then the engines are compacted
//! 4. list again: rows by the buckets' ids, blobs by their own headers, needing no key and not trusting step 3
//! 5. destroy the keys, at the key service, which goes by its own clock
//! 6. probe: no key opens
//! 7. certify: entry, certificate on disk, entry
//! 8. standing PURGED, due row and note gone, in one commit
//!
//! A crash anywhere leaves PURGING and the due row, and the next sweep begins at 1 again: what step 2 found is in the
//! note, since it cannot be found again; entries that are in the log are not written twice; deleting what is gone and
//! destroying what is destroyed does no harm. A certificate that was kept is not signed anew.
//!
//! Keys last: destroyed first, they would leave bytes that nobody can read and nobody can find. The exception is a region
//! that stays out of reach for a day beyond due time and one sweep: then the keys go without it, a residual certificate
//! says so, and the tenant stays PURGING until the region is back and the final one can follow.

use super::certificate::{
    self, AuditEntry, Certificate, CertificateError, Destruction, Keys, Kind, Listing, PublicKey, Signer,
};
use super::find::evidence;
use super::inventory::{MissingList, Stock, blobs_of_tenant};
use super::note::{Bucket, Ended, Note, Shredded};
use super::run::GeoRooms;
use super::{SweepError, archive, blocking};
use crate::audit::{Actor, Event as Record, Hash, Receipt};
use crate::directory::TenantEntry;
use crate::index::IndexError;
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, TenantId};
use crate::model::time::Millis;
use crate::regions::RegionRoots;
use crate::seal::{self, KeyError, KeyProbe, LogSigner, TenantState};
use crate::tenant::{self, Event, Proof, Refusal, Standing, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often what a listing still found is deleted before the purge is put off.
const LISTINGS_MAX: usize = 3;
/// Entries of the log read at once.
const LOG_STEP: usize = 1000;

/// A tenant of which nothing is left but what lies deleted in the engines' files, and its keys.
pub(super) struct Emptied {
    id: TenantId,
    entry: Arc<TenantEntry>,
    note: Note,
    missing: BTreeSet<String>,
}

/// Steps 1 to 3 without the compaction, which all tenants of a sweep share.
pub(super) async fn empty(
    rooms: &GeoRooms,
    actor: &Actor,
    id: TenantId,
    sweep_interval_s: i64,
) -> Result<Emptied, SweepError> {
    let purge = Purge { rooms, actor, id };
    let mut entry = purge.freeze().await?;
    let mut note = purge.manifest().await?;
    let missing = purge.out_of_reach(&note);
    if !missing.is_empty() {
        entry = purge.keys_first(missing.len(), sweep_interval_s).await?;
    }
    purge.delete(&mut note).await?;
    Ok(Emptied { id, entry, note, missing })
}

/// The compaction of step 3: rewrites the engines of the regions where the emptied tenants had buckets, and the
/// directory's. Only then are deleted rows gone from the files.
pub(super) async fn compact(rooms: &GeoRooms, emptied: &[&Emptied]) -> Result<(), SweepError> {
    let buckets = emptied.iter().flat_map(|emptied| &emptied.note.buckets);
    let regions: BTreeSet<_> = buckets.map(|bucket| bucket.region.as_str()).collect();
    for roots in rooms.regions().iter().filter(|roots| regions.contains(roots.region.id)) {
        roots.index.compact().await?;
    }
    Ok(rooms.tenancy.directory.engine().compact().await?)
}

/// Steps 4 to 8. Answers how many objects there were.
pub(super) async fn finish(rooms: &GeoRooms, actor: &Actor, emptied: Emptied) -> Result<u64, SweepError> {
    let Emptied { id, entry, mut note, missing } = emptied;
    let purge = Purge { rooms, actor, id };
    let listings = purge.list_again(&note, &missing).await?;
    let destroyed = purge.destroy_keys(&mut note).await?;
    purge.probe(&note).await?;
    if !missing.is_empty() {
        purge.certify_residual(&entry.standing, &note, listings, destroyed).await?;
        return Err(SweepError::OutOfReach(missing.len()));
    }
    let certificate = purge.certify(&entry.standing, &mut note, listings).await?;
    purge.end(certificate).await?;
    Ok(note.objects)
}

struct Purge<'a> {
    rooms: &'a GeoRooms,
    actor: &'a Actor,
    id: TenantId,
}

impl Purge<'_> {
    async fn freeze(&self) -> Result<Arc<TenantEntry>, SweepError> {
        let evidence = evidence(self.rooms, self.id).await?;
        let tenancy = &self.rooms.tenancy;
        let entry = tenancy.apply(self.actor, self.id, None, &Event::Sweep(evidence)).await?;
        if entry.standing.state != State::Purging {
            return Err(Refusal::WrongState(entry.standing.state).into());
        }
        // Suspended keys would hide what has to be listed. PURGING lets nobody in.
        if self.key_state()? == Some(TenantState::Suspended) {
            self.log(Record::TenantKeysResumed { tenant: self.id }).await?;
            let (keys, id) = (tenancy.directory.key_service().clone(), self.id.0);
            blocking(move || keys.resume(id)).await?;
        }
        Ok(entry)
    }

    async fn manifest(&self) -> Result<Note, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let note = match Note::read(directory, self.id).await? {
            Some(note) => note,
            None => {
                let note = self.take_manifest().await?;
                note.keep(directory, self.id).await?;
                note
            }
        };
        let taken = Record::ManifestTaken {
            tenant: self.id,
            objects: note.objects,
            blobs: note.blobs,
            bytes: note.bytes,
            manifest: Hash(note.manifest),
        };
        // What a region that was out of reach adds later is counted, but was not listed.
        if note.ended.is_none() && note.shredded.is_none() {
            self.log_once(&note, taken).await?;
        }
        Ok(note)
    }

    /// The list is hashed, not kept: `b` bucket; `o` object, version, size, segments; `u` upload; `p` number, segment.
    /// Source: docs/retention.md, "The manifest".
    async fn take_manifest(&self) -> Result<Note, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let mut note = Note {
            log_from: self.rooms.tenancy.audit.head().entries,
            buckets: Vec::new(),
            manifest: [0; 32],
            objects: 0,
            versions: 0,
            parts: 0,
            blobs: 0,
            bytes: 0,
            shredded: None,
            ended: None,
        };
        for at in directory.buckets(self.id).await? {
            let counted = self.rooms.tenancy.regions.contains_key(at.region.id);
            note.buckets.push(Bucket { id: at.bucket, region: at.region.id.to_owned(), counted });
        }
        note.buckets.sort_by_key(|bucket| bucket.id);
        let mut list = ring::digest::Context::new(&ring::digest::SHA256);
        for stock in self.stocks().await? {
            list.update(b"b");
            list.update(&stock.bucket.at.bucket.0);
            match self.list_bucket(&stock, &mut note, &mut list).await {
                Err(SweepError::Integrity | SweepError::Index(IndexError::Damaged(_))) => {
                    // A damaged row must not keep its tenant for ever: it is counted as it lies, and goes all the same.
                    tracing::error!(bucket = %stock.bucket.at.bucket, "a damaged row is destroyed unread");
                    list.update(b"!");
                }
                other => other?,
            }
            let raw = stock.roots.index.raw_rows(stock.bucket.at.bucket).await?;
            (note.objects, note.versions) = (note.objects + raw.objects, note.versions + raw.objects);
            (note.parts, note.bytes) = (note.parts + raw.parts, note.bytes + raw.bytes);
        }
        note.manifest = list.finish().as_ref().try_into().expect("SHA-256 is 32 bytes");
        Ok(note)
    }

    /// Adds one bucket to the list, and its blobs to the counts; rows are counted as the engine has them.
    async fn list_bucket(
        &self,
        stock: &Stock,
        note: &mut Note,
        list: &mut ring::digest::Context,
    ) -> Result<(), SweepError> {
        let mut blobs = |len: u64| {
            note.blobs += 1;
            note.bytes += seal::sealed_len(len);
        };
        let mut cursor = None;
        loop {
            let (objects, next) = stock.objects(cursor.as_ref(), MissingList::Fails).await?;
            for object in &objects {
                list.update(b"o");
                list.update(&object.row.object_id.0);
                list.update(&object.row.version_id.0);
                list.update(&object.row.size.to_be_bytes());
                object.row.segments.iter().for_each(|segment| list.update(&segment.id.0));
                object.blobs.iter().for_each(|segment| blobs(segment.len));
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        for (upload, parts) in stock.uploads().await? {
            list.update(b"u");
            list.update(&upload.upload_id.0);
            for part in parts {
                list.update(b"p");
                list.update(&part.number.to_be_bytes());
                list.update(&part.segment.id.0);
                blobs(part.segment.len);
            }
        }
        Ok(())
    }

    /// Regions that hold something of the tenant and are not served here.
    fn out_of_reach(&self, note: &Note) -> BTreeSet<String> {
        let served = &self.rooms.tenancy.regions;
        let regions = note.buckets.iter().filter(|bucket| !served.contains_key(bucket.region.as_str()));
        regions.map(|bucket| bucket.region.clone()).collect()
    }

    /// Whether the keys may go although a region is out of reach; if not yet, the purge waits.
    async fn keys_first(&self, missing: usize, sweep_interval_s: i64) -> Result<Arc<TenantEntry>, SweepError> {
        let out_of_reach = Event::OutOfReach { sweep_interval_s };
        let applied = self.rooms.tenancy.apply(self.actor, self.id, None, &out_of_reach).await;
        match applied.map_err(SweepError::from) {
            Err(SweepError::Refused(Refusal::NotDue(_))) => Err(SweepError::OutOfReach(missing)),
            other => other,
        }
    }

    async fn delete(&self, note: &mut Note) -> Result<(), SweepError> {
        let directory = &self.rooms.tenancy.directory;
        self.count_late_regions(note).await?;
        for stock in self.stocks().await? {
            match self.delete_blobs(&stock).await {
                // The next look goes by the blobs' own headers and finds what a damaged row hides.
                Err(SweepError::Integrity | SweepError::Index(IndexError::Damaged(_))) => {}
                other => other?,
            }
        }
        for bucket in &note.buckets {
            if let Some(roots) = self.roots(&bucket.region) {
                roots.index.drop_bucket_rows(bucket.id).await?;
            }
        }
        for roots in self.rooms.regions() {
            let due = roots.index.due_of_tenant(self.id).await?;
            if !due.is_empty() {
                roots.index.remove_due(&due).await?;
            }
        }
        directory.bury_tenant(self.id).await?;
        Ok(())
    }

    async fn delete_blobs(&self, stock: &Stock) -> Result<(), SweepError> {
        let mut cursor = None;
        loop {
            let (objects, next) = stock.objects(cursor.as_ref(), MissingList::MeansDeleted).await?;
            // Parts before the list that names them: cut off in between, the list is still there.
            let (mut first, mut last) = (Vec::new(), Vec::new());
            for object in &objects {
                let (list, parts) = match object.blobs.split_last() {
                    Some((list, parts)) => (Some(list), parts),
                    None => (None, &[][..]),
                };
                first.extend(parts.iter().map(|segment| segment.id));
                last.extend(list.map(|segment| segment.id));
            }
            stock.roots.blobs.delete(&first).await?;
            stock.roots.blobs.delete(&last).await?;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        for (_, parts) in stock.uploads().await? {
            let parts: Vec<_> = parts.iter().map(|part| part.segment.id).collect();
            stock.roots.blobs.delete(&parts).await?;
        }
        Ok(())
    }

    /// Deletes blobs of the tenant that no row named: of a put that a crash cut off, or hidden by a damaged row.
    async fn delete_strays(&self) -> Result<(), SweepError> {
        for roots in self.rooms.regions() {
            let strays: Vec<_> = blobs_of_tenant(&roots.blobs, self.id).await?.into_iter().map(|(id, _)| id).collect();
            roots.blobs.delete(&strays).await?;
        }
        Ok(())
    }

    /// A region that was out of reach when the manifest was taken is counted when it is back, before it is emptied.
    async fn count_late_regions(&self, note: &mut Note) -> Result<(), SweepError> {
        let mut back: BTreeMap<String, Vec<BucketId>> = BTreeMap::new();
        for bucket in &mut note.buckets {
            if !bucket.counted && self.rooms.tenancy.regions.contains_key(bucket.region.as_str()) {
                bucket.counted = true;
                back.entry(bucket.region.clone()).or_default().push(bucket.id);
            }
        }
        if back.is_empty() {
            return Ok(());
        }
        for (region, buckets) in back {
            let Some(roots) = self.roots(&region) else { continue };
            for bucket in buckets {
                let raw = roots.index.raw_rows(bucket).await?;
                (note.objects, note.versions) = (note.objects + raw.objects, note.versions + raw.objects);
                (note.parts, note.bytes) = (note.parts + raw.parts, note.bytes + raw.bytes);
            }
            for (_, len) in blobs_of_tenant(&roots.blobs, self.id).await? {
                (note.blobs, note.bytes) = (note.blobs + 1, note.bytes + len);
            }
        }
        note.keep(&self.rooms.tenancy.directory, self.id).await
    }

    /// Looks at every served region of the geo, by ids and headers alone.
    async fn list_again(&self, note: &Note, missing: &BTreeSet<String>) -> Result<Vec<Listing>, SweepError> {
        let mut left = 0;
        for _ in 0..LISTINGS_MAX {
            let mut listings = Vec::new();
            left = self.rooms.tenancy.directory.rows_of_tenant(self.id).await?;
            for roots in self.rooms.regions() {
                let listing = self.list_region(note, &roots).await?;
                left += listing.rows_left + listing.blobs_left;
                listings.push(listing);
            }
            if left == 0 {
                self.log_once(note, Record::PurgeListed { tenant: self.id, left: 0 }).await?;
                let unreached = missing.iter().map(|region| Listing {
                    region: region.clone(),
                    rows_left: 0,
                    blobs_left: 0,
                    reached: false,
                });
                listings.extend(unreached);
                return Ok(listings);
            }
            self.delete_strays().await?;
        }
        self.log(Record::PurgeListed { tenant: self.id, left }).await?;
        Err(Refusal::SomethingLeft(left).into())
    }

    async fn list_region(&self, note: &Note, roots: &RegionRoots) -> Result<Listing, SweepError> {
        let mut rows_left = roots.index.due_of_tenant(self.id).await?.len() as u64;
        for bucket in note.buckets.iter().filter(|bucket| bucket.region == roots.region.id) {
            rows_left += roots.index.raw_rows(bucket.id).await?.rows;
        }
        let blobs_left = blobs_of_tenant(&roots.blobs, self.id).await?.len() as u64;
        Ok(Listing { region: roots.region.id.to_owned(), rows_left, blobs_left, reached: true })
    }

    async fn destroy_keys(&self, note: &mut Note) -> Result<Receipt, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        if note.shredded.is_none() {
            let (keys, id) = (directory.key_service().clone(), self.id.0);
            let evidence = blocking(move || keys.destroy_tenant(id)).await?;
            directory.forget(self.id);
            note.shredded = Some(Shredded::from(&evidence));
            note.keep(directory, self.id).await?;
        }
        let versions = note.shredded.as_ref().map_or(0, |shredded| shredded.destroyed.len() as u32);
        self.log_once(note, Record::TenantKeysDestroyed { tenant: self.id, versions }).await
    }

    async fn probe(&self, note: &Note) -> Result<(), SweepError> {
        let (keys, id) = (self.rooms.tenancy.directory.key_service().clone(), self.id);
        match blocking(move || keys.key_probe(id.0)).await? {
            KeyProbe::Gone => {
                self.log_once(note, Record::TenantKeysProbed { tenant: id, opens: false }).await?;
                Ok(())
            }
            KeyProbe::Unwraps => {
                self.log(Record::TenantKeysProbed { tenant: id, opens: true }).await?;
                Err(Refusal::KeyStillOpens.into())
            }
        }
    }

    /// Entry → certificate on disk → entry.
    async fn certify(&self, standing: &Standing, note: &mut Note, listings: Vec<Listing>) -> Result<Hash, SweepError> {
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

    async fn certify_residual(
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
        let certificate = Certificate {
            schema: Certificate::SCHEMA.to_owned(),
            kind,
            tenant: self.id,
            geo: standing.geo.clone(),
            terminated_at: termination.at.at.to_string(),
            due_at: termination.due.to_string(),
            purge_begun_at: purge.begun.at.to_string(),
            purge_ended_at: ended.to_string(),
            deleted: note.counts(),
            manifest_sha256: hex::encode(note.manifest),
            listings,
            keys: Keys { destroyed: shredded.destroyed.clone(), probe_opens: false },
            destruction: Destruction::judged(
                shredded.files_searched,
                shredded.records_found,
                shredded.overwritten_in_place,
                &shredded.file_system,
            ),
            holds: Vec::new(),
            audit,
            not_covered: Certificate::not_covered(),
            issued_at: self.rooms.tenancy.clock.now().cc_lo.to_string(),
        };
        blocking(move || -> Result<Hash, SweepError> {
            let hand = Hand(keys.log_signer());
            if let Some(kept) = archive::read(&dir, id, kind)? {
                let same: Result<Certificate, CertificateError> =
                    certificate::verify(&kept, &PublicKey(hand.public_key()));
                if same.is_ok_and(|kept| kept.tenant == id && kept.audit == certificate.audit) {
                    return Ok(Hash::of(&[kept.as_bytes()]));
                }
            }
            let signed = certificate.sign(&hand);
            archive::keep(&dir, id, kind, signed.text())?;
            Ok(signed.hash())
        })
        .await
    }

    /// Standing PURGED; with it, in one commit, the due row and the note go.
    async fn end(&self, certificate: Hash) -> Result<(), SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let _acts = directory.acts().lock().await;
        let entry = directory.tenant(self.id).await?.ok_or(SweepError::Gone)?;
        let proof = Proof { left: 0, key_opens: false, certificate: certificate.0 };
        let now = self.rooms.tenancy.clock.now();
        let (next, _) = tenant::step(&entry.standing, &Event::Verified(proof), &now)?;
        directory.change_tenant(&entry, next.ok_or(SweepError::Gone)?).await?;
        Ok(())
    }

    /// The buckets that can still be read by their keys: none once those are destroyed.
    async fn stocks(&self) -> Result<Vec<Stock>, SweepError> {
        if self.key_state()? == Some(TenantState::Destroyed) {
            return Ok(Vec::new());
        }
        let regions = &self.rooms.tenancy.regions;
        Stock::of_tenant(&self.rooms.tenancy.directory, self.id, |region| regions.get(region).cloned()).await
    }

    fn key_state(&self) -> Result<Option<TenantState>, KeyError> {
        let status = self.rooms.tenancy.directory.key_service().tenant_status(self.id.0)?;
        Ok(status.map(|status| status.state))
    }

    fn roots(&self, region: &str) -> Option<Arc<RegionRoots>> {
        let served = Region::find(region).and_then(|(_, region)| self.rooms.tenancy.regions.get(region.id));
        served.cloned()
    }

    async fn log(&self, event: Record) -> Result<Receipt, SweepError> {
        Ok(self.rooms.tenancy.audit.append(self.actor, event).await?)
    }

    /// Writes an entry unless a run before a crash wrote it: every step of a destruction has one.
    async fn log_once(&self, note: &Note, event: Record) -> Result<Receipt, SweepError> {
        let (audit, wanted, from) = (self.rooms.tenancy.audit.clone(), event.clone(), note.log_from);
        let written = blocking(move || {
            let mut from = from;
            loop {
                let page = audit.entries(from, LOG_STEP)?;
                if let Some(entry) = page.iter().find(|entry| entry.event().as_ref() == Some(&wanted)) {
                    return Ok::<_, crate::audit::AuditError>(Some(Receipt { index: entry.index, hash: entry.hash }));
                }
                match page.last() {
                    Some(last) if page.len() == LOG_STEP => from = last.index + 1,
                    _ => return Ok(None),
                }
            }
        });
        match written.await? {
            Some(receipt) => Ok(receipt),
            None => self.log(event).await,
        }
    }
}

/// The key service's hand under a certificate.
struct Hand<'a>(&'a LogSigner);

impl Signer for Hand<'_> {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }
}
