//! Multipart uploads. Create: one row with the data key that all parts share. Part: a fresh segment (and so a fresh
//! single-use key) for every attempt → its row; the attempt it replaces loses its blob. Complete: one commit writes the
//! object's row and removes the upload's; no byte is touched. Abort: the rows go, then the blobs.
//!
//! A crash leaves orphan blobs, which the sweeper finds, or an upload that nobody completes, which falls due.

use super::alarm::Subject;
use super::digest;
use super::put::condition;
use super::receive::Segment;
use super::types::{
    BodyFault, Complete, CompletedPart, CopyPart, CreateUpload, Expected, Fault, Get, Incoming, ListUploads, PartInfo,
    PartsPage, PutPart, StoreError, UploadInfo, UploadsPage, VersionAsked, Written,
};
use super::{Room, Store};
use crate::gate::{Admitted, act};
use crate::index::rows::v1::{ObjectKind, ObjectRow, PartRow, Place, SegmentRef, UploadRow};
use crate::index::{FromUpload, Keep, PutObject, Usage};
use crate::model::batch::BadBatch;
use crate::model::ids::{ObjectId, SegmentId, UploadId, VersionId};
use crate::model::lifecycle::Expiry;
use crate::model::limits::{OBJECT_BYTES_MAX, PART_BYTES_MIN, PARTS_MAX, SEGMENT_BYTES_MAX, UPLOAD_KEEP_S};
use crate::model::names::ObjectName;
use crate::model::object::{Checksum, ChecksumAlgorithm};
use crate::seal::{self, Dek, ObjectContext, SegmentKind};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

/// More parts than this and the list of them becomes a sealed segment of its own.
const PARTS_IN_ROW_MAX: usize = 1000;

impl Store {
    /// Begins an upload. The version that it will become, and its data key, are settled here. Answers its id, and when a
    /// lifecycle rule aborts it; when none says, a day later.
    pub async fn create_upload(
        &self,
        admitted: &Admitted<act::Write>,
        mut create: CreateUpload,
    ) -> Result<(UploadId, Option<Expiry>), StoreError> {
        let room = self.enter(admitted).await?;
        self.settle_class(&room, &mut create.about).await?;
        let (object, version) = (ObjectId::random(), VersionId::random());
        let context = seal::object_context(&room.bucket.at, object, version);
        // A batch is read whole to know whose it is.
        if create.about.is_batch()? {
            return Err(BadBatch::Multipart.into());
        }
        let whose = self.whose(&room, &create.about).await?;
        let (_, dek_record) = self.new_dek(&room, whose.as_ref(), &context)?;
        let upload_id = UploadId::random();
        let place = whose.as_ref().map(|w| self.place(&room, w, version, create.name.as_str(), Some(upload_id)));
        let place = place.transpose()?;
        let subject = whose.map(|whose| whose.id);
        let begun = self.0.clock.now().cc_lo;
        let row = UploadRow {
            upload_id,
            name: create.name.as_str().to_owned(),
            object_id: object,
            version_id: version,
            dek_id: seal::dek_id(&dek_record),
            dek_record,
            headers: create.about.headers,
            metadata: create.about.metadata,
            tags: create.about.tags,
            checksum: create.checksum,
            subject,
            created: self.now(),
            begun: Some(begun),
            for_request: None,
            subjects: None,
            born_under: subject.is_none().then(|| seal::parent_version(&dek_record)),
        };
        let _awake = self.awake(&room).await?;
        self.still_welcome(&room, subject, &row.metadata).await?;
        self.may_commit(&room, &row.name, &row.metadata).await?;
        let by_rule = self.rules_now(&room).await?.and_then(|rules| rules.abort(&row.name, begun));
        let stale = by_rule.as_ref().map_or(begun.plus_seconds(UPLOAD_KEEP_S), |by_rule| by_rule.at);
        room.roots.index.create_upload(&room.bucket.index, row, stale, place).await?;
        Ok((upload_id, by_rule))
    }

    /// Receives one part; the last attempt for a number wins. Errors: `NoSuchUpload`, `TooLarge` over 5 GiB.
    pub async fn put_part(&self, admitted: &Admitted<act::Write>, part: PutPart) -> Result<PartInfo, StoreError> {
        let room = self.enter(admitted).await?;
        let upload = self.upload(&room, &part.name, part.upload).await?;
        self.part(&room, &upload, part.number, part.incoming).await
    }

    /// Copies a range of an object into a part; answers also which version that was, as clients are told.
    pub async fn copy_part(
        &self,
        source: &Admitted<act::Read>,
        destination: &Admitted<act::Write>,
        part: CopyPart,
    ) -> Result<(PartInfo, Option<VersionAsked>), StoreError> {
        let from = self.enter(source).await?;
        let to = self.enter(destination).await?;
        let upload = self.upload(&to, &part.name, part.upload).await?;
        let get = Get {
            name: part.source,
            version: part.source_version,
            range: None,
            part: None,
            conditions: part.source_conditions,
        };
        let look = self.look_as_source(&from, &get).await?;
        let (size, shown) = (look.row.size, from.shown(&look.row));
        let (first, last) = part.range.unwrap_or((0, size.saturating_sub(1)));
        if part.range.is_some() && (first > last || last >= size) {
            return Err(StoreError::InvalidRange { size });
        }
        let length = if size == 0 { 0 } else { last - first + 1 };
        let body = self.open(&from, look, first, length).await?.map_err(|_| BodyFault::Source).boxed();
        let compute = upload.checksum.map(|(algorithm, _)| algorithm).into_iter().collect();
        let incoming = Incoming { body, length, expected: Expected { compute, ..Expected::default() } };
        Ok((self.part(&to, &upload, part.number, incoming).await?, shown))
    }

    async fn part(
        &self,
        room: &Room,
        upload: &UploadRow,
        number: u16,
        mut incoming: Incoming,
    ) -> Result<PartInfo, StoreError> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(StoreError::InvalidPartNumber);
        }
        if incoming.length > SEGMENT_BYTES_MAX {
            return Err(StoreError::TooLarge);
        }
        if let Some((algorithm, _)) = upload.checksum
            && !incoming.expected.compute.contains(&algorithm)
        {
            incoming.expected.compute.push(algorithm);
        }
        self.still_welcome(room, upload.subject, &upload.metadata).await?;
        self.may_commit(room, &upload.name, &upload.metadata).await?;
        let _room = self.reserve(room, Usage { bytes: incoming.length, objects: 0 }).await?;
        let context = seal::object_context(&room.bucket.at, upload.object_id, upload.version_id);
        let dek = self.dek_of_upload(room, upload, &context).await?;
        let segment = Segment { kind: SegmentKind::Part, part: number, context, dek_id: upload.dek_id };
        let received = self.receive(room, &dek, segment, incoming).await?;
        let row = PartRow {
            number,
            segment: SegmentRef { id: received.id, part: number, len: received.len },
            etag: received.etag,
            checksums: received.checksums,
            mtime: self.now(),
        };
        let info = part_info(&row);
        let put = match self.awake(room).await {
            Ok(_awake) => {
                let allowed = async {
                    self.still_welcome(room, upload.subject, &upload.metadata).await?;
                    self.may_commit(room, &upload.name, &upload.metadata).await
                };
                match allowed.await {
                    Ok(()) => {
                        let put = room.roots.index.put_part(&room.bucket.index, upload.upload_id, row).await;
                        put.map_err(Into::into)
                    }
                    Err(refused) => Err(refused),
                }
            }
            Err(asleep) => Err(asleep),
        };
        match put {
            Ok(replaced) => {
                self.discard_blobs(room, replaced.map(|old| old.segment.id).into_iter().collect());
                Ok(info)
            }
            Err(error) => {
                self.discard_blobs(room, vec![received.id]);
                Err(error)
            }
        }
    }

    /// Parts after `after`, ascending.
    pub async fn parts(
        &self,
        admitted: &Admitted<act::Read>,
        name: &ObjectName,
        id: UploadId,
        after: u16,
        limit: usize,
    ) -> Result<PartsPage, StoreError> {
        let room = self.enter(admitted).await?;
        let upload = self.upload(&room, name, id).await?;
        let mut rows = room.roots.index.parts(&room.bucket.index, id, after, limit + 1).await?;
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        Ok(PartsPage { parts: rows.iter().map(part_info).collect(), truncated, checksum: upload.checksum })
    }

    /// Open uploads of the bucket.
    pub async fn uploads(&self, admitted: &Admitted<act::Read>, list: ListUploads) -> Result<UploadsPage, StoreError> {
        let room = self.enter(admitted).await?;
        let mut rows = room.roots.index.list_uploads(&room.bucket.index).await?;
        rows.retain(|row| row.for_request.is_none());
        rows.sort_by(|a, b| (&a.name, a.upload_id).cmp(&(&b.name, b.upload_id)));
        Ok(page_of_uploads(rows, &list))
    }

    /// Makes the parts one object, in one commit. Errors: `InvalidPart`, `InvalidPartOrder`, `PartTooSmall`,
    /// `TooLarge` over 5 TiB, `BadDigest`, `PreconditionFailed`.
    pub async fn complete(&self, admitted: &Admitted<act::Write>, complete: Complete) -> Result<Written, StoreError> {
        let room = self.enter(admitted).await?;
        let upload = self.upload(&room, &complete.name, complete.upload).await?;
        let stored = room.roots.index.parts(&room.bucket.index, upload.upload_id, 0, usize::from(PARTS_MAX)).await;
        let stored = self.heard(&room.bucket.at, Subject::Row, stored).await?;
        let chosen = choose(&stored, &complete.parts)?;
        let size = chosen.iter().map(|part| part.segment.len).sum::<u64>();
        if size > OBJECT_BYTES_MAX {
            return Err(StoreError::TooLarge);
        }
        if complete.size.is_some_and(|claimed| claimed != size) {
            return Err(StoreError::BadDigest);
        }
        let checksum = joined_checksum(&upload, &chosen)?;
        for (algorithm, claimed) in &complete.checksums {
            if checksum.as_ref().is_none_or(|sum| sum.algorithm != *algorithm || sum.value != *claimed) {
                return Err(StoreError::BadDigest);
            }
        }
        let segments: Vec<_> = chosen.iter().map(|part| part.segment).collect();
        let from_upload = FromUpload { upload: upload.upload_id, segments: segments.iter().map(|s| s.id).collect() };
        // Its bytes were counted as those of its parts.
        let _room = self.reserve(&room, Usage { bytes: 0, objects: 1 }).await?;
        let (place, segments, list) = self.place_parts(&room, &upload, segments).await?;
        let row = ObjectRow {
            name: upload.name.clone(),
            object_id: upload.object_id,
            version_id: upload.version_id,
            kind: ObjectKind::Object,
            size,
            mtime: self.now(),
            etag: digest::multipart_etag(chosen.iter().map(|part| part.etag.as_str()))
                .ok_or(StoreError::Integrity(Fault::SHAPE))?,
            checksums: checksum.into_iter().collect(),
            headers: upload.headers.clone(),
            metadata: upload.metadata.clone(),
            tags: upload.tags.clone(),
            subject: upload.subject,
            segments,
            place,
            dek_id: upload.dek_id,
            dek_record: upload.dek_record,
            written: None,
            due: None,
            enabled_ms: None,
            subjects: None,
            superseded: None,
            versioned: None,
            beside: None,
            order: None,
            born_under: upload.born_under,
        };
        let mut written = super::put::written(&row);
        let condition = condition(complete.condition);
        let places = self.place_of_upload(&room, &upload)?.into_iter().collect();
        let (keep, from_upload) = (Keep::Replace, Some(from_upload));
        let commit = PutObject { row, inline: None, condition, keep, dating: None, from_upload, places };
        (written.expires, written.shown) = self.commit(&room, commit, list.as_slice()).await?;
        Ok(written)
    }

    /// Ends an upload and frees its parts.
    pub async fn abort(
        &self,
        admitted: &Admitted<act::Delete>,
        name: &ObjectName,
        id: UploadId,
    ) -> Result<(), StoreError> {
        let room = self.enter(admitted).await?;
        let upload = self.upload(&room, name, id).await?;
        let parts = room.roots.index.abort(&room.bucket.index, id).await?;
        self.leave_place(&room, upload.subject, &upload.metadata, upload.version_id);
        self.discard_blobs(&room, parts.into_iter().map(|part| part.segment.id).collect());
        Ok(())
    }

    async fn upload(&self, room: &Room, name: &ObjectName, id: UploadId) -> Result<UploadRow, StoreError> {
        let row = room.roots.index.upload(&room.bucket.index, id).await;
        let row = self.heard(&room.bucket.at, Subject::Row, row).await?;
        let of_clients = |row: &UploadRow| row.name == name.as_str() && row.for_request.is_none();
        row.filter(of_clients).ok_or(StoreError::NoSuchUpload)
    }

    /// The data key of all parts. An upload whose subject was erased is gone.
    async fn dek_of_upload(&self, room: &Room, upload: &UploadRow, context: &ObjectContext) -> Result<Dek, StoreError> {
        let opened = self.open_dek(room, upload.subject, &upload.dek_record, context).await;
        opened.map_err(|error| match error {
            StoreError::NoSuchObject => StoreError::NoSuchUpload,
            error => error,
        })
    }

    /// A long list of parts becomes a sealed segment of its own, written before the row that names it.
    async fn place_parts(
        &self,
        room: &Room,
        upload: &UploadRow,
        segments: Vec<SegmentRef>,
    ) -> Result<(Place, Vec<SegmentRef>, Option<SegmentId>), StoreError> {
        if segments.len() <= PARTS_IN_ROW_MAX {
            return Ok((Place::Blob, segments, None));
        }
        let plain = super::segments::encode_list(&segments);
        let id = SegmentId::random();
        let context = seal::object_context(&room.bucket.at, upload.object_id, upload.version_id);
        let dek = self.dek_of_upload(room, upload, &context).await?;
        let info = seal::part_list_info(context, id, upload.dek_id);
        let sealed = Bytes::from(dek.seal_whole(&info, &plain));
        room.roots.blobs.put(id, stream::iter([Ok(sealed)]).boxed()).await?;
        let list = SegmentRef { id, part: 0, len: plain.len() as u64 };
        Ok((Place::PartList, vec![list], Some(id)))
    }
}

fn part_info(row: &PartRow) -> PartInfo {
    PartInfo {
        number: row.number,
        size: row.segment.len,
        etag: row.etag.clone(),
        modified: row.mtime,
        checksums: row.checksums.clone(),
    }
}

/// The stored parts that Complete names, in its order.
fn choose<'a>(stored: &'a [PartRow], named: &[CompletedPart]) -> Result<Vec<&'a PartRow>, StoreError> {
    if named.is_empty() {
        return Err(StoreError::InvalidPart);
    }
    if !named.windows(2).all(|pair| pair[0].number < pair[1].number) {
        return Err(StoreError::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(named.len());
    for part in named {
        let at = stored.binary_search_by_key(&part.number, |row| row.number).map_err(|_| StoreError::InvalidPart)?;
        let row = &stored[at];
        let claimed = |(algorithm, value): &(ChecksumAlgorithm, String)| {
            row.checksums.iter().any(|sum| sum.algorithm == *algorithm && sum.value == *value)
        };
        if row.etag != part.etag || !part.checksums.iter().all(claimed) {
            return Err(StoreError::InvalidPart);
        }
        chosen.push(row);
    }
    let (_, all_but_last) = chosen.split_last().ok_or(StoreError::InvalidPart)?;
    if all_but_last.iter().any(|part| part.segment.len < PART_BYTES_MIN) {
        return Err(StoreError::PartTooSmall);
    }
    Ok(chosen)
}

/// The checksum of the joined object, of the algorithm and type announced at creation.
fn joined_checksum(upload: &UploadRow, parts: &[&PartRow]) -> Result<Option<Checksum>, StoreError> {
    let Some((algorithm, kind)) = upload.checksum else { return Ok(None) };
    let mut values = Vec::with_capacity(parts.len());
    for part in parts {
        let sum = part.checksums.iter().find(|sum| sum.algorithm == algorithm).ok_or(StoreError::InvalidPart)?;
        values.push((sum.value.clone(), part.segment.len));
    }
    digest::multipart_checksum(algorithm, kind, &values).map(Some).ok_or(StoreError::InvalidChecksum)
}

fn page_of_uploads(rows: Vec<UploadRow>, list: &ListUploads) -> UploadsPage {
    let mut page = UploadsPage::default();
    for row in rows {
        if !row.name.starts_with(&list.prefix) || !is_after(&row, list) {
            continue;
        }
        let common = list.delimiter.as_ref().and_then(|delimiter| {
            let rest = &row.name[list.prefix.len()..];
            rest.find(delimiter.as_str()).map(|at| row.name[..list.prefix.len() + at + delimiter.len()].to_owned())
        });
        if common.is_some() && common.as_ref() == page.common_prefixes.last() {
            continue;
        }
        if page.uploads.len() + page.common_prefixes.len() >= list.limit {
            page.truncated = true;
            break;
        }
        match common {
            Some(common) => page.common_prefixes.push(common),
            None => page.uploads.push(UploadInfo {
                name: row.name,
                upload: row.upload_id,
                created: row.created,
                checksum: row.checksum,
            }),
        }
    }
    page
}

/// Whether a row lies behind the page's markers, in the order (name, upload id).
fn is_after(row: &UploadRow, list: &ListUploads) -> bool {
    match &list.after {
        None => true,
        Some((name, None)) => row.name > *name,
        Some((name, Some(upload))) => row.name > *name || (row.name == *name && row.upload_id > *upload),
    }
}
