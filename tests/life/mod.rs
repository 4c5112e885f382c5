//! A tenant's life, end to end on the running product: its keys rotate under load and under kills, and when it has left
//! it is kept for 90 days and then provably gone.

mod rekey;
mod retention;
mod rotation;

use geoseal_support::server::Server;
use geoseal_support::signer::Credentials;

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
fn state(server: &Server, tenant: &str) -> String {
    server.geoseal(&["tenant", "show", tenant, "--json"]).json()["state"].as_str().expect("a state").to_owned()
}
