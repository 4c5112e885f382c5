//! The geo's directory key, replaced: what is sealed is under the new version at once, for everybody who holds a handle; what
//! is older opens until it is destroyed, over restarts too, and the heads that the service keeps are never out of reach.

use super::world::World;
use super::{fill, geo};
use crate::{Clock, GeoKeyService, KeyClient, KeyError, KeyKind, KeyState, LeaseOptions, Refusal};
use std::sync::Arc;

const NOBODY: crate::Id = [0; 16];

fn client(world: &World, service: &Arc<GeoKeyService>) -> KeyClient {
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    KeyClient::connect(Arc::clone(service) as Arc<dyn crate::KeyAuthority>, geo(), clock, LeaseOptions::default())
        .unwrap()
}

#[test]
fn rows_and_heads_outlive_the_key_they_were_sealed_under() {
    let world = World::new();
    let service = Arc::new(world.open().unwrap());
    let holder = client(&world, &service);
    service.save_anchor("frankfurt", 7, [7; 32]).unwrap();
    service.save_audit_head(9, [9; 32]).unwrap();
    let keys = holder.geo_keys();
    let (mac, old) = (holder.state_mac(), keys.directory().seal(b'n', b"place", b"row", b""));
    let token = keys.name_token(b"contoso");

    assert_eq!(holder.rotate_directory_key().unwrap().version, 2);
    assert_eq!((keys.name().version, service.geo_keys().name().version), (2, 2), "the handle that was given out");
    let new = keys.directory().seal(b'n', b"place", b"row", b"");
    for row in [&old, &new] {
        assert_eq!(keys.open(b'n', b"place", row).unwrap().plain, b"row");
        assert_eq!(service.geo_keys().open(b'n', b"place", row).unwrap().plain, b"row");
    }
    assert_ne!(keys.name_token(b"contoso"), token);
    assert_eq!(keys.name_tokens(b"contoso"), [keys.name_token(b"contoso"), token], "the active one first");
    assert_eq!(service.retire_root(NOBODY, KeyKind::Gdk, 2, 0).err(), Some(Refusal::Active.into()));
    assert_eq!(service.retire_root(NOBODY, KeyKind::Gdk, 1, 1).err(), Some(Refusal::InUse.into()), "a row is left");

    // Both versions after a restart; heads go on.
    drop((holder, keys, service));
    let service = Arc::new(world.open().unwrap());
    let holder = client(&world, &service);
    let keys = holder.geo_keys();
    assert!(keys.open(b'n', b"place", &old).is_ok() && keys.open(b'n', b"place", &new).is_ok());
    assert_eq!(service.anchor("frankfurt").unwrap().map(|head| head.counter), Some(7));
    service.save_anchor("frankfurt", 8, [8; 32]).unwrap();

    let evidence = holder.retire_directory_key(1, 0).unwrap();
    assert_eq!(evidence.salts_found, 0);
    assert!(keys.open(b'n', b"place", &old).is_err(), "destroyed");
    assert_eq!(keys.open(b'n', b"place", &new).unwrap().plain, b"row");
    assert_eq!(holder.state_mac()(b"state"), mac(b"state"), "a clock's state outlives it");
    drop((holder, keys, service));
    let service = world.open().unwrap();
    assert!(service.geo_keys().open(b'n', b"place", &old).is_err());
    assert_eq!(service.geo_keys().open(b'n', b"place", &new).unwrap().plain, b"row");
    let heads = (service.anchor("frankfurt").unwrap(), service.audit_head().unwrap());
    assert_eq!((heads.0.map(|h| h.counter), heads.1.map(|h| h.counter)), (Some(8), Some(9)));
    let states: Vec<_> = service.status().unwrap().directory.iter().map(|root| root.state).collect();
    assert_eq!(states, [KeyState::Destroyed, KeyState::Active]);
}

/// The answer to the switch is lost, or the service was switched by somebody else: the holder is behind, and what it seals
/// meanwhile opens all the same.
#[test]
fn a_holder_that_missed_the_switch_catches_up() {
    let world = World::new();
    let service = Arc::new(world.open().unwrap());
    let holder = client(&world, &service);
    service.rotate_directory_key().unwrap();
    let keys = holder.geo_keys();
    assert_eq!(keys.name().version, 1);
    let behind = keys.directory().seal(b'n', b"place", b"row", b"");
    assert_eq!(holder.refresh_directory_keys().unwrap().version, 2);
    assert_eq!(keys.open(b'n', b"place", &behind).unwrap().plain, b"row");
    // A master rotation wraps the older version as well: it is a root like any other.
    let job = service.rotate_master().unwrap();
    while service.rotate_master_step(job.token, 100).unwrap().finished.is_none() {}
    let scan = service.scan_masters().unwrap();
    assert_eq!(scan.per_version.keys().collect::<Vec<_>>(), [&2]);
    assert!(matches!(service.retire_root(fill(1), KeyKind::Gdk, 1, 0), Err(KeyError::Unknown)), "of the geo alone");
}
