//! An export that anyone can read with the tenant's key and a hundred lines of Python, without this software.
//! Source: docs/object-format.md, "Export".
//!
//! The sealed segments are copied as they are; this room makes the sealed manifest that goes with them. The tenant's key
//! travels separately, by the calls of [`TenantKeys`] whose names begin with `danger`.

use crate::context::{Id, NO_ID, ObjectContext};
use crate::error::KeyError;
use crate::record::{Record, Unverified};
use crate::segment::{SegmentInfo, SegmentKind};
use crate::tenant_keys::TenantKeys;
use serde::Serialize;

/// What an export contains.
#[derive(Default)]
pub struct Manifest {
    /// The wrapped keys of the data subjects whose objects are in it.
    pub subject_keys: Vec<ManifestSubject>,
    /// Its objects.
    pub objects: Vec<ManifestObject>,
}

/// A data subject's wrapped key.
pub struct ManifestSubject {
    /// The subject.
    pub subject: Id,
    /// Its record, as [`crate::GeoKeyService::subject_record`] gives it.
    pub record: Record,
}

/// One object version of an export.
pub struct ManifestObject {
    /// The object's name.
    pub name: String,
    /// Its bucket.
    pub bucket: Id,
    /// The object.
    pub object: Id,
    /// The version.
    pub version: Id,
    /// Its data key's record, as its row holds it.
    pub dek_record: Record,
    /// SHA-256 of the whole plaintext.
    pub sha256: [u8; 32],
    /// Its segments in order.
    pub segments: Vec<ManifestSegment>,
}

/// One segment of an object.
pub struct ManifestSegment {
    /// Its id, and so its file: `blobs/<id>.seg`.
    pub id: Id,
    /// 0 for a single PUT, else the part number.
    pub part: u16,
    /// Plaintext bytes.
    pub len: u64,
}

/// The two files of an export that are not segments.
pub struct SealedManifest {
    /// `manifest.rec`.
    pub record: Record,
    /// `manifest.seg`.
    pub segment: Vec<u8>,
}

impl TenantKeys {
    /// Seals a manifest under a data key of its own. Data keys that are still under an older tenant root are rewrapped
    /// in it, so that the active root alone opens them; [`crate::GeoKeyService::subject_record`] does the same for subjects.
    pub fn seal_manifest(&self, manifest: &Manifest) -> Result<SealedManifest, KeyError> {
        let objects = manifest.objects.iter().map(|object| self.manifest_object(object));
        let stored = v1::Manifest {
            format: 1,
            subject_keys: manifest.subject_keys.iter().map(v1::Subject::from).collect(),
            objects: objects.collect::<Result<_, _>>()?,
        };
        let json = serde_json::to_vec(&stored).expect("strings and numbers are always JSON");
        let context =
            ObjectContext { tenant: self.tenant(), geo: self.geo(), bucket: NO_ID, object: NO_ID, version: NO_ID };
        let (dek, record) = self.new_dek(&context)?;
        let info = SegmentInfo {
            kind: SegmentKind::ExportManifest,
            part: 1,
            context,
            segment_id: crate::material::random_array(),
            dek_id: dek.id(),
        };
        Ok(SealedManifest { record, segment: dek.seal_whole(&info, &json) })
    }

    fn manifest_object<'a>(&self, object: &'a ManifestObject) -> Result<v1::Object<'a>, KeyError> {
        let context = ObjectContext {
            tenant: self.tenant(),
            geo: self.geo(),
            bucket: object.bucket,
            object: object.object,
            version: object.version,
        };
        let record = if self.wrapped_by_a_root(&Unverified::parse(&object.dek_record)?) {
            self.rewrap_dek(&object.dek_record, &context)?.unwrap_or(object.dek_record)
        } else {
            object.dek_record
        };
        Ok(v1::Object {
            key: &object.name,
            bucket_id: hex::encode(object.bucket),
            object_id: hex::encode(object.object),
            version_id: hex::encode(object.version),
            rec: hex::encode(record),
            sha256: hex::encode(object.sha256),
            segments: object.segments.iter().map(v1::Segment::from).collect(),
        })
    }
}

/// The manifest's JSON, format 1.
mod v1 {
    use super::{ManifestSegment, ManifestSubject, Serialize};

    #[derive(Serialize)]
    pub(super) struct Manifest<'a> {
        pub(super) format: u32,
        pub(super) subject_keys: Vec<Subject>,
        pub(super) objects: Vec<Object<'a>>,
    }

    #[derive(Serialize)]
    pub(super) struct Subject {
        subject_id: String,
        rec: String,
    }

    #[derive(Serialize)]
    pub(super) struct Object<'a> {
        /// S3's word; the one place where it stands for a name, because the format says so.
        pub(super) key: &'a str,
        pub(super) bucket_id: String,
        pub(super) object_id: String,
        pub(super) version_id: String,
        pub(super) rec: String,
        pub(super) sha256: String,
        pub(super) segments: Vec<Segment>,
    }

    #[derive(Serialize)]
    pub(super) struct Segment {
        id: String,
        part: u16,
        len: u64,
    }

    impl From<&ManifestSubject> for Subject {
        fn from(subject: &ManifestSubject) -> Self {
            Self { subject_id: hex::encode(subject.subject), rec: hex::encode(subject.record) }
        }
    }

    impl From<&ManifestSegment> for Segment {
        fn from(segment: &ManifestSegment) -> Self {
            Self { id: hex::encode(segment.id), part: segment.part, len: segment.len }
        }
    }
}
