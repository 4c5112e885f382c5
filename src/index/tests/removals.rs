//! What a close of an epoch goes by: that something was removed from a bucket.
//!
//! The loss this guards against: an object is deleted, the close does not hear of it, and its name and data key stay in
//! older copies that a living key opens.

use super::*;
use crate::index::Removal;

const KIND: u8 = RowKind::Removal as u8;

/// The rows about removals, as the engine has them.
async fn marks(engine: &Arc<dyn Engine>) -> Vec<(Bytes, Bytes)> {
    engine.scan(KeyRange::prefix(&[KIND]), usize::MAX, Direction::Ascending).await.unwrap()
}

async fn put(index: &RegionIndex, bucket: &Arc<OpenBucket>, one: &str) {
    index.put(bucket, small(one, 5)).await.unwrap();
}

async fn delete(index: &RegionIndex, bucket: &Arc<OpenBucket>, one: &str) {
    index.delete(bucket, &name(one), Condition::None).await.unwrap();
}

async fn taken(index: &RegionIndex, bucket: &OpenBucket) -> Removal {
    index.take_removal(bucket.bucket, TENANT).await.unwrap().expect("something was removed")
}

#[tokio::test]
async fn k15_a_removal_is_noted_once_a_bucket_and_never_lost_between_two_closes() {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let index = open(&engine, &Arc::default()).await.unwrap();
    let (here, other) = (bucket(), bucket());
    for one in ["a", "b", "c", "d", "e", "f", "g"] {
        put(&index, &here, one).await;
        put(&index, &other, one).await;
    }
    delete(&index, &here, "was never there").await;
    assert!(marks(&engine).await.is_empty(), "nothing was removed yet");
    assert!(index.take_removal(here.bucket, TENANT).await.unwrap().is_none());

    // The first removal writes the row, those after it do not: no write per delete.
    delete(&index, &here, "a").await;
    let first = marks(&engine).await;
    assert_eq!((first.len(), row_keys::removal_of(&first[0].0)), (1, Some((here.bucket, TENANT))));
    delete(&index, &here, "b").await;
    put(&index, &here, "c").await;
    assert_eq!(marks(&engine).await, first);
    assert_eq!(index.removals().await.unwrap(), [(here.bucket, TENANT)]);

    // A close takes it; what is removed behind that is the next close's.
    let seen = taken(&index, &here).await;
    delete(&index, &here, "d").await;
    assert_ne!(marks(&engine).await, first);
    assert!(!index.drop_removal(&seen).await.unwrap(), "something was removed since");
    let seen = taken(&index, &here).await;
    assert!(index.drop_removal(&seen).await.unwrap());
    assert!(marks(&engine).await.is_empty());
    delete(&index, &here, "e").await;
    assert_eq!(marks(&engine).await.len(), 1);

    // After a start the next removal writes it anew: nobody knows what was taken before.
    let seen = taken(&index, &here).await;
    index.stop().await.unwrap();
    let index = open(&engine, &Arc::default()).await.unwrap();
    delete(&index, &here, "f").await;
    assert!(!index.drop_removal(&seen).await.unwrap());

    // It goes with its bucket, and says nothing of others.
    index.drop_bucket_rows(here.bucket).await.unwrap();
    assert!(marks(&engine).await.is_empty());
    delete(&index, &other, "a").await;
    assert_eq!(index.removals().await.unwrap(), [(other.bucket, TENANT)]);
}

#[tokio::test]
async fn an_overwritten_object_and_replaced_tags_are_removals_and_long_work_is_none() {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let index = open(&engine, &Arc::default()).await.unwrap();
    let here = bucket();
    put(&index, &here, "a").await;
    let row = index.get(&here, &name("a")).await.unwrap().unwrap().row;
    let tagged = |tag: &str| ObjectRow { tags: vec![("t".into(), tag.into())], ..row.clone() };
    let fence = FenceLine::default().raise(1);
    assert!(index.replace_fenced(&here, &row, tagged("by long work"), &fence).await.unwrap());
    assert!(marks(&engine).await.is_empty());
    assert!(index.replace_if_same(&here, &tagged("by long work"), tagged("by a client")).await.unwrap());
    let seen = taken(&index, &here).await;
    assert!(index.drop_removal(&seen).await.unwrap());
    put(&index, &here, "a").await;
    assert_eq!(marks(&engine).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taken_under_load_no_removal_goes_unnoted() {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let index = Arc::new(open(&engine, &Arc::default()).await.unwrap());
    let here = bucket();
    put(&index, &here, "a").await;
    put(&index, &here, "a").await;
    for _ in 0..200 {
        // Removals before, beside and behind the taking: the one behind must keep the row.
        let beside = tokio::spawn({
            let (index, here) = (index.clone(), here.clone());
            async move { put(&index, &here, "a").await }
        });
        let seen = taken(&index, &here).await;
        beside.await.unwrap();
        put(&index, &here, "a").await;
        assert!(!index.drop_removal(&seen).await.unwrap());
    }
}
