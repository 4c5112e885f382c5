//! The command line as types: `geoseal NOUN VERB`. What is not built is not here. No flag takes a secret.

mod features;
mod holds;
mod keys;
mod start;
mod tenants;

pub use features::{Bucket, Feature, Follow, Grant, Messages};
pub use holds::Hold;
pub use keys::{Epoch, Key, Keys, Pace, Reencrypt, Resume, Rotate, Suspend};
pub use start::{Dev, DevClock, DevCommand, Init, Keeper, Serve};
pub use tenants::{
    Contact, ContactKind, Credential, Dsr, DsrKind, DsrRef, DsrWhy, Export, Replication, Role, Tenant, Whom,
};

use crate::model::time::Millis;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A day, which begins at midnight UTC, or a time.
fn moment(text: &str) -> Result<Millis, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole.parse().map_err(|_| "a day, such as 2026-10-01, or a time, such as 2026-10-01T12:00:00Z".to_owned())
}

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
    /// Features of tenants, and the consents they need
    #[command(subcommand)]
    Feature(Feature),
    /// Messages that are followed, and users who are captured
    #[command(subcommand)]
    Follow(Follow),
    /// Short-lived logins for jobs
    #[command(subcommand)]
    Grant(Grant),
    /// What buckets are for
    #[command(subcommand)]
    Bucket(Bucket),
    /// Key versions and their rotation
    #[command(subcommand)]
    Key(Key),
    /// Data subjects' requests
    #[command(subcommand)]
    Dsr(Dsr),
    /// Who may administer this server
    #[command(subcommand)]
    Admin(Admin),
    /// Contacts and leads: whether anything may be collected of them
    #[command(subcommand)]
    Contact(Contact),
    /// Legal holds
    #[command(subcommand)]
    Hold(Hold),
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
    /// Reports for auditors: controls, the processor's record, who was terminated
    #[command(subcommand)]
    Compliance(Compliance),
    /// Where a tenant's bytes are
    #[command(subcommand)]
    Residency(Residency),
}

/// `geoseal compliance …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Compliance {
    /// Every control with its newest evidence; what is stale is flagged
    Controls,
    /// The processor's record of processing activities, Art. 30(2)
    #[command(subcommand)]
    Record(ComplianceRecord),
    /// Restores from backups, with what was erased again
    Restores,
    /// Whom the processor has work for it
    Subprocessors,
    /// Populations to draw a sample from
    Population {
        /// Which
        #[arg(value_enum)]
        of: PopulationOf,
        /// A year, a quarter, a month or a day: 2026, 2026Q4, 2026-11, 2026-11-20
        #[arg(long)]
        period: String,
    },
}

/// `geoseal compliance record …`.
#[derive(Debug, Clone, Subcommand)]
pub enum ComplianceRecord {
    /// As JSON; ends with 4 when something is missing in it
    Export,
}

/// A population.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PopulationOf {
    /// Tenants terminated in the period
    Terminated,
}

/// `geoseal residency …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Residency {
    /// Region by region, object by opaque id; the transfer register; the published exceptions
    Prove {
        /// Its name or id
        #[arg(long)]
        tenant: String,
        /// Write every object with its region to this file, a line of JSON each
        #[arg(long, value_name = "FILE")]
        objects: Option<PathBuf>,
    },
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
    /// Runs that are kept, newest first
    History {
        /// How many
        #[arg(short = 'n', long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
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
    /// Every entry in place and unchanged? Of the server's log, or, with --log or --proof, without a server
    Verify {
        /// Only this geo's log
        #[arg(long, conflicts_with_all = ["log", "proof"])]
        geo: Option<String>,
        /// An exported log, to be verified by its public key alone
        #[arg(long, value_name = "DIR", requires = "log_key", conflicts_with = "proof")]
        log: Option<PathBuf>,
        /// With --log: an older checkpoint, kept elsewhere, that it has to go on from
        #[arg(long, value_name = "FILE", requires = "log")]
        checkpoint: Option<PathBuf>,
        /// The proof of one entry, to be verified by the public key alone
        #[arg(long, value_name = "FILE", requires = "log_key")]
        proof: Option<PathBuf>,
        /// The log key, as printed by `audit log-key`, or a file that holds it
        #[arg(long, value_name = "HEX|FILE")]
        log_key: Option<String>,
        /// Whether the server's log goes on from this checkpoint, kept elsewhere, and its witnesses agree; of the directory of
        /// an earlier export, also which entry is the first that differs
        #[arg(long, value_name = "FILE|DIR", conflicts_with_all = ["log", "proof"])]
        since_checkpoint: Option<PathBuf>,
    },
    /// Size and Merkle root of a geo's log, signed; whoever keeps it can tell later that nothing before it was changed
    Checkpoint {
        /// The geo
        #[arg(long)]
        geo: String,
        /// Write the signed note here
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// The whole log of a geo into a new directory that anybody can verify
    Export {
        /// The geo
        #[arg(long)]
        geo: String,
        /// A directory that is not there yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// List the entries from this time on in DIR/period.ndjson: a day (2026-10-01) or RFC 3339, proven time
        #[arg(long, value_name = "TIME", value_parser = moment)]
        from: Option<Millis>,
        /// And before this time
        #[arg(long, value_name = "TIME", value_parser = moment)]
        to: Option<Millis>,
    },
    /// One entry, with what was said when somebody acted, while the tenant has keys
    Show {
        /// Its index, as `audit tail` prints it
        entry: u64,
        /// The geo
        #[arg(long)]
        geo: String,
    },
    /// One entry, and what shows that it is in the log, for somebody who gets nothing else of it
    Prove {
        /// The geo
        #[arg(long)]
        geo: String,
        /// Its index, as `audit tail` prints it
        #[arg(long, value_name = "INDEX")]
        entry: u64,
        /// Write the proof here
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
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
        /// A checkpoint of the log that you kept: the file then shows that the log goes on from it
        #[arg(long, value_name = "FILE")]
        since_checkpoint: Option<PathBuf>,
    },
    /// Verify a certificate's signature, what it says, and that the log has it
    Verify(VerifyCertificate),
}

/// `geoseal certificate verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifyCertificate {
    /// The certificate; - is standard input
    pub file: PathBuf,
    /// The log key, as printed by `audit log-key`, or a file that holds it; with it no server is asked
    #[arg(long, value_name = "HEX|FILE")]
    pub log_key: Option<String>,
    /// A checkpoint of the log that you kept, given to `certificate get` as `--since-checkpoint`
    #[arg(long, value_name = "FILE", conflicts_with = "without_log")]
    pub checkpoint: Option<PathBuf>,
    /// Look at the signature alone: for files that were kept before certificates showed that the log has them
    #[arg(long)]
    pub without_log: bool,
}

/// `geoseal admin …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Admin {
    /// The tokens of the admin API: whose, which role, whether revoked
    List,
    /// Revoke one for good, from the next request on. The last administrator's is refused
    Revoke {
        /// Its id, as `admin list` and the audit log have it
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
}

/// `geoseal clock …`.
#[derive(Debug, Clone, Subcommand)]
pub enum Clock {
    /// What it says and how sure it is
    #[command(alias = "status")]
    Show,
    /// Say what time it is, when nobody else vouches for time that the machine was off; another administrator has to say
    /// the same
    Attest {
        /// The time, UTC: 2026-11-21T12:00:00Z. Never ahead of the machine's clock
        #[arg(long, value_name = "TIME")]
        utc: String,
        /// How you know. The audit log keeps its SHA-256, not the text
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        rehearse: Rehearse,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::seconds;
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
            "tenant quota contoso --bytes 10GiB --objects none --dry-run",
            "tenant disable contoso --reason r",
            "tenant enable contoso",
            "tenant enable contoso --consent c",
            "tenant terminate contoso --reason r --confirm contoso",
            "admin list",
            "admin revoke admin-01020304 --yes",
            "tenant purge-early contoso --reason-file instruction.txt --confirm contoso",
            "tenant cancel-early contoso",
            "tenant reinstate contoso --consent new.txt",
            "credential create --tenant contoso --role service",
            "credential list --tenant contoso",
            "credential revoke GSX --tenant contoso --yes",
            "feature enable email-engagement --tenant contoso --consent c --class contact --class lead --ttl-days 30",
            "feature disable email-engagement --tenant contoso --reason r --dry-run",
            "feature show email-engagement --tenant contoso --json",
            "bucket set interactions --tenant contoso --default-class interaction --purpose kpi --ttl-days 7",
            "bucket show interactions --tenant contoso",
            "grant create --tenant contoso --purpose kpi --class interaction --class kpi --bucket b --for 2h --out f",
            "grant list --tenant contoso",
            "follow add --tenant contoso --message-file f",
            "follow capture --tenant contoso --user-file - --on false",
            "grant revoke GSX --tenant contoso",
            "key status",
            "key rotate master --geo europe --dry-run",
            "key rotate tenant contoso",
            "dsr erase --tenant contoso --subject-file - --dry-run",
            "dsr open --tenant contoso --subject-file - --kind access --basis art15",
            "dsr list --tenant contoso",
            "dsr show DSR-17 --tenant contoso --json",
            "dsr export DSR-17 --tenant contoso --out bundle.zip",
            "dsr rectify DSR-18 --tenant contoso --bucket b --object-file n --content c --dry-run",
            "dsr erase DSR-18 --tenant contoso --dry-run",
            "dsr erase --tenant contoso --subject-file f --basis art17 --block-reingest false --confirm contoso",
            "dsr restrict DSR-19 --tenant contoso",
            "dsr certificate DSR-20 --tenant contoso --since-checkpoint f",
            "dsr lift DSR-19 --tenant contoso --reason r",
            "dsr refuse DSR-20 --tenant contoso --reason r --dry-run",
            "contact opt-out --tenant contoso --contact-file f --kind lead --dry-run",
            "contact opt-in --tenant contoso --contact-file -",
            "contact show --tenant contoso --contact-file f --json",
            "export --tenant contoso --out d --bucket b --key-file k --confirm contoso",
            "dsr erase --tenant contoso --subject-file f --confirm contoso --json",
            "key epoch close --geo europe --no-soak --dry-run",
            "key epoch abort --geo europe",
            "key epoch status --geo europe",
            "key epoch certificate --geo europe 3",
            "hold place M-9 --tenant contoso --scope bucket:letters --matter m --prospective",
            "hold place M-9 --tenant contoso --scope-file - --matter-file f --dry-run",
            "hold approve M-9",
            "hold list --tenant contoso",
            "hold show M-9",
            "hold release M-9",
            "backup create --out /backups/monday --link",
            "backup list",
            "backup restore --from /backups/monday --to data --log-key k",
            "backup restore --from /backups/monday --dry-run",
            "serve --config geoseal.toml --accept-restore europe --reason restored",
            "sweep run --dry-run",
            "sweep status",
            "sweep history -n 5",
            "key inventory",
            "compliance controls",
            "compliance record export",
            "compliance subprocessors",
            "compliance restores",
            "compliance population terminated --period 2026Q4",
            "residency prove --tenant contoso",
            "audit tail -n 5",
            "audit verify --geo europe",
            "audit verify --log log --log-key k --checkpoint old",
            "audit verify --proof p --log-key k",
            "audit verify --geo europe --since-checkpoint old",
            "audit checkpoint --geo europe --out c",
            "audit export --geo europe --out log",
            "audit prove --geo europe --entry 7",
            "certificate get contoso",
            "certificate verify cert.json --log-key k",
            "clock status",
            "clock attest --utc 2026-11-21T12:00:00Z --reason r --dry-run",
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
            "feature enable email-engagement --tenant c --consent f --force",
            "feature disable email-engagement --tenant c",
            "audit tail --after 3",
            "audit verify --log log",
            "audit verify --log log --log-key k --geo europe",
            "audit verify --log-key k --checkpoint old",
            "audit export --geo europe",
            "tenant terminate c",
            "contact opt-out --tenant contoso --contact 4711",
            "dsr erase --tenant contoso",
            "dsr erase DSR-1 --tenant contoso --subject-file f",
            "dsr open --tenant contoso --subject contact:4711 --kind access --basis art15",
            "contact opt-out --tenant contoso --contact-file f --kind person",
        ] {
            assert!(Cli::try_parse_from(std::iter::once("geoseal").chain(line.split(' '))).is_err(), "{line}");
        }
    }
}
