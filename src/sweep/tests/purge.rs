//! From termination to certificate: not before 90 days, all of it, nothing else, and provably.

use super::fuse::Fuse;
use super::world::{DAY_MS, House, World, files, geo, operator};
use crate::directory::OpenedBucket;
use crate::index::row_keys::{self, RowKind};
use crate::index::{Batch, Direction, KeyRange};
use crate::model::ids::TenantId;
use crate::model::names::TenantName;
use crate::seal::KeyProbe;
use crate::sweep::certificate::{Kind, PublicKey, verify};
use crate::sweep::plan::{Act, Why};
use crate::tenant::{Event, Hold, HoldScope, State};
use std::sync::Arc;

/// A tenant with something in every place that there is.
pub(super) async fn stocked(house: &House, name: &str) -> (TenantId, Vec<Arc<OpenedBucket>>) {
    let id = house.tenant(name).await;
    let buckets = vec![house.bucket(id, "first", 0).await, house.bucket(id, "second", 1).await];
    for bucket in &buckets {
        house.put(bucket, "small", b"rides in its row").await;
        house.put(bucket, "middling", &[7; 20_000]).await;
        house.put(bucket, "large", &[8; 100_000]).await;
        house.upload(bucket, "unfinished").await;
        house.orphan(bucket).await;
    }
    house.put_parts(&buckets[0], "in parts", 3).await;
    (id, buckets)
}

pub(super) async fn terminate(house: &House, id: TenantId) {
    // Uploads in progress are aborted by the termination; one that came in despite it must go with the purge.
    house.apply(id, Event::Terminate).await;
}

#[tokio::test]
async fn it_is_there_until_the_last_second_and_gone_after_one_sweep() {
    let world = World::new();
    let house = world.open().await;
    let (id, buckets) = stocked(&house, "leaver").await;
    let (other, kept) = stocked(&house, "stayer").await;
    terminate(&house, id).await;
    let before = house.blobs(0).await;

    world.clock.advance(90 * DAY_MS - 1000).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(house.entry(id).await.standing.state, State::Terminated);
    assert_eq!(house.get(&buckets[0], "large").await.unwrap(), [8; 100_000]);
    assert_eq!(house.keys.key_probe(id.0).unwrap(), KeyProbe::Unwraps);
    assert!(house.sweeper.certificate(id).await.unwrap().is_none());
    assert!(house.blobs(0).await.len() < before.len(), "orphans of both went a day after they were made");

    house.upload(&buckets[0], "came in by a back door").await;
    world.clock.advance(1000).unwrap();
    let predicted = house.sweeper.plan().await;
    assert_eq!(predicted.acts, [Act::PurgeTenant(id)]);
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.done, report.tenants_purged), (predicted.acts, 1), "{:?}", report.skipped);
    assert_eq!(report.objects_removed, 7);
    assert_purged(&house, id).await;
    for bucket in &buckets {
        assert_eq!(house.roots(bucket).index.raw_rows(bucket.at.bucket).await.unwrap().rows, 0);
    }

    // The other one, byte for byte.
    for bucket in &kept {
        assert_eq!(house.get(bucket, "small").await.unwrap(), b"rides in its row");
        assert_eq!(house.get(bucket, "middling").await.unwrap(), [7; 20_000]);
        assert_eq!(house.get(bucket, "large").await.unwrap(), [8; 100_000]);
    }
    assert_eq!(house.entry(other).await.standing.state, State::Active);
    assert_eq!(house.blobs(0).await.len(), 1 + 4, "large; three parts and their list");
    assert_eq!(house.blobs(1).await.len(), 1);

    // P15: again changes nothing.
    let head = house.audit.head();
    let again = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((again.done, again.skipped, house.audit.head()), (vec![], vec![], head));
    house.close().await;
    let house = world.open().await;
    assert_purged(&house, id).await;
}

/// What must be so whatever way it came about.
pub(super) async fn assert_purged(house: &House, id: TenantId) {
    let standing = house.entry(id).await.standing.clone();
    assert_eq!(standing.state, State::Purged);
    assert_eq!(house.keys.key_probe(id.0).unwrap(), KeyProbe::Gone);
    assert_eq!(house.directory.rows_of_tenant(id).await.unwrap(), 0);
    assert_eq!(house.directory.due_by(u64::MAX - 1, 10).await.unwrap().iter().filter(|d| d.tenant == id).count(), 0);
    assert!(house.directory.purge_note(id).await.unwrap().is_none());
    assert!(house.directory.tenant_named(&TenantName::parse("leaver").unwrap()).await.unwrap().is_none());
    for roots in house.regions.values() {
        assert_eq!(roots.index.due_of_tenant(id).await.unwrap(), []);
        assert_eq!(
            crate::sweep::inventory::blobs_of_tenant(&roots.blobs, id, &mut crate::pace::Pace::free()).await.unwrap(),
            []
        );
    }
    let text = house.sweeper.certificate(id).await.unwrap().unwrap();
    let key = PublicKey(house.keys.log_signer().public_key());
    let certificate = verify(&text, &key).unwrap();
    assert_eq!((certificate.kind, certificate.tenant), (Kind::Final, id));
    assert_eq!(certificate.keys.destroyed.len(), 3);
    assert_eq!(certificate.deleted.buckets, 2);
    assert_eq!(certificate.deleted.objects, 7);
    assert_eq!(certificate.deleted.parts, 1);
    assert_eq!(certificate.deleted.blobs, 7, "two large, three parts, their list, one of an upload");
    let hash = crate::audit::Hash::of(&[text.as_bytes()]);
    assert_eq!(standing.purge.unwrap().certificate, Some(hash.0));
    let entry = &house.audit.entries(certificate.audit.index, 1).unwrap()[0];
    assert_eq!((entry.name(), entry.hash), ("tenant-purged", certificate.audit.hash));
    let mut events = house.events(id);
    let from = events.iter().position(|event| event == "purge-begun").unwrap();
    let mut purge = events.split_off(from);
    purge.dedup_by(|again, first| again == first && first == "purge-begun");
    let steps = [
        "purge-begun",
        "manifest-taken",
        "purge-listed",
        "tenant-keys-destroyed",
        "tenant-keys-probed",
        "tenant-purged",
        "certificate-issued",
    ];
    assert_eq!(purge, steps);
}

#[tokio::test]
async fn the_certificate_verifies_and_no_edited_one_does() {
    let world = World::new();
    let house = world.open().await;
    let (id, _) = stocked(&house, "leaver").await;
    terminate(&house, id).await;
    world.clock.advance(90 * DAY_MS).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    let text = house.sweeper.certificate(id).await.unwrap().unwrap();
    let key = PublicKey(house.keys.log_signer().public_key());
    verify(&text, &key).unwrap();
    for at in 0..text.len() {
        let mut edited = text.clone().into_bytes();
        edited[at] ^= 1;
        let Ok(edited) = String::from_utf8(edited) else { continue };
        assert!(verify(&edited, &key).is_err(), "byte {at}");
    }
    assert!(!text.contains("leaver") && !text.contains("first"), "opaque ids only");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let world = World::new();
    let house = world.open().await;
    let (id, _) = stocked(&house, "leaver").await;
    terminate(&house, id).await;
    world.clock.advance(90 * DAY_MS).unwrap();
    let (head, revision) = (house.audit.head(), house.entry(id).await.revision);
    let rows = house.directory.engine().scan(KeyRange::all(), usize::MAX, Direction::Ascending);
    let (rows, blobs) = (rows.await.unwrap(), house.blobs(0).await);
    let plan = house.sweeper.plan().await;
    let foreseen = house.sweeper.foresee().await;
    assert!(plan.acts.contains(&Act::PurgeTenant(id)));
    assert_eq!((house.audit.head(), house.entry(id).await.revision), (head, revision));
    let after = house.directory.engine().scan(KeyRange::all(), usize::MAX, Direction::Ascending);
    assert!(after.await.unwrap() == rows && house.blobs(0).await == blobs);
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((&report.done, report.tenants_purged), (&foreseen.done, foreseen.tenants_purged));
    assert_eq!(report.done, plan.acts);
}

#[tokio::test]
async fn reinstated_and_terminated_again_it_is_kept_for_90_days_more() {
    let world = World::new();
    let house = world.open().await;
    let (id, _) = stocked(&house, "leaver").await;
    terminate(&house, id).await;
    world.clock.advance(89 * DAY_MS).unwrap();
    house.apply(id, Event::Reinstate { consent: Some([2; 32]) }).await;
    world.clock.advance(5 * DAY_MS).unwrap();
    assert!(!house.sweeper.plan().await.acts.contains(&Act::PurgeTenant(id)));
    terminate(&house, id).await;
    world.clock.advance(90 * DAY_MS - 1000).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(house.entry(id).await.standing.state, State::Terminated);
    world.clock.advance(1000).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(house.entry(id).await.standing.state, State::Purged);
}

#[tokio::test]
async fn a_hold_keeps_everything_until_it_is_released() {
    let world = World::new();
    let house = world.open().await;
    let (id, buckets) = stocked(&house, "leaver").await;
    terminate(&house, id).await;
    let since = crate::model::clock::Clock::now(&*world.clock).stamp();
    house.apply(id, Event::PlaceHold(Hold { id: "M-9".into(), scope: HoldScope::Tenant, since })).await;
    world.clock.advance(91 * DAY_MS).unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.tenants_held, report.tenants_purged), (1, 0));
    assert_eq!(house.entry(id).await.standing.state, State::PurgeHeld);
    assert_eq!(house.get(&buckets[1], "large").await.unwrap(), [8; 100_000]);
    let plan = house.sweeper.plan().await;
    assert!(plan.skipped.iter().any(|skipped| skipped.why == Why::Held) && plan.late_s == 0);
    house.apply(id, Event::ReleaseHold { id: "M-9".into() }).await;
    house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(house.entry(id).await.standing.state, State::Purged);
}

#[tokio::test]
async fn a_damaged_row_keeps_nothing_alive() {
    let world = World::new();
    let house = world.open().await;
    let (id, buckets) = stocked(&house, "leaver").await;
    let roots = house.roots(&buckets[0]);
    let engine = &roots.index.shared.engine;
    let prefix = row_keys::of_bucket(RowKind::Object, buckets[0].at.bucket);
    let mut batch = Batch::new();
    for (row_key, value) in engine.scan(KeyRange::prefix(&prefix), 100, Direction::Ascending).await.unwrap() {
        let mut damaged = value.to_vec();
        damaged[80] ^= 1;
        batch.put(row_key, damaged);
    }
    engine.commit(batch).await.unwrap();
    terminate(&house, id).await;
    house.upload(&buckets[1], "came in by a back door").await;
    world.clock.advance(90 * DAY_MS).unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.tenants_purged, report.skipped), (1, vec![]));
    assert_eq!((house.blobs(0).await.len(), house.blobs(1).await.len()), (0, 0));
    assert_eq!(roots.index.raw_rows(buckets[0].at.bucket).await.unwrap().rows, 0);
    assert_eq!(house.entry(id).await.standing.state, State::Purged);
}

#[tokio::test]
async fn no_file_holds_its_rows_or_blobs_afterwards() {
    let world = World::new();
    let house = world.open_with(Fuse::that_compacts(), &["westeurope", "northeurope"]).await;
    let (id, buckets) = stocked(&house, "leaver").await;
    let (_, kept) = stocked(&house, "stayer").await;
    let salts = |rows: Vec<(bytes::Bytes, bytes::Bytes)>| rows.into_iter().map(|(_, v)| v[16..40].to_vec());
    let mut gone: Vec<Vec<u8>> = Vec::new();
    for bucket in &buckets {
        let roots = house.roots(bucket);
        for kind in row_keys::BUCKET_KINDS {
            let prefix = row_keys::of_bucket(kind, bucket.at.bucket);
            let range = KeyRange::prefix(&prefix);
            let rows = roots.index.shared.engine.scan(range, 1000, Direction::Ascending);
            gone.extend(salts(rows.await.unwrap()));
        }
        gone.push(bucket.at.bucket.0.to_vec());
    }
    assert!(gone.len() > 10);
    terminate(&house, id).await;
    world.clock.advance(90 * DAY_MS).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    assert_eq!(house.get(&kept[0], "middling").await.unwrap(), [7; 20_000]);
    for region in geo().regions {
        for (path, bytes) in files(&world.region_dir(region.id)) {
            let hit = gone.iter().find(|salt| memchr::memmem::find(&bytes, salt).is_some());
            assert!(hit.is_none(), "{} holds {hit:?}", path.display());
        }
    }
}
