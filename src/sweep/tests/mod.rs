//! The sweeper over real parts: fjall, a blob directory, a key service with its keyring, the audit log. Only the clock is
//! simulated, and a fuse can end the world at any of its writes.

mod crash;
mod epoch;
pub(crate) mod fuse;
mod orphans;
mod part;
mod purge;
mod versions;
pub(crate) mod world;
