//! What the key service tells those who hold leases, as it happens: a tenant's leases are void, or out of date.
//!
//! Holders ask by a long poll with the place up to which they know; the answer comes at once when there is more, else
//! when there is, else empty. A holder that the service cannot vouch for (it restarted, or the holder slept too long) is
//! told so and has every lease confirmed anew. Holders in the same process are told directly, before an act returns.

use crate::context::{Id, NO_ID};
use crate::leases::Leases;
use crate::material::random_array;
use minicbor::{Decode, Encode};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Weak;
use std::time::Duration;

/// Events remembered for holders that are behind.
const REMEMBERED: usize = 4096;
/// The longest a poll may wait, in milliseconds.
pub(crate) const WAIT_MS_MAX: u32 = 30_000;

/// What happened to the leases of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum RevocationKind {
    /// They are void at once: suspended, resumed, destroyed, or the provider refuses.
    #[n(0)]
    Void,
    /// There are newer versions: what was begun may end, whatever comes next asks anew.
    #[n(1)]
    Superseded,
    /// One data subject's key is void at once: erased.
    #[n(2)]
    Erased,
}

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Revocation {
    /// Whose leases.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: Id,
    /// What became of them.
    #[n(1)]
    pub kind: RevocationKind,
    /// The data subject, where it is about one; else zero.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub subject: Id,
}

/// How far a holder knows: which life of the service, and how many events of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode)]
pub struct Place {
    /// Random for each start of the service.
    #[n(0)]
    pub life: u64,
    /// Events so far.
    #[n(1)]
    pub seq: u64,
}

/// The answer to a poll.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Revocations {
    /// From where to ask next.
    #[n(0)]
    pub place: Place,
    /// What happened since, oldest first.
    #[n(1)]
    pub events: Vec<Revocation>,
    /// False when the service cannot tell what the holder missed.
    #[n(2)]
    pub complete: bool,
    /// Calls to the provider since the service started.
    #[n(3)]
    pub provider: crate::calls::ProviderCalls,
}

/// The events of one service's life.
pub(crate) struct Feed {
    life: u64,
    state: Mutex<State>,
    more: Condvar,
    inside: Mutex<Vec<Weak<Leases>>>,
}

#[derive(Default)]
struct State {
    seq: u64,
    events: VecDeque<Revocation>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let life = u64::from_be_bytes(random_array());
        Self { life, state: Mutex::default(), more: Condvar::new(), inside: Mutex::default() }
    }

    /// A holder in this process.
    pub(crate) fn subscribe(&self, leases: Weak<Leases>) {
        self.inside.lock().push(leases);
    }

    /// Tells everybody. Holders in this process know when it returns.
    pub(crate) fn tell(&self, tenant: Id, kind: RevocationKind) {
        self.tell_all(Revocation { tenant, kind, subject: NO_ID });
    }

    /// As [`Feed::tell`], of one data subject that was erased.
    pub(crate) fn tell_erased(&self, tenant: Id, subject: Id) {
        self.tell_all(Revocation { tenant, kind: RevocationKind::Erased, subject });
    }

    fn tell_all(&self, event: Revocation) {
        {
            let mut state = self.state.lock();
            state.seq += 1;
            state.events.push_back(event);
            if state.events.len() > REMEMBERED {
                state.events.pop_front();
            }
            self.more.notify_all();
        }
        let inside: Vec<_> = {
            let mut inside = self.inside.lock();
            inside.retain(|leases| leases.strong_count() > 0);
            inside.iter().filter_map(Weak::upgrade).collect()
        };
        inside.iter().for_each(|leases| leases.hear(&event));
    }

    /// What happened behind `known`; waits for it at most `wait_ms`.
    pub(crate) fn since(&self, known: Place, wait_ms: u32) -> (Place, Vec<Revocation>, bool) {
        let mut state = self.state.lock();
        let place = |state: &State| Place { life: self.life, seq: state.seq };
        let missed = |state: &State| state.seq.checked_sub(known.seq).filter(|_| known.life == self.life);
        if missed(&state) == Some(0) {
            let wait = Duration::from_millis(u64::from(wait_ms.min(WAIT_MS_MAX)));
            self.more.wait_while_for(&mut state, |state| state.seq == known.seq, wait);
        }
        match missed(&state).and_then(|missed| usize::try_from(missed).ok()) {
            Some(missed) if missed <= state.events.len() => {
                let from = state.events.len() - missed;
                (place(&state), state.events.range(from..).copied().collect(), true)
            }
            _ => (place(&state), Vec::new(), false),
        }
    }
}
