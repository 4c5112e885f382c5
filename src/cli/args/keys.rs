//! Keys: what can be done with versions of them, and how fast.

use super::{Long, Rehearse};
use crate::model::time::Millis;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `geoseal key …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Key {
    /// Versions, states and counts
    Status {
        /// Only this geo
        #[arg(long)]
        geo: Option<String>,
        /// Only this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// Count the records under each version by reading them, up to a bound
        #[arg(long)]
        count: bool,
    },
    /// Every version of every key, with when it was made and last rotated; for auditors
    Inventory,
    /// Rotate: wrap anew under a new version; no data is rewritten
    #[command(subcommand)]
    Rotate(Rotate),
    /// Make keys unusable at once; what is being read or written ends within seconds
    #[command(subcommand)]
    Suspend(Suspend),
    /// Make suspended keys usable again
    #[command(subcommand)]
    Resume(Resume),
    /// A version of a tenant's data key, or of the master key, may be known to somebody: it is replaced at once, and what it
    /// exposes is counted
    ReportCompromise {
        /// As `key status` names it: tdk/contoso/1, mk/europe/1
        key: String,
        /// Why; its hash is recorded
        #[arg(long)]
        reason: Option<String>,
        /// When it was seen where it should not be: 2026-11-20T10:00:00Z
        #[arg(long, value_name = "TIME", value_parser = super::moment)]
        seen_at: Option<Millis>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// What a version of a key exposes to whoever has it, counted now
    Exposure {
        /// As in `key report-compromise`
        key: String,
    },
    /// Schedule the destruction of one version of a key, once a scan finds nothing under it; a second administrator may
    /// have to agree
    Destroy {
        /// As `key status` names it: mk/europe/1, tdk/contoso/1, srk/contoso/1, tik/contoso/1
        key: String,
        /// How long it waits, from 1d; without it 30d, or 1d where the version is compromised
        #[arg(long, value_name = "SPAN")]
        after: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// Take the destruction of a version back while it waits: for its day, or for a second administrator
    CancelDestroy {
        /// Which version, as in `key destroy`
        key: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// New data keys and new sealed bytes, as after a compromise; ETags, versions and times stay
    Reencrypt(Reencrypt),
    /// Close an epoch: what was destroyed is then irrecoverable
    #[command(subcommand)]
    Epoch(Epoch),
}

/// `geoseal key epoch …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Epoch {
    /// Make what was destroyed irrecoverable, older backups included: wrap what lives under a new master key, disable the
    /// older versions for a soak, then destroy them
    Close {
        /// The geo
        #[arg(long)]
        geo: String,
        /// Destroy at once, where the server's settings allow it
        #[arg(long)]
        no_soak: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// Take a close back that has destroyed nothing yet
    Abort {
        /// The geo
        #[arg(long)]
        geo: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// The epochs of a geo, and how far a close is
    Status {
        /// The geo
        #[arg(long)]
        geo: String,
    },
    /// The certificate of an epoch's close, as JSON
    Certificate {
        /// The geo
        #[arg(long)]
        geo: String,
        /// Which epoch
        number: u64,
    },
}

/// `geoseal keys …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Keys {
    /// Make the master keys that a configuration names; what is there already has to open
    Init {
        /// The key service's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Serve keys
    Serve {
        /// The key service's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// As with `serve`; restart the geo's server afterwards
        #[arg(long, value_name = "GEO", requires = "reason")]
        accept_restore: Option<String>,
        /// Why; the geo's audit log keeps the SHA-256 of this text
        #[arg(long, value_name = "TEXT", requires = "accept_restore")]
        reason: Option<String>,
    },
}

/// `geoseal key suspend …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Suspend {
    /// The keys of a tenant
    Tenant {
        /// Its name or id
        tenant: String,
        /// Why; its SHA-256 is recorded
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
}

/// `geoseal key resume …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Resume {
    /// The keys of a tenant
    Tenant {
        /// Its name or id
        tenant: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
}

/// `geoseal key rotate …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Rotate {
    /// The master key of a geo
    Master {
        /// The geo
        #[arg(long)]
        geo: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        pace: Pace,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// The directory key of a geo, which seals tenants' names and logins; older versions are destroyed at the end
    Directory {
        /// The geo
        #[arg(long)]
        geo: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        pace: Pace,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// The data key of a tenant
    Tenant {
        /// Its name or id
        tenant: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        pace: Pace,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// The root above a tenant's data subjects' keys; older versions are destroyed at the end
    SubjectRoot {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        pace: Pace,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// The root above a tenant's index keys, logins and directory rows; older versions are destroyed at the end
    IndexRoot {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        pace: Pace,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// The index key of a bucket: names, metadata and old data keys of what was deleted become unreadable
    IndexKey {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// The bucket
        #[arg(long)]
        bucket: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        pace: Pace,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
}

/// `geoseal key reencrypt`.
#[derive(Debug, Clone, Args)]
pub struct Reencrypt {
    /// The tenant's name or id
    #[arg(long)]
    pub tenant: String,
    /// Only what this version of the tenant's data key opens, or opened before a rotation; without it everything
    #[arg(long, value_name = "VERSION")]
    pub from: Option<std::num::NonZeroU32>,
    /// Only what lies in this bucket
    #[arg(long)]
    pub bucket: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pace: Pace,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub long: Long,
}

/// How fast long work on keys may go.
#[derive(Debug, Clone, Copy, Args)]
pub struct Pace {
    /// Records a second at most; without it what the server's settings say
    #[arg(long, value_name = "N")]
    pub records_per_second: Option<std::num::NonZeroU32>,
}
