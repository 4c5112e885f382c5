//! What the close of an epoch adds to a certificate: level S3, when it was reached, and what it rests on; and the
//! certificate of the close itself.
//!
//! Level S3 rests on the destruction of the master key, not on overwriting; so it is claimed only where a destroyed
//! master key is gone for good ([`MasterGone`]), and where nothing of the key store may have been left behind in place.

use super::certificate::{
    Certificate, CertificateError, Destruction, Level, PublicKey, Signed, Signer, sign, verified,
};
use crate::directory::{ClosePart, Outside, Replaced};
use crate::seal::KeyError;
use serde::{Deserialize, Serialize};

/// When each level was reached, by the compliance clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Inaccessible.
    pub s1: String,
    /// Absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s2: Option<String>,
    /// Irrecoverable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<String>,
}

/// The close of an epoch, as the certificates of what fell into it repeat it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochPart {
    /// Which epoch of the geo, from 1.
    pub number: u64,
    /// When its close began.
    pub opened_at: String,
    /// When the older versions of the master key were disabled.
    pub disabled_at: String,
    /// When they were destroyed.
    pub closed_at: String,
    /// The versions, each with what the provider said.
    pub masters: Vec<MasterPart>,
    /// Wrapped keys that were read back and opened, all of them under newer versions.
    pub records_scanned: u64,
    /// Backups whose key store nothing opens since, by id.
    pub backups_invalidated: Vec<String>,
}

/// A version of the master key that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MasterPart {
    /// Which.
    pub version: u32,
    /// The provider's receipt.
    pub receipt: String,
}

/// Whether a destroyed version of the master key is gone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterGone {
    /// An HSM, a Vault or a cloud KMS destroyed it; its own backups are its operator's to answer for.
    ByItsProvider,
    /// A local keyring whose sealing secret is on something that can itself be destroyed; the operator says so.
    WithItsSecret,
    /// A local keyring: whoever kept an older copy of it and its secret has the key.
    Unless,
}

impl Destruction {
    /// What may be claimed once the epoch is closed, that is once every version of the master key is destroyed under
    /// which the destroyed keys ever were wrapped.
    pub fn after_close(&self, gone: MasterGone) -> Self {
        let overwritten = self.level >= Level::S2;
        let (level, because) = match (self.records_found, gone, overwritten) {
            (1.., ..) => (self.level, self.not_higher_because.as_str()),
            (0, MasterGone::Unless, _) => {
                let why = "the local keyring's secret is not on something destroyable: an older copy of the keyring \
                           still opens with it";
                (self.level, why)
            }
            (0, _, true) => (Level::S3, ""),
            (0, _, false) => {
                (Level::S2, "the key store's file system keeps old blocks; they need a master key that is destroyed")
            }
        };
        Self { level, not_higher_because: because.to_owned(), ..self.clone() }
    }
}

/// The certificate of an epoch's close.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochCertificate {
    /// [`EpochCertificate::SCHEMA`].
    pub schema: String,
    /// Of which geo.
    pub geo: String,
    /// The close.
    pub epoch: EpochPart,
    /// Tenants that were destroyed since the epoch before, by opaque id.
    pub tenants: Vec<String>,
    /// How many data subjects' keys were.
    pub subjects: u64,
    /// How many versions of roots were.
    pub roots: u64,
    /// The first and the last entry of the shred log that it covers.
    pub shreds: (u64, u64),
    /// Of tenants that live on and removed something since the epoch before: the keys that were replaced, so that it is
    /// in no older copy that a living key opens. Since v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_replaced: Option<Vec<KeysReplaced>>,
    /// Regions of the geo that the closing server did not serve: what was removed there waits for a later close. Since v2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions_not_served: Vec<String>,
    /// The level that it gives what was absent already, and why no higher.
    pub level: Level,
    /// Empty at S3.
    pub not_higher_because: String,
    /// What it does not speak of.
    pub not_covered: Vec<String>,
    /// When it was signed.
    pub issued_at: String,
}

impl EpochCertificate {
    /// The shape's name.
    pub const SCHEMA: &'static str = "geoseal/epoch/v2";
    /// The shape before closes replaced keys of tenants that live on.
    pub const SCHEMA_V1: &'static str = "geoseal/epoch/v1";

    /// What no such certificate speaks of.
    pub fn not_covered() -> Vec<String> {
        let mut outside = Certificate::not_covered_after_close();
        outside
            .push("parts of an upload that were sent again before it was completed: the object's key is theirs".into());
        outside
    }

    /// Signs it; gives the file's text.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Signed, KeyError> {
        sign(self, signer)
    }

    /// Checks a file; needs nothing but the public key.
    pub fn verify(file: &str, key: &PublicKey) -> Result<Self, CertificateError> {
        let read: Self = serde_json::from_value(verified(file, key)?).map_err(|_| CertificateError::Malformed)?;
        let (from, to) = read.shreds;
        let known = match read.schema.as_str() {
            Self::SCHEMA => read.keys_replaced.is_some(),
            Self::SCHEMA_V1 => read.keys_replaced.is_none() && read.regions_not_served.is_empty(),
            _ => false,
        };
        let fits = known && from <= to && !read.epoch.masters.is_empty();
        if fits { Ok(read) } else { Err(CertificateError::Malformed) }
    }
}

/// What a close replaced of one tenant that lives on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysReplaced {
    /// Whose, by opaque id.
    pub tenant: String,
    /// Buckets that got a new index key.
    pub buckets: u64,
    /// Their rows that were sealed again under it.
    pub rows: u64,
    /// The root above data subjects' keys, where some were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_root: Option<RootReplaced>,
    /// The root above index keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_root: Option<RootReplaced>,
    /// What was left to the next close, and why. Where this is not empty, what the tenant removed is not yet in question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A root that was replaced; its older versions are destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootReplaced {
    /// The version before.
    pub from: u32,
    /// The version now.
    pub to: u32,
    /// Records that were wrapped or sealed again under it.
    pub records: u64,
}

/// Why a close left something of a tenant as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// Its keys were suspended.
    KeysSuspended,
    /// A bucket of it lies in a region that the closing server did not serve.
    RegionNotServed,
    /// A request held the older root's keys until the end.
    OlderRootHeld,
    /// It was being purged, or a hold keeps what is left of it.
    BeingPurged,
}

impl From<&ClosePart> for KeysReplaced {
    fn from(part: &ClosePart) -> Self {
        let root =
            |replaced: Replaced| RootReplaced { from: replaced.from, to: replaced.to, records: replaced.records };
        let left_out = part.outside.iter().map(|outside| match outside {
            Outside::Suspended => LeftOut::KeysSuspended,
            Outside::RegionNotServed => LeftOut::RegionNotServed,
            Outside::HeldOn => LeftOut::OlderRootHeld,
            Outside::Purging => LeftOut::BeingPurged,
        });
        Self {
            tenant: part.tenant.to_string(),
            buckets: part.buckets.len() as u64,
            rows: part.buckets.iter().map(|(_, replaced)| replaced.records).sum(),
            subject_root: part.subject_root.map(root),
            index_root: part.index_root.map(root),
            left_out: left_out.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k16_a_close_claims_no_more_than_the_provider_and_the_file_system_bear() {
        use Level::{S1, S2, S3};
        use MasterGone::{ByItsProvider, Unless, WithItsSecret};
        let on = |found, in_place| Destruction::judged(3, found, in_place, if in_place { "ext4" } else { "btrfs" });
        for (found, in_place, before, gone, after) in [
            (0, true, S2, ByItsProvider, S3),
            (0, true, S2, WithItsSecret, S3),
            (0, true, S2, Unless, S2),
            (0, false, S1, ByItsProvider, S2),
            (0, false, S1, WithItsSecret, S2),
            (0, false, S1, Unless, S1),
            (1, true, S1, ByItsProvider, S1),
        ] {
            let judged = on(found, in_place);
            assert_eq!(judged.level, before);
            let closed = judged.after_close(gone);
            assert_eq!((closed.level, closed.not_higher_because.is_empty()), (after, after == S3), "{gone:?}");
            assert_eq!(closed.file_system, judged.file_system);
        }
    }
}
