//! The command line as types: `geoseal NOUN VERB`. What is not built is not here. No flag takes a secret.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// An S3-compatible object store whose data stays in its geography, sealed under its owner's own keys.
#[derive(Debug, Parser)]
#[command(name = "geoseal", version, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to reach the server.
    #[command(flatten)]
    pub common: Common,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The admin API's address, such as https://127.0.0.1:9001
    #[arg(long, global = true, env = "GEOSEAL_ADMIN_URL", value_name = "URL", help_heading = "Connection")]
    pub admin_url: Option<String>,
    /// The file that holds the bearer token
    #[arg(long, global = true, env = "GEOSEAL_ADMIN_TOKEN_FILE", value_name = "FILE", help_heading = "Connection")]
    pub admin_token_file: Option<PathBuf>,
    /// The certificate authority to trust, as PEM; without it, those of the system
    #[arg(long, global = true, env = "GEOSEAL_CA", value_name = "FILE", help_heading = "Connection")]
    pub ca: Option<PathBuf>,
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it: prepare a directory on first use, then serve from it
    Dev(Dev),
    /// Prepare a directory for production
    Init(Box<Init>),
    /// Serve
    Serve(Serve),
    /// A key service of its own: holds the master keys and answers servers
    #[command(subcommand)]
    Keys(Keys),
    /// Geos and regions
    #[command(subcommand)]
    Region(Region),
    /// Tenants and their states
    #[command(subcommand)]
    Tenant(Tenant),
    /// Logins of tenants
    #[command(subcommand)]
    Credential(Credential),
    /// Key versions and their rotation
    #[command(subcommand)]
    Key(Key),
    /// Data subjects' requests
    #[command(subcommand)]
    Dsr(Dsr),
    /// A tenant's data into a directory that can be read without this software
    Export(Export),
    /// Backups
    #[command(subcommand)]
    Backup(Backup),
    /// The sweeper: what is due is destroyed
    #[command(subcommand)]
    Sweep(Sweep),
    /// The audit log
    #[command(subcommand)]
    Audit(Audit),
    /// Certificates of destruction
    #[command(subcommand)]
    Certificate(Certificate),
    /// The compliance clock
    #[command(subcommand)]
    Clock(Clock),
}

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
        #[arg(value_parser = seconds)]
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

/// `geoseal region …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Region {
    /// Every geo and region, and which of them the server serves
    List,
}

/// Flags of acts that change something.
#[derive(Debug, Clone, Copy, Args)]
pub struct Rehearse {
    /// Change nothing; print the plan and its id
    #[arg(long)]
    pub dry_run: bool,
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
    /// Serve nothing, keep everything
    Disable {
        /// Its name or id
        tenant: String,
        /// Why. The audit log keeps its SHA-256, not the text: it holds no words of people
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Serve a disabled tenant again
    Enable {
        /// Its name or id
        tenant: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// End it: kept for 90 days, then destroyed, with a certificate
    Terminate {
        /// Its name or id
        tenant: String,
        /// Why. The audit log keeps its SHA-256, not the text: it holds no words of people
        #[arg(long)]
        reason: String,
        /// The tenant's name once more
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
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
}

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
    /// Rotate: wrap anew under a new version; no data is rewritten
    #[command(subcommand)]
    Rotate(Rotate),
    /// Make keys unusable at once; what is being read or written ends within seconds
    #[command(subcommand)]
    Suspend(Suspend),
    /// Make suspended keys usable again
    #[command(subcommand)]
    Resume(Resume),
    /// A version of a tenant's data key may be known to somebody: from now on only a re-encryption opens what is under it
    ReportCompromise {
        /// As `key status` names it: tdk/contoso/1
        key: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// Destroy one version of a key, once a scan finds nothing under it; a second administrator may have to agree
    Destroy {
        /// As `key status` names it: mk/europe/1, tdk/contoso/1, srk/contoso/1, tik/contoso/1
        key: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// Take back that an administrator proposed the destruction of a version
    Withdraw {
        /// Which version, as in `key destroy`
        key: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
    /// New data keys and new sealed bytes, as after a compromise; ETags, versions and times stay
    #[command(subcommand)]
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

/// `geoseal backup …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Backup {
    /// Make a backup while the server serves; it never holds master keys
    Create {
        /// A new directory on the server's machine
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Link blobs instead of copying them; DIR has to be on the file system of the data
        #[arg(long)]
        link: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// Backups whose key store can still be opened
    List,
    /// Put a backup back into an empty data directory; needs no server
    Restore {
        /// The backup
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// An empty directory, to be the server's data_dir
        #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
        to: Option<PathBuf>,
        /// Take only a backup that this log key signed, as printed by `audit log-key`
        #[arg(long, value_name = "HEX|FILE")]
        log_key: Option<String>,
        /// Write nothing; check the signature and the SHA-256 of all that is in it
        #[arg(long, conflicts_with = "to")]
        dry_run: bool,
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

/// `geoseal key reencrypt …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Reencrypt {
    /// Everything of a tenant, or one bucket of it
    Tenant {
        /// Its name or id
        tenant: String,
        /// Only this bucket
        #[arg(long)]
        bucket: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        pace: Pace,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
}

/// How fast long work on keys may go.
#[derive(Debug, Clone, Copy, Args)]
pub struct Pace {
    /// Records a second at most; without it what the server's settings say
    #[arg(long, value_name = "N")]
    pub records_per_second: Option<std::num::NonZeroU32>,
}

/// Flags of long work.
#[derive(Debug, Clone, Copy, Args)]
pub struct Long {
    /// Change nothing; print the plan and its id
    #[arg(long)]
    pub dry_run: bool,
    /// Start it and return
    #[arg(long, conflicts_with = "dry_run")]
    pub no_wait: bool,
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

/// `geoseal dsr …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Dsr {
    /// Erase a data subject: its key is destroyed, its objects are removed
    Erase {
        /// The tenant's name or id
        #[arg(long)]
        tenant: String,
        /// The file that holds the subject, as x-amz-meta-geoseal-subject named it; - is standard input. Never an
        /// argument: those can be read by others on the machine
        #[arg(long, value_name = "FILE")]
        subject_file: PathBuf,
        /// The tenant's name once more
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
}

/// `geoseal sweep …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Sweep {
    /// Sweep now
    Run {
        #[command(flatten)]
        #[allow(missing_docs)]
        long: Long,
    },
    /// The last, the next, and whether anything is late
    Status,
}

/// `geoseal audit …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Audit {
    /// The newest entries
    Tail {
        /// Only this geo's log
        #[arg(long)]
        geo: Option<String>,
        /// The entries that follow this index instead; needs --geo
        #[arg(long, requires = "geo", value_name = "INDEX")]
        after: Option<u64>,
        /// How many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Walk the chain: every entry in place and unchanged?
    Verify {
        /// Only this geo's log
        #[arg(long)]
        geo: Option<String>,
    },
    /// The public key that signs a geo's certificates; keep it, to verify them offline
    LogKey {
        /// The geo
        #[arg(long)]
        geo: String,
    },
}

/// `geoseal certificate …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Certificate {
    /// The certificate of a purged tenant, as JSON
    Get {
        /// Its id, or its name while that is known
        tenant: String,
    },
    /// Verify a certificate's signature and what it says
    Verify {
        /// The certificate; - is standard input
        file: PathBuf,
        /// The log key, as printed by `audit log-key`, or a file that holds it; with it no server is asked
        #[arg(long, value_name = "HEX|FILE")]
        log_key: Option<String>,
    },
}

/// `geoseal clock …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Clock {
    /// What it says and how sure it is
    Show,
}

/// `91d`, `12h`, `1d30m`, `45s` in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "a duration is such as 91d, 12h, 1d30m or 45s".to_owned();
    let (mut sum, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let mut after = rest[digits..].chars();
        let unit = match after.next() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(wrong()),
        };
        sum = number.checked_mul(unit).and_then(|s| sum.checked_add(s)).ok_or_else(wrong)?;
        rest = after.as_str();
    }
    if sum == 0 { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(seconds("91d"), Ok(7_862_400));
        assert_eq!(seconds("1d30m"), Ok(88_200));
        for bad in ["", "0s", "91", "d", "-1d", "1w", "1.5h", "99999999999999999999d", "999999999999999999d", "1é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_fixed_commands_parse() {
        for line in [
            "dev",
            "dev --dir D --listen 127.0.0.1:0 --admin [::1]:0 --simulated-clock",
            "dev clock advance 91d",
            "dev --dir D clock advance 91d --json",
            "dev clock advance 91d --dir D",
            "init D --region westeurope --host s3.example.org --passphrase-file p",
            "serve --config geoseal.toml",
            "serve --config geoseal.toml --accept-rollback westeurope --reason restored",
            "region list --json",
            "tenant create contoso --geo europe --home westeurope --replication none --consent c --contact x",
            "tenant show contoso",
            "tenant list",
            "tenant disable contoso --reason r",
            "tenant enable contoso",
            "tenant terminate contoso --reason r --confirm contoso",
            "tenant reinstate contoso --consent new.txt",
            "credential create --tenant contoso --role service",
            "credential list --tenant contoso",
            "credential revoke GSX --tenant contoso --yes",
            "key status",
            "key rotate master --geo europe --dry-run",
            "key rotate tenant contoso",
            "dsr erase --tenant contoso --subject-file - --dry-run",
            "export --tenant contoso --out d --bucket b --key-file k --confirm contoso",
            "dsr erase --tenant contoso --subject-file f --confirm contoso --json",
            "key epoch close --geo europe --no-soak --dry-run",
            "key epoch abort --geo europe",
            "key epoch status --geo europe",
            "key epoch certificate --geo europe 3",
            "backup create --out /backups/monday --link",
            "backup list",
            "backup restore --from /backups/monday --to data --log-key k",
            "backup restore --from /backups/monday --dry-run",
            "serve --config geoseal.toml --accept-restore europe --reason restored",
            "sweep run --dry-run",
            "sweep status",
            "audit tail -n 5",
            "audit verify --geo europe",
            "certificate get contoso",
            "certificate verify cert.json --log-key k",
            "clock show --admin-url https://h:9001 --admin-token-file t --ca c",
        ] {
            let words = std::iter::once("geoseal").chain(line.split(' '));
            Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn there_is_no_default_region_and_no_force() {
        for line in [
            "init D --host h",
            "serve --config c --accept-rollback westeurope",
            "tenant disable c --reason r --force",
            "audit tail --after 3",
            "tenant terminate c",
        ] {
            assert!(Cli::try_parse_from(std::iter::once("geoseal").chain(line.split(' '))).is_err(), "{line}");
        }
    }
}
