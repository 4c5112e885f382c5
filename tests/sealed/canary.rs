//! FX-23 and NX-01: everything a caller says about an object is sung by a canary of its own, through every way in; then
//! each file of the data directory and every log line, at the highest level, is searched for all of them.

use std::fs;

use geoseal_support::{
    clients::{Ran, python},
    records::bytes,
    server::{BUCKET, Server},
    signer::{Body, Credentials, Request, object_path},
    wire::{Response, Wire, client_config},
};
use md5::{Digest, Md5};

use super::needles::Needles;

/// Where a canary goes, and what it sings.
const ADMIN_REASON: &str = "canary-reason-that-an-admin-gave-6d02";
const BUCKET_NAME: &str = "canary-bucket-7f3d91";
const CONTACT: &str = "canary-contact-9b1f@example.org";
const CONTENT: &str = "canary-content-1c9e5a77d0";
const CONTENT_TYPE: &str = "application/x-canary-type-55aa";
const DISPOSITION: &str = "attachment; filename=canary-disposition-83bc";
const METADATA_NAME: &str = "canary-metadata-name-20d4";
const METADATA_VALUE: &str = "canary-metadata-value-b6f1";
const NAME: &str = "canary-name-4e8a/with space/ünïcødé-canary";
const PREFIX: &str = "canary-prefix-that-is-listed-91";
const SUBJECT: &str = "contact:canary-subject-773311";
const SECOND_BUCKET: &str = "canary-second-bucket-c40e";
const TAG_NAME: &str = "canary-tag-name-0b5e";
const TAG_VALUE: &str = "canary-tag-value-c2d8";

const TENANT: &str = "canary-tenant-name-58a1";

/// Bodies below and above the inline limit, and one of several chunks; each begins and ends with the canary.
const SIZES: [usize; 3] = [64, 60_000, 300_000];

#[test]
fn r48_no_canary_sings_in_the_data_directory_or_in_the_logs() {
    let mut server = Server::start();
    server.terminate();
    log_everything(&server);
    server.restart();

    let mut needles = Needles::default();
    let said = [BUCKET_NAME, CONTENT, CONTENT_TYPE, DISPOSITION, METADATA_NAME, METADATA_VALUE, NAME, PREFIX, SUBJECT];
    for secret in said.iter().chain(&[ADMIN_REASON, CONTACT, SECOND_BUCKET, TAG_NAME, TAG_VALUE, TENANT]) {
        needles.add(secret, secret.as_bytes());
    }
    needles.add("the secret access key", server.variable("AWS_SECRET_ACCESS_KEY").as_bytes());
    needles.add("the admin token", server.admin_token().as_bytes());

    sing(&server, &mut needles);
    administer(&server, &mut needles);
    fail(&server, &mut needles);
    for (what, text) in [("metrics", metrics(&server)), ("audit log", audited(&server))] {
        let found = needles.found_in(text.as_bytes());
        assert!(found.is_empty(), "in the {what}: {found:#?}");
    }

    let silent = |server: &Server, when: &str| {
        let (found, files) = needles.found_under(&server.data().join("data"));
        assert!(files > 0 && found.is_empty(), "{when}, {files} files: {found:#?}");
        // Beside it lies what `dev` writes for its user: configuration, certificates, the login, the token.
        let theirs = ["the secret access key", "the admin token"];
        let (mut found, _) = needles.found_under(server.data());
        found.retain(|report| !theirs.iter().any(|t| report.contains(t)));
        assert!(found.is_empty(), "{when}: {found:#?}");
        let log = server.log();
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is not at its highest level:\n{log}");
        let found = needles.found_in(log.as_bytes());
        assert!(found.is_empty(), "{when}, in the log: {found:#?}");
    };
    silent(&server, "running");
    server.kill();
    silent(&server, "after SIGKILL");
    server.restart();
    silent(&server, "after recovery");
    server.terminate();
    silent(&server, "after SIGTERM");
}

/// Writes the highest level into the configuration that `dev` made.
fn log_everything(server: &Server) {
    let path = server.data().join("geoseal.toml");
    let config = fs::read_to_string(&path).expect("dev writes its configuration");
    assert!(!config.contains("[log]"), "dev says nothing of logs, so this may");
    fs::write(&path, format!("{config}\n[log]\nlevel = \"trace\"\n")).expect("it is writable");
}

/// Everything that stores something.
fn sing(server: &Server, needles: &mut Needles) {
    let mut wire = Wire::to(server);
    ok(wire.call(server, Request::new("PUT", &format!("/{BUCKET_NAME}"))));
    for (number, size) in SIZES.into_iter().enumerate() {
        let body = [CONTENT.as_bytes(), &bytes(number as u64, size), CONTENT.as_bytes()].concat();
        let digest = Md5::digest(&body);
        needles.add("an ETag", &digest);
        needles.add("an ETag as text", hex::encode(digest).as_bytes());
        for bucket in [BUCKET, BUCKET_NAME] {
            let path = object_path(bucket, &format!("{NAME}-{number}"));
            let put = Request::new("PUT", &path)
                .header("content-type", CONTENT_TYPE)
                .header("content-disposition", DISPOSITION)
                .header(&format!("x-amz-meta-{METADATA_NAME}"), METADATA_VALUE)
                .header("x-amz-meta-geoseal-subject", SUBJECT)
                .header("x-amz-tagging", &format!("{TAG_NAME}={TAG_VALUE}"));
            ok(wire.call(server, put.body(body.clone())));
            let got = ok(wire.call(server, Request::new("GET", &path)));
            assert!(got.body == body && got.header("content-type") == Some(CONTENT_TYPE));
        }
    }
    let list = Request::new("GET", &format!("/{BUCKET_NAME}")).query("list-type", "2").query("prefix", PREFIX);
    ok(wire.call(server, list));
    // The stock library: trailers, an upload that is completed and one that is left open, a copy, a batch of deletes.
    let ran: Ran = python(
        server,
        include_str!("canary.py"),
        &[BUCKET_NAME, NAME, CONTENT, CONTENT_TYPE, METADATA_NAME, METADATA_VALUE, TAG_NAME, TAG_VALUE],
    );
    for etag in ran.ok().lines() {
        needles.add("an ETag of boto3's", etag.trim_matches('"').as_bytes());
    }
}

/// What an administrator does: a tenant with a name and a contact, its logins, its keys.
fn administer(server: &Server, needles: &mut Needles) {
    let consent = server.home().join("consent.txt");
    fs::write(&consent, "we agree\n").expect("the scratch directory is writable");
    let consent = consent.to_str().expect("UTF-8");
    let create = ["tenant", "create", TENANT, "--geo", "europe", "--home", "westeurope", "--contact", CONTACT];
    server.geoseal(&[&create[..], &["--consent", consent]].concat()).ok();
    let login = server.geoseal(&["credential", "create", "--tenant", TENANT, "--json"]).json();
    let field = |name: &str| login[name].as_str().expect("a login has it").to_owned();
    let who = Credentials { access_id: field("access_id"), secret: field("secret"), region: field("region") };
    needles.add("the secret of another login", who.secret.as_bytes());
    let (mut wire, host) = (Wire::to(server), server.s3().to_string());
    for (method, path) in [("PUT", format!("/{SECOND_BUCKET}")), ("PUT", object_path(SECOND_BUCKET, NAME))] {
        let request = Request::new(method, &path).body(if path.ends_with(SECOND_BUCKET) { "" } else { CONTENT });
        ok(wire.exchange(&request.signed(&who, &host, Body::Hashed)).expect("the server answers"));
    }
    server.geoseal(&["key", "rotate", "tenant", TENANT]).ok();
    server.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    server.geoseal(&["credential", "revoke", &who.access_id, "--tenant", TENANT, "--yes"]).ok();
    server.geoseal(&["tenant", "disable", TENANT, "--reason", ADMIN_REASON]).ok();
    server.geoseal(&["tenant", "enable", TENANT, "--consent", consent]).ok();
    server.geoseal(&["tenant", "show", "canary-tenant-name-that-is-not-there"]).refused();
}

fn metrics(server: &Server) -> String {
    let config = client_config(&server.authority(), &[&rustls::version::TLS13]);
    let mut wire = Wire::connect(server.admin(), config).expect("the admin listener accepts");
    let bearer = format!("Bearer {}", server.admin_token());
    let request = Request::new("GET", "/metrics").header("host", wire.host()).header("authorization", &bearer);
    let text = ok(wire.exchange(&request).expect("metrics are served")).text();
    assert!(text.contains("geoseal_requests_total"), "{text}");
    text
}

fn audited(server: &Server) -> String {
    let text = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).ok();
    assert!(text.contains("tenant-created"), "{text}");
    text
}

/// Everything that is refused: errors are where names slip out.
fn fail(server: &Server, needles: &mut Needles) {
    let mut wire = Wire::to(server);
    let (who, host) = (server.credentials(), server.s3().to_string());
    let path = object_path(BUCKET_NAME, &format!("{NAME}-missing"));
    let signed = |request: Request| request.signed(&who, &host, Body::Hashed);
    let good = signed(Request::new("GET", &path));
    let signature = good.headers.last().expect("authorization is last").1.rsplit('=').next().expect("has a signature");
    needles.add("a signature that was right", signature.as_bytes());
    let statuses = [
        (good.clone(), 404),
        (signed(Request::new("GET", &object_path(&format!("{BUCKET_NAME}-missing"), NAME))), 404),
        (good.clone().replace("x-amz-date", "20200101T000000Z"), 403),
        (good.replace("x-amz-content-sha256", &"0".repeat(64)), 403),
        (signed(Request::new("PUT", &path).header("x-amz-tagging", &format!("{TAG_NAME}=%zz&&={TAG_VALUE}"))), 400),
        (
            signed(Request::new("POST", &format!("/{BUCKET_NAME}")).query("delete", "").body(format!("<a>{CONTENT}"))),
            400,
        ),
        (signed(Request::new("PUT", &path).header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").body(CONTENT)), 400),
        (signed(Request::new("GET", &path).query("acl", CONTENT)), 501),
    ];
    for (number, (request, status)) in statuses.into_iter().enumerate() {
        let answer = match wire.exchange(&request) {
            Ok(answer) => answer,
            Err(e) => panic!("failure {number}: {e}"),
        };
        assert_eq!(answer.status, status, "failure {number}: {}", answer.text());
        let found = needles.found_in(&answer.body);
        assert!(found.is_empty(), "failure {number}, in the answer: {found:#?}");
        if answer.header("connection") == Some("close") {
            wire = Wire::to(server);
        }
    }
}

fn ok(answer: Response) -> Response {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}
