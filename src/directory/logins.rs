//! Logins: `a | token(access id)`, sealed under the geo's directory key so that they are found before the tenant is
//! known. The secret is wrapped under the tenant's credential key, so a login dies with its tenant. What stays is `o | token`,
//! by which whoever still uses its access id is told that the tenant is gone; that token is made as a tombstone's.

use super::reroot::directory_key;
use super::rows::{
    self, kind,
    v1::{LoginRow, NameRow},
};
use super::{Directory, DirectoryError, LOGINS_CACHED_MAX, SCAN};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::ids::TenantId;
use crate::model::login::{Grant, Login, Role};
use crate::model::names::AccessId;
use crate::model::time::Millis;
use crate::seal::{CredentialSecret, KeyError, row_version};
use std::sync::Arc;

/// A login as an administrator sees it: no secret.
#[derive(Clone, Debug)]
pub struct LoginEntry {
    /// The public half.
    pub access_id: AccessId,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created: Millis,
    /// When it was revoked.
    pub revoked: Option<Millis>,
    /// What it is limited to.
    pub grant: Option<Grant>,
}

/// A login as its row has it, for whom the tenant's keys need not open: which one it is, only those say.
#[derive(Clone, Debug)]
pub struct LoginStub {
    row_key: Vec<u8>,
    /// What it may do.
    pub role: Role,
    /// When it was revoked.
    pub revoked: Option<Millis>,
    /// What it is limited to.
    pub grant: Option<Grant>,
}

/// What ended a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokedBy {
    /// Somebody's act on it, or on what it rests on: from then on it is a stranger's.
    Act,
    /// Its tenant's termination: it is told so while the tenant is there.
    Termination,
}

impl LoginStub {
    /// Its opaque id, for the log: its token in hex, as [`Directory::login_id`].
    pub fn id(&self) -> String {
        hex::encode(credential_id(&self.row_key))
    }
}

/// Where the access id stands sealed inside a login's row: never a row key of its own.
pub(super) const ACCESS_ID_AT: &[u8] = b"a:access-id";

impl Directory {
    /// The login with its secret; `None` when there is none, or its tenant's keys are gone, or it was revoked by anything but
    /// its tenant's termination.
    pub async fn login(&self, access_id: &AccessId) -> Result<Option<Arc<Login>>, DirectoryError> {
        let written = {
            let cache = self.cache.read();
            if let Some(login) = cache.logins.get(access_id) {
                return Ok(Some(login.clone()));
            }
            cache.logins_written
        };
        let Some((row_key, _, row)) = self.find_login(access_id).await? else { return Ok(None) };
        let ended = row.revoked.is_some();
        if ended && row.by_termination != Some(true) {
            return Ok(None);
        }
        let keys = match self.keys(row.tenant).await {
            Ok(keys) => keys,
            Err(KeyError::Destroyed) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let secret = keys.open_credential(&row.record, credential_id(&row_key))?;
        let login = Arc::new(Login {
            access_id: access_id.clone(),
            tenant: row.tenant,
            geo: self.geo,
            role: row.role,
            secret: secret.reveal(),
            grant: row.grant.map(Arc::new),
            ended,
        });
        let mut cache = self.cache.write();
        // What was read may have been revoked meanwhile: only this moment's may be remembered.
        if cache.logins_written == written {
            if cache.logins.len() >= LOGINS_CACHED_MAX {
                cache.logins.clear();
            }
            cache.logins.insert(access_id.clone(), login.clone());
        }
        Ok(Some(login))
    }

    /// Whose the login was, when it went with its tenant.
    pub async fn former_login(&self, access_id: &AccessId) -> Result<Option<TenantId>, DirectoryError> {
        let row_key = rows::row_key(kind::FORMER_LOGIN, &[&self.former_token(access_id)]);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        let opened = self.keys.geo_keys().open(kind::FORMER_LOGIN, &row_key, &sealed)?;
        let row: NameRow = rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)?;
        Ok(Some(row.tenant))
    }

    /// Keeps, of a tenant's logins that are about to go, whose they were: of those that the tenant itself had to the end. A
    /// job's grant was over long before.
    pub(super) async fn keep_former_logins(&self, tenant: TenantId, batch: &mut Batch) -> Result<(), DirectoryError> {
        let to_the_end = |row: &LoginRow| row.revoked.is_none() || row.by_termination == Some(true);
        for (_, _, row) in self.login_rows(tenant).await? {
            let Some(token) = row.former.filter(|_| row.grant.is_none() && to_the_end(&row)) else { continue };
            let row_key = rows::row_key(kind::FORMER_LOGIN, &[&*token]);
            let (geo_keys, named) = (self.keys.geo_keys(), rows::encode(&NameRow { tenant }));
            batch.put(row_key.clone(), geo_keys.directory().seal(kind::FORMER_LOGIN, &row_key, &named, &[]));
        }
        Ok(())
    }

    fn former_token(&self, access_id: &AccessId) -> [u8; 16] {
        self.lasting_token(b"former-login-v1\0", access_id.as_str())
    }

    /// Makes a login. The secret is in the answer and nowhere else in clear.
    pub async fn create_login(&self, tenant: TenantId, role: Role, now: Millis) -> Result<Login, DirectoryError> {
        self.create_limited_login(tenant, role, None, now).await
    }

    /// Makes a login that is limited to a grant.
    pub async fn create_limited_login(
        &self,
        tenant: TenantId,
        role: Role,
        grant: Option<Grant>,
        now: Millis,
    ) -> Result<Login, DirectoryError> {
        let keys = self.keys(tenant).await?;
        let access_id = AccessId::random();
        let secret = CredentialSecret::random();
        let _sealing = self.sealing.read().await;
        let row_key = self.login_row_key(&access_id);
        let record = keys.wrap_credential(&secret, credential_id(&row_key))?;
        let sealed_id = keys.directory().seal(kind::LOGIN, ACCESS_ID_AT, access_id.as_str().as_bytes(), &[]);
        let row = LoginRow {
            tenant,
            role,
            created: now,
            revoked: None,
            record: record.to_vec(),
            access_id: sealed_id,
            grant: grant.clone(),
            by_termination: None,
            former: Some(self.former_token(&access_id).into()),
        };
        let geo_keys = self.keys.geo_keys();
        let mut batch = Batch::new();
        batch.put(row_key.clone(), geo_keys.directory().seal(kind::LOGIN, &row_key, &rows::encode(&row), &[]));
        self.engine.commit(batch).await?;
        let secret = secret.reveal();
        Ok(Login { access_id, tenant, geo: self.geo, role, secret, grant: grant.map(Arc::new), ended: false })
    }

    /// The tenant's logins, oldest first, revoked ones too.
    pub async fn logins(&self, tenant: TenantId) -> Result<Vec<LoginEntry>, DirectoryError> {
        let keys = self.keys(tenant).await?;
        let mut logins = Vec::new();
        for (_, _, row) in self.login_rows(tenant).await? {
            let opened = directory_key(&keys, &row.access_id)?.open(kind::LOGIN, ACCESS_ID_AT, &row.access_id)?;
            let access_id = String::from_utf8(opened.plain).ok().and_then(|text| AccessId::parse(&text).ok());
            let access_id = access_id.ok_or(DirectoryError::Integrity)?;
            let (role, created, revoked) = (row.role, row.created, row.revoked);
            logins.push(LoginEntry { access_id, role, created, revoked, grant: row.grant });
        }
        logins.sort_by_key(|login| login.created);
        Ok(logins)
    }

    /// Revokes a login at once; `None` when the tenant has no such login.
    pub async fn revoke_login(
        &self,
        tenant: TenantId,
        access_id: &AccessId,
        now: Millis,
    ) -> Result<Option<LoginEntry>, DirectoryError> {
        let _change = self.change.lock().await;
        let found = self.find_login(access_id).await?.filter(|(_, _, row)| row.tenant == tenant);
        let Some((row_key, version, mut row)) = found else { return Ok(None) };
        if row.revoked.is_none() {
            row.revoked = Some(now);
            let mut batch = Batch::new();
            batch.put(row_key.clone(), self.seal_login(&row_key, version, &row)?);
            self.engine.commit(batch).await?;
        }
        let mut cache = self.cache.write();
        cache.logins_written += 1;
        cache.logins.remove(access_id);
        drop(cache);
        let LoginRow { role, created, revoked, grant, .. } = row;
        Ok(Some(LoginEntry { access_id: access_id.clone(), role, created, revoked, grant }))
    }

    /// The tenant's logins, revoked ones too, as far as that can be told without its keys.
    pub async fn login_stubs(&self, tenant: TenantId) -> Result<Vec<LoginStub>, DirectoryError> {
        let rows = self.login_rows(tenant).await?.into_iter();
        let stub = |(row_key, _, row): FoundLogin| LoginStub {
            row_key,
            role: row.role,
            revoked: row.revoked,
            grant: row.grant,
        };
        Ok(rows.map(stub).collect())
    }

    /// Revokes a login at once, without the tenant's keys. One that stands elsewhere by now is left as it is.
    pub async fn revoke_stub(
        &self,
        tenant: TenantId,
        login: &LoginStub,
        by: RevokedBy,
        now: Millis,
    ) -> Result<(), DirectoryError> {
        let _change = self.change.lock().await;
        let Some(sealed) = self.engine.get(&login.row_key).await? else { return Ok(()) };
        let (version, mut row) = self.open_login(&login.row_key, &sealed)?;
        if row.tenant == tenant && row.revoked.is_none() {
            row.revoked = Some(now);
            row.by_termination = Some(by == RevokedBy::Termination);
            let mut batch = Batch::new();
            batch.put(login.row_key.clone(), self.seal_login(&login.row_key, version, &row)?);
            self.engine.commit(batch).await?;
        }
        let mut cache = self.cache.write();
        cache.logins_written += 1;
        cache.logins.retain(|_, known| known.tenant != tenant);
        Ok(())
    }

    /// The opaque id of a login, for the log: its token in hex.
    pub fn login_id(&self, access_id: &AccessId) -> String {
        hex::encode(self.keys.geo_keys().name_token(access_id.as_str().as_bytes()))
    }

    /// A tenant's logins: where each stands, and the version of the geo's directory key that it is under.
    pub(super) async fn login_rows(&self, tenant: TenantId) -> Result<Vec<FoundLogin>, DirectoryError> {
        let mut range = KeyRange::prefix(&[kind::LOGIN]);
        let mut found = Vec::new();
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                let (version, row) = self.open_login(row_key, sealed)?;
                if row.tenant == tenant {
                    found.push((row_key.to_vec(), version, row));
                }
            }
            tokio::task::yield_now().await;
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }

    async fn find_login(&self, access_id: &AccessId) -> Result<Option<FoundLogin>, DirectoryError> {
        let found = self.find_named(kind::LOGIN, access_id.as_str().as_bytes()).await?;
        let Some((row_key, sealed)) = found else { return Ok(None) };
        let (version, row) = self.open_login(&row_key, &sealed)?;
        Ok(Some((row_key, version, row)))
    }

    pub(super) fn open_login(&self, row_key: &[u8], sealed: &[u8]) -> Result<(u32, LoginRow), DirectoryError> {
        let opened = self.keys.geo_keys().open(kind::LOGIN, row_key, sealed)?;
        Ok((row_version(sealed)?, rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)?))
    }

    /// A login's row for where it stands, under the version of the geo's directory key whose token that is: only who moves
    /// it to another token seals it under another version. Called with the lock of changes held.
    pub(super) fn seal_login(&self, row_key: &[u8], version: u32, row: &LoginRow) -> Result<Vec<u8>, DirectoryError> {
        let key = self.keys.geo_keys().directory_of_version(version).ok_or(DirectoryError::Integrity)?;
        Ok(key.seal(kind::LOGIN, row_key, &rows::encode(row), &[]))
    }

    pub(super) fn login_row_key(&self, access_id: &AccessId) -> Vec<u8> {
        let token = self.keys.geo_keys().name_token(access_id.as_str().as_bytes());
        rows::row_key(kind::LOGIN, &[&token])
    }
}

/// Where a login stands, the version of the geo's directory key it is under, and its row.
pub(super) type FoundLogin = (Vec<u8>, u32, LoginRow);

/// A credential's record is bound to the token of its login: the id behind the row key's first byte.
pub(super) fn credential_id(row_key: &[u8]) -> [u8; 16] {
    row_key[1..].try_into().expect("a login's row key is a byte and a token")
}
