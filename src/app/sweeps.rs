//! Sweeps, between the admin face, the schedule and the conductor.

use super::acts::HouseActs;
use crate::admin::acts::{Mode, Order, Outcome};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::Actor;
use crate::directory::{Directory, SweepRun};
use crate::index::Unfinished;
use crate::model::clock::Clock;
use crate::model::time::Millis;
use crate::regions::Regions;
use crate::sweep::{Report, SweepError, Sweeper};
use crate::telemetry::Metrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the schedule looks at the clock. It goes by the compliance clock, so that a simulated day counts as one.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Takes up what was cut off, then does what falls due: sweeps, and closes of epochs.
pub(super) async fn on_schedule(acts: Arc<HouseActs>) {
    super::keywork::take_up_all(&acts).await;
    tokio::join!(sweeps(&acts), dates(&acts), super::epochs::on_schedule(&acts));
}

/// Sweeps whenever the interval has passed by the compliance clock since the last sweep began; the first one at once.
async fn sweeps(acts: &HouseActs) {
    let mut look = tokio::time::interval(LOOK);
    let mut next = None;
    loop {
        look.tick().await;
        let now = acts.house.clock.now().cc_lo;
        if next.is_some_and(|next: Millis| now < next) {
            continue;
        }
        super::reports::verify_logs(acts, now).await;
        // What went wrong is logged and counted there; the schedule goes on.
        let swept = sweep(&Kept::of(acts), &Actor::part("sweeper"), now).await;
        let more = swept.is_ok_and(|report| report.more);
        next = (!more).then(|| now.plus_seconds(interval_s(acts)));
    }
}

/// Dates the objects of buckets whose lifecycle rules were replaced, beside the sweeps; tells how late those are.
async fn dates(acts: &HouseActs) {
    let (mut look, mut pause) = (tokio::time::interval(LOOK), 0);
    loop {
        look.tick().await;
        let late = u64::try_from(acts.sweeper.lateness_s()).unwrap_or(0);
        acts.metrics.sweep_is_late(Duration::from_secs(late));
        if pause > 0 {
            pause -= 1;
            continue;
        }
        if let Err(error) = acts.sweeper.date_objects().await {
            tracing::warn!(%error, "objects were not dated by the rules of their bucket; tried again");
            pause = DATES_PAUSE;
        }
    }
}

/// Looks that are left out after a walk that failed.
const DATES_PAUSE: u32 = 60;

pub(super) async fn run(acts: &HouseActs, order: &Order) -> Result<Outcome<wire::Operation>, ActError> {
    if order.mode == Mode::Plan {
        let foreseen = acts.sweeper.foresee().await;
        let steps = foreseen.done.iter().map(|act| format!("{act:?}")).chain(foreseen.skipped.iter().cloned());
        let counts = [
            ("tenants_purged", foreseen.tenants_purged),
            ("tenants_held", foreseen.tenants_held),
            ("objects_expired", foreseen.objects_expired),
            ("uploads_aborted", foreseen.uploads_aborted),
            ("keys_destroyed", foreseen.keys_destroyed),
            ("skipped", foreseen.skipped.len() as u64),
        ];
        let counts: BTreeMap<_, _> = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        return Ok(Outcome::Planned(wire::Plan { steps: steps.collect(), counts, ..wire::Plan::default() }));
    }
    let (kept, by) = (Kept::of(acts), super::tenants::actor(order));
    let now = acts.house.clock.now();
    let operation = acts.operations.start("sweep", "", now.wall, |progress| async move {
        progress.phase("sweeping", 0);
        let report = sweep(&kept, &by, now.cc_lo).await.map_err(|_| ActError::Unavailable("the sweeper"))?;
        Ok(wire::OperationResult::Sweep(shown(&report)))
    });
    Ok(Outcome::Done(operation))
}

pub(super) fn status(acts: &HouseActs) -> wire::SweepStatus {
    let status = acts.sweeper.status();
    let interval = interval_s(acts);
    wire::SweepStatus {
        interval_s: acts.sweep_interval.as_secs(),
        last_started_at: status.started.map(wire::Time),
        last_finished_at: status.ended.map(wire::Time),
        next_at: status.started.map(|started| wire::Time(started.plus_seconds(interval))),
        late_s: u64::try_from(acts.sweeper.lateness_s()).unwrap_or(0),
        due: status.due,
        last: status.last.as_ref().map(shown),
    }
}

/// What keeps the server from being ready: something due, or a sweep, has been waiting for longer than it may.
pub(super) fn waiting_for(acts: &HouseActs) -> Option<String> {
    let late = acts.sweeper.lateness_s();
    let most = i64::try_from(acts.sweep_late.as_secs()).unwrap_or(i64::MAX);
    (late > most).then(|| format!("the sweep is {late} s late"))
}

/// What a sweep is done with, and where it is remembered.
struct Kept {
    sweeper: Arc<Sweeper>,
    metrics: Metrics,
    directories: Vec<Arc<Directory>>,
    regions: Regions,
    clock: Arc<dyn Clock>,
}

impl Kept {
    fn of(acts: &HouseActs) -> Self {
        let directories = acts.house.geos.iter().map(|room| room.directory.clone()).collect();
        Self {
            sweeper: acts.sweeper.clone(),
            metrics: acts.metrics.clone(),
            directories,
            regions: acts.house.regions.clone(),
            clock: acts.house.clock.clone(),
        }
    }
}

async fn sweep(kept: &Kept, by: &Actor, now: Millis) -> Result<Report, SweepError> {
    let Kept { sweeper, metrics, directories, regions, clock } = kept;
    let swept = sweeper.run(by).await;
    let late_s = u64::try_from(sweeper.lateness_s()).unwrap_or(0);
    let late = Duration::from_secs(late_s);
    let (ended, acts, skipped) = match &swept {
        Ok(report) => (Some(clock.now().cc_lo), shown(report).acts(), report.skipped.len() as u64),
        Err(_) => (None, 0, 0),
    };
    super::reports::keep_sweep(directories, &SweepRun { started: now, ended, acts, skipped, late_s }).await;
    count_unfinished(regions, metrics).await;
    match &swept {
        Ok(report) => {
            let things =
                report.objects_removed + report.objects_expired + report.uploads_aborted + report.orphans_removed;
            metrics.sweep_ended(now.seconds(), things, late);
            for reason in &report.skipped {
                tracing::warn!(reason, "left to the next sweep");
            }
        }
        Err(error) => {
            metrics.sweep_is_late(late);
            tracing::error!(%error, "a sweep did not run");
        }
    }
    swept
}

/// What no listing shows is at least counted.
async fn count_unfinished(regions: &Regions, metrics: &Metrics) {
    let mut all = Unfinished::default();
    for roots in regions.values() {
        match roots.index.count_unfinished(None).await {
            Ok(found) => all += found,
            Err(error) => {
                tracing::warn!(region = roots.region.id, %error, "uploads in progress were not counted");
                return;
            }
        }
    }
    metrics.unfinished(all.uploads, all.parts);
}

fn interval_s(acts: &HouseActs) -> i64 {
    i64::try_from(acts.sweep_interval.as_secs()).unwrap_or(i64::MAX)
}

fn shown(report: &Report) -> wire::SweepReport {
    wire::SweepReport {
        tenants_purged: report.tenants_purged,
        tenants_held: report.tenants_held,
        objects_removed: report.objects_removed,
        objects_expired: report.objects_expired,
        uploads_aborted: report.uploads_aborted,
        orphans_removed: report.orphans_removed,
        keys_destroyed: report.keys_destroyed,
        skipped: report.skipped.clone(),
    }
}
