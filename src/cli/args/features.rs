//! Features of tenants, and what their buckets are for.

use super::Rehearse;
use clap::Subcommand;
use std::path::PathBuf;

/// `geoseal feature …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Feature {
    /// Enable a feature with a consent; what there was when it was disabled is there again
    Enable {
        /// Which: email-engagement
        feature: String,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// The text that was agreed to; its SHA-256 is recorded
        #[arg(long, value_name = "FILE")]
        consent: Option<PathBuf>,
        /// A class of data that the consent names besides the feature's own; may be repeated
        #[arg(long = "class", value_name = "CLASS")]
        classes: Vec<String>,
        /// Days that interactions are kept behind their watermark, 1 to 365
        #[arg(long, value_name = "DAYS")]
        ttl_days: Option<u16>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Disable a feature: its consent ends, nothing of it is taken or given, nothing is lost
    Disable {
        /// Which: email-engagement
        feature: String,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// Why. The audit log keeps its SHA-256, not the text: it holds no words of people
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Show a feature of a tenant, with its consents
    Show {
        /// Which: email-engagement
        feature: String,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
    },
}

/// `geoseal bucket …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Bucket {
    /// Say what a bucket is for; what is not said stays
    Set {
        /// The bucket
        bucket: String,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// The class of objects that name none; an empty text: none
        #[arg(long, value_name = "CLASS")]
        default_class: Option<String>,
        /// What its data may be used for under a grant; may be repeated. An empty text: nothing
        #[arg(long = "purpose", value_name = "PURPOSE")]
        purposes: Vec<String>,
        /// Days that interactions are kept behind their watermark, 1 to 365
        #[arg(long, value_name = "DAYS")]
        ttl_days: Option<u16>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Show what a bucket is for
    Show {
        /// The bucket
        bucket: String,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
    },
}
