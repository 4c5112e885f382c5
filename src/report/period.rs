//! A span of the calendar, in UTC: a year, a quarter, a month or a day.

use crate::model::time::Millis;
use std::str::FromStr;

/// From its first instant to, and without, that of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first instant.
    pub from: Millis,
    /// The first one after it.
    pub until: Millis,
}

/// The text was no period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a period is a year, a quarter, a month or a day: 2026, 2026Q4, 2026-11, 2026-11-20")]
pub struct BadPeriod;

impl Period {
    /// Whether it lies in it.
    pub fn contains(&self, at: Millis) -> bool {
        self.from <= at && at < self.until
    }
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let number = |text: &str, digits: usize| {
            let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i16>().ok().filter(|_| plain).ok_or(BadPeriod)
        };
        let (year, rest) = text.split_at_checked(4).ok_or(BadPeriod)?;
        let year = number(year, 4)?;
        let (month, day, span) = match (rest.as_bytes(), rest.len()) {
            ([], _) => (1, 1, jiff::Span::new().years(1)),
            ([b'Q', quarter @ b'1'..=b'4'], _) => (i16::from(quarter - b'1') * 3 + 1, 1, jiff::Span::new().months(3)),
            ([b'-', ..], 3) => (number(&rest[1..], 2)?, 1, jiff::Span::new().months(1)),
            ([b'-', _, _, b'-', ..], 6) => (number(&rest[1..3], 2)?, number(&rest[4..], 2)?, jiff::Span::new().days(1)),
            _ => return Err(BadPeriod),
        };
        let small = |number: i16| i8::try_from(number).map_err(|_| BadPeriod);
        let first = jiff::civil::Date::new(year, small(month)?, small(day)?).map_err(|_| BadPeriod)?;
        let instant = |date: jiff::civil::Date| {
            let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| BadPeriod)?;
            Ok(Millis(zoned.timestamp().as_millisecond()))
        };
        Ok(Self { from: instant(first)?, until: instant(first.checked_add(span).map_err(|_| BadPeriod)?)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_quarters_months_and_days_end_where_the_next_begin() {
        for (text, from, until) in [
            ("2026", "2026-01-01", "2027-01-01"),
            ("2026Q4", "2026-10-01", "2027-01-01"),
            ("2028Q1", "2028-01-01", "2028-04-01"),
            ("2026-11", "2026-11-01", "2026-12-01"),
            ("2028-02-29", "2028-02-29", "2028-03-01"),
        ] {
            let period: Period = text.parse().unwrap();
            let at = |date: &str| format!("{date}T00:00:00Z").parse::<Millis>().unwrap();
            assert_eq!((period.from, period.until), (at(from), at(until)), "{text}");
            assert!(period.contains(period.from) && !period.contains(period.until));
        }
        for bad in
            ["", "26", "2026Q5", "2026Q", "2026-13", "2026-1", "2026-02-30", "2026-11-20T", "last", "+026", "２０２６"]
        {
            assert_eq!(bad.parse::<Period>(), Err(BadPeriod), "{bad}");
        }
    }
}
