//! `geoseal init`: a directory for production. It refuses what a default would hide: no region, no host and no secret is
//! assumed, and nothing that is there is overwritten.

use super::args::{Init, Keeper as Flags};
use super::authority::Certificates;
use super::failure::Failure;
use super::files::{Readers, failed, make_dir, read_if_there, write_new};
use super::print::Output;
use super::{Wiring, passphrase};
use crate::config::{Config, ConfigError, Keeper};
use crate::model::atlas::{GEOS, Region};
use crate::model::clock::{Source, SystemSource};
use ring::rand::{SecureRandom, SystemRandom};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the admin token lies in a prepared directory.
pub(super) const TOKEN_FILE: &str = "secrets/admin-token";
/// Where the keyring's key file lies in a directory that `dev` made.
pub(super) const KEY_FILE: &str = "secrets/keyring.key";

/// Where a passphrase that was typed is kept.
const PASSPHRASE_FILE: &str = "secrets/passphrase";

/// What seals the keyrings.
pub(super) enum Secret {
    /// A passphrase.
    Passphrase(PathBuf),
    /// 32 random bytes.
    KeyFile(PathBuf),
    /// None here: somebody else keeps the master keys. The fields of `[keyring]`.
    Elsewhere(toml::Table),
}

/// What a prepared directory consists of.
pub(super) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) regions: Vec<String>,
    pub(super) hosts: Vec<String>,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) secret: Secret,
    /// When keys get their next versions by themselves.
    pub(super) rotation: &'static str,
}

/// A year for each key that wraps others; docs/operations.md, "Rotation by policy", says why.
const ROTATION: &str = "
# When keys get their next versions by themselves. Without this, never.
[rotation]
master_days = 365
tenant_days = 365
subject_root_days = 365
";

impl Layout {
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("geoseal.toml")
    }

    /// Makes the admin token if there is none.
    pub(super) fn write_token(&self) -> Result<(), Failure> {
        let token = Zeroizing::new(format!("{}\n", hex::encode(random()?.as_slice())));
        self.write_secret(TOKEN_FILE, token.as_bytes())
    }

    /// Makes the keyring's key file if there is none.
    pub(super) fn write_key_file(&self) -> Result<(), Failure> {
        self.write_secret(KEY_FILE, random()?.as_slice())
    }

    /// The configuration, with a word on every field.
    pub(super) fn toml(&self) -> String {
        let text = |value: &Path| toml::Value::String(value.display().to_string()).to_string();
        let certificates = Certificates::under(&self.dir);
        let secret = match &self.secret {
            Secret::Passphrase(file) => format!("passphrase_file = {}", text(file)),
            Secret::KeyFile(file) => format!("key_file = {}", text(file)),
            Secret::Elsewhere(fields) => fields.to_string().trim_end().to_owned(),
        };
        let regions: String =
            self.regions.iter().map(|id| format!("\n[[regions]]\nid = \"{id}\"\nblobs = \"local\"\n")).collect();
        let is_name = |host: &&String| host.parse::<IpAddr>().is_err() && !host.starts_with("*.");
        let domains: Vec<_> = self.hosts.iter().filter(is_name).cloned().collect();
        format!(
            "# geoseal's settings; docs/operations.md describes every field.

# Where everything local lies: keys, directory and log of each geo, index and blobs of each region.
data_dir = {data}
{regions}
# Where the master keys are, and what opens them. Without it nothing can be read again.
[keyring]
{secret}
{rotation}
# Where S3 clients connect.
[s3]
listen = \"{listen}\"
certificate = {certificate}
private_key = {key}
# BUCKET.NAME is virtual-hosted style under these names.
domains = {domains}

# Where administrators connect.
[admin]
listen = \"{admin}\"
certificate = {certificate}
private_key = {key}
token_file = {token}
",
            data = text(&self.dir.join("data")),
            rotation = self.rotation,
            listen = self.listen,
            admin = self.admin,
            certificate = text(&certificates.certificate),
            key = text(&certificates.key),
            domains = toml::Value::from(domains),
            token = text(&self.dir.join(TOKEN_FILE)),
        )
    }

    fn write_secret(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let path = self.dir.join(name);
        make_dir(path.parent().expect("it lies under secrets/"))?;
        if read_if_there(&path)?.is_some() { Ok(()) } else { write_new(&path, content, Readers::Owner) }
    }
}

/// Refuses a directory that something else lives in.
pub(super) fn must_be_empty(dir: &Path) -> Result<(), Failure> {
    let mut entries = std::fs::read_dir(dir).map_err(|e| failed(dir, &e))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Failure::Usage(format!("{} is not empty: nothing is overwritten", dir.display()))),
    }
}

pub(super) fn init(wiring: &dyn Wiring, output: Output, args: &Init) -> Result<(), Failure> {
    let regions = regions(&args.regions)?;
    let dir = std::path::absolute(&args.dir).map_err(|e| failed(&args.dir, &e))?;
    let elsewhere = elsewhere(&args.keeper)?;
    let (secret, typed) = match (elsewhere, &args.passphrase_file) {
        (Some(_), Some(_)) => return Err(Failure::Usage("--passphrase-file is for --keyring local".into())),
        (Some(fields), None) => (Secret::Elsewhere(fields), None),
        (None, Some(file)) => (Secret::Passphrase(file.canonicalize().map_err(|e| failed(file, &e))?), None),
        (None, None) => (Secret::Passphrase(dir.join(PASSPHRASE_FILE)), Some(passphrase::typed()?)),
    };
    let layout = Layout {
        dir,
        regions: regions.iter().map(|r| r.id.to_owned()).collect(),
        hosts: args.hosts.clone(),
        listen: args.listen,
        admin: args.admin,
        secret,
        rotation: ROTATION,
    };
    let config = Config::parse(&layout.toml(), &layout.dir).map_err(refused)?;
    for keyring in config.keyring.all() {
        match &keyring.keeper {
            Keeper::Passphrase(file) if typed.is_none() => drop(file.read().map_err(refused)?),
            _ => {}
        }
        if let Some(ledgers) = &keyring.ledger_dir {
            make_dir(ledgers)?;
        }
    }
    make_dir(&layout.dir)?;
    must_be_empty(&layout.dir)?;
    Certificates::under(&layout.dir).ensure(&with_buckets(&layout.hosts), SystemSource::new().sample().wall)?;
    layout.write_token()?;
    if let Some(typed) = typed {
        layout.write_secret(PASSPHRASE_FILE, typed.as_bytes())?;
    }
    write_new(&layout.config(), layout.toml().as_bytes(), Readers::Everybody)?;
    Config::load(&layout.config()).map_err(refused)?;
    wiring.found(&layout.config()).map_err(Failure::Failed)?;
    let shown = serde_json::json!({
        "config": layout.config(),
        "ca": Certificates::under(&layout.dir).ca,
        "admin_token_file": layout.dir.join(TOKEN_FILE),
        "regions": layout.regions,
    });
    output.result(&shown, |_| next_steps(&layout))
}

/// The fields of `[keyring]` that the flags say; `None` for a keyring of our own.
fn elsewhere(flags: &Flags) -> Result<Option<toml::Table>, Failure> {
    let files = [
        ("module", &flags.pkcs11_module),
        ("pin_file", &flags.pin_file),
        ("token_file", &flags.token_file),
        ("credentials_file", &flags.credentials_file),
        ("ca_file", &flags.ca_file),
        ("ledger_dir", &flags.ledger_dir),
    ];
    let texts = [
        ("token", &flags.pkcs11_token),
        ("address", &flags.transit_address),
        ("mount", &flags.transit_mount),
        ("region", &flags.kms_region),
        ("endpoint", &flags.kms_endpoint),
    ];
    let mut fields = toml::Table::new();
    for (name, file) in files {
        if let Some(file) = file {
            let file = std::path::absolute(file).map_err(|e| failed(file, &e))?;
            fields.insert(name.into(), file.display().to_string().into());
        }
    }
    fields.extend(texts.iter().filter_map(|(name, text)| Some(((*name).into(), text.as_deref()?.into()))));
    if flags.keyring != "local" {
        fields.insert("kind".into(), flags.keyring.clone().into());
        return Ok(Some(fields));
    }
    match fields.keys().next() {
        None => Ok(None),
        Some(name) => Err(Failure::Usage(format!("the flag for {name} needs --keyring pkcs11, transit or aws-kms"))),
    }
}

fn refused(error: ConfigError) -> Failure {
    Failure::Usage(error.to_string())
}

fn regions(ids: &[String]) -> Result<Vec<&'static Region>, Failure> {
    let valid: Vec<_> = GEOS.iter().flat_map(|g| g.regions).map(|r| r.id).collect();
    let unknown = |id: &str| Failure::Usage(format!("{id}: no such region\nvalid: {}", valid.join(", ")));
    ids.iter().map(|id| Region::find(id).map(|(_, region)| region).ok_or_else(|| unknown(id))).collect()
}

/// Each name, and the buckets under it; addresses as they are.
pub(super) fn with_buckets(given: &[String]) -> Vec<String> {
    let buckets = given.iter().filter(|h| h.parse::<IpAddr>().is_err() && !h.starts_with("*."));
    let buckets: Vec<_> = buckets.map(|h| format!("*.{h}")).collect();
    given.iter().cloned().chain(buckets).collect()
}

fn next_steps(layout: &Layout) -> String {
    let at = |name: &str| layout.dir.join(name).display().to_string();
    let first = &layout.regions[0];
    let (geo, _) = Region::find(first).expect("they were looked up before");
    format!(
        "Prepared {}.

  geoseal serve --config {}

Then, as an administrator:

  export GEOSEAL_ADMIN_URL=https://{} GEOSEAL_ADMIN_TOKEN_FILE={} GEOSEAL_CA={}
  geoseal tenant create NAME --geo {} --home {first} --consent FILE
  geoseal credential create --tenant NAME

Clients trust {}. Move {} off this machine: a server does not need it.
{}",
        layout.dir.display(),
        layout.config().display(),
        layout.admin,
        at(TOKEN_FILE),
        at("tls/ca.pem"),
        geo.id,
        at("tls/ca.pem"),
        at("tls/ca-key.pem"),
        match layout.secret {
            Secret::Elsewhere(_) => "The master keys are elsewhere: without them nothing can be read again.",
            _ => "The passphrase opens every key: without it nothing can be read again.",
        },
    )
}

fn random() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    let filled = SystemRandom::new().fill(bytes.as_mut_slice());
    filled.map(|()| bytes).map_err(|_| Failure::Failed("the operating system gives no random bytes".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{RolledBack, dev};

    struct House;

    impl Wiring for House {
        fn restore_backup(
            &self,
            _: &Path,
            _: Option<&Path>,
            _: Option<&[u8; 32]>,
        ) -> Result<Vec<crate::cli::RestoredGeo>, String> {
            unreachable!("init restores nothing")
        }

        fn found(&self, config: &Path) -> Result<(), String> {
            if config.is_file() { Ok(()) } else { Err("no configuration".into()) }
        }

        fn serve(&self, _: &Path, _: Option<&RolledBack>) -> Result<(), String> {
            Err("not in this test".into())
        }

        fn found_keys(&self, _: &Path) -> Result<(), String> {
            Err("not in this test".into())
        }

        fn serve_keys(&self, _: &Path, _: Option<&RolledBack>) -> Result<(), String> {
            Err("not in this test".into())
        }

        fn serve_dev(&self, _: &dev::Prepared, _: dev::OnReady) -> Result<(), String> {
            Err("not in this test".into())
        }

        fn write_log(&self, _: &Path, _: &str, _: &[String]) -> Result<(), String> {
            unreachable!("init exports nothing")
        }

        fn verify_log(&self, _: &Path, _: &[u8; 32], _: Option<&str>) -> Result<(u64, String), String> {
            unreachable!("init verifies nothing")
        }

        fn verify_growth(
            &self,
            _: &str,
            _: &crate::admin::transparency::LogGrowth,
            _: &[u8; 32],
        ) -> Result<(u64, u64), String> {
            unreachable!("init verifies nothing")
        }

        fn first_difference(&self, _: &Path, _: &[u8; 32], _: &[String]) -> Result<Option<u64>, String> {
            unreachable!("init verifies nothing")
        }

        fn verify_proof(&self, _: &str, _: &[u8; 32]) -> Result<String, String> {
            unreachable!("init verifies nothing")
        }

        fn verify_certificate(
            &self,
            _: &[u8],
            _: &[u8; 32],
            _: Option<&str>,
        ) -> Result<crate::cli::VerifiedCertificate, String> {
            Err("not in this test".into())
        }
    }

    fn args(dir: PathBuf, regions: &[&str], passphrase_file: Option<PathBuf>) -> Init {
        let [listen, admin] = ["0.0.0.0:9000", "127.0.0.1:9001"].map(|a| a.parse().unwrap());
        let (regions, hosts) = (regions.iter().map(|r| (*r).to_owned()).collect(), vec!["s3.example.org".to_owned()]);
        let keeper = Flags { keyring: "local".into(), ..Flags::default() };
        Init { dir, regions, passphrase_file, keeper, hosts, listen, admin }
    }

    #[test]
    fn it_makes_a_directory_once_and_refuses_to_overwrite() {
        let home = tempfile::tempdir().unwrap();
        let passphrase = home.path().join("p");
        write_new(&passphrase, b"correct horse battery\n", Readers::Owner).unwrap();
        let args = args(home.path().join("d"), &["westeurope", "japaneast"], Some(passphrase));
        init(&House, Output::Programs, &args).unwrap();
        let token = std::fs::read(args.dir.join(TOKEN_FILE)).unwrap();
        assert!(crate::admin::auth::Logins::new(&token).is_ok());
        assert!(!args.dir.join(KEY_FILE).exists());
        let before = std::fs::read(args.dir.join("geoseal.toml")).unwrap();
        assert!(matches!(init(&House, Output::Programs, &args), Err(Failure::Usage(_))));
        assert_eq!(std::fs::read(args.dir.join("geoseal.toml")).unwrap(), before);
    }

    #[test]
    fn an_unknown_region_or_a_missing_passphrase_makes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("d");
        let unknown = init(&House, Output::Programs, &args(dir.clone(), &["us-east-1"], None)).unwrap_err();
        assert!(unknown.to_string().contains("westeurope") && unknown.exit_code() == 2);
        let lost = home.path().join("no-such-file");
        assert!(init(&House, Output::Programs, &args(dir.clone(), &["eastus"], Some(lost))).is_err());
        let plain = home.path().join("plain");
        for (passphrase, readers) in
            [("aaaaaaaaaaaaaaaaaaaaaaaaa", Readers::Owner), ("correct horse battery", Readers::Everybody)]
        {
            super::super::files::replace(&plain, passphrase.as_bytes(), readers).unwrap();
            let refused = init(&House, Output::Programs, &args(dir.clone(), &["eastus"], Some(plain.clone())));
            assert!(matches!(refused, Err(Failure::Usage(_))), "{passphrase}");
        }
        assert!(!dir.exists());
    }

    #[test]
    fn a_host_covers_its_buckets() {
        let given = ["s3.example.org", "10.0.0.1", "*.blobs.example.org"].map(str::to_owned);
        assert_eq!(with_buckets(&given)[3..], ["*.s3.example.org"]);
    }
}
