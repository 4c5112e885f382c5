//! Who may call the admin API: bearer tokens, each with a role.
//!
//! Invariants:
//! - a token is known here only by its SHA-256; all known digests are compared, each in constant time;
//! - a token that was revoked opens nothing from the next request on, though the settings still name its file;
//! - a token that is missing, short or of too few distinct characters never becomes a login: the server refuses to
//!   start instead (no default secret).

use super::acts::Actor;
use super::error::ActError;
use axum::http::{HeaderMap, header};
use parking_lot::RwLock;
use ring::digest::{SHA256, digest};
use std::collections::HashSet;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What a route asks of its caller. Ordered: an administrator may do what an auditor may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Anybody: only "are you alive?" and "are you ready?".
    Open,
    /// Looks, changes nothing, sees no payload.
    Auditor,
    /// What an auditor may, and legal holds; alone it reads what only holds keep of a tenant.
    Legal,
    /// Everything else.
    Admin,
}

impl Role {
    /// As in the OpenAPI document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Auditor => "auditor",
            Self::Legal => "legal",
            Self::Admin => "admin",
        }
    }
}

/// Shortest token, in bytes.
pub const TOKEN_BYTES_MIN: usize = 32;
/// Fewest distinct bytes of a token.
const TOKEN_DISTINCT_MIN: usize = 10;

/// The token cannot guard anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an admin token has at least 32 characters, ten of them different; `geoseal init` makes a good one")]
pub struct WeakToken;

#[derive(Clone)]
struct Login {
    digest: [u8; 32],
    role: Role,
    actor: Actor,
}

/// The tokens that this server knows. Clones share what was revoked.
#[derive(Clone, Default)]
pub struct Logins {
    known: Vec<Login>,
    /// Digests of those that were revoked.
    revoked: Arc<RwLock<HashSet<[u8; 32]>>>,
}

/// A token that this server knows, without anything that would open a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// As the log knows who has it.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// Its SHA-256.
    pub fingerprint: [u8; 32],
    /// Whether it opens nothing any more.
    pub is_revoked: bool,
}

impl Logins {
    /// The administrator's token, as read from its file; white space around it is not part of it.
    pub fn new(admin_token: &[u8]) -> Result<Self, WeakToken> {
        Self::default().and(Role::Admin, admin_token)
    }

    /// The token of one more administrator, who is another person: where two have to agree, these two can.
    pub fn with_admin(mut self, name: &str, token: &[u8]) -> Result<Self, WeakToken> {
        self = self.and(Role::Admin, token)?;
        if let Some(login) = self.known.last_mut() {
            login.actor = Actor(format!("{}-{name}", login.actor.0));
        }
        Ok(self)
    }

    /// One more token, for auditors.
    pub fn with_auditor(self, token: &[u8]) -> Result<Self, WeakToken> {
        self.and(Role::Auditor, token)
    }

    /// One more token, for counsel.
    pub fn with_legal(self, token: &[u8]) -> Result<Self, WeakToken> {
        self.and(Role::Legal, token)
    }

    fn and(mut self, role: Role, token: &[u8]) -> Result<Self, WeakToken> {
        let token = token.trim_ascii();
        let distinct: std::collections::BTreeSet<_> = token.iter().collect();
        let visible = token.iter().all(|b| b.is_ascii_graphic());
        if token.len() < TOKEN_BYTES_MIN || distinct.len() < TOKEN_DISTINCT_MIN || !visible {
            return Err(WeakToken);
        }
        let digest = sha256(token);
        let actor = Actor(format!("{}-{}", role.as_str(), hex::encode(&digest[..4])));
        self.known.push(Login { digest, role, actor });
        Ok(self)
    }

    /// All of them, in the order of the settings.
    pub fn known(&self) -> Vec<Known> {
        let revoked = self.revoked.read();
        let known = |login: &Login| Known {
            id: login.actor.0.clone(),
            role: login.role,
            fingerprint: login.digest,
            is_revoked: revoked.contains(&login.digest),
        };
        self.known.iter().map(known).collect()
    }

    /// From here on this token opens nothing.
    pub fn revoke(&self, fingerprint: [u8; 32]) {
        self.revoked.write().insert(fingerprint);
    }

    /// Whether any administrator would be left without this token.
    pub fn is_last_admin(&self, fingerprint: &[u8; 32]) -> bool {
        let left = |known: &Known| known.role == Role::Admin && !known.is_revoked && known.fingerprint != *fingerprint;
        !self.known().iter().any(left)
    }

    /// Who calls, if that is enough for `needed`. An open route asks nobody.
    pub(super) fn admit(&self, headers: &HeaderMap, needed: Role) -> Result<(Actor, Role), ActError> {
        if needed == Role::Open {
            return Ok((Actor("anybody".into()), Role::Open));
        }
        let login = self.find(headers).ok_or(ActError::Unauthenticated)?;
        if login.role < needed { Err(ActError::Forbidden) } else { Ok((login.actor.clone(), login.role)) }
    }

    fn find(&self, headers: &HeaderMap) -> Option<&Login> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let digest = sha256(token.trim().as_bytes());
        if self.revoked.read().contains(&digest) {
            return None;
        }
        let same = |login: &&Login| bool::from(login.digest.ct_eq(&digest));
        // All are compared; of two logins with one token the higher counts, and of two such the first: one person.
        self.known.iter().rev().filter(same).max_by_key(|login| login.role)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 is 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn asks(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn a_default_empty_or_short_token_is_no_login() {
        for weak in
            [&b""[..], b"\n", b"admin", b"changeme", &[b'a'; 64], &GOOD[1..], b"0123456789abcdef 0123456789abcdef"]
        {
            assert_eq!(Logins::new(weak).err(), Some(WeakToken));
        }
        assert!(Logins::new(GOOD).is_ok());
    }

    #[test]
    fn roles_reach_down_not_up() {
        let auditor = b"fedcba9876543210fedcba9876543210";
        let logins = Logins::new(GOOD).unwrap().with_auditor(auditor).unwrap();
        let admin = asks("Bearer 0123456789abcdef0123456789abcdef");
        let auditor = asks("bearer fedcba9876543210fedcba9876543210");
        assert!(logins.admit(&admin, Role::Admin).is_ok() && logins.admit(&admin, Role::Auditor).is_ok());
        assert!(logins.admit(&auditor, Role::Auditor).is_ok());
        assert_eq!(logins.admit(&auditor, Role::Admin), Err(ActError::Forbidden));
        for wrong in
            ["Bearer ", "Bearer x", "Basic 0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"]
        {
            assert_eq!(logins.admit(&asks(wrong), Role::Auditor), Err(ActError::Unauthenticated), "{wrong}");
        }
        assert_eq!(logins.admit(&HeaderMap::new(), Role::Auditor), Err(ActError::Unauthenticated));
    }

    #[test]
    fn r41_a_revoked_token_is_no_login_and_the_last_administrator_is_known() {
        let second = b"second-0123456789abcdef0123456789";
        let auditor = b"fedcba9876543210fedcba9876543210";
        let logins = Logins::new(GOOD).unwrap().with_admin("deputy", second).unwrap().with_auditor(auditor).unwrap();
        let (first, second) = (asks("Bearer 0123456789abcdef0123456789abcdef"), sha256(second));
        assert!(!logins.is_last_admin(&second) && !logins.is_last_admin(&sha256(GOOD)));
        let elsewhere = logins.clone();
        logins.revoke(sha256(GOOD));
        assert_eq!(elsewhere.admit(&first, Role::Auditor), Err(ActError::Unauthenticated), "clones know it at once");
        assert!(logins.is_last_admin(&second));
        let known: Vec<_> = logins.known().into_iter().map(|known| (known.role, known.is_revoked)).collect();
        assert_eq!(known, [(Role::Admin, true), (Role::Admin, false), (Role::Auditor, false)]);
    }

    #[test]
    fn two_authorization_headers_are_none() {
        let logins = Logins::new(GOOD).unwrap();
        let mut headers = asks("Bearer 0123456789abcdef0123456789abcdef");
        headers.append(header::AUTHORIZATION, "Bearer other".parse().unwrap());
        assert_eq!(logins.admit(&headers, Role::Admin), Err(ActError::Unauthenticated));
    }
}
