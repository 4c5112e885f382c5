//! How persons stand with a tenant: who wants nothing more collected, whose data may not be used, who was erased and is
//! not to be stored again. What is kept is a keyed hash of the name under a key of the tenant's own (`REGISTER`), an act
//! and a time; whoever has no keys of the tenant cannot tell whom it is about, and after its purge nobody can.
//!
//! It is kept in the key service's shred log and nowhere else: durable and witnessed before an act is answered for, never
//! part of a restore, and a log older than its anchor stops the start. So a restore forgets nothing of it, no rotation
//! touches it, and there are no rows to keep in step with it. Read once into memory; this process is its only writer.

use super::{Directory, DirectoryError};
use crate::model::ids::{SubjectId, TenantId};
use crate::model::names::SubjectName;
use crate::model::standing::{Standing, Word};
use crate::model::time::Millis;
use crate::seal::{KeyError, Shredded, SubjectKey};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// The key under which names become tokens: a subject key of every tenant that is no subject's. It is made with the
/// tenant, so that every backup has it, and dies with the tenant.
pub const REGISTER: SubjectId = SubjectId(*b"contact-register");
/// Entries of the ledger read in one call.
pub const LEDGER_STEP: u64 = 65_536;

/// What stands for a name.
pub type NameToken = [u8; 16];

/// Everybody's standing, by tenant and token.
#[derive(Default)]
pub(super) struct Standings(RwLock<HashMap<TenantId, HashMap<NameToken, Standing>>>);

impl Standings {
    fn of(&self, tenant: TenantId, token: &NameToken) -> Standing {
        self.0.read().get(&tenant).and_then(|all| all.get(token)).copied().unwrap_or_default()
    }

    fn knows(&self, tenant: TenantId) -> bool {
        self.0.read().contains_key(&tenant)
    }

    fn tell(&self, tenant: TenantId, token: NameToken, word: Word, at: Millis) -> Standing {
        let mut all = self.0.write();
        let standing = all.entry(tenant).or_default().entry(token).or_default();
        *standing = standing.after(word, at);
        *standing
    }
}

impl Directory {
    /// How a person stands with a tenant. Makes the tenant's register key where a release before this one made the tenant.
    pub async fn standing(&self, tenant: TenantId, name: &SubjectName) -> Result<Standing, DirectoryError> {
        let all = self.standings().await?;
        let key = self.register_key(tenant).await?;
        if !all.knows(tenant) {
            return Ok(Standing::default());
        }
        Ok(all.of(tenant, &key.token(name.as_str().as_bytes())?))
    }

    /// The same for who only reads: makes nothing, and looks nothing up while the tenant was told nothing.
    pub async fn standing_to_read(&self, tenant: TenantId, name: &SubjectName) -> Result<Standing, DirectoryError> {
        if self.standings().await?.knows(tenant) { self.standing(tenant, name).await } else { Ok(Standing::default()) }
    }

    /// What stands for a name in the ledger and in the audit log.
    pub async fn name_token(&self, tenant: TenantId, name: &SubjectName) -> Result<NameToken, DirectoryError> {
        Ok(self.register_key(tenant).await?.token(name.as_str().as_bytes())?)
    }

    /// How whoever a token stands for stands with a tenant.
    pub async fn standing_of(&self, tenant: TenantId, token: &NameToken) -> Result<Standing, DirectoryError> {
        Ok(self.standings().await?.of(tenant, token))
    }

    /// Records an act; durable and witnessed on return, and seen by every commit that looks from then on. Those that
    /// looked before are done when [`Directory::pause_commits`] returns. An act that changes nothing is not recorded.
    pub async fn tell(
        &self,
        tenant: TenantId,
        token: NameToken,
        word: Word,
        now: Millis,
    ) -> Result<Standing, DirectoryError> {
        let _one_at_a_time = self.subjects.lock().await;
        let all = self.standings().await?;
        let standing = all.of(tenant, &token);
        if standing.has(word) {
            return Ok(standing);
        }
        let keys = self.keys.clone();
        let noted = tokio::task::spawn_blocking(move || keys.note_standing(tenant.0, token, word.number())).await;
        noted.map_err(|_| DirectoryError::Worker)??;
        Ok(all.tell(tenant, token, word, now))
    }

    /// Makes the key under which a tenant's names become tokens, unless it is there.
    pub async fn make_register_key(&self, tenant: TenantId) -> Result<(), DirectoryError> {
        self.register_key(tenant).await.map(drop)
    }

    pub(super) async fn register_key(&self, tenant: TenantId) -> Result<Arc<SubjectKey>, DirectoryError> {
        match self.subject_key(tenant, REGISTER).await {
            Err(DirectoryError::Keys(KeyError::Unknown)) => {}
            other => return other,
        }
        // The key store is from before the tenant had one, and the ledger is not: what it says fits no name any more.
        if self.standings().await?.knows(tenant) {
            return Err(DirectoryError::Integrity);
        }
        let keys = self.keys.clone();
        let made = tokio::task::spawn_blocking(move || keys.create_subject(tenant.0, REGISTER.0)).await;
        match made.map_err(|_| DirectoryError::Worker)? {
            Err(KeyError::Exists) => self.subject_key(tenant, REGISTER).await,
            made => Ok(made?),
        }
    }

    async fn standings(&self) -> Result<&Standings, DirectoryError> {
        self.standings.get_or_try_init(|| self.read_standings()).await
    }

    async fn read_standings(&self) -> Result<Standings, DirectoryError> {
        let keys = self.keys.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (found, end) = (Standings::default(), keys.shred_head()?.counter);
            let mut from = 0;
            while from < end {
                let to = end.min(from + LEDGER_STEP);
                for shred in keys.shreds(from, to)? {
                    let Shredded::Standing { tenant, token, act } = shred.what else { continue };
                    let word = Word::of_number(act).ok_or(DirectoryError::Integrity)?;
                    found.tell(TenantId(tenant), token, word, Millis(0).plus_seconds(shred.at));
                }
                from = to;
            }
            Ok::<_, DirectoryError>(found)
        });
        read.await.map_err(|_| DirectoryError::Worker)?
    }
}
