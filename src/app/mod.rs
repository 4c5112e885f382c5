//! Wiring: builds each room and hands it to the next; answers the traits by which rooms ask one another.
//!
//! Called by `main`. Promises that nothing listens before everything it needs is open and checked. Decides nothing
//! about requests.

mod acts;
mod admins;
mod anchors;
mod backups;
mod clocks;
mod compromise;
mod contacts;
mod deferrals;
mod demo;
mod dsrs;
mod dsrwork;
mod early;
mod epochs;
mod exports;
mod features;
mod holds;
mod house;
mod key_link;
mod key_service;
mod keyend;
mod keys;
mod keywork;
mod notices;
mod probes;
mod process;
mod providers;
mod quotas;
mod register;
mod reports;
mod schedule;
mod serve;
#[cfg(test)]
mod simulation;
mod subjects;
mod sweeps;
mod tenants;
mod transparency;
mod witness;

pub use backups::restore_backup;
pub use key_service::{found_keys, serve_keys};
pub use serve::{found, serve, serve_dev};
pub use transparency::{first_difference, verify_certificate, verify_growth, verify_log, verify_proof, write_log};

use crate::model::atlas::Geo;
use crate::seal::KeyError;
use std::path::PathBuf;

/// Why the server does not start. Every message says which part, and what to do where somebody can do something.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// No region is configured.
    #[error("no region is configured: list at least one under [[regions]]")]
    NoRegion,
    /// The passphrase.
    #[error("the passphrase is not UTF-8 text")]
    PassphraseNotText,
    /// Keys.
    #[error("keys of {geo}: {error}")]
    Keys {
        /// Whose.
        geo: &'static str,
        /// Why.
        error: KeyError,
    },
    /// The clock.
    #[error("the compliance clock: {0}")]
    Clock(#[from] crate::model::clock::ClockError),
    /// An engine.
    #[error("{0}")]
    Engine(#[from] crate::index::EngineError),
    /// A region's index.
    #[error("index of {region}: {error}")]
    Index {
        /// Which.
        region: &'static str,
        /// Why.
        error: crate::index::OpenFault,
    },
    /// A rollback was to be accepted, and there is none: the flag is for one start.
    #[error("the index of {0} was not rolled back: start without --accept-rollback")]
    NothingRolledBack(&'static str),
    /// A rollback was to be accepted in a region that is not served.
    #[error("{0} is not one of the configured regions: nothing to accept there")]
    RollbackElsewhere(&'static str),
    /// A restored key store was to be accepted, and it is not older than its witness: the flag is for one start.
    #[error("the key store of {0} is not older than its witness: start without --accept-restore")]
    NothingRestored(&'static str),
    /// A restored key store was to be accepted of a geo that is not served.
    #[error("no region of {0} is configured: nothing to accept there")]
    RestoreElsewhere(&'static str),
    /// A backup.
    #[error("the backup was not put back: {0}")]
    Restore(String),
    /// What a restored backup brought back of destroyed tenants could not be deleted again.
    #[error("what was destroyed since the backup could not be deleted again: {0}")]
    Redelete(String),
    /// A blob store.
    #[error("blobs: {0}")]
    Blob(#[from] crate::blob::BlobError),
    /// The audit log.
    #[error("the audit log: {0}")]
    Audit(#[from] crate::audit::AuditError),
    /// The audit log is not the one that its witness saw.
    #[error(
        "{error}; put the newest log of {geo} back. If it is lost for good: move {} aside, and the log will say that its \
         witness began anew",
        path.display()
    )]
    Witness {
        /// Whose log.
        geo: &'static str,
        /// The witness.
        path: PathBuf,
        /// What it says.
        error: crate::audit::WitnessError,
    },
    /// Certificates of a listener.
    #[error("certificate: {0}")]
    Certificate(#[from] crate::edge::CertificateError),
    /// The admin token.
    #[error("the admin token is too weak: at least 32 random characters, such as: openssl rand -hex 32")]
    WeakToken,
    /// A socket.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The disk.
    #[error("{}: {error}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A link to keys.
    #[error(transparent)]
    Link(#[from] crate::keylink::LinkError),
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
    /// Logs.
    #[error(transparent)]
    Logs(#[from] crate::telemetry::LogsError),
    /// What a crash cut off could not be carried out.
    #[error("acts that a crash cut off could not be carried out: {0}")]
    Resume(String),
    /// What `dev` prepares at its first start.
    #[error("the demo tenant could not be made: {0}")]
    Demo(String),
}

impl AppError {
    /// Whether a key provider or key service is out of reach, and trying again later may help.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Keys { error, .. } if error.is_outage())
    }

    fn keys(geo: &'static Geo, error: KeyError) -> Self {
        Self::Keys { geo: geo.id, error }
    }
}
