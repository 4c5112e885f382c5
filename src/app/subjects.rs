//! Data subjects' requests, between the admin face and the conductor.

use super::acts::HouseActs;
use super::tenants::{act_error, actor, find};
use super::{dsrs, dsrwork};
use crate::admin::acts::{Mode, Order, Outcome, TenantRef};
use crate::admin::dsrs::NewRequest;
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::Actor;
use crate::index::IndexError;
use crate::model::ids::{SubjectId, TenantId};
use crate::store::Store;
use crate::store::types::StoreError;
use crate::subject::requests::Desk;
use crate::subject::{self, Erased, Rewritten, SubjectError};
use crate::tenancy::Tenancy;
use crate::tenant::access::{Access, Operation, access};
use std::collections::BTreeSet;

/// Enters a request for erasure and carries it out in one act.
pub(super) async fn erase(
    acts: &HouseActs,
    order: &Order,
    tenant: &TenantRef,
    new: NewRequest,
    confirm: Option<&str>,
) -> Result<Outcome<wire::Operation>, ActError> {
    let found = find(acts, tenant).await?;
    let (tenancy, entry) = (&found.tenancy, &found.entry);
    let id = entry.standing.id;
    match access(entry.standing.state, Operation::DataSubject) {
        Access::Yes | Access::Deferred => {}
        Access::If(_, no) | Access::No(no) => return Err(ActError::StateRefuses(no)),
    }
    dsrs::one_meant(&found, &new.subject).await?;
    if order.mode == Mode::Plan {
        let subject = subject::foresee(tenancy, id, &new.subject).await.map_err(subject_error)?;
        let counts = subject.as_ref().map(|(_, foreseen)| foreseen.clone()).unwrap_or_default();
        let mut steps = match subject {
            None => vec!["there is no such data subject: nothing is removed".to_owned()],
            Some(_) => vec![
                "log it, and note that it is under way".to_owned(),
                "destroy the subject's key: from then on nothing of it can be read".to_owned(),
                "remove its objects and uploads, rows first, then blobs".to_owned(),
                "forget its name".to_owned(),
            ],
        };
        if new.block {
            steps.push("refuse to store it again".to_owned());
        }
        steps.extend(counts.matters.iter().map(|matter| dsrs::waits_for(matter)));
        return Ok(Outcome::Planned(dsrs::foretold(steps, &counts)));
    }
    found.confirmed_by(confirm).await?;
    let by = actor(order);
    let desk = Desk { tenancy, actor: &by, tenant: id, because: None };
    let request = desk.open(&dsrs::asked(new)).await.map_err(subject_error)?;
    dsrwork::start(acts, found, by, request.number).await.map(Outcome::Done)
}

/// Takes somebody whose erasure was begun out of the batches that hold records of others, too.
pub(super) async fn rewrite(
    tenancy: &Tenancy,
    store: &Store,
    by: &Actor,
    tenant: TenantId,
    subject: SubjectId,
    request: Option<u64>,
) -> Result<Rewritten, SubjectError> {
    match tenancy.directory.name_of_erased(tenant, subject).await? {
        Some(name) => subject::rewrite(tenancy, store, by, tenant, (&name, subject), request).await,
        // Its erasure has ended: nothing leads to it any more.
        None => Ok(Rewritten::default()),
    }
}

/// Takes up what a crash cut off. What stands in the way is logged, and stands in nobody else's: until the subject's
/// erasure ends, nothing of it can be read or written.
pub(super) async fn resume(tenancy: &Tenancy, store: &Store) {
    let by = Actor::part("geoseal");
    let resumed = async {
        for (tenant, subject) in tenancy.directory.erasures().await? {
            rewrite(tenancy, store, &by, tenant, subject, None).await?;
        }
        subject::resume(tenancy, &by).await
    };
    match resumed.await {
        Ok(0) => {}
        Ok(erasures) => tracing::info!(erasures, "took up erasures that had been cut off"),
        Err(error) => tracing::error!(%error, "an erasure that had been cut off could not be taken up"),
    }
}

/// After the restore of a backup: erases again the subjects whose keys the shred log destroyed again, before anything is
/// served. All are begun before the first is carried out, so that a crash leaves them to [`resume`].
pub(super) async fn redelete(
    tenancy: &Tenancy,
    store: &Store,
    again: &[(TenantId, SubjectId)],
) -> Result<u64, SubjectError> {
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
        rewrite(tenancy, store, &by, *tenant, *subject, None).await?;
        subject::erase(tenancy, &by, *tenant, *subject, &|_| {}).await?;
    }
    Ok(begun.len() as u64)
}

/// Subjects read at once.
const STEP: usize = 256;

pub(super) fn erased_shown(erased: &Erased) -> wire::SubjectErasure {
    let shredded = &erased.shredded;
    let absent = shredded.overwritten_in_place && shredded.salts_found == 0;
    wire::SubjectErasure {
        subject: Some(erased.subject.to_string()),
        dsr: None,
        level: Some(if absent { "S2" } else { "S1" }.into()),
        objects: erased.objects,
        versions: erased.versions,
        batches: 0,
        kpi_hours: erased.windows.len() as u64,
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
        SubjectError::NoSuchRequest => ActError::NoSuchRequest,
        SubjectError::NoSuchLink => ActError::NoSuchLink,
        SubjectError::LinkOver => ActError::LinkOver,
        SubjectError::WrongStep(state) => ActError::WrongRequestState(state.as_str()),
        SubjectError::NoSuchObject
        | SubjectError::Store(StoreError::NoSuchObject | StoreError::NoSuchVersion | StoreError::PreconditionFailed) => {
            ActError::NoSuchObject
        }
        SubjectError::Store(StoreError::SubjectErased) => ActError::NoSuchObject,
        SubjectError::Store(StoreError::TooLarge) => ActError::TooLarge,
        SubjectError::Store(StoreError::Body(fault)) => ActError::BadBody(fault.to_string()),
        SubjectError::Store(StoreError::InvalidBatch(bad)) => ActError::BadBody(bad.to_string()),
        SubjectError::Store(StoreError::KeysSuspended) | SubjectError::Index(IndexError::KeysWithheld) => {
            ActError::KeysSuspended
        }
        SubjectError::BatchLeft
        | SubjectError::Store(_)
        | SubjectError::HungUp
        | SubjectError::Index(_)
        | SubjectError::Blob(_)
        | SubjectError::Integrity
        | SubjectError::Worker => {
            tracing::error!(%error, "a data subject's request stopped; running it again takes it up");
            ActError::Broken
        }
    }
}
