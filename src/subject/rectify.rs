//! An object put right, in this order:
//!
//! 1. the request is RUNNING, and knows the object, the version of before, the one that comes, and an upload of its own
//! 2. what the object is to hold is received and sealed into that upload (`store::correct`), however large
//! 3. entry; then one commit puts it in the place of the version of before, whose data key was in that row only
//! 4. older versions of the object that speak of who asks are removed, and the upload; the index is rewritten, so that their
//!    data keys are in none of its files
//! 5. the request is DONE
//!
//! Where a hold keeps the object or an older version of it, 2 is followed by a deferred act, and the first sweep after the release goes on at 3. A
//! crash in 2 is taken back at the next start: the upload goes, and the request is OPEN as it was. A crash after 2 goes on at
//! 3. An object that somebody replaced or deleted meanwhile is put right no more: OPEN again, and somebody looks.

use super::SubjectError;
use super::erase::{Foreseen, InPart};
use super::places::STEP;
use super::requests::Desk;
use crate::audit::Event as Record;
use crate::directory::{Correction, OpenedBucket, SubjectEntry, SubjectRequest, matters_of_row};
use crate::index::rows::v1::ObjectRow;
use crate::model::dsr::{RequestState, RequestStep};
use crate::model::ids::{BucketId, SubjectId, UploadId, VersionId};
use crate::model::names::{BucketName, ObjectName, SubjectName};
use crate::model::object::BucketRef;
use crate::model::versioning::VersionAsked;
use crate::regions::RegionRoots;
use crate::store::types::{StoreError, Upload};
use crate::store::{Staged, Store};
use std::collections::BTreeSet;
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
        if !found.row.is_object() || !speaks_of(&found.row, &name, entry.id) {
            return Err(SubjectError::NoSuchObject);
        }
        let place = Place { opened, roots: roots.clone(), object: object.clone() };
        let matters = self.matters(&place, &place.versions(&name, entry.id).await?).await?;
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
        let Some((name, entry)) = self.still_known(request).await? else { return self.moot(store, request).await };
        let (index, bucket) = (&place.roots.index, &place.opened.index);
        let mut logged = false;
        let settled = loop {
            let there = index.find_version(bucket, &place.object, VersionAsked::Id(to)).await?;
            let is_current = |row: &ObjectRow| row.version_id == from && row.is_object();
            if there.is_none() && !index.get(bucket, &place.object).await?.is_some_and(|found| is_current(&found.row)) {
                return self.moot(store, request).await;
            }
            let mut older = place.versions(&name, entry.id).await?;
            older.retain(|row| row.version_id != to);
            let matters = self.matters(&place, &older).await?;
            if !matters.is_empty() {
                let matters_set = matters.iter().cloned().collect();
                let (objects, held) = (1, 1);
                let foreseen = Foreseen { objects, held, matters: matters_set, ..Foreseen::default() };
                self.defer(request, &foreseen, InPart::default()).await?;
                return Ok(Corrected::Deferred(matters));
            }
            if let Some(there) = there {
                match self.remove(store, &place, &older).await {
                    Ok(()) => break there.row,
                    // A hold came into force since they were looked at.
                    Err(SubjectError::Store(StoreError::Held)) => continue,
                    Err(error) => return Err(error),
                }
            }
            if !logged {
                let (tenant, dsr, bucket) = (self.tenant, request.number, correction.bucket);
                let record = Record::ObjectRectified { tenant, dsr, bucket, from, to };
                self.tenancy.audit.append(self.actor, record).await?;
                logged = true;
            }
            match store.settle_correction(&place.opened.at, staged).await {
                // Settled, or a hold came into force, or somebody replaced it, since it was looked at: the next look tells.
                Ok(_) | Err(StoreError::Held | StoreError::PreconditionFailed) => {}
                Err(
                    StoreError::NoSuchUpload
                    | StoreError::NoSuchObject
                    | StoreError::NoSuchVersion
                    | StoreError::SubjectErased,
                ) => return self.moot(store, request).await,
                Err(error) => return Err(error.into()),
            }
        };
        store.end_correction(&place.opened.at, correction.upload, Some(&settled)).await?;
        place.roots.index.compact().await?;
        let ended = |request: &mut SubjectRequest| {
            (request.name, request.objects, request.correction) = (None, 1, None);
            (request.kept, request.matters) = (0, Vec::new());
        };
        self.step(request.number, RequestStep::End, ended).await?;
        Ok(Corrected::Done(from, to))
    }

    async fn remove(&self, store: &Store, place: &Place, older: &[ObjectRow]) -> Result<(), SubjectError> {
        for row in older {
            store.remove_on_behalf(&place.opened.at, &place.object, row.version_id).await?;
        }
        Ok(())
    }

    /// Who asks, unless they were erased meanwhile.
    async fn still_known(&self, request: &SubjectRequest) -> Result<Option<(SubjectName, SubjectEntry)>, SubjectError> {
        match self.known(request).await {
            Err(SubjectError::WrongStep(_)) => Ok(None),
            known => known,
        }
    }

    /// The numbers of the matters that keep any of these versions.
    async fn matters(&self, place: &Place, versions: &[ObjectRow]) -> Result<Vec<String>, SubjectError> {
        let Some(holds) = self.tenancy.directory.holds(self.tenant).await? else { return Ok(Vec::new()) };
        let bucket = place.opened.at.name.as_str();
        let matters: BTreeSet<_> = versions.iter().flat_map(|row| matters_of_row(&holds, bucket, row)).collect();
        Ok(matters.into_iter().collect())
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
            store.end_correction(&at, correction.upload, None).await?;
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

impl Place {
    /// The versions that speak of somebody.
    async fn versions(&self, name: &SubjectName, subject: SubjectId) -> Result<Vec<ObjectRow>, SubjectError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.roots.index.versions_of(&self.opened.index, &self.object, after, STEP).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(VersionAsked::Id(last.version_id));
            let ended = page.len() < STEP;
            found.extend(page.into_iter().filter(|row| row.is_object() && speaks_of(row, name, subject)));
            if ended {
                return Ok(found);
            }
        }
    }
}

fn speaks_of(row: &ObjectRow, name: &SubjectName, subject: SubjectId) -> bool {
    row.subject == Some(subject) || row.subjects.iter().flatten().any(|of| of == name.as_str())
}
