//! A holder of leases in another process: what crosses the link, what cuts it, what is pushed over it.

use super::{Moody, Rig, is_expired, is_void, options, rig, told};
use crate::tests::world::{TENANT, World, object, trk};
use crate::tests::{fill, geo};
use crate::{
    Connector, ExportKey, GeoKeyService, KeyAuthority, KeyClient, KeyError, Link, Refusal, RemoteAuthority, Reply,
    Request, TenantKeys,
};
use parking_lot::Mutex;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

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

pub(super) struct Far {
    pub(super) client: KeyClient,
    pub(super) line: Arc<Mutex<Option<Arc<GeoKeyService>>>>,
}

/// A client at the other end of a link.
pub(super) fn far(world: &World, service: &Arc<GeoKeyService>) -> Far {
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
