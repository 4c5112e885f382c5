//! A query string as pairs, decoded as forms are: `+` is a space.
//!
//! Reads what `s3s` reads, only stricter: bytes that are no UTF-8 are refused instead of replaced, because two names
//! that differ must not become one.

use percent_encoding::percent_decode_str;

/// The pairs in their order; `None` when one is not UTF-8. A name without `=` has an empty value.
pub(super) fn parse(query: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    };
    query.split('&').filter(|one| !one.is_empty()).map(pair).collect()
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let pairs = |text| parse(text).map(|pairs| pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>());
        assert_eq!(pairs("a=b+c&&acl&x=%2B%C3%BC=").unwrap(), ["a=b c", "acl=", "x=+ü="]);
        assert_eq!(pairs(""), Some(vec![]));
        assert_eq!(pairs("a=%ff"), None);
        assert_eq!(pairs("%ed%a0%80=1"), None, "a lone surrogate");
    }
}
