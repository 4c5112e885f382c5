//! The geo's directory key, replaced while tenants and logins come and go and while the power goes: every name is found
//! at any moment, and in the end nothing is under an older version.

use super::subjects::{World, nobody_watches};
use crate::audit::Actor;
use crate::directory::{Detail, Directory, GEO_LANE, JobKind, Wanted};
use crate::model::ids::TenantId;
use crate::model::login::Role;
use crate::model::names::{AccessId, TenantName};
use crate::model::time::Millis;
use crate::model::traffic::Traffic;
use crate::rekey::{RekeyError, Rooms, Run, rotate_directory_key};
use crate::tenancy::Tenancy;
use crate::tenant::{NewTenant, Replication};

const START: Millis = Millis(1_800_000_000_000);

struct Known {
    name: TenantName,
    id: TenantId,
    logins: Vec<AccessId>,
}

async fn enter(tenancy: &Tenancy, n: usize) -> Known {
    let (id, geo) = (TenantId::random(), tenancy.directory.geo());
    let new = NewTenant { id, geo, home: &geo.regions[0], replication: Replication::None, consent: Some([1; 32]) };
    let name = TenantName::parse(&format!("tenant-{n}")).unwrap();
    let detail = Detail { name: name.as_str().into(), contact: None };
    tenancy.create(&Actor::part("test"), new, detail).await.unwrap();
    let mut logins = Vec::new();
    for _ in 0..2 {
        logins.push(tenancy.directory.create_login(id, Role::Service, START).await.unwrap().access_id);
    }
    Known { name, id, logins }
}

async fn all_found(directory: &Directory, known: &[Known]) {
    for Known { name, id, logins } in known {
        assert_eq!(directory.tenant_named(name).await.unwrap().expect("its name leads to it").standing.id, *id);
        for login in logins {
            assert_eq!(directory.login(login).await.unwrap().expect("its login is found").tenant, *id);
        }
    }
}

fn rooms(tenancy: &Tenancy) -> Rooms {
    let Tenancy { directory, regions, audit, clock } = tenancy.clone();
    Rooms { directory, regions, audit, clock, traffic: Traffic::default() }
}

async fn rotate(rooms: Rooms) -> Result<crate::rekey::RootEvidence, RekeyError> {
    let by = Actor::part("test");
    rotate_directory_key(&rooms, &Run { actor: &by, records_per_s: None, watch: nobody_watches() }).await
}

#[tokio::test]
async fn names_are_found_while_the_directory_key_changes_and_after_every_crash() {
    let world = World::new(7).await;
    let mut tenancy = world.tenancy();
    let mut known = Vec::new();
    for n in 0..12 {
        known.push(enter(&tenancy, n).await);
    }
    tenancy.directory.propose("destroy mk/europe/1", "anna", START).await.unwrap();
    tenancy.directory.keep_purge_note(known[0].id, b"so far").await.unwrap();
    for round in 0..40 {
        let rotation = tokio::spawn(rotate(rooms(&tenancy)));
        known.push(enter(&tenancy, 100 + round).await);
        all_found(&tenancy.directory, &known).await;
        let gone = known[round].logins.pop().unwrap();
        let (id, directory) = (known[round].id, tenancy.directory.clone());
        assert!(directory.revoke_login(id, &gone, START).await.unwrap().is_some());
        assert!(directory.login(&gone).await.unwrap().is_none(), "revoked at once, wherever it stands");
        let again = Detail { name: known[3].name.as_str().into(), contact: None };
        let standing = directory.tenant(known[3].id).await.unwrap().unwrap().standing.clone();
        let taken = directory.enter_tenant(crate::tenant::Standing { id: TenantId::random(), ..standing }, again).await;
        assert!(taken.is_err(), "a name never leads to two");
        // The power goes, in the middle more often than not.
        rotation.abort();
        let _cut_off = rotation.await;
        tenancy = world.tenancy();
        all_found(&tenancy.directory, &known).await;
    }
    let done = rotate(rooms(&tenancy)).await.unwrap();
    assert_eq!((done.remaining, done.to > 1), (0, true));
    all_found(&tenancy.directory, &known).await;
    assert_eq!(tenancy.directory.purge_note(known[0].id).await.unwrap().as_deref(), Some(&b"so far"[..]));
    let under = tenancy.directory.under_directory_keys().await.unwrap();
    assert_eq!(under.keys().collect::<Vec<_>>(), [&done.to]);
    assert_eq!(under.values().sum::<u64>() + 2, done.scanned, "and the anchors of two regions");
    let versions = world.service.status().unwrap().directory;
    let open: Vec<_> = versions.iter().filter(|version| version.master.is_some()).map(|v| v.name.version).collect();
    assert_eq!(open, [done.to], "older versions are destroyed");
    assert!(tenancy.audit.verify().is_ok());
}

/// Its name and logins' ids are sealed under its own keys, which are suspended: the older version stays until they open.
#[tokio::test]
async fn a_suspended_tenant_keeps_the_older_version_alive() {
    let world = World::new(8).await;
    let tenancy = world.tenancy();
    let known = [enter(&tenancy, 1).await, enter(&tenancy, 2).await];
    let keys = tenancy.directory.key_service().clone();
    keys.suspend(known[0].id.0).unwrap();
    tenancy.directory.forget(known[0].id);
    let refused = rotate(rooms(&tenancy)).await;
    // Its name and two logins.
    assert!(matches!(refused, Err(RekeyError::Leftover(3))), "{refused:?}");
    keys.resume(known[0].id.0).unwrap();
    let done = rotate(rooms(&tenancy)).await.unwrap();
    assert_eq!((done.from, done.to, done.retired), (1, 2, 1));
    all_found(&tenancy.directory, &known).await;
}

/// A job of another lane replaces its own row as it steps; the rotation waits for it and takes nothing from under it.
#[tokio::test]
async fn a_runner_at_work_keeps_its_job() {
    let world = World::new(9).await;
    let tenancy = world.tenancy();
    let tenant = enter(&tenancy, 1).await.id;
    let wanted = Wanted { kind: JobKind::Reencrypt, lane: tenant, bucket: None, exposed_by: None };
    let mut held = tenancy.directory.begin_job(wanted, START).await.unwrap();
    let rotation = tokio::spawn(rotate(rooms(&tenancy)));
    for n in 0.. {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        held.step(START, |job| job.done = n).await.unwrap();
        if rotation.is_finished() {
            break;
        }
    }
    assert_eq!(rotation.await.unwrap().unwrap().remaining, 0);
    let geo = tenancy.directory.job(GEO_LANE).await.unwrap().expect("the rotation's");
    assert!(geo.ended.is_some() && geo.kind == JobKind::RotateDirectoryKey);
    held.end(START, 0, 0).await.unwrap();
}
