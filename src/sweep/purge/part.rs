//! The part of a due tenant that no hold keeps, in this order:
//!
//! 1. entry, standing PURGE_HELD (by the state machine); manifest of everything there is, as for a whole destruction
//! 2. delete: of every bucket the blobs, then the rows, of what is not held, and uploads; a bucket that keeps nothing goes
//!    whole, its index key with it
//! 3. the keys of the data subjects of whom nothing is held
//! 4. the engines are rewritten: until then a deleted row still lies in a file
//! 5. list again: rows by the buckets, blobs by their own headers. All that is left is held, to the last blob
//! 6. certify: entry, partial certificate, entry
//! 7. standing: this round is done
//!
//! A crash anywhere leaves the round undone, and the next sweep begins at 1 again: what is gone is not found twice, and
//! the manifest is in the note. When a hold is released and others stay, there is another round; when the last one is, the
//! tenant goes as a whole.

use super::Purge;
use super::certify::Hand;
use super::erase::LISTINGS_MAX;
use crate::audit::Actor;
use crate::audit::{Event as Record, Hash};
use crate::directory::{TenantEntry, matters_of_row};
use crate::index::{Condition, IndexError};
use crate::model::ids::TenantId;
use crate::model::ids::{SegmentId, SubjectId};
use crate::model::names::{ObjectName, SUBJECT_METADATA, SubjectName};
use crate::model::versioning::VersionAsked;
use crate::pace::Pace;
use crate::seal::{self, ShredEvidence};
use crate::sweep::certificate::{AuditEntry, Certificate, Counts, Destruction, EarlyEnd, Keys, Kind, Level, Listing};
use crate::sweep::closing::Reached;
use crate::sweep::inventory::{MissingList, Object, Stock, blobs_of_tenant, delete_blobs};
use crate::sweep::note::Note;
use crate::sweep::run::GeoRooms;
use crate::sweep::{SweepError, archive, blocking, find};
use crate::tenant::holds::Holds;
use crate::tenant::{self, Event, Refusal, State};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Subjects read at once.
const STEP: usize = 256;

/// What holds keep, as the listing found it.
#[derive(Default)]
struct Kept {
    names: u64,
    /// Versions.
    objects: u64,
    blobs: HashSet<SegmentId>,
    bytes: u64,
    buckets: u64,
}

/// Destroys what no hold keeps. Answers how many objects went; nothing when the tenant is held whole.
pub(in crate::sweep) async fn part(rooms: &GeoRooms, actor: &Actor, id: TenantId) -> Result<u64, SweepError> {
    let purge = Purge { rooms, actor, id };
    let (tenancy, directory) = (&rooms.tenancy, &rooms.tenancy.directory);
    let evidence = find::evidence(rooms, id).await?;
    let entry = tenancy.apply(actor, id, None, &Event::Sweep(evidence)).await?;
    let Some(round) = undone(&entry) else { return Ok(0) };
    let holds = directory.holds(id).await?.ok_or(SweepError::Gone)?;
    if holds.keep_all() {
        tracing::error!(tenant = %id, "of a hold in force it is not known what it keeps: it keeps everything");
        return Ok(0);
    }
    let note = purge.manifest().await?;
    let missing = purge.out_of_reach(&note);
    if !missing.is_empty() {
        return Err(SweepError::OutOfReach(missing.len()));
    }
    let gone = purge.delete_unheld(&holds).await?;
    let shredded = purge.forget_subjects(&gone.still).await?;
    purge.compact_all(&note).await?;
    let (listings, kept) = purge.list_held(&holds).await?;
    purge.certify_part(&entry, &note, &holds, round, listings, &kept, &shredded).await?;
    Ok(gone.objects)
}

/// The round of a tenant in PURGE_HELD that is not done yet.
fn undone(entry: &TenantEntry) -> Option<u32> {
    let part = entry.standing.part.as_ref().filter(|part| !part.done);
    let whole = entry.standing.holds.iter().any(|hold| hold.scope == tenant::HoldScope::Tenant);
    part.filter(|_| entry.standing.state == State::PurgeHeld && !whole).map(|part| part.round)
}

/// What was deleted, and who is still spoken of by something that is held.
#[derive(Default)]
struct Gone {
    objects: u64,
    still: HashSet<SubjectId>,
}

impl Purge<'_> {
    async fn delete_unheld(&self, holds: &Holds) -> Result<Gone, SweepError> {
        let (mut gone, mut pace) = (Gone::default(), self.rooms.pace());
        for stock in self.stocks().await? {
            let (mut cursor, mut held) = (None, false);
            loop {
                let (objects, next) = stock.objects(cursor.as_ref(), MissingList::MeansDeleted, &mut pace).await?;
                // The mark over what holds alone keep goes with the last of that.
                let objects = objects.into_iter().filter(|object| !object.row.is_cover());
                let (kept, doomed): (Vec<_>, Vec<_>) = objects.partition(|object| is_held(holds, &stock, object));
                held |= !kept.is_empty();
                gone.still.extend(kept.iter().filter_map(|object| object.row.subject));
                gone.objects += self.delete_objects(&stock, &doomed, &mut pace).await?;
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            for (upload, parts) in stock.uploads(&mut pace).await? {
                let parts: Vec<_> = parts.iter().map(|part| part.segment.id).collect();
                delete_blobs(&stock.roots.blobs, &parts, &mut pace).await?;
                match stock.roots.index.abort(&stock.bucket.index, upload.upload_id).await {
                    Ok(_) | Err(IndexError::NoSuchUpload) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if !held {
                stock.roots.index.drop_bucket_rows_at(stock.bucket.at.bucket, &mut pace).await?;
                self.rooms.tenancy.directory.remove_bucket(&stock.bucket.at).await?;
            }
        }
        Ok(gone)
    }

    /// Blobs before rows: cut off in between, the rows still name what is left to delete. Parts before their list.
    async fn delete_objects(&self, stock: &Stock, doomed: &[Object], pace: &mut Pace) -> Result<u64, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for object in doomed {
            if let Some((list, parts)) = object.blobs.split_last() {
                first.extend(parts.iter().map(|segment| segment.id));
                last.push(list.id);
            }
        }
        delete_blobs(&stock.roots.blobs, &first, pace).await?;
        delete_blobs(&stock.roots.blobs, &last, pace).await?;
        let keys = directory.keys(self.id).await?;
        let removals = doomed.iter().map(|object| async {
            let Ok(name) = ObjectName::parse(object.row.name.clone()) else { return Err(SweepError::Integrity) };
            let (index, version) = (&stock.roots.index, VersionAsked::Id(object.row.version_id));
            match index.delete_version(&stock.bucket.index, &name, version, Condition::None, None).await {
                Ok(_) | Err(IndexError::NoSuchObject | IndexError::Condition) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        futures::future::try_join_all(removals).await?;
        let mut places = Vec::new();
        for object in doomed {
            let named = object.row.metadata.iter().filter(|(name, _)| name == SUBJECT_METADATA);
            for name in named.filter_map(|(_, value)| SubjectName::parse(value).ok()) {
                places.extend(directory.places_of(&keys, &name, stock.bucket.at.bucket, object.row.version_id));
            }
        }
        stock.roots.index.remove_subject_places(&places).await?;
        Ok(doomed.len() as u64)
    }

    /// Destroys the keys of all data subjects but those that something held speaks of, and forgets their names. A crash
    /// in between leaves an erasure that was begun, which the next start ends.
    async fn forget_subjects(&self, still: &HashSet<SubjectId>) -> Result<Vec<ShredEvidence>, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let (mut shredded, mut after, mut pace) = (Vec::new(), None, self.rooms.pace());
        loop {
            let page = directory.subjects_page(self.id, after.as_deref(), STEP).await?;
            for at in page.iter().filter(|at| !still.contains(&at.id)) {
                directory.begin_erasure(self.id, &at.name, at.id).await?;
                let (keys, tenant, subject) = (directory.key_service().clone(), self.id.0, at.id.0);
                shredded.push(blocking(move || keys.destroy_subject(tenant, subject)).await?);
                directory.end_erasure(self.id, at.id).await?;
                pace.spent(1).await;
            }
            match page.last() {
                Some(last) if page.len() == STEP => after = Some(last.row_key.clone()),
                _ => return Ok(shredded),
            }
        }
    }

    async fn compact_all(&self, note: &Note) -> Result<(), SweepError> {
        let regions: BTreeSet<_> = note.buckets.iter().map(|bucket| bucket.region.as_str()).collect();
        for roots in self.rooms.regions().iter().filter(|roots| regions.contains(roots.region.id)) {
            roots.index.compact().await?;
        }
        Ok(self.rooms.tenancy.directory.engine().compact().await?)
    }

    /// Looks at every served region again, and deletes blobs that nothing held names, until there are none.
    async fn list_held(&self, holds: &Holds) -> Result<(Vec<Listing>, Kept), SweepError> {
        let (mut left, mut pace) = (0, self.rooms.pace());
        for _ in 0..LISTINGS_MAX {
            let (mut listings, mut kept) = (Vec::new(), Kept::default());
            left = 0;
            let stocks = self.stocks().await?;
            for roots in self.rooms.regions() {
                let before = (kept.objects, kept.blobs.len());
                for stock in stocks.iter().filter(|stock| stock.roots.region == roots.region) {
                    left += list_bucket(stock, holds, &mut kept, &mut pace).await?;
                }
                let here = blobs_of_tenant(&roots.blobs, self.id, &mut pace).await?;
                let strays: Vec<_> = here.iter().map(|(id, _)| *id).filter(|id| !kept.blobs.contains(id)).collect();
                left += strays.len() as u64;
                delete_blobs(&roots.blobs, &strays, &mut pace).await?;
                listings.push(Listing {
                    region: roots.region.id.to_owned(),
                    rows_left: kept.objects - before.0,
                    blobs_left: (kept.blobs.len() - before.1) as u64,
                    reached: true,
                });
            }
            if left == 0 {
                return Ok((listings, kept));
            }
        }
        Err(Refusal::SomethingLeft(left).into())
    }

    /// Entry → certificate on disk → entry → standing.
    #[allow(clippy::too_many_arguments, reason = "what a certificate says comes from as many places")]
    async fn certify_part(
        &self,
        entry: &Arc<TenantEntry>,
        note: &Note,
        holds: &Holds,
        round: u32,
        listings: Vec<Listing>,
        kept: &Kept,
        shredded: &[ShredEvidence],
    ) -> Result<(), SweepError> {
        let counts = deleted(note, kept);
        let ended = Record::PurgePartEnded {
            tenant: self.id,
            round,
            objects: counts.objects,
            blobs: counts.blobs,
            held: kept.objects,
            subjects: shredded.len() as u64,
        };
        let receipt = self.log_once(note, ended).await?;
        let standing = &entry.standing;
        let termination = standing.termination.as_ref().ok_or(SweepError::Integrity)?;
        let begun = standing.part.as_ref().ok_or(SweepError::Integrity)?.begun;
        let now = self.rooms.tenancy.clock.now().cc_lo.to_string();
        let names = shredded.iter().flat_map(|evidence| evidence.destroyed.iter());
        let destroyed = names.map(|(kind, name)| crate::sweep::note::key_name(*kind, name.id, name.version));
        let backups = Some(self.rooms.backups(standing.created.at).await?);
        let certificate = Certificate {
            schema: Certificate::SCHEMA.to_owned(),
            kind: Kind::Partial,
            tenant: self.id,
            geo: standing.geo.clone(),
            terminated_at: termination.at.at.to_string(),
            due_at: termination.due.to_string(),
            early: EarlyEnd::of(standing),
            purge_begun_at: begun.at.to_string(),
            purge_ended_at: now.clone(),
            deleted: counts,
            manifest_sha256: hex::encode(note.manifest),
            listings,
            keys: Keys { destroyed: destroyed.collect(), probe_opens: true },
            destruction: Destruction {
                level: Level::S1,
                not_higher_because: "the tenant's keys are kept for what is held: older copies of deleted rows open \
                                     under them"
                    .to_owned(),
                files_searched: shredded.iter().map(|evidence| evidence.files_scanned).sum(),
                records_found: shredded.iter().map(|evidence| evidence.salts_found).sum(),
                file_system: shredded.first().map_or_else(String::new, |evidence| evidence.file_system.to_owned()),
            },
            reached: Some(Reached { s1: now.clone(), s2: None, s3: None }),
            epoch: None,
            backups,
            holds: holds.ids(),
            audit: AuditEntry { index: receipt.index, hash: receipt.hash },
            not_covered: Certificate::not_covered(),
            issued_at: now,
        };
        let keys = self.rooms.tenancy.directory.key_service().clone();
        let (dir, id) = (self.rooms.certificates.clone(), self.id);
        let hash: Hash = blocking(move || -> Result<Hash, SweepError> {
            let signed = certificate.sign(&Hand(&keys))?;
            archive::keep(&dir, id, Kind::Partial, signed.text())?;
            Ok(signed.hash())
        })
        .await?;
        self.log(Record::CertificateIssued { tenant: self.id, certificate: hash }).await?;
        self.end_part(round).await
    }

    async fn end_part(&self, round: u32) -> Result<(), SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let _acts = directory.acts().lock().await;
        let entry = directory.tenant(self.id).await?.ok_or(SweepError::Gone)?;
        let now = self.rooms.tenancy.clock.now();
        let (next, effects) = tenant::step(&entry.standing, &Event::PartPurged { round }, &now)?;
        if !effects.is_empty() {
            directory.change_tenant(&entry, next.ok_or(SweepError::Gone)?).await?;
        }
        Ok(())
    }
}

fn is_held(holds: &Holds, stock: &Stock, object: &Object) -> bool {
    object.row.is_object() && !matters_of_row(holds, stock.bucket.at.name.as_str(), &object.row).is_empty()
}

/// Adds what a bucket holds to `kept`; answers how much is there that nothing keeps.
async fn list_bucket(stock: &Stock, holds: &Holds, kept: &mut Kept, pace: &mut Pace) -> Result<u64, SweepError> {
    let (mut cursor, mut left) = (None, stock.uploads(pace).await?.len() as u64);
    loop {
        let (objects, next) = stock.objects(cursor.as_ref(), MissingList::Fails, pace).await?;
        for object in &objects {
            kept.names += u64::from(object.row.is_current());
            if object.row.is_cover() {
                continue;
            }
            if is_held(holds, stock, object) {
                kept.objects += 1;
                kept.bytes += object.blobs.iter().map(|segment| seal::sealed_len(segment.len)).sum::<u64>();
                kept.blobs.extend(object.blobs.iter().map(|segment| segment.id));
            } else {
                left += 1;
            }
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    kept.bytes += stock.roots.index.raw_rows_at(stock.bucket.at.bucket, pace).await?.bytes;
    kept.buckets += 1;
    Ok(left)
}

/// What there was, less what is kept.
fn deleted(note: &Note, kept: &Kept) -> Counts {
    let there = note.counts();
    Counts {
        buckets: there.buckets.saturating_sub(kept.buckets),
        objects: there.objects.saturating_sub(kept.names),
        versions: there.versions.saturating_sub(kept.objects),
        parts: there.parts,
        blobs: there.blobs.saturating_sub(kept.blobs.len() as u64),
        bytes: there.bytes.saturating_sub(kept.bytes),
    }
}
