//! Logins of a tenant: made, listed, revoked. The log knows them by an opaque id.

use super::{Tenancy, TenancyError};
use crate::audit::{Actor, Event as Record};
use crate::directory::{LoginEntry, LoginStub, RevokedBy};
use crate::model::ids::TenantId;
use crate::model::login::{Login, Role};
use crate::model::names::AccessId;
use crate::tenant::{Refusal, State};

impl Tenancy {
    /// Makes a login. Refused unless the tenant is active or disabled; one that deletes, also of a terminated tenant.
    pub async fn create_login(&self, actor: &Actor, id: TenantId, role: Role) -> Result<Login, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        let entry = self.directory.tenant(id).await?.ok_or(TenancyError::NoSuchTenant)?;
        let state = entry.standing.state;
        let may =
            matches!(state, State::Active | State::Disabled) || (role == Role::Delete && state == State::Terminated);
        if !may {
            return Err(Refusal::WrongState(state).into());
        }
        let login = self.directory.create_login(id, role, self.clock.now().wall).await?;
        let credential = self.directory.login_id(&login.access_id);
        let role = role_name(role).to_owned();
        let logged = self.log(actor, Record::CredentialCreated { tenant: id, credential, role }).await;
        if let Err(error) = logged {
            // A login that the log does not know must not exist.
            self.directory.revoke_login(id, &login.access_id, self.clock.now().wall).await?;
            return Err(error);
        }
        Ok(login)
    }

    /// Revokes a login from the next request on; again changes nothing.
    pub async fn revoke_login(
        &self,
        actor: &Actor,
        id: TenantId,
        access_id: &AccessId,
    ) -> Result<LoginEntry, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        self.revoke(actor, id, access_id).await
    }

    /// Revokes every login of a tenant that `which` says, each logged first. Needs none of the tenant's keys: they may be
    /// suspended.
    pub(super) async fn revoke_where(
        &self,
        actor: &Actor,
        id: TenantId,
        by: RevokedBy,
        which: impl Fn(&LoginStub) -> bool,
    ) -> Result<(), TenancyError> {
        loop {
            let all = self.directory.login_stubs(id).await?;
            let left: Vec<_> = all.into_iter().filter(|login| login.revoked.is_none() && which(login)).collect();
            if left.is_empty() {
                return Ok(());
            }
            // One that a rotation of the directory's key moves meanwhile is found where it stands then.
            for login in left {
                let credential = login.id();
                self.log(actor, Record::CredentialRevoked { tenant: id, credential }).await?;
                self.directory.revoke_stub(id, &login, by, self.clock.now().wall).await?;
            }
        }
    }

    async fn revoke(&self, actor: &Actor, id: TenantId, access_id: &AccessId) -> Result<LoginEntry, TenancyError> {
        let logins = self.directory.logins(id).await?;
        let known = logins.into_iter().find(|login| login.access_id == *access_id).ok_or(TenancyError::NoSuchLogin)?;
        if known.revoked.is_some() {
            return Ok(known);
        }
        let credential = self.directory.login_id(access_id);
        self.log(actor, Record::CredentialRevoked { tenant: id, credential }).await?;
        let revoked = self.directory.revoke_login(id, access_id, self.clock.now().wall).await?;
        revoked.ok_or(TenancyError::NoSuchLogin)
    }
}

/// The role's name in the log.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Service => "service",
        Role::ReadOnly => "read-only",
        Role::Delete => "delete",
    }
}
