//! Notices before a terminated tenant is destroyed: at T, and 30, 14, 7 and 1 days before it is due. Pure: a termination and
//! a reading give what is to be said by now.

use super::Termination;
use crate::model::clock::Reading;
use crate::model::time::Millis;

/// A notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Stage {
    /// It was terminated.
    #[n(0)]
    Terminated,
    /// 30 days are left.
    #[n(1)]
    Days30,
    /// 14 days are left.
    #[n(2)]
    Days14,
    /// 7 days are left.
    #[n(3)]
    Days7,
    /// The last day begins.
    #[n(4)]
    Days1,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Terminated, Self::Days30, Self::Days14, Self::Days7, Self::Days1];

    /// As it is written: `T`, `-30d`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminated => "T",
            Self::Days30 => "-30d",
            Self::Days14 => "-14d",
            Self::Days7 => "-7d",
            Self::Days1 => "-1d",
        }
    }

    /// How long before the due time it falls due, in seconds; none: at T.
    fn before_s(self) -> Option<i64> {
        let days = match self {
            Self::Terminated => return None,
            Self::Days30 => 30,
            Self::Days14 => 14,
            Self::Days7 => 7,
            Self::Days1 => 1,
        };
        Some(days * 86_400)
    }

    /// When it falls due by the compliance clock's own count since the termination.
    fn at(self, termination: &Termination) -> Millis {
        self.before_s().map_or(termination.at.at, |before| termination.due.plus_seconds(-before))
    }

    /// When people should expect it.
    pub fn at_wall(self, termination: &Termination) -> Millis {
        self.before_s().map_or(termination.at.wall, |before| termination.due_wall().plus_seconds(-before))
    }

    /// Whether it is due.
    pub fn is_due(self, termination: &Termination, now: &Reading) -> bool {
        now.lo_for(&termination.at) >= self.at(termination)
    }
}

/// The notices that are due by now, in order.
pub fn due(termination: &Termination, now: &Reading) -> Vec<Stage> {
    Stage::ALL.into_iter().filter(|stage| stage.is_due(termination, now)).collect()
}
