//! What somebody can do to the files of a stopped or running server, and what it says to that: it serves what is whole,
//! refuses what is not, tells the audit log, and never lets a byte out that did not verify.

mod attack;
mod blobs;
mod geo;
mod keys;
mod memory;
mod races;
mod rows;
mod swaps;

pub(crate) use attack::blobs as blobs_of;
