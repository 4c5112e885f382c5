//! Whether what is stored is sealed: a sample of a tenant's rows and blobs, as they lie, is opened, changed and opened
//! again. For the record; reads only.
//!
//! What goes away while it is looked at is no failure; a tenant whose keys may not be used is left out.

use super::SweepError;
use super::inventory::{MissingList, Object, Stock};
use crate::blob::BlobError;
use crate::directory::DirectoryError;
use crate::index::IndexError;
use crate::index::rows::v1::Place;
use crate::model::ids::TenantId;
use crate::pace::Pace;
use crate::seal::{self, HEADER_BYTES, KeyError, SEALED_CHUNK_BYTES, SegmentKind};
use crate::tenancy::Tenancy;

/// Buckets of one tenant, and rows and blobs of one bucket.
const BUCKETS: usize = 8;
const ROWS: usize = 16;
const BLOBS: usize = 8;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealingProbed {
    /// Tenants whose keys could be used.
    pub tenants: u32,
    /// Rows looked at.
    pub rows: u32,
    /// Blobs looked at.
    pub blobs: u32,
    /// Rows and blobs that are not sealed, do not open, or open after a change.
    pub failed: u32,
}

/// Looks at a sample of what is stored of these tenants. `turn` moves the sample from one time to the next.
pub async fn probe(tenancy: &Tenancy, tenants: &[TenantId], turn: u64) -> Result<SealingProbed, SweepError> {
    let mut probed = SealingProbed::default();
    for tenant in tenants {
        match of_tenant(tenancy, *tenant, turn, &mut probed).await {
            Ok(()) => probed.tenants += 1,
            Err(error) if is_withheld(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(probed)
}

fn is_withheld(error: &SweepError) -> bool {
    matches!(
        error,
        SweepError::Keys(KeyError::Destroyed | KeyError::Suspended | KeyError::Unknown)
            | SweepError::Directory(DirectoryError::Keys(
                KeyError::Destroyed | KeyError::Suspended | KeyError::Unknown
            ))
            | SweepError::Index(IndexError::KeysExpired | IndexError::KeysWithheld)
    )
}

async fn of_tenant(
    tenancy: &Tenancy,
    tenant: TenantId,
    turn: u64,
    probed: &mut SealingProbed,
) -> Result<(), SweepError> {
    let mut stocks =
        Stock::of_tenant(&tenancy.directory, tenant, |region| tenancy.regions.get(region).cloned()).await?;
    if !stocks.is_empty() {
        let from = usize::try_from(turn).unwrap_or(0) % stocks.len();
        stocks.rotate_left(from);
    }
    for stock in stocks.iter().take(BUCKETS) {
        let rows = stock.roots.index.probe_rows(&stock.bucket.index, ROWS).await?;
        probed.rows += rows.rows;
        probed.failed += rows.failed;
        // Rows that do not verify were counted; what they name cannot be looked for.
        if rows.failed > 0 {
            continue;
        }
        let objects = match stock.objects(None, MissingList::MeansDeleted, &mut Pace::free()).await {
            Ok((objects, _)) => objects,
            // A list of parts that does not open.
            Err(SweepError::Integrity | SweepError::Index(IndexError::Damaged(_))) => {
                probed.failed += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        for object in objects.iter().filter(|object| object.row.place == Place::Blob).take(BLOBS) {
            if let Some(sealed) = is_sealed(stock, object).await? {
                probed.blobs += 1;
                probed.failed += u32::from(!sealed);
            }
        }
    }
    Ok(())
}

/// Whether an object's first blob opens by what its row says, and does not with one bit changed. None: it is gone.
async fn is_sealed(stock: &Stock, object: &Object) -> Result<Option<bool>, SweepError> {
    let Some(segment) = object.row.segments.first() else { return Ok(None) };
    let context = seal::object_context(&stock.bucket.at, object.row.object_id, object.row.version_id);
    let dek = match stock.dek(&object.row, &context).await {
        Ok(dek) => dek,
        Err(SweepError::Directory(DirectoryError::Keys(KeyError::Destroyed))) => return Ok(None),
        Err(error) => return Err(error),
    };
    let blobs = &stock.roots.blobs;
    let read = async {
        let len = blobs.len(segment.id).await?;
        let front = blobs.get(segment.id, 0..len.min((HEADER_BYTES + SEALED_CHUNK_BYTES) as u64)).await?;
        Ok::<_, BlobError>((len, front))
    };
    let (len, front) = match read.await {
        Ok(read) => read,
        Err(BlobError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let kind = if segment.part == 0 { SegmentKind::Whole } else { SegmentKind::Part };
    let expected = seal::segment_info(kind, segment.part, context, segment.id, object.row.dek_id);
    let opens = |front: &[u8]| {
        let (header, chunk) = front.split_at(front.len().min(HEADER_BYTES));
        let opener = dek.opener(&expected, header, segment.len, len);
        opener.is_ok_and(|opener| opener.open_chunk(0, &mut chunk.to_vec()).is_ok())
    };
    let mut changed = front.to_vec();
    if let Some(byte) = changed.get_mut(HEADER_BYTES) {
        *byte ^= 1;
    }
    let sealed = opens(&front) && !opens(&changed);
    // A key that may not be used any more opens nothing, and says nothing about the blob.
    stock.keys.check()?;
    Ok(Some(sealed))
}
