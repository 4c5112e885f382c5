//! Starting a server: `dev`, `init`, `serve`.

use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `geoseal dev`.
#[derive(Debug, Clone, Args)]
pub struct Dev {
    /// Where it keeps everything; created on first use
    #[arg(long, global = true, default_value = "geoseal-dev", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where S3 clients connect; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9000", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where administrators connect; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    pub admin: SocketAddr,
    /// On first use: take a clock that `dev clock advance` can move
    #[arg(long)]
    pub simulated_clock: bool,
    /// As with `serve`
    #[arg(long, value_name = "REGION", requires = "reason")]
    pub accept_rollback: Option<String>,
    /// As with `serve`
    #[arg(long, value_name = "GEO", requires = "reason", conflicts_with = "accept_rollback")]
    pub accept_restore: Option<String>,
    /// As with `serve`
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// What to do with a running one.
    #[command(subcommand)]
    pub command: Option<DevCommand>,
}

/// `geoseal dev …`.
#[derive(Debug, Clone, Subcommand)]
pub enum DevCommand {
    /// Its simulated clock
    #[command(subcommand)]
    Clock(DevClock),
}

/// `geoseal dev clock …`.
#[derive(Debug, Clone, Subcommand)]
pub enum DevClock {
    /// Move it forward
    Advance {
        /// How far: 91d, 12h, 1d30m, 45s
        #[arg(value_parser = crate::model::time::seconds)]
        by: u64,
        /// Say what would happen
        #[arg(long)]
        dry_run: bool,
    },
}

/// `geoseal init`.
#[derive(Debug, Clone, Args)]
pub struct Init {
    /// The directory to make; must not exist, or be empty
    pub dir: PathBuf,
    /// A region to serve; may be given several times
    #[arg(long = "region", required = true, value_name = "REGION")]
    pub regions: Vec<String>,
    /// The file whose content seals the keyring; asked for on a terminal when left out
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Where the master keys are, when not in a keyring of geoseal's own.
    #[command(flatten)]
    pub keeper: Keeper,
    /// A name or address under which clients reach this server; may be given several times
    #[arg(long = "host", required = true, value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Where S3 clients connect
    #[arg(long, default_value = "0.0.0.0:9000", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where administrators connect
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    pub admin: SocketAddr,
}

/// Who keeps the master keys; the fields of `[keyring]`, as flags.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Master keys elsewhere")]
pub struct Keeper {
    /// Who keeps the master keys
    #[arg(long, value_name = "KIND", default_value = "local", value_parser = ["local", "pkcs11", "transit", "aws-kms"])]
    pub keyring: String,
    /// pkcs11: the maker's shared library
    #[arg(long, value_name = "FILE")]
    pub pkcs11_module: Option<PathBuf>,
    /// pkcs11: the token's label
    #[arg(long, value_name = "LABEL")]
    pub pkcs11_token: Option<String>,
    /// pkcs11: the file with the user's PIN
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
    /// transit: https://HOST:PORT of Vault or OpenBao
    #[arg(long, value_name = "URL")]
    pub transit_address: Option<String>,
    /// transit: the file with the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// transit: where the engine is mounted
    #[arg(long, value_name = "PATH")]
    pub transit_mount: Option<String>,
    /// aws-kms: the KMS' region
    #[arg(long, value_name = "REGION")]
    pub kms_region: Option<String>,
    /// aws-kms: https://HOST:PORT, when not AWS' own
    #[arg(long, value_name = "URL")]
    pub kms_endpoint: Option<String>,
    /// aws-kms: the TOML file with access_key_id and secret_access_key
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<PathBuf>,
    /// transit, aws-kms: PEM file of the authorities to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Where the ledger of master key versions lies: other media than the data
    #[arg(long, value_name = "DIR")]
    pub ledger_dir: Option<PathBuf>,
}

/// `geoseal serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Take this region's index for the true one although acknowledged writes are missing, as after the restore of a
    /// backup; for this one start
    #[arg(long, value_name = "REGION", requires = "reason")]
    pub accept_rollback: Option<String>,
    /// Take this geo's key store for the true one although it is older than its witness, as after the restore of a
    /// backup; for this one start. What was destroyed since is destroyed again first
    #[arg(long, value_name = "GEO", requires = "reason", conflicts_with = "accept_rollback")]
    pub accept_restore: Option<String>,
    /// Why; the audit log keeps the SHA-256 of this text
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}
