//! The key boundary of geoseal: the only code that can read key bytes.
//!
//! What comes in: opaque ids, contexts, plaintext to seal, sealed bytes to open. What goes out: sealed bytes, wrapped
//! records, and handles that seal and open. What never goes out: a key, a salt or nonce of the caller's choosing, or
//! the reason why something did not open (but for the audit log).
//!
//! What must not compile, so that no reviewer has to look for it:
//!
//! ```compile_fail,E0277
//! fn printed(dek: geoseal_keys::Dek) -> String { format!("{dek:?}") }
//! ```
//! ```compile_fail,E0277
//! fn printed(keys: &geoseal_keys::TenantKeys) -> String { format!("{keys:?}") }
//! ```
//! ```compile_fail,E0599
//! fn copied(dek: &geoseal_keys::Dek) -> geoseal_keys::Dek { dek.clone() }
//! ```
//! ```compile_fail,E0599
//! fn copied(key: &geoseal_keys::BucketKey) -> geoseal_keys::BucketKey { (*key).clone() }
//! ```
//! ```compile_fail,E0616
//! fn bytes(root: geoseal_keys::RootSecret) { root.0; }
//! ```
//! ```compile_fail,E0624
//! fn salted(dek: &geoseal_keys::Dek, info: &geoseal_keys::SegmentInfo) { dek.sealer_with_salt(info, [0; 32]); }
//! ```
//!
//! Bytes are laid out in docs/object-format.md; keys and their formulas in docs/key-hierarchy.md.

#![deny(unsafe_code)]

// The story in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod answers;
mod authority;
mod backup;
mod calls;
mod client;
mod context;
mod derive;
mod destroy;
mod disk;
mod ending;
mod entries;
mod epoch;
mod error;
mod export;
mod geo_keys;
mod grant;
mod heads;
mod keystore;
mod leases;
mod limit;
mod material;
mod memory;
mod provider;
mod purposes;
mod record;
mod remote;
mod reroot;
mod restored;
mod revocations;
mod rotate;
mod row;
mod segment;
mod service;
mod shards;
mod shred_log;
mod signer;
mod standings;
mod status;
mod subjects;
mod tenant_keys;
#[cfg(test)]
mod tests;
mod version_life;
mod wire;

pub use authority::{Count, Hello, KeyAuthority, Reply, Request};
pub use backup::KeystoreCopy;
pub use calls::ProviderCalls;
pub use client::KeyClient;
pub use context::{BucketContext, Id, NO_ID, ObjectContext};
pub use destroy::ShredEvidence;
pub use ending::{BACKUP_AGE_SECONDS, Ended, Ending, VersionOf};
pub use entries::{Early, KeyState, RotationJob, TenantState};
pub use epoch::{BackupNote, DestroyedMaster, EpochClosed, EpochJob, EpochPhase, SOAK_SECONDS_MAX};
pub use error::{KeyError, KeyringError, KeystoreError, OpenClass, OpenError, ProviderError, Refusal, SealError};
pub use export::{Manifest, ManifestObject, ManifestSegment, ManifestSubject, SealedManifest};
pub use geo_keys::{DirectoryKey, GeoKeys};
pub use grant::{ExportKey, Grant, SubjectGrant};
pub use heads::{Head, geo_id};
pub use leases::{Cached, LEASE_SECONDS_MAX, LeaseOptions, REFUSED_SECONDS};
pub use limit::UNWRAPS_PER_MINUTE;
pub use memory::{KeyMemory, key_memory};
pub use provider::{
    AwsKmsSettings, CallOutcome, GuardLimits, Guarded, LocalKeyring, MasterKeys, MasterState, MasterVersion,
    Pkcs11Settings, ProviderAct, ProviderFault, ProviderSettings, ProviderTime, ProviderWatch, RootSecret, StateMac,
    TransitSettings, Unlock, Unwatched, Witness, Wrapped, found_provider, open_provider,
};
pub use record::{DekRecord, KeyKind, KeyName, ProviderKind, RECORD_BYTES, Record, RootFields, Unverified};
pub use remote::{Connector, Link, RemoteAuthority, answer};
pub use reroot::SubjectsStep;
pub use restored::RestoreNote;
pub use revocations::{Place, Revocation, RevocationKind, Revocations};
pub use rotate::{RotationPlan, RotationProgress, ScanEvidence};
pub use row::{OpenedRow, ROW_HEADER_BYTES, ROW_OVERHEAD_BYTES, RowKey, row_version};
pub use segment::{
    CHUNK_BYTES, CHUNKS_MAX, ChunkSpan, HEADER_BYTES, Last, SEALED_CHUNK_BYTES, SEGMENT_BYTES_MAX, SegmentInfo,
    SegmentKind, SegmentOpener, SegmentSealer, TAG_BYTES, chunk_count, plain_len, sealed_len,
};
pub use service::{Clock, EARLY_SECONDS, GeoKeyService, KeyProbe, LEASE_SECONDS, RETENTION_SECONDS};
pub use shred_log::{Replayed, Shred, Shredded};
pub use signer::LogSigner;
pub use status::{RootStatus, ServiceStatus, TenantStatus};
pub use tenant_keys::{BucketKey, CredentialSecret, Dek, SubjectKey, TenantKeys};
pub use version_life::{
    DESTROY_AFTER_SECONDS, DESTROY_AFTER_SECONDS_MAX, DESTROY_AFTER_SECONDS_MIN, DESTROY_COMPROMISED_AFTER_SECONDS,
};
