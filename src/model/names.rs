//! Names that callers choose, parsed once at the door. Object names are personal data: no `Debug` prints them.

use std::fmt;

/// Why a name was refused. The message never repeats the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Not valid UTF-8.
    #[error("the name is not valid UTF-8")]
    NotUtf8,
    /// Empty.
    #[error("the name is empty")]
    Empty,
    /// Longer than its bound.
    #[error("the name is too long")]
    TooLong,
    /// A character or shape that the naming rule forbids.
    #[error("the name has a character or shape that is not allowed")]
    Shape,
}

/// S3's object key: 1 to 1024 bytes of UTF-8, opaque, compared as bytes; never a path, never normalised.
///
/// ```
/// use geoseal::model::names::ObjectName;
/// assert!(ObjectName::parse("../a//b".into()).is_ok());
/// assert!(ObjectName::parse("x".repeat(1025)).is_err());
/// assert_eq!(format!("{:?}", ObjectName::parse("secret".into()).unwrap()), "ObjectName(6 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The longest name, in bytes of UTF-8. Source: the S3 API reference, "Object key naming".
    pub const BYTES_MAX: usize = 1024;

    /// Takes a name as it came from the wire, percent-decoding already done.
    pub fn parse(name: String) -> Result<Self, BadName> {
        match name.len() {
            0 => Err(BadName::Empty),
            1..=Self::BYTES_MAX => Ok(Self(name)),
            _ => Err(BadName::TooLong),
        }
    }

    /// The name as text. Never put it into a log, a label or an error.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether something in it looks like an e-mail address: a word, `@`, and words with a dot between.
    ///
    /// ```
    /// use geoseal::model::names::ObjectName;
    /// let has = |name: &str| ObjectName::parse(name.to_owned()).unwrap().has_email_address();
    /// assert!(has("mail/to=anna.b+x@example.org/01.json") && has("a@b.ch"));
    /// assert!(!has("mail/01.json") && !has("@scope/a.b") && !has("a@b") && !has("at @ b.ch") && !has("a@.ch"));
    /// ```
    pub fn has_email_address(&self) -> bool {
        let words = self.0.split(|c: char| !(c.is_alphanumeric() || "@._+%-".contains(c)));
        words.filter_map(|word| word.split_once('@')).any(|(local, domain)| {
            let (host, end) = domain.split_once('.').unwrap_or_default();
            !local.is_empty() && !host.is_empty() && end.starts_with(char::is_alphanumeric)
        })
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectName({} bytes)", self.0.len())
    }
}

/// What a customer calls a data subject: 1 to 256 bytes of UTF-8 without control characters and without white space at
/// either end. Personal data.
///
/// ```
/// use geoseal::model::names::SubjectName;
/// assert!(SubjectName::parse("contact:4711").is_ok());
/// assert!(SubjectName::parse(" contact:4711").is_err());
/// assert_eq!(format!("{:?}", SubjectName::parse("contact:4711").unwrap()), "SubjectName(12 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SubjectName(String);

/// The user metadata that names an object's data subject: `x-amz-meta-geoseal-subject`.
pub const SUBJECT_METADATA: &str = "geoseal-subject";

impl SubjectName {
    /// The longest name, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 256;

    /// Checks the naming rule.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        match name.len() {
            0 => Err(BadName::Empty),
            1..=Self::BYTES_MAX if name.chars().any(char::is_control) || name.trim() != name => Err(BadName::Shape),
            1..=Self::BYTES_MAX => Ok(Self(name.to_owned())),
            _ => Err(BadName::TooLong),
        }
    }

    /// The name as text. Never put it into a log, a label, an error, an argument or the environment.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectName({} bytes)", self.0.len())
    }
}

/// A bucket's name: 3 to 63 of `[a-z0-9.-]`, begins and ends with a letter or digit, no `..`, not an IPv4 address.
/// Unique within its tenant only. Source: the S3 user guide, "Bucket naming rules".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

impl BucketName {
    /// Checks the naming rule.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = name.as_bytes();
        if bytes.len() < 3 {
            return Err(BadName::Shape);
        }
        if bytes.len() > 63 {
            return Err(BadName::TooLong);
        }
        let inside = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        let address = name.parse::<std::net::Ipv4Addr>().is_ok();
        if !inside || !edge(bytes.first()) || !edge(bytes.last()) || name.contains("..") || address {
            return Err(BadName::Shape);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketName({} bytes)", self.0.len())
    }
}

/// A tenant's name: 1 to 63 of `[a-z0-9-]`, begins and ends with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TenantName(String);

impl TenantName {
    /// Checks the naming rule.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        let inside = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if name.is_empty() {
            return Err(BadName::Empty);
        }
        if name.len() > 63 {
            return Err(BadName::TooLong);
        }
        if !inside || name.starts_with('-') || name.ends_with('-') {
            return Err(BadName::Shape);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A login: the public half of an S3 credential, `GS` and 18 of `[A-Z2-7]`. Not secret, but kept out of logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessId(String);

impl AccessId {
    /// How many characters every login has. S3 clients expect about 20.
    pub const LEN: usize = 20;

    /// A fresh random login.
    pub fn random() -> Self {
        let bytes = super::ids::SegmentId::random().0;
        let letters = bytes.iter().map(|b| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(b & 31)]));
        let more = super::ids::SegmentId::random().0;
        let more = more.iter().map(|b| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(b & 31)]));
        Self("GS".chars().chain(letters.chain(more).take(Self::LEN - 2)).collect())
    }

    /// Checks the shape.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let shape = text.len() == Self::LEN && text.starts_with("GS");
        let letters = text.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'2'..=b'7'));
        if shape && letters { Ok(Self(text.to_owned())) } else { Err(BadName::Shape) }
    }

    /// The login as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessId(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rule() {
        for good in ["abc", "interactions", "a.b-c", "0ab"] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in ["ab", "Abc", "-abc", "abc-", "a..b", "192.168.5.4", "a_b", "", &"a".repeat(64)] {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_random_login_parses() {
        let id = AccessId::random();
        assert_eq!(AccessId::parse(id.as_str()), Ok(id));
    }
}
