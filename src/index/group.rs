//! One group of acts on their way into one commit: what each of them changes, laid over what the engine holds.
//!
//! Called by the writer's thread only. Each act either fails on its own, leaving no trace, or adds to the overlay; an
//! act sees what the acts before it in the group did. Promises go out only once the group is durable. Nothing here
//! changes what others see: that is published after the commit.

use super::acts::{Act, Dated, Replaced, Reply, ResealedRow, SealedObject};
use super::anchor::Value;
use super::books::{Book, Run};
use super::bucket::{OpenBucket, Stamp};
use super::due::due_key;
use super::engine::{Direction, KeyRange};
use super::error::{Damage, IndexError};
use super::fence::Fence;
use super::leaf::Changes;
use super::region::Shared;
use super::removals;
use super::row_keys::{self, BUCKET_KINDS, ORDER_CURRENT, RowKind, order_of, seq_of};
use super::rows::v1::{LeafEntry, ObjectRow, Place};
use super::subjects::SubjectPlace;
use super::usage::Usage;
use crate::model::ids::{BucketId, TenantId, UploadId};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What was promised to one who asked, to be kept or broken once the commit's fate is known.
type Promise = Box<dyn FnOnce(Result<(), IndexError>)>;

pub(crate) struct Group<'a> {
    pub(crate) shared: &'a Shared,
    /// Row key → new value; none: deleted.
    pub(crate) overlay: BTreeMap<Bytes, Option<Value>>,
    /// Object rows of the overlay, opened.
    objects: HashMap<Bytes, Option<Current>>,
    /// Changed names, per bucket.
    pub(crate) drafts: BTreeMap<BucketId, Draft>,
    /// Buckets whose row about removals this group writes.
    pub(crate) marked: Vec<BucketId>,
    /// What there will be of counted buckets that this group changes.
    pub(crate) counted: BTreeMap<BucketId, (TenantId, Usage)>,
    promises: Vec<Promise>,
    bytes: usize,
    /// The number of its commit.
    pub(super) commit: u64,
    /// Versions superseded in it so far.
    pub(super) superseded: u16,
}

/// Names of one bucket that change.
pub(crate) struct Draft {
    pub(crate) bucket: Arc<OpenBucket>,
    pub(crate) book: Arc<Book>,
    pub(crate) leaves: BTreeMap<u64, (Run, Changes)>,
}

/// An object as it stands before the next act.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) row: Arc<ObjectRow>,
    pub(super) stamp: Stamp,
    /// Where it stands: while its bucket is re-keyed, perhaps still at the old key's token.
    pub(super) at: Bytes,
}

/// The leaf that an act is going to change: everything that may fail has been done.
pub(super) struct Prepared {
    book: Arc<Book>,
    leaf: u64,
    run: Run,
}

impl<'a> Group<'a> {
    pub(crate) fn new(shared: &'a Shared, commit: u64) -> Self {
        Self {
            shared,
            overlay: BTreeMap::new(),
            objects: HashMap::new(),
            drafts: BTreeMap::new(),
            marked: Vec::new(),
            counted: BTreeMap::new(),
            promises: Vec::new(),
            bytes: 0,
            commit,
            superseded: 0,
        }
    }

    /// Bytes of values gathered so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is anything to commit or to answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.promises.is_empty()
    }

    /// Answers everybody who waits for this group.
    pub(crate) fn settle(self, verdict: impl Fn() -> Result<(), IndexError>) {
        for promise in self.promises {
            promise(verdict());
        }
    }

    /// Adds one act. What it answers waits for the commit.
    pub(crate) async fn apply(&mut self, act: Act) {
        match act {
            Act::Put { bucket, object, condition, succession, from_upload, places, reply } => {
                let done = async {
                    self.open_to_writes(&bucket)?;
                    let current = self.standing(&bucket, &object.row_key, &object.row.name).await?;
                    let (asked, keeper) = condition.parts();
                    asked.check(current.as_ref().map(|current| &*current.row))?;
                    let prepared = self.prepare(&bucket, &object.row.name).await?;
                    let displaced = self.displace(&bucket, &object, current.as_ref(), &succession, keeper).await?;
                    let parts = match from_upload {
                        Some(taken) => self.take_upload(&bucket, taken.upload, &taken.chosen).await?,
                        None => Vec::new(),
                    };
                    let gone = self.succeed(&bucket, object, displaced, prepared)?;
                    places.into_iter().for_each(|place| self.write_place(Some(place)));
                    Ok(Replaced { object: gone, parts })
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::Delete { bucket, row_key, name, condition, reply } => {
                let done = async {
                    self.under_newest_key(&bucket)?;
                    let current = self.standing(&bucket, &row_key, &name).await?;
                    let Some(current) = current.filter(|current| current.row.is_object()) else {
                        condition.check(None)?;
                        return Ok(None);
                    };
                    condition.check(Some(&current.row))?;
                    self.remove_object_of_name(&bucket, &current).await.map(Some)
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::DeleteVersion { bucket, name, asked, condition, dating, reply } => {
                let done = async {
                    self.under_newest_key(&bucket)?;
                    self.remove_version(&bucket, &name, asked, &condition, dating.as_ref()).await
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::Replace { bucket, object, old, condition, places, fence, reply } => {
                let done = async {
                    fence.as_ref().map_or(Ok(()), Fence::check)?;
                    self.open_to_writes(&bucket)?;
                    let current = self.standing(&bucket, &object.row_key, &object.row.name).await?;
                    let Some(current) = current.filter(|current| current.stamp == old) else { return Ok(false) };
                    condition.check(Some(&current.row))?;
                    let prepared = match object.row.is_current() {
                        true => Some(self.prepare(&bucket, &object.row.name).await?),
                        false => None,
                    };
                    // Long work takes nothing away; a client's change of tags does.
                    if fence.is_none() {
                        self.removed(bucket.bucket, bucket.tenant);
                    }
                    self.put(&bucket, object, Some(&current), prepared);
                    places.into_iter().for_each(|place| self.write_place(Some(place)));
                    Ok(true)
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::CreateUpload { bucket, row_key, sealed, due, places, reply } => {
                let done = self.open_to_writes(&bucket);
                if done.is_ok() {
                    self.write(row_key, Some(sealed));
                    self.write(due.0, Some(due.1));
                    places.into_iter().for_each(|place| self.write_place(Some(place)));
                }
                self.promise(reply, done);
            }
            Act::ReplaceUpload { bucket, row_key, sealed, old, fence, reply } => {
                let done = async {
                    fence.as_ref().map_or(Ok(()), Fence::check)?;
                    self.open_to_writes(&bucket)?;
                    let current = self.value(&row_key).await?;
                    let same = current.is_some_and(|current| Stamp::of(&current) == old);
                    if same {
                        self.write(row_key, Some(sealed));
                    }
                    Ok(same)
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::PutPart { bucket, upload, row_key, sealed, len, reply } => {
                let done = async {
                    self.open_to_writes(&bucket)?;
                    let upload = row_keys::upload(bucket.bucket, upload);
                    self.value(&upload).await?.ok_or(IndexError::NoSuchUpload)?;
                    let before = self.value(&row_key).await?;
                    if self.tallies(bucket.bucket) {
                        let gone = self.parts_count(&bucket, before.iter().map(|value| (&row_key, value)))?;
                        self.tally(&bucket, Usage::of_part(len), gone);
                    }
                    self.write(row_key, Some(sealed));
                    Ok(before)
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::Abort { bucket, upload, reply } => {
                let bucket = self.shared.keyed.newest(&bucket);
                let done = self.take_upload(&bucket, upload, &[]).await;
                if done.is_ok() {
                    self.removed(bucket.bucket, bucket.tenant);
                }
                self.promise(reply, done);
            }
            Act::Reseal { bucket, rows, fence, reply } => {
                let done = async {
                    fence.check()?;
                    self.under_newest_key(&bucket)?;
                    self.reseal(rows).await
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::MovePlaces { rows, fence, reply } => {
                let done = async {
                    fence.check()?;
                    self.move_places(rows).await
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::Date { bucket, rows, reply } => {
                let done = async {
                    self.open_to_writes(&bucket)?;
                    self.date(rows).await
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::CloseBucket { bucket, reply } => {
                let done = self.close_bucket(bucket).await;
                self.promise(reply, done);
            }
            Act::Count { bucket, reply } => {
                let done = async {
                    self.open_to_writes(&bucket)?;
                    self.count(&bucket).await
                };
                let done = done.await;
                self.promise(reply, done);
            }
            Act::DropRows { bucket, after, limit, reply } => {
                let done = self.drop_rows(bucket, after.as_ref(), limit).await;
                self.promise(reply, done);
            }
            Act::TakeRemoval { bucket, row_key, reply } => {
                // It stands alone: what was removed before it is committed, and its rows are in the engine.
                self.shared.marked.forget(bucket);
                let done = self.value(&row_key).await;
                self.promise(reply, done);
            }
            Act::DropRemoval { row_key, value, reply } => {
                let done = self.value(&row_key).await.map(|current| current.as_ref() == Some(&value));
                if let Ok(true) = done {
                    self.write(row_key, None);
                }
                self.promise(reply, done);
            }
            Act::WriteFor { bucket, rows, reply } => {
                let done = self.open_to_writes(&bucket);
                if done.is_ok() {
                    rows.into_iter().for_each(|(row_key, value)| self.write(row_key, value));
                }
                self.promise(reply, done);
            }
            Act::Write { rows, reply } => {
                for (row_key, value) in rows {
                    self.write(row_key, value);
                }
                self.promise(reply, Ok(()));
            }
            Act::Tick { .. } | Act::Stop { .. } => unreachable!("the writer answers these itself"),
        }
    }

    fn promise<T: 'static>(&mut self, reply: Reply<T>, done: Result<T, IndexError>) {
        // Whoever asked may have gone away: then nobody is told, and the act stands.
        self.promises.push(Box::new(move |verdict| drop(reply.send(verdict.and(done)))));
    }

    fn open_to_writes(&self, bucket: &OpenBucket) -> Result<(), IndexError> {
        self.under_newest_key(bucket)?;
        if self.shared.closed.read().contains(&bucket.bucket) { Err(IndexError::Closed) } else { Ok(()) }
    }

    /// What was sealed before a re-key began, or before it ended, is sealed anew by who asked.
    fn under_newest_key(&self, bucket: &OpenBucket) -> Result<(), IndexError> {
        if self.shared.keyed.is_newest(bucket) { Ok(()) } else { Err(IndexError::Rekeyed) }
    }

    /// Puts rows that were sealed anew in the place of what they were read from, unless that was written since.
    async fn reseal(&mut self, rows: Vec<ResealedRow>) -> Result<u64, IndexError> {
        let mut resealed = 0;
        for ResealedRow { from, to, sealed, old } in rows {
            if self.value(&from).await?.is_none_or(|current| Stamp::of(&current) != old) {
                continue;
            }
            if from != to {
                self.remove_object(from);
            }
            // Read again from the overlay by the next act that asks.
            self.objects.remove(&to);
            self.write(to, Some(sealed));
            resealed += 1;
        }
        Ok(resealed)
    }

    /// Gives objects other due times, unless they were written since they were read.
    async fn date(&mut self, rows: Vec<Dated>) -> Result<u64, IndexError> {
        let mut dated = 0;
        for Dated { row, spent, due } in rows {
            if self.reseal(vec![row]).await? == 0 {
                continue;
            }
            if let Some(spent) = spent {
                self.write(spent, None);
            }
            if let Some((row_key, sealed)) = due {
                self.write(row_key, Some(sealed));
            }
            dated += 1;
        }
        Ok(dated)
    }

    /// Notes that something of a bucket was removed, unless that is noted already.
    pub(super) fn removed(&mut self, bucket: BucketId, tenant: TenantId) {
        if !self.marked.contains(&bucket) && !self.shared.marked.holds(bucket) {
            self.marked.push(bucket);
            self.write(row_keys::removal(bucket, tenant), Some(removals::mark()));
        }
    }

    /// Takes places away from their old tokens, unless they were written or taken away since they were read. What stands
    /// at the new token by now is newer, and stays.
    async fn move_places(&mut self, rows: Vec<ResealedRow>) -> Result<u64, IndexError> {
        let mut moved = 0;
        for ResealedRow { from, to, sealed, old } in rows {
            if self.value(&from).await?.is_none_or(|current| Stamp::of(&current) != old) {
                continue;
            }
            let newer = from != to && self.value(&to).await?.is_some();
            self.write(from, None);
            if !newer {
                self.write(to, Some(sealed));
            }
            moved += 1;
        }
        Ok(moved)
    }

    pub(super) fn write(&mut self, row_key: Bytes, value: Option<Value>) {
        self.bytes += value.as_ref().map_or(0, |value| value.bytes.len());
        self.overlay.insert(row_key, value);
    }

    fn write_place(&mut self, place: Option<SubjectPlace>) {
        if let Some(SubjectPlace { row_key, sealed }) = place {
            self.write(row_key, Some(sealed));
        }
    }

    /// A row as the next act finds it.
    pub(super) async fn value(&self, row_key: &Bytes) -> Result<Option<Bytes>, IndexError> {
        match self.overlay.get(row_key) {
            Some(value) => Ok(value.as_ref().map(|value| value.bytes.clone())),
            None => Ok(self.shared.engine.get(row_key).await?),
        }
    }

    /// The version that has, or will have, this row key, as the next act finds it: at its token or, while its bucket is
    /// re-keyed, at its old one.
    pub(super) async fn standing(
        &self,
        bucket: &OpenBucket,
        row_key: &Bytes,
        name: &str,
    ) -> Result<Option<Current>, IndexError> {
        let order = order_of(row_key).ok_or(IndexError::from(Damage::Shape))?;
        for token in bucket.tokens(name) {
            let at = row_keys::object(bucket.bucket, token, order);
            match self.objects.get(&at) {
                Some(None) => continue,
                Some(current) => return Ok(current.clone()),
                None => {}
            }
            let Some(value) = self.value(&at).await? else { continue };
            return open(bucket, at, &value, name).map(Some);
        }
        Ok(None)
    }

    /// Finds the leaf of a name and how far it has come.
    pub(super) async fn prepare(&self, bucket: &OpenBucket, name: &str) -> Result<Prepared, IndexError> {
        let shared = self.shared;
        let (book, (_, leaf)) = match self.drafts.get(&bucket.bucket) {
            Some(draft) => (draft.book.clone(), draft.book.with(|names| names.fences.leaf_of(name.as_bytes()))),
            None => {
                let book = shared.books.book(&*shared.engine, bucket).await?;
                let leaf = book.with(|names| names.fences.leaf_of(name.as_bytes()));
                (book, leaf)
            }
        };
        let drafted = self.drafts.get(&bucket.bucket).and_then(|draft| draft.leaves.get(&leaf));
        let run = match drafted {
            Some((run, _)) => run.clone(),
            None => self.run(bucket, &book, leaf).await?,
        };
        Ok(Prepared { book, leaf, run })
    }

    /// How far a leaf has come, by its row keys if nobody wrote to it since its book was opened.
    pub(crate) async fn run(&self, bucket: &OpenBucket, book: &Book, leaf: u64) -> Result<Run, IndexError> {
        if let Some(run) = book.with(|names| names.runs.get(&leaf).cloned()) {
            return Ok(run);
        }
        if book.with(|names| names.fences.folded) == 0 {
            return Ok(Run::default());
        }
        let range = KeyRange::prefix(&row_keys::leaf(bucket.bucket, leaf));
        let row_keys = self.shared.engine.scan_keys(range, usize::MAX).await?;
        let mut seqs = row_keys.iter().filter_map(|row_key| seq_of(row_key));
        if seqs.next() != Some(0) {
            return Err(Damage::Missing.into());
        }
        let deltas: Vec<u64> = seqs.collect();
        Ok(Run { upto: 0, changes: deltas.len(), deltas })
    }

    pub(super) fn change(&mut self, bucket: &Arc<OpenBucket>, at: Prepared, name: &str, entry: Option<LeafEntry>) {
        let Prepared { book, leaf, run } = at;
        let draft = self.drafts.entry(bucket.bucket);
        let draft = draft.or_insert_with(|| Draft { bucket: bucket.clone(), book, leaves: BTreeMap::new() });
        if draft.bucket.stage() < bucket.stage() {
            draft.bucket = bucket.clone();
        }
        let (_, changes) = draft.leaves.entry(leaf).or_insert_with(|| (run, Changes::new()));
        changes.insert(name.into(), entry);
    }

    /// Writes a version in the place of what stood there; of the current one, its name too.
    pub(super) fn put(
        &mut self,
        bucket: &Arc<OpenBucket>,
        object: SealedObject,
        there: Option<&Current>,
        at: Option<Prepared>,
    ) {
        let SealedObject { row_key, row, sealed, inline, due } = object;
        if let Some(there) = there.filter(|there| there.at != row_key) {
            self.remove_object(there.at.clone());
        }
        let old = there.map(|there| &*there.row);
        self.tally(bucket, Usage::of(&row), old.map(Usage::of).unwrap_or_default());
        if let Some(old) = old.filter(|old| old.place != row.place || old.segments != row.segments) {
            self.drop_inline(bucket, old);
        }
        if let Some(old) = old.filter(|old| due_key(bucket, old) != due_key(bucket, &row)) {
            self.drop_due(bucket, old);
        }
        if let Some(at) = at {
            let entry = LeafEntry::of(&row, ORDER_CURRENT);
            if old.is_none_or(|old| LeafEntry::of(old, ORDER_CURRENT) != entry) {
                self.change(bucket, at, &row.name, Some(entry));
            }
        }
        self.put_row(SealedObject { row_key, row, sealed, inline, due });
    }

    /// Writes a version's rows, and nothing else.
    pub(super) fn put_row(&mut self, object: SealedObject) {
        let SealedObject { row_key, row, sealed, inline, due } = object;
        for (row_key, value) in inline.into_iter().chain(due) {
            self.write(row_key, Some(value));
        }
        let stamp = Stamp::of(&sealed.bytes);
        self.write(row_key.clone(), Some(sealed));
        self.objects.insert(row_key.clone(), Some(Current { row, stamp, at: row_key }));
    }

    /// Takes a version away with what only it names here.
    pub(super) fn drop_version(&mut self, bucket: &OpenBucket, gone: &Current) {
        self.tally(bucket, Usage::default(), Usage::of(&gone.row));
        self.drop_inline(bucket, &gone.row);
        self.drop_due(bucket, &gone.row);
        self.remove_object(gone.at.clone());
    }

    pub(super) fn remove_object(&mut self, at: Bytes) {
        self.write(at.clone(), None);
        self.objects.insert(at, None);
    }

    fn drop_inline(&mut self, bucket: &OpenBucket, old: &ObjectRow) {
        if let (Place::Row, Some(segment)) = (old.place, old.segments.first()) {
            self.write(row_keys::inline(bucket.bucket, segment.id), None);
        }
    }

    fn drop_due(&mut self, bucket: &OpenBucket, old: &ObjectRow) {
        if let Some(due) = due_key(bucket, old) {
            self.write(row_keys::due(&due), None);
        }
    }

    /// Takes an upload and its parts away, answering the parts. Fails when one of `chosen` is not as it was.
    async fn take_upload(
        &mut self,
        bucket: &OpenBucket,
        upload: UploadId,
        chosen: &[(Bytes, Stamp)],
    ) -> Result<Vec<(Bytes, Bytes)>, IndexError> {
        let row_key = row_keys::upload(bucket.bucket, upload);
        self.value(&row_key).await?.ok_or(IndexError::NoSuchUpload)?;
        let prefix = row_keys::parts(bucket.bucket, upload);
        let range = KeyRange::prefix(&prefix);
        let stored = self.shared.engine.scan(range, usize::MAX, Direction::Ascending).await?;
        let mut parts: BTreeMap<Bytes, Bytes> = stored.into_iter().collect();
        for (row_key, value) in self.overlay.range(prefix.clone()..).take_while(|(k, _)| k.starts_with(&prefix)) {
            match value {
                Some(value) => parts.insert(row_key.clone(), value.bytes.clone()),
                None => parts.remove(row_key),
            };
        }
        let changed =
            |(row_key, stamp): &(Bytes, Stamp)| parts.get(row_key).is_none_or(|value| Stamp::of(value) != *stamp);
        if chosen.iter().any(changed) {
            return Err(IndexError::PartChanged);
        }
        if self.tallies(bucket.bucket) {
            let gone = self.parts_count(bucket, &parts)?;
            self.tally(bucket, Usage::default(), gone);
        }
        self.write(row_key, None);
        for row_key in parts.keys() {
            self.write(row_key.clone(), None);
        }
        Ok(parts.into_iter().collect())
    }

    async fn close_bucket(&mut self, bucket: BucketId) -> Result<(), IndexError> {
        let prefix = Bytes::copy_from_slice(&row_keys::of_bucket(RowKind::Object, bucket));
        let changed = || self.overlay.range(prefix.clone()..).take_while(|(k, _)| k.starts_with(&prefix));
        let gone = changed().filter(|(_, value)| value.is_none()).count();
        let stored = self.shared.engine.scan_keys(KeyRange::prefix(&prefix), gone + 1).await?;
        let left = stored.iter().any(|row_key| !self.overlay.contains_key(row_key));
        if left || changed().any(|(_, value)| value.is_some()) {
            return Err(IndexError::NotEmpty);
        }
        self.shared.closed.write().insert(bucket);
        Ok(())
    }

    /// Behind `after`: an engine walks slowly over rows that were deleted a moment ago.
    async fn drop_rows(
        &mut self,
        bucket: BucketId,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<(usize, Option<Bytes>), IndexError> {
        self.shared.closed.write().insert(bucket);
        self.shared.books.forget(bucket);
        self.shared.keyed.forget(bucket);
        self.shared.marked.forget(bucket);
        self.shared.counts.forget(bucket);
        let (mut dropped, mut last) = (0, None);
        let begun =
            BUCKET_KINDS.iter().position(|kind| after.is_some_and(|after| after.first() == Some(&(*kind as u8))));
        for (at, kind) in BUCKET_KINDS.iter().enumerate().skip(begun.unwrap_or(0)) {
            let mut range = KeyRange::prefix(&row_keys::of_bucket(*kind, bucket));
            if let Some(after) = after.filter(|_| Some(at) == begun) {
                range = range.behind(after);
            }
            for row_key in self.shared.engine.scan_keys(range, limit - dropped).await? {
                self.write(row_key.clone(), None);
                dropped += 1;
                last = Some(row_key);
            }
        }
        Ok((dropped, last))
    }
}

/// A version as it was found at its row key.
pub(super) fn open(bucket: &OpenBucket, at: Bytes, value: &Bytes, name: &str) -> Result<Current, IndexError> {
    let row: ObjectRow = bucket.open(RowKind::Object, &at, value)?;
    if row.name != name {
        return Err(Damage::Elsewhere.into());
    }
    Ok(Current { row: Arc::new(row), stamp: Stamp::of(value), at })
}
