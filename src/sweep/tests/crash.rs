//! A crash at every write of a purge, and then the next sweep: always the same end.

use super::fuse::Fuse;
use super::purge::{assert_purged, stocked, terminate};
use super::world::{DAY_MS, World, operator};
use crate::tenant::State;

const SERVED: [&str; 2] = ["westeurope", "northeurope"];

#[tokio::test]
async fn cut_off_anywhere_a_purge_comes_to_the_same_end() {
    let template = World::new();
    let house = template.open().await;
    let (id, buckets) = stocked(&house, "leaver").await;
    let (other, kept) = stocked(&house, "stayer").await;
    terminate(&house, id).await;
    // Nothing else is due, so that every write is the purge's.
    template.clock.advance(90 * DAY_MS - 1000).unwrap();
    house.sweeper.run(&operator()).await.unwrap();
    house.upload(&buckets[0], "came in by a back door").await;
    house.orphan(&buckets[1]).await;
    template.clock.advance(1000).unwrap();
    house.close().await;
    drop((buckets, kept));

    let mut cut_off = 0;
    loop {
        let world = template.copy();
        let fuse = Fuse::at(cut_off + 1);
        let house = world.open_with(fuse.clone(), &SERVED).await;
        let report = house.sweeper.run(&operator()).await;
        let whole = report.is_ok_and(|report| report.tenants_purged == 1 && report.skipped.is_empty());
        let passed = fuse.count();
        drop(house);
        let house = world.open().await;
        if !whole {
            let state = house.entry(id).await.standing.state;
            let again = house.sweeper.run(&operator()).await.unwrap();
            let done = again.tenants_purged == 1 || state == State::Purged;
            assert!(done && again.skipped.is_empty(), "cut off at {cut_off} in {state:?}: {:?}", again.skipped);
        }
        assert_purged(&house, id).await;
        let at = house.directory.buckets(other).await.unwrap();
        for at in &at {
            let bucket = house.directory.open_bucket(at).await.unwrap().unwrap();
            assert_eq!(house.get(&bucket, "large").await.unwrap(), [8; 100_000]);
        }
        if whole && passed <= cut_off {
            break;
        }
        cut_off += 1;
    }
    assert!(cut_off > 30, "{cut_off} writes");
}
