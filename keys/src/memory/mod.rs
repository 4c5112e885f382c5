//! The one module with `unsafe`: memory that is locked, kept out of core files, and overwritten.
//!
//! [`arena`] is where keys live; [`wipe`] overwrites what another crate leaves behind. Everything else in this crate, and
//! all of the house above it, is safe code.
#![allow(unsafe_code)]

mod arena;
mod wipe;

pub(crate) use arena::Slot;
pub use arena::{KeyMemory, key_memory};
pub(crate) use wipe::{Wiped, scrubbed};
