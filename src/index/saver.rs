//! Saves a region's anchor beside its writer: on a thread of its own, because whoever keeps anchors may be another
//! process that is slow, away, or hangs, and writes should notice none of that before they have to.
//!
//! Asking never waits. What is asked for last is saved; what was asked for before it need not be.

use super::anchor::{Anchor, AnchorStore};
use crate::model::atlas::Region;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Saver(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The newest one that is known to be saved.
    saved: Anchor,
    asked: Option<Anchor>,
    is_saving: bool,
    /// Somebody waited for the saving that is under way, and in vain.
    is_stuck: bool,
    /// The last attempt failed; it was said.
    is_failing: bool,
    is_over: bool,
}

impl Saver {
    /// For `region`, whose anchor was last saved as `saved`.
    pub(crate) fn start(
        region: &'static Region,
        anchors: Arc<dyn AnchorStore>,
        saved: Anchor,
    ) -> Result<Self, std::io::Error> {
        let state = State { saved, asked: None, is_saving: false, is_stuck: false, is_failing: false, is_over: false };
        let inner = Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() });
        let work = inner.clone();
        let name = format!("anchor-{}", region.id);
        std::thread::Builder::new().name(name).spawn(move || work.run(region, &*anchors))?;
        Ok(Self(inner))
    }

    /// The newest anchor that is known to be saved.
    pub(crate) fn saved(&self) -> Anchor {
        self.0.state.lock().saved
    }

    /// Has `anchor` saved soon.
    pub(crate) fn ask(&self, anchor: Anchor) {
        let mut state = self.0.state.lock();
        if state.saved != anchor {
            state.asked = Some(anchor);
            self.0.changed.notify_all();
        }
    }

    /// Waits, `patience` at most, until what was asked for was saved or could not be. A saving that somebody waited for
    /// in vain is not waited for again.
    pub(crate) fn settle(&self, patience: Duration) {
        let mut state = self.0.state.lock();
        if state.is_stuck {
            return;
        }
        let is_busy = |state: &mut State| state.asked.is_some() || state.is_saving;
        let waited = self.0.changed.wait_while_for(&mut state, is_busy, patience);
        state.is_stuck = waited.timed_out() && state.is_saving;
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.0.state.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Inner {
    fn run(&self, region: &'static Region, anchors: &dyn AnchorStore) {
        let mut state = self.state.lock();
        loop {
            self.changed.wait_while(&mut state, |state| state.asked.is_none() && !state.is_over);
            // Whoever wanted its last anchor saved has waited for that.
            let Some(anchor) = state.asked.take().filter(|_| !state.is_over) else { return };
            state.is_saving = true;
            let saved = parking_lot::MutexGuard::unlocked(&mut state, || anchors.save(region, anchor));
            (state.is_saving, state.is_stuck) = (false, false);
            let was_failing = std::mem::replace(&mut state.is_failing, saved.is_err());
            match saved {
                Ok(()) => {
                    state.saved = anchor;
                    if was_failing {
                        tracing::info!(region = region.id, "the index anchor is saved again");
                    }
                }
                Err(error) if !was_failing => {
                    tracing::warn!(region = region.id, %error, "the index anchor was not saved; tried again");
                }
                Err(_) => {}
            }
            self.changed.notify_all();
        }
    }
}
