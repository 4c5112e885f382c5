//! A bucket is re-keyed while it is written, read and listed, and the daemon dies in the middle of it.
//!
//! The loss this guards against: a name that cannot be found for a moment because its row is just moving to its new
//! token; an object that comes back after its deletion because a copy stood at the old token; a write that a request
//! with an old handle sealed under the key that is about to go; a row that stays under that key for good.

use super::*;
use crate::index::FenceLine;
use crate::index::rows::v1::UploadRow;
use crate::model::ids::UploadId;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// A bucket under key n, under n+1 beside n, and under n+1 alone.
pub(super) fn stages() -> [Arc<OpenBucket>; 3] {
    let id = BucketId::random();
    let (key, first) = KEYS.1.new_bucket_key(id.0).unwrap();
    let (_, second) = KEYS.1.next_bucket_key(id.0, &key).unwrap();
    let open = |record| KEYS.1.open_bucket_key(record, id.0).unwrap();
    let of = |key, old| Arc::new(OpenBucket { tenant: TENANT, geo: geo(), region: region(), bucket: id, key, old });
    [of(open(&first), None), of(open(&second), Some(open(&first))), of(open(&second), None)]
}

/// Seals everything anew, a few rows in each commit, and counts what is left.
async fn reseal_all(index: &RegionIndex, bucket: &Arc<OpenBucket>) -> Result<u64, IndexError> {
    let fence = FenceLine::default().raise(1);
    let mut cursor = None;
    loop {
        let step = index.reseal(bucket, cursor.as_ref(), 7, &fence).await?;
        cursor = step.next;
        if cursor.is_none() {
            return Ok(index.under_old_key(bucket).await?.remaining);
        }
    }
}

/// No value of the bucket says that it is under the first key.
async fn assert_none_under_first(engine: &Arc<dyn Engine>) {
    let rows = engine.scan(KeyRange::all(), usize::MAX, Direction::Ascending).await.unwrap();
    let sealed = rows.iter().filter(|(row_key, _)| !matches!(row_key[0], b'd' | b'r' | b'z'));
    let under_first = sealed.filter(|(_, value)| crate::seal::row_version(value).unwrap() == 1).count();
    assert_eq!(under_first, 0, "rows are still under the first key");
}

async fn size_of(index: &RegionIndex, bucket: &Arc<OpenBucket>, one: &str) -> Option<u64> {
    index.get(bucket, &name(one)).await.unwrap().map(|found| found.row.size)
}

fn name_of(number: u64) -> String {
    format!("{:04}", number * 7919 % 2000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_a_rekey() {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let index = Arc::new(open(&engine, &Arc::default()).await.unwrap());
    let [first, both, second] = stages();
    let still: Vec<String> = (0..300).map(|number| format!("still/{number}")).collect();
    for one in &still {
        index.put(&first, small(one, 5)).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    // Writers keep the handle of before the re-key, as a request does that was admitted before it.
    let writers: Vec<_> = (0..3u64)
        .map(|writer| {
            let (index, bucket, stop) = (index.clone(), first.clone(), stop.clone());
            tokio::spawn(async move {
                let mut model = BTreeMap::new();
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) || round < 300 {
                    let one = format!("{writer}/{}", name_of(round));
                    let size = (!round.is_multiple_of(3)).then_some(round % 250);
                    match size {
                        Some(size) => {
                            let replaced = index.put(&bucket, small(&one, size)).await.unwrap().replaced;
                            assert_eq!(replaced.map(|row| row.size), model.insert(one.clone(), size), "{one}");
                        }
                        None => {
                            let was = index.delete(&bucket, &name(&one), Condition::None).await.unwrap();
                            assert_eq!(was.map(|row| row.size), model.remove(&one), "{one}");
                        }
                    }
                    assert_eq!(size_of(&index, &bucket, &one).await, size, "{one}");
                    round += 1;
                }
                model
            })
        })
        .collect();
    let reader = {
        let (index, bucket, stop, still) = (index.clone(), first.clone(), stop.clone(), still.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for one in &still {
                    assert_eq!(size_of(&index, &bucket, one).await, Some(5), "{one} is gone for a moment");
                }
                let listed = all_names(&index, &bucket).await;
                assert_eq!(listed.iter().filter(|(one, _)| one.starts_with("still/")).count(), still.len());
            }
        })
    };
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    index.switch_key(&both).await.unwrap();
    assert_eq!(reseal_all(&index, &both).await.unwrap(), 0, "writers with old handles write under the new key");
    index.switch_key(&second).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    let mut model: BTreeMap<String, u64> = still.into_iter().map(|one| (one, 5)).collect();
    for writer in writers {
        model.extend(writer.await.unwrap());
    }
    assert_none_under_first(&engine).await;
    for handle in [&first, &second] {
        assert!(all_names(&index, handle).await.into_iter().eq(model.clone()));
    }
    let objects = index.scan_objects(&second, None, usize::MAX).await.unwrap();
    assert_eq!(objects.len(), model.len(), "an object stands at two tokens");
    // And with nothing but the new key, in a new process.
    index.stop().await.unwrap();
    let index = open(&engine, &Arc::default()).await.unwrap();
    for (one, size) in &model {
        assert_eq!(size_of(&index, &second, one).await, Some(*size), "{one}");
    }
    assert!(all_names(&index, &second).await.into_iter().eq(model));
}

/// Uploads, their parts and the rows that say when they are stale move too; so do rows of tags.
#[tokio::test]
async fn uploads_and_tags_survive_a_rekey() {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let index = open(&engine, &Arc::default()).await.unwrap();
    let [first, both, second] = stages();
    index.put(&first, small("tagged", 9)).await.unwrap();
    let row_of = |upload| UploadRow {
        name: "joined".into(),
        object_id: ObjectId::random(),
        version_id: VersionId::random(),
        dek_id: DekId::random(),
        dek_record: [1; 152],
        headers: ContentHeaders::default(),
        metadata: vec![],
        tags: vec![],
        checksum: None,
        created: Millis(0),
        upload_id: upload,
        subject: None,
        begun: None,
        for_request: None,
        born_under: None,
        subjects: None,
    };
    let (begun, stale) = (UploadId::random(), UploadId::random());
    for upload in [begun, stale] {
        index.create_upload(&first, row_of(upload), Millis(5000), None).await.unwrap();
    }
    let segment = SegmentRef { id: SegmentId::random(), part: 1, len: 10 };
    let part = rows::v1::PartRow { number: 1, segment, etag: "e".into(), checksums: vec![], mtime: Millis(0) };
    index.put_part(&first, begun, part).await.unwrap();
    let old = index.get(&first, &name("tagged")).await.unwrap().unwrap().row;
    index.switch_key(&both).await.unwrap();
    assert_eq!(reseal_all(&index, &both).await.unwrap(), 0);
    // A change that was begun before its row moved, through a handle of before.
    let tagged = rows::v1::ObjectRow { tags: vec![("a".into(), "b".into())], ..old.clone() };
    assert!(index.replace_if_same(&first, &old, tagged).await.unwrap());
    index.switch_key(&second).await.unwrap();
    assert_none_under_first(&engine).await;
    let due = index.due(Millis(6000), None, 10).await.unwrap();
    assert_eq!(due.len(), 2);
    assert!(due.iter().all(|due| due.is_of(&second)), "a stale upload could not be given up any more");
    assert_eq!(index.list_uploads(&first).await.unwrap().len(), 2);
    let mut object = put_of(row("joined", 10), None);
    object.from_upload = Some(FromUpload { upload: begun, segments: vec![segment.id] });
    index.put(&first, object).await.unwrap();
    assert!(index.upload(&second, begun).await.unwrap().is_none());
    assert_eq!(index.get(&second, &name("tagged")).await.unwrap().unwrap().row.tags.len(), 1);
    assert_eq!(size_of(&index, &second, "joined").await, Some(10));
    assert!(index.abort(&first, stale).await.unwrap().is_empty());
}

/// K-10: a runner that was taken over, or whose key was switched on, changes nothing.
#[tokio::test]
async fn k10_a_stale_token_is_refused_by_the_writer() {
    let index = in_memory().await;
    let [first, both, _] = stages();
    index.put(&first, small("a", 1)).await.unwrap();
    index.switch_key(&both).await.unwrap();
    let line = FenceLine::default();
    let (stale, newest) = (line.raise(1), line.raise(2));
    assert!(matches!(index.reseal(&both, None, 10, &stale).await, Err(IndexError::Fenced)));
    let old = index.get(&both, &name("a")).await.unwrap().unwrap().row;
    let refused = index.replace_fenced(&both, &old, old.clone(), &stale).await;
    assert!(matches!(refused, Err(IndexError::Fenced)));
    assert_eq!(index.under_old_key(&both).await.unwrap().remaining, 3, "the object, its leaf, the fences");
    assert!(index.replace_fenced(&both, &old, old.clone(), &newest).await.unwrap());
    assert_eq!(reseal_all(&index, &both).await.unwrap(), 0);
}

/// The daemon dies at every commit of a re-key under writes, just before and just after it; the next one goes on.
#[tokio::test]
async fn a_rekey_is_taken_up_at_any_commit() {
    let mut met = 0;
    for at in (1..130).step_by(4) {
        for fault in [Fault::Before, Fault::After] {
            let engine = Faulty::new(Arc::new(MemoryEngine::default()));
            let anchors = Arc::default();
            let [first, both, second] = stages();
            let mut index = open(&(engine.clone() as Arc<dyn Engine>), &anchors).await.unwrap();
            let mut model = BTreeMap::new();
            for number in 0..120 {
                index.put(&first, small(&name_of(number), number)).await.unwrap();
                model.insert(name_of(number), number);
            }
            engine.commits.store(0, Ordering::Relaxed);
            *engine.plan.lock() = Some((at, fault));
            let mut doubt = BTreeMap::new();
            let died = async {
                index.switch_key(&both).await?;
                let fence = FenceLine::default().raise(1);
                let (mut cursor, mut number) = (None, 0);
                loop {
                    let step = index.reseal(&both, cursor.as_ref(), 5, &fence).await?;
                    let (one, size) = (name_of(number * 3), (number % 2 == 0).then_some(200 + number % 50));
                    number += 1;
                    let done = match size {
                        Some(size) => index.put(&first, small(&one, size)).await.map(drop),
                        None => index.delete(&first, &name(&one), Condition::None).await.map(drop),
                    };
                    match (done, size) {
                        (Err(error), size) => {
                            doubt.insert(one, size);
                            return Err(error);
                        }
                        (Ok(()), Some(size)) => drop(model.insert(one, size)),
                        (Ok(()), None) => drop(model.remove(&one)),
                    }
                    cursor = step.next;
                    if cursor.is_none() {
                        return Ok(());
                    }
                }
            }
            .await;
            met += u32::from(died.is_err());
            assert_eq!(died.is_err(), !index.is_writable());
            *engine.plan.lock() = None;
            drop(index);
            index = open(&(engine.clone() as Arc<dyn Engine>), &anchors).await.unwrap();
            // The directory says that there are two keys: every handle of the new process has both.
            for (one, size) in &model {
                let found = size_of(&index, &both, one).await;
                assert!(found == Some(*size) || doubt.get(one) == Some(&found), "commit {at} {fault:?}: {one}");
            }
            assert_eq!(reseal_all(&index, &both).await.unwrap(), 0);
            index.switch_key(&second).await.unwrap();
            assert_none_under_first(&(engine as Arc<dyn Engine>)).await;
            let listed: BTreeMap<_, _> = all_names(&index, &second).await.into_iter().collect();
            let objects = index.scan_objects(&second, None, usize::MAX).await.unwrap();
            assert_eq!(objects.len(), listed.len(), "commit {at} {fault:?}");
            for found in objects {
                let size = Some(found.row.size);
                let expected = model.get(&found.row.name).copied();
                assert!(size == expected || doubt.get(&found.row.name) == Some(&size), "commit {at} {fault:?}");
                assert_eq!(listed.get(&found.row.name).copied(), size);
            }
            for one in model.keys().filter(|one| !doubt.contains_key(*one)) {
                assert!(listed.contains_key(one), "commit {at} {fault:?}: {one} is lost");
            }
        }
    }
    assert!(met >= 30, "{met} faults were met");
}
