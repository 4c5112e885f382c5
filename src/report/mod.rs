//! EVIDENCE, pure: what a geo's audit log, its tenants' standings and the sweeper's history amount to.
//!
//! Called by `app`, which gathers what these functions are given; the admin face shows what they give, so their shapes are
//! its wire types. Promises that every figure comes from what was recorded, that a gap is named and never left out, and that
//! nothing here but a processor record asked for by an administrator holds a name. Must not know storage, keys or HTTP.
//!
//! Source: docs/evidence.md.

pub mod controls;
mod digest;
pub mod inventory;
mod period;
pub mod population;
pub mod record;
pub mod residency;
pub mod restores;
pub mod sweeps;

pub use digest::{Digest, End, Found, Seen};
pub use period::{BadPeriod, Period};
