//! Real e-mail records, from where ordinary package clients put them: the SES events of the crate `aws_lambda_events`
//! (MIT) and the messages of CPython's test suite (PSF-2.0). Nothing is copied into this repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::tools;

/// One real record.
#[derive(Clone)]
pub struct Fixture {
    /// Its file name.
    pub name: String,
    /// Its bytes, as they are.
    pub bytes: Vec<u8>,
}

/// Amazon SES events, `example-ses-*.json`, sorted by name.
pub fn ses() -> Vec<Fixture> {
    let found = read(&ses_directory(), "example-ses-", ".json");
    assert!(found.len() >= 5, "aws_lambda_events has at least five SES fixtures");
    found
}

/// Where they are.
pub fn ses_directory() -> PathBuf {
    lambda_events().join("src/fixtures")
}

/// RFC 5322 messages, `msg_*.txt`, sorted by name.
pub fn emails() -> Vec<Fixture> {
    let found = read(tools().emails(), "msg_", ".txt");
    assert!(found.len() >= 40, "CPython's test_email has more than forty messages");
    found
}

/// All of them.
pub fn all() -> Vec<Fixture> {
    ses().into_iter().chain(emails()).collect()
}

fn read(directory: &Path, prefix: &str, suffix: &str) -> Vec<Fixture> {
    let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut found: Vec<Fixture> = entries
        .map(|entry| entry.expect("the directory can be read").path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .filter(|(name, _)| name.starts_with(prefix) && name.ends_with(suffix))
        .map(|(name, path)| Fixture { name, bytes: fs::read(path).expect("a fixture can be read") })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The source directory of `aws_lambda_events`, from Cargo, which may have it in a registry cache or vendored.
///
/// Only this platform's packages are asked for: the others of the lock file need not have been downloaded.
fn lambda_events() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let host = String::from_utf8_lossy(&host.stdout).lines().find_map(|l| l.strip_prefix("host: ").map(str::to_owned));
    let metadata = |offline: &[&str]| {
        let mut command = Command::new(&cargo);
        command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
        command.arg(host.as_deref().expect("rustc names its host")).args(offline);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs")
    };
    let mut run = metadata(&["--offline"]);
    if !run.status.success() {
        run = metadata(&[]);
    }
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&run.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    let package = packages.iter().find(|p| p["name"] == "aws_lambda_events").expect("it is a dependency of this crate");
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a manifest has a directory").to_owned()
}
