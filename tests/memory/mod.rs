//! The running process seen from outside: what its memory, its files and its place in `/proc` give away.

mod hygiene;
mod outside;
mod scan;
