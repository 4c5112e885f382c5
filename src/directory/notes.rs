//! How far a tenant's destruction is: `g | tenant`, sealed under the geo's directory key, because it has to be read when
//! the tenant's own keys are gone. Written by `sweep`, which alone knows what it says; ids, counts and hashes only. It
//! goes in the commit that makes the tenant PURGED.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::Batch;
use crate::model::ids::TenantId;

impl Directory {
    /// The note about a tenant's destruction, as it was kept last.
    pub async fn purge_note(&self, id: TenantId) -> Result<Option<Vec<u8>>, DirectoryError> {
        let row_key = rows::row_key(kind::NOTE, &[&id.0]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        Ok(Some(self.keys.geo_keys().open(kind::NOTE, &row_key, &sealed)?.plain))
    }

    /// Keeps the note in place of the one before; durable on return.
    pub async fn keep_purge_note(&self, id: TenantId, note: &[u8]) -> Result<(), DirectoryError> {
        let row_key = rows::row_key(kind::NOTE, &[&id.0]);
        let _sealing = self.sealing.read().await;
        let sealed = self.keys.geo_keys().directory().seal(kind::NOTE, &row_key, note, &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        Ok(self.engine.commit(batch).await?)
    }
}
