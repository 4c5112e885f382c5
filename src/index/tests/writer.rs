//! The writer: groups, conditions, replaced rows, uploads, closing, the anchor, and what it says when the engine fails.

use super::*;
use crate::index::rows::v1::{PartRow, UploadRow};
use crate::model::ids::UploadId;

fn memory() -> (MemoryEngine, Arc<Faulty>, Arc<Anchors>) {
    let engine = MemoryEngine::default();
    (engine.clone(), Faulty::new(Arc::new(engine)), Arc::default())
}

async fn over(engine: &Arc<Faulty>, anchors: &Arc<Anchors>) -> Result<RegionIndex, OpenFault> {
    open(&(engine.clone() as Arc<dyn Engine>), anchors).await
}

async fn count(engine: &MemoryEngine, kind: RowKind) -> usize {
    engine.scan_keys(KeyRange::prefix(&[kind as u8]), usize::MAX).await.unwrap().len()
}

#[tokio::test]
async fn what_queues_up_shares_a_commit() {
    let (_, engine, anchors) = memory();
    let index = over(&engine, &anchors).await.unwrap();
    let bucket = bucket();
    let names: Vec<_> = (0..400).map(|i| format!("{i}")).collect();
    let before = engine.commits.load(Ordering::Relaxed);
    let puts =
        futures::future::join_all(names.iter().map(async |one| index.put(&bucket, small(one, 1)).await.unwrap()));
    // The first commit waits until every put was sent: a put sends before it waits for anything.
    let first = engine.gate.lock().await;
    let sent = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        drop(first);
    };
    tokio::join!(puts, sent);
    let commits = engine.commits.load(Ordering::Relaxed) - before;
    assert!((1..=2).contains(&commits), "400 puts took {commits} commits");
    assert_eq!(all_names(&index, &bucket).await.len(), 400);
}

#[tokio::test]
async fn one_of_many_wins_if_absent() {
    let (index, bucket) = (in_memory().await, bucket());
    let puts = (0..100).map(async |size| {
        let put = PutObject { condition: Condition::IfAbsent, ..small("one", size) };
        index.put(&bucket, put).await
    });
    let results = futures::future::join_all(puts).await;
    let won: Vec<_> = (0..100).filter(|i| results[*i].is_ok()).collect();
    assert_eq!(won.len(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(IndexError::Condition))));
    assert_eq!(index.get(&bucket, &name("one")).await.unwrap().unwrap().row.size, won[0] as u64);
}

#[tokio::test]
async fn conditions_are_evaluated_in_the_commit() {
    let (index, bucket) = (in_memory().await, bucket());
    let put = async |size, condition| index.put(&bucket, PutObject { condition, ..small("one", size) }).await;
    let delete = async |condition| index.delete(&bucket, &name("one"), condition).await;
    let etag = |size| Condition::IfEtag(row("one", size).etag);
    assert!(matches!(put(1, etag(1)).await, Err(IndexError::NoSuchObject)));
    assert!(matches!(put(1, Condition::IfPresent).await, Err(IndexError::NoSuchObject)));
    assert!(matches!(delete(etag(1)).await, Err(IndexError::NoSuchObject)));
    assert!(delete(Condition::None).await.unwrap().is_none());
    assert!(put(1, Condition::IfAbsent).await.unwrap().replaced.is_none());
    assert!(matches!(put(2, etag(2)).await, Err(IndexError::Condition)));
    assert_eq!(put(2, etag(1)).await.unwrap().replaced.unwrap().size, 1);
    assert_eq!(put(3, Condition::IfPresent).await.unwrap().replaced.unwrap().size, 2);
    assert!(matches!(delete(etag(2)).await, Err(IndexError::Condition)));
    assert_eq!(delete(etag(3)).await.unwrap().unwrap().size, 3);
    assert!(index.get(&bucket, &name("one")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_segment_rides_where_its_size_says() {
    let (engine, faulty, anchors) = memory();
    let (index, bucket) = (over(&faulty, &anchors).await.unwrap(), bucket());
    for (size, place, rows) in
        [(4096, Place::Trailing, 0), (4097, Place::Row, 1), (65536, Place::Row, 1), (0, Place::Trailing, 0)]
    {
        let segment = Bytes::from(vec![size as u8; size as usize + 208]);
        index.put(&bucket, put_of(row("one", size), Some(segment.clone()))).await.unwrap();
        let found = index.get(&bucket, &name("one")).await.unwrap().unwrap();
        assert_eq!((found.row.place, found.inline), (place, Some(segment)), "{size}");
        assert_eq!(count(&engine, RowKind::Inline).await, rows, "replaced segments go with their row");
    }
    faulty.values_read.store(0, Ordering::Relaxed);
    index.get(&bucket, &name("one")).await.unwrap();
    assert_eq!(faulty.values_read.load(Ordering::Relaxed), 1, "one engine read");
    index.put(&bucket, put_of(row("one", 9), Some(Bytes::from(vec![0; 5000])))).await.unwrap();
    index.put(&bucket, put_of(row("one", 70_000), None)).await.unwrap();
    let found = index.get(&bucket, &name("one")).await.unwrap().unwrap();
    assert_eq!((found.row.place, found.inline), (Place::Blob, None));
    index.put(&bucket, put_of(row("two", 5000), Some(Bytes::from(vec![0; 5208])))).await.unwrap();
    index.delete(&bucket, &name("two"), Condition::None).await.unwrap();
    assert_eq!(count(&engine, RowKind::Inline).await, 0);
    let wrong = PutObject { inline: None, ..small("three", 1) };
    let wrong = PutObject { row: crate::index::rows::v1::ObjectRow { place: Place::Row, ..wrong.row }, ..wrong };
    assert!(index.put(&bucket, wrong).await.is_err(), "a row that promises a segment without one");
}

#[tokio::test]
async fn a_row_is_replaced_only_if_it_is_the_same() {
    let (index, bucket) = (in_memory().await, bucket());
    for size in [10, 5000] {
        let segment = Bytes::from(vec![1; size as usize]);
        index.put(&bucket, put_of(row("one", size), Some(segment.clone()))).await.unwrap();
        let old = index.get(&bucket, &name("one")).await.unwrap().unwrap().row;
        let new = ObjectRow { dek_record: [8; 152], ..old.clone() };
        assert!(index.replace_if_same(&bucket, &old, new.clone()).await.unwrap());
        assert!(!index.replace_if_same(&bucket, &old, new.clone()).await.unwrap(), "it is not the old one any more");
        let found = index.get(&bucket, &name("one")).await.unwrap().unwrap();
        assert!(found.row == new && found.inline == Some(segment));
        let other = ObjectRow { segments: vec![], ..new.clone() };
        assert!(!index.replace_if_same(&bucket, &new, other).await.unwrap(), "segments are not its business");
    }
    let old = index.get(&bucket, &name("one")).await.unwrap().unwrap().row;
    let tagged = |i: u8| ObjectRow { tags: vec![("i".into(), i.to_string())], ..old.clone() };
    let races = (0..20).map(|i| index.replace_if_same(&bucket, &old, tagged(i)));
    let races = futures::future::join_all(races).await;
    assert_eq!(races.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    let walked = index.scan_objects(&bucket, None, 9).await.unwrap();
    assert_eq!(walked.len(), 1);
    assert!(index.scan_objects(&bucket, Some(&walked[0].cursor), 9).await.unwrap().is_empty());
}

fn upload(name: &str) -> UploadRow {
    let row = row(name, 0);
    UploadRow {
        name: row.name,
        object_id: row.object_id,
        version_id: row.version_id,
        dek_id: row.dek_id,
        dek_record: row.dek_record,
        headers: row.headers,
        metadata: vec![],
        tags: vec![],
        checksum: None,
        created: Millis(5),
        upload_id: UploadId::random(),
        subject: None,
        begun: None,
        for_request: None,
        born_under: None,
        subjects: None,
    }
}

fn part(number: u16) -> PartRow {
    let segment = SegmentRef { id: SegmentId::random(), part: number, len: 1 };
    PartRow { number, segment, etag: String::new(), checksums: vec![], mtime: Millis(6) }
}

fn complete(name: &str, upload: &UploadRow, parts: &[&PartRow]) -> PutObject {
    let segments: Vec<_> = parts.iter().map(|part| part.segment).collect();
    let from_upload = FromUpload { upload: upload.upload_id, segments: segments.iter().map(|s| s.id).collect() };
    PutObject { from_upload: Some(from_upload), ..put_of(ObjectRow { segments, ..row(name, 3) }, None) }
}

#[tokio::test]
async fn an_upload_becomes_an_object_in_one_commit() {
    let (engine, faulty, anchors) = memory();
    let (index, bucket) = (over(&faulty, &anchors).await.unwrap(), bucket());
    let up = upload("big");
    assert!(matches!(index.put_part(&bucket, up.upload_id, part(1)).await, Err(IndexError::NoSuchUpload)));
    index.create_upload(&bucket, up.clone(), Millis(0), None).await.unwrap();
    let parts: Vec<_> = (1..=5).map(part).collect();
    for part in &parts {
        assert!(index.put_part(&bucket, up.upload_id, part.clone()).await.unwrap().is_none());
    }
    let late = part(2);
    assert!(index.put_part(&bucket, up.upload_id, late.clone()).await.unwrap() == Some(parts[1].clone()));
    let listed = index.parts(&bucket, up.upload_id, 2, 2).await.unwrap();
    assert_eq!(listed.iter().map(|part| part.number).collect::<Vec<_>>(), [3, 4]);
    assert!(index.upload(&bucket, up.upload_id).await.unwrap() == Some(up.clone()));
    assert_eq!(index.list_uploads(&bucket).await.unwrap().len(), 1);

    let stale = complete("big", &up, &[&parts[0], &parts[1]]);
    assert!(matches!(index.put(&bucket, stale).await, Err(IndexError::PartChanged)), "part 2 was replaced");
    let done = index.put(&bucket, complete("big", &up, &[&parts[0], &late])).await.unwrap();
    assert_eq!(done.leftover, [parts[2].segment.id, parts[3].segment.id, parts[4].segment.id]);
    assert_eq!((count(&engine, RowKind::Upload).await, count(&engine, RowKind::Part).await), (0, 0));
    assert!(matches!(index.put_part(&bucket, up.upload_id, part(9)).await, Err(IndexError::NoSuchUpload)));
    let again = index.put(&bucket, complete("big", &up, &[])).await;
    assert!(matches!(again, Err(IndexError::NoSuchUpload)));
    assert_eq!(index.get(&bucket, &name("big")).await.unwrap().unwrap().row.segments.len(), 2);

    let up = upload("big");
    index.create_upload(&bucket, up.clone(), Millis(0), None).await.unwrap();
    index.put_part(&bucket, up.upload_id, part(1)).await.unwrap();
    assert_eq!(index.abort(&bucket, up.upload_id).await.unwrap().len(), 1);
    assert!(matches!(index.abort(&bucket, up.upload_id).await, Err(IndexError::NoSuchUpload)));
}

/// A part replaced in the very group that completes the upload must not leave an object without its bytes.
#[tokio::test]
async fn a_part_replaced_beside_complete_is_noticed() {
    let (index, bucket) = (in_memory().await, bucket());
    for _ in 0..50 {
        let (up, first, second) = (upload("big"), part(1), part(1));
        index.create_upload(&bucket, up.clone(), Millis(0), None).await.unwrap();
        index.put_part(&bucket, up.upload_id, first.clone()).await.unwrap();
        let replaced = index.put_part(&bucket, up.upload_id, second);
        let completed = index.put(&bucket, complete("big", &up, &[&first]));
        match tokio::join!(replaced, completed) {
            (Ok(Some(freed)), Err(IndexError::PartChanged)) => assert!(freed == first),
            (Err(IndexError::NoSuchUpload), Ok(done)) => assert_eq!(done.leftover, []),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_closed_bucket_takes_nothing_and_goes_without_a_key() {
    let (engine, faulty, anchors) = memory();
    let index = over(&faulty, &anchors).await.unwrap();
    let (doomed, other) = (bucket(), bucket());
    index.put(&other, small("stays", 1)).await.unwrap();
    index.put(&doomed, small("one", 1)).await.unwrap();
    assert!(matches!(index.close_bucket(&doomed).await, Err(IndexError::NotEmpty)));
    let one = name("one");
    let (gone, closed) = tokio::join!(index.delete(&doomed, &one, Condition::None), index.close_bucket(&doomed));
    assert!(gone.unwrap().is_some() && closed.is_ok(), "the deletion was queued before");
    assert!(matches!(index.put(&doomed, small("two", 1)).await, Err(IndexError::Closed)));
    assert!(matches!(index.create_upload(&doomed, upload("x"), Millis(0), None).await, Err(IndexError::Closed)));
    index.reopen_bucket(doomed.bucket);
    for i in 0..2500 {
        index.put(&doomed, put_of(row(&format!("{i}"), 5000), Some(Bytes::from_static(&[1; 300])))).await.unwrap();
    }
    index.create_upload(&doomed, upload("x"), Millis(0), None).await.unwrap();
    assert!(index.drop_bucket_rows(doomed.bucket).await.unwrap() > 5000);
    for kind in row_keys::BUCKET_KINDS {
        let range = KeyRange::prefix(&row_keys::of_bucket(kind, doomed.bucket));
        assert!(engine.scan_keys(range, 1).await.unwrap().is_empty());
    }
    assert!(index.is_empty(doomed.bucket).await.unwrap());
    assert!(all_names(&index, &doomed).await.is_empty());
    assert_eq!(all_names(&index, &other).await, [("stays".to_owned(), 1)]);
}

#[tokio::test]
async fn due_rows_come_in_order_of_time_and_open_with_the_tenants_key() {
    let index = in_memory().await;
    let directory = KEYS.1.directory();
    let key = |seconds| DueKey { seconds, kind: 3, tenant: TENANT, id: [seconds as u8; 16] };
    for seconds in [300, 100, 200, 101] {
        index.put_due(directory, key(seconds), b"purge").await.unwrap();
    }
    let due = async |now| index.due(Millis(now), None, 10).await.unwrap();
    let seconds = |due: Vec<Due>| due.iter().map(|due| due.key.seconds).collect::<Vec<_>>();
    assert_eq!(seconds(due(99_999).await), [0; 0]);
    assert_eq!(seconds(due(100_000).await), [100]);
    assert_eq!(seconds(due(200_999).await), [100, 101, 200]);
    assert_eq!(seconds(due(-5).await), [0; 0]);
    assert_eq!(due(100_000).await[0].open(directory).unwrap(), b"purge");
    index.remove_due(&[key(100), key(101)]).await.unwrap();
    assert_eq!(seconds(due(i64::MAX).await), [200, 300]);
}

#[tokio::test]
async fn the_anchor_is_saved_by_count_by_time_and_at_the_end() {
    let (_, engine, anchors) = memory();
    let (index, bucket) = (over(&engine, &anchors).await.unwrap(), bucket());
    let saved = || anchors.newest.lock().map_or(0, |anchor| anchor.counter);
    for i in 0..499 {
        index.put(&bucket, small(&format!("{i}"), 1)).await.unwrap();
    }
    assert_eq!((saved(), anchors.saves.load(Ordering::Relaxed)), (0, 0));
    index.put(&bucket, small("five hundred", 1)).await.unwrap();
    until(|| saved() == 500).await;
    index.tick(Millis(9_999)).await;
    index.put(&bucket, small("x", 1)).await.unwrap();
    assert_eq!((saved(), anchors.saves.load(Ordering::Relaxed)), (500, 1));
    index.tick(Millis(30_000)).await;
    index.put(&bucket, small("y", 1)).await.unwrap();
    index.put(&bucket, small("z", 1)).await.unwrap();
    until(|| saved() >= 501).await;
    index.stop().await.unwrap();
    assert_eq!(saved(), 503);
    assert!(matches!(index.put(&bucket, small("w", 1)).await, Err(IndexError::Refusing)));
    assert!(!index.is_writable());
}

#[tokio::test]
async fn no_write_runs_further_ahead_of_the_anchor_than_allowed() {
    let (_, engine, anchors) = memory();
    let (index, bucket) = (over(&engine, &anchors).await.unwrap(), bucket());
    anchors.broken.store(true, Ordering::Relaxed);
    for i in 0..1000 {
        index.put(&bucket, small(&format!("{i}"), 1)).await.unwrap();
    }
    assert!(matches!(index.put(&bucket, small("x", 1)).await, Err(IndexError::Refusing)));
    assert_eq!(all_names(&index, &bucket).await.len(), 1000, "reads go on");
    anchors.broken.store(false, Ordering::Relaxed);
    index.put(&bucket, small("x", 1)).await.unwrap();
}

/// A key service that hangs must not hold up a region: writes go on as far as they may, are refused then, and are taken
/// again by themselves. Each refused write waiting for the hanging one anew would take this test minutes.
#[tokio::test]
async fn a_keeper_of_anchors_that_hangs_holds_up_no_write_and_loses_none() {
    let (_, engine, anchors) = memory();
    let (index, bucket) = (over(&engine, &anchors).await.unwrap(), bucket());
    *anchors.hangs.lock() = true;
    for i in 0..1000 {
        index.put(&bucket, small(&format!("{i}"), 1)).await.unwrap();
    }
    for _ in 0..200 {
        assert!(matches!(index.put(&bucket, small("x", 1)).await, Err(IndexError::Refusing)));
    }
    assert!(index.is_writable(), "it only waits");
    assert_eq!(all_names(&index, &bucket).await.len(), 1000, "reads go on");
    *anchors.hangs.lock() = false;
    anchors.goes_on.notify_all();
    while index.put(&bucket, small("x", 1)).await.is_err() {
        tokio::task::yield_now().await;
    }
    index.stop().await.unwrap();
    assert_eq!(anchors.newest.lock().unwrap().counter, 1001);
    drop(index);
    let index = over(&engine, &anchors).await.unwrap();
    assert_eq!(all_names(&index, &bucket).await.len(), 1001);
}

/// Polls: the anchor is saved on a thread of its own.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_engine_behind_its_anchor_is_refused() {
    let (engine, faulty, anchors) = memory();
    let (index, bucket) = (over(&faulty, &anchors).await.unwrap(), bucket());
    index.put(&bucket, small("1", 1)).await.unwrap();
    let backup = engine.scan(KeyRange::all(), usize::MAX, Direction::Ascending).await.unwrap();
    let old = MemoryEngine::default();
    let mut batch = Batch::new();
    backup.into_iter().for_each(|(row_key, value)| batch.put(row_key, value));
    old.commit(batch).await.unwrap();
    index.put(&bucket, small("2", 1)).await.unwrap();
    index.stop().await.unwrap();

    let old: Arc<dyn Engine> = Arc::new(old);
    let refused = open(&old, &anchors).await;
    assert!(matches!(refused, Err(OpenFault::Anchor(AnchorFault::Behind { engine: 1, saved: 2 }))));
    let empty: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let refused = open(&empty, &anchors).await;
    assert!(matches!(refused, Err(OpenFault::Anchor(AnchorFault::Behind { engine: 0, saved: 2 }))));

    let accept = || {
        danger::open_rolled_back(
            old.clone(),
            region(),
            anchors.clone(),
            KEYS.0.clone(),
            Millis(0),
            IndexOptions::default(),
        )
    };
    let restored = accept().await.unwrap();
    restored.put(&bucket, small("3", 1)).await.unwrap();
    restored.stop().await.unwrap();
    let refused = over(&faulty, &anchors).await;
    let forked = OpenFault::Anchor(AnchorFault::Forked { counter: 2 });
    assert_eq!(
        refused.err().unwrap().to_string(),
        forked.to_string(),
        "the other history is not the true one any more"
    );
    open(&old, &anchors).await.unwrap();
}

#[tokio::test]
async fn an_altered_anchor_or_one_of_another_geo_is_refused() {
    let (engine, faulty, anchors) = memory();
    let (index, bucket) = (over(&faulty, &anchors).await.unwrap(), bucket());
    index.put(&bucket, small("1", 1)).await.unwrap();
    index.stop().await.unwrap();
    let row_key = row_keys::anchor(region());
    let row = engine.get(&row_key).await.unwrap().unwrap();
    let mut altered = row.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let mut batch = Batch::new();
    batch.put(row_key, altered);
    batch.put(row_keys::anchor(&geo().regions[1]), row);
    engine.commit(batch).await.unwrap();
    assert!(matches!(over(&faulty, &anchors).await, Err(OpenFault::Sealed(_))));
    let other = &geo().regions[1];
    let keys = KEYS.0.clone();
    let options = IndexOptions::default();
    let moved = RegionIndex::open(faulty, other, Arc::<Anchors>::default(), keys, Millis(0), options).await;
    assert!(matches!(moved, Err(OpenFault::Sealed(_))), "an anchor moved to another region");
}

#[tokio::test]
async fn a_second_writer_on_the_engine_is_stopped() {
    let (_, engine, anchors) = memory();
    let (one, two) = (over(&engine, &anchors).await.unwrap(), over(&engine, &anchors).await.unwrap());
    let bucket = bucket();
    one.put(&bucket, small("1", 1)).await.unwrap();
    assert!(matches!(two.put(&bucket, small("2", 1)).await, Err(IndexError::Refusing)));
    assert!(!two.is_writable() && one.is_writable());
    assert_eq!(all_names(&one, &bucket).await.len(), 1);
}

#[tokio::test]
async fn a_failed_read_fails_the_request_and_nothing_else() {
    let (_, engine, anchors) = memory();
    let (index, bucket) = (over(&engine, &anchors).await.unwrap(), bucket());
    index.put(&bucket, small("1", 1)).await.unwrap();
    engine.reads_fail.store(true, Ordering::Relaxed);
    assert!(matches!(index.put(&bucket, small("2", 1)).await, Err(IndexError::Engine(EngineError::Read(_)))));
    assert!(matches!(index.get(&bucket, &name("1")).await, Err(IndexError::Engine(_))));
    engine.reads_fail.store(false, Ordering::Relaxed);
    index.put(&bucket, small("2", 1)).await.unwrap();
    assert_eq!(all_names(&index, &bucket).await.len(), 2);
}

#[tokio::test]
async fn an_idle_bucket_leaves_memory_and_comes_back_whole() {
    let (index, bucket) = (in_memory().await, bucket());
    for round in 0..3 {
        for i in 0..200 {
            index.put(&bucket, small(&format!("{round}-{i}"), 1)).await.unwrap();
        }
        assert_eq!(all_names(&index, &bucket).await.len(), 200 * (round + 1));
        assert_eq!(index.open_buckets(), 1);
        let now = (round as i64 + 1) * 10_000_000;
        index.tick(Millis(now)).await;
        index.tick(Millis(now + 600_001)).await;
        assert_eq!(index.open_buckets(), 0);
    }
    assert_eq!(all_names(&index, &bucket).await.len(), 600);
}

/// The conductors hold these across awaits on a runtime of many threads.
#[test]
fn futures_may_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    fn check(index: &RegionIndex, bucket: &Arc<OpenBucket>, name: &ObjectName, query: &ListQuery, put: PutObject) {
        is_send(index.get(bucket, name));
        is_send(index.put(bucket, put));
        is_send(index.list(bucket, query));
        is_send(index.drop_bucket_rows(bucket.bucket));
    }
    let _ = check;
}
