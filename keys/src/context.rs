//! Whose bytes these are: tenant, geo, bucket, object, version. The one canonical encoding that goes into every
//! derivation and every AAD, so no caller joins fields by hand. Source: docs/object-format.md, "Identifiers".

/// An opaque 16-byte identifier; a geo is its name in `[a-z0-9-]`, zero padded.
pub type Id = [u8; 16];

/// The identifier that stands for "not at this level".
pub const NO_ID: Id = [0; 16];

/// The context of an object's payload and of its data key: `tenant | geo | bucket | object | version`, 80 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectContext {
    /// The owner.
    pub tenant: Id,
    /// Where the keys live.
    pub geo: Id,
    /// The bucket.
    pub bucket: Id,
    /// The object, the same over its versions.
    pub object: Id,
    /// This version.
    pub version: Id,
}

impl ObjectContext {
    /// `CTX80`.
    pub fn to_bytes(&self) -> [u8; 80] {
        let mut out = [0; 80];
        let fields = [&self.tenant, &self.geo, &self.bucket, &self.object, &self.version];
        for (place, field) in out.chunks_exact_mut(16).zip(fields) {
            place.copy_from_slice(field);
        }
        out
    }

    /// The bucket that holds the object.
    pub fn bucket_context(&self) -> BucketContext {
        BucketContext { tenant: self.tenant, geo: self.geo, bucket: self.bucket }
    }

    /// The context of a root of `tenant` in `geo`: `tenant | geo | 0 | 0 | 0`.
    pub(crate) fn of_root(tenant: Id, geo: Id) -> Self {
        Self { tenant, geo, bucket: NO_ID, object: NO_ID, version: NO_ID }
    }

    /// The context of a key named by one id below a tenant (bucket, subject, credential): `tenant | geo | id | 0 | 0`.
    pub(crate) fn of_child(tenant: Id, geo: Id, id: Id) -> Self {
        Self { tenant, geo, bucket: id, object: NO_ID, version: NO_ID }
    }
}

/// The context of a bucket's rows: `tenant | geo | bucket`, 48 bytes. The bucket is zero for rows above buckets, the
/// tenant too for rows that must be found before the tenant is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BucketContext {
    /// The owner.
    pub tenant: Id,
    /// Where the keys live.
    pub geo: Id,
    /// The bucket.
    pub bucket: Id,
}

impl BucketContext {
    /// `CTX48`.
    pub fn to_bytes(&self) -> [u8; 48] {
        let mut out = [0; 48];
        for (place, field) in out.chunks_exact_mut(16).zip([&self.tenant, &self.geo, &self.bucket]) {
            place.copy_from_slice(field);
        }
        out
    }
}
