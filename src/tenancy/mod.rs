//! CONDUCTOR of a tenant's life: carries out what `tenant::step` owes, in its order. The log entry is durable before
//! anything else happens; the standing is written next; every other effect can be done again.
//!
//! Called by the admin acts (through `app`) and by `sweep`. A crash after the log entry leaves the act logged and not
//! done, and the caller asks again; a crash after the standing is mended at the next start ([`Tenancy::resume`]).

mod features;
mod grants;
mod logins;
mod quota;
mod segments;
mod states;

pub use features::Enabled;
pub use grants::{GRANT_S_MAX, NewGrant};

use crate::audit::{Actor, AuditError, AuditLog, Event as Record};
use crate::directory::{Directory, DirectoryError};
use crate::index::IndexError;
use crate::model::clock::Clock;
use crate::regions::Regions;
use crate::seal::KeyError;
use crate::tenant::Refusal;
use std::sync::Arc;

/// The acts on the tenants of one geo.
#[derive(Clone)]
pub struct Tenancy {
    /// Where they are kept.
    pub directory: Arc<Directory>,
    /// Where acts are recorded.
    pub audit: Arc<AuditLog>,
    /// Where their bytes lie.
    pub regions: Regions,
    /// By which time.
    pub clock: Arc<dyn Clock>,
}

/// Why an act on a tenant was not done.
#[derive(Debug, thiserror::Error)]
pub enum TenancyError {
    /// The tenant's life does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another tenant of the geo has the name.
    #[error("the name is taken")]
    NameTaken,
    /// The caller has seen an older revision.
    #[error("the tenant was changed meanwhile")]
    Changed,
    /// No such tenant.
    #[error("no such tenant")]
    NoSuchTenant,
    /// The feature's rules do not allow it.
    #[error(transparent)]
    Feature(#[from] crate::feature::Refusal),
    /// The feature is off.
    #[error("the feature is not enabled")]
    FeatureDisabled,
    /// No such bucket of the tenant.
    #[error("no such bucket")]
    NoSuchBucket,
    /// No such login of the tenant.
    #[error("no such login")]
    NoSuchLogin,
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The directory.
    #[error(transparent)]
    Directory(DirectoryError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The log: nothing was done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A blob store.
    #[error(transparent)]
    Blob(#[from] crate::blob::BlobError),
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
}

impl From<DirectoryError> for TenancyError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NameTaken => Self::NameTaken,
            DirectoryError::Changed => Self::Changed,
            DirectoryError::Keys(error) => Self::Keys(error),
            DirectoryError::Worker => Self::Worker,
            DirectoryError::Engine(_) | DirectoryError::Integrity => Self::Directory(error),
        }
    }
}

impl Tenancy {
    async fn log(&self, actor: &Actor, record: Record) -> Result<(), TenancyError> {
        self.audit.append(actor, record).await?;
        Ok(())
    }

    /// Key work blocks (it may ask a provider and syncs the disk), so it runs beside the requests.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::seal::KeyClient) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, TenancyError> {
        let keys = self.directory.key_service().clone();
        let done = tokio::task::spawn_blocking(move || work(&keys)).await;
        Ok(done.map_err(|_| TenancyError::Worker)??)
    }
}
