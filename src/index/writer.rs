//! The region's one writer: takes what is queued, applies it one act after the other, commits it with one fsync.
//!
//! Runs on a thread of its own, started by `RegionIndex`. Because there is one, conditions, replaced rows, leaves and
//! delta numbers need no locks; because it takes everything that queued up during the last fsync, durable writes scale
//! with concurrency instead of with fsyncs.
//!
//! The order of effects, and what a crash leaves behind:
//!
//! 1. acts are applied to an overlay in memory           nothing
//! 2. changed names become rows, the anchor advances     nothing
//! 3. the engine commits                                 all of the group or nothing; nobody was told
//! 4. books are published, who asked is answered         the group, whole
//! 5. the anchor is saved with the key service           the group; an anchor some commits old, which is allowed
//!
//! When a commit fails half-way nobody can tell whether it is on disk, so the region takes no more writes until it is
//! opened again. What was not acknowledged may then be there or not; what was acknowledged is.

use super::acts::{Act, Reply};
use super::anchor::{self, ANCHOR_COMMITS_MAX, ANCHOR_INTERVAL_MS_MAX, Anchor, AnchorStore};
use super::engine::{Batch, EngineError};
use super::error::IndexError;
use super::group::Group;
use super::region::{AnchorKey, Shared};
use super::row_keys;
use crate::model::limits::GROUP_COMMITS_MAX;
use crate::model::time::Millis;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// A group that has gathered this many bytes is committed before it takes more.
const GROUP_BYTES_MAX: usize = 32 << 20;

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) anchors: Arc<dyn AnchorStore>,
    pub(crate) anchor_key: AnchorKey,
    /// The engine's anchor, and its sealed row.
    pub(crate) anchor: Anchor,
    pub(crate) anchor_row: Option<Bytes>,
    /// The newest anchor that was saved, and when.
    pub(crate) saved: Anchor,
    pub(crate) saved_at: Millis,
    pub(crate) now: Millis,
}

impl Writer {
    /// Works until everybody who could ask is gone, or one asks to stop.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Act>) {
        let shared = self.shared.clone();
        let mut acts = Vec::new();
        while queue.recv_many(&mut acts, GROUP_COMMITS_MAX).await > 0 {
            let mut group = Group::new(&shared);
            for act in acts.drain(..) {
                if (act.stands_alone() || group.bytes() > GROUP_BYTES_MAX) && !group.is_empty() {
                    self.commit(std::mem::replace(&mut group, Group::new(&shared))).await;
                }
                match act {
                    Act::Tick { now } => self.now = now,
                    Act::Stop { reply } => return self.stop(reply, queue),
                    act if self.refuses() => act.refuse(),
                    act => group.apply(act).await,
                }
            }
            self.commit(group).await;
            self.save_when_due();
        }
        self.save();
    }

    /// Whether the region takes no writes: its state is unknown, or its anchor ran too far ahead of the saved one.
    fn refuses(&mut self) -> bool {
        if self.anchor.counter - self.saved.counter >= ANCHOR_COMMITS_MAX {
            self.save();
        }
        self.shared.refusing.load(Ordering::Acquire) || self.anchor.counter - self.saved.counter >= ANCHOR_COMMITS_MAX
    }

    async fn commit(&mut self, mut group: Group<'_>) {
        let commit = self.anchor.counter + 1;
        let publications = match group.consolidate(commit).await {
            Ok(publications) => publications,
            // Nothing was written: a read failed.
            Err(_) => return group.settle(|| Err(IndexError::Unread)),
        };
        if group.overlay.is_empty() {
            return group.settle(|| Ok(()));
        }
        let anchor = anchor::next(&self.anchor, group.overlay.iter());
        let overlay = std::mem::take(&mut group.overlay);
        let writes = overlay.into_iter().map(|(row_key, value)| (row_key, value.map(|value| value.bytes)));
        let mut batch = Batch { writes: writes.collect(), preconditions: Vec::new() };
        let row_key = row_keys::anchor(self.shared.region);
        let row = self.anchor_key.seal(&row_key, &anchor);
        // Another writer on the same engine would have moved the anchor.
        batch.expect(row_key.clone(), self.anchor_row.clone());
        batch.put(row_key, row.clone());
        match self.shared.engine.commit(batch).await {
            Ok(()) => {
                self.anchor = anchor;
                self.anchor_row = Some(row);
                for publication in publications {
                    publication.publish(&self.shared.books);
                }
                group.settle(|| Ok(()));
            }
            Err(EngineError::Read(_)) => group.settle(|| Err(IndexError::Unread)),
            Err(e) => {
                self.shared.refusing.store(true, Ordering::Release);
                tracing::error!(region = self.shared.region.id, error = %e, "the index takes no writes until it is opened again");
                group.settle(|| Err(IndexError::Refusing));
            }
        }
    }

    fn save_when_due(&mut self) {
        let ahead = self.anchor.counter - self.saved.counter;
        if ahead == 0 {
            self.saved_at = self.now;
        } else if ahead >= ANCHOR_COMMITS_MAX || self.now.0 - self.saved_at.0 >= ANCHOR_INTERVAL_MS_MAX {
            self.save();
        }
    }

    fn save(&mut self) {
        if self.anchor == self.saved {
            return;
        }
        match self.anchors.save(self.shared.region, self.anchor) {
            Ok(()) => (self.saved, self.saved_at) = (self.anchor, self.now),
            Err(e) => tracing::warn!(region = self.shared.region.id, error = %e, "the index anchor was not saved"),
        }
    }

    fn stop(mut self, reply: Reply<()>, mut queue: mpsc::Receiver<Act>) {
        self.shared.refusing.store(true, Ordering::Release);
        queue.close();
        while let Ok(act) = queue.try_recv() {
            act.refuse();
        }
        self.save();
        let saved = if self.anchor == self.saved { Ok(()) } else { Err(IndexError::Refusing) };
        drop(reply.send(saved));
    }
}
