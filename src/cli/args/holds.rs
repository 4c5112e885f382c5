//! Legal holds.

use super::Rehearse;
use clap::Subcommand;
use std::path::PathBuf;

/// `geoseal hold …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Hold {
    /// Place a hold; it keeps what it covers once another administrator approved it
    Place {
        /// The matter's number: letters, digits and dashes
        id: String,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// tenant, bucket:NAME, prefix:BUCKET/PREFIX, subject:NAME or object:BUCKET/NAME
        #[arg(long, required_unless_present = "scope_file", conflicts_with = "scope_file")]
        scope: Option<String>,
        /// The file that holds the scope; - is standard input. For scopes that name a person: arguments can be read by
        /// others on the machine
        #[arg(long, value_name = "FILE")]
        scope_file: Option<PathBuf>,
        /// What it is about; sealed under the tenant's keys
        #[arg(long, required_unless_present = "matter_file", conflicts_with = "matter_file")]
        matter: Option<String>,
        /// The file that says what it is about
        #[arg(long, value_name = "FILE")]
        matter_file: Option<PathBuf>,
        /// Why it is placed; sealed as the matter is, and the audit log keeps a salted hash
        #[arg(long, conflicts_with = "reason_file")]
        reason: Option<String>,
        /// The file that says why
        #[arg(long, value_name = "FILE")]
        reason_file: Option<PathBuf>,
        /// Keep what is written later, too
        #[arg(long)]
        prospective: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Approve a hold that another administrator placed
    Approve {
        /// The matter's number
        id: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// The holds of a tenant with what they cover now, or of all; and what waits for their release
    List {
        /// The tenant's name or id
        #[arg(long)]
        tenant: Option<String>,
    },
    /// One hold: what it covers now, and what waits for its release
    Show {
        /// The matter's number
        id: String,
    },
    /// Ask for a hold's release, or agree to it; what it put off is done by the next sweep
    Release {
        /// The matter's number
        id: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
}
