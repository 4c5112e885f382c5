//! Closing epochs, between the admin face, the conductor of rotation and the sweeper.

use super::acts::{HouseActs, log_error};
use super::house::GeoRoom;
use super::keywork::{Told, rekey_error};
use super::tenants::{act_error, actor};
use crate::admin::acts::{Mode, Order, Outcome};
use crate::admin::epochs::{Epoch, EpochMaster, EpochState};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::model::atlas::Geo;
use crate::model::time::Millis;
use crate::rekey::{self, RekeyError};
use crate::seal::{EpochClosed, EpochJob, EpochPhase, KeyError};
use std::collections::BTreeMap;

pub(super) async fn close(
    acts: &HouseActs,
    order: &Order,
    geo: &'static Geo,
    no_soak: bool,
) -> Result<Outcome<wire::Operation>, ActError> {
    let room = room(acts, geo)?;
    // One alone may not do what the soak is there to catch.
    if no_soak && (!acts.epoch.allow_no_soak || acts.two_person) {
        return Err(ActError::SoakRequired);
    }
    let soak_s = if no_soak { 0 } else { i64::try_from(acts.epoch.soak_s).unwrap_or(i64::MAX) };
    if order.mode == Mode::Plan {
        return Ok(Outcome::Planned(plan(room, soak_s)?));
    }
    let (keys, audit, by) = (room.keys.clone(), room.audit.clone(), actor(order));
    let (sweeper, now) = (acts.sweeper.clone(), acts.house.clock.now().wall);
    let operation = acts.operations.start("close-epoch", geo.id, now, |progress| async move {
        let told = Told(progress.clone());
        let job = rekey::close_epoch(&keys, &audit, &by, soak_s, &told).await.map_err(rekey_error)?;
        if job.soak_s == 0 {
            progress.phase("destroying", 0);
            sweeper.close_epochs(&by).await.map_err(|error| {
                tracing::error!(%error, "the close of an epoch stopped; the next sweep takes it up");
                ActError::Unavailable("the sweeper")
            })?;
        }
        let all = keys.epochs().map_err(|error| act_error(error.into()))?;
        let closed = all.iter().find(|closed| closed.number == job.number);
        let epoch = closed.map_or_else(|| under_way(geo, &job), |closed| shown(geo, closed));
        Ok(wire::OperationResult::Epoch(epoch))
    });
    Ok(Outcome::Done(operation))
}

fn plan(room: &GeoRoom, soak_s: i64) -> Result<wire::Plan, ActError> {
    let failed = |error: KeyError| act_error(error.into());
    let (from, head) = (room.keys.epochs().map_err(failed)?, room.keys.shred_head().map_err(failed)?);
    let from = from.last().map_or(0, |last| last.shreds_to);
    let scan = room.keys.scan_masters().map_err(failed)?;
    let lost = room.keys.backups().map_err(failed)?;
    let first = match room.keys.epoch_job().map_err(failed)? {
        Some(_) => "take up the close that was cut off",
        None => "make a new master key version, and wrap everything that lives under it",
    };
    let steps = vec![
        first.to_owned(),
        "scan the key store: nothing under an older version, or it does not go on".to_owned(),
        format!("disable every older version for {soak_s} s"),
        "destroy them: what was destroyed since the epoch before is then irrecoverable".to_owned(),
    ];
    let counts = [
        ("shreds", head.counter - from.min(head.counter)),
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
    let aborted = rekey::abort_epoch(&room.keys, &room.audit, &actor(order)).await.map_err(|error| match error {
        RekeyError::Keys(KeyError::Refused(_)) => ActError::NoSuchEpoch,
        RekeyError::Audit(error) => log_error(error),
        other => rekey_error(other),
    })?;
    Ok(Outcome::Done(under_way(geo, &aborted)))
}

pub(super) async fn list(acts: &HouseActs, geo: &'static Geo) -> Result<Vec<Epoch>, ActError> {
    let room = room(acts, geo)?;
    let failed = |error: KeyError| act_error(error.into());
    let mut all: Vec<_> = room.keys.epochs().map_err(failed)?.iter().map(|closed| shown(geo, closed)).collect();
    all.extend(room.keys.epoch_job().map_err(failed)?.map(|job| under_way(geo, &job)));
    Ok(all)
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

fn at(seconds: i64) -> wire::Time {
    wire::Time(Millis::from_seconds(seconds))
}

fn under_way(geo: &Geo, job: &EpochJob) -> Epoch {
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
        shreds: job.shreds_to - job.shreds_from,
        records: job.records,
        alarms: job.alarms,
        masters: Vec::new(),
        backups_invalidated: Vec::new(),
    }
}

fn shown(geo: &Geo, closed: &EpochClosed) -> Epoch {
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
        shreds: closed.shreds_to - closed.shreds_from,
        records: closed.records,
        alarms: 0,
        masters: closed.masters.iter().map(master).collect(),
        backups_invalidated: closed.backups.clone(),
    }
}
