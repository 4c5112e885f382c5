//! The versions of names beside a model of them: a list for each name, the newest first.

use super::*;
use crate::index::row_keys::{ORDER_CURRENT, order_of};
use crate::index::rows::v1::Beside;
use crate::model::versioning::VersionAsked;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;

/// What is asked of a name.
#[derive(Clone, Debug)]
enum Ask {
    /// The `u64` says how large, and whether a hold keeps it.
    Put(u64),
    /// A DELETE that names no version.
    Delete,
    /// The removal of the nth version there is.
    Remove(usize),
    /// Other tags for the nth version there is.
    Tag(usize),
    /// Other bytes in the very place of the nth version there is.
    Rectify(usize, u64),
}

/// A version by the book.
#[derive(Clone, PartialEq, Debug)]
struct Version {
    /// None: a mark that the index made by itself.
    id: Option<VersionId>,
    size: u64,
    marker: bool,
    null: bool,
    kept: bool,
    tags: usize,
}

type Model = BTreeMap<String, Vec<Version>>;

const HELD_FROM: u64 = 100;
/// Larger than what trails a row.
const LARGE: u64 = 5000;

fn is_held(size: u64) -> bool {
    size != LARGE && size >= HELD_FROM
}

fn keeper() -> Keeper {
    Keeper::new(|row| is_held(row.size))
}

fn put_by_the_book(there: &mut Vec<Version>, new: Version, keep: Keep) {
    if let Some(current) = there.first_mut() {
        let cover = current.marker && current.id.is_none();
        let ends = keep == Keep::Replace || cover || (keep == Keep::BesideNull && current.null);
        let was_null = current.null;
        match (ends, !current.marker && is_held(current.size)) {
            (false, _) => {}
            (true, true) => current.kept = true,
            (true, false) => drop(there.remove(0)),
        }
        if keep == Keep::BesideNull
            && !was_null
            && let Some(at) = there.iter().position(|version| version.null && !version.kept)
        {
            match !there[at].marker && is_held(there[at].size) {
                true => there[at].kept = true,
                false => drop(there.remove(at)),
            }
        }
    }
    there.insert(0, new);
}

/// Removes the nth; a held one stays.
fn remove_by_the_book(there: &mut Vec<Version>, nth: usize, brings_back: bool) -> bool {
    if !there[nth].marker && is_held(there[nth].size) {
        return false;
    }
    there.remove(nth);
    if nth > 0 {
        if there.len() == 1 && there[0].marker && there[0].id.is_none() {
            there.clear();
        }
        return true;
    }
    match there.iter().position(|version| !version.kept).filter(|_| brings_back) {
        Some(heir) => {
            let heir = there.remove(heir);
            there.insert(0, heir);
        }
        None if there.is_empty() => {}
        None => there.insert(0, Version { id: None, size: 0, marker: true, null: true, kept: false, tags: 0 }),
    }
    true
}

/// One act on the index; what it should come to is in the model already.
enum Act {
    Put(ObjectRow, Option<Bytes>, Keep),
    Mark(ObjectRow, Keep),
    Erase(String),
    Remove(String, VersionId),
    Tag(String, VersionId, usize),
    Rectify(String, VersionId, ObjectRow, Bytes),
}

fn object(one: &str, size: u64) -> (ObjectRow, Bytes) {
    let due = size.is_multiple_of(3).then_some(1000 + size);
    (ObjectRow { due, ..row(one, size) }, Bytes::from(vec![size as u8; 300]))
}

/// What `ask` means to the model, and the act that should mean the same to the index.
fn plan(model: &mut Model, one: &str, ask: Ask, keep: Keep) -> Option<Act> {
    let there = model.entry(one.to_owned()).or_default();
    // Those that can be asked for.
    let asked: Vec<_> = (0..there.len()).filter(|at| there[*at].id.is_some()).collect();
    let nth = |nth: usize| (!asked.is_empty()).then(|| asked[nth % asked.len()]);
    let null = keep != Keep::Beside;
    match ask {
        Ask::Put(size) => {
            let (row, inline) = object(one, size);
            let new = Version { id: Some(row.version_id), size, marker: false, null, kept: false, tags: 0 };
            put_by_the_book(there, new, keep);
            Some(Act::Put(row, Some(inline), keep))
        }
        Ask::Delete if keep == Keep::Replace => {
            if there.first().is_some_and(|current| !current.marker) {
                remove_by_the_book(there, 0, false);
            }
            Some(Act::Erase(one.to_owned()))
        }
        Ask::Delete => {
            let row = ObjectRow::marker(one.to_owned(), Millis(5), Millis(5));
            let new = Version { id: Some(row.version_id), size: 0, marker: true, null, kept: false, tags: 0 };
            put_by_the_book(there, new, keep);
            Some(Act::Mark(row, keep))
        }
        Ask::Remove(at) => {
            let at = nth(at)?;
            let id = there[at].id?;
            remove_by_the_book(there, at, true);
            Some(Act::Remove(one.to_owned(), id))
        }
        Ask::Tag(at) => {
            let at = nth(at).filter(|at| !there[*at].marker)?;
            there[at].tags += 1;
            Some(Act::Tag(one.to_owned(), there[at].id?, there[at].tags))
        }
        Ask::Rectify(at, size) => {
            let at = nth(at).filter(|at| !there[*at].marker)?;
            let (row, inline) = object(one, size);
            let from = there[at].id?;
            // What a hold keeps is put right by nobody.
            if !is_held(there[at].size) {
                (there[at].id, there[at].size, there[at].tags) = (Some(row.version_id), size, 0);
            }
            Some(Act::Rectify(one.to_owned(), from, row, inline))
        }
    }
}

async fn act(index: &RegionIndex, bucket: &Arc<OpenBucket>, act: Act) -> Result<(), IndexError> {
    let unkept = || Condition::Unkept(Box::new(Condition::None), keeper());
    let done = match act {
        Act::Put(row, inline, keep) => {
            let put = PutObject { condition: unkept(), keep, ..put_of(row, inline) };
            index.put(bucket, put).await.map(drop)
        }
        Act::Mark(row, keep) => index.mark_deleted(bucket, row, unkept(), keep, None).await.map(drop),
        Act::Erase(one) => index.delete(bucket, &name(&one), unkept()).await.map(drop),
        Act::Remove(one, id) => {
            index.delete_version(bucket, &name(&one), VersionAsked::Id(id), unkept(), None).await.map(drop)
        }
        Act::Tag(one, id, tags) => {
            let old = index.find_version(bucket, &name(&one), VersionAsked::Id(id)).await?.expect("it is there").row;
            let tags = (0..tags).map(|tag| (tag.to_string(), String::new())).collect();
            let new = ObjectRow { tags, ..old.clone() };
            assert!(index.replace_if_same(bucket, &old, new).await?);
            Ok(())
        }
        Act::Rectify(one, id, row, inline) => {
            let old = index.find_version(bucket, &name(&one), VersionAsked::Id(id)).await?.expect("it is there").row;
            let (versioned, beside) = (old.versioned, old.beside);
            let new = ObjectRow { versioned, beside, ..row };
            match index.replace_version(bucket, &old, new, Some(inline), unkept(), Vec::new()).await {
                Ok(replaced) => assert!(replaced),
                Err(error) => return if matches!(error, IndexError::Kept) { Ok(()) } else { Err(error) },
            }
            Ok(())
        }
    };
    match done {
        Err(IndexError::Kept) => Ok(()),
        done => done,
    }
}

fn seen(row: &ObjectRow) -> Version {
    Version {
        id: Some(row.version_id).filter(|_| !row.is_cover()),
        size: row.size,
        marker: !row.is_object(),
        null: row.is_null(),
        kept: row.is_kept(),
        tags: row.tags.len(),
    }
}

/// Everything that can be asked, against the model.
async fn compare(index: &RegionIndex, bucket: &Arc<OpenBucket>, engine: &Arc<dyn Engine>, model: &Model) {
    let (mut all, mut shown, mut rows) = (Vec::new(), Vec::new(), 0);
    for (one, versions) in model {
        let found = index.versions_of(bucket, &name(one), None, usize::MAX).await.unwrap();
        assert_eq!(found.iter().map(seen).collect::<Vec<_>>(), *versions, "{one}");
        rows += versions.len();
        let current = index.get(bucket, &name(one)).await.unwrap();
        assert_eq!(current.as_ref().map(|found| seen(&found.row)).as_ref(), versions.first());
        if let Some(current) = versions.first().filter(|version| !version.marker) {
            all.push((one.clone(), current.size));
        }
        for version in versions {
            if let Some(id) = version.id {
                let found = index.find_version(bucket, &name(one), VersionAsked::Id(id)).await.unwrap().unwrap();
                assert_eq!(seen(&found.row), *version);
                let bytes = (!version.marker).then(|| Bytes::from(vec![version.size as u8; 300]));
                assert_eq!(found.inline, bytes, "the bytes go with the version");
            }
            if !version.kept && version.id.is_some() {
                shown.push((one.clone(), version.clone()));
            }
        }
        let null = index.find_version(bucket, &name(one), VersionAsked::Null).await.unwrap();
        let expected = versions.iter().find(|version| version.null && !version.kept);
        assert_eq!(null.map(|found| seen(&found.row)).as_ref(), expected);
    }
    assert_eq!(all_names(index, bucket).await, all, "what is listed");
    let mut query = VersionsQuery { limit: 3, ..VersionsQuery::default() };
    let mut listed = Vec::new();
    loop {
        let page = index.list_versions(bucket, &query).await.unwrap();
        assert!(page.versions.len() <= 3);
        listed.extend(page.versions.iter().map(|row| (row.name.clone(), seen(row))));
        if !page.truncated {
            break;
        }
        query.after = page.last;
    }
    assert_eq!(listed, shown, "what is listed of versions");
    let scanned = index.scan_objects(bucket, None, usize::MAX).await.unwrap();
    assert_eq!(scanned.len(), rows, "rows of versions");
    for found in &scanned {
        assert_eq!(order_of(&found.cursor[..41]), Some(found.row.order.unwrap_or(ORDER_CURRENT)));
        assert_eq!(found.row.is_current(), found.row.order.is_none());
        assert!(found.row.beside != Some(Beside::Kept) || found.row.due.is_some(), "nothing would look at it again");
    }
    let count =
        async |kind: RowKind| engine.scan_keys(KeyRange::prefix(&[kind as u8]), usize::MAX).await.unwrap().len();
    let due = scanned.iter().filter(|found| found.row.due.is_some()).count();
    assert_eq!(count(RowKind::Due).await, due, "due rows");
    let large = scanned.iter().filter(|found| found.row.place == Place::Row).count();
    assert_eq!(count(RowKind::Inline).await, large, "inline segments");
}

fn asks() -> impl Strategy<Value = (String, Ask)> {
    let size = || prop_oneof![6 => 1..200u64, 1 => Just(LARGE)];
    let ask = prop_oneof![
        8 => size().prop_map(Ask::Put),
        3 => Just(Ask::Delete),
        4 => (0..9usize).prop_map(Ask::Remove),
        1 => (0..9usize).prop_map(Ask::Tag),
        1 => (0..9usize, size()).prop_map(|(at, size)| Ask::Rectify(at, size)),
    ];
    (proptest::sample::select(vec!["a", "a/b", "b", "b/c", "é"]).prop_map(str::to_owned), ask)
}

fn stages() -> [Arc<OpenBucket>; 3] {
    let bucket = BucketId::random();
    let (key, record) = KEYS.1.new_bucket_key(bucket.0).unwrap();
    let (_, next) = KEYS.1.next_bucket_key(bucket.0, &key).unwrap();
    let key_of = |record: &[u8]| KEYS.1.open_bucket_key(record, bucket.0).unwrap();
    let open = |record: &[u8], old: Option<&[u8]>| {
        let (key, old) = (key_of(record), old.map(key_of));
        Arc::new(OpenBucket { tenant: TENANT, geo: geo(), region: region(), bucket, key, old })
    };
    [open(&record[..], None), open(&next[..], Some(&record[..])), open(&next[..], None)]
}

fn runner(seed: u8) -> TestRunner {
    eprintln!("seed {seed}");
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

fn sample<T>(runner: &mut TestRunner, of: impl Strategy<Value = T>) -> T {
    of.new_tree(runner).unwrap().current()
}

/// Puts, deletes, removals, tags and corrections, one or several in a commit; versioning enabled, suspended and enabled
/// again; the index opened again in between, and the bucket's key replaced row by row meanwhile.
#[tokio::test]
async fn the_versions_of_a_name_follow_each_other_by_the_book() {
    let mut runner = runner(11);
    for case in 0..12 {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        let anchors = Arc::default();
        let mut index = open(&engine, &anchors).await.unwrap();
        let stages = stages();
        let mut bucket = stages[0].clone();
        let (mut model, mut keep, mut cursor) = (Model::new(), Keep::Replace, None);
        for step in 0..60 {
            match sample(&mut runner, 0..12u8) {
                0 => keep = Keep::Beside,
                1 if keep != Keep::Replace => keep = Keep::BesideNull,
                2 => {
                    index.stop().await.unwrap();
                    index = open(&engine, &anchors).await.unwrap();
                    if cursor.is_some() {
                        index.switch_key(&bucket).await.unwrap();
                    }
                }
                _ => {}
            }
            if step == 25 {
                bucket = stages[1].clone();
                index.switch_key(&bucket).await.unwrap();
                cursor = Some(None);
            }
            if let Some(from) = cursor.clone() {
                let fence = FenceLine::default().raise(1);
                let done = index.reseal(&bucket, from.as_ref(), 3, &fence).await.unwrap();
                cursor = done.next.is_some().then_some(done.next);
                if cursor.is_none() {
                    assert_eq!(index.under_old_key(&bucket).await.unwrap().remaining, 0, "case {case}");
                    bucket = stages[2].clone();
                    index.switch_key(&bucket).await.unwrap();
                }
            }
            let many = sample(&mut runner, prop_oneof![Just(1), 2..6usize]);
            let mut acts = Vec::new();
            for _ in 0..many {
                let (one, ask) = sample(&mut runner, asks());
                // What is looked up first does not share a commit with what it looks for.
                if many > 1 && matches!(ask, Ask::Tag(_) | Ask::Rectify(..)) {
                    continue;
                }
                acts.extend(plan(&mut model, &one, ask, keep));
            }
            // They queue up in this order, and so share a commit.
            let done = futures::future::join_all(acts.into_iter().map(|one| act(&index, &bucket, one))).await;
            done.into_iter().for_each(|done| done.unwrap());
            compare(&index, &bucket, &engine, &model).await;
        }
    }
}

/// The daemon dies at any commit, just before or just after it: a version is never lost, and none is there twice.
#[tokio::test]
async fn the_versions_of_a_name_survive_a_death_at_any_commit() {
    let (mut runner, mut met) = (runner(12), 0);
    for at in 1..40 {
        for fault in [Fault::Before, Fault::After] {
            let engine = Faulty::new(Arc::new(MemoryEngine::default()));
            let (shared, anchors) = (engine.clone() as Arc<dyn Engine>, Arc::default());
            let mut index = open(&shared, &anchors).await.unwrap();
            let stages = stages();
            let (mut bucket, mut keep, mut model, mut cursor) = (stages[0].clone(), Keep::Replace, Model::new(), None);
            *engine.plan.lock() = Some((at, fault));
            for step in 0..60 {
                match step {
                    4 => keep = Keep::Beside,
                    20 => keep = Keep::BesideNull,
                    30 => keep = Keep::Beside,
                    _ => {}
                }
                let before = model.clone();
                let (one, ask) = sample(&mut runner, asks());
                let Some(next) = plan(&mut model, &one, ask, keep) else { continue };
                let done = async {
                    if step == 12 {
                        bucket = stages[1].clone();
                        index.switch_key(&bucket).await?;
                        cursor = Some(None);
                    }
                    if let Some(from) = cursor.clone() {
                        let fence = FenceLine::default().raise(1);
                        let next = index.reseal(&bucket, from.as_ref(), 2, &fence).await?.next;
                        cursor = next.is_some().then_some(next);
                    }
                    Ok(())
                };
                let moved = done.await;
                let done = match moved {
                    Ok(()) => act(&index, &bucket, next).await,
                    Err(error) => Err(error),
                };
                let Err(error) = done else { continue };
                assert!(matches!(error, IndexError::Refusing), "{error}");
                met += 1;
                *engine.plan.lock() = None;
                drop(index);
                index = open(&shared, &anchors).await.unwrap();
                if bucket.old.is_some() {
                    index.switch_key(&bucket).await.unwrap();
                }
                // Either the act took place or it did not; nothing in between.
                let found = index.versions_of(&bucket, &name(&one), None, usize::MAX).await.unwrap();
                let found: Vec<_> = found.iter().map(seen).collect();
                let (then, now) = (before.get(&one).cloned().unwrap_or_default(), model[&one].clone());
                assert!(found == then || found == now, "commit {at} {fault:?}: {found:?} of {then:?} or {now:?}");
                if found == then {
                    model = before;
                }
                compare(&index, &bucket, &shared, &model).await;
            }
            compare(&index, &bucket, &shared, &model).await;
        }
    }
    assert!(met >= 60, "{met} faults were met");
}

#[tokio::test]
async fn pages_of_versions_group_and_go_on() {
    let (index, bucket) = (in_memory().await, bucket());
    for (one, versions) in [("a", 3), ("dir/x", 2), ("dir/y", 1), ("dir2", 1), ("é", 2)] {
        for size in 0..versions {
            let put = PutObject { keep: Keep::Beside, ..small(one, size + 1) };
            index.put(&bucket, put).await.unwrap();
        }
    }
    let marker = ObjectRow::marker("a".into(), Millis(1), Millis(1));
    index.mark_deleted(&bucket, marker, Condition::None, Keep::Beside, None).await.unwrap();
    for limit in 1..12 {
        let mut query = VersionsQuery { delimiter: Some("/".into()), limit, ..VersionsQuery::default() };
        let mut shown = Vec::new();
        loop {
            let page = index.list_versions(&bucket, &query).await.unwrap();
            let (versions, prefixes) = (page.versions.len(), page.common_prefixes.len());
            assert!((1..=limit).contains(&(versions + prefixes)), "{limit}");
            assert_eq!(page.truncated, versions + prefixes == limit && page.last != Some(("é".into(), last(&page))));
            let mut both: Vec<_> = page.versions.iter().map(|row| (row.name.clone(), row.size)).collect();
            both.extend(page.common_prefixes.into_iter().map(|prefix| (prefix, 0)));
            both.sort_by(|a, b| a.0.cmp(&b.0));
            shown.extend(both);
            if !page.truncated {
                break;
            }
            query.after = page.last;
        }
        let expected = [("a", 0), ("a", 3), ("a", 2), ("a", 1), ("dir/", 0), ("dir2", 1), ("é", 2), ("é", 1)];
        assert_eq!(shown, expected.map(|(one, size)| (one.to_owned(), size)), "{limit}");
    }
    let behind = VersionsQuery { after: Some(("a".into(), None)), limit: 10, ..VersionsQuery::default() };
    let page = index.list_versions(&bucket, &behind).await.unwrap();
    assert_eq!(page.versions.first().map(|row| row.name.as_str()), Some("dir/x"), "a name alone: all behind it");
    let prefix = VersionsQuery { prefix: "dir/".into(), limit: 10, ..VersionsQuery::default() };
    assert_eq!(index.list_versions(&bucket, &prefix).await.unwrap().versions.len(), 3);
    assert!(!index.list_versions(&bucket, &VersionsQuery::default()).await.unwrap().truncated, "no room, no page");
}

/// The oldest version of `é`, if the page ends with it.
fn last(page: &VersionsPage) -> Option<VersionAsked> {
    page.versions.last().filter(|row| row.size == 1).map(ObjectRow::asked)
}

/// Who reads while versions come and go misses none that was there all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_stays_is_found_all_the_while() {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let index = Arc::new(open(&engine, &Arc::default()).await.unwrap());
    let [first, both, _] = stages();
    let put = |size| PutObject { keep: Keep::Beside, ..small("one", size) };
    let stays = put(1);
    let id = stays.row.version_id;
    index.put(&first, stays).await.unwrap();
    let (busy, at) = (index.clone(), first.clone());
    let writer = tokio::spawn(async move {
        for round in 0..150 {
            let two: Vec<_> = [put(2), put(3)].into();
            let ids: Vec<_> = two.iter().map(|put| put.row.version_id).collect();
            for put in two {
                busy.put(&at, put).await.unwrap();
            }
            if round == 50 {
                busy.switch_key(&both).await.unwrap();
            }
            if round > 50 {
                let fence = FenceLine::default().raise(1);
                busy.reseal(&both, None, 1, &fence).await.unwrap();
            }
            for id in ids {
                let asked = VersionAsked::Id(id);
                busy.delete_version(&at, &name("one"), asked, Condition::None, None).await.unwrap().unwrap();
            }
        }
    });
    let mut looks = 0;
    while !writer.is_finished() {
        let found = index.find_version(&first, &name("one"), VersionAsked::Id(id)).await.unwrap();
        assert_eq!(found.expect("it was there all the while").row.size, 1);
        let all = index.versions_of(&first, &name("one"), None, usize::MAX).await.unwrap();
        assert_eq!(all.last().map(|row| row.version_id), Some(id), "among {}", all.len());
        looks += 1;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert!(looks > 0);
}

/// A walk in small steps, while every name gets new versions and loses others between any two of them: what was there all
/// the while is met, wherever it stands by then.
#[tokio::test]
async fn a_walk_misses_nothing_that_moves_behind_its_back() {
    for step in 1..9 {
        let (index, bucket) = (in_memory().await, bucket());
        let mut there = BTreeMap::new();
        for round in 1..8 {
            for one in ["a", "b", "c"] {
                let put = PutObject { keep: Keep::Beside, ..small(one, round) };
                there.insert(put.row.version_id, one);
                index.put(&bucket, put).await.unwrap();
            }
        }
        let (mut cursor, mut met, mut steps) = (None, std::collections::BTreeSet::new(), 0);
        loop {
            let page = index.scan_objects(&bucket, cursor.as_ref(), step).await.unwrap();
            assert!(page.len() <= step);
            met.extend(page.iter().map(|found| found.row.version_id));
            let Some(last) = page.last().filter(|_| page.len() == step) else { break };
            cursor = Some(last.cursor.clone());
            steps += 1;
            // Fewer than a page holds, or it would never end.
            if steps % 3 == 0 {
                for one in ["a", "b", "c"] {
                    let put = PutObject { keep: Keep::Beside, ..small(one, 100) };
                    index.put(&bucket, put).await.unwrap();
                }
            }
            // The newest goes, and the one before it comes back.
            if steps % 4 == 0 {
                for one in ["a", "b", "c"] {
                    let newest = index.get(&bucket, &name(one)).await.unwrap().unwrap().row;
                    there.remove(&newest.version_id);
                    let asked = VersionAsked::Id(newest.version_id);
                    index.delete_version(&bucket, &name(one), asked, Condition::None, None).await.unwrap();
                }
            }
            assert!(steps < 500, "the walk does not end");
        }
        let missed = there.keys().filter(|id| !met.contains(*id)).count();
        assert_eq!(missed, 0, "in steps of {step}");
    }
}
