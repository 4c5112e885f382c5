//! Lifecycle rules of a bucket, as S3 has them: which objects go when, and which unfinished uploads.
//!
//! Pure. Parsed by the S3 face, kept sealed by the directory (a prefix or a tag may name a person), asked by the store
//! when it writes an object and by the sweep before it removes one.
//!
//! Days count from the compliance clock's reading when the object was written, and the end is rounded up to the next
//! midnight UTC. Source: S3 User Guide, "Lifecycle rules based on an object's age". A rule by date acts at that midnight.
//! Of a superseded version they count from the writing of its successor. How many newer superseded versions a name has is
//! told by whoever asks: it changes without the version.

use super::time::Millis;
use minicbor::{Decode, Encode};
use std::fmt;

/// Most rules of one bucket. Source: S3 User Guide, "Lifecycle configuration elements".
pub const RULES_MAX: usize = 1000;
/// Longest id of a rule, in characters. Source: the same.
pub const RULE_ID_CHARS_MAX: usize = 255;
/// Most superseded versions of a name that a rule can spare. Source: S3 API reference, "NoncurrentVersionExpiration".
pub const NEWER_MAX: u32 = 100;
const DAY_MS: i64 = 86_400_000;

/// All rules of a bucket, in the order in which they were given.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Rules(#[n(0)] pub Vec<Rule>);

/// One rule.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rule {
    /// Unique in its bucket.
    #[n(0)]
    pub id: String,
    /// Whether it acts.
    #[n(1)]
    pub enabled: bool,
    /// What it is about.
    #[n(2)]
    pub filter: Filter,
    /// When objects go.
    #[n(3)]
    pub expire: Option<Expire>,
    /// Days after which an unfinished upload is aborted.
    #[n(4)]
    pub abort_days: Option<u32>,
    /// When superseded versions go.
    #[n(5)]
    pub superseded: Option<Superseded>,
    /// Whether a delete marker goes once it is all that is left of its name; `Some(false)`, as it was given, is no.
    #[n(6)]
    pub lone_markers: Option<bool>,
}

/// When superseded versions go, be they objects or delete markers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Superseded {
    /// Days after their successor was written, at least one.
    #[n(0)]
    pub days: u32,
    /// How many of a name, the newest superseded ones, stay whatever their age; at most [`NEWER_MAX`].
    #[n(1)]
    pub keep: Option<u32>,
}

/// What a filter looks at. A delete marker has no bytes and no tags.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// The object's name.
    pub name: &'a str,
    /// Plaintext bytes.
    pub size: u64,
    /// The version's tags.
    pub tags: &'a [(String, String)],
}

/// When objects go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Expire {
    /// So many days after they were written, at least one.
    #[n(0)]
    After(#[n(0)] u32),
    /// On a day, at midnight UTC.
    #[n(1)]
    On(#[n(0)] Millis),
}

/// What a rule is about: all of what is set has to hold.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Filter {
    /// Names begin with it.
    #[n(0)]
    pub prefix: Option<String>,
    /// Tags that the object has.
    #[n(1)]
    pub tags: Vec<(String, String)>,
    /// Plaintext bytes, not reached by those that are too small.
    #[n(2)]
    pub larger_than: Option<u64>,
    /// Plaintext bytes, not reached by those that are too large.
    #[n(3)]
    pub smaller_than: Option<u64>,
    /// How it was written, so that it is given back like that.
    #[n(4)]
    pub form: Form,
}

/// How a filter was written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Form {
    /// `Filter` with one condition at most.
    #[default]
    #[n(0)]
    Filter,
    /// `Filter` with `And`.
    #[n(1)]
    And,
    /// `Prefix` of the rule itself, the older way.
    #[n(2)]
    Prefix,
}

/// When something goes, and by which rule.
#[derive(Clone, PartialEq, Eq)]
pub struct Expiry {
    /// By the compliance clock.
    pub at: Millis,
    /// The rule's id.
    pub rule: String,
}

/// Prefixes, tags and ids may be personal data.
impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rules({})", self.0.len())
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expiry({})", self.at)
    }
}

impl Rules {
    /// When an object goes: by the earliest of the rules that act and are about it. `written`: by the compliance clock.
    pub fn expiry(&self, name: &str, size: u64, tags: &[(String, String)], written: Millis) -> Option<Expiry> {
        let rules = self.about(About { name, size, tags });
        earliest(rules.filter_map(|rule| rule.expire.map(|expire| (expire.at(written), &rule.id))))
    }

    /// When a superseded version goes of whose name `newer` superseded versions are newer. `since`: when its successor was
    /// written. `None`: not while there are only so many.
    pub fn superseded(&self, about: About<'_>, since: Millis, newer: usize) -> Option<Expiry> {
        let rules = self.about(about).filter_map(|rule| rule.superseded.map(|when| (when, &rule.id)));
        let full = rules.filter(|(when, _)| newer >= when.keep.unwrap_or(0) as usize);
        earliest(full.map(|(when, rule)| (after(since, when.days), rule)))
    }

    /// When the superseded versions of a name have to be looked at because one more of them was superseded, at `since`: at
    /// once if a rule counts them, for an older one may go now; else when this one goes.
    pub fn look_at_superseded(&self, about: About<'_>, since: Millis) -> Option<Millis> {
        let rules = self.about(about).filter_map(|rule| rule.superseded);
        rules.map(|when| if when.keep.is_some() { since } else { after(since, when.days) }).min()
    }

    /// When a delete marker goes that is all that is left of its name: by a rule about such markers at once, by the age of
    /// objects like one. Source: S3 User Guide, "Lifecycle configuration elements", Expiration.
    pub fn lone_marker(&self, name: &str, written: Millis) -> Option<Expiry> {
        let rules = self.about(About { name, size: 0, tags: &[] });
        let at = |rule: &Rule| match (rule.lone_markers, rule.expire) {
            (Some(true), _) => Some(written),
            (_, expire) => expire.map(|expire| expire.at(written)),
        };
        earliest(rules.filter_map(|rule| at(rule).map(|at| (at, &rule.id))))
    }

    fn about<'a>(&'a self, about: About<'a>) -> impl Iterator<Item = &'a Rule> {
        self.0.iter().filter(move |rule| rule.enabled && rule.filter.is_about(about))
    }

    /// When an unfinished upload is aborted; `None`: no rule says.
    pub fn abort(&self, name: &str, begun: Millis) -> Option<Expiry> {
        let about = self.0.iter().filter(|rule| rule.enabled && rule.filter.begins(name));
        let times = about.filter_map(|rule| rule.abort_days.map(|days| (after(begun, days), &rule.id)));
        earliest(times)
    }
}

/// The first of several that are equally early.
fn earliest<'a>(times: impl Iterator<Item = (Millis, &'a String)>) -> Option<Expiry> {
    times.min_by_key(|(at, _)| *at).map(|(at, rule)| Expiry { at, rule: rule.clone() })
}

impl Filter {
    fn begins(&self, name: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str()))
    }

    fn is_about(&self, About { name, size, tags }: About<'_>) -> bool {
        self.begins(name)
            && self.tags.iter().all(|wanted| tags.contains(wanted))
            && self.larger_than.is_none_or(|bound| size > bound)
            && self.smaller_than.is_none_or(|bound| size < bound)
    }
}

impl Expire {
    fn at(self, written: Millis) -> Millis {
        match self {
            Self::After(days) => after(written, days),
            Self::On(day) => day,
        }
    }
}

/// `from` and so many days, rounded up to midnight UTC. Saturates: what overflows is far in the future.
fn after(from: Millis, days: u32) -> Millis {
    let end = from.0.saturating_add(i64::from(days).saturating_mul(DAY_MS));
    let over = end.rem_euclid(DAY_MS);
    Millis(if over == 0 { end } else { end.saturating_add(DAY_MS - over) })
}

/// Whether a time is midnight UTC.
pub fn is_midnight(time: Millis) -> bool {
    time.0.rem_euclid(DAY_MS) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        text.parse().unwrap()
    }

    fn rule(id: &str, filter: Filter, expire: Option<Expire>) -> Rule {
        Rule { id: id.into(), enabled: true, filter, expire, abort_days: None, superseded: None, lone_markers: None }
    }

    fn expires(rules: &Rules, name: &str, size: u64, tags: &[(&str, &str)], written: &str) -> Option<String> {
        let tags: Vec<_> = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        rules.expiry(name, size, &tags, at(written)).map(|expiry| format!("{} {}", expiry.at, expiry.rule))
    }

    #[test]
    fn r51_days_end_at_the_next_midnight_and_never_before() {
        let rules = Rules(vec![rule("a", Filter::default(), Some(Expire::After(3)))]);
        let end = |written| expires(&rules, "x", 1, &[], written).unwrap();
        assert_eq!(end("2026-11-20T11:30:00Z"), "2026-11-24T00:00:00Z a");
        assert_eq!(end("2026-11-20T00:00:00Z"), "2026-11-23T00:00:00Z a", "midnight is its own end");
        assert_eq!(end("2026-11-20T00:00:01Z"), "2026-11-24T00:00:00Z a");
        assert_eq!(after(Millis(i64::MAX - 1), u32::MAX), Millis(i64::MAX), "far, never void");
    }

    #[test]
    fn a_rule_is_about_what_its_whole_filter_says() {
        let tag = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let filter = Filter {
            prefix: Some("logs/".into()),
            tags: vec![tag("keep", "no"), tag("stage", "raw")],
            larger_than: Some(10),
            smaller_than: Some(20),
            form: Form::And,
        };
        let rules = Rules(vec![rule("a", filter, Some(Expire::On(at("2027-01-01T00:00:00Z"))))]);
        let both = [("stage", "raw"), ("keep", "no"), ("more", "")];
        let is = |name, size, tags: &[_]| expires(&rules, name, size, tags, "2026-11-20T11:30:00Z").is_some();
        assert!(is("logs/a", 11, &both) && is("logs/a", 19, &both));
        for (name, size, tags) in
            [("log/a", 11, &both[..]), ("logs/a", 10, &both), ("logs/a", 20, &both), ("logs/a", 11, &both[1..])]
        {
            assert!(!is(name, size, tags), "{name} {size}");
        }
    }

    #[test]
    fn the_earliest_of_those_that_act_counts() {
        let with = |prefix: &str| Filter { prefix: Some(prefix.into()), ..Filter::default() };
        let mut rules = Rules(vec![
            rule("long", with(""), Some(Expire::After(9))),
            rule("short", with("a"), Some(Expire::After(2))),
            rule("off", with(""), Some(Expire::After(1))),
            Rule { abort_days: Some(5), ..rule("uploads", with("u"), None) },
        ]);
        rules.0[2].enabled = false;
        assert_eq!(expires(&rules, "a", 1, &[], "2026-01-01T00:00:00Z").unwrap(), "2026-01-03T00:00:00Z short");
        assert_eq!(expires(&rules, "b", 1, &[], "2026-01-01T00:00:00Z").unwrap(), "2026-01-10T00:00:00Z long");
        let abort = |name| rules.abort(name, at("2026-01-01T01:00:00Z")).map(|expiry| expiry.at.to_string());
        assert_eq!((abort("u"), abort("v")), (Some("2026-01-07T00:00:00Z".into()), None));
        assert_eq!(format!("{rules:?}"), "Rules(4)", "no prefix, no tag");
    }

    fn noncurrent(id: &str, days: u32, keep: Option<u32>) -> Rule {
        Rule { superseded: Some(Superseded { days, keep }), ..rule(id, Filter::default(), None) }
    }

    fn about(name: &str) -> About<'_> {
        About { name, size: 0, tags: &[] }
    }

    #[test]
    fn r51_a_superseded_version_goes_by_its_age_as_such_and_never_among_those_that_are_kept() {
        let since = at("2026-11-20T11:30:00Z");
        let rules = Rules(vec![noncurrent("aged", 30, None), noncurrent("counted", 3, Some(2))]);
        let goes = |newer| rules.superseded(about("x"), since, newer).map(|one| format!("{} {}", one.at, one.rule));
        assert_eq!(goes(0).unwrap(), "2026-12-21T00:00:00Z aged", "one of the two that are kept");
        assert_eq!(goes(1).unwrap(), "2026-12-21T00:00:00Z aged");
        assert_eq!(goes(2).unwrap(), "2026-11-24T00:00:00Z counted");
        let only = Rules(vec![noncurrent("counted", 3, Some(2))]);
        assert!(only.superseded(about("x"), since, 1).is_none(), "however old it is");
        assert!(rules.expiry("x", 0, &[], since).is_none() && rules.lone_marker("x", since).is_none());
    }

    #[test]
    fn where_versions_are_counted_every_successor_is_a_reason_to_look() {
        let since = at("2026-11-20T11:30:00Z");
        let look = |rules: Vec<Rule>| Rules(rules).look_at_superseded(about("x"), since).map(|at| at.to_string());
        assert_eq!(look(vec![noncurrent("aged", 1, None)]).unwrap(), "2026-11-22T00:00:00Z");
        assert_eq!(look(vec![noncurrent("aged", 1, None), noncurrent("n", 9, Some(1))]).unwrap(), since.to_string());
        assert_eq!(look(vec![rule("current", Filter::default(), Some(Expire::After(1)))]), None);
    }

    #[test]
    fn a_marker_that_is_left_alone_goes_at_once_or_at_the_age_of_objects() {
        let written = at("2026-11-20T11:30:00Z");
        let lone = |flag, expire, filter| {
            let rules = Rules(vec![Rule { lone_markers: flag, ..rule("a", filter, expire) }]);
            rules.lone_marker("x", written).map(|one| one.at.to_string())
        };
        let all = Filter::default;
        assert_eq!(lone(Some(true), None, all()).unwrap(), written.to_string());
        assert_eq!(lone(None, Some(Expire::After(2)), all()).unwrap(), "2026-11-23T00:00:00Z");
        assert_eq!(lone(Some(false), None, all()), None);
        let tagged = Filter { tags: vec![("a".into(), "b".into())], ..all() };
        assert_eq!(lone(None, Some(Expire::After(2)), tagged), None, "a marker has no tags");
    }

    /// Rules as they were sealed before versions were known.
    #[test]
    fn older_rules_are_read() {
        #[derive(Encode)]
        struct Older(#[n(0)] Vec<OlderRule>);
        #[derive(Encode)]
        struct OlderRule {
            #[n(0)]
            id: String,
            #[n(1)]
            enabled: bool,
            #[n(2)]
            filter: Filter,
            #[n(3)]
            expire: Option<Expire>,
            #[n(4)]
            abort_days: Option<u32>,
        }
        let (filter, expire) = (Filter::default(), Some(Expire::After(7)));
        let older = Older(vec![OlderRule { id: "a".into(), enabled: true, filter, expire, abort_days: None }]);
        let read: Rules = minicbor::decode(&minicbor::to_vec(&older).unwrap()).unwrap();
        assert!(read == Rules(vec![rule("a", Filter::default(), expire)]));
    }

    proptest::proptest! {
        /// Whatever the rules: among the versions of a name those that go are the oldest of equal standing, no rule's kept
        /// ones are taken by that rule, and a look comes no later than the first that goes.
        #[test]
        fn keeping_the_newest(days in 1_u32..9, keep in proptest::option::of(1_u32..6), ages in proptest::collection::vec(0_i64..20, 0..12), now in 0_i64..40) {
            let rules = Rules(vec![noncurrent("a", days, keep)]);
            let mut since: Vec<_> = ages.iter().map(|age| Millis(age * DAY_MS / 2)).collect();
            since.sort_by_key(|one| std::cmp::Reverse(one.0));
            let now = Millis(now * DAY_MS);
            let goes = |at: usize| rules.superseded(about("x"), since[at], at).is_some_and(|one| one.at <= now);
            for at in 0..since.len() {
                proptest::prop_assert!(!goes(at) || at >= keep.unwrap_or(0) as usize);
                proptest::prop_assert!(!goes(at) || now.0 - since[at].0 >= i64::from(days) * DAY_MS, "never early");
                proptest::prop_assert!(!goes(at) || (at..since.len()).all(goes), "an older one outlives a younger");
                let due = rules.superseded(about("x"), since[at], at).map_or(Millis(i64::MAX), |one| one.at);
                proptest::prop_assert!(rules.look_at_superseded(about("x"), since[at]).unwrap() <= due);
            }
        }
    }
}
