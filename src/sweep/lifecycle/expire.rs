//! What is due by lifecycle rules: look at each object again → the ledger's entry → remove the row → delete the blobs.
//!
//! A due row only says when to look. Whether the object goes is decided by what is there then: that very version, its
//! size and tags, the bucket's rules, the tenant's state and holds, all while no other act of the tenant commits. An
//! object that does not go yet gets its new due row; one that is kept stays due, is reported, and stops no other. A crash
//! behind the row's removal leaves orphan blobs.

use super::lifetimes::Lifetimes;
use crate::audit::{Actor, Event as Record};
use crate::directory::OpenedBucket;
use crate::index::rows::v1::{ObjectKind, ObjectRow};
use crate::index::{Condition, Due, DueKey, IndexError};
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, TenantId};
use crate::model::names::{ObjectName, SUBJECT_METADATA, SubjectName};
use crate::model::time::Millis;
use crate::regions::RegionRoots;
use crate::sweep::SweepError;
use crate::sweep::inventory::{MissingList, Stock};
use crate::sweep::run::{GeoRooms, Report};
use crate::tenant::State;
use futures::StreamExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Due rows read at once.
const PAGE: usize = 1000;
/// Objects decided on while commits are held.
const STEP: usize = 128;
/// Removals in flight: they share commits.
const IN_FLIGHT: usize = 64;
/// Objects removed in one sweep and region; the next sweep, which begins at once, goes on. So a tenant that is due waits
/// for no more than these.
const EXPIRED_MAX: u64 = 100_000;

/// Why an object stays that a legal hold keeps.
const HELD: &str = "a hold keeps them";

/// What was done with the due objects of a region.
#[derive(Default)]
pub(in crate::sweep) struct Swept {
    expired: u64,
    more: bool,
    /// The longest due of what should have gone and did not.
    oldest: Option<Millis>,
    /// Objects that are kept, by whose and why.
    kept: BTreeMap<(TenantId, &'static str), u64>,
}

impl Swept {
    /// Adds it to a sweep's report.
    pub(in crate::sweep) fn tell(self, report: &mut Report) {
        report.objects_expired += self.expired;
        report.more |= self.more;
        let late = [report.objects_late_since, self.oldest];
        report.objects_late_since = late.into_iter().flatten().min();
        let kept = self.kept.into_iter();
        report
            .skipped
            .extend(kept.map(|((tenant, why), objects)| format!("{objects} objects of tenant {tenant}: {why}")));
    }

    fn keep(&mut self, tenant: TenantId, why: &'static str, objects: usize) {
        *self.kept.entry((tenant, why)).or_default() += objects as u64;
    }

    fn fail(&mut self, tenant: TenantId, rows: &[Due], why: &'static str) {
        self.keep(tenant, why, rows.len());
        let longest = rows.iter().map(|row| at(&row.key)).min();
        self.oldest = [self.oldest, longest].into_iter().flatten().min();
    }
}

/// Removes what is over in one region by `now`. Without an actor nothing is changed, and the answer is what would be.
pub(in crate::sweep) async fn expire(
    rooms: &GeoRooms,
    actor: Option<&Actor>,
    region: &Region,
    now: Millis,
) -> Result<Swept, SweepError> {
    let roots = rooms.tenancy.regions.get(region.id).ok_or(SweepError::OutOfReach(1))?.clone();
    let mut expiring = Expiring { rooms, actor, roots, now, open: HashMap::new(), swept: Swept::default() };
    let (mut after, mut pace) = (None, rooms.pace());
    loop {
        let page = expiring.roots.index.due(now, after.as_ref(), PAGE).await?;
        after = page.last().filter(|_| page.len() == PAGE).map(|last| last.key);
        let mut by_bucket = BTreeMap::<_, Vec<Due>>::new();
        for row in page {
            if let Some((_, bucket)) = row.object() {
                by_bucket.entry((row.key.tenant, bucket)).or_default().push(row);
            }
        }
        for ((tenant, bucket), rows) in by_bucket {
            let mut rows = &rows[..];
            while !rows.is_empty() {
                let (step, rest) = rows.split_at(rows.len().min(pace.step(STEP)));
                if let Err(error) = expiring.bucket(tenant, bucket, step).await {
                    tracing::warn!(%tenant, %bucket, %error, "objects whose lifetime is over were not removed");
                    expiring.swept.fail(tenant, step, "they could not be looked at or removed; see the log");
                }
                pace.spent(step.len() as u64).await;
                rows = rest;
            }
        }
        if after.is_none() {
            return Ok(expiring.swept);
        }
        if expiring.swept.expired >= EXPIRED_MAX {
            return Ok(Swept { more: true, ..expiring.swept });
        }
    }
}

struct Expiring<'a> {
    rooms: &'a GeoRooms,
    actor: Option<&'a Actor>,
    roots: Arc<RegionRoots>,
    now: Millis,
    /// `None`: there is no such bucket any more.
    open: HashMap<BucketId, Option<Arc<crate::model::object::BucketRef>>>,
    swept: Swept,
}

/// What becomes of the object of a due row.
enum Verdict {
    Goes(ObjectName, Arc<ObjectRow>),
    /// Not yet, or not at all: the second of its next due row.
    Stays(Box<ObjectRow>, Option<u64>),
    /// It was replaced or removed.
    Spent(DueKey),
    /// The due row is not what was written for this bucket.
    Damaged,
}

impl Expiring<'_> {
    async fn bucket(&mut self, tenant: TenantId, bucket: BucketId, rows: &[Due]) -> Result<(), SweepError> {
        let directory = &self.rooms.tenancy.directory;
        // Held until the removals are durable: no rule, hold or state comes in between.
        let guard = match directory.commits(tenant).await? {
            Ok(guard) => guard,
            Err(State::Disabled) => {
                self.swept.keep(tenant, "the tenant is disabled, so lifetimes stand still", rows.len());
                return Ok(());
            }
            // It goes as a whole, or is not there yet.
            Err(_) => return Ok(()),
        };
        let Some(opened) = self.opened(tenant, bucket).await? else {
            return self.forget(rows.iter().map(|row| row.key).collect()).await;
        };
        let keeper = directory.keeper(&opened.at).await?;
        let lifetimes = Lifetimes::of(self.rooms, &opened).await?;
        let (mut doomed, mut dated, mut spent) = (Vec::new(), Vec::new(), Vec::new());
        for due in rows {
            match self.verdict(&opened, &lifetimes, due).await? {
                Verdict::Goes(_, row) if keeper.as_ref().is_some_and(|keeper| keeper.keeps(&row)) => {
                    self.swept.keep(tenant, HELD, 1);
                }
                Verdict::Goes(name, row) => doomed.push((name, row)),
                Verdict::Stays(row, due) => dated.push((*row, due)),
                Verdict::Spent(key) => spent.push(key),
                Verdict::Damaged => self.swept.fail(tenant, std::slice::from_ref(due), "a due row is damaged"),
            }
        }
        let Some(actor) = self.actor else {
            self.swept.expired += doomed.len() as u64;
            return Ok(());
        };
        if !dated.is_empty() {
            self.roots.index.date(&opened.index, &dated).await?;
        }
        self.forget(spent).await?;
        if doomed.is_empty() {
            return Ok(());
        }
        let objects = doomed.len() as u64;
        self.rooms.tenancy.audit.append(actor, Record::ObjectsExpiring { tenant, bucket, objects }).await?;
        let index = &self.roots.index;
        let removals = futures::stream::iter(doomed).map(|(name, row)| {
            let opened = &opened;
            let condition = match &keeper {
                Some(keeper) => Condition::Unkept(Box::new(Condition::IfSame(row)), keeper.clone()),
                None => Condition::IfSame(row),
            };
            async move { index.delete(&opened.index, &name, condition).await }
        });
        let removed: Vec<_> = removals.buffer_unordered(IN_FLIGHT).collect().await;
        drop(guard);
        let stock = Stock::of_bucket(directory, &self.roots, opened).await?;
        for removed in removed {
            match removed {
                Ok(Some(row)) => {
                    self.swept.expired += 1;
                    self.clear(&stock, &row).await?;
                }
                // A client was faster.
                Ok(None) | Err(IndexError::Condition | IndexError::NoSuchObject) => {}
                Err(IndexError::Kept) => self.swept.keep(tenant, HELD, 1),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn opened(&mut self, tenant: TenantId, bucket: BucketId) -> Result<Option<Arc<OpenedBucket>>, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        if let std::collections::hash_map::Entry::Vacant(place) = self.open.entry(bucket) {
            let buckets = directory.buckets(tenant).await?;
            place.insert(buckets.into_iter().find(|at| at.bucket == bucket));
        }
        match self.open.get(&bucket) {
            Some(Some(at)) if at.region == self.roots.region => Ok(directory.open_bucket(at).await?),
            _ => Ok(None),
        }
    }

    async fn verdict(&self, opened: &OpenedBucket, lifetime: &Lifetimes, due: &Due) -> Result<Verdict, SweepError> {
        let name = due.about(&opened.index).and_then(|name| String::from_utf8(name).ok());
        let Some(name) = name.and_then(|name| ObjectName::parse(name).ok()) else { return Ok(Verdict::Damaged) };
        let found = self.roots.index.get(&opened.index, &name).await?;
        let row = match found.map(|found| found.row) {
            Some(row) if row.version_id.0 == due.key.id && row.due == Some(due.key.seconds) => row,
            _ => return Ok(Verdict::Spent(due.key)),
        };
        match lifetime.due(opened, &row) {
            Some(due) if due <= self.now && row.kind == ObjectKind::Object => Ok(Verdict::Goes(name, Arc::new(row))),
            due => Ok(Verdict::Stays(Box::new(row), due.and_then(|due| u64::try_from(due.seconds()).ok()))),
        }
    }

    async fn forget(&self, spent: Vec<DueKey>) -> Result<(), SweepError> {
        if self.actor.is_some() && !spent.is_empty() {
            self.roots.index.remove_due(&spent).await?;
        }
        Ok(())
    }

    /// What a removed row pointed to, and what pointed to it. Who is reading the blobs has them to the end.
    async fn clear(&self, stock: &Stock, row: &ObjectRow) -> Result<(), SweepError> {
        let blobs = stock.blobs(row, MissingList::MeansDeleted).await?;
        if let Some(front) = row.segments.first().filter(|_| !blobs.is_empty()) {
            let doomed = blobs.iter().map(|segment| segment.id).collect();
            self.roots.readers.retire(front.id, doomed).await?;
        }
        let named = row.metadata.iter().find(|(name, _)| name == SUBJECT_METADATA);
        let named = named.filter(|_| row.subject.is_some()).and_then(|(_, value)| SubjectName::parse(value).ok());
        if let Some(name) = named {
            let (directory, at) = (&self.rooms.tenancy.directory, &stock.bucket.at);
            let places: Vec<_> = directory.places_of(&stock.keys, &name, at.bucket, row.version_id).collect();
            self.roots.index.remove_subject_places(&places).await?;
        }
        Ok(())
    }
}

fn at(key: &DueKey) -> Millis {
    Millis::from_seconds(i64::try_from(key.seconds).unwrap_or(i64::MAX))
}
