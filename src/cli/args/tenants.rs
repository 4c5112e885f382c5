//! Tenants: their life, their logins, their data subjects, their leaving.

use super::{Long, Rehearse};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// How much there may be of something; `None`: as much as there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(pub Option<u64>);

/// `none`, or a number, perhaps with a unit of bytes: `KiB`, `MiB`, `GiB`, `TiB`.
fn bound(text: &str) -> Result<Bound, &'static str> {
    const RULE: &str = "a whole number such as 500000 or 10GiB (KiB, MiB, GiB, TiB), or none";
    if text == "none" {
        return Ok(Bound(None));
    }
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let found = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (digits, shift) = found.unwrap_or((text, 0));
    let number: u64 = digits.parse().map_err(|_| RULE)?;
    number.checked_mul(1 << shift).map(|number| Bound(Some(number))).ok_or(RULE)
}

/// `geoseal tenant …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Tenant {
    /// Create a tenant
    Create {
        /// 1 to 63 of a-z, 0-9 and -
        name: String,
        /// The border that its bytes and keys do not cross
        #[arg(long)]
        geo: String,
        /// Its home region; may be left out where the geo has one
        #[arg(long, value_name = "REGION")]
        home: Option<String>,
        /// Copies in a second region of the geo
        #[arg(long, value_enum, default_value_t = Replication::None)]
        replication: Replication,
        /// The text that was agreed to; its SHA-256 is recorded
        #[arg(long, value_name = "FILE")]
        consent: Option<PathBuf>,
        /// Whom to reach about this tenant's data
        #[arg(long)]
        contact: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Show one tenant
    Show {
        /// Its name or id
        tenant: String,
    },
    /// List tenants
    List,
    /// Bound what a tenant may store in all: writes over it are refused with 507
    Quota {
        /// Its name or id
        tenant: String,
        /// Content of all versions and of unfinished uploads, such as 10GiB; or none
        #[arg(long, value_name = "BYTES", value_parser = bound)]
        bytes: Bound,
        /// Versions of objects; or none
        #[arg(long, value_name = "N", value_parser = bound, default_value = "none")]
        objects: Bound,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Serve nothing, keep everything: its consent and its jobs' grants end
    Disable {
        /// Its name or id
        tenant: String,
        /// Why. The audit log keeps a salted hash; the text is sealed under the tenant's keys and ends with it
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Serve a disabled tenant again, under a new consent
    Enable {
        /// Its name or id
        tenant: String,
        /// The text of the new consent; its SHA-256 is recorded. Needed unless a consent is in force
        #[arg(long, value_name = "FILE")]
        consent: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// End it: kept for 90 days, then destroyed, with a certificate
    Terminate {
        /// Its name or id
        tenant: String,
        /// Why. The audit log keeps a salted hash; the text is sealed under the tenant's keys and ends with it
        #[arg(long)]
        reason: String,
        /// The tenant's name once more
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Destroy a terminated tenant before its 90 days are over, on its own instruction: another administrator approves the same
    /// within a day, then 72 hours pass
    PurgeEarly {
        /// Its name or id
        tenant: String,
        /// The tenant's instruction. The audit log keeps a salted hash; the text is sealed under the tenant's keys and ends with it
        #[arg(long, value_name = "FILE")]
        reason_file: PathBuf,
        /// The tenant's name once more
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Take an early destruction back, approved or not: the 90 days hold
    CancelEarly {
        /// Its name or id
        tenant: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Take a termination back, before destruction begins
    Reinstate {
        /// Its name or id
        tenant: String,
        /// The text of the new consent; its SHA-256 is recorded
        #[arg(long, value_name = "FILE")]
        consent: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
}

/// Copies inside the geo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Replication {
    /// None
    None,
    /// In a second region of the geo
    Geo,
}

/// `geoseal credential …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Credential {
    /// Make a login; its secret is shown once
    Create {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = Role::Service)]
        role: Role,
        /// Write the login to this new file (mode 600) as environment variables, and print no secret
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// The logins of a tenant, without secrets
    List {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
    },
    /// Revoke a login at once
    Revoke {
        /// The login: AWS_ACCESS_KEY_ID
        login: String,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
}

/// What a login may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads only
    ReadOnly,
    /// Reads and writes
    Service,
    /// Deletes objects and does nothing else, also of a terminated tenant
    Delete,
}

/// `geoseal export`.
#[derive(Debug, Clone, Args)]
pub struct Export {
    /// The tenant's name or id
    #[arg(long)]
    pub tenant: String,
    /// The directory to make; everything in it is sealed
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only this bucket
    #[arg(long)]
    pub bucket: Option<String>,
    /// Write the keys that open it to this new file (mode 600); keep it apart from the directory
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// The tenant's name once more
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Change nothing; print what there is to export
    #[arg(long)]
    pub dry_run: bool,
}

/// What a data subject asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DsrKind {
    /// A copy of everything
    Access,
    /// That something is put right
    Rectify,
    /// To be erased
    Erase,
    /// That what is stored is not used
    Restrict,
}

/// One request.
#[derive(Debug, Clone, Args)]
pub struct DsrRef {
    /// The request: DSR-number
    pub dsr: String,
    /// The tenant's name or id
    #[arg(long)]
    pub tenant: String,
}

/// `geoseal dsr …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Dsr {
    /// Enter a request; due in 30 days
    Open {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// The file that holds who asks, as x-amz-meta-geoseal-subject names them; - is standard input. Never an
        /// argument: those can be read by others on the machine
        #[arg(long, value_name = "FILE")]
        subject_file: PathBuf,
        /// What for
        #[arg(long, value_enum)]
        kind: DsrKind,
        /// On which ground, such as art15
        #[arg(long)]
        basis: Option<String>,
        /// Of an erasure: refuse to store them again
        #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, default_value_t = true)]
        block_reingest: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: super::Rehearse,
    },
    /// A tenant's requests
    List {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
    },
    /// One request
    Show {
        #[command(flatten)]
        #[allow(missing_docs)]
        of: DsrRef,
    },
    /// The certificate of an erasure, with what shows that the audit log has it
    Certificate {
        #[command(flatten)]
        #[allow(missing_docs)]
        of: DsrRef,
        /// A checkpoint of the log that you kept: the file then shows that the log goes on from it
        #[arg(long, value_name = "FILE")]
        since_checkpoint: Option<PathBuf>,
    },
    /// Answer a request for access: a zip of everything that is stored of who asks
    Export {
        #[command(flatten)]
        #[allow(missing_docs)]
        of: DsrRef,
        /// The file to make (mode 600); it is not sealed
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Change nothing; print what there is
        #[arg(long)]
        dry_run: bool,
    },
    /// A link by which who asked for access fetches the copy, once within 7 days; one of before is void
    Link {
        #[command(flatten)]
        #[allow(missing_docs)]
        of: DsrRef,
        /// Write the link to this new file (mode 600), and print none: whoever has it has the copy
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Answer a request to rectify: an object's new content; the versions of before are destroyed
    Rectify {
        #[command(flatten)]
        #[allow(missing_docs)]
        of: DsrRef,
        /// The object's bucket
        #[arg(long)]
        bucket: String,
        /// The file that holds the object's name; - is standard input
        #[arg(long, value_name = "FILE")]
        object_file: PathBuf,
        /// The file that holds its new content, at most 5 GiB
        #[arg(long, value_name = "FILE")]
        content: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: super::Rehearse,
    },
    /// Erase a data subject: its key is destroyed, its objects are removed
    Erase {
        /// The request: DSR-number; or give --subject-file and --basis to enter one and carry it out at once
        #[arg(required_unless_present = "subject_file", conflicts_with = "subject_file")]
        dsr: Option<String>,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// The file that holds the subject, as x-amz-meta-geoseal-subject named it; - is standard input. Never an
        /// argument: those can be read by others on the machine
        #[arg(long, value_name = "FILE")]
        subject_file: Option<PathBuf>,
        /// On which ground, such as art17
        #[arg(long, conflicts_with = "dsr")]
        basis: Option<String>,
        /// Refuse to store it again
        #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, default_value_t = true, conflicts_with = "dsr")]
        block_reingest: bool,
        /// The tenant's name once more
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// Restrict: what is stored stays stored, and no service reads it
    Restrict {
        #[command(flatten)]
        #[allow(missing_docs)]
        of: DsrRef,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// Take back what a request put in force: a restriction, or that nothing is stored again
    Lift(DsrWhy),
    /// Record that a request is not carried out
    Refuse(DsrWhy),
}

/// One request, and why.
#[derive(Debug, Clone, Args)]
pub struct DsrWhy {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub of: DsrRef,
    /// Why. The audit log keeps a salted hash; the text is sealed under the tenant's keys and ends with it
    #[arg(long)]
    pub reason: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rehearse: super::Rehearse,
}

/// What somebody is to a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ContactKind {
    /// Objects name them contact:ID
    Contact,
    /// Objects name them lead:ID
    Lead,
}

/// Whom a command about a contact is about.
#[derive(Debug, Clone, Args)]
pub struct Whom {
    /// The tenant's name or id
    #[arg(long)]
    pub tenant: String,
    /// The file that holds the contact's id; - is standard input. Never an argument: those can be read by others on the
    /// machine
    #[arg(long, value_name = "FILE")]
    pub contact_file: PathBuf,
    /// Contact or lead
    #[arg(long, value_enum, default_value = "contact")]
    pub kind: ContactKind,
}

/// `geoseal contact …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Contact {
    /// Collect nothing more of somebody, from the next write on; what is stored stays, unless told otherwise
    OptOut {
        #[command(flatten)]
        #[allow(missing_docs)]
        whom: Whom,
        /// Enter a request for erasure, too, and carry it out: what is stored of them goes
        #[arg(long, requires = "basis")]
        erase_history: bool,
        /// Of the erasure: on which ground, such as art17
        #[arg(long, requires = "erase_history")]
        basis: Option<String>,
        /// Of the erasure: the tenant's name once more
        #[arg(long, value_name = "NAME", requires = "erase_history")]
        confirm: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// They take that back
    OptIn {
        #[command(flatten)]
        #[allow(missing_docs)]
        whom: Whom,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: super::Rehearse,
    },
    /// How they stand
    Show {
        #[command(flatten)]
        #[allow(missing_docs)]
        whom: Whom,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_units_or_are_none() {
        for (text, bound_of) in [("none", Some(None)), ("0", Some(Some(0))), ("500000", Some(Some(500_000)))] {
            assert_eq!(bound(text).ok().map(|bound| bound.0), bound_of, "{text}");
        }
        assert_eq!(bound("10GiB"), Ok(Bound(Some(10 << 30))));
        assert_eq!(bound("3KiB"), Ok(Bound(Some(3072))));
        for bad in ["", "None", "-1", "10GB", "1.5GiB", "GiB", "99999999999TiB"] {
            assert!(bound(bad).is_err(), "{bad}");
        }
    }
}
