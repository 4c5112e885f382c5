//! Lifecycle rules of a bucket, as S3 has them: which objects go when, and which unfinished uploads.
//!
//! Pure. Parsed by the S3 face, kept sealed by the directory (a prefix or a tag may name a person), asked by the store
//! when it writes an object and by the sweep before it removes one.
//!
//! Days count from the compliance clock's reading when the object was written, and the end is rounded up to the next
//! midnight UTC. Source: S3 User Guide, "Lifecycle rules based on an object's age". A rule by date acts at that midnight.

use super::time::Millis;
use minicbor::{Decode, Encode};
use std::fmt;

/// Most rules of one bucket. Source: S3 User Guide, "Lifecycle configuration elements".
pub const RULES_MAX: usize = 1000;
/// Longest id of a rule, in characters. Source: the same.
pub const RULE_ID_CHARS_MAX: usize = 255;
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
        let about = self.0.iter().filter(|rule| rule.enabled && rule.filter.is_about(name, size, tags));
        let times = about.filter_map(|rule| rule.expire.map(|expire| (expire.at(written), &rule.id)));
        earliest(times)
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

    fn is_about(&self, name: &str, size: u64, tags: &[(String, String)]) -> bool {
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
        Rule { id: id.into(), enabled: true, filter, expire, abort_days: None }
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
}
