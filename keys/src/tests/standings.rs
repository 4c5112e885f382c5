//! What is said of somebody's standing is as durable as a destruction: it outlives the restore of an older key store, and
//! a ledger without it is refused.

use super::fill;
use super::shreds::{OTHER, copy, furnished, restored};
use super::world::{TENANT, World};
use crate::shred_log::path_beside;
use crate::{KeyError, KeystoreError, Shredded};
use std::fs;

const REGISTER: crate::Id = *b"contact-register";

#[test]
fn p8_an_older_key_store_forgets_no_standing_and_knows_the_names_again() {
    let world = World::new();
    let (service, ..) = furnished(&world);
    let token = service.create_subject(OTHER, REGISTER).unwrap().token(b"contact:4711").unwrap();
    assert_ne!(token, service.create_subject(TENANT, REGISTER).unwrap().token(b"contact:4711").unwrap());
    drop(service);
    let older = world.dir.path().join("older");
    copy(&world.keystore(), &older);
    let before = path_beside(&world.keystore());
    let had = fs::read(&before).ok();

    let service = world.open().unwrap();
    service.note_standing(OTHER, token, 1).unwrap();
    assert_eq!(service.note_standing(fill(77), token, 1), Err(KeyError::Unknown));
    drop(service);
    copy(&older, &world.keystore());
    let service = restored(&world).unwrap();
    let noted = service.shreds(0, u64::MAX).unwrap().into_iter().map(|shred| shred.what);
    let standing = Shredded::Standing { tenant: OTHER, token, act: 1 };
    assert_eq!(noted.filter(|what| *what == standing).count(), 1);
    assert_eq!(service.subject(OTHER, REGISTER).unwrap().token(b"contact:4711"), Ok(token));
    assert!(service.replayed().is_empty(), "it destroys nothing");
    drop(service);

    let newest = fs::read(&before).unwrap();
    match had {
        Some(had) => fs::write(&before, had).unwrap(),
        None => fs::remove_file(&before).unwrap(),
    }
    assert_eq!(restored(&world).err(), Some(KeystoreError::ShredLogBehind.into()), "a ledger without it is refused");
    fs::write(&before, newest).unwrap();
    assert!(world.open().is_ok());
}
