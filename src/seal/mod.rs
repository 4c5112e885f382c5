//! ADAPTER to the keys crate: the only folder here that names `geoseal_keys`. Other rooms take key types from here.

pub use geoseal_keys::*;
