//! ADAPTER to the keys crate: turns the house's ids into the contexts that keys are bound to, and is the only folder
//! here that names `geoseal_keys`. Other rooms take key types from here.
//!
//! Called by `index`, the conductors and `app`. Promises that a context is always built from a checked
//! [`BucketRef`], never from bytes read back. Must not know engines, blobs or S3.

mod leases;

pub use geoseal_keys::*;
pub use leases::Leases;

use crate::model::ids::{DekId, ObjectId, SegmentId, VersionId};
use crate::model::object::BucketRef;

/// The context of one version of one object.
pub fn object_context(bucket: &BucketRef, object: ObjectId, version: VersionId) -> ObjectContext {
    ObjectContext {
        tenant: bucket.tenant.0,
        geo: bucket.geo.bytes(),
        bucket: bucket.bucket.0,
        object: object.0,
        version: version.0,
    }
}

/// What a segment's header must say. `part` is 0 for a whole object.
pub fn segment_info(
    kind: SegmentKind,
    part: u16,
    context: ObjectContext,
    segment: SegmentId,
    dek: DekId,
) -> SegmentInfo {
    SegmentInfo { kind, part, context, segment_id: segment.0, dek_id: dek.0 }
}

/// What the header of the list of an object's parts must say: there is one of it, and the format counts from 1.
pub fn part_list_info(context: ObjectContext, segment: SegmentId, dek: DekId) -> SegmentInfo {
    segment_info(SegmentKind::PartManifest, 1, context, segment, dek)
}

/// The id of the data key in a record.
pub fn dek_id(record: &DekRecord) -> DekId {
    DekId(record[16..32].try_into().expect("16 bytes"))
}

/// The version of the key that a data key's record is wrapped under.
pub fn parent_version(record: &DekRecord) -> u32 {
    u32::from_be_bytes(record[12..16].try_into().expect("4 bytes"))
}
