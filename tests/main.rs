//! All tests that need the running product, in one binary: they share the tools and one server where they can, and each
//! server binds port 0, so that any number of runs fit beside each other on one machine.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time, and are waited for in it")]

mod access;
mod api;
mod cli;
mod clients;
mod crash;
mod edge;
mod email;
mod epoch;
mod evidence;
mod features;
mod format;
mod keys;
mod life;
mod memory;
mod operations;
mod providers;
mod sealed;
mod subjects;
