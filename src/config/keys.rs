//! `[keys]`: where a geo's keys are answered for, and the settings of a key service that is a process of its own.

use super::keyring::{FileKeyring, Keyring, Keyrings};
use super::secret::private_mode;
use super::{ConfigError, LogConfig, SecretFile, refuse, syntax};
use crate::model::atlas::{GEOS, Geo};
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// How long a lease serves if nothing else is said, in seconds.
const LEASE_S: i64 = 300;
/// The longest that may be asked for.
const LEASE_S_MAX: i64 = 900;
/// How often one tenant's keys may be asked for in a minute if nothing else is said: ten a second.
const UNWRAPS: u32 = 600;

/// Where a geo's keys are answered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysConfig {
    /// Here, or where.
    pub place: KeysPlace,
    /// Seconds that a lease on a tenant's keys serves without the key service.
    pub lease_s: i64,
    /// How often the key service in this process may be asked for one tenant's keys in a minute.
    pub unwraps_per_minute_max: u32,
}

/// Where the key service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysPlace {
    /// In this process.
    Here,
    /// Behind a Unix socket.
    Socket(PathBuf),
    /// On another machine.
    Tls(KeysTls),
}

/// A key service on another machine, and as whom to go there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysTls {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// PEM: the authorities that sign its certificate.
    pub ca_file: PathBuf,
    /// PEM: our certificate.
    pub cert_file: PathBuf,
    /// PEM: our private key.
    pub key_file: PathBuf,
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileKeys {
    /// A key service of its own: its Unix socket, or
    socket: Option<PathBuf>,
    /// its address, `tls://HOST:PORT`.
    url: Option<String>,
    /// With `url`, PEM: the authorities that sign its certificate.
    ca_file: Option<PathBuf>,
    /// With `url`, PEM: our certificate.
    cert_file: Option<PathBuf>,
    /// With `url`, PEM: our private key.
    key_file: Option<PathBuf>,
    /// Seconds that a lease serves.
    lease_s: Option<i64>,
    /// In this process: how often one tenant's keys may be asked for in a minute.
    unwraps_per_minute_max: Option<u32>,
}

impl KeysConfig {
    pub(super) fn check(file: FileKeys, base: &Path, wrong: &mut Vec<String>) -> Self {
        let lease_s = file.lease_s.unwrap_or(LEASE_S);
        if !(1..=LEASE_S_MAX).contains(&lease_s) {
            wrong.push(format!("keys.lease_s = {lease_s}: 1 to {LEASE_S_MAX}"));
        }
        let files = (file.ca_file, file.cert_file, file.key_file);
        let place = match (file.socket, file.url, files) {
            (None, None, (None, None, None)) => KeysPlace::Here,
            (Some(socket), None, (None, None, None)) => KeysPlace::Socket(base.join(socket)),
            (None, Some(url), (Some(ca), Some(cert), Some(key))) => match host_and_port(&url) {
                Some((host, port)) => KeysPlace::Tls(KeysTls {
                    host,
                    port,
                    ca_file: base.join(ca),
                    cert_file: base.join(cert),
                    key_file: base.join(key),
                }),
                None => {
                    wrong.push(format!("keys.url: {url:?} is not tls://HOST:PORT"));
                    KeysPlace::Here
                }
            },
            _ => {
                wrong.push("[keys]: set socket; or url with ca_file, cert_file and key_file; or neither".into());
                KeysPlace::Here
            }
        };
        if place != KeysPlace::Here && file.unwraps_per_minute_max.is_some() {
            wrong.push("keys.unwraps_per_minute_max is set where the key service is".into());
        }
        let unwraps_per_minute_max = unwraps(file.unwraps_per_minute_max, "keys.", wrong);
        Self { place, lease_s, unwraps_per_minute_max }
    }

    /// Whether the key service is another process.
    pub fn is_elsewhere(&self) -> bool {
        self.place != KeysPlace::Here
    }

    /// Files that others must not read.
    pub(super) fn private(&self) -> Option<&PathBuf> {
        if let KeysPlace::Tls(tls) = &self.place { Some(&tls.key_file) } else { None }
    }

    /// Files that have to be there.
    pub(super) fn public(&self) -> Vec<&PathBuf> {
        if let KeysPlace::Tls(tls) = &self.place { vec![&tls.ca_file, &tls.cert_file] } else { Vec::new() }
    }
}

fn unwraps(asked: Option<u32>, table: &str, wrong: &mut Vec<String>) -> u32 {
    if asked == Some(0) {
        wrong.push(format!("{table}unwraps_per_minute_max = 0: nobody could be served"));
    }
    asked.unwrap_or(UNWRAPS)
}

/// Thirty days if nothing is said, as long as the end of a key waits.
pub(super) fn backup_age(days: Option<u16>) -> u32 {
    days.map_or(30, u32::from)
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (host, port) = url.strip_prefix("tls://")?.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty() && !host.contains('/')).then(|| (host.to_owned(), port))
}

/// The settings of `geoseal keys serve`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyServiceConfig {
    /// Where keyrings and key stores lie; absolute.
    pub data_dir: PathBuf,
    /// The geos whose keys it has.
    pub geos: Vec<&'static Geo>,
    /// Where their master keys are.
    pub keyring: Keyrings,
    /// A Unix socket.
    pub socket: Option<KeySocket>,
    /// A TLS listener.
    pub tls: Option<KeyListener>,
    /// How often one tenant's keys may be asked for in a minute.
    pub unwraps_per_minute_max: u32,
    /// Whether a tenant's keys may be destroyed before the 90 days are over, on its own instruction.
    pub early_purge: bool,
    /// For how many days a backup keeps the versions of keys alive that it needs.
    pub backup_age_max_days: u32,
    /// Logging.
    pub log: LogConfig,
}

/// Where a key service answers the processes of its machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySocket {
    /// The socket.
    pub path: PathBuf,
    /// Users, by number, whose processes are answered, and no others'; its own user's when none is named.
    #[serde(default)]
    pub peer_uids: Vec<u32>,
}

/// Where a key service answers other machines: TLS 1.3, and a certificate of the client is demanded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyListener {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM: its certificate, then the authorities between it and the root.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key.
    pub private_key: PathBuf,
    /// PEM: the authorities that sign clients.
    pub client_authorities: PathBuf,
    /// PEM: their revocation lists.
    pub client_revocations: Option<PathBuf>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: PathBuf,
    geos: Vec<String>,
    keyring: FileKeyring,
    socket: Option<KeySocket>,
    tls: Option<KeyListener>,
    unwraps_per_minute_max: Option<u32>,
    /// Whether a tenant's keys may be destroyed early.
    #[serde(default)]
    early_purge: bool,
    /// For how many days a backup keeps the versions of keys alive that it needs.
    backup_age_max_days: Option<u16>,
    #[serde(default)]
    log: LogConfig,
}

impl KeyServiceConfig {
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
        let mut geos: Vec<&'static Geo> = Vec::new();
        for id in &file.geos {
            match GEOS.iter().find(|geo| geo.id == *id) {
                Some(geo) if geos.contains(&geo) => wrong.push(format!("geos: {id} stands there twice")),
                Some(geo) => geos.push(geo),
                None => wrong.push(format!("geos: {id:?} is not a geo")),
            }
        }
        if geos.is_empty() {
            wrong.push("geos: name at least one".into());
        }
        if file.socket.is_none() && file.tls.is_none() {
            wrong.push("set [socket], [tls] or both: nobody could ask it for a key".into());
        }
        let keyring = Keyrings::check(file.keyring, base, &geos, &mut wrong);
        let unwraps_per_minute_max = unwraps(file.unwraps_per_minute_max, "", &mut wrong);
        refuse(wrong)?;
        Ok(Self {
            data_dir: base.join(file.data_dir),
            geos,
            keyring,
            socket: file.socket.map(|socket| KeySocket { path: base.join(socket.path), ..socket }),
            tls: file.tls.map(|tls| KeyListener {
                listen: tls.listen,
                certificate: base.join(tls.certificate),
                private_key: base.join(tls.private_key),
                client_authorities: base.join(tls.client_authorities),
                client_revocations: tls.client_revocations.map(|file| base.join(file)),
            }),
            unwraps_per_minute_max,
            early_purge: file.early_purge,
            backup_age_max_days: backup_age(file.backup_age_max_days),
            log: file.log,
        })
    }

    fn wrong_files(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for secret in self.keyring.all().map(Keyring::secrets) {
            match SecretFile::read(secret) {
                Ok(_) => {}
                Err(ConfigError::Refused(why)) => wrong.extend(why),
                Err(unread) => wrong.push(unread.to_string()),
            }
        }
        if let Some(tls) = &self.tls {
            wrong.extend(private_mode(&tls.private_key).err());
            let public = [&tls.certificate, &tls.client_authorities].into_iter().chain(&tls.client_revocations);
            wrong.extend(
                public.filter_map(|file| std::fs::metadata(file).err().map(|e| format!("{}: {e}", file.display()))),
            );
        }
        wrong
    }
}
