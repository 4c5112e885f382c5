//! The sweeper: finds what is due, plans, carries the plan out, reports.
//!
//! One sweep at a time. An act that fails is reported and left to the next sweep; its due row stays. What a crash leaves
//! behind is what each act says of itself: `purge`, `uploads`, `orphans`.

use super::backups::Backups;
use super::certificate::Kind;
use super::closing::MasterGone;
use super::deferred::Deferrals;
use super::find::{Found, name};
use super::key_ends::KeyEnds;
use super::plan::{Act, Item, Plan, Why};
use super::{SweepError, archive, blocking, lifecycle, orphans, purge, uploads};
use crate::audit::{Actor, Event as Record};
use crate::model::clock::Clock;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::model::traffic::Traffic;
use crate::pace::Pace;
use crate::regions::RegionRoots;
use crate::seal::KeyError;
use crate::tenancy::Tenancy;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What the sweeper needs of one geo.
#[derive(Clone)]
pub struct GeoRooms {
    /// The acts on its tenants, with the directory, the log and the regions.
    pub tenancy: Tenancy,
    /// Where its certificates are kept.
    pub certificates: PathBuf,
    /// Whether a destroyed version of its master key is gone for good.
    pub master_gone: MasterGone,
    /// Whether clients are about, for whom a sweep makes room.
    pub traffic: Traffic,
    /// When its epochs are closed, if that is scheduled.
    pub closes: Option<Closes>,
}

/// A schedule of closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closes {
    /// Seconds from the beginning of one to that of the next.
    pub every_s: i64,
    /// Seconds from its beginning to its end, at least.
    pub soak_s: i64,
}

impl GeoRooms {
    /// The served regions of this geo.
    pub(super) fn regions(&self) -> Vec<Arc<RegionRoots>> {
        let of_geo = self.tenancy.directory.geo().regions.iter();
        of_geo.filter_map(|region| self.tenancy.regions.get(region.id).cloned()).collect()
    }

    /// The backups that may hold what a tenant had, which was created at `from` and is gone.
    pub(super) async fn backups(&self, from: Millis) -> Result<Backups, SweepError> {
        let directory = &self.tenancy.directory;
        let now = self.tenancy.clock.now().cc_lo;
        let keys = directory.key_service().clone();
        let asked = blocking(move || Ok::<_, KeyError>((keys.backups()?, keys.epoch_job()?, keys.epochs()?)));
        let (notes, job, epochs) = asked.await?;
        let ends = match self.closes {
            None => None,
            Some(closes) => {
                let next = match (job, epochs.last()) {
                    (Some(job), _) => job.opened,
                    (None, Some(last)) => last.opened.saturating_add(closes.every_s),
                    (None, None) => directory.closes_counted_from(now.seconds()).await?.saturating_add(closes.every_s),
                };
                Some(Millis::from_seconds(next.saturating_add(closes.soak_s)))
            }
        };
        Ok(Backups::measured(&notes, from, now, now, ends))
    }

    /// For a piece of work that begins now: as fast as clients leave room.
    pub(super) fn pace(&self) -> Pace {
        Pace::new(None, &self.traffic)
    }
}

/// Destroys what is due, in every served geo. Meant to live in an `Arc`.
pub struct Sweeper {
    geos: Vec<GeoRooms>,
    clock: Arc<dyn Clock>,
    interval_s: i64,
    alone: tokio::sync::Mutex<()>,
    status: Mutex<Status>,
    deferrals: Option<Arc<dyn Deferrals>>,
    key_ends: Option<Arc<dyn KeyEnds>>,
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sweeper({} geos)", self.geos.len())
    }
}

/// What the sweeper did last and has to do. Times are the wall's.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// When the last sweep of this process began.
    pub started: Option<Millis>,
    /// When it ended.
    pub ended: Option<Millis>,
    /// What it did.
    pub last: Option<Report>,
    /// Acts that were due at the last look, those that wait included.
    pub due: u64,
    /// How late the longest due of them was, in seconds.
    pub late_s: i64,
    /// When that was, by the compliance clock.
    pub looked: Option<Millis>,
    /// When the last sweep began, by the compliance clock.
    pub begun: Option<Millis>,
}

/// What one sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The acts that were carried out, in order: those of the plan, unless something failed.
    pub done: Vec<Act>,
    /// Tenants whose destruction ended with a certificate.
    pub tenants_purged: u64,
    /// Tenants that are due but held.
    pub tenants_held: u64,
    /// Tenants that could not be made and were given up.
    pub tenants_given_up: u64,
    /// Objects of purged tenants.
    pub objects_removed: u64,
    /// Objects whose lifetime by their bucket's lifecycle rules was over.
    pub objects_expired: u64,
    /// Uploads that nobody completed.
    pub uploads_aborted: u64,
    /// Blobs, temporary files and buckets' rows that nothing named.
    pub orphans_removed: u64,
    /// Acts that holds had put off and that were carried out.
    pub acts_resumed: u64,
    /// Epochs whose close was finished.
    pub epochs_closed: u64,
    /// Versions of keys that were destroyed on their day.
    pub keys_destroyed: u64,
    /// What was not done and why, in opaque ids.
    pub skipped: Vec<String>,
    /// One sweep does not go on without end: more is due, and the next should begin at once.
    pub more: bool,
    /// Since when the longest due object has been waiting that should have gone and did not.
    pub objects_late_since: Option<Millis>,
}

impl Sweeper {
    /// A sweeper over its geos. `interval_s`: seconds between two sweeps.
    pub fn new(geos: Vec<GeoRooms>, clock: Arc<dyn Clock>, interval_s: i64) -> Self {
        let (alone, status) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { geos, clock, interval_s, alone, status, deferrals: None, key_ends: None }
    }

    /// The same, and what holds put off is carried out by `deferrals`.
    pub fn with_deferrals(self, deferrals: Arc<dyn Deferrals>) -> Self {
        Self { deferrals: Some(deferrals), ..self }
    }

    /// The same, and versions of keys whose day has come are destroyed by `key_ends`.
    pub fn with_key_ends(self, key_ends: Arc<dyn KeyEnds>) -> Self {
        Self { key_ends: Some(key_ends), ..self }
    }

    /// What a sweep would do now. Changes nothing.
    pub async fn plan(&self) -> Plan {
        let now = self.clock.now();
        let plan = Found::look(&self.geos, &now).await.plan(&now);
        self.note(&plan, now.cc_lo);
        plan
    }

    /// What a sweep would report now, as far as a plan can tell. Changes nothing.
    pub async fn foresee(&self) -> Report {
        let now = self.clock.now();
        let found = Found::look(&self.geos, &now).await;
        let plan = found.plan(&now);
        let mut report = Report { skipped: Found::waiting(&plan).collect(), ..Report::default() };
        report.skipped.extend(found.troubles.iter().cloned());
        report.tenants_held = held(&plan);
        for act in &plan.acts {
            match act {
                Act::PurgeTenant(_) | Act::ResumePurge(_) => report.tenants_purged += 1,
                Act::HoldTenant(_) => report.tenants_held += 1,
                Act::GiveUpTenant(_) => report.tenants_given_up += 1,
                Act::AbortUpload { .. } => report.uploads_aborted += 1,
                Act::ExpireObjects(region) => {
                    let Some(geo) = self.place(&found, act) else { continue };
                    match lifecycle::expire(&self.geos[geo], None, region, now.cc_lo).await {
                        Ok(swept) => swept.tell(&mut report),
                        Err(error) => report.skip(act, &error),
                    }
                }
                Act::DropTenantDue(_) | Act::CollectOrphans(_) => {}
            }
        }
        report.done = plan.acts;
        self.end_keys(None, &mut report).await;
        report
    }

    async fn end_keys(&self, actor: Option<&Actor>, report: &mut Report) {
        for rooms in &self.geos {
            let Some(key_ends) = &self.key_ends else { return };
            let ended = key_ends.end_due(rooms.tenancy.directory.geo().id, actor).await;
            report.keys_destroyed += ended.destroyed;
            report.skipped.extend(ended.stay);
        }
    }

    /// Sweeps once; waits for a sweep that is under way. Fails when no geo could be looked at.
    pub async fn run(&self, actor: &Actor) -> Result<Report, SweepError> {
        let _alone = self.alone.lock().await;
        let now = self.clock.now();
        {
            let mut status = self.status.lock();
            (status.started, status.begun) = (Some(now.wall), Some(now.cc_lo));
        }
        let mut found = Found::look(&self.geos, &now).await;
        if found.troubles.len() == self.geos.len() && !self.geos.is_empty() {
            return Err(SweepError::OutOfReach(self.geos.len()));
        }
        let plan = found.plan(&now);
        self.note(&plan, now.cc_lo);
        let mut report = Report { skipped: Found::waiting(&plan).collect(), ..Report::default() };
        report.skipped.append(&mut found.troubles);
        report.tenants_held = held(&plan);
        let mut by_geo = vec![Report::default(); self.geos.len()];
        let mut emptied = Vec::new();
        for act in &plan.acts {
            let before = report.counts();
            match self.carry_out(actor, &found, *act, &mut report, &mut emptied).await {
                Ok(geo) => by_geo[geo].add(&before, &report),
                Err(error) => report.skip(act, &error),
            }
        }
        for (geo, rooms) in self.geos.iter().enumerate() {
            let before = report.counts();
            let (here, elsewhere) = emptied.into_iter().partition(|emptied: &Waiting| emptied.geo == geo);
            emptied = elsewhere;
            Self::finish(rooms, actor, here, &mut report).await;
            by_geo[geo].add(&before, &report);
        }
        for rooms in &self.geos {
            let Some(deferrals) = &self.deferrals else { break };
            if let Err(error) = super::deferred::run(rooms, actor, deferrals.as_ref(), &mut report).await {
                report.skipped.push(format!("deferred acts of {}: {error}", rooms.tenancy.directory.geo().id));
            }
        }
        for rooms in &self.geos {
            match super::epoch::finish(rooms, actor).await {
                Ok(closed) => report.epochs_closed += u64::from(closed),
                Err(error) => report.skipped.push(format!("epoch of {}: {error}", rooms.tenancy.directory.geo().id)),
            }
        }
        self.end_keys(Some(actor), &mut report).await;
        let done: HashSet<Act> = report.done.drain(..).collect();
        report.done.extend(plan.acts.iter().filter(|act| done.contains(act)));
        for (roots, row) in &found.spent {
            if let Err(error) = roots.index.remove_due(&[*row]).await {
                report.skipped.push(format!("due rows of {}: {error}", roots.region.id));
            }
        }
        for (rooms, part) in self.geos.iter().zip(by_geo) {
            part.log(rooms, actor, report.skipped.len()).await?;
        }
        let mut left = Found::look(&self.geos, &now).await.plan(&now);
        let objects_late_s = report.objects_late_since.map_or(0, |since| (now.cc_lo.0.saturating_sub(since.0)) / 1000);
        left.late_s = left.late_s.max(objects_late_s);
        self.note(&left, now.cc_lo);
        let mut status = self.status.lock();
        (status.ended, status.last) = (Some(self.clock.now().wall), Some(report.clone()));
        Ok(report)
    }

    /// How late the longest due act is now, in seconds: what it was at the last look, and the time since; or how long the
    /// next sweep is overdue, whichever is more. What a hold keeps or a disabled tenant has is not late.
    pub fn lateness_s(&self) -> i64 {
        let (now, status) = (self.clock.now().cc_lo, self.status.lock());
        let since = |then: Millis| now.0.saturating_sub(then.0) / 1000;
        let grown = status.looked.filter(|_| status.late_s > 0).map_or(0, |looked| status.late_s + since(looked));
        let overdue = status.begun.map_or(0, |begun| since(begun) - self.interval_s);
        grown.max(overdue).max(0)
    }

    /// What was done last, and what was due at the last look. [`Sweeper::plan`] looks anew.
    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// The certificate of a tenant's destruction: the one of its epoch's close, or the final one, or else the one
    /// before it.
    pub async fn certificate(&self, tenant: TenantId) -> Result<Option<String>, SweepError> {
        for rooms in &self.geos {
            let dir = rooms.certificates.clone();
            let text = blocking(move || -> std::io::Result<_> {
                let kinds = [Kind::Final, Kind::Residual, Kind::Partial];
                let mut found = archive::read_named(&dir, &archive::closed(tenant))?;
                for kind in kinds {
                    found = match found {
                        None => archive::read(&dir, tenant, kind)?,
                        found => found,
                    };
                }
                Ok(found)
            });
            if let Some(text) = text.await? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// The certificate of an epoch's close.
    pub async fn epoch_certificate(&self, geo: &str, number: u64) -> Result<Option<String>, SweepError> {
        let rooms = self.geos.iter().find(|rooms| rooms.tenancy.directory.geo().id == geo);
        let Some(dir) = rooms.map(|rooms| rooms.certificates.clone()) else { return Ok(None) };
        blocking(move || archive::read_named(&dir, &archive::epoch(number))).await
    }

    /// Finishes the closes of epochs that are due; waits for a sweep that is under way. Answers how many were.
    pub async fn close_epochs(&self, actor: &Actor) -> Result<u64, SweepError> {
        let _alone = self.alone.lock().await;
        let mut closed = 0;
        for rooms in &self.geos {
            closed += u64::from(super::epoch::finish(rooms, actor).await?);
        }
        Ok(closed)
    }

    /// Gives objects of buckets whose lifecycle rules were replaced their due times; goes on where it was cut off. Answers
    /// how many.
    pub async fn date_objects(&self) -> Result<u64, SweepError> {
        let mut dated = 0;
        for rooms in &self.geos {
            dated += lifecycle::walk(rooms).await?;
        }
        Ok(dated)
    }

    /// Waits for a sweep that is under way and keeps others off while the guard lives.
    pub async fn pause(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.alone.lock().await
    }

    /// After the restore of a backup, before anything is served: what it brought back of tenants whose keys are destroyed
    /// is deleted again. Answers how many tenants that were.
    pub async fn redelete(&self, actor: &Actor) -> Result<u64, SweepError> {
        let _alone = self.alone.lock().await;
        let mut tenants = 0;
        for rooms in &self.geos {
            tenants += super::redelete::redelete(rooms, actor).await?;
        }
        Ok(tenants)
    }

    fn note(&self, plan: &Plan, now: Millis) {
        let mut status = self.status.lock();
        let waiting = plan.skipped.iter().filter(|skipped| skipped.why != Why::WithItsTenant);
        status.due = (plan.acts.len() + waiting.count()) as u64;
        (status.late_s, status.looked) = (plan.late_s, Some(now));
    }

    /// One act; tells in which geo it was. Of a tenant's destruction only the first half: the second waits for the
    /// engines to be rewritten, which is done once for all.
    async fn carry_out(
        &self,
        actor: &Actor,
        found: &Found,
        act: Act,
        report: &mut Report,
        emptied: &mut Vec<Waiting>,
    ) -> Result<usize, SweepError> {
        let geo = self.place(found, &act).ok_or(SweepError::Gone)?;
        let rooms = &self.geos[geo];
        match act {
            Act::PurgeTenant(id) | Act::ResumePurge(id) => {
                let tenant = purge::empty(rooms, actor, id, self.interval_s).await?;
                emptied.push(Waiting { geo, act, tenant });
                return Ok(geo);
            }
            Act::HoldTenant(id) => {
                report.objects_removed += purge::part::part(rooms, actor, id).await?;
                report.tenants_held += 1;
            }
            Act::GiveUpTenant(id) => {
                rooms.tenancy.give_up_unmade(actor, id).await?;
                report.tenants_given_up += 1;
            }
            Act::DropTenantDue(id) => {
                let row = found.tenant_rows.get(&id).ok_or(SweepError::Gone)?;
                rooms.tenancy.directory.remove_due(row).await?;
            }
            Act::AbortUpload { tenant, bucket, upload } => {
                let (region, row) = found.upload_rows.get(&(tenant, bucket, upload)).ok_or(SweepError::Gone)?;
                let aborted = uploads::abort(rooms, region, row, found.now).await?;
                report.uploads_aborted += u64::from(aborted);
            }
            Act::ExpireObjects(region) => {
                let swept = lifecycle::expire(rooms, Some(actor), region, found.now).await?;
                swept.tell(report);
            }
            Act::CollectOrphans(region) => {
                report.orphans_removed += orphans::collect(rooms, region, self.clock.as_ref()).await?;
            }
        }
        report.done.push(act);
        Ok(geo)
    }

    /// The second half of the destructions of one geo.
    async fn finish(rooms: &GeoRooms, actor: &Actor, emptied: Vec<Waiting>, report: &mut Report) {
        if emptied.is_empty() {
            return;
        }
        let tenants: Vec<_> = emptied.iter().map(|waiting| &waiting.tenant).collect();
        if let Err(error) = purge::compact(rooms, &tenants).await {
            return emptied.iter().for_each(|waiting| report.skip(&waiting.act, &error));
        }
        for Waiting { act, tenant, .. } in emptied {
            match purge::finish(rooms, actor, tenant).await {
                Ok(objects) => {
                    report.done.push(act);
                    report.tenants_purged += 1;
                    report.objects_removed += objects;
                }
                Err(error) => report.skip(&act, &error),
            }
        }
    }

    fn place(&self, found: &Found, act: &Act) -> Option<usize> {
        match item(act) {
            Item::Tenant(id) | Item::Upload { tenant: id, .. } => found.geo_of.get(&id).copied(),
            Item::Objects(region) | Item::Orphans(region) => {
                self.geos.iter().position(|rooms| rooms.tenancy.directory.geo().regions.contains(region))
            }
        }
    }
}

/// A tenant whose destruction is half done.
struct Waiting {
    geo: usize,
    act: Act,
    tenant: purge::Emptied,
}

/// What an act is about.
fn item(act: &Act) -> Item {
    match *act {
        Act::PurgeTenant(id)
        | Act::ResumePurge(id)
        | Act::HoldTenant(id)
        | Act::GiveUpTenant(id)
        | Act::DropTenantDue(id) => Item::Tenant(id),
        Act::ExpireObjects(region) => Item::Objects(region),
        Act::AbortUpload { tenant, bucket, upload } => Item::Upload { tenant, bucket, upload },
        Act::CollectOrphans(region) => Item::Orphans(region),
    }
}

fn held(plan: &Plan) -> u64 {
    let held = |skipped: &&super::plan::Skipped| skipped.why == Why::Held && matches!(skipped.item, Item::Tenant(_));
    plan.skipped.iter().filter(held).count() as u64
}

impl Report {
    /// Its counts alone, without the lists, which may be long.
    fn counts(&self) -> Self {
        Self {
            tenants_purged: self.tenants_purged,
            tenants_held: self.tenants_held,
            tenants_given_up: self.tenants_given_up,
            objects_expired: self.objects_expired,
            uploads_aborted: self.uploads_aborted,
            orphans_removed: self.orphans_removed,
            ..Self::default()
        }
    }

    /// Something due was not done.
    fn skip(&mut self, act: &Act, error: &SweepError) {
        self.skipped.push(format!("{}: {error}", name(&item(act))));
    }

    /// Adds what one act changed.
    fn add(&mut self, before: &Self, after: &Self) {
        self.tenants_purged += after.tenants_purged - before.tenants_purged;
        self.tenants_held += after.tenants_held - before.tenants_held;
        self.tenants_given_up += after.tenants_given_up - before.tenants_given_up;
        self.objects_expired += after.objects_expired - before.objects_expired;
        self.uploads_aborted += after.uploads_aborted - before.uploads_aborted;
        self.orphans_removed += after.orphans_removed - before.orphans_removed;
    }

    /// Records what was done in one geo, if anything was.
    async fn log(&self, rooms: &GeoRooms, actor: &Actor, skipped: usize) -> Result<(), SweepError> {
        let destroyed = self.tenants_purged + self.tenants_given_up + self.uploads_aborted + self.orphans_removed;
        if destroyed > 0 {
            let ended = Record::SweepEnded {
                purged: self.tenants_purged,
                held: self.tenants_held,
                uploads_aborted: self.uploads_aborted,
                orphans_removed: self.orphans_removed,
                skipped: skipped as u64,
            };
            rooms.tenancy.audit.append(actor, ended).await?;
        }
        Ok(())
    }
}
