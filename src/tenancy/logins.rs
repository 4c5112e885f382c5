//! Logins of a tenant: made, listed, revoked. The log knows them by an opaque id.

use super::{Tenancy, TenancyError};
use crate::audit::{Actor, Event as Record};
use crate::directory::LoginEntry;
use crate::model::ids::TenantId;
use crate::model::login::{Login, Role};
use crate::model::names::AccessId;
use crate::tenant::{Refusal, State};

impl Tenancy {
    /// Makes a login. Refused unless the tenant is active or disabled.
    pub async fn create_login(&self, actor: &Actor, id: TenantId, role: Role) -> Result<Login, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        let entry = self.directory.tenant(id).await?.ok_or(TenancyError::NoSuchTenant)?;
        if !matches!(entry.standing.state, State::Active | State::Disabled) {
            return Err(Refusal::WrongState(entry.standing.state).into());
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

    pub(super) async fn revoke_all(&self, actor: &Actor, id: TenantId, role: Role) -> Result<(), TenancyError> {
        for login in self.directory.logins(id).await? {
            if login.role == role && login.revoked.is_none() {
                self.revoke(actor, id, &login.access_id).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn revoke(
        &self,
        actor: &Actor,
        id: TenantId,
        access_id: &AccessId,
    ) -> Result<LoginEntry, TenancyError> {
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
    }
}
