//! From the rows that say where a subject's objects are to the objects themselves.

use super::SubjectError;
use crate::directory::{DirectoryError, OpenedBucket};
use crate::index::rows::v1::{ObjectRow, Place, SubjectRow};
use crate::index::{Condition, Found, PlaceKey};
use crate::model::classes::Class;
use crate::model::ids::{BucketId, SegmentId, SubjectId, TenantId};
use crate::model::names::{ObjectName, SubjectName};
use crate::model::versioning::VersionAsked;
use crate::regions::RegionRoots;
use crate::seal::{self, TenantKeys};
use crate::tenancy::Tenancy;
use ring::digest::{Context, SHA256};
use std::collections::HashMap;
use std::sync::Arc;

/// Places read at once.
pub(super) const STEP: usize = 256;

/// A window of figures, by a hash of where it lies.
pub type Window = [u8; 32];

/// The window whose figures an object holds, if it holds any: jobs put the figures of a window into a folder of its own.
pub(super) fn window(bucket: &OpenedBucket, row: &ObjectRow) -> Option<Window> {
    if Class::of(&row.metadata) != Some(Class::Kpi) {
        return None;
    }
    Some(called(bucket, row.name.rsplit_once('/').map_or("", |(folder, _)| folder)))
}

/// Tells one name of the buckets from another, and versions of one object from those of others.
pub(super) fn called(bucket: &OpenedBucket, name: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&bucket.at.bucket.0);
    context.update(name.as_bytes());
    context.finish().as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// The served regions of a tenant and its buckets, opened.
pub(super) struct Premises {
    pub(super) regions: Vec<Arc<RegionRoots>>,
    buckets: HashMap<BucketId, Arc<OpenedBucket>>,
    pub(super) keys: Arc<TenantKeys>,
}

/// One place, with what is there now.
pub(super) struct Visited {
    pub(super) at: PlaceKey,
    pub(super) row: SubjectRow,
    /// None: the bucket is gone.
    pub(super) bucket: Option<Arc<OpenedBucket>>,
    /// The subject's object, if it is still there.
    pub(super) object: Option<ObjectRow>,
}

impl Premises {
    /// Fails with `RegionNotServed` unless every bucket of the tenant can be reached.
    pub(super) async fn of(tenancy: &Tenancy, tenant: TenantId) -> Result<Self, SubjectError> {
        let keys = tenancy.directory.keys(tenant).await?;
        let mut buckets = HashMap::new();
        for at in tenancy.directory.buckets(tenant).await? {
            if !tenancy.regions.contains_key(at.region.id) {
                return Err(SubjectError::RegionNotServed(at.region.id));
            }
            if let Some(opened) = tenancy.directory.open_bucket(&at).await? {
                buckets.insert(at.bucket, opened);
            }
        }
        let of_geo = tenancy.directory.geo().regions.iter();
        let regions = of_geo.filter_map(|region| tenancy.regions.get(region.id).cloned()).collect();
        Ok(Self { regions, buckets, keys })
    }

    /// The tokens that may stand for a subject, from the oldest live version of the index root to the active one: places
    /// move only in this direction, so who follows it meets every one.
    pub(super) fn tokens(&self, name: &SubjectName) -> Vec<[u8; 16]> {
        let mut tokens: Vec<_> = self.keys.subject_tokens(name.as_str().as_bytes()).collect();
        tokens.reverse();
        tokens
    }

    /// The next places at a token in one region that are of this subject (after an erasure the name may have come to
    /// mean another), each with its object if it is still there, and where to go on; no place to go on from: the end.
    pub(super) async fn visit(
        &self,
        roots: &RegionRoots,
        token: [u8; 16],
        subject: SubjectId,
        after: Option<&PlaceKey>,
    ) -> Result<(Vec<Visited>, Option<PlaceKey>), SubjectError> {
        let places = roots.index.subject_places(&self.keys, token, after, STEP).await?;
        let next = places.last().filter(|_| places.len() == STEP).map(|(at, _)| *at);
        let own = places.into_iter().filter(|(_, row)| row.subject == subject);
        let visits = own.map(|(at, row)| async move {
            let bucket = self.buckets.get(&at.bucket).filter(|bucket| bucket.at.region == roots.region).cloned();
            let object = match &bucket {
                Some(bucket) => find(roots, bucket, &at, &row).await?,
                None => None,
            };
            Ok::<_, SubjectError>(Visited { at, row, bucket, object })
        });
        Ok((futures::future::try_join_all(visits).await?, next))
    }

    /// The blobs of an object. Of one with a list of parts, the parts too while `subject`'s key still opens the list.
    pub(super) async fn blobs(
        &self,
        tenancy: &Tenancy,
        roots: &RegionRoots,
        bucket: &OpenedBucket,
        row: &ObjectRow,
    ) -> Result<Vec<SegmentId>, SubjectError> {
        let ids = |row: &ObjectRow| row.segments.iter().map(|segment| segment.id).collect::<Vec<_>>();
        match row.place {
            Place::Trailing | Place::Row | Place::Nowhere => Ok(Vec::new()),
            Place::Blob => Ok(ids(row)),
            Place::PartList => {
                let list = row.segments.first().ok_or(SubjectError::Integrity)?;
                let context = seal::object_context(&bucket.at, row.object_id, row.version_id);
                let dek = tenancy.directory.open_dek(&self.keys, row.subject, &row.dek_record, &context).await?;
                let sealed = roots.blobs.get(list.id, 0..seal::sealed_len(list.len)).await?;
                let expected = seal::part_list_info(context, list.id, row.dek_id);
                let plain = dek.open_whole(&expected, &sealed, list.len).map_err(DirectoryError::from)?;
                let parts: Vec<crate::index::rows::v1::SegmentRef> =
                    minicbor::decode(&plain).map_err(|_| SubjectError::Integrity)?;
                Ok(parts.into_iter().map(|part| part.id).chain(ids(row)).collect())
            }
        }
    }
}

/// Of a name under which no version of anything is left, removes the marks of deletion: they would go on naming it.
pub(super) async fn drop_lone_marks(
    roots: &RegionRoots,
    bucket: &OpenedBucket,
    name: &ObjectName,
) -> Result<(), SubjectError> {
    loop {
        let versions = roots.index.versions_of(&bucket.index, name, None, STEP).await?;
        if versions.is_empty() || versions.iter().any(ObjectRow::is_object) {
            return Ok(());
        }
        for mark in versions {
            let asked = VersionAsked::Id(mark.version_id);
            roots.index.delete_version(&bucket.index, name, asked, Condition::None, None).await?;
        }
    }
}

/// The object at a place, if it is the one that the place speaks of.
async fn find(
    roots: &RegionRoots,
    bucket: &Arc<OpenedBucket>,
    at: &PlaceKey,
    row: &SubjectRow,
) -> Result<Option<ObjectRow>, SubjectError> {
    let Ok(name) = ObjectName::parse(row.name.clone()) else { return Err(SubjectError::Integrity) };
    let version = VersionAsked::Id(at.version);
    let found: Option<Found> = roots.index.find_version(&bucket.index, &name, version).await?;
    // A batch is of several, and its place is only where one of them has records in it.
    let same = |row: &ObjectRow, subject: SubjectId| {
        row.version_id == at.version && (row.subject == Some(subject) || row.subjects.is_some())
    };
    Ok(found.map(|found| found.row).filter(|found| same(found, row.subject)))
}
