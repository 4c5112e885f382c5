//! What one served region consists of. Shared by the conductors; decides nothing.

use crate::blob::{BlobStore, Readers};
use crate::index::RegionIndex;
use crate::model::atlas::Region;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// One served region.
pub struct RegionRoots {
    /// Which region.
    pub region: &'static Region,
    /// Its rows.
    pub index: RegionIndex,
    /// Its sealed bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// Who reads them, and what is kept for that long.
    pub readers: Readers,
    /// Largest object whose segment rides in the index, in plaintext bytes.
    pub inline_bytes_max: usize,
}

/// The served regions by id.
pub type Regions = Arc<HashMap<&'static str, Arc<RegionRoots>>>;

impl fmt::Debug for RegionRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionRoots({})", self.region.id)
    }
}
