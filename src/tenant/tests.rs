//! The life of a tenant against a world with two machines, the daemon's and the key service's, whose true time the
//! test knows. P1 to P6, P15 and P16 of docs/retention.md, "Invariants", as far as they concern the pure machine.

use super::access::{Access, Operation, access};
use super::*;
use crate::model::atlas::GEOS;
use crate::model::clock::{Clock, Reading, SimulatedClock};
use proptest::prelude::*;

const DAY: i64 = 86_400_000;
const KEEP: i64 = TERMINATION_KEEP_S * 1000;
const START: Millis = Millis(1_800_000_000_000);
const CONSENT: Option<[u8; 32]> = Some([7; 32]);
const AGREED: Evidence = Evidence { key_service_agrees: true, rotation_running: false };

fn new(geo: usize, home: usize, replication: Replication) -> NewTenant {
    let geo = &GEOS[geo];
    NewTenant { id: TenantId([9; 16]), geo, home: &geo.regions[home], replication, consent: CONSENT }
}

fn active(now: &Reading) -> Standing {
    let (tenant, _) = create(new(0, 0, Replication::None), now).unwrap();
    step(&tenant, &Event::Provisioned, now).unwrap().0.unwrap()
}

fn at(state: State, now: &Reading) -> Standing {
    let walk: &[Event] = match state {
        State::Provisioning => return create(new(0, 0, Replication::None), now).unwrap().0,
        State::Active => &[],
        State::Disabled => &[Event::Disable],
        _ => &[Event::Terminate],
    };
    let mut tenant = walk.iter().fold(active(now), |tenant, event| step(&tenant, event, now).unwrap().0.unwrap());
    let due = Reading::at(now.cc_lo.plus_seconds(TERMINATION_KEEP_S));
    if state == State::PurgeHeld {
        tenant = step(&tenant, &Event::PlaceHold(hold("M-1", now)), now).unwrap().0.unwrap();
    }
    if matches!(state, State::PurgeHeld | State::Purging | State::Purged) {
        tenant = step(&tenant, &Event::Sweep(AGREED), &due).unwrap().0.unwrap();
    }
    if state == State::Purged {
        tenant = step(&tenant, &Event::Verified(clean()), &due).unwrap().0.unwrap();
    }
    assert_eq!(tenant.state, state);
    tenant
}

fn hold(id: &str, now: &Reading) -> Hold {
    Hold { id: id.into(), scope: HoldScope::Tenant, since: now.stamp() }
}

fn clean() -> Proof {
    Proof { left: 0, key_opens: false, certificate: [3; 32] }
}

/// Every state with every event, well after everything is due: where it leads, or that it is refused.
#[test]
fn every_transition_is_one_of_the_table() {
    let now = Reading::at(START);
    let later = Reading::at(START.plus_seconds(2 * TERMINATION_KEEP_S));
    let events: [(&str, Event); 11] = [
        ("provisioned", Event::Provisioned),
        ("failed", Event::ProvisioningFailed),
        ("checked", Event::ProvisioningChecked),
        ("disable", Event::Disable),
        ("enable", Event::Enable { consent: None, key_usable: true }),
        ("terminate", Event::Terminate),
        ("reinstate", Event::Reinstate { consent: CONSENT }),
        ("hold", Event::PlaceHold(hold("M-2", &now))),
        ("sweep", Event::Sweep(AGREED)),
        ("out of reach", Event::OutOfReach { sweep_interval_s: 3600 }),
        ("verified", Event::Verified(clean())),
    ];
    let mut changes = Vec::new();
    for state in State::ALL {
        for (name, event) in &events {
            // A reinstatement has to come before it is due.
            let when = if *name == "reinstate" { &now } else { &later };
            match step(&at(state, &now), event, when) {
                Ok((Some(next), effects)) if next.state == state && effects.is_empty() => {}
                Ok((next, _)) => {
                    changes.push(format!("{} {name} {}", state.as_str(), next.map_or("-", |next| next.state.as_str())))
                }
                Err(_) => {}
            }
        }
    }
    assert_eq!(
        changes,
        [
            "PROVISIONING provisioned ACTIVE",
            "PROVISIONING failed -",
            "PROVISIONING checked -",
            "ACTIVE disable DISABLED",
            "ACTIVE terminate TERMINATED",
            "ACTIVE hold ACTIVE",
            "DISABLED enable ACTIVE",
            "DISABLED terminate TERMINATED",
            "DISABLED hold DISABLED",
            "TERMINATED reinstate DISABLED",
            "TERMINATED hold TERMINATED",
            "TERMINATED sweep PURGING",
            "PURGE_HELD hold PURGE_HELD",
            "PURGING sweep PURGING",
            "PURGING out of reach PURGING",
            "PURGING verified PURGED",
        ]
    );
}

#[test]
fn refusals_say_why() {
    let now = Reading::at(START);
    let due = START.plus_seconds(TERMINATION_KEEP_S);
    let (just_before, on_time) = (Reading::at(Millis(due.0 - 1)), Reading::at(due));
    let terminated = at(State::Terminated, &now);
    let why = |tenant: &Standing, event, now: &Reading| step(tenant, &event, now).unwrap_err();
    assert_eq!(create(new(5, 0, Replication::Geo), &now).unwrap_err(), Refusal::NoInGeoReplica, "brazil");
    assert!(create(new(5, 0, Replication::None), &now).is_ok());
    let stray = NewTenant { home: &GEOS[1].regions[0], ..new(0, 0, Replication::None) };
    assert_eq!(create(stray, &now).unwrap_err(), Refusal::RegionNotInGeo);
    let unasked = NewTenant { consent: None, ..new(0, 0, Replication::None) };
    assert_eq!(create(unasked, &now).unwrap_err(), Refusal::ConsentRequired);
    assert_eq!(why(&terminated, Event::Sweep(AGREED), &just_before), Refusal::NotDue(due));
    assert!(step(&terminated, &Event::Sweep(AGREED), &on_time).is_ok(), "due is the first moment");
    let disagrees = Evidence { key_service_agrees: false, ..AGREED };
    assert_eq!(why(&terminated, Event::Sweep(disagrees), &on_time), Refusal::KeyServiceDisagrees);
    let rotating = Evidence { rotation_running: true, ..AGREED };
    assert_eq!(why(&terminated, Event::Sweep(rotating), &on_time), Refusal::RotationRunning);
    assert_eq!(why(&terminated, Event::Reinstate { consent: None }, &now), Refusal::ConsentRequired);
    assert_eq!(why(&terminated, Event::Reinstate { consent: CONSENT }, &on_time), Refusal::PastDue);
    let held = at(State::PurgeHeld, &now);
    assert_eq!(why(&held, Event::ReleaseHold { id: "M-9".into() }, &on_time), Refusal::NoSuchHold);
    assert_eq!(why(&held, Event::PlaceHold(hold("a b", &now)), &on_time), Refusal::BadHold);
    let partly = Hold { scope: HoldScope::Part, ..hold("M-1", &now) };
    assert_eq!(why(&held, Event::PlaceHold(partly), &on_time), Refusal::HoldExists);
    let purging = at(State::Purging, &now);
    assert_eq!(why(&purging, Event::Verified(Proof { left: 2, ..clean() }), &on_time), Refusal::SomethingLeft(2));
    let opens = Proof { key_opens: true, ..clean() };
    assert_eq!(why(&purging, Event::Verified(opens), &on_time), Refusal::KeyStillOpens);
    let locked_out = Event::Enable { consent: None, key_usable: false };
    assert_eq!(why(&at(State::Disabled, &now), locked_out, &now), Refusal::KeyUnusable);
}

#[test]
fn keys_go_first_only_when_a_region_was_out_of_reach_for_a_day() {
    let now = Reading::at(START);
    let purging = at(State::Purging, &now);
    let event = Event::OutOfReach { sweep_interval_s: 3600 };
    let until = START.plus_seconds(TERMINATION_KEEP_S + 3600 + OUT_OF_REACH_S_MAX);
    assert_eq!(step(&purging, &event, &Reading::at(Millis(until.0 - 1))).unwrap_err(), Refusal::NotDue(until));
    let (next, effects) = step(&purging, &event, &Reading::at(until)).unwrap();
    let residual = [Effect::DestroyKeys, Effect::ProbeKeys, Effect::CertifyResidual];
    assert_eq!(effects[1..], residual);
    let (again, effects) = step(next.as_ref().unwrap(), &event, &Reading::at(until)).unwrap();
    assert_eq!((again, effects), (next, vec![]));
}

#[test]
fn a_standing_is_stored_and_read_back() {
    let now = Reading::at(START);
    for state in State::ALL {
        let tenant = at(state, &now);
        assert_eq!(Standing::decode(&tenant.encode()), Some(tenant.clone()));
        assert_eq!(Standing::decode(&tenant.encode()[1..]), None);
        assert_eq!(Standing::decode(&[&[2], &tenant.encode()[1..]].concat()), None, "a later version");
    }
    assert_eq!(Standing::decode(&[]), None);
}

/// Which machine, if any, an adversary has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Liar {
    Nobody,
    Daemon,
    KeyService,
}

#[derive(Clone, Debug)]
enum Happening {
    Pass(i64),
    Turn { daemon: bool, ms: i64 },
    Discipline { daemon: bool, on: bool },
    Reboot { daemon: bool, off: i64, error: i64 },
    Attest { daemon: bool },
    Tenant(Event),
    Sweep,
    Rotate(bool),
    Lie(bool),
    Finish,
}

fn happening() -> impl Strategy<Value = Happening> {
    let span = || prop_oneof![1..=3_600_000i64, 1..=30 * DAY, Just(KEEP - 1), Just(KEEP), Just(1)];
    let error = || prop_oneof![Just(0), (-200..=200i64).prop_map(|days| days * DAY)];
    let id = || prop_oneof![Just("M-1"), Just("M-2")];
    let event = prop_oneof![
        2 => Just(Event::Disable),
        3 => Just(Event::Enable { consent: None, key_usable: true }),
        4 => Just(Event::Terminate),
        2 => Just(Event::Reinstate { consent: CONSENT }),
        1 => id().prop_map(|id| Event::PlaceHold(hold(id, &Reading::at(START)))),
        2 => id().prop_map(|id| Event::ReleaseHold { id: id.into() }),
        1 => Just(Event::OutOfReach { sweep_interval_s: 3600 }),
        1 => Just(Event::ProvisioningChecked),
    ];
    prop_oneof![
        6 => span().prop_map(Happening::Pass),
        1 => (any::<bool>(), error()).prop_map(|(daemon, ms)| Happening::Turn { daemon, ms }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(daemon, on)| Happening::Discipline { daemon, on }),
        1 => (any::<bool>(), span(), error()).prop_map(|(daemon, off, error)| Happening::Reboot { daemon, off, error }),
        1 => any::<bool>().prop_map(|daemon| Happening::Attest { daemon }),
        8 => event.prop_map(Happening::Tenant),
        6 => Just(Happening::Sweep),
        1 => any::<bool>().prop_map(Happening::Rotate),
        2 => any::<bool>().prop_map(Happening::Lie),
        1 => Just(Happening::Finish),
    ]
}

/// The truth, kept simply, beside the machine under test.
struct World {
    truth: i64,
    daemon: SimulatedClock,
    service: SimulatedClock,
    /// By how much each wall is wrong.
    wrong: [i64; 2],
    liar: Liar,
    tenant: Standing,
    /// What the key service keeps: when it was told first.
    keep_keys: Option<Stamp>,
    rotating: bool,
    /// Whether the liar lies just now.
    lying: bool,
    /// True time of the termination in force.
    terminated: Option<i64>,
    logged: Vec<Transition>,
}

impl World {
    fn new(liar: Liar) -> Self {
        let (daemon, service) = (SimulatedClock::frozen(START), SimulatedClock::frozen(START));
        let tenant = active(&daemon.now());
        let (wrong, keep_keys) = ([0; 2], None);
        Self {
            truth: START.0,
            daemon,
            service,
            wrong,
            liar,
            tenant,
            keep_keys,
            rotating: false,
            lying: true,
            terminated: None,
            logged: vec![],
        }
    }

    fn machine(&self, daemon: bool) -> &SimulatedClock {
        if daemon { &self.daemon } else { &self.service }
    }

    /// A liar dates the termination long ago, and finds everything due.
    fn now(&self, daemon: bool) -> Reading {
        let now = self.machine(daemon).now();
        let lies = self.lying && self.liar == if daemon { Liar::Daemon } else { Liar::KeyService };
        let lives = if self.terminated.is_none() { -10 } else { 100 };
        if lies { Reading::at(now.cc_lo.plus_seconds(lives * TERMINATION_KEEP_S)) } else { now }
    }

    fn evidence(&self) -> Evidence {
        let now = self.now(false);
        let key_service_agrees = self.keep_keys.is_some_and(|told| now.passed(&told, TERMINATION_KEEP_S));
        Evidence { key_service_agrees, rotation_running: self.rotating }
    }

    /// Steps the tenant; carries out the effects that the model knows.
    fn tell(&mut self, event: &Event) -> Result<Vec<Effect>, Refusal> {
        let now = self.now(true);
        let (next, effects) = step(&self.tenant, event, &now)?;
        for effect in &effects {
            match effect {
                Effect::Log(transition) => self.logged.push(*transition),
                Effect::KeepKeys { .. } => drop(self.keep_keys.get_or_insert(self.now(false).stamp())),
                Effect::ReleaseKeys => self.keep_keys = None,
                _ => {}
            }
        }
        match effects.first() {
            Some(Effect::Log(Transition::Terminate)) => self.terminated = Some(self.truth),
            Some(Effect::Log(Transition::Reinstate)) => self.terminated = None,
            _ => {}
        }
        self.tenant = next.expect("only a tenant that never was leaves nothing");
        Ok(effects)
    }

    fn happen(&mut self, happening: &Happening) -> Vec<Effect> {
        match happening {
            Happening::Pass(ms) => {
                self.truth += ms;
                self.daemon.advance(*ms).unwrap();
                self.service.advance(*ms).unwrap();
            }
            // Who turns a wall also loses its discipline: what the kernel vouches for is true.
            Happening::Turn { daemon, ms } => {
                self.machine(*daemon).set_disciplined(false).unwrap();
                self.machine(*daemon).jump(*ms).unwrap();
                self.wrong[usize::from(*daemon)] += ms;
            }
            Happening::Discipline { daemon, on } => {
                if *on {
                    let wrong = std::mem::take(&mut self.wrong[usize::from(*daemon)]);
                    self.machine(*daemon).jump(-wrong).unwrap();
                }
                self.machine(*daemon).set_disciplined(*on).unwrap();
            }
            Happening::Reboot { daemon, off, error } => {
                if *error != 0 {
                    self.machine(*daemon).set_disciplined(false).unwrap();
                }
                self.machine(*daemon).reboot(*off, *error).unwrap();
                self.machine(!*daemon).advance(*off).unwrap();
                self.wrong[usize::from(*daemon)] += error;
                self.truth += off;
            }
            Happening::Attest { daemon } => drop(self.machine(*daemon).attest(Millis(self.truth))),
            Happening::Tenant(event) => return self.tell(event).unwrap_or_default(),
            Happening::Sweep => return self.tell(&Event::Sweep(self.evidence())).unwrap_or_default(),
            Happening::Rotate(on) => self.rotating = *on,
            Happening::Lie(on) => self.lying = *on,
            Happening::Finish => return self.tell(&Event::Verified(clean())).unwrap_or_default(),
        }
        Vec::new()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tenant_lives_by_the_rules(
        liar in prop_oneof![Just(Liar::Nobody), Just(Liar::Daemon), Just(Liar::KeyService)],
        happenings in proptest::collection::vec(happening(), 1..80),
    ) {
        let mut world = World::new(liar);
        for happening in &happenings {
            let before = world.tenant.clone();
            let entries = world.logged.len();
            let effects = world.happen(happening);
            let now = &world.tenant;

            // P1, P16: destruction begins 90 real days after the termination in force, the newest one.
            let begins = |state: State| matches!(state, State::PurgeHeld | State::Purging);
            if begins(now.state) && !begins(before.state) {
                let lived = world.terminated.map(|at| world.truth - at);
                prop_assert!(lived.is_some_and(|ms| ms >= KEEP), "destroyed after {:?} ms", lived);
            }
            // P3: nothing that is held goes on to be destroyed.
            if now.state == State::Purging && before.state != State::Purging {
                prop_assert!(now.holds.is_empty());
            }
            // P4: a byte is taken only while active, which after a termination means reinstated and enabled.
            if access(now.state, Operation::ServicePut) == Access::Yes {
                prop_assert!(now.state == State::Active && world.terminated.is_none());
            }
            // P5: what the tenant may lie in never changes and never leaves its geo.
            prop_assert_eq!((&now.geo, &now.home, now.id), (&before.geo, &before.home, before.id));
            prop_assert!(now.regions().iter().all(|region| GEOS[0].regions.contains(region)));
            // P11: one entry for each change, first; none for what changes nothing.
            prop_assert_eq!(world.logged.len() - entries, usize::from(*now != before));
            prop_assert!(*now == before || matches!(effects.first(), Some(Effect::Log(_))));
            // What is known fits the state.
            prop_assert_eq!(now.disabled.is_some(), now.state == State::Disabled);
            prop_assert_eq!(now.termination.is_some(), now.state >= State::Terminated);
            prop_assert_eq!(now.purge.is_some(), now.state >= State::Purging);
            // No way back.
            prop_assert!(before.state != State::Purged || now == &before);
            prop_assert!(before.state != State::Purging || matches!(now.state, State::Purging | State::Purged));

            // P15: the same look again changes nothing, whoever takes it.
            if matches!(happening, Happening::Sweep) {
                let before = world.tenant.clone();
                let effects = world.happen(happening);
                prop_assert_eq!(&world.tenant, &before);
                prop_assert!(!effects.iter().any(|effect| matches!(effect, Effect::Log(_))));
            }
            // P6: disable and enable is the identity.
            if world.tenant.state == State::Active {
                let now = world.now(true);
                let off = step(&world.tenant, &Event::Disable, &now).unwrap().0.unwrap();
                let on = step(&off, &Event::Enable { consent: None, key_usable: true }, &now).unwrap().0.unwrap();
                prop_assert_eq!(&on, &world.tenant);
            }
            prop_assert_eq!(Standing::decode(&world.tenant.encode()), Some(world.tenant.clone()));
        }
    }

    /// P2, P3: with trusted clocks it is purged at the first sweep at or after T + 90 d, or of the last hold's release.
    #[test]
    fn a_due_tenant_is_purged_at_the_next_sweep(
        happenings in proptest::collection::vec(prop_oneof![
            (1..=20 * DAY).prop_map(Happening::Pass),
            (any::<bool>(), 1..=20 * DAY).prop_map(|(daemon, off)| Happening::Reboot { daemon, off, error: 0 }),
        ], 0..12),
        held_for in prop_oneof![Just(None), (1..400i64).prop_map(Some)],
    ) {
        let mut world = World::new(Liar::Nobody);
        if held_for.is_some() {
            world.tell(&Event::PlaceHold(hold("M-1", &world.now(true)))).unwrap();
        }
        world.tell(&Event::Terminate).unwrap();
        for happening in &happenings {
            world.happen(happening);
        }
        let left = START.0 + KEEP - world.truth;
        if left > 0 {
            world.happen(&Happening::Pass(left - 1));
            prop_assert!(world.happen(&Happening::Sweep).is_empty(), "a millisecond early");
            world.happen(&Happening::Pass(1));
        }
        world.happen(&Happening::Sweep);
        if let Some(days) = held_for {
            prop_assert_eq!(world.tenant.state, State::PurgeHeld);
            world.happen(&Happening::Pass(days * DAY));
            world.tell(&Event::ReleaseHold { id: "M-1".into() }).unwrap();
            world.happen(&Happening::Sweep);
        }
        prop_assert_eq!(world.tenant.state, State::Purging);
        world.happen(&Happening::Finish);
        prop_assert_eq!(world.tenant.state, State::Purged);
        prop_assert_eq!(world.tenant.purge.unwrap().certificate, Some([3; 32]));
    }
}
