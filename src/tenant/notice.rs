//! Notices before a terminated tenant is destroyed: at T, and 30, 14, 7 and 1 days before it is due; and when an early
//! destruction was approved, and 1 day before that. Pure: a standing and a reading give what is to be said by now.

use super::Standing;
use crate::model::clock::{Reading, Stamp};
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
    /// It is to be destroyed early, on its own instruction.
    #[n(5)]
    Early,
    /// The last day before that begins.
    #[n(6)]
    EarlyDay1,
}

impl Stage {
    /// Those of the 90 days, in order.
    pub const ALL: [Self; 5] = [Self::Terminated, Self::Days30, Self::Days14, Self::Days7, Self::Days1];
    /// Those of an early destruction, in order.
    pub const EARLY: [Self; 2] = [Self::Early, Self::EarlyDay1];

    /// Those of a terminated tenant, in order.
    pub fn of(standing: &Standing) -> Vec<Self> {
        let early = if standing.early.is_some() { &Self::EARLY[..] } else { &[] };
        Self::ALL.iter().chain(early).copied().collect()
    }

    /// As it is written: `T`, `-30d`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminated => "T",
            Self::Days30 => "-30d",
            Self::Days14 => "-14d",
            Self::Days7 => "-7d",
            Self::Days1 => "-1d",
            Self::Early => "early",
            Self::EarlyDay1 => "early-1d",
        }
    }

    /// Whether it speaks of an early destruction.
    pub fn is_early(self) -> bool {
        matches!(self, Self::Early | Self::EarlyDay1)
    }

    /// How long before the due time it falls due, in seconds; none: where that time begins to be counted.
    fn before_s(self) -> Option<i64> {
        let days = match self {
            Self::Terminated | Self::Early => return None,
            Self::Days30 => 30,
            Self::Days14 => 14,
            Self::Days7 => 7,
            Self::Days1 | Self::EarlyDay1 => 1,
        };
        Some(days * 86_400)
    }

    /// Since when its time is counted, and until when, by the compliance clock.
    fn span(self, standing: &Standing) -> Option<(Stamp, Millis)> {
        let early = standing.early.as_ref().map(|early| (early.at, early.due));
        let of_90_days = standing.termination.as_ref().map(|termination| (termination.at, termination.due));
        if self.is_early() { early } else { of_90_days }
    }

    /// When people should expect it. `None`: there is no such destruction.
    pub fn at_wall(self, standing: &Standing) -> Option<Millis> {
        let (begins, due) = self.span(standing)?;
        let whole_s = due.seconds() - begins.at.seconds();
        Some(self.before_s().map_or(begins.wall, |before| begins.wall.plus_seconds(whole_s - before)))
    }

    /// Whether it is due.
    pub fn is_due(self, standing: &Standing, now: &Reading) -> bool {
        self.span(standing).is_some_and(|(begins, due)| {
            now.lo_for(&begins) >= self.before_s().map_or(begins.at, |before| due.plus_seconds(-before))
        })
    }
}

/// The notices that are due by now, in order.
pub fn due(standing: &Standing, now: &Reading) -> Vec<Stage> {
    Stage::of(standing).into_iter().filter(|stage| stage.is_due(standing, now)).collect()
}
