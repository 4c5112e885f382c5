//! Buckets that keep versions, below every conductor: rotations and re-encryptions leave each version its bytes, no walk
//! takes one for an orphan, and a destruction counts and takes them all, but for those that a hold keeps.

use super::part::hold;
use super::purge::terminate;
use super::world::{DAY_MS, House, World, operator};
use crate::directory::OpenedBucket;
use crate::index::rows::v1::ObjectRow;
use crate::index::{Condition, Keep};
use crate::model::ids::VersionId;
use crate::model::names::ObjectName;
use crate::model::versioning::VersionAsked;
use crate::rekey::{self, Run};
use crate::seal::KeyProbe;
use crate::sweep::certificate::{PublicKey, verify};
use crate::tenant::holds::Matter;
use crate::tenant::{Event, State};
use std::collections::BTreeMap;
use std::sync::Arc;

const NAMES: [&str; 4] = ["a/small", "a/large", "b/marked", "b/once"];

fn named(name: &str) -> ObjectName {
    ObjectName::parse(name.to_owned()).unwrap()
}

/// What every version holds, by its id; marks hold nothing.
type Kept = BTreeMap<VersionId, Vec<u8>>;

/// Versions of all sizes, a mark on top of some and one between others.
async fn stocked(house: &House, bucket: &Arc<OpenedBucket>) -> Kept {
    for round in 0..3 {
        house.put_version(bucket, "a/small", &[round; 100]).await;
        house.put_version(bucket, "a/large", &[round; 100_000]).await;
        house.put_version(bucket, "b/marked", &[round; 20_000]).await;
        if round > 0 {
            let now = house.tenancy.clock.now();
            let marker = ObjectRow::marker("b/marked".into(), now.wall, now.cc_lo);
            let index = &house.roots(bucket).index;
            index.mark_deleted(&bucket.index, marker, Condition::None, Keep::Beside, None).await.unwrap();
        }
    }
    house.put_version(bucket, "b/once", b"one only").await;
    let kept = read_all(house, bucket).await;
    assert_eq!(kept.len(), 10);
    kept
}

async fn read_all(house: &House, bucket: &OpenedBucket) -> Kept {
    let bucket = &house.directory.open_bucket(&bucket.at).await.unwrap().unwrap();
    let mut kept = Kept::new();
    for name in NAMES {
        let index = &house.roots(bucket).index;
        let versions = index.versions_of(&bucket.index, &named(name), None, usize::MAX).await.unwrap();
        for row in versions.into_iter().filter(ObjectRow::is_object) {
            let plain = house.get_version(bucket, name, VersionAsked::Id(row.version_id)).await.unwrap();
            kept.insert(row.version_id, plain);
        }
    }
    kept
}

#[tokio::test]
async fn every_version_outlives_a_change_of_every_key_and_is_no_orphan() {
    let world = World::new();
    let house = world.open().await;
    let id = house.tenant("keeper").await;
    let bucket = house.bucket(id, "bucket", 0).await;
    let kept = stocked(&house, &bucket).await;
    let (by, rooms) = (operator(), super::epoch::rooms(&house));
    let run = Run { actor: &by, records_per_s: None, watch: super::epoch::nobody() };

    let wrapped = rekey::rotate_tenant(&rooms, &run, id).await.unwrap();
    assert_eq!((wrapped.rewrapped, wrapped.scanned, wrapped.remaining), (10, 10, 0), "marks have no data key");
    assert_eq!(read_all(&house, &bucket).await, kept);
    let sealed = rekey::rotate_index_key(&rooms, &run, id, bucket.at.bucket).await.unwrap();
    assert_eq!(sealed.remaining, 0);
    assert_eq!(read_all(&house, &bucket).await, kept);
    let blobs = house.blobs(0).await;
    let fresh = rekey::reencrypt(&rooms, &run, id, rekey::Part::default()).await.unwrap();
    assert_eq!((fresh.reencrypted, fresh.remaining), (10, 0));
    assert_eq!(read_all(&house, &bucket).await, kept);
    let now = house.blobs(0).await;
    assert!(blobs.keys().all(|blob| !now.contains_key(blob)) && now.len() == 3, "new bytes for old versions too");

    // A version of today and those of before: the day's collection takes what no row names.
    house.put_version(&bucket, "a/large", &[9; 100_000]).await;
    let orphan = house.orphan(&bucket).await;
    world.clock.advance(2 * DAY_MS).unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.orphans_removed, report.skipped), (1, vec![]));
    let left = house.blobs(0).await;
    assert!(left.len() == 4 && !left.contains_key(&orphan));
    let now = read_all(&house, &bucket).await;
    assert!(now.len() == 11 && kept.iter().all(|(id, plain)| now.get(id) == Some(plain)));
}

#[tokio::test]
async fn a_destruction_counts_and_takes_every_version_and_mark() {
    let world = World::new();
    let house = world.open().await;
    let id = house.tenant("leaver").await;
    let bucket = house.bucket(id, "first", 0).await;
    house.bucket(id, "second", 1).await;
    stocked(&house, &bucket).await;
    terminate(&house, id).await;
    world.clock.advance(90 * DAY_MS).unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.tenants_purged, report.skipped), (1, vec![]));
    assert_eq!(house.entry(id).await.standing.state, State::Purged);
    assert_eq!(house.keys.key_probe(id.0).unwrap(), KeyProbe::Gone);
    assert_eq!((house.directory.rows_of_tenant(id).await.unwrap(), house.blobs(0).await.len()), (0, 0));
    let text = house.sweeper.certificate(id).await.unwrap().expect("a certificate");
    let certificate = verify(&text, &PublicKey(house.keys.log_signer().public_key())).unwrap();
    let deleted = &certificate.deleted;
    assert_eq!((deleted.objects, deleted.versions, deleted.blobs), (4, 12, 3), "ten versions and two marks");
}

#[tokio::test]
async fn p3_what_a_hold_keeps_of_a_name_are_its_versions_and_marks_go() {
    let world = World::new();
    let house = world.open().await;
    let id = house.tenant("leaver").await;
    let bucket = house.bucket(id, "first", 0).await;
    let kept = stocked(&house, &bucket).await;
    hold(&house, id, "M-9", "prefix:first/b/").await;
    terminate(&house, id).await;
    world.clock.advance(90 * DAY_MS).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(house.entry(id).await.standing.state, State::PurgeHeld);
    let left = read_all(&house, &bucket).await;
    assert_eq!(left.len(), 4, "three of what is marked, and one");
    assert!(left.iter().all(|(id, plain)| kept.get(id) == Some(plain)));
    assert_eq!(house.blobs(0).await.len(), 0);
    let text = house.sweeper.certificate(id).await.unwrap().expect("a certificate");
    let certificate = verify(&text, &PublicKey(house.keys.log_signer().public_key())).unwrap();
    assert_eq!((certificate.deleted.objects, certificate.deleted.versions), (2, 8), "of two names nothing is left");
}

/// D8 in a bucket that keeps no versions: written over, deleted, and still there until the sweep after the release.
#[tokio::test]
async fn d8_what_is_written_over_is_kept_until_the_sweep_after_the_release() {
    let world = World::new();
    let house = world.open().await;
    let id = house.tenant("holder").await;
    let bucket = house.bucket(id, "first", 0).await;
    house.put(&bucket, "case", &[1; 100_000]).await;
    let name = named("case");
    let index = &house.roots(&bucket).index;
    let held = index.get(&bucket.index, &name).await.unwrap().unwrap().row.version_id;
    hold(&house, id, "M-9", "object:first/case").await;
    // What came later is held too: three versions stand beside the fourth.
    for round in 2..5 {
        house.put_where_held(&bucket, "case", &[round; 100_000]).await;
        assert_eq!(house.get(&bucket, "case").await.unwrap(), [round; 100_000]);
    }
    world.clock.advance(2 * DAY_MS).unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(report.objects_expired, 0);
    assert!(report.skipped.iter().any(|why| why.contains("a hold keeps them")), "{:?}", report.skipped);
    let bucket = house.directory.open_bucket(&bucket.at).await.unwrap().unwrap();
    let index = &house.roots(&bucket).index;
    let found = index.find_version(&bucket.index, &name, VersionAsked::Id(held)).await.unwrap().unwrap();
    assert!(found.row.is_kept() && !found.row.is_current());
    assert_eq!(house.get_version(&bucket, "case", VersionAsked::Id(held)).await.unwrap(), [1; 100_000]);
    let matter = house.directory.matter(id, "M-9").await.unwrap().unwrap();
    let released = Matter { released: true, ..matter.clone() };
    house.directory.change_matter(id, Some(&matter), &released).await.unwrap();
    house.apply(id, Event::ReleaseHold { id: "M-9".into() }).await;
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.objects_expired, report.skipped), (3, vec![]));
    assert_eq!(index.versions_of(&bucket.index, &name, None, usize::MAX).await.unwrap().len(), 1);
    assert_eq!(house.get(&bucket, "case").await.unwrap(), [4; 100_000]);
}
