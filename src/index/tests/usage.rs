//! What is counted beside a simple sum over what is there.
//!
//! The loss this guards against: a count drifts from what is stored, and a tenant is refused for bytes that it deleted long
//! ago, or stores without end.

use super::*;
use crate::index::rows::v1::{PartRow, UploadRow};
use crate::model::ids::UploadId;
use crate::model::versioning::VersionAsked;

fn upload_row(name: &str, upload_id: UploadId) -> UploadRow {
    UploadRow {
        name: name.into(),
        object_id: ObjectId::random(),
        version_id: VersionId::random(),
        dek_id: DekId::random(),
        dek_record: [3; 152],
        headers: ContentHeaders::default(),
        metadata: vec![],
        tags: vec![],
        checksum: None,
        created: Millis(0),
        upload_id,
        subject: None,
        begun: None,
        for_request: None,
        born_under: None,
        subjects: None,
    }
}

fn part_row(number: u16, len: u64) -> PartRow {
    let segment = SegmentRef { id: SegmentId::random(), part: number, len };
    PartRow { number, segment, etag: "0".repeat(32), checksums: vec![], mtime: Millis(0) }
}

/// Everything of a bucket, row by row, added up.
async fn sum(index: &RegionIndex, bucket: &Arc<OpenBucket>) -> Usage {
    let mut sum = Usage::default();
    for scanned in index.scan_objects(bucket, None, usize::MAX).await.unwrap() {
        if scanned.row.kind == ObjectKind::Object {
            sum = Usage { bytes: sum.bytes + scanned.row.size, objects: sum.objects + 1 };
        }
    }
    for upload in index.list_uploads(bucket).await.unwrap() {
        for part in index.parts(bucket, upload.upload_id, 0, 10_000).await.unwrap() {
            sum.bytes += part.segment.len;
        }
    }
    sum
}

/// One act of any kind, on one of few names: put in every way that versions are kept, under conditions that may not hold,
/// deleted, a version of it removed or replaced, uploads begun, filled, completed and aborted. Others act beside it, so it may find
/// that what it looked at is gone.
async fn act(index: &RegionIndex, bucket: &Arc<OpenBucket>, rng: &mut fastrand::Rng) {
    let one = format!("name-{}", rng.u8(..6));
    let keep = *rng.choice([Keep::Replace, Keep::Beside, Keep::BesideNull].iter()).unwrap();
    let held = rng.u8(..4) == 0;
    let condition = match rng.u8(..4) {
        0 => Condition::IfAbsent,
        _ if held => Condition::Unkept(Box::new(Condition::None), Keeper::new(|row| row.size % 3 == 0)),
        _ => Condition::None,
    };
    let object = PutObject { keep, condition: condition.clone(), ..small(&one, rng.u64(1..200)) };
    let uploads = index.list_uploads(bucket).await.unwrap();
    match rng.u8(..12) {
        0..=3 => drop(index.put(bucket, object).await),
        4 => drop(index.delete(bucket, &name(&one), condition).await),
        5 => {
            let marker = ObjectRow::marker(one.clone(), Millis(0), Millis(0));
            drop(index.mark_deleted(bucket, marker, Condition::None, Keep::Beside, None).await);
        }
        6 => {
            let all = index.scan_objects(bucket, None, usize::MAX).await.unwrap();
            if let Some(found) = rng.choice(&all) {
                let asked = VersionAsked::Id(found.row.version_id);
                drop(index.delete_version(bucket, &name(&found.row.name), asked, condition, None).await);
            }
        }
        7 => {
            let all = index.scan_objects(bucket, None, usize::MAX).await.unwrap();
            if let Some(found) = rng.choice(all.iter().filter(|found| found.row.is_object()).collect::<Vec<_>>()) {
                let PutObject { row, inline, .. } = small(&found.row.name, rng.u64(1..200));
                drop(index.replace_version(bucket, &found.row, row, inline, Condition::None, vec![]).await);
            }
        }
        8 => index.create_upload(bucket, upload_row(&one, UploadId::random()), Millis(0), None).await.unwrap(),
        9 => {
            if let Some(upload) = rng.choice(&uploads) {
                let part = part_row(rng.u16(1..4), rng.u64(1..500));
                drop(index.put_part(bucket, upload.upload_id, part).await);
            }
        }
        10 => {
            if let Some(upload) = rng.choice(&uploads) {
                let parts = index.parts(bucket, upload.upload_id, 0, 10_000).await.unwrap();
                // Not of all of them: what is left over goes.
                let segments: Vec<_> = parts.iter().skip(usize::from(rng.bool())).map(|part| part.segment).collect();
                let size = segments.iter().map(|segment| segment.len).sum();
                let from_upload = Some(FromUpload {
                    upload: upload.upload_id,
                    segments: segments.iter().map(|segment| segment.id).collect(),
                });
                let row = ObjectRow { segments, ..row(&upload.name, size) };
                drop(index.put(bucket, PutObject { from_upload, keep, ..put_of(row, None) }).await);
            }
        }
        _ => {
            if let Some(upload) = rng.choice(&uploads) {
                drop(index.abort(bucket, upload.upload_id).await);
            }
        }
    }
}

#[tokio::test]
async fn what_is_counted_is_what_is_there() {
    let mut rng = fastrand::Rng::with_seed(20_261_121);
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let anchors = Arc::default();
    let mut index = open(&engine, &anchors).await.unwrap();
    let (early, late) = (bucket(), bucket());
    for _ in 0..100 {
        act(&index, &late, &mut rng).await;
    }
    assert_eq!(index.usage(late.bucket), None, "nobody asked for it");
    index.count(&early).await.unwrap();
    for round in 0..60 {
        if round == 20 {
            index.count(&late).await.unwrap();
        }
        for _ in 0..20 {
            // Several at once share a commit.
            let some = [&early, &late, &early].map(|bucket| (bucket, fastrand::Rng::with_seed(rng.u64(..))));
            let acts = some.map(async |(bucket, mut rng)| act(&index, bucket, &mut rng).await);
            futures::future::join_all(acts).await;
        }
        if round % 5 == 4 {
            index.stop().await.unwrap();
            index = open(&engine, &anchors).await.unwrap();
        }
        let mut all = Usage::default();
        for bucket in [&early, &late].into_iter().take(if round < 20 { 1 } else { 2 }) {
            let there = sum(&index, bucket).await;
            assert_eq!(index.usage(bucket.bucket), Some(there), "round {round}");
            all = all.plus(there);
        }
        assert_eq!(index.usage_of_tenant(TENANT), all, "round {round}");
        assert_eq!(index.usage_of_tenant(TenantId([8; 16])), Usage::default());
    }
    assert!(sum(&index, &late).await.bytes > 0 && sum(&index, &late).await.objects > 0);

    // A bucket's count goes with its rows.
    let left = sum(&index, &early).await;
    index.drop_bucket_rows(late.bucket).await.unwrap();
    assert_eq!((index.usage(late.bucket), index.usage_of_tenant(TENANT)), (None, left));
    index.stop().await.unwrap();
    let index = open(&engine, &anchors).await.unwrap();
    assert_eq!((index.usage(late.bucket), index.usage_of_tenant(TENANT)), (None, left));
}

/// The count is in the commit itself: whatever became of that, both are there or neither is.
#[tokio::test]
async fn a_commit_that_fails_counts_as_what_became_of_it() {
    for fault in [Fault::Before, Fault::After] {
        let inner: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        let faulty = Faulty::new(inner.clone());
        let (engine, anchors): (Arc<dyn Engine>, _) = (faulty.clone(), Arc::default());
        let (index, bucket) = (open(&engine, &anchors).await.unwrap(), bucket());
        index.count(&bucket).await.unwrap();
        index.put(&bucket, small("a", 10)).await.unwrap();
        let next = faulty.commits.load(Ordering::Relaxed) + 1;
        *faulty.plan.lock() = Some((next, fault));
        assert!(index.put(&bucket, small("b", 20)).await.is_err());
        drop(index);
        let index = open(&inner, &anchors).await.unwrap();
        let there = sum(&index, &bucket).await;
        let bytes = if fault == Fault::After { 30 } else { 10 };
        assert_eq!((index.usage(bucket.bucket), there.bytes), (Some(there), bytes), "{fault:?}");
    }
}
