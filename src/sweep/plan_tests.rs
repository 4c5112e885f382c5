//! P15 and P20 of docs/retention.md, "Invariants": a plan predicts the run, and a run leaves nothing to do.

use super::*;
use crate::model::atlas::GEOS;
use crate::model::limits::TERMINATION_KEEP_S;
use crate::tenant::{Hold, NewTenant, Proof, Replication, create};
use proptest::prelude::*;

const START: Millis = Millis(1_800_000_000_000);

#[derive(Clone, Debug)]
struct Life {
    events: Vec<(i64, Event)>,
    evidence: Evidence,
}

fn life() -> impl Strategy<Value = Life> {
    let hold = |scope| Hold { id: "M-1".into(), scope, since: Reading::at(START).stamp() };
    let event = prop_oneof![
        4 => Just(Event::Provisioned),
        1 => Just(Event::Disable),
        1 => Just(Event::Enable { consent: Some([1; 32]), key_usable: true }),
        6 => Just(Event::Terminate),
        1 => Just(Event::Reinstate { consent: Some([1; 32]) }),
        1 => any::<bool>().prop_map(move |all| {
            Event::PlaceHold(hold(if all { HoldScope::Tenant } else { HoldScope::Part }))
        }),
        1 => Just(Event::ReleaseHold { id: "M-1".into() }),
        3 => Just(Event::Sweep(Evidence { key_service_agrees: true, rotation_running: false })),
        1 => Just(Event::Verified(Proof { left: 0, key_opens: false, certificate: [2; 32] })),
    ];
    let events = proptest::collection::vec((0..TERMINATION_KEEP_S / 2, event), 0..10);
    (events, proptest::bool::weighted(0.8), proptest::bool::weighted(0.2)).prop_map(
        |(events, key_service_agrees, rotation_running)| Life {
            events,
            evidence: Evidence { key_service_agrees, rotation_running },
        },
    )
}

fn live(n: u8, life: &Life) -> Option<Candidate> {
    let geo = &GEOS[0];
    let new = NewTenant {
        id: TenantId([n; 16]),
        geo,
        home: &geo.regions[0],
        replication: Replication::None,
        consent: Some([1; 32]),
    };
    let mut now = START;
    let mut standing = create(new, &Reading::at(now)).unwrap().0;
    for (after, event) in &life.events {
        now = now.plus_seconds(*after);
        if let Ok((next, _)) = step(&standing, event, &Reading::at(now)) {
            standing = next?;
        }
    }
    Some(Candidate { standing, evidence: life.evidence })
}

/// What the sweep should do to a tenant, said again without the state machine.
fn expected(tenant: &Candidate, now: &Reading) -> Option<Result<Act, Why>> {
    let (standing, evidence) = (&tenant.standing, tenant.evidence);
    let due = standing.termination.is_some_and(|termination| now.cc_lo >= termination.due);
    let id = standing.id;
    let age = now.cc_lo.0 - standing.created.at.0;
    match standing.state {
        State::Provisioning => (age >= 900_000).then_some(Ok(Act::GiveUpTenant(id))),
        State::Active | State::Disabled | State::Purged => Some(Ok(Act::DropTenantDue(id))),
        State::PurgeHeld if !standing.holds.is_empty() => {
            let whole = standing.holds.iter().any(|hold| hold.scope == HoldScope::Tenant);
            let done = standing.part.as_ref().is_none_or(|part| part.done);
            Some(if whole || done { Err(Why::Held) } else { Ok(Act::HoldTenant(id)) })
        }
        // A life may have gone further than this sweep's now.
        State::Terminated | State::PurgeHeld if !due => None,
        State::Terminated | State::PurgeHeld => Some(match (evidence.key_service_agrees, evidence.rotation_running) {
            (false, _) => Err(Why::KeyServiceDisagrees),
            (true, true) => Err(Why::RotationRunning),
            (true, false) if !standing.holds.is_empty() => Ok(Act::HoldTenant(id)),
            (true, false) => Ok(Act::PurgeTenant(id)),
        }),
        State::Purging => Some(Ok(Act::ResumePurge(id))),
    }
}

/// The run, as far as tenants go: steps them, finishes purges, drops due rows.
fn run(plan: &Plan, due: &mut Vec<Due>, tenants: &mut BTreeMap<TenantId, Candidate>, now: &Reading) {
    for act in &plan.acts {
        let (id, event) = match act {
            Act::PurgeTenant(id) | Act::HoldTenant(id) | Act::ResumePurge(id) => {
                (id, Event::Sweep(tenants[id].evidence))
            }
            Act::GiveUpTenant(id) => (id, Event::ProvisioningChecked),
            Act::DropTenantDue(id) => {
                due.retain(|due| due.item != Item::Tenant(*id));
                continue;
            }
            Act::AbortUpload { upload, .. } => {
                due.retain(|due| !matches!(due.item, Item::Upload { upload: of, .. } if of == *upload));
                continue;
            }
            Act::ExpireObjects(region) => {
                due.retain(|due| due.item != Item::Objects(region));
                continue;
            }
            Act::CollectOrphans(region) => {
                due.retain(|due| due.item != Item::Orphans(region));
                continue;
            }
        };
        let candidate = tenants.get_mut(id).unwrap();
        let (next, effects) = step(&candidate.standing, &event, now).expect("the plan predicted it");
        let predicted = match act {
            Act::PurgeTenant(_) => effects[0] == Effect::Log(Transition::BeginPurge),
            Act::HoldTenant(_) => effects.contains(&Effect::DeleteUnheld),
            Act::GiveUpTenant(_) => effects[0] == Effect::Log(Transition::GiveUp),
            _ => effects.contains(&Effect::DeleteAll) && !matches!(effects[0], Effect::Log(_)),
        };
        assert!(predicted, "{act:?} did {effects:?}");
        match next {
            None => {
                tenants.remove(id);
                due.retain(|due| due.item != Item::Tenant(*id));
            }
            Some(next) if next.state == State::Purging => {
                let done = Event::Verified(Proof { left: 0, key_opens: false, certificate: [2; 32] });
                candidate.standing = step(&next, &done, now).unwrap().0.unwrap();
                due.retain(|due| due.item != Item::Tenant(*id));
            }
            Some(next) => {
                let round = next.part.as_ref().map_or(0, |part| part.round);
                candidate.standing =
                    step(&next, &Event::PartPurged { round }, now).map_or(next, |(done, _)| done.unwrap());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p2_p3_p15_p20_a_plan_predicts_the_run_and_a_run_leaves_nothing_to_do(
        lives in proptest::collection::vec(life(), 0..8),
        uploads in proptest::collection::vec((0..8u8, 0..4u8, 0..2 * TERMINATION_KEEP_S), 0..8),
        at in 0..4 * TERMINATION_KEEP_S,
    ) {
        let now = Reading::at(START.plus_seconds(at));
        let mut tenants: BTreeMap<_, _> = lives.iter().enumerate()
            .filter_map(|(n, life)| live(n as u8, life))
            .map(|candidate| (candidate.standing.id, candidate))
            .collect();
        // Every tenant has a row, due at once: whether it is really due, its standing says.
        let mut due: Vec<Due> = tenants.keys().map(|id| Due { at: START, item: Item::Tenant(*id) }).collect();
        due.extend(uploads.iter().map(|(tenant, upload, at)| Due {
            at: START.plus_seconds(*at),
            item: Item::Upload {
                tenant: TenantId([*tenant; 16]), bucket: BucketId([1; 16]), upload: UploadId([*upload; 16]),
            },
        }));
        due.push(Due { at: START, item: Item::Orphans(&GEOS[0].regions[1]) });

        let first = plan(&due, &tenants, &now);
        // Neither order nor repetition of the rows matters, and planning changes nothing.
        let mut shuffled: Vec<Due> = due.iter().rev().copied().chain(due.iter().copied()).collect();
        prop_assert_eq!(&plan(&shuffled, &tenants, &now), &first);
        shuffled.clear();
        prop_assert_eq!(&plan(&shuffled, &tenants, &now), &Plan::default());

        for (id, tenant) in &tenants {
            let act = first.acts.iter().copied().find(|act| matches!(act,
                Act::PurgeTenant(of) | Act::ResumePurge(of) | Act::HoldTenant(of) | Act::GiveUpTenant(of)
                | Act::DropTenantDue(of) if of == id));
            let waits = first.skipped.iter().find(|skipped| skipped.item == Item::Tenant(*id)).map(|skipped| skipped.why);
            prop_assert_eq!((act, waits), match expected(tenant, &now) {
                Some(Ok(act)) => (Some(act), None),
                Some(Err(why)) => (None, Some(why)),
                None => (None, None),
            });
        }
        for act in &first.acts {
            if let Act::AbortUpload { tenant, .. } = act {
                let standing = &tenants[tenant].standing;
                prop_assert!(!standing.holds.iter().any(|hold| hold.scope == HoldScope::Tenant));
                prop_assert!(standing.state < State::Purging && standing.state != State::Disabled);
                prop_assert!(!first.acts.contains(&Act::PurgeTenant(*tenant)), "it goes with its tenant");
            }
        }

        run(&first, &mut due, &mut tenants, &now);
        let second = plan(&due, &tenants, &now);
        prop_assert_eq!(&second.acts, &vec![], "two sweepers at the same time find nothing left to do");
    }
}

/// R30, P1: to the millisecond. Whatever is tried a moment before, nothing is destroyed; at the moment it is; and to terminate
/// again moves neither.
#[test]
fn r30_p1_due_to_the_millisecond_and_terminated_once() {
    let agreed = Evidence { key_service_agrees: true, rotation_running: false };
    let once =
        live(1, &Life { events: vec![(0, Event::Provisioned), (60, Event::Terminate)], evidence: agreed }).unwrap();
    let termination = once.standing.termination.expect("it is terminated");
    assert_eq!(termination.due, START.plus_seconds(60 + 7_776_000));
    for later_s in [0, 1, 40 * 86_400, 7_775_999] {
        let later = Reading::at(START.plus_seconds(60 + later_s));
        let (again, effects) = step(&once.standing, &Event::Terminate, &later).expect("it is no error");
        assert_eq!((again.as_ref(), effects.is_empty()), (Some(&once.standing), true), "{later_s} s later");
    }
    let row = [Due { at: START, item: Item::Tenant(TenantId([1; 16])) }];
    let tenants = BTreeMap::from([(TenantId([1; 16]), once)]);
    let acts = |at: i64| plan(&row, &tenants, &Reading::at(Millis(at))).acts;
    let due = termination.due.0;
    for before in [1, 999, 1000, 86_400_000, 7_776_000_000] {
        assert_eq!(acts(due - before), [], "{before} ms before");
    }
    for after in [0, 1, 86_400_000] {
        assert_eq!(acts(due + after), [Act::PurgeTenant(TenantId([1; 16]))], "{after} ms after");
    }
}

#[test]
fn r51_lateness_counts_what_only_we_keep_waiting() {
    let now = Reading::at(START.plus_seconds(10 * TERMINATION_KEEP_S));
    let due_life = |hold: bool| {
        let hold = hold.then(|| {
            let hold = Hold { id: "M-1".into(), scope: HoldScope::Tenant, since: Reading::at(START).stamp() };
            (0, Event::PlaceHold(hold))
        });
        let events = [(0, Event::Provisioned), (0, Event::Terminate)].into_iter().chain(hold);
        let evidence = Evidence { key_service_agrees: false, rotation_running: false };
        live(1, &Life { events: events.collect(), evidence }).unwrap()
    };
    let row = [Due { at: START.plus_seconds(TERMINATION_KEEP_S), item: Item::Tenant(TenantId([1; 16])) }];
    let tenants = BTreeMap::from([(TenantId([1; 16]), due_life(false))]);
    let refused = plan(&row, &tenants, &now);
    assert_eq!(refused.skipped, [Skipped { item: row[0].item, why: Why::KeyServiceDisagrees }]);
    assert_eq!(refused.late_s, 9 * TERMINATION_KEEP_S);
    let agreed = Evidence { key_service_agrees: true, rotation_running: false };
    let mut held = due_life(true);
    held.standing = step(&held.standing, &Event::Sweep(agreed), &now).unwrap().0.unwrap();
    let waiting = plan(&row, &BTreeMap::from([(TenantId([1; 16]), held)]), &now);
    assert_eq!((waiting.skipped[0].why, waiting.late_s), (Why::Held, 0));
}
