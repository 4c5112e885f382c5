//! Lifecycle rules, acted on by time. An object that a rule is about has a due row, written in the commit of the object
//! itself; nothing scans a bucket to find what is due.
//!
//! [`expire()`] reads the due rows and removes what the rules, as they are now, say is over; `walk` gives the objects of a
//! bucket whose rules were replaced their new due rows. Both are repeated without harm, and resumed after a crash: a due
//! row goes in the commit that removes its object, a walk keeps its place.
//!
//! Invariant: the `due` of an object's row names the due row that stands for it, in every commit.

mod acts;
mod expire;
mod lifetimes;
mod walk;

pub(super) use expire::expire;
pub(super) use walk::walk;
