//! A POST repeated under one `Idempotency-Key` acts once: the first answer is remembered for a while and given again.
//!
//! Invariants:
//! - an answer is given again only to the same caller, for the same request, byte for byte;
//! - only success is remembered: a refusal changed nothing, so asking again is harmless and may go better;
//! - at most [`REMEMBERED_MAX`] answers for at most [`REMEMBERED_FOR`]; their bodies may hold a credential's secret,
//!   so they are wiped when forgotten.

use super::error::ActError;
use axum::http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long an answer is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// How many answers are remembered.
const REMEMBERED_MAX: usize = 1024;

/// What was answered.
#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Arc<Zeroizing<Vec<u8>>>,
}

/// What to do with a request that carries a key.
pub(super) enum Seen {
    /// It is the first: act, then [`Slot::remember`] or drop the slot.
    First(Slot),
    /// It was answered before.
    Again(Remembered),
}

struct Entry {
    request: [u8; 32],
    since: Instant,
    answer: Option<Remembered>,
}

/// The caller and the `Idempotency-Key` it sent.
type EntryId = (String, String);

/// The answers remembered.
#[derive(Clone, Default)]
pub(super) struct Replay(Arc<Mutex<HashMap<EntryId, Entry>>>);

impl Replay {
    /// `caller` and `sent` name the entry, `request` is a digest of method, path, query and body.
    pub(super) fn enter(&self, caller: &str, sent: &str, request: [u8; 32]) -> Result<Seen, ActError> {
        self.enter_at(Instant::now(), caller, sent, request)
    }

    fn enter_at(&self, now: Instant, caller: &str, sent: &str, request: [u8; 32]) -> Result<Seen, ActError> {
        let mut entries = self.0.lock();
        entries.retain(|_, e| e.answer.is_none() || now.duration_since(e.since) < REMEMBERED_FOR);
        let id = (caller.to_owned(), sent.to_owned());
        match entries.get(&id) {
            Some(entry) if entry.request != request => Err(ActError::IdempotencyReused),
            Some(Entry { answer: Some(answer), .. }) => Ok(Seen::Again(answer.clone())),
            Some(Entry { answer: None, .. }) => Err(ActError::IdempotencyInFlight),
            None => {
                make_room(&mut entries);
                entries.insert(id.clone(), Entry { request, since: now, answer: None });
                Ok(Seen::First(Slot { replay: self.clone(), id: Some(id) }))
            }
        }
    }
}

fn make_room(entries: &mut HashMap<EntryId, Entry>) {
    if entries.len() < REMEMBERED_MAX {
        return;
    }
    let oldest = entries.iter().filter(|(_, e)| e.answer.is_some()).min_by_key(|(_, e)| e.since);
    if let Some(id) = oldest.map(|(id, _)| id.clone()) {
        entries.remove(&id);
    }
}

/// The right to answer under a key. Dropped without an answer, the key is free again.
pub(super) struct Slot {
    replay: Replay,
    id: Option<EntryId>,
}

impl Slot {
    /// Remembers the answer.
    pub(super) fn remember(mut self, answer: Remembered) {
        let id = self.id.take().expect("a slot remembers once: it is consumed");
        if let Some(entry) = self.replay.0.lock().get_mut(&id) {
            entry.answer = Some(answer);
            entry.since = Instant::now();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.replay.0.lock().remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Remembered {
        let body = Arc::new(Zeroizing::new(text.as_bytes().to_vec()));
        Remembered { status: StatusCode::OK, headers: HeaderMap::new(), body }
    }

    fn first(seen: Result<Seen, ActError>) -> Slot {
        match seen {
            Ok(Seen::First(slot)) => slot,
            _ => panic!("seen before"),
        }
    }

    #[test]
    fn an_answer_is_given_again_to_its_own_caller_for_a_while() {
        let replay = Replay::default();
        let now = Instant::now();
        first(replay.enter_at(now, "admin", "k", [1; 32])).remember(answer("once"));
        let Ok(Seen::Again(again)) = replay.enter_at(now, "admin", "k", [1; 32]) else { panic!("forgotten") };
        assert_eq!(again.body.as_slice(), b"once");
        first(replay.enter_at(now, "another", "k", [1; 32]));
        first(replay.enter_at(now + REMEMBERED_FOR + Duration::from_secs(1), "admin", "k", [1; 32]));
    }

    #[test]
    fn a_request_under_way_is_not_answered_twice() {
        let replay = Replay::default();
        let slot = first(replay.enter("admin", "k", [1; 32]));
        assert_eq!(replay.enter("admin", "k", [1; 32]).err(), Some(ActError::IdempotencyInFlight));
        drop(slot);
        first(replay.enter("admin", "k", [1; 32]));
    }

    #[test]
    fn the_oldest_answer_makes_room() {
        let replay = Replay::default();
        for n in 0..=REMEMBERED_MAX {
            first(replay.enter("admin", &n.to_string(), [1; 32])).remember(answer("x"));
        }
        assert_eq!(replay.0.lock().len(), REMEMBERED_MAX);
        first(replay.enter("admin", "0", [1; 32]));
    }
}
