//! CONDUCTOR of object acts: seal → blob → index, and back. One file per act, each saying its order of effects and
//! what a crash leaves behind.
//!
//! Called by `s3`. Every method takes an [`Admitted`] value, so nothing here asks who the
//! caller is. Must not know HTTP.

mod alarm;
mod behalf;
mod bucket;
mod classes;
pub mod conditions;
mod copy;
mod correct;
mod delete;
pub mod digest;
mod error;
mod get;
mod lifecycle;
mod list;
mod meters;
mod multipart;
pub mod probe;
mod put;
mod quota;
mod read;
mod receive;
mod segments;
mod subjects;
mod tags;
mod token;
pub mod types;
mod versions;
mod watermark;

pub use alarm::Alarm;
pub use correct::Staged;
pub use meters::StoreMeters;

use crate::directory::{CommitGuard, Directory, OpenedBucket};
use crate::gate::{Admitted, Asleep, Grant};
use crate::model::clock::Clock;
use crate::model::object::BucketRef;
use crate::model::time::Millis;
use crate::regions::{RegionRoots, Regions};
use crate::seal::TenantKeys;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use types::StoreError;

/// The store: cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Rooms>);

struct Rooms {
    /// By geo id.
    directories: HashMap<&'static str, Arc<Directory>>,
    regions: Regions,
    clock: Arc<dyn Clock>,
    alarm: Alarm,
    meters: StoreMeters,
    reservations: quota::Reservations,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// Where one act takes place: the region's roots, the opened bucket, the tenant's keys.
#[derive(Clone)]
struct Room {
    roots: Arc<RegionRoots>,
    bucket: Arc<OpenedBucket>,
    keys: Arc<TenantKeys>,
    /// What the caller is limited to.
    grant: Option<Arc<Grant>>,
}

impl Store {
    /// A store over the directories of its geos and the roots of its regions.
    pub fn new(
        directories: HashMap<&'static str, Arc<Directory>>,
        regions: Regions,
        clock: Arc<dyn Clock>,
        alarm: Alarm,
        meters: StoreMeters,
    ) -> Self {
        let reservations = quota::Reservations::default();
        Self(Arc::new(Rooms { directories, regions, clock, alarm, meters, reservations }))
    }

    fn now(&self) -> Millis {
        self.0.clock.now().wall
    }

    fn directory(&self, geo: &str) -> Result<&Arc<Directory>, StoreError> {
        self.0.directories.get(geo).ok_or(StoreError::RegionNotServed)
    }

    /// To be held over every commit of an object act. Refused when the tenant fell asleep since it was admitted.
    async fn awake(&self, room: &Room) -> Result<CommitGuard<'_>, StoreError> {
        let at = &room.bucket.at;
        let state = match self.directory(at.geo.id)?.commits(at.tenant).await? {
            Ok(guard) => return Ok(guard),
            Err(state) => state,
        };
        Err(StoreError::Asleep(Asleep::of(state)))
    }

    /// The room of what the caller was admitted to.
    async fn enter<A>(&self, admitted: &Admitted<A>) -> Result<Room, StoreError> {
        let room = self.room(admitted.bucket()).await?;
        Ok(Room { grant: admitted.login().grant.clone(), ..room })
    }

    async fn room(&self, at: &BucketRef) -> Result<Room, StoreError> {
        let directory = self.directory(at.geo.id)?;
        let keys = directory.keys(at.tenant).await?;
        let roots = self.0.regions.get(at.region.id).ok_or(StoreError::RegionNotServed)?.clone();
        let bucket = directory.open_bucket(at).await?.ok_or(StoreError::NoSuchBucket)?;
        Ok(Room { roots, bucket, keys, grant: None })
    }
}
