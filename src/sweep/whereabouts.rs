//! Where a tenant's bytes are: rows by the buckets' ids, blobs by their own headers, for whoever has to prove it.

use super::SweepError;
use super::inventory::{MissingList, Stock, blobs_of_tenant};
use crate::directory::DirectoryError;
use crate::index::RawRows;
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, ObjectId, TenantId, VersionId};
use crate::seal::KeyError;
use crate::tenancy::Tenancy;

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
            of.blobs = blobs_of_tenant(&roots.blobs, tenant).await?.len() as u64;
        }
        found.push(of);
    }
    Ok(found)
}

/// At most `limit` of a tenant's objects, and whether there are more. None, when its keys open nothing.
pub async fn objects(
    tenancy: &Tenancy,
    tenant: TenantId,
    limit: usize,
) -> Result<Option<(Vec<ObjectAt>, bool)>, SweepError> {
    let roots_of = |region: &str| tenancy.regions.get(region).cloned();
    let stocks = match Stock::of_tenant(&tenancy.directory, tenant, roots_of).await {
        Ok(stocks) => stocks,
        Err(SweepError::Directory(DirectoryError::Keys(KeyError::Destroyed | KeyError::Suspended)))
        | Err(SweepError::Keys(KeyError::Destroyed | KeyError::Suspended)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for stock in &stocks {
        let mut cursor = None;
        loop {
            let (page, next) = stock.objects(cursor.as_ref(), MissingList::MeansDeleted).await?;
            for object in &page {
                if found.len() == limit {
                    return Ok(Some((found, true)));
                }
                let (object_id, version) = (object.row.object_id, object.row.version_id);
                let (bucket, region) = (stock.bucket.at.bucket, stock.roots.region);
                found.push(ObjectAt { bucket, object: object_id, version, region });
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(Some((found, false)))
}
