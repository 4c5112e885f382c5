//! Evidence that stands without us: what an auditor is given, and what he finds in it with tools of his own.

mod certificate;
mod notices;
mod probes;
mod published;
mod reports;
mod uploads;
mod witness;

use geoseal_support::clients::Ran;
use geoseal_support::server::Server;
use geoseal_support::tools::tools;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary directory's name is UTF-8")
}

/// A tenant of `server`, by name; answers its id.
fn tenant(server: &Server, name: &str, contact: Option<&str>) -> String {
    let consent = server.home().join("consent.txt");
    std::fs::write(&consent, "We agree.\n").expect("the scratch directory is writable");
    let mut create = vec!["tenant", "create", name, "--geo", "europe", "--home", "westeurope"];
    create.extend(["--consent", text(&consent), "--json"]);
    create.extend(contact.map(|contact| ["--contact", contact]).into_iter().flatten());
    server.geoseal(&create).json()["id"].as_str().expect("a tenant has an id").to_owned()
}

/// Ends a tenant, and lets 91 days pass and a sweep run.
fn purge(server: &Server, name: &str) {
    server.geoseal(&["tenant", "terminate", name, "--reason", "contract-end", "--confirm", name]).ok();
    server.geoseal(&["dev", "clock", "advance", "91d"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
}

/// The geo's public log key.
fn log_key(server: &Server) -> String {
    server.geoseal(&["audit", "log-key", "--geo", "europe"]).ok().trim().to_owned()
}

/// `geoseal` with nothing in its environment: no server, no settings, no time.
fn alone(arguments: &[&str]) -> Ran {
    Ran::of(Command::new(env!("CARGO_BIN_EXE_geoseal")).env_clear().args(arguments))
}

/// The verifier for auditors that is not ours.
fn python(arguments: &[&str]) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/auditor/verify_certificate.py");
    Ran::of(Command::new(tools().python()).arg(script).args(arguments))
}

/// A file of the server's scratch directory.
fn file(server: &Server, name: &str) -> PathBuf {
    server.home().join(name)
}

/// Changes the settings of a server that `dev` made, and starts it anew.
fn settings(server: &mut Server, change: impl FnOnce(String) -> String) {
    server.terminate();
    let config = server.data().join("geoseal.toml");
    let toml = std::fs::read_to_string(&config).expect("dev wrote it");
    let changed = change(toml.clone());
    assert_ne!(toml, changed, "the settings are another way round");
    std::fs::write(&config, changed).expect("our own file");
    server.restart();
}
