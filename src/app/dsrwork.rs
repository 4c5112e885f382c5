//! The long work of data subjects' requests: erasures and restrictions, carried out whole or as far as holds allow, taken up
//! after a crash, and gone on with when a hold was released.

use super::acts::HouseActs;
use super::dsrs::{certificate, desk, shown};
use super::subjects::{erased_shown, subject_error};
use super::tenants::FoundTenant;
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::Actor;
use crate::directory::SubjectRequest;
use crate::model::dsr::{RequestKind, RequestState, RequestStep};
use crate::model::ids::TenantId;
use crate::model::standing::Word;
use crate::store::Store;
use crate::subject::rectify::Corrected;
use crate::subject::requests::Desk;
use crate::subject::{self, Foreseen, InPart, Rewritten, SubjectError};
use crate::tenancy::Tenancy;
use crate::tenant::access::{Access, Operation, access};

/// What an erasure is carried out with.
#[derive(Clone, Copy)]
pub(super) struct Hands<'a> {
    pub(super) tenancy: &'a Tenancy,
    pub(super) store: &'a Store,
}

/// Carries a request on that is Open, Previewed, Running or Deferred: RUNNING, what has to hold at once, and the rest as
/// an operation. Errors: `Held`, and the request is Deferred.
pub(super) async fn start(
    acts: &HouseActs,
    found: FoundTenant,
    by: Actor,
    number: u64,
) -> Result<wire::Operation, ActError> {
    let (request, foreseen, now) = {
        let desk = desk(&found, &by);
        let request = desk.step(number, RequestStep::Begin, |_| {}).await.map_err(subject_error)?;
        desk.block(&request).await.map_err(subject_error)?;
        let foreseen = match request.kind {
            RequestKind::Erase => desk.foresee(&request).await.map_err(subject_error)?.unwrap_or_default(),
            _ => Foreseen::default(),
        };
        let now = acts.house.clock.now().wall;
        if let Some(held) = defer_if_held(&found, desk, number, &foreseen).await? {
            return Err(held);
        }
        let is_free = foreseen.held == 0;
        (if is_free { desk.prepare(&request).await.map_err(subject_error)? } else { request }, foreseen, now)
    };
    let (tenancy, tenant, store) = (found.tenancy, found.entry.standing.id, acts.house.store.clone());
    // The name is nowhere in the operation: it is followed under the subject's opaque id.
    let about = request.subject.map_or_else(|| format!("{tenant}/DSR-{number}"), |subject| subject.to_string());
    let kind = if request.kind == RequestKind::Erase { "erase-subject" } else { "restrict-subject" };
    Ok(acts.operations.start(kind, &about, now, |progress| async move {
        let total = foreseen.stored() + foreseen.uploads;
        progress.phase(if kind == "erase-subject" { "erasing" } else { "restricting" }, total);
        let watch = |done| progress.done(done);
        let hands = Hands { tenancy: &tenancy, store: &store };
        if foreseen.held > 0 {
            return in_part(hands, &by, tenant, &request, &foreseen, &watch).await;
        }
        finish(hands, &by, tenant, &request, &watch).await
    }))
}

/// What no hold keeps is removed now; the rest is deferred.
async fn in_part(
    hands: Hands<'_>,
    by: &Actor,
    tenant: TenantId,
    request: &SubjectRequest,
    foreseen: &Foreseen,
    watch: &(dyn Fn(u64) + Send + Sync),
) -> Result<wire::OperationResult, ActError> {
    let desk = Desk { tenancy: hands.tenancy, actor: by, tenant, because: None };
    let mut rewritten = Rewritten::default();
    if let Some((name, entry)) = desk.known(request).await.map_err(subject_error)? {
        let (whom, number) = ((&name, entry.id), Some(request.number));
        let done = subject::rewrite(hands.tenancy, hands.store, by, tenant, whom, number).await;
        rewritten = done.map_err(subject_error)?;
    }
    let mut gone = desk.erase_in_part(request, watch).await.map_err(subject_error)?;
    gone.windows.extend(rewritten.windows);
    let request = desk.defer(request, foreseen, gone).await.map_err(subject_error)?;
    Ok(wire::OperationResult::Request(shown(&request)))
}

/// The rest of a request that is RUNNING and prepared.
async fn finish(
    hands: Hands<'_>,
    by: &Actor,
    tenant: TenantId,
    request: &SubjectRequest,
    watch: &(dyn Fn(u64) + Send + Sync),
) -> Result<wire::OperationResult, ActError> {
    let Hands { tenancy, store } = hands;
    let desk = Desk { tenancy, actor: by, tenant, because: None };
    let number = request.number;
    if request.kind == RequestKind::Restrict {
        desk.tell(request.token, number, Word::Restrict).await.map_err(subject_error)?;
        let ended = |request: &mut SubjectRequest| (request.name, request.in_force) = (None, true);
        let request = desk.step(number, RequestStep::End, ended).await.map_err(subject_error)?;
        return Ok(wire::OperationResult::Request(shown(&request)));
    }
    let mut now = Rewritten::default();
    if let Some(subject) = request.subject {
        let done = super::subjects::rewrite(tenancy, store, by, tenant, subject, Some(number)).await;
        now = done.map_err(subject_error)?;
    }
    let erased = match request.subject {
        Some(subject) => Some(subject::erase(tenancy, by, tenant, subject, watch).await.map_err(subject_error)?),
        None => None,
    };
    // Also what was written anew before holds were released, or before a crash.
    let rewritten = desk.request(number).await.map_err(subject_error)?.rewritten.unwrap_or_default();
    let certificate = certificate(tenancy, tenant, request, (erased.as_ref(), &rewritten)).await?;
    let issued = desk.certified(request.number, certificate.hash()).await.map_err(subject_error)?;
    let mut done = erased.as_ref().map(erased_shown).unwrap_or_default();
    done.dsr = Some(format!("DSR-{number}"));
    now.windows.extend(erased.iter().flat_map(|erased| &erased.windows));
    (done.batches, done.kpi_hours) = (now.versions.len() as u64, now.windows.len() as u64);
    let ended = |request: &mut SubjectRequest| {
        (request.name, request.in_force) = (None, request.block);
        (request.certificate, request.issued) = (Some(certificate.text().to_owned()), Some(issued));
        request.deal_with(done.objects, done.versions, now.windows.len());
        request.uploads += done.uploads;
        (request.kept, request.matters) = (0, Vec::new());
    };
    desk.step(number, RequestStep::End, ended).await.map_err(subject_error)?;
    let waits_no_more = tenancy.directory.drop_deferred(tenant, &format!("DSR-{number}")).await;
    waits_no_more.map_err(|error| subject_error(error.into()))?;
    desk.forget_names(request.token).await.map_err(subject_error)?;
    Ok(wire::OperationResult::SubjectErasure(done))
}

/// At a start: goes on with what a crash cut off.
pub(super) async fn resume(hands: Hands<'_>) {
    let tenancy = hands.tenancy;
    let by = Actor::part("geoseal");
    let running = tenancy.directory.requests_in(&[RequestState::Running]).await;
    let running = running.unwrap_or_else(|error| {
        tracing::error!(%error, "requests that were cut off could not be looked for");
        Vec::new()
    });
    for (tenant, number) in running {
        let desk = Desk { tenancy, actor: &by, tenant, because: None };
        let went_on = async {
            let request = desk.request(number).await.map_err(subject_error)?;
            match request.kind {
                RequestKind::Access => return Ok(()),
                RequestKind::Rectify => return settle(hands, &desk, &request).await.map(drop),
                RequestKind::Erase | RequestKind::Restrict => {}
            }
            if request.kind == RequestKind::Erase {
                desk.block(&request).await.map_err(subject_error)?;
                // Whether a hold keeps some of it was settled before whom it is of became known to the request.
                let foreseen = match request.subject {
                    None => desk.foresee(&request).await.map_err(subject_error)?.unwrap_or_default(),
                    Some(_) => Foreseen::default(),
                };
                if foreseen.held > 0 {
                    return in_part(hands, &by, tenant, &request, &foreseen, &|_| {}).await.map(drop);
                }
            }
            let request = desk.prepare(&request).await.map_err(subject_error)?;
            finish(hands, &by, tenant, &request, &|_| {}).await.map(drop)
        };
        match went_on.await {
            Ok(()) => tracing::info!("took up a data subject's request that had been cut off"),
            Err(error) => tracing::error!(%error, "a data subject's request could not be taken up"),
        }
    }
}

/// Goes on with an object that is being put right. Answers whether nothing waits any more.
async fn settle(hands: Hands<'_>, desk: &Desk<'_>, request: &SubjectRequest) -> Result<bool, ActError> {
    match desk.settle(hands.store, request).await {
        Ok(Corrected::Done(..)) => Ok(true),
        Ok(Corrected::Deferred(_)) => Ok(false),
        // There was nothing to go on with; the request is open again.
        Err(SubjectError::NoSuchObject) => Ok(true),
        Err(error) => Err(subject_error(error)),
    }
}

/// Goes on with a deferred request. Answers whether all of it is done: other holds may keep it by now.
pub(super) async fn go_on(hands: Hands<'_>, tenant: TenantId, number: u64) -> Result<bool, ActError> {
    let by = Actor::part("sweeper");
    let desk = Desk { tenancy: hands.tenancy, actor: &by, tenant, because: None };
    let request = match desk.request(number).await {
        // Done, or with it: nothing waits.
        Err(SubjectError::NoSuchRequest) => return Ok(true),
        request => request.map_err(subject_error)?,
    };
    if request.state != RequestState::Deferred {
        return Ok(request.state != RequestState::Running);
    }
    let request = desk.step(number, RequestStep::Begin, |_| {}).await.map_err(subject_error)?;
    if request.kind == RequestKind::Rectify {
        return settle(hands, &desk, &request).await;
    }
    let foreseen = desk.foresee(&request).await.map_err(subject_error)?.unwrap_or_default();
    if foreseen.held > 0 {
        in_part(hands, &by, tenant, &request, &foreseen, &|_| {}).await?;
        return Ok(false);
    }
    let request = desk.prepare(&request).await.map_err(subject_error)?;
    finish(hands, &by, tenant, &request, &|_| {}).await?;
    Ok(true)
}

/// When holds keep all of it: the request is Deferred, and this is what to say.
async fn defer_if_held(
    found: &FoundTenant,
    desk: Desk<'_>,
    number: u64,
    foreseen: &Foreseen,
) -> Result<Option<ActError>, ActError> {
    let is_deferred = matches!(access(found.entry.standing.state, Operation::DataSubject), Access::Deferred);
    if !foreseen.is_all_held() && !is_deferred {
        return Ok(None);
    }
    let mut foreseen = foreseen.clone();
    if is_deferred {
        foreseen.matters.extend(found.entry.standing.holds.iter().map(|hold| hold.id.clone()));
    }
    let request = desk.request(number).await.map_err(subject_error)?;
    desk.defer(&request, &foreseen, InPart::default()).await.map_err(subject_error)?;
    Ok(Some(ActError::LegalHold(foreseen.matters.into_iter().collect())))
}
