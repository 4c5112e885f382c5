//! The face for operators, auditors and the console: JSON over HTTPS under `/admin/v1`, each route naming its role.
//!
//! Called by `app`, which hands in something that [`Acts`](acts::Acts). Promises that no route answers without
//! credentials but `/healthz` and `/readyz`, that an unknown field or query parameter is refused, that a POST repeated
//! under one `Idempotency-Key` acts once, and that every refusal is an RFC 9457 body with a `code`. Must not know how
//! tenants, keys or the log are stored.

pub mod acts;
pub mod admins;
pub mod auth;
pub mod backups;
mod call;
pub mod clocks;
pub mod compromise;
pub mod contacts;
mod door;
pub mod dsrs;
pub mod epochs;
pub mod error;
pub mod evidence;
pub mod features;
pub mod grants;
pub mod holds;
pub mod http;
pub mod lobby;
mod openapi;
pub mod operations;
pub mod proposals;
pub mod quotas;
mod replay;
mod routes;
pub mod schedules;
pub mod transparency;
pub mod wire;

#[cfg(test)]
mod tests;
