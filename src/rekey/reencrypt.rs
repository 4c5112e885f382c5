//! New data keys and new segments for everything a tenant has stored, or for one bucket of it, or for what one version of
//! its key opens or once opened: the answer to a key that may be known to somebody else. Wrapping its data keys again would
//! not help: whoever unwrapped them keeps them.
//!
//! A new version of the tenant's key comes first, but for what an older one opened; a row names the first and the last
//! version that its data key was under: so a scan tells what is left. For each object, and what a crash leaves behind:
//!
//! 1. a fresh data key, fresh segments, sealed chunk by chunk from the old ones   orphans, which the sweeper collects
//! 2. the new segments are read back, opened, and their hashes compared           orphans
//! 3. the row is replaced, unless it was written meanwhile                        the old blobs are orphans
//! 4. the old blobs are deleted, once nobody reads them any more                  the same
//!
//! Name, ETag, version, time, metadata and tags stay. A reader under way gets the old segments to their end (see
//! `blob::Readers`); the next one gets the new. Uploads in progress keep their data key; the evidence counts them.

use super::rooms::{Place, Rooms, Run};
use super::segments::{Breath, Copier};
use super::tenant::{count, switch};
use super::wrapped::Wrapped;
use super::{PASSES_MAX, RekeyError};
use crate::audit::Event as Record;
use crate::directory::{DirectoryError, Held, JobKind, Wanted};
use crate::index::rows::v1::{ObjectKind, ObjectRow};
use crate::model::ids::{BucketId, TenantId};
use crate::model::names::ObjectName;
use crate::model::versioning::VersionAsked;
use crate::pace::Courtesy;
use crate::seal::{self, KeyError, TenantKeys};
use futures::future::try_join_all;
use std::sync::Arc;

/// Objects read at once. Each may be 5 GiB or more, so few are in hand at the same time.
const STEP_OBJECTS: usize = 16;

/// What the closing scan found.
#[derive(Clone, Debug)]
pub struct ReencryptEvidence {
    /// The version that rows were under before, or the one that was asked for.
    pub from: u32,
    /// The version that re-encrypted rows are under.
    pub to: u32,
    /// Objects with new data keys and new segments.
    pub reencrypted: u64,
    /// Records that the closing scan read.
    pub scanned: u64,
    /// How many of them are still to be re-encrypted: uploads in progress.
    pub remaining: u64,
}

/// What is to be re-encrypted of what a tenant has stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// What lies in this bucket; `None`: in every one.
    pub bucket: Option<BucketId>,
    /// What this version of the tenant's data key opens, or opened before a rotation; what hangs under data subjects' keys is
    /// not. `None`: everything.
    pub exposed_by: Option<u32>,
}

/// Re-encrypts what a tenant has stored, or a part of it, or takes up a run that was cut off. Errors: `NoSuchVersion`, when
/// the tenant has no such version of its key.
pub async fn reencrypt(
    rooms: &Rooms,
    run: &Run<'_>,
    tenant: TenantId,
    part: Part,
) -> Result<ReencryptEvidence, RekeyError> {
    let Part { bucket, exposed_by } = part;
    let current = rooms.directory.keys(tenant).await?.active_trk().version;
    if exposed_by.is_some_and(|version| !(1..=current).contains(&version)) {
        return Err(RekeyError::NoSuchVersion);
    }
    let wanted = Wanted { kind: JobKind::Reencrypt, lane: tenant, bucket, exposed_by };
    let mut held = rooms.directory.begin_job(wanted, rooms.now()).await?;
    if held.job().to == 0 {
        let total = count(rooms, &rooms.places(tenant, bucket).await?, |_| false).await?.all;
        let from = exposed_by.unwrap_or(current);
        rooms.audit.append(run.actor, Record::ReencryptionBegun { tenant, bucket, exposed_by, from }).await?;
        // What an older version opened is told from what came since.
        let to = if from == current { switch(&rooms.directory, tenant).await? } else { current };
        held.step(rooms.now(), |job| (job.from, job.to, job.total) = (from, to, total)).await?;
    }
    let due = Due { to: held.job().to, exposed_by };
    for pass in 0..PASSES_MAX {
        run.watch.phase("re-encrypting", held.job().total);
        walk(rooms, run, due, &mut held, pass).await?;
        run.watch.phase("scanning", held.job().total);
        let after = count(rooms, &rooms.places(tenant, bucket).await?, |wrapped| due.has(wrapped)).await?;
        if after.older == after.older_uploads {
            let (from, to, reencrypted) = (held.job().from, held.job().to, held.job().changed);
            let remaining = after.older;
            let ended = Record::ReencryptionEnded { tenant, bucket, exposed_by, from, to, reencrypted, remaining };
            rooms.audit.append(run.actor, ended).await?;
            held.end(rooms.now(), after.all, after.older).await?;
            return Ok(ReencryptEvidence { from, to, reencrypted, scanned: after.all, remaining });
        }
        held.step(rooms.now(), |job| (job.cursor, job.done, job.remaining) = (None, 0, after.older)).await?;
    }
    Err(RekeyError::Leftover(held.job().remaining))
}

async fn walk(rooms: &Rooms, run: &Run<'_>, due: Due, held: &mut Held, pass: usize) -> Result<(), RekeyError> {
    let tenant = held.job().lane;
    let places = rooms.places(tenant, held.job().bucket).await?;
    let service = rooms.directory.key_service().clone();
    let keys = tokio::task::spawn_blocking(move || service.tenant_for_reencryption(tenant.0)).await;
    let keys = keys.map_err(|_| RekeyError::Worker)??;
    let mut pace = rooms.pace(run);
    loop {
        let cursor = held.job().cursor.as_ref().map(|cursor| cursor.to_vec());
        let Some(page) = places.page(cursor.as_deref(), pace.step(STEP_OBJECTS)).await? else { return Ok(()) };
        let courtesy = pace.courtesy();
        let work = Work { rooms, keys: &keys, due, held, courtesy, subjects: pass == 0 };
        let objects = page.rows.iter().map(|scanned| work.object(page.place, &scanned.row));
        let changed = try_join_all(objects).await?.into_iter().sum::<u64>();
        let seen = page.rows.len() as u64;
        held.step(rooms.now(), |job| {
            job.cursor = Some(page.cursor.into());
            (job.done, job.changed) = (job.done + seen, job.changed + changed);
        })
        .await?;
        run.watch.done(held.job().done);
        pace.spent(seen).await;
    }
}

/// Which data keys are to be replaced.
#[derive(Clone, Copy)]
struct Due {
    to: u32,
    exposed_by: Option<u32>,
}

impl Due {
    fn has(self, wrapped: Wrapped<'_>) -> bool {
        match self.exposed_by {
            Some(version) => wrapped.was_opened_by(version),
            None => wrapped.is_older_than(self.to),
        }
    }
}

/// What came of one object.
enum Swap {
    Done,
    /// Another writer came first.
    Lost,
    /// Its data subject was erased.
    Erased,
}

struct Work<'a> {
    rooms: &'a Rooms,
    keys: &'a Arc<TenantKeys>,
    due: Due,
    held: &'a Held,
    courtesy: Courtesy,
    /// Whether objects of data subjects are re-encrypted too: their data keys hang under the subjects' keys, so no scan
    /// tells which are done, and one walk has to do.
    subjects: bool,
}

impl Work<'_> {
    /// Re-encrypts one object; 1 when its row was replaced. Tries anew when a concurrent writer won.
    async fn object(&self, place: &Place, row: &ObjectRow) -> Result<u64, RekeyError> {
        let (index, bucket) = (&place.roots.index, &place.bucket);
        let mut row = row.clone();
        loop {
            if row.kind != ObjectKind::Object || !self.is_due(&row) {
                return Ok(0);
            }
            let Ok(name) = ObjectName::parse(row.name.clone()) else { return Ok(0) };
            let asked = VersionAsked::Id(row.version_id);
            // The row and its inline segment as of one moment.
            match index.find_version(&bucket.index, &name, asked).await? {
                None => return Ok(0),
                Some(found) if found.row != row => {
                    row = found.row;
                    continue;
                }
                Some(found) => {
                    row = found.row;
                    let swapped = self.swap(place, row.clone(), found.inline).await;
                    match swapped {
                        Ok(Swap::Done) => return Ok(1),
                        Ok(Swap::Erased) => return Ok(0),
                        Ok(Swap::Lost) => {}
                        // Whoever replaced or deleted it meanwhile took its blobs away under the copy. While the row is
                        // what it was, its blobs have to be there.
                        Err(error) => match index.find_version(&bucket.index, &name, asked).await? {
                            Some(found) if found.row == row => return Err(error),
                            _ => {}
                        },
                    }
                }
            }
            match index.find_version(&bucket.index, &name, asked).await? {
                Some(found) => row = found.row,
                None => return Ok(0),
            }
        }
    }

    fn is_due(&self, row: &ObjectRow) -> bool {
        match row.subject {
            Some(_) => self.subjects && self.due.exposed_by.is_none(),
            None => self.due.has(row.into()),
        }
    }

    async fn swap(&self, place: &Place, row: ObjectRow, inline: Option<bytes::Bytes>) -> Result<Swap, RekeyError> {
        let context = seal::object_context(&place.bucket.at, row.object_id, row.version_id);
        let (old, (new, record)) = match row.subject {
            None => (self.keys.open_dek(&row.dek_record, &context)?, self.keys.new_dek(&context)?),
            Some(subject) => {
                match self.rooms.directory.subject_key(self.held.job().lane, subject).await {
                    Ok(key) => (key.open_dek(&row.dek_record, &context)?, key.new_dek(&context)?),
                    // Erased: nothing can be read, and nothing has to be.
                    Err(DirectoryError::Keys(KeyError::Destroyed)) => return Ok(Swap::Erased),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let breath = Breath { courtesy: self.courtesy.clone(), rooms: self.rooms, held: self.held };
        let copier = Copier { breath, blobs: place.roots.blobs.as_ref(), context, old: &old, new: &new };
        let copied = copier.copy(&row, inline).await?;
        let mut changed = row.clone();
        (changed.dek_id, changed.dek_record) = (seal::dek_id(&record), record);
        changed.born_under = row.subject.is_none().then(|| seal::parent_version(&record));
        changed.segments = copied.segments;
        let (bucket, index) = (&place.bucket.index, &place.roots.index);
        let swapped = index.swap_segments(bucket, &row, changed, copied.inline, self.held.fence()).await;
        // Whoever lost the race, or was fenced off, takes away what it made.
        let deleted = match (&swapped, row.segments.first()) {
            (Ok(true), Some(front)) if !copied.old_blobs.is_empty() => {
                place.roots.readers.retire(front.id, copied.old_blobs).await
            }
            (Ok(true), _) => Ok(()),
            _ => place.roots.blobs.delete(&copied.new_blobs).await,
        };
        if deleted.is_err() {
            tracing::warn!("blobs were not deleted now; the sweeper will find them");
        }
        Ok(if swapped? { Swap::Done } else { Swap::Lost })
    }
}
