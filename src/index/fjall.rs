//! The embedded engine: fjall, a log-structured tree in pure Rust, one database directory, one process.
//!
//! Called through `Engine`. Rows are spread over a few keyspaces by the first byte of their row key, so that large
//! values (inline segments, leaf bases) neither travel through every compaction nor push small rows out of the block
//! cache. Not one keyspace per bucket: each has a memtable and files of its own, and an idle one pins the shared
//! journal (fjall #288), so thousands of buckets would cost gigabytes.
//!
//! What to know about fjall 3.1 and what is done about it here:
//!
//! * `Keyspace::range` reads at the newest sequence number and so may see half a batch; scans go through a `Snapshot`.
//! * A failed write or fsync poisons the database. Such a commit answers `EngineError::Write`, and every later one too.
//! * Damage in the middle of a journal silently drops the batches behind it (#311): the anchor notices, one floor up.
//! * A deleted row stays on disk in the journal, in old tables and in files of values: `compact` says what gets it out.
//! * Sealed bytes do not compress, so nothing tries to: neither blocks nor the journal.

use super::engine::{self, Batch, Direction, Engine, EngineError, KeyRange};
use ::fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};
use ::fjall::config::CompressionPolicy;
use ::fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable, Snapshot,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, GuardResult};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows in a directory. A handle: clones share one open database, which closes with the last of them.
#[derive(Clone)]
pub struct FjallEngine {
    inner: Arc<Inner>,
}

struct Inner {
    /// In the order of `SHELVES`.
    keyspaces: [Keyspace; SHELVES.len()],
    /// Holds what pushes the journal on when it is to be given back; no rows.
    filler: Keyspace,
    database: Database,
    directory: PathBuf,
    /// While it is set, compactions write the values beside the tables anew.
    rewriting: Arc<AtomicBool>,
    /// Object rows that were read lately, sealed as they are. A reader that misses leaves a placeholder before it reads
    /// the tree; a commit takes row or placeholder away before it is acknowledged, and what the reader then brings is
    /// not kept. So nothing older than the last acknowledged commit is ever in here.
    rows: Cache<Vec<u8>, Bytes, ByBytes>,
    /// Held while a batch's preconditions are checked and the batch is written.
    committing: Mutex<()>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Vec<u8>, Bytes> for ByBytes {
    fn weight(&self, row_key: &Vec<u8>, value: &Bytes) -> u64 {
        (row_key.len() + value.len() + 64) as u64
    }
}

/// Longer values are not kept among the rows: those of objects that trail their row are shorter.
const ROW_KEPT_BYTES_MAX: usize = 8 * 1024;
/// A row of a small object, about.
const ROW_BYTES_ABOUT: u64 = 1024;

/// What an installation may choose.
#[derive(Clone, Copy, Debug)]
pub struct FjallOptions {
    /// Bytes of the block cache.
    pub cache_bytes: u64,
    /// Bytes of object rows kept as they are, in front of the block cache.
    pub row_cache_bytes: u64,
    /// Bytes of rows that each keyspace gathers in memory before they become a file.
    pub memtable_bytes: u64,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, row_cache_bytes: 32 << 20, memtable_bytes: 32 << 20 }
    }
}

impl FjallEngine {
    /// Opens the directory, or creates it. Fails while another process has it open.
    pub fn open(directory: &Path, options: FjallOptions) -> Result<Self, EngineError> {
        Inner::open(directory, options)
            .map(|inner| Self { inner: Arc::new(inner) })
            .map_err(|e| EngineError::Open(Box::new(e)))
    }

    /// Bytes on disk, journal included.
    pub fn disk_bytes(&self) -> u64 {
        self.inner.database.disk_space().unwrap_or(0)
    }
}

impl Inner {
    fn open(directory: &Path, options: FjallOptions) -> ::fjall::Result<Self> {
        let rewriting = Arc::new(AtomicBool::new(false));
        let rewrite: Arc<dyn Factory> = Arc::new(Rewrite(rewriting.clone()));
        let database = Database::builder(directory)
            .with_compaction_filter_factories(Arc::new(move |keyspace| {
                let separates = SHELVES.iter().any(|shelf| shelf.name == keyspace && shelf.separate_bytes.is_some());
                separates.then(|| rewrite.clone())
            }))
            .cache_size(options.cache_bytes)
            .worker_threads(workers())
            .journal_compression(CompressionType::None)
            .open()?;
        let mut keyspaces = Vec::with_capacity(SHELVES.len());
        for shelf in &SHELVES {
            keyspaces.push(database.keyspace(shelf.name, || shelf.options(options))?);
        }
        let keyspaces = keyspaces.try_into().ok().expect("one keyspace was opened for each shelf");
        let rows_about = (options.row_cache_bytes / ROW_BYTES_ABOUT).max(16) as usize;
        let rows = Cache::with_weighter(rows_about, options.row_cache_bytes, ByBytes);
        let filler = Shelf { name: "filler", first_byte: None, separate_bytes: None };
        let filler = database.keyspace(filler.name, || filler.options(options))?;
        let directory = directory.to_owned();
        Ok(Self { keyspaces, filler, database, directory, rewriting, rows, committing: Mutex::new(()) })
    }

    fn keyspace(&self, row_key: &[u8]) -> &Keyspace {
        let first = row_key.first().copied();
        let shelf = SHELVES.iter().position(|shelf| shelf.first_byte == first).unwrap_or(OTHERS);
        &self.keyspaces[shelf]
    }

    fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let read = || Ok(self.keyspace(row_key).get(row_key).map_err(read)?.map(Bytes::from));
        if row_key.first() != Some(&KEPT_ROWS) {
            return read();
        }
        let guard = match self.rows.get_value_or_guard(row_key, None) {
            GuardResult::Value(value) => return Ok(Some(value)),
            GuardResult::Guard(guard) => guard,
            GuardResult::Timeout => return read(),
        };
        let value = read()?;
        if let Some(value) = value.as_ref().filter(|value| value.len() <= ROW_KEPT_BYTES_MAX) {
            // A copy: the engine's own may be a piece of a whole block. Refused when a commit came in between.
            drop(guard.insert(Bytes::copy_from_slice(value)));
        }
        Ok(value)
    }

    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        let _alone = self.committing.lock();
        for condition in &batch.preconditions {
            let found = self.keyspace(&condition.row_key).get(&condition.row_key).map_err(read)?;
            if found.as_deref() != condition.expected.as_deref() {
                return Err(EngineError::Precondition);
            }
        }
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncAll));
        let mut changed = Vec::new();
        for (row_key, value) in batch.writes {
            if row_key.first() == Some(&KEPT_ROWS) {
                changed.push(row_key.clone());
            }
            let keyspace = self.keyspace(&row_key);
            match value {
                Some(value) => writes.insert(keyspace, row_key, value),
                None => writes.remove(keyspace, row_key),
            }
        }
        let done = writes.commit().map_err(|e| EngineError::Write(Box::new(e)));
        // Also when it failed: nobody knows what is in the tree then.
        for row_key in &changed {
            self.rows.remove(&row_key[..]);
        }
        done
    }

    /// Rewrites everything, so that no file holds a deleted or replaced row any more: the journal is made to give way to
    /// another and flushed; then all tables, and all values beside them, are written anew.
    fn compact(&self) -> Result<(), EngineError> {
        self.replace_journal()?;
        self.rewriting.store(true, Ordering::SeqCst);
        let rewritten = self.compact_tables();
        self.rewriting.store(false, Ordering::SeqCst);
        // What the first pass left without a reference is dropped by the second.
        rewritten.and_then(|()| self.compact_tables()).map_err(read)
    }

    fn compact_tables(&self) -> ::fjall::Result<()> {
        for keyspace in &self.keyspaces {
            keyspace.major_compact()?;
        }
        // Only a flush lets go of the files of versions that nobody reads any more.
        self.filler.remove(FILLER)?;
        self.filler.rotate_memtable_and_wait()?;
        self.filler.major_compact()
    }

    /// fjall follows a journal by another only when it is 64 MB long, and has no call for it: so it is filled.
    fn replace_journal(&self) -> Result<(), EngineError> {
        let filling = vec![0; FILLER_BYTES];
        let old = self.newest_journal()?;
        for _ in 0..JOURNAL_FILLINGS_MAX {
            if self.newest_journal()? > old {
                break;
            }
            self.filler.insert(FILLER, filling.as_slice()).map_err(read)?;
            self.filler.rotate_memtable_and_wait().map_err(read)?;
        }
        // It is deleted once every keyspace has flushed what it had in it.
        for keyspace in self.keyspaces.iter().chain([&self.filler]) {
            keyspace.rotate_memtable_and_wait().map_err(read)?;
        }
        let stays = || EngineError::Read("the engine's journal does not give way".into());
        for _ in 0..JOURNAL_FILLINGS_MAX {
            if self.oldest_journal()? > old {
                return Ok(());
            }
            self.filler.insert(FILLER, [0; 1]).map_err(read)?;
            self.filler.rotate_memtable_and_wait().map_err(read)?;
        }
        Err(stays())
    }

    /// Numbers of the journals that there are: `<n>.jnl`.
    fn journals(&self) -> Result<Vec<u64>, EngineError> {
        let unread = |error: std::io::Error| EngineError::Read(Box::new(error));
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".jnl")?.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    fn newest_journal(&self) -> Result<u64, EngineError> {
        Ok(self.journals()?.into_iter().max().unwrap_or(0))
    }

    fn oldest_journal(&self) -> Result<u64, EngineError> {
        Ok(self.journals()?.into_iter().min().unwrap_or(u64::MAX))
    }

    /// Walks a range that may touch several keyspaces, calling `take` until it has had enough.
    fn walk(
        &self,
        range: &KeyRange,
        direction: Direction,
        mut take: impl FnMut(::fjall::Guard) -> ::fjall::Result<Walk>,
    ) -> ::fjall::Result<()> {
        let snapshot: Snapshot = self.database.snapshot();
        let mut pieces = pieces(range);
        if direction == Direction::Descending {
            pieces.reverse();
        }
        for (shelf, piece) in pieces {
            let bounds = (Bound::Included(piece.start), piece.end.map_or(Bound::Unbounded, Bound::Excluded));
            let mut rows = snapshot.range(&self.keyspaces[shelf], bounds);
            loop {
                let next = if direction == Direction::Ascending { rows.next() } else { rows.next_back() };
                match next.map(&mut take).transpose()? {
                    None => break,
                    Some(Walk::On) => {}
                    Some(Walk::Enough) => return Ok(()),
                }
            }
        }
        Ok(())
    }
}

enum Walk {
    On,
    Enough,
}

#[async_trait]
impl Engine for FjallEngine {
    async fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.inner.get(row_key)
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        let mut rows = Vec::new();
        if limit > 0 {
            self.inner
                .walk(&range, direction, |row| {
                    let (row_key, value) = row.into_inner()?;
                    rows.push((row_key.into(), value.into()));
                    Ok(if rows.len() == limit { Walk::Enough } else { Walk::On })
                })
                .map_err(read)?;
        }
        Ok(rows)
    }

    async fn scan_keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Bytes>, EngineError> {
        let mut row_keys = Vec::new();
        if limit > 0 {
            self.inner
                .walk(&range, Direction::Ascending, |row| {
                    row_keys.push(row.key()?.into());
                    Ok(if row_keys.len() == limit { Walk::Enough } else { Walk::On })
                })
                .map_err(read)?;
        }
        Ok(row_keys)
    }

    async fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        // The region's writer has a thread of its own; whoever calls from the runtime must not hold it up with an fsync.
        match tokio::runtime::Handle::try_current() {
            Err(_) => self.inner.commit(batch),
            Ok(runtime) => {
                let inner = self.inner.clone();
                let done = runtime.spawn_blocking(move || inner.commit(batch)).await;
                done.unwrap_or_else(|e| Err(EngineError::Write(Box::new(e))))
            }
        }
    }

    fn snapshot(&self) -> Result<Box<dyn engine::Snapshot>, EngineError> {
        // Not between the parts of a batch.
        let _alone = self.inner.committing.lock();
        let rows = self.inner.database.snapshot();
        Ok(Box::new(Moment { inner: self.inner.clone(), rows }))
    }

    async fn compact(&self) -> Result<(), EngineError> {
        let inner = self.inner.clone();
        let (done, answer) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("index-compact".into())
            .spawn(move || {
                give_way();
                done.send(inner.compact())
            })
            .map_err(|e| EngineError::Read(Box::new(e)))?;
        answer.await.unwrap_or_else(|e| Err(EngineError::Read(Box::new(e))))
    }
}

/// The rows of one moment; while it lives, compactions keep what it sees.
struct Moment {
    inner: Arc<Inner>,
    rows: Snapshot,
}

impl engine::Snapshot for Moment {
    fn each(&self, take: &mut super::engine::EachRow<'_>) -> Result<(), EngineError> {
        for (shelf, piece) in pieces(&KeyRange::all()) {
            let bounds = (Bound::Included(piece.start), piece.end.map_or(Bound::Unbounded, Bound::Excluded));
            for row in self.rows.range(&self.inner.keyspaces[shelf], bounds) {
                let (row_key, value) = row.into_inner().map_err(read)?;
                take(&row_key, &value)?;
            }
        }
        Ok(())
    }
}

/// fjall's own number, but at least two: while everything is rewritten no other compaction of that keyspace gets on, and
/// whoever waits for one must not be the only one who flushes.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}

/// From here on the calling thread has a tenth of a core while others want it, and all of it while they do not. Where the
/// system does not allow that it goes on as it was.
fn give_way() {
    let this = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(this), NICE) {
        tracing::debug!(%error, "a compaction keeps its priority");
    }
}

/// Ten steps down the scheduler's scale of weights, a tenth of the weight.
const NICE: i32 = 10;

fn read(e: ::fjall::Error) -> EngineError {
    EngineError::Read(Box::new(e))
}

/// Cuts a range where the keyspace changes, in ascending order.
fn pieces(range: &KeyRange) -> Vec<(usize, KeyRange)> {
    let mut pieces = Vec::new();
    let mut start = range.start.clone();
    let mut push = |shelf, start: &[u8], end: Option<Vec<u8>>| {
        let end = match (end, &range.end) {
            (Some(a), Some(b)) => Some(a.min(b.clone())),
            (a, b) => a.or_else(|| b.clone()),
        };
        let piece = KeyRange { start: start.to_vec(), end };
        if !piece.is_empty() {
            pieces.push((shelf, piece));
        }
    };
    for (shelf, first) in SHELVES.iter().enumerate().filter_map(|(i, shelf)| Some((i, shelf.first_byte?))) {
        if start.as_slice() < &[first][..] {
            push(OTHERS, &start, Some(vec![first]));
            start = vec![first];
        }
        if start.first() == Some(&first) {
            push(shelf, &start, Some(vec![first + 1]));
            start = vec![first + 1];
        }
    }
    push(OTHERS, &start, None);
    pieces
}

/// The one row of the filler, and how much it grows the journal by.
const FILLER: &[u8] = b"filler";
const FILLER_BYTES: usize = 4 << 20;
/// More fillings than this do not help: 64 MB are reached after 16.
const JOURNAL_FILLINGS_MAX: usize = 64;

/// Writes every value beside the tables anew while a compaction is asked for. By itself fjall leaves a file of values as
/// it is until a quarter of it is dead.
struct Rewrite(Arc<AtomicBool>);

impl Factory for Rewrite {
    fn name(&self) -> &str {
        "rewrite"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Rewriting(self.0.load(Ordering::SeqCst)))
    }
}

struct Rewriting(bool);

impl CompactionFilter for Rewriting {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        Ok(if self.0 && item.is_indirection() { Verdict::ReplaceValue(item.value()?) } else { Verdict::Keep })
    }
}

/// One keyspace: which rows stand on it and how large they are.
struct Shelf {
    name: &'static str,
    /// The first byte of its rows' keys; none: all that have no shelf of their own.
    first_byte: Option<u8>,
    /// Values of this size and above live beside the tree, not in it.
    separate_bytes: Option<u32>,
}

/// By first byte, ascending (`pieces` relies on it); the last takes what the others do not.
const SHELVES: [Shelf; 4] = [
    Shelf { name: "inline", first_byte: Some(b'd'), separate_bytes: Some(1024) },
    Shelf { name: "leaves", first_byte: Some(b'l'), separate_bytes: Some(4096) },
    Shelf { name: "objects", first_byte: Some(b'o'), separate_bytes: Some(1024) },
    Shelf { name: "others", first_byte: None, separate_bytes: None },
];
const OTHERS: usize = SHELVES.len() - 1;
/// The first byte of the row keys whose rows are kept in memory when they are read: those of objects.
const KEPT_ROWS: u8 = b'o';

impl Shelf {
    fn options(&self, options: FjallOptions) -> KeyspaceCreateOptions {
        let separation = self
            .separate_bytes
            .map(|bytes| KvSeparationOptions::default().compression(CompressionType::None).separation_threshold(bytes));
        KeyspaceCreateOptions::default()
            .max_memtable_size(options.memtable_bytes)
            .data_block_compression_policy(CompressionPolicy::disabled())
            .with_kv_separation(separation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_where_the_keyspace_changes() {
        let names = |range| pieces(&range).into_iter().map(|(i, _)| SHELVES[i].name).collect::<Vec<_>>();
        assert_eq!(names(KeyRange::all()), ["others", "inline", "others", "leaves", "others", "objects", "others"]);
        assert_eq!(names(KeyRange::prefix(b"o1")), ["objects"]);
        assert_eq!(names(KeyRange { start: b"dz".to_vec(), end: Some(b"l".to_vec()) }), ["inline", "others"]);
        assert_eq!(names(KeyRange { start: b"x".to_vec(), end: Some(b"x".to_vec()) }), [""; 0]);
    }

    /// What no file may hold afterwards, and what must still be there.
    #[tokio::test]
    async fn compacted_no_file_holds_a_deleted_or_replaced_row() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(
            dir.path(),
            FjallOptions { cache_bytes: 1 << 20, row_cache_bytes: 1 << 20, memtable_bytes: 1 << 18 },
        )
        .unwrap();
        let value = |n: u32, bytes: usize| Bytes::from([&b"canary"[..], &n.to_be_bytes(), &vec![0; bytes]].concat());
        let row_key = |n: u32| [&[b"dlou"[n as usize % 4]], &n.to_be_bytes()[..]].concat();
        // Few are replaced and few deleted, in files that are mostly alive.
        for (round, step) in [(0, 1), (1, 40)] {
            for n in (0..400).step_by(step) {
                let bytes = [100, 2000, 30_000, 5000][n as usize / 4 % 4];
                let mut batch = Batch::new();
                batch.put(row_key(n), value(n + 1000 * round, bytes));
                engine.commit(batch).await.unwrap();
            }
        }
        let mut batch = Batch::new();
        (0..400).filter(|n| n % 50 < 4).for_each(|n| batch.delete(row_key(n)));
        engine.commit(batch).await.unwrap();
        engine.compact().await.unwrap();
        let mut files = vec![];
        let mut open = vec![dir.path().to_owned()];
        while let Some(dir) = open.pop() {
            for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() { open.push(path) } else { files.push((std::fs::read(&path).unwrap(), path)) }
            }
        }
        let mut left = std::collections::BTreeMap::new();
        for n in (0..400).chain(1000..1400) {
            let gone = n % 50 < 4 || (n < 1000 && n % 40 == 0);
            if n >= 1000 && n % 40 != 0 {
                continue;
            }
            let canary = &value(n, 0)[..];
            let found: Vec<_> =
                files.iter().filter(|(bytes, _)| memchr::memmem::find(bytes, canary).is_some()).collect();
            if gone {
                for (_, path) in found {
                    *left.entry(path.strip_prefix(dir.path()).unwrap().to_owned()).or_insert(0) += 1;
                }
            } else {
                assert!(!found.is_empty(), "{n}");
                assert!(engine.get(&row_key(n % 1000)).await.unwrap().unwrap().starts_with(canary));
            }
        }
        assert!(left.is_empty(), "{left:?}");
    }
}
