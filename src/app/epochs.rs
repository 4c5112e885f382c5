//! Closing epochs, between the admin face, the conductor of rotation and the sweeper.

use super::acts::{HouseActs, log_error};
use super::house::GeoRoom;
use super::keys::ask;
use super::keywork::{Told, rekey_error};
use super::tenants::{act_error, actor};
use crate::admin::acts::{Mode, Order, Outcome};
use crate::admin::epochs::{Closing, Epoch, EpochMaster, EpochState, Epochs};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::{Actor, Event as Record};
use crate::directory::{Approval, LEDGER_STEP, PROPOSAL_KEEP_S};
use crate::model::atlas::Geo;
use crate::model::time::Millis;
use crate::rekey::{self, RekeyError, Run};
use crate::seal::{EpochClosed, EpochJob, EpochPhase, KeyClient, KeyError, Shredded};
use std::collections::{BTreeMap, HashMap};

/// Seconds by the compliance clock until the schedule looks again, when it knows no time to wait for.
const LOOK_AGAIN_S: i64 = 3600;
/// The same while a close is being brought to its soak, or after something went wrong.
const LOOK_SOON_S: i64 = 60;
/// Who asks for a close that is due: no administrator's name has a space.
const SCHEDULE: &str = "the schedule";

pub(super) async fn close(
    acts: &HouseActs,
    order: &Order,
    geo: &'static Geo,
    no_soak: bool,
) -> Result<Outcome<Closing>, ActError> {
    let room = room(acts, geo)?;
    // One alone may not do what the soak is there to catch.
    if no_soak && (!acts.epoch.allow_no_soak || acts.two_person) {
        return Err(ActError::SoakRequired);
    }
    let soak_s = if no_soak { 0 } else { soak_s(acts) };
    if order.mode == Mode::Plan {
        return Ok(Outcome::Planned(plan(acts, room, soak_s).await?));
    }
    let by = actor(order);
    // A close that was cut off was agreed on when it began.
    let is_new = ask(room, KeyClient::epoch_job).await?.is_none();
    if is_new && acts.two_person {
        match approval(acts, room, &order.by.0, &by).await? {
            Approval::Given => {}
            Approval::Waits => return Err(ActError::AnotherNeeded),
            Approval::Proposed => return Ok(Outcome::Done(Closing::Proposed { proposed: geo.id.to_owned() })),
        }
    }
    Ok(Outcome::Done(Closing::Begun(Box::new(begin(acts, room, by, soak_s)))))
}

/// Asks in somebody's name for what two have to agree on.
async fn approval(acts: &HouseActs, room: &GeoRoom, name: &str, by: &Actor) -> Result<Approval, ActError> {
    let (act, now) = (format!("close epoch of {}", room.geo.id), acts.house.clock.now().wall);
    let approval = room.directory.propose(&act, name, now).await.map_err(|error| act_error(error.into()))?;
    let geo = room.geo.id.to_owned();
    let record = match approval {
        Approval::Waits => return Ok(approval),
        Approval::Proposed => Record::EpochProposed { geo },
        Approval::Given => Record::EpochApproved { geo },
    };
    room.audit.append(by, record).await.map_err(log_error)?;
    Ok(approval)
}

/// Begins a close, or takes up one that was cut off; answered with the one that runs already.
fn begin(acts: &HouseActs, room: &GeoRoom, by: Actor, soak_s: i64) -> wire::Operation {
    let (rooms, keys, geo) = (acts.house.rekey_rooms(room), room.keys.clone(), room.geo);
    let (sweeper, now) = (acts.sweeper.clone(), acts.house.clock.now().wall);
    acts.operations.start("close-epoch", geo.id, now, |progress| async move {
        let told = Told(progress.clone());
        let run = Run { actor: &by, records_per_s: None, watch: &told };
        let job = rekey::close_epoch(&rooms, &run, soak_s).await.map_err(rekey_error)?;
        if job.soak_s == 0 {
            progress.phase("destroying", 0);
            sweeper.close_epochs(&by).await.map_err(|error| {
                tracing::error!(%error, "the close of an epoch stopped; the next sweep takes it up");
                ActError::Unavailable("the sweeper")
            })?;
        }
        let all = keys.epochs().map_err(|error| act_error(error.into()))?;
        let closed = all.iter().find(|closed| closed.number == job.number);
        let (from, to) =
            closed.map_or((job.shreds_from, job.shreds_to), |closed| (closed.shreds_from, closed.shreds_to));
        let shreds = destroyed(&keys, from, to).map_err(|error| act_error(error.into()))?;
        let epoch = closed.map_or_else(|| under_way(geo, &job, shreds), |closed| shown(geo, closed, shreds));
        Ok(wire::OperationResult::Epoch(epoch))
    })
}

/// Begins the closes that are due by the compliance clock, and takes up those that were cut off.
pub(super) async fn on_schedule(acts: &HouseActs) {
    let mut look = tokio::time::interval(super::sweeps::LOOK);
    let mut next: HashMap<&'static str, Millis> = HashMap::new();
    loop {
        look.tick().await;
        let now = acts.house.clock.now().cc_lo;
        for room in &acts.house.geos {
            if next.get(room.geo.id).is_some_and(|next| now < *next) {
                continue;
            }
            let at = match when_due(acts, room, now).await {
                Ok(at) => at,
                Err(error) => {
                    tracing::error!(?error, geo = room.geo.id, "the schedule of closes could not be looked at");
                    now.plus_seconds(LOOK_SOON_S)
                }
            };
            next.insert(room.geo.id, at);
        }
    }
}

/// Does what is due; answers when to look again.
async fn when_due(acts: &HouseActs, room: &GeoRoom, now: Millis) -> Result<Millis, ActError> {
    match ask(room, KeyClient::epoch_job).await?.map(|job| job.phase) {
        Some(EpochPhase::Wrapping) => {
            // The soak is the one that the close began with.
            begin(acts, room, Actor::part("server"), soak_s(acts));
            return Ok(now.plus_seconds(LOOK_SOON_S));
        }
        Some(EpochPhase::Soaking | EpochPhase::Destroying) => return Ok(now.plus_seconds(LOOK_AGAIN_S)),
        None => {}
    }
    let Some(due) = next_due(acts, room, now).await? else { return Ok(now.plus_seconds(LOOK_AGAIN_S)) };
    if now < due {
        return Ok(due.min(now.plus_seconds(LOOK_AGAIN_S)));
    }
    let by = Actor::part("schedule");
    if acts.two_person && approval(acts, room, SCHEDULE, &by).await? != Approval::Given {
        tracing::warn!(geo = room.geo.id, "the close of an epoch is due: an administrator has to approve it");
        return Ok(now.plus_seconds(PROPOSAL_KEEP_S));
    }
    tracing::info!(geo = room.geo.id, "the close of an epoch is due");
    begin(acts, room, by, soak_s(acts));
    Ok(now.plus_seconds(LOOK_SOON_S))
}

/// When the next close is due by the schedule; `None`: there is none. It counts from the beginning of the last one.
async fn next_due(acts: &HouseActs, room: &GeoRoom, now: Millis) -> Result<Option<Millis>, ActError> {
    let Some(every_s) = acts.epoch.every_s() else { return Ok(None) };
    let last = ask(room, KeyClient::epochs).await?.last().map(|last| last.opened);
    let job = ask(room, KeyClient::epoch_job).await?.map(|job| job.opened);
    let from = match job.or(last) {
        Some(opened) => opened,
        None => {
            let counted = room.directory.closes_counted_from(now.seconds()).await;
            counted.map_err(|error| act_error(error.into()))?
        }
    };
    Ok(Some(Millis::from_seconds(from.saturating_add(every_s))))
}

fn soak_s(acts: &HouseActs) -> i64 {
    i64::try_from(acts.epoch.soak_s).unwrap_or(i64::MAX)
}

async fn plan(acts: &HouseActs, room: &GeoRoom, soak_s: i64) -> Result<wire::Plan, ActError> {
    let failed = |error: KeyError| act_error(error.into());
    let (from, head) = (room.keys.epochs().map_err(failed)?, room.keys.shred_head().map_err(failed)?);
    let from = from.last().map_or(0, |last| last.shreds_to);
    let scan = room.keys.scan_masters().map_err(failed)?;
    let lost = room.keys.backups().map_err(failed)?;
    let is_new = room.keys.epoch_job().map_err(failed)?.is_none();
    let removals = rekey::removals(&acts.house.rekey_rooms(room)).await.map_err(rekey_error)?;
    let first = if is_new { "begin the close" } else { "take up the close that was cut off" };
    let mut steps = vec![
        first.to_owned(),
        "give tenants that removed something new index keys and roots: it is then unreadable in older copies"
            .to_owned(),
        "make a new master key version, and wrap everything that lives under it".to_owned(),
        "scan the key store: nothing under an older version, or it does not go on".to_owned(),
        format!("disable every older version for {soak_s} s"),
        "destroy them: what was destroyed since the epoch before is then irrecoverable".to_owned(),
    ];
    if is_new && acts.two_person {
        steps.insert(0, "propose it, or approve what another administrator proposed within a day".to_owned());
    }
    let counts = [
        ("shreds", destroyed(&room.keys, from, head.counter).map_err(failed)?),
        ("tenants_with_removals", removals.tenants),
        ("buckets_with_removals", removals.buckets),
        ("records", scan.records),
        ("backups_invalidated", lost.len() as u64),
    ];
    let counts: BTreeMap<_, _> = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    Ok(wire::Plan { steps, counts, ..wire::Plan::default() })
}

pub(super) async fn abort(acts: &HouseActs, order: &Order, geo: &'static Geo) -> Result<Outcome<Epoch>, ActError> {
    let room = room(acts, geo)?;
    let job = room.keys.epoch_job().map_err(|error| act_error(error.into()))?;
    let job = job.filter(|job| job.phase != EpochPhase::Destroying).ok_or(ActError::NoSuchEpoch)?;
    if order.mode == Mode::Plan {
        let steps = vec![format!("enable every version of the master key below {} again", job.to)];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let (rooms, by) = (acts.house.rekey_rooms(room), actor(order));
    let aborted = rekey::abort_epoch(&rooms, &by).await.map_err(|error| match error {
        RekeyError::Keys(KeyError::Refused(_)) => ActError::NoSuchEpoch,
        RekeyError::Audit(error) => log_error(error),
        other => rekey_error(other),
    })?;
    let shreds =
        destroyed(&room.keys, aborted.shreds_from, aborted.shreds_to).map_err(|error| act_error(error.into()))?;
    Ok(Outcome::Done(under_way(geo, &aborted, shreds)))
}

pub(super) async fn list(acts: &HouseActs, geo: &'static Geo) -> Result<Epochs, ActError> {
    let room = room(acts, geo)?;
    let failed = |error: KeyError| act_error(error.into());
    let mut epochs = Vec::new();
    for closed in room.keys.epochs().map_err(failed)? {
        let shreds = destroyed(&room.keys, closed.shreds_from, closed.shreds_to).map_err(failed)?;
        epochs.push(shown(geo, &closed, shreds));
    }
    if let Some(job) = room.keys.epoch_job().map_err(failed)? {
        let shreds = destroyed(&room.keys, job.shreds_from, job.shreds_to).map_err(failed)?;
        epochs.push(under_way(geo, &job, shreds));
    }
    let next_due_at = next_due(acts, room, acts.house.clock.now().cc_lo).await?.map(wire::Time);
    Ok(Epochs { epochs, every_days: acts.epoch.every_days, next_due_at })
}

pub(super) async fn certificate(
    acts: &HouseActs,
    geo: &'static Geo,
    number: u64,
) -> Result<serde_json::Value, ActError> {
    room(acts, geo)?;
    let text = acts.sweeper.epoch_certificate(geo.id, number).await.map_err(|_| ActError::Broken)?;
    serde_json::from_str(&text.ok_or(ActError::NoCertificate)?).map_err(|_| ActError::Broken)
}

fn room<'a>(acts: &'a HouseActs, geo: &'static Geo) -> Result<&'a GeoRoom, ActError> {
    acts.rooms(Some(geo))?.first().copied().ok_or(ActError::GeoNotServed)
}

/// How many entries of the shred log, behind the first `from` and up to the first `to`, say that something was destroyed;
/// others say how somebody stands with a tenant.
fn destroyed(keys: &KeyClient, from: u64, to: u64) -> Result<u64, KeyError> {
    let (mut count, mut at) = (0, from);
    while at < to {
        let next = to.min(at + LEDGER_STEP);
        let shreds = keys.shreds(at, next)?;
        count += shreds.iter().filter(|shred| !matches!(shred.what, Shredded::Standing { .. })).count() as u64;
        at = next;
    }
    Ok(count)
}

fn at(seconds: i64) -> wire::Time {
    wire::Time(Millis::from_seconds(seconds))
}

fn under_way(geo: &Geo, job: &EpochJob, shreds: u64) -> Epoch {
    Epoch {
        geo: geo.id.into(),
        number: job.number,
        state: match job.phase {
            EpochPhase::Wrapping => EpochState::Wrapping,
            EpochPhase::Soaking => EpochState::Soaking,
            EpochPhase::Destroying => EpochState::Destroying,
        },
        opened_at: at(job.opened),
        disabled_at: job.disabled.map(at),
        soaked_at: job.soaked_at().map(at),
        closed_at: None,
        shreds,
        records: job.records,
        alarms: job.alarms,
        masters: Vec::new(),
        backups_invalidated: Vec::new(),
    }
}

fn shown(geo: &Geo, closed: &EpochClosed, shreds: u64) -> Epoch {
    let master = |master: &crate::seal::DestroyedMaster| EpochMaster {
        id: format!("mk/{}/{}", geo.id, master.version),
        receipt: master.receipt.clone(),
    };
    Epoch {
        geo: geo.id.into(),
        number: closed.number,
        state: EpochState::Closed,
        opened_at: at(closed.opened),
        disabled_at: Some(at(closed.disabled)),
        soaked_at: None,
        closed_at: Some(at(closed.closed)),
        shreds,
        records: closed.records,
        alarms: 0,
        masters: closed.masters.iter().map(master).collect(),
        backups_invalidated: closed.backups.clone(),
    }
}
