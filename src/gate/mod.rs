//! MAY YOU? Decides, changes nothing: who asks, is the tenant awake, is it the right region. The answer is a value,
//! [`Admitted`], that the store demands; there is no other way to make one.
//!
//! Called by `s3`. Promises that an `Admitted<A>` was checked against the login, the tenant's state and the bucket's
//! owner at the time it was made. Must not know how tenants and logins are stored: it asks its [`Register`].

use crate::model::ids::TenantId;
pub use crate::model::login::{Grant, Login, Role};
use crate::model::names::{AccessId, BucketName};
use crate::model::object::BucketRef;
use crate::model::time::Millis;
use crate::tenant::State;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// What the gate wants to do on behalf of a caller, in the terms of the tenant's state table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Look at objects, buckets, uploads.
    Read,
    /// Add or replace objects, buckets, parts.
    Write,
    /// Remove buckets, uploads, rules.
    Delete,
    /// Remove objects: a terminated tenant's customer may, too.
    Erase,
}

/// Why a tenant's state refuses. Source: docs/retention.md, "State and operation".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asleep {
    /// Being set up: try again.
    Provisioning,
    /// Disabled by an administrator.
    Disabled,
    /// Terminated: administrators may export.
    Terminated,
    /// Being purged: gone for good.
    Purging,
    /// Purged.
    Purged,
}

impl Asleep {
    /// What a state that is not in service tells a caller.
    pub fn of(state: State) -> Self {
        match state {
            State::Active | State::Provisioning => Self::Provisioning,
            State::Disabled => Self::Disabled,
            State::Terminated | State::PurgeHeld => Self::Terminated,
            State::Purging => Self::Purging,
            State::Purged => Self::Purged,
        }
    }
}

/// Why the gate says no.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such login, or revoked. Outside it looks like a wrong signature.
    #[error("unknown login")]
    UnknownLogin,
    /// The login's role does not cover the act.
    #[error("the login's role does not allow this")]
    Role,
    /// The tenant's state does not allow the act.
    #[error("the tenant's state does not allow this")]
    Asleep(Asleep),
    /// The login's grant has ended.
    #[error("the grant has ended")]
    GrantEnded,
    /// The bucket's data may not be used for what the grant is for.
    #[error("the bucket is not for this grant's purpose")]
    PurposeMismatch,
    /// The caller's tenant has no such bucket; whether another has is nobody's business.
    #[error("no such bucket")]
    NoSuchBucket,
    /// The bucket lies in a region that this process does not serve.
    #[error("the bucket lies in another region")]
    Elsewhere(&'static crate::model::atlas::Region),
    /// The tenant's keys are suspended.
    #[error("the tenant's keys are suspended")]
    KeysSuspended,
    /// The tenant's keys were asked for more often than the key service allows.
    #[error("the tenant's keys were asked for too often")]
    SlowDown,
    /// The register or the key service cannot answer now.
    #[error("temporarily unavailable")]
    Unavailable,
}

/// The questions that the gate asks about tenants, logins and buckets. Answered by `app` over the directory.
#[async_trait::async_trait]
pub trait Register: Send + Sync + 'static {
    /// The login with its secret; `None` when there is none or it was revoked, unless by the termination of its tenant, which
    /// is still there. Errors: `Asleep` when it went with its tenant.
    async fn login(&self, id: &AccessId) -> Result<Option<Arc<Login>>, Refusal>;
    /// Whether the tenant's state allows the need now.
    async fn awake(&self, tenant: TenantId, need: Need) -> Result<(), Refusal>;
    /// When a terminated tenant will be destroyed, by the wall; none of any other.
    async fn purge_due(&self, tenant: TenantId) -> Result<Option<Millis>, Refusal>;
    /// The tenant's bucket of this name.
    async fn bucket(&self, tenant: TenantId, name: &BucketName) -> Result<Option<Arc<BucketRef>>, Refusal>;
    /// Whether a grant reaches a bucket now: not ended, and the bucket is for its purpose.
    async fn reaches(&self, grant: &Grant, bucket: &BucketRef) -> Result<(), Refusal>;
    /// Whether this process serves the region.
    fn serves(&self, region: &'static crate::model::atlas::Region) -> bool;
}

/// The acts that a caller can be admitted to. Each is a type, so that the store's signatures say what they need.
pub mod act {
    use super::Need;

    /// An act and what it needs.
    pub trait Act: Send + Sync + 'static {
        /// In the terms of the state table.
        const NEED: Need;
    }

    /// Read objects, listings, uploads.
    #[derive(Debug, Clone, Copy)]
    pub struct Read;
    /// Add or replace objects and parts.
    #[derive(Debug, Clone, Copy)]
    pub struct Write;
    /// Remove buckets, uploads, rules.
    #[derive(Debug, Clone, Copy)]
    pub struct Delete;
    /// Remove objects.
    #[derive(Debug, Clone, Copy)]
    pub struct Erase;

    impl Act for Read {
        const NEED: Need = Need::Read;
    }
    impl Act for Write {
        const NEED: Need = Need::Write;
    }
    impl Act for Delete {
        const NEED: Need = Need::Delete;
    }
    impl Act for Erase {
        const NEED: Need = Need::Erase;
    }
}

/// Proof that a login may do `A` for its tenant, bucket acts aside.
pub struct AdmittedTenant<A> {
    login: Arc<Login>,
    act: PhantomData<fn() -> A>,
}

impl<A> AdmittedTenant<A> {
    /// Who was admitted.
    pub fn login(&self) -> &Arc<Login> {
        &self.login
    }
}

/// Proof that a login may do `A` in one bucket of its own tenant, in a region served here.
pub struct Admitted<A> {
    login: Arc<Login>,
    bucket: Arc<BucketRef>,
    act: PhantomData<fn() -> A>,
}

impl<A> Admitted<A> {
    /// Who was admitted.
    pub fn login(&self) -> &Arc<Login> {
        &self.login
    }

    /// To which bucket.
    pub fn bucket(&self) -> &Arc<BucketRef> {
        &self.bucket
    }
}

/// The gate itself: cheap to clone.
#[derive(Clone)]
pub struct Gate {
    register: Arc<dyn Register>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl Gate {
    /// A gate that asks `register`.
    pub fn new(register: Arc<dyn Register>) -> Self {
        Self { register }
    }

    /// The login with its secret, for the signature check.
    pub async fn login(&self, id: &AccessId) -> Result<Arc<Login>, Refusal> {
        self.register.login(id).await?.ok_or(Refusal::UnknownLogin)
    }

    /// When a terminated tenant will be destroyed: its callers are told.
    pub async fn purge_due(&self, tenant: TenantId) -> Result<Option<Millis>, Refusal> {
        self.register.purge_due(tenant).await
    }

    /// Admits a caller to an act on the tenant (list, create buckets). The signature was checked already.
    pub async fn admit_tenant<A: act::Act>(&self, id: &AccessId) -> Result<AdmittedTenant<A>, Refusal> {
        let login = self.login(id).await?;
        self.may(&login, A::NEED).await?;
        if login.grant.is_some() {
            return Err(Refusal::Role);
        }
        Ok(AdmittedTenant { login, act: PhantomData })
    }

    /// Admits a caller to an act in one of its tenant's buckets. The signature was checked already.
    pub async fn admit<A: act::Act>(&self, id: &AccessId, name: &BucketName) -> Result<Admitted<A>, Refusal> {
        let login = self.login(id).await?;
        self.may(&login, A::NEED).await?;
        let bucket = self.register.bucket(login.tenant, name).await?.ok_or(Refusal::NoSuchBucket)?;
        if let Some(grant) = &login.grant {
            if matches!(A::NEED, Need::Delete | Need::Erase) || !grant.buckets.contains(&bucket.bucket) {
                return Err(Refusal::Role);
            }
            self.register.reaches(grant, &bucket).await?;
        }
        if !self.register.serves(bucket.region) {
            return Err(Refusal::Elsewhere(bucket.region));
        }
        Ok(Admitted { login, bucket, act: PhantomData })
    }

    async fn may(&self, login: &Login, need: Need) -> Result<(), Refusal> {
        // The state first: of a terminated tenant a service is told that, and not what became of its login.
        self.register.awake(login.tenant, need).await?;
        if login.ended {
            return Err(Refusal::Asleep(Asleep::Terminated));
        }
        let may = match login.role {
            Role::Service => true,
            Role::ReadOnly => need == Need::Read,
            Role::Delete => need == Need::Erase,
        };
        if may { Ok(()) } else { Err(Refusal::Role) }
    }
}
