//! The clock against a world whose true time the test knows. P14 and the clock's half of P1: whatever happens to the
//! walls, no deadline is reached before as much real time has passed.

use super::*;
use proptest::prelude::*;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const START: Millis = Millis(1_800_000_000_000);

fn mac(key: u8) -> Mac {
    Box::new(move |state| {
        let mut hash = [key; 32];
        hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &[&[key], state].concat()).as_ref());
        hash
    })
}

#[test]
fn wall_jumps_move_nothing_but_raise_an_alarm() {
    let clock = SimulatedClock::frozen(START);
    clock.jump(-80 * DAY).unwrap();
    assert_eq!(clock.now().cc_lo, START);
    assert_eq!(clock.status().suspect, Some(Suspect::Behind(80 * DAY)));
    clock.jump(160 * DAY).unwrap();
    assert_eq!((clock.now().cc_lo, clock.now().cc_hi), (START, Millis(START.0 + 80 * DAY)));
    assert_eq!(clock.status().suspect, Some(Suspect::Ahead(80 * DAY)));
    clock.jump(-80 * DAY).unwrap();
    assert_eq!(clock.advance(DAY).unwrap().cc_lo, Millis(START.0 + DAY));
    assert_eq!(clock.status().suspect, None);
}

#[test]
fn slewing_is_absorbed() {
    let clock = SimulatedClock::frozen(START);
    clock.drift(500).unwrap();
    clock.advance(7 * DAY).unwrap();
    assert_eq!(clock.now().wall.0 - clock.now().cc_lo.0, 7 * DAY / 2000);
    clock.drift(-500).unwrap();
    clock.advance(7 * DAY).unwrap();
    assert_eq!((clock.now().wall, clock.status().suspect), (clock.now().cc_lo, None));
}

#[test]
fn off_time_counts_at_once_when_both_ends_are_corroborated() {
    let clock = SimulatedClock::frozen(START);
    let stamp = clock.now().stamp();
    let after = clock.reboot(5 * DAY, 0).unwrap();
    assert_eq!((after.cc_lo, clock.status().pending_ms), (Millis(START.0 + 5 * DAY), None));
    assert_eq!(after.lo_for(&stamp), after.cc_lo, "the stamp was made before the off-time");
}

#[test]
fn off_time_is_pending_until_attested_and_then_shortens_no_deadline() {
    let clock = SimulatedClock::frozen(START);
    let early = clock.now().stamp();
    clock.set_disciplined(false).unwrap();
    clock.reboot(5 * DAY, 0).unwrap();
    assert_eq!((clock.now().cc_lo, clock.status().pending_ms), (START, Some(5 * DAY)));
    let late = clock.now().stamp();
    clock.advance(2 * HOUR).unwrap();
    assert!(clock.status().overdue, "an hour is the limit");
    let wall = clock.now().wall;
    assert!(matches!(clock.attest(wall.plus_seconds(1)), Err(ClockError::BeyondWall)));
    assert!(matches!(clock.attest(Millis(START.0 - 1)), Err(ClockError::BehindProven)));
    assert_eq!(clock.attest(wall).unwrap(), 5 * DAY);
    let now = clock.now();
    assert_eq!((now.cc_lo, clock.status().pending_ms, clock.status().overdue), (wall, None, false));
    assert_eq!(now.lo_for(&early), wall);
    assert_eq!(now.lo_for(&late).0 - late.at.0, 2 * HOUR, "only what passed since it was made");
}

#[test]
fn a_peer_corroborates_when_it_agrees_within_five_minutes() {
    let clock = SimulatedClock::frozen(START);
    clock.set_disciplined(false).unwrap();
    clock.reboot(DAY, 0).unwrap();
    assert!(!clock.corroborate(Millis(clock.now().wall.0 - 6 * 60_000)), "disagrees");
    assert_eq!(clock.now().cc_lo, START);
    assert!(clock.corroborate(Millis(clock.now().wall.0 - 60_000)));
    assert_eq!(clock.now().cc_lo, Millis(START.0 + DAY - 60_000), "the earlier of the two counts");
}

#[test]
fn a_wall_turned_back_before_the_restart_gains_nothing() {
    let clock = SimulatedClock::frozen(START);
    clock.set_disciplined(false).unwrap();
    clock.jump(-80 * DAY).unwrap();
    let stamp = clock.now().stamp();
    clock.reboot(HOUR, 80 * DAY).unwrap();
    clock.set_disciplined(true).unwrap();
    assert_eq!(clock.now().cc_lo, Millis(START.0 + HOUR));
    assert!(clock.now().lo_for(&stamp).0 - stamp.at.0 <= HOUR);
}

#[test]
fn the_state_outlives_the_process_and_no_edit() {
    let dir = tempfile::tempdir().unwrap();
    let (machine, state) = (dir.path().join("machine"), dir.path().join("state"));
    let file = |key| StateFile::new(&state, mac(key));
    assert!(matches!(SimulatedClock::open(&machine, file(7)), Err(ClockError::Missing)));
    let clock = SimulatedClock::create(&machine, file(7)).unwrap();
    let then = clock.advance(91 * DAY).unwrap();
    drop(clock);
    let clock = SimulatedClock::open(&machine, file(7)).unwrap();
    assert!(clock.now().cc_lo >= then.cc_lo && clock.now().cc_lo.0 - then.cc_lo.0 < HOUR);
    drop(clock);
    assert!(matches!(SimulatedClock::create(&machine, file(7)), Err(ClockError::Exists)));
    assert!(matches!(SimulatedClock::open(&machine, file(8)), Err(ClockError::Tampered)));
    let good = std::fs::read(&state).unwrap();
    for at in 0..good.len() - 1 {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&state, &bad).unwrap();
        assert!(matches!(file(7).load(), Err(ClockError::Tampered)), "byte {at}");
    }
}

#[test]
fn the_real_clock_runs_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let file = || StateFile::new(dir.path().join("clock"), mac(1));
    let clock = RealClock::create(SystemSource::new(), file()).unwrap();
    let first = clock.now();
    assert!(first.wall.0 > START.0 - 3650 * DAY && first.cc_hi >= first.cc_lo);
    drop(clock);
    let clock = RealClock::open(SystemSource::new(), file()).unwrap();
    assert!(clock.now().cc_lo >= first.cc_lo);
    assert_eq!(clock.status().counter, 2);
}

#[test]
fn a_bounded_number_of_credits_is_kept() {
    let clock = SimulatedClock::frozen(START);
    let stamps: Vec<_> = (0..ComplianceClock::CREDITS_MAX + 50)
        .map(|_| (clock.now().stamp(), clock.reboot(HOUR, 0).unwrap()).0)
        .collect();
    let now = clock.now();
    assert_eq!(now.credits.len(), ComplianceClock::CREDITS_MAX);
    assert!(stamps.iter().all(|stamp| now.lo_for(stamp) <= now.cc_lo));
    assert_eq!(now.lo_for(stamps.last().unwrap()), now.cc_lo);
}

/// What may happen to a machine.
#[derive(Clone, Debug)]
enum Happening {
    Run(i64),
    Pause(i64),
    Turn(i64),
    LoseTrust,
    Synchronise,
    Save,
    Crash,
    Reboot { clean: bool, off: i64, error: i64, trusted: bool },
    Attest,
    Peer,
    Stamp,
}

fn happening() -> impl Strategy<Value = Happening> {
    let span = || prop_oneof![1..=100i64, 1..=DAY / 1000, 1..=60 * DAY / 1000].prop_map(|s| s * 1000);
    let error = || prop_oneof![Just(0), -400_000..=400_000i64, (-100..=100i64).prop_map(|days| days * DAY)];
    prop_oneof![
        4 => span().prop_map(Happening::Run),
        1 => span().prop_map(Happening::Pause),
        1 => error().prop_map(Happening::Turn),
        1 => Just(Happening::LoseTrust),
        2 => Just(Happening::Synchronise),
        2 => Just(Happening::Save),
        1 => Just(Happening::Crash),
        2 => (any::<bool>(), span(), error(), any::<bool>())
            .prop_map(|(clean, off, error, trusted)| Happening::Reboot { clean, off, error, trusted }),
        1 => Just(Happening::Attest),
        1 => Just(Happening::Peer),
        3 => Just(Happening::Stamp),
    ]
}

struct World {
    truth: i64,
    boottime: i64,
    boot: u8,
    error: i64,
    trusted: bool,
    saved: Saved,
    clock: ComplianceClock,
    stamps: Vec<(i64, Stamp)>,
}

impl World {
    fn new(error: i64) -> Self {
        let trust = if error == 0 { Trust::Corroborated } else { Trust::Uncorroborated };
        let sample = Sample { wall: Millis(START.0 + error), boottime_ms: 0, boot_id: [0; 16], trust };
        let mut clock = ComplianceClock::begin(sample);
        let saved = clock.save();
        Self { truth: START.0, boottime: 0, boot: 0, error, trusted: error == 0, saved, clock, stamps: vec![] }
    }

    fn sample(&self) -> Sample {
        let trust = if self.trusted { Trust::Corroborated } else { Trust::Uncorroborated };
        let wall = Millis(self.truth + self.error);
        Sample { wall, boottime_ms: self.boottime, boot_id: [self.boot; 16], trust }
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Run(ms) => (self.truth, self.boottime) = (self.truth + ms, self.boottime + ms),
            Happening::Pause(ms) => self.truth += ms,
            Happening::Turn(ms) => (self.error, self.trusted) = (self.error + ms, false),
            Happening::LoseTrust => self.trusted = false,
            Happening::Synchronise => (self.error, self.trusted) = (0, true),
            Happening::Save => self.saved = self.clock.save(),
            Happening::Crash => self.clock = ComplianceClock::resume(self.saved.clone(), self.sample()),
            Happening::Reboot { clean, off, error, trusted } => {
                if clean {
                    self.saved = self.clock.save();
                }
                (self.truth, self.boottime, self.boot) = (self.truth + off, 0, self.boot.wrapping_add(1));
                (self.error, self.trusted) = (error, trusted && error == 0);
                self.clock = ComplianceClock::resume(self.saved.clone(), self.sample());
            }
            // Principals are honest; the clock itself refuses what the wall does not cover.
            Happening::Attest => drop(self.clock.attest(Millis(self.truth))),
            // So are peers.
            Happening::Peer => drop(self.clock.corroborate(Millis(self.truth))),
            Happening::Stamp => self.stamps.push((self.truth, self.clock.reading().stamp())),
        }
        self.clock.observe(self.sample());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p1_p14_no_deadline_is_reached_before_its_real_time(
        error in prop_oneof![Just(0i64), -100..=100i64],
        happenings in proptest::collection::vec(happening(), 1..60),
    ) {
        let mut world = World::new(error * DAY);
        for happening in &happenings {
            let before = world.clock.reading();
            world.happen(happening);
            let now = world.clock.reading();
            let lost = matches!(happening, Happening::Crash | Happening::Reboot { clean: false, .. });
            prop_assert!(lost || now.cc_lo >= before.cc_lo, "cc_lo went back");
            prop_assert_eq!(now.cc_hi, now.cc_lo.max(now.wall));
            for (truth, stamp) in &world.stamps {
                let (counted, real) = (now.lo_for(stamp).0 - stamp.at.0, world.truth - truth);
                prop_assert!(counted <= real, "counted {} of {} ms after {:?}", counted, real, happening);
            }
        }
    }

    #[test]
    fn a_disciplined_clock_loses_nothing(
        happenings in proptest::collection::vec((1..=40 * DAY / 1000, any::<bool>()), 1..40),
    ) {
        let mut world = World::new(0);
        let first = world.clock.reading().stamp();
        for (seconds, off) in happenings {
            world.happen(&match off {
                true => Happening::Reboot { clean: true, off: seconds * 1000, error: 0, trusted: true },
                false => Happening::Run(seconds * 1000),
            });
            let now = world.clock.reading();
            prop_assert_eq!((now.cc_lo.0, now.lo_for(&first)), (world.truth, now.cc_lo));
        }
    }
}
