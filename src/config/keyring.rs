//! `[keyring]`: where the master keys of each geo are. One table for all geos, and one for each geo that differs.

use super::{KEY_FILE_BYTES_MIN, PASSPHRASE_BYTES_MIN, SecretFile};
use crate::model::atlas::{GEOS, Geo};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shortest Vault token, in bytes.
const VAULT_TOKEN_BYTES_MIN: usize = 16;
const TIMEOUT_MS: u64 = 10_000;
/// What stands before the name of a systemd credential where a file is asked for.
const CREDENTIAL: &str = "credential:";

/// The master keys of every geo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyrings {
    every: Option<Keyring>,
    by_geo: BTreeMap<&'static str, Keyring>,
}

/// Where the master keys of a geo are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    /// Who keeps them.
    pub keeper: Keeper,
    /// Where the ledger of master key versions lies; the geo's own directory if not set. Not for a local keyring.
    pub ledger_dir: Option<PathBuf>,
    /// The end of one call of a provider outside, attempts and pauses together.
    pub timeout: Duration,
}

/// Who keeps the master keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// A sealed file of ours and a passphrase, stretched by Argon2id.
    Passphrase(SecretFile),
    /// A sealed file of ours and random bytes.
    KeyFile(SecretFile),
    /// A PKCS#11 token.
    Pkcs11(Pkcs11),
    /// Vault or OpenBao.
    Transit(Transit),
    /// AWS KMS.
    AwsKms(AwsKms),
}

/// A PKCS#11 token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11 {
    /// The maker's shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The user's PIN.
    pub pin: SecretFile,
    /// Front of the keys' labels; `geoseal-GEO` if not set.
    pub label: Option<String>,
}

/// Vault's or OpenBao's Transit engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transit {
    /// `https://HOST[:PORT]`.
    pub address: String,
    /// The authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The token.
    pub token: SecretFile,
    /// Where the engine is mounted.
    pub mount: String,
    /// The key; `geoseal-GEO` if not set.
    pub key: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
}

/// AWS KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKms {
    /// `https://HOST[:PORT]`.
    pub endpoint: String,
    /// The region that signatures name.
    pub region: String,
    /// The credentials.
    pub credentials: SecretFile,
    /// The authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Between a destruction and its being final.
    pub deletion_days: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Local,
    Pkcs11,
    Transit,
    AwsKms,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pkcs11 => "pkcs11",
            Self::Transit => "transit",
            Self::AwsKms => "aws-kms",
        }
    }
}

/// `[keyring]`, or `[keyring.geo.GEO]`.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct FileKeyring {
    /// Who keeps the master keys.
    #[serde(default)]
    kind: Kind,
    /// local: a passphrase, or
    passphrase_file: Option<PathBuf>,
    /// local: random bytes.
    key_file: Option<PathBuf>,
    /// pkcs11: the maker's shared library.
    module: Option<PathBuf>,
    /// pkcs11: the token's label.
    token: Option<String>,
    /// pkcs11: the user's PIN.
    pin_file: Option<PathBuf>,
    /// pkcs11: front of the keys' labels.
    label: Option<String>,
    /// transit: where it is.
    address: Option<String>,
    /// transit: the token.
    token_file: Option<PathBuf>,
    /// transit: where the engine is mounted.
    mount: Option<String>,
    /// transit: the key's name.
    key: Option<String>,
    /// transit: the namespace.
    namespace: Option<String>,
    /// aws-kms: where it is.
    endpoint: Option<String>,
    /// aws-kms: the region that signatures name.
    region: Option<String>,
    /// aws-kms: the credentials.
    credentials_file: Option<PathBuf>,
    /// aws-kms: days between a destruction and its being final.
    deletion_days: Option<u8>,
    /// transit, aws-kms: the authorities to trust instead of the system's.
    ca_file: Option<PathBuf>,
    /// all but local: where the ledger of versions lies.
    ledger_dir: Option<PathBuf>,
    /// all but local: the end of one call.
    timeout_ms: Option<u64>,
    /// Geos that differ.
    #[serde(default)]
    geo: BTreeMap<String, Self>,
}

impl Keyrings {
    pub(super) fn check(file: FileKeyring, base: &Path, served: &[&'static Geo], wrong: &mut Vec<String>) -> Self {
        let mut by_geo = BTreeMap::new();
        let mut file = file;
        for (id, keyring) in std::mem::take(&mut file.geo) {
            let table = format!("keyring.geo.{id}");
            match GEOS.iter().find(|geo| geo.id == id) {
                Some(_) if !keyring.geo.is_empty() => wrong.push(format!("[{table}]: it has no geo of its own")),
                Some(geo) => by_geo.extend(check(keyring, &table, base, wrong).map(|keyring| (geo.id, keyring))),
                None => wrong.push(format!("[{table}]: there is no such geo")),
            }
        }
        let is_needed = served.iter().any(|geo| !by_geo.contains_key(geo.id)) || by_geo.is_empty();
        let every = (is_needed || file.is_set()).then(|| check(file, "keyring", base, wrong)).flatten();
        Self { every, by_geo }
    }

    /// None: a key service elsewhere has them.
    pub(super) fn elsewhere() -> Self {
        Self { every: None, by_geo: BTreeMap::new() }
    }

    /// That of one geo.
    pub fn of(&self, geo: &Geo) -> &Keyring {
        let own = self.by_geo.get(geo.id).or(self.every.as_ref());
        own.expect("a served geo without a keyring was refused when the settings were read")
    }

    /// All of them, each once.
    pub fn all(&self) -> impl Iterator<Item = &Keyring> {
        self.every.iter().chain(self.by_geo.values())
    }
}

impl Keyring {
    /// Files with secrets: read at the start, so that what is wrong with them is said then.
    pub(super) fn secrets(&self) -> &SecretFile {
        match &self.keeper {
            Keeper::Passphrase(file) | Keeper::KeyFile(file) => file,
            Keeper::Pkcs11(pkcs11) => &pkcs11.pin,
            Keeper::Transit(transit) => &transit.token,
            Keeper::AwsKms(kms) => &kms.credentials,
        }
    }

    /// Files that must be there and are no secrets.
    pub(super) fn public(&self) -> Option<&PathBuf> {
        match &self.keeper {
            Keeper::Passphrase(_) | Keeper::KeyFile(_) => None,
            Keeper::Pkcs11(pkcs11) => Some(&pkcs11.module),
            Keeper::Transit(transit) => transit.ca_file.as_ref(),
            Keeper::AwsKms(kms) => kms.ca_file.as_ref(),
        }
    }
}

impl FileKeyring {
    fn is_set(&self) -> bool {
        self.kind != Kind::Local || self.passphrase_file.is_some() || self.key_file.is_some()
    }

    /// Every field that is set, and the kinds it is for.
    fn set(&self) -> impl Iterator<Item = (&'static str, &'static [Kind])> {
        const OUTSIDE: &[Kind] = &[Kind::Pkcs11, Kind::Transit, Kind::AwsKms];
        let all: [(&'static str, bool, &'static [Kind]); 18] = [
            ("passphrase_file", self.passphrase_file.is_some(), &[Kind::Local]),
            ("key_file", self.key_file.is_some(), &[Kind::Local]),
            ("module", self.module.is_some(), &[Kind::Pkcs11]),
            ("token", self.token.is_some(), &[Kind::Pkcs11]),
            ("pin_file", self.pin_file.is_some(), &[Kind::Pkcs11]),
            ("label", self.label.is_some(), &[Kind::Pkcs11]),
            ("address", self.address.is_some(), &[Kind::Transit]),
            ("token_file", self.token_file.is_some(), &[Kind::Transit]),
            ("mount", self.mount.is_some(), &[Kind::Transit]),
            ("key", self.key.is_some(), &[Kind::Transit]),
            ("namespace", self.namespace.is_some(), &[Kind::Transit]),
            ("endpoint", self.endpoint.is_some(), &[Kind::AwsKms]),
            ("region", self.region.is_some(), &[Kind::AwsKms]),
            ("credentials_file", self.credentials_file.is_some(), &[Kind::AwsKms]),
            ("deletion_days", self.deletion_days.is_some(), &[Kind::AwsKms]),
            ("ca_file", self.ca_file.is_some(), &[Kind::Transit, Kind::AwsKms]),
            ("ledger_dir", self.ledger_dir.is_some(), OUTSIDE),
            ("timeout_ms", self.timeout_ms.is_some(), OUTSIDE),
        ];
        all.into_iter().filter(|(_, is_set, _)| *is_set).map(|(name, _, kinds)| (name, kinds))
    }
}

fn check(file: FileKeyring, table: &str, base: &Path, wrong: &mut Vec<String>) -> Option<Keyring> {
    let before = wrong.len();
    let kind = file.kind;
    for (name, kinds) in file.set() {
        if !kinds.contains(&kind) {
            wrong.push(format!("[{table}]: {name} is not for kind = \"{}\"", kind.as_str()));
        }
    }
    let timeout_ms = file.timeout_ms.unwrap_or(TIMEOUT_MS);
    if !(100..=60_000).contains(&timeout_ms) {
        wrong.push(format!("[{table}]: timeout_ms = {timeout_ms}: 100 to 60000"));
    }
    let ledger_dir = file.ledger_dir.clone().map(|dir| base.join(dir));
    let keeper = keeper(file, &mut Parts { table, base, kind, wrong });
    let keyring = Keyring { keeper: keeper?, ledger_dir, timeout: Duration::from_millis(timeout_ms) };
    (wrong.len() == before).then_some(keyring)
}

struct Parts<'a> {
    table: &'a str,
    base: &'a Path,
    kind: Kind,
    wrong: &'a mut Vec<String>,
}

impl Parts<'_> {
    fn needed<T>(&mut self, value: Option<T>, name: &str) -> Option<T> {
        if value.is_none() {
            self.wrong.push(format!("[{}]: set {name}; kind = \"{}\" needs it", self.table, self.kind.as_str()));
        }
        value
    }

    /// A path, or `credential:NAME` of systemd's.
    fn file(&mut self, path: PathBuf) -> PathBuf {
        let Some(name) = path.to_str().and_then(|text| text.strip_prefix(CREDENTIAL)) else {
            return self.base.join(path);
        };
        if name.is_empty() || name.contains('/') {
            self.wrong.push(format!("[{}]: {CREDENTIAL} is followed by the name of a credential", self.table));
        }
        match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(directory) => Path::new(&directory).join(name),
            None => {
                self.wrong.push(format!(
                    "[{}]: {CREDENTIAL}{name}: systemd gave no credentials (LoadCredential=, LoadCredentialEncrypted=)",
                    self.table
                ));
                path
            }
        }
    }

    fn ca_file(&mut self, path: Option<PathBuf>) -> Option<PathBuf> {
        path.map(|path| self.file(path))
    }

    fn address(&mut self, address: Option<String>, name: &str) -> Option<String> {
        let address = self.needed(address, name)?;
        let is_loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
            .iter()
            .any(|front| address.strip_prefix(front).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')));
        if !address.starts_with("https://") && !is_loopback {
            self.wrong.push(format!("[{}]: {name} begins with https://", self.table));
        }
        Some(address)
    }
}

fn keeper(file: FileKeyring, parts: &mut Parts<'_>) -> Option<Keeper> {
    Some(match file.kind {
        Kind::Local => match (file.passphrase_file, file.key_file) {
            (Some(path), None) => Keeper::Passphrase(SecretFile::text(parts.file(path), PASSPHRASE_BYTES_MIN)),
            (None, Some(path)) => Keeper::KeyFile(SecretFile::bytes(parts.file(path), KEY_FILE_BYTES_MIN)),
            _ => {
                let table = parts.table;
                let why = "set passphrase_file or key_file, one of them, or another kind; there is no default";
                parts.wrong.push(format!("[{table}]: {why}"));
                return None;
            }
        },
        Kind::Pkcs11 => {
            let module = parts.needed(file.module, "module");
            let token = parts.needed(file.token, "token");
            let pin = parts.needed(file.pin_file, "pin_file");
            let pin = SecretFile::pin(parts.file(pin?));
            Keeper::Pkcs11(Pkcs11 { module: parts.base.join(module?), token: token?, pin, label: file.label })
        }
        Kind::Transit => {
            let address = parts.address(file.address, "address");
            let token = parts.needed(file.token_file, "token_file");
            let token = SecretFile::text(parts.file(token?), VAULT_TOKEN_BYTES_MIN);
            let ca_file = parts.ca_file(file.ca_file);
            let mount = file.mount.unwrap_or_else(|| "transit".into());
            Keeper::Transit(Transit {
                address: address?,
                ca_file,
                token,
                mount,
                key: file.key,
                namespace: file.namespace,
            })
        }
        Kind::AwsKms => {
            let region = parts.needed(file.region, "region");
            let public = region.as_ref().map(|region| format!("https://kms.{region}.amazonaws.com"));
            let endpoint = parts.address(file.endpoint.or(public), "endpoint");
            let credentials = parts.needed(file.credentials_file, "credentials_file");
            let credentials = SecretFile::text(parts.file(credentials?), VAULT_TOKEN_BYTES_MIN);
            let ca_file = parts.ca_file(file.ca_file);
            let deletion_days = file.deletion_days.unwrap_or(7);
            if !(7..=30).contains(&deletion_days) {
                parts.wrong.push(format!("[{}]: deletion_days = {deletion_days}: 7 to 30", parts.table));
            }
            Keeper::AwsKms(AwsKms { endpoint: endpoint?, region: region?, credentials, ca_file, deletion_days })
        }
    })
}
