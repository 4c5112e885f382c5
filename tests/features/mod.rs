//! Features of a tenant, from outside: enabled with a consent, disabled without loss, and what their classes demand.
//! Source: docs/features.md.

mod classes;
mod enabled;
mod follows;
mod grants;
mod ingest;
mod lifetimes;
mod quotas;

use geoseal_support::clients::Ran;
use geoseal_support::server::Server;
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire};
use serde_json::Value;
use std::fs;

pub(super) const BUCKET: &str = "mail";

pub(super) fn call(server: &Server, who: &Credentials, request: Request) -> Response {
    let mut wire = Wire::to(server);
    let host = wire.host().to_owned();
    wire.exchange(&request.signed(who, &host, Body::Hashed)).expect("the server answers")
}

pub(super) fn put(server: &Server, who: &Credentials, name: &str, class: Option<&str>) -> (u16, String) {
    let mut request = Request::new("PUT", &object_path(BUCKET, name)).body(format!("the record {name}"));
    if let Some(class) = class {
        request = request.header("x-amz-meta-geoseal-class", class);
    }
    said(&call(server, who, request))
}

pub(super) fn ask(server: &Server, who: &Credentials, method: &str, name: &str) -> (u16, String) {
    said(&call(server, who, Request::new(method, &object_path(BUCKET, name))))
}

pub(super) fn said(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

pub(super) fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// `geoseal feature VERB email-engagement --tenant contoso FLAGS --json`
pub(super) fn feature(server: &Server, verb: &str, flags: &[&str]) -> Value {
    server.geoseal(&[&["feature", verb, "email-engagement", "--tenant", "contoso", "--json"], flags].concat()).json()
}

/// A command that is refused: the problem's status and code. The exit code is that of the status.
pub(super) fn denied(server: &Server, arguments: &[&str]) -> (u64, String) {
    problem(&server.geoseal(&[arguments, &["--json"]].concat()))
}

fn problem(ran: &Ran) -> (u64, String) {
    let problem: Value = serde_json::from_str(&ran.stdout()).unwrap_or_else(|_| panic!("{}", ran.stderr()));
    let status = problem["status"].as_u64().expect("a problem has its status");
    let exit = match status {
        403 => 5,
        404 => 3,
        409 => 4,
        _ => 2,
    };
    assert_eq!(ran.code(), Some(exit), "{problem}");
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

pub(super) fn text(server: &Server, name: &str, words: &str) -> String {
    let path = server.home().join(name);
    fs::write(&path, words).expect("our own directory");
    path.to_str().expect("a plain path").to_owned()
}

pub(super) fn files(dir: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let read = |path: std::path::PathBuf| match path.is_dir() {
        true => files(&path),
        false => fs::read(&path).map(|bytes| (path.display().to_string(), bytes)).into_iter().collect(),
    };
    entries.flat_map(read).collect()
}

pub(super) fn contains(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// What the server's clock says now, and the end of the newest whole hour.
pub(super) fn clock(server: &Server) -> (String, String) {
    let wall = server.geoseal(&["clock", "show", "--json"]).json()["wall"].as_str().expect("a time").to_owned();
    let hour = format!("{}:00:00Z", &wall[..13]);
    (wall, hour)
}

/// A watermark for the hours between two.
pub(super) fn watermark(
    server: &Server,
    who: &Credentials,
    (from, until): (&str, &str),
    seen: &str,
    class: &str,
) -> (u16, String) {
    let put = Request::new("PUT", &object_path(BUCKET, "kpi/v1/watermark.json")).body("{}");
    let put = put.header("x-amz-meta-geoseal-class", class).header("x-amz-meta-geoseal-watermark", until);
    let put = put.header("x-amz-meta-geoseal-watermark-from", from).header("x-amz-meta-geoseal-seen", seen);
    said(&call(server, who, put))
}

/// A login for the job of these flags of `geoseal grant create`.
pub(super) fn job(server: &Server, flags: &[&str]) -> Credentials {
    let create = ["grant", "create", "--tenant", "contoso", "--bucket", BUCKET, "--json"];
    let made = server.geoseal(&[&create, flags].concat()).json();
    let field = |name: &str| made[name].as_str().expect("a field").to_owned();
    Credentials { access_id: field("access_id"), secret: field("secret"), region: field("region") }
}

/// What a job that makes figures is granted.
pub(super) const FIGURES: [&str; 6] = ["--purpose", "kpi", "--class", "interaction", "--class", "kpi"];

pub(super) fn sweep(server: &Server) {
    server.geoseal(&["sweep", "run"]).ok();
}

pub(super) fn advance(server: &Server, by: &str) {
    server.geoseal(&["dev", "clock", "advance", by]).ok();
}
