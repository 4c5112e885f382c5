//! Every row key of a region's engine, in one place. Source: docs/object-format.md, "Sealed row"; docs/index-layout.md.
//!
//! Invariants:
//! * all integers big-endian and of fixed width, so byte order is number order;
//! * the first byte is the row's kind, which the row is also sealed under;
//! * nothing is derived from a name but the keyed token.

use super::engine::KeyRange;
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, SegmentId, TenantId, UploadId, VersionId};
use bytes::{BufMut, Bytes, BytesMut};

/// What a row is: the first byte of its row key, and the kind byte of the sealed row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RowKind {
    /// The region's anchor.
    Anchor = b'z',
    /// Something that must happen by a time.
    Due = b't',
    /// Fences of a bucket.
    Fences = b'f',
    /// An inline segment. Its value is a sealed segment, not a sealed row.
    Inline = b'd',
    /// Listing leaf, base and deltas.
    Leaf = b'l',
    /// One version of an object.
    Object = b'o',
    /// A part of an upload.
    Part = b'p',
    /// That something was removed from a bucket. Its value is random, not a sealed row.
    Removal = b'r',
    /// Where an object of a data subject is.
    Subject = b's',
    /// An upload.
    Upload = b'u',
    /// How much there is of a bucket. Its value is two numbers, not a sealed row.
    Usage = b'q',
}

/// The `order` of the current version of a name: no superseded one has it, and it is known before the commit.
pub const ORDER_CURRENT: u64 = u64::MAX;

/// Bits of an order that tell the acts of one commit apart.
const ACT_BITS: u32 = 16;

/// The `order` of a version that the `act`th act of a commit supersedes: descending, so that of the superseded versions of
/// a name the newest stands first.
pub fn order_superseded(commit: u64, act: u16) -> u64 {
    let at = commit.checked_mul(1 << ACT_BITS).expect("a region makes fewer than 2^48 commits") | u64::from(act);
    ORDER_CURRENT - 1 - at
}

/// The order of an object's row.
pub fn order_of(row_key: &[u8]) -> Option<u64> {
    (row_key.len() == 41 && row_key[0] == RowKind::Object as u8).then(|| seq_of(row_key)).flatten()
}

/// The kinds of rows that belong to one bucket and go with it, names first.
pub const BUCKET_KINDS: [RowKind; 8] = [
    RowKind::Object,
    RowKind::Fences,
    RowKind::Leaf,
    RowKind::Upload,
    RowKind::Part,
    RowKind::Inline,
    RowKind::Removal,
    RowKind::Usage,
];

/// `kind bucket_id(16)`: what all rows of this kind and bucket begin with.
pub fn of_bucket(kind: RowKind, bucket: BucketId) -> [u8; 17] {
    let mut prefix = [kind as u8; 17];
    prefix[1..].copy_from_slice(&bucket.0);
    prefix
}

/// `o bucket_id(16) token(16) order(8)`
pub fn object(bucket: BucketId, token: [u8; 16], order: u64) -> Bytes {
    let mut row_key = start(RowKind::Object, bucket, 24);
    row_key.put_slice(&token);
    row_key.put_u64(order);
    row_key.freeze()
}

/// `o bucket_id(16) token(16)`: what the rows of all versions of a name begin with.
pub fn versions(bucket: BucketId, token: [u8; 16]) -> Bytes {
    let mut row_key = start(RowKind::Object, bucket, 16);
    row_key.put_slice(&token);
    row_key.freeze()
}

/// The rows of the superseded versions of a name.
pub fn superseded(bucket: BucketId, token: [u8; 16]) -> KeyRange {
    KeyRange { start: versions(bucket, token).to_vec(), end: Some(object(bucket, token, ORDER_CURRENT).to_vec()) }
}

/// Bytes of an object's row key before its order: what those of all versions of a name begin with.
const NAME_BYTES: usize = 33;

/// Where a walk over objects is: the row key that it came to and, between two versions of a name, the order of the newest
/// superseded one that it met.
pub fn place(row_key: &Bytes, newest: u64) -> Bytes {
    match order_of(row_key) {
        Some(ORDER_CURRENT) => row_key.clone(),
        _ => [row_key, &newest.to_be_bytes()[..]].concat().into(),
    }
}

/// Takes such a place apart.
pub fn place_of(place: &[u8]) -> Option<(&[u8], Option<u64>)> {
    let (row_key, newest) = place.split_at_checked(NAME_BYTES + 8)?;
    match newest {
        [] => Some((row_key, None)),
        newest => Some((row_key, Some(u64::from_be_bytes(newest.try_into().ok()?)))),
    }
}

/// The rows of a name's versions that were superseded after the one of order `newest` was.
pub fn superseded_since(row_key: &[u8], newest: u64) -> KeyRange {
    let name = &row_key[..NAME_BYTES];
    KeyRange { start: name.to_vec(), end: Some([name, &newest.to_be_bytes()].concat()) }
}

/// Whether two row keys of objects are of versions of the same name.
pub fn is_of_same_name(one: &[u8], other: &[u8]) -> bool {
    one[..NAME_BYTES] == other[..NAME_BYTES]
}

/// `d bucket_id(16) segment_id(16)`
pub fn inline(bucket: BucketId, segment: SegmentId) -> Bytes {
    let mut row_key = start(RowKind::Inline, bucket, 16);
    row_key.put_slice(&segment.0);
    row_key.freeze()
}

/// `l bucket_id(16) leaf_id(8)`: what the rows of one leaf begin with.
pub fn leaf(bucket: BucketId, leaf: u64) -> Bytes {
    let mut row_key = start(RowKind::Leaf, bucket, 8);
    row_key.put_u64(leaf);
    row_key.freeze()
}

/// `l bucket_id(16) leaf_id(8) seq(8)`: seq 0 is the base.
pub fn leaf_row(bucket: BucketId, leaf: u64, seq: u64) -> Bytes {
    let mut row_key = start(RowKind::Leaf, bucket, 16);
    row_key.put_u64(leaf);
    row_key.put_u64(seq);
    row_key.freeze()
}

/// `f bucket_id(16) seq(8)`: seq 0 is the base.
pub fn fences_row(bucket: BucketId, seq: u64) -> Bytes {
    let mut row_key = start(RowKind::Fences, bucket, 8);
    row_key.put_u64(seq);
    row_key.freeze()
}

/// `u bucket_id(16) upload_id(16)`
pub fn upload(bucket: BucketId, upload: UploadId) -> Bytes {
    let mut row_key = start(RowKind::Upload, bucket, 16);
    row_key.put_slice(&upload.0);
    row_key.freeze()
}

/// `p bucket_id(16) upload_id(16)`: what all parts of an upload begin with.
pub fn parts(bucket: BucketId, upload: UploadId) -> Bytes {
    let mut row_key = start(RowKind::Part, bucket, 16);
    row_key.put_slice(&upload.0);
    row_key.freeze()
}

/// `p bucket_id(16) upload_id(16) part(2)`
pub fn part(bucket: BucketId, upload: UploadId, number: u16) -> Bytes {
    let mut row_key = start(RowKind::Part, bucket, 18);
    row_key.put_slice(&upload.0);
    row_key.put_u16(number);
    row_key.freeze()
}

/// `r bucket_id(16) tenant_id(16)`
pub fn removal(bucket: BucketId, tenant: TenantId) -> Bytes {
    let mut row_key = start(RowKind::Removal, bucket, 16);
    row_key.put_slice(&tenant.0);
    row_key.freeze()
}

/// The bucket, and whose it is, of a row that says that something was removed.
pub fn removal_of(row_key: &[u8]) -> Option<(BucketId, TenantId)> {
    let fields: &[u8; 33] = row_key.try_into().ok()?;
    let field = |from: usize| fields[from..from + 16].try_into().expect("16 bytes");
    (fields[0] == RowKind::Removal as u8).then(|| (BucketId(field(1)), TenantId(field(17))))
}

/// `q bucket_id(16) tenant_id(16)`
pub fn usage(bucket: BucketId, tenant: TenantId) -> Bytes {
    let mut row_key = start(RowKind::Usage, bucket, 16);
    row_key.put_slice(&tenant.0);
    row_key.freeze()
}

/// The bucket, and whose it is, of a row that says how much there is of it.
pub fn usage_of(row_key: &[u8]) -> Option<(BucketId, TenantId)> {
    let fields: &[u8; 33] = row_key.try_into().ok()?;
    let field = |from: usize| fields[from..from + 16].try_into().expect("16 bytes");
    (fields[0] == RowKind::Usage as u8).then(|| (BucketId(field(1)), TenantId(field(17))))
}

/// `t due_seconds(8) kind(1) tenant_id(16) id(16)`
pub fn due(due: &DueKey) -> Bytes {
    let mut row_key = BytesMut::with_capacity(42);
    row_key.put_u8(RowKind::Due as u8);
    row_key.put_u64(due.seconds);
    row_key.put_u8(due.kind);
    row_key.put_slice(&due.tenant.0);
    row_key.put_slice(&due.id);
    row_key.freeze()
}

/// `t due_seconds(8)`: what lies before it is due before that second.
pub fn due_before(seconds: u64) -> Vec<u8> {
    let mut row_key = vec![RowKind::Due as u8];
    row_key.put_u64(seconds);
    row_key
}

/// `s tenant_id(16) [token(16)]`: what all rows of a tenant, or of one of its data subjects, begin with.
pub fn of_subject(tenant: TenantId, token: Option<[u8; 16]>) -> Vec<u8> {
    let mut prefix = vec![RowKind::Subject as u8];
    prefix.put_slice(&tenant.0);
    prefix.put_slice(token.as_ref().map_or(&[], |token| token.as_slice()));
    prefix
}

/// `s tenant_id(16) token(16) bucket_id(16) version_id(16)`
pub fn subject(at: &PlaceKey) -> Bytes {
    let mut row_key = BytesMut::with_capacity(65);
    row_key.put_slice(&of_subject(at.tenant, Some(at.token)));
    row_key.put_slice(&at.bucket.0);
    row_key.put_slice(&at.version.0);
    row_key.freeze()
}

/// `z region_id`: one row. Holds the region, because all regions of a geo seal their anchors under one key.
pub fn anchor(region: &Region) -> Bytes {
    [&[RowKind::Anchor as u8], region.id.as_bytes()].concat().into()
}

/// The last number of a leaf's or a fence's row key.
pub fn seq_of(row_key: &[u8]) -> Option<u64> {
    row_key.last_chunk().map(|seq| u64::from_be_bytes(*seq))
}

/// A due row's key, taken apart: opaque ids only, readable without any key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DueKey {
    /// By when, in seconds since 1970.
    pub seconds: u64,
    /// What must happen: the caller's numbering.
    pub kind: u8,
    /// Whose.
    pub tenant: TenantId,
    /// To what.
    pub id: [u8; 16],
}

impl DueKey {
    /// Takes a row key apart.
    pub fn parse(row_key: &[u8]) -> Option<Self> {
        let fields: &[u8; 42] = row_key.try_into().ok()?;
        (fields[0] == RowKind::Due as u8).then(|| Self {
            seconds: u64::from_be_bytes(fields[1..9].try_into().expect("8 bytes")),
            kind: fields[9],
            tenant: TenantId(fields[10..26].try_into().expect("16 bytes")),
            id: fields[26..42].try_into().expect("16 bytes"),
        })
    }
}

/// The row key of a data subject's object, taken apart: opaque ids and a keyed token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlaceKey {
    /// Whose.
    pub tenant: TenantId,
    /// Stands for the subject's name.
    pub token: [u8; 16],
    /// Where.
    pub bucket: BucketId,
    /// Which version of which object; of an upload, the version that it will be.
    pub version: VersionId,
}

impl PlaceKey {
    /// Takes a row key apart.
    pub fn parse(row_key: &[u8]) -> Option<Self> {
        let fields: &[u8; 65] = row_key.try_into().ok()?;
        let field = |from: usize| fields[from..from + 16].try_into().expect("16 bytes");
        (fields[0] == RowKind::Subject as u8).then(|| Self {
            tenant: TenantId(field(1)),
            token: field(17),
            bucket: BucketId(field(33)),
            version: VersionId(field(49)),
        })
    }
}

fn start(kind: RowKind, bucket: BucketId, more: usize) -> BytesMut {
    let mut row_key = BytesMut::with_capacity(17 + more);
    row_key.put_slice(&of_bucket(kind, bucket));
    row_key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_format_page() {
        let (bucket, id) = (BucketId([1; 16]), [2; 16]);
        let due = DueKey { seconds: 7, kind: 1, tenant: TenantId(id), id };
        let subject = PlaceKey { tenant: TenantId(id), token: [3; 16], bucket, version: VersionId(id) };
        for (row_key, kind, width) in [
            (object(bucket, id, ORDER_CURRENT), b'o', 41),
            (inline(bucket, SegmentId(id)), b'd', 33),
            (leaf_row(bucket, 3, 0), b'l', 33),
            (fences_row(bucket, 0), b'f', 25),
            (upload(bucket, UploadId(id)), b'u', 33),
            (part(bucket, UploadId(id), 10_000), b'p', 35),
            (removal(bucket, TenantId(id)), b'r', 33),
            (super::due(&due), b't', 42),
            (super::subject(&subject), b's', 65),
        ] {
            assert_eq!((row_key[0], row_key.len()), (kind, width));
        }
        assert_eq!(DueKey::parse(&super::due(&due)), Some(due));
        assert_eq!(DueKey::parse(b"t"), None);
        assert_eq!(removal_of(&removal(bucket, TenantId(id))), Some((bucket, TenantId(id))));
        assert_eq!(removal_of(&upload(bucket, UploadId(id))), None);
        assert_eq!(PlaceKey::parse(&super::subject(&subject)), Some(subject));
        assert_eq!(PlaceKey::parse(&super::due(&due)), None);
        assert!(leaf_row(bucket, 3, 255) < leaf_row(bucket, 3, 256));
        assert_eq!(seq_of(&leaf_row(bucket, 3, 256)), Some(256));
        assert!(super::due(&due)[..] < due_before(8)[..] && super::due(&due)[..] > due_before(7)[..]);
    }
}
