//! Messages that are followed, `v | tenant | token`, and users who are not captured, `u | tenant | token`: keyed tokens
//! under the tenant's register key, never the ids they stand for. Sealed under the geo's directory key; they go with the
//! tenant, and without its keys nobody can tell what they stand for.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::Batch;
use crate::model::ids::TenantId;
use crate::model::time::Millis;

impl Directory {
    /// Registers a message as followed from now on; one that is stays as it is. Whether it is new.
    pub async fn follow(&self, tenant: TenantId, message: &str, now: Millis) -> Result<bool, DirectoryError> {
        let row_key = self.register_row_key(kind::FOLLOWED, tenant, "message", message).await?;
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        if self.engine.get(&row_key).await?.is_some() {
            return Ok(false);
        }
        let sealed = self.keys.geo_keys().directory().seal(kind::FOLLOWED, &row_key, &rows::encode(&now), &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        self.engine.commit(batch).await?;
        Ok(true)
    }

    /// Takes a registration away. Whether there was one.
    pub async fn unfollow(&self, tenant: TenantId, message: &str) -> Result<bool, DirectoryError> {
        let row_key = self.register_row_key(kind::FOLLOWED, tenant, "message", message).await?;
        let _change = self.change.lock().await;
        if self.engine.get(&row_key).await?.is_none() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(row_key);
        self.engine.commit(batch).await?;
        Ok(true)
    }

    /// Since when a message is followed; `None`: it is not.
    pub async fn followed_since(&self, tenant: TenantId, message: &str) -> Result<Option<Millis>, DirectoryError> {
        let row_key = self.register_row_key(kind::FOLLOWED, tenant, "message", message).await?;
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        let opened = self.keys.geo_keys().open(kind::FOLLOWED, &row_key, &sealed)?;
        rows::decode(&opened.plain).ok_or(DirectoryError::Integrity).map(Some)
    }

    /// Whether what a user tracks may be captured.
    pub async fn is_captured(&self, tenant: TenantId, user: &str) -> Result<bool, DirectoryError> {
        let row_key = self.register_row_key(kind::UNCAPTURED, tenant, "user", user).await?;
        Ok(self.engine.get(&row_key).await?.is_none())
    }

    /// Sets that. No object that was allowed before is under way on return.
    pub async fn capture(&self, tenant: TenantId, user: &str, on: bool) -> Result<(), DirectoryError> {
        let row_key = self.register_row_key(kind::UNCAPTURED, tenant, "user", user).await?;
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let _commits = self.commits.write().await;
        let mut batch = Batch::new();
        match on {
            true => batch.delete(row_key),
            false => {
                let sealed = self.keys.geo_keys().directory().seal(kind::UNCAPTURED, &row_key, &[], &[]);
                batch.put(row_key, sealed);
            }
        }
        Ok(self.engine.commit(batch).await?)
    }

    /// The token is of the kind of thing as well as of its id; no id has a control character.
    async fn register_row_key(
        &self,
        kind: u8,
        tenant: TenantId,
        what: &str,
        id: &str,
    ) -> Result<Vec<u8>, DirectoryError> {
        let key = self.register_key(tenant).await?;
        let token = key.token(format!("{what}\0{id}").as_bytes())?;
        Ok(rows::row_key(kind, &[&tenant.0, &token]))
    }
}
