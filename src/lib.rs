//! geoseal: an S3-compatible object store for data that must stay in its geography, is encrypted under its owner's own
//! key, and is provably gone when the owner has left.
//!
//! ARCHITECTURE.md has the walk of a request and the map.

#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod audit;
pub mod backup;
pub mod blob;
pub mod cli;
pub mod config;
pub mod directory;
pub mod edge;
pub mod export;
pub mod feature;
pub mod gate;
pub mod holds;
pub mod index;
pub mod ingest;
pub mod keylink;
pub mod model;
pub mod pace;
pub mod regions;
pub mod rekey;
pub mod report;
pub mod s3;
pub mod seal;
pub mod store;
pub mod subject;
pub mod sweep;
pub mod telemetry;
pub mod tenancy;
pub mod tenant;
