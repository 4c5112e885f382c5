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
//! 5. the anchor is saved with the key service, beside   the group; an anchor some commits old, which is allowed
//!    the writer
//!
//! When a commit fails half-way nobody can tell whether it is on disk, so the region takes no more writes until it is
//! opened again. What was not acknowledged may then be there or not; what was acknowledged is.

use super::acts::{Act, Reply};
use super::anchor::{self, ANCHOR_COMMITS_DUE, ANCHOR_COMMITS_MAX, ANCHOR_INTERVAL_MS_MAX, Anchor};
use super::engine::{Batch, EngineError};
use super::error::IndexError;
use super::group::Group;
use super::region::{AnchorKey, Shared};
use super::row_keys;
use super::saver::Saver;
use crate::model::limits::GROUP_COMMITS_MAX;
use crate::model::time::Millis;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// A group that has gathered this many bytes is committed before it takes more.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// How long writes wait for an anchor to be saved, once they may not run further ahead of it; then they are refused.
const SAVE_PATIENCE: Duration = Duration::from_secs(3);

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) saver: Saver,
    pub(crate) anchor_key: AnchorKey,
    /// The engine's anchor, and its sealed row.
    pub(crate) anchor: Anchor,
    pub(crate) anchor_row: Option<Bytes>,
    /// When its saving was last asked for, or it had not moved.
    pub(crate) asked_at: Millis,
    pub(crate) now: Millis,
}

impl Writer {
    /// Works until everybody who could ask is gone, or one asks to stop.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Act>) {
        let shared = self.shared.clone();
        let mut acts = Vec::new();
        while queue.recv_many(&mut acts, GROUP_COMMITS_MAX).await > 0 {
            let mut group = Group::new(&shared, self.next());
            for act in acts.drain(..) {
                if (act.stands_alone() || group.bytes() > GROUP_BYTES_MAX) && !group.is_empty() {
                    self.commit(group).await;
                    group = Group::new(&shared, self.next());
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
    fn refuses(&self) -> bool {
        if self.ahead() >= ANCHOR_COMMITS_MAX {
            self.save();
        }
        self.shared.refusing.load(Ordering::Acquire) || self.ahead() >= ANCHOR_COMMITS_MAX
    }

    /// Commits since the saved anchor.
    fn ahead(&self) -> u64 {
        self.anchor.counter - self.saver.saved().counter
    }

    /// The number of the commit that the group in the making will be.
    fn next(&self) -> u64 {
        self.anchor.counter + 1
    }

    async fn commit(&mut self, mut group: Group<'_>) {
        let commit = self.next();
        group.write_counts();
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
                self.shared.marked.add(&mut group.marked);
                self.shared.counts.publish(std::mem::take(&mut group.counted));
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
        let ahead = self.ahead();
        if ahead == 0 {
            self.asked_at = self.now;
        } else if ahead >= ANCHOR_COMMITS_DUE || self.now.0 - self.asked_at.0 >= ANCHOR_INTERVAL_MS_MAX {
            self.asked_at = self.now;
            self.saver.ask(self.anchor);
        }
    }

    /// Has it saved now, and waits for that, within reason.
    fn save(&self) {
        self.saver.ask(self.anchor);
        self.saver.settle(SAVE_PATIENCE);
    }

    fn stop(self, reply: Reply<()>, mut queue: mpsc::Receiver<Act>) {
        self.shared.refusing.store(true, Ordering::Release);
        queue.close();
        while let Ok(act) = queue.try_recv() {
            act.refuse();
        }
        self.save();
        let saved = if self.anchor == self.saver.saved() { Ok(()) } else { Err(IndexError::Refusing) };
        drop(reply.send(saved));
    }
}
