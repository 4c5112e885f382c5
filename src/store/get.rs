//! GetObject and HeadObject: row → condition → range → key → first chunk verified → stream. Nothing is written, so a
//! crash leaves nothing. The first chunk of the range verifies before the caller sees a reply at all; a later fault is
//! an error in the stream, which the face must turn into a broken transport.

use super::alarm::Subject;
use super::conditions;
use super::lifecycle::expiry;
use super::read::{self, Pieces};
use super::types::{About, Download, Fault, Get, Got, ObjectInfo, StoreError};
use super::{Room, Store};
use crate::blob::Reader;
use crate::gate::{Admitted, Need, act};
use crate::index::rows::v1::ObjectRow;
use crate::model::ids::{SegmentId, VersionId};
use crate::model::names::ObjectName;
use crate::model::versioning::{VersionAsked, Versioning};
use crate::seal;
use bytes::Bytes;
use futures::stream::{self, StreamExt};

/// An object as the index has it, and the bytes that were asked for.
pub(super) struct Look {
    pub(super) row: ObjectRow,
    pub(super) inline: Option<Bytes>,
    /// First and last byte, inclusive, when a range or part was asked for.
    pub(super) range: Option<(u64, u64)>,
    /// Since before the row was read.
    pub(super) reader: Reader,
}

/// What is being read, for whoever has to tell a fault from an object that went.
struct Reading {
    room: Room,
    name: String,
    version: VersionId,
    subject: Subject,
    /// The first segment that its row names: no other row does.
    front: Option<SegmentId>,
    /// Its blobs are kept as long as this lives.
    _reader: Reader,
}

impl Reading {
    fn of(room: &Room, row: &ObjectRow, mut reader: Reader) -> Self {
        let front = row.segments.first().map(|segment| segment.id);
        if let Some(front) = front {
            reader.reads(front);
        }
        let (name, version, subject) = (row.name.clone(), row.version_id, Subject::of(row));
        Self { room: room.clone(), name, version, subject, front, _reader: reader }
    }
}

/// How often a read begins anew when its object is replaced under it.
const TRIES_MAX: usize = 5;

impl Store {
    /// Reads an object or a range of it. Errors: `NoSuchObject`, `InvalidRange`, the conditions' outcomes, `Integrity`.
    pub async fn get(&self, admitted: &Admitted<act::Read>, get: Get) -> Result<Got, StoreError> {
        let room = self.enter(admitted).await?;
        let mut tries = TRIES_MAX;
        loop {
            let look = self.look(&room, &get).await?;
            let (expires, shown) = (expiry(&room, &look.row), room.shown(&look.row));
            let info = ObjectInfo { expires, shown, ..info(&look.row) };
            let range = look.range;
            let (from, length) = range.map_or((0, info.size), |(first, last)| (first, last - first + 1));
            tries -= 1;
            match self.open(&room, look, from, length).await {
                Ok(body) => return Ok(Got { info, range, length, body }),
                Err(StoreError::ConditionalConflict) if tries > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Like [`get`](Self::get) without the bytes: what the object is, and which bytes a range or part comes to.
    pub async fn head(
        &self,
        admitted: &Admitted<act::Read>,
        get: Get,
    ) -> Result<(ObjectInfo, Option<(u64, u64)>), StoreError> {
        let room = self.enter(admitted).await?;
        let look = self.look(&room, &get).await?;
        let (expires, shown) = (expiry(&room, &look.row), room.shown(&look.row));
        let info = ObjectInfo { expires, shown, ..info(&look.row) };
        Ok((info, look.range))
    }

    /// The row that a copy reads from, with version and conditions settled.
    pub(super) async fn look_as_source(&self, room: &Room, get: &Get) -> Result<Look, StoreError> {
        let reader = room.roots.readers.begin();
        let (row, inline) = self.row(room, &get.name, get.version).await?;
        self.may_touch(room, &row, Need::Read).await?;
        self.may_be_used(room, &row).await?;
        conditions::evaluate_source(&get.conditions, &row.etag, row.mtime)?;
        Ok(Look { row, inline, range: None, reader })
    }

    /// The row, with version, conditions and range settled.
    async fn look(&self, room: &Room, get: &Get) -> Result<Look, StoreError> {
        let reader = room.roots.readers.begin();
        let (row, inline) = self.row(room, &get.name, get.version).await?;
        self.may_touch(room, &row, Need::Read).await?;
        self.may_be_used(room, &row).await?;
        conditions::evaluate(&get.conditions, &row.etag, row.mtime)?;
        let range = match (get.part, get.range) {
            (Some(number), _) => Some(self.part_range(room, &row, number).await?),
            (None, Some(asked)) => Some(conditions::resolve(asked, row.size)?),
            (None, None) => None,
        };
        Ok(Look { row, inline, range, reader })
    }

    /// The live row of a name, or of one version of it.
    pub(super) async fn row(
        &self,
        room: &Room,
        name: &ObjectName,
        version: Option<VersionAsked>,
    ) -> Result<(ObjectRow, Option<Bytes>), StoreError> {
        let found = match version {
            Some(asked) => self.version_asked(room, name, asked).await?.ok_or(StoreError::NoSuchVersion)?,
            None => {
                let found = room.roots.index.get(&room.bucket.index, name).await;
                let found = self.heard(&room.bucket.at, Subject::Row, found).await?;
                found.ok_or(StoreError::NoSuchObject)?
            }
        };
        if found.row.is_object() {
            self.still_there(room, &found.row).await?;
            return Ok((found.row, found.inline));
        }
        let marker = found.row.asked();
        Err(match version {
            Some(_) => StoreError::IsMarker { version: marker, modified: found.row.mtime },
            None if room.bucket.versioning == Versioning::Never => StoreError::NoSuchObject,
            None => StoreError::MarkedDeleted { version: marker },
        })
    }

    /// Plaintext of `length` bytes from `from`, its first chunk verified. Errors: `ConditionalConflict` when the object
    /// was replaced or deleted since it was looked at, and its blobs with it.
    pub(super) async fn open(&self, room: &Room, look: Look, from: u64, length: u64) -> Result<Download, StoreError> {
        let Look { row, inline, reader: held, .. } = look;
        if let Some(sealed) = inline {
            self.0.meters.chunks_opened(1);
            let opened = self.open_inline(room, &row, &sealed, from, length).await;
            return self.heard(&room.bucket.at, Subject::of(&row), opened).await;
        }
        let reading = Reading::of(room, &row, held);
        let mut reader = match self.reader(room, row, from, length).await {
            Ok(reader) => reader,
            Err(error) => return self.heard_reading(&reading, Err(error)).await,
        };
        let first = reader.next().await;
        let first = self.heard_reading(&reading, first).await?;
        let rest = stream::try_unfold((reader, self.clone(), reading), |(mut reader, store, reading)| async move {
            let next = reader.next().await;
            let next = store.heard_reading(&reading, next).await?;
            Ok(next.map(|bytes| (bytes, (reader, store, reading))))
        });
        Ok(stream::iter(first.map(Ok)).chain(rest).boxed())
    }

    /// Plaintext of an object whose segment came with its row.
    async fn open_inline(
        &self,
        room: &Room,
        row: &ObjectRow,
        sealed: &[u8],
        from: u64,
        length: u64,
    ) -> Result<Download, StoreError> {
        let context = seal::object_context(&room.bucket.at, row.object_id, row.version_id);
        let dek = self.open_dek(room, row.subject, &row.dek_record, &context).await?;
        let segment = row.segments.first().ok_or(StoreError::Integrity(Fault::SHAPE))?;
        let expected = seal::segment_info(seal::SegmentKind::Whole, 0, context, segment.id, row.dek_id);
        let plain = Bytes::from(dek.open_whole(&expected, sealed, row.size)?);
        let (from, to) = (from as usize, (from + length) as usize);
        Ok(stream::iter([Ok(plain.slice(from..to))]).boxed())
    }

    async fn reader(&self, room: &Room, row: ObjectRow, from: u64, length: u64) -> Result<read::Reader, StoreError> {
        let context = seal::object_context(&room.bucket.at, row.object_id, row.version_id);
        let dek = self.open_dek(room, row.subject, &row.dek_record, &context).await?;
        let segments = self.segments(room, &row, &dek).await?;
        let pieces = Pieces::cut(&segments, from, length);
        let blobs = room.roots.blobs.clone();
        Ok(read::Reader::new(blobs, room.keys.clone(), dek, context, row.dek_id, pieces, self.0.meters.clone()))
    }

    /// Like [`heard`](Self::heard), but a blob that is gone because its object went is no fault of what is stored.
    async fn heard_reading<T>(&self, reading: &Reading, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let Reading { room, name, version, subject, front, .. } = reading;
        if let Err(StoreError::Integrity(Fault::MISSING)) = result
            && let Ok(name) = ObjectName::parse(name.clone())
            && let asked = VersionAsked::Id(*version)
            && let Ok(found) = room.roots.index.find_version(&room.bucket.index, &name, asked).await
            && found.is_none_or(|found| found.row.segments.first().map(|segment| segment.id) != *front)
        {
            return Err(StoreError::ConditionalConflict);
        }
        self.heard(&room.bucket.at, *subject, result).await
    }

    /// The bytes of part `number` of a completed upload; of a single PUT, part 1 is all of it.
    async fn part_range(&self, room: &Room, row: &ObjectRow, number: u16) -> Result<(u64, u64), StoreError> {
        let context = seal::object_context(&room.bucket.at, row.object_id, row.version_id);
        let segments = async {
            let dek = self.open_dek(room, row.subject, &row.dek_record, &context).await?;
            self.segments(room, row, &dek).await
        };
        let segments = self.heard(&room.bucket.at, Subject::of(row), segments.await).await?;
        let mut from = 0;
        for (segment, position) in segments.iter().zip(1..) {
            if segment.part == number || (segment.part == 0 && number == 1 && position == 1) {
                return conditions::resolve(
                    super::types::RangeAsked::FromTo(from, Some(from + segment.len - 1)),
                    row.size,
                );
            }
            from += segment.len;
        }
        Err(StoreError::InvalidPartNumber)
    }
}

/// What a client may know of a row.
pub(super) fn info(row: &ObjectRow) -> ObjectInfo {
    ObjectInfo {
        size: row.size,
        modified: row.mtime,
        etag: row.etag.clone(),
        checksums: row.checksums.clone(),
        about: About { headers: row.headers.clone(), metadata: row.metadata.clone(), tags: row.tags.clone() },
        version: row.version_id,
        parts: row.etag.split_once('-').and_then(|(_, parts)| parts.parse().ok()),
        key_version: seal::parent_version(&row.dek_record),
        expires: None,
        shown: None,
    }
}
