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
mod notices;
mod rotation;

pub use clock::ClockConfig;
pub use compliance::{ComplianceConfig, SubprocessorConfig};
pub use epoch::EpochConfig;
pub use keyring::{AwsKms, Keeper, Keyring, Keyrings, Pkcs11, Transit};
pub use keys::{KeyListener, KeyServiceConfig, KeySocket, KeysConfig, KeysPlace, KeysTls};
pub use notices::NoticesConfig;
pub use rotation::RotationConfig;

use crate::model::atlas::{GEOS, Geo, Region};
use crate::model::limits::{INLINE_BYTES_MAX, SWEEP_INTERVAL_S_MAX, SWEEP_LATE_S_MAX};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Shortest admin token, in bytes: 128 bits in hexadecimal.
const TOKEN_BYTES_MIN: usize = 32;
/// Shortest passphrase, in bytes. Argon2id makes each guess dear; this keeps the guesses many.
const PASSPHRASE_BYTES_MIN: usize = 16;
/// Shortest key file, in bytes.
const KEY_FILE_BYTES_MIN: usize = 32;
/// Shortest PIN.
const PIN_BYTES_MIN: usize = 4;
/// Fewer distinct bytes than this is a placeholder, not a secret.
const DISTINCT_BYTES_MIN: usize = 8;

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

/// One region served.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionConfig {
    /// The region.
    pub region: &'static Region,
    /// Its geo.
    pub geo: &'static Geo,
    /// Where its blobs lie.
    pub blobs: BlobsConfig,
    /// Largest object, in plaintext bytes, that rides in the index commit.
    pub inline_bytes_max: usize,
}

/// Where a region's blobs lie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlobsConfig {
    /// In the region's own directory under `data_dir`.
    Local,
    /// In a bucket of an S3-compatible store.
    S3(S3Blobs),
}

/// A bucket of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Blobs {
    /// `https://HOST[:PORT]`; plain `http` for a loopback address only.
    pub endpoint: String,
    /// The bucket, which must exist.
    pub bucket: String,
    /// The region name that the store wants in its signatures.
    pub region: String,
    /// TOML file with `access_key_id`, `secret_access_key`, and `session_token` where needed.
    pub credentials_file: PathBuf,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Put before every blob's name.
    pub prefix: Option<String>,
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

/// Bounds of both listeners. Source: docs/operations.md, "limits".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Seconds from the accepted connection to the end of the TLS handshake.
    pub handshake_s: u64,
    /// Seconds from there to the first byte of the first request.
    pub first_byte_s: u64,
    /// Seconds from a request's first byte to the end of its header section.
    pub header_s: u64,
    /// Seconds between two requests of a connection.
    pub idle_s: u64,
    /// Over this many seconds of waiting for a peer ...
    pub body_window_s: u64,
    /// ... at least this many bytes must move, in either direction.
    pub body_window_bytes_min: u64,
    /// Connections of one listener at one time.
    pub connections_max: usize,
    /// Connections of one IPv4 address, or one IPv6 /64, at one time.
    pub connections_per_address_max: usize,
    /// Seconds that requests in flight may take after SIGTERM.
    pub drain_s: u64,
    /// Seconds between two looks at the certificate files; SIGHUP looks at once.
    pub certificate_poll_s: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            handshake_s: 5,
            first_byte_s: 5,
            header_s: 10,
            idle_s: 60,
            body_window_s: 30,
            body_window_bytes_min: 30 * 1024,
            connections_max: 16_384,
            connections_per_address_max: 1024,
            drain_s: 30,
            certificate_poll_s: 10,
        }
    }
}

/// Logging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines are written.
    pub level: LogLevel,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which log lines are written: this level and those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What somebody has to act on.
    Error,
    /// What may become that.
    Warn,
    /// What happened, one line for each request.
    #[default]
    Info,
    /// For finding faults.
    Debug,
    /// Everything of our own.
    Trace,
}

/// A file with a secret: the path may be printed, the content never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    path: PathBuf,
    bytes_min: usize,
    distinct_min: usize,
    is_text: bool,
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
    sweep_late_s: Option<u64>,
    regions: Vec<FileRegion>,
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
struct FileRegion {
    /// The region's id.
    id: String,
    blobs: BlobsConfig,
    /// Largest object that rides in the index commit.
    inline_bytes_max: Option<usize>,
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
        let regions = regions(file.regions, base, &mut wrong);
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
        check_limits(&file.limits, &mut wrong);
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
        wrong.extend(private.into_iter().filter_map(|file| private_mode(file).err()));
        wrong.extend(
            public
                .into_iter()
                .filter_map(|file| std::fs::metadata(file).err().map(|e| format!("{}: {e}", file.display()))),
        );
        wrong
    }
}

impl BlobsConfig {
    fn s3(&self) -> Option<&S3Blobs> {
        match self {
            Self::Local => None,
            Self::S3(blobs) => Some(blobs),
        }
    }
}

impl SecretFile {
    fn text(path: PathBuf, bytes_min: usize) -> Self {
        Self { path, bytes_min, distinct_min: DISTINCT_BYTES_MIN, is_text: true }
    }

    /// Of a token that locks itself after a few wrong ones.
    fn pin(path: PathBuf) -> Self {
        Self { path, bytes_min: PIN_BYTES_MIN, distinct_min: 1, is_text: true }
    }

    fn bytes(path: PathBuf, bytes_min: usize) -> Self {
        Self { path, bytes_min, distinct_min: DISTINCT_BYTES_MIN, is_text: false }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret; of a text, without the line end. Refuses a file that others may read, and a placeholder.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let refused = |why: String| ConfigError::Refused(vec![why]);
        private_mode(&self.path).map_err(refused)?;
        let read = std::fs::read(&self.path);
        let mut secret = Zeroizing::new(read.map_err(|source| ConfigError::Read { file: self.path.clone(), source })?);
        if self.is_text {
            let end = secret.trim_ascii_end().len();
            secret.truncate(end);
        }
        let distinct = secret.iter().collect::<BTreeSet<_>>().len();
        if secret.len() < self.bytes_min || distinct < self.distinct_min {
            return Err(refused(format!(
                "{}: too short or too plain for a secret; at least {} random bytes, such as: openssl rand -hex 32",
                self.path.display(),
                self.bytes_min
            )));
        }
        Ok(secret)
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count();
    ConfigError::Syntax { line, message: error.message().trim_end().to_owned() }
}

fn regions(listed: Vec<FileRegion>, base: &Path, wrong: &mut Vec<String>) -> Vec<RegionConfig> {
    if listed.is_empty() {
        wrong.push(format!("regions: list at least one; there is no default. {}", valid_regions()));
    }
    let mut served: Vec<RegionConfig> = Vec::new();
    for FileRegion { id, mut blobs, inline_bytes_max } in listed {
        let Some((geo, region)) = Region::find(&id) else {
            wrong.push(format!("regions: unknown region {id:?}. {}", valid_regions()));
            continue;
        };
        let inline_bytes_max = inline_bytes_max.unwrap_or(INLINE_BYTES_MAX);
        if inline_bytes_max > INLINE_BYTES_MAX {
            wrong.push(format!("regions, {id}: inline_bytes_max = {inline_bytes_max}: at most {INLINE_BYTES_MAX}"));
        }
        if let BlobsConfig::S3(s3) = &mut blobs {
            s3.credentials_file = base.join(&s3.credentials_file);
            s3.ca_file = s3.ca_file.as_ref().map(|file| base.join(file));
        }
        for other in &served {
            if other.region == region {
                wrong.push(format!("regions: {id} is listed twice"));
            } else if other.blobs.s3().is_some_and(|a| blobs.s3().is_some_and(|b| is_same_place(a, b))) {
                wrong.push(format!(
                    "regions: {id} and {} would mix their blobs: give them two buckets, or a prefix each",
                    other.region.id
                ));
            }
        }
        served.push(RegionConfig { region, geo, blobs, inline_bytes_max });
    }
    served
}

fn is_same_place(a: &S3Blobs, b: &S3Blobs) -> bool {
    // One prefix inside the other would show one region's blobs in the other's listing.
    let (pa, pb) = (a.prefix.as_deref().unwrap_or(""), b.prefix.as_deref().unwrap_or(""));
    let nested = |inner: &str, outer: &str| {
        outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    a.endpoint == b.endpoint && a.bucket == b.bucket && (nested(pa, pb) || nested(pb, pa))
}

fn valid_regions() -> String {
    let ids: Vec<_> = GEOS.iter().flat_map(|geo| geo.regions).map(|region| region.id).collect();
    format!("Valid ids: {}", ids.join(", "))
}

fn check_limits(limits: &LimitsConfig, wrong: &mut Vec<String>) {
    let seconds = [
        ("handshake_s", limits.handshake_s),
        ("first_byte_s", limits.first_byte_s),
        ("header_s", limits.header_s),
        ("idle_s", limits.idle_s),
        ("body_window_s", limits.body_window_s),
        ("certificate_poll_s", limits.certificate_poll_s),
    ];
    for (name, value) in seconds {
        if !(1..=3600).contains(&value) {
            wrong.push(format!("limits.{name} = {value}: 1 to 3600 seconds; no deadline can be switched off"));
        }
    }
    if limits.drain_s > 3600 {
        wrong.push(format!("limits.drain_s = {}: at most 3600 seconds", limits.drain_s));
    }
    let counts = [
        ("body_window_bytes_min", limits.body_window_bytes_min),
        ("connections_max", limits.connections_max as u64),
        ("connections_per_address_max", limits.connections_per_address_max as u64),
    ];
    for (name, value) in counts {
        if value == 0 {
            wrong.push(format!("limits.{name} = 0: at least 1"));
        }
    }
}

fn is_domain(name: &str) -> bool {
    let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    name.len() <= 253 && name.split('.').all(label)
}

fn private_mode(file: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?;
    if meta.permissions().mode() & 0o007 != 0 {
        return Err(format!("{}: holds a secret and others may read it; chmod o= it", file.display()));
    }
    Ok(())
}

fn refuse(wrong: Vec<String>) -> Result<(), ConfigError> {
    if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Refused(wrong)) }
}

#[cfg(test)]
mod tests;
