//! Settings: the example parses, the pages name every field, and what is wrong is refused with a way out.

use super::*;
use crate::model::limits::INLINE_BYTES_MAX;
use std::os::unix::fs::PermissionsExt;

const EXAMPLE: &str = include_str!("../../deploy/geoseal.toml");
const PAGE: &str = include_str!("../../docs/operations.md");

const LEAST: &str = r#"
data_dir = "data"
[[regions]]
id = "westeurope"
blobs = "local"
[keyring]
passphrase_file = "passphrase"
[s3]
listen = "127.0.0.1:9000"
certificate = "s3.pem"
private_key = "s3.key"
[admin]
listen = "127.0.0.1:9001"
certificate = "admin.pem"
private_key = "admin.key"
token_file = "token"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/geoseal"))
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("these settings are wrong").to_string()
}

#[test]
fn the_example_parses_and_shows_the_defaults() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/geoseal"));
    assert_eq!(config.limits, LimitsConfig::default());
    assert_eq!(config.log, LogConfig::default());
    assert_eq!(config.sweep_interval, Duration::from_secs(3600));
    assert_eq!(config.sweep_late, Duration::from_secs(7200), "two intervals");
    assert!(!config.geos().is_empty());
}

#[test]
fn the_least_settings_parse_and_paths_are_taken_from_the_file() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/geoseal/data"));
    assert_eq!(config.admin.token.path(), Path::new("/etc/geoseal/token"));
    assert_eq!(config.regions[0].inline_bytes_max, INLINE_BYTES_MAX);
    assert_eq!(config.geos()[0].id, "europe");
}

/// The page and the example follow the types: a field that is added has to be written down in both.
#[test]
fn the_page_and_the_example_name_every_field() {
    let schema = serde_json::to_value(schemars::schema_for!(File)).unwrap();
    let fields = fields(&schema, &schema, "");
    assert!(fields.len() > 35 && fields.contains(&"regions.blobs.s3.endpoint".to_owned()), "{fields:#?}");
    let page: Vec<_> = fields.iter().filter(|f| !PAGE.contains(&format!("`{f}`"))).collect();
    assert!(page.is_empty(), "docs/operations.md does not document {page:?}");
    let leaf = |f: &str| f.rsplit('.').next().unwrap().to_owned();
    let example: Vec<_> = fields.iter().filter(|f| !EXAMPLE.contains(&leaf(f))).collect();
    assert!(example.is_empty(), "deploy/geoseal.toml does not show {example:?}");
}

/// Dotted names of all fields of a JSON schema, tables included.
fn fields(schema: &serde_json::Value, part: &serde_json::Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(name) = part["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").unwrap();
        found.extend(fields(schema, &schema["$defs"][name], path));
    }
    for (name, inner) in part["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.extend(fields(schema, inner, &path));
        found.push(path);
    }
    for choice in ["oneOf", "anyOf"].into_iter().flat_map(|c| part[c].as_array().into_iter().flatten()) {
        found.extend(fields(schema, choice, path));
    }
    if part["items"].is_object() {
        found.extend(fields(schema, &part["items"], path));
    }
    found
}

#[test]
fn wrong_settings_are_refused_with_a_way_out() {
    let cases = [
        (LEAST.replace("\"westeurope\"", "\"us-east-1\""), "unknown region \"us-east-1\". Valid ids: westeurope, "),
        (LEAST.replace("data_dir", "data_dri"), "unknown field `data_dri`"),
        (LEAST.replace("token_file", "token"), "unknown field `token`"),
        (LEAST.replace("blobs = \"local\"", ""), "missing field `blobs`"),
        (LEAST.replace("passphrase_file = \"passphrase\"", ""), "there is no default"),
        (LEAST.replace("[keyring]", "[keyring]\nkey_file = 'k'"), "one of them"),
        (LEAST.replace("9001", "9000"), "give them two ports"),
        (format!("sweep_interval_s = 86401\n{LEAST}"), "within a day"),
        (format!("sweep_interval_s = 0\n{LEAST}"), "1 to 86400"),
        (format!("sweep_late_s = 0\n{LEAST}"), "1 to 172800"),
        (format!("{LEAST}client_revocations = 'crl.pem'\n"), "set client_authorities"),
        (format!("{LEAST}[limits]\nheader_s = 0\n"), "no deadline can be switched off"),
        (format!("{LEAST}[limits]\nconnections_max = 0\n"), "at least 1"),
        (format!("{LEAST}[log]\nlevel = 'loud'\n"), "unknown variant `loud`"),
        (format!("{LEAST}[[regions]]\nid = 'westeurope'\nblobs = 'local'\n"), "listed twice"),
        (LEAST.replace("blobs = \"local\"", "blobs = \"local\"\ninline_bytes_max = 65537"), "at most 65536"),
        (LEAST.replace("[s3]", "[s3]\ndomains = ['https://s3']"), "not a host name"),
    ];
    for (text, why) in cases {
        let said = refusal(&text);
        assert!(said.contains(why), "expected {why:?} in:\n{said}");
    }
    let none = LEAST.replace("[[regions]]\nid = \"westeurope\"\nblobs = \"local\"", "");
    assert!(refusal(&format!("regions = []\n{none}")).contains("there is no default"));
}

const PKCS11: &str = "kind = 'pkcs11'\nmodule = '/lib/p.so'\ntoken = 'geoseal'\npin_file = 'pin'";
const TRANSIT: &str = "kind = 'transit'\naddress = 'https://vault:8200'\ntoken_file = 'token'";
const KMS: &str = "kind = 'aws-kms'\nregion = 'eu-central-1'\ncredentials_file = 'kms.toml'";

#[test]
fn master_keys_may_be_elsewhere_and_for_each_geo_in_another_place() {
    let with = |keyring: &str| LEAST.replace("passphrase_file = \"passphrase\"", keyring);
    let of = |text: &str| parse(text).map(|config| config.keyring.of(config.geos()[0]).clone());
    let Keeper::Pkcs11(pkcs11) = of(&with(PKCS11)).unwrap().keeper else { panic!("a token") };
    assert_eq!((pkcs11.pin.path(), pkcs11.label), (Path::new("/etc/geoseal/pin"), None));
    let Keeper::Transit(transit) = of(&with(TRANSIT)).unwrap().keeper else { panic!("Transit") };
    assert_eq!((transit.mount.as_str(), transit.key, transit.ca_file), ("transit", None, None));
    let Keeper::AwsKms(kms) = of(&with(KMS)).unwrap().keeper else { panic!("a KMS") };
    assert_eq!((kms.endpoint.as_str(), kms.deletion_days), ("https://kms.eu-central-1.amazonaws.com", 7));

    let two = format!("{LEAST}[keyring.geo.europe]\n{KMS}\nledger_dir = 'ledgers'\ntimeout_ms = 500\n");
    let keyring = of(&two).unwrap();
    assert!(matches!(keyring.keeper, Keeper::AwsKms(_)), "its own goes before that of all");
    assert_eq!(keyring.ledger_dir.as_deref(), Some(Path::new("/etc/geoseal/ledgers")));
    assert_eq!(keyring.timeout, Duration::from_millis(500));
    let only = with("").replace("[keyring]", &format!("[keyring.geo.europe]\n{TRANSIT}"));
    assert!(matches!(of(&only).unwrap().keeper, Keeper::Transit(_)), "no other geo is served, so no other is needed");

    for (keyring, why) in [
        ("kind = 'hsm'".to_owned(), "unknown variant `hsm`"),
        (format!("{PKCS11}\npin = '1234'"), "unknown field `pin`"),
        (format!("{PKCS11}\naddress = 'https://vault'"), "address is not for kind = \"pkcs11\""),
        (format!("{TRANSIT}\npassphrase_file = 'p'"), "passphrase_file is not for kind = \"transit\""),
        (PKCS11.replace("token =", "label ="), "set token; kind = \"pkcs11\" needs it"),
        (TRANSIT.replace("https://vault", "http://vault"), "address begins with https://"),
        (TRANSIT.replace("https://vault:8200", "http://127.0.0.1.example.org"), "address begins with https://"),
        (format!("{KMS}\ndeletion_days = 6"), "7 to 30"),
        (format!("{KMS}\ntimeout_ms = 99"), "100 to 60000"),
        ("passphrase_file = 'p'\nledger_dir = 'l'".to_owned(), "ledger_dir is not for kind = \"local\""),
        (format!("{KMS}\n[keyring.geo.atlantis]\n{KMS}"), "there is no such geo"),
        (format!("{KMS}\n[keyring.geo.europe]\n{KMS}\n[keyring.geo.europe.geo.asia]\n{KMS}"), "no geo of its own"),
        ("passphrase_file = 'credential:a/b'".to_owned(), "the name of a credential"),
    ] {
        let said = refusal(&with(&keyring));
        assert!(said.contains(why), "expected {why:?} in:\n{said}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let said = refusal(&LEAST.replace("westeurope", "atlantis").replace("9001", "9000"));
    assert!(said.contains("atlantis") && said.contains("two ports"), "{said}");
}

#[test]
fn two_regions_cannot_share_a_place() {
    let region = |id: &str, prefix: &str| {
        format!(
            "[[regions]]\nid = '{id}'\n[regions.blobs.s3]\nendpoint = 'https://s3.example.org'\nbucket = 'b'\n\
             region = 'r'\ncredentials_file = 'c'\n{prefix}\n"
        )
    };
    let with = |a: &str, b: &str| parse(&format!("{LEAST}{}{}", region("ukwest", a), region("uksouth", b)));
    assert!(with("prefix = 'a'", "prefix = 'ab'").is_ok());
    for (a, b) in [("", ""), ("prefix = 'a'", ""), ("", "prefix = 'a'"), ("prefix = 'a'", "prefix = 'a/b'")] {
        assert!(with(a, b).unwrap_err().to_string().contains("mix their blobs"), "{a} {b}");
    }
}

#[test]
fn secret_files_must_be_there_private_and_secret() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8], mode| {
        let file = dir.path().join(name);
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for public in ["s3.pem", "admin.pem"] {
        write(public, b"", 0o644);
    }
    for private in ["s3.key", "admin.key"] {
        write(private, b"", 0o640);
    }
    write("token", b"5f0e1c2d3b4a59687786958493a2b1c0\n", 0o600);
    write("passphrase", b"correct horse battery staple\n", 0o600);
    write("geoseal.toml", LEAST.as_bytes(), 0o644);
    let load = || Config::load(&dir.path().join("geoseal.toml"));
    let config = load().unwrap();
    assert_eq!(config.admin.token.read().unwrap().as_slice(), b"5f0e1c2d3b4a59687786958493a2b1c0");

    write("passphrase", b"correct horse battery staple\n", 0o644);
    assert!(load().unwrap_err().to_string().contains("others may read it"));
    for placeholder in ["", "changeme", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        write("passphrase", placeholder.as_bytes(), 0o600);
        let said = load().unwrap_err().to_string();
        assert!(said.contains("too short or too plain"), "{said}");
        assert!(placeholder.is_empty() || !said.contains(placeholder), "the secret is in the message");
    }
    std::fs::remove_file(dir.path().join("passphrase")).unwrap();
    write("s3.key", b"", 0o604);
    let said = load().unwrap_err().to_string();
    assert!(said.contains("passphrase: No such file") && said.contains("s3.key: holds a secret"), "{said}");
}

/// A destruction has to be whole within a month: epoch, soak and the provider's own delay together.
#[test]
fn a_schedule_of_closes_that_breaks_the_month_is_refused() {
    let with = |epoch: &str| parse(&format!("{LEAST}\n[epoch]\n{epoch}"));
    let config = with("every_days = 26").unwrap();
    assert_eq!((config.epoch.every_s(), config.epoch.soak_s), (Some(26 * 86_400), 172_800));
    assert_eq!(with("soak_s = 3600").unwrap().epoch.every_s(), None);
    let kms = LEAST.replace("passphrase_file = \"passphrase\"", &format!("{KMS}\ndeletion_days = 14"));
    let refused = parse(&format!("{kms}\n[epoch]\nevery_days = 13")).unwrap_err().to_string();
    assert!(refused.contains("13 days, 2 of soak (epoch.soak_s) and 14 of the provider's own delay"), "{refused}");
    assert!(parse(&format!("{kms}\n[epoch]\nevery_days = 12")).is_ok());
    for (epoch, said) in [
        ("every_days = 27", "27 days, 2 of soak (epoch.soak_s) and 0 of the provider's own delay (deletion_days)"),
        ("every_days = 18446744073709551615", "are more than 28"),
        ("every_days = 15\nsoak_s = 1209600", "15 days, 14 of soak"),
        ("every_days = 0", "epoch.every_days = 0: from 1"),
        ("every_days = 2", "the soak of 172800 s would not be over when the next close is due"),
        ("soak_s = 3599", "epoch.soak_s = 3599: 3600 to 1209600"),
    ] {
        let refused = with(epoch).unwrap_err().to_string();
        assert!(refused.contains(said), "{epoch}: {refused}");
    }
}
