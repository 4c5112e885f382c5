//! MEMORY: which object lies where, under which name, in which order.
//!
//! Called by the conductors (`store`, `sweep`). Promises that what it acknowledged is durable, that names list in
//! unsigned byte order, and that a row which was changed, moved or swapped is refused. The engine below sees row keys
//! and sealed values only; this room must not know HTTP, S3's errors, tenants' states or where blobs lie.

pub mod engine;
pub mod fjall;
pub mod memory;

#[cfg(test)]
mod contract;

pub use engine::{Batch, Direction, Engine, EngineError, KeyRange};
pub use fjall::{FjallEngine, FjallOptions};
pub use memory::MemoryEngine;
