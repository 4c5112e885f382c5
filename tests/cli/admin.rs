//! The admin listener over its socket: who gets in (A-18, from the router's own list), health, metrics, and the two
//! headers that make an act happen once and on what was seen.

use super::{ask, ask_as, json};
use geoseal_support::{daemon::Daemon, signer::Request};
use serde_json::{Value, json};
use std::sync::OnceLock;

const AUDITOR: &str = "fedcba9876543210fedcba9876543210-auditor";

/// One for all tests here; each names its tenants after itself.
fn daemon() -> &'static Daemon {
    static DAEMON: OnceLock<Daemon> = OnceLock::new();
    DAEMON.get_or_init(|| {
        let mut daemon = Daemon::prepare();
        let token = daemon.secret("auditor", AUDITOR);
        let line = format!("[admin]\nauditor_token_file = {:?}", token.display().to_string());
        daemon.edit(|text| text.replace("[admin]", &line));
        daemon.serve();
        daemon
    })
}

fn anybody(request: &Request) -> geoseal_support::wire::Response {
    ask(daemon().admin(), &daemon().authority(), request)
}

fn with(token: &str, request: &Request) -> geoseal_support::wire::Response {
    ask_as(daemon().admin(), &daemon().authority(), token, request)
}

fn post(path: &str, body: &Value) -> Request {
    Request::new("POST", path).header("content-type", "application/json").body(body.to_string())
}

/// Every operation of the OpenAPI document: method, path with its parameters filled in, role.
fn operations() -> Vec<(String, String, String)> {
    let document = json(&with(&daemon().admin_token(), &Request::new("GET", "/admin/v1/openapi.json")));
    let mut all = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path: Vec<_> = path.split('/').map(|part| if part.starts_with('{') { "europe" } else { part }).collect();
        for (method, operation) in methods.as_object().unwrap() {
            let role = operation["x-geoseal-role"].as_str().unwrap().to_owned();
            all.push((method.to_uppercase(), path.join("/"), role));
        }
    }
    all
}

/// A-18.
#[test]
fn every_route_asks_who_calls() {
    let routes = operations();
    let count = |role: &str| routes.iter().filter(|route| route.2 == role).count();
    assert!(count("admin") >= 12 && count("auditor") >= 10 && routes.len() >= 25, "{routes:?}");
    let open: Vec<_> = routes.iter().filter(|route| route.2 == "open").map(|route| route.1.as_str()).collect();
    assert_eq!(open, ["/bundles/europe", "/healthz", "/readyz"]);
    let wrong = "0".repeat(64);
    for (method, path, role) in &routes {
        let request = Request::new(method, path);
        let (nobody, stranger) = (anybody(&request), with(&wrong, &request));
        if role == "open" {
            // A link is open to who has its token, and to nobody else.
            let answer = if path.starts_with("/bundles/") { 404 } else { 200 };
            assert_eq!((nobody.status, stranger.status), (answer, answer), "{method} {path}");
            continue;
        }
        for refused in [&nobody, &stranger] {
            assert_eq!(refused.status, 401, "{method} {path}");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
            assert_eq!(json(refused)["code"], "Unauthenticated");
        }
        let auditor = with(AUDITOR, &request).status;
        match role.as_str() {
            "admin" | "legal" => assert_eq!(auditor, 403, "{method} {path}"),
            "auditor" => assert!(!matches!(auditor, 401 | 403 | 500), "{method} {path}: {auditor}"),
            other => panic!("{method} {path}: what role is {other}?"),
        }
        let basic = request.clone().header("authorization", &format!("Basic {}", daemon().admin_token()));
        assert_eq!(anybody(&basic).status, 401, "{method} {path}");
        let in_query = request.clone().query("token", &daemon().admin_token());
        assert_eq!(anybody(&in_query).status, 401, "{method} {path}");
    }
}

/// What is not in the table does not exist, and only those who are known learn even that.
#[test]
fn there_is_no_other_way_in() {
    let elsewhere = [
        "/",
        "/admin",
        "/admin/",
        "/admin/v1",
        "/admin/v2/tenants",
        "/admin/v1/tenants/",
        "//admin/v1/tenants",
        "/admin/v1/../v1/tenants",
        "/ADMIN/V1/TENANTS",
        "/admin/v1/tenants%2f",
        "/metrics/",
        "/debug",
        "/debug/pprof",
        "/minio/admin/v3/info",
        "/minio/health/live",
        "/console",
        "/healthz/../metrics",
        "/.env",
        "/keys",
        "/peer",
    ];
    for path in elsewhere {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            let request = Request::new(method, path);
            assert_eq!(anybody(&request).status, 401, "{method} {path}");
            assert_eq!(with(&daemon().admin_token(), &request).status, 404, "{method} {path}");
        }
    }
    for (method, path) in [("DELETE", "/admin/v1/tenants"), ("PUT", "/admin/v1/clock"), ("GET", "/admin/v1/sweep/run")]
    {
        assert_eq!(anybody(&Request::new(method, path)).status, 401, "{method} {path}");
        assert_eq!(with(&daemon().admin_token(), &Request::new(method, path)).status, 405, "{method} {path}");
    }
    // The S3 listener has none of it: there, these are names of buckets.
    for path in ["/metrics", "/healthz", "/admin/v1/tenants", "/admin/v1/openapi.json"] {
        let request = Request::new("GET", path).header("authorization", &format!("Bearer {}", daemon().admin_token()));
        let answer = ask(daemon().s3(), &daemon().authority(), &request);
        assert!(matches!(answer.status, 400 | 403), "{path}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("geoseal_"), "{path}");
    }
}

#[test]
fn health_readiness_and_metrics() {
    let health = anybody(&Request::new("GET", "/healthz"));
    assert_eq!((health.status, json(&health)), (200, json!({ "alive": true })));
    let ready = anybody(&Request::new("GET", "/readyz"));
    assert_eq!((ready.status, json(&ready)), (200, json!({ "ready": true })));
    assert_eq!(anybody(&Request::new("HEAD", "/healthz")).status, 200);
    for token in [AUDITOR, &daemon().admin_token()] {
        let metrics = with(token, &Request::new("GET", "/metrics"));
        assert_eq!(metrics.status, 200);
        assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
        let text = metrics.text();
        assert!(text.ends_with("# EOF\n"), "{text}");
        for name in
            ["geoseal_connections", "geoseal_certificate_expires_timestamp_seconds", "geoseal_sweep_lateness_seconds"]
        {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name}:\n{text}");
        }
    }
}

fn new_tenant(name: &str) -> Value {
    json!({ "name": name, "geo": "europe", "home": "westeurope", "consent": { "sha256": "ab".repeat(32) } })
}

#[test]
fn an_idempotency_key_makes_an_act_happen_once() {
    let token = daemon().admin_token();
    let create =
        |key: &str, body: &Value| with(&token, &post("/admin/v1/tenants", body).header("idempotency-key", key));
    let first = create("one", &new_tenant("once"));
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None), "{}", first.text());
    let again = create("one", &new_tenant("once"));
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!(json(&again), json(&first));
    let other = create("one", &new_tenant("other"));
    assert_eq!((other.status, json(&other)["code"].as_str()), (422, Some("IdempotencyReused")));
    let fresh = create("two", &new_tenant("once"));
    assert_eq!((fresh.status, json(&fresh)["code"].as_str()), (409, Some("NameTaken")));
    // A login is made once, and its secret is shown again to whoever lost the answer, and to nobody else.
    let login = |key: &str| {
        let body = json!({ "role": "service" });
        json(&with(&token, &post("/admin/v1/tenants/once/credentials", &body).header("idempotency-key", key)))
    };
    assert_eq!(login("three"), login("three"));
    assert_ne!(login("three")["access_id"], login("four")["access_id"]);
    let listed = json(&with(&token, &Request::new("GET", "/admin/v1/tenants/once/credentials")));
    assert_eq!(listed["credentials"].as_array().unwrap().len(), 2);
    // A refusal is not remembered: what was wrong can be mended.
    let bad = create("five", &json!({ "name": "mended", "geo": "europe" }));
    assert_eq!(bad.status, 422);
    assert_eq!(create("six", &new_tenant("mended")).status, 201);
    let endless = create(&"k".repeat(129), &new_tenant("endless"));
    assert_eq!((endless.status, json(&endless)["code"].as_str()), (400, Some("BadHeader")));
}

#[test]
fn a_state_changes_only_from_what_was_seen() {
    let token = daemon().admin_token();
    let made = with(&token, &post("/admin/v1/tenants", &new_tenant("seen")));
    assert_eq!(made.status, 201);
    let tag = made.header("etag").expect("a record has a revision").to_owned();
    let disable = post("/admin/v1/tenants/seen/disable", &json!({ "reason": "r" }));
    let stale = with(&token, &disable.clone().header("if-match", "\"999\""));
    assert_eq!((stale.status, json(&stale)["code"].as_str()), (412, Some("RevisionChanged")));
    let planned = with(&token, &disable.clone().query("dryRun", "true").header("if-match", &tag));
    assert_eq!(planned.status, 200);
    assert!(json(&planned)["plan_id"].is_string());
    let done = with(&token, &disable.clone().header("if-match", &tag));
    assert_eq!((done.status, json(&done)["state"].as_str()), (200, Some("DISABLED")));
    let after = done.header("etag").unwrap().to_owned();
    assert_ne!(after, tag);
    let unasked = post("/admin/v1/tenants/seen/enable", &json!({})).header("if-match", &after);
    let unasked = with(&token, &unasked);
    assert_eq!((unasked.status, json(&unasked)["code"].as_str()), (403, Some("ConsentRequired")));
    let enable = post("/admin/v1/tenants/seen/enable", &json!({ "consent": { "sha256": "ab".repeat(32) } }));
    assert_eq!(with(&token, &enable.clone().header("if-match", &tag)).status, 412);
    assert_eq!(with(&token, &enable.clone().header("if-match", "not a tag")).status, 400);
    assert_eq!(with(&token, &enable.clone().header("if-match", &after)).status, 200);
    let no_record = post("/admin/v1/tenants", &new_tenant("never")).header("if-match", "\"1\"");
    assert_eq!(with(&token, &no_record).status, 400, "there is no record to match yet");
}

/// A mistyped word is refused; it does not quietly do something else.
#[test]
fn nothing_is_ignored() {
    let token = daemon().admin_token();
    let make = |request: Request| {
        let answer = with(&token, &request);
        (answer.status, json(&answer)["code"].as_str().unwrap_or_default().to_owned())
    };
    let path = "/admin/v1/tenants";
    let mut extra = new_tenant("ignored");
    extra["replicaton"] = "geo".into();
    assert_eq!(make(post(path, &extra)), (400, "BadBody".into()));
    assert_eq!(make(post(path, &new_tenant("ignored")).query("dryrun", "true")), (400, "BadQuery".into()));
    assert_eq!(make(post(path, &new_tenant("ignored")).query("dryRun", "yes")), (400, "BadQuery".into()));
    let twice = post(path, &new_tenant("ignored")).query("dryRun", "true").query("dryRun", "false");
    assert_eq!(make(twice), (400, "BadQuery".into()));
    let huge = json!({ "name": "x".repeat(70_000) });
    assert_eq!(make(post(path, &huge)), (413, "TooLarge".into()));
    assert_eq!(make(Request::new("POST", path).body("{}")).0, 400, "no media type");
    assert_eq!(with(&token, &Request::new("GET", &format!("{path}/ignored"))).status, 404, "nothing was made");
}
