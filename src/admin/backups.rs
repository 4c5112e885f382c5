//! Backups: the routes, and what they take and give.

use super::auth::Role;
use super::error::ActError;
use super::routes::{Effect, Route, acts, looks, ok, operation};
use super::wire::{Operation, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `POST /admin/v1/backups`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBackup {
    /// A directory on the server's machine, absolute, that does not exist yet or is empty.
    pub out: PathBuf,
    /// Link blobs instead of copying them; the directory has to be on the file system of the data.
    #[serde(default)]
    pub link: bool,
}

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Of which moment it is.
    pub at: Time,
    /// Rows of indexes and directories.
    pub rows: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes, all files together.
    pub bytes: u64,
    /// SHA-256 of its signed manifest.
    pub manifest_sha256: String,
}

/// A backup that the key service remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownBackup {
    /// Its id.
    pub id: String,
    /// Of which geo.
    pub geo: String,
    /// When it was made.
    pub at: Time,
    /// The newest version of the master key that its key store needs, such as `mk/europe/3`.
    pub master: String,
}

/// `GET /admin/v1/backups`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backups {
    /// Those whose key store can still be opened, oldest first.
    pub backups: Vec<KnownBackup>,
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        looks::<Backups>(
            "/admin/v1/backups",
            Role::Auditor,
            "listBackups",
            "Backups that were made and whose key store can still be opened",
            &[],
            |c| Box::pin(async move { ok(&Backups { backups: c.acts.backups().await? }) }),
        ),
        acts::<CreateBackup, Operation>(
            "/admin/v1/backups",
            Effect::Acts,
            "createBackup",
            "Make a backup on the server's machine, while it serves; never with master keys",
            |c| {
                Box::pin(async move {
                    let order: CreateBackup = c.body()?;
                    if !order.out.is_absolute() {
                        return Err(ActError::BadField { field: "out", rule: "an absolute path" });
                    }
                    operation(&c, c.acts.create_backup(&c.order, &order).await?)
                })
            },
        ),
    ]
}
