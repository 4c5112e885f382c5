//! Whether rows are sealed: some of a bucket's, as the engine has them, are opened, changed and opened again.
//!
//! Called by `sweep`, for the record. Reads only.

use super::bucket::OpenBucket;
use super::engine::{Direction, KeyRange};
use super::error::IndexError;
use super::region::RegionIndex;
use super::row_keys::{self, RowKind};
use crate::seal::{OpenClass, ROW_HEADER_BYTES};
use std::sync::Arc;

/// The beginning of a sealed segment, which is what may ride behind a row.
const SEGMENT_MAGIC: &[u8] = b"\x89SEG\r\n\x1a\n";

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsProbed {
    /// Rows looked at.
    pub rows: u32,
    /// Of these, rows that are not sealed, do not open, or open after a change.
    pub failed: u32,
}

impl RegionIndex {
    /// Looks at up to `limit` rows of objects of a bucket. Errors: the keys may not be used now.
    pub async fn probe_rows(&self, bucket: &Arc<OpenBucket>, limit: usize) -> Result<RowsProbed, IndexError> {
        let range = KeyRange::prefix(&row_keys::of_bucket(RowKind::Object, bucket.bucket));
        let page = self.shared.engine.scan(range, limit, Direction::Ascending).await?;
        let mut probed = RowsProbed::default();
        for (row_key, mut value) in page {
            let sealed = loop {
                let keyed = self.shared.keyed.newest(bucket);
                keyed.key.check().map_err(|_| IndexError::KeysExpired)?;
                if is_sealed(&keyed, &row_key, &value)? {
                    break Some(true);
                }
                // Under a key that was changed meanwhile, or not what stands there any more: look again.
                match self.shared.engine.get(&row_key).await? {
                    None => break None,
                    Some(now) if now != value => value = now,
                    Some(_) if !self.shared.keyed.is_newest(&keyed) => {}
                    Some(_) => break Some(false),
                }
            };
            probed.rows += u32::from(sealed.is_some());
            probed.failed += u32::from(sealed == Some(false));
        }
        Ok(probed)
    }
}

/// Whether a row opens where it stands, shows nothing of what is in it, and does not open with one bit of it changed.
fn is_sealed(bucket: &OpenBucket, row_key: &[u8], value: &[u8]) -> Result<bool, IndexError> {
    let key = bucket.key_of(value).row_key();
    let opened = match key.open(RowKind::Object as u8, row_key, value) {
        Ok(opened) => opened,
        Err(error) => match error.class() {
            OpenClass::Expired => return Err(IndexError::KeysExpired),
            OpenClass::Revoked | OpenClass::Withheld | OpenClass::Erased => return Err(IndexError::KeysWithheld),
            _ => return Ok(false),
        },
    };
    let shows = value.windows(opened.plain.len().max(1)).any(|window| window == opened.plain);
    let rides_open = !opened.trailing.is_empty() && !opened.trailing.starts_with(SEGMENT_MAGIC);
    let mut changed = value.to_vec();
    if let Some(byte) = changed.get_mut(ROW_HEADER_BYTES) {
        *byte ^= 1;
    }
    Ok(!shows && !rides_open && key.open(RowKind::Object as u8, row_key, &changed).is_err())
}
