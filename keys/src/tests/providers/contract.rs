//! What every provider promises. `open` opens the same provider anew, as after a restart; it was founded before.

use super::Place;
use crate::context::{Id, NO_ID, ObjectContext};
use crate::provider::{MasterKeys, RootSecret};
use crate::record::{KeyKind, KeyName, RootFields};
use crate::tests::world::TENANT;
use crate::tests::world::{await_end, master};
use crate::tests::{fill, geo, secret};
use crate::{MasterState, ProviderError, ProviderSettings, Unlock};
use std::path::Path;

type Keys = Box<dyn MasterKeys>;

fn fields(keys: &Keys, master: KeyName, n: u8) -> RootFields {
    RootFields { provider: keys.kind(), kind: KeyKind::Trk, root: KeyName { id: fill(n), version: 3 }, master }
}

fn root(n: u8) -> RootSecret {
    RootSecret(secret(n))
}

fn context(tenant: Id) -> ObjectContext {
    ObjectContext::of_root(tenant, geo())
}

/// All of it, in the order in which a life goes.
pub(super) fn hold<F: Fn(&Path) -> ProviderSettings>(place: &Place<F>) {
    let keys = place.found().unwrap();
    let first = keys.active().unwrap();
    assert_eq!((first.version, keys.versions().unwrap().len()), (1, 1));
    let mac = keys.state_mac()(b"state");
    binds_everything(&keys, first);
    drop(keys);

    let keys = place.found().unwrap();
    assert_eq!(keys.active().unwrap(), first, "what is there is opened, not made again");
    drop(keys);
    let keys = place.open().unwrap();
    let old = keys.wrap(&fields(&keys, first, 1), &root(1), &context(TENANT)).unwrap();
    let second = rotates(&keys, first, &old);
    let new = keys.wrap(&fields(&keys, second, 2), &root(2), &context(TENANT)).unwrap();
    disables_and_enables(&keys, first, &old, second, &new);
    drop(keys);

    let keys = place.open().unwrap();
    assert_eq!(keys.state_mac()(b"state"), mac, "the same over rotations and restarts");
    assert_ne!(keys.state_mac()(b"other"), mac);
    destroys(&keys, first, &old, second, &new);
    drop(keys);

    let keys = place.open().unwrap();
    let states: Vec<_> = keys.versions().unwrap().iter().map(|version| (version.name, version.state)).collect();
    assert_eq!(states, [(first, MasterState::Destroyed), (second, MasterState::Active)]);
    assert!(same(&keys.unwrap(&fields(&keys, second, 2), &new, &context(TENANT)), 2));
    drop(keys);
    serves(place);
}

fn same(answer: &Result<RootSecret, ProviderError>, n: u8) -> bool {
    answer.as_ref().is_ok_and(|given| given.0.same(&secret(n)))
}

/// Every field of the record, the tenant and the geo are bound: what was wrapped opens nowhere else.
fn binds_everything(keys: &Keys, master: KeyName) {
    let at = fields(keys, master, 1);
    let blob = keys.wrap(&at, &root(1), &context(TENANT)).unwrap();
    assert!(same(&keys.unwrap(&at, &blob, &context(TENANT)), 1));
    assert_ne!(keys.wrap(&at, &root(1), &context(TENANT)).unwrap(), blob, "never the same twice");
    let other = KeyName { id: fill(9), version: 3 };
    for wrong in [
        RootFields { kind: KeyKind::Srk, ..at },
        RootFields { root: other, ..at },
        RootFields { root: KeyName { version: 4, ..at.root }, ..at },
    ] {
        assert_eq!(keys.unwrap(&wrong, &blob, &context(TENANT)).err(), Some(ProviderError::Wrong), "{wrong:?}");
    }
    let elsewhere = ObjectContext::of_root(TENANT, fill(3));
    for wrong in [context(fill(7)), context(NO_ID), elsewhere] {
        assert_eq!(keys.unwrap(&at, &blob, &wrong).err(), Some(ProviderError::Wrong));
    }
    for master in [KeyName { version: 2, ..master }, KeyName { id: fill(1), version: 2 }] {
        let unknown = RootFields { master, ..at };
        assert_eq!(keys.unwrap(&unknown, &blob, &context(TENANT)).err(), Some(ProviderError::Refused));
        assert_eq!(keys.wrap(&unknown, &root(1), &context(TENANT)).err(), Some(ProviderError::Refused));
    }
    for place in [0, blob.len() / 2, blob.len() - 1] {
        let mut altered = blob.clone();
        altered[place] ^= 1;
        assert!(keys.unwrap(&at, &altered, &context(TENANT)).is_err(), "byte {place}");
    }
    for cut in [&blob[..blob.len() - 1], &blob[..1], &[]] {
        assert!(keys.unwrap(&at, cut, &context(TENANT)).is_err(), "{} bytes", cut.len());
    }
    many(keys, master, blob);
}

fn many(keys: &Keys, master: KeyName, first: Vec<u8>) {
    let names: Vec<RootFields> = (1..=70).map(|n| fields(keys, master, n)).collect();
    let mut blobs = vec![first];
    for (n, at) in (2..=70).zip(&names[1..]) {
        blobs.push(keys.wrap(at, &root(n), &context(TENANT)).unwrap());
    }
    let whose = context(TENANT);
    let mut wrapped: Vec<_> = names.iter().zip(&blobs).map(|(at, blob)| (at, blob.as_slice(), &whose)).collect();
    let opened = keys.unwrap_many(&wrapped).unwrap();
    assert!(opened.len() == 70 && opened.iter().zip(1..).all(|(given, n)| given.0.same(&secret(n))), "in order");
    let elsewhere = context(fill(7));
    wrapped[41].2 = &elsewhere;
    assert_eq!(keys.unwrap_many(&wrapped).err(), Some(ProviderError::Wrong), "all or nothing");
    assert!(keys.unwrap_many(&[]).unwrap().is_empty());
}

fn rotates(keys: &Keys, first: KeyName, old: &[u8]) -> KeyName {
    assert_eq!(keys.rotate_to(1).unwrap(), first, "it is the active one");
    for version in [0, 3, u32::MAX] {
        assert_eq!(keys.rotate_to(version).err(), Some(ProviderError::Refused), "version {version}");
    }
    let second = keys.rotate_to(2).unwrap();
    assert_eq!((second.version, keys.rotate_to(2).unwrap(), keys.active().unwrap()), (2, second, second));
    assert_eq!(keys.rotate_to(1).err(), Some(ProviderError::Refused), "never back");
    assert!(same(&keys.unwrap(&fields(keys, first, 1), old, &context(TENANT)), 1), "the old one still opens");
    let late = keys.wrap(&fields(keys, first, 1), &root(1), &context(TENANT));
    assert_eq!(late.err(), Some(ProviderError::Refused), "and wraps no more");
    second
}

fn disables_and_enables(keys: &Keys, first: KeyName, old: &[u8], second: KeyName, new: &[u8]) {
    let opens = |at: KeyName, blob: &[u8], n| keys.unwrap(&fields(keys, at, n), blob, &context(TENANT));
    assert_eq!(keys.set_enabled(2, false).err(), Some(ProviderError::Refused), "the active one stays");
    for _ in 0..2 {
        keys.set_enabled(1, false).unwrap();
        assert_eq!(opens(first, old, 1).err(), Some(ProviderError::Refused));
        assert!(same(&opens(second, new, 2), 2));
    }
    keys.set_enabled(1, true).unwrap();
    assert!(same(&opens(first, old, 1), 1));
    assert_eq!(keys.set_enabled(9, false).err(), Some(ProviderError::Refused));
}

fn destroys(keys: &Keys, first: KeyName, old: &[u8], second: KeyName, new: &[u8]) {
    assert_eq!(keys.destroy(2).err(), Some(ProviderError::Refused), "never the active one");
    assert_eq!(keys.destroy(9).err(), Some(ProviderError::Refused));
    let receipt = keys.destroy(1).unwrap();
    assert!(!receipt.is_empty());
    assert_eq!(keys.destroy(1).unwrap(), receipt, "again, and the same receipt");
    let gone = keys.unwrap(&fields(keys, first, 1), old, &context(TENANT));
    assert_eq!(gone.err(), Some(ProviderError::Refused));
    assert_eq!(keys.set_enabled(1, true).err(), Some(ProviderError::Refused), "for good");
    assert!(same(&keys.unwrap(&fields(keys, second, 2), new, &context(TENANT)), 2));
}

/// The whole key service on it: tenants, leases, a rotation to its end, the old version destroyed, a restart.
fn serves<F: Fn(&Path) -> ProviderSettings>(place: &Place<F>) {
    let service = place.serve(place.open().unwrap()).unwrap();
    service.create_tenant(TENANT).unwrap();
    assert!(service.tenant(TENANT).is_ok());
    let job = service.rotate_master().unwrap();
    assert_eq!(job.to, 3);
    while service.rotate_master_step(job.token, 2).unwrap().finished.is_none() {}
    assert_eq!(service.scan_masters().unwrap().per_version.keys().copied().collect::<Vec<_>>(), [3]);
    await_end(&place.clock, &service, master(2));
    assert!(!service.destroy_master_version(2).unwrap().is_empty());
    place.end_leases();
    assert!(service.tenant(TENANT).is_ok());
    drop(service);
    let service = place.serve(place.open().unwrap()).unwrap();
    assert!(service.tenant(TENANT).is_ok(), "after a restart");
}

#[test]
fn the_local_keyring_keeps_the_contract() {
    let place = Place::new(|dir: &Path| {
        let key_file = dir.join("key");
        if !key_file.exists() {
            crate::LocalKeyring::create_key_file(&key_file).unwrap();
        }
        ProviderSettings::Local { keyring: dir.join("keyring"), unlock: Unlock::KeyFile(key_file) }
    });
    hold(&place);
}
