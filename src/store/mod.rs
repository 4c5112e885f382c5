//! CONDUCTOR of object acts: seal → blob → index → audit, and back. One file per act.
//!
//! Called by `s3`. Every method takes an [`Admitted`](crate::gate::Admitted) value, so nothing here asks who the
//! caller is. Must not know HTTP.

pub mod conditions;
pub mod digest;
pub mod types;
