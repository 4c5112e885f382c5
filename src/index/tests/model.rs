//! The index beside a `BTreeMap`: the same puts and deletes, then the same questions.

use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// What `list` must answer, by the book: look at every name.
fn reference(model: &BTreeMap<String, u64>, query: &ListQuery) -> ListPage {
    let mut page = ListPage::default();
    let mut groups = BTreeSet::new();
    for (name, size) in model {
        let Some(rest) = name.strip_prefix(&query.prefix) else { continue };
        let group = query.delimiter.as_deref().and_then(|d| rest.find(d).map(|at| at + d.len()));
        let group = group.map(|len| name[..query.prefix.len() + len].to_owned());
        let shown = group.as_ref().unwrap_or(name);
        if query.after.as_ref().is_some_and(|after| shown.as_bytes() <= after.as_bytes()) {
            continue;
        }
        if groups.contains(shown) {
            continue;
        }
        if page.entries.len() + page.common_prefixes.len() == query.limit {
            page.truncated = query.limit > 0;
            break;
        }
        page.last = Some(shown.clone());
        match group {
            Some(group) => {
                groups.insert(group.clone());
                page.common_prefixes.push(group);
            }
            None => {
                let row = row(name, *size);
                page.entries.push(ListEntry { name: name.clone(), size: *size, mtime: row.mtime, etag: row.etag });
            }
        }
    }
    page
}

fn runner(seed: u8) -> TestRunner {
    eprintln!("seed {seed}");
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

/// Names of few letters, so that they share prefixes; any Unicode between; long ones now and then.
fn names() -> impl Strategy<Value = String> {
    let letter = prop_oneof![
        8 => proptest::sample::select(vec!['a', 'b', '/', '\u{1}', 'é', '\u{10ffff}', '\u{7f}', '\u{80}']),
        1 => any::<char>(),
    ];
    let short = proptest::collection::vec(letter.clone(), 1..9);
    let long = proptest::collection::vec(letter, 100..200);
    prop_oneof![20 => short, 1 => long].prop_map(|letters| letters.into_iter().collect())
}

fn queries() -> impl Strategy<Value = ListQuery> {
    let prefix = prop_oneof![Just(String::new()), names().prop_map(|name| name.chars().take(2).collect())];
    let delimiter = proptest::option::of(proptest::sample::select(vec!["/", "a", "é", "ab", "\u{10ffff}", "//"]));
    let after = proptest::option::of(names());
    (prefix, delimiter, after, 0..40usize).prop_map(|(prefix, delimiter, after, limit)| ListQuery {
        prefix,
        delimiter: delimiter.map(str::to_owned),
        after,
        limit,
    })
}

/// All at once, in no particular order: so each name at most once, the last word.
async fn write(index: &RegionIndex, bucket: &Arc<OpenBucket>, writes: &[(String, Option<u64>)]) {
    let last: BTreeMap<_, _> = writes.iter().cloned().collect();
    let acts = last.iter().map(async |(one, size)| match size {
        Some(size) => index.put(bucket, small(one, *size)).await.map(drop).unwrap(),
        None => index.delete(bucket, &name(one), Condition::None).await.map(drop).unwrap(),
    });
    futures::future::join_all(acts).await;
}

/// NX-04 in small: many rounds of mixed writes in groups of all sizes, every question after each round.
#[tokio::test]
async fn names_list_like_a_sorted_map() {
    let mut runner = runner(1);
    let (index, bucket) = (in_memory().await, bucket());
    let mut model = BTreeMap::new();
    let write_of = || (names(), proptest::option::weighted(0.6, 0..250u64));
    for round in 0..60 {
        let len = [1, 3, 40, 400][round % 4];
        let writes = proptest::collection::vec(write_of(), len).new_tree(&mut runner).unwrap().current();
        write(&index, &bucket, &writes).await;
        for (one, size) in writes {
            match size {
                Some(size) => model.insert(one, size),
                None => model.remove(&one),
            };
        }
        for _ in 0..12 {
            let query = queries().new_tree(&mut runner).unwrap().current();
            let page = index.list(&bucket, &query).await.unwrap();
            assert!(page == reference(&model, &query), "round {round}: {:?} {:?}", query.prefix, query.delimiter);
        }
        assert!(all_names(&index, &bucket).await.into_iter().eq(model.clone()), "round {round}");
    }
}

/// NX-04: 100,000 random Unicode names, through splits; pages with prefix, delimiter and start-after, before and after
/// everything is read from the engine anew. (A million below.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_names() {
    many_names(100_000, 150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation; `cargo verify` runs it")]
async fn a_million_names() {
    many_names(1_000_000, 150).await;
}

async fn many_names(count: usize, questions: usize) {
    let mut runner = runner(2);
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let anchors = Arc::default();
    let mut index = open(&engine, &anchors).await.unwrap();
    let bucket = bucket();
    let mut model = BTreeMap::new();
    while model.len() < count {
        let writes: Vec<_> = (0..2000)
            .map(|i| {
                let tree = if i % 2 == 0 { names().boxed() } else { any_name().boxed() };
                (tree.new_tree(&mut runner).unwrap().current(), Some(i % 250))
            })
            .collect();
        write(&index, &bucket, &writes).await;
        model.extend(writes.into_iter().map(|(one, size)| (one, size.unwrap())));
    }
    for pass in 0..2 {
        for _ in 0..questions {
            let query = queries().new_tree(&mut runner).unwrap().current();
            let page = index.list(&bucket, &query).await.unwrap();
            assert!(page == reference(&model, &query), "pass {pass}: {:?} {:?}", query.prefix, query.delimiter);
        }
        assert!(all_names(&index, &bucket).await.into_iter().eq(model.clone()), "pass {pass}");
        index.stop().await.unwrap();
        index = open(&engine, &anchors).await.unwrap();
    }
}

fn any_name() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 1..12).prop_map(|letters| letters.into_iter().collect())
}

/// A whole million under one common prefix would take as long as it is large; a seek takes one leaf.
#[tokio::test]
async fn a_common_prefix_is_skipped_not_walked() {
    let engine = Faulty::new(Arc::new(MemoryEngine::default()));
    let (index, bucket) = (open(&(engine.clone() as Arc<dyn Engine>), &Arc::default()).await.unwrap(), bucket());
    let mut writes: Vec<_> = (0..20_000).map(|i| (format!("deep/{i:06}"), Some(1))).collect();
    writes.extend([("apple".into(), Some(1)), ("zebra".into(), Some(1))]);
    write(&index, &bucket, &writes).await;
    index.stop().await.unwrap();
    let index = open(&(engine.clone() as Arc<dyn Engine>), &Arc::default()).await.unwrap();
    let query = ListQuery { delimiter: Some("/".into()), limit: 1000, ..ListQuery::default() };
    engine.values_read.store(0, Ordering::Relaxed);
    let page = index.list(&bucket, &query).await.unwrap();
    let names: Vec<_> = page.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(
        (names, page.common_prefixes, page.truncated),
        (vec!["apple", "zebra"], vec!["deep/".to_owned()], false)
    );
    let read = engine.values_read.load(Ordering::Relaxed);
    assert!(read < 400, "{read} rows were read for three results");
}

/// Deleting everything leaves no trail of empty leaves to walk. One after the other: a leaf that is emptied in the same commit
/// in which its neighbour changes stays until its next change, and who shares a commit is the scheduler's choice.
#[tokio::test]
async fn emptied_leaves_go_away() {
    let engine = MemoryEngine::default();
    let index = open(&(Arc::new(engine.clone()) as Arc<dyn Engine>), &Arc::default()).await.unwrap();
    let bucket = bucket();
    let names: Vec<_> = (0..12_000).map(|i| format!("{i:06}")).collect();
    write(&index, &bucket, &names.iter().map(|one| (one.clone(), Some(1))).collect::<Vec<_>>()).await;
    let leaves = async || {
        let fences = KeyRange::prefix(&row_keys::of_bucket(RowKind::Leaf, bucket.bucket));
        let row_keys = engine.scan_keys(fences, usize::MAX).await.unwrap();
        row_keys.iter().filter(|row_key| row_keys::seq_of(row_key) == Some(0)).count()
    };
    assert!((12..30).contains(&leaves().await), "{} leaves of up to 1000 for 12000 names", leaves().await);
    for one in &names[1..] {
        index.delete(&bucket, &name(one), Condition::None).await.unwrap();
    }
    assert_eq!(all_names(&index, &bucket).await, [("000000".to_owned(), 1)]);
    assert!(leaves().await <= 3, "{} leaves are left for one name", leaves().await);
    assert!(!index.is_empty(bucket.bucket).await.unwrap());
    index.delete(&bucket, &name("000000"), Condition::None).await.unwrap();
    assert!(index.is_empty(bucket.bucket).await.unwrap());
}
