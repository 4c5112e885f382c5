//! Opaque tokens handed to clients: continuation tokens and the like. Sealed under the tenant's directory key for one
//! bucket, so they tell nothing, cannot be altered or taken elsewhere, outlive a re-key of the bucket's index, and die
//! with the tenant.

use super::Store;
use super::types::StoreError;
use crate::gate::{Admitted, act};
use crate::seal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Stands, with the bucket's id, where a row key would: tokens can never be mistaken for rows, whose keys begin with a
/// letter.
const TOKEN_ROW_KEY: &[u8] = b"\0token";
const TOKEN_KIND: u8 = b'k';
/// How long a token is good for, in seconds.
const TOKEN_KEEP_S: i64 = 86_400;

impl Store {
    /// Seals `plain` into URL-safe text that this bucket alone takes back, for a day.
    pub async fn seal_token(&self, admitted: &Admitted<act::Read>, plain: &[u8]) -> Result<String, StoreError> {
        let room = self.enter(admitted).await?;
        let until = self.now().plus_seconds(TOKEN_KEEP_S).0;
        let stamped = [&until.to_be_bytes()[..], plain].concat();
        let place = [TOKEN_ROW_KEY, &room.bucket.at.bucket.0].concat();
        let sealed = room.keys.directory().seal(TOKEN_KIND, &place, &stamped, &[]);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens such a token. Errors: `BadToken` when it is malformed, altered, expired, or another bucket's.
    pub async fn open_token(&self, admitted: &Admitted<act::Read>, token: &str) -> Result<Vec<u8>, StoreError> {
        let room = self.enter(admitted).await?;
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| StoreError::BadToken)?;
        let place = [TOKEN_ROW_KEY, &room.bucket.at.bucket.0].concat();
        let version = seal::row_version(&sealed).map_err(|_| StoreError::BadToken)?;
        let key = room.keys.directory_of_version(version).ok_or(StoreError::BadToken)?;
        let stamped = key.open(TOKEN_KIND, &place, &sealed).map_err(|_| StoreError::BadToken)?.plain;
        let (until, plain) = stamped.split_first_chunk::<8>().ok_or(StoreError::BadToken)?;
        if i64::from_be_bytes(*until) < self.now().0 {
            return Err(StoreError::BadToken);
        }
        Ok(plain.to_vec())
    }
}
