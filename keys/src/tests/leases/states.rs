//! K-01: every operation in every state of a tenant's keys, and of the versions of one root.

use super::super::fill;
use super::{Rig, options, rig};
use crate::tests::world::{TENANT, World, await_end, object, trk};
use crate::{ExportKey, KeyClient, KeyError, KeyKind, OpenClass, Refusal};
use std::sync::Arc;

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
    let known = include_str!("../k01.txt");
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
