//! The end of one version of a key: its day is set after a scan found nothing under it, and on the day, after another
//! scan, it is destroyed. Whoever sweeps asks on the day; until then the day can be taken back.
//!
//! Order: scan → entry → the key service sets the day by its own clock → on the day, by both clocks: scan → entry → the
//! key service destroys → entry → the key service forgets the day. What a crash cuts off the next sweep does; what stands
//! against it on its day is told, and tried again by each sweep.

use super::RekeyError;
use super::master::blocking;
use super::rooms::{Rooms, Run};
use super::roots::wait_until_let_go;
use super::uses::{VersionUse, master_use, version_use};
use crate::audit::{Actor, Event as Record};
use crate::directory::{Held, JobKind};
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::seal::{BackupNote, Ending, KeyError, KeyKind, Refusal, VersionOf};

/// A version whose day is set.
#[derive(Clone, Debug)]
pub struct EndSet {
    /// The scan that allowed it.
    pub found: VersionUse,
    /// The day.
    pub ending: Ending,
}

/// What came of the versions whose day it is, in opaque ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// What was destroyed.
    pub destroyed: Vec<String>,
    /// What stays until the next sweep, and why.
    pub stay: Vec<String>,
}

/// The id of a version in opaque words: `mk/europe/1`, `tdk/TENANT-ID/1`.
pub fn opaque(rooms: &Rooms, of: &VersionOf) -> String {
    match *of {
        VersionOf::Master { version } => format!("mk/{}/{version}", rooms.directory.geo().id),
        VersionOf::Root { tenant, kind, version } => format!("{}/{}/{version}", prefix(kind), TenantId(tenant)),
    }
}

fn prefix(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Srk => "srk",
        KeyKind::Tik => "tik",
        _ => "tdk",
    }
}

/// What needs a version now.
pub async fn uses(rooms: &Rooms, of: &VersionOf) -> Result<VersionUse, RekeyError> {
    match *of {
        VersionOf::Master { version } => master_use(rooms, version).await,
        VersionOf::Root { tenant, kind, version } => version_use(rooms, TenantId(tenant), kind, version).await,
    }
}

/// The backup that keeps a version longest, and until when; none: no backup inside its age cap needs it. `at`: the second
/// since when nothing new is under a tenant's version.
pub async fn kept_by(rooms: &Rooms, of: &VersionOf, at: i64) -> Result<Option<(BackupNote, Millis)>, RekeyError> {
    let service = rooms.directory.key_service();
    let status = blocking(service, |keys| keys.status()).await?;
    let age = status.backup_age_s.unwrap_or(0);
    let backups = blocking(service, |keys| keys.backups()).await?;
    let needing = backups.into_iter().filter(|backup| match *of {
        VersionOf::Master { version } => backup.needs_master(version),
        VersionOf::Root { .. } => backup.at < at,
    });
    let last = needing.max_by_key(|backup| backup.at);
    Ok(last.map(|backup| {
        let until = Millis::from_seconds(backup.at.saturating_add(age));
        (backup, until)
    }))
}

/// Sets the day on which an older version is destroyed, after a scan of its own. Errors: `InUse` with what the scan found,
/// `KeptByBackup` where a backup will still need it on that day.
pub async fn schedule_end(
    rooms: &Rooms,
    run: &Run<'_>,
    of: VersionOf,
    after_s: i64,
    is_compromised: bool,
) -> Result<EndSet, RekeyError> {
    // Held over the scan: nothing is moved meanwhile, and nothing is wrapped under another version.
    let held = hold(rooms, &of).await?;
    run.watch.phase("scanning", 0);
    let set = set(rooms, run.actor, of, after_s, is_compromised).await;
    let found = match &set {
        Ok(set) => set.found,
        Err(RekeyError::InUse(found)) => *found,
        Err(_) => VersionUse::default(),
    };
    let_go(rooms, held, found).await?;
    set
}

async fn set(
    rooms: &Rooms,
    actor: &Actor,
    of: VersionOf,
    after_s: i64,
    is_compromised: bool,
) -> Result<EndSet, RekeyError> {
    let found = unused(rooms, &of).await?;
    let now = rooms.clock.now().cc_lo;
    let early = matches!(of, VersionOf::Root { .. }) && is_compromised;
    if !early
        && let Some((backup, until)) = kept_by(rooms, &of, now.seconds()).await?
        && until > now.plus_seconds(after_s)
    {
        return Err(RekeyError::KeptByBackup { backup: backup.id, until });
    }
    let service = rooms.directory.key_service();
    let same = |ending: &Ending| ending.of == of && ending.due.saturating_sub(ending.at) == after_s;
    if let Some(ending) = blocking(service, |keys| keys.endings()).await?.into_iter().find(same) {
        return Ok(EndSet { found, ending });
    }
    let key = opaque(rooms, &of);
    rooms.audit.append(actor, Record::DestructionScheduled { key, after_s }).await?;
    let ending = blocking(service, move |keys| keys.schedule_end(of, after_s, found.remaining)).await?;
    Ok(EndSet { found, ending })
}

/// The scan; refuses where it found anything, or a request still holds keys from before a rotation.
async fn unused(rooms: &Rooms, of: &VersionOf) -> Result<VersionUse, RekeyError> {
    let free = match *of {
        VersionOf::Master { .. } => true,
        VersionOf::Root { tenant, .. } => wait_until_let_go(rooms, TenantId(tenant)).await,
    };
    let found = uses(rooms, of).await?;
    if found.remaining > 0 || !free { Err(RekeyError::InUse(found)) } else { Ok(found) }
}

async fn hold(rooms: &Rooms, of: &VersionOf) -> Result<Option<Held>, RekeyError> {
    match *of {
        VersionOf::Master { .. } => Ok(None),
        VersionOf::Root { tenant, .. } => Ok(Some(rooms.begin(JobKind::Retire, TenantId(tenant), None).await?)),
    }
}

async fn let_go(rooms: &Rooms, held: Option<Held>, found: VersionUse) -> Result<(), RekeyError> {
    if let Some(held) = held {
        held.end(rooms.now(), found.scanned, found.remaining).await?;
    }
    Ok(())
}

/// Takes a version's day back; the day that was set, if any.
pub async fn cancel_end(rooms: &Rooms, of: VersionOf) -> Result<Option<Ending>, RekeyError> {
    blocking(rooms.directory.key_service(), move |keys| keys.cancel_end(of)).await
}

/// Destroys the versions of a geo whose day has come by this clock and the key service's. Without an actor only says what
/// would come of it.
pub async fn end_due(rooms: &Rooms, actor: Option<&Actor>) -> Result<Ends, RekeyError> {
    let (service, now) = (rooms.directory.key_service(), rooms.clock.now().cc_lo.seconds());
    let mut ends = Ends::default();
    for ending in blocking(service, |keys| keys.endings()).await? {
        if now < ending.due {
            continue;
        }
        let key = opaque(rooms, &ending.of);
        match end(rooms, actor, &ending, &key).await {
            Ok(()) => ends.destroyed.push(key),
            Err(error) => {
                let why = why_not(rooms, &ending, error).await;
                if actor.is_some() {
                    tracing::error!(key, why, "a key whose day has come is not destroyed; each sweep tries again");
                }
                ends.stay.push(format!("{key} stays: {why}"));
            }
        }
    }
    Ok(ends)
}

async fn end(rooms: &Rooms, actor: Option<&Actor>, ending: &Ending, key: &str) -> Result<(), RekeyError> {
    let Some(actor) = actor else {
        return may_end(rooms, ending).await.map(drop);
    };
    let of = ending.of;
    let held = hold(rooms, &of).await?;
    let found = match may_end(rooms, ending).await {
        Ok(found) => destroy(rooms, actor, ending, key, found).await.map(|()| found),
        Err(error) => Err(error),
    };
    let_go(rooms, held, found.as_ref().copied().unwrap_or_default()).await?;
    found.map(drop)
}

/// What was true when the day was set is looked at again.
async fn may_end(rooms: &Rooms, ending: &Ending) -> Result<VersionUse, RekeyError> {
    let (of, service) = (ending.of, rooms.directory.key_service());
    if ending.ended.is_some() {
        return Ok(VersionUse::default());
    }
    let found = unused(rooms, &of).await?;
    blocking(service, move |keys| keys.may_end(of, found.remaining)).await?;
    Ok(found)
}

async fn destroy(
    rooms: &Rooms,
    actor: &Actor,
    ending: &Ending,
    key: &str,
    found: VersionUse,
) -> Result<(), RekeyError> {
    let (of, service, audit) = (ending.of, rooms.directory.key_service(), &rooms.audit);
    if ending.ended.is_none() {
        audit.append(actor, Record::DestructionDue { key: key.to_owned() }).await?;
    }
    let ended = blocking(service, move |keys| keys.end_version(of, found.remaining)).await?;
    if let Some(shredded) = &ended.shredded {
        let (files, salts, in_place) = (shredded.files_scanned, shredded.salts_found, shredded.overwritten_in_place);
        tracing::info!(key, files, salts, in_place, "destroyed; the key store's files were read for what must be gone");
    }
    let record = match of {
        VersionOf::Master { version } => Record::MasterKeyDestroyed { version },
        VersionOf::Root { tenant, kind, version } => {
            let kind = kind.as_str().to_owned();
            Record::RootRetired { tenant: TenantId(tenant), kind, version, scanned: found.scanned }
        }
    };
    audit.append(actor, record).await?;
    blocking(service, move |keys| keys.forget_end(of)).await
}

/// In opaque ids.
async fn why_not(rooms: &Rooms, ending: &Ending, error: RekeyError) -> String {
    match error {
        RekeyError::Keys(KeyError::Refused(Refusal::BackupNeeds)) => {
            match kept_by(rooms, &ending.of, ending.at).await {
                Ok(Some((backup, until))) => format!("backup {} needs it until {until}", backup.id),
                _ => Refusal::BackupNeeds.to_string(),
            }
        }
        error => error.to_string(),
    }
}
