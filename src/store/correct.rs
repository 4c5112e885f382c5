//! An object put right on a data subject's behalf, in two steps, for what it is to hold may have to wait until a legal hold
//! is released. Called by `subject`, which has settled that the act may be.
//!
//! 1. [`Store::stage_correction`]: an upload of the request's own is begun under the version that it will be, the body is
//!    sealed into it chunk by chunk as it arrives, its one part is recorded. So it is erased, purged, backed up and rekeyed
//!    as uploads are; but no client sees it, and no lifetime ends it.
//! 2. [`Store::settle_correction`]: one commit puts it in the very place of the version of before, and the blobs of before
//!    go. A small one moves into the row, as it is sealed.
//! 3. [`Store::end_correction`]: the upload goes, and its blob unless the object names it now.
//!
//! A crash leaves an upload without a part or with it, one whose part is the object's, or orphan blobs; the request knows
//! which upload is its own, and whether the object is the new one.

use super::behalf::Why;
use super::receive::Segment;
use super::types::{Expected, Incoming, StoreError, Upload, Written};
use super::{Room, Store};
use crate::index::rows::v1::{ObjectRow, PartRow, Place, SegmentRef, UploadRow};
use crate::model::batch::{BATCH_BYTES_MAX, BadBatch, Batch};
use crate::model::ids::{ObjectId, UploadId, VersionId};
use crate::model::limits::{CORRECTION_KEEP_S, SEGMENT_BYTES_MAX};
use crate::model::names::{ObjectName, SubjectName};
use crate::model::object::BucketRef;
use crate::seal::{self, SegmentKind};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// The number of the one part.
const PART: u16 = 1;

/// Which correction of which object.
#[derive(Clone, Copy, Debug)]
pub struct Staged {
    /// The request's number.
    pub request: u64,
    /// The upload that it waits in.
    pub upload: UploadId,
    /// The version that is to be destroyed.
    pub from: VersionId,
    /// The version in its place.
    pub to: VersionId,
}

impl Store {
    /// Receives what an object is to hold. Durable on return; on any error nothing of it is left but, at worst, an orphan
    /// blob. Errors: `TooLarge` over 5 GiB, `InvalidBatch`, `SubjectErased`, body faults; `NoSuchVersion` when it is another
    /// one by now.
    pub async fn stage_correction(
        &self,
        at: &BucketRef,
        name: &ObjectName,
        staged: Staged,
        (content, length): (Upload, u64),
    ) -> Result<(), StoreError> {
        if length > SEGMENT_BYTES_MAX {
            return Err(StoreError::TooLarge);
        }
        let room = self.room(at).await?;
        let old = self.version(&room, name, staged.from).await?.row;
        let (content, subjects) = self.of_whom(&old, content, length).await?;
        let object = ObjectId::random();
        let context = seal::object_context(at, object, staged.to);
        let directory = self.directory(at.geo.id)?;
        let (dek, dek_record) = match old.subject {
            Some(subject) => directory.subject_key(at.tenant, subject).await?.new_dek(&context)?,
            None => room.keys.new_dek(&context)?,
        };
        let dek_id = seal::dek_id(&dek_record);
        let begun = self.0.clock.now().cc_lo;
        let upload = UploadRow {
            name: name.as_str().to_owned(),
            object_id: object,
            version_id: staged.to,
            dek_id,
            dek_record,
            headers: old.headers.clone(),
            metadata: old.metadata.clone(),
            tags: old.tags.clone(),
            checksum: None,
            created: self.now(),
            upload_id: staged.upload,
            subject: old.subject,
            begun: Some(begun),
            for_request: Some(staged.request),
            subjects: subjects.clone(),
            born_under: old.subject.is_none().then(|| seal::parent_version(&dek_record)),
        };
        let will_be = ObjectRow { object_id: object, version_id: staged.to, subjects, ..old.clone() };
        {
            let _held = directory.commits_for_subjects().await;
            self.may_be_corrected(&room, &will_be).await?;
            let places = self.places_of_row(&room, &will_be, Some(staged.upload)).await?;
            let stale = begun.plus_seconds(CORRECTION_KEEP_S);
            room.roots.index.create_upload(&room.bucket.index, upload.clone(), stale, places).await?;
        }
        let compute = old.checksums.iter().map(|checksum| checksum.algorithm).collect();
        let incoming = Incoming { length, body: content, expected: Expected { compute, ..Expected::default() } };
        let filled = async {
            let segment = Segment { kind: SegmentKind::Whole, part: 0, context, dek_id };
            let received = self.receive(&room, &dek, segment, incoming).await?;
            if let Some(sealed) = received.inline {
                room.roots.blobs.put(received.id, stream::iter([Ok(Bytes::from(sealed))]).boxed()).await?;
            }
            let part = PartRow {
                number: PART,
                segment: SegmentRef { id: received.id, part: 0, len: received.len },
                etag: received.etag,
                checksums: received.checksums,
                mtime: self.now(),
            };
            let _held = directory.commits_for_subjects().await;
            let put = async {
                self.may_be_corrected(&room, &will_be).await?;
                Ok(room.roots.index.put_part(&room.bucket.index, staged.upload, part).await?)
            };
            put.await.inspect_err(|_: &StoreError| self.discard_blobs(&room, vec![received.id]))
        };
        if let Err(error) = filled.await {
            self.end_correction(at, staged.upload, None).await?;
            return Err(error);
        }
        Ok(())
    }

    /// Puts what was staged in the place of version `from`, which is destroyed. Errors: `NoSuchUpload` when nothing whole is
    /// staged, `Held`; `NoSuchVersion` and `PreconditionFailed` when the object is another one by now.
    pub async fn settle_correction(&self, at: &BucketRef, staged: Staged) -> Result<Written, StoreError> {
        let room = self.room(at).await?;
        let upload = self.correction(&room, staged.upload).await?.ok_or(StoreError::NoSuchUpload)?;
        let parts = room.roots.index.parts(&room.bucket.index, staged.upload, 0, usize::from(PART)).await?;
        let part = parts.into_iter().next().ok_or(StoreError::NoSuchUpload)?;
        let name = ObjectName::parse(upload.name.clone()).map_err(|_| StoreError::NoSuchUpload)?;
        let old = self.version(&room, &name, staged.from).await?.row;
        let (id, len) = (part.segment.id, part.segment.len);
        let inline = match len <= room.roots.inline_bytes_max as u64 {
            true => Some(room.roots.blobs.get(id, 0..seal::sealed_len(len)).await?),
            false => None,
        };
        let row = ObjectRow {
            object_id: upload.object_id,
            version_id: upload.version_id,
            size: len,
            mtime: self.now(),
            etag: part.etag,
            checksums: part.checksums,
            segments: vec![part.segment],
            place: super::put::place_of(inline.as_deref(), len),
            dek_id: upload.dek_id,
            dek_record: upload.dek_record,
            born_under: upload.born_under,
            subjects: upload.subjects,
            // Its lifetime goes on from when it was written first.
            written: Some(old.age_from()),
            ..old.clone()
        };
        self.commit_on_behalf(&room, &old, row, inline, Why::Corrected).await
    }

    /// Forgets what was staged, if anything was; but for bytes that `object`, which it became, names.
    pub async fn end_correction(
        &self,
        at: &BucketRef,
        upload: UploadId,
        object: Option<&ObjectRow>,
    ) -> Result<(), StoreError> {
        let room = self.room(at).await?;
        let Some(row) = self.correction(&room, upload).await? else { return Ok(()) };
        let parts = match room.roots.index.abort(&room.bucket.index, upload).await {
            Ok(parts) => parts,
            Err(crate::index::IndexError::NoSuchUpload) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let in_use = |id| match object {
            Some(ObjectRow { place: Place::Blob, segments, .. }) => segments.iter().any(|segment| segment.id == id),
            _ => false,
        };
        let left = parts.into_iter().map(|part| part.segment.id).filter(|id| !in_use(*id));
        self.discard_blobs(&room, left.collect());
        if object.is_none() {
            self.leave_place(&room, row.subject, &row.metadata, row.version_id);
            self.leave_places(&room, row.subjects.as_deref().unwrap_or_default(), row.version_id);
        }
        Ok(())
    }

    async fn correction(&self, room: &Room, upload: UploadId) -> Result<Option<UploadRow>, StoreError> {
        let row = room.roots.index.upload(&room.bucket.index, upload).await?;
        Ok(row.filter(|row| row.for_request.is_some()))
    }

    /// Of whom the content speaks, where it takes the place of a batch; such a one is read whole for that.
    async fn of_whom(
        &self,
        old: &ObjectRow,
        mut content: Upload,
        length: u64,
    ) -> Result<(Upload, Option<Vec<String>>), StoreError> {
        if old.subjects.is_none() {
            return Ok((content, None));
        }
        if length > BATCH_BYTES_MAX {
            return Err(BadBatch::TooMany.into());
        }
        let mut whole = Vec::with_capacity(length as usize);
        while let Some(piece) = content.next().await {
            whole.extend_from_slice(&piece?);
            if whole.len() as u64 > BATCH_BYTES_MAX {
                return Err(BadBatch::TooMany.into());
            }
        }
        let batch = Batch::parse(old.headers.content_type.as_deref(), &whole)?;
        let names = batch.subjects().iter().map(|name| name.as_str().to_owned()).collect();
        Ok((stream::iter([Ok(Bytes::from(whole))]).boxed(), Some(names)))
    }

    /// Whether nobody of whom a correction speaks is erased, or being so. Who opted out may be put right: what is stored
    /// of them stays. To be called with commits held.
    pub(super) async fn may_be_corrected(&self, room: &Room, row: &ObjectRow) -> Result<(), StoreError> {
        self.still_alive(room, row.subject).await?;
        let (at, directory) = (&room.bucket.at, self.directory(room.bucket.at.geo.id)?);
        for name in row.subjects.iter().flatten() {
            let name = SubjectName::parse(name).map_err(|_| StoreError::InvalidSubject)?;
            let is_erased = directory.standing(at.tenant, &name).await?.blocked.is_some();
            if is_erased || directory.subject(at.tenant, &name).await?.is_some_and(|entry| entry.erasing) {
                return Err(StoreError::SubjectErased);
            }
        }
        Ok(())
    }
}
