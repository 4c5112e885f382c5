//! Data subjects' requests, between the admin face and the conductor.

use super::acts::HouseActs;
use super::tenants::{act_error, actor, find};
use crate::admin::acts::{Mode, Order, Outcome, TenantRef};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::{Actor, Event as Record};
use crate::model::ids::{SubjectId, TenantId};
use crate::model::names::SubjectName;
use crate::subject::{self, Erased, SubjectError};
use crate::tenancy::Tenancy;
use crate::tenant::access::{Access, Operation, access};
use crate::tenant::holds::{Deferred, DeferredKind, Said};
use std::collections::{BTreeMap, BTreeSet};

pub(super) async fn erase(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    name: SubjectName,
    confirm: Option<&str>,
) -> Result<Outcome<wire::Operation>, ActError> {
    let found = find(acts, tenant).await?;
    let (tenancy, entry) = (found.tenancy, found.entry);
    let id = entry.standing.id;
    let defers = match access(entry.standing.state, Operation::DataSubject) {
        Access::Yes => false,
        Access::Deferred => true,
        Access::If(_, no) | Access::No(no) => return Err(ActError::StateRefuses(no)),
    };
    let held = subject::held(&tenancy, id, &name).await.map_err(subject_error)?;
    let subject = subject::foresee(&tenancy, id, &name).await.map_err(subject_error)?;
    if order.mode == Mode::Plan {
        let counts = subject.as_ref().map(|(_, foreseen)| *foreseen).unwrap_or_default();
        let steps = match subject {
            _ if held.is_some() || defers => {
                vec!["a legal hold stands in the way: it is recorded, and done once that is released".to_owned()]
            }
            None => vec!["there is no such data subject: nothing changes".to_owned()],
            Some(_) => vec![
                "log it, and note that it is under way".to_owned(),
                "destroy the subject's key: from then on nothing of it can be read".to_owned(),
                "remove its objects and uploads, rows first, then blobs".to_owned(),
                "forget its name".to_owned(),
            ],
        };
        let counts = [("objects", counts.objects), ("bytes", counts.bytes), ("uploads", counts.uploads)];
        let counts: BTreeMap<_, _> = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        return Ok(Outcome::Planned(wire::Plan { steps, counts, ..wire::Plan::default() }));
    }
    let expected = entry.detail.as_ref().map(|detail| detail.name.as_str());
    if expected.is_none() || confirm != expected {
        return Err(ActError::ConfirmMismatch);
    }
    let now = acts.house.clock.now().wall;
    if let Some((entry_of, _)) = subject.as_ref().filter(|(entry, _)| !entry.erasing && (held.is_some() || defers)) {
        let all = || entry.standing.holds.iter().map(|hold| hold.id.clone()).collect();
        let (matters, objects) = held.map_or_else(|| (all(), 0), |held| (held.matters, held.objects));
        let act = Deferred {
            kind: DeferredKind::EraseSubject,
            label: format!("erase-{}", entry_of.id),
            detail: name.as_str().as_bytes().to_vec(),
            matters,
            objects,
            asked: Said { by: order.by.0.clone(), at: now },
        };
        return Err(defer(&tenancy, order, id, act).await?);
    }
    // The name is nowhere in the operation: it is followed under the subject's opaque id.
    let about = subject.as_ref().map_or_else(|| id.to_string(), |(entry, _)| entry.id.to_string());
    let by = actor(order);
    if let Some((entry, _)) = subject.as_ref().filter(|(entry, _)| !entry.erasing) {
        subject::begin(&tenancy, &by, id, &name, entry.id).await.map_err(subject_error)?;
    }
    let operation = acts.operations.start("erase-subject", &about, now, |progress| async move {
        let Some((entry, foreseen)) = subject else {
            return Ok(wire::OperationResult::SubjectErasure(wire::SubjectErasure::default()));
        };
        progress.phase("erasing", foreseen.objects + foreseen.uploads);
        let watch = |done| progress.done(done);
        let erased = subject::erase(&tenancy, &by, id, entry.id, &watch).await.map_err(subject_error)?;
        Ok(wire::OperationResult::SubjectErasure(shown(&erased)))
    });
    Ok(Outcome::Done(operation))
}

/// Records an act that holds stand in the way of: entry first. Answers the refusal that the caller gets.
pub(super) async fn defer(
    tenancy: &Tenancy,
    order: &Order,
    tenant: TenantId,
    act: Deferred,
) -> Result<ActError, ActError> {
    let (kind, label) = (act.kind.as_str().to_owned(), act.label.clone());
    let (objects, holds) = (act.objects, act.matters.len() as u64);
    let deferred = Record::ActDeferred { tenant, act: kind, label, objects, holds };
    tenancy.audit.append(&actor(order), deferred).await.map_err(super::acts::log_error)?;
    tenancy.directory.defer(tenant, &act).await.map_err(|error| act_error(error.into()))?;
    Ok(ActError::LegalHold(act.matters))
}

/// Takes up what a crash cut off. What stands in the way is logged, and stands in nobody else's: until the subject's
/// erasure ends, nothing of it can be read or written.
pub(super) async fn resume(tenancy: &Tenancy) {
    match subject::resume(tenancy, &Actor::part("geoseal")).await {
        Ok(0) => {}
        Ok(erasures) => tracing::info!(erasures, "took up erasures that had been cut off"),
        Err(error) => tracing::error!(%error, "an erasure that had been cut off could not be taken up"),
    }
}

/// After the restore of a backup: erases again the subjects whose keys the shred log destroyed again, before anything is
/// served. All are begun before the first is carried out, so that a crash leaves them to [`resume`].
pub(super) async fn redelete(tenancy: &Tenancy, again: &[(TenantId, SubjectId)]) -> Result<u64, SubjectError> {
    let by = Actor::part("geoseal");
    let tenants: BTreeSet<_> = again.iter().map(|(tenant, _)| *tenant).collect();
    let mut begun = BTreeSet::new();
    for tenant in tenants {
        let mut after = None;
        loop {
            let page = tenancy.directory.subjects_page(tenant, after.as_deref(), STEP).await?;
            for at in page.iter().filter(|at| again.contains(&(tenant, at.id))) {
                if !at.erasing {
                    subject::begin(tenancy, &by, tenant, &at.name, at.id).await?;
                }
                begun.insert((tenant, at.id));
            }
            match page.last() {
                Some(last) if page.len() == STEP => after = Some(last.row_key.clone()),
                _ => break,
            }
        }
    }
    for (tenant, subject) in &begun {
        subject::erase(tenancy, &by, *tenant, *subject, &|_| {}).await?;
    }
    Ok(begun.len() as u64)
}

/// Subjects read at once.
const STEP: usize = 256;

fn shown(erased: &Erased) -> wire::SubjectErasure {
    let shredded = &erased.shredded;
    let absent = shredded.overwritten_in_place && shredded.salts_found == 0;
    wire::SubjectErasure {
        subject: Some(erased.subject.to_string()),
        level: Some(if absent { "S2" } else { "S1" }.into()),
        objects: erased.objects,
        uploads: erased.uploads,
        blobs: erased.blobs,
        inaccessible_at: Some(wire::Time(erased.inaccessible)),
        files_scanned: shredded.files_scanned,
        salts_found: shredded.salts_found,
        file_system: Some(shredded.file_system.clone()),
        audit_index: Some(erased.receipt.index),
        audit_hash: Some(erased.receipt.hash.to_string()),
    }
}

pub(super) fn subject_error(error: SubjectError) -> ActError {
    match error {
        SubjectError::Keys(error) => act_error(error.into()),
        SubjectError::Directory(error) => act_error(error.into()),
        SubjectError::Audit(error) => super::acts::log_error(error),
        SubjectError::RegionNotServed(_) => ActError::RegionNotServed,
        SubjectError::Index(_) | SubjectError::Blob(_) | SubjectError::Integrity | SubjectError::Worker => {
            tracing::error!(%error, "a data subject's request stopped; running it again takes it up");
            ActError::Broken
        }
    }
}
