//! Leases, their ends, and what a provider or a link can do to them (K-01, K-03 to K-06). The provider is the real local
//! keyring behind a switch; time is the test's.

use super::world::{TENANT, World, await_end, object, trk};
use super::{fill, geo};
use crate::{
    Cached, Connector, ExportKey, GeoKeyService, KeyAuthority, KeyClient, KeyError, KeyKind, KeyName, LeaseOptions,
    Link, MasterKeys, MasterVersion, ObjectContext, OpenClass, ProviderError, ProviderKind, REFUSED_SECONDS, Refusal,
    RemoteAuthority, Reply, Request, RootFields, RootSecret, StateMac, TenantKeys, TenantState, Witness,
};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the provider does when it is asked to unwrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Well,
    Unreachable,
    Disabled,
    /// Answers with a key, but another one.
    Garbage,
    /// Does not answer before its mood changes.
    Stuck,
}

struct Switch {
    mood: Mutex<Mood>,
    changed: Condvar,
    unwraps: AtomicU64,
}

impl Switch {
    fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
        self.changed.notify_all();
    }

    fn unwraps(&self) -> u64 {
        self.unwraps.load(Ordering::SeqCst)
    }

    /// Waits until the provider was asked `count` times.
    fn wait_for(&self, count: u64) {
        let mut mood = self.mood.lock();
        while self.unwraps() < count {
            self.changed.wait(&mut mood);
        }
    }
}

struct Moody(Box<dyn MasterKeys>, Arc<Switch>);

impl MasterKeys for Moody {
    fn kind(&self) -> ProviderKind {
        self.0.kind()
    }

    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        self.0.versions()
    }

    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        self.0.wrap(fields, root, context)
    }

    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        let mut mood = self.1.mood.lock();
        self.1.unwraps.fetch_add(1, Ordering::SeqCst);
        self.1.changed.notify_all();
        while *mood == Mood::Stuck {
            self.1.changed.wait(&mut mood);
        }
        match *mood {
            Mood::Well | Mood::Stuck => self.0.unwrap(fields, blob, context),
            Mood::Unreachable => Err(ProviderError::Unreachable),
            Mood::Disabled => Err(ProviderError::Refused),
            Mood::Garbage => Ok(RootSecret(crate::material::Secret::random())),
        }
    }

    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        self.0.rotate_to(version)
    }

    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        self.0.set_enabled(version, enabled)
    }

    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        self.0.destroy(version)
    }

    fn state_mac(&self) -> StateMac {
        self.0.state_mac()
    }

    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        self.0.witness()
    }

    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        self.0.advance(witness)
    }
}

struct Rig {
    world: World,
    switch: Arc<Switch>,
    service: Arc<GeoKeyService>,
    client: Arc<KeyClient>,
}

fn options() -> LeaseOptions {
    LeaseOptions { jitter: Arc::new(|| 0.0), ..LeaseOptions::default() }
}

fn moody(world: &World, switch: &Arc<Switch>) -> Arc<GeoKeyService> {
    let provider = Moody(Box::new(world.keyring().unwrap()), Arc::clone(switch));
    Arc::new(world.open_with(Box::new(provider)).unwrap())
}

/// A service with one tenant, and a client of it in the same process.
fn rig() -> Rig {
    let world = World::new();
    let switch = Arc::new(Switch { mood: Mutex::new(Mood::Well), changed: Condvar::new(), unwraps: AtomicU64::new(0) });
    let service = moody(&world, &switch);
    let client = Arc::new(KeyClient::embedded(Arc::clone(&service), options()).unwrap());
    client.create_tenant(TENANT).unwrap();
    Rig { world, switch, service, client }
}

fn is_void(keys: &TenantKeys) -> bool {
    matches!(keys.check(), Err(KeyError::Open(error)) if error.class() == OpenClass::Revoked)
}

fn is_expired(keys: &TenantKeys) -> bool {
    matches!(keys.check(), Err(KeyError::Open(error)) if error.class() == OpenClass::Expired)
}

fn told(answer: &Result<Arc<TenantKeys>, KeyError>) -> Option<KeyError> {
    answer.as_ref().err().cloned()
}

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

/// Links to a service in this process, as long as they are not cut.
struct Wire {
    service: Arc<Mutex<Option<Arc<GeoKeyService>>>>,
}

impl Connector for Wire {
    fn connect(&self, patience: Duration) -> io::Result<Box<dyn Link>> {
        let service = self.service.lock().clone().ok_or(io::ErrorKind::ConnectionRefused)?;
        let (here, mut there) = UnixStream::pair()?;
        here.set_read_timeout(Some(patience))?;
        std::thread::spawn(move || {
            let of = |id: &crate::Id| (*id == geo()).then(|| Arc::clone(&service) as Arc<dyn KeyAuthority>);
            while crate::answer(&mut there, of).unwrap_or(false) {}
        });
        Ok(Box::new(here))
    }
}

struct Far {
    client: KeyClient,
    line: Arc<Mutex<Option<Arc<GeoKeyService>>>>,
}

/// A client at the other end of a link.
fn far(world: &World, service: &Arc<GeoKeyService>) -> Far {
    let line = Arc::new(Mutex::new(Some(Arc::clone(service))));
    let wire = Wire { service: Arc::clone(&line) };
    let authority = Arc::new(RemoteAuthority::new(geo(), Box::new(wire)));
    let client = KeyClient::connect(authority, geo(), Arc::clone(&world.clock) as Arc<dyn crate::Clock>, options());
    Far { client: client.unwrap(), line }
}

#[test]
fn k03_a_revocation_is_pushed_and_without_the_push_the_lease_bounds_it() {
    let Rig { world, service, .. } = rig();
    let (heard, deaf) = (far(&world, &service), far(&world, &service));
    let (a, b) = (heard.client.tenant(TENANT).unwrap(), deaf.client.tenant(TENANT).unwrap());
    assert_eq!(heard.client.follow(0).unwrap(), 0);
    heard.client.tick();
    service.suspend(TENANT).unwrap();
    assert_eq!(heard.client.follow(0).unwrap(), 1);
    assert!(is_void(&a));
    assert_eq!(told(&heard.client.tenant(TENANT)), Some(KeyError::Suspended));
    // Whoever does not hear of it stops when the lease does, and not a second later.
    world.advance(299);
    deaf.client.tick();
    assert!(b.check().is_ok());
    world.advance(1);
    deaf.client.tick();
    assert!(is_expired(&b));
    assert_eq!(told(&deaf.client.tenant(TENANT)), Some(KeyError::Suspended));
    service.resume(TENANT).unwrap();
    heard.client.follow(0).unwrap();
    assert!(heard.client.tenant(TENANT).is_ok(), "a resumption is heard of, too: no refusal is remembered");
}

#[test]
fn k03_a_poll_that_waits_is_woken() {
    let Rig { world, service, .. } = rig();
    let far = far(&world, &service);
    let keys = far.client.tenant(TENANT).unwrap();
    far.client.follow(0).unwrap();
    let waiting = std::thread::spawn(move || far.client.follow(30_000).unwrap());
    service.suspend(TENANT).unwrap();
    assert_eq!(waiting.join().unwrap(), 1);
    assert!(is_void(&keys));
}

#[test]
fn k03_a_restart_of_the_service_cuts_nothing_and_misses_nothing() {
    let Rig { world, switch, service, client } = rig();
    let other = fill(0x55);
    client.create_tenant(other).unwrap();
    drop(client);
    let far = far(&world, &service);
    let (kept, lost) = (far.client.tenant(TENANT).unwrap(), far.client.tenant(other).unwrap());
    far.client.follow(0).unwrap();
    far.client.tick();
    // It is gone: acts fail, leases serve.
    *far.line.lock() = None;
    assert_eq!(far.client.follow(0), Err(KeyError::Unreachable));
    assert_eq!(far.client.status().err(), Some(KeyError::Unreachable));
    assert!(far.client.tenant(TENANT).is_ok());
    // It comes back, and one tenant was suspended where the client could not hear it.
    service.suspend(other).unwrap();
    drop(service);
    let service = loop {
        // Links that are still open hold the old one for a moment.
        match world.keyring().map(|keyring| Moody(Box::new(keyring), Arc::clone(&switch))) {
            Ok(provider) => match world.open_with(Box::new(provider)) {
                Ok(service) => break Arc::new(service),
                Err(KeyError::Store(crate::KeystoreError::Locked)) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            },
            Err(error) => panic!("{error}"),
        }
    };
    *far.line.lock() = Some(service);
    far.client.follow(0).unwrap();
    let mut due = far.client.tick();
    due.sort_unstable();
    assert_eq!(
        due,
        { [other, TENANT].into_iter().collect::<std::collections::BTreeSet<_>>() }.into_iter().collect::<Vec<_>>()
    );
    for tenant in due {
        // The pause after a failure is short and real.
        while told(&far.client.renew(tenant)) == Some(KeyError::Unreachable) {
            std::thread::yield_now();
        }
    }
    assert!(kept.check().is_ok(), "who may go on is not cut");
    assert!(is_void(&lost));
}

#[test]
fn everything_crosses_a_link_and_means_the_same() {
    let Rig { world, service, client, .. } = rig();
    let far = far(&world, &service);
    let far = &far.client;
    let (near_keys, far_keys) = (client.tenant(TENANT).unwrap(), far.tenant(TENANT).unwrap());
    let (dek, record) = far_keys.new_dek(&object(TENANT, 1)).unwrap();
    assert_eq!(near_keys.open_dek(&record, &object(TENANT, 1)).unwrap().id(), dek.id());
    assert_eq!(near_keys.bucket_token(b"n"), far_keys.bucket_token(b"n"));
    assert_eq!(near_keys.subject_token(b"n"), far_keys.subject_token(b"n"));
    assert_eq!(client.geo_keys().name_token(b"n"), far.geo_keys().name_token(b"n"));
    let subject = far.create_subject(TENANT, fill(0x77)).unwrap();
    let (_, record) = subject.new_dek(&object(TENANT, 2)).unwrap();
    assert!(client.subject(TENANT, fill(0x77)).unwrap().open_dek(&record, &object(TENANT, 2)).is_ok());
    assert_eq!(far.subject_record(TENANT, fill(0x77)), client.subject_record(TENANT, fill(0x77)));
    assert_eq!(format!("{:?}", far.status()), format!("{:?}", client.status()));
    assert_eq!(far.rotate_tenant(TENANT).unwrap().version, 2);
    assert!(far.tenant(TENANT).unwrap().open_dek(&record_of(&far_keys), &object(TENANT, 9)).is_err());
    assert_eq!(far.tenant(TENANT).unwrap().active_trk().version, 2);
    assert_eq!(far.end_version(trk(TENANT, 1), 0).err(), Some(Refusal::InUse.into()), "somebody holds old keys");
    let job = far.rotate_master().unwrap();
    assert_eq!((job.from, job.to), (1, 2));
    let finished = loop {
        if let Some(evidence) = far.rotate_master_step(job.token, usize::MAX).unwrap().finished {
            break evidence;
        }
    };
    assert_eq!(Ok(finished), far.scan_masters());
    far.save_anchor("westeurope", 7, [7; 32]).unwrap();
    assert_eq!(client.anchor("westeurope").unwrap().unwrap().counter, 7);
    assert_eq!(far.save_anchor("westeurope", 6, [6; 32]).err(), Some(Refusal::Backwards.into()));
    let signed = far.sign(b"message").unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, far.log_key());
    key.verify(b"message", &signed).unwrap();
    let revealed = far.danger_reveal(TENANT, ExportKey::Tenant).unwrap();
    assert_eq!(*revealed, *service.danger_reveal_tenant_key(TENANT).unwrap());
    let gone = far.destroy_subject(TENANT, fill(0x77)).unwrap();
    assert_eq!(gone.salts_found, 0);
    assert!(subject.open_dek(&record, &object(TENANT, 2)).is_err(), "its handles are void");
    far.discard_tenant(TENANT).unwrap();
    assert_eq!(told(&far.tenant(TENANT)), Some(KeyError::Unknown));
    assert!(far.tenant_status(TENANT).unwrap().is_none());
}

fn record_of(keys: &TenantKeys) -> crate::Record {
    keys.new_dek(&object(TENANT, 8)).unwrap().1
}

#[test]
fn a_link_takes_no_foreign_bytes_for_a_request() {
    let Rig { service, world: _world, .. } = rig();
    let ask = |bytes: &[u8]| -> Option<Vec<u8>> {
        use std::io::{Read, Write};
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let service = Arc::clone(&service);
        let end = std::thread::spawn(move || {
            let of = |_: &crate::Id| Some(Arc::clone(&service) as Arc<dyn KeyAuthority>);
            while crate::answer(&mut there, of).unwrap_or(false) {}
        });
        here.write_all(bytes).unwrap();
        let _ = here.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // A link that is ended with bytes unread is reset.
        let _ = here.read_to_end(&mut answer);
        end.join().unwrap();
        (!answer.is_empty()).then_some(answer)
    };
    let framed = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
    assert_eq!(ask(&[0xFF; 64]), None, "a length beyond the bound");
    assert_eq!(ask(&[0, 0, 1, 0, 1, 2, 3]), None, "cut short");
    assert_eq!(ask(&[0, 0]), None);
    let good = crate::wire::request_to_bytes(geo(), Request::TenantStatus { tenant: TENANT });
    assert!(matches!(crate::wire::answer_from_bytes(&ask(&framed(&good)).unwrap()[4..]), Ok(Reply::Tenant(Some(_)))));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            // It may be another request that is well formed; it must never be a panic or a hang.
            let answer = ask(&framed(&bad)).expect("a whole frame is answered");
            let answer = crate::wire::answer_from_bytes(&answer[4..]);
            assert!(!matches!(answer, Ok(Reply::Lease(_) | Reply::Revealed(_) | Reply::Hello(_))));
        }
    }
    let other = [&good[..], &[0]].concat();
    let answer = ask(&framed(&other)).unwrap();
    assert_eq!(crate::wire::answer_from_bytes(&answer[4..]).err(), Some(KeyError::Protocol), "bytes behind the end");
    let elsewhere = crate::wire::request_to_bytes(fill(9), Request::Status {});
    let mut link = io::Cursor::new(framed(&elsewhere));
    assert!(crate::answer(&mut link, |_| None).unwrap());
}

/// K-01: every operation in every state of a tenant's keys.
#[test]
fn k01_every_operation_in_every_state() {
    type Act = (&'static str, fn(&KeyClient) -> Result<(), KeyError>);
    const SUBJECT: crate::Id = *b"subject-subject-";
    let acts: [Act; 13] = [
        ("lease", |c| c.tenant(TENANT).map(drop)),
        ("new subject", |c| c.create_subject(TENANT, fill(0x21)).map(drop)),
        ("open subject", |c| c.subject(TENANT, SUBJECT).map(drop)),
        ("erase subject", |c| c.destroy_subject(TENANT, SUBJECT).map(drop)),
        ("rotate", |c| c.rotate_tenant(TENANT).map(drop)),
        ("reveal", |c| c.danger_reveal(TENANT, ExportKey::Tenant).map(drop)),
        ("probe", |c| c.key_probe(TENANT).map(drop)),
        ("set due", |c| c.set_due(TENANT, 0).map(drop)),
        ("clear due", |c| c.clear_due(TENANT)),
        ("destroy", |c| c.destroy_tenant(TENANT).map(drop)),
        ("suspend", |c| c.suspend(TENANT)),
        ("resume", |c| c.resume(TENANT)),
        ("create", |c| c.create_tenant(TENANT)),
    ];
    let states = ["never made", "active", "suspended", "due, suspended", "destroyed"];
    let mut table = String::new();
    for state in states {
        for (name, act) in acts {
            let world = World::new();
            let service = Arc::new(world.open().unwrap());
            let client = KeyClient::embedded(service, options()).unwrap();
            if state != "never made" {
                client.create_tenant(TENANT).unwrap();
                client.create_subject(TENANT, SUBJECT).unwrap();
            }
            if state.contains("suspended") {
                client.suspend(TENANT).unwrap();
            }
            if state.contains("due") || state == "destroyed" {
                client.set_due(TENANT, 0).unwrap();
                world.advance(crate::RETENTION_SECONDS);
            }
            if state == "destroyed" {
                client.destroy_tenant(TENANT).unwrap();
            }
            let word = match act(&client) {
                Ok(()) => "ok",
                Err(KeyError::Unknown) => "unknown",
                Err(KeyError::Exists) => "exists",
                Err(KeyError::Suspended) => "suspended",
                Err(KeyError::Destroyed) => "destroyed",
                Err(KeyError::Refused(Refusal::NoDue)) => "no due time",
                Err(KeyError::Refused(Refusal::State)) => "state",
                Err(error) => panic!("{state}, {name}: {error}"),
            };
            table += &format!("{state} | {name} | {word}\n");
        }
    }
    let known = include_str!("k01.txt");
    assert!(table == known, "the table of states is now\n{table}");
}

/// K-01 for the versions of one root: active wraps and opens, decrypt-only opens, destroyed does neither.
#[test]
fn k01_every_state_of_a_root() {
    let Rig { client, service, world, .. } = rig();
    let context = object(TENANT, 1);
    let (_, old) = client.tenant(TENANT).unwrap().new_dek(&context).unwrap();
    client.rotate_tenant(TENANT).unwrap();
    let keys = client.tenant(TENANT).unwrap();
    let (_, new) = keys.new_dek(&context).unwrap();
    assert_eq!(crate::Unverified::parse(&new).unwrap().parent.version, 2, "the active one wraps");
    assert!(keys.open_dek(&old, &context).is_ok(), "decrypt-only opens");
    assert!(keys.rewrap_dek(&old, &context).unwrap().is_some());
    drop(keys);
    await_end(&world.clock, &service, trk(TENANT, 1));
    client.retire_tenant_version(TENANT, 1, 0).unwrap();
    let keys = client.tenant(TENANT).unwrap();
    let gone = keys.open_dek(&old, &context).err();
    assert!(matches!(gone, Some(KeyError::Open(error)) if error.class() == OpenClass::Parent), "destroyed does not");
    assert!(keys.open_dek(&new, &context).is_ok());
    let status = service.tenant_status(TENANT).unwrap().unwrap();
    let states: Vec<_> = status.roots.iter().filter(|root| root.kind == KeyKind::Trk).map(|root| root.state).collect();
    assert_eq!(states, [crate::KeyState::Destroyed, crate::KeyState::Active]);
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
