//! Words: the nouns every other room uses. No I/O, nothing of ours below it.
//!
//! Called by all rooms. Promises that a value of these types is well formed (parsed once, at the door). Must not
//! know sockets, engines, keys or S3.

pub mod atlas;
pub mod batch;
pub mod classes;
pub mod clock;
pub mod cryptoperiod;
pub mod dsr;
pub mod ids;
pub mod lifecycle;
pub mod limits;
pub mod login;
pub mod names;
pub mod object;
pub mod request;
pub mod standing;
pub mod time;
pub mod traffic;
pub mod versioning;
