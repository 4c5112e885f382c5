//! The guard: time, retries, circuit, threads, on a time of its own.

use super::Watched;
use crate::context::ObjectContext;
use crate::provider::{MasterKeys, MasterVersion, RootSecret, StateMac, Witness};
use crate::record::{KeyName, ProviderKind, RootFields};
use crate::{CallOutcome, GuardLimits, Guarded, ProviderError, ProviderTime};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Time that passes only when somebody waits.
#[derive(Default)]
struct Still(Mutex<Duration>);

impl ProviderTime for Still {
    fn elapsed(&self) -> Duration {
        *self.0.lock()
    }
    fn wall_seconds(&self) -> i64 {
        0
    }
    fn pause(&self, duration: Duration) {
        *self.0.lock() += duration;
    }
}

/// Answers as it was told, then well; or waits until it is let go, or panics.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<ProviderError>>,
    asked: Mutex<u32>,
    held: Mutex<Option<mpsc::Receiver<()>>>,
    panics: Mutex<bool>,
}

impl MasterKeys for Scripted {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Local
    }
    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        Ok(Vec::new())
    }
    fn wrap(&self, _: &RootFields, _: &RootSecret, _: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        Ok(Vec::new())
    }
    fn unwrap(&self, _: &RootFields, _: &[u8], _: &ObjectContext) -> Result<RootSecret, ProviderError> {
        Err(ProviderError::Wrong)
    }
    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        *self.asked.lock() += 1;
        assert!(!*self.panics.lock(), "as told");
        if let Some(held) = &*self.held.lock() {
            let _ = held.recv();
        }
        self.answers.lock().pop_front().map_or(Ok(KeyName { id: [1; 16], version }), Err)
    }
    fn set_enabled(&self, _: u32, _: bool) -> Result<(), ProviderError> {
        Ok(())
    }
    fn destroy(&self, _: u32) -> Result<String, ProviderError> {
        Ok(String::new())
    }
    fn state_mac(&self) -> StateMac {
        Box::new(|_| [0; 32])
    }
    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        Ok(None)
    }
    fn advance(&self, _: &Witness) -> Result<(), ProviderError> {
        Ok(())
    }
}

struct Case {
    inner: Arc<Scripted>,
    time: Arc<Still>,
    watch: Arc<Watched>,
    guarded: Guarded,
}

fn case(limits: GuardLimits) -> Case {
    let (inner, time, watch) = (Arc::<Scripted>::default(), Arc::<Still>::default(), Arc::<Watched>::default());
    let guarded = Guarded::new(inner.clone(), limits, time.clone(), watch.clone());
    Case { inner, time, watch, guarded }
}

impl Case {
    fn will(&self, answers: &[ProviderError]) {
        self.inner.answers.lock().extend(answers.iter().cloned());
    }

    fn asked(&self) -> u32 {
        std::mem::take(&mut *self.inner.asked.lock())
    }
}

const GONE: ProviderError = ProviderError::Unreachable;

#[test]
fn only_an_outage_is_tried_again_and_not_for_ever() {
    let case = case(GuardLimits::default());
    case.will(&[GONE, GONE]);
    assert!(case.guarded.rotate_to(2).is_ok() && case.asked() == 3);
    let paused = case.time.elapsed();
    assert!(paused <= Duration::from_millis(300), "at most 100 ms and 200 ms: {paused:?}");
    case.will(&[GONE, GONE, GONE, GONE]);
    assert_eq!((case.guarded.rotate_to(2), case.asked()), (Err(GONE), 3));
    case.inner.answers.lock().clear();
    for answer in [ProviderError::Refused, ProviderError::Wrong] {
        case.will(std::slice::from_ref(&answer));
        assert_eq!((case.guarded.rotate_to(2), case.asked()), (Err(answer), 1));
    }
    let outcomes: Vec<_> = case.watch.calls.lock().iter().map(|(_, outcome)| *outcome).collect();
    use CallOutcome::{Done, Refused, Unreachable, Wrong};
    assert_eq!(outcomes, [Unreachable, Unreachable, Done, Unreachable, Unreachable, Unreachable, Refused, Wrong]);
}

#[test]
fn pauses_never_lead_past_the_end_of_the_call() {
    let limits = GuardLimits { attempts: 1000, pause: Duration::from_secs(60), ..GuardLimits::default() };
    let case = case(limits);
    case.will(&vec![GONE; 2000]);
    for _ in 0..3 {
        let before = case.time.elapsed();
        assert_eq!(case.guarded.rotate_to(2), Err(GONE));
        assert!(case.time.elapsed() - before <= limits.call);
    }
}

#[test]
fn the_circuit_opens_after_failures_in_a_row_and_one_answer_closes_it() {
    let limits = GuardLimits { attempts: 1, ..GuardLimits::default() };
    let case = case(limits);
    let call = || case.guarded.rotate_to(2);
    case.will(&vec![GONE; 4]);
    (0..4).for_each(|_| drop(call()));
    assert!(call().is_ok(), "four in a row are not five");
    for answer in [ProviderError::Refused, ProviderError::Wrong] {
        case.will(&[GONE, GONE, GONE, GONE, answer.clone(), answer, GONE]);
        (0..7).for_each(|_| drop(call()));
        assert!(call().is_ok(), "these are answers: the provider is well");
    }
    case.will(&vec![GONE; 5]);
    (0..5).for_each(|_| drop(call()));
    case.asked();
    assert_eq!((call(), case.asked()), (Err(GONE), 0), "open: not even asked");
    assert_eq!(case.watch.calls.lock().last().unwrap().1, CallOutcome::Held);
    case.time.pause(limits.open_for);
    case.will(&[GONE]);
    assert_eq!((call(), case.asked()), (Err(GONE), 1), "half open: one call finds out");
    assert_eq!((call(), case.asked()), (Err(GONE), 0), "open again");
    case.time.pause(limits.open_for);
    assert!(call().is_ok() && call().is_ok());
}

#[test]
fn a_provider_that_never_answers_costs_its_threads_and_no_more() {
    let limits = GuardLimits {
        call: Duration::from_millis(20),
        attempts: 1,
        failures_max: u32::MAX,
        threads_max: 3,
        ..GuardLimits::default()
    };
    let case = case(limits);
    let (release, held) = mpsc::channel::<()>();
    *case.inner.held.lock() = Some(held);
    for _ in 0..10 {
        assert_eq!(case.guarded.rotate_to(2), Err(GONE));
    }
    assert!(case.asked() <= 3, "no more threads than allowed");
    drop(release);
    assert!(super::softhsm::eventually(|| case.guarded.rotate_to(2).is_ok()), "they come back");
}

#[test]
fn a_provider_that_panics_costs_one_call() {
    let case = case(GuardLimits::default());
    *case.inner.panics.lock() = true;
    assert_eq!(case.guarded.rotate_to(2), Err(ProviderError::Wrong));
    *case.inner.panics.lock() = false;
    assert!(case.guarded.rotate_to(2).is_ok());
}
