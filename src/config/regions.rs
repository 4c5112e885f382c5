//! `[[regions]]`: what is served here, and where its blobs lie.

use crate::model::atlas::{GEOS, Geo, Region};
use crate::model::limits::INLINE_BYTES_MAX;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// One region served.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionConfig {
    /// The region.
    pub region: &'static Region,
    /// Its geo.
    pub geo: &'static Geo,
    /// Where its blobs lie.
    pub blobs: BlobsConfig,
    /// Largest object, in plaintext bytes, that rides in the index commit.
    pub inline_bytes_max: usize,
}

/// Where a region's blobs lie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlobsConfig {
    /// In the region's own directory under `data_dir`.
    Local,
    /// In a bucket of an S3-compatible store.
    S3(S3Blobs),
}

/// A bucket of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Blobs {
    /// `https://HOST[:PORT]`; plain `http` for a loopback address only.
    pub endpoint: String,
    /// The bucket, which must exist.
    pub bucket: String,
    /// The region name that the store wants in its signatures.
    pub region: String,
    /// TOML file with `access_key_id`, `secret_access_key`, and `session_token` where needed.
    pub credentials_file: PathBuf,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Put before every blob's name.
    pub prefix: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRegion {
    /// The region's id.
    id: String,
    blobs: BlobsConfig,
    /// Largest object that rides in the index commit.
    inline_bytes_max: Option<usize>,
}

impl BlobsConfig {
    pub(super) fn s3(&self) -> Option<&S3Blobs> {
        match self {
            Self::Local => None,
            Self::S3(blobs) => Some(blobs),
        }
    }
}

pub(super) fn check(listed: Vec<FileRegion>, base: &Path, wrong: &mut Vec<String>) -> Vec<RegionConfig> {
    if listed.is_empty() {
        wrong.push(format!("regions: list at least one; there is no default. {}", valid_regions()));
    }
    let mut served: Vec<RegionConfig> = Vec::new();
    for FileRegion { id, mut blobs, inline_bytes_max } in listed {
        let Some((geo, region)) = Region::find(&id) else {
            wrong.push(format!("regions: unknown region {id:?}. {}", valid_regions()));
            continue;
        };
        let inline_bytes_max = inline_bytes_max.unwrap_or(INLINE_BYTES_MAX);
        if inline_bytes_max > INLINE_BYTES_MAX {
            wrong.push(format!("regions, {id}: inline_bytes_max = {inline_bytes_max}: at most {INLINE_BYTES_MAX}"));
        }
        if let BlobsConfig::S3(s3) = &mut blobs {
            s3.credentials_file = base.join(&s3.credentials_file);
            s3.ca_file = s3.ca_file.as_ref().map(|file| base.join(file));
        }
        for other in &served {
            if other.region == region {
                wrong.push(format!("regions: {id} is listed twice"));
            } else if other.blobs.s3().is_some_and(|a| blobs.s3().is_some_and(|b| is_same_place(a, b))) {
                wrong.push(format!(
                    "regions: {id} and {} would mix their blobs: give them two buckets, or a prefix each",
                    other.region.id
                ));
            }
        }
        served.push(RegionConfig { region, geo, blobs, inline_bytes_max });
    }
    served
}

fn is_same_place(a: &S3Blobs, b: &S3Blobs) -> bool {
    // One prefix inside the other would show one region's blobs in the other's listing.
    let (pa, pb) = (a.prefix.as_deref().unwrap_or(""), b.prefix.as_deref().unwrap_or(""));
    let nested = |inner: &str, outer: &str| {
        outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    a.endpoint == b.endpoint && a.bucket == b.bucket && (nested(pa, pb) || nested(pb, pa))
}

fn valid_regions() -> String {
    let ids: Vec<_> = GEOS.iter().flat_map(|geo| geo.regions).map(|region| region.id).collect();
    format!("Valid ids: {}", ids.join(", "))
}
