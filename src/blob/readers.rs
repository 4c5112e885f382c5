//! Readers, and the blobs that are kept for them: whoever replaces or deletes an object hands its blobs over here, and
//! they are deleted once nobody reads them any more.
//!
//! Called by the conductors. Promises:
//! - a reader that began before its object's row went finds its blobs to its end, within [`READER_GRACE_S`];
//! - blobs that nobody reads are gone, durably, when [`Readers::retire`] returns;
//! - whoever collects what no row names can ask which blobs are kept ([`Readers::keeps`]).
//!
//! A reader is known before it reads the row (it *looks*: it may come to read anything), then by the first segment that
//! the row names, which no other row does. Nothing of this is on disk: after a crash there are no readers, and what was
//! kept for them is collected like everything else that no row names.

use super::{BlobError, BlobStore};
use crate::model::ids::SegmentId;
use crate::model::limits::{KEPT_BLOBS_MAX, READER_GRACE_S};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The readers of one cellar. Clones are the same.
#[derive(Clone)]
pub struct Readers(Arc<Shared>);

struct Shared {
    blobs: Arc<dyn BlobStore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Numbers readers and what is kept.
    next: u64,
    /// Those that have not said what they read.
    looking: BTreeSet<u64>,
    /// The others, by the first segment of what they read.
    reading: HashMap<SegmentId, BTreeSet<u64>>,
    /// The oldest first.
    kept: BTreeMap<u64, Kept>,
    /// What is kept for a reader.
    kept_for: HashMap<u64, Vec<u64>>,
    /// Blobs that wait for the next tick: nobody reads them any more.
    free: Vec<SegmentId>,
    /// Blobs that are kept for readers.
    kept_blobs: usize,
}

/// Blobs that no row names and somebody may read.
struct Kept {
    front: SegmentId,
    blobs: Vec<SegmentId>,
    /// How many may.
    readers: usize,
    since: Instant,
}

/// A reader, from before it looks at the row until its last byte; dropped, it has ended.
pub struct Reader {
    readers: Arc<Shared>,
    id: u64,
    front: Option<SegmentId>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        write!(f, "Readers({} looking, {} blobs kept)", state.looking.len(), state.kept_blobs)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.id)
    }
}

impl Readers {
    /// The readers of `blobs`.
    pub fn new(blobs: Arc<dyn BlobStore>) -> Self {
        Self(Arc::new(Shared { blobs, state: Mutex::default() }))
    }

    /// To be called before the row is read, and held until the last byte is.
    pub fn begin(&self) -> Reader {
        let mut state = self.0.state.lock();
        let id = state.number();
        state.looking.insert(id);
        Reader { readers: self.0.clone(), id, front: None }
    }

    /// Deletes the blobs of an object whose row went, `front` being the first segment that it named; those that somebody
    /// may be reading later. Those that are not kept are gone on return.
    pub async fn retire(&self, front: SegmentId, blobs: Vec<SegmentId>) -> Result<(), BlobError> {
        let doomed = self.0.state.lock().retire(front, blobs);
        if doomed.is_empty() { Ok(()) } else { self.0.blobs.delete(&doomed).await }
    }

    /// Whether a blob is kept for a reader.
    pub fn keeps(&self, blob: SegmentId) -> bool {
        let state = self.0.state.lock();
        state.free.contains(&blob) || state.kept.values().any(|kept| kept.blobs.contains(&blob))
    }

    /// Deletes what nobody reads any more, and what was kept for too long. To be called about once a second. On an error
    /// they are left to whoever collects what no row names.
    pub async fn tick(&self) -> Result<(), BlobError> {
        let doomed = self.0.state.lock().take_free();
        if doomed.is_empty() { Ok(()) } else { self.0.blobs.delete(&doomed).await }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Keeps blobs for those who may read them; answers what may go now.
    fn retire(&mut self, front: SegmentId, blobs: Vec<SegmentId>) -> Vec<SegmentId> {
        let readers: Vec<u64> =
            self.looking.iter().chain(self.reading.get(&front).into_iter().flatten()).copied().collect();
        if readers.is_empty() {
            return blobs;
        }
        let number = self.number();
        self.kept_blobs += blobs.len();
        self.kept.insert(number, Kept { front, blobs, readers: readers.len(), since: Instant::now() });
        for reader in readers {
            self.kept_for.entry(reader).or_default().push(number);
        }
        let mut doomed = Vec::new();
        while self.kept_blobs > KEPT_BLOBS_MAX
            && let Some((_, oldest)) = self.kept.pop_first()
        {
            self.kept_blobs -= oldest.blobs.len();
            doomed.extend(oldest.blobs);
        }
        doomed
    }

    /// A reader has no more use for what is kept for it, but for what has `front`.
    fn let_go(&mut self, reader: u64, front: Option<SegmentId>) {
        for number in self.kept_for.remove(&reader).unwrap_or_default() {
            let Some(kept) = self.kept.get_mut(&number) else { continue };
            if Some(kept.front) == front {
                self.kept_for.entry(reader).or_default().push(number);
                continue;
            }
            kept.readers -= 1;
            if kept.readers == 0
                && let Some(kept) = self.kept.remove(&number)
            {
                self.kept_blobs -= kept.blobs.len();
                self.free.extend(kept.blobs);
            }
        }
    }

    fn take_free(&mut self) -> Vec<SegmentId> {
        let (grace, now) = (Duration::from_secs(READER_GRACE_S), Instant::now());
        while let Some(oldest) = self.kept.first_entry().filter(|oldest| now - oldest.get().since >= grace) {
            let oldest = oldest.remove();
            self.kept_blobs -= oldest.blobs.len();
            self.free.extend(oldest.blobs);
        }
        std::mem::take(&mut self.free)
    }
}

impl Reader {
    /// What is read, by the first segment that its row names: nothing else has to be kept for this reader.
    pub fn reads(&mut self, front: SegmentId) {
        let mut state = self.readers.state.lock();
        state.looking.remove(&self.id);
        state.reading.entry(front).or_default().insert(self.id);
        state.let_go(self.id, Some(front));
        self.front = Some(front);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.readers.state.lock();
        state.looking.remove(&self.id);
        if let Some(front) = self.front
            && let Some(readers) = state.reading.get_mut(&front)
        {
            readers.remove(&self.id);
            if readers.is_empty() {
                state.reading.remove(&front);
            }
        }
        state.let_go(self.id, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::ObjectStoreBlobs;
    use bytes::Bytes;
    use futures::{StreamExt, stream};

    async fn cellar(ids: &[SegmentId]) -> (Readers, Arc<dyn BlobStore>) {
        let blobs: Arc<dyn BlobStore> = Arc::new(ObjectStoreBlobs::in_memory());
        for id in ids {
            blobs.put(*id, stream::iter([Ok(Bytes::from_static(b"sealed"))]).boxed()).await.unwrap();
        }
        (Readers::new(blobs.clone()), blobs)
    }

    async fn is_there(blobs: &Arc<dyn BlobStore>, id: SegmentId) -> bool {
        blobs.len(id).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_blob_goes_when_its_last_reader_has_ended_and_not_before() {
        let ids: Vec<_> = (0..4).map(|_| SegmentId::random()).collect();
        let (readers, blobs) = cellar(&ids).await;
        let mut first = readers.begin();
        first.reads(ids[0]);
        let second = readers.begin();
        // Another's object, and one that was replaced while nobody could have seen its row.
        readers.retire(ids[0], vec![ids[0], ids[1]]).await.unwrap();
        let mut late = readers.begin();
        late.reads(ids[0]);
        assert!(readers.keeps(ids[0]) && readers.keeps(ids[1]) && !readers.keeps(ids[2]));
        drop(first);
        readers.tick().await.unwrap();
        assert!(is_there(&blobs, ids[0]).await, "the second is still looking");
        drop(second);
        readers.tick().await.unwrap();
        assert!(!is_there(&blobs, ids[0]).await && !is_there(&blobs, ids[1]).await, "the late one saw no such row");
        // Nobody reads it: at once.
        readers.retire(ids[2], vec![ids[2]]).await.unwrap();
        assert!(!is_there(&blobs, ids[2]).await);
        // Whoever says what it reads keeps nothing else.
        let mut other = readers.begin();
        readers.retire(ids[3], vec![ids[3]]).await.unwrap();
        assert!(readers.keeps(ids[3]));
        other.reads(ids[2]);
        readers.tick().await.unwrap();
        assert!(!is_there(&blobs, ids[3]).await && !readers.keeps(ids[3]));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_for_ever() {
        let id = SegmentId::random();
        let (readers, blobs) = cellar(&[id]).await;
        let mut reader = readers.begin();
        reader.reads(id);
        readers.retire(id, vec![id]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(READER_GRACE_S - 1)).await;
        readers.tick().await.unwrap();
        assert!(is_there(&blobs, id).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        readers.tick().await.unwrap();
        assert!(!is_there(&blobs, id).await);
        // Nor without a bound: beyond it the oldest go.
        let many: Vec<_> = (0..=KEPT_BLOBS_MAX).map(|_| SegmentId::random()).collect();
        let looking = readers.begin();
        for blob in &many {
            readers.retire(*blob, vec![*blob]).await.unwrap();
        }
        assert!(!readers.keeps(many[0]) && readers.keeps(many[1]));
        drop(looking);
        assert_eq!(readers.0.state.lock().take_free().len(), KEPT_BLOBS_MAX);
        assert_eq!(readers.0.state.lock().kept_blobs, 0);
    }
}
