//! P3 with holds over a part: at due everything else goes, and a crash at every write of that comes to the same end.

use super::fuse::Fuse;
use super::purge::{stocked, terminate};
use super::world::{DAY_MS, House, World, operator};
use crate::model::ids::TenantId;
use crate::sweep::certificate::{Kind, PublicKey, verify};
use crate::tenant::holds::{Matter, Said};
use crate::tenant::{Event, Hold, HoldScope, State};

const SERVED: [&str; 2] = ["westeurope", "northeurope"];

/// A hold in force, with all that is said of it.
pub(super) async fn hold(house: &House, id: TenantId, number: &str, scope: &str) {
    let now = house.tenancy.clock.now();
    let said = Said { by: "admin-1".into(), at: now.wall };
    let matter = Matter {
        id: number.into(),
        scope: scope.parse().unwrap(),
        words: "a case".into(),
        prospective: true,
        placed: said.clone(),
        approved: Some(said),
        written_until: None,
        release: None,
        released: false,
        reason: None,
    };
    house.directory.change_matter(id, None, &matter).await.unwrap();
    let hold = Hold { id: number.into(), scope: HoldScope::Part, since: now.stamp() };
    house.apply(id, Event::PlaceHold(hold)).await;
}

/// What is left is held, all that is held is left, and the certificate says so.
async fn assert_only_held(house: &House, id: TenantId) {
    let entry = house.entry(id).await;
    assert_eq!(entry.standing.state, State::PurgeHeld);
    assert!(entry.standing.part.as_ref().is_some_and(|part| part.done));
    let buckets = house.directory.buckets(id).await.unwrap();
    assert_eq!(buckets.iter().map(|at| at.name.as_str()).collect::<Vec<_>>(), ["first"], "one keeps something");
    let bucket = house.directory.open_bucket(&buckets[0]).await.unwrap().unwrap();
    assert_eq!(house.get(&bucket, "large").await.unwrap(), [8; 100_000]);
    let roots = house.roots(&bucket);
    assert_eq!(roots.index.raw_rows(bucket.at.bucket).await.unwrap().objects, 1);
    assert_eq!((house.blobs(0).await.len(), house.blobs(1).await.len()), (1, 0));
    let text = house.sweeper.certificate(id).await.unwrap().expect("a certificate");
    let certificate = verify(&text, &PublicKey(house.keys.log_signer().public_key())).unwrap();
    assert_eq!((certificate.kind, certificate.holds), (Kind::Partial, vec!["M-9".to_owned()]));
    let events = house.events(id);
    // "purge-held" may be there twice: a crash between an entry and its standing leaves it logged and not done.
    for once in ["manifest-taken", "purge-part-ended"] {
        assert_eq!(events.iter().filter(|event| *event == once).count(), 1, "{once} in {events:?}");
    }
}

#[tokio::test]
async fn p3_cut_off_anywhere_the_destruction_of_what_is_not_held_comes_to_the_same_end() {
    let template = World::new();
    let house = template.open().await;
    let (id, buckets) = stocked(&house, "leaver").await;
    terminate(&house, id).await;
    hold(&house, id, "M-9", "object:first/large").await;
    template.clock.advance(90 * DAY_MS - 1000).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    house.orphan(&buckets[1]).await;
    template.clock.advance(1000).unwrap();
    house.close().await;
    drop(buckets);

    let mut cut_off = 0;
    loop {
        let world = template.copy();
        let fuse = Fuse::at(cut_off + 1);
        let house = world.open_with(fuse.clone(), &SERVED).await;
        let report = house.sweeper.run(&operator()).await;
        let whole = report.is_ok_and(|report| report.tenants_held == 1 && report.skipped.is_empty());
        let passed = fuse.count();
        drop(house);
        let house = world.open().await;
        if !whole {
            let again = house.sweeper.run(&operator()).await.unwrap();
            assert!(again.skipped.iter().all(|why| why.contains("hold")), "cut off at {cut_off}: {:?}", again.skipped);
        }
        assert_only_held(&house, id).await;
        if whole && passed <= cut_off {
            // The last release, and the next sweep: no new 90 days.
            house.apply(id, Event::ReleaseHold { id: "M-9".into() }).await;
            assert_eq!(house.sweeper.run(&operator()).await.unwrap().tenants_purged, 1);
            assert_eq!(house.entry(id).await.standing.state, State::Purged);
            break;
        }
        // Every write near the beginning and the end, and one in three between.
        cut_off += if cut_off < 12 || whole { 1 } else { 3 };
    }
    assert!(cut_off > 30, "{cut_off} writes");
}

#[tokio::test]
async fn p3_a_hold_of_which_nothing_is_known_keeps_everything() {
    let world = World::new();
    let house = world.open().await;
    let (id, buckets) = stocked(&house, "leaver").await;
    terminate(&house, id).await;
    let since = house.tenancy.clock.now().stamp();
    house.apply(id, Event::PlaceHold(Hold { id: "M-1".into(), scope: HoldScope::Part, since })).await;
    world.clock.advance(91 * DAY_MS).unwrap();
    let report = house.sweeper.run(&operator()).await.unwrap();
    assert_eq!((report.tenants_held, report.tenants_purged, report.objects_removed), (1, 0, 0));
    assert_eq!(house.get(&buckets[1], "large").await.unwrap(), [8; 100_000]);
}
