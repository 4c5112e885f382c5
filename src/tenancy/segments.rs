//! Which segments an object of a tenant consists of, for the acts that go over many of them.

use super::{Tenancy, TenancyError};
use crate::directory::{DirectoryError, OpenedBucket};
use crate::index::rows::v1::{ObjectRow, Place, SegmentRef};
use crate::regions::RegionRoots;
use crate::seal::{self, Dek};

impl Tenancy {
    /// The object's segments in order; opens the sealed list of one that has too many for its row.
    pub async fn segments(
        &self,
        roots: &RegionRoots,
        bucket: &OpenedBucket,
        dek: &Dek,
        row: &ObjectRow,
    ) -> Result<Vec<SegmentRef>, TenancyError> {
        if row.place != Place::PartList {
            return Ok(row.segments.clone());
        }
        let damaged = || TenancyError::Directory(DirectoryError::Integrity);
        let list = row.segments.first().ok_or_else(damaged)?;
        let context = seal::object_context(&bucket.at, row.object_id, row.version_id);
        let sealed = roots.blobs.get(list.id, 0..seal::sealed_len(list.len)).await?;
        let expected = seal::part_list_info(context, list.id, row.dek_id);
        let plain = dek.open_whole(&expected, &sealed, list.len).map_err(DirectoryError::from)?;
        minicbor::decode(&plain).map_err(|_| damaged())
    }
}
