//! A tenant's life, end to end on the running product: its keys rotate under load and under kills, and when it has left
//! it is kept for 90 days and then provably gone.

mod admins;
mod attest;
mod early;
mod holds;
mod jobs;
mod lifecycle;
mod readers;
mod rekey;
mod retention;
mod rotation;
mod schedule;
mod suspended;
mod table;

use geoseal_support::server::Server;
use geoseal_support::signer::{Credentials, Request};
use geoseal_support::wire::{Wire, client_config};
use serde_json::Value;

/// Creates a tenant in europe and a service login for it.
pub(crate) fn tenant(server: &Server, name: &str) -> Credentials {
    let consent = server.home().join("consent.txt");
    std::fs::write(&consent, "we agree\n").expect("the scratch directory is writable");
    let consent = consent.to_str().expect("UTF-8");
    let create = ["tenant", "create", name, "--geo", "europe", "--home", "westeurope", "--consent", consent];
    server.geoseal(&create).ok();
    let login = server.geoseal(&["credential", "create", "--tenant", name, "--json"]).json();
    Credentials {
        access_id: login["access_id"].as_str().expect("a login").into(),
        secret: login["secret"].as_str().expect("a secret").into(),
        region: "westeurope".into(),
    }
}

/// A tenant's state as `tenant show` has it.
pub(crate) fn state(server: &Server, tenant: &str) -> String {
    server.geoseal(&["tenant", "show", tenant, "--json"]).json()["state"].as_str().expect("a state").to_owned()
}

/// Moves the simulated clock.
fn advance(server: &Server, by: &str) {
    server.geoseal(&["dev", "clock", "advance", by]).ok();
}

/// How many blobs there are.
fn blobs(server: &Server) -> usize {
    fn files(path: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
    }
    files(&server.data().join("data/region/westeurope/blobs"))
}

/// The newest entries of the audit log.
fn audit(server: &Server) -> Vec<Value> {
    let page = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).json();
    page["entries"].as_array().cloned().expect("a page has entries")
}

/// A connection to the admin listener.
pub(crate) fn admin(server: &Server) -> Wire {
    let config = client_config(&server.authority(), rustls::ALL_VERSIONS);
    Wire::connect(server.admin(), config).expect("the admin listener accepts")
}

/// Where a long piece of work stands.
fn operation(server: &Server, admin: &mut Wire, id: &str) -> Value {
    let bearer = format!("Bearer {}", server.admin_token());
    let request = Request::new("GET", &format!("/admin/v1/operations/{id}"));
    let request = request.header("host", &server.admin().to_string()).header("authorization", &bearer);
    let answer = admin.exchange(&request).expect("the admin listener answers");
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}: {}", answer.status, answer.text()))
}
