//! Answers the gate's questions over the directories of the served geos.

use crate::directory::{Directory, DirectoryError};
use crate::gate::{Asleep, Grant, Need, Refusal, Register};
use crate::model::atlas::Region;
use crate::model::clock::Clock;
use crate::model::ids::TenantId;
use crate::model::login::Login;
use crate::model::names::{AccessId, BucketName};
use crate::model::object::BucketRef;
use crate::model::time::Millis;
use crate::seal::{KeyError, OpenClass};
use crate::tenant::State;
use crate::tenant::access::{Access, Condition, Operation, access};
use std::collections::HashSet;
use std::sync::Arc;

/// The register over what this process serves.
pub(super) struct Registrar {
    pub(super) directories: Vec<Arc<Directory>>,
    /// Ids of the served regions.
    pub(super) regions: HashSet<&'static str>,
    /// By which grants end.
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait::async_trait]
impl Register for Registrar {
    async fn login(&self, id: &AccessId) -> Result<Option<Arc<Login>>, Refusal> {
        for directory in &self.directories {
            let Some(login) = directory.login(id).await.map_err(refusal)? else { continue };
            if !login.ended {
                return Ok(Some(login));
            }
            // Whoever is reinstated makes new ones: the old one is nobody's from then on.
            let state = directory.tenant(login.tenant).await.map_err(refusal)?.map(|entry| entry.standing.state);
            let ends = matches!(state, Some(State::Terminated | State::PurgeHeld | State::Purging));
            return Ok(ends.then_some(login));
        }
        // With its secret went what could tell its owner from a stranger: whoever has the access id is told.
        for directory in &self.directories {
            let Some(tenant) = directory.former_login(id).await.map_err(refusal)? else { continue };
            let entry = directory.tenant(tenant).await.map_err(refusal)?;
            return Err(Refusal::Asleep(Asleep::of(entry.map_or(State::Purged, |entry| entry.standing.state))));
        }
        Ok(None)
    }

    async fn awake(&self, tenant: TenantId, need: Need) -> Result<(), Refusal> {
        let operation = match need {
            Need::Read => Operation::ServiceGet,
            Need::Write => Operation::ServicePut,
            Need::Delete | Need::Erase => Operation::Delete,
        };
        for directory in &self.directories {
            let Some(entry) = directory.tenant(tenant).await.map_err(refusal)? else { continue };
            let state = entry.standing.state;
            // The early delete of the table is one of objects: buckets, uploads and rules are a service's.
            let may = need != Need::Delete || access(state, Operation::ServicePut) == Access::Yes;
            return match access(state, operation) {
                // Which objects are held, the store asks at the commit.
                Access::Yes | Access::If(Condition::NotHeld, _) if may => Ok(()),
                _ => Err(Refusal::Asleep(Asleep::of(state))),
            };
        }
        Err(Refusal::UnknownLogin)
    }

    async fn purge_due(&self, tenant: TenantId) -> Result<Option<Millis>, Refusal> {
        for directory in &self.directories {
            let Some(entry) = directory.tenant(tenant).await.map_err(refusal)? else { continue };
            let standing = &entry.standing;
            let waits = matches!(standing.state, State::Terminated | State::PurgeHeld);
            return Ok(standing.destruction_wall().filter(|_| waits));
        }
        Ok(None)
    }

    async fn bucket(&self, tenant: TenantId, name: &BucketName) -> Result<Option<Arc<BucketRef>>, Refusal> {
        for directory in &self.directories {
            if directory.tenant(tenant).await.map_err(refusal)?.is_some() {
                return directory.bucket(tenant, name).await.map_err(refusal);
            }
        }
        Ok(None)
    }

    async fn reaches(&self, grant: &Grant, bucket: &BucketRef) -> Result<(), Refusal> {
        if self.clock.now().ended(grant.until) {
            return Err(Refusal::GrantEnded);
        }
        let directory = self.directories.iter().find(|directory| directory.geo() == bucket.geo);
        let features = directory.ok_or(Refusal::PurposeMismatch)?.features(bucket.tenant).await.map_err(refusal)?;
        let is_for = features.bucket(bucket.bucket).is_some_and(|rules| rules.purposes.contains(&grant.purpose));
        if is_for { Ok(()) } else { Err(Refusal::PurposeMismatch) }
    }

    fn serves(&self, region: &'static Region) -> bool {
        self.regions.contains(region.id)
    }
}

fn refusal(error: DirectoryError) -> Refusal {
    match error {
        DirectoryError::Keys(KeyError::Suspended) => Refusal::KeysSuspended,
        // Suspended between the look-up of its lease and its use.
        DirectoryError::Keys(KeyError::Open(error)) if error.class() == OpenClass::Revoked => Refusal::KeysSuspended,
        DirectoryError::Keys(KeyError::TooOften) => Refusal::SlowDown,
        DirectoryError::Keys(KeyError::Destroyed | KeyError::Unknown) => Refusal::UnknownLogin,
        DirectoryError::Keys(_)
        | DirectoryError::Engine(_)
        | DirectoryError::Integrity
        | DirectoryError::NameTaken
        | DirectoryError::Worker
        | DirectoryError::Changed => {
            tracing::error!(%error, "the directory cannot answer");
            Refusal::Unavailable
        }
    }
}
