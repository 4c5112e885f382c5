//! What every rotation works with, and the walk over everything that a tenant has stored.

use super::RekeyError;
use crate::audit::{Actor, AuditLog};
use crate::directory::{Directory, Held, JobKind, OpenedBucket, Wanted};
use crate::index::Scanned;
use crate::model::clock::Clock;
use crate::model::ids::{BucketId, TenantId};
use crate::model::time::Millis;
use crate::model::traffic::Traffic;
use crate::pace::Pace;
use crate::regions::{RegionRoots, Regions};
use bytes::Bytes;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Told how far a rotation is: phase, records done, records in all (as far as known).
pub trait Watch: Send + Sync {
    /// Another phase begins.
    fn phase(&self, phase: &'static str, total: u64);
    /// Records done in this phase.
    fn done(&self, done: u64);
}

/// The rooms of one geo, for whoever conducts long work there.
#[derive(Clone)]
pub struct Rooms {
    /// Who has which buckets, and the jobs.
    pub directory: Arc<Directory>,
    /// Where their rows and blobs are.
    pub regions: Regions,
    /// What was done.
    pub audit: Arc<AuditLog>,
    /// When.
    pub clock: Arc<dyn Clock>,
    /// Whether clients are about, for whom the work makes room.
    pub traffic: Traffic,
}

/// For whom, how fast, and who is told.
pub struct Run<'a> {
    /// In whose name.
    pub actor: &'a Actor,
    /// Records a second at most; `None`: as fast as it goes.
    pub records_per_s: Option<NonZeroU32>,
    /// Who is told how far it is.
    pub watch: &'a dyn Watch,
}

impl Rooms {
    pub(super) fn now(&self) -> Millis {
        self.clock.now().wall
    }

    pub(super) fn pace(&self, run: &Run<'_>) -> Pace {
        Pace::new(run.records_per_s, &self.traffic)
    }

    /// For a scan, which changes nothing: as fast as clients leave room.
    pub(super) fn scan_pace(&self) -> Pace {
        Pace::new(None, &self.traffic)
    }

    pub(super) async fn begin(
        &self,
        kind: JobKind,
        tenant: TenantId,
        bucket: Option<BucketId>,
    ) -> Result<Held, RekeyError> {
        Ok(self.directory.begin_job(Wanted { kind, lane: tenant, bucket, exposed_by: None }, self.now()).await?)
    }

    /// Everything of a tenant, or one bucket of it, in the order of the buckets' ids.
    pub(super) async fn places(&self, tenant: TenantId, only: Option<BucketId>) -> Result<Places, RekeyError> {
        let mut buckets = self.directory.buckets(tenant).await?;
        buckets.retain(|at| only.is_none_or(|only| at.bucket == only));
        buckets.sort_by_key(|at| at.bucket);
        let mut places = Vec::new();
        for at in buckets {
            let roots = self.regions.get(at.region.id).ok_or(RekeyError::RegionNotServed(at.region.id))?.clone();
            if let Some(bucket) = self.directory.open_bucket(&at).await? {
                places.push(Place { roots, bucket });
            }
        }
        Ok(Places(places))
    }
}

/// One bucket, where it lies.
pub(super) struct Place {
    pub(super) roots: Arc<RegionRoots>,
    pub(super) bucket: Arc<OpenedBucket>,
}

/// Buckets in the order of their ids.
pub(super) struct Places(pub(super) Vec<Place>);

/// Some objects of one bucket.
pub(super) struct Page<'a> {
    pub(super) place: &'a Place,
    pub(super) rows: Vec<Scanned>,
    /// Pass it to go on behind this page.
    pub(super) cursor: Vec<u8>,
}

impl Places {
    /// The next objects behind `cursor` (none: from the start) of any bucket; none are left: `None`.
    pub(super) async fn page(&self, cursor: Option<&[u8]>, limit: usize) -> Result<Option<Page<'_>>, RekeyError> {
        let at = cursor.and_then(|cursor| cursor.split_at_checked(16));
        for place in &self.0 {
            let id = place.bucket.at.bucket.0;
            let row = match at {
                Some((bucket, _)) if id[..] < *bucket => continue,
                Some((bucket, row)) if id[..] == *bucket => Some(Bytes::copy_from_slice(row)),
                _ => None,
            };
            let rows = place.roots.index.scan_objects(&place.bucket.index, row.as_ref(), limit).await?;
            let Some(last) = rows.last() else { continue };
            let cursor = [&id[..], &last.cursor].concat();
            return Ok(Some(Page { place, rows, cursor }));
        }
        Ok(None)
    }
}
