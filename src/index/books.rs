//! What is known in memory about each open bucket: its fences, and how far each leaf that was written has come.
//!
//! Called by the listing (reads) and the writer (reads, and publishes after each commit). Invariants:
//!
//! * a book is loaded under its own lock, before the writer first commits to its bucket: afterwards only the writer
//!   changes it, after the commit that it reports is durable and before that commit is acknowledged;
//! * so who reads the book first and the engine second sees at least what was acknowledged before;
//! * a book that is dropped takes its incarnation with it, and with that every cached leaf.

use super::bucket::OpenBucket;
use super::engine::{Direction, Engine, KeyRange};
use super::error::{Damage, IndexError};
use super::fences::Fences;
use super::leaf::Leaf;
use super::row_keys::{self, RowKind, seq_of};
use super::rows::v1::{FencesBase, LeafBase};
use crate::model::ids::BucketId;
use crate::model::time::Millis;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// All open books of a region, and the decoded leaves they share.
pub(crate) struct Books {
    open: Mutex<HashMap<BucketId, Arc<Book>>>,
    incarnations: AtomicU64,
    now: AtomicI64,
    leaves: Cache<(u64, u64), Arc<Leaf>, ByBytes>,
}

/// One open bucket.
pub(crate) struct Book {
    /// Which loading of the bucket this is; part of the cache's key.
    incarnation: u64,
    used: AtomicI64,
    loading: tokio::sync::Mutex<()>,
    names: RwLock<Option<Names>>,
}

/// What is known about a loaded bucket's names.
pub(crate) struct Names {
    pub(crate) fences: Fences,
    /// The leaves that were written since the book was opened.
    pub(crate) runs: HashMap<u64, Run>,
}

/// How far a leaf's rows have come.
#[derive(Clone, Default)]
pub(crate) struct Run {
    /// The newest commit that touched it and was made since the book was opened; 0: none was.
    pub(crate) upto: u64,
    /// The seqs of its delta rows.
    pub(crate) deltas: Vec<u64>,
    /// Entries changed in them, as far as known: at least one each.
    pub(crate) changes: usize,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<(u64, u64), Arc<Leaf>> for ByBytes {
    fn weight(&self, _: &(u64, u64), leaf: &Arc<Leaf>) -> u64 {
        leaf.bytes() as u64
    }
}

impl Books {
    pub(crate) fn new(leaf_cache_bytes: u64) -> Self {
        let leaves_about = (leaf_cache_bytes / (64 << 10)).max(16) as usize;
        Self {
            open: Mutex::default(),
            incarnations: AtomicU64::new(1),
            now: AtomicI64::new(0),
            leaves: Cache::with_weighter(leaves_about, leaf_cache_bytes, ByBytes),
        }
    }

    /// The book of a bucket, loaded.
    pub(crate) async fn book(&self, engine: &dyn Engine, bucket: &OpenBucket) -> Result<Arc<Book>, IndexError> {
        let book = self.open.lock().entry(bucket.bucket).or_insert_with(|| self.empty_book()).clone();
        book.used.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        if book.names.read().is_none() {
            let _alone = book.loading.lock().await;
            if book.names.read().is_none() {
                let names = Names { fences: load_fences(engine, bucket).await?, runs: HashMap::new() };
                *book.names.write() = Some(names);
            }
        }
        Ok(book)
    }

    fn empty_book(&self) -> Arc<Book> {
        Arc::new(Book {
            incarnation: self.incarnations.fetch_add(1, Ordering::Relaxed),
            used: AtomicI64::new(0),
            loading: tokio::sync::Mutex::new(()),
            names: RwLock::new(None),
        })
    }

    /// Drops books that nobody holds and nobody used since `idle_ms` before `now`.
    pub(crate) fn drop_idle(&self, now: Millis, idle_ms: i64) {
        self.now.store(now.0, Ordering::Relaxed);
        // Clones are made under this lock only, so a count of one stays one until the entry is gone.
        self.open.lock().retain(|_, book| {
            Arc::strong_count(book) > 1 || book.used.load(Ordering::Relaxed) > now.0.saturating_sub(idle_ms)
        });
    }

    /// Forgets a bucket whose rows are being dropped.
    pub(crate) fn forget(&self, bucket: BucketId) {
        self.open.lock().remove(&bucket);
    }

    /// How many books are open.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Puts a leaf that was just written or read into the cache.
    pub(crate) fn keep(&self, book: &Book, leaf: u64, content: Arc<Leaf>) {
        self.leaves.insert((book.incarnation, leaf), content);
    }

    /// A leaf with everything that was acknowledged when the caller asked; none: it has no base row (any more).
    pub(crate) async fn leaf(
        &self,
        engine: &dyn Engine,
        bucket: &OpenBucket,
        book: &Book,
        leaf: u64,
    ) -> Result<Option<Arc<Leaf>>, IndexError> {
        let required = book.with(|names| names.runs.get(&leaf).map_or(0, |run| run.upto));
        let cached = self.leaves.get(&(book.incarnation, leaf));
        if let Some(cached) = &cached {
            if cached.upto() >= required {
                return Ok(Some(cached.clone()));
            }
            if let Some(newer) = catch_up(engine, bucket, leaf, cached).await?
                && newer.upto() >= required
            {
                let newer = Arc::new(newer);
                self.keep(book, leaf, newer.clone());
                return Ok(Some(newer));
            }
        }
        let Some(read) = read_leaf(engine, bucket, leaf).await? else { return Ok(None) };
        if read.upto() < required {
            return Err(Damage::Missing.into());
        }
        let read = Arc::new(read);
        self.keep(book, leaf, read.clone());
        Ok(Some(read))
    }
}

impl Book {
    /// Reads what is known.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Names) -> T) -> T {
        read(self.names.read().as_ref().expect("a book is handed out loaded"))
    }

    /// Publishes what a commit changed. The writer only.
    pub(crate) fn publish<T>(&self, write: impl FnOnce(&mut Names) -> T) -> T {
        write(self.names.write().as_mut().expect("a book is handed out loaded"))
    }
}

async fn load_fences(engine: &dyn Engine, bucket: &OpenBucket) -> Result<Fences, IndexError> {
    let range = KeyRange::prefix(&row_keys::of_bucket(RowKind::Fences, bucket.bucket));
    let rows = engine.scan(range, usize::MAX, Direction::Ascending).await?;
    let mut rows = rows.iter();
    let Some((row_key, value)) = rows.next() else {
        let leaves = KeyRange::prefix(&row_keys::of_bucket(RowKind::Leaf, bucket.bucket));
        // Leaves without fences: the fences were taken away, and an empty listing would be a lie.
        let none = engine.scan_keys(leaves, 1).await?.is_empty();
        return if none { Ok(Fences::unwritten()) } else { Err(Damage::Missing.into()) };
    };
    if seq_of(row_key) != Some(0) {
        return Err(Damage::Missing.into());
    }
    let mut fences = Fences::new(bucket.open::<FencesBase>(RowKind::Fences, row_key, value)?)?;
    for (row_key, value) in rows {
        let seq = seq_of(row_key).ok_or(Damage::Elsewhere)?;
        fences.apply(seq, bucket.open(RowKind::Fences, row_key, value)?)?;
    }
    Ok(fences)
}

async fn read_leaf(engine: &dyn Engine, bucket: &OpenBucket, leaf: u64) -> Result<Option<Leaf>, IndexError> {
    let range = KeyRange::prefix(&row_keys::leaf(bucket.bucket, leaf));
    let rows = engine.scan(range, usize::MAX, Direction::Ascending).await?;
    let Some(((row_key, value), deltas)) = rows.split_first() else { return Ok(None) };
    if seq_of(row_key) != Some(0) {
        return Err(Damage::Missing.into());
    }
    let mut read = Leaf::new(bucket.open::<LeafBase>(RowKind::Leaf, row_key, value)?);
    apply_deltas(bucket, &mut read, deltas)?;
    Ok(Some(read))
}

/// The cached leaf with the deltas that came since; none when its base is not the newest any more, or may not be.
async fn catch_up(
    engine: &dyn Engine,
    bucket: &OpenBucket,
    leaf: u64,
    cached: &Leaf,
) -> Result<Option<Leaf>, IndexError> {
    if cached.newest_delta() == 0 {
        return Ok(None);
    }
    let newest = row_keys::leaf_row(bucket.bucket, leaf, cached.newest_delta());
    let range = KeyRange::prefix(&row_keys::leaf(bucket.bucket, leaf)).behind(&newest);
    let rows = engine.scan(range, usize::MAX, Direction::Ascending).await?;
    let mut newer = cached.clone();
    match apply_deltas(bucket, &mut newer, &rows) {
        Ok(()) => Ok(Some(newer)),
        // The base was written anew in between: these deltas stand on that one.
        Err(IndexError::Damaged(Damage::Gap)) => Ok(None),
        Err(e) => Err(e),
    }
}

fn apply_deltas(bucket: &OpenBucket, leaf: &mut Leaf, rows: &[(Bytes, Bytes)]) -> Result<(), IndexError> {
    for (row_key, value) in rows {
        let seq = seq_of(row_key).ok_or(Damage::Elsewhere)?;
        leaf.apply(seq, bucket.open(RowKind::Leaf, row_key, value)?)?;
    }
    Ok(())
}
