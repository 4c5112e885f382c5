//! The contract suite: what every engine promises, run against each of them, closed and opened again where it matters.

use super::engine::{Batch, Direction, Engine, EngineError, KeyRange};
use super::fjall::{FjallEngine, FjallOptions};
use super::memory::MemoryEngine;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Opens the same rows each time it is called; the engine of the call before is gone by then.
trait Reopen {
    fn open(&self) -> Arc<dyn Engine>;
}

impl Reopen for MemoryEngine {
    fn open(&self) -> Arc<dyn Engine> {
        Arc::new(self.clone())
    }
}

impl Reopen for tempfile::TempDir {
    fn open(&self) -> Arc<dyn Engine> {
        let options = FjallOptions { cache_bytes: 1 << 20, row_cache_bytes: 64 << 10, memtable_bytes: 1 << 20 };
        Arc::new(FjallEngine::open(self.path(), options).unwrap())
    }
}

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod memory { $( #[tokio::test] async fn $case() { super::$case(&super::MemoryEngine::default()).await } )* }
        mod embedded { $( #[tokio::test] async fn $case() { super::$case(&tempfile::tempdir().unwrap()).await } )* }
    };
}

contract!(
    a_row_written_is_read,
    a_batch_is_all_or_nothing,
    a_scan_is_ordered_both_ways,
    a_scan_sees_whole_batches,
    a_read_is_never_older_than_the_last_commit,
    large_values_survive_reopen_and_compaction,
    the_engine_equals_a_map,
);

async fn a_row_written_is_read(place: &impl Reopen) {
    let engine = place.open();
    assert_eq!(engine.get(b"o1").await.unwrap(), None);
    let mut batch = Batch::new();
    batch.put(&b"o1"[..], &b"one"[..]);
    batch.put(&b"x"[..], &b""[..]);
    engine.commit(batch).await.unwrap();
    assert_eq!(engine.get(b"o1").await.unwrap().as_deref(), Some(&b"one"[..]));
    drop(engine);
    let engine = place.open();
    assert_eq!(engine.get(b"o1").await.unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(engine.get(b"x").await.unwrap().as_deref(), Some(&b""[..]));
    let mut batch = Batch::new();
    batch.delete(&b"o1"[..]);
    batch.delete(&b"never"[..]);
    engine.commit(batch).await.unwrap();
    drop(engine);
    assert_eq!(place.open().get(b"o1").await.unwrap(), None);
}

async fn a_batch_is_all_or_nothing(place: &impl Reopen) {
    let engine = place.open();
    let mut batch = Batch::new();
    batch.put(&b"l1"[..], &b"old"[..]);
    engine.commit(batch).await.unwrap();
    for expected in [None, Some(Bytes::from_static(b"other"))] {
        let mut batch = Batch::new();
        batch.put(&b"l1"[..], &b"new"[..]);
        batch.put(&b"o1"[..], &b"new"[..]);
        batch.expect(&b"l1"[..], expected);
        assert!(matches!(engine.commit(batch).await, Err(EngineError::Precondition)));
    }
    let mut batch = Batch::new();
    batch.put(&b"o1"[..], &b"new"[..]);
    batch.expect(&b"l1"[..], Some(Bytes::from_static(b"old")));
    batch.expect(&b"o1"[..], None);
    drop(engine);
    let engine = place.open();
    assert_eq!(engine.get(b"l1").await.unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(engine.get(b"o1").await.unwrap(), None);
    engine.commit(batch).await.unwrap();
    assert_eq!(engine.get(b"o1").await.unwrap().as_deref(), Some(&b"new"[..]));
}

async fn a_scan_is_ordered_both_ways(place: &impl Reopen) {
    let engine = place.open();
    let mut batch = Batch::new();
    let row_keys: Vec<&[u8]> =
        vec![b"a", b"d1", b"d1\0", b"d1\xff", b"e", b"l", b"l\x00", b"o\xff\xff", b"p", b"\xff\xff"];
    for row_key in &row_keys {
        batch.put(row_key.to_vec(), row_key.to_vec());
    }
    engine.commit(batch).await.unwrap();
    drop(engine);
    let engine = place.open();
    let scan = async |range: KeyRange, limit, direction| -> Vec<Vec<u8>> {
        let rows = engine.scan(range, limit, direction).await.unwrap();
        rows.into_iter().inspect(|(k, v)| assert_eq!(k, v)).map(|(k, _)| k.to_vec()).collect()
    };
    let mut reversed = row_keys.clone();
    reversed.reverse();
    assert_eq!(scan(KeyRange::all(), 99, Direction::Ascending).await, row_keys);
    assert_eq!(scan(KeyRange::all(), 99, Direction::Descending).await, reversed);
    assert_eq!(scan(KeyRange::all(), 3, Direction::Ascending).await, row_keys[..3]);
    assert_eq!(scan(KeyRange::all(), 3, Direction::Descending).await, reversed[..3]);
    assert_eq!(scan(KeyRange::all(), 0, Direction::Ascending).await, [b""; 0]);
    assert_eq!(scan(KeyRange::prefix(b"d1"), 9, Direction::Ascending).await, row_keys[1..4]);
    assert_eq!(scan(KeyRange::prefix(b"d1").behind(b"d1"), 9, Direction::Ascending).await, row_keys[2..4]);
    assert_eq!(scan(KeyRange::prefix(b"o\xff\xff"), 9, Direction::Descending).await, row_keys[7..8]);
    assert_eq!(scan(KeyRange::prefix(b"\xff"), 9, Direction::Ascending).await, row_keys[9..]);
    let keys = engine.scan_keys(KeyRange::prefix(b"l"), 9).await.unwrap();
    assert_eq!(keys, row_keys[5..7]);
}

/// Whoever reads beside the writer may warm a cache with what the writer is about to replace.
async fn a_read_is_never_older_than_the_last_commit(place: &impl Reopen) {
    let engine = place.open();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (engine, done) = (engine.clone(), done.clone());
            std::thread::spawn(move || {
                let mut seen = 0;
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    let value = futures::executor::block_on(engine.get(b"o1")).unwrap();
                    let now = value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()));
                    assert!(now >= seen, "{now} after {seen}");
                    seen = now;
                }
            })
        })
        .collect();
    for number in 1..=200u64 {
        let mut batch = Batch::new();
        batch.put(&b"o1"[..], number.to_be_bytes().to_vec());
        engine.commit(batch).await.unwrap();
        let read = engine.get(b"o1").await.unwrap();
        assert_eq!(read.as_deref(), Some(&number.to_be_bytes()[..]));
    }
    done.store(true, std::sync::atomic::Ordering::Release);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let mut batch = Batch::new();
    batch.delete(&b"o1"[..]);
    engine.commit(batch).await.unwrap();
    assert_eq!(engine.get(b"o1").await.unwrap(), None);
}

/// A reader beside the writer counts the rows of one prefix: ever only whole batches of ten.
async fn a_scan_sees_whole_batches(place: &impl Reopen) {
    let engine = place.open();
    let reader = engine.clone();
    let reads = std::thread::spawn(move || {
        let mut most = 0;
        while most < 500 {
            let rows = reader.scan(KeyRange::prefix(b"l"), 1000, Direction::Ascending);
            let rows = futures::executor::block_on(rows).unwrap();
            assert_eq!(rows.len() % 10, 0, "half a batch was visible");
            most = rows.len();
        }
    });
    for round in 0..50u8 {
        let mut batch = Batch::new();
        for row in 0..10u8 {
            batch.put(vec![b'l', row, round], vec![round]);
        }
        engine.commit(batch).await.unwrap();
    }
    reads.join().unwrap();
}

async fn large_values_survive_reopen_and_compaction(place: &impl Reopen) {
    let value = |i: u8| vec![i; 60_000];
    let engine = place.open();
    for i in 0..40u8 {
        let mut batch = Batch::new();
        batch.put(vec![b'd', i], value(i));
        batch.put(vec![b'l', i], value(i));
        batch.put(vec![b'o', i], value(i)[..2000].to_vec());
        engine.commit(batch).await.unwrap();
    }
    let mut batch = Batch::new();
    (0..20u8).for_each(|i| batch.delete(vec![b'd', i]));
    engine.commit(batch).await.unwrap();
    engine.compact().await.unwrap();
    drop(engine);
    let engine = place.open();
    for i in 0..40u8 {
        assert_eq!(engine.get(&[b'd', i]).await.unwrap().map(|v| v.to_vec()), (i >= 20).then(|| value(i)));
        assert_eq!(engine.get(&[b'l', i]).await.unwrap().unwrap(), value(i));
        assert_eq!(engine.get(&[b'o', i]).await.unwrap().unwrap(), value(i)[..2000]);
    }
}

async fn the_engine_equals_a_map(place: &impl Reopen) {
    let row_key = proptest::collection::vec(prop_oneof![Just(b'd'), Just(b'l'), Just(b'm'), Just(0xff)], 1..5);
    let write = (row_key.clone(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)));
    let batches = proptest::collection::vec(proptest::collection::vec(write, 1..6), 1..40);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut map = BTreeMap::new();
    for _ in 0..4 {
        let engine = place.open();
        for writes in batches.new_tree(&mut runner).unwrap().current() {
            let mut batch = Batch::new();
            for (row_key, value) in writes {
                match value.clone() {
                    Some(value) => batch.put(row_key.clone(), value),
                    None => batch.delete(row_key.clone()),
                }
                map.insert(row_key, value);
            }
            engine.commit(batch).await.unwrap();
        }
        let expected = || map.iter().filter_map(|(k, v)| Some((Bytes::from(k.clone()), Bytes::from(v.clone()?))));
        let start = row_key.new_tree(&mut runner).unwrap().current();
        let behind: Vec<_> = expected().filter(|(k, _)| **k >= *start).take(7).collect();
        let rows = engine.scan(KeyRange::all(), usize::MAX, Direction::Ascending).await.unwrap();
        assert_eq!(rows, expected().collect::<Vec<_>>());
        let range = KeyRange { start, end: None };
        assert_eq!(engine.scan(range, 7, Direction::Ascending).await.unwrap(), behind);
    }
}
