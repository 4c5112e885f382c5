//! Leftovers, stale uploads, tenants that were never made, regions out of reach, rows that were damaged.

use super::fuse::Fuse;
use super::purge::{stocked, terminate};
use super::world::{DAY_MS, World, geo, operator};
use crate::directory::Detail;
use crate::model::clock::Clock;
use crate::model::ids::TenantId;
use crate::model::names::BucketName;
use crate::seal::KeyProbe;
use crate::sweep::certificate::{Kind, PublicKey, verify};
use crate::sweep::plan::Act;
use crate::tenant::{self, Event, NewTenant, Replication, State};

#[tokio::test]
async fn what_no_row_names_goes_and_nothing_else() {
    let world = World::new();
    let house = world.open().await;
    let id = house.tenant("a").await;
    let bucket = house.bucket(id, "bucket", 0).await;
    let (large, list) = (house.put(&bucket, "large", &[8; 100_000]).await, house.put_parts(&bucket, "parts", 3).await);
    let (_, part) = house.upload(&bucket, "unfinished").await;
    let orphan = house.orphan(&bucket).await;
    // Rows of a bucket whose deletion was cut off behind the directory's row.
    let doomed = house.bucket(id, "doomed", 0).await;
    house.put(&doomed, "small", b"left").await;
    house.directory.remove_bucket(&doomed.at).await.unwrap();
    world.clock.advance(DAY_MS / 2).unwrap();

    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.orphans_removed, report.skipped), (2, vec![]));
    let left = house.blobs(0).await;
    assert!([large, list, part].iter().all(|id| left.contains_key(id)) && !left.contains_key(&orphan));
    assert_eq!(left.len(), 6);
    assert_eq!(house.roots(&doomed).index.raw_rows(doomed.at.bucket).await.unwrap().rows, 0);
    assert_eq!(house.get(&bucket, "large").await.unwrap(), [8; 100_000]);

    // Once a day, by its due row.
    house.orphan(&bucket).await;
    world.clock.advance(DAY_MS - 1000).unwrap();
    assert!(!house.sweeper.plan().await.acts.iter().any(|act| matches!(act, Act::CollectOrphans(_))));
    world.clock.advance(1000).unwrap();
    assert_eq!(house.sweeper.run(&operator()).await.unwrap().orphans_removed, 1);
}

#[tokio::test]
async fn what_somebody_reads_is_not_collected_until_he_is_done() {
    let world = World::new();
    let house = world.open().await;
    let id = house.tenant("a").await;
    let bucket = house.bucket(id, "bucket", 0).await;
    let (roots, blob) = (house.roots(&bucket), house.orphan(&bucket).await);
    // Its object went while it was read.
    let mut reader = roots.readers.begin();
    reader.reads(blob);
    roots.readers.retire(blob, vec![blob]).await.unwrap();
    world.clock.advance(DAY_MS / 2).unwrap();
    assert_eq!(house.sweeper.run(&operator()).await.unwrap().orphans_removed, 0);
    assert!(house.blobs(0).await.contains_key(&blob));
    drop(reader);
    roots.readers.tick().await.unwrap();
    assert!(!house.blobs(0).await.contains_key(&blob));
}

#[tokio::test]
async fn nothing_is_collected_while_a_bucket_cannot_be_read() {
    let world = World::new();
    let house = world.open().await;
    let (first, second) = (house.tenant("a").await, house.tenant("b").await);
    let bucket = house.bucket(first, "bucket", 0).await;
    house.bucket(second, "bucket", 0).await;
    let orphan = house.orphan(&bucket).await;
    house.keys.suspend(second.0).unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(report.skipped.len(), 2, "both regions: {:?}", report.skipped);
    assert!(house.blobs(0).await.contains_key(&orphan));
    house.keys.resume(second.0).unwrap();
    assert_eq!(house.sweeper.run(&operator()).await.unwrap().orphans_removed, 1);
}

#[tokio::test]
async fn an_upload_is_aborted_after_a_day_and_only_by_its_own_due_row() {
    let world = World::new();
    let house = world.open().await;
    let id = house.tenant("a").await;
    let bucket = house.bucket(id, "bucket", 0).await;
    let (upload, part) = house.upload(&bucket, "stale").await;
    let (done, _) = house.upload(&bucket, "aborted by its client").await;
    let roots = house.roots(&bucket);
    roots.index.abort(&bucket.index, done).await.unwrap();
    world.clock.advance(DAY_MS - 1000).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    assert!(roots.index.has_upload(bucket.at.bucket, upload).await.unwrap());
    assert!(house.blobs(0).await.contains_key(&part));

    world.clock.advance(1000).unwrap();
    let plan = house.sweeper.plan().await;
    assert!(plan.acts.contains(&Act::AbortUpload { tenant: id, bucket: bucket.at.bucket, upload }));
    house.apply(id, Event::Disable).await;
    assert_eq!(house.sweeper.run(&operator()).await.unwrap().uploads_aborted, 0, "lifetimes stand still");
    let enable = Event::Enable { consent: Some([1; 32]), key_usable: true };
    house.apply(id, enable).await;
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.uploads_aborted, report.skipped), (1, vec![]));
    assert!(!roots.index.has_upload(bucket.at.bucket, upload).await.unwrap());
    assert!(!house.blobs(0).await.contains_key(&part));
    assert_eq!(roots.index.due_of_tenant(id).await.unwrap(), [], "the spent row went too");

    // A due row that another hand wrote, or moved to another bucket, aborts nothing.
    let (upload, _) = house.upload(&bucket, "fresh").await;
    let forged = crate::index::DueKey { id: upload.0, ..roots.index.due_of_tenant(id).await.unwrap()[0] };
    let forged = crate::index::DueKey { seconds: 1, ..forged };
    let keys = house.keys.geo_keys();
    roots.index.put_due(&keys.directory(), forged, &bucket.at.bucket.0).await.unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(report.uploads_aborted, 0);
    assert!(roots.index.has_upload(bucket.at.bucket, upload).await.unwrap());
}

#[tokio::test]
async fn a_tenant_that_was_never_made_is_given_up() {
    let world = World::new();
    let house = world.open().await;
    let (id, home) = (TenantId::random(), &geo().regions[0]);
    let new = NewTenant { id, geo: geo(), home, replication: Replication::None, consent: Some([1; 32]) };
    let (standing, _) = tenant::create(new, &world.clock.now()).unwrap();
    house.keys.create_tenant(id.0).unwrap();
    let detail = Detail { name: "half".into(), contact: None };
    house.directory.enter_tenant(standing, detail).await.unwrap();
    world.clock.advance(15 * 60_000 - 1000).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    assert!(house.directory.tenant(id).await.unwrap().is_some());
    world.clock.advance(1000).unwrap();
    assert_eq!(house.sweeper.plan().await.acts, [Act::GiveUpTenant(id)]);
    assert_eq!(house.sweeper.run(&operator()).await.unwrap().tenants_given_up, 1);
    assert!(house.directory.tenant(id).await.unwrap().is_none());
    assert!(house.keys.tenant_status(id.0).unwrap().is_none());
    assert_eq!(house.directory.due_by(u64::MAX - 1, 10).await.unwrap(), []);
    house.tenant("half").await;
}

#[tokio::test]
async fn out_of_reach_for_too_long_the_keys_go_first_and_a_final_certificate_follows() {
    let world = World::new();
    let house = world.open().await;
    let (id, _) = stocked(&house, "leaver").await;
    terminate(&house, id).await;
    house.close().await;
    world.clock.advance(90 * DAY_MS).unwrap();

    let house = world.open_with(Fuse::at(0), &["westeurope"]).await;
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.tenants_purged, report.skipped.len()), (0, 1));
    assert_eq!(house.entry(id).await.standing.state, State::Purging);
    assert_eq!(house.keys.key_probe(id.0).unwrap(), KeyProbe::Unwraps, "keys last, while that may still be");
    world.clock.advance(DAY_MS + 3_600_000).unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.tenants_purged, report.skipped.len()), (0, 1));
    assert_eq!(house.entry(id).await.standing.state, State::Purging);
    assert_eq!(house.keys.key_probe(id.0).unwrap(), KeyProbe::Gone);
    let key = PublicKey(house.keys.log_signer().public_key());
    let residual = verify(&house.sweeper.certificate(id).await.unwrap().unwrap(), &key).unwrap();
    assert_eq!((residual.kind, residual.deleted.objects), (Kind::Residual, 4));
    assert!(residual.listings.iter().any(|of| of.region == "northeurope" && !of.reached));
    house.close().await;

    let house = world.open().await;
    assert!(house.blobs(1).await.len() > 1);
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.tenants_purged, report.skipped), (1, vec![]));
    let last = verify(&house.sweeper.certificate(id).await.unwrap().unwrap(), &key).unwrap();
    assert_eq!((last.kind, last.deleted.objects), (Kind::Final, 7));
    assert_eq!(house.blobs(1).await.len(), 0);
    assert_eq!(house.entry(id).await.standing.state, State::Purged);
    let name = BucketName::parse("first").unwrap();
    assert!(house.directory.bucket(id, &name).await.is_err(), "no key is left to ask with");
}
