//! Time as a value. Nobody calls the operating system's clock but the one implementation in `clock`.

use std::fmt;
use std::str::FromStr;

/// Milliseconds since 1970-01-01T00:00:00Z, no leap seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Millis(#[n(0)] pub i64);

impl Millis {
    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// From whole seconds; saturates.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// `self + seconds`, saturating: an overflow must never make a lock or a due time void.
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }
}

/// RFC 3339 in UTC with `Z`, whole seconds: `2026-11-20T11:30:00Z`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds().clamp(-377_705_023_201, 253_402_207_200);
        let stamp = jiff::Timestamp::from_second(seconds).expect("clamped to the calendar's range");
        write!(f, "{stamp}")
    }
}

/// The text was not an RFC 3339 time.
#[derive(Debug, thiserror::Error)]
#[error("expected an RFC 3339 time such as 2026-11-20T11:30:00Z")]
pub struct BadTime;

impl FromStr for Millis {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        let stamp: jiff::Timestamp = text.parse().map_err(|_| BadTime)?;
        Ok(Self(stamp.as_millisecond()))
    }
}

/// `91d`, `12h`, `1d30m`, `45s` in seconds; at least one. The error says how it is written.
pub fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "a duration is such as 91d, 12h, 1d30m or 45s".to_owned();
    let (mut sum, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let mut after = rest[digits..].chars();
        let unit = match after.next() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(wrong()),
        };
        sum = number.checked_mul(unit).and_then(|s| sum.checked_add(s)).ok_or_else(wrong)?;
        rest = after.as_str();
    }
    if sum == 0 { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_rfc_3339() {
        let t: Millis = "2026-11-20T11:30:00Z".parse().unwrap();
        assert_eq!(t.to_string(), "2026-11-20T11:30:00Z");
        assert_eq!(t.plus_seconds(7_776_000).to_string(), "2027-02-18T11:30:00Z");
        assert_eq!(Millis(i64::MAX).plus_seconds(1), Millis(i64::MAX));
    }
}
