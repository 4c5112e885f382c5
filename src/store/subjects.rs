//! Objects that speak of a data subject: their data keys hang under that subject's key, and a row says where they are.
//!
//! Called by the acts of this room. What names the subject is the user metadata `geoseal-subject`, so a copy that keeps
//! its metadata keeps the subject. Promises that no object of a subject is committed without its place, or after the
//! subject's key was destroyed, and that an object whose subject was erased is not found from that moment on.

use super::types::{About, Fault, Put, StoreError};
use super::{Room, Store};
use crate::directory::DirectoryError;
use crate::index::rows::v1::{ObjectRow, SubjectRow, UploadRow};
use crate::index::{PlaceKey, SubjectPlace};
use crate::model::batch::{BATCH_BYTES_MAX, BATCH_METADATA, BATCH_OF_RECORDS, BadBatch, Batch};
use crate::model::ids::{SubjectId, UploadId, VersionId};
use crate::model::names::{SUBJECT_METADATA, SubjectName};
use crate::seal::{Dek, DekRecord, KeyError, ObjectContext, OpenClass, SubjectKey};
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::sync::Arc;

/// The data subject of something that is being written.
pub(super) struct Whose {
    pub(super) id: SubjectId,
    name: SubjectName,
    key: Arc<SubjectKey>,
}

impl About {
    /// The data subject that the metadata names. Errors: `InvalidSubject`.
    fn subject(&self) -> Result<Option<SubjectName>, StoreError> {
        let named = self.metadata.iter().find(|(name, _)| name == SUBJECT_METADATA);
        let parsed = named.map(|(_, value)| SubjectName::parse(value)).transpose();
        parsed.map_err(|_| StoreError::InvalidSubject)
    }
}

impl About {
    /// Whether the metadata say that this is a batch of several data subjects' records. Errors: `InvalidSubject` for any
    /// other word, and when one subject is named as well.
    pub(super) fn is_batch(&self) -> Result<bool, StoreError> {
        match self.metadata.iter().find(|(name, _)| name == BATCH_METADATA) {
            None => Ok(false),
            Some((_, value)) if value == BATCH_OF_RECORDS && self.subject()?.is_none() => Ok(true),
            Some(_) => Err(StoreError::InvalidSubject),
        }
    }
}

impl Store {
    /// The data subject of what is written with `about`, its key made when there was none. Errors: `InvalidSubject`,
    /// `SubjectErased` while an erasure is under way.
    pub(super) async fn whose(&self, room: &Room, about: &About) -> Result<Option<Whose>, StoreError> {
        let Some(name) = about.subject()? else { return Ok(None) };
        let (at, directory) = (&room.bucket.at, self.directory(room.bucket.at.geo.id)?);
        self.may_be_stored(room, &name).await?;
        let entry = directory.subject_to_write(at.tenant, &name).await?;
        if entry.erasing {
            return Err(StoreError::SubjectErased);
        }
        let key = match directory.subject_key(at.tenant, entry.id).await {
            // Erased, and its name let go, since it was looked up: who is named now is somebody else.
            Err(DirectoryError::Keys(KeyError::Destroyed)) => {
                directory.forget_subject(at.tenant, &entry);
                let entry = directory.subject_to_write(at.tenant, &name).await?;
                let key = directory.subject_key(at.tenant, entry.id).await.map_err(erased_to_write)?;
                return Ok(Some(Whose { id: entry.id, name, key }));
            }
            other => other.map_err(erased_to_write)?,
        };
        Ok(Some(Whose { id: entry.id, name, key }))
    }

    /// A fresh data key for something that is being written.
    pub(super) fn new_dek(
        &self,
        room: &Room,
        whose: Option<&Whose>,
        context: &ObjectContext,
    ) -> Result<(Dek, DekRecord), StoreError> {
        match whose {
            None => Ok(room.keys.new_dek(context)?),
            Some(whose) => whose.key.new_dek(context).map_err(|error| erased_to_write(error.into())),
        }
    }

    /// The data key of something stored. Errors: `NoSuchObject` when its subject was erased.
    pub(super) async fn open_dek(
        &self,
        room: &Room,
        subject: Option<SubjectId>,
        record: &DekRecord,
        context: &ObjectContext,
    ) -> Result<Dek, StoreError> {
        let directory = self.directory(room.bucket.at.geo.id)?;
        directory.open_dek(&room.keys, subject, record, context).await.map_err(|error| match subject {
            Some(_) => erased_to_read(error),
            None => error.into(),
        })
    }

    /// An object whose subject was erased is not there, although its row may be for a moment yet.
    pub(super) async fn still_there(&self, room: &Room, row: &ObjectRow) -> Result<(), StoreError> {
        let Some(subject) = row.subject else { return Ok(()) };
        let (tenant, directory) = (room.bucket.at.tenant, self.directory(room.bucket.at.geo.id)?);
        let key = directory.subject_key(tenant, subject).await.map_err(erased_to_read)?;
        key.check().map_err(|error| erased_to_read(error.into()))
    }

    /// Whether the subject may still be written for. To be called with commits held: an erasure waits for those.
    pub(super) async fn still_alive(&self, room: &Room, subject: Option<SubjectId>) -> Result<(), StoreError> {
        let Some(subject) = subject else { return Ok(()) };
        let (tenant, directory) = (room.bucket.at.tenant, self.directory(room.bucket.at.geo.id)?);
        let key = directory.subject_key(tenant, subject).await.map_err(erased_to_write)?;
        key.check().map_err(|error| erased_to_write(error.into()))
    }

    /// Whether anything of this subject may be stored: they may have opted out, or been erased for good. To be asked again
    /// with commits held, of what was named in `metadata`: an opt-out waits for those.
    pub(super) async fn may_be_stored(&self, room: &Room, name: &SubjectName) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        let standing = self.directory(at.geo.id)?.standing(at.tenant, name).await?;
        match (standing.blocked, standing.opted_out) {
            (Some(_), _) => Err(StoreError::SubjectErased),
            (None, Some(_)) => Err(StoreError::OptedOut),
            (None, None) => Ok(()),
        }
    }

    /// [`still_alive`](Self::still_alive) and [`may_be_stored`](Self::may_be_stored), of what is about to be committed.
    pub(super) async fn still_welcome(
        &self,
        room: &Room,
        subject: Option<SubjectId>,
        metadata: &[(String, String)],
    ) -> Result<(), StoreError> {
        self.still_alive(room, subject).await?;
        match named(metadata)? {
            Some(name) => self.may_be_stored(room, &name).await,
            None => Ok(()),
        }
    }

    /// The place of an object, or of an upload that will become it, for the commit that writes it.
    pub(super) fn place(
        &self,
        room: &Room,
        whose: &Whose,
        version: VersionId,
        name: &str,
        upload: Option<UploadId>,
    ) -> Result<SubjectPlace, StoreError> {
        let directory = self.directory(room.bucket.at.geo.id)?;
        let at = directory.place_of(&room.keys, &whose.name, room.bucket.at.bucket, version);
        let row = SubjectRow { subject: whose.id, name: name.to_owned(), upload };
        Ok(SubjectPlace::new(&room.keys, &at, &row))
    }

    /// The place of an object that an upload became. The upload's subject stays its own, whatever its name means now.
    pub(super) fn place_of_upload(&self, room: &Room, upload: &UploadRow) -> Result<Option<SubjectPlace>, StoreError> {
        let Some(subject) = upload.subject else { return Ok(None) };
        let at =
            self.place_key(room, &upload.metadata, upload.version_id)?.ok_or(StoreError::Integrity(Fault::SHAPE))?;
        let row = SubjectRow { subject, name: upload.name.clone(), upload: None };
        Ok(Some(SubjectPlace::new(&room.keys, &at, &row)))
    }

    /// The places of a row that takes the place of another version, or of the upload that will become it.
    pub(super) async fn places_of_row(
        &self,
        room: &Room,
        row: &ObjectRow,
        upload: Option<UploadId>,
    ) -> Result<Vec<SubjectPlace>, StoreError> {
        let (at, directory) = (&room.bucket.at, self.directory(room.bucket.at.geo.id)?);
        let mut places = Vec::new();
        if let Some(subject) = row.subject {
            let at = self.place_key(room, &row.metadata, row.version_id)?.ok_or(StoreError::Integrity(Fault::SHAPE))?;
            let row = SubjectRow { subject, name: row.name.clone(), upload };
            places.push(SubjectPlace::new(&room.keys, &at, &row));
        }
        for name in row.subjects.iter().flatten() {
            let name = SubjectName::parse(name).map_err(|_| StoreError::Integrity(Fault::SHAPE))?;
            let entry = directory.subject_to_write(at.tenant, &name).await?;
            places.push(self.place_of_record(room, &name, entry.id, (row.version_id, &row.name, upload))?);
        }
        Ok(places)
    }

    /// The place of a batch that holds records of one subject among others.
    pub(super) fn place_of_record(
        &self,
        room: &Room,
        name: &SubjectName,
        subject: SubjectId,
        (version, object, upload): (VersionId, &str, Option<UploadId>),
    ) -> Result<SubjectPlace, StoreError> {
        let directory = self.directory(room.bucket.at.geo.id)?;
        let at = directory.place_of(&room.keys, name, room.bucket.at.bucket, version);
        let row = SubjectRow { subject, name: object.to_owned(), upload };
        Ok(SubjectPlace::new(&room.keys, &at, &row))
    }

    /// The data subjects of the records of a batch, which is read whole for that. `None`: it is no batch. Errors:
    /// `InvalidBatch`, `OptedOut` and `SubjectErased` when that is so of any of them: nothing of the batch is stored.
    pub(super) async fn whose_records(
        &self,
        room: &Room,
        put: &mut Put,
    ) -> Result<Option<Vec<(SubjectName, SubjectId)>>, StoreError> {
        if !put.about.is_batch()? {
            return Ok(None);
        }
        if put.incoming.length > BATCH_BYTES_MAX {
            return Err(BadBatch::TooMany.into());
        }
        let mut whole = Vec::with_capacity(put.incoming.length as usize);
        while let Some(piece) = put.incoming.body.next().await {
            whole.extend_from_slice(&piece?);
            if whole.len() as u64 > BATCH_BYTES_MAX {
                return Err(BadBatch::TooMany.into());
            }
        }
        let (at, directory) = (&room.bucket.at, self.directory(room.bucket.at.geo.id)?);
        let mut of = Vec::new();
        for name in Batch::parse(put.about.headers.content_type.as_deref(), &whole)?.subjects() {
            self.may_be_stored(room, &name).await?;
            let entry = directory.subject_to_write(at.tenant, &name).await?;
            if entry.erasing {
                return Err(StoreError::SubjectErased);
            }
            of.push((name, entry.id));
        }
        put.incoming.body = stream::iter([Ok(Bytes::from(whole))]).boxed();
        Ok(Some(of))
    }

    /// Whether everybody whose records a batch holds may still be stored. To be called with commits held.
    pub(super) async fn still_welcome_all(&self, room: &Room, names: &[String]) -> Result<(), StoreError> {
        let (at, directory) = (&room.bucket.at, self.directory(room.bucket.at.geo.id)?);
        for name in names {
            let name = SubjectName::parse(name).map_err(|_| StoreError::Integrity(Fault::SHAPE))?;
            self.may_be_stored(room, &name).await?;
            if directory.subject(at.tenant, &name).await?.is_none_or(|entry| entry.erasing) {
                return Err(StoreError::SubjectErased);
            }
        }
        Ok(())
    }

    /// Whether what is stored of an object's subjects may be used. Errors: `SubjectRestricted`; for a job's login
    /// `OutOfJobs`; both also where a batch holds records of one of them among others.
    pub(super) async fn may_be_used(&self, room: &Room, row: &ObjectRow) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        let of_batch = row.subjects.iter().flatten().map(|name| SubjectName::parse(name));
        let of_batch: Result<Vec<_>, _> = of_batch.collect();
        let of_batch = of_batch.map_err(|_| StoreError::Integrity(Fault::SHAPE))?;
        for name in named(&row.metadata)?.iter().chain(&of_batch) {
            let standing = self.directory(at.geo.id)?.standing_to_read(at.tenant, name).await?;
            if standing.restricted.is_some() {
                return Err(StoreError::SubjectRestricted);
            }
            // A job computes something of people: those who opted out are in nothing that is computed from then on.
            if room.grant.is_some() && standing.opted_out.is_some() {
                return Err(StoreError::OutOfJobs);
            }
        }
        Ok(())
    }

    /// [`leave_place`](Self::leave_place) of a batch.
    pub(super) fn leave_places(&self, room: &Room, names: &[String], version: VersionId) {
        for name in names {
            let named = [(SUBJECT_METADATA.to_owned(), name.clone())];
            // Whose id it is does not matter: it is found by the name.
            self.leave_place(room, Some(SubjectId([0; 16])), &named, version);
        }
    }

    /// Takes the place of an object or upload that is gone away, in the background: a place that leads nowhere does no
    /// harm. Under every token where it may stand: the tenant's index root may have been replaced since it was written.
    pub(super) fn leave_place(
        &self,
        room: &Room,
        subject: Option<SubjectId>,
        metadata: &[(String, String)],
        version: VersionId,
    ) {
        if subject.is_none() {
            return;
        }
        let at = &room.bucket.at;
        let (Ok(Some(name)), Ok(directory)) = (named(metadata), self.directory(at.geo.id)) else { return };
        let (directory, roots, tenant, bucket) = (directory.clone(), room.roots.clone(), at.tenant, at.bucket);
        tokio::spawn(async move {
            let removed = async {
                let keys = directory.keys(tenant).await.ok()?;
                let places: Vec<_> = directory.places_of(&keys, &name, bucket, version).collect();
                roots.index.remove_subject_places(&places).await.ok()
            };
            if removed.await.is_none() {
                tracing::warn!(
                    "the place of a deleted object was not removed; its subject's erasure or its purge will"
                );
            }
        });
    }

    fn place_key(
        &self,
        room: &Room,
        metadata: &[(String, String)],
        version: VersionId,
    ) -> Result<Option<PlaceKey>, StoreError> {
        let Some(name) = named(metadata)? else { return Ok(None) };
        let directory = self.directory(room.bucket.at.geo.id)?;
        Ok(Some(directory.place_of(&room.keys, &name, room.bucket.at.bucket, version)))
    }
}

/// The data subject that stored metadata names.
fn named(metadata: &[(String, String)]) -> Result<Option<SubjectName>, StoreError> {
    let value = metadata.iter().find(|(name, _)| name == SUBJECT_METADATA);
    value.map(|(_, value)| SubjectName::parse(value).map_err(|_| StoreError::Integrity(Fault::SHAPE))).transpose()
}

fn erased_to_read(error: DirectoryError) -> StoreError {
    match error {
        DirectoryError::Keys(KeyError::Destroyed) => StoreError::NoSuchObject,
        // A row that names a subject whose key was never here: the key store is older than the row.
        DirectoryError::Keys(KeyError::Unknown) => StoreError::Integrity(Fault::new("subject")),
        error => error.into(),
    }
}

fn erased_to_write(error: DirectoryError) -> StoreError {
    match error {
        DirectoryError::Keys(KeyError::Destroyed) => StoreError::SubjectErased,
        DirectoryError::Keys(KeyError::Open(open)) if open.class() == OpenClass::Erased => StoreError::SubjectErased,
        error => error.into(),
    }
}
