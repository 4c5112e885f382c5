//! NX-05 with a real `kill -9`: a process of its own writes names into real files and dies at a point that was chosen for
//! it; the next one opens what it left, looks at all of it, and dies at the next point.
//!
//! The loss this guards against: a name that was acknowledged and is gone, is listed twice or out of order, because half
//! of a split, of a rewritten leaf or of a replayed journal reached the disk. `crash.rs` stops at every commit in one
//! process; here nothing of the process survives, no destructor runs, and fjall itself is cut in the middle: of a
//! journal's write, of its replay, of the tables it writes in the background.
//!
//! The child is this test binary, run again with one ignored test and a directory in its environment. What it asked and
//! what it was answered it writes to a file before it goes on, so the file knows what a client would know.

use super::super::row_keys::seq_of;
use super::*;
use rustix::process::{Signal, getpid, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Tells the child where to work; without it the child's test does nothing.
const DIRECTORY: &str = "GEOSEAL_TEST_DIES_IN";
/// Tells the child where to die.
const POINT: &str = "GEOSEAL_TEST_DIES_AT";
const CHILD: &str = "index::tests::kill::a_child_that_dies";
const BUCKET: BucketId = BucketId([9; 16]);
/// Names that one part of the bucket may hold: a few leaves.
const NAMES: u64 = 3000;
/// A child that has not died by then never will.
const ROUNDS_MAX: u64 = 400;

/// What a commit does to the listing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Does {
    /// Adds deltas to leaves.
    Delta,
    /// Writes a leaf anew, its deltas in it.
    Consolidate,
    /// Moves a border between leaves: a split, or a leaf poured into its neighbour.
    Split,
}

/// Where a child dies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Point {
    /// Before the nth commit that does this.
    Before(Does, u64),
    /// So many microseconds into it, or right behind it when it is faster.
    During(Does, u64, u64),
    /// When it is on disk and nobody knows yet.
    After(Does, u64),
    /// So many microseconds after the engine began to open, and so to replay its journals.
    Opening(u64),
}

impl Point {
    fn written(self) -> String {
        let does = |does: Does| ["delta", "consolidate", "split"][does as usize];
        match self {
            Self::Before(what, nth) => format!("before {} {nth} 0", does(what)),
            Self::During(what, nth, us) => format!("during {} {nth} {us}", does(what)),
            Self::After(what, nth) => format!("after {} {nth} 0", does(what)),
            Self::Opening(us) => format!("opening delta 0 {us}"),
        }
    }

    fn read(text: &str) -> Self {
        let words: Vec<_> = text.split(' ').collect();
        let [when, what, nth, us] = words[..] else { panic!("a point is four words: {text}") };
        let what = match what {
            "split" => Does::Split,
            "consolidate" => Does::Consolidate,
            _ => Does::Delta,
        };
        let (nth, us) = (nth.parse().unwrap(), us.parse().unwrap());
        match when {
            "before" => Self::Before(what, nth),
            "during" => Self::During(what, nth, us),
            "after" => Self::After(what, nth),
            _ => Self::Opening(us),
        }
    }
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).expect("a process may end itself");
    loop {
        thread::park();
    }
}

/// Dies from another thread, whatever this one is doing.
fn die_after(us: u64) {
    thread::spawn(move || {
        thread::park_timeout(Duration::from_micros(us));
        die()
    });
}

/// An engine in whose nth commit of a kind the process dies.
struct Deadly {
    inner: Arc<dyn Engine>,
    point: Point,
    seen: Mutex<BTreeMap<Does, u64>>,
    marks: PathBuf,
}

impl Deadly {
    /// What the batch does, and the how manieth of its kind it is in this process.
    fn count(&self, batch: &Batch) -> (Does, u64) {
        let of = |kind: RowKind| batch.writes.iter().filter(move |(row_key, _)| row_key[0] == kind as u8);
        let base = of(RowKind::Leaf).any(|(row_key, value)| value.is_some() && seq_of(row_key) == Some(0));
        let does = match (of(RowKind::Fences).next().is_some(), base) {
            (true, _) => Does::Split,
            (false, true) => Does::Consolidate,
            (false, false) => Does::Delta,
        };
        let mut seen = self.seen.lock();
        let nth = seen.entry(does).or_default();
        *nth += 1;
        (does, *nth)
    }
}

#[async_trait]
impl Engine for Deadly {
    async fn get(&self, row_key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.inner.get(row_key).await
    }

    async fn scan(&self, range: KeyRange, limit: usize, way: Direction) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        self.inner.scan(range, limit, way).await
    }

    async fn scan_keys(&self, range: KeyRange, limit: usize) -> Result<Vec<Bytes>, EngineError> {
        self.inner.scan_keys(range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        let here = self.count(&batch);
        match self.point {
            Point::Before(what, nth) if here == (what, nth) => {
                mark(&self.marks, "met");
                die()
            }
            Point::During(what, nth, us) if here == (what, nth) => {
                mark(&self.marks, "met");
                die_after(us);
                self.inner.commit(batch).await?;
                die()
            }
            Point::After(what, nth) if here == (what, nth) => {
                self.inner.commit(batch).await?;
                mark(&self.marks, "met");
                die()
            }
            _ => self.inner.commit(batch).await,
        }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, EngineError> {
        self.inner.snapshot()
    }

    async fn compact(&self) -> Result<(), EngineError> {
        self.inner.compact().await
    }
}

/// One more line in a file. A SIGKILL takes nothing back that was written.
fn mark(file: &Path, line: &str) {
    let mut file = File::options().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Remembers the anchor in a file, as the key service does in its own.
struct AnchorFile(PathBuf);

impl AnchorStore for AnchorFile {
    fn newest(&self, _: &'static Region) -> Result<Option<Anchor>, AnchorStoreError> {
        let Ok(bytes) = fs::read(&self.0) else { return Ok(None) };
        minicbor::decode(&bytes).map(Some).map_err(|bad| AnchorStoreError(bad.into()))
    }

    fn save(&self, _: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError> {
        let next = self.0.with_extension("next");
        fs::write(&next, minicbor::to_vec(anchor).expect("a Vec takes every byte")).unwrap();
        fs::rename(next, &self.0).map_err(|bad| AnchorStoreError(bad.into()))
    }
}

fn line(way: char, name: &str, size: Option<u64>) -> String {
    let size = size.map_or("-".to_owned(), |size| size.to_string());
    format!("{way} {name} {size}\n")
}

/// What clients know: each line is `? name size`, asked, or `! name size`, answered; size `-` for a name that is gone.
struct Known {
    file: Mutex<File>,
    /// Last answered size per name; none: deleted.
    answered: BTreeMap<String, Option<u64>>,
    /// Asked since, and never answered.
    pending: BTreeMap<String, Vec<Option<u64>>>,
}

impl Known {
    fn read(path: &Path) -> Self {
        let mut text = fs::read_to_string(path).unwrap_or_default();
        // A kill may cut a line between two pages: then what it said was never said.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        let (mut answered, mut pending) = (BTreeMap::new(), BTreeMap::<String, Vec<_>>::new());
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [way, name, size] = words[..] else { panic!("{line}") };
            let size = size.parse().ok();
            if way == "?" {
                pending.entry(name.to_owned()).or_default().push(size);
            } else {
                pending.remove(name);
                answered.insert(name.to_owned(), size);
            }
        }
        let file = File::options().append(true).create(true).open(path).unwrap();
        Self { file: Mutex::new(file), answered, pending }
    }

    /// Writes what is known anew, in as few lines as will do. By the parent only, whom nobody kills.
    fn shortened(path: &Path) -> Self {
        let known = Self::read(path);
        let answered = known.answered.iter().map(|(name, size)| line('!', name, *size));
        let pending = known.pending.iter().flat_map(|(name, sizes)| sizes.iter().map(|size| line('?', name, *size)));
        fs::write(path, answered.chain(pending).collect::<String>()).unwrap();
        known
    }

    fn say(&self, way: char, name: &str, size: Option<u64>) {
        self.file.lock().write_all(line(way, name, size).as_bytes()).unwrap();
    }

    /// Everything answered is there, nothing is there twice or out of order, and listing and objects agree. What was
    /// open until now is known from here on.
    async fn check(&self, index: &RegionIndex, bucket: &Arc<OpenBucket>) -> BTreeMap<String, u64> {
        let listed = all_names(index, bucket).await;
        assert!(listed.windows(2).all(|pair| pair[0].0 < pair[1].0), "listed twice or out of order");
        let listed: BTreeMap<_, _> = listed.into_iter().collect();
        let objects = index.scan_objects(bucket, None, usize::MAX).await.unwrap();
        let objects: BTreeMap<_, _> = objects.into_iter().map(|found| (found.row.name, found.row.size)).collect();
        assert!(listed == objects, "{} names, {} objects", listed.len(), objects.len());
        for (name, size) in &self.answered {
            let found = listed.get(name).copied();
            let open = self.pending.get(name).into_iter().flatten();
            assert!([size].into_iter().chain(open).any(|size| *size == found), "{name} is {found:?}, was {size:?}");
        }
        for (name, sizes) in &self.pending {
            let found = listed.get(name).copied();
            let absent = found.is_none() && !self.answered.contains_key(name);
            assert!(self.answered.contains_key(name) || absent || sizes.contains(&found), "{name} is {found:?}");
            self.say('!', name, found);
        }
        let unasked = |name: &String| !self.answered.contains_key(name) && !self.pending.contains_key(name);
        assert!(!listed.keys().any(unasked), "a name that nobody wrote");
        listed
    }
}

/// Writes of one round: parts of the bucket grow until their leaves split, then lose their names from the front until
/// leaves are removed and merged.
fn round(number: u64, there: &BTreeMap<String, u64>) -> BTreeMap<String, Option<u64>> {
    let mut rng = fastrand::Rng::with_seed(number);
    let at = number % 72;
    if let Some(at) = at.checked_sub(48) {
        let part = ["a", "m", "z"][(at / 8) as usize];
        let names = there.keys().filter(|name| name.starts_with(part)).take(300);
        return names.map(|name| (name.clone(), None)).collect();
    }
    let part = ["a", "m", "z"][(at / 16) as usize];
    let count = [260, 3, 260, 90][(number % 4) as usize];
    let write = |_| (format!("{part}{:04}", rng.u64(..NAMES)), (rng.u8(..12) != 0).then_some(number));
    (0..count).map(write).collect()
}

fn files(directory: &Path) -> [PathBuf; 5] {
    ["engine", "known", "marks", "anchor", "bucket-key"].map(|file| directory.join(file))
}

fn key_service(directory: &Path) -> GeoKeyService {
    let unlock = Unlock::KeyFile(directory.join("key"));
    let keyring = LocalKeyring::open(&directory.join("keyring"), geo().bytes(), &unlock).unwrap();
    GeoKeyService::open(&directory.join("keystore"), geo().bytes(), Box::new(keyring), Arc::new(Still)).unwrap()
}

/// Opens what the last child left and looks at it; answers the index and what is there.
async fn opened(directory: &Path, point: Point) -> (RegionIndex, Arc<OpenBucket>, Known, BTreeMap<String, u64>) {
    let [engine, known, marks, anchor, record] = files(directory);
    let service = key_service(directory);
    let (geo_keys, tenant) = (service.geo_keys(), service.tenant(TENANT.0).unwrap());
    let key = tenant.open_bucket_key(&fs::read(record).unwrap(), BUCKET.0).unwrap();
    let bucket = Arc::new(OpenBucket { tenant: TENANT, geo: geo(), region: region(), bucket: BUCKET, key, old: None });
    if let Point::Opening(us) = point {
        die_after(us);
    }
    let options = FjallOptions { cache_bytes: 1 << 20, row_cache_bytes: 1 << 20, memtable_bytes: 4 << 20 };
    let inner: Arc<dyn Engine> = Arc::new(FjallEngine::open(&engine, options).unwrap());
    mark(&marks, "opened");
    let engine = Arc::new(Deadly { inner, point, seen: Mutex::default(), marks: marks.clone() });
    let anchors = Arc::new(AnchorFile(anchor));
    let index = RegionIndex::open(engine, region(), anchors, geo_keys, Millis(0), IndexOptions::default()).await;
    let (index, known) = (index.unwrap(), Known::read(&known));
    let there = known.check(&index, &bucket).await;
    mark(&marks, "checked");
    (index, bucket, known, there)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test below"]
async fn a_child_that_dies() {
    let (Ok(directory), Ok(point)) = (std::env::var(DIRECTORY), std::env::var(POINT)) else { return };
    let directory = PathBuf::from(directory);
    let (index, bucket, known, mut there) = opened(&directory, Point::read(&point)).await;
    let rounds = directory.join("rounds");
    for _ in 0..ROUNDS_MAX {
        let number = fs::metadata(&rounds).map_or(0, |rounds| rounds.len());
        let writes = round(number, &there);
        let answers = writes.iter().map(async |(one, size)| {
            known.say('?', one, *size);
            match size {
                Some(size) => index.put(&bucket, small(one, *size)).await.map(drop).unwrap(),
                None => index.delete(&bucket, &name(one), Condition::None).await.map(drop).unwrap(),
            }
            known.say('!', one, *size);
        });
        futures::future::join_all(answers).await;
        for (one, size) in writes {
            match size {
                Some(size) => there.insert(one, size),
                None => there.remove(&one),
            };
        }
        File::options().create(true).append(true).open(&rounds).unwrap().write_all(b".").unwrap();
    }
    panic!("{point} was never met");
}

/// 216 points: each kind of commit, just before, within and just behind; and while journals are replayed.
fn points() -> Vec<Point> {
    let mut points = Vec::new();
    for at in 0..24 {
        for (does, nth) in [(Does::Split, 1 + at % 2), (Does::Consolidate, 1 + at % 3), (Does::Delta, 1 + at)] {
            let during = Point::During(does, nth, at * at * 12);
            points.extend([Point::Before(does, nth), during, Point::After(does, nth)]);
            // A start that dies comes right after a process that died: twice in a row, as a crash loop does.
            if does == Does::Split || at % 4 == 0 && does == Does::Delta {
                points.push(Point::Opening(at * 700));
            }
        }
    }
    points
}

#[test]
fn nx05_killed_at_two_hundred_points_no_name_is_lost_doubled_or_moved() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path();
    let [_, known, marks, _, record] = files(directory);
    LocalKeyring::create_key_file(&directory.join("key")).unwrap();
    let unlock = Unlock::KeyFile(directory.join("key"));
    LocalKeyring::create(&directory.join("keyring"), geo().bytes(), &unlock).unwrap();
    let service = key_service(directory);
    service.create_tenant(TENANT.0).unwrap();
    fs::write(&record, service.tenant(TENANT.0).unwrap().new_bucket_key(BUCKET.0).unwrap().1).unwrap();
    drop(service);

    let points = points();
    let (mut within_opening, mut most) = (0, 0);
    for (number, point) in points.iter().enumerate() {
        fs::write(&marks, "").unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--ignored", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(POINT, point.written())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = || format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert_eq!(child.status.signal(), Some(9), "kill {number}, {point:?}: {}", said());
        let marked = fs::read_to_string(&marks).unwrap();
        match point {
            Point::Opening(_) => within_opening += u32::from(!marked.contains("opened")),
            _ => assert!(marked.ends_with("checked\nmet\n"), "kill {number}, {point:?}: {marked}"),
        }
        most = most.max(Known::shortened(&known).answered.values().flatten().count());
    }
    assert!(points.len() >= 200, "{} points", points.len());
    assert!(within_opening >= 10, "{within_opening} died before the engine was open");
    assert!(most > 2500, "at most {most} names: too few for leaves to split");
    // And once more in peace.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let (index, ..) = opened(directory, Point::After(Does::Delta, u64::MAX)).await;
        index.stop().await.unwrap();
    });
}
