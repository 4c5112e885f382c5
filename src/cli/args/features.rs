//! Features of tenants, and what their buckets are for.

use super::Rehearse;
use clap::{Args, Subcommand};
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
        /// Take interactions of followed messages only: true unless said otherwise; kept in the audit log
        #[arg(long, value_name = "true|false")]
        follow_only: Option<bool>,
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

/// Messages of a tenant.
#[derive(Debug, Clone, Args)]
pub struct Messages {
    /// The tenant's name or id
    #[arg(long)]
    pub tenant: String,
    /// The file that holds ids of messages, one a line, at most 1000; - is standard input
    #[arg(long, value_name = "FILE")]
    pub message_file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rehearse: Rehearse,
}

/// `geoseal follow …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Follow {
    /// Register messages as followed; only keyed tokens of their ids are kept
    Add(Messages),
    /// Follow messages no more; what was collected of them stays
    Remove(Messages),
    /// Say whether what a user tracks is captured
    Capture {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// The file that holds the user, as x-amz-meta-geoseal-actor names it; - is standard input
        #[arg(long, value_name = "FILE")]
        user_file: PathBuf,
        /// Whether it is
        #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
        on: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
}

/// `geoseal grant …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Grant {
    /// Make a short-lived login for a job; its secret is shown once
    Create {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// What for: kpi, training, scoring, support
        #[arg(long)]
        purpose: String,
        /// A class of data that it reaches; may be repeated
        #[arg(long = "class", value_name = "CLASS", required = true)]
        classes: Vec<String>,
        /// A bucket that it reaches; may be repeated
        #[arg(long = "bucket", value_name = "BUCKET", required = true)]
        buckets: Vec<String>,
        /// How long, such as 2h; a day at most
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = crate::model::time::seconds)]
        seconds: u64,
        /// Write the login to this new file (mode 600) as environment variables, and print no secret
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// The grants of a tenant, without secrets
    List {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
    },
    /// Revoke a grant at once
    Revoke {
        /// The grant: its AWS_ACCESS_KEY_ID
        login: String,
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
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
