//! K-15 inside: the close of an epoch over tenants that live on. Every row of before against every key that lives, and a
//! crash at every write.

use super::fuse::Fuse;
use super::world::{DAY_MS, House, World, operator};
use crate::directory::{ClosePart, OpenedBucket};
use crate::index::Condition;
use crate::index::row_keys::RowKind;
use crate::model::ids::TenantId;
use crate::model::names::ObjectName;
use crate::rekey::{self, RekeyError, Rooms, Run, Watch};
use crate::seal::{EpochJob, EpochPhase, RowKey};
use crate::sweep::archive;
use crate::sweep::certificate::PublicKey;
use crate::sweep::closing::EpochCertificate;
use std::sync::Arc;

const SERVED: [&str; 2] = ["westeurope", "northeurope"];
const SOAK_S: i64 = 3600;

struct Nobody;

impl Watch for Nobody {
    fn phase(&self, _: &'static str, _: u64) {}
    fn done(&self, _: u64) {}
}

pub(super) fn nobody() -> &'static dyn Watch {
    &Nobody
}

pub(super) fn rooms(house: &House) -> Rooms {
    Rooms {
        directory: house.directory.clone(),
        regions: house.regions.clone(),
        audit: house.audit.clone(),
        clock: house.tenancy.clock.clone(),
        traffic: Default::default(),
    }
}

async fn close(house: &House) -> Result<EpochJob, RekeyError> {
    let by = operator();
    let run = Run { actor: &by, records_per_s: None, watch: &Nobody };
    rekey::close_epoch(&rooms(house), &run, SOAK_S).await
}

async fn delete(house: &House, bucket: &OpenedBucket, name: &str) {
    let name = ObjectName::parse(name.to_owned()).unwrap();
    house.roots(bucket).index.delete(&bucket.index, &name, Condition::None).await.unwrap().expect("it was there");
}

async fn bucket(house: &House, tenant: TenantId, name: &str) -> Arc<OpenedBucket> {
    let all = house.directory.buckets(tenant).await.unwrap();
    let at = all.iter().find(|at| at.name.as_str() == name).expect("the bucket is there");
    house.directory.open_bucket(at).await.unwrap().unwrap()
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Every row of the directory and of a region, as a backup has them.
fn rows(house: &House) -> (Rows, Rows) {
    let collect = |snapshot: Box<dyn crate::index::Snapshot>| {
        let mut rows = Rows::new();
        snapshot
            .each(&mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                Ok(())
            })
            .unwrap();
        rows
    };
    let region = house.regions["westeurope"].index.snapshot().unwrap();
    (collect(house.directory.engine().snapshot().unwrap()), collect(region))
}

/// How many of the rows that speak of a tenant's names any key opens that lives now, of how many. Tried are all index
/// keys and all keys for rows of all tenants, in every version that is there.
async fn opened(house: &House, rows: &Rows, tenants: &[TenantId], of: impl Fn(&[u8]) -> bool) -> (usize, usize) {
    let mut buckets = Vec::new();
    let mut roots = Vec::new();
    for tenant in tenants {
        for at in house.directory.buckets(*tenant).await.unwrap() {
            buckets.push(house.directory.open_bucket(&at).await.unwrap().unwrap());
        }
        roots.push(house.directory.keys(*tenant).await.unwrap());
    }
    let geo_keys = house.keys.geo_keys();
    let of_geo = geo_keys.directory();
    let mut keys: Vec<&RowKey> = vec![&of_geo];
    for bucket in &buckets {
        keys.push(bucket.index.key.row_key());
        keys.extend(bucket.index.old.as_ref().map(|old| old.row_key()));
    }
    for of_tenant in &roots {
        for version in 1..=9 {
            keys.extend(of_tenant.directory_of_version(version));
            keys.extend(of_tenant.subject_map_of_version(version));
        }
    }
    let asked: Vec<_> = rows.iter().filter(|(row_key, _)| of(row_key)).collect();
    let opens =
        |(row_key, value): &&&(Vec<u8>, Vec<u8>)| keys.iter().any(|key| key.open(row_key[0], row_key, value).is_ok());
    (asked.iter().filter(opens).count(), asked.len())
}

/// Rows that hold names, metadata or data keys' records of a bucket.
fn tells(row_key: &[u8], bucket: [u8; 16]) -> bool {
    let kinds = [RowKind::Object, RowKind::Leaf, RowKind::Fences, RowKind::Upload, RowKind::Part];
    kinds.iter().any(|kind| row_key[0] == *kind as u8) && row_key[1..17] == bucket
}

#[tokio::test]
async fn k15_no_living_key_opens_a_row_of_before_and_what_lives_is_intact() {
    let world = World::new();
    let house = world.open().await;
    let (removes, keeps) = (house.tenant("removes").await, house.tenant("keeps").await);
    let tenants = [removes, keeps];
    for tenant in tenants {
        let letters = house.bucket(tenant, "letters", 0).await;
        for (name, size) in [("small", 100), ("middling", 20_000), ("large", 100_000), ("kept", 300)] {
            house.put(&letters, name, &vec![7; size]).await;
        }
        house.upload(&letters, "unfinished").await;
        house.put(&*house.bucket(tenant, "untouched", 0).await, "still", b"there").await;
        house.bucket(tenant, "doomed", 0).await;
    }
    let (directory, region) = rows(&house);
    let letters =
        [bucket(&house, removes, "letters").await.at.bucket, bucket(&house, keeps, "letters").await.at.bucket];
    let (of_removes, of_keeps) = (|key: &[u8]| tells(key, letters[0].0), |key: &[u8]| tells(key, letters[1].0));
    let named = |tenant: TenantId| move |key: &[u8]| key[0] == b'b' && key[1..17] == tenant.0;
    for of in [&of_removes as &(dyn Fn(&[u8]) -> bool + Sync), &of_keeps] {
        let (opens, all) = opened(&house, &region, &tenants, of).await;
        assert!(opens == all && all >= 8, "yesterday's backup is good for something: {opens} of {all}");
    }
    {
        let letters = bucket(&house, removes, "letters").await;
        delete(&house, &letters, "small").await;
        delete(&house, &letters, "middling").await;
        house.put(&letters, "large", &[8; 50_000]).await;
        house.directory.remove_bucket(&bucket(&house, removes, "doomed").await.at).await.unwrap();
    }
    // Deleted, and nothing more: whoever has a copy of before and the keys reads it.
    let (opens, all) = opened(&house, &region, &tenants, of_removes).await;
    assert_eq!(opens, all);

    let job = close(&house).await.unwrap();
    assert_eq!(job.phase, EpochPhase::Soaking);
    let (opens, all) = opened(&house, &region, &tenants, of_removes).await;
    assert_eq!((opens, all > 8), (0, true), "rows of the bucket that something was removed from");
    let (opens, all) = opened(&house, &directory, &tenants, named(removes)).await;
    assert_eq!((opens, all), (0, 3), "its buckets' names and index keys");
    for (rows, of) in [(&region, &of_keeps as &(dyn Fn(&[u8]) -> bool + Sync)), (&directory, &named(keeps))] {
        let (opens, all) = opened(&house, rows, &tenants, of).await;
        assert!(opens == all && all >= 3, "nothing was removed there, so its backups stay good: {opens} of {all}");
    }
    let now = bucket(&house, removes, "letters").await;
    assert_eq!(house.get(&now, "kept").await.unwrap(), [7; 300]);
    assert_eq!(house.get(&now, "large").await.unwrap(), [8; 50_000]);
    assert_eq!(house.get(&now, "small").await, None);
    assert_eq!(house.get(&*bucket(&house, removes, "untouched").await, "still").await.unwrap(), b"there");
    assert_eq!(house.get(&*bucket(&house, keeps, "letters").await, "small").await.unwrap(), [7; 100]);
    assert_eq!(rekey::removals(&rooms(&house)).await.unwrap(), rekey::Removals::default(), "nothing is left to do");
    assert!(house.events(removes).contains(&"epoch-keys-replaced".to_owned()));
    assert!(!house.events(keeps).contains(&"epoch-keys-replaced".to_owned()));

    world.clock.advance(SOAK_S * 1000).unwrap();
    assert_eq!(house.sweeper.run(&operator()).await.unwrap().epochs_closed, 1);
    let text =
        archive::read_named(&world.dir.join("certificates"), &archive::epoch(1)).unwrap().expect("it is certified");
    let key = PublicKey(house.directory.key_service().log_key());
    let certificate = EpochCertificate::verify(&text, &key).unwrap();
    let [replaced] = &certificate.keys_replaced.unwrap()[..] else { panic!("one tenant") };
    assert_eq!((replaced.tenant.as_str(), replaced.buckets), (removes.to_string().as_str(), 1));
    assert!(replaced.rows >= 5 && replaced.subject_root.is_none() && replaced.left_out.is_empty(), "{replaced:?}");
    assert_eq!(replaced.index_root.map(|root| (root.from, root.to)), Some((1, 2)));
    assert!(house.directory.close_parts(1).await.unwrap().is_empty(), "it is in the certificate");
    world.clock.advance(DAY_MS).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
}

#[tokio::test]
async fn what_is_removed_during_a_close_belongs_to_the_next_one_and_suspended_tenants_are_left_out() {
    let world = World::new();
    let house = world.open().await;
    let (sleeps, works) = (house.tenant("sleeps").await, house.tenant("works").await);
    for tenant in [sleeps, works] {
        let letters = house.bucket(tenant, "letters", 0).await;
        for name in ["a", "b", "c"] {
            house.put(&letters, name, b"text").await;
        }
        delete(&house, &letters, "a").await;
    }
    house.keys.suspend(sleeps.0).unwrap();
    house.directory.forget(sleeps);
    let job = close(&house).await.unwrap();
    let parts = house.directory.close_parts(job.number).await.unwrap();
    let of = |id: TenantId| parts.iter().find(|part: &&ClosePart| part.tenant == id).unwrap();
    assert_eq!(of(sleeps).outside, [crate::directory::Outside::Suspended]);
    assert!(of(works).outside.is_empty() && of(works).index_root.is_some());
    let left = rekey::removals(&rooms(&house)).await.unwrap();
    assert_eq!((left.tenants, left.buckets), (1, 1), "the one that was left out is the next close's");

    // Taken back, and begun again: both are done, as each needs.
    house.keys.resume(sleeps.0).unwrap();
    rekey::abort_epoch(&rooms(&house), &operator()).await.unwrap();
    delete(&house, &*bucket(&house, works, "letters").await, "b").await;
    let job = close(&house).await.unwrap();
    let parts = house.directory.close_parts(job.number).await.unwrap();
    for part in &parts {
        assert!(part.outside.is_empty() && part.buckets.len() == 1, "{part:?}");
    }
    let of_works = parts.iter().find(|part| part.tenant == works).unwrap();
    assert_eq!(of_works.index_root.map(|root| (root.from, root.to)), Some((1, 3)), "of both runs");
    assert_eq!(rekey::removals(&rooms(&house)).await.unwrap().tenants, 0);
    assert_eq!(house.get(&*bucket(&house, sleeps, "letters").await, "b").await.unwrap(), b"text");
    assert_eq!(house.get(&*bucket(&house, works, "letters").await, "c").await.unwrap(), b"text");
}

#[tokio::test]
async fn cut_off_anywhere_a_close_comes_to_the_same_end() {
    let template = World::new();
    let house = template.open().await;
    let (removes, other) = (house.tenant("removes").await, house.tenant("other").await);
    for tenant in [removes, other] {
        let letters = house.bucket(tenant, "letters", 0).await;
        house.put(&letters, "gone", b"a secret").await;
        house.put(&letters, "kept", &[7; 300]).await;
    }
    let letters = bucket(&house, removes, "letters").await.at.bucket;
    let (_, region) = rows(&house);
    delete(&house, &*bucket(&house, removes, "letters").await, "gone").await;
    house.close().await;

    let mut cut_off = 0;
    loop {
        let world = template.copy();
        let fuse = Fuse::at(cut_off + 1);
        let house = world.open_with(fuse.clone(), &SERVED).await;
        let whole = close(&house).await.is_ok();
        let passed = fuse.count();
        drop(house);
        let house = world.open().await;
        let job = close(&house).await.unwrap_or_else(|error| panic!("cut off at {cut_off}: {error}"));
        assert_eq!((job.number, job.phase), (1, EpochPhase::Soaking), "cut off at {cut_off}");
        let (opens, all) = opened(&house, &region, &[removes, other], |key| tells(key, letters.0)).await;
        assert_eq!((opens, all >= 4), (0, true), "cut off at {cut_off}");
        for tenant in [removes, other] {
            assert_eq!(house.get(&*bucket(&house, tenant, "letters").await, "kept").await.unwrap(), [7; 300]);
        }
        assert_eq!(house.get(&*bucket(&house, other, "letters").await, "gone").await.unwrap(), b"a secret");
        let parts = house.directory.close_parts(1).await.unwrap();
        assert!(parts.len() == 1 && parts[0].outside.is_empty(), "cut off at {cut_off}: {parts:?}");
        if whole && passed <= cut_off {
            break;
        }
        cut_off += 1;
    }
    assert!(cut_off > 20, "{cut_off} writes");
}
