//! What a sweep would do: a pure function of what is due, where the tenants stand, and the time.
//!
//! The run carries out exactly these acts, in this order, each through [`crate::tenant::step`] with the same evidence:
//! so `--dry-run` predicts it. What is in the way of one act never stops another: it is skipped, and reported.

use crate::model::atlas::Region;
use crate::model::clock::Reading;
use crate::model::ids::{BucketId, TenantId, UploadId};
use crate::model::time::Millis;
use crate::tenant::{Effect, Event, Evidence, HoldScope, Refusal, Standing, State, Transition, step};
use std::collections::{BTreeMap, BTreeSet};

/// A row of the due index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When, by the compliance clock.
    pub at: Millis,
    /// What.
    pub item: Item,
}

/// What may be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A tenant's destruction, or the end of its provisioning.
    Tenant(TenantId),
    /// An upload that was never completed.
    Upload {
        /// Whose.
        tenant: TenantId,
        /// In which bucket.
        bucket: BucketId,
        /// Which.
        upload: UploadId,
    },
    /// A region's objects that lifecycle rules are about, of tenants in service.
    Objects(&'static Region),
    /// A region's blobs and temporary files that no row names.
    Orphans(&'static Region),
}

/// A tenant as the sweeper finds it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where it stands.
    pub standing: Standing,
    /// What the key service says.
    pub evidence: Evidence,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Destroy the tenant.
    PurgeTenant(TenantId),
    /// Go on with a destruction that a crash interrupted.
    ResumePurge(TenantId),
    /// Destroy what no hold keeps.
    HoldTenant(TenantId),
    /// Give up a tenant whose keys could not be made.
    GiveUpTenant(TenantId),
    /// Remove a due row that has no object any more: the tenant was reinstated or is purged.
    DropTenantDue(TenantId),
    /// Abort an upload and delete its parts.
    AbortUpload {
        /// Whose.
        tenant: TenantId,
        /// In which bucket.
        bucket: BucketId,
        /// Which.
        upload: UploadId,
    },
    /// Remove the objects of a region whose lifetime by their bucket's rules is over.
    ExpireObjects(&'static Region),
    /// Delete what no row of the region names.
    CollectOrphans(&'static Region),
}

/// Something due that has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What.
    pub item: Item,
    /// Why.
    pub why: Why,
}

/// Why something due has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A hold keeps it.
    Held,
    /// The tenant is disabled: its objects' lifetimes stand still.
    Frozen,
    /// The key service's own clock is not there yet.
    KeyServiceDisagrees,
    /// Keys are being rotated.
    RotationRunning,
    /// The tenant goes as a whole.
    WithItsTenant,
}

/// What a sweep would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order: tenants, uploads, objects, orphans; the longest due first.
    pub acts: Vec<Act>,
    /// What has to wait.
    pub skipped: Vec<Skipped>,
    /// Seconds that the longest due of the acts, and of what has to wait for another reason than a hold or a disabled
    /// tenant, is late.
    pub late_s: i64,
}

/// Plans a sweep over `due`, in any order, repetitions allowed. Rows that are not due yet are left alone; an item of a
/// tenant that is not among `tenants` is left alone too.
pub fn plan(due: &[Due], tenants: &BTreeMap<TenantId, Candidate>, now: &Reading) -> Plan {
    let mut rows: Vec<Due> = due.iter().copied().filter(|due| due.at <= now.cc_lo).collect();
    rows.sort_by_key(|due| (rank(&due.item), due.at, name(&due.item)));
    let (mut plan, mut seen) = (Plan::default(), BTreeSet::new());
    for due in rows {
        if !seen.insert((rank(&due.item), name(&due.item))) {
            continue;
        }
        let verdict = match due.item {
            Item::Tenant(id) => tenants.get(&id).map_or(Verdict::Leave, |tenant| tenant_act(tenant, now)),
            Item::Upload { tenant, bucket, upload } => tenants
                .get(&tenant)
                .map_or(Verdict::Leave, |of| upload_act(of, Act::AbortUpload { tenant, bucket, upload }, now)),
            Item::Objects(region) => Verdict::Act(Act::ExpireObjects(region)),
            Item::Orphans(region) => Verdict::Act(Act::CollectOrphans(region)),
        };
        let late_s = (now.cc_lo.0.saturating_sub(due.at.0)) / 1000;
        match verdict {
            Verdict::Act(act) => plan.acts.push(act),
            Verdict::Wait(why) => plan.skipped.push(Skipped { item: due.item, why }),
            Verdict::Leave => continue,
        }
        // Which of the objects a hold keeps is known once they are looked at: the run tells how late the others are.
        let told_later = matches!(due.item, Item::Objects(_));
        if !told_later && !matches!(verdict, Verdict::Wait(Why::Held | Why::Frozen | Why::WithItsTenant)) {
            plan.late_s = plan.late_s.max(late_s);
        }
    }
    plan
}

#[derive(Clone, Copy)]
enum Verdict {
    Act(Act),
    Wait(Why),
    /// Not due by its own rules, or nothing to do.
    Leave,
}

/// Asks the state machine, so that the plan cannot differ from the run.
fn tenant_act(tenant: &Candidate, now: &Reading) -> Verdict {
    let standing = &tenant.standing;
    let event = match standing.state {
        State::Provisioning => Event::ProvisioningChecked,
        _ => Event::Sweep(tenant.evidence),
    };
    match step(standing, &event, now) {
        Ok((_, effects)) => match effects.first() {
            Some(Effect::Log(Transition::BeginPurge)) => Verdict::Act(Act::PurgeTenant(standing.id)),
            Some(Effect::Log(Transition::HoldPurge)) => Verdict::Act(Act::HoldTenant(standing.id)),
            Some(Effect::Log(Transition::GiveUp)) => Verdict::Act(Act::GiveUpTenant(standing.id)),
            Some(_) if standing.state == State::PurgeHeld => Verdict::Act(Act::HoldTenant(standing.id)),
            Some(_) => Verdict::Act(Act::ResumePurge(standing.id)),
            None if standing.state == State::PurgeHeld => Verdict::Wait(Why::Held),
            None => Verdict::Act(Act::DropTenantDue(standing.id)),
        },
        Err(Refusal::WrongState(_)) => Verdict::Act(Act::DropTenantDue(standing.id)),
        Err(Refusal::KeyServiceDisagrees) => Verdict::Wait(Why::KeyServiceDisagrees),
        Err(Refusal::RotationRunning) => Verdict::Wait(Why::RotationRunning),
        Err(_) => Verdict::Leave,
    }
}

fn upload_act(tenant: &Candidate, abort: Act, now: &Reading) -> Verdict {
    let of = &tenant.standing;
    if matches!(tenant_act(tenant, now), Verdict::Act(Act::PurgeTenant(_) | Act::GiveUpTenant(_))) {
        return Verdict::Wait(Why::WithItsTenant);
    }
    let all_held = of.holds.iter().any(|hold| hold.scope == HoldScope::Tenant);
    match of.state {
        State::Purging | State::Purged => Verdict::Wait(Why::WithItsTenant),
        _ if all_held => Verdict::Wait(Why::Held),
        State::Disabled => Verdict::Wait(Why::Frozen),
        State::Provisioning | State::Active | State::Terminated | State::PurgeHeld => Verdict::Act(abort),
    }
}

fn rank(item: &Item) -> u8 {
    match item {
        Item::Tenant(_) => 0,
        Item::Upload { .. } => 1,
        Item::Objects(_) => 2,
        Item::Orphans(_) => 3,
    }
}

/// What tells two items of a rank apart; also their order among equals.
fn name(item: &Item) -> Vec<u8> {
    match item {
        Item::Tenant(id) => id.0.to_vec(),
        Item::Upload { tenant, bucket, upload } => [tenant.0, bucket.0, upload.0].concat(),
        Item::Objects(region) | Item::Orphans(region) => region.id.as_bytes().to_vec(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
