//! What the directory's rows hold, version 1. Source: docs/index-layout.md, "Directory rows".

use crate::model::ids::{BucketId, SubjectId, TenantId};
use crate::model::login::{Grant, Role};
use crate::model::time::Millis;

/// Row kinds of the directory: the first byte of the row key, and the kind bound into the sealed row.
pub(super) mod kind {
    /// Tenant by id.
    pub(crate) const TENANT: u8 = b'n';
    /// Tenant id by name.
    pub(crate) const TENANT_NAME: u8 = b'm';
    /// Tombstone by the token of the name that the tenant had.
    pub(crate) const TOMBSTONE: u8 = b'p';
    /// Login by access id.
    pub(crate) const LOGIN: u8 = b'a';
    /// Whose a login was, by the token of its access id.
    pub(crate) const FORMER_LOGIN: u8 = b'o';
    /// Bucket by tenant and name.
    pub(crate) const BUCKET: u8 = b'b';
    /// How far a tenant's destruction is.
    pub(crate) const NOTE: u8 = b'g';
    /// Data subject by tenant and name.
    pub(crate) const SUBJECT: u8 = b's';
    /// A data subject's erasure that is under way.
    pub(crate) const ERASURE: u8 = b'e';
    /// Long work on a tenant's rows, or on the geo's.
    pub(crate) const JOB: u8 = b'j';
    /// An act that waits for a second administrator.
    pub(crate) const PROPOSAL: u8 = b'w';
    /// Since when a tenant's keys have their current versions.
    pub(crate) const PERIODS: u8 = b'q';
    /// That something of a tenant's directory was removed. Its value is random, not a sealed row.
    pub(crate) const REMOVAL: u8 = b'r';
    /// Which notices of a tenant's coming end were delivered.
    pub(crate) const NOTICES: u8 = b'z';
    /// What somebody said when he acted.
    pub(crate) const WORDS: u8 = b'x';
    /// A token of the admin API that was revoked.
    pub(crate) const REVOKED: u8 = b'i';
    /// A run of the sweeper.
    pub(crate) const SWEEP: u8 = b'y';
    /// A data subject's request.
    pub(crate) const REQUEST: u8 = b'l';
    /// What an epoch's close did for a tenant.
    pub(crate) const CLOSE: u8 = b'c';
    /// A legal hold, by tenant and number.
    pub(crate) const HOLD: u8 = b'h';
    /// An act that waits for the release of holds.
    pub(crate) const DEFERRED: u8 = b'd';
    /// A tenant's features.
    pub(crate) const FEATURES: u8 = b'f';
    /// How far the jobs on a bucket are, by tenant and bucket.
    pub(crate) const WATERMARK: u8 = b'k';
    /// That a message is followed, by tenant and token.
    pub(crate) const FOLLOWED: u8 = b'v';
    /// That a user is not captured, by tenant and token.
    pub(crate) const UNCAPTURED: u8 = b'u';
}

pub(super) mod v1 {
    use super::*;

    /// What stands in a tenant's row outside its own keys: ids, state and times, nothing else.
    #[derive(minicbor::Encode, minicbor::Decode)]
    pub(in crate::directory) struct TenantRow {
        #[n(0)]
        pub(in crate::directory) revision: u64,
        /// The clear part: `tenant::Standing`, encoded by that room.
        #[cbor(n(1), with = "minicbor::bytes")]
        pub(in crate::directory) standing: Vec<u8>,
        /// The rest, sealed once more under the tenant's directory key: dies with the tenant.
        #[cbor(n(2), with = "minicbor::bytes")]
        pub(in crate::directory) detail: Vec<u8>,
        /// What stands for its name when the name is gone; none in rows of releases that kept none.
        #[n(3)]
        pub(in crate::directory) name: Option<minicbor::bytes::ByteArray<16>>,
    }

    /// A tenant's name, or the token of one that is gone, or of a login of it, leads to its id.
    #[derive(minicbor::Encode, minicbor::Decode)]
    pub(in crate::directory) struct NameRow {
        #[n(0)]
        pub(in crate::directory) tenant: TenantId,
    }

    /// A login. The record is wrapped under the tenant's credential key, the access id sealed under its directory key.
    #[derive(minicbor::Encode, minicbor::Decode)]
    pub(in crate::directory) struct LoginRow {
        #[n(0)]
        pub(in crate::directory) tenant: TenantId,
        #[n(1)]
        pub(in crate::directory) role: Role,
        #[n(2)]
        pub(in crate::directory) created: Millis,
        #[n(3)]
        pub(in crate::directory) revoked: Option<Millis>,
        #[cbor(n(4), with = "minicbor::bytes")]
        pub(in crate::directory) record: Vec<u8>,
        #[cbor(n(5), with = "minicbor::bytes")]
        pub(in crate::directory) access_id: Vec<u8>,
        /// What it is limited to.
        #[n(6)]
        pub(in crate::directory) grant: Option<Grant>,
        /// It was its tenant's termination that revoked it.
        #[n(7)]
        pub(in crate::directory) by_termination: Option<bool>,
        /// What stands for its access id when the login is gone; none in rows of releases that kept none.
        #[n(8)]
        pub(in crate::directory) former: Option<minicbor::bytes::ByteArray<16>>,
    }

    /// A data subject's name leads to its id.
    #[derive(minicbor::Encode, minicbor::Decode)]
    pub(in crate::directory) struct SubjectRow {
        #[n(0)]
        pub(in crate::directory) subject: SubjectId,
        #[n(1)]
        pub(in crate::directory) name: String,
        #[n(2)]
        pub(in crate::directory) erasing: bool,
    }

    /// What an erasure goes by when the name is not at hand.
    #[derive(minicbor::Encode, minicbor::Decode)]
    pub(in crate::directory) struct ErasureRow {
        #[cbor(n(0), with = "minicbor::bytes")]
        pub(in crate::directory) token: [u8; 16],
    }

    /// A bucket of a tenant.
    #[derive(minicbor::Encode, minicbor::Decode)]
    pub(in crate::directory) struct BucketRow {
        #[n(0)]
        pub(in crate::directory) bucket: BucketId,
        #[n(1)]
        pub(in crate::directory) name: String,
        #[n(2)]
        pub(in crate::directory) region: String,
        #[n(3)]
        pub(in crate::directory) created: Millis,
        /// The bucket's index key, wrapped.
        #[cbor(n(4), with = "minicbor::bytes")]
        pub(in crate::directory) index_key: Vec<u8>,
        /// While the bucket is re-keyed: the index key before, wrapped.
        #[n(5)]
        pub(in crate::directory) old_index_key: Option<minicbor::bytes::ByteVec>,
        /// Its lifecycle rules.
        #[n(8)]
        pub(in crate::directory) lifecycle: Option<crate::model::lifecycle::Rules>,
        /// Whether it keeps versions; none: never.
        #[n(9)]
        pub(in crate::directory) versioning: Option<crate::model::versioning::Versioning>,
    }
}

/// Every row begins with the version of its shape.
const VERSION: u8 = 1;

pub(super) fn encode<T: minicbor::Encode<()>>(row: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    minicbor::encode(row, &mut bytes).expect("a Vec takes every byte");
    bytes
}

/// `None` when the shape's version or the shape is not one we know.
pub(super) fn decode<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Option<T> {
    let (version, rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    minicbor::decode(rest).ok()
}

/// `kind | id`.
pub(super) fn row_key(kind: u8, parts: &[&[u8; 16]]) -> Vec<u8> {
    let mut key = vec![kind];
    parts.iter().for_each(|part| key.extend_from_slice(*part));
    key
}
