//! Data subjects' requests, between the admin face and the conductor.

use super::acts::HouseActs;
use super::dsrwork::start;
use super::subjects::subject_error;
use super::tenants::{FoundTenant, actor, find, state};
use crate::admin::acts::{Broke, Mode, Order, Outcome, Streamed, TenantRef};
use crate::admin::dsrs::{
    BundleLink, Correction, DsrActs, Fetched, Kind, LINKS, LinkShown, NewRequest, Rectified, Request, Stop,
};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::{Actor, Hash};
use crate::config::SubprocessorConfig;
use crate::directory::SubjectRequest;
use crate::model::dsr::{RequestKind, RequestState, RequestStep};
use crate::model::ids::{TenantId, VersionId};
use crate::model::names::SubjectName;
use crate::subject::bundle::Recipient;
use crate::subject::rectify::Corrected;
use crate::subject::requests::{Asked, Desk};
use crate::subject::{Erased, Foreseen, SubjectError, bundle, contacts, link};
use crate::sweep::certificate::{AuditEntry, Certificate, Destruction, Signed};
use crate::sweep::of_subject::{self, Backups, SubjectCertificate};
use crate::tenancy::Tenancy;
use crate::tenant::access::{Access, Operation, access};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;

#[async_trait::async_trait]
impl DsrActs for HouseActs {
    async fn open_request(
        &self,
        order: &Order,
        tenant: &TenantRef,
        new: NewRequest,
    ) -> Result<Outcome<Request>, ActError> {
        let found = reachable(self, tenant).await?;
        one_meant(&found, &new.subject).await?;
        if order.mode == Mode::Plan {
            let steps = vec!["log the request, and keep it; nothing that is stored changes".to_owned()];
            return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
        }
        let by = actor(order);
        let request = desk(&found, &by).open(&asked(new)).await.map_err(subject_error)?;
        Ok(Outcome::Done(shown(&request)))
    }

    async fn requests(&self, tenant: &TenantRef, after: u64, limit: usize) -> Result<Vec<Request>, ActError> {
        let found = find(self, tenant).await?;
        let requests = found.tenancy.directory.requests(found.entry.standing.id, after, limit).await;
        Ok(requests.map_err(|error| subject_error(error.into()))?.iter().map(shown).collect())
    }

    async fn request(&self, tenant: &TenantRef, number: u64) -> Result<Request, ActError> {
        let (found, by) = (find(self, tenant).await?, Actor::part("geoseal"));
        Ok(shown(&desk(&found, &by).request(number).await.map_err(subject_error)?))
    }

    async fn request_certificate(
        &self,
        tenant: &TenantRef,
        number: u64,
        since: Option<u64>,
    ) -> Result<serde_json::Value, ActError> {
        let (found, by) = (find(self, tenant).await?, Actor::part("geoseal"));
        let request = desk(&found, &by).request(number).await.map_err(subject_error)?;
        let text = request.certificate.ok_or(ActError::NotErased)?;
        super::transparency::with_log_of_subject(self, found.tenancy.directory.geo(), text, request.issued, since).await
    }

    async fn preview_request(&self, order: &Order, tenant: &TenantRef, number: u64) -> Result<wire::Plan, ActError> {
        let (found, by) = (reachable(self, tenant).await?, actor(order));
        let plan = plan(&found, &by, number).await?;
        if order.mode == Mode::Run {
            desk(&found, &by).step(number, RequestStep::Preview, |_| {}).await.map_err(subject_error)?;
        }
        Ok(plan)
    }

    async fn run_request(
        &self,
        order: &Order,
        tenant: &TenantRef,
        number: u64,
        confirm: Option<&str>,
    ) -> Result<Outcome<wire::Operation>, ActError> {
        let (found, by) = (reachable(self, tenant).await?, actor(order));
        let request = desk(&found, &by).request(number).await.map_err(subject_error)?;
        if order.mode == Mode::Plan {
            return plan(&found, &by, number).await.map(Outcome::Planned);
        }
        match request.kind {
            RequestKind::Erase => found.confirmed_by(confirm).await?,
            RequestKind::Restrict => {}
            RequestKind::Access | RequestKind::Rectify => {
                let rule =
                    "a request for a copy is answered with `dsr export`, one to put something right with `dsr rectify`";
                return Err(ActError::BadField { field: "kind", rule });
            }
        }
        start(self, found, by, number).await.map(Outcome::Done)
    }

    async fn bundle(&self, order: &Order, tenant: &TenantRef, number: u64) -> Result<Outcome<Streamed>, ActError> {
        let (found, by) = (reachable(self, tenant).await?, actor(order));
        let desk = desk(&found, &by);
        let request = desk.request(number).await.map_err(subject_error)?;
        if request.kind != RequestKind::Access {
            return Err(ActError::BadField {
                field: "kind",
                rule: "only a request for access is answered with a copy",
            });
        }
        if order.mode == Mode::Plan {
            return plan(&found, &by, number).await.map(Outcome::Planned);
        }
        let leaving = hand_out(self, &desk, &request).await.map_err(subject_error)?;
        Ok(Outcome::Done(leaving.map_err(|_| Broke).boxed()))
    }

    async fn link_bundle(
        &self,
        order: &Order,
        tenant: &TenantRef,
        number: u64,
    ) -> Result<Outcome<BundleLink>, ActError> {
        let (found, by) = (reachable(self, tenant).await?, actor(order));
        let desk = desk(&found, &by);
        let request = desk.request(number).await.map_err(subject_error)?;
        if request.kind != RequestKind::Access {
            let rule = "only a request for access is answered with a copy";
            return Err(ActError::BadField { field: "kind", rule });
        }
        if !matches!(access(found.entry.standing.state, Operation::DataSubject), Access::Yes) {
            return Err(ActError::WrongState(state(found.entry.standing.state)));
        }
        if order.mode == Mode::Plan {
            let mut plan = plan(&found, &by, number).await?;
            let days = link::LINK_S / 86_400;
            plan.steps = vec![format!("log it; make a link that gives a copy once within {days} days")];
            return Ok(Outcome::Planned(plan));
        }
        let (token, until) = desk.make_link(number).await.map_err(subject_error)?;
        Ok(Outcome::Done(BundleLink {
            id: format!("DSR-{number}"),
            path: format!("{LINKS}{}", *token.text()),
            expires_at: wire::Time(until),
            downloads_max: link::DOWNLOADS_MAX,
        }))
    }

    async fn fetch_bundle(&self, token: &str) -> Result<Fetched, ActError> {
        let token = link::Token::parse(token).ok_or(ActError::NoSuchLink)?;
        let found = find(self, &TenantRef::Id(token.tenant())).await.map_err(|error| match error {
            // Whoever guesses learns of no tenant.
            ActError::NoSuchTenant | ActError::TenantPurged => ActError::NoSuchLink,
            error => error,
        })?;
        // What only holds keep of a tenant is for counsel.
        let allowed = matches!(access(found.entry.standing.state, Operation::DataSubject), Access::Yes);
        let by = Actor::part("data-subject");
        let desk = desk(&found, &by);
        let request = desk.use_link(&token, allowed).await.map_err(subject_error)?;
        let leaving = hand_out(self, &desk, &request).await.map_err(|error| match error {
            // Who asked was erased meanwhile.
            SubjectError::WrongStep(_) => ActError::LinkOver,
            error => subject_error(error),
        })?;
        let leaving = link::once(found.tenancy.clone(), by.clone(), &token, leaving);
        let leaving = leaving.inspect_err(|error| tracing::info!(%error, "a download by a link broke off"));
        Ok(Fetched { id: format!("DSR-{}", token.number()), archive: leaving.map_err(|_| Broke).boxed() })
    }

    async fn rectify(
        &self,
        order: &Order,
        tenant: &TenantRef,
        number: u64,
        correction: Correction,
    ) -> Result<Outcome<Rectified>, ActError> {
        let (found, by) = (reachable(self, tenant).await?, actor(order));
        let desk = desk(&found, &by);
        let request = desk.request(number).await.map_err(subject_error)?;
        if request.kind != RequestKind::Rectify {
            return Err(ActError::BadField { field: "kind", rule: "only a request to rectify puts something right" });
        }
        let Correction { bucket, object, content } = correction;
        let target = desk.target(&request, &bucket, &object).await.map_err(subject_error)?;
        if order.mode == Mode::Plan {
            let mut steps = vec![
                "log it; write a new version under a new data key".to_owned(),
                "destroy the version of before: its row, its data key, its bytes".to_owned(),
            ];
            steps.extend(target.matters.iter().map(|matter| waits_for(matter)));
            let held = target.matters.len().min(1) as u64;
            let counts = [("objects", 1 - held), ("deferred", held)];
            return Ok(Outcome::Planned(wire::Plan { steps, counts: counted(counts), ..wire::Plan::default() }));
        }
        let corrected = desk.rectify(&self.house.store, number, &target, content).await;
        match corrected.map_err(subject_error)? {
            Corrected::Deferred(matters) => Err(ActError::PutOff(matters)),
            Corrected::Done(from, to) => {
                let id = format!("DSR-{number}");
                Ok(Outcome::Done(Rectified { id, from: from.to_string(), to: to.to_string() }))
            }
        }
    }

    async fn stop_request(
        &self,
        order: &Order,
        tenant: &TenantRef,
        number: u64,
        how: Stop,
        reason: &str,
    ) -> Result<Outcome<Request>, ActError> {
        let (found, by) = (reachable(self, tenant).await?, actor(order));
        if order.mode == Mode::Plan {
            let request = desk(&found, &by).request(number).await.map_err(subject_error)?;
            let step = match how {
                Stop::Lift if request.in_force => "log it; what the request put in force ends",
                Stop::Lift => "nothing of it is in force: this would be refused",
                Stop::Refuse => "log that it is not carried out, and forget who asked",
            };
            return Ok(Outcome::Planned(wire::Plan { steps: vec![step.to_owned()], ..wire::Plan::default() }));
        }
        let desk = Desk { because: Some(kept(&found, reason).await?), ..desk(&found, &by) };
        let stopped = match how {
            Stop::Lift => desk.lift(number).await,
            Stop::Refuse => desk.step(number, RequestStep::Refuse, |request| request.name = None).await,
        };
        Ok(Outcome::Done(shown(&stopped.map_err(subject_error)?)))
    }
}

/// Begins to hand out the copy that is asked for; asked for again it is handed out again. Errors: `WrongStep` when who asked is
/// known no more.
async fn hand_out(
    acts: &HouseActs,
    desk: &Desk<'_>,
    request: &SubjectRequest,
) -> Result<BoxStream<'static, Result<Bytes, SubjectError>>, SubjectError> {
    let name = desk.name(request).await?;
    let again = request.state == RequestState::Done;
    if !again {
        desk.step(request.number, RequestStep::Begin, |_| {}).await?;
    }
    let others = acts.compliance.subprocessors.iter().cloned();
    let recipients =
        others.map(|SubprocessorConfig { name, purpose, location }| Recipient { name, purpose, location }).collect();
    let leaving = bundle::begin(*desk, &acts.house.store, request, name, recipients).await?;
    if !again {
        match desk.step(request.number, RequestStep::End, |_| {}).await {
            // Somebody else began to fetch it at the same time.
            Ok(_) | Err(SubjectError::WrongStep(RequestState::Done)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(leaving)
}

/// The tenant, unless it is made or destroyed just now.
async fn reachable(acts: &HouseActs, tenant: &TenantRef) -> Result<FoundTenant, ActError> {
    let found = find(acts, tenant).await?;
    match access(found.entry.standing.state, Operation::DataSubject) {
        Access::Yes | Access::Deferred => Ok(found),
        Access::If(_, no) | Access::No(no) => Err(ActError::StateRefuses(no)),
    }
}

/// A request is of one person: a name that may mean another is refused.
pub(super) async fn one_meant(found: &FoundTenant, name: &SubjectName) -> Result<(), ActError> {
    let meant = contacts::kinds_meant(&found.tenancy, found.entry.standing.id, name).await.map_err(subject_error)?;
    if meant.is_empty() {
        return Ok(());
    }
    Err(ActError::AmbiguousSubject(meant.into_iter().map(contacts::ContactKind::as_str).collect()))
}

pub(super) fn desk<'a>(found: &'a FoundTenant, by: &'a Actor) -> Desk<'a> {
    Desk { tenancy: &found.tenancy, actor: by, tenant: found.entry.standing.id, because: None }
}

/// Keeps why, under the tenant's keys; what the log gets of it.
async fn kept(found: &FoundTenant, reason: &str) -> Result<Hash, ActError> {
    let kept = found.tenancy.directory.keep_words(found.entry.standing.id, reason).await;
    Ok(Hash(kept.map_err(|error| subject_error(error.into()))?))
}

/// What carrying a request out would do, as counted now.
async fn plan(found: &FoundTenant, by: &Actor, number: u64) -> Result<wire::Plan, ActError> {
    let desk = desk(found, by);
    let request = desk.request(number).await.map_err(subject_error)?;
    let foreseen = desk.foresee(&request).await.map_err(subject_error)?.unwrap_or_default();
    let mut steps = match request.kind {
        RequestKind::Access => vec!["log it; hand out a copy of everything that is stored".to_owned()],
        RequestKind::Rectify => vec!["name the object and its content with `dsr rectify`".to_owned()],
        RequestKind::Restrict => vec!["log it; from the next read on, nothing of it is given to a service".to_owned()],
        RequestKind::Erase => vec![
            "log it, and note that it is under way".to_owned(),
            "destroy the subject's key: from then on nothing of it can be read".to_owned(),
            "remove its objects and uploads, rows first, then blobs".to_owned(),
            "forget its name".to_owned(),
        ],
    };
    if request.kind == RequestKind::Erase && request.block {
        steps.insert(1, "refuse to store it again".to_owned());
    }
    if matches!(request.kind, RequestKind::Access | RequestKind::Restrict) {
        // Holds are in nobody's way here: a copy has what they keep, too.
        let counts = counted([("objects", foreseen.stored()), ("uploads", foreseen.uploads)]);
        return Ok(wire::Plan { steps, counts, ..wire::Plan::default() });
    }
    steps.extend(foreseen.matters.iter().map(|matter| waits_for(matter)));
    Ok(foretold(steps, &foreseen))
}

/// What an erasure would do, as a plan.
pub(super) fn foretold(steps: Vec<String>, foreseen: &Foreseen) -> wire::Plan {
    let holds = foreseen.matters.iter().cloned().collect();
    wire::Plan { steps, counts: counts_of(foreseen), holds, ..wire::Plan::default() }
}

pub(super) fn waits_for(matter: &str) -> String {
    format!("legal hold {matter} keeps some: deferred until it is released")
}

/// What an erasure would touch, as a plan tells it.
fn counts_of(foreseen: &Foreseen) -> BTreeMap<String, u64> {
    counted([
        ("objects", foreseen.objects),
        ("versions", foreseen.versions),
        ("batches", foreseen.batches),
        ("bytes", foreseen.bytes),
        // Tenants share nothing in this release, so there is no copy.
        ("collaboration_copies", 0),
        ("kpi_hours", foreseen.windows.len() as u64),
        ("uploads", foreseen.uploads),
        ("deferred", foreseen.held),
    ])
}

fn counted<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

pub(super) async fn certificate(
    tenancy: &Tenancy,
    tenant: TenantId,
    request: &SubjectRequest,
    (erased, rewritten): (Option<&Erased>, &[(VersionId, Option<VersionId>)]),
) -> Result<Signed, ActError> {
    let keys = tenancy.directory.key_service().clone();
    let now = tenancy.clock.now();
    let geo = tenancy.directory.geo();
    let served = geo.regions.iter().filter(|region| tenancy.regions.contains_key(region.id));
    let shredded = erased.map(|erased| &erased.shredded);
    let mut certificate = SubjectCertificate {
        schema: SubjectCertificate::SCHEMA.to_owned(),
        geo: geo.id.to_owned(),
        tenant: tenant.to_string(),
        dsr: format!("DSR-{}", request.number),
        subject: erased.map(|erased| erased.subject.to_string()),
        opened_at: request.opened.to_string(),
        inaccessible_at: erased.map(|erased| erased.inaccessible.to_string()),
        objects: erased.map_or(0, |erased| erased.versions),
        uploads: erased.map_or(0, |erased| erased.uploads),
        blobs: erased.map_or(0, |erased| erased.blobs),
        rewritten: rewritten
            .iter()
            .map(|(from, to)| of_subject::Rewritten { from: from.to_string(), to: to.map(|to| to.to_string()) })
            .collect(),
        destruction: shredded
            .map(|s| Destruction::judged(s.files_scanned, s.salts_found, s.overwritten_in_place, &s.file_system)),
        blocked: request.block,
        regions: served.map(|region| region.id.to_owned()).collect(),
        backups: Backups::default(),
        audit: erased.map(|erased| AuditEntry { index: erased.receipt.index, hash: erased.receipt.hash }),
        not_covered: Certificate::not_covered(),
        issued_at: now.cc_lo.to_string(),
    };
    let signed = tokio::task::spawn_blocking(move || {
        let known = keys.backups()?;
        let oldest = known.iter().map(|backup| backup.at).min();
        let oldest_at = oldest.map(|at| crate::model::time::Millis::from_seconds(at).to_string());
        certificate.backups = Backups { known: known.len() as u64, oldest_at };
        certificate.sign(&keys)
    });
    let signed = signed.await.map_err(|_| ActError::Broken)?;
    signed.map_err(|error| subject_error(error.into()))
}

pub(super) fn asked(new: NewRequest) -> Asked {
    let kind = match new.kind {
        Kind::Access => RequestKind::Access,
        Kind::Rectify => RequestKind::Rectify,
        Kind::Erase => RequestKind::Erase,
        Kind::Restrict => RequestKind::Restrict,
    };
    Asked { kind, name: new.subject, basis: new.basis, block: new.block }
}

pub(super) fn shown(request: &SubjectRequest) -> Request {
    Request {
        id: format!("DSR-{}", request.number),
        kind: match request.kind {
            RequestKind::Access => Kind::Access,
            RequestKind::Rectify => Kind::Rectify,
            RequestKind::Erase => Kind::Erase,
            RequestKind::Restrict => Kind::Restrict,
        },
        state: request.state.as_str().to_owned(),
        basis: request.basis.clone(),
        opened_at: wire::Time(request.opened),
        due_at: wire::Time(request.due),
        changed_at: wire::Time(request.changed),
        in_force: request.in_force,
        objects: request.objects,
        versions: request.versions.unwrap_or(request.objects),
        batches: request.rewritten.as_ref().map_or(0, |rewritten| rewritten.len() as u64),
        kpi_hours: request.windows.unwrap_or_default(),
        uploads: request.uploads,
        deferred: request.kept,
        holds: request.matters.clone(),
        subject: request.subject.map(|subject| subject.to_string()),
        certificate: request.certificate.as_ref().and_then(|text| serde_json::from_str(text).ok()),
        link: request.link.as_ref().map(|link| LinkShown {
            expires_at: wire::Time(link.until),
            downloads_begun: link.begun,
            spent_at: link.spent.map(wire::Time),
        }),
    }
}
