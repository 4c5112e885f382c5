//! The door from outside: real sockets, real TLS, deadlines shortened. docs/threat-cases.md T-01 to T-05, T-07, PX-06.

mod certificates;
mod deadlines;
mod rig;
mod smuggling;
mod versions;
