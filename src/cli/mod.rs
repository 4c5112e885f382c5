//! The command line: parse, call the admin API, print. `dev` and `init` prepare a directory; `dev` and `serve` then
//! hand over to the server.
//!
//! Called by `main`. Promises one exit code for each kind of failure, results on standard output, notes and progress on
//! standard error and only to a terminal, and that no secret is ever an argument or an environment variable. Must not
//! know how the server is built: it asks its [`Wiring`].

pub mod args;
mod authority;
mod backups;
mod certificates;
mod client;
mod compliance;
mod contacts;
pub mod dev;
mod dsr;
mod epochs;
mod export;
pub mod failure;
mod features;
mod files;
mod first_upload;
mod grants;
mod holds;
pub mod init;
mod log;
mod passphrase;
mod print;
mod records;
mod tenants;
mod work;

use crate::admin::wire;
use crate::model::atlas::{GEOS, Geo, Region};
use args::{Certificate, Cli, Command, Common, DevClock, DevCommand, Keys, Serve};
use clap::Parser;
use client::{Address, Client};
use failure::Failure;
use print::Output;
use std::path::Path;
use std::process::ExitCode;

/// What the command line asks of the house: to serve, and to verify. Answered by `main`.
pub trait Wiring {
    /// Makes the keyrings of the geos that a new directory's configuration names, before it ever serves. Called again
    /// where a first attempt was cut short: a keyring that is there and opens is left as it is.
    fn found(&self, config: &Path) -> Result<(), String>;

    /// Serves by this configuration until told to stop; takes what `accepted` names for true although it is behind.
    fn serve(&self, config: &Path, accepted: Option<&RolledBack>) -> Result<(), String>;

    /// Makes the master keys that a key service's configuration names, as [`Wiring::found`].
    fn found_keys(&self, config: &Path) -> Result<(), String>;

    /// Serves keys by this configuration until told to stop; takes what `accepted` names for true, as
    /// [`Wiring::serve`].
    fn serve_keys(&self, config: &Path, accepted: Option<&RolledBack>) -> Result<(), String>;

    /// Serves a directory that [`dev::prepare`] made; calls `ready` once both listeners accept and the demo tenant,
    /// its bucket and a login stand.
    fn serve_dev(&self, prepared: &dev::Prepared, ready: dev::OnReady) -> Result<(), String>;

    /// Puts a backup back into an empty directory, or, without one, checks it whole; with a log key only one that it
    /// signed. The error says what is wrong.
    fn restore_backup(
        &self,
        from: &Path,
        to: Option<&Path>,
        log_key: Option<&[u8; 32]>,
    ) -> Result<Vec<RestoredGeo>, String>;

    /// Verifies a certificate by the log's public key, and, where there is one, against an older checkpoint of the log; the
    /// error says what is wrong with it.
    fn verify_certificate(
        &self,
        certificate: &[u8],
        log_key: &[u8; 32],
        older: Option<&str>,
    ) -> Result<VerifiedCertificate, String>;

    /// Writes the entries of an audit log, and the checkpoint over exactly these, into a new directory.
    fn write_log(&self, dir: &Path, checkpoint: &str, lines: &[String]) -> Result<(), String>;

    /// Verifies an exported audit log by its public key, and, where there is one, against an older checkpoint; answers
    /// entries and root, or what is wrong with it.
    fn verify_log(&self, dir: &Path, log_key: &[u8; 32], older: Option<&str>) -> Result<(u64, String), String>;

    /// Verifies that a log goes on from an older checkpoint, by its public key; answers both sizes, or what is wrong.
    fn verify_growth(
        &self,
        older: &str,
        newer: &crate::admin::transparency::LogGrowth,
        log_key: &[u8; 32],
    ) -> Result<(u64, u64), String>;

    /// The first entry in which an exported log differs from the log as it is now.
    fn first_difference(&self, dir: &Path, log_key: &[u8; 32], lines: &[String]) -> Result<Option<u64>, String>;

    /// Verifies the proof of one entry by the log's public key; answers the entry's line, or what is wrong.
    fn verify_proof(&self, proof: &str, log_key: &[u8; 32]) -> Result<String, String>;
}

/// A certificate whose signature fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedCertificate {
    /// Of a tenant's destruction, and where the log has it, if the file shows that.
    OfATenant(Option<InLog>),
    /// Of an epoch's close.
    OfAnEpoch,
    /// Of a data subject's erasure, and where the log has it, if the file shows that.
    OfASubject(Option<InLog>),
}

/// Where the log has a certificate.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct InLog {
    /// The entry that names it.
    pub index: u64,
    /// Entries of the log, by its signed checkpoint.
    pub entries: u64,
    /// Entries of the older checkpoint that was given, of which this log is the continuation.
    pub since: Option<u64>,
}

/// What was put back of one geo.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RestoredGeo {
    /// The backup's id.
    pub backup: String,
    /// Which geo.
    pub geo: String,
    /// Of which moment, RFC 3339.
    pub at: String,
    /// Rows.
    pub rows: u64,
    /// Blobs.
    pub blobs: u64,
    /// The log key that signed it, in hexadecimal.
    pub log_key: String,
    /// What is needed besides.
    pub not_in_it: Vec<String>,
}

/// What an operator restored from a backup and says so, and why: in his words, of which the audit log keeps the hash.
#[derive(Clone)]
pub enum RolledBack {
    /// A region's index.
    Index {
        /// Which.
        region: &'static Region,
        /// Why.
        reason: String,
    },
    /// A geo's key store.
    Keys {
        /// Whose.
        geo: &'static Geo,
        /// Why.
        reason: String,
    },
}

impl RolledBack {
    /// What the flags of `serve` say.
    fn asked(args: &Serve) -> Result<Option<Self>, Failure> {
        Self::of(args.accept_rollback.as_deref(), args.accept_restore.as_deref(), args.reason.as_deref())
    }

    fn of(index: Option<&str>, keys: Option<&str>, reason: Option<&str>) -> Result<Option<Self>, Failure> {
        let Some(reason) = reason.map(str::to_owned) else { return Ok(None) };
        if reason.trim().is_empty() {
            return Err(Failure::Usage("--reason says nothing".into()));
        }
        if let Some(id) = index {
            let (_, region) = Region::find(id).ok_or_else(|| Failure::Usage(format!("{id}: no such region")))?;
            return Ok(Some(Self::Index { region, reason }));
        }
        let Some(id) = keys else {
            return Err(Failure::Usage("--reason of what? add --accept-rollback or --accept-restore".into()));
        };
        let geo = Geo::find(id).ok_or_else(|| Failure::Usage(format!("{id}: no such geo")))?;
        Ok(Some(Self::Keys { geo, reason }))
    }
}

/// Runs the command that the process was started with.
pub fn run(wiring: &dyn Wiring) -> ExitCode {
    let cli = Cli::parse();
    let output = if cli.common.json { Output::Programs } else { Output::People };
    match command(wiring, output, cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("geoseal: {failure}");
            if output == Output::Programs && !matches!(failure, Failure::Unfit(_) | Failure::Incomplete(_)) {
                // The failure itself is reported by the exit code even where standard output is gone.
                let _ = output.result(&failure.problem(), |_| String::new());
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn command(wiring: &dyn Wiring, output: Output, cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Dev(args) => match args.command.clone() {
            None => dev::serve(wiring, output, &args),
            Some(DevCommand::Clock(DevClock::Advance { by, dry_run })) => {
                let client = Client::new(&dev::address(&args, &cli.common)?)?;
                wait(records::advance(&client, output, by, dry_run))
            }
        },
        Command::Init(args) => init::init(wiring, output, &args),
        Command::Serve(args) => wiring.serve(&args.config, RolledBack::asked(&args)?.as_ref()).map_err(Failure::Failed),
        Command::Keys(Keys::Init { config }) => wiring.found_keys(&config).map_err(Failure::Failed),
        Command::Keys(Keys::Serve { config, accept_restore, reason }) => {
            let accepted = RolledBack::of(None, accept_restore.as_deref(), reason.as_deref())?;
            wiring.serve_keys(&config, accepted.as_ref()).map_err(Failure::Failed)
        }
        Command::Audit(command) => {
            let connect = || Client::new(&Address::of(&cli.common)?);
            wait(log::audit(wiring, output, command, connect))
        }
        Command::Certificate(command) => {
            let connect = || Client::new(&Address::of(&cli.common)?);
            wait(certificate(wiring, output, command, connect))
        }
        Command::Backup(args::Backup::Restore { from, to, log_key, .. }) => {
            backups::restore(wiring, output, &from, to.as_deref(), log_key)
        }
        Command::Region(args::Region::List) if cli.common.admin_url.is_none() => {
            print::note("No server was asked (GEOSEAL_ADMIN_URL is not set): this is the whole atlas.");
            records::regions(output, &wire::Regions::of_atlas(GEOS, |_| None))
        }
        remote => wait(ask(output, &cli.common, remote)),
    }
}

async fn ask(output: Output, common: &Common, command: Command) -> Result<(), Failure> {
    let client = &Client::new(&Address::of(common)?)?;
    match command {
        Command::Region(args::Region::List) => records::regions(output, &client.get(&["regions"], &[]).await?),
        Command::Tenant(command) => tenants::tenant(client, output, command).await,
        Command::Credential(command) => tenants::credential(client, output, command).await,
        Command::Feature(command) => features::feature(client, output, command).await,
        Command::Follow(command) => features::follow(client, output, command).await,
        Command::Grant(command) => grants::grant(client, output, command).await,
        Command::Bucket(command) => features::bucket(client, output, command).await,
        Command::Key(command) => work::key(client, output, command).await,
        Command::Export(args) => export::export(client, output, args).await,
        Command::Dsr(command) => dsr::dsr(client, output, command).await,
        Command::Contact(command) => contacts::contact(client, output, command).await,
        Command::Hold(command) => holds::hold(client, output, command).await,
        Command::Backup(command) => backups::backup(client, output, command).await,
        Command::Sweep(command) => work::sweep(client, output, command).await,
        Command::Admin(command) => records::admin(client, output, command).await,
        Command::Clock(command) => records::clock(client, output, command).await,
        Command::Compliance(command) => compliance::compliance(client, output, command).await,
        Command::Residency(args::Residency::Prove { tenant, objects }) => {
            compliance::residency(client, output, &tenant, objects.as_deref()).await
        }
        Command::Dev(_)
        | Command::Init(_)
        | Command::Serve(_)
        | Command::Keys(_)
        | Command::Certificate(_)
        | Command::Audit(_) => {
            unreachable!("`command` takes these itself")
        }
    }
}

async fn certificate(
    wiring: &dyn Wiring,
    output: Output,
    command: Certificate,
    connect: impl FnOnce() -> Result<Client, Failure>,
) -> Result<(), Failure> {
    match command {
        Certificate::Get { tenant, since_checkpoint } => {
            certificates::get(&connect()?, &tenant, since_checkpoint.as_deref()).await
        }
        Certificate::Verify(args) => certificates::verify(wiring, output, args, connect).await,
    }
}

fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Failure::Failed(format!("no threads: {e}")))?.block_on(work)
}
