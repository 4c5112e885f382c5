//! The log's files and their one writer.
//!
//! `<dir>/<index of its first entry, 20 digits>.log`, a new file about every 8 MiB, none ever changed again. One thread
//! writes: it takes all that waits, writes it at once, syncs once, has the head saved, and answers everybody.
//!
//! A crash between the sync and the head leaves entries that nobody was answered for. They are kept, and an entry
//! `log-recovered` after them counts them. What does not verify behind the head is a torn write and is cut off. A log
//! that does not reach its head, or does not meet it, was tampered with or restored from an old copy: it does not open.

use super::entry::{self, Entry};
use super::event::{Act, Event};
use super::tree::{self, Checkpoint, Growth, Tile, Tree};
use super::verify::{self, BadIndex, Fault, Summary, VerifyError};
use super::{Actor, Hash, Head, HeadError, HeadStore};
use crate::model::clock::{Clock, Reading};
use parking_lot::{Mutex, MutexGuard};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Why the log cannot take or give an entry. The act must not go on.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log was tampered with, or is an old copy.
    #[error("the audit log does not verify: {0}; restore it, it must not be begun anew")]
    Bad(#[from] BadIndex),
    /// There are files, but the key service knows of no log.
    #[error("there is an audit log here that the key service knows nothing of: it belongs to another key store")]
    Unknown,
    /// The log says more than the key service answers for, and no crash explains it.
    #[error(
        "the audit log goes on for {0} entries that the key store knows nothing of: the key store is an older copy, its \
         witness with it; put the newest one back, or the audit log of the same backup"
    )]
    HeadBehind(u64),
    /// A write failed; the log takes nothing until it is opened again.
    #[error("the audit log cannot be written")]
    Unwritable,
    /// The head's keeper does not answer.
    #[error("the audit log waits for its head to be saved")]
    Slow,
    /// The head's keeper failed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A file could not be read or written.
    #[error("the audit log's files: {0}")]
    File(#[from] std::io::Error),
}

impl From<VerifyError> for AuditError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Bad(bad) => Self::Bad(bad),
            VerifyError::File(error) => Self::File(error),
        }
    }
}

/// That an entry is durable, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its index.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The audit log of one geo. Cheap to share behind an `Arc`.
pub struct AuditLog {
    dir: PathBuf,
    geo: String,
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<Waiting>,
    head: watch::Receiver<Head>,
    tree: Mutex<Tree>,
}

struct Waiting {
    act: Act,
    now: Reading,
    answer: oneshot::Sender<Receipt>,
}

/// What explains that a log has entries that its head's keeper does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// They were written, and the crash came before the head was saved.
    ByACrash,
    /// The keeper is an older copy, and somebody says so.
    ByARestore,
}

/// Whether entries that nobody was answered for can all have been of the one group that a crash cut off. The start of a
/// server is answered for before anything else is written; only the notes of later starts that failed may follow.
fn is_one_group(behind: &[Entry]) -> bool {
    let mut written = behind.iter().filter(|entry| entry.name() != "log-recovered");
    let all = written.clone().count();
    let starts = written.any(|entry| entry.name() == "server-started");
    all <= if starts { 1 } else { GROUP_MAX }
}

/// Entries that share one sync at most, and that may wait at most.
const GROUP_MAX: usize = 512;
/// How long an append waits for its answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Entries read at once for the Merkle tree.
const TREE_STEP: usize = 4096;
/// A file this long is followed by another.
const FILE_BYTES: u64 = 8 << 20;

impl AuditLog {
    /// Opens or begins the log of `geo` in `dir`. Blocks on the disk: for start-up. Errors: `HeadBehind`, when its head's
    /// keeper was rolled back.
    pub fn open(dir: &Path, geo: &str, clock: Arc<dyn Clock>, heads: Arc<dyn HeadStore>) -> Result<Self, AuditError> {
        Self::open_with(dir, geo, clock, heads, Ahead::ByACrash)
    }

    /// The same where the head's keeper was put back from a backup, and an operator said so.
    pub fn open_after_restore(
        dir: &Path,
        geo: &str,
        clock: Arc<dyn Clock>,
        heads: Arc<dyn HeadStore>,
    ) -> Result<Self, AuditError> {
        Self::open_with(dir, geo, clock, heads, Ahead::ByARestore)
    }

    fn open_with(
        dir: &Path,
        geo: &str,
        clock: Arc<dyn Clock>,
        heads: Arc<dyn HeadStore>,
        ahead: Ahead,
    ) -> Result<Self, AuditError> {
        std::fs::create_dir_all(dir)?;
        let anchored = match heads.newest()? {
            Some(head) => head,
            None if verify::files(dir)?.is_empty() => {
                let first = Head::first(geo);
                heads.save(&first)?;
                first
            }
            None => return Err(AuditError::Unknown),
        };
        let head = recover(dir, geo, &anchored)?;
        if ahead == Ahead::ByACrash && head.entries > anchored.entries {
            let behind = verify::entries(dir, anchored.entries, 2 * GROUP_MAX, &head)?;
            if !is_one_group(&behind) {
                return Err(AuditError::HeadBehind(head.entries - anchored.entries));
            }
        }
        let mut writer = Writer { dir: dir.to_owned(), file: None, bytes: 0, head, heads };
        if head.entries > anchored.entries {
            let event = Event::LogRecovered { unanswered: head.entries - anchored.entries };
            writer.write(&[(Act { actor: Actor::part("audit"), event }, clock.now())])?;
        }
        let (queue, waiting) = mpsc::channel(GROUP_MAX);
        let (publish, head) = watch::channel(writer.head);
        std::thread::Builder::new().name("audit".into()).spawn(move || run(writer, waiting, &publish))?;
        Ok(Self { dir: dir.to_owned(), geo: geo.to_owned(), clock, queue, head, tree: Mutex::default() })
    }

    /// Records `event` by `actor`; durable, and its head saved, on return. `Slow` when the head's keeper is out of reach:
    /// the act must not go on; the entry stands once the keeper is back, as after a crash behind the entry.
    pub async fn append(&self, actor: &Actor, event: Event) -> Result<Receipt, AuditError> {
        let (answer, receipt) = oneshot::channel();
        let act = Act { actor: actor.clone(), event };
        let waiting = Waiting { act, now: self.clock.now(), answer };
        self.queue.send(waiting).await.map_err(|_| AuditError::Unwritable)?;
        match tokio::time::timeout(ANSWER, receipt).await {
            Ok(receipt) => receipt.map_err(|_| AuditError::Unwritable),
            Err(_) => Err(AuditError::Slow),
        }
    }

    /// Where the chain stands.
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Whether appends are still taken: `false` after a write failed.
    pub fn writable(&self) -> bool {
        !self.queue.is_closed()
    }

    /// The newest `limit` entries, oldest first. Blocks on the disk.
    pub fn tail(&self, limit: usize) -> Result<Vec<Entry>, AuditError> {
        self.entries(self.head().entries.saturating_sub(limit as u64), limit)
    }

    /// At most `limit` entries from index `from` on, as far as they were answered for. Blocks on the disk.
    pub fn entries(&self, from: u64, limit: usize) -> Result<Vec<Entry>, AuditError> {
        Ok(verify::entries(&self.dir, from, limit, &self.head())?)
    }

    /// The lines of at most `limit` entries from index `from` on, as far as they were answered for. Blocks on the disk.
    pub fn lines(&self, from: u64, limit: usize) -> Result<Vec<String>, AuditError> {
        Ok(verify::lines(&self.dir, from, limit, &self.head())?)
    }

    /// Size and root of the log as a Merkle tree, as it is now. Blocks on the disk; after a start it reads the whole log.
    pub fn checkpoint(&self) -> Result<Checkpoint, AuditError> {
        let head = self.head();
        let root = self.tree(&head)?.root(head.entries).expect("the tree has all entries of the head");
        Ok(Checkpoint { geo: self.geo.clone(), size: head.entries, root })
    }

    /// The root over the first `size` entries. `None`: it has not that many. Blocks on the disk.
    pub fn root(&self, size: u64) -> Result<Option<Hash>, AuditError> {
        Ok(self.tree(&self.head())?.root(size))
    }

    /// What shows that entry `index` is in the log of a checkpoint over `size` entries: its line, and the hashes beside its
    /// way to the root. `None`: it is not. Blocks on the disk.
    pub fn prove(&self, index: u64, size: u64) -> Result<Option<(String, Vec<Hash>)>, AuditError> {
        let Some(hashes) = self.tree(&self.head())?.prove(index, size) else { return Ok(None) };
        Ok(self.lines(index, 1)?.pop().map(|line| (line, hashes)))
    }

    /// What shows that the log of `newer` entries begins with all of the log of `older`. `None`: it has not that many. Blocks
    /// on the disk.
    pub fn prove_growth(&self, older: u64, newer: u64) -> Result<Option<Growth>, AuditError> {
        Ok(self.tree(&self.head())?.prove_growth(older, newer))
    }

    /// The bytes of a tile, as whoever publishes the log serves them. `None`: it has not come so far. Blocks on the disk.
    pub fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, AuditError> {
        let Some((from, width)) = tile.entries() else { return Ok(tile.hashes(&*self.tree(&self.head())?)) };
        let lines = self.lines(from, width)?;
        Ok((lines.len() == width).then(|| tree::bundle(&lines)))
    }

    /// The tree, with every entry up to `head` in it.
    fn tree(&self, head: &Head) -> Result<MutexGuard<'_, Tree>, AuditError> {
        let mut tree = self.tree.lock();
        while tree.size() < head.entries {
            let lines = verify::lines(&self.dir, tree.size(), TREE_STEP, head)?;
            if lines.is_empty() {
                return Err(AuditError::Bad(BadIndex { index: tree.size(), fault: Fault::Missing }));
            }
            lines.iter().for_each(|line| tree.push(line.as_bytes()));
        }
        Ok(tree)
    }

    /// Walks the whole chain up to the head. Blocks on the disk.
    pub fn verify(&self) -> Result<Summary, AuditError> {
        Ok(verify::verify(&self.dir, &self.geo, &self.head())?)
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditLog({}, {} entries)", self.geo, self.head().entries)
    }
}

/// The writer's life: ends with the log's last owner, or with the first write that fails. Whoever waits then learns it
/// from the dropped answer.
fn run(mut writer: Writer, mut queue: mpsc::Receiver<Waiting>, publish: &watch::Sender<Head>) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while queue.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
        let (acts, answers): (Vec<_>, Vec<_>) = group.drain(..).map(|w| ((w.act, w.now), w.answer)).unzip();
        match writer.write(&acts) {
            Ok(receipts) => {
                publish.send_replace(writer.head);
                for (answer, receipt) in answers.into_iter().zip(receipts) {
                    // Whoever asked may have gone; the entry stands.
                    let _ = answer.send(receipt);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be written: acts are refused from now on");
                return;
            }
        }
    }
}

struct Writer {
    dir: PathBuf,
    file: Option<File>,
    bytes: u64,
    head: Head,
    heads: Arc<dyn HeadStore>,
}

impl Writer {
    /// One write, one sync, one head for all of `acts`.
    fn write(&mut self, acts: &[(Act, Reading)]) -> Result<Vec<Receipt>, AuditError> {
        let (mut text, mut head, mut receipts) = (String::new(), self.head, Vec::with_capacity(acts.len()));
        for (act, now) in acts {
            let (line, hash) = entry::line(head.entries, head.hash, act, now);
            receipts.push(Receipt { index: head.entries, hash });
            head = Head { entries: head.entries + 1, hash };
            text += &line;
            text.push('\n');
        }
        self.bytes += text.len() as u64;
        let file = self.current()?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        self.heads.save(&head)?;
        self.head = head;
        if self.bytes >= FILE_BYTES {
            self.file = None;
        }
        Ok(receipts)
    }

    /// The file to append to: the one at hand, or a new one named after the next index.
    fn current(&mut self) -> std::io::Result<&mut File> {
        if self.file.is_none() {
            let path = self.dir.join(verify::file_name(self.head.entries));
            // A file of that name can only be the empty leftover of a crash: recovery cut everything behind the chain.
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            file.sync_all()?;
            File::open(&self.dir)?.sync_all()?;
            (self.bytes, self.file) = (file.metadata()?.len(), Some(file));
        }
        Ok(self.file.as_mut().expect("set just now"))
    }
}

/// Checks what lies at the head and behind it, cuts off a torn write, and gives the head of what is there.
fn recover(dir: &Path, geo: &str, anchored: &Head) -> Result<Head, AuditError> {
    let found = verify::walk_from_anchor(dir, geo, anchored)?;
    for (path, keep) in found.cut {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(keep)?;
        file.sync_all()?;
        if keep == 0 {
            std::fs::remove_file(&path)?;
        }
    }
    File::open(dir)?.sync_all()?;
    Ok(found.head)
}
