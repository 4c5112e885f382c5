//! An object put right, in this order:
//!
//! 1. the request is RUNNING, and knows the object, the version of before, the one that comes, and an upload of its own
//! 2. what the object is to hold is received and sealed into that upload (`store::correct`), however large
//! 3. entry; then one commit puts it in the place of the version of before, whose data key was in that row only
//! 4. older versions of the object that speak of who asks are removed, and the index is rewritten, so that their data keys
//!    are in none of its files
//! 5. the request is DONE
//!
//! Where a hold keeps the object, 2 is followed by a deferred act, and the first sweep after the release goes on at 3. A
//! crash in 2 is taken back at the next start: the upload goes, and the request is OPEN as it was. A crash after 2 goes on at
//! 3. An object that somebody replaced or deleted meanwhile is put right no more: OPEN again, and somebody looks.

use super::SubjectError;
use super::erase::{Foreseen, InPart};
use super::requests::Desk;
use crate::audit::Event as Record;
use crate::directory::{Correction, OpenedBucket, SubjectRequest, matters_of_row};
use crate::model::dsr::{RequestState, RequestStep};
use crate::model::ids::{BucketId, UploadId, VersionId};
use crate::model::names::{BucketName, ObjectName};
use crate::model::object::BucketRef;
use crate::regions::RegionRoots;
use crate::store::types::{StoreError, Upload};
use crate::store::{Staged, Store};
use std::sync::Arc;

/// An object that is to be put right.
#[derive(Clone, Debug)]
pub struct Target {
    at: Arc<BucketRef>,
    object: ObjectName,
    version: VersionId,
    /// The holds that keep it.
    pub matters: Vec<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Corrected {
    /// The version that is destroyed, and the one in its place.
    Done(VersionId, VersionId),
    /// These matters keep it: it waits for their release.
    Deferred(Vec<String>),
}

/// Where the object of a request lies.
struct Place {
    opened: Arc<OpenedBucket>,
    roots: Arc<RegionRoots>,
    object: ObjectName,
}

impl Desk<'_> {
    /// The object that a request wants put right. Errors: `NoSuchObject` when it does not speak of who asks.
    pub async fn target(
        &self,
        request: &SubjectRequest,
        bucket: &BucketName,
        object: &ObjectName,
    ) -> Result<Target, SubjectError> {
        let directory = &self.tenancy.directory;
        let name = self.name(request).await?;
        let entry = directory.subject(self.tenant, &name).await?.ok_or(SubjectError::NoSuchObject)?;
        let at = directory.bucket(self.tenant, bucket).await?.ok_or(SubjectError::NoSuchObject)?;
        let opened = directory.open_bucket(&at).await?.ok_or(SubjectError::NoSuchObject)?;
        let roots = self.tenancy.regions.get(at.region.id).ok_or(SubjectError::RegionNotServed(at.region.id))?;
        let found = roots.index.get(&opened.index, object).await?.ok_or(SubjectError::NoSuchObject)?;
        let is_in_batch = found.row.subjects.iter().flatten().any(|of| of == name.as_str());
        if found.row.subject != Some(entry.id) && !is_in_batch {
            return Err(SubjectError::NoSuchObject);
        }
        let holds = directory.holds(self.tenant).await?;
        let matters = holds.map_or_else(Vec::new, |holds| matters_of_row(&holds, bucket.as_str(), &found.row));
        Ok(Target { at, object: object.clone(), version: found.row.version_id, matters })
    }

    /// Puts an object right: receives what it is to hold, and puts it in the place of what it held, or, where a hold keeps
    /// that, has it wait. When the content cannot be received nothing of it is left, and the request is as it was.
    pub async fn rectify(
        &self,
        store: &Store,
        number: u64,
        target: &Target,
        content: (Upload, u64),
    ) -> Result<Corrected, SubjectError> {
        let staged =
            Staged { request: number, upload: UploadId::random(), from: target.version, to: VersionId::random() };
        let correction = Correction {
            bucket: target.at.bucket,
            object: self.tenancy.directory.seal_object_name(self.tenant, number, &target.object).await?,
            upload: staged.upload,
            from: staged.from,
            to: staged.to,
        };
        // One content at a time: what runs or waits has its own.
        let may = |request: &SubjectRequest| matches!(request.state, RequestState::Open | RequestState::Previewed);
        let begun = |request: &mut SubjectRequest| request.correction = Some(correction);
        let request = self.step_if(number, RequestStep::Begin, may, begun).await?;
        if let Err(error) = store.stage_correction(&target.at, &target.object, staged, content).await {
            self.take_back(store, &request).await?;
            return Err(error.into());
        }
        self.settle(store, &request).await
    }

    /// Goes on with a request that is RUNNING, wherever it was cut off. Errors: `NoSuchObject` when there is nothing to go
    /// on with: it was taken back.
    pub async fn settle(&self, store: &Store, request: &SubjectRequest) -> Result<Corrected, SubjectError> {
        let Some(correction) = &request.correction else { return self.moot(store, request).await };
        let Some(place) = self.place_of(request, correction).await? else { return self.moot(store, request).await };
        let (from, to) = (correction.from, correction.to);
        let staged = Staged { request: request.number, upload: correction.upload, from, to };
        let mut logged = false;
        loop {
            let found = place.roots.index.get(&place.opened.index, &place.object).await?.map(|found| found.row);
            let row = match found {
                Some(row) if row.version_id == to => break,
                Some(row) if row.version_id == from => row,
                _ => return self.moot(store, request).await,
            };
            let holds = self.tenancy.directory.holds(self.tenant).await?;
            let bucket = place.opened.at.name.as_str();
            let matters = holds.map_or_else(Vec::new, |holds| matters_of_row(&holds, bucket, &row));
            if !matters.is_empty() {
                let matters_set = matters.iter().cloned().collect();
                let foreseen = Foreseen { objects: 1, held: 1, matters: matters_set, ..Foreseen::default() };
                self.defer(request, &foreseen, InPart::default()).await?;
                return Ok(Corrected::Deferred(matters));
            }
            if !logged {
                let (tenant, dsr, bucket) = (self.tenant, request.number, correction.bucket);
                let record = Record::ObjectRectified { tenant, dsr, bucket, from, to };
                self.tenancy.audit.append(self.actor, record).await?;
                logged = true;
            }
            match store.settle_correction(&place.opened.at, staged).await {
                Ok(_) => break,
                // A hold came into force, or somebody replaced it, since it was looked at.
                Err(StoreError::Held | StoreError::PreconditionFailed) => {}
                Err(
                    StoreError::NoSuchUpload
                    | StoreError::NoSuchObject
                    | StoreError::NoSuchVersion
                    | StoreError::SubjectErased,
                ) => return self.moot(store, request).await,
                Err(error) => return Err(error.into()),
            }
        }
        place.roots.index.compact().await?;
        let ended = |request: &mut SubjectRequest| {
            (request.name, request.objects, request.correction) = (None, 1, None);
            (request.kept, request.matters) = (0, Vec::new());
        };
        self.step(request.number, RequestStep::End, ended).await?;
        Ok(Corrected::Done(from, to))
    }

    async fn moot(&self, store: &Store, request: &SubjectRequest) -> Result<Corrected, SubjectError> {
        self.take_back(store, request).await?;
        Err(SubjectError::NoSuchObject)
    }

    /// Nothing was done: what was received goes, and the request is OPEN.
    async fn take_back(&self, store: &Store, request: &SubjectRequest) -> Result<(), SubjectError> {
        if let Some(correction) = &request.correction
            && let Some(at) = self.bucket_of(correction.bucket).await?
        {
            store.drop_correction(&at, correction.upload).await?;
        }
        let as_it_was = |request: &mut SubjectRequest| {
            request.correction = None;
            (request.kept, request.matters) = (0, Vec::new());
        };
        self.step(request.number, RequestStep::Back, as_it_was).await?;
        Ok(())
    }

    async fn bucket_of(&self, bucket: BucketId) -> Result<Option<Arc<BucketRef>>, SubjectError> {
        let buckets = self.tenancy.directory.buckets(self.tenant).await?;
        Ok(buckets.into_iter().find(|at| at.bucket == bucket))
    }

    async fn place_of(&self, request: &SubjectRequest, correction: &Correction) -> Result<Option<Place>, SubjectError> {
        let directory = &self.tenancy.directory;
        let Some(at) = self.bucket_of(correction.bucket).await? else { return Ok(None) };
        let Some(opened) = directory.open_bucket(&at).await? else { return Ok(None) };
        let roots = self.tenancy.regions.get(at.region.id).ok_or(SubjectError::RegionNotServed(at.region.id))?.clone();
        let object = directory.open_object_name(self.tenant, request.number, &correction.object).await?;
        Ok(Some(Place { opened, roots, object }))
    }
}
