//! What may not be found outside: in the data directory, in the logs.

mod canary;
pub(crate) mod needles;
