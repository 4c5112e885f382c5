//! PutObject: admit → seal → write blob → commit index. The order of effects, and what a crash leaves behind:
//!
//! 1. the body is hashed and sealed chunk by chunk; up to the inline bound it stays in memory, above it every sealed
//!    chunk goes to the blob store as it arrives. Crash: an orphan blob, which the sweeper finds;
//! 2. the digests are compared with what the client declared. Mismatch: the blob is deleted, nothing is visible;
//! 3. the row is committed, durable on return, with the condition evaluated inside the commit;
//! 4. blobs of the object that was replaced are deleted. Crash before: orphans again.
//!
//! An object that a legal hold keeps is not lost: the commit finds out and keeps it beside the new one, out of sight,
//! until the first sweep after the release.

use super::alarm::Subject;
use super::receive::Segment;
use super::types::{Put, StoreError, Written};
use super::{Room, Store};
use crate::gate::{Admitted, act};
use crate::index::rows::v1::{ObjectKind, ObjectRow, Place, SegmentRef};
use crate::index::{Condition, Keep, PutObject, Usage};
use crate::model::ids::{ObjectId, VersionId};
use crate::model::lifecycle::Expiry;
use crate::model::limits::SEGMENT_BYTES_MAX;
use crate::model::versioning::{VersionAsked, Versioning};
use crate::seal::{self, SegmentKind};
use crate::store::types::WriteCondition;
use bytes::Bytes;

impl Store {
    /// Stores an object. Durable on return. Errors: `TooLarge` over 5 GiB, body and digest faults (nothing becomes
    /// visible), `PreconditionFailed`.
    pub async fn put(&self, admitted: &Admitted<act::Write>, put: Put) -> Result<Written, StoreError> {
        let room = self.enter(admitted).await?;
        self.put_in(&room, put).await
    }

    pub(super) async fn put_in(&self, room: &Room, mut put: Put) -> Result<Written, StoreError> {
        if put.incoming.length > SEGMENT_BYTES_MAX {
            return Err(StoreError::TooLarge);
        }
        self.settle_class(room, &mut put.about).await?;
        let watermark = self.watermark(room, &put.about.metadata).await?;
        let _room = self.reserve(room, Usage { bytes: put.incoming.length, objects: 1 }).await?;
        let (object, version) = (ObjectId::random(), VersionId::random());
        let context = seal::object_context(&room.bucket.at, object, version);
        let of_batch = self.whose_records(room, &mut put).await?;
        let whose = self.whose(room, &put.about).await?;
        let (dek, dek_record) = self.new_dek(room, whose.as_ref(), &context)?;
        let dek_id = seal::dek_id(&dek_record);
        let segment = Segment { kind: SegmentKind::Whole, part: 0, context, dek_id };
        let received = match self.receive(room, &dek, segment, put.incoming).await {
            // The key went while the body came in: with the tenant's, or with the subject's.
            Err(StoreError::KeysSuspended) => {
                self.still_alive(room, whose.as_ref().map(|whose| whose.id)).await?;
                return Err(StoreError::KeysSuspended);
            }
            received => received?,
        };
        let place =
            whose.as_ref().map(|whose| self.place(room, whose, version, put.name.as_str(), None)).transpose()?;
        let mut places: Vec<_> = place.into_iter().collect();
        for (name, subject) in of_batch.iter().flatten() {
            places.push(self.place_of_record(room, name, *subject, (version, put.name.as_str(), None))?);
        }
        let row = ObjectRow {
            name: put.name.as_str().to_owned(),
            object_id: object,
            version_id: version,
            kind: ObjectKind::Object,
            size: received.len,
            mtime: self.now(),
            etag: received.etag,
            checksums: received.checksums,
            headers: put.about.headers,
            metadata: put.about.metadata,
            tags: put.about.tags,
            born_under: whose.is_none().then(|| seal::parent_version(&dek_record)),
            subject: whose.map(|whose| whose.id),
            segments: vec![SegmentRef { id: received.id, part: 0, len: received.len }],
            place: place_of(received.inline.as_deref(), received.len),
            dek_id,
            dek_record,
            written: None,
            due: None,
            enabled_ms: None,
            subjects: of_batch.map(|of| of.into_iter().map(|(name, _)| name.as_str().to_owned()).collect()),
            superseded: None,
            versioned: None,
            beside: None,
            order: None,
        };
        let mut written = written(&row);
        let doomed = received.inline.is_none().then_some(received.id);
        let inline = received.inline.map(Bytes::from);
        let (keep, condition) = (Keep::Replace, condition(put.condition));
        let commit = PutObject { row, inline, condition, keep, dating: None, from_upload: None, places };
        (written.expires, written.shown) = self.commit(room, commit, doomed.as_slice()).await?;
        if let Some(watermark) = watermark {
            self.commit_watermark(room, watermark).await?;
        }
        Ok(written)
    }

    /// A rotation may have come between the wrapping of the data key and this commit: wraps it under today's key, so
    /// that behind a rotation's switch no row appears under an old version. To be called with commits held. A data key
    /// under a subject's key stays there, whatever rotates above that.
    pub(super) async fn wrap_anew(&self, room: &Room, row: &mut ObjectRow) -> Result<(), StoreError> {
        if row.subject.is_some() {
            return Ok(());
        }
        let at = &room.bucket.at;
        let keys = self.directory(at.geo.id)?.keys(at.tenant).await?;
        if keys.active_trk().version != seal::parent_version(&row.dek_record) {
            let context = seal::object_context(at, row.object_id, row.version_id);
            if let Some(record) = keys.rewrap_dek(&row.dek_record, &context)? {
                row.dek_record = record;
            }
        }
        Ok(())
    }

    /// Commits a row, dated by the lifecycle rules, in the way in which its bucket keeps versions, and answers when it goes
    /// and which version it is; when the commit is refused, deletes the blobs that only it would have named.
    pub(super) async fn commit(
        &self,
        room: &Room,
        mut commit: PutObject,
        blobs: &[crate::model::ids::SegmentId],
    ) -> Result<(Option<Expiry>, Option<VersionAsked>), StoreError> {
        let awake = match self.awake(room).await {
            Ok(guard) => guard,
            Err(asleep) => {
                self.discard_blobs(room, blobs.to_vec());
                return Err(asleep);
            }
        };
        let allowed = async {
            self.still_welcome(room, commit.row.subject, &commit.row.metadata).await?;
            self.still_welcome_all(room, commit.row.subjects.as_deref().unwrap_or_default()).await?;
            self.may_commit(room, &commit.row.name, &commit.row.metadata).await
        };
        if let Err(refused) = allowed.await {
            self.discard_blobs(room, blobs.to_vec());
            return Err(refused);
        }
        self.wrap_anew(room, &mut commit.row).await?;
        let dated = async {
            let expires = self.date(room, &mut commit.row).await?;
            Ok((expires, self.versioning_now(room).await?, self.dating(room).await?))
        };
        let (expires, versioning, dating) = match dated.await {
            Ok(dated) => dated,
            Err(error) => {
                self.discard_blobs(room, blobs.to_vec());
                return Err(error);
            }
        };
        commit.condition = self.directory(room.bucket.at.geo.id)?.unkept(&room.bucket.at, commit.condition).await?;
        (commit.keep, commit.dating) = (Keep::of(versioning), Some(dating));
        let shown = match versioning {
            Versioning::Never => None,
            Versioning::Enabled => Some(VersionAsked::Id(commit.row.version_id)),
            Versioning::Suspended => Some(VersionAsked::Null),
        };
        let done = room.roots.index.put(&room.bucket.index, commit).await;
        drop(awake);
        match self.heard(&room.bucket.at, Subject::Row, done).await {
            Ok(put) => {
                if let Some(replaced) = put.replaced {
                    self.discard(room, &replaced);
                }
                self.discard_blobs(room, put.leftover);
                Ok((expires, shown))
            }
            Err(refused) => {
                // When the outcome is unknown the row may yet be there after a restart: leave its blobs to the sweeper.
                if !matches!(refused, StoreError::Unavailable | StoreError::Internal) {
                    self.discard_blobs(room, blobs.to_vec());
                }
                Err(refused)
            }
        }
    }
}

/// The answer for a row that is about to be committed.
pub(super) fn written(row: &ObjectRow) -> Written {
    Written {
        etag: row.etag.clone(),
        checksums: row.checksums.clone(),
        version: row.version_id,
        modified: row.mtime,
        size: row.size,
        key_version: seal::parent_version(&row.dek_record),
        expires: None,
        shown: None,
        source: None,
    }
}

/// Where the sealed segment of an object lies.
pub(super) fn place_of(inline: Option<&[u8]>, len: u64) -> Place {
    match inline {
        Some(_) if len <= crate::model::limits::TRAILING_BYTES_MAX as u64 => Place::Trailing,
        Some(_) => Place::Row,
        None => Place::Blob,
    }
}

pub(super) fn condition(asked: WriteCondition) -> Condition {
    match asked {
        WriteCondition::None => Condition::None,
        WriteCondition::IfAbsent => Condition::IfAbsent,
        WriteCondition::IfPresent => Condition::IfPresent,
        WriteCondition::IfEtag(etag) => Condition::IfEtag(etag),
    }
}
