//! The sweeper's runs: `y | when it began | zeros`, sealed under the geo's directory key. Times and counts.

use super::rows::{self, kind};
use super::{Directory, DirectoryError};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::time::Millis;
use minicbor::{Decode, Encode};

/// Seconds for which a run is kept: 400 days.
const KEEP_S: i64 = 400 * 86_400;
/// Runs that are forgotten at once.
const FORGET_MAX: usize = 64;

/// One run of the sweeper.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SweepRun {
    /// When it began, by the compliance clock.
    #[n(0)]
    pub started: Millis,
    /// When it ended; none: it failed as a whole.
    #[n(1)]
    pub ended: Option<Millis>,
    /// Acts that it carried out.
    #[n(2)]
    pub acts: u64,
    /// Acts that it left to the next one.
    #[n(3)]
    pub skipped: u64,
    /// Seconds by which the longest due act was late after it.
    #[n(4)]
    pub late_s: u64,
}

impl Directory {
    /// Keeps a run, and forgets those that are older than 400 days; durable on return.
    pub async fn keep_sweep(&self, run: &SweepRun) -> Result<(), DirectoryError> {
        let _sealing = self.sealing.read().await;
        let row_key = row_key(run.started);
        let sealed = self.keys.geo_keys().directory().seal(kind::SWEEP, &row_key, &rows::encode(run), &[]);
        let old = KeyRange { end: Some(self::row_key(run.started.plus_seconds(-KEEP_S))), ..all() };
        let mut batch = Batch::new();
        self.engine.scan_keys(old, FORGET_MAX).await?.into_iter().for_each(|row_key| batch.delete(row_key.to_vec()));
        batch.put(row_key, sealed);
        Ok(self.engine.commit(batch).await?)
    }

    /// The newest `limit` runs, newest first.
    pub async fn sweeps(&self, limit: usize) -> Result<Vec<SweepRun>, DirectoryError> {
        let page = self.engine.scan(all(), limit, Direction::Descending).await?;
        let open = |(row_key, sealed): &(bytes::Bytes, bytes::Bytes)| {
            let opened = self.keys.geo_keys().open(kind::SWEEP, row_key, sealed)?;
            rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
        };
        page.iter().map(open).collect()
    }
}

fn all() -> KeyRange {
    KeyRange::prefix(&[kind::SWEEP])
}

fn row_key(started: Millis) -> Vec<u8> {
    let mut at = [0; 16];
    at[..8].copy_from_slice(&u64::try_from(started.0).unwrap_or(0).to_be_bytes());
    rows::row_key(kind::SWEEP, &[&at])
}
