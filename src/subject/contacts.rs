//! A person who wants nothing more to be collected, and one who takes that back, in this order:
//!
//! 1. entry in the log: a keyed hash of who, and whether a contact or a lead
//! 2. the act in the ledger, durable and witnessed; from here on every write that names them is refused at its commit
//! 3. wait until every commit in flight is done: those behind it have looked at the ledger
//!
//! So nothing of them that was received after the answer is stored. A crash between 1 and 2 leaves an entry for an act
//! that nobody was answered for. What is stored already stays: its erasure is an act of its own.

use super::SubjectError;
use crate::audit::{Actor, Event as Record};
use crate::model::ids::TenantId;
use crate::model::names::SubjectName;
use crate::model::standing::{Standing, Word};
use crate::tenancy::Tenancy;

/// What somebody is to a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContactKind {
    /// A contact.
    Contact,
    /// A lead.
    Lead,
}

impl ContactKind {
    /// As subjects' names begin with it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Lead => "lead",
        }
    }
}

/// A contact or lead of a tenant.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Which of the two.
    pub kind: ContactKind,
    /// `KIND:ID`, as objects name them.
    pub name: SubjectName,
}

impl Contact {
    /// The contact of this id. `None`: it is no name of a subject.
    pub fn of(kind: ContactKind, id: &str) -> Option<Self> {
        // Trimmed names are not names, and the id is the end of one.
        let name = SubjectName::parse(&format!("{}:{id}", kind.as_str())).ok().filter(|_| id == id.trim())?;
        (!id.is_empty()).then_some(Self { kind, name })
    }
}

/// The kinds of contacts that a name without a kind may mean: those of which something is stored, where nothing is of the name
/// itself. None: the name means what it says.
pub async fn kinds_meant(
    tenancy: &Tenancy,
    tenant: TenantId,
    name: &SubjectName,
) -> Result<Vec<ContactKind>, SubjectError> {
    let directory = &tenancy.directory;
    let mut kinds = Vec::new();
    if name.as_str().contains(':') || directory.subject(tenant, name).await?.is_some() {
        return Ok(kinds);
    }
    for kind in [ContactKind::Contact, ContactKind::Lead] {
        if let Some(contact) = Contact::of(kind, name.as_str())
            && directory.subject(tenant, &contact.name).await?.is_some()
        {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// Has a tenant collect nothing more of somebody, or, with `follow`, collect again. Answers how they stand, and whether
/// that was a change.
pub async fn follow(
    tenancy: &Tenancy,
    actor: &Actor,
    tenant: TenantId,
    contact: &Contact,
    follow: bool,
) -> Result<(Standing, bool), SubjectError> {
    let directory = &tenancy.directory;
    let token = directory.name_token(tenant, &contact.name).await?;
    let word = if follow { Word::OptIn } else { Word::OptOut };
    let standing = directory.standing_of(tenant, &token).await?;
    if standing.has(word) {
        return Ok((standing, false));
    }
    let (who, kind) = (hex::encode(token), contact.kind.as_str().to_owned());
    let record = match follow {
        true => Record::ContactOptedIn { tenant, contact: who, kind },
        false => Record::ContactOptedOut { tenant, contact: who, kind },
    };
    tenancy.audit.append(actor, record).await?;
    let standing = directory.tell(tenant, token, word, tenancy.clock.now().wall).await?;
    drop(directory.pause_commits().await);
    Ok((standing, true))
}

/// How somebody stands with a tenant.
pub async fn standing(tenancy: &Tenancy, tenant: TenantId, contact: &Contact) -> Result<Standing, SubjectError> {
    Ok(tenancy.directory.standing(tenant, &contact.name).await?)
}
