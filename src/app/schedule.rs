//! The rotation schedule: looks which keys are due for their next version, and begins that, one after the other.
//!
//! What is under way is the job's own state: a crash leaves a job, which the next start takes up; what was due and not
//! begun is due again.

use super::acts::HouseActs;
use super::house::GeoRoom;
use super::keywork;
use crate::admin::error::ActError;
use crate::admin::schedules;
use crate::admin::wire::Time;
use crate::model::time::Millis;
use crate::rekey::schedule::{Counting, Scheduled, Standing, look};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the schedule looks at the clock. It goes by the compliance clock, so that a simulated day counts as one.
const TICK: Duration = Duration::from_secs(1);
/// Seconds between two looks at the keys.
const LOOK_S: i64 = 3600;

/// What the last look counted: counting takes long, so whoever asks is told that.
#[derive(Default)]
pub(super) struct Counted(Mutex<HashMap<(&'static str, Scheduled), u64>>);

/// Begins what is due whenever the time has come to look; the first look is at once.
pub(super) async fn on_schedule(acts: Arc<HouseActs>) {
    let mut tick = tokio::time::interval(TICK);
    let mut next = None;
    loop {
        tick.tick().await;
        let now = acts.house.clock.now().cc_lo;
        if next.is_some_and(|next: Millis| now < next) {
            continue;
        }
        next = Some(now.plus_seconds(LOOK_S));
        for room in &acts.house.geos {
            rotate_what_is_due(&acts, room, now).await;
        }
    }
}

/// Failures are logged and tried again at the next look: a key service out of reach, another job on the same tenant.
async fn rotate_what_is_due(acts: &HouseActs, room: &GeoRoom, now: Millis) {
    let (policy, geo) = (acts.rotation.of(room.geo), room.geo.id);
    let found = match look(&acts.house.rekey_rooms(room), &policy, now, Counting::Yes).await {
        Ok(found) => found,
        Err(error) => return tracing::warn!(geo, %error, "which keys are due could not be read"),
    };
    {
        let mut counted = acts.counted.0.lock();
        counted.retain(|(of, _), _| *of != geo);
        counted.extend(found.iter().filter_map(|standing| Some(((geo, standing.on), standing.grown?))));
    }
    for standing in found.iter().filter(|standing| standing.is_due(now)) {
        tracing::info!(geo, version = standing.version, key = kind(standing.on), "a key is due for its next version");
        if let Err(error) = keywork::by_schedule(acts, room, standing.on).await {
            tracing::warn!(geo, key = kind(standing.on), ?error, "a key that is due was not rotated");
        }
    }
}

/// When the keys of a geo are due.
pub(super) async fn standings(acts: &HouseActs, room: &GeoRoom) -> Result<Vec<Standing>, ActError> {
    let (policy, now) = (acts.rotation.of(room.geo), acts.house.clock.now().cc_lo);
    let found = look(&acts.house.rekey_rooms(room), &policy, now, Counting::No).await;
    let mut found = found.map_err(keywork::rekey_error)?;
    let counted = acts.counted.0.lock();
    for standing in &mut found {
        standing.grown = standing.grown.or_else(|| counted.get(&(room.geo.id, standing.on)).copied());
    }
    Ok(found)
}

/// As the admin face says it.
pub(super) fn shown(standing: &Standing, key: String, now: Millis) -> schedules::Scheduled {
    schedules::Scheduled {
        key,
        since: Time(standing.since),
        due_at: standing.due_at().map(Time),
        is_due: standing.is_due(now),
        days: standing.period.days,
        records: standing.grown,
        records_max: standing.period.records,
    }
}

fn kind(on: Scheduled) -> &'static str {
    match on {
        Scheduled::Master => "master",
        Scheduled::Tenant(_) => "tenant",
        Scheduled::SubjectRoot(_) => "subject-root",
        Scheduled::IndexRoot(_) => "index-root",
        Scheduled::IndexKey(..) => "index-key",
    }
}
