//! The transitions of a tenant's life, each with its guard and the effects it owes.
//!
//! Invariants:
//! - [`Effect::Log`] comes first whenever anything changes; what changes nothing owes nothing.
//! - TERMINATED is left only by reinstating or by the sweeper at its due time: after 90 days, or 72 hours after an early
//!   destruction was instructed and approved; PURGING and PURGED have no way back.
//! - A hold wins over destruction in every state that still has something to destroy.
//! - What an outsider repeats (terminate twice, disable twice) changes nothing; T does not move.
//! - A consent ends when the tenant is disabled or terminated; nothing is in service without one.

use super::{Early, Hold, HoldScope, PartPurge, Purge, Replication, Standing, State, Termination};
use crate::model::atlas::{Geo, Region};
use crate::model::clock::Reading;
use crate::model::ids::TenantId;
use crate::model::limits::{EARLY_WAIT_S, TERMINATION_KEEP_S};
use crate::model::time::Millis;

/// A tenant to be.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Fresh.
    pub id: TenantId,
    /// Its geo.
    pub geo: &'static Geo,
    /// A region of that geo.
    pub home: &'static Region,
    /// Copies inside the geo.
    pub replication: Replication,
    /// SHA-256 of the consent text.
    pub consent: Option<[u8; 32]>,
}

/// What happens to a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its keys are wrapped, were unwrapped again as a probe, and every region acknowledged.
    Provisioned,
    /// Its keys could not be made.
    ProvisioningFailed,
    /// The sweeper looks at a tenant whose keys are still being made.
    ProvisioningChecked,
    /// An administrator disables it: its consent is withdrawn.
    Disable,
    /// An administrator enables it.
    Enable {
        /// SHA-256 of the text that was agreed to now, when one was given. Needed unless one is in force.
        consent: Option<[u8; 32]>,
        /// Whether its keys open.
        key_usable: bool,
    },
    /// An administrator terminates it, having confirmed its name.
    Terminate,
    /// An administrator takes the termination back.
    Reinstate {
        /// SHA-256 of the new consent text.
        consent: Option<[u8; 32]>,
    },
    /// Two principals approved the tenant's instruction to destroy it early. That the settings allow it was asked before.
    InstructEarly {
        /// Which instruction.
        instruction: [u8; 32],
        /// Who entered it.
        entered_by: String,
        /// Who approved it.
        approved_by: String,
    },
    /// An administrator takes that back.
    CancelEarly,
    /// A hold comes into force.
    PlaceHold(Hold),
    /// A hold is released.
    ReleaseHold {
        /// Its matter's number.
        id: String,
    },
    /// The sweeper looks at it.
    Sweep(Evidence),
    /// What no hold kept is destroyed, in this round.
    PartPurged {
        /// Which.
        round: u32,
    },
    /// While it is being purged a region stays out of reach.
    OutOfReach {
        /// Seconds between two sweeps.
        sweep_interval_s: i64,
    },
    /// The purge is over; what was found afterwards.
    Verified(Proof),
}

/// What the sweeper has to know before it may begin to destroy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The key service's own clock has reached the due time that it keeps.
    pub key_service_agrees: bool,
    /// A rotation of the tenant's keys or of its geo's master key is under way.
    pub rotation_running: bool,
}

/// What an independent look found after everything was deleted and the keys destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Rows, blobs and parts that a full listing of every region and copy still found.
    pub left: u64,
    /// The last known wrapped key still opens.
    pub key_opens: bool,
    /// SHA-256 of the certificate, which is durable.
    pub certificate: [u8; 32],
}

/// What a change owes the world, to be done in the order given. Each is idempotent: after a crash they are done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the ledger entry, durably, before anything else.
    Log(Transition),
    /// Make, wrap and probe its keys.
    MakeKeys,
    /// Destroy its keys.
    DestroyKeys,
    /// Leave no row, name or key of a tenant that never was.
    LeaveNoTrace,
    /// Let its logins in.
    OpenService,
    /// Refuse its logins from the next request on, and cut what is under way before it commits.
    CloseService,
    /// Object lifetimes stand still.
    FreezeLifetimes,
    /// Object lifetimes go on with what was left of them.
    ResumeLifetimes,
    /// Revoke the grants of its jobs, so that none comes back with the tenant.
    StopJobs,
    /// Revoke its collaborations both ways.
    RevokeCollaborations,
    /// Revoke the logins that may write.
    RevokeWriters,
    /// Abort its multipart uploads.
    AbortUploads,
    /// Tell the key service to refuse destruction until so many seconds have passed by its own clock, counted from the
    /// first time it is told. It gets no date: a daemon whose clock was taken over could name a wrong one.
    KeepKeys {
        /// Seconds.
        keep_s: i64,
    },
    /// Take that back: the key service destroys nothing of this tenant, and a later termination counts anew.
    ReleaseKeys,
    /// Tell the key service of the instruction to destroy the keys early; it counts 72 hours by its own clock.
    ReleaseKeysEarly {
        /// Which instruction.
        instruction: [u8; 32],
    },
    /// Take that back.
    KeepKeysOn,
    /// Enter it in the due index.
    PutDue(Millis),
    /// Take it out of the due index.
    DropDue,
    /// List everything there is, by full listing, and log the list's hash.
    TakeManifest,
    /// Delete everything that no hold keeps: versions, parts, segments, rows, copies.
    DeleteUnheld,
    /// Delete everything: versions, markers, parts, segments, rows, copies.
    DeleteAll,
    /// List every region and copy again, independently.
    ListAgain,
    /// Try to open the last known wrapped key.
    ProbeKeys,
    /// Certify what was destroyed and what a hold keeps.
    CertifyPart,
    /// Certify that the keys are destroyed while a region was out of reach; a final certificate follows.
    CertifyResidual,
    /// Certify the destruction.
    Certify,
    /// Forget what only the living need; keep the tombstone.
    LeaveTombstone,
}

/// Which line of the table a change is. The log has one entry for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// 1
    Create,
    /// 2
    Activate,
    /// 3
    GiveUp,
    /// 4
    Disable,
    /// 5
    Enable,
    /// 6
    Terminate,
    /// 7
    Reinstate,
    /// 8 and 10
    BeginPurge,
    /// 9
    HoldPurge,
    /// 11
    EndPurge,
    /// The exception to the purge order: keys before bytes.
    DestroyKeysFirst,
    /// A hold came into force.
    PlaceHold,
    /// A hold was released.
    ReleaseHold,
    /// What no hold kept is destroyed.
    EndPart,
    /// An early destruction was instructed and approved.
    InstructEarly,
    /// That was taken back.
    CancelEarly,
}

/// Why an event was refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The region is not one of the geo.
    #[error("the region is not in this geo")]
    RegionNotInGeo,
    /// The geo has one region, and nothing is ever copied out of a geo.
    #[error("this geo has one region: no copy inside the geo is possible")]
    NoInGeoReplica,
    /// There is no consent, or the act needs a new one.
    #[error("this needs a consent")]
    ConsentRequired,
    /// Its keys do not open.
    #[error("the tenant's keys do not open")]
    KeyUnusable,
    /// The state has no such way out.
    #[error("the tenant's state does not allow this")]
    WrongState(State),
    /// 90 days have passed: too late to reinstate.
    #[error("the tenant is due for destruction")]
    PastDue,
    /// It is due no later than an early destruction could be.
    #[error("it is due within 72 hours anyway")]
    DueSoon,
    /// Too early.
    #[error("not due yet")]
    NotDue(Millis),
    /// The key service's own clock says that it is too early.
    #[error("the key service does not agree that it is due")]
    KeyServiceDisagrees,
    /// Keys are being rotated: next sweep.
    #[error("a key rotation is under way")]
    RotationRunning,
    /// No such hold.
    #[error("there is no such hold")]
    NoSuchHold,
    /// A hold of that number is in force with another scope.
    #[error("there is such a hold already")]
    HoldExists,
    /// Not 1 to 64 of `[A-Za-z0-9-]`, or more holds than a tenant may have.
    #[error("a hold's number is 1 to 64 letters, digits and dashes, and a tenant has at most 1000 holds")]
    BadHold,
    /// Something was still found: the purge goes on.
    #[error("something of the tenant is left")]
    SomethingLeft(u64),
    /// A destroyed key still opens: stop and look.
    #[error("a destroyed key still opens")]
    KeyStillOpens,
}

/// Seconds after which a tenant whose keys could not be made is given up.
pub const PROVISIONING_S_MAX: i64 = 15 * 60;
/// Seconds that a region may be out of reach beyond due time and one sweep, before the keys are destroyed without it.
pub const OUT_OF_REACH_S_MAX: i64 = 24 * 60 * 60;
/// Most holds of one tenant.
pub const HOLDS_MAX: usize = 1000;

/// The next standing (`None`: the tenant never was) and what is owed.
pub type Step = (Option<Standing>, Vec<Effect>);

/// Transition 1: a tenant begins.
pub fn create(new: NewTenant, now: &Reading) -> Result<(Standing, Vec<Effect>), Refusal> {
    if !new.geo.regions.contains(new.home) {
        return Err(Refusal::RegionNotInGeo);
    }
    if new.replication == Replication::Geo && new.geo.regions.len() < 2 {
        return Err(Refusal::NoInGeoReplica);
    }
    let standing = Standing {
        id: new.id,
        geo: new.geo.id.to_owned(),
        home: new.home.id.to_owned(),
        replication: new.replication,
        state: State::Provisioning,
        created: now.stamp(),
        consent: Some(new.consent.ok_or(Refusal::ConsentRequired)?),
        disabled: None,
        termination: None,
        holds: Vec::new(),
        purge: None,
        part: None,
        early: None,
    };
    Ok((standing, vec![Effect::Log(Transition::Create), Effect::MakeKeys]))
}

/// What `event` makes of a tenant at `now`.
///
/// Gives the next standing, `None` when the tenant never was (transition 3), and the effects owed, in order. No effects
/// means that nothing changed. Source: docs/retention.md, "States".
pub fn step(tenant: &Standing, event: &Event, now: &Reading) -> Result<Step, Refusal> {
    use State::{Active, Disabled, Provisioning, PurgeHeld, Purged, Purging, Terminated};
    let same = || Ok((Some(tenant.clone()), Vec::new()));
    match (tenant.state, event) {
        (Provisioning, Event::Provisioned) => to(tenant, Active, Transition::Activate, &[Effect::OpenService]),
        (Active, Event::Provisioned) => same(),

        (Provisioning, Event::ProvisioningFailed) => give_up(),
        (Provisioning, Event::ProvisioningChecked) if now.passed(&tenant.created, PROVISIONING_S_MAX) => give_up(),
        (Provisioning, Event::ProvisioningChecked) => {
            Err(Refusal::NotDue(tenant.created.at.plus_seconds(PROVISIONING_S_MAX)))
        }

        (Active, Event::Disable) => {
            let next = Standing { disabled: Some(now.stamp()), consent: None, ..tenant.clone() };
            to(&next, Disabled, Transition::Disable, &[Effect::CloseService, Effect::FreezeLifetimes, Effect::StopJobs])
        }
        // Reinstated under a new consent, which is withdrawn before anybody enabled it.
        (Disabled, Event::Disable) if tenant.consent.is_some() => {
            let next = Standing { consent: None, ..tenant.clone() };
            to(&next, Disabled, Transition::Disable, &[Effect::StopJobs])
        }
        (Disabled, Event::Disable) => same(),

        (Disabled, Event::Enable { consent, key_usable }) => {
            let consent = consent.or(tenant.consent).ok_or(Refusal::ConsentRequired)?;
            if !key_usable {
                return Err(Refusal::KeyUnusable);
            }
            let next = Standing { disabled: None, consent: Some(consent), ..tenant.clone() };
            to(&next, Active, Transition::Enable, &[Effect::ResumeLifetimes, Effect::OpenService])
        }
        // In service already: another text is another consent.
        (Active, Event::Enable { consent: Some(consent), .. }) if tenant.consent != Some(*consent) => {
            to(&Standing { consent: Some(*consent), ..tenant.clone() }, Active, Transition::Enable, &[])
        }
        (Active, Event::Enable { .. }) => same(),

        (Active | Disabled, Event::Terminate) => terminate(tenant, now),
        (Terminated | PurgeHeld, Event::Terminate) => same(),

        (Terminated, Event::Reinstate { consent }) => reinstate(tenant, *consent, now),
        (Disabled, Event::Reinstate { .. }) => same(),

        (Terminated, Event::InstructEarly { .. }) if tenant.early.is_some() => same(),
        (Terminated, Event::InstructEarly { instruction, entered_by, approved_by }) => {
            let (instruction, by) = (*instruction, [entered_by, approved_by]);
            instruct_early(tenant, instruction, by, now)
        }
        (Terminated, Event::CancelEarly) => cancel_early(tenant),

        (Active | Disabled | Terminated | PurgeHeld, Event::PlaceHold(hold)) => place(tenant, hold),
        (Active | Disabled | Terminated | PurgeHeld, Event::ReleaseHold { id }) => release(tenant, id),

        (Terminated, Event::Sweep(evidence)) => begin_purge(tenant, *evidence, now),
        // Begun before a crash, or a hold that kept more was released: the same effects again, logged already.
        (PurgeHeld, Event::Sweep(_)) if !tenant.holds.is_empty() => {
            let whole = tenant.holds.iter().any(|hold| hold.scope == HoldScope::Tenant);
            let undone = tenant.part.as_ref().is_some_and(|part| !part.done);
            if whole || !undone { same() } else { Ok((Some(tenant.clone()), PART.to_vec())) }
        }
        (PurgeHeld, Event::PartPurged { round }) => Ok(end_part(tenant, *round)),
        (PurgeHeld, Event::Sweep(evidence)) => begin_purge(tenant, *evidence, now),
        // Begun before a crash: the same effects again, logged already.
        (Purging, Event::Sweep(_)) => Ok((Some(tenant.clone()), PURGE.to_vec())),
        (Purged, Event::Sweep(_)) => same(),

        (Purging, Event::OutOfReach { sweep_interval_s }) => destroy_keys_first(tenant, *sweep_interval_s, now),

        (Purging, Event::Verified(proof)) => end_purge(tenant, proof),
        (Purged, Event::Verified(_)) => same(),

        (state, _) => Err(Refusal::WrongState(state)),
    }
}

/// In this order: freeze, list, delete, list again, and the keys last. Keys first would leave bytes that nobody can
/// read and nobody can find.
const PURGE: [Effect; 7] = [
    Effect::CloseService,
    Effect::TakeManifest,
    Effect::DeleteAll,
    Effect::ListAgain,
    Effect::DestroyKeys,
    Effect::ProbeKeys,
    Effect::Certify,
];

/// The same for what no hold keeps.
const PART: [Effect; 4] = [Effect::CloseService, Effect::TakeManifest, Effect::DeleteUnheld, Effect::CertifyPart];

fn to(tenant: &Standing, state: State, transition: Transition, effects: &[Effect]) -> Result<Step, Refusal> {
    let next = Standing { state, ..tenant.clone() };
    Ok((Some(next), [&[Effect::Log(transition)], effects].concat()))
}

fn give_up() -> Result<Step, Refusal> {
    Ok((None, vec![Effect::Log(Transition::GiveUp), Effect::DestroyKeys, Effect::LeaveNoTrace]))
}

fn terminate(tenant: &Standing, now: &Reading) -> Result<Step, Refusal> {
    let at = now.stamp();
    let due = at.at.plus_seconds(TERMINATION_KEEP_S);
    let termination = Some(Termination { at, due });
    let next = Standing { termination, disabled: None, consent: None, ..tenant.clone() };
    let effects = [
        Effect::CloseService,
        Effect::KeepKeys { keep_s: TERMINATION_KEEP_S },
        Effect::PutDue(due),
        Effect::RevokeWriters,
        Effect::RevokeCollaborations,
        Effect::AbortUploads,
        Effect::StopJobs,
    ];
    to(&next, State::Terminated, Transition::Terminate, &effects)
}

fn reinstate(tenant: &Standing, consent: Option<[u8; 32]>, now: &Reading) -> Result<Step, Refusal> {
    if due(tenant, now).is_ok() {
        return Err(Refusal::PastDue);
    }
    let consent = Some(consent.ok_or(Refusal::ConsentRequired)?);
    let next = Standing { termination: None, early: None, disabled: Some(now.stamp()), consent, ..tenant.clone() };
    let effects = [Effect::ReleaseKeys, Effect::DropDue, Effect::FreezeLifetimes];
    to(&next, State::Disabled, Transition::Reinstate, &effects)
}

fn instruct_early(
    tenant: &Standing,
    instruction: [u8; 32],
    [entered_by, approved_by]: [&String; 2],
    now: &Reading,
) -> Result<Step, Refusal> {
    let termination = tenant.termination.ok_or(Refusal::WrongState(tenant.state))?;
    if now.passed(&termination.at, TERMINATION_KEEP_S - EARLY_WAIT_S) {
        return Err(Refusal::DueSoon);
    }
    let at = now.stamp();
    let due = at.at.plus_seconds(EARLY_WAIT_S);
    let (entered_by, approved_by) = (entered_by.clone(), approved_by.clone());
    let early = Some(Early { at, due, instruction, entered_by, approved_by });
    let effects = [Effect::ReleaseKeysEarly { instruction }, Effect::PutDue(due)];
    to(&Standing { early, ..tenant.clone() }, State::Terminated, Transition::InstructEarly, &effects)
}

/// Also when the 72 hours are over: until the destruction begins.
fn cancel_early(tenant: &Standing) -> Result<Step, Refusal> {
    let termination = tenant.termination.ok_or(Refusal::WrongState(tenant.state))?;
    if tenant.early.is_none() {
        return Ok((Some(tenant.clone()), Vec::new()));
    }
    let effects = [Effect::KeepKeysOn, Effect::PutDue(termination.due)];
    to(&Standing { early: None, ..tenant.clone() }, State::Terminated, Transition::CancelEarly, &effects)
}

fn place(tenant: &Standing, hold: &Hold) -> Result<Step, Refusal> {
    let letters = hold.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !letters || !(1..=64).contains(&hold.id.len()) || tenant.holds.len() >= HOLDS_MAX {
        return Err(Refusal::BadHold);
    }
    match tenant.holds.iter().find(|held| held.id == hold.id) {
        Some(held) if held.scope == hold.scope => Ok((Some(tenant.clone()), Vec::new())),
        Some(_) => Err(Refusal::HoldExists),
        None => {
            let holds = tenant.holds.iter().chain([hold]).cloned().collect();
            to(&Standing { holds, ..tenant.clone() }, tenant.state, Transition::PlaceHold, &[])
        }
    }
}

fn release(tenant: &Standing, id: &str) -> Result<Step, Refusal> {
    let holds: Vec<Hold> = tenant.holds.iter().filter(|hold| hold.id != id).cloned().collect();
    if holds.len() == tenant.holds.len() {
        return Err(Refusal::NoSuchHold);
    }
    // What it alone kept is not kept any more.
    let next_round = |part: PartPurge| PartPurge { round: part.round.saturating_add(1), done: false, ..part };
    let part = tenant.part.clone().map(next_round);
    to(&Standing { holds, part, ..tenant.clone() }, tenant.state, Transition::ReleaseHold, &[])
}

fn end_part(tenant: &Standing, round: u32) -> Step {
    let ends = |part: &&PartPurge| part.round == round && !part.done;
    match tenant.part.as_ref().filter(ends) {
        None => (Some(tenant.clone()), Vec::new()),
        Some(part) => {
            let part = Some(PartPurge { done: true, ..part.clone() });
            (Some(Standing { part, ..tenant.clone() }), vec![Effect::Log(Transition::EndPart)])
        }
    }
}

/// Transitions 8, 9 and 10.
fn begin_purge(tenant: &Standing, evidence: Evidence, now: &Reading) -> Result<Step, Refusal> {
    due(tenant, now)?;
    if !evidence.key_service_agrees {
        return Err(Refusal::KeyServiceDisagrees);
    }
    if evidence.rotation_running {
        return Err(Refusal::RotationRunning);
    }
    if !tenant.holds.is_empty() {
        let part = Some(PartPurge { begun: now.stamp(), round: 1, done: false });
        return to(&Standing { part, ..tenant.clone() }, State::PurgeHeld, Transition::HoldPurge, &PART);
    }
    let purge = Some(Purge { begun: now.stamp(), keys_first: false, certificate: None });
    to(&Standing { purge, ..tenant.clone() }, State::Purging, Transition::BeginPurge, &PURGE)
}

fn destroy_keys_first(tenant: &Standing, sweep_interval_s: i64, now: &Reading) -> Result<Step, Refusal> {
    let (Some(due), Some(purge)) = (tenant.due(), &tenant.purge) else {
        return Err(Refusal::WrongState(tenant.state));
    };
    if purge.keys_first {
        return Ok((Some(tenant.clone()), Vec::new()));
    }
    let until = |due: Millis| due.plus_seconds(sweep_interval_s.max(0)).plus_seconds(OUT_OF_REACH_S_MAX);
    if !tenant.deadlines().any(|(at, due)| now.lo_for(&at) >= until(due)) {
        return Err(Refusal::NotDue(until(due)));
    }
    let purge = Some(Purge { keys_first: true, ..purge.clone() });
    let effects = [Effect::DestroyKeys, Effect::ProbeKeys, Effect::CertifyResidual];
    to(&Standing { purge, ..tenant.clone() }, State::Purging, Transition::DestroyKeysFirst, &effects)
}

fn end_purge(tenant: &Standing, proof: &Proof) -> Result<Step, Refusal> {
    match (proof.left, proof.key_opens) {
        (1.., _) => Err(Refusal::SomethingLeft(proof.left)),
        (0, true) => Err(Refusal::KeyStillOpens),
        (0, false) => {
            let purge = tenant.purge.clone().map(|purge| Purge { certificate: Some(proof.certificate), ..purge });
            let effects = [Effect::DropDue, Effect::LeaveTombstone];
            to(&Standing { purge, ..tenant.clone() }, State::Purged, Transition::EndPurge, &effects)
        }
    }
}

/// Whether 90 days have provably passed since T, or 72 hours since an early destruction was approved.
fn due(tenant: &Standing, now: &Reading) -> Result<(), Refusal> {
    let reached = tenant.deadlines().any(|(at, due)| now.lo_for(&at) >= due);
    let due = tenant.due().ok_or(Refusal::WrongState(tenant.state))?;
    if reached { Ok(()) } else { Err(Refusal::NotDue(due)) }
}
