//! What a SIGKILL may not take away.

mod acknowledged;
mod changes;
mod orphans;
mod splits;
mod witness;
