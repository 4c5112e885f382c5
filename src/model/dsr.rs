//! What becomes of a data subject's request: a pure machine.
//!
//! Called by `directory`, which keeps requests, and by the conductor that carries them out. Promises that a request ends
//! once, that nothing is refused of which a part was done, and that what a crash cut off may be begun again or taken back. The system
//! never decides about a request: every step is somebody's.

use minicbor::{Decode, Encode};

/// Seconds from a request to the day by which it has to be answered: 30 days.
pub const ANSWER_S: i64 = 2_592_000;

/// What somebody asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum RequestKind {
    /// A copy of everything.
    #[n(0)]
    Access,
    /// That something is put right.
    #[n(1)]
    Rectify,
    /// To be erased.
    #[n(2)]
    Erase,
    /// That what is stored is not used.
    #[n(3)]
    Restrict,
}

impl RequestKind {
    /// As it is asked for and logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Rectify => "rectify",
            Self::Erase => "erase",
            Self::Restrict => "restrict",
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum RequestState {
    /// It was made.
    #[n(0)]
    Open,
    /// Somebody looked at what it would do.
    #[n(1)]
    Previewed,
    /// It is being carried out.
    #[n(2)]
    Running,
    /// It was.
    #[n(3)]
    Done,
    /// What a hold keeps is still to be done, when that is released.
    #[n(4)]
    Deferred,
    /// Somebody decided that it is not to be carried out.
    #[n(5)]
    Refused,
}

/// One step of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestStep {
    /// Look at what it would do.
    Preview,
    /// Carry it out, or go on with that.
    Begin,
    /// All of it is done.
    End,
    /// A hold keeps some or all of it.
    Defer,
    /// It is not to be carried out.
    Refuse,
    /// Nothing of it was done, and nothing of what was begun is left: somebody has to begin again.
    Back,
}

impl RequestState {
    /// As it is shown and logged.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Previewed => "previewed",
            Self::Running => "running",
            Self::Done => "done",
            Self::Deferred => "deferred",
            Self::Refused => "refused",
        }
    }

    /// Where a step leads; `None`: not from here.
    pub const fn after(self, step: RequestStep) -> Option<Self> {
        match (self, step) {
            (Self::Open | Self::Previewed, RequestStep::Preview) => Some(Self::Previewed),
            (Self::Deferred, RequestStep::Preview) => Some(Self::Deferred),
            (Self::Open | Self::Previewed | Self::Running | Self::Deferred, RequestStep::Begin) => Some(Self::Running),
            (Self::Running, RequestStep::End) => Some(Self::Done),
            (Self::Running, RequestStep::Defer) => Some(Self::Deferred),
            (Self::Open | Self::Previewed, RequestStep::Refuse) => Some(Self::Refused),
            (Self::Running, RequestStep::Back) => Some(Self::Open),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEPS: [RequestStep; 6] = [
        RequestStep::Preview,
        RequestStep::Begin,
        RequestStep::End,
        RequestStep::Defer,
        RequestStep::Refuse,
        RequestStep::Back,
    ];

    proptest! {
        /// Whatever is tried: what ended stays ended, what was begun is never refused, and nothing ends that was not begun.
        #[test]
        fn a_request_ends_once(tried in prop::collection::vec(0_usize..6, 0..40)) {
            let (mut state, mut begun) = (RequestState::Open, false);
            for step in tried.into_iter().map(|n| STEPS[n]) {
                let ended = matches!(state, RequestState::Done | RequestState::Refused);
                let Some(next) = state.after(step) else { continue };
                prop_assert!(!ended, "{:?} by {:?}", state, step);
                begun = (begun || step == RequestStep::Begin) && step != RequestStep::Back;
                prop_assert!(next != RequestState::Done || begun);
                prop_assert!(next != RequestState::Refused || !begun);
                state = next;
            }
        }
    }
}
