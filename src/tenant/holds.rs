//! What a legal hold keeps, and what waits for its release: the pure part.
//!
//! A tenant's standing says which matters are in force and whether each covers the whole tenant; everything that names
//! a bucket, an object, a person or a case is a [`Matter`], which its directory row seals under the tenant's own keys.
//! Promises that what is in force and cannot be read holds everything: a doubt keeps, it never destroys. Must not know
//! storage. Source: docs/holds.md.

use super::{HoldScope, Standing};
use crate::model::names::{BucketName, ObjectName, SubjectName};
use crate::model::time::Millis;
use minicbor::{Decode, Encode};
use std::fmt;
use std::str::FromStr;

/// Which of a tenant's objects a matter keeps. May name a person: `Debug` prints the kind only.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum Scope {
    /// Everything, whatever is written later included.
    #[n(0)]
    Tenant,
    /// One bucket.
    #[n(1)]
    Bucket {
        /// Its name.
        #[n(0)]
        bucket: String,
    },
    /// The objects of a bucket whose names begin so.
    #[n(2)]
    Prefix {
        /// The bucket's name.
        #[n(0)]
        bucket: String,
        /// The first bytes of the names.
        #[n(1)]
        prefix: String,
    },
    /// A data subject's objects, in every bucket.
    #[n(3)]
    Subject {
        /// As `x-amz-meta-geoseal-subject` named it.
        #[n(0)]
        subject: String,
    },
    /// One object.
    #[n(4)]
    Object {
        /// The bucket's name.
        #[n(0)]
        bucket: String,
        /// The object's name.
        #[n(1)]
        name: String,
    },
}

/// The words are not a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is tenant, bucket:NAME, prefix:BUCKET/PREFIX, subject:NAME or object:BUCKET/NAME")]
pub struct BadScope;

impl Scope {
    /// What the tenant's standing says of it.
    pub fn of_standing(&self) -> HoldScope {
        if *self == Self::Tenant { HoldScope::Tenant } else { HoldScope::Part }
    }

    /// The kind, for logs and lists that name nobody.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Bucket { .. } => "bucket",
            Self::Prefix { .. } => "prefix",
            Self::Subject { .. } => "subject",
            Self::Object { .. } => "object",
        }
    }

    /// Whether an object of this place and these subjects is meant, whenever it was written.
    pub fn names(&self, object: &Target<'_>) -> bool {
        match self {
            Self::Tenant => true,
            Self::Bucket { bucket } => bucket == object.bucket,
            Self::Prefix { bucket, prefix } => bucket == object.bucket && object.name.starts_with(prefix.as_str()),
            Self::Subject { subject } => object.subjects.contains(&subject.as_str()),
            Self::Object { bucket, name } => bucket == object.bucket && name == object.name,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Bucket { bucket } => write!(f, "bucket:{bucket}"),
            Self::Prefix { bucket, prefix } => write!(f, "prefix:{bucket}/{prefix}"),
            Self::Subject { subject } => write!(f, "subject:{subject}"),
            Self::Object { bucket, name } => write!(f, "object:{bucket}/{name}"),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.kind())
    }
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        if text == "tenant" {
            return Ok(Self::Tenant);
        }
        let (kind, rest) = text.split_once(':').ok_or(BadScope)?;
        let bucket = |name: &str| BucketName::parse(name).map(|name| name.as_str().to_owned()).map_err(|_| BadScope);
        let placed = || {
            let (at, name) = rest.split_once('/').ok_or(BadScope)?;
            ObjectName::parse(name.to_owned()).map_err(|_| BadScope)?;
            Ok((bucket(at)?, name.to_owned()))
        };
        match kind {
            "bucket" => Ok(Self::Bucket { bucket: bucket(rest)? }),
            "prefix" => placed().map(|(bucket, prefix)| Self::Prefix { bucket, prefix }),
            "object" => placed().map(|(bucket, name)| Self::Object { bucket, name }),
            "subject" => {
                let subject = SubjectName::parse(rest).map_err(|_| BadScope)?;
                Ok(Self::Subject { subject: subject.as_str().to_owned() })
            }
            _ => Err(BadScope),
        }
    }
}

/// Who did something, and when by the wall.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Said {
    /// A principal, by its opaque id.
    #[n(0)]
    pub by: String,
    /// When.
    #[n(1)]
    pub at: Millis,
}

/// A legal hold with all that is said of it. May hold personal data: `Debug` prints the number only.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Matter {
    /// The matter's number.
    #[n(0)]
    pub id: String,
    /// What it keeps.
    #[n(1)]
    pub scope: Scope,
    /// What it is about, in the words of who placed it.
    #[n(2)]
    pub words: String,
    /// Whether what is written later is kept, too.
    #[n(3)]
    pub prospective: bool,
    /// Who asked for it.
    #[n(4)]
    pub placed: Said,
    /// Who agreed.
    #[n(5)]
    pub approved: Option<Said>,
    /// Of a hold that is not prospective: what was written after this moment is not kept. Set when it is approved.
    #[n(6)]
    pub written_until: Option<Millis>,
    /// Who asked for its release.
    #[n(7)]
    pub release: Option<Said>,
    /// Its release was agreed: what is left of the row goes.
    #[n(8)]
    pub released: bool,
    /// Why it was placed, if that was said.
    #[n(9)]
    pub reason: Option<String>,
}

impl fmt::Debug for Matter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matter({}, {:?})", self.id, self.scope)
    }
}

impl Matter {
    /// Whether it keeps this object.
    pub fn keeps(&self, object: &Target<'_>) -> bool {
        let late = self.written_until.is_some_and(|until| object.written > until);
        self.scope.names(object) && (self.prospective || self.scope == Scope::Tenant || !late)
    }
}

/// An object that somebody wants to remove, replace or destroy.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Its bucket's name.
    pub bucket: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The data subjects that it speaks of.
    pub subjects: &'a [&'a str],
    /// When it was written.
    pub written: Millis,
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(..)")
    }
}

/// The matters in force for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    matters: Vec<Matter>,
    /// In force, but what they keep is not known: they keep everything.
    unread: Vec<String>,
}

impl Holds {
    /// The matters that the standing says are in force, with what is said of them in `rows`.
    pub fn in_force(standing: &Standing, rows: Vec<Matter>) -> Self {
        let mut holds = Self::default();
        for hold in &standing.holds {
            match rows.iter().find(|row| row.id == hold.id) {
                Some(row) if row.scope.of_standing() == hold.scope => holds.matters.push(row.clone()),
                _ => holds.unread.push(hold.id.clone()),
            }
        }
        holds
    }

    /// The numbers of the matters that keep this object; none: nothing stands in the way.
    pub fn over(&self, object: &Target<'_>) -> Vec<String> {
        let kept = self.matters.iter().filter(|matter| matter.keeps(object)).map(|matter| matter.id.clone());
        kept.chain(self.unread.iter().cloned()).collect()
    }

    /// Whether something keeps the whole tenant, or might.
    pub fn keep_all(&self) -> bool {
        !self.unread.is_empty() || self.matters.iter().any(|matter| matter.scope == Scope::Tenant)
    }

    /// The numbers of all of them.
    pub fn ids(&self) -> Vec<String> {
        self.matters.iter().map(|matter| matter.id.clone()).chain(self.unread.iter().cloned()).collect()
    }
}

/// What kind of act waits for a release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum DeferredKind {
    /// A data subject's erasure, by its request; the detail is empty.
    #[n(0)]
    EraseSubject,
    /// An object that is to be put right, by its request; the new content waits in an upload, and the detail is empty.
    #[n(1)]
    RectifyObject,
}

impl DeferredKind {
    /// As lists and the audit log write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EraseSubject => "erase-subject",
            Self::RectifyObject => "rectify-object",
        }
    }
}

/// An act that a hold put off. It is carried out by the first sweep after the last of its matters is released.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Deferred {
    /// What kind.
    #[n(0)]
    pub kind: DeferredKind,
    /// How its request is called, such as `DSR-18`; an opaque id. The same request is deferred once.
    #[n(1)]
    pub label: String,
    /// What it needs to be carried out. May be personal data.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub detail: Vec<u8>,
    /// The matters that put it off.
    #[n(3)]
    pub matters: Vec<String>,
    /// How many objects they kept from it.
    #[n(4)]
    pub objects: u64,
    /// Who asked for the act.
    #[n(5)]
    pub asked: Said,
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deferred({}, {})", self.kind.as_str(), self.label)
    }
}

impl Deferred {
    /// Whether a matter in force still puts it off.
    pub fn waits(&self, standing: &Standing) -> bool {
        standing.holds.iter().any(|hold| self.matters.contains(&hold.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Reading;
    use crate::model::ids::TenantId;
    use crate::tenant::{Event, Hold, NewTenant, Replication, create, step};

    const NOW: Millis = Millis(1_790_000_000_000);

    fn matter(id: &str, scope: &str, prospective: bool) -> Matter {
        let said = Said { by: "admin-1".into(), at: NOW };
        let written_until = (!prospective).then_some(NOW);
        let (scope, words) = (scope.parse().unwrap(), "a case".into());
        Matter {
            id: id.into(),
            scope,
            words,
            prospective,
            placed: said.clone(),
            approved: Some(said),
            written_until,
            release: None,
            released: false,
            reason: None,
        }
    }

    fn target<'a>(bucket: &'a str, name: &'a str, subjects: &'a [&'a str], written: Millis) -> Target<'a> {
        Target { bucket, name, subjects, written }
    }

    fn standing(held: &[(&str, HoldScope)]) -> Standing {
        let (geo, now) = (&crate::model::atlas::GEOS[0], Reading::at(NOW));
        let (id, home, replication) = (TenantId([1; 16]), &geo.regions[0], Replication::None);
        let made = create(NewTenant { id, geo, home, replication, consent: Some([1; 32]) }, &now).unwrap().0;
        let mut standing = step(&made, &Event::Provisioned, &now).unwrap().0.unwrap();
        for (id, scope) in held {
            let hold = Hold { id: (*id).to_owned(), scope: *scope, since: now.stamp() };
            standing = step(&standing, &Event::PlaceHold(hold), &now).unwrap().0.unwrap();
        }
        standing
    }

    #[test]
    fn every_scope_keeps_its_own_and_nothing_else() {
        let of_4711 = ["contact:4711"];
        let object = target("letters", "2026/a/1.json", &of_4711, NOW);
        let scopes = [
            ("tenant", true),
            ("bucket:letters", true),
            ("bucket:other", false),
            ("prefix:letters/2026/a", true),
            ("prefix:letters/2026/b", false),
            ("prefix:other/2026/a", false),
            ("subject:contact:4711", true),
            ("subject:contact:471", false),
            ("object:letters/2026/a/1.json", true),
            ("object:letters/2026/a/1", false),
        ];
        for (scope, kept) in scopes {
            assert_eq!(matter("M-1", scope, true).keeps(&object), kept, "{scope}");
            assert_eq!(scope.parse::<Scope>().unwrap().to_string(), scope);
        }
    }

    #[test]
    fn words_that_are_no_scope_are_refused() {
        for bad in
            ["", "all", "bucket:", "bucket:UPPER", "prefix:letters", "prefix:letters/", "object:letters/", "subject:"]
        {
            assert_eq!(bad.parse::<Scope>(), Err(BadScope), "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_later_is_kept_only_by_a_prospective_hold() {
        let later = target("letters", "a", &[], NOW.plus_seconds(1));
        assert!(!matter("M-1", "bucket:letters", false).keeps(&later));
        assert!(matter("M-1", "bucket:letters", false).keeps(&Target { written: NOW, ..later }));
        assert!(matter("M-1", "bucket:letters", true).keeps(&later));
        assert!(matter("M-1", "tenant", false).keeps(&later), "a tenant is held whole");
    }

    #[test]
    fn p3_a_matter_that_cannot_be_read_keeps_everything() {
        let rows = vec![matter("M-1", "bucket:letters", true), matter("M-3", "tenant", true)];
        let elsewhere = target("other", "a", &[], NOW);
        let known = Holds::in_force(&standing(&[("M-1", HoldScope::Part)]), rows.clone());
        assert!(known.over(&elsewhere).is_empty() && !known.keep_all());
        // M-2 has no row; M-3's row is not what the standing says; M-9's row is of a matter that is not in force.
        let held = standing(&[("M-1", HoldScope::Part), ("M-2", HoldScope::Part), ("M-3", HoldScope::Part)]);
        let doubtful = Holds::in_force(&held, rows);
        assert_eq!(doubtful.over(&elsewhere), ["M-2", "M-3"]);
        assert!(doubtful.keep_all());
        let not_in_force = Holds::in_force(&standing(&[]), vec![matter("M-9", "tenant", true)]);
        assert!(not_in_force.over(&elsewhere).is_empty() && not_in_force.ids().is_empty());
    }

    #[test]
    fn nothing_that_is_printed_names_anybody() {
        let said = format!("{:?}", matter("M-1", "subject:contact:4711", true));
        assert_eq!(said, "Matter(M-1, Scope(subject))");
    }
}
