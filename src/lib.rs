//! geoseal: an S3-compatible object store for data that must stay in its geography, is encrypted under its owner's own
//! key, and is provably gone when the owner has left.
//!
//! The modules stand in the order in which one request walks through them; ARCHITECTURE.md has the map.

#![forbid(unsafe_code)]

<<<<<<< HEAD
pub mod admin;
pub mod audit;
pub mod blob;
pub mod config;
=======
>>>>>>> bc7eae5 (store: the conductor; directory; register (wip))
pub mod edge;
pub mod gate;
pub mod store;

pub mod blob;
pub mod directory;
pub mod index;

pub mod admin;
pub mod config;
pub mod rekey;
pub mod seal;
pub mod telemetry;
pub mod tenant;

pub mod model;
