//! too early, too late, too long.

use super::{Caller, refusal};
use geoseal_support::signer::Body;
use jiff::{SignedDuration, Timestamp};

#[test]
fn a_05_clock_skew_expiry_and_scope_date() {
    let mut caller = Caller::new("a-05");
    caller.put("k", b"x");
    let minutes = |minutes: i64| Timestamp::now() + SignedDuration::from_mins(minutes);
    for (at, status) in [(0, 200), (-14, 200), (14, 200), (-16, 403), (16, 403), (-60 * 24, 403), (60 * 24 * 365, 403)]
    {
        let signed = caller.of("GET", "k").signed_at(&caller.who, &caller.host(), Body::Hashed, minutes(at));
        assert_eq!(caller.send(&signed).status, status, "header, {at} min");
    }
    for (at, life, status) in [
        (-1, 120, 200),
        (-2, 60, 403),
        (-60 * 24 * 6, 604_800, 200),
        (-60 * 24 * 8, 604_800, 403),
        (14, 60, 200),
        (16, 60, 403),
        (0, 604_800, 200),
        (0, 1000, 200),
    ] {
        let url = caller.of("GET", "k").presigned_at(&caller.who, &caller.host(), life, minutes(at));
        assert_eq!(caller.send(&url).status, status, "presigned, {at} min, {life} s");
    }
    for life in [0, 604_801, u32::MAX] {
        let url = caller.of("GET", "k").presigned_at(&caller.who, &caller.host(), life, Timestamp::now());
        assert_eq!(refusal(&caller.send(&url)).0, 400, "{life}");
    }
    let url = caller.of("GET", "k").presigned_at(&caller.who, &caller.host(), 60, Timestamp::now());
    for life in ["-1", "+60", "60.0", " 60", "0x3c", "", "99999999999999999999", "18446744073709551617", "6e1"] {
        let mut changed = url.clone();
        changed.query.iter_mut().filter(|(n, _)| n == "X-Amz-Expires").for_each(|(_, v)| *v = life.to_owned());
        assert_eq!(refusal(&caller.send(&changed)).0, 400, "{life:?}");
    }
    // The scope's date and the request's are one.
    let signed = caller.of("GET", "k").signed(&caller.who, &caller.host(), Body::Hashed);
    let header = signed.headers.iter().find(|(name, _)| name == "authorization").unwrap().1.clone();
    let day = header.split('/').nth(1).unwrap().to_owned();
    let today = Timestamp::now().strftime("%Y%m%d").to_string();
    for other in ["20200101", "20991231"] {
        assert_eq!(
            refusal(&caller.send(&signed.clone().replace("authorization", &header.replace(&day, other)))).0,
            403
        );
        let mut changed = url.clone();
        changed.query.iter_mut().for_each(|(_, v)| *v = v.replace(&format!("/{today}/"), &format!("/{other}/")));
        assert!(matches!(refusal(&caller.send(&changed)).0, 400 | 403));
    }
    for date in ["20260101", "Sat, 21 Nov 2026 04:00:00 GMT", "20261332T256199Z", "", "0"] {
        assert!(matches!(refusal(&caller.send(&signed.clone().replace("x-amz-date", date))).0, 400 | 403), "{date:?}");
    }
}
