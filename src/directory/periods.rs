//! Since when each current version of a key is the current one, and what hung on it then: `q | tenant id` (zeros: the
//! geo's own), sealed under the geo's directory key. Ids, versions, times and counts.
//!
//! Written by the rotation schedule, which alone knows what the ids say. It goes with the tenant.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::Batch;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use minicbor::{Decode, Encode};

/// What is known of one key's current version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Period {
    /// Which key of the tenant.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub key: [u8; 16],
    /// Its version.
    #[n(1)]
    pub version: u32,
    /// Since when that is the current one, by the compliance clock.
    #[n(2)]
    pub since: Millis,
    /// Records that hung on it when they were counted first.
    #[n(3)]
    pub records: Option<u64>,
}

impl Directory {
    /// What is known of a tenant's keys.
    pub async fn periods(&self, tenant: TenantId) -> Result<Vec<Period>, DirectoryError> {
        let row_key = rows::row_key(kind::PERIODS, &[&tenant.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(Vec::new()) };
        let opened = self.keys.geo_keys().open(kind::PERIODS, &row_key, &sealed)?;
        rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
    }

    /// Keeps this in the place of what was known; durable on return.
    pub async fn keep_periods(&self, tenant: TenantId, periods: &Vec<Period>) -> Result<(), DirectoryError> {
        let row_key = rows::row_key(kind::PERIODS, &[&tenant.0]);
        let _sealing = self.sealing.read().await;
        let sealed = self.keys.geo_keys().directory().seal(kind::PERIODS, &row_key, &rows::encode(periods), &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        Ok(self.engine.commit(batch).await?)
    }
}
