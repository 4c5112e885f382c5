//! Someone who can write to the engine swaps, alters or takes away rows: NX-02, NX-03. Everything they touched is
//! refused; nothing wrong is served.

use super::*;

async fn rows_of(engine: &MemoryEngine, kind: RowKind, bucket: &OpenBucket) -> Vec<(Bytes, Bytes)> {
    let range = KeyRange::prefix(&row_keys::of_bucket(kind, bucket.bucket));
    engine.scan(range, usize::MAX, Direction::Ascending).await.unwrap()
}

async fn set(engine: &MemoryEngine, row_key: &Bytes, value: Option<Bytes>) {
    let mut batch = Batch::new();
    batch.writes.insert(row_key.clone(), value);
    engine.commit(batch).await.unwrap();
}

async fn swap(engine: &MemoryEngine, a: &(Bytes, Bytes), b: &(Bytes, Bytes)) {
    set(engine, &a.0, Some(b.1.clone())).await;
    set(engine, &b.0, Some(a.1.clone())).await;
}

async fn reopen(engine: &MemoryEngine) -> RegionIndex {
    open(&(Arc::new(engine.clone()) as Arc<dyn Engine>), &Arc::default()).await.unwrap()
}

fn damage<T>(result: Result<T, IndexError>) -> Option<Damage> {
    match result {
        Err(IndexError::Damaged(damage)) => Some(damage),
        _ => None,
    }
}

/// Two buckets with ten names each, put one after the other so that each has a delta of its own.
async fn filled() -> (MemoryEngine, RegionIndex, Arc<OpenBucket>, Arc<OpenBucket>) {
    let engine = MemoryEngine::default();
    let index = reopen(&engine).await;
    let (a, b) = (bucket(), bucket());
    for i in 0..10 {
        index.put(&a, small(&format!("name-{i}"), i)).await.unwrap();
        index.put(&b, small(&format!("name-{i}"), i)).await.unwrap();
    }
    (engine, index, a, b)
}

#[tokio::test]
async fn swapped_object_rows_are_refused() {
    let (engine, index, a, b) = filled().await;
    let (of_a, of_b) = (rows_of(&engine, RowKind::Object, &a).await, rows_of(&engine, RowKind::Object, &b).await);
    swap(&engine, &of_a[0], &of_a[1]).await;
    swap(&engine, &of_a[2], &of_b[2]).await;
    for (bucket, expected) in [(&a, 3), (&b, 1)] {
        let mut refused = 0;
        for i in 0..10 {
            let one = name(&format!("name-{i}"));
            match index.get(bucket, &one).await {
                Ok(found) => assert_eq!(found.unwrap().row.size, i),
                Err(e) => {
                    assert_eq!(damage(Err::<(), _>(e)), Some(Damage::Seal));
                    // Nor is it overwritten or deleted as if nothing were wrong.
                    assert_eq!(damage(index.put(bucket, small(one.as_str(), 1)).await), Some(Damage::Seal));
                    assert_eq!(damage(index.delete(bucket, &one, Condition::None).await), Some(Damage::Seal));
                    refused += 1;
                }
            }
        }
        assert_eq!(refused, expected);
    }
}

#[tokio::test]
async fn a_row_of_another_bucket_at_its_own_token_is_refused() {
    let (engine, index, a, b) = filled().await;
    let (at_a, at_b) = (a.object_row_key("name-3"), b.object_row_key("name-3"));
    let of_b = engine.get(&at_b).await.unwrap();
    set(&engine, &at_a, of_b).await;
    assert_eq!(damage(index.get(&a, &name("name-3")).await), Some(Damage::Seal));
}

#[tokio::test]
async fn swapped_altered_and_missing_deltas_are_refused() {
    let (engine, index, a, b) = filled().await;
    let (of_a, of_b) = (rows_of(&engine, RowKind::Leaf, &a).await, rows_of(&engine, RowKind::Leaf, &b).await);
    assert_eq!(of_a.len(), 10, "a base and nine deltas");
    let query = ListQuery { limit: 100, ..ListQuery::default() };
    let list = async |index: &RegionIndex| index.list(&a, &query).await;
    assert_eq!(list(&index).await.unwrap().entries.len(), 10);
    for (x, y) in [(&of_a[3], &of_a[4]), (&of_a[3], &of_b[3]), (&of_a[0], &of_a[1])] {
        swap(&engine, x, y).await;
        assert_eq!(damage(list(&reopen(&engine).await).await), Some(Damage::Seal));
        swap(&engine, &(x.0.clone(), y.1.clone()), &(y.0.clone(), x.1.clone())).await;
    }
    for at in [1, 5, 8] {
        set(&engine, &of_a[at].0, None).await;
        assert_eq!(damage(list(&reopen(&engine).await).await), Some(Damage::Gap));
        set(&engine, &of_a[at].0, Some(of_a[at].1.clone())).await;
    }
    set(&engine, &of_a[0].0, None).await;
    assert_eq!(damage(list(&reopen(&engine).await).await), Some(Damage::Missing));
    set(&engine, &of_a[0].0, Some(of_a[0].1.clone())).await;
    // The newest delta taken away is noticed while the book remembers the commit.
    let index = reopen(&engine).await;
    index.put(&a, small("one more", 1)).await.unwrap();
    let newest = rows_of(&engine, RowKind::Leaf, &a).await.pop().unwrap();
    set(&engine, &newest.0, None).await;
    assert_eq!(damage(list(&index).await), Some(Damage::Missing));
    assert_eq!(index.list(&b, &query).await.unwrap().entries.len(), 10, "other buckets go on");
}

/// NX-03: whatever bit of a fence row is flipped, the bucket neither lists nor takes writes.
#[tokio::test]
async fn a_flipped_bit_in_a_fence_row_closes_the_bucket() {
    let (engine, _, a, _) = filled().await;
    let fences = rows_of(&engine, RowKind::Fences, &a).await;
    assert_eq!(fences.len(), 1);
    let (row_key, value) = &fences[0];
    for at in 0..value.len() {
        let mut altered = value.to_vec();
        altered[at] ^= 1 << (at % 8);
        set(&engine, row_key, Some(altered.into())).await;
        let index = reopen(&engine).await;
        let query = ListQuery { limit: 1, ..ListQuery::default() };
        assert_eq!(damage(index.list(&a, &query).await), Some(Damage::Seal), "byte {at}");
        assert_eq!(damage(index.put(&a, small("new", 1)).await), Some(Damage::Seal), "byte {at}");
        assert_eq!(damage(index.delete(&a, &name("name-1"), Condition::None).await), Some(Damage::Seal));
    }
    set(&engine, row_key, None).await;
    let query = ListQuery { limit: 1, ..ListQuery::default() };
    let index = reopen(&engine).await;
    assert_eq!(damage(index.list(&a, &query).await), Some(Damage::Missing), "not an empty bucket");
    set(&engine, row_key, Some(value.clone())).await;
    assert_eq!(index.list(&a, &query).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_damaged_bucket_does_not_hold_up_others() {
    let (engine, _, a, b) = filled().await;
    let fences = rows_of(&engine, RowKind::Fences, &a).await;
    set(&engine, &fences[0].0, Some(fences[0].1.slice(1..))).await;
    let index = reopen(&engine).await;
    let puts = (0..50).map(async |i| {
        let one = format!("more-{i}");
        let (bad, good) = tokio::join!(index.put(&a, small(&one, 1)), index.put(&b, small(&one, 1)));
        assert_eq!(damage(bad), Some(Damage::Seal));
        good.unwrap();
    });
    futures::future::join_all(puts).await;
    assert_eq!(all_names(&index, &b).await.len(), 60);
}

/// NX-09 in small: another bucket's key of the same tenant opens nothing.
#[tokio::test]
async fn another_key_opens_nothing() {
    let (_, index, a, _) = filled().await;
    let (key, _) = KEYS.1.new_bucket_key(a.bucket.0).unwrap();
    let impostor =
        Arc::new(OpenBucket { tenant: a.tenant, geo: a.geo, region: a.region, bucket: a.bucket, key, old: None });
    assert!(index.get(&impostor, &name("name-1")).await.unwrap().is_none(), "not even the token is the same");
    assert_eq!(damage(index.scan_objects(&impostor, None, 5).await), Some(Damage::Seal));
}
