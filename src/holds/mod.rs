//! CONDUCTOR of legal holds: placed by one principal, approved by another; released by two as well.
//!
//! Called by the admin acts through `app`. The order of effects, and what a crash leaves behind:
//!
//! - place: entry → what is said of the matter. Crash: it is asked for again.
//! - approve: what it covers is counted → who agreed is written down → entry and standing, by `tenancy`. From the
//!   standing on it is in force: the standing changes only while no object's commit is in flight. Crash before: approved
//!   again.
//! - release: asked for (entry → row), then agreed: row → entry and standing → the row goes. Crash in between: a row that
//!   says "released" and is in force no more; it is shown to nobody, and the same number may be placed anew.
//!
//! What a release lets go on (deferred acts, a purge) is the sweeper's to do. Promises that no entry or message says what
//! a hold covers or is about. Must not know HTTP or S3.

mod cover;

use crate::audit::{Actor, AuditError, Event as Record, Hash};
use crate::directory::{DirectoryError, PROPOSAL_KEEP_S, TenantEntry};
use crate::index::IndexError;
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::tenancy::{Tenancy, TenancyError};
use crate::tenant::access::{Access, No, Operation, access};
use crate::tenant::holds::{Deferred, Matter, Said, Scope};
use crate::tenant::{Event, Hold};
pub use cover::{Covered, CoveredObject, covered};
use std::sync::Arc;

/// Why an act on a hold was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The tenant's state does not allow it: what the table says.
    #[error("the tenant's state does not allow this")]
    State(No),
    /// There is a matter of this number already, and it is another one.
    #[error("there is a hold of this number already")]
    Exists,
    /// No matter of this number.
    #[error("there is no such hold")]
    NoSuchHold,
    /// Nothing is covered now, and the hold is not prospective.
    #[error("the scope covers nothing now")]
    Nothing,
    /// The same principal cannot agree with itself.
    #[error("another principal has to agree")]
    SamePrincipal,
    /// The tenant has a bucket in a region that is not served here.
    #[error("a bucket of the tenant lies in {0}, which is not served here")]
    RegionNotServed(&'static str),
    /// An act on the tenant.
    #[error(transparent)]
    Tenancy(#[from] TenancyError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The log: nothing was done.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Who acts, and whether one may do it alone.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// As the log knows it.
    pub actor: &'a Actor,
    /// As the matter's row keeps it: tells two principals apart.
    pub name: &'a str,
    /// This server's settings do not ask for a second one.
    pub alone: bool,
}

/// Where a matter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A second principal has to approve it.
    Pending,
    /// It keeps what it covers.
    InForce,
    /// It still does; a second principal has to agree to its release.
    ReleaseAsked,
    /// Over.
    Released,
}

/// A matter to be placed.
#[derive(Clone)]
pub struct NewMatter {
    /// Its number, unique in the geo: 1 to 64 of `[A-Za-z0-9-]`.
    pub id: String,
    /// What it is to keep.
    pub scope: Scope,
    /// What it is about.
    pub words: String,
    /// Whether what is written later is kept, too.
    pub prospective: bool,
    /// Why it is placed now, in the words of who does.
    pub reason: Option<String>,
}

/// Where `matter` is, given its tenant; `None`: what is left of it is not worth showing.
pub fn stage(entry: &TenantEntry, matter: &Matter, now: Millis) -> Option<Stage> {
    let in_force = entry.standing.holds.iter().any(|hold| hold.id == matter.id);
    match in_force {
        false if matter.released => None,
        false => Some(Stage::Pending),
        true if release_asked(matter, now).is_some() => Some(Stage::ReleaseAsked),
        true => Some(Stage::InForce),
    }
}

/// Who asked for the release within the time that it can be agreed to.
fn release_asked(matter: &Matter, now: Millis) -> Option<&Said> {
    matter.release.as_ref().filter(|asked| now < asked.at.plus_seconds(PROPOSAL_KEEP_S))
}

/// Places a matter; in force at once where one principal may act alone. Placing the same again changes nothing.
pub async fn place(
    tenancy: &Tenancy,
    who: Who<'_>,
    tenant: TenantId,
    new: NewMatter,
) -> Result<(Matter, Stage), HoldError> {
    let entry = may(tenancy, tenant).await?;
    let (directory, now) = (&tenancy.directory, tenancy.clock.now());
    let old = directory.matter(tenant, &new.id).await?;
    if let Some(old) = &old {
        let same = (&old.scope, &old.words, old.prospective, &old.reason)
            == (&new.scope, &new.words, new.prospective, &new.reason);
        match stage(&entry, old, now.wall) {
            Some(stage) if same && old.placed.by == who.name => return Ok((old.clone(), stage)),
            Some(_) => return Err(HoldError::Exists),
            None => {}
        }
    }
    if directory.tenant_of_matter(&new.id).await?.is_some_and(|other| other != tenant) {
        return Err(HoldError::Exists);
    }
    let NewMatter { id, scope, words, prospective, reason } = new;
    let placed = Said { by: who.name.to_owned(), at: now.wall };
    let matter = Matter {
        id,
        scope,
        words,
        prospective,
        placed,
        approved: None,
        written_until: None,
        release: None,
        released: false,
        reason,
    };
    if !matter.prospective && matter.scope != Scope::Tenant && covered(tenancy, tenant, &matter).await?.objects == 0 {
        return Err(HoldError::Nothing);
    }
    let reason = match &matter.reason {
        Some(reason) => Some(Hash(directory.keep_words(tenant, reason).await?)),
        None => None,
    };
    let (hold, scope) = (matter.id.clone(), matter.scope.kind().to_owned());
    let proposed = Record::HoldProposed { tenant, hold, scope, reason };
    tenancy.audit.append(who.actor, proposed).await?;
    directory.change_matter(tenant, old.as_ref(), &matter).await?;
    if who.alone { approve(tenancy, who, tenant, &matter.id).await } else { Ok((matter, Stage::Pending)) }
}

/// Approves a matter that another principal placed: from now on it keeps what it covers.
pub async fn approve(
    tenancy: &Tenancy,
    who: Who<'_>,
    tenant: TenantId,
    id: &str,
) -> Result<(Matter, Stage), HoldError> {
    let entry = may(tenancy, tenant).await?;
    let directory = &tenancy.directory;
    let matter = directory.matter(tenant, id).await?.ok_or(HoldError::NoSuchHold)?;
    match stage(&entry, &matter, tenancy.clock.now().wall) {
        None => return Err(HoldError::NoSuchHold),
        Some(Stage::Pending) => {}
        Some(stage) => return Ok((matter, stage)),
    }
    if matter.placed.by == who.name && !who.alone {
        return Err(HoldError::SamePrincipal);
    }
    // What is there now is kept even if it bears the date of a wall that was ahead.
    let newest = covered(tenancy, tenant, &matter).await?.newest;
    let now = tenancy.clock.now();
    let until = newest.map_or(now.cc_hi, |newest| newest.max(now.cc_hi));
    let approved = Matter {
        approved: Some(Said { by: who.name.to_owned(), at: now.wall }),
        written_until: (!matter.prospective).then_some(until),
        ..matter.clone()
    };
    directory.change_matter(tenant, Some(&matter), &approved).await?;
    let hold = Hold { id: approved.id.clone(), scope: approved.scope.of_standing(), since: now.stamp() };
    tenancy.apply(who.actor, tenant, None, &Event::PlaceHold(hold)).await?;
    Ok((approved, Stage::InForce))
}

/// Releases a matter in two steps, one principal each; takes one back that nobody approved yet. Answers the acts that
/// wait for nothing any more: the next sweep carries them out.
pub async fn release(
    tenancy: &Tenancy,
    who: Who<'_>,
    tenant: TenantId,
    id: &str,
) -> Result<(Matter, Stage, Vec<Deferred>), HoldError> {
    let entry = may(tenancy, tenant).await?;
    let (directory, now) = (&tenancy.directory, tenancy.clock.now().wall);
    let matter = directory.matter(tenant, id).await?.ok_or(HoldError::NoSuchHold)?;
    let said = Said { by: who.name.to_owned(), at: now };
    match stage(&entry, &matter, now) {
        None | Some(Stage::Released) => return Err(HoldError::NoSuchHold),
        Some(Stage::Pending) => {
            let withdrawn = Record::HoldWithdrawn { tenant, hold: id.to_owned() };
            tenancy.audit.append(who.actor, withdrawn).await?;
            directory.drop_matter(tenant, id).await?;
            return Ok((matter, Stage::Released, Vec::new()));
        }
        Some(Stage::InForce) if !who.alone => {
            let asked = Record::HoldReleaseProposed { tenant, hold: id.to_owned() };
            tenancy.audit.append(who.actor, asked).await?;
            let asked = Matter { release: Some(said), ..matter.clone() };
            directory.change_matter(tenant, Some(&matter), &asked).await?;
            return Ok((asked, Stage::ReleaseAsked, Vec::new()));
        }
        Some(Stage::ReleaseAsked) if !who.alone => {
            if release_asked(&matter, now).is_some_and(|asked| asked.by == who.name) {
                return Err(HoldError::SamePrincipal);
            }
        }
        Some(Stage::InForce | Stage::ReleaseAsked) => {}
    }
    let released = Matter { released: true, ..matter.clone() };
    directory.change_matter(tenant, Some(&matter), &released).await?;
    let entry = tenancy.apply(who.actor, tenant, None, &Event::ReleaseHold { id: id.to_owned() }).await?;
    let waiting = directory.deferred(tenant).await?.into_iter();
    let resume = waiting.filter(|act| act.matters.iter().any(|matter| matter == id) && !act.waits(&entry.standing));
    let resume = resume.collect();
    directory.drop_matter(tenant, id).await?;
    Ok((released, Stage::Released, resume))
}

/// The tenant, if its state lets holds be placed and released.
async fn may(tenancy: &Tenancy, tenant: TenantId) -> Result<Arc<TenantEntry>, HoldError> {
    let entry = tenancy.directory.tenant(tenant).await?.ok_or(TenancyError::NoSuchTenant)?;
    match access(entry.standing.state, Operation::Hold) {
        Access::Yes | Access::Deferred => Ok(entry),
        Access::If(_, no) | Access::No(no) => Err(HoldError::State(no)),
    }
}
