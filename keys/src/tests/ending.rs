//! The end of a version: set, waited for, taken back, refused while anything needs the version, carried out (D9, D10).

use super::crash::cut_everywhere;
use super::world::{TENANT, World, await_end, master, object, trk};
use crate::version_life::{Life, Needs, Stage, Wait};
use crate::{
    BACKUP_AGE_SECONDS, DESTROY_AFTER_SECONDS, DESTROY_AFTER_SECONDS_MIN, DESTROY_COMPROMISED_AFTER_SECONDS,
    GeoKeyService, KeyError, MasterState, Refusal,
};
use proptest::prelude::*;

const DAY: i64 = 86_400;

fn rotated(service: &GeoKeyService) {
    let token = service.rotate_master().unwrap().token;
    while service.rotate_master_step(token, 64).unwrap().finished.is_none() {}
}

fn state(service: &GeoKeyService, version: u32) -> MasterState {
    let status = service.status().unwrap();
    status.masters.iter().find(|(master, _)| master.name.version == version).expect("it was made").0.state
}

#[test]
fn d9_a_master_key_waits_for_its_day_and_can_be_taken_back_until_then() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    rotated(&service);
    let set = service.schedule_end(master(1), DESTROY_AFTER_SECONDS, 0).unwrap();
    assert_eq!(set.due - set.at, 30 * DAY);
    world.advance(DAY);
    assert_eq!(service.schedule_end(master(1), DESTROY_AFTER_SECONDS, 0).unwrap(), set, "asked again: not anew");
    world.advance(29 * DAY - 1);
    assert_eq!(service.end_version(master(1), 0).err(), Some(Refusal::NotDue.into()), "a second too soon");
    assert_eq!(service.cancel_end(master(1)).unwrap(), Some(set));
    world.advance(400 * DAY);
    assert_eq!(service.end_version(master(1), 0).err(), Some(Refusal::NoDue.into()), "it was taken back");
    assert_eq!(service.cancel_end(master(1)).unwrap(), None, "once is enough");

    let shortest = service.schedule_end(master(1), 0, 0).unwrap();
    assert_eq!(shortest.due - shortest.at, DESTROY_AFTER_SECONDS_MIN, "a day at the least, whatever was asked for");
    drop(service);
    let service = world.open().unwrap();
    assert_eq!(service.endings().unwrap(), [shortest], "it stands in the key store");
    world.advance(DAY);
    let ended = service.end_version(master(1), 0).unwrap();
    assert!(ended.ending.receipt.is_some() && ended.ending.ended.is_some());
    assert_eq!(state(&service, 1), MasterState::Destroyed);
    assert_eq!(service.end_version(master(1), 0).unwrap().ending, ended.ending, "again, and the same");
    assert_eq!(service.cancel_end(master(1)).err(), Some(KeyError::Destroyed));
    service.forget_end(master(1)).unwrap();
    assert!(service.endings().unwrap().is_empty());
    assert_eq!(service.schedule_end(master(1), 0, 0).err(), Some(KeyError::Destroyed));
    assert!(service.tenant(TENANT).is_ok());
}

#[test]
fn d9_a_backup_inside_its_age_cap_keeps_a_master_key() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let note = service.backup_keystore(&world.dir.path().join("backup-1"), "one").unwrap().note;
    assert_eq!(note.masters.as_deref(), Some(&[1][..]), "what it needs is recorded");
    rotated(&service);
    world.advance(DAY);
    // On the day that is asked for the backup would still be of use.
    assert_eq!(service.schedule_end(master(1), DAY, 0).err(), Some(Refusal::BackupNeeds.into()));
    let set = service.schedule_end(master(1), 29 * DAY, 0).unwrap();
    let later = service.backup_keystore(&world.dir.path().join("backup-2"), "two").unwrap().note;
    assert_eq!(later.masters.as_deref(), Some(&[2][..]));
    // The cap is made longer meanwhile: on the day it is looked at again, and the version stays.
    service.cap_backup_age(60 * DAY);
    world.advance(29 * DAY);
    assert_eq!(service.may_end(master(1), 0).err(), Some(Refusal::BackupNeeds.into()));
    assert_eq!(service.end_version(master(1), 0).err(), Some(Refusal::BackupNeeds.into()));
    assert_eq!((state(&service, 1), service.endings().unwrap()), (MasterState::DecryptOnly, vec![set]));
    world.advance(30 * DAY);
    service.end_version(master(1), 0).unwrap();
    assert_eq!(state(&service, 1), MasterState::Destroyed);
    let left: Vec<_> = service.backups().unwrap().into_iter().map(|backup| backup.id).collect();
    assert_eq!(left, ["two"], "the other is noise, and no longer listed");
}

#[test]
fn d9_a_backup_of_which_nothing_is_recorded_keeps_every_version_of_its_time() {
    let unknown = |master| crate::BackupNote { id: "old".into(), at: 0, master, masters: None };
    assert!(unknown(3).needs_master(1) && unknown(3).needs_master(3) && !unknown(3).needs_master(4));
    let known = crate::BackupNote { masters: Some(vec![2, 3]), ..unknown(3) };
    assert!(!known.needs_master(1) && known.needs_master(2) && known.needs_master(3));
}

#[test]
fn d9_what_came_under_a_version_again_keeps_it_on_its_day() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    service.rotate_tenant(TENANT).unwrap();
    await_end(&world.clock, &service, trk(TENANT, 1));
    assert_eq!(service.end_version(trk(TENANT, 1), 2).err(), Some(Refusal::InUse.into()), "a scan found two");
    assert_eq!(service.endings().unwrap().len(), 1, "its day stands");
    assert_eq!(service.end_version(trk(TENANT, 1), 0).unwrap().shredded.unwrap().salts_found, 0);
    assert!(service.tenant(TENANT).is_ok());
}

#[test]
fn d10_a_data_key_that_may_be_known_does_not_wait_for_backups() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    service.backup_keystore(&world.dir.path().join("backup"), "one").unwrap();
    service.report_compromise(TENANT, 1).unwrap();
    let set = service.schedule_end(trk(TENANT, 1), DESTROY_COMPROMISED_AFTER_SECONDS, 0).unwrap();
    assert_eq!(set.due - set.at, DAY);
    world.advance(DAY);
    service.end_version(trk(TENANT, 1), 0).unwrap();
    // One that is only old waits.
    service.rotate_tenant(TENANT).unwrap();
    assert_eq!(service.schedule_end(trk(TENANT, 2), DAY, 0).err(), Some(Refusal::BackupNeeds.into()));
    assert!(service.schedule_end(trk(TENANT, 2), BACKUP_AGE_SECONDS, 0).is_ok());
}

#[test]
fn d10_a_master_key_that_may_be_known_is_scheduled_before_it_is_replaced() {
    let world = World::new();
    let service = world.open().unwrap();
    service.create_tenant(TENANT).unwrap();
    let set = service.report_master_compromise(1, true).unwrap().expect("a day");
    assert_eq!(set.due - set.at, DAY);
    assert_eq!(service.report_master_compromise(1, true).unwrap(), Some(set), "again, and the same");
    world.advance(2 * DAY);
    assert_eq!(service.end_version(master(1), 0).err(), Some(Refusal::Active.into()), "everything still needs it");
    rotated(&service);
    assert_eq!(service.status().unwrap().known_masters, Some(vec![1]));
    service.end_version(master(1), 0).unwrap();
    assert!(service.tenant(TENANT).is_ok());
}

/// Whatever call to the provider a crash falls on, the end can be asked for again and comes, once.
#[test]
fn d9_an_end_that_was_cut_off_anywhere_comes_when_it_is_asked_for_again() {
    let prepare = |world: &World| {
        let service = world.open().unwrap();
        service.create_tenant(TENANT).unwrap();
        service.rotate_tenant(TENANT).unwrap();
        rotated(&service);
        service.schedule_end(trk(TENANT, 1), 0, 0).unwrap();
        service.schedule_end(master(1), 0, 0).unwrap();
        world.advance(DAY);
    };
    let cuts = cut_everywhere(
        prepare,
        |service| {
            service.end_version(trk(TENANT, 1), 0)?;
            service.end_version(master(1), 0).map(drop)
        },
        |_, service| {
            for of in [trk(TENANT, 1), master(1)] {
                service.end_version(of, 0).unwrap();
                service.forget_end(of).unwrap();
            }
            assert_eq!(state(&service, 1), MasterState::Destroyed);
            let keys = service.tenant(TENANT).unwrap();
            assert!(keys.new_dek(&object(TENANT, 1)).is_ok());
        },
    );
    assert!(cuts > 5, "{cuts}");
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Replace,
    Report,
    Schedule(i64),
    Cancel,
    Pass(i64),
    Use(u64),
    Keep(Option<i64>),
    End,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        1 => Just(Deed::Replace),
        1 => Just(Deed::Report),
        3 => (-DAY..40 * DAY).prop_map(Deed::Schedule),
        1 => Just(Deed::Cancel),
        3 => (0..20 * DAY).prop_map(Deed::Pass),
        1 => (0..3_u64).prop_map(Deed::Use),
        1 => prop::option::of(0..60 * DAY).prop_map(Deed::Keep),
        3 => Just(Deed::End),
    ]
}

proptest! {
    /// An end comes only to an older version that nothing needs, a day at the least after it was scheduled, and not when
    /// it was taken back since; and then it does come.
    #[test]
    fn d9_r50_the_life_of_a_version_has_one_way_out(deeds in prop::collection::vec(deed(), 1..60)) {
        let (mut life, mut now) = (Life { stage: Stage::Active, compromised: false, wait: None }, 1_800_000_000);
        let (mut needs, mut scheduled): (Needs, Option<(i64, i64)>) = (Needs::default(), None);
        for deed in deeds {
            match deed {
                Deed::Replace if life.stage == Stage::Active => life.stage = Stage::Older,
                Deed::Replace => {}
                Deed::Report => life = life.report().unwrap_or(life),
                Deed::Pass(seconds) => now += seconds,
                Deed::Use(records) => needs.records = records,
                Deed::Keep(seconds) => needs.backups_until = seconds.map(|seconds| now + seconds),
                Deed::Cancel => if let Ok(after) = life.cancel() {
                    prop_assert_eq!(after.wait, None);
                    (life, scheduled) = (after, None);
                },
                Deed::Schedule(after_s) => match life.schedule(now, after_s, &needs) {
                    Ok(after) => {
                        let Some(Wait { at, due }) = after.wait else { panic!("a day was set") };
                        prop_assert!(life.stage == Stage::Older && due - at >= DAY);
                        prop_assert!(scheduled == Some((at, due)) || at == now, "anew, or as it was");
                        (life, scheduled) = (after, Some((at, due)));
                    }
                    Err(refusal) => {
                        let kept = needs.records > 0 || needs.backups_until.is_some();
                        prop_assert!(kept || life.stage != Stage::Older, "{:?}", refusal);
                    }
                },
                Deed::End => {
                    let needed = needs.records > 0 || needs.backups_until.is_some_and(|until| until > now);
                    let may = scheduled.is_some_and(|(_, due)| now >= due) && !needed;
                    match (life.stage, life.may_end(now, &needs)) {
                        (Stage::Destroyed, again) => prop_assert_eq!(again, Ok(())),
                        (stage, Ok(())) => {
                            prop_assert!(stage == Stage::Older && may);
                            life.stage = Stage::Destroyed;
                        }
                        (stage, Err(_)) => prop_assert!(stage == Stage::Active || !may),
                    }
                }
            }
            if life.stage == Stage::Destroyed {
                prop_assert!(life.cancel().is_err() && life.report().is_err());
                prop_assert!(life.schedule(now, DAY, &Needs::default()).is_err());
            }
        }
    }
}
