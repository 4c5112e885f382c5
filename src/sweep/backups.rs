//! What a certificate says of backups that may still hold the tenant's bytes: how old they are, as measured, and when
//! nothing opens them any more.
//!
//! What such a backup holds of the tenant opens with nothing that is left in service, but with a key store of its time
//! and the master key above it; so it ages out with the close of the epoch, which destroys that master key.

use crate::model::time::Millis;
use crate::seal::BackupNote;
use serde::{Deserialize, Serialize};

/// Backups, as far as the server that signs knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backups {
    /// How many of those known were made while the tenant's bytes were stored, and can still be opened by somebody who
    /// has the master key.
    pub known: u64,
    /// The oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Backup>,
    /// The newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Backup>,
    /// By when, by the schedule of closes, nothing opens any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ages_out_at: Option<String>,
    /// The same in words.
    pub note: String,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Its id.
    pub id: String,
    /// Of which moment it is.
    pub made_at: String,
    /// How old it was, in seconds, when this was signed.
    pub age_s: i64,
}

impl Backups {
    /// Of all `notes`, those made between `from` and `to`. `ends`: when the next close is over, if one is scheduled.
    pub fn measured(notes: &[BackupNote], from: Millis, to: Millis, now: Millis, ends: Option<Millis>) -> Self {
        let within = |note: &&BackupNote| (from.seconds()..=to.seconds()).contains(&note.at);
        let known: Vec<_> = notes.iter().filter(within).collect();
        let shown = |note: &BackupNote| Backup {
            id: note.id.clone(),
            made_at: Millis::from_seconds(note.at).to_string(),
            age_s: now.seconds().saturating_sub(note.at).max(0),
        };
        let note = match (known.is_empty(), ends) {
            (true, _) => "no backup known to this daemon",
            (false, Some(_)) => {
                "unreadable without the master key of their time, which the next close of an epoch destroys"
            }
            (false, None) => {
                "unreadable without the master key of their time, which the close of an epoch destroys; none is scheduled"
            }
        };
        Self {
            known: known.len() as u64,
            oldest: known.iter().min_by_key(|note| note.at).map(|note| shown(note)),
            newest: known.iter().max_by_key(|note| note.at).map(|note| shown(note)),
            ages_out_at: ends.filter(|_| !known.is_empty()).map(|at| at.to_string()),
            note: note.to_owned(),
        }
    }

    /// Of those that it told of, the ones that are still among `notes`.
    pub(super) fn remaining(&self, notes: &[BackupNote], now: Millis) -> Self {
        let at = |backup: &Option<Backup>| backup.as_ref()?.made_at.parse::<Millis>().ok();
        let Some((from, to)) = at(&self.oldest).zip(at(&self.newest)) else { return self.clone() };
        Self::measured(notes, from, to, now, None)
    }

    /// Whether what it says fits together.
    pub(super) fn is_consistent(&self) -> bool {
        let some = self.known > 0;
        let at = |backup: &Option<Backup>| backup.as_ref().and_then(|backup| backup.made_at.parse::<Millis>().ok());
        let in_order = match (at(&self.oldest), at(&self.newest)) {
            (Some(oldest), Some(newest)) => oldest <= newest,
            (None, None) => true,
            _ => false,
        };
        in_order
            && self.oldest.is_some() == some
            && self.newest.is_some() == some
            && (some || self.ages_out_at.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(id: &str, at: i64) -> BackupNote {
        BackupNote { id: id.into(), at, master: 1, masters: None }
    }

    #[test]
    fn d7_ages_are_measured_and_only_backups_of_the_tenants_time_count() {
        let notes = [note("before", 99), note("b", 200), note("a", 100), note("c", 300), note("after", 301)];
        let at = Millis::from_seconds;
        let measured = Backups::measured(&notes, at(100), at(300), at(1000), Some(at(5000)));
        let told = |backup: &Option<Backup>| backup.clone().map(|backup| (backup.id, backup.age_s));
        assert_eq!(measured.known, 3);
        assert_eq!(told(&measured.oldest), Some(("a".into(), 900)));
        assert_eq!(told(&measured.newest), Some(("c".into(), 700)));
        assert_eq!(measured.ages_out_at, Some(at(5000).to_string()));
        assert!(measured.is_consistent());
        // After the close none of them is left.
        let after = measured.remaining(&[note("later", 2000)], at(6000));
        assert_eq!((after.known, after.note.as_str()), (0, "no backup known to this daemon"));
        assert!(after.is_consistent() && after.oldest.is_none() && after.ages_out_at.is_none());
        let none = Backups::measured(&[], at(0), at(300), at(1000), Some(at(5000)));
        assert_eq!((none.known, none.ages_out_at.as_deref()), (0, None));
        assert!(!Backups { known: 0, ..measured.clone() }.is_consistent());
        assert!(
            !Backups { oldest: measured.newest.clone(), newest: measured.oldest.clone(), ..measured }.is_consistent()
        );
    }
}
