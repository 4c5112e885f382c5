//! What people said when they acted: `x | tenant | first half of the entry's hash`, sealed under the tenant's directory key. An
//! entry of the log has only a salted hash, and the salt lies here with the words: once the tenant's keys are destroyed, neither
//! the words nor a way to guess them is left, and the entry verifies as before.

use super::reroot::open;
use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::Batch;
use crate::model::ids::TenantId;
use minicbor::{Decode, Encode};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

/// Words, and what their hash was made with.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Words {
    #[cbor(n(0), with = "minicbor::bytes")]
    salt: [u8; 32],
    #[n(1)]
    text: String,
}

impl Words {
    /// SHA-256 of the salt and the text.
    fn hash(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(&self.salt);
        context.update(self.text.as_bytes());
        context.finish().as_ref().try_into().expect("SHA-256 is 32 bytes")
    }
}

impl Directory {
    /// Keeps words under a tenant's keys, durably, and answers the salted hash for the log. Where those keys do not open, the
    /// words are kept nowhere, and their hash says nothing: no act waits for its reason.
    pub async fn keep_words(&self, tenant: TenantId, text: &str) -> Result<[u8; 32], DirectoryError> {
        let mut salt = [0; 32];
        SystemRandom::new().fill(&mut salt).expect("the operating system gives random bytes");
        let words = Words { salt, text: text.to_owned() };
        let hash = words.hash();
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let Ok(keys) = self.keys(tenant).await else { return Ok(hash) };
        let row_key = row_key(tenant, &hash);
        let mut batch = Batch::new();
        batch.put(row_key.clone(), keys.directory().seal(kind::WORDS, &row_key, &rows::encode(&words), &[]));
        self.engine.commit(batch).await?;
        Ok(hash)
    }

    /// The words behind a hash of the log. `None`: there are none any more, or never were.
    pub async fn words(&self, tenant: TenantId, hash: &[u8; 32]) -> Result<Option<String>, DirectoryError> {
        let row_key = row_key(tenant, hash);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        let keys = self.keys(tenant).await?;
        let words: Words = open(&keys, kind::WORDS, &row_key, &sealed)?;
        if words.hash() == *hash { Ok(Some(words.text)) } else { Err(DirectoryError::Integrity) }
    }
}

fn row_key(tenant: TenantId, hash: &[u8; 32]) -> Vec<u8> {
    let half = hash[..16].try_into().expect("16 of 32 bytes");
    rows::row_key(kind::WORDS, &[&tenant.0, half])
}
