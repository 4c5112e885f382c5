//! What each fuzz target asserts about bytes that came from somewhere else. Called by the targets under libFuzzer and,
//! on a stable toolchain, by the seeded mutations of `tests/fuzz/`, which take this file as it is.
//!
//! Each check takes any bytes, never fails on bytes that are merely wrong, and panics when something untrue was believed.

pub mod admin;
pub mod ingest;
pub mod keys;
pub mod precheck;
pub mod record;
pub mod row;
pub mod segment;
