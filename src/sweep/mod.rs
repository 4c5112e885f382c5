//! CONDUCTOR of time: what is due is destroyed, on schedule, and certified.
//!
//! Called by the daemon's schedule and by `geoseal sweep run`. [`plan`] decides and changes nothing, so a dry run is the
//! plan; [`certificate`] is what is left of a tenant. Must not know S3 or HTTP.

pub mod certificate;
pub mod plan;
