//! The command line of the shipped binary, and the admin listener behind it: what people type, what they see, with
//! which code it ends, and what it does to a client that is at work meanwhile. Source: docs/cli.md, docs/admin-api.md.

mod admin;
mod audit;
mod codes;
mod dev;
mod forms;
mod init;
mod regions;
mod rollback;
mod tenants;
mod verbs;

use geoseal_support::{
    clients::Ran,
    server::Server,
    signer::{Body, Credentials, Request},
    wire::{Response, Wire, client_config},
};
use std::{fs, net::SocketAddr};

/// A file that says what was agreed to.
fn consent(server: &Server) -> String {
    let path = server.home().join("consent.txt");
    fs::write(&path, "We agree to the terms of 2026-11-20.\n").expect("our own directory");
    path.to_str().expect("a plain path").to_owned()
}

/// Creates a tenant in the demo geo.
fn create(server: &Server, name: &str) -> Ran {
    let consent = consent(server);
    let flags = ["--geo", "europe", "--home", "westeurope", "--consent", &consent, "--json"];
    server.geoseal(&[&["tenant", "create", name], &flags[..]].concat())
}

/// One request as this login, on a connection of its own.
fn call(server: &Server, who: &Credentials, request: Request) -> Response {
    let mut wire = Wire::to(server);
    let host = wire.host().to_owned();
    wire.exchange(&request.signed(who, &host, Body::Hashed)).expect("the server answers")
}

/// One request to an admin listener as it stands.
fn ask(address: SocketAddr, authority: &[u8], request: &Request) -> Response {
    let config = client_config(authority, &[&rustls::version::TLS13]);
    let mut wire = Wire::connect(address, config).expect("the admin listener accepts");
    wire.exchange(&request.clone().header("host", &address.to_string())).expect("the admin listener answers")
}

/// The same with a bearer token.
fn ask_as(address: SocketAddr, authority: &[u8], token: &str, request: &Request) -> Response {
    ask(address, authority, &request.clone().header("authorization", &format!("Bearer {token}")))
}

/// The body as JSON.
fn json(response: &Response) -> serde_json::Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|e| panic!("not JSON: {e}\n{}", response.text()))
}

/// The code of the problem document that a failed `--json` command printed.
fn code(ran: &Ran) -> String {
    let problem: serde_json::Value = serde_json::from_str(&ran.stdout())
        .unwrap_or_else(|e| panic!("not a problem: {e}\n{}\n{}", ran.stdout(), ran.stderr()));
    problem["code"].as_str().unwrap_or_default().to_owned()
}
