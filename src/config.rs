//! The settings of `geoseal serve`: one TOML file, read once, into types that need no second check.
//!
//! Called by `main` and `app`. Promises: an unknown field, an unknown region, a missing or weak secret stops the start
//! with all that is wrong at once and what to do about it; there is no default secret and no default region; no message
//! repeats the content of a secret file. Must not know how the settings are used. Documented field by field in
//! docs/operations.md (a test compares).

mod clock;
mod compliance;
mod epoch;
mod keyring;
mod keys;
mod limits;
mod log;
mod notices;
mod regions;
mod rotation;
mod secret;

pub use clock::ClockConfig;
pub use compliance::{ComplianceConfig, SubprocessorConfig};
pub use epoch::EpochConfig;
pub use keyring::{AwsKms, Keeper, Keyring, Keyrings, Pkcs11, Transit};
pub use keys::{KeyListener, KeyServiceConfig, KeySocket, KeysConfig, KeysPlace, KeysTls};
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat, LogLevel};
pub use notices::NoticesConfig;
pub use regions::{BlobsConfig, RegionConfig, S3Blobs};
pub use rotation::RotationConfig;
pub use secret::SecretFile;

use crate::model::atlas::{GEOS, Geo};
use crate::model::limits::{SWEEP_INTERVAL_S_MAX, SWEEP_LATE_S_MAX};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shortest admin token, in bytes: 128 bits in hexadecimal.
const TOKEN_BYTES_MIN: usize = 32;
/// Shortest passphrase, in bytes. Argon2id makes each guess dear; this keeps the guesses many.
const PASSPHRASE_BYTES_MIN: usize = 16;
/// Shortest key file, in bytes.
const KEY_FILE_BYTES_MIN: usize = 32;

/// What is wrong with the settings. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Not TOML, an unknown field, a missing field, or a value of the wrong kind. The line itself is not repeated: somebody
    /// may have put a secret there.
    #[error("the settings, line {line}: {message}")]
    Syntax {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// Everything else that is wrong, all of it.
    #[error("the settings are refused:\n  - {}", .0.join("\n  - "))]
    Refused(Vec<String>),
}

/// The settings, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where everything local lies; absolute.
    pub data_dir: PathBuf,
    /// The regions served, at least one, each once.
    pub regions: Vec<RegionConfig>,
    /// Where the master keys are.
    pub keyring: Keyrings,
    /// Where they are answered for.
    pub keys: KeysConfig,
    /// The S3 listener.
    pub s3: S3Config,
    /// The admin listener.
    pub admin: AdminConfig,
    /// Between two sweeps; at most a day.
    pub sweep_interval: Duration,
    /// Whether a tenant may be destroyed before its 90 days are over, on its own instruction.
    pub early_purge: bool,
    /// For how many days a backup keeps the versions of keys alive that it needs.
    pub backup_age_max_days: u32,
    /// Who vouches for the machine's clock.
    pub clock: ClockConfig,
    /// How late a sweep may be before the server is not ready.
    pub sweep_late: Duration,
    /// Closing epochs.
    pub epoch: EpochConfig,
    /// When keys get their next versions by themselves.
    pub rotation: RotationConfig,
    /// Where notices of a tenant's coming end go.
    pub notices: Option<NoticesConfig>,
    /// The audit log's witness.
    pub audit: AuditConfig,
    /// What the processor's record says of whoever runs this server.
    pub compliance: ComplianceConfig,
    /// Bounds of both listeners.
    pub limits: LimitsConfig,
    /// Logging.
    pub log: LogConfig,
}

/// The audit log's witness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Where the witness remembers the newest checkpoint of each geo's log: `FILE.GEO`, outside `data_dir`.
    pub witness_file: Option<PathBuf>,
}

/// The S3 listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM file: the certificate, then the authorities between it and the root.
    pub certificate: PathBuf,
    /// PEM file: the certificate's private key; not readable by others.
    pub private_key: PathBuf,
    /// Host names under which `BUCKET.NAME` is virtual-hosted style.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// The admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM file: the certificate, then the authorities between it and the root.
    pub certificate: PathBuf,
    /// PEM file: the certificate's private key.
    pub private_key: PathBuf,
    /// The administrators' bearer token.
    pub token: SecretFile,
    /// The auditors' bearer token: it looks, and changes nothing.
    pub auditor_token: Option<SecretFile>,
    /// Counsel's bearer token: it looks, places and releases holds, and exports what only they keep.
    pub legal_token: Option<SecretFile>,
    /// Tokens of further administrators, by name.
    pub more_tokens: BTreeMap<String, SecretFile>,
    /// Whether two administrators have to agree on the destruction of a key.
    pub two_person: bool,
    /// PEM file of authorities; with it, a client certificate is demanded, too.
    pub client_authorities: Option<PathBuf>,
    /// PEM file of their revocation lists.
    pub client_revocations: Option<PathBuf>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where everything local lies.
    data_dir: PathBuf,
    /// Seconds between two sweeps.
    sweep_interval_s: Option<u64>,
    /// Whether a tenant may be destroyed early, on its own instruction.
    #[serde(default)]
    early_purge: bool,
    /// For how many days a backup keeps the versions of keys alive that it needs.
    backup_age_max_days: Option<u16>,
    sweep_late_s: Option<u64>,
    regions: Vec<regions::FileRegion>,
    /// Where the master keys are.
    keyring: Option<keyring::FileKeyring>,
    /// Where they are answered for.
    #[serde(default)]
    keys: keys::FileKeys,
    s3: S3Config,
    admin: FileAdmin,
    #[serde(default)]
    epoch: EpochConfig,
    #[serde(default)]
    clock: ClockConfig,
    #[serde(default)]
    rotation: rotation::FileRotation,
    /// Where notices of a tenant's coming end go.
    notices: Option<notices::FileNotices>,
    #[serde(default)]
    audit: AuditConfig,
    #[serde(default)]
    compliance: ComplianceConfig,
    #[serde(default)]
    limits: LimitsConfig,
    #[serde(default)]
    log: LogConfig,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileAdmin {
    listen: SocketAddr,
    certificate: PathBuf,
    private_key: PathBuf,
    token_file: PathBuf,
    auditor_token_file: Option<PathBuf>,
    legal_token_file: Option<PathBuf>,
    /// Token files of further administrators, by name.
    #[serde(default)]
    more_token_files: BTreeMap<String, PathBuf>,
    /// Whether two administrators have to agree on the destruction of a key.
    two_person: Option<bool>,
    client_authorities: Option<PathBuf>,
    client_revocations: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file, and looks at every file it names.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { file: file.to_owned(), source };
        let text = std::fs::read_to_string(file).map_err(read)?;
        let base = std::path::absolute(file).map_err(read)?;
        let config = Self::parse(&text, base.parent().unwrap_or(Path::new("/")))?;
        refuse(config.wrong_files())?;
        Ok(config)
    }

    /// Checks settings without looking at the disk. Relative paths are taken from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|e| syntax(text, &e))?;
        let mut wrong = Vec::new();
        let regions = regions::check(file.regions, base, &mut wrong);
        let served: Vec<&'static Geo> = regions.iter().map(|region| region.geo).collect();
        let keys = KeysConfig::check(file.keys, base, &mut wrong);
        let keyring = match file.keyring {
            Some(_) if keys.is_elsewhere() => {
                wrong.push("[keyring]: the key service that [keys] names has it; take it out here".into());
                Keyrings::elsewhere()
            }
            None if keys.is_elsewhere() => Keyrings::elsewhere(),
            keyring => Keyrings::check(keyring.unwrap_or_default(), base, &served, &mut wrong),
        };
        let sweep_interval_s = file.sweep_interval_s.unwrap_or(3600);
        if !(1..=SWEEP_INTERVAL_S_MAX).contains(&sweep_interval_s) {
            wrong.push(format!(
                "sweep_interval_s = {sweep_interval_s}: 1 to {SWEEP_INTERVAL_S_MAX}; what is due has to go within a day"
            ));
        }
        let sweep_late_s = file.sweep_late_s.unwrap_or(2 * sweep_interval_s);
        if !(1..=SWEEP_LATE_S_MAX).contains(&sweep_late_s) {
            wrong.push(format!(
                "sweep_late_s = {sweep_late_s}: 1 to {SWEEP_LATE_S_MAX}; later than that nobody may call it ready"
            ));
        }
        limits::check(&file.limits, &mut wrong);
        let rotation = RotationConfig::check(file.rotation, &mut wrong);
        file.epoch.check(&keyring, &mut wrong);
        file.clock.check(&mut wrong);
        file.compliance.check(&mut wrong);
        let notices = file.notices.map(|file| NoticesConfig::check(file, base, &mut wrong));
        let (data_dir, witness_file) = (base.join(file.data_dir), file.audit.witness_file.map(|path| base.join(path)));
        if witness_file.as_ref().is_some_and(|path| path.starts_with(&data_dir)) {
            wrong.push(
                "audit.witness_file lies in data_dir: whoever puts that back puts its witness back; other media".into(),
            );
        }
        if file.s3.listen == file.admin.listen && file.s3.listen.port() != 0 {
            wrong.push(format!("s3.listen and admin.listen are both {}: give them two ports", file.s3.listen));
        }
        if file.admin.client_revocations.is_some() && file.admin.client_authorities.is_none() {
            wrong.push("admin.client_revocations: set client_authorities, too".into());
        }
        for domain in file.s3.domains.iter().filter(|domain| !is_domain(domain)) {
            wrong.push(format!("s3.domains: {domain:?} is not a host name such as \"s3.example.org\""));
        }
        refuse(wrong)?;
        let more_tokens = file.admin.more_token_files.into_iter();
        let more_tokens = more_tokens.map(|(name, file)| (name, SecretFile::text(base.join(file), TOKEN_BYTES_MIN)));
        Ok(Self {
            data_dir,
            notices,
            audit: AuditConfig { witness_file },
            regions,
            keyring,
            keys,
            s3: S3Config {
                certificate: base.join(file.s3.certificate),
                private_key: base.join(file.s3.private_key),
                ..file.s3
            },
            admin: AdminConfig {
                listen: file.admin.listen,
                certificate: base.join(file.admin.certificate),
                private_key: base.join(file.admin.private_key),
                token: SecretFile::text(base.join(file.admin.token_file), TOKEN_BYTES_MIN),
                auditor_token: file.admin.auditor_token_file.map(|p| SecretFile::text(base.join(p), TOKEN_BYTES_MIN)),
                legal_token: file.admin.legal_token_file.map(|p| SecretFile::text(base.join(p), TOKEN_BYTES_MIN)),
                more_tokens: more_tokens.collect(),
                two_person: file.admin.two_person.unwrap_or(true),
                client_authorities: file.admin.client_authorities.map(|p| base.join(p)),
                client_revocations: file.admin.client_revocations.map(|p| base.join(p)),
            },
            sweep_interval: Duration::from_secs(sweep_interval_s),
            early_purge: file.early_purge,
            backup_age_max_days: keys::backup_age(file.backup_age_max_days),
            sweep_late: Duration::from_secs(sweep_late_s),
            epoch: file.epoch,
            clock: ClockConfig {
                peers: file.clock.peers,
                peers_ca_file: file.clock.peers_ca_file.map(|file| base.join(file)),
            },
            rotation,
            compliance: file.compliance,
            limits: file.limits,
            log: file.log,
        })
    }

    /// The geos served, each once, in the atlas' order.
    pub fn geos(&self) -> Vec<&'static Geo> {
        GEOS.iter().filter(|geo| self.regions.iter().any(|served| served.geo == *geo)).collect()
    }

    /// What is wrong with the files that the settings name.
    fn wrong_files(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let keyrings = self.keyring.all().map(Keyring::secrets);
        for secret in keyrings
            .chain([&self.admin.token])
            .chain(&self.admin.auditor_token)
            .chain(&self.admin.legal_token)
            .chain(self.admin.more_tokens.values())
        {
            match secret.read() {
                Ok(_) => {}
                Err(ConfigError::Refused(why)) => wrong.extend(why),
                Err(unread) => wrong.push(unread.to_string()),
            }
        }
        if let Some(notices) = &self.notices {
            wrong.extend(notices.secret.read().err().map(|error| error.to_string()));
        }
        let mut private = vec![&self.s3.private_key, &self.admin.private_key];
        let mut public = vec![&self.s3.certificate, &self.admin.certificate];
        public.extend(self.keyring.all().filter_map(Keyring::public));
        public.extend(self.notices.iter().filter_map(|notices| notices.ca_file.as_ref()));
        private.extend(self.keys.private());
        public.extend(self.keys.public());
        public.extend(&self.clock.peers_ca_file);
        public.extend(self.admin.client_authorities.iter().chain(&self.admin.client_revocations));
        for blobs in self.regions.iter().filter_map(|region| region.blobs.s3()) {
            private.push(&blobs.credentials_file);
            public.extend(&blobs.ca_file);
        }
        wrong.extend(private.into_iter().filter_map(|file| secret::private_mode(file).err()));
        wrong.extend(
            public
                .into_iter()
                .filter_map(|file| std::fs::metadata(file).err().map(|e| format!("{}: {e}", file.display()))),
        );
        wrong
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count();
    ConfigError::Syntax { line, message: error.message().trim_end().to_owned() }
}

fn is_domain(name: &str) -> bool {
    let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    name.len() <= 253 && name.split('.').all(label)
}

fn refuse(wrong: Vec<String>) -> Result<(), ConfigError> {
    if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Refused(wrong)) }
}

#[cfg(test)]
mod tests;
