//! The daemon dies in the middle of writing, and is started again (NX-05 in one process; tests/ kills a real one).
//!
//! The loss this guards against: a name that was acknowledged and is gone, listed twice or out of order; a split that
//! left half its names in no leaf; an object that can be read but is not listed, or the other way round. The only
//! effect that survives a crash is the engine's commit, so stopping at each of them, just before and just after, is
//! stopping everywhere. Below that, fjall's journal is cut at any byte.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the daemon was asked, and what it acknowledged before it died.
#[derive(Default)]
struct Witness {
    /// The last acknowledged size per name; none: deleted.
    acknowledged: BTreeMap<String, Option<u64>>,
    /// What was asked of a name and never answered.
    pending: BTreeMap<String, Vec<Option<u64>>>,
}

/// Writes that grow a few leaves, split them, rewrite and delete, in groups of up to 150.
async fn work(index: &RegionIndex, bucket: &Arc<OpenBucket>, rounds: u64) -> Witness {
    let mut witness = Witness::default();
    for round in 0..rounds {
        let writes: BTreeMap<String, Option<u64>> = (0..[150, 3, 40][round as usize % 3])
            .map(|i| {
                let number = (round * 7919 + i * 104_729) % 3000;
                let size = if (number + round).is_multiple_of(5) { None } else { Some(round) };
                (format!("{number:04}"), size)
            })
            .collect();
        let done = futures::future::join_all(writes.iter().map(async |(one, size)| match size {
            Some(size) => index.put(bucket, small(one, *size)).await.is_ok(),
            None => index.delete(bucket, &name(one), Condition::None).await.is_ok(),
        }));
        for ((one, size), done) in writes.clone().into_iter().zip(done.await) {
            if done {
                assert!(!witness.pending.contains_key(&one), "acknowledged after the engine failed");
                witness.acknowledged.insert(one, size);
            } else {
                witness.pending.entry(one).or_default().push(size);
            }
        }
    }
    witness
}

/// Everything acknowledged is there, nothing is there twice, names and objects agree; answers what is there.
async fn check(index: &RegionIndex, bucket: &Arc<OpenBucket>, witness: &Witness) -> BTreeMap<String, u64> {
    let listed = all_names(index, bucket).await;
    assert!(listed.windows(2).all(|pair| pair[0].0 < pair[1].0), "listed twice or out of order");
    let listed: BTreeMap<_, _> = listed.into_iter().collect();
    let objects = index.scan_objects(bucket, None, usize::MAX).await.unwrap();
    let objects: BTreeMap<_, _> = objects.into_iter().map(|found| (found.row.name, found.row.size)).collect();
    assert!(listed == objects, "{} names, {} objects", listed.len(), objects.len());
    let names: BTreeSet<_> = witness.acknowledged.keys().chain(witness.pending.keys()).chain(listed.keys()).collect();
    for one in names {
        let found = listed.get(one).copied();
        let allowed = [witness.acknowledged.get(one).copied().unwrap_or(None)];
        let pending = witness.pending.get(one).into_iter().flatten();
        assert!(allowed.iter().chain(pending).any(|size| *size == found), "{one} is {found:?}");
    }
    listed
}

#[tokio::test]
async fn stopping_at_any_commit_loses_nothing_acknowledged() {
    let plain = Faulty::new(Arc::new(MemoryEngine::default()));
    let index = open(&(plain.clone() as Arc<dyn Engine>), &Arc::default()).await.unwrap();
    work(&index, &bucket(), 40).await;
    let commits = plain.commits.load(Ordering::Relaxed);
    // How many acts share a commit is a matter of timing, but each of the rounds waits for its own.
    assert!(commits >= 40, "{commits} commits");
    let mut met = 0;
    for at in (1..commits).step_by(usize::try_from(commits / 50).unwrap().max(1)) {
        for fault in [Fault::Before, Fault::After] {
            let engine = Faulty::new(Arc::new(MemoryEngine::default()));
            let anchors = Arc::default();
            let index = open(&(engine.clone() as Arc<dyn Engine>), &anchors).await.unwrap();
            let bucket = bucket();
            *engine.plan.lock() = Some((at, fault));
            let witness = work(&index, &bucket, 40).await;
            // How acts fall into groups is a matter of timing: a run may be over before its fault.
            assert_eq!(witness.pending.is_empty(), index.is_writable());
            met += u32::from(!index.is_writable());
            // Those who read meanwhile see what was acknowledged, though the disk may hold more.
            let index = {
                drop(index);
                *engine.plan.lock() = None;
                open(&(engine as Arc<dyn Engine>), &anchors).await.unwrap()
            };
            check(&index, &bucket, &witness).await;
            let more = work(&index, &bucket, 12).await;
            assert!(more.pending.is_empty());
            let after = Witness { acknowledged: more.acknowledged, pending: BTreeMap::new() };
            let listed = all_names(&index, &bucket).await.into_iter().collect::<BTreeMap<_, _>>();
            assert!(after.acknowledged.iter().all(|(one, size)| listed.get(one) == size.as_ref()), "commit {at}");
        }
    }
    assert!(met >= 40, "{met} faults were met");
}

fn fjall(directory: &Path) -> Arc<dyn Engine> {
    Arc::new(
        FjallEngine::open(
            directory,
            FjallOptions { cache_bytes: 1 << 20, row_cache_bytes: 1 << 20, memtable_bytes: 32 << 20 },
        )
        .unwrap(),
    )
}

/// Copies a database as a crash would leave it, its journal cut to `journal` bytes.
fn crash_image(from: &Path, to: &Path, journal: &[u8]) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            crash_image(&entry.path(), &target, journal);
        } else if entry.path().extension().is_some_and(|extension| extension == "jnl") {
            std::fs::write(target, journal).unwrap();
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The machine dies with the last writes half in the journal: fjall opens with a whole number of our commits, and the
/// index over it is sound. When the anchor had been saved later than that, the index refuses instead.
#[tokio::test]
async fn a_journal_cut_anywhere_opens_as_some_commit() {
    let live = tempfile::tempdir().unwrap();
    let anchors = Arc::<Anchors>::default();
    let bucket = bucket();
    let index = open(&fjall(live.path()), &anchors).await.unwrap();
    let mut witness = work(&index, &bucket, 15).await;
    index.stop().await.unwrap();
    let journals: Vec<_> = std::fs::read_dir(live.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let journals: Vec<_> = journals.into_iter().filter(|path| path.extension().is_some_and(|e| e == "jnl")).collect();
    assert_eq!(journals.len(), 1);
    let mut journal = std::fs::read(&journals[0]).unwrap();
    journal.truncate(journal.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    // The image is of a database that still runs: nothing was flushed, closed or tidied up.
    let whole = tempfile::tempdir().unwrap();
    crash_image(live.path(), whole.path(), &journal);
    check(&open(&fjall(whole.path()), &anchors).await.unwrap(), &bucket, &witness).await;
    // From here on everything may be missing, but nothing may be broken.
    for (one, size) in std::mem::take(&mut witness.acknowledged) {
        witness.pending.insert(one, (0..15).map(Some).chain([None, size]).collect());
    }
    let mut seen = BTreeSet::new();
    for cut in 1..=60 {
        let image = tempfile::tempdir().unwrap();
        crash_image(live.path(), image.path(), &journal[..journal.len() * cut / 61]);
        let refused = open(&fjall(image.path()), &anchors).await;
        assert!(matches!(refused, Err(OpenFault::Anchor(AnchorFault::Behind { .. }))), "cut {cut}");
        let index = open(&fjall(image.path()), &Arc::default()).await.unwrap();
        seen.insert(check(&index, &bucket, &witness).await.len());
        index.put(&bucket, small("after", 1)).await.unwrap();
        assert!(all_names(&index, &bucket).await.contains(&("after".into(), 1)));
    }
    // How many acts share a commit is a matter of timing, but each of the rounds waits for its own.
    assert!(seen.len() >= 8, "cuts fell on {} different commits", seen.len());
}

#[tokio::test]
async fn the_daemon_dies_and_is_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let anchors = Arc::<Anchors>::default();
    let bucket = bucket();
    let mut acknowledged = BTreeMap::new();
    for round in 0..5 {
        let index = open(&fjall(directory.path()), &anchors).await.unwrap();
        let before = Witness { acknowledged: acknowledged.clone(), pending: BTreeMap::new() };
        check(&index, &bucket, &before).await;
        let witness = work(&index, &bucket, 6 + round).await;
        assert!(witness.pending.is_empty());
        acknowledged.extend(witness.acknowledged);
        // Dropped, not stopped: the anchor is saved late or not at all, the engine is not told.
        drop(index);
        while Arc::strong_count(&anchors) > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}
