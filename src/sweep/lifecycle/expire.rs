//! What is due by lifecycle rules: look at each object again → the ledger's entry → remove the row → delete the blobs.
//!
//! A due row only says when to look. Whether the object goes is decided by what is there then: that very version, its
//! size and tags, which versions of its name are newer, the bucket's rules, the tenant's state and holds, all while no
//! other act of the tenant commits. An object that does not go yet gets its new due row; one that is kept stays due, is
//! reported, and stops no other. A crash behind the row's removal leaves orphan blobs.

use super::acts::Acts;
use super::lifetimes::{Fate, Lifetimes};
use crate::audit::{Actor, Event as Record};
use crate::directory::OpenedBucket;
use crate::index::rows::v1::ObjectRow;
use crate::index::{Due, DueKey, IndexError, Keeper};
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, TenantId};
use crate::model::names::{ObjectName, SUBJECT_METADATA, SubjectName};
use crate::model::time::Millis;
use crate::model::versioning::VersionAsked;
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

/// Rows that are dated at once.
const DATED_MAX: usize = 1000;

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

/// What the due rows of a bucket amount to.
#[derive(Default)]
struct Verdicts {
    /// Versions that go, and which none takes the place of.
    superseded: Vec<(ObjectName, Arc<ObjectRow>)>,
    /// Current ones that go or are hidden, after those.
    current: Vec<(ObjectName, Arc<ObjectRow>, Fate)>,
    /// Those that stay, with the second of their next due row.
    dated: Vec<(ObjectRow, Option<u64>)>,
    /// Due rows of what was replaced or removed.
    spent: Vec<DueKey>,
    held: usize,
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
        let mut by_name = BTreeMap::<_, Vec<DueKey>>::new();
        for due in rows {
            let name = due.about(&opened.index).and_then(|name| String::from_utf8(name).ok());
            match name.and_then(|name| ObjectName::parse(name).ok()) {
                Some(name) => by_name.entry(name).or_default().push(due.key),
                None => self.swept.fail(tenant, std::slice::from_ref(due), "a due row is damaged"),
            }
        }
        let mut verdicts = Verdicts::default();
        for (name, due) in by_name {
            self.judge(&opened, &lifetimes, keeper.as_ref(), (name, &due), &mut verdicts).await?;
        }
        let Verdicts { superseded, current, dated, spent, held } = verdicts;
        if held > 0 {
            self.swept.keep(tenant, HELD, held);
        }
        let objects = (superseded.len() + current.len()) as u64;
        let Some(actor) = self.actor else {
            self.swept.expired += objects;
            return Ok(());
        };
        for dated in dated.chunks(DATED_MAX) {
            self.roots.index.date(&opened.index, dated).await?;
        }
        self.forget(spent).await?;
        if objects == 0 {
            return Ok(());
        }
        self.rooms.tenancy.audit.append(actor, Record::ObjectsExpiring { tenant, bucket, objects }).await?;
        let clock = self.rooms.tenancy.clock.as_ref();
        let acts = Acts { index: &self.roots.index, opened: &opened, keeper: keeper.as_ref(), clock };
        let mut done: Vec<_> = futures::stream::iter(superseded)
            .map(|(name, row)| acts.remove(name, row))
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        let last = futures::stream::iter(current).map(|(name, row, fate)| acts.end(name, row, fate));
        done.extend(last.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await);
        drop(guard);
        let stock = Stock::of_bucket(directory, &self.roots, opened.clone()).await?;
        for done in done {
            match done {
                Ok(gone) => {
                    self.swept.expired += 1;
                    if let Some(row) = gone {
                        self.clear(&stock, &row).await?;
                    }
                }
                // A client was faster.
                Err(IndexError::Condition | IndexError::NoSuchObject) => {}
                Err(IndexError::Kept) => self.swept.keep(tenant, HELD, 1),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Looks at a name of which something is due. Where that is its current object alone, no other version is read.
    async fn judge(
        &self,
        opened: &OpenedBucket,
        lifetimes: &Lifetimes,
        keeper: Option<&Keeper>,
        (name, due): (ObjectName, &[DueKey]),
        verdicts: &mut Verdicts,
    ) -> Result<(), SweepError> {
        let found = self.roots.index.get(&opened.index, &name).await?.map(|found| found.row);
        let versions = match found {
            None => Vec::new(),
            Some(row) if row.is_object() && due.iter().all(|key| key.id == row.version_id.0) => vec![row],
            Some(_) => self.versions(opened, &name).await?,
        };
        let is_of = |row: &ObjectRow, key: &DueKey| row.version_id.0 == key.id && row.due == Some(key.seconds);
        let spent = due.iter().filter(|key| !versions.iter().any(|row| is_of(row, key)));
        let before = verdicts.spent.len();
        verdicts.spent.extend(spent);
        if verdicts.spent.len() - before == due.len() {
            return Ok(());
        }
        let fates = lifetimes.fates(&versions, |row| keeper.is_some_and(|keeper| row.is_object() && keeper.keeps(row)));
        for (row, fate) in versions.into_iter().zip(fates) {
            match fate {
                Fate::Removed if !row.is_current() => verdicts.superseded.push((name.clone(), Arc::new(row))),
                Fate::Removed | Fate::Marked => verdicts.current.push((name.clone(), Arc::new(row), fate)),
                Fate::Held => {
                    verdicts.held += 1;
                    // It stays due, so that the first sweep after the release finds it.
                    if row.due.is_none_or(|due| due > second(self.now)) {
                        verdicts.dated.push((row, Some(second(self.now))));
                    }
                }
                Fate::Stays(due) => {
                    let due = due.map(second);
                    if row.due != due {
                        verdicts.dated.push((row, due));
                    }
                }
            }
        }
        Ok(())
    }

    /// All versions of a name, the current one first, then the newest first.
    async fn versions(&self, opened: &OpenedBucket, name: &ObjectName) -> Result<Vec<ObjectRow>, SweepError> {
        let mut versions = Vec::<ObjectRow>::new();
        loop {
            let after = versions.last().map(|last| VersionAsked::Id(last.version_id));
            let page = self.roots.index.versions_of(&opened.index, name, after, PAGE).await?;
            // The one to go on behind is gone, and so the page begins at the front again: so does the count.
            if page.first().is_some_and(ObjectRow::is_current) {
                versions.clear();
            }
            let more = page.len() == PAGE;
            versions.extend(page);
            if !more {
                return Ok(versions);
            }
        }
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

fn second(time: Millis) -> u64 {
    u64::try_from(time.seconds()).unwrap_or(0)
}

fn at(key: &DueKey) -> Millis {
    Millis::from_seconds(i64::try_from(key.seconds).unwrap_or(i64::MAX))
}
