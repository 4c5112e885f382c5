//! What a tenant was told about a person, whether it stores anything of them or not: a pure fold over acts.
//!
//! Called by `directory`, which keeps the acts in a ledger that no restore reaches, and by the conductors. Promises that
//! the same acts in the same order give the same standing, and that an act that changes nothing is recognisable before
//! it is recorded. Must not know who the person is.

use super::time::Millis;

/// One act, as the ledger numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Word {
    /// Nothing more of the person is to be collected.
    OptOut,
    /// It may be collected again.
    OptIn,
    /// What is stored stays stored and is not used.
    Restrict,
    /// It may be used again.
    Lift,
    /// The person was erased, and is not to be stored again.
    Block,
    /// The person may be stored again.
    Unblock,
}

impl Word {
    /// Every act.
    pub const ALL: [Self; 6] = [Self::OptOut, Self::OptIn, Self::Restrict, Self::Lift, Self::Block, Self::Unblock];

    /// Its number in the ledger; never changed.
    pub const fn number(self) -> u8 {
        match self {
            Self::OptOut => 1,
            Self::OptIn => 2,
            Self::Restrict => 3,
            Self::Lift => 4,
            Self::Block => 5,
            Self::Unblock => 6,
        }
    }

    /// As the audit log names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OptOut => "opted-out",
            Self::OptIn => "opted-in",
            Self::Restrict => "restricted",
            Self::Lift => "restriction-lifted",
            Self::Block => "not-to-be-stored",
            Self::Unblock => "may-be-stored",
        }
    }

    /// The act of a number; `None` for one of a later release.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.number() == number)
    }
}

/// How a person stands with a tenant: each since when, if at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Wants nothing more to be collected.
    pub opted_out: Option<Millis>,
    /// What is stored may not be used.
    pub restricted: Option<Millis>,
    /// Was erased and is not to be stored again.
    pub blocked: Option<Millis>,
}

impl Standing {
    /// The standing after an act. An act that is in force already leaves its first time.
    #[must_use]
    pub fn after(self, word: Word, at: Millis) -> Self {
        match word {
            Word::OptOut => Self { opted_out: self.opted_out.or(Some(at)), ..self },
            Word::OptIn => Self { opted_out: None, ..self },
            Word::Restrict => Self { restricted: self.restricted.or(Some(at)), ..self },
            Word::Lift => Self { restricted: None, ..self },
            Word::Block => Self { blocked: self.blocked.or(Some(at)), ..self },
            Word::Unblock => Self { blocked: None, ..self },
        }
    }

    /// Whether an act would change nothing.
    pub fn has(self, word: Word) -> bool {
        self.after(word, Millis(0)) == self
    }

    /// Whether nothing was ever told, or all of it was taken back.
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_for_good() {
        assert_eq!(Word::ALL.map(Word::number), [1, 2, 3, 4, 5, 6]);
        for word in Word::ALL {
            assert_eq!(Word::of_number(word.number()), Some(word));
        }
        assert_eq!((Word::of_number(0), Word::of_number(7)), (None, None));
    }

    proptest! {
        /// P8, the pure part: the last word of each pair decides, whatever came before and between; and the fold of a ledger
        /// from which the acts that changed nothing were left out is the same.
        #[test]
        fn p8_the_last_word_decides(acts in prop::collection::vec(0_usize..6, 0..60)) {
            let acts: Vec<_> = acts.into_iter().map(|n| Word::ALL[n]).collect();
            let (mut whole, mut lean) = (Standing::default(), Standing::default());
            for (at, word) in (1..).map(Millis).zip(&acts) {
                if !lean.has(*word) {
                    lean = lean.after(*word, at);
                }
                whole = whole.after(*word, at);
            }
            prop_assert_eq!(whole, lean);
            let last = |on: Word, off: Word| acts.iter().rev().find(|word| [on, off].contains(word)) == Some(&on);
            prop_assert_eq!(whole.opted_out.is_some(), last(Word::OptOut, Word::OptIn));
            prop_assert_eq!(whole.restricted.is_some(), last(Word::Restrict, Word::Lift));
            prop_assert_eq!(whole.blocked.is_some(), last(Word::Block, Word::Unblock));
        }
    }
}
