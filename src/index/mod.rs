//! MEMORY: which object lies where, under which name, in which order.
//!
//! Called by the conductors (`store`, `sweep`). Promises that what it acknowledged is durable, that names list in
//! unsigned byte order, and that a row which was changed, moved or swapped is refused. The engine below sees row keys
//! and sealed values only; this room must not know HTTP, S3's errors, tenants' states or where blobs lie.

mod acts;
pub mod anchor;
mod books;
mod bucket;
mod consolidate;
mod dating;
mod due;
pub mod engine;
mod error;
mod fence;
mod fences;
pub mod fjall;
mod group;
mod keyed;
mod leaf;
mod list;
pub mod memory;
mod probe;
mod raw;
mod region;
mod rekey;
mod removals;
mod replace;
pub mod row_keys;
pub mod rows;
mod saver;
mod subjects;
mod succession;
mod uploads;
mod usage;
mod versions;
mod writer;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod tests;

pub use acts::{Condition, Dating, Keep, Keeper};
pub use anchor::{Anchor, AnchorFault, AnchorStore, AnchorStoreError};
pub use bucket::OpenBucket;
pub use due::Due;
pub use engine::{Batch, Direction, Engine, EngineError, KeyRange, Snapshot};
pub use error::{Damage, IndexError};
pub use fence::{Fence, FenceLine};
pub use fjall::{FjallEngine, FjallOptions};
pub use list::{ListEntry, ListPage, ListQuery};
pub use memory::MemoryEngine;
pub use probe::RowsProbed;
pub use raw::{RawRows, RowCount, Unfinished};
pub use region::{Found, FromUpload, IndexOptions, OpenFault, Put, PutObject, RegionIndex, Scanned, danger};
pub use rekey::{Resealed, UnderOldKey};
pub use removals::Removal;
pub use row_keys::{DueKey, PlaceKey, RowKind};
pub use subjects::SubjectPlace;
pub use usage::Usage;
pub use versions::{VersionsPage, VersionsQuery};
