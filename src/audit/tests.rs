//! K-22: edit, delete, exchange, add or cut anything, and verification fails and names it. And what a crash leaves.

use super::*;
use crate::model::clock::{Clock, SimulatedClock};
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const GEO: &str = "europe";

/// The key service's memory, as far as the log cares.
#[derive(Default)]
struct Heads {
    newest: Mutex<Option<Head>>,
    saves: AtomicUsize,
    broken: std::sync::atomic::AtomicBool,
    /// Saving waits while it is set: what is appended meanwhile queues up.
    held: std::sync::atomic::AtomicBool,
}

impl HeadStore for Heads {
    fn newest(&self) -> Result<Option<Head>, HeadError> {
        Ok(*self.newest.lock())
    }

    fn save(&self, head: &Head) -> Result<(), HeadError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(HeadError("no disk".into()));
        }
        while self.held.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.saves.fetch_add(1, Ordering::SeqCst);
        *self.newest.lock() = Some(*head);
        Ok(())
    }
}

fn open(dir: &Path, heads: &Arc<Heads>) -> Result<AuditLog, AuditError> {
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::frozen(Millis(1_800_000_000_000)));
    AuditLog::open(dir, GEO, clock, heads.clone())
}

fn event(n: u64) -> Event {
    Event::PurgeListed { tenant: TenantId([1; 16]), left: n }
}

/// A log of three files, four entries each.
async fn sample(dir: &Path) -> (Arc<Heads>, Head) {
    sample_of(dir, 4).await
}

async fn sample_of(dir: &Path, each: u64) -> (Arc<Heads>, Head) {
    let heads = Arc::new(Heads::default());
    for file in 0..3 {
        let log = open(dir, &heads).unwrap();
        for n in 0..each {
            let receipt = log.append(&Actor::part("sweeper"), event(n)).await.unwrap();
            assert_eq!(receipt.index, file * each + n);
        }
    }
    let head = heads.newest().unwrap().unwrap();
    (heads, head)
}

fn paths(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).collect();
    paths.sort();
    paths
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn put(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn bad(dir: &Path, head: &Head) -> (u64, Fault) {
    match verify(dir, GEO, head) {
        Err(VerifyError::Bad(bad)) => (bad.index, bad.fault),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_untouched_log_verifies_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let (heads, head) = sample(dir.path()).await;
    let whole = Summary { entries: 12, head: head.hash, behind_head: 0 };
    assert_eq!(verify(dir.path(), GEO, &head).unwrap(), whole);
    let log = open(dir.path(), &heads).unwrap();
    assert_eq!(log.verify().unwrap(), whole);
    let tail = log.tail(5).unwrap();
    assert_eq!(tail.iter().map(|entry| entry.index).collect::<Vec<_>>(), [7, 8, 9, 10, 11]);
    assert_eq!(tail[0].event(), Some(event(3)));
    assert_eq!((tail[0].name(), tail[0].tenant()), ("purge-listed", Some(TenantId([1; 16]))));
    assert_eq!(tail[0].detail().into_iter().collect::<Vec<_>>(), [("left".to_owned(), "3".to_owned())]);
    assert_eq!(log.entries(2, 3).unwrap().iter().map(|entry| entry.index).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(log.entries(12, 3).unwrap(), []);
    assert_eq!(log.tail(100).unwrap().len(), 12);
}

#[tokio::test]
async fn every_changed_byte_is_found_and_its_entry_named() {
    let dir = tempfile::tempdir().unwrap();
    let (heads, head) = sample_of(dir.path(), 2).await;
    for (file, path) in paths(dir.path()).iter().enumerate() {
        let good = std::fs::read(path).unwrap();
        let mut entry = file as u64 * 2;
        for at in 0..good.len() {
            for flip in [1, 0x20] {
                let mut edited = good.clone();
                edited[at] ^= flip;
                std::fs::write(path, &edited).unwrap();
                assert_eq!(bad(dir.path(), &head), (entry, Fault::Edited), "file {file} byte {at}");
            }
            entry += u64::from(good[at] == b'\n');
        }
        std::fs::write(path, &good).unwrap();
    }
    assert!(open(dir.path(), &heads).is_ok(), "put back as it was");
}

#[tokio::test]
async fn every_removed_added_or_moved_line_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_, head) = sample(dir.path()).await;
    for (file, path) in paths(dir.path()).iter().enumerate() {
        let good = lines(path);
        for n in 0..4 {
            let entry = file as u64 * 4 + n as u64;
            let mut removed = good.clone();
            removed.remove(n);
            put(path, &removed);
            let fault = if n == 3 { Fault::Missing } else { Fault::Misplaced };
            assert_eq!(bad(dir.path(), &head), (entry, fault), "removed");

            let mut doubled = good.clone();
            doubled.insert(n, good[n].clone());
            put(path, &doubled);
            assert_eq!(bad(dir.path(), &head), (entry + 1, Fault::Misplaced), "doubled");

            if n < 3 {
                let mut swapped = good.clone();
                swapped.swap(n, n + 1);
                put(path, &swapped);
                assert_eq!(bad(dir.path(), &head), (entry, Fault::Misplaced), "swapped");
            }

            put(path, &good[..n]);
            assert_eq!(bad(dir.path(), &head), (entry, Fault::Missing), "cut");
            put(path, &good);
        }
        let away = dir.path().join("away");
        std::fs::rename(path, &away).unwrap();
        assert_eq!(bad(dir.path(), &head), (file as u64 * 4, Fault::Missing), "a whole file");
        std::fs::rename(&away, path).unwrap();
    }
    assert!(verify(dir.path(), GEO, &head).is_ok());
    assert_eq!(bad(dir.path(), &Head { hash: Hash([0; 32]), ..head }), (11, Fault::Edited), "another head");
    let other = verify(dir.path(), "brazil", &head);
    assert!(matches!(other, Err(VerifyError::Bad(BadIndex { index: 0, .. }))), "another geo's log");
}

/// Who edits a line and computes its hash anew is betrayed by the next line, or by the head.
#[tokio::test]
async fn a_forged_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_, head) = sample(dir.path()).await;
    for (file, path) in paths(dir.path()).iter().enumerate() {
        let good = lines(path);
        for n in 0..4 {
            let mut forged = good.clone();
            let body = good[n].split(",\"hash\"").next().unwrap().replace("sweeper", "nobody1");
            forged[n] = format!("{body},\"hash\":\"{}\"}}", Hash::of(&[body.as_bytes()]));
            put(path, &forged);
            let entry = file as u64 * 4 + n as u64;
            let fault = if entry == 11 { Fault::Edited } else { Fault::Replaced };
            assert_eq!(bad(dir.path(), &head), (entry, fault));
        }
        put(path, &good);
    }
}

#[tokio::test]
async fn a_log_that_was_tampered_with_or_restored_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let (heads, _) = sample(dir.path()).await;
    let newest = paths(dir.path()).pop().unwrap();
    let good = lines(&newest);
    put(&newest, &good[..3]);
    assert!(matches!(open(dir.path(), &heads), Err(AuditError::Bad(BadIndex { index: 11, fault: Fault::Missing }))));
    std::fs::remove_file(&newest).unwrap();
    assert!(matches!(open(dir.path(), &heads), Err(AuditError::Bad(BadIndex { index: 8, .. }))));
    put(&newest, &good);
    assert!(matches!(open(dir.path(), &Arc::default()), Err(AuditError::Unknown)), "another key store");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(open(empty.path(), &heads), Err(AuditError::Bad(BadIndex { index: 0, .. }))), "begun anew");
}

/// Killed between the sync and the head, or in the middle of the write: nobody was answered, nothing is lost.
#[tokio::test]
async fn what_a_crash_leaves_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let (heads, head) = sample(dir.path()).await;
    let newest = paths(dir.path()).pop().unwrap();
    let whole = std::fs::read(&newest).unwrap();
    let last = lines(&newest).pop().unwrap().len() + 1;
    let before: Hash =
        serde_json::from_str(&format!("\"{}\"", &lines(&newest)[2][lines(&newest)[2].len() - 66..][..64])).unwrap();
    for kept in whole.len() - last..=whole.len() {
        let at = tempfile::tempdir().unwrap();
        for path in paths(dir.path()) {
            std::fs::copy(&path, at.path().join(path.file_name().unwrap())).unwrap();
        }
        std::fs::write(at.path().join(newest.file_name().unwrap()), &whole[..kept]).unwrap();
        *heads.newest.lock() = Some(Head { entries: 11, hash: before });
        let log = open(at.path(), &heads).unwrap();
        let complete = kept == whole.len();
        assert_eq!(log.head().entries, if complete { 13 } else { 11 }, "kept {kept}");
        if complete {
            assert_eq!(log.tail(1).unwrap()[0].event(), Some(Event::LogRecovered { unanswered: 1 }));
        }
        log.append(&Actor::part("sweeper"), event(9)).await.unwrap();
        assert_eq!(log.verify().unwrap().behind_head, 0);
        assert_eq!(open(at.path(), &heads).unwrap().head(), log.head());
    }
    assert_eq!(head.entries, 12);
}

#[tokio::test]
async fn appends_that_wait_share_a_sync_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let heads = Arc::new(Heads::default());
    let log = open(dir.path(), &heads).unwrap();
    let before = heads.saves.load(Ordering::SeqCst);
    heads.held.store(true, Ordering::SeqCst);
    let appends = (0..500).map(|n| {
        let log = &log;
        async move { log.append(&Actor::part("sweeper"), event(n)).await.unwrap() }
    });
    // An append is queued before it waits for anything.
    let queued = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        heads.held.store(false, Ordering::SeqCst);
    };
    let (mut receipts, ()) = tokio::join!(futures::future::join_all(appends), queued);
    receipts.sort_by_key(|receipt| receipt.index);
    assert_eq!(receipts.iter().map(|receipt| receipt.index).collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
    let saves = heads.saves.load(Ordering::SeqCst) - before;
    assert!((1..=2).contains(&saves), "500 appends took {saves} syncs");
    assert_eq!(log.verify().unwrap().entries, 500);
    assert_eq!(log.entries(300, 1).unwrap()[0].hash, receipts[300].hash);
}

#[tokio::test]
async fn nothing_is_answered_for_when_the_head_cannot_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let heads = Arc::new(Heads::default());
    let log = open(dir.path(), &heads).unwrap();
    heads.broken.store(true, Ordering::SeqCst);
    let refused = log.append(&Actor::part("sweeper"), event(0)).await;
    assert!(matches!(refused, Err(AuditError::Unwritable)));
    heads.broken.store(false, Ordering::SeqCst);
    let refused = log.append(&Actor::part("sweeper"), event(0)).await;
    assert!(matches!(refused, Err(AuditError::Unwritable)), "until it is opened again");
    assert!(!log.writable());
    let log = open(dir.path(), &heads).unwrap();
    assert_eq!(log.tail(1).unwrap()[0].event(), Some(Event::LogRecovered { unanswered: 1 }));
}

#[tokio::test]
async fn a_head_that_was_rolled_back_with_its_keeper_is_noticed_by_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let heads = Arc::new(Heads::default());
    let log = open(dir.path(), &heads).unwrap();
    let started = || Event::ServerStarted { release: "1".into() };
    let sweeper = Actor::part("sweeper");
    log.append(&sweeper, started()).await.unwrap();
    log.append(&sweeper, event(1)).await.unwrap();
    let old = log.head();
    log.append(&sweeper, event(2)).await.unwrap();
    drop(log);
    // One group may have been cut off by a crash.
    let newest = log_of(dir.path(), &heads);
    *heads.newest.lock() = Some(old);
    let log = open(dir.path(), &heads).unwrap();
    assert_eq!(log.tail(1).unwrap()[0].event(), Some(Event::LogRecovered { unanswered: 1 }));
    assert!(newest.entries > old.entries);
    // A start that was answered for, and something behind it, cannot.
    log.append(&sweeper, started()).await.unwrap();
    drop(log);
    let log = open(dir.path(), &heads).unwrap();
    log.append(&sweeper, event(3)).await.unwrap();
    drop(log);
    *heads.newest.lock() = Some(old);
    assert!(matches!(open(dir.path(), &heads), Err(AuditError::HeadBehind(4))));
    // Nor can more than a group.
    let dir = tempfile::tempdir().unwrap();
    let heads = Arc::new(Heads::default());
    let log = open(dir.path(), &heads).unwrap();
    let old = log.head();
    for n in 0..600 {
        log.append(&sweeper, event(n)).await.unwrap();
    }
    drop(log);
    *heads.newest.lock() = Some(old);
    assert!(matches!(open(dir.path(), &heads), Err(AuditError::HeadBehind(600))));
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::frozen(Millis(1_800_000_000_000)));
    let log = AuditLog::open_after_restore(dir.path(), GEO, clock, heads.clone()).unwrap();
    assert_eq!(log.head().entries, 601, "an operator said so, and it goes on");
}

fn log_of(dir: &Path, heads: &Arc<Heads>) -> Head {
    open(dir, heads).unwrap().head()
}

#[test]
fn actors_and_events_have_fixed_words() {
    for bad in ["", "a b", "jane@example.com", &"x".repeat(65)] {
        assert_eq!(bad.parse::<Actor>(), Err(BadActor));
    }
    let tenant = TenantId([2; 16]);
    let event = Event::TenantTerminated { tenant, due: "2027-02-18T11:30:00Z".into(), reason: None };
    let json =
        r#"{"event":"tenant-terminated","tenant":"02020202020202020202020202020202","due":"2027-02-18T11:30:00Z"}"#;
    assert_eq!(serde_json::to_string(&event).unwrap(), json);
    assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
}

#[tokio::test]
async fn a_log_from_before_reasons_were_kept_goes_on_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let heads = Arc::new(Heads::default());
    let tenant = TenantId([2; 16]);
    let disabled = |reason| Event::TenantDisabled { tenant, reason };
    let log = open(dir.path(), &heads).unwrap();
    log.append(&Actor::part("token-1"), disabled(None)).await.unwrap();
    drop(log);
    let old = lines(&paths(dir.path())[0]).remove(0);
    let act = r#""act":{"event":"tenant-disabled","tenant":"02020202020202020202020202020202"}"#;
    assert!(old.contains(act), "what the release before wrote: {old}");
    let log = open(dir.path(), &heads).unwrap();
    let reason = Hash::of(&[b"contract-end"]);
    log.append(&Actor::part("token-1"), disabled(Some(reason))).await.unwrap();
    let tail = log.tail(2).unwrap();
    assert_eq!((tail[0].event(), tail[1].event()), (Some(disabled(None)), Some(disabled(Some(reason)))));
    assert_eq!(tail[1].detail()["reason"], reason.to_string());
    assert_eq!(log.verify().unwrap().entries, 2);
}
