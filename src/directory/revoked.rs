//! Tokens of the admin API that were revoked: `i | fingerprint(16)`, sealed under the geo's directory key. The settings still
//! name the token's file; this says that it opens nothing any more. Written into every served geo.

use super::rows::{self, kind};
use super::{Directory, DirectoryError, SCAN};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::time::Millis;
use minicbor::{Decode, Encode};

/// A token that was revoked.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RevokedToken {
    /// SHA-256 of the token.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub fingerprint: [u8; 32],
    /// Whose it was, as the log knows them.
    #[n(1)]
    pub who: String,
    /// Who revoked it, as the log knows them.
    #[n(2)]
    pub by: String,
    /// When, by the wall.
    #[n(3)]
    pub at: Millis,
}

impl Directory {
    /// Keeps it; durable on return.
    pub async fn revoke_token(&self, token: &RevokedToken) -> Result<(), DirectoryError> {
        let _sealing = self.sealing.read().await;
        let fingerprint: [u8; 16] = token.fingerprint[..16].try_into().expect("16 of 32 bytes");
        let row_key = rows::row_key(kind::REVOKED, &[&fingerprint]);
        let sealed = self.keys.geo_keys().directory().seal(kind::REVOKED, &row_key, &rows::encode(token), &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        Ok(self.engine.commit(batch).await?)
    }

    /// All of them, in no order.
    pub async fn revoked_tokens(&self) -> Result<Vec<RevokedToken>, DirectoryError> {
        let (mut range, mut found) = (KeyRange::prefix(&[kind::REVOKED]), Vec::new());
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                let opened = self.keys.geo_keys().open(kind::REVOKED, row_key, sealed)?;
                found.push(rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)?);
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }
}
