//! When a version goes, and how: by its bucket's rules, or because the lifetime of its class is over. What a disabled
//! feature owns stays, whatever the rules say.
//!
//! A rule about current objects hides an object where its bucket keeps versions: a marker is put over it. The lifetime of
//! a class is about the bytes: that version itself goes, wherever it stands.

use crate::directory::OpenedBucket;
use crate::feature::{Features, Watermarks, hour_of};
use crate::index::rows::v1::ObjectRow;
use crate::model::classes::Class;
use crate::model::clock::Reading;
use crate::model::lifecycle::{About, Rules};
use crate::model::time::Millis;
use crate::model::versioning::Versioning;
use crate::sweep::SweepError;
use crate::sweep::run::GeoRooms;
use std::sync::Arc;

/// How long what stands still is left alone, in seconds: whoever lets it go on has all of it looked at.
const FROZEN_S: i64 = 86_400;
/// When a marker that is not alone is looked at again, in seconds. Whoever removes the last version below one has it
/// looked at; this is for when that was cut off.
const COVERING_S: i64 = 7 * 86_400;

/// What is known of a bucket's lifetimes now.
pub(super) struct Lifetimes {
    rules: Option<Arc<Rules>>,
    versioning: Versioning,
    classes: Option<Classes>,
    now: Millis,
}

/// The lifetimes of classes.
struct Classes {
    features: Arc<Features>,
    marks: Watermarks,
    bucket: crate::model::ids::BucketId,
    now: Reading,
}

/// What becomes of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Nothing of it is left.
    Removed,
    /// A delete marker is put over it.
    Marked,
    /// It would go, but a hold keeps it.
    Held,
    /// It stays, and has to be looked at again then, if ever.
    Stays(Option<Millis>),
}

/// What the class of a version says.
enum ByClass {
    /// Its feature is off: it stays, whatever else is said.
    Frozen,
    /// Its lifetime ends then, if ever.
    Ends(Option<Millis>),
}

impl Lifetimes {
    /// Of this bucket.
    pub(super) async fn of(rooms: &GeoRooms, opened: &OpenedBucket) -> Result<Self, SweepError> {
        let (directory, at) = (&rooms.tenancy.directory, &opened.at);
        let features = directory.features(at.tenant).await?;
        let marks = directory.watermarks(at.tenant, at.bucket).await?;
        let reading = rooms.tenancy.clock.now();
        let now = reading.cc_lo;
        let classes = Some(Classes { features, marks, bucket: at.bucket, now: reading });
        let (rules, versioning) = (opened.lifecycle.clone(), opened.versioning);
        Ok(Self { rules, versioning, classes, now })
    }

    /// What becomes of the versions of a name: the current one first, then the newest first. `keeps`: which of them a hold
    /// keeps. Each superseded version counts for those that are older, also one that goes now.
    pub(super) fn fates(&self, versions: &[ObjectRow], keeps: impl Fn(&ObjectRow) -> bool) -> Vec<Fate> {
        let mut newer = 0;
        let mut fates = Vec::with_capacity(versions.len());
        for row in versions {
            let fate = match row.superseded {
                Some(_) if row.is_kept() => Fate::Removed,
                Some(since) => {
                    newer += 1;
                    self.superseded(row, since, newer - 1)
                }
                None if row.is_object() => self.current(row),
                // Decided below.
                None => Fate::Stays(None),
            };
            fates.push(if fate == Fate::Removed && keeps(row) { Fate::Held } else { fate });
        }
        if let (Some(first), Some(fate)) = (versions.first(), fates.first().copied())
            && !first.is_object()
            && first.is_current()
        {
            let alone = fate == Fate::Stays(None) && fates[1..].iter().all(|fate| *fate == Fate::Removed);
            fates[0] = self.marker(first, alone);
        }
        fates
    }

    /// When a version has to be looked at, whatever else its name has; `None`: nothing is about it.
    pub(super) fn look(&self, row: &ObjectRow) -> Option<Millis> {
        if row.is_kept() {
            return Some(self.now);
        }
        let by_rule = self.rules.as_ref().and_then(|rules| match row.superseded {
            Some(since) => rules.superseded(about(row), since, usize::MAX),
            None if row.is_object() => rules.expiry(&row.name, row.size, &row.tags, row.age_from()),
            None => rules.lone_marker(&row.name, row.age_from()),
        });
        match self.by_class(row) {
            ByClass::Frozen => Some(self.later(FROZEN_S)),
            ByClass::Ends(by_class) => earlier(by_rule.map(|expiry| expiry.at), by_class),
        }
    }

    fn current(&self, row: &ObjectRow) -> Fate {
        let rules = self.rules.as_ref();
        let by_rule = rules.and_then(|rules| rules.expiry(&row.name, row.size, &row.tags, row.age_from()));
        let by_rule = by_rule.map(|expiry| expiry.at);
        match self.by_class(row) {
            ByClass::Frozen => Fate::Stays(Some(self.later(FROZEN_S))),
            ByClass::Ends(Some(end)) if end <= self.now => Fate::Removed,
            ByClass::Ends(_) if by_rule.is_some_and(|at| at <= self.now) => match self.versioning {
                Versioning::Never => Fate::Removed,
                Versioning::Enabled | Versioning::Suspended => Fate::Marked,
            },
            ByClass::Ends(by_class) => Fate::Stays(earlier(by_rule, by_class)),
        }
    }

    fn superseded(&self, row: &ObjectRow, since: Millis, newer: usize) -> Fate {
        let by_rule = self.rules.as_ref().and_then(|rules| rules.superseded(about(row), since, newer));
        match self.by_class(row) {
            ByClass::Frozen => Fate::Stays(Some(self.later(FROZEN_S))),
            ByClass::Ends(by_class) => match earlier(by_rule.map(|expiry| expiry.at), by_class) {
                Some(at) if at <= self.now => Fate::Removed,
                at => Fate::Stays(at),
            },
        }
    }

    fn marker(&self, row: &ObjectRow, alone: bool) -> Fate {
        let rules = self.rules.as_ref();
        match rules.and_then(|rules| rules.lone_marker(&row.name, row.age_from())).map(|expiry| expiry.at) {
            Some(at) if at <= self.now && alone => Fate::Removed,
            Some(at) if at <= self.now => Fate::Stays(Some(self.later(COVERING_S))),
            at => Fate::Stays(at),
        }
    }

    fn by_class(&self, row: &ObjectRow) -> ByClass {
        let Some(Classes { features, marks, bucket, now }) = &self.classes else { return ByClass::Ends(None) };
        let class = Class::of(&row.metadata);
        if features.may_use(class).is_err() {
            return ByClass::Frozen;
        }
        let (hour, written_ms) = (hour_of(&row.name, row.mtime), row.enabled_ms.unwrap_or(0));
        let again_s = class.and_then(|class| features.look_again_s(class, *bucket, marks, hour, written_ms, now));
        ByClass::Ends(again_s.map(|again_s| self.later(again_s)))
    }

    fn later(&self, seconds: i64) -> Millis {
        self.now.plus_seconds(seconds)
    }
}

fn about(row: &ObjectRow) -> About<'_> {
    About { name: &row.name, size: row.size, tags: &row.tags }
}

fn earlier(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    [one, other].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::rows::v1::{Beside, ObjectKind};
    use crate::model::lifecycle::{Expire, Filter, Rule, Superseded};

    const DAY_MS: i64 = 86_400_000;

    fn rule(expire: Option<u32>, superseded: Option<(u32, Option<u32>)>, lone_markers: Option<bool>) -> Rule {
        Rule {
            id: "a".into(),
            enabled: true,
            filter: Filter::default(),
            expire: expire.map(Expire::After),
            abort_days: None,
            superseded: superseded.map(|(days, keep)| Superseded { days, keep }),
            lone_markers,
        }
    }

    fn day(day: i64) -> Millis {
        Millis(day * DAY_MS)
    }

    /// Written and superseded on these days.
    fn object(written: i64, superseded: Option<i64>) -> ObjectRow {
        ObjectRow { kind: ObjectKind::Object, ..marker(written, superseded) }
    }

    fn marker(written: i64, superseded: Option<i64>) -> ObjectRow {
        let row = ObjectRow::marker("x".into(), day(written), day(written));
        ObjectRow { superseded: superseded.map(day), ..row }
    }

    fn fates(versioning: Versioning, rules: Vec<Rule>, now: i64, versions: &[ObjectRow]) -> Vec<Fate> {
        let rules = Some(Arc::new(Rules(rules)));
        Lifetimes { rules, versioning, classes: None, now: day(now) }.fates(versions, |_| false)
    }

    #[test]
    fn an_object_is_hidden_where_versions_are_kept_and_goes_where_they_are_not() {
        let rules = || vec![rule(Some(3), None, None)];
        for (versioning, fate) in [
            (Versioning::Never, Fate::Removed),
            (Versioning::Enabled, Fate::Marked),
            (Versioning::Suspended, Fate::Marked),
        ] {
            assert_eq!(fates(versioning, rules(), 3, &[object(0, None)]), [fate]);
            assert_eq!(fates(versioning, rules(), 2, &[object(0, None)]), [Fate::Stays(Some(day(3)))]);
        }
        let under = fates(Versioning::Enabled, rules(), 9, &[object(0, None), object(0, Some(0))]);
        assert_eq!(under, [Fate::Marked, Fate::Stays(None)], "what was superseded is none of that rule's");
    }

    #[test]
    fn superseded_versions_go_but_for_the_newest() {
        let versions = [object(9, None), object(5, Some(9)), marker(4, Some(5)), object(0, Some(4))];
        let go = |rules, now| fates(Versioning::Enabled, rules, now, &versions);
        let (stays, gone) = (Fate::Stays, Fate::Removed);
        let aged = || vec![rule(None, Some((4, None)), None)];
        assert_eq!(go(aged(), 8), [stays(None), stays(Some(day(13))), stays(Some(day(9))), gone]);
        assert_eq!(go(aged(), 13), [stays(None), gone, gone, gone]);
        let counted = || vec![rule(None, Some((4, Some(2))), None)];
        assert_eq!(go(counted(), 13), [stays(None), stays(None), stays(None), gone], "two are kept, however old");
        assert_eq!(go(counted(), 7), [stays(None), stays(None), stays(None), stays(Some(day(8)))]);
    }

    #[test]
    fn a_marker_goes_once_nothing_is_left_below_it() {
        let rules = || vec![rule(None, Some((2, None)), Some(true))];
        let covering = [marker(1, None), object(0, Some(1))];
        let again = Fate::Stays(Some(day(2 + 7)));
        assert_eq!(fates(Versioning::Enabled, rules(), 2, &covering), [again, Fate::Stays(Some(day(3)))]);
        assert_eq!(fates(Versioning::Enabled, rules(), 3, &covering), [Fate::Removed, Fate::Removed]);
        assert_eq!(fates(Versioning::Enabled, rules(), 1, &covering[..1]), [Fate::Removed]);
        let aged = || vec![rule(Some(5), None, None)];
        assert_eq!(fates(Versioning::Enabled, aged(), 5, &covering[..1]), [Fate::Stays(Some(day(6)))]);
        assert_eq!(fates(Versioning::Enabled, aged(), 6, &covering[..1]), [Fate::Removed], "as old as objects get");
    }

    #[test]
    fn what_a_hold_keeps_stays_and_so_does_the_marker_over_it() {
        let rules = Some(Arc::new(Rules(vec![rule(None, Some((2, None)), Some(true))])));
        let lifetimes = Lifetimes { rules, versioning: Versioning::Enabled, classes: None, now: day(9) };
        let versions = [marker(2, None), object(1, Some(2)), object(0, Some(1))];
        let fates = lifetimes.fates(&versions, |row| row.version_id == versions[1].version_id);
        assert_eq!(fates, [Fate::Stays(Some(day(16))), Fate::Held, Fate::Removed]);
        // What was replaced for good and only held goes as soon as it is not, without any rule.
        let none = Lifetimes { rules: None, versioning: Versioning::Never, classes: None, now: day(9) };
        let beside = [object(2, None), ObjectRow { beside: Some(Beside::Kept), ..object(1, Some(2)) }];
        assert_eq!(none.fates(&beside, |_| true), [Fate::Stays(None), Fate::Held]);
        assert_eq!(none.fates(&beside, |_| false), [Fate::Stays(None), Fate::Removed]);
        assert_eq!(none.look(&beside[1]), Some(day(9)));
    }
}
