//! Data subjects' requests, from the day they are entered to their answer. The system decides nothing: every step is an
//! administrator's, and every step is logged before it is taken.
//!
//! An erasure runs in this order: the request is RUNNING → who asks is not to be stored again (ledger) → `erase` → the
//! certificate and DONE, in one row. A crash in between leaves it RUNNING, and the next start goes on: each part does
//! nothing the second time. A restriction is one act in the ledger; it is looked at by every read.

use super::SubjectError;
use super::erase::{self, Foreseen, InPart};
use crate::audit::{Actor, Event as Record, Hash};
use crate::directory::{NameToken, SubjectEntry, SubjectRequest};
use crate::model::dsr::{ANSWER_S, RequestKind, RequestState, RequestStep};
use crate::model::ids::{TenantId, VersionId};
use crate::model::names::SubjectName;
use crate::model::standing::Word;
use crate::tenancy::Tenancy;
use crate::tenant::holds::{Deferred, DeferredKind, Said};

/// Requests read at once.
const PAGE: usize = 256;

/// What is entered.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What for.
    pub kind: RequestKind,
    /// By whom.
    pub name: SubjectName,
    /// On which ground.
    pub basis: String,
    /// Of an erasure: whether they are not to be stored again.
    pub block: bool,
}

/// One request of a tenant, and who carries it on.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The acts on the tenant's geo.
    pub tenancy: &'a Tenancy,
    /// Who asks for the step.
    pub actor: &'a Actor,
    /// Whose request.
    pub tenant: TenantId,
    /// The salted hash of why, for the log; the words lie under the tenant's keys.
    pub because: Option<Hash>,
}

impl Desk<'_> {
    /// Enters a request: logged, then kept.
    pub async fn open(&self, asked: &Asked) -> Result<SubjectRequest, SubjectError> {
        let directory = &self.tenancy.directory;
        let token = directory.name_token(self.tenant, &asked.name).await?;
        let _one_at_a_time = directory.requests_lock().lock().await;
        let number = directory.next_request(self.tenant).await?;
        let name = Some(directory.seal_name(self.tenant, number, &asked.name).await?);
        let now = self.tenancy.clock.now().wall;
        let entry = Record::DsrOpened {
            tenant: self.tenant,
            dsr: number,
            kind: asked.kind.as_str().to_owned(),
            subject: hex::encode(token),
            basis: Hash::of(&[asked.basis.as_bytes()]),
        };
        self.tenancy.audit.append(self.actor, entry).await?;
        let request = SubjectRequest {
            number,
            kind: asked.kind,
            state: RequestState::Open,
            basis: asked.basis.clone(),
            token,
            opened: now,
            due: now.plus_seconds(ANSWER_S),
            changed: now,
            name,
            block: asked.block && asked.kind == RequestKind::Erase,
            in_force: false,
            objects: 0,
            uploads: 0,
            kept: 0,
            matters: Vec::new(),
            subject: None,
            certificate: None,
            correction: None,
            issued: None,
            rewritten: None,
            versions: None,
            windows: None,
            link: None,
        };
        directory.keep_request(self.tenant, &request).await?;
        Ok(request)
    }

    /// Takes a step of a request; `change` is made in the same commit. Errors: `NoSuchRequest`, `WrongStep`.
    pub async fn step(
        &self,
        number: u64,
        step: RequestStep,
        change: impl FnOnce(&mut SubjectRequest) + Send,
    ) -> Result<SubjectRequest, SubjectError> {
        self.step_if(number, step, |_| true, change).await
    }

    /// The same, only if the request is as it has to be. Errors: `WrongStep` when it is not.
    pub(super) async fn step_if(
        &self,
        number: u64,
        step: RequestStep,
        may: impl FnOnce(&SubjectRequest) -> bool + Send,
        change: impl FnOnce(&mut SubjectRequest) + Send,
    ) -> Result<SubjectRequest, SubjectError> {
        let directory = &self.tenancy.directory;
        let _one_at_a_time = directory.requests_lock().lock().await;
        let mut request = self.request(number).await?;
        let next = request.state.after(step).filter(|_| may(&request)).ok_or(SubjectError::WrongStep(request.state))?;
        if next != request.state {
            self.log(&request, next).await?;
        }
        (request.state, request.changed) = (next, self.tenancy.clock.now().wall);
        change(&mut request);
        directory.keep_request(self.tenant, &request).await?;
        Ok(request)
    }

    /// A request as it is. Errors: `NoSuchRequest`.
    pub async fn request(&self, number: u64) -> Result<SubjectRequest, SubjectError> {
        let found = self.tenancy.directory.request(self.tenant, number).await?;
        found.ok_or(SubjectError::NoSuchRequest)
    }

    /// Who made a request that has not ended. Errors: `NoSuchRequest` when that is known no more.
    pub async fn name(&self, request: &SubjectRequest) -> Result<SubjectName, SubjectError> {
        let name = self.tenancy.directory.open_name(self.tenant, request).await?;
        name.ok_or(SubjectError::WrongStep(request.state))
    }

    async fn log(&self, request: &SubjectRequest, next: RequestState) -> Result<(), SubjectError> {
        let state = next.as_str().to_owned();
        let record = Record::DsrMoved { tenant: self.tenant, dsr: request.number, state, reason: self.because };
        self.tenancy.audit.append(self.actor, record).await?;
        Ok(())
    }

    /// What carrying out an erasure would do to whoever asked. `None`: nothing is stored of them.
    pub async fn foresee(&self, request: &SubjectRequest) -> Result<Option<Foreseen>, SubjectError> {
        let name = self.name(request).await?;
        let foreseen = erase::foresee(self.tenancy, self.tenant, &name).await?;
        Ok(foreseen.map(|(_, foreseen)| foreseen))
    }

    /// Of an erasure that is to refuse who asks from now on: in the ledger before anything is destroyed.
    pub async fn block(&self, request: &SubjectRequest) -> Result<(), SubjectError> {
        if request.block { self.tell(request.token, request.number, Word::Block).await } else { Ok(()) }
    }

    /// What has to stand before a RUNNING request is answered for: an erasure is on record, and whom it is of is known to
    /// the request. Answers it as it is then.
    pub async fn prepare(&self, request: &SubjectRequest) -> Result<SubjectRequest, SubjectError> {
        if request.kind != RequestKind::Erase || request.subject.is_some() {
            return Ok(request.clone());
        }
        let name = self.name(request).await?;
        let Some(entry) = self.tenancy.directory.subject(self.tenant, &name).await? else {
            return Ok(request.clone());
        };
        let known = |request: &mut SubjectRequest| request.subject = Some(entry.id);
        let request = self.step(request.number, RequestStep::Begin, known).await?;
        if !entry.erasing {
            erase::begin(self.tenancy, self.actor, self.tenant, &name, entry.id).await?;
        }
        Ok(request)
    }

    /// Who asks and what is known of them. `None`: nothing is.
    pub async fn known(&self, request: &SubjectRequest) -> Result<Option<(SubjectName, SubjectEntry)>, SubjectError> {
        let name = self.name(request).await?;
        Ok(self.tenancy.directory.subject(self.tenant, &name).await?.map(|entry| (name, entry)))
    }

    /// Removes what no hold keeps of who asks.
    pub async fn erase_in_part(
        &self,
        request: &SubjectRequest,
        watch: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<InPart, SubjectError> {
        let name = self.name(request).await?;
        let Some(entry) = self.tenancy.directory.subject(self.tenant, &name).await? else {
            return Ok(InPart::default());
        };
        erase::erase_in_part(self.tenancy, self.actor, self.tenant, (&name, entry.id), watch).await
    }

    /// Puts the rest of a RUNNING request off until the holds that keep it are released.
    pub async fn defer(
        &self,
        request: &SubjectRequest,
        foreseen: &Foreseen,
        gone: InPart,
    ) -> Result<SubjectRequest, SubjectError> {
        let matters: Vec<_> = foreseen.matters.iter().cloned().collect();
        let kind = match request.kind {
            RequestKind::Erase => Some(DeferredKind::EraseSubject),
            RequestKind::Rectify => Some(DeferredKind::RectifyObject),
            RequestKind::Access | RequestKind::Restrict => None,
        };
        if let Some(kind) = kind {
            let asked = Said { by: self.actor.as_str().to_owned(), at: self.tenancy.clock.now().wall };
            let label = format!("DSR-{}", request.number);
            let record = Record::ActDeferred {
                tenant: self.tenant,
                act: kind.as_str().to_owned(),
                label: label.clone(),
                objects: foreseen.held,
                holds: matters.len() as u64,
            };
            self.tenancy.audit.append(self.actor, record).await?;
            // The detail is the request's own.
            let act =
                Deferred { kind, label, detail: Vec::new(), matters: matters.clone(), objects: foreseen.held, asked };
            self.tenancy.directory.defer(self.tenant, &act).await?;
        }
        let put_off = |request: &mut SubjectRequest| {
            (request.kept, request.matters) = (foreseen.held, matters);
            request.deal_with(gone.objects, gone.versions, gone.windows.len());
            request.uploads += gone.uploads;
        };
        self.step(request.number, RequestStep::Defer, put_off).await
    }

    /// Notes which batches are written anew for a request, and which are not after all.
    pub(super) async fn note_rewritten(
        &self,
        number: u64,
        written: Vec<(VersionId, Option<VersionId>)>,
        refused: &[VersionId],
    ) -> Result<(), SubjectError> {
        let directory = &self.tenancy.directory;
        let _one_at_a_time = directory.requests_lock().lock().await;
        let mut request = self.request(number).await?;
        let known = request.rewritten.take().unwrap_or_default().into_iter();
        let is_old = |from: &VersionId| refused.contains(from) || written.iter().any(|(anew, _)| anew == from);
        let known: Vec<_> = known.filter(|(from, _)| !is_old(from)).collect();
        request.rewritten = Some(known.into_iter().chain(written).collect());
        Ok(directory.keep_request(self.tenant, &request).await?)
    }

    /// Logs that a certificate was issued; answers the entry's index.
    pub async fn certified(&self, number: u64, certificate: Hash) -> Result<u64, SubjectError> {
        let record = Record::SubjectCertificateIssued { tenant: self.tenant, dsr: number, certificate };
        Ok(self.tenancy.audit.append(self.actor, record).await?.index)
    }

    /// Forgets the name in every request of whoever a token stands for.
    pub async fn forget_names(&self, token: NameToken) -> Result<(), SubjectError> {
        let directory = &self.tenancy.directory;
        let _one_at_a_time = directory.requests_lock().lock().await;
        let mut after = 0;
        loop {
            let page = directory.requests(self.tenant, after, PAGE).await?;
            for request in page.iter().filter(|request| request.token == token && request.name.is_some()) {
                directory.keep_request(self.tenant, &SubjectRequest { name: None, ..request.clone() }).await?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.number,
                _ => return Ok(()),
            }
        }
    }

    /// Has what is stored of somebody not be used, or takes what a request put in force back.
    pub async fn tell(&self, token: NameToken, number: u64, word: Word) -> Result<(), SubjectError> {
        let directory = &self.tenancy.directory;
        if directory.standing_of(self.tenant, &token).await?.has(word) {
            return Ok(());
        }
        let record = Record::SubjectStanding {
            tenant: self.tenant,
            dsr: number,
            subject: hex::encode(token),
            act: word.as_str().to_owned(),
            reason: self.because,
        };
        self.tenancy.audit.append(self.actor, record).await?;
        directory.tell(self.tenant, token, word, self.tenancy.clock.now().wall).await?;
        drop(directory.pause_commits().await);
        Ok(())
    }

    /// Takes back what a request put in force: a restriction ends, or somebody who was erased may be stored again.
    /// Errors: `WrongStep` when nothing of it is in force.
    pub async fn lift(&self, number: u64) -> Result<SubjectRequest, SubjectError> {
        let directory = &self.tenancy.directory;
        let _one_at_a_time = directory.requests_lock().lock().await;
        let mut request = self.request(number).await?;
        let word = match request.kind {
            RequestKind::Restrict => Word::Lift,
            RequestKind::Erase => Word::Unblock,
            RequestKind::Access | RequestKind::Rectify => return Err(SubjectError::WrongStep(request.state)),
        };
        if !request.in_force {
            return Err(SubjectError::WrongStep(request.state));
        }
        self.tell(request.token, number, word).await?;
        (request.in_force, request.changed) = (false, self.tenancy.clock.now().wall);
        directory.keep_request(self.tenant, &request).await?;
        Ok(request)
    }
}
