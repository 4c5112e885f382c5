//! Conditional reads and byte ranges, pure.
//!
//! Called by `store` once it has read an object's row. Promises the precedence of RFC 9110 section 13.2.2, which S3
//! shares: `If-Match` silences `If-Unmodified-Since`, `If-None-Match` silences `If-Modified-Since`. Must not know HTTP
//! syntax beyond what `RangeAsked` holds.

use super::types::{RangeAsked, ReadConditions, StoreError};
use crate::model::time::Millis;

/// Whether an object may be served, given its ETag (without quotes) and the time it was written.
///
/// Errors: `PreconditionFailed` (412) or `NotModified` (304). HTTP dates have whole seconds, so times are compared as
/// seconds.
pub fn evaluate(conditions: &ReadConditions, etag: &str, modified: Millis) -> Result<(), StoreError> {
    let names = |list: &[String]| list.iter().any(|one| one == "*" || one == etag);
    match (&conditions.if_match, conditions.if_unmodified_since) {
        (Some(list), _) if !names(list) => return Err(StoreError::PreconditionFailed),
        (None, Some(since)) if modified.seconds() > since.seconds() => return Err(StoreError::PreconditionFailed),
        _ => {}
    }
    match (&conditions.if_none_match, conditions.if_modified_since) {
        (Some(list), _) if names(list) => Err(StoreError::NotModified { etag: etag.to_owned(), modified }),
        (None, Some(since)) if modified.seconds() <= since.seconds() => {
            Err(StoreError::NotModified { etag: etag.to_owned(), modified })
        }
        _ => Ok(()),
    }
}

/// The same for the source of a copy, where "not modified" too is a failed precondition.
pub fn evaluate_source(conditions: &ReadConditions, etag: &str, modified: Millis) -> Result<(), StoreError> {
    match evaluate(conditions, etag, modified) {
        Err(StoreError::NotModified { .. }) => Err(StoreError::PreconditionFailed),
        verdict => verdict,
    }
}

/// First and last byte of `asked` in an object of `size` bytes, inclusive; `last` is cut to the object.
///
/// Errors: `InvalidRange` when no byte of the object is in it, so always for an empty object.
pub fn resolve(asked: RangeAsked, size: u64) -> Result<(u64, u64), StoreError> {
    match asked {
        RangeAsked::FromTo(first, last) if first < size && last.is_none_or(|last| last >= first) => {
            Ok((first, last.map_or(size - 1, |last| last.min(size - 1))))
        }
        RangeAsked::Suffix(bytes) if bytes > 0 && size > 0 => Ok((size.saturating_sub(bytes), size - 1)),
        RangeAsked::FromTo(..) | RangeAsked::Suffix(_) => Err(StoreError::InvalidRange { size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(one: Option<&str>) -> Option<Vec<String>> {
        one.map(|one| vec!["other".to_owned(), one.to_owned()])
    }

    /// The table of RFC 9110 section 13.2.2 as S3 documents it: 200, 304 or 412.
    #[test]
    fn precedence() {
        let at = |seconds| Some(Millis::from_seconds(seconds));
        let modified = Millis(100_900);
        for (if_match, unmodified, none_match, since, status) in [
            (None, None, None, None, 200),
            (Some("e"), None, None, None, 200),
            (Some("*"), None, None, None, 200),
            (Some("x"), None, None, None, 412),
            (Some("e"), at(1), None, None, 200),
            (None, at(100), None, None, 200),
            (None, at(99), None, None, 412),
            (None, None, Some("e"), None, 304),
            (None, None, Some("*"), None, 304),
            (None, None, Some("x"), None, 200),
            (None, None, Some("x"), at(1000), 200),
            (None, None, None, at(100), 304),
            (None, None, None, at(99), 200),
            (Some("x"), None, Some("e"), None, 412),
            (Some("e"), None, Some("e"), None, 304),
        ] {
            let conditions = ReadConditions {
                if_match: list(if_match),
                if_none_match: list(none_match),
                if_modified_since: since,
                if_unmodified_since: unmodified,
            };
            let got = match evaluate(&conditions, "e", modified) {
                Ok(()) => 200,
                Err(StoreError::NotModified { .. }) => 304,
                Err(_) => 412,
            };
            assert_eq!(got, status, "{if_match:?} {unmodified:?} {none_match:?} {since:?}");
            let source = evaluate_source(&conditions, "e", modified).is_ok();
            assert_eq!(source, status == 200);
        }
    }

    #[test]
    fn ranges() {
        use RangeAsked::{FromTo, Suffix};
        for (asked, size, want) in [
            (FromTo(0, Some(0)), 1, Some((0, 0))),
            (FromTo(0, None), 10, Some((0, 9))),
            (FromTo(3, Some(5)), 10, Some((3, 5))),
            (FromTo(3, Some(u64::MAX)), 10, Some((3, 9))),
            (FromTo(9, Some(9)), 10, Some((9, 9))),
            (FromTo(10, None), 10, None),
            (FromTo(u64::MAX, Some(u64::MAX)), 10, None),
            (FromTo(5, Some(4)), 10, None),
            (Suffix(1), 10, Some((9, 9))),
            (Suffix(u64::MAX), 10, Some((0, 9))),
            (Suffix(0), 10, None),
            (Suffix(5), 0, None),
            (FromTo(0, None), 0, None),
        ] {
            assert_eq!(resolve(asked, size).ok(), want, "{asked:?} of {size}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_range_is_what_slicing_says(first in 0_u64..40, last in 0_u64..40, size in 0_u64..30) {
            let bytes: Vec<u64> = (0..size).collect();
            let want: Vec<u64> = bytes.iter().copied().filter(|b| (first..=last).contains(b)).collect();
            let got = resolve(RangeAsked::FromTo(first, Some(last)), size);
            match got {
                Ok((a, b)) => proptest::prop_assert_eq!((a, b), (want[0], want[want.len() - 1])),
                Err(_) => proptest::prop_assert!(want.is_empty()),
            }
        }
    }
}
