//! One region's index: what the conductors call.
//!
//! Reads go straight to the engine and the books; writes are sealed here, beside other requests, and queued for the
//! region's one writer (`writer.rs`). Every write is durable when its call returns. Dropping a call's future half-way
//! does not undo the write: it may happen all the same.

use super::acts::{Act, Condition, Dating, Keep, Replaced, Reply, SealedObject, Succession, TakenUpload};
use super::anchor::{Anchor, AnchorFault, AnchorStore, AnchorStoreError, Value, compare};
use super::books::Books;
use super::bucket::{OpenBucket, Stamp};
use super::due::Due;
use super::engine::{Direction, Engine, EngineError, KeyRange};
use super::error::{Damage, IndexError};
use super::keyed::Keyed;
use super::removals::Marked;
use super::row_keys::{self, ORDER_CURRENT, RowKind, order_of};
use super::rows::v1::{ObjectRow, PartRow, Place};
use super::saver::Saver;
use super::subjects::SubjectPlace;
use super::usage::Counts;
use super::writer::Writer;
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, SegmentId, UploadId};
use crate::model::limits::{GROUP_COMMITS_MAX, TRAILING_BYTES_MAX};
use crate::model::names::ObjectName;
use crate::model::time::Millis;
use crate::pace::Pace;
use crate::seal::{GeoKeys, OpenError};
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};

/// What an installation may choose.
#[derive(Clone, Copy, Debug)]
pub struct IndexOptions {
    /// Bytes of decoded listing leaves kept in memory.
    pub leaf_cache_bytes: u64,
    /// A bucket's fences are dropped from memory when it was not used for this long, in milliseconds.
    pub bucket_idle_ms: i64,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self { leaf_cache_bytes: 64 << 20, bucket_idle_ms: 600_000 }
    }
}

/// The index of one region. Meant to live in an `Arc`; `stop` it before the process ends.
pub struct RegionIndex {
    pub(crate) shared: Arc<Shared>,
    queue: mpsc::Sender<Act>,
    options: IndexOptions,
}

/// What readers and the writer share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) region: &'static Region,
    pub(crate) books: Books,
    pub(crate) keyed: Keyed,
    pub(crate) marked: Marked,
    pub(crate) counts: Counts,
    /// Buckets closed for deletion. Not on disk: their directory row goes next, and with it the way here.
    pub(crate) closed: RwLock<HashSet<BucketId>>,
    pub(crate) refusing: AtomicBool,
}

/// Why a region's index does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// The engine is not where its acknowledged history ends.
    #[error(transparent)]
    Anchor(#[from] AnchorFault),
    /// The engine's anchor row does not open: another geo's engine, or it was altered.
    #[error("the anchor of the index does not verify")]
    Sealed(#[from] OpenError),
    /// The anchor row opened to something unknown.
    #[error("the anchor of the index has no known shape")]
    Shape(#[from] super::rows::BadRow),
    /// The saved anchor could not be read.
    #[error(transparent)]
    Store(#[from] AnchorStoreError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The writer's thread could not be started.
    #[error("the writer of the index could not be started")]
    Thread(#[from] std::io::Error),
}

/// Seals the anchor row: the geo's directory key, since the row belongs to no tenant.
#[derive(Clone)]
pub(crate) struct AnchorKey(Arc<GeoKeys>);

impl AnchorKey {
    pub(crate) fn seal(&self, row_key: &[u8], anchor: &Anchor) -> Bytes {
        self.0.directory().seal(RowKind::Anchor as u8, row_key, &super::rows::encode(anchor), &[]).into()
    }
}

/// What to do with an engine that is not where its acknowledged history ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rollback {
    Accept,
    Refuse,
}

/// An object to be put.
pub struct PutObject {
    /// Its row. With `inline` its `place` is set here, by its size.
    pub row: ObjectRow,
    /// Its one sealed segment, when it is small enough to ride in the index. None: it is in the blob store already.
    pub inline: Option<Bytes>,
    /// Evaluated in the commit.
    pub condition: Condition,
    /// What becomes of the version that its name has. A held one that would go is kept beside it.
    pub keep: Keep,
    /// By when to look at a version that it supersedes; `None`: as before.
    pub dating: Option<Dating>,
    /// The upload that it completes, which goes in the same commit.
    pub from_upload: Option<FromUpload>,
    /// Where its data subjects' object is: the rows that go in the same commit.
    pub places: Vec<SubjectPlace>,
}

/// An upload that an object completes.
pub struct FromUpload {
    /// Which.
    pub upload: UploadId,
    /// Segments of the parts that the object is made of. None of them may have been replaced: `PartChanged`.
    pub segments: Vec<SegmentId>,
}

/// What a put took the place of.
#[derive(Debug, Default)]
pub struct Put {
    /// The version that is gone for good. Its blobs, if any, are the caller's to delete.
    pub replaced: Option<ObjectRow>,
    /// Segments of parts of the completed upload that the object is not made of: blobs, the caller's to delete.
    pub leftover: Vec<SegmentId>,
}

/// An object as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its row.
    pub row: ObjectRow,
    /// Its one sealed segment, when that is in the index.
    pub inline: Option<Bytes>,
}

/// One object of a walk over a bucket.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// Pass it to go on behind this object.
    pub cursor: Bytes,
    /// Its row.
    pub row: ObjectRow,
}

impl RegionIndex {
    /// Opens the index over its engine. Fails when the engine is behind the anchor that was saved last.
    pub async fn open(
        engine: Arc<dyn Engine>,
        region: &'static Region,
        anchors: Arc<dyn AnchorStore>,
        keys: Arc<GeoKeys>,
        now: Millis,
        options: IndexOptions,
    ) -> Result<Self, OpenFault> {
        Self::open_with(engine, region, anchors, keys, now, options, Rollback::Refuse).await
    }

    async fn open_with(
        engine: Arc<dyn Engine>,
        region: &'static Region,
        anchors: Arc<dyn AnchorStore>,
        keys: Arc<GeoKeys>,
        now: Millis,
        options: IndexOptions,
        rollback: Rollback,
    ) -> Result<Self, OpenFault> {
        let row_key = row_keys::anchor(region);
        let anchor_row = engine.get(&row_key).await?;
        let anchor: Anchor = match &anchor_row {
            Some(row) => super::rows::decode(&keys.open(RowKind::Anchor as u8, &row_key, row)?.plain)?,
            None => Anchor::START,
        };
        let saved = anchors.newest(region)?;
        match (compare(&anchor, saved.as_ref()), rollback) {
            (Ok(()), _) => {}
            (Err(fault), Rollback::Refuse) => return Err(fault.into()),
            (Err(_), Rollback::Accept) => anchors.put_back(region, anchor)?,
        }
        let saved = saved.filter(|saved| saved.counter <= anchor.counter).unwrap_or(Anchor::START);
        let counts = Counts::load(&*engine).await?;
        let shared = Arc::new(Shared {
            engine,
            region,
            books: Books::new(options.leaf_cache_bytes),
            keyed: Keyed::default(),
            marked: Marked::default(),
            counts,
            closed: RwLock::default(),
            refusing: AtomicBool::new(false),
        });
        let (queue, acts) = mpsc::channel(2 * GROUP_COMMITS_MAX);
        let anchor_key = AnchorKey(keys);
        let saver = Saver::start(region, anchors, saved)?;
        let writer = Writer { shared: shared.clone(), saver, anchor_key, anchor, anchor_row, asked_at: now, now };
        std::thread::Builder::new()
            .name(format!("index-{}", region.id))
            .spawn(move || futures::executor::block_on(writer.run(acts)))?;
        Ok(Self { shared, queue, options })
    }

    /// Finds an object by its name: one engine read, two when its segment has a row of its own.
    pub async fn get(&self, bucket: &Arc<OpenBucket>, name: &ObjectName) -> Result<Option<Found>, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let found = self.get_under(&keyed, name).await;
            // Under a key that was the newest all the while, "not there" and "does not open" mean what they say.
            if matches!(found, Ok(Some(_))) || self.shared.keyed.is_newest(&keyed) {
                return found;
            }
        }
    }

    async fn get_under(&self, bucket: &OpenBucket, name: &ObjectName) -> Result<Option<Found>, IndexError> {
        let mut seen = None;
        loop {
            let Some(there) = self.there(bucket, name.as_str(), ORDER_CURRENT).await? else { return Ok(None) };
            let stamp = Stamp::of(&there.value);
            match self.content(bucket, &there).await? {
                Some(inline) => return Ok(Some(Found { row: there.row, inline })),
                // Replaced or deleted between the two reads, or, if nothing changed, lost.
                None if seen == Some(stamp) => return Err(Damage::Missing.into()),
                None => seen = Some(stamp),
            }
        }
    }

    /// Makes an object the current version of its name.
    pub async fn put(&self, bucket: &Arc<OpenBucket>, put: PutObject) -> Result<Put, IndexError> {
        let PutObject { mut row, inline, condition, keep, dating, from_upload, places } = put;
        row.versioned = (keep == Keep::Beside).then_some(true);
        (row.superseded, row.order, row.beside) = (None, None, None);
        if inline.is_some() {
            row.place = if row.size <= TRAILING_BYTES_MAX as u64 { Place::Trailing } else { Place::Row };
        }
        let row = Arc::new(row);
        let chosen_segments =
            from_upload.as_ref().map_or(HashSet::new(), |from| from.segments.iter().copied().collect());
        let (bucket, done) = loop {
            let keyed = self.shared.keyed.newest(bucket);
            let put = (row.clone(), inline.clone(), condition.clone(), from_upload.as_ref(), places.clone());
            let succession = Succession { keep, dating: dating.clone() };
            match self.put_under(&keyed, put, succession, &chosen_segments).await {
                Err(_) if !self.shared.keyed.is_newest(&keyed) => {}
                Err(IndexError::Rekeyed) => {}
                done => break (keyed, done?),
            }
        };
        let mut leftover = Vec::new();
        for (row_key, value) in &done.parts {
            let part: PartRow = bucket.open(RowKind::Part, row_key, value)?;
            leftover.extend(Some(part.segment.id).filter(|id| !chosen_segments.contains(id)));
        }
        Ok(Put { replaced: done.object, leftover })
    }

    async fn put_under(
        &self,
        bucket: &Arc<OpenBucket>,
        (row, inline, condition, from_upload, places): PutParts<'_>,
        succession: Succession,
        segments: &HashSet<SegmentId>,
    ) -> Result<Replaced, IndexError> {
        let from_upload = match from_upload {
            Some(from) => Some(self.choose_parts(bucket, from.upload, segments).await?),
            None => None,
        };
        let object = seal_object(bucket, row, inline)?;
        let bucket_of_act = bucket.clone();
        let act = |reply| Act::Put { bucket: bucket_of_act, object, condition, succession, from_upload, places, reply };
        match self.submit(act).await {
            // A part was sealed anew since it was chosen, or replaced: the next look tells.
            Err(IndexError::PartChanged) if bucket.old.is_some() => Err(IndexError::Rekeyed),
            done => done,
        }
    }

    async fn choose_parts(
        &self,
        bucket: &OpenBucket,
        upload: UploadId,
        segments: &HashSet<SegmentId>,
    ) -> Result<TakenUpload, IndexError> {
        let range = KeyRange::prefix(&row_keys::parts(bucket.bucket, upload));
        let rows = self.shared.engine.scan(range, usize::MAX, Direction::Ascending).await?;
        let mut chosen = Vec::with_capacity(segments.len());
        for (row_key, value) in rows {
            let part: PartRow = bucket.open(RowKind::Part, &row_key, &value)?;
            if segments.contains(&part.segment.id) {
                chosen.push((row_key, Stamp::of(&value)));
            }
        }
        if chosen.len() == segments.len() { Ok(TakenUpload { upload, chosen }) } else { Err(IndexError::PartChanged) }
    }

    /// Deletes the object of this name, in a bucket that keeps no versions; answers what it was. Its blobs, if any, are the
    /// caller's to delete.
    pub async fn delete(
        &self,
        bucket: &Arc<OpenBucket>,
        name: &ObjectName,
        condition: Condition,
    ) -> Result<Option<ObjectRow>, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let row_key = keyed.object_row_key(name.as_str());
            let (name, condition) = (name.as_str().to_owned(), condition.clone());
            let act = |reply| Act::Delete { bucket: keyed.clone(), row_key, name, condition, reply };
            match self.submit(act).await {
                Err(IndexError::Rekeyed) => {}
                done => return done,
            }
        }
    }

    /// Walks a bucket's objects, all versions of each and marks of deletion too, in the order of their tokens, which is no
    /// order of names: for scrubs, rewraps, purges. Behind `cursor`, none: from the start. Fewer than `limit`: the end.
    ///
    /// Every version that is there all the while is met, also one that is superseded or brought back meanwhile; one of
    /// those may be met twice.
    ///
    /// While the bucket is re-keyed its rows move to other tokens, each once: a walk may then meet one twice, or miss
    /// it. Whoever has to meet every row holds the tenant's job (`directory::Jobs`), which keeps a re-key out.
    pub async fn scan_objects(
        &self,
        bucket: &Arc<OpenBucket>,
        cursor: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<Scanned>, IndexError> {
        loop {
            let keyed = self.shared.keyed.newest(bucket);
            let page = self.scan_under(&keyed, cursor, limit).await;
            if page.is_ok() || self.shared.keyed.is_newest(&keyed) {
                return page;
            }
        }
    }

    async fn scan_under(
        &self,
        bucket: &OpenBucket,
        cursor: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<Scanned>, IndexError> {
        let mut range = KeyRange::prefix(&row_keys::of_bucket(RowKind::Object, bucket.bucket));
        let mut inside = None;
        if let Some(cursor) = cursor {
            let (at, newest) = row_keys::place_of(cursor).ok_or(IndexError::from(Damage::Shape))?;
            range = range.behind(at);
            inside = newest.map(|newest| (cursor.slice(..at.len()), newest));
        }
        let mut rows = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
        let mut found = Vec::with_capacity(rows.len());
        if let Some((at, newest)) = &mut inside {
            // The walk stopped between the versions of a name. What was current then and is superseded by now stands before
            // the first one that was met. Looked for behind the page itself, so that nothing falls between the two looks.
            let missed = row_keys::superseded_since(at, *newest);
            for (row_key, value) in self.shared.engine.scan(missed, limit, Direction::Descending).await? {
                *newest = order_of(&row_key).ok_or(IndexError::from(Damage::Shape))?;
                let row = bucket.open(RowKind::Object, &row_key, &value)?;
                found.push(Scanned { cursor: row_keys::place(at, *newest), row });
            }
        }
        rows.truncate(limit - found.len());
        for (row_key, value) in rows {
            let row = bucket.open(RowKind::Object, &row_key, &value)?;
            let order = order_of(&row_key).ok_or(IndexError::from(Damage::Shape))?;
            let newest = match &inside {
                Some((at, newest)) if row_keys::is_of_same_name(at, &row_key) => *newest,
                _ => order,
            };
            let cursor = row_keys::place(&row_key, newest);
            inside = Some((row_key, newest));
            found.push(Scanned { cursor, row });
        }
        Ok(found)
    }

    /// Whether the bucket has no object.
    pub async fn is_empty(&self, bucket: BucketId) -> Result<bool, IndexError> {
        let range = KeyRange::prefix(&row_keys::of_bucket(RowKind::Object, bucket));
        Ok(self.shared.engine.scan_keys(range, 1).await?.is_empty())
    }

    /// Closes a bucket for deletion: from here on puts and uploads are refused. Fails with `NotEmpty` if it has objects.
    pub async fn close_bucket(&self, bucket: &OpenBucket) -> Result<(), IndexError> {
        let bucket = bucket.bucket;
        self.submit(|reply| Act::CloseBucket { bucket, reply }).await
    }

    /// Takes `close_bucket` back, when the deletion did not go through.
    pub fn reopen_bucket(&self, bucket: BucketId) {
        self.shared.closed.write().remove(&bucket);
    }

    /// Drops all rows of a bucket, closing it first, in steps that leave room for other writers. Needs no key, so it
    /// works after the tenant's keys are gone. Answers how many rows there were.
    pub async fn drop_bucket_rows(&self, bucket: BucketId) -> Result<u64, IndexError> {
        self.drop_bucket_rows_at(bucket, &mut Pace::free()).await
    }

    /// The same, no faster than `pace`.
    pub async fn drop_bucket_rows_at(&self, bucket: BucketId, pace: &mut Pace) -> Result<u64, IndexError> {
        let (mut dropped, mut after) = (0, None);
        loop {
            let limit = pace.step(DROP_STEP);
            let (step, last) = self.drop_rows(bucket, after, limit).await?;
            dropped += step as u64;
            after = last;
            pace.spent(step as u64).await;
            if step < limit {
                return Ok(dropped);
            }
        }
    }

    async fn drop_rows(
        &self,
        bucket: BucketId,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<(usize, Option<Bytes>), IndexError> {
        self.submit(|reply| Act::DropRows { bucket, after, limit, reply }).await
    }

    /// All rows of this moment, sealed as they are.
    pub fn snapshot(&self) -> Result<Box<dyn super::engine::Snapshot>, IndexError> {
        Ok(self.shared.engine.snapshot()?)
    }

    /// Gives the disk space of deleted and replaced rows back.
    pub async fn compact(&self) -> Result<(), IndexError> {
        Ok(self.shared.engine.compact().await?)
    }

    /// Tells the time, about once a second: saves the anchor when it is due, drops what was idle for long.
    pub async fn tick(&self, now: Millis) {
        self.shared.books.drop_idle(now, self.options.bucket_idle_ms);
        self.shared.keyed.drop_unheld();
        // If the writer is gone there is nothing left to save.
        drop(self.queue.send(Act::Tick { now }).await);
    }

    /// Whether writes are taken.
    pub fn is_writable(&self) -> bool {
        !self.shared.refusing.load(Ordering::Acquire) && !self.queue.is_closed()
    }

    /// How many buckets have their fences in memory.
    pub fn open_buckets(&self) -> usize {
        self.shared.books.len()
    }

    /// Finishes what is queued, saves the anchor and takes no more writes.
    pub async fn stop(&self) -> Result<(), IndexError> {
        self.submit(|reply| Act::Stop { reply }).await
    }

    /// Queues an act and waits until it is durable. Waits for room in the queue: that is the back-pressure.
    pub(crate) async fn submit<T>(&self, act: impl FnOnce(Reply<T>) -> Act) -> Result<T, IndexError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(act(reply)).await.map_err(|_| IndexError::Refusing)?;
        answer.await.map_err(|_| IndexError::Refusing)?
    }
}

/// Rows dropped in one commit.
const DROP_STEP: usize = 1000;

/// A put, taken apart, so that it can be sealed again for another state of its bucket.
type PutParts<'a> = (Arc<ObjectRow>, Option<Bytes>, Condition, Option<&'a FromUpload>, Vec<SubjectPlace>);

pub(super) fn seal_object(
    bucket: &OpenBucket,
    row: Arc<ObjectRow>,
    inline: Option<Bytes>,
) -> Result<SealedObject, IndexError> {
    let row_key = bucket.version_row_key(&row.name, row.order.unwrap_or(ORDER_CURRENT));
    let (trailing, inline) = match (row.place, inline, row.segments.first()) {
        (Place::Trailing, Some(segment), _) => (segment, None),
        (Place::Row, Some(sealed), Some(segment)) => {
            (Bytes::new(), Some((row_keys::inline(bucket.bucket, segment.id), Value::new(sealed))))
        }
        (Place::Blob | Place::PartList | Place::Nowhere, None, _) => (Bytes::new(), None),
        _ => return Err(Damage::Shape.into()),
    };
    let sealed = Value::new(bucket.seal(RowKind::Object, &row_key, &*row, &trailing));
    let due = Due::of_object(bucket, &row);
    Ok(SealedObject { row_key, row, sealed, inline, due })
}

/// Opening what the anchor says was rolled back.
pub mod danger {
    use super::*;

    /// Opens an index that is behind its saved anchor, or has another history, and takes it for the true one from here
    /// on: acknowledged writes may be missing. For an operator who restored a backup and knows why.
    pub async fn open_rolled_back(
        engine: Arc<dyn Engine>,
        region: &'static Region,
        anchors: Arc<dyn AnchorStore>,
        keys: Arc<GeoKeys>,
        now: Millis,
        options: IndexOptions,
    ) -> Result<RegionIndex, OpenFault> {
        RegionIndex::open_with(engine, region, anchors, keys, now, options, Rollback::Accept).await
    }
}
