//! Which notices of a tenant's coming end were delivered: `z | tenant id`, sealed under the geo's directory key. Stages, times
//! and counts. Goes with the tenant.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::Batch;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::tenant::notice::Stage;
use minicbor::{Decode, Encode};

/// What was delivered of one termination, and what is being tried.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Notices {
    /// T: another termination begins anew.
    #[n(0)]
    pub terminated: Millis,
    /// Those that arrived.
    #[n(1)]
    pub sent: Vec<Sent>,
    /// How often the next one was tried.
    #[n(2)]
    pub attempts: u32,
    /// Not before this time by the wall is it tried again.
    #[n(3)]
    pub not_before: Millis,
}

/// A notice that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Sent {
    /// Which.
    #[n(0)]
    pub stage: Stage,
    /// When, by the wall.
    #[n(1)]
    pub at: Millis,
    /// After how many attempts.
    #[n(2)]
    pub attempts: u32,
}

impl Notices {
    /// None yet.
    pub fn of(terminated: Millis) -> Self {
        Self { terminated, sent: Vec::new(), attempts: 0, not_before: Millis(i64::MIN) }
    }

    /// When this one arrived.
    pub fn sent(&self, stage: Stage) -> Option<&Sent> {
        self.sent.iter().find(|sent| sent.stage == stage)
    }
}

impl Directory {
    /// What was delivered of the termination at `terminated`.
    pub async fn notices(&self, tenant: TenantId, terminated: Millis) -> Result<Notices, DirectoryError> {
        let row_key = rows::row_key(kind::NOTICES, &[&tenant.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(Notices::of(terminated)) };
        let opened = self.keys.geo_keys().open(kind::NOTICES, &row_key, &sealed)?;
        let found: Notices = rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)?;
        Ok(if found.terminated == terminated { found } else { Notices::of(terminated) })
    }

    /// Keeps this in the place of what was known; durable on return.
    pub async fn keep_notices(&self, tenant: TenantId, notices: &Notices) -> Result<(), DirectoryError> {
        let row_key = rows::row_key(kind::NOTICES, &[&tenant.0]);
        let _sealing = self.sealing.read().await;
        let sealed = self.keys.geo_keys().directory().seal(kind::NOTICES, &row_key, &rows::encode(notices), &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        Ok(self.engine.commit(batch).await?)
    }
}
