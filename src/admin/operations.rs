//! Long work, started by one request and followed by others: a list of what runs and what ended lately.
//!
//! Called by whoever implements [`Acts`](super::acts::Acts). Promises that there is at most one running operation of
//! one kind on one subject, and a bounded memory of ended ones. The list is of this process only: work that survives a
//! restart keeps its own state, and is found again by starting it once more.

use super::error::ActError;
use super::wire::{Operation, OperationResult, OperationState, Time};
use crate::model::ids::OperationId;
use crate::model::time::Millis;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// How many operations are remembered; running ones are never forgotten.
const REMEMBERED_MAX: usize = 256;

/// The operations of this process; clones are the same list.
#[derive(Clone, Default)]
pub struct Operations(Arc<Mutex<VecDeque<Operation>>>);

/// Where running work says how far it is.
#[derive(Clone)]
pub struct Progress {
    list: Operations,
    id: String,
    phase_began: Arc<Mutex<Instant>>,
}

impl Operations {
    /// Starts `work` in a task of its own and answers at once; work of this kind on this subject that runs already is
    /// answered instead of started twice. `subject` is opaque: a geo's or a tenant's id.
    pub fn start<F, W>(&self, kind: &str, subject: &str, now: Millis, work: F) -> Operation
    where
        F: FnOnce(Progress) -> W,
        W: Future<Output = Result<OperationResult, ActError>> + Send + 'static,
    {
        let operation = Operation {
            id: OperationId::random().to_string(),
            kind: kind.into(),
            subject: subject.into(),
            state: OperationState::Running,
            phase: String::new(),
            done: 0,
            total: 0,
            started_at: Time(now),
            per_s: None,
            eta_s: None,
            result: None,
            problem: None,
        };
        {
            let mut list = self.0.lock();
            let same = |o: &&Operation| o.state == OperationState::Running && o.kind == kind && o.subject == subject;
            if let Some(running) = list.iter().find(same) {
                return running.clone();
            }
            forget(&mut list);
            list.push_back(operation.clone());
        }
        let phase_began = Arc::new(Mutex::new(Instant::now()));
        let progress = Progress { list: self.clone(), id: operation.id.clone(), phase_began };
        let work = tokio::spawn(work(progress.clone()));
        tokio::spawn(async move { progress.end(work.await.unwrap_or(Err(ActError::Broken))) });
        operation
    }

    /// One operation.
    pub fn find(&self, id: &OperationId) -> Result<Operation, ActError> {
        let id = id.to_string();
        self.0.lock().iter().find(|o| o.id == id).cloned().ok_or(ActError::NoSuchOperation)
    }

    /// The running operation of this kind on this subject.
    pub fn running(&self, kind: &str, subject: &str) -> Option<Operation> {
        let list = self.0.lock();
        list.iter().find(|o| o.state == OperationState::Running && o.kind == kind && o.subject == subject).cloned()
    }
}

impl Progress {
    /// What the work is at, and how many steps there are; steps already done in an earlier phase count again from 0.
    pub fn phase(&self, phase: &str, total: u64) {
        *self.phase_began.lock() = Instant::now();
        self.change(|o| {
            phase.clone_into(&mut o.phase);
            (o.done, o.total, o.per_s, o.eta_s) = (0, total, None, None);
        });
    }

    /// Steps done in this phase so far.
    pub fn done(&self, done: u64) {
        let took = self.phase_began.lock().elapsed().as_secs_f64();
        self.change(|o| {
            o.done = done;
            // Below a tenth of a second a speed says nothing.
            let per_s = (took >= 0.1).then(|| done as f64 / took);
            o.per_s = per_s.map(|per_s| per_s.round() as u64);
            let left = o.total.saturating_sub(done) as f64;
            o.eta_s = per_s.filter(|per_s| *per_s > 0.0 && o.total > 0).map(|per_s| (left / per_s).ceil() as u64);
        });
    }

    fn end(&self, outcome: Result<OperationResult, ActError>) {
        self.change(|o| match outcome {
            Ok(result) => (o.state, o.result, o.eta_s) = (OperationState::Done, Some(result), None),
            Err(error) => (o.state, o.problem, o.eta_s) = (OperationState::Failed, Some(error.problem()), None),
        });
    }

    fn change(&self, f: impl FnOnce(&mut Operation)) {
        if let Some(operation) = self.list.0.lock().iter_mut().find(|o| o.id == self.id) {
            f(operation);
        }
    }
}

fn forget(list: &mut VecDeque<Operation>) {
    if list.len() >= REMEMBERED_MAX
        && let Some(oldest) = list.iter().position(|o| o.state != OperationState::Running)
    {
        list.remove(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire::SweepReport;

    async fn ended(list: &Operations, id: &str) -> Operation {
        loop {
            let operation = list.find(&id.parse().unwrap()).unwrap();
            if operation.state != OperationState::Running {
                return operation;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_same_work_runs_once_and_tells_how_far_it_is() {
        let list = Operations::default();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let (at, reached) = tokio::sync::oneshot::channel::<()>();
        let first = list.start("sweep", "europe", Millis(0), |progress| async move {
            progress.phase("removing", 10);
            progress.done(4);
            at.send(()).unwrap();
            wait.await.unwrap();
            Ok(OperationResult::Sweep(SweepReport { orphans_removed: 7, ..SweepReport::default() }))
        });
        reached.await.unwrap();
        let again = list.start("sweep", "europe", Millis(1), |_| async { unreachable!("one runs already") });
        assert_eq!((&again.id, again.done, again.total, again.phase.as_str()), (&first.id, 4, 10, "removing"));
        assert!(list.running("sweep", "japan").is_none());
        go.send(()).unwrap();
        let Some(OperationResult::Sweep(report)) = ended(&list, &first.id).await.result else { panic!() };
        assert_eq!(report.orphans_removed, 7);
    }

    #[tokio::test]
    async fn a_panic_is_a_failed_operation() {
        let list = Operations::default();
        let started = list.start("sweep", "europe", Millis(0), |_| async { panic!("in the work") });
        let operation = ended(&list, &started.id).await;
        assert_eq!(operation.problem.unwrap().code, "InternalError");
    }

    #[tokio::test]
    async fn ended_operations_are_forgotten_in_order() {
        let list = Operations::default();
        let first = list.start("sweep", "0", Millis(0), |_| async { Err(ActError::Busy) });
        ended(&list, &first.id).await;
        for n in 1..=REMEMBERED_MAX {
            let next = list.start("sweep", &n.to_string(), Millis(0), |_| async { Err(ActError::Busy) });
            ended(&list, &next.id).await;
        }
        assert_eq!(list.find(&first.id.parse().unwrap()), Err(ActError::NoSuchOperation));
    }
}
