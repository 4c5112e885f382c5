//! CONDUCTOR of object acts: seal → blob → index, and back. One file per act, each saying its order of effects and
//! what a crash leaves behind.
//!
//! Called by `s3`. Every method takes an [`Admitted`](crate::gate::Admitted) value, so nothing here asks who the
//! caller is. Must not know HTTP.

mod bucket;
pub mod conditions;
mod copy;
mod delete;
pub mod digest;
mod error;
mod get;
mod list;
mod multipart;
mod put;
mod read;
mod receive;
mod segments;
mod tags;
mod token;
pub mod types;

use crate::blob::BlobStore;
use crate::directory::{Directory, OpenedBucket};
use crate::index::RegionIndex;
use crate::model::atlas::Region;
use crate::model::clock::Clock;
use crate::model::object::BucketRef;
use crate::model::time::Millis;
use crate::seal::TenantKeys;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use types::StoreError;

/// What one served region consists of.
pub struct RegionRoots {
    /// Which region.
    pub region: &'static Region,
    /// Its rows.
    pub index: RegionIndex,
    /// Its sealed bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// Largest object whose segment rides in the index, in plaintext bytes.
    pub inline_bytes_max: usize,
}

impl fmt::Debug for RegionRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionRoots({})", self.region.id)
    }
}

/// The store: cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Rooms>);

struct Rooms {
    /// By geo id.
    directories: HashMap<&'static str, Arc<Directory>>,
    /// By region id.
    regions: HashMap<&'static str, Arc<RegionRoots>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// Where one act takes place: the region's roots, the opened bucket, the tenant's keys.
struct Room {
    roots: Arc<RegionRoots>,
    bucket: Arc<OpenedBucket>,
    keys: Arc<TenantKeys>,
}

impl Store {
    /// A store over the directories of its geos and the roots of its regions.
    pub fn new(
        directories: HashMap<&'static str, Arc<Directory>>,
        regions: HashMap<&'static str, Arc<RegionRoots>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Rooms { directories, regions, clock }))
    }

    fn now(&self) -> Millis {
        self.0.clock.now().wall
    }

    fn directory(&self, geo: &str) -> Result<&Arc<Directory>, StoreError> {
        self.0.directories.get(geo).ok_or(StoreError::RegionNotServed)
    }

    async fn room(&self, at: &BucketRef) -> Result<Room, StoreError> {
        let directory = self.directory(at.geo.id)?;
        let keys = directory.keys(at.tenant)?;
        let roots = self.0.regions.get(at.region.id).ok_or(StoreError::RegionNotServed)?.clone();
        let bucket = directory.open_bucket(at).await?.ok_or(StoreError::NoSuchBucket)?;
        Ok(Room { roots, bucket, keys })
    }
}
