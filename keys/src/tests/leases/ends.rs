//! How a lease ends: on its day, by a provider that refuses, lies or does not answer; and how rarely one is asked for.

use super::super::fill;
use super::link::far;
use super::{Mood, Rig, is_expired, is_void, options, rig, told};
use crate::tests::world::{TENANT, object};
use crate::{Cached, KeyClient, KeyError, ProviderError, REFUSED_SECONDS, TenantKeys, TenantState};
use std::sync::Arc;

#[test]
fn k04_an_unreachable_provider_is_not_noticed_before_the_lease_ends() {
    let Rig { world, switch, service, client } = rig();
    let keys = client.tenant(TENANT).unwrap();
    let seal = sealing(&keys);
    assert_eq!(seal(), Ok(()));
    let asked = switch.unwraps();
    world.advance(239);
    assert!(client.tick().is_empty(), "before 80 % of its time nobody asks");
    assert!(matches!(client.cached(TENANT), Cached::Keys(_)));
    assert_eq!(switch.unwraps(), asked, "a cached lease asks nobody");
    switch.set(Mood::Unreachable);
    world.advance(1);
    assert_eq!(client.tick(), [TENANT], "in use, so it is to be renewed");
    assert_eq!(told(&client.renew(TENANT)), Some(ProviderError::Unreachable.into()));
    assert!(client.tick().is_empty(), "not again at once");
    assert!(keys.check().is_ok() && client.tenant(TENANT).is_ok(), "the lease runs on");
    world.advance(59);
    client.tick();
    assert!(keys.check().is_ok() && client.tenant(TENANT).is_ok(), "to its last second");
    world.advance(1);
    assert!(!matches!(client.cached(TENANT), Cached::Keys(_)));
    assert!(is_expired(&keys), "at once when somebody asks, and with the next tick when nobody does");
    client.tick();
    assert!(is_expired(&keys), "what is under way ends with it, and is not told that somebody refused");
    assert!(keys.check().is_err_and(|error| error.is_outage() && !error.revokes()));
    assert_eq!(seal(), Err(crate::SealError::Expired), "an upload under way, too");
    assert_eq!(client.leases(), 0);
    assert_eq!(told(&client.tenant(TENANT)), Some(ProviderError::Unreachable.into()));
    let asked = switch.unwraps();
    for _ in 0..100 {
        assert_eq!(told(&client.tenant(TENANT)), Some(ProviderError::Unreachable.into()));
    }
    assert_eq!(switch.unwraps(), asked, "a refusal is remembered");
    switch.set(Mood::Well);
    world.advance(REFUSED_SECONDS);
    let again = client.tenant(TENANT).unwrap();
    assert!(again.new_dek(&object(TENANT, 1)).is_ok(), "it recovers alone");
    assert!(is_expired(&keys), "the old one does not come back");
    // Nothing of what was leased was written to live through the outage.
    let grant = service.grant(TENANT).unwrap();
    let secrets: Vec<[u8; 32]> = vec![*grant.purposes.trk[0].wrap_dek.bytes(), *grant.purposes.tik[0].wrap_ik.bytes()];
    let mut dirs = vec![world.dir.path().to_owned()];
    let mut searched = 0;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            searched += bytes.len();
            assert!(!bytes.windows(32).any(|window| secrets.iter().any(|secret| secret == window)));
        }
    }
    assert!(searched > 1000);
}

/// An upload under way: what its next chunk says.
fn sealing(keys: &TenantKeys) -> impl Fn() -> Result<(), crate::SealError> + use<> {
    let (dek, _) = keys.new_dek(&object(TENANT, 1)).unwrap();
    let info = crate::SegmentInfo {
        kind: crate::SegmentKind::Whole,
        part: 0,
        context: object(TENANT, 1),
        segment_id: fill(7),
        dek_id: dek.id(),
    };
    move || dek.sealer(&info).seal_chunk(&mut vec![1], crate::Last::Yes)
}

#[test]
fn k04_an_act_that_nobody_answered_ends_the_lease_without_a_refusal() {
    let Rig { world, service, .. } = rig();
    let far = far(&world, &service);
    let keys = far.client.tenant(TENANT).unwrap();
    far.client.follow(0).unwrap();
    let service = far.line.lock().take();
    // The link that is open still serves until it is used for something that fails; a poll has one of its own.
    drop(service);
    assert!(matches!(far.client.create_tenant(fill(0x56)), Err(KeyError::Unreachable)), "over a link of its own");
    assert!(keys.check().is_ok(), "another tenant's lease is not its business");
    assert!(matches!(far.client.suspend(TENANT), Err(KeyError::Unreachable)));
    assert!(is_expired(&keys), "fail closed: whether it was suspended, nobody knows");
}

#[test]
fn k04_a_suspension_after_the_end_of_a_lease_stays_a_refusal() {
    let Rig { world, client, .. } = rig();
    let keys = client.tenant(TENANT).unwrap();
    client.suspend(TENANT).unwrap();
    world.advance(301);
    client.tick();
    assert!(is_void(&keys), "revoked first, and it does not become an outage by growing old");
    client.resume(TENANT).unwrap();
    assert!(client.tenant(TENANT).is_ok());
}

#[test]
fn who_comes_first_at_the_end_of_an_idle_lease_takes_the_next_one() {
    let Rig { world, switch, client, .. } = rig();
    let idle = client.tenant(TENANT).unwrap();
    drop(idle);
    // Renewed once because it was used, and then nobody came.
    world.advance(240);
    client.cached(TENANT);
    assert_eq!(client.tick(), [TENANT]);
    client.renew(TENANT).unwrap();
    world.advance(294);
    client.tick();
    assert!(matches!(client.cached(TENANT), Cached::Keys(_)), "six seconds are left");
    world.advance(1);
    // As before, but it is renewed and idle again.
    client.renew(TENANT).unwrap();
    world.advance(295);
    let asked = switch.unwraps();
    let begun = client.tenant(TENANT).unwrap();
    assert!(switch.unwraps() > asked, "the service was asked first");
    world.advance(10);
    client.tick();
    assert!(begun.check().is_ok(), "so it does not end with the old lease");
    // Out of reach: the lease at hand serves to its end, for whoever comes.
    drop(begun);
    client.renew(TENANT).unwrap();
    world.advance(295);
    switch.set(Mood::Unreachable);
    let last = client.tenant(TENANT).unwrap();
    assert!(last.check().is_ok() && client.tenant(TENANT).is_ok());
    world.advance(5);
    client.tick();
    assert!(is_expired(&last));
}

#[test]
fn k05_a_provider_that_refuses_ends_the_lease_at_once() {
    let Rig { world, switch, service, client } = rig();
    let keys = client.tenant(TENANT).unwrap();
    let seal = sealing(&keys);
    switch.set(Mood::Disabled);
    world.advance(240);
    assert_eq!(client.tick(), [TENANT]);
    assert_eq!(told(&client.renew(TENANT)), Some(ProviderError::Refused.into()));
    assert!(is_void(&keys));
    assert_eq!(seal(), Err(crate::SealError::Revoked));
    assert_eq!(told(&client.tenant(TENANT)), Some(ProviderError::Refused.into()));
    // Any holder learns of it, not only the one who asked.
    switch.set(Mood::Well);
    world.advance(REFUSED_SECONDS);
    let (one, other) = (client.tenant(TENANT).unwrap(), KeyClient::embedded(Arc::clone(&service), options()).unwrap());
    switch.set(Mood::Disabled);
    assert!(other.tenant(TENANT).is_err());
    assert!(is_void(&one));
}

#[test]
fn k06_a_wrong_answer_gives_no_lease_and_ends_none() {
    let Rig { world, switch, client, .. } = rig();
    let keys = client.tenant(TENANT).unwrap();
    switch.set(Mood::Garbage);
    world.advance(240);
    assert_eq!(told(&client.renew(TENANT)), Some(ProviderError::Wrong.into()));
    assert!(keys.check().is_ok(), "the good one runs on");
    world.advance(60);
    client.tick();
    assert!(is_expired(&keys));
    assert_eq!(told(&client.tenant(TENANT)), Some(ProviderError::Wrong.into()), "and then nothing is served");
}

#[test]
fn k06_a_provider_that_does_not_answer_holds_up_nobody_but_who_asks() {
    let Rig { switch, service, client, world: _world } = rig();
    let other = fill(0x55);
    client.create_tenant(other).unwrap();
    let held = client.tenant(other).unwrap();
    switch.set(Mood::Stuck);
    let asked = switch.unwraps();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let client = Arc::clone(&client);
            std::thread::spawn(move || told(&client.tenant(TENANT)))
        })
        .collect();
    switch.wait_for(asked + 1);
    // Others are served, and the act that matters most does not wait behind a slow provider.
    assert!(matches!(client.cached(other), Cached::Keys(_)));
    assert_eq!(service.tenant_status(TENANT).unwrap().unwrap().state, TenantState::Active);
    client.suspend(TENANT).unwrap();
    client.suspend(other).unwrap();
    assert!(is_void(&held));
    switch.set(Mood::Well);
    for thread in waiting {
        assert_eq!(thread.join().unwrap(), Some(KeyError::Suspended), "what was read before is not handed out after");
    }
}

#[test]
fn k06_many_who_ask_for_one_tenant_are_one_request() {
    let Rig { switch, client, world: _world, .. } = rig();
    switch.set(Mood::Stuck);
    let asked = switch.unwraps();
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let client = Arc::clone(&client);
            std::thread::spawn(move || client.tenant(TENANT).is_ok())
        })
        .collect();
    switch.wait_for(asked + 1);
    switch.set(Mood::Well);
    assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
    assert_eq!(switch.unwraps(), asked + 2, "a tenant root and an index root, once each");
}

#[test]
fn ten_thousand_requests_ask_the_provider_a_handful_of_times() {
    let Rig { world, switch, client, service } = rig();
    let asked = switch.unwraps();
    for request in 0..10_000 {
        if request % 10 == 0 {
            // 1,000 s of traffic, ten requests a second.
            world.advance(1);
            for tenant in client.tick() {
                client.renew(tenant).unwrap();
            }
        }
        client.tenant(TENANT).unwrap().new_dek(&object(TENANT, 1)).unwrap();
    }
    let calls = switch.unwraps() - asked;
    assert!((2..=12).contains(&calls), "{calls} calls for 10,000 requests");
    assert!(service.provider_calls().unwraps <= switch.unwraps());
}
