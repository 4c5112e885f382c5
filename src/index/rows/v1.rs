//! Version 1 of every row's plaintext: CBOR, fields by number. A field may be added under a new number; none is ever
//! given another meaning.

use crate::model::ids::{DekId, ObjectId, SegmentId, SubjectId, UploadId, VersionId};
use crate::model::object::{Checksum, ChecksumAlgorithm, ChecksumType, ContentHeaders};
use crate::model::time::Millis;
use minicbor::{Decode, Encode};
use std::fmt;

/// The leading byte of every plaintext of this version.
pub const VERSION: u8 = 1;

/// One version of one object: everything but its bytes.
#[derive(Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct ObjectRow {
    /// Compared with the name asked for after every point read.
    #[n(0)]
    pub name: String,
    /// Stays the same over versions.
    #[n(1)]
    pub object_id: ObjectId,
    /// This version.
    #[n(2)]
    pub version_id: VersionId,
    /// An object, or the mark of its deletion.
    #[n(3)]
    pub kind: ObjectKind,
    /// Plaintext bytes.
    #[n(4)]
    pub size: u64,
    /// When it was written.
    #[n(5)]
    pub mtime: Millis,
    /// Without quotes: MD5 in hex, or `md5-N` for N parts.
    #[n(6)]
    pub etag: String,
    /// Checksums as S3 shows them.
    #[n(7)]
    pub checksums: Vec<Checksum>,
    /// Stored content headers.
    #[n(8)]
    pub headers: ContentHeaders,
    /// User metadata, in order.
    #[n(9)]
    pub metadata: Vec<(String, String)>,
    /// Tags.
    #[n(10)]
    pub tags: Vec<(String, String)>,
    /// The data subject it speaks of, whose key then wraps its data key.
    #[n(11)]
    pub subject: Option<SubjectId>,
    /// Its sealed segments, in order.
    #[n(12)]
    pub segments: Vec<SegmentRef>,
    /// Where they lie.
    #[n(13)]
    pub place: Place,
    /// Its data key.
    #[n(14)]
    pub dek_id: DekId,
    /// Its data key, wrapped.
    #[cbor(n(15), with = "minicbor::bytes")]
    pub dek_record: [u8; 152],
    /// When it was written by the compliance clock: lifetimes count from then. Rows of older releases go by `mtime`.
    #[n(16)]
    pub written: Option<Millis>,
    /// The second at which its due row stands: some lifecycle rule is about it.
    #[n(17)]
    pub due: Option<u64>,
    /// What the clock of its class's feature showed when it was written, if objects of that class have a lifetime.
    #[n(18)]
    pub enabled_ms: Option<i64>,
    /// Of a batch, whose records are of several data subjects: their names. It is under the tenant's key.
    #[n(19)]
    pub subjects: Option<Vec<String>>,
    /// When its successor was written, by the compliance clock. `None`: it is the current version of its name.
    #[n(20)]
    pub superseded: Option<Millis>,
    /// Whether its bucket kept versions when it was written. Otherwise it is the `null` version of its name.
    #[n(21)]
    pub versioned: Option<bool>,
    /// What a legal hold did to its name.
    #[n(22)]
    pub beside: Option<Beside>,
    /// Where it stands among the versions of its name: the order in its row key. `None`: it is the current one.
    #[n(23)]
    pub order: Option<u64>,
    /// The version of the tenant's data key that its data key was wrapped under first: every version from that one to the one
    /// it is under now opened it at some time. `None`: it hangs under its data subject's key, or an older release wrote it.
    #[n(24)]
    pub born_under: Option<u32>,
}

impl ObjectRow {
    /// The mark of a deletion: no bytes, no data key, nothing but its name and times.
    pub fn marker(name: String, mtime: Millis, written: Millis) -> Self {
        Self {
            name,
            object_id: ObjectId::random(),
            version_id: VersionId::random(),
            kind: ObjectKind::DeleteMarker,
            size: 0,
            mtime,
            etag: String::new(),
            checksums: Vec::new(),
            headers: ContentHeaders::default(),
            metadata: Vec::new(),
            tags: Vec::new(),
            subject: None,
            segments: Vec::new(),
            place: Place::Nowhere,
            dek_id: DekId([0; 16]),
            dek_record: [0; 152],
            written: Some(written),
            due: None,
            enabled_ms: None,
            subjects: None,
            superseded: None,
            versioned: None,
            beside: None,
            order: None,
            born_under: None,
        }
    }

    /// When it was written, as far as lifetimes go.
    pub fn age_from(&self) -> Millis {
        self.written.unwrap_or(self.mtime)
    }

    /// Whether it is the current version of its name.
    pub fn is_current(&self) -> bool {
        self.superseded.is_none()
    }

    /// Whether it is an object, and no mark of a deletion.
    pub fn is_object(&self) -> bool {
        self.kind == ObjectKind::Object
    }

    /// Whether it is the `null` version of its name.
    pub fn is_null(&self) -> bool {
        self.versioned != Some(true)
    }

    /// Whether it is the mark of deletion over what a hold alone keeps. No client sees it.
    pub fn is_cover(&self) -> bool {
        !self.is_object() && self.beside == Some(Beside::Keeps)
    }

    /// Whether it was replaced, and is there only because a hold keeps it. No client sees it.
    pub fn is_kept(&self) -> bool {
        self.beside == Some(Beside::Kept)
    }
}

/// What a legal hold did to a name whose object would have been replaced for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Beside {
    /// Of a version that was replaced: a hold kept it, and it goes once no hold does.
    #[n(0)]
    Kept,
    /// Of the current version: such versions stand beside it, or did.
    #[n(1)]
    Keeps,
}

/// An object, or the mark of its deletion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum ObjectKind {
    /// An object.
    #[n(0)]
    Object,
    /// A delete marker of a versioned bucket.
    #[n(1)]
    DeleteMarker,
}

/// Where an object's segments lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Place {
    /// One segment, behind the object row itself.
    #[n(0)]
    Trailing,
    /// One segment, in a `d` row of its own.
    #[n(1)]
    Row,
    /// In the region's blob store.
    #[n(2)]
    Blob,
    /// One segment in the blob store, which lists the parts: there are too many for the row.
    #[n(3)]
    PartList,
    /// There are none: the mark of a deletion.
    #[n(4)]
    Nowhere,
}

/// One sealed segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SegmentRef {
    /// Which.
    #[n(0)]
    pub id: SegmentId,
    /// Part number; 0 for a whole object.
    #[n(1)]
    pub part: u16,
    /// Plaintext bytes.
    #[n(2)]
    pub len: u64,
}

/// A multipart upload in progress.
#[derive(Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct UploadRow {
    /// Under which name.
    #[n(0)]
    pub name: String,
    /// The object it will be.
    #[n(1)]
    pub object_id: ObjectId,
    /// The version it will be.
    #[n(2)]
    pub version_id: VersionId,
    /// The data key of all its parts.
    #[n(3)]
    pub dek_id: DekId,
    /// The same, wrapped.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub dek_record: [u8; 152],
    /// Stored content headers.
    #[n(5)]
    pub headers: ContentHeaders,
    /// User metadata, in order.
    #[n(6)]
    pub metadata: Vec<(String, String)>,
    /// Tags.
    #[n(7)]
    pub tags: Vec<(String, String)>,
    /// Checksum algorithm announced, and whether it will be of the whole or of the parts.
    #[n(8)]
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    /// When.
    #[n(9)]
    pub created: Millis,
    /// Its own id, so that a moved row is noticed by its reader too.
    #[n(10)]
    pub upload_id: UploadId,
    /// The data subject it speaks of.
    #[n(11)]
    pub subject: Option<SubjectId>,
    /// When it was begun by the compliance clock. Rows of older releases go by `created`.
    #[n(12)]
    pub begun: Option<Millis>,
    /// The data subject's request for which it waits, by number: what an object is to hold when it may be put right. No
    /// client sees it, and no lifetime ends it.
    #[n(13)]
    pub for_request: Option<u64>,
    /// The data subjects of its records, when it will be a batch of several: `geosealsubject` of each.
    #[n(14)]
    pub subjects: Option<Vec<String>>,
    /// As of an object's row: where its data key began.
    #[n(15)]
    pub born_under: Option<u32>,
}

impl UploadRow {
    /// When it was begun, as far as lifetimes go.
    pub fn age_from(&self) -> Millis {
        self.begun.unwrap_or(self.created)
    }
}

/// One uploaded part.
#[derive(Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct PartRow {
    /// 1 to 10,000.
    #[n(0)]
    pub number: u16,
    /// Its sealed segment, in the blob store.
    #[n(1)]
    pub segment: SegmentRef,
    /// MD5 in hex.
    #[n(2)]
    pub etag: String,
    /// Checksums as S3 shows them.
    #[n(3)]
    pub checksums: Vec<Checksum>,
    /// When.
    #[n(4)]
    pub mtime: Millis,
}

/// Where an object of a data subject is; bucket and version stand in the row key.
#[derive(Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct SubjectRow {
    /// The subject, whose key wraps the object's data key.
    #[n(0)]
    pub subject: SubjectId,
    /// The object's name.
    #[n(1)]
    pub name: String,
    /// The upload that will become it.
    #[n(2)]
    pub upload: Option<UploadId>,
}

/// How far the dating of a bucket's objects by new lifecycle rules is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct WalkRow {
    /// Tells one change of the rules from the next.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub change: [u8; 16],
    /// How far the bucket's re-keyings had come when the walk began: rows move with each.
    #[n(1)]
    pub stage: u64,
    /// Where to go on.
    #[n(2)]
    pub cursor: Option<minicbor::bytes::ByteVec>,
}

/// What a listing shows of one object.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct LeafEntry {
    /// The name.
    #[n(0)]
    pub name: Box<str>,
    /// The newest version's order.
    #[n(1)]
    pub order: u64,
    /// Plaintext bytes.
    #[n(2)]
    pub size: u64,
    /// When it was written.
    #[n(3)]
    pub mtime: Millis,
    /// The ETag.
    #[n(4)]
    pub etag: EntryTag,
    /// An object, or the mark of its deletion.
    #[n(5)]
    pub kind: ObjectKind,
}

/// An ETag in few bytes.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum EntryTag {
    /// 32 lower-case hexadecimal digits.
    #[n(0)]
    Md5(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]),
    /// The same with `-N` behind it.
    #[n(1)]
    Parts(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16], #[n(1)] u16),
    /// Anything else.
    #[n(2)]
    Text(#[n(0)] Box<str>),
}

/// A leaf as it was rewritten last: the sorted entries of `first <= name < end`.
#[derive(Clone, PartialEq, Encode, Decode)]
pub struct LeafBase {
    /// The region's commit that wrote it: everything up to there is in it.
    #[n(0)]
    pub folded: u64,
    /// The smallest name that belongs here.
    #[n(1)]
    pub first: Box<str>,
    /// The first name that belongs to the next leaf; none: this is the last.
    #[n(2)]
    pub end: Option<Box<str>>,
    /// Sorted by name, each once.
    #[n(3)]
    pub entries: Vec<LeafEntry>,
}

/// What one commit changed in one leaf. Its row's seq is that commit's number.
#[derive(Clone, PartialEq, Encode, Decode)]
pub struct LeafDelta {
    /// The seq of the delta before, 0 for the first on its base: a delta taken away is missed.
    #[n(0)]
    pub prev: u64,
    /// Each name at most once.
    #[n(1)]
    pub changes: Vec<LeafChange>,
}

/// One name, put or removed.
#[derive(Clone, PartialEq, Encode, Decode)]
pub enum LeafChange {
    /// Put, in place of what was there.
    #[n(0)]
    Put(#[n(0)] LeafEntry),
    /// Removed, if it was there.
    #[n(1)]
    Removed(#[n(0)] Box<str>),
}

/// All fences of a bucket as they were rewritten last.
#[derive(Clone, PartialEq, Encode, Decode)]
pub struct FencesBase {
    /// The region's commit that wrote it: everything up to there is in it.
    #[n(0)]
    pub folded: u64,
    /// The next leaf gets this number.
    #[n(1)]
    pub next_leaf: u64,
    /// Sorted by name; the first one's is empty.
    #[n(2)]
    pub fences: Vec<Fence>,
}

/// The first name of a leaf.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Fence {
    /// The smallest name that belongs to the leaf.
    #[n(0)]
    pub first: Box<str>,
    /// The leaf.
    #[n(1)]
    pub leaf: u64,
}

/// What one commit changed in a bucket's fences: first removed, then added. Its row's seq is that commit's number.
#[derive(Clone, Default, PartialEq, Encode, Decode)]
pub struct FencesDelta {
    /// The seq of the delta before, 0 for the first on its base.
    #[n(0)]
    pub prev: u64,
    /// Leaves that are gone.
    #[n(1)]
    pub removed: Vec<u64>,
    /// Leaves that are new.
    #[n(2)]
    pub added: Vec<Fence>,
    /// The next leaf gets this number.
    #[n(3)]
    pub next_leaf: u64,
}

/// How far the region's commits have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AnchorRow {
    /// Commits so far.
    #[n(0)]
    pub counter: u64,
    /// Chained digest of all of them.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub digest: [u8; 32],
}

impl EntryTag {
    /// From an ETag without quotes.
    pub fn new(etag: &str) -> Self {
        let (hex, parts) = match etag.split_once('-') {
            Some((hex, parts)) => (hex, Some(parts)),
            None => (etag, None),
        };
        let mut md5 = [0; 16];
        let exact = hex::decode_to_slice(hex, &mut md5).is_ok();
        let tag = match parts.map(str::parse) {
            None if exact => Self::Md5(md5),
            Some(Ok(parts)) if exact => Self::Parts(md5, parts),
            _ => return Self::Text(etag.into()),
        };
        // Upper-case digits or a padded number would not come back as they went in.
        if tag.to_string() == etag { tag } else { Self::Text(etag.into()) }
    }
}

impl fmt::Display for EntryTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Md5(md5) => f.write_str(&hex::encode(md5)),
            Self::Parts(md5, parts) => write!(f, "{}-{parts}", hex::encode(md5)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl LeafEntry {
    /// What the listing shows of `row`.
    pub fn of(row: &ObjectRow, order: u64) -> Self {
        Self {
            name: row.name.as_str().into(),
            order,
            size: row.size,
            mtime: row.mtime,
            etag: EntryTag::new(&row.etag),
            kind: row.kind,
        }
    }
}

impl LeafChange {
    /// The name it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.name,
            Self::Removed(name) => name,
        }
    }
}

macro_rules! unprintable {
    ($($row:ident),*) => { $(
        impl fmt::Debug for $row {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($row), "(..)"))
            }
        }
    )* };
}

unprintable!(
    EntryTag,
    Fence,
    FencesBase,
    FencesDelta,
    LeafBase,
    LeafChange,
    LeafDelta,
    LeafEntry,
    ObjectRow,
    PartRow,
    SubjectRow,
    UploadRow
);

#[cfg(test)]
mod tests {
    use super::super::{BadRow, decode, encode};
    use super::*;

    #[test]
    fn an_etag_comes_back_as_it_went_in() {
        let md5 = "0123456789abcdef0123456789abcdef";
        for etag in [md5, &format!("{md5}-7"), &format!("{md5}-07"), &md5.to_uppercase(), "", "-", "é-1"] {
            assert_eq!(EntryTag::new(etag).to_string(), etag);
        }
        assert!(matches!(EntryTag::new(&format!("{md5}-7")), EntryTag::Parts(_, 7)));
        assert!(matches!(EntryTag::new(md5), EntryTag::Md5(_)));
    }

    #[test]
    fn a_row_of_another_version_or_with_a_tail_is_refused() {
        let plain = encode(&AnchorRow { counter: 5, digest: [7; 32] });
        assert_eq!(decode::<AnchorRow>(&plain).unwrap().counter, 5);
        let mut later = plain.clone();
        later[0] = 2;
        let longer = [&plain[..], b"\0"].concat();
        for bad in [&later[..], &longer, &plain[..plain.len() - 1], &[]] {
            assert_eq!(decode::<AnchorRow>(bad), Err(BadRow));
        }
    }
}
