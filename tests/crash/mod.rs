//! What a SIGKILL may not take away.

mod acknowledged;
