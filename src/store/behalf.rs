//! Objects read and replaced on a data subject's behalf: by an administrator, for a request, in whatever state the
//! tenant is. Called by `subject`, which has settled that the act may be; nobody else is let in this way.
//!
//! Order of a replacement: body sealed under a new data key → row committed if the object is still the version that was
//! looked at → blobs of the version before deleted, at once. A crash in between leaves orphan blobs. The data key of the
//! version before was in the row that was overwritten, and nowhere else.

use super::get::{Look, info};
use super::receive::Segment;
use super::types::{Download, Expected, Incoming, ObjectInfo, StoreError, Written};
use super::{Room, Store};
use crate::index::rows::v1::{ObjectRow, SegmentRef};
use crate::index::{Condition, Found};
use crate::model::batch::Batch;
use crate::model::ids::{ObjectId, VersionId};
use crate::model::names::{ObjectName, SubjectName};
use crate::model::object::BucketRef;
use crate::model::versioning::VersionAsked;
use crate::seal::{self, SegmentKind};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// Why a version takes the place of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// It is put right.
    Corrected,
    /// Somebody's records are taken out of a batch.
    Rewritten,
}

impl Store {
    /// What an object is, and all of it. Errors: `NoSuchVersion` when it is another one by now.
    pub async fn read_on_behalf(
        &self,
        at: &BucketRef,
        name: &ObjectName,
        version: VersionId,
    ) -> Result<(ObjectInfo, Download), StoreError> {
        let room = self.room(at).await?;
        let reader = room.roots.readers.begin();
        let Found { row, inline } = self.version(&room, name, version).await?;
        let (info, size) = (info(&row), row.size);
        let body = self.open(&room, Look { row, inline, range: None, reader }, 0, size).await?;
        Ok((info, body))
    }

    /// Puts `content`, as version `to`, in the place of version `from`, which is destroyed. Errors: `NoSuchVersion` and
    /// `PreconditionFailed` when it is another one by now.
    pub async fn replace_on_behalf(
        &self,
        at: &BucketRef,
        name: &ObjectName,
        (from, to): (VersionId, VersionId),
        content: Bytes,
    ) -> Result<Written, StoreError> {
        let room = self.room(at).await?;
        let old = self.version(&room, name, from).await?.row;
        let (object, version) = (ObjectId::random(), to);
        let context = seal::object_context(at, object, version);
        let directory = self.directory(at.geo.id)?;
        let (dek, dek_record) = match old.subject {
            Some(subject) => directory.subject_key(at.tenant, subject).await?.new_dek(&context)?,
            None => room.keys.new_dek(&context)?,
        };
        let subjects = match &old.subjects {
            None => None,
            Some(_) => {
                let batch = Batch::parse(old.headers.content_type.as_deref(), &content)?;
                Some(batch.subjects().iter().map(|name| name.as_str().to_owned()).collect())
            }
        };
        let dek_id = seal::dek_id(&dek_record);
        let segment = Segment { kind: SegmentKind::Whole, part: 0, context, dek_id };
        let compute = old.checksums.iter().map(|checksum| checksum.algorithm).collect();
        let incoming = Incoming {
            length: content.len() as u64,
            body: stream::iter([Ok(content)]).boxed(),
            expected: Expected { compute, ..Expected::default() },
        };
        let received = self.receive(&room, &dek, segment, incoming).await?;
        let place = super::put::place_of(received.inline.as_deref(), received.len);
        let row = ObjectRow {
            object_id: object,
            version_id: version,
            size: received.len,
            mtime: self.now(),
            etag: received.etag,
            checksums: received.checksums,
            segments: vec![SegmentRef { id: received.id, part: 0, len: received.len }],
            place,
            dek_id,
            dek_record,
            born_under: old.subject.is_none().then(|| seal::parent_version(&dek_record)),
            subjects,
            // Its lifetime goes on from when it was written first.
            written: Some(old.age_from()),
            ..old.clone()
        };
        let blobs: Vec<_> = received.inline.is_none().then_some(received.id).into_iter().collect();
        let put = self.commit_on_behalf(&room, &old, row, received.inline.map(Bytes::from), Why::Rewritten).await;
        if put.is_err() {
            self.discard_blobs(&room, blobs);
        }
        put
    }

    /// Takes a subject's records out of a batch: version `to` is what is left, in the place of version `from`, which is
    /// destroyed. Answers whether anything is left. Errors: `Held`; `NoSuchVersion` and `PreconditionFailed` when it is
    /// another one by now.
    pub async fn drop_from_batch(
        &self,
        at: &BucketRef,
        object: &ObjectName,
        (from, to): (VersionId, VersionId),
        name: &SubjectName,
    ) -> Result<bool, StoreError> {
        let (info, mut body) = self.read_on_behalf(at, object, from).await?;
        let mut whole = Vec::new();
        while let Some(piece) = body.next().await {
            whole.extend_from_slice(&piece?);
        }
        drop(body);
        let batch = Batch::parse(info.about.headers.content_type.as_deref(), &whole)?;
        if let Some(left) = batch.without(name) {
            self.replace_on_behalf(at, object, (from, to), left.into()).await?;
            return Ok(true);
        }
        self.remove_on_behalf(at, object, from).await?;
        Ok(false)
    }

    /// Removes a version, current or not, for good. Errors: `Held`.
    pub async fn remove_on_behalf(
        &self,
        at: &BucketRef,
        object: &ObjectName,
        version: VersionId,
    ) -> Result<(), StoreError> {
        let room = self.room(at).await?;
        let directory = self.directory(at.geo.id)?;
        let held = directory.commits_for_subjects().await;
        let condition = directory.unkept(at, Condition::None).await?;
        let (index, asked) = (&room.roots.index, VersionAsked::Id(version));
        let removed =
            index.delete_version(&room.bucket.index, object, asked, condition, Some(self.dating(&room).await?)).await?;
        drop(held);
        if let Some(removed) = removed {
            self.discard(&room, &removed);
        }
        Ok(())
    }

    pub(super) async fn commit_on_behalf(
        &self,
        room: &Room,
        old: &ObjectRow,
        mut row: ObjectRow,
        inline: Option<Bytes>,
        why: Why,
    ) -> Result<Written, StoreError> {
        let directory = self.directory(room.bucket.at.geo.id)?;
        let held = directory.commits_for_subjects().await;
        match why {
            Why::Corrected => self.may_be_corrected(room, &row).await?,
            Why::Rewritten => self.still_alive(room, row.subject).await?,
        }
        self.wrap_anew(room, &mut row).await?;
        self.date(room, &mut row).await?;
        let places = self.places_of_row(room, &row, None).await?;
        let written = super::put::written(&row);
        let condition = directory.unkept(&room.bucket.at, Condition::None).await?;
        let (index, bucket, mut there) = (&room.roots.index, &room.bucket.index, old.clone());
        let (name, inline) = (ObjectName::parse(old.name.clone()).map_err(|_| StoreError::Internal)?, inline);
        loop {
            let (row, inline) = (row.clone(), inline.clone());
            if index.replace_version(bucket, &there, row, inline, condition.clone(), places.clone()).await? {
                break;
            }
            // Another version may have come before it, or gone; it is the same one all the while.
            there = self.version(room, &name, old.version_id).await?.row;
            let ObjectRow { superseded, order, due, beside, .. } = old.clone();
            if (ObjectRow { superseded, order, due, beside, ..there.clone() }) != *old {
                return Err(StoreError::PreconditionFailed);
            }
        }
        drop(held);
        self.discard(room, &there);
        Ok(written)
    }
}
