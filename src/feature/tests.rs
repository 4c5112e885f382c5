//! The rules of features against a clock that the test turns. P6 and P17 of docs/features.md, "Invariants".

use super::*;
use crate::model::clock::{Clock, SimulatedClock};
use crate::model::time::Millis;
use proptest::prelude::*;

const START: Millis = Millis(1_800_000_000_000);
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const EMAIL: Feature = Feature::EmailEngagement;
const BUCKET: BucketId = BucketId([3; 16]);

fn agreed(text: u8) -> Terms {
    Terms { consent: Some([text; 32]), ..Terms::default() }
}

fn on() -> Features {
    let mut features = Features::default();
    assert_eq!(features.enable(EMAIL, &agreed(1), "admin-1", true, &Reading::at(START)), Ok(true));
    features
}

#[test]
fn a_feature_is_on_only_under_a_consent_that_is_not_withdrawn() {
    let now = Reading::at(START);
    let mut features = Features::default();
    let nothing = Terms::default();
    assert_eq!(features.enable(EMAIL, &nothing, "a", true, &now), Err(Refusal::ConsentRequired));
    assert_eq!(features, Features::default(), "a refusal leaves nothing");
    let mut features = on();
    assert_eq!(features.enable(EMAIL, &nothing, "a", true, &now), Ok(false), "it is on");
    assert_eq!(features.enable(EMAIL, &agreed(1), "a", true, &now), Ok(false), "the same text again");
    assert!(features.disable(EMAIL, &now) && !features.disable(EMAIL, &now));
    assert!(features.setting(EMAIL).unwrap().consent().is_none(), "disabling ended the consent");
    assert_eq!(features.enable(EMAIL, &nothing, "a", true, &now), Err(Refusal::ConsentRequired));
    assert_eq!(features.enable(EMAIL, &agreed(1), "a", true, &now), Ok(true));
    assert_eq!(features.setting(EMAIL).unwrap().consents.len(), 2, "both consents are on record");
    let transient = Terms { classes: vec![Class::Transient], ..agreed(2) };
    assert_eq!(features.enable(EMAIL, &transient, "a", true, &now), Err(Refusal::NotStorable));
}

/// What may be written: named class, the bucket's own, whether the feature is on, whether an actor is named.
#[test]
fn the_table_of_classes() {
    let with_default = |class| {
        let mut features = on();
        features.buckets.push((BUCKET, BucketRules { default_class: Some(class), ..BucketRules::default() }));
        features
    };
    let mut off = with_default(Class::Interaction);
    off.disable(EMAIL, &Reading::at(START));
    for (features, named, actor, want) in [
        (&on(), None, false, Ok(None)),
        (&on(), Some("interaction"), false, Ok(Some(Class::Interaction))),
        (&on(), Some("contact"), false, Ok(Some(Class::Contact))),
        (&on(), Some("Interaction"), false, Err(No::UnknownClass)),
        (&on(), Some(""), false, Err(No::UnknownClass)),
        (&on(), Some("transient"), true, Err(No::NotStorable)),
        (&on(), Some("tracked-activity"), false, Err(No::NoActor)),
        (&on(), Some("tracked-activity"), true, Ok(Some(Class::TrackedActivity))),
        (&with_default(Class::Account), None, false, Ok(Some(Class::Account))),
        (&with_default(Class::Account), Some("lead"), false, Ok(Some(Class::Lead))),
        (&off, None, false, Err(No::Disabled(EMAIL))),
        (&off, Some("interaction"), false, Err(No::Disabled(EMAIL))),
        (&off, Some("tracked-activity"), true, Err(No::Disabled(EMAIL))),
        (&off, Some("contact"), false, Ok(Some(Class::Contact))),
        (&off, Some("transient"), false, Err(No::NotStorable)),
        (&Features::default(), None, false, Ok(None)),
        (&Features::default(), Some("interaction"), false, Err(No::Disabled(EMAIL))),
    ] {
        assert_eq!(features.may_write(BUCKET, named, actor), want, "{named:?} {actor}");
    }
    assert_eq!(on().may_write(BucketId([4; 16]), None, false), Ok(None), "a default is one bucket's");
}

#[test]
fn lifetimes_are_1_to_365_days_and_30_when_nothing_is_said() {
    assert_eq!(Ttl::default().days(), 30);
    assert!(Ttl::of_days(0).is_none() && Ttl::of_days(366).is_none());
    let mut features = on();
    features.setting_mut(EMAIL).unwrap().ttl = Ttl::of_days(7).unwrap();
    assert_eq!(features.ttl(EMAIL, BUCKET).days(), 7);
    features.buckets.push((BUCKET, BucketRules { ttl: Ttl::of_days(365), ..BucketRules::default() }));
    assert_eq!(features.ttl(EMAIL, BUCKET).days(), 365);
}

#[test]
fn the_hour_of_a_record_is_in_its_name() {
    let written = Millis(42);
    let hour: Millis = "2026-11-20T11:00:00Z".parse().unwrap();
    assert_eq!(hour_of("interactions/dt=2026-11-20/hr=11/x.json", written), hour);
    assert_eq!(hour_of("dt=2026-11-20/x", written), hour.plus_seconds(-11 * 3600));
    for other in ["x", "hr=11/x", "dt=2026-13-20/hr=11/x", "dt=/hr=11", "DT=2026-11-20/hr=11/x"] {
        assert_eq!(hour_of(other, written), written, "{other}");
    }
    assert_eq!(hour_of("dt=2026-11-20/hr=24/x", written), hour.plus_seconds(-11 * 3600));
}

#[test]
fn thinned_watermarks_cover_no_less_and_begin_no_earlier() {
    let mut marks = Watermarks::default();
    for n in 0..3 * WATERMARKS_MAX as i64 {
        let mark = Watermark {
            until: Millis(n * HOUR),
            seen_ms: n * HOUR + 1,
            enabled_ms: n * HOUR,
            from: None,
            looked: None,
        };
        assert_eq!(marks.commit(mark), Ok(true));
    }
    for n in 1..3 * WATERMARKS_MAX as i64 - 1 {
        let began = marks.consumed_at(Millis(n * HOUR - 1), n * HOUR).expect("covered");
        assert!(began >= n * HOUR && began <= (n + 8) * HOUR, "hour {n} began at {}", began / HOUR);
    }
    let old = Watermark { until: Millis(5 * HOUR), seen_ms: 0, enabled_ms: i64::MAX, from: None, looked: None };
    assert_eq!(marks.commit(old), Ok(false));
}

/// The hours from `from` until `until`, when the enabled clock and the job's look were at hour `at`.
fn window(from: i64, until: i64, at: i64) -> Watermark {
    let (seen_ms, enabled_ms) = (at * HOUR, at * HOUR);
    Watermark { from: Some(Millis(from * HOUR)), until: Millis(until * HOUR), seen_ms, enabled_ms, looked: None }
}

#[test]
fn p17_windows_meet_and_cover_their_own_hours_only() {
    let mut marks = Watermarks::default();
    let (hour, stands) = (|hour: i64| Millis(hour * HOUR), |marks: &Watermarks| marks.stands().map(|at| at.0 / HOUR));
    assert_eq!(marks.commit(window(10, 12, 60)), Ok(true), "the first begins where it likes");
    assert_eq!(marks.commit(window(13, 14, 62)), Err(Gap::Ahead(hour(12))));
    assert_eq!(marks.commit(window(12, 14, 62)), Ok(true));
    assert_eq!(marks.commit(window(12, 14, 62)), Ok(false), "the same again");
    assert_eq!((marks.revision, stands(&marks)), (2, Some(14)));
    // What was before the first, or came after a look, is covered by nothing.
    let (consumed, written) = (|marks: &Watermarks, at, written| marks.consumed_at(hour(at), written * HOUR), 50);
    assert_eq!(consumed(&marks, 9, written), None);
    assert_eq!(consumed(&marks, 11, written), Some(60 * HOUR));
    assert_eq!(consumed(&marks, 11, 61), None, "another window's look has not seen it");
    assert_eq!(consumed(&marks, 12, 61), Some(62 * HOUR));
    // Older hours again: what had come late is covered, and it stands where it stood. Who was covered goes by the first time.
    assert_eq!(marks.commit(window(10, 12, 70)), Ok(true));
    assert_eq!((consumed(&marks, 11, 61), consumed(&marks, 11, written)), (Some(70 * HOUR), Some(60 * HOUR)));
    assert_eq!(stands(&marks), Some(14));
    assert_eq!(marks.commit(window(3, 9, 71)), Err(Gap::Behind(hour(10))));
    assert_eq!(marks.commit(window(8, 10, 71)), Ok(true));
    assert_eq!((consumed(&marks, 9, written), stands(&marks)), (Some(71 * HOUR), Some(14)));

    // What was written before windows were covers everything before its end, and the next window begins at it.
    #[derive(minicbor::Encode)]
    #[cbor(map)]
    struct Before(#[n(0)] Millis, #[n(1)] i64, #[n(2)] i64);
    let before = minicbor::to_vec(Before(hour(12), 60 * HOUR, 60 * HOUR)).unwrap();
    let before: Watermark = minicbor::decode(&before).unwrap();
    let mut marks = Watermarks::default();
    assert_eq!(marks.commit(before), Ok(true));
    assert_eq!(consumed(&marks, -1000, written), Some(60 * HOUR));
    assert_eq!(marks.commit(window(13, 14, 62)), Err(Gap::Ahead(hour(12))));
    assert_eq!(marks.commit(window(12, 14, 62)), Ok(true));
}

#[test]
fn one_look_is_on_record_once_though_the_clocks_it_is_worked_out_by_tick_apart() {
    let look = |from, until, at, tick| {
        let mark = window(from, until, at);
        Watermark { seen_ms: mark.seen_ms + tick, looked: Some(Millis(at * HOUR)), ..mark }
    };
    let mut marks = Watermarks::default();
    assert_eq!(marks.commit(look(10, 12, 60, 0)), Ok(true));
    assert_eq!(marks.commit(look(10, 12, 60, 1)), Ok(false), "the same window again, a tick later");
    assert_eq!(marks.commit(look(11, 12, 60, 1)), Ok(false), "a part of it");
    assert_eq!(marks.commit(look(10, 12, 61, 0)), Ok(true), "another look");
    assert_eq!(marks.commit(look(10, 13, 60, 1)), Ok(true), "more hours");
    assert_eq!(marks.revision, 3);
}

#[test]
fn thinned_windows_cover_what_they_covered_and_begin_no_earlier() {
    let mut marks = Watermarks::default();
    let hours = 3 * WATERMARKS_MAX as i64;
    for n in 0..hours {
        assert_eq!(marks.commit(window(n, n + 1, n + 49)), Ok(true));
    }
    for n in 0..hours {
        let began = marks.consumed_at(Millis(n * HOUR), (n + 1) * HOUR).expect("covered");
        assert!(began >= (n + 49) * HOUR && began <= (n + 49 + 8) * HOUR, "hour {n} began at {}", began / HOUR);
        assert_eq!(marks.consumed_at(Millis(n * HOUR), (n + 49) * HOUR), None, "it came after the job looked");
    }
    assert_eq!(marks.stands(), Some(Millis(hours * HOUR)));
    assert_eq!(marks.commit(window(hours + 1, hours + 2, hours + 60)), Err(Gap::Ahead(Millis(hours * HOUR))));
}

#[derive(Clone, Debug)]
enum Turn {
    Advance(i64),
    Jump(i64),
    Reboot(i64),
    Disable,
    Enable,
    Serve(bool),
    Commit { behind: i64, hours: Option<i64> },
    Write,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        4 => (0..40 * DAY).prop_map(Turn::Advance),
        1 => (-400 * DAY..400 * DAY).prop_map(Turn::Jump),
        1 => (0..30 * DAY).prop_map(Turn::Reboot),
        1 => Just(Turn::Disable),
        2 => Just(Turn::Enable),
        1 => any::<bool>().prop_map(Turn::Serve),
        2 => (0..100 * HOUR, proptest::option::of(1..500i64)).prop_map(|(behind, hours)| Turn::Commit { behind, hours }),
        2 => Just(Turn::Write),
    ];
    proptest::collection::vec(turn, 1..60)
}

/// An object, by the test's own book.
struct Object {
    hour: Millis,
    written_ms: i64,
    /// Real milliseconds, enabled and in service, since the first watermark that covers it.
    lived: Option<i64>,
}

proptest! {
    /// P17: whatever the clocks and the administrators do, an object that is due has lived its lifetime, in real time for
    /// which the feature was on, behind a watermark that covers it.
    #[test]
    fn p17_only_enabled_time_behind_the_watermark_counts(turns in turns(), days in 1..=60u16) {
        let clock = SimulatedClock::frozen(START);
        let mut features = on();
        let ttl = Ttl::of_days(days).unwrap();
        let (mut serving, mut marks, mut objects) = (true, Watermarks::default(), Vec::<Object>::new());
        for turn in turns {
            let before = clock.now();
            match turn {
                Turn::Advance(ms) => {
                    clock.advance(ms).unwrap();
                    if serving && features.is_on(EMAIL) {
                        objects.iter_mut().filter_map(|object| object.lived.as_mut()).for_each(|lived| *lived += ms);
                    }
                }
                Turn::Jump(ms) => drop(clock.jump(ms).unwrap()),
                Turn::Reboot(ms) => {
                    clock.reboot(ms, 0).unwrap();
                    if serving && features.is_on(EMAIL) {
                        objects.iter_mut().filter_map(|object| object.lived.as_mut()).for_each(|lived| *lived += ms);
                    }
                }
                Turn::Disable => {
                    features.disable(EMAIL, &before);
                }
                Turn::Enable => {
                    features.enable(EMAIL, &agreed(1), "a", serving, &before).unwrap();
                }
                Turn::Serve(runs) => {
                    serving = runs;
                    features.serve(runs, &before);
                }
                Turn::Commit { behind, hours } => {
                    let enabled_ms = features.setting(EMAIL).unwrap().clock.at(&before);
                    let until = Millis(before.wall.0 - behind);
                    let from = hours.map(|hours| Millis(until.0 - hours * HOUR));
                    if marks.commit(Watermark { until, seen_ms: enabled_ms, enabled_ms, from, looked: None }).is_ok() {
                        let covered = |object: &&mut Object| object.hour < until && from.is_none_or(|from| from <= object.hour);
                        for object in objects.iter_mut().filter(covered) {
                            object.lived.get_or_insert(0);
                        }
                    }
                }
                Turn::Write if features.is_on(EMAIL) && serving => {
                    let written_ms = features.setting(EMAIL).unwrap().clock.at(&before);
                    objects.push(Object { hour: before.wall, written_ms, lived: None });
                }
                Turn::Write => {}
            }
            let enabled_ms = features.setting(EMAIL).unwrap().clock.at(&clock.now());
            for object in &objects {
                if marks.left_ms(object.hour, object.written_ms, ttl, enabled_ms) <= 0 {
                    let lived = object.lived.expect("nothing is due without a watermark that covers it");
                    prop_assert!(lived >= ttl.millis(), "due after {lived} ms");
                }
            }
        }
    }

    /// P6: off and on again, for however long, is the identity on everything but the record of consents and the time.
    #[test]
    fn p6_disable_and_enable_is_the_identity(off_ms in 0..4000 * DAY, on_ms in 0..400 * DAY, ttl in 1..=365u16) {
        let mut features = on();
        features.buckets.push((BUCKET, BucketRules { purposes: vec![Purpose::Kpi], ..BucketRules::default() }));
        features.setting_mut(EMAIL).unwrap().ttl = Ttl::of_days(ttl).unwrap();
        let stopped = Reading::at(Millis(START.0 + on_ms));
        let shown = features.setting(EMAIL).unwrap().clock.at(&stopped);
        let before = features.clone();
        prop_assert!(features.disable(EMAIL, &stopped));
        let back = Reading::at(Millis(START.0 + on_ms + off_ms));
        prop_assert_eq!(features.setting(EMAIL).unwrap().clock.at(&back), shown, "it stands still");
        prop_assert!(features.enable(EMAIL, &agreed(1), "a", true, &back).unwrap());
        let (then, now) = (before.setting(EMAIL).unwrap(), features.setting(EMAIL).unwrap());
        prop_assert_eq!(now.clock.at(&back), shown);
        prop_assert_eq!((now.ttl, now.follow_only, now.dropped), (then.ttl, then.follow_only, then.dropped));
        prop_assert_eq!(&features.buckets, &before.buckets);
        for class in Class::ALL {
            prop_assert_eq!(features.may_use(Some(*class)), before.may_use(Some(*class)));
        }
    }
}
