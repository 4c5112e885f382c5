//! Tokens of the admin API, between its face and the directories: who has one, and revoking it for good.
//!
//! Order: entry in every geo's log, row in every geo's directory, then memory. A crash in between leaves what is asked for
//! again; the next start takes every geo's rows together.

use super::acts::{HouseActs, log_error};
use super::house::House;
use super::tenants::{act_error, actor};
use crate::admin::acts::{Mode, Order, Outcome};
use crate::admin::admins::Admin;
use crate::admin::auth::{Known, Logins, Role};
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::Event as Record;
use crate::directory::{DirectoryError, RevokedToken};

/// Those that were revoked, by whichever geo.
async fn revoked(house: &House) -> Result<Vec<RevokedToken>, DirectoryError> {
    let mut all = Vec::new();
    for room in &house.geos {
        all.extend(room.directory.revoked_tokens().await?);
    }
    Ok(all)
}

/// At start, before a door opens: what was revoked stays so.
pub(super) async fn resume(house: &House, logins: &Logins) -> Result<(), DirectoryError> {
    revoked(house).await?.iter().for_each(|token| logins.revoke(token.fingerprint));
    if !logins.known().iter().any(|known| known.role == Role::Admin && !known.is_revoked) {
        tracing::error!("every administrator's token is revoked: name a new one in the settings");
    }
    Ok(())
}

pub(super) async fn list(acts: &HouseActs) -> Result<Vec<Admin>, ActError> {
    let revoked = revoked(&acts.house).await.map_err(|error| act_error(error.into()))?;
    Ok(acts.logins.known().iter().map(|known| shown(known, &revoked)).collect())
}

pub(super) async fn revoke(acts: &HouseActs, order: &Order, id: &str) -> Result<Outcome<Admin>, ActError> {
    // Two who revoke each other at once: one comes first, and the other is the last.
    let _alone = acts.revoking.lock().await;
    let known = acts.logins.known().into_iter().find(|known| known.id == id).ok_or(ActError::NoSuchCredential)?;
    if !known.is_revoked && known.role == Role::Admin && acts.logins.is_last_admin(&known.fingerprint) {
        return Err(ActError::LastAdmin);
    }
    if order.mode == Mode::Plan {
        let steps = vec!["log it".to_owned(), "the token is refused from the next request on, for good".to_owned()];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    if !known.is_revoked {
        let (by, at) = (order.by.0.clone(), acts.house.clock.now().wall);
        let token = RevokedToken { fingerprint: known.fingerprint, who: known.id.clone(), by, at };
        for room in &acts.house.geos {
            let entry = Record::AdminRevoked { admin: known.id.clone() };
            room.audit.append(&actor(order), entry).await.map_err(log_error)?;
        }
        for room in &acts.house.geos {
            room.directory.revoke_token(&token).await.map_err(|error| act_error(error.into()))?;
        }
        acts.logins.revoke(known.fingerprint);
    }
    let revoked = revoked(&acts.house).await.map_err(|error| act_error(error.into()))?;
    Ok(Outcome::Done(shown(&known, &revoked)))
}

fn shown(known: &Known, revoked: &[RevokedToken]) -> Admin {
    let revoked = revoked.iter().find(|token| token.fingerprint == known.fingerprint);
    Admin {
        id: known.id.clone(),
        role: known.role.as_str().to_owned(),
        revoked_at: revoked.map(|token| wire::Time(token.at)),
        revoked_by: revoked.map(|token| token.by.clone()),
    }
}
