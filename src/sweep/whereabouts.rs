//! Where a tenant's bytes are: rows by the buckets' ids, blobs by their own headers, for whoever has to prove it.

use super::SweepError;
use super::inventory::{MissingList, Stock, blobs_of_tenant};
use crate::directory::DirectoryError;
use crate::index::RawRows;
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, ObjectId, TenantId, VersionId};
use crate::pace::Pace;
use crate::seal::KeyError;
use crate::tenancy::Tenancy;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

/// What lies in one region of a tenant's geo.
#[derive(Clone, Copy, Debug)]
pub struct InRegion {
    /// The region.
    pub region: &'static Region,
    /// Whether it is served here; the counts of one that is not are zero.
    pub served: bool,
    /// Buckets of the tenant.
    pub buckets: u64,
    /// Their rows.
    pub rows: RawRows,
    /// Blobs that bear the tenant's id in their own header.
    pub blobs: u64,
}

/// Where one version of an object is.
#[derive(Clone, Copy, Debug)]
pub struct ObjectAt {
    /// Its bucket.
    pub bucket: BucketId,
    /// The object.
    pub object: ObjectId,
    /// Its version.
    pub version: VersionId,
    /// Its region.
    pub region: &'static Region,
}

/// Every region of the tenant's geo. Of a tenant whose keys are destroyed, or suspended, only blobs can be told from others'.
pub async fn regions(tenancy: &Tenancy, tenant: TenantId) -> Result<Vec<InRegion>, SweepError> {
    let buckets = match tenancy.directory.buckets(tenant).await {
        Ok(buckets) => buckets,
        Err(DirectoryError::Keys(KeyError::Destroyed | KeyError::Suspended)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for region in tenancy.directory.geo().regions {
        let here: Vec<_> = buckets.iter().filter(|at| at.region == region).collect();
        let mut of = InRegion { region, served: false, buckets: here.len() as u64, rows: RawRows::default(), blobs: 0 };
        if let Some(roots) = tenancy.regions.get(region.id) {
            of.served = true;
            for at in here {
                let rows = roots.index.raw_rows(at.bucket).await?;
                of.rows.rows += rows.rows;
                of.rows.objects += rows.objects;
                of.rows.parts += rows.parts;
                of.rows.bytes += rows.bytes;
            }
            of.blobs = blobs_of_tenant(&roots.blobs, tenant, &mut Pace::free()).await?.len() as u64;
        }
        found.push(of);
    }
    Ok(found)
}

/// Behind which object a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    bucket: BucketId,
    /// None: behind the whole bucket.
    row: Option<Bytes>,
}

/// `BUCKET.ROW`: opaque ids, no name.
impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.bucket, BASE64.encode(self.row.as_deref().unwrap_or_default()))
    }
}

/// Not what [`After`] was written as.
#[derive(Debug, thiserror::Error)]
#[error("not a place to go on from")]
pub struct NotAPlace;

impl FromStr for After {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let (bucket, row) = text.split_once('.').ok_or(NotAPlace)?;
        let row = BASE64.decode(row).map_err(|_| NotAPlace)?;
        Ok(Self {
            bucket: bucket.parse().map_err(|_| NotAPlace)?,
            row: Some(Bytes::from(row)).filter(|row| !row.is_empty()),
        })
    }
}

/// A tenant's objects behind `after`, and where to go on; `limit` is reached by whole steps of the index, so there may be
/// some more. None, when its keys open nothing.
pub async fn objects(
    tenancy: &Tenancy,
    tenant: TenantId,
    after: Option<&After>,
    limit: usize,
) -> Result<Option<(Vec<ObjectAt>, Option<After>)>, SweepError> {
    let roots_of = |region: &str| tenancy.regions.get(region).cloned();
    let mut stocks = match Stock::of_tenant(&tenancy.directory, tenant, roots_of).await {
        Ok(stocks) => stocks,
        Err(SweepError::Directory(DirectoryError::Keys(KeyError::Destroyed | KeyError::Suspended)))
        | Err(SweepError::Keys(KeyError::Destroyed | KeyError::Suspended)) => return Ok(None),
        Err(error) => return Err(error),
    };
    // Whatever becomes of buckets between two pages: none is listed twice, and none that stays is left out.
    stocks.sort_by_key(|stock| stock.bucket.at.bucket.0);
    let mut found = Vec::new();
    for stock in &stocks {
        let bucket = stock.bucket.at.bucket;
        let mut cursor = match after {
            Some(after) if bucket.0 < after.bucket.0 => continue,
            Some(After { bucket: at, row }) if bucket == *at => match row {
                Some(row) => Some(row.clone()),
                None => continue,
            },
            _ => None,
        };
        loop {
            let (page, next) = stock.objects(cursor.as_ref(), MissingList::MeansDeleted, &mut Pace::free()).await?;
            found.extend(page.iter().map(|object| ObjectAt {
                bucket,
                object: object.row.object_id,
                version: object.row.version_id,
                region: stock.roots.region,
            }));
            let ended = next.is_none();
            if found.len() >= limit {
                return Ok(Some((found, Some(After { bucket, row: next }))));
            }
            cursor = next;
            if ended {
                break;
            }
        }
    }
    Ok(Some((found, None)))
}
